"""The digest of the code that a number comes from: one mechanism for runs, studies and the cache.

It follows names. From a notebook's cells, or from one definition, it collects those top-level
definitions of the science (functions, classes, assignments, imported names) that something refers
to that has been collected. So a new GAN leaves a VAE's digest as it is. The machinery (`MACHINERY`)
and what only shows (`SHOWS`) never count, nor do comments, docstrings and messages of errors.

Of a table, a dictionary whose keys are texts, one entry counts for `TABLE["a"]`. For `TABLE[x]` and
`x in TABLE` those count whose keys are in play, which are the texts of a configuration and those
that stand anywhere in the code that counts, unless they are only compared with; all if none is.

Otherwise a definition counts in doubt. A name is looked up in its whole module, whatever its scope.
Of every module that is imported on the way count the statements that define nothing, such as a
call, and the definitions that hand themselves to another one of ours: `@register`, `B = wrap(A)`. A
module counts whole where no attribute says what is used of it: `f(module)`, `import *`.

What only a text names is not seen: `import_module("...")`, a quoted annotation, a key that is put
together at run time.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from vae_helpers import COURSE, PROJECT, SOURCES

PACKAGE = PROJECT / "vae_helpers"
NOTEBOOKS = COURSE / "notebooks"

MACHINERY = ("course", "store", "studies", "mistakes", "benchmarks", "exercises", "__main__")
"""What runs, keeps and checks what the science computes; the science must not import it."""

SHOWS = ("figures", "progress", "parameters", "datasets")
"""Modules of the science that draw, show, name or refuse, and compute no number."""

Node = TypeVar("Node", bound=ast.AST)
Names = tuple[str, ...]  # ("near", "f") for near.f, ("T", "[a]") for T["a"], ("T", "[]") for T[x]
Use = tuple[str, Names]  # a module and a name in it, or ALL; () if it is only imported
ALL = ("*",)
SUBCLASSES = ("__init_subclass__", "__subclasses__")


class CodeDigestError(ValueError):
    """The code cannot be followed: a name that is imported from this package is not there."""


class SourceChangedError(RuntimeError):
    """What this process computes with is not what the files of the package say."""


def of_notebook(notebook: str, words: Iterable[str] = ()) -> str:
    """Digest of the code that a notebook's numbers come from.

    That is the syntax trees of its code cells and of the definitions that they reach. Not in it are
    `results.show(...)` (pictures), the notebook's own name in `begin`, and the parameters cell,
    whose values a key states itself.

    Args:
        notebook: its name, such as "05_training".
        words: texts among the values of its parameters.

    Raises:
        CodeDigestError: something that is imported from this package is not there.
        SourceChangedError: as in `check_unchanged`.
    """
    check_unchanged()
    return _digest(reached(cells(notebook), words))


def words_among(*values: Any) -> frozenset[str]:
    """The texts among values of parameters, which choose entries of the code's tables."""
    return frozenset(_texts_of(values))


def _texts_of(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, (Mapping, list, tuple)):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _texts_of(value)


def of_definition(module: str, name: str, *, words: Iterable[str] | None = None) -> str:
    """Digest of a definition of the science and of all that it reaches.

    Args:
        module: such as "training".
        name: of the definition, such as "Trainer".
        words: the texts of a configuration; all entries of all tables count if None.

    Raises:
        CodeDigestError: something that is imported from this package is not there, or the
            definition is none of the science.
        SourceChangedError: as in `check_unchanged`; or this process has put something else in the
            place of a definition, as in `objective.kl = mine`.
    """
    check_unchanged()
    if module.partition(".")[0] in MACHINERY or not name.isidentifier():
        raise CodeDigestError(
            f"expected a definition of the science, got {name} of {module}, whose code has no "
            "digest: move it to a module of vae_helpers/, or keep nothing of it"
        )
    entered = reached(f"from vae_helpers.{module} import {name}\n{name}\n", words)
    _check_memory(entered)
    return _digest(entered)


def check_unchanged() -> None:
    """Refuse to name code by its files if this process may have imported older ones.

    Raises:
        SourceChangedError: a file of the science has changed, was added or removed since the
            package was imported; the message names it.
    """
    folder = PROJECT / "vae_helpers"
    for path in sorted(SOURCES.keys() | set(folder.rglob("*.py"))):
        science = path.relative_to(folder).parts[0].removesuffix(".py") not in MACHINERY
        if science and not (path.is_file() and path.read_bytes() == SOURCES.get(path)):
            raise SourceChangedError(
                f"{path.relative_to(PROJECT)} has changed since this process imported the package, "
                "so what it computes is neither kept nor loaded: restart the kernel"
            )


