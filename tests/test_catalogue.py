"""The catalogue of mistakes can be planted, and each mistake has a check that is there."""

import ast
import json
import re
import subprocess
from collections import Counter
from functools import cache

import mutants
import pytest

from vae_helpers import PROJECT
from vae_helpers.mistakes.catalogue import Mistake, MistakeError, catalogue, plant

CATALOGUE = catalogue()


def squeezed(text):
    """Without space, which is all that may differ when the same tokens stand on other lines."""
    return "".join(text.split())


@cache
def taught_cells():
    """By notebook, the cells that teach code of the package."""
    found = {}
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[path.name] = [source for source in sources if source.startswith("# taught:")]
    return found


@pytest.fixture
def copy(tmp_path):
    """The package, whose files are links until they are changed, and the cells that teach it."""
    for path in (PROJECT / "vae_helpers").rglob("*.py"):
        link = tmp_path / path.relative_to(PROJECT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    (tmp_path / "notebooks").mkdir()
    for name, sources in taught_cells().items():
        cells = [{"cell_type": "code", "source": source} for source in sources]
        cells += [{"cell_type": "markdown", "source": source} for source in sources]
        (tmp_path / "notebooks" / name).write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return tmp_path


class Bare(ast.NodeTransformer):
    """Without annotations and docstrings, in which a taught definition may differ."""

    def visit_arg(self, node):
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node):
        return ast.Assign([node.target], node.value) if node.value else node

    def visit_Expr(self, node):
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)


@cache
def definitions(source):
    """Functions and classes at the top of a source, by name."""
    tree = Bare().visit(ast.parse(source))
    return {node.name: ast.dump(node) for node in tree.body if hasattr(node, "name")}


def test_there_are_at_least_forty_and_no_two_are_alike():
    assert len(CATALOGUE) >= 40
    edits = Counter((it.file, squeezed(it.old), squeezed(it.new)) for it in CATALOGUE.values())
    assert set(edits.values()) == {1}


def test_the_line_of_a_mistake_stands_there_exactly_once():
    for mistake in CATALOGUE.values():
        found = (PROJECT / mistake.file).read_text(encoding="utf-8").count(mistake.old)
        assert (mistake.name, found) == (mistake.name, 1)


@cache
def functions(file):
    """The names of the functions in a file of tests."""
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_check_of_each_mistake_is_a_test_that_exists():
    for mistake in CATALOGUE.values():
        file, test = mistake.check.split("::")
        assert re.fullmatch(r"tests/test_\w+\.py", file)
        assert test.startswith("test_")
        assert test in functions(file), mistake.name


