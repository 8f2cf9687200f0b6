"""What the parameters of another course may be, from its notebooks/parameters.toml.

    [tosses]
    range = [1, 1_000_000]    # both ends are valid
    smoke = 400               # its value in the smoke profile; the notebook's default if none

    [coin]
    choices = ["fair", "loaded"]

The type stands in the notebook, as the annotation: int and float take a range, str takes choices,
bool neither, list[int] and list[float] the range of each item, list[str] the words that may occur.
The course of this package has its rules in `vae_helpers.parameters`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vae_helpers.parameters import (
    Choice,
    Flag,
    Number,
    ParameterError,
    Rule,
    Several,
    Words,
    shown,
    suggestion,
)

SAYS = {
    "int": "range",
    "float": "range",
    "str": "choices",
    "bool": None,
    "list[int]": "range",
    "list[float]": "range",
    "list[str]": "choices",
}
"""What an entry has to say, by the annotation of its parameter."""


class Rules(NamedTuple):
    """By the names of the parameters: what each may be, and the smoke profile's values."""

    rules: Mapping[str, Rule]
    smoke: Mapping[str, Any]


def read(path: Path, annotations: Mapping[str, str]) -> Rules:
    """The rules of all parameters.

    Args:
        path: of parameters.toml.
        annotations: such as "int" or "list[str]", by the names of the parameters.

    Raises:
        ParameterError: an entry is missing, belongs to no parameter or does not say what is
            needed; the message names it.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path}: expected a file in TOML, but: {error}") from error
    for name in entries:
        if name not in annotations:
            raise ParameterError(
                f"{path.name}: {name}: expected a parameter of a notebook"
                + suggestion(name, annotations)
            )
    rules: dict[str, Rule] = {}
    smoke: dict[str, Any] = {}
    for name, annotation in annotations.items():
        entry = entries.get(name, {})
        try:
            rules[name] = _rule(annotation, entry)
            if "smoke" in entry:
                smoke[name] = rules[name].check("smoke", entry["smoke"])
        except ParameterError as error:
            raise ParameterError(f"{path.name}: {name}: {error}") from error
    return Rules(rules, smoke)


def _rule(annotation: str, entry: Any) -> Rule:
    if annotation not in SAYS:
        raise ParameterError(f"expected one of {', '.join(SAYS)} as annotation, got {annotation}")
    needed = SAYS[annotation]
    if not isinstance(entry, dict) or {*entry} - {"smoke"} != {needed} - {None}:
        raise ParameterError(f"{annotation}: expected {needed or 'no range'}, got {shown(entry)}")
    if needed is None:
        return Flag()
    said = entry[needed]
    if needed == "choices":
        if not isinstance(said, list) or not said or not all(isinstance(it, str) for it in said):
            raise ParameterError(f"choices: expected a list of words, got {shown(said)}")
        return Choice(tuple(said)) if annotation == "str" else Words(tuple(said))
    match said:
        case [int() | float() as low, int() | float() as high] if low <= high:
            number = Number(int if "int" in annotation else float, low, high)
            return Several(number) if "list" in annotation else number
    raise ParameterError(f"range: expected [least, largest], got {shown(said)}")
