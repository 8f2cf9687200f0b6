"""What each column of the studies' tables means, for the machine-readable descriptions of them.

The words are those of the data dictionary, report/results/studies/README.md, and of the parameters
cell of the notebook that the studies execute, so that nothing is described twice. A name in the
dictionary may have places: `NAME` stands for any other column, `i` and `K` for a number, `C`, `E`
and `R` for a word.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DICTIONARY = "report/results/studies/README.md"
PLACES = {"NAME": r"(?P<name>.+)", "...": ".+", "i": r"\d+", "K": r"\d+"} | dict.fromkeys(
    "CER", "[a-z]+"
)
PLACE = re.compile(r"(NAME|\.\.\.|(?<![A-Za-z])[CERKi](?![A-Za-z]))")
SHOWN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Entry:
    """A row of the dictionary.

    Attributes:
        pattern: of the columns that it describes.
        fixed: how many characters of the name are no place; the entry with most decides.
        words: what the column is.
        range: unit and range as the dictionary says them; may be empty.
    """

    pattern: re.Pattern[str]
    fixed: int
    words: str
    range: str


class DictionaryError(ValueError):
    """A column that nothing describes."""


def describe(column: str, *, root: Path, notebook: str) -> str:
    """What a column of a study's table is, in words, with its range if it has one.

    Args:
        column: such as "fcd[30]", or a parameter of the notebook.
        root: the checkout.
        notebook: that the study executes.

    Raises:
        DictionaryError: neither the dictionary nor the notebook knows it.
    """
    parameters = _parameters(root / "notebooks" / f"{notebook}.ipynb")
    if column in parameters:
        return f"parameter: {parameters[column]}"
    fitting = [
        (entry.fixed, entry, match)
        for entry in _entries(root / DICTIONARY)
        if (match := entry.pattern.fullmatch(column))
    ]
    if not fitting:
        raise DictionaryError(
            f"{DICTIONARY}: expected a description of the column {column!r}, found none"
        )
    _, entry, match = max(fitting, key=lambda it: it[0])
    words = f"{entry.words} ({entry.range})" if entry.range else entry.words
    if "name" in match.groupdict():
        of = match["name"]
        return f"{words}. {of}: {describe(of, root=root, notebook=notebook)}"
    return words


@cache
def _entries(path: Path) -> list[Entry]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            names, words, allowed = (part.strip() for part in line.strip("|").split(" | ", 2))
            for name in SHOWN.findall(names):
                # of a series, its name alone is described as well
                for form in {name, name if name == "NAME[i]" else name.removesuffix("[i]")}:
                    parts = PLACE.split(form)
                    pattern = "".join(
                        PLACES[part] if i % 2 else re.escape(part) for i, part in enumerate(parts)
                    )
                    fixed = sum(map(len, parts[::2]))
                    entry = Entry(re.compile(pattern), fixed, _plain(words), _plain(allowed))
                    found.append(entry)
    return found


@cache
def _parameters(path: Path) -> dict[str, str]:
    """The comments of a notebook's parameters cell, by parameter."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            lines = "".join(cell["source"]).splitlines()
            return {
                ast.unparse(it.target): lines[it.lineno - 1].partition("  # ")[2]
                for it in ast.parse("\n".join(lines)).body
                if isinstance(it, ast.AnnAssign)
            }
    return {}


def _plain(words: str) -> str:
    return words.strip(" |").replace("`", "")
