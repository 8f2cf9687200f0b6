"""The catalogue of mistakes can be planted, and each mistake has a check that is there."""

import ast
import json
import re
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
