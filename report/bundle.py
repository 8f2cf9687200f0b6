"""One page from a template, styles and modules: it opens from a file and asks nobody for anything.

A browser loads no modules from files. So the modules that a page needs become one script, in which
each is a function that is called once and returns what it exports; those that others import come
first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

IMPORT = re.compile(r'^import (\{[^{}]*\}|\* as \w+) from "(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*?|const|class) (\w+)", re.MULTILINE)
LINE = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
MARKER = re.compile(r"\{\{ (\S+) \}\}")


def script(entry: Path) -> str:
    """The modules that one reaches, as one script.

    Args:
        entry: a JavaScript module. It may import names, `import { a, b } from "./other.js";`, and
            whole modules, `import * as other from "./other.js";`, and export declarations.

    Raises:
        ValueError: another form of import or export, a name that a module does not export, a
            module that is not there, two of one name, or a circle of imports. The message names
            file and line.
    """
    made: dict[Path, str] = {}
    _add(entry.resolve(), made, [])
    return "const modules = {};\n" + "\n".join(made.values())


def _add(path: Path, made: dict[Path, str], above: list[Path]) -> None:
    """Make a function of a module, after those that it imports."""
    source = path.read_text(encoding="utf-8")

    def refusal(at: int, wanted: str) -> ValueError:
        line = source.count("\n", 0, at) + 1
        return ValueError(f"{path}, line {line}: expected {wanted}")

    def taken(match: re.Match[str]) -> str:
        names, other = match[1], (path.parent / match[2]).resolve()
        if not other.is_file():
            raise refusal(match.start(), f"a module, got no file {match[2]}")
        if other in (chain := [*above, path]):
            circle = " -> ".join(each.name for each in [*chain[chain.index(other) :], other])
            raise refusal(match.start(), f"modules without a circle, got {circle}")
        if other not in made:
            _add(other, made, chain)
        if names.startswith("*"):
            return f"const {names.removeprefix('* as ')} = modules.{other.stem};"
        there = [name for _, name in EXPORT.findall(other.read_text(encoding="utf-8"))]
        if missing := set(re.findall(r"\w+", names)) - set(there):
            raise refusal(match.start(), f"names of {other.name}, got {sorted(missing)}")
        return f"const {names} = modules.{other.stem};"

    for line in LINE.finditer(source):
        if not IMPORT.match(source, line.start()) and not EXPORT.match(source, line.start()):
            raise refusal(line.start(), f"an import or export by name, got {line[0]!r}")
    body = EXPORT.sub(r"\1 \2", IMPORT.sub(taken, source)).strip()
    if path.stem in (each.stem for each in made):
        raise ValueError(f"{path}: expected one module of this name, got two")
    exported = ", ".join(name for _, name in EXPORT.findall(source))
    made[path] = f"modules.{path.stem} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"


def page(template: str, parts: Mapping[str, str]) -> str:
    """A template with the parts in place of its markers, `{{ name }}`.

    Raises:
        ValueError: a marker without its part, a part that no marker asks for, or a script that
            would end the element it stands in.
    """
    markers = set(MARKER.findall(template))
    if markers != set(parts):
        raise ValueError(f"expected parts for {sorted(markers)}, got {sorted(parts)}")
    for name, part in parts.items():
        if name.endswith(".js") and re.search(r"</script|<!--", part, re.IGNORECASE):
            raise ValueError(f"{name}: a script in a page may not hold '</script' or '<!--'")
    return MARKER.sub(lambda marker: parts[marker[1]], template)
