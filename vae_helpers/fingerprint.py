"""The digest of the code that a notebook's numbers come from.

It follows names. A notebook's cells enter whole; of a module of this package those top-level
definitions enter (functions, classes, assignments, imported names) that something refers to that
has entered. So a new GAN leaves a VAE's digest as it is. Nothing is imported to find out.

In doubt a definition enters. A name is looked up in its whole module, whatever its scope. Of every
module that is imported on the way enter the statements that define nothing, such as a call, and the
definitions that hand themselves to another one of ours: `@register`, `class B(A)`, `B = wrap(A)`.
A module enters whole where no attribute says what is used of it: `f(module)`, `import *`.

What only a text names is not seen: `importlib.import_module("...")`, a quoted annotation.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from vae_helpers import PROJECT
from vae_helpers.claims import NOTEBOOKS

PACKAGE = PROJECT / "vae_helpers"

WITHOUT_NUMBERS = {
    *("__main__", "bands", "claims", "course", "parameters"),
    *("fingerprint", "studies", "study_runs"),
    *("bench", "figures", "forked", "kept", "progress"),
}
"""Modules that show, check, run or keep what others compute: they are left out of a digest."""

Names = tuple[str, ...]  # ("near", "f") for near.f
Use = tuple[str, Names]  # a module and a name in it, or ALL; () if it is only imported
ALL = ("*",)


def digest(notebook: str) -> str:
    """Digest of the code that a notebook's numbers come from.

    That is the syntax trees of its code cells and of the definitions that they reach, except those
    of `WITHOUT_NUMBERS`. Not in it: comments, docstrings, `lesson.show(...)` (pictures and their
    words) and the parameters cell, whose values each cell of a study states itself.
    """
    return _digest(reached(notebook))


def digest_of(module: str, name: str) -> str:
    """Digest of one definition of the package and of the definitions that it reaches."""
    return _digest(_reached(f"from vae_helpers.{module} import {name}\n{name}"))


def reached(notebook: str) -> dict[str, list[ast.stmt]]:
    """What enters, by module and in the order of the source; the notebook's own under ""."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    sources = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    return _reached("\n".join(sources))


def _reached(source: str) -> dict[str, list[ast.stmt]]:
    modules = {"": _module("", source)}
    entered = {"": set(modules[""].statements)}
    waiting = [("__init__", ()), *modules[""].uses(entered[""])]
    seen: set[Use] = set()
    while waiting:
        name, names = use = waiting.pop()
        if use in seen or name in WITHOUT_NUMBERS:
            continue
        seen.add(use)
        if name not in modules:
            modules[name] = _module(name, (PACKAGE / f"{name}.py").read_text())
            entered[name] = set()
            waiting += modules[name].imports
        new = set(modules[name].defined_as(names)) - entered[name]
        entered[name] |= new
        waiting += [*modules[name].uses(new), *modules[name].imported_as(names)]
    return {
        name: [statement for statement in module.statements if statement in entered[name]]
        for name, module in modules.items()
    }


