"""What the committed notebooks must be, so that comparing their outputs means something."""

import ast
import functools
import hashlib
import importlib
import json
import re
import tomllib
import warnings

import nbformat
import notebook_rules as rules
import papermill
import pytest

from vae_helpers import PROJECT, parameters
from vae_helpers.course import execution, notebooks, tolerances
from vae_helpers.studies import tables

NAMES = [path.stem for path in sorted((PROJECT / "notebooks").glob("*.ipynb"))]
PAGE = NAMES[0]
"""The study on one page, in plain PyTorch: it has no results of ours."""
SANITIZE = (PROJECT / "notebooks" / "sanitize.cfg").read_text(encoding="utf-8")


@functools.cache
def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return read(PROJECT / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def code(notebook):
    return rules.code_cells(notebook)


@pytest.fixture
def results(name):
    if name == PAGE:
        pytest.skip("plain PyTorch, without results of ours")
    return json.loads((PROJECT / "report" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_notebooks_are_numbered_without_a_gap_and_listed_in_the_readme():
    assert [name[:2] for name in NAMES] == [f"{i:02}" for i in range(len(NAMES))]
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\d\d_\w+)\]", readme, re.MULTILINE) == NAMES


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_no_notebook_has(rule, notebook):
    assert rule(notebook) == []


def test_at_most_a_fifth_of_the_code_of_all_notebooks_is_bookkeeping():
    each = [rules.bookkeeping(read(PROJECT / "notebooks" / f"{name}.ipynb")) for name in NAMES]
    counted, total = map(sum, zip(*each, strict=True))
    assert counted <= rules.BOOKKEEPING_MOST_OF_ALL * total


@pytest.mark.parametrize("rule", rules.REFERENCE_RULES, ids=lambda rule: rule.__name__)
def test_no_smoke_reference_has(rule, name):
    assert rule(read(execution.REFERENCES / f"{name}.ipynb")) == []


def test_every_parameter_is_annotated_explained_and_has_a_rule(name):
    path = str(PROJECT / "notebooks" / f"{name}.ipynb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = papermill.inspect_notebook(path)
    assert list(found) == list(notebooks.defaults(name))
    for parameter in found.values():
        assert parameter["inferred_type_name"] != "None"
        assert len(parameter["help"]) > 5
        parameters.check(parameter["name"], notebooks.defaults(name)[parameter["name"]])


def test_every_taught_definition_equals_the_package_s(code):
    for cell in code:
        match = re.match(r"# taught: (.+)", cell.source)
        if match:
            taught = definitions(cell.source)
            for path in match.group(1).split(","):
                module, _, definition = path.strip().rpartition(".")
                source = importlib.import_module(module).__file__
                with open(source, encoding="utf-8") as file:
                    assert taught[definition] == definitions(file.read())[definition]


def definitions(source):
    """Top-level functions and classes as syntax trees without docstrings and annotations."""
    bare = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bare[node.name] = ast.dump(_Bare().visit(node))
    return bare


class _Bare(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        node.returns = None
        for argument in [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]:
            argument.annotation = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node):
        return self._without_docstring(node)

    def visit_AnnAssign(self, node):
        if node.value is None:
            return node
        return self.visit(ast.Assign([node.target], node.value, lineno=node.lineno))

    def _without_docstring(self, node):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def test_each_of_the_course_s_definitions_is_taught_somewhere():
    taught = set()
    for name in NAMES:
        text = (PROJECT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        for line in re.findall(r"# taught: ([\w., ]+)", text):
            taught |= {path.strip() for path in line.split(",")}
    assert taught >= {
        "vae_helpers.seeds.new_rng",
        "vae_helpers.data.batches",
        "vae_helpers.data.binarize_images",
        "vae_helpers.objective.bce",
        "vae_helpers.objective.kl",
        "vae_helpers.objective.elbo",
        "vae_helpers.models.VAEOutput",
        "vae_helpers.models.hidden_layers",
        "vae_helpers.models.VAE",
        "vae_helpers.training.train_step",
        "vae_helpers.training.add_up",
        "vae_helpers.training.train_epoch",
        "vae_helpers.evaluation.log_weights",
        "vae_helpers.objective.discriminator_loss",
        "vae_helpers.objective.generator_loss",
        "vae_helpers.models.Generator",
        "vae_helpers.models.Discriminator",
        "vae_helpers.adversarial.discriminator_step",
        "vae_helpers.adversarial.generator_step",
        "vae_helpers.adversarial.frozen",
        "vae_helpers.adversarial.Step",
        "vae_helpers.adversarial.train_step",
        "vae_helpers.latent.slerp",
        "vae_helpers.latent.quantiles",
        "vae_helpers.latent.plane",
        "vae_helpers.latent.log_each",
        "vae_helpers.latent.log_aggregate",
    }


def test_the_committed_results_are_those_of_the_full_profile(name, results):
    values = {key: parameters.check(key, value) for key, value in notebooks.defaults(name).items()}
    found = {key: parameters.check(key, value) for key, value in results["parameters"].items()}
    assert results["profile"] == "full"
    assert found == values


def test_every_checked_number_has_a_tolerance_in_both_profiles_no_wider_than_its_cap(name, results):
    entries = tomllib.loads(
        (PROJECT / "report" / "tolerances.toml").read_text(encoding="utf-8")
    ).get(name, {})
    checked = {key for key, entry in results["values"].items() if entry["kind"] == "tolerance"}
    assert set(entries) == checked
    for entry in entries.values():
        for profile in ("full", "smoke"):
            it = entry[profile]
            assert it["n"] >= 5
            assert 0 < it["high"] - it["low"] <= it["cap"] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("notebook", "number", "column"),
    [
        ("05_training", "test_loss_last", "test_loss_last"),
        ("09_latent_space", "rate", "test_kl_last"),
        ("09_latent_space", "distortion", "test_bce_last"),
        ("07_distance", "fcd_last", "fcd_last"),
        ("07_distance", "coverage_last", "coverage_rounded"),
        ("11_likelihood", "minus_bound_dynamic_last", "minus_bound_dynamic_50"),
    ],
)
def test_the_published_seed_lies_where_the_seeds_of_the_committed_study_predict(
    notebook, number, column
):
    results = json.loads(
        (PROJECT / "report" / "results" / f"{notebook}.json").read_text(encoding="utf-8")
    )
    others = tables.read("comparison_vae").values(column, {"arm": "VAE"})
    low, high = tolerances.prediction_interval(others)
    assert low <= results["values"][number]["value"] <= high


def test_every_figure_of_the_results_is_in_the_figures_folder(results):
    for figure in results["figures"].values():
        assert (PROJECT / "report" / "figures" / figure["file"]).is_file()


def test_the_weights_that_a_notebook_exported_are_those_of_its_results(results):
    for exported in results["weights"].values():
        content = (PROJECT / "report" / "weights" / exported["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == exported["sha256"]


def test_the_outputs_show_every_value_of_the_results(notebook, results):
    shown = "\n".join(text for _, text in rules.output_texts(notebook))
    for key in results["values"]:
        assert re.search(rf"^{key} ", shown, re.MULTILINE), key