@pytest.mark.parametrize("mistake", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_a_planted_mistake_is_in_the_package_and_wherever_it_is_taught(mistake, copy):
    before = definitions((PROJECT / mistake.file).read_text(encoding="utf-8"))
    notebooks = plant(mistake, copy)
    after = definitions((copy / mistake.file).read_text(encoding="utf-8"))
    changed = {name for name in before if after[name] != before[name]}
    assert changed
    module = mistake.file.removesuffix(".py").replace("/", ".")
    found = 0
    for path in (copy / "notebooks").glob("*.ipynb"):
        code, words = [], []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            (code if cell["cell_type"] == "code" else words).append("".join(cell["source"]))
        assert words == taught_cells()[path.name]  # nothing but code is changed
        teaches = False
        for source in code:
            for name, tree in definitions(source).items():
                if f"{module}.{name}" in source.splitlines()[0]:
                    assert tree == after[name]
                    teaches |= name in changed
        found += teaches
    assert notebooks == found


def test_a_line_that_is_missing_or_stands_there_twice_is_refused(copy):
    for old, times in (("no such line", 0), ("import torch", 2)):
        mistake = Mistake("a slip", "vae_helpers/objective.py", old, "pass", "")
        with pytest.raises(MistakeError, match=f"a slip: expected '{old}' once .* it {times} time"):
            plant(mistake, copy)


def test_every_module_of_the_package_is_mutated_or_left_out_for_a_reason():
    package = PROJECT / "vae_helpers"
    written = [path for path in package.rglob("*.py") if path.read_bytes().strip()]
    modules = {path.relative_to(package).with_suffix("").as_posix() for path in written}
    assert mutants.TESTS.keys() | mutants.LEFT_OUT.keys() == modules
    assert not mutants.TESTS.keys() & mutants.LEFT_OUT.keys()
    for module in mutants.TESTS:
        assert all((PROJECT / file).is_file() for file in mutants.files_of(module))


@pytest.mark.parametrize("known", mutants.equivalents(), ids=lambda known: known[2])
def test_a_mutant_that_is_called_equivalent_is_of_a_line_that_is_there(known):
    file, scope, old, new = known
    source = (PROJECT / file).read_text(encoding="utf-8")
    node = ast.parse(source)
    for name in filter(None, scope.split(".")):
        node = next(it for it in ast.walk(node) if getattr(it, "name", None) == name)
    if scope:
        first = min([node, *node.decorator_list], key=lambda each: each.lineno)
        source = "\n".join(source.splitlines()[first.lineno - 1 : node.end_lineno])
    assert squeezed(old) in squeezed(source)
    assert new != old
    assert len(mutants.equivalents()[known]) > 20


SOURCE = '''
"""One and 2 - 1."""
from typing import Any


def half(x: float | int = 4, *, way: Any | None = None) -> float | None:
    """Half of it, 0.5 - 0."""
    if x > 3:
        return x / 2
    return None
'''


def test_mutants_are_drawn_from_code_and_not_from_words_or_annotations():
    pytest.importorskip("cosmic_ray", reason="only `make mutants` needs it")
    found = mutants.candidates(SOURCE)
    lines = SOURCE.splitlines()
    places = {lines[place.start[0] - 1][place.start[1] : place.end[1]] for place in found}
    assert places == {"4", "x > 3", ">", "3", "/", "2"}
    assert {place.scope for place in found} == {"half"}


def test_the_sample_is_the_same_for_one_seed_wherever_the_lines_stand(monkeypatch, tmp_path):
    pytest.importorskip("cosmic_ray", reason="only `make mutants` needs it")
    (tmp_path / "vae_helpers").mkdir()
    path = tmp_path / "vae_helpers" / "objective.py"
    path.write_bytes((PROJECT / "vae_helpers" / "objective.py").read_bytes())
    monkeypatch.setattr(mutants, "PROJECT", tmp_path)
    monkeypatch.setattr(mutants, "TESTS", {"objective": ("objective",)})

    def drawn(seed):
        return {(mutant.scope, mutant.old, mutant.new) for mutant in mutants.draw(8, seed)}

    first = drawn(0)
    assert len(first) == 8
    assert drawn(0) == first != drawn(1)
    source = path.read_text(encoding="utf-8")
    shifted = source.replace("import torch\n", "import math\n\nimport torch\n", 1)
    path.write_text(shifted, encoding="utf-8")
    assert drawn(0) == first


# The part of both that continuous integration plants

DIFFER = {"README.md", "vae_helpers/objective.py", "tests/test_latent.py"}


def test_what_is_due_at_a_commit_is_the_same_every_time_and_another_at_another():
    part = mutants.due("a" * 40, DIFFER, CATALOGUE)
    shuffled = dict(reversed(CATALOGUE.items()))
    assert mutants.due("a" * 40, set(DIFFER), shuffled) == part
    other = mutants.due("b" * 40, DIFFER, CATALOGUE)
    assert set(other.mistakes) != set(part.mistakes)
    assert set(other.others) != set(part.others)


def test_what_has_changed_is_due_and_comes_first():
    part = mutants.due("a" * 40, DIFFER, CATALOGUE)
    assert sorted(part.changed) == ["latent", "objective"]
    own = [
        CATALOGUE[name].file in DIFFER or CATALOGUE[name].check.split("::")[0] in DIFFER
        for name in part.mistakes
    ]
    assert own == [True] * 8 + [False] * 8
    assert len(part.mistakes) == len(set(part.mistakes))
    checked = [it.name for it in CATALOGUE.values() if it.check.startswith("tests/test_latent.py")]
    of_its_tests = mutants.due("a" * 40, {"tests/test_latent.py"}, CATALOGUE).mistakes
    assert sorted(of_its_tests[: len(checked)]) == sorted(checked)
    assert len(part.others) == 4
    assert not {"latent", "objective"} & set(part.others)


def test_no_more_is_due_when_everything_has_changed_and_something_when_nothing_has():
    everything = {file for it in CATALOGUE.values() for file in (it.file, it.check.split("::")[0])}
    everything |= {f"vae_helpers/{module}.py" for module in mutants.TESTS}
    part = mutants.due("a" * 40, everything, CATALOGUE)
    assert [len(each) for each in part] == [8, 4, 0]
    part = mutants.due("a" * 40, set(), CATALOGUE)
    assert [len(each) for each in part] == [8, 0, 4]


def test_every_mistake_and_every_module_is_due_sooner_or_later():
    parts = [mutants.due(f"{commit:040x}", set(), CATALOGUE) for commit in range(200)]
    assert {name for part in parts for name in part.mistakes} == CATALOGUE.keys()
    assert {module for part in parts for module in part.others} == mutants.TESTS.keys()


def test_a_commit_s_mutants_are_of_the_sample_in_the_modules_that_are_due(monkeypatch, capsys):
    part = mutants.due("a" * 40, DIFFER, CATALOGUE)
    sample = [
        mutants.Mutant(f"vae_helpers/{module}.py", line, "", "x", "y", "y")
        for module in mutants.TESTS
        for line in range(9)
    ]
    asked = []
    monkeypatch.setattr(mutants, "since_the_commit_before", lambda: ("a" * 40, DIFFER))
    monkeypatch.setattr(mutants, "draw", lambda *how: asked.append(how) or sample)
    mistakes, drawn = mutants.part_of_this_commit(CATALOGUE)
    assert [mistake.name for mistake in mistakes] == part.mistakes
    files = [{f"vae_helpers/{module}.py" for module in it} for it in (part.changed, part.others)]
    assert [mutant.file in files[0] for mutant in drawn] == [True] * 16 + [False] * 16
    assert {mutant.file for mutant in drawn[16:]} <= files[1]
    assert len(set(drawn)) == 32
    assert asked == [(120, 0)]  # what `make mutants` draws
    printed = capsys.readouterr().out
    assert f"commit {'a' * 12}: 16 mistakes: {', '.join(part.mistakes)}" in printed
    assert f"16 mechanical mutants of other modules: {', '.join(part.others)}" in printed


def test_first_the_checks_of_mistakes_pass_and_all_tests_of_a_mutated_module(monkeypatch):
    mistakes = [
        Mistake("a slip", "vae_helpers/data.py", "a", "b", f"tests/test_{test}")
        for test in ("data.py::test_x", "data.py::test_y", "data.py::test_x", "latent.py::test_z")
    ]
    mutant = mutants.Mutant("vae_helpers/latent.py", 1, "", "x", "y", "y")
    tried = []

    def run_all(jobs):
        tried.extend(job.tests for job in jobs)
        return [(mutants.Job("", it, 1), mutants.Outcome("", "", 2.5)) for it in tried]

    monkeypatch.setattr(mutants, "run_all", run_all)
    seconds = mutants.try_as_it_is(mistakes, [mutant])
    assert sorted(tried) == [
        ("tests/test_data.py::test_x", "tests/test_data.py::test_y"),
        ("tests/test_latent.py",),
    ]
    assert seconds == {"tests/test_data.py": 2.5, "tests/test_latent.py": 2.5}


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_files_are_compared_with_the_commit_before_if_there_is_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mutants, "PROJECT", tmp_path)
    git(tmp_path, "init", "-q")
    for name in ("first", "second"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", name)
        files = {"second"} if name == "second" else set()
        assert mutants.since_the_commit_before() == (git(tmp_path, "rev-parse", "HEAD"), files)
    assert capsys.readouterr().out == "there is no commit before this one to compare with\n"


def test_without_a_repository_the_part_of_a_commit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "PROJECT", tmp_path)
    with pytest.raises(SystemExit, match="--ci: expected a git repository with a commit"):
        mutants.since_the_commit_before()