def cells(notebook: str) -> str:
    """The code of a notebook without its parameters cell.

    Raises:
        CodeDigestError: there is no such notebook here.
    """
    path = NOTEBOOKS / f"{notebook}.ipynb"
    if not path.is_file():  # as for a dask worker that was started elsewhere
        raise CodeDigestError(
            f"expected the notebook {path}, found none: start this process in the folder of its "
            "course"
        )
    read = json.loads(path.read_text(encoding="utf-8"))
    sources = [
        "".join(cell["source"])
        for cell in read["cells"]
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    return "\n".join(sources)


def reached(source: str, words: Iterable[str] | None = ()) -> dict[str, list[ast.stmt]]:
    """What counts, by module and in the order of the source; the source's own under ""."""
    start = _module("", source)
    if words is None:
        return _follow(start, set(), doubt=True)
    in_play, doubt = set(words), False
    while True:
        entered = _follow(start, in_play, doubt=doubt)
        found = {text for those in entered.values() for it in those for text in _read(it)[1]}
        if doubt and found <= in_play:
            return entered
        doubt = found <= in_play  # all words are known: now the tables of which none is in play
        in_play |= found


def _follow(start: _Module, words: set[str], *, doubt: bool) -> dict[str, list[ast.stmt]]:
    modules = {"": start}
    entered = {"": set(start.statements)}
    waiting, seen = start.uses(start.statements), set[Use]()
    while waiting:
        name, names = use = waiting.pop()
        if use in seen or name.partition(".")[0] in (*MACHINERY, *SHOWS):
            continue
        seen.add(use)
        if name not in modules:
            path = PACKAGE / f"{name.replace('.', '/')}.py"
            modules[name] = _module(name, path.read_text(encoding="utf-8"))
            entered[name] = set()
            waiting += modules[name].imports()
        new = set(modules[name].defined_as(names, words, doubt=doubt)) - entered[name]
        entered[name] |= new
        waiting += modules[name].uses(new) + modules[name].imported_as(names)
    return {
        name: [it for it in module.statements if it in entered[name]]
        for name, module in modules.items()
    }


def _digest(entered: Mapping[str, list[ast.stmt]]) -> str:
    trees = {name: [_read(it)[2] for it in those] for name, those in entered.items() if those}
    return hashlib.sha256(json.dumps(trees, sort_keys=True).encode()).hexdigest()[:16]


class _Module:
    """What a source's top-level statements define, and what they take from other modules.

    Attributes:
        statements: without words; one for each name of an import and each entry of a table.
        imported: what each of them imports, as `_imported` says it.
        defined: the statements that define a name, by the name.
        paths: what a name stands for that is imported anywhere: ("near", "f"), or () for us.
        always: the statements that count as soon as the module is imported.
        bound: the names that something in these has.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        tree = _Wordless().visit(ast.parse(source))
        if any(getattr(it, "name", getattr(it, "attr", "")) in SUBCLASSES for it in ast.walk(tree)):
            raise CodeDigestError(
                f"vae_helpers.{name} looks its subclasses up, so that no name says which code is "
                "used: list them in a table, or let a decorator register them"
            )
        self.statements = [single for statement in tree.body for single in _singles(statement)]
        self.imported = {it: list(_imported(it, by=name)) for it in self.statements}
        self.paths: dict[str, set[Names]] = {}
        for bound, path in itertools.chain(*self.imported.values()):
            self.paths.setdefault(bound, set()).add(path)
        self.defined: dict[str, list[ast.stmt]] = {}
        for statement in self.statements:
            for bound in _defines(statement):
                self.defined.setdefault(bound, []).append(statement)
        own = [it for it in self.statements if not isinstance(it, (ast.Import, ast.ImportFrom))]
        ours = {*self.paths, *(bound for it in own for bound in _defines(it))}
        self.always = [
            it
            for it in self.statements
            if not _defines(it) or any(names[0] in ours for names in _handed_to(it))
        ]
        inside = [node for it in self.always for node in ast.walk(it)]  # as in `if ...: def f()`
        self.bound = {getattr(it, "id", getattr(it, "name", "")) for it in inside}

    def imports(self) -> list[Use]:
        """What is imported with it: the folder that it lies in, and the modules that it names."""
        folder = self.name.removesuffix(".__init__").split(".")[:-1]
        imports = [it for it in self.statements if isinstance(it, (ast.Import, ast.ImportFrom))]
        return [(_target(tuple(folder))[0], ()), *self.uses(imports)]

    def defined_as(self, names: Names, words: set[str], *, doubt: bool) -> list[ast.stmt]:
        """The statements that count when a name of it is used, with these words in play.

        Raises:
            CodeDigestError: there is no such name.
        """
        if names in (ALL, ()):
            return self.statements if names else self.always
        name, found = names[0], self.defined.get(names[0], [])
        known = found or name in self.paths or name in self.bound or name.startswith("__")
        if not known and "*" not in self.paths:
            where = f"vae_helpers.{self.name}".removesuffix(".__init__")
            raise CodeDigestError(
                f"expected {where}.{name}, a module or a definition that other code uses, found "
                "none: restore it, or change what uses it"
            )
        return self.always + _chosen(found, names[1:], words, doubt=doubt)

    def imported_as(self, names: Names) -> list[Use]:
        """What is used of other modules with a name that it imports from them."""
        if names == ALL:
            paths = [path for those in self.paths.values() for path in those]
        else:
            paths = [path + names[1:] for path in self.paths.get("".join(names[:1]), ())]
        return [(module, rest or ALL) for module, rest in map(_target, paths)]

    def uses(self, statements: Iterable[ast.stmt]) -> list[Use]:
        """What some of its statements import and refer to."""
        found: list[Use] = []
        for statement in statements:
            for bound, path in self.imported[statement]:
                found.append((_target(path)[0], ALL if bound == "*" else ()))
            for names in _read(statement)[0]:
                if names[0] in self.defined or names[0] in self.paths:
                    found.append((self.name, names))
                elif names[0] in ("globals", "eval", "exec") and self.name:
                    found.append((self.name, ALL))
        return found


@cache
def _module(name: str, source: str) -> _Module:
    """Read once, though many definitions are looked up in it."""
    return _Module(name, source)


class _Wordless(ast.NodeTransformer):
    """Leaves out docstrings, messages of errors, `results.show(...)` and a notebook's own name."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text or ast.unparse(node).startswith("results.show(") else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        named = isinstance(node.func, ast.Name) and node.func.id == "begin"
        return _like(node, args=node.args[1:]) if named else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)