def _digest(entered: Mapping[str, list[ast.stmt]]) -> str:
    trees = {name: _skeleton(statements) for name, statements in entered.items()}
    content = {name: tree for name, tree in trees.items() if tree}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class _Module:
    """A source's top-level statements, one for each imported name, and what they define.

    Attributes:
        defined: the statements that define a name, by the name.
        paths: what a name stands for that is imported anywhere: ("near", "f"), or () for us.
        always: the statements that enter as soon as the module is imported.
        imports: the modules that are imported with it.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        tree = ast.parse(source)
        for node in ast.walk(tree):  # what is kept is what would be computed
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = [it for it in node.decorator_list if not _keeps(it)]
        self.statements = [single for statement in tree.body for single in _singles(statement)]
        self.paths: dict[str, set[Names]] = {}
        for bound, path, use in _imported(tree):
            if use[1] != ALL:
                self.paths.setdefault(bound, set()).add(path)
        self.defined: dict[str, list[ast.stmt]] = {}
        for statement in self.statements:
            for bound in _defines(statement):
                self.defined.setdefault(bound, []).append(statement)
        imports = [it for it in self.statements if isinstance(it, (ast.Import, ast.ImportFrom))]
        self.imports = [use for it in imports for _, _, use in _imported(it)]
        foreign = {
            name for name, those in self.defined.items() if all(it in imports for it in those)
        }
        ours = (self.defined.keys() - foreign) | self.paths.keys()
        self.always = [
            it
            for it in self.statements
            if not _defines(it) or any(names[0] in ours for names in _handed_to(it))
        ]

    def defined_as(self, names: Names) -> list[ast.stmt]:
        """The statements that enter when a name of this module is used."""
        if names and names[0] not in self.defined and names[0] not in self.paths:
            return self.statements  # ALL, or something that is not there until the module runs
        return self.always + (self.defined.get(names[0], []) if names else [])

    def imported_as(self, names: Names) -> list[Use]:
        """What is used of other modules with a name that this one imports from them."""
        if names and names[0] not in self.defined and names[0] not in self.paths:
            return [_use(path) for paths in self.paths.values() for path in paths]
        return [_use(path + names[1:]) for path in self.paths.get(names[0] if names else "", ())]

    def uses(self, statements: Iterable[ast.stmt]) -> Iterator[Use]:
        """What some of its statements refer to."""
        for statement in statements:
            yield from (use for _, _, use in _imported(statement))
            for names in _referred(statement):
                if names[0] in self.defined or names[0] in self.paths:
                    yield self.name, names
                elif names[0] in ("globals", "eval", "exec"):
                    yield self.name, ALL


@cache
def _module(name: str, source: str) -> _Module:
    """Read once, though many definitions are looked up in it."""
    return _Module(name, source)


def _keeps(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "kept"


def _use(path: Names) -> Use:
    if path and (PACKAGE / f"{path[0]}.py").exists():
        return path[0], path[1:] or ALL
    return "__init__", path or ALL


def _singles(statement: ast.stmt) -> list[ast.stmt]:
    """An import of several names as so many imports: each of them enters by itself."""
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        module, level = statement.module, statement.level
        return [ast.ImportFrom(module, [alias], level) for alias in statement.names]
    return [statement]


def _imported(tree: ast.AST) -> Iterator[tuple[str, Names, Use]]:
    """The names that a tree imports from this package, what each stands for, and the module."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        start = []
        if isinstance(node, ast.ImportFrom):
            start = ["vae_helpers"] * bool(node.level) + (node.module or "").split(".")
        for alias in node.names:
            package, *path = [*filter(None, start), *alias.name.split(".")]
            if package != "vae_helpers":
                continue
            use = (_use(tuple(path))[0], ALL if alias.name == "*" else ())
            if isinstance(node, ast.Import) and not alias.asname:
                yield package, (), use
            else:
                yield alias.asname or alias.name, tuple(path), use


def _defines(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines; none if it does something else as well."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names} - {"*"}
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        nodes = [it for it in ast.walk(statement) if isinstance(getattr(it, "ctx", 0), ast.Store)]
        if not any(isinstance(node, (ast.Attribute, ast.Subscript)) for node in nodes):
            return {node.id for node in nodes if isinstance(node, ast.Name)}
    return set()


def _handed_to(statement: ast.stmt) -> Iterator[Names]:
    """What gets hold of a definition while its module is imported: decorators, bases, callers."""
    handed = [node for it in ast.walk(statement) for node in getattr(it, "decorator_list", [])]
    if isinstance(statement, ast.ClassDef):
        handed += [*statement.bases, *statement.keywords]
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
        handed += [it.func for it in ast.walk(statement.value) if isinstance(it, ast.Call)]
    for node in handed:
        yield from _referred(node)


def _referred(tree: ast.AST) -> Iterator[Names]:
    """The names in a tree, each with its attributes: ("near", "f") for `near.f`."""
    inside = set()
    for node in ast.walk(tree):  # the outer ones first
        names: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
            inside.add(inner)
        if isinstance(inner, ast.Name) and node not in inside:
            yield inner.id, *names


def _skeleton(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings and `lesson.show(...)`.

    What is empty is left out: Python versions differ in which empty fields a node has.
    """
    if isinstance(node, list):
        return [_skeleton(item) for item in node if not _is_words(item)]
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, [[name, _skeleton(value)] for name, value in fields]]
    return repr(node)


def _is_words(node: Any) -> bool:
    """Whether a statement is a docstring, or shows a picture with its caption."""
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func) == "lesson.show"
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
