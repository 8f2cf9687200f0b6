"""What a study would run: one notebook over a grid of parameters, with everything checked.

A grid is a product. What is compared one at a time are arms: named sets of parameters, each of
which goes through the whole grid. Two things enter the key of a cell besides its parameters: the
notebook, and the digest of the code that its numbers come from.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vae_helpers.course import execution, notebooks
from vae_helpers.course.execution import Execution
from vae_helpers.parameters import ParameterError, shown, suggestion
from vae_helpers.store import code_digest
from vae_helpers.studies.tables import STUDIES, StudyError, planned

Grid = Mapping[str, Sequence[Any]]
Arms = Mapping[str, Mapping[str, Any]]

REQUIRED = {"purpose": str, "notebook": str, "grid": dict}
ENTRY = REQUIRED | {
    "arms": object,  # checked by `plan`
    "choices": dict,
    "trials": int,
    "given": dict,
    "profile": str,
}
"""What an entry of studies.toml may say, and of which type it is."""


@dataclass(frozen=True)
class Cell:
    """One point of a grid.

    Attributes:
        label: such as "seed=1 beta=0.5", or with arms "plain, seed=1 beta=0.5".
        values: every parameter of the notebook.
        code: digest of the notebook and of the code that it reaches with these values.
        key: digest of the notebook, its code and the values.
        execution: the papermill run, with all of its parameters spelt out.
        arm: the name of its arm; None without arms.
    """

    label: str
    values: Mapping[str, Any]
    code: str
    key: str
    execution: Execution
    arm: str | None


@dataclass(frozen=True)
class Plan:
    """A study that may be run; its `code` is the digest of what any of its cells reaches."""

    name: str
    notebook: str
    arms: Arms
    grid: Grid
    given: Mapping[str, Any]
    profile: str
    code: str
    cells: tuple[Cell, ...]
    folder: Path


def plan(
    notebook: str,
    grid: Grid,
    given: Mapping[str, Any] | None = None,
    *,
    arms: Arms | None = None,
    profile: str = "full",
    name: str | None = None,
    folder: Path | None = None,
) -> Plan:
    """What a study would run, with everything checked.

    Args:
        notebook: its name or the beginning of its name.
        grid: values by parameter name, as text or as numbers; the last varies fastest.
        given: one value each for other parameters.
        arms: by its name, one value each for those parameters in which an arm differs from the
            notebook's defaults.
        profile: "full" or "smoke"; grid, given and arms come on top.
        name: what messages call it; the notebook's name if None.
        folder: where cells and table go; a folder of its own below build/studies/ if None.

    Raises:
        ParameterError: one of these is not what was said above, or a parameter or a cell is
            given twice; the message names it.
        CodeDigestError, SourceChangedError: as in `code_digest.of_notebook`.
    """
    given = given or {}
    _check(grid, given, arms, folder)
    found = [
        (arm, execution.plan([notebook], {**given, **own, **point}, profile=profile)[0])
        for arm, own in (arms.items() if arms else [(None, {})])
        for point in (dict(zip(grid, it, strict=True)) for it in itertools.product(*grid.values()))
    ]
    notebook = found[0][1].notebook
    code_of = cache(code_digest.of_notebook)
    cells = tuple(_cell(execution, grid, code_of, arm=arm) for arm, execution in found)
    for number, cell in enumerate(cells):
        if cell.key in {other.key for other in cells[:number]}:
            raise ParameterError(f"{cell.label}: expected once in the grid, got twice")
    of_arm = {cell.arm: cell.values for cell in cells}
    parts = (
        {arm: {name: of_arm[arm][name] for name in own} for arm, own in (arms or {}).items()},
        {name: list(dict.fromkeys(cell.values[name] for cell in cells)) for name in grid},
        {name: cells[0].values[name] for name in given},
        profile,
    )
    code = code_of(notebook, code_digest.words_among(notebooks.defaults(notebook), *parts[:3]))
    default = notebooks.BUILD / "studies" / (name or _hash([notebook, *parts])[:12])
    return Plan(name or notebook, notebook, *parts, code, cells, folder or default)


def committed(names: Sequence[str] = ()) -> list[Plan]:
    """The studies of report/studies.toml, planned; all if no names are given.

    Raises:
        StudyError: a name is not there, or an entry is not one that `plan` takes.
    """
    entries = planned(STUDIES)
    plans = []
    for name in names or entries:
        if name not in entries:
            raise StudyError(f"unknown study {name!r}{suggestion(name, entries)}")
        try:
            _check_entry(entries[name])
            arguments = {field: it for field, it in entries[name].items() if field != "purpose"}
            if "choices" in arguments:
                drawn = trials(arguments.pop("choices"), arguments.pop("trials"))
                arguments["arms"] = drawn
            plans.append(plan(**arguments, name=name))
        except ParameterError as error:
            raise StudyError(f"{STUDIES.name}: {name}: {error}") from error
    return plans


def trials(choices: Grid, count: int) -> dict[str, dict[str, Any]]:
    """Arms of a random search: points of a grid, drawn without replacement, the same every time.

    Args:
        choices: values by parameter name.
        count: how many.

    Raises:
        ParameterError: the grid has fewer points.
    """
    from sklearn.model_selection import ParameterSampler

    _check_values(choices)
    points = math.prod(map(len, choices.values()))
    if not 1 <= count <= points:
        raise ParameterError(f"trials: expected 1 to {points}, the size of the grid, got {count}")
    drawn = ParameterSampler(choices, count, random_state=0)
    return {f"trial {number}": dict(point) for number, point in enumerate(drawn, 1)}


def text(value: Any) -> Any:
    """A parameter as it stands in a label or in a table."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, dict):
        raise StudyError(f"expected a table, got {shown(entry)}")
    for field in sorted(REQUIRED.keys() - entry.keys()):
        raise StudyError(f"lacks {field!r}")
    if ("choices" in entry) != ("trials" in entry) or {"choices", "arms"} <= entry.keys():
        raise StudyError("expected choices and the number of trials together, and no arms beside")
    for field, value in entry.items():
        if field not in ENTRY:
            raise StudyError(f"unknown entry {field!r}{suggestion(field, ENTRY)}")
        if not isinstance(value, ENTRY[field]) or (ENTRY[field] is int and value is True):
            kind = {dict: "a table", int: "a whole number"}.get(ENTRY[field], "text")
            raise StudyError(f"{field}: expected {kind}, got {shown(value)}")