def _singles(statement: ast.stmt) -> list[ast.stmt]:
    """One statement for each name of an import, and for each entry of a table."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [_like(statement, names=[alias]) for alias in statement.names]
    table = getattr(statement, "value", None)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(table, ast.Dict):
        return [statement]
    entries = [
        _like(table, keys=[key], values=[value])
        for key, value in zip(table.keys, table.values, strict=True)
    ]
    singles = [_like(statement, value=entry) for entry in entries]
    is_table = singles and all(_key(it) is not None for it in singles)
    return [*singles] if is_table else [statement]


def _like(node: Node, **fields: Any) -> Node:
    other = copy.copy(node)
    vars(other).update(fields)
    return other


def _key(statement: ast.stmt) -> str | None:
    """The key of a table's only entry; None if it is no table, or has none or more."""
    table = getattr(statement, "value", None)
    key = table.keys[0] if isinstance(table, ast.Dict) and len(table.keys) == 1 else None
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def _chosen(found: list[ast.stmt], taken: Names, words: set[str], *, doubt: bool) -> list[ast.stmt]:
    """Of a table's entries those that are taken, in doubt all; all of anything else."""
    if not taken or taken[0][0] != "[":
        return found
    keys = {None, *(words if taken[0] == "[]" else {taken[0][1:-1]})}
    chosen = [it for it in found if _key(it) in keys]
    return found if doubt and not any(map(_key, chosen)) else chosen


def _target(path: Names) -> Use:
    """The module that a path below the package leads into, and the rest, a name in it."""
    words = list(itertools.takewhile(str.isidentifier, path))
    for length in range(len(words), 0, -1):
        name, place = ".".join(path[:length]), PACKAGE.joinpath(*path[:length])
        if path[0] in MACHINERY or place.with_suffix(".py").is_file():
            return name, path[length:]
        if (place / "__init__.py").is_file():
            return f"{name}.__init__", path[length:]
    return "__init__", path


def _imported(tree: ast.AST, *, by: str) -> Iterator[tuple[str, Names]]:
    """The names that a tree imports from this package, and the path below it that each stands for.

    Raises:
        CodeDigestError: the science imports the machinery.
    """
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        start: list[str] = []
        if isinstance(node, ast.ImportFrom):
            start = ["vae_helpers", *by.split(".")][: -node.level] if node.level else []
            start += filter(None, (node.module or "").split("."))
        for alias in node.names:
            package, *path = [*start, *alias.name.split(".")]
            if package != "vae_helpers":
                continue
            if by and path and path[0] in MACHINERY:
                raise CodeDigestError(
                    f"vae_helpers.{by} imports the machinery ({'.'.join(path)}), whose code does "
                    "not count: let it take what it needs as an argument"
                )
            if isinstance(node, ast.Import) and not alias.asname:  # it is named from the package on
                yield ".", tuple(path)
                yield package, ()
            else:
                yield alias.asname or alias.name, tuple(path[: -1 if alias.name == "*" else None])


