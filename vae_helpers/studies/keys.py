"""The names of published numbers, and what they stand for.

A key names the results of a notebook, and what is in them; it goes on into what has parts:

    05_training.train_loss_last                          what notebook 05 has recorded
    01_data.train_counts.1                               of a list, the number at 1
    07_distance.fcd.30                                   of a series, the value at 30
    11_likelihood.grey.K = 50.nats per image.mean        of a table; or `half`
    studies/gan_search.fcd_last.max                      of a study's column; or `min`, `mean`
    measured/thread_effects.epochs                       what a command has measured, by its name
    05_training.entropy_last / 05_training.entropy_first     two of them, divided or subtracted
"""

from __future__ import annotations

import json
import math
import operator
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vae_helpers import COURSE
from vae_helpers.parameters import ParameterError, suggestion
from vae_helpers.studies import tables

RESULTS = COURSE / "report" / "results"
TEXTS = ("README.md", "MANUAL.md")
"""The pages of a course, apart from the notebooks, in which numbers are filled in."""
PLACE = re.compile(r"<!--(?P<name>[^<>]+) (?P<form>[\d.,]*[a-z%]?)-->(?P<shown>[^<>]*)<!---->")
"""A number in a text, between two comments that a page does not show (report/places.py)."""
OPERATORS = {" / ": operator.truediv, " - ": operator.sub}
OF_A_COLUMN: Mapping[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "mean": statistics.fmean,
}


class KeyUnknownError(ParameterError):
    """The results hold no number of this name; the message names what comes nearest."""


def value_of(key: str, results: Path = RESULTS) -> Any:
    """What a key names.

    Args:
        key: of one number, or of two with an operator between them.
        results: the folder with <notebook>.json, studies/ and measured/.

    Raises:
        KeyUnknownError: the results do not hold it.
    """
    for sign, apply in OPERATORS.items():
        left, found, right = key.partition(sign)
        if found:
            return apply(value_of(left, results), value_of(right, results))
    source, _, path = key.partition(".")
    here: Any = entries(source, results)
    while path:
        parts = _parts(here)
        longest = _longest(source, parts, path)
        here, path = parts[longest], path[len(longest) + 1 :]
    if isinstance(here, (Mapping, list)):
        raise KeyUnknownError(
            f"expected the name of one number, but {key!r} has parts: {[*_parts(here)]}"
        )
    return here


def split(key: str, results: Path = RESULTS) -> tuple[str, str, str]:
    """A key's source, such as "05_training", its entry there, and the path into that entry.

    Raises:
        KeyUnknownError: there is no such source or entry.
    """
    source, _, rest = key.partition(".")
    known = entries(source, results)
    name = _longest(source, known, rest)
    return source, name, rest[len(name) + 1 :]


def operands(key: str) -> list[str]:
    """The keys that a key with an operator joins; the key itself if it has none."""
    for sign in OPERATORS:
        if sign in key:
            return [one for part in key.split(sign) for one in operands(part)]
    return [key]


def sources(results: Path = RESULTS) -> list[str]:
    """Whatever has results: notebooks, "studies/<name>" and "measured/<name>"."""
    return [
        *sorted(path.stem for path in results.glob("*.json")),
        *sorted(f"studies/{path.stem}" for path in results.glob("studies/*.csv")),
        *sorted(f"measured/{path.stem}" for path in results.glob("measured/*.json")),
    ]


def entries(source: str, results: Path = RESULTS) -> Mapping[str, Any]:
    """What a source has recorded, by name; what has parts as lists and mappings.

    Raises:
        KeyUnknownError: there is no such source.
    """
    known = sources(results)
    if source not in known:
        raise KeyUnknownError(f"there are no results of {source!r}{suggestion(source, known)}")
    if source.startswith("studies/"):
        return _columns(results / f"{source}.csv")
    content = json.loads((results / f"{source}.json").read_text(encoding="utf-8"))
    return {name: _reachable(entry) for name, entry in content["values"].items()}


class Number(NamedTuple):
    """A published number, with its key and the key of the entry that it is part of."""

    key: str
    entry: str
    value: float


def numbers(results: Path = RESULTS) -> Iterator[Number]:
    """Every published number."""
    for source in sources(results):
        for name, content in entries(source, results).items():
            entry = f"{source}.{name}"
            for key, value in _leaves(entry, content):
                yield Number(key, entry, value)


def printed_as(text: str, results: Path = RESULTS) -> list[Number]:
    """The published numbers that print as a text does, such as "99.4" or "801,224".

    Raises:
        KeyUnknownError: the text is no number.
    """
    plain = text.replace(",", "").replace("\u2212", "-")
    if not re.fullmatch(r"-?\d+(\.\d+)?", plain):
        raise KeyUnknownError(f"expected a number such as 99.4, or a key, got {text!r}")
    decimals = len(plain.partition(".")[2])
    return [it for it in numbers(results) if f"{it.value:.{decimals}f}" == plain]


def _longest(source: str, known: Mapping[str, Any], path: str) -> str:
    """The entry that a path begins with; of "beta = 0" and "beta = 0.5" the longer that fits."""
    fitting = [name for name in known if path == name or path.startswith(f"{name}.")]
    if not fitting:
        wanted = path.partition(".")[0]
        raise KeyUnknownError(f"{source} has no {wanted!r}{suggestion(wanted, known)}")
    return max(fitting, key=len)


def _parts(value: Any) -> Mapping[str, Any]:
    """What a key may go on with, from here."""
    if isinstance(value, list):
        return {str(i): item for i, item in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def _leaves(key: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, (Mapping, list)):
        for name, part in _parts(value).items():
            yield from _leaves(f"{key}.{name}", part)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield key, value


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


def _columns(path: Path) -> dict[str, Any]:
    rows = tables.read_rows(path)
    columns: dict[str, Any] = {}
    for column in rows[0]:
        try:
            values = [float(row[column]) for row in rows if row[column]]
        except ValueError:
            continue  # a column of words
        if values:
            columns[column] = {name: apply(values) for name, apply in OF_A_COLUMN.items()}
    return columns