def _check(grid: Grid, given: Mapping[str, Any], arms: Any, folder: Path | None) -> None:
    if not grid:
        raise ParameterError("expected at least one parameter with its values, got an empty grid")
    _check_values(grid)
    for parameter in grid:
        if parameter in given:
            raise ParameterError(f"{parameter}: expected in the grid or by itself, got both")
    if arms is not None and (not isinstance(arms, Mapping) or not arms):
        raise ParameterError(f"arms: expected at least one, each a table by its name, got {arms!r}")
    for arm, values in (arms or {}).items():
        if not isinstance(values, Mapping):
            raise ParameterError(f"arm {arm!r}: expected a table of parameters, got {values!r}")
        for place, others in (("in the grid", grid), ("by itself", given)):
            for name in (name for name in values if name in others):
                raise ParameterError(f"{name}: expected in the arm {arm!r} or {place}, got both")
    for path in (folder, *folder.parents) if folder is not None else ():
        if os.path.exists(path) and not path.is_dir():
            raise ParameterError(f"expected a folder for the study, got the file {path}")


def _check_values(grid: Grid) -> None:
    for parameter, values in grid.items():
        if not isinstance(values, (list, tuple)) or not values:
            raise ParameterError(f"{parameter}: expected one or more values, got {values!r}")


def _cell(
    execution: Execution, names: Iterable[str], code_of: Callable[..., str], *, arm: str | None
) -> Cell:
    base = notebooks.defaults(execution.notebook) | dict(execution.overrides)
    values = {name: notebooks.check(name, value) for name, value in base.items()}
    # a worker's checkout may have other defaults: nothing is left to them
    whole = Execution(execution.notebook, values, execution.profile)
    point = " ".join(f"{name}={text(values[name])}" for name in names)
    label = point if arm is None else f"{arm}, {point}"
    code = code_of(execution.notebook, code_digest.words_among(values))
    key = _hash([execution.notebook, values, code])[:16]
    return Cell(label, values, code, key, whole, arm)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
