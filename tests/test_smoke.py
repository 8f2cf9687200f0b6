"""The course in miniature: what its references are, and executions from anywhere without a trace.

`make test` holds a new execution of the course against the references; see verify.py.
"""

import ast
import json
import os
import subprocess
import sys

import nbformat
import notebook_rules as rules
import pytest

from vae_helpers import PROJECT
from vae_helpers.course import execution, notebooks

TINY = {"epochs": 1, "train_images": 256, "test_images": 100, "generated_images": 100}


@pytest.fixture(params=execution.plan(profile="smoke"), ids=lambda execution: execution.notebook)
def planned(request):
    return request.param


@pytest.fixture
def kept(planned):
    return rules.code_cells(
        nbformat.read(execution.REFERENCES / f"{planned.notebook}.ipynb", as_version=4)
    )


def injected(cells):
    return [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]


def test_every_notebook_has_a_reference_and_every_reference_a_notebook():
    assert sorted(path.stem for path in execution.REFERENCES.iterdir()) == notebooks.names()


def test_a_reference_has_the_code_of_its_notebook(planned, kept):
    notebook = nbformat.read(notebooks.NOTEBOOKS / f"{planned.notebook}.ipynb", as_version=4)
    expected, found = (
        [(cell.id, cell.source, cell.metadata.get("tags", [])) for cell in cells]
        for cells in (
            rules.code_cells(notebook),
            [cell for cell in kept if cell not in injected(kept)],
        )
    )
    assert found == expected


def test_a_reference_was_given_the_parameters_of_the_smoke_profile(planned, kept):
    given = {}
    for cell in injected(kept):
        assert "parameters" in kept[kept.index(cell) - 1].metadata["tags"]
        for statement in ast.parse(cell.source).body:
            (target,) = statement.targets
            given[target.id] = ast.literal_eval(statement.value)
    assert given == dict(planned.overrides)


def test_a_reference_holds_code_and_no_pictures(planned):
    text = (execution.REFERENCES / f"{planned.notebook}.ipynb").read_text(encoding="utf-8")
    cells = nbformat.reads(text, as_version=4).cells
    assert {cell.cell_type for cell in cells} == {"code"}
    assert "image/png" not in text
    assert len(text) < 200_000


def execute(*command, folder):
    """Run a command in a folder; the project's working tree must stay as it was."""
    before = status()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert status() == before


def status():
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8").stdout


def words(option, values):
    return [word for name, value in values.items() for word in (option, name, str(value))]


def test_a_plain_papermill_call_from_elsewhere_gets_a_folder_of_its_own(tmp_path):
    values = {**TINY, "model": "vae", "batch_norm": True, "beta": 4}
    notebook = PROJECT / "notebooks" / "18_measured_run.ipynb"
    execute("papermill", notebook, "out.ipynb", *words("-p", values), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]
    assert "every number is only shown" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


def test_the_command_line_leaves_nothing_in_the_folder_that_it_is_called_from(tmp_path):
    (planned,) = execution.plan(["13"], {"confidence": 0.5})
    planned.results.unlink(missing_ok=True)
    execute("vae_helpers", "run", "13", "-p", "confidence", "0.5", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert planned.results.exists()


COMPARISON = """
import json, pathlib, sys
import matplotlib
from vae_helpers.benchmarks import speed

matplotlib.use("agg")
speed.training_memory = lambda *_, **__: 0.0  # it depends on no seed, and takes two processes
values = json.loads(sys.argv[1])
notebook = json.loads(pathlib.Path("notebooks/16_vae_vs_gan.ipynb").read_text(encoding="utf-8"))
for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]))
        if "parameters" in cell["metadata"].get("tags", []):
            globals().update(values)
"""


def test_another_seed_changes_the_live_numbers_of_the_comparison_and_only_them(warm_python):
    values = {**TINY, "seed": 7}
    (planned,) = execution.plan(["16"], values)
    planned.results.unlink(missing_ok=True)
    done = warm_python.run(COMPARISON, json.dumps(values), folder=PROJECT)
    assert done.returncode == 0, done.stderr
    found = json.loads(planned.results.read_text(encoding="utf-8"))["values"]
    published = PROJECT / "report" / "results" / "16_vae_vs_gan.json"
    committed = json.loads(published.read_text(encoding="utf-8"))["values"]
    for name, entry in found.items():
        read_from_studies = entry["kind"] in ("exact", "table")
        assert (entry["value"] == committed[name]["value"]) == read_from_studies, name
