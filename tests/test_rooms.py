"""The rooms of the package: what may import what, and how large they are."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from vae_helpers import PROJECT
from vae_helpers.store.code_digest import MACHINERY

PACKAGE = PROJECT / "vae_helpers"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ABOVE = {  # whose modules a room may import besides its own and the science
    "store": set(),
    "course": {"store"},
    "mistakes": {"store", "course"},
    "studies": {"store", "course", "mistakes"},  # a recheck works in a copy of the project
    "benchmarks": {"store", "course"},
    "exercises": set(),
    "__main__": {*MACHINERY},
}


def room(module):
    """The folder that a module lies in; "" for the science."""
    first = module.partition(".")[0]
    return first if first in MACHINERY else ""


def imported(tree):
    """The modules of the package that a tree imports at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, path = name.partition(".")
            while package == "vae_helpers" and path and path not in FILES:
                path = path.rpartition(".")[0]  # a name in a module
            if package == "vae_helpers":
                yield path or "__init__"


def at_import(tree):
    """A module's tree without what only a call or a type checker reads."""
    tree.body = [
        it
        for it in ast.walk(tree)
        if isinstance(it, (ast.Import, ast.ImportFrom)) and it.col_offset == 0
    ]
    return tree


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


@pytest.mark.parametrize("module", TREES)
def test_imports_go_one_way(module):
    allowed = {"", room(module), *ABOVE.get(room(module), ())}
    assert [name for name in imported(TREES[module]) if room(name) not in allowed] == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: set(imported(at_import(tree))) - {name} for name, tree in TREES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(FILES)


def test_the_package_alone_imports_nothing_else():
    code = (
        "import sys, vae_helpers; print(*(name for name in sys.modules if name.startswith('vae_')))"
    )
    command = [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["vae_helpers", "False"]