def _defines(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines; none if it does something else as well."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names} - {"*"}
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    inner = [it.target for it in ast.walk(statement) if isinstance(it, ast.NamedExpr)]
    nodes = [node for target in (*targets, *inner) for node in ast.walk(target)]
    if any(isinstance(node, (ast.Attribute, ast.Subscript)) for node in nodes):
        return set()
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _handed_to(statement: ast.stmt) -> Iterator[Names]:
    """What gets hold of a definition while its module is imported: decorators and functions."""
    handed = [node for it in ast.walk(statement) for node in getattr(it, "decorator_list", [])]
    if isinstance(statement, ast.ClassDef):
        handed += statement.keywords  # metaclass=...
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and _key(statement) is None:
        handed += [it.func for it in ast.walk(statement) if isinstance(it, ast.Call)]
    for node in handed:
        yield from _referred(node)


@cache
def _read(statement: ast.stmt) -> tuple[list[Names], list[str], str]:
    """What a statement refers to, the texts in it, and all of it; read once and used often."""
    tree = json.dumps(_plain(statement))
    return list(_referred(statement)), list(_texts(statement)), tree


def _referred(tree: ast.AST) -> Iterator[Names]:
    """The names in a tree and what is taken of each: see `Names`; `x in T` counts as `T[x]`."""
    if isinstance(tree, ast.Compare) and isinstance(tree.ops[0], (ast.In, ast.NotIn)):
        yield from _referred(ast.Subscript(tree.comparators[0], tree.left))
        tree = ast.Tuple(tree.comparators[1:])
    taken: list[str] = []
    while isinstance(tree, (ast.Attribute, ast.Subscript)):
        if isinstance(tree, ast.Attribute):
            taken.insert(0, tree.attr)
        else:
            key = getattr(tree.slice, "value", None)
            taken.insert(0, f"[{key}]" if isinstance(key, str) else "[]")
            yield from _referred(tree.slice)
        tree = tree.value
    if isinstance(tree, ast.Name) and not isinstance(tree.ctx, ast.Store):
        yield tree.id, *taken
    for child in ast.iter_child_nodes(tree):
        yield from _referred(child)


def _texts(tree: ast.AST) -> Iterator[str]:
    """The texts in a tree, without those that something is only compared with."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    compares = isinstance(tree, (ast.Compare, ast.MatchValue))
    for child in ast.iter_child_nodes(tree):
        if not (compares and isinstance(child, (ast.Constant, ast.Tuple, ast.List, ast.Set))):
            yield from _texts(child)


def _plain(node: Any) -> Any:
    """A syntax tree as nested lists, the same under every version of Python.

    Versions differ in which empty fields a node has, in the empty texts between the parts of an
    f-string, and in the characters that `repr` escapes.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, ast.JoinedStr):
        node = _like(node, values=[it for it in node.values if getattr(it, "value", None) != ""])
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, [[name, _plain(value)] for name, value in fields]]
    return ascii(node)


def _check_memory(entered: Mapping[str, list[ast.stmt]]) -> None:
    """Refuse what this process has put in the place of a definition."""
    for name, statements in entered.items():
        module = sys.modules.get(f"vae_helpers.{name}".removesuffix(".__init__"))
        for statement in statements if module else ():
            if not _as_written(statement, vars(module), str(vars(module)["__file__"])):
                raise SourceChangedError(
                    f"this process has replaced {', '.join(_defines(statement))} of "
                    f"vae_helpers.{name}, so what it computes is neither kept nor loaded: write "
                    "the change into the file and restart the kernel"
                )


def _as_written(statement: ast.stmt, held: Mapping[str, Any], file: str) -> bool:
    """Whether a namespace holds what a statement of a file has put there; no call is repeated."""
    if isinstance(statement, ast.ClassDef):
        kind = held.get(statement.name)
        inside = [it for it in statement.body if isinstance(it, (ast.FunctionDef, ast.ClassDef))]
        return isinstance(kind, type) and all(_as_written(it, vars(kind), file) for it in inside)
    if isinstance(statement, ast.FunctionDef):
        value: Any = held.get(statement.name)
        value = getattr(value, "fget", getattr(value, "func", value))  # what a property calls
        code = getattr(inspect.unwrap(value), "__code__", None)
        return code.co_filename == file if code else bool(statement.decorator_list)
    if isinstance(statement, ast.ImportFrom) and statement.module in sys.modules:
        (alias,) = statement.names
        theirs: Any = getattr(sys.modules[statement.module], alias.name, None)
        return alias.name == "*" or held.get(alias.asname or alias.name) is theirs
    names, expression = _defines(statement), getattr(statement, "value", None)
    calls = [it for it in ast.walk(statement) if isinstance(it, ast.Call)]
    if len(names) != 1 or expression is None or calls:
        return True
    written = eval(compile(ast.Expression(expression), file, "eval"), dict(held))
    found: Any = held.get(*names)
    key = _key(statement)
    return [written] == [found if key is None else {key: found.get(key)}]
