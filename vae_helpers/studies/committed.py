"""What committed studies spare a run of their plans: rows that hold today, and experience of time.

So `make studies` runs nothing on a fresh clone, and a grid that has grown runs its new cells only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from vae_helpers.course import notebooks
from vae_helpers.studies import tables
from vae_helpers.studies.planning import Cell, Plan, text

Record = dict[str, Any]


def records(plan: Plan, versions: Mapping[str, str]) -> dict[str, Record]:
    """Of the cells of a plan those that its committed table holds, as a run would have stored them.

    The table has to be made or rechecked with today's code, and with these versions. A row counts
    if it finished and has the cell's arm and parameters; one that the notebook has only had since
    must be at its default.

    Args:
        plan: what to run.
        versions: of Python and of packages, as the provenance has them.

    Returns:
        By the keys of the cells; nothing if there is no such table.
    """
    path = tables.PUBLISHED / f"{plan.name}.csv"
    if not path.is_file():
        return {}
    study = tables.read(plan.name)
    about = study.provenance
    if study.stale or about["notebook"] != plan.notebook or about["versions"] != dict(versions):
        return {}
    rows = [*zip(tables.read_rows(path), about["cells"], strict=True)]
    found = {}
    for cell in plan.cells:
        for row, one in rows:
            if row["status"] == "finished" and _same(row, cell):
                found[cell.key] = _record(row, cell, about, one)
    return found


def seconds_per_cell(plan: Plan) -> float | None:
    """Median of what committed cells took: of this study, else of any of its notebook."""
    taken: dict[str, list[float]] = {}
    for path in sorted(tables.PUBLISHED.glob("*.csv")):
        about = tables.read(path.stem).provenance
        if about["notebook"] == plan.notebook:
            taken[path.stem] = [one["seconds"] for one in about["cells"] if one["seconds"]]
    own = taken.get(plan.name) or [it for those in taken.values() for it in those]
    return statistics.median(own) if own else None


def _same(row: Mapping[str, str], cell: Cell) -> bool:
    own = notebooks.defaults(cell.execution.notebook)
    return row.get("arm") == cell.arm and all(
        row.get(name, str(text(own[name]))) == str(text(value))
        for name, value in cell.values.items()
    )


def _record(
    row: Mapping[str, str], cell: Cell, about: Mapping[str, Any], one: Mapping[str, Any]
) -> Record:
    """Such that `running.row` gives the row again, and the provenance the same about the cell."""
    others = {"arm", "status", "error", *cell.values}
    numbers = {name: entry or None for name, entry in row.items() if name not in others}
    observed = {name: {"kind": "observed", "value": entry} for name, entry in numbers.items()}
    measured = {name: {"kind": "measured", "value": it} for name, it in one["measured"].items()}
    return {
        "parameters": cell.values,
        "status": "finished",
        "error": None,
        "values": observed | measured,
        "machine": one["machine"],
        "threads": max(about["threads"]),
        "workers": max(about["workers"]),
        "seconds": one["seconds"],
        "date": one["date"],
    }
