"""Put the numbers of the committed results into README.md and the notebooks' prose.

    python report/places.py

A number that a run produced is never typed: it stands in a *place*, between
`<!--05_training.train_loss_last .1f-->` and `<!---->`. The opening names the notebook, the number
and, after a last space, how Python prints it. A page does not show either comment. This command
fills in what report/results/ holds; tests/test_numbers.py holds the two against each other.

A name goes on into what has parts, and two of them may be divided or subtracted:

    <!--01_data.train_counts.1 ,-->                        of a list, the number at 1
    <!--07_distance.fcd.30 .0f-->                          of a series, the value at 30
    <!--11_likelihood.grey.K = 50.nats per image.mean .2f-->   of a table; or `half`
    <!--studies/gan_search.fcd_last.max .0f-->             of a study's column; or `min`, `mean`
    <!--measured/thread_effects.epochs -->                 what a command has measured, by its name
    <!--05_training.entropy_last / 05_training.entropy_first .0%-->     prints 63 %

A place does not work at the start of a line, where Markdown takes the line for HTML, nor inside
`code` or $formulas$. After new results the order is: report/places.py, report/build.py,
report/seal.py; `make refresh` keeps to it.
"""

from __future__ import annotations

import json
import operator
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vae_helpers.parameters import suggestion
from vae_helpers.store.files import write_whole
from vae_helpers.studies import tables

PROJECT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"<!--(?P<name>[^<>]+) (?P<form>[\d.,]*[a-z%]?)-->(?P<shown>[^<>]*)<!---->")
COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.MULTILINE)
VISIBLE = {
    "at the start of a line": re.compile(r"^[ >*+-]*(?:\d+\. +)?<!--.*", re.MULTILINE),
    "inside a code block": re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL),
    "inside code": re.compile(r"`[^`\n]+`"),
    "inside a formula": re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL),
}
OPERATORS = {" / ": operator.truediv, " - ": operator.sub}
OF_A_COLUMN: Mapping[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "mean": statistics.fmean,
}


class PlaceError(ValueError):
    """A place that cannot be filled; the message says where it stands and what is wrong."""


def fill(text: str, results: Path, *, where: str) -> str:
    """The text with every place filled anew.

    Args:
        text: Markdown.
        results: the folder with <notebook>.json and studies/.
        where: file and cell, for messages.

    Raises:
        PlaceError: a place is malformed, stands where it would be seen, or names a number that
            the results do not hold.
    """

    def filled(match: re.Match[str]) -> str:
        name, form = match["name"], match["form"]
        try:
            shown = format(value_of(name, results), form).replace("%", " %")
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise PlaceError(f"{where}: {match[0]}: {error}") from error
        return f"<!--{name} {form}-->{shown}<!---->"

    for comment in COMMENT.findall(PLACE.sub("", text)):
        raise PlaceError(
            f"{where}: expected a place such as <!--05_training.train_loss_last .1f-->99.3<!---->, "
            f"got {comment!r}"
        )
    for position, pattern in VISIBLE.items():
        for piece in pattern.findall(text):
            if place := PLACE.search(piece):
                raise PlaceError(
                    f"{where}: {place[0]} stands {position}, where it would not be hidden; "
                    "move words or line ends"
                )
    return PLACE.sub(filled, text)


def value_of(name: str, results: Path) -> Any:
    """What a place names.

    Raises:
        ValueError: the results do not hold it; the message names what comes nearest.
    """
    for sign, apply in OPERATORS.items():
        left, found, right = name.partition(sign)
        if found:
            return apply(value_of(left, results), value_of(right, results))
    source, _, path = name.partition(".")
    study = source.startswith("studies/")
    here: Any = _study(results, source) if study else _values(results, source)
    while path:
        parts = _parts(here)
        # names of rows hold points: "beta = 0" must not be taken for "beta = 0.5"
        known = [key for key in parts if path == key or path.startswith(f"{key}.")]
        if not known:
            wanted = path.partition(".")[0]
            raise ValueError(f"{source} has no {wanted!r}{suggestion(wanted, parts)}")
        longest = max(known, key=len)
        here, path = parts[longest], path[len(longest) + 1 :]
    if isinstance(here, (Mapping, list)):
        raise ValueError(
            f"expected the name of one number, but {name!r} has parts: {[*_parts(here)]}"
        )
    return here


def _parts(value: Any) -> Mapping[str, Any]:
    """What a name may go on with, from here."""
    if isinstance(value, list):
        return {str(i): item for i, item in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def _values(results: Path, notebook: str) -> dict[str, Any]:
    path = results / f"{notebook}.json"
    if not path.is_file():
        known = [other.stem for other in sorted(results.glob("*.json"))]
        known += [f"measured/{other.stem}" for other in sorted(results.glob("measured/*.json"))]
        raise ValueError(f"there are no results of {notebook!r}{suggestion(notebook, known)}")
    return {
        name: _reachable(entry)
        for name, entry in json.loads(path.read_text(encoding="utf-8"))["values"].items()
    }


def _reachable(entry: Mapping[str, Any]) -> Any:
    """A recorded value, with names for its parts."""
    if entry.get("kind") == "series":
        return dict(zip(map(str, entry["at"]), entry["value"], strict=True))
    if entry.get("kind") == "table":
        return {
            row: {column: {"mean": mean, "half": half} for column, (mean, half) in cells.items()}
            for row, cells in entry["value"].items()
        }
    return entry["value"]


def _study(results: Path, source: str) -> dict[str, Any]:
    path = results / f"{source}.csv"
    if not path.is_file():
        known = sorted(f"studies/{other.stem}" for other in results.glob("studies/*.csv"))
        raise ValueError(f"there is no table {source!r}{suggestion(source, known)}")
    rows = tables.read_rows(path)
    columns: dict[str, Any] = {}
    for column in rows[0]:
        try:
            numbers = [float(row[column]) for row in rows]
        except ValueError:
            continue  # a column of words
        columns[column] = {name: apply(numbers) for name, apply in OF_A_COLUMN.items()}
    return columns


def filled(root: Path) -> dict[Path, str]:
    """README.md and the notebooks of a checkout, with every place filled anew, by their paths.

    Raises:
        PlaceError: a place cannot be filled.
    """
    results = root / "report" / "results"
    readme = root / "README.md"
    texts = {readme: fill(readme.read_text(encoding="utf-8"), results, where=readme.name)}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        texts[path] = path.read_text(encoding="utf-8")
        notebook = json.loads(texts[path])
        changed = False
        for i, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "markdown":
                old = "".join(cell["source"])
                new = fill(old, results, where=f"{path.relative_to(root)}, cell {i}")
                if new != old:
                    cell["source"], changed = new.splitlines(keepends=True), True
        if changed:
            texts[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return texts


def main() -> int:
    """Fill README.md and the notebooks, or say in one line why not. Nothing is written in vain."""
    try:
        texts = filled(PROJECT)
    except PlaceError as error:
        print(f"nothing filled: {error}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        if text != path.read_text(encoding="utf-8"):
            write_whole(path, text)
            print(f"filled {path.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
