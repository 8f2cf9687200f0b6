"""What committed studies spare a run of their plans: rows that hold today, and experience of time.

So `make studies` runs nothing on a fresh clone, and a grid that has grown runs its new cells only.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vae_helpers.course import notebooks
from vae_helpers.studies import tables
from vae_helpers.studies.planning import Cell, Plan, text
from vae_helpers.studies.tables import Study

Record = dict[str, Any]
Row = Mapping[str, str]


def holding(plan: Plan) -> Study | None:
    """The committed study of a plan's name, if it was made or rechecked with today's code.

    None also if it is of another notebook, or if a kill while it was published left a table whose
    provenance is missing or of fewer cells.

    Raises:
        StudyError: as in `tables.read`.
    """
    if not all((tables.PUBLISHED / f"{plan.name}.{kind}").is_file() for kind in ("csv", "json")):
        return None
    study = tables.read(plan.name)
    whole = len(study.provenance.get("cells", ())) == len(study.rows)
    same = study.provenance["notebook"] == plan.notebook
    return study if whole and same and not study.stale else None


def records(plan: Plan, study: Study) -> dict[str, Record]:
    """Of the cells of a plan those that its committed table holds, as a run would have stored them.

    A row counts if it finished and has the cell's arm and the text of each of its parameters; one
    that the notebook has only had since, which the row lacks, must be at its default.

    Args:
        plan: what to run.
        study: its committed study (`holding`).

    Returns:
        By the keys of the cells.
    """
    defaults = {
        name: notebooks.check(name, it) for name, it in notebooks.defaults(plan.notebook).items()
    }
    about = study.provenance
    rows = tables.read_rows(tables.PUBLISHED / f"{plan.name}.csv")
    found = [
        (row, one, cell)
        for row, one in zip(rows, about["cells"], strict=True)
        for cell in plan.cells
        if row["status"] == "finished" and _same(row, cell, defaults)
    ]
    # what an entry that is empty in one row only says there, its column says: no number, or that
    # another arm has it, which may be gone, or come after one that is new
    empty = {name for name in rows[0] if not any(row[name] for row in rows)}
    kept = [name for name in rows[0] if name in empty or any(row[name] for row, _, _ in found)]
    return {
        cell.key: _record(row, cell, about, one, _up_to_last(row, kept, empty))
        for row, one, cell in found
    }


def provenance(
    now: Mapping[str, Any], before: Mapping[str, Any], spared: Collection[str]
) -> dict[str, Any]:
    """The provenance of a table with rows of a committed one.

    Its digest is today's, under which those rows were shown to hold; that cells were rechecked
    stays noted of those that are spared, and so do all numbers of threads and of workers. If no
    other cell has run, it was made when and where the committed one was.

    Args:
        now: as of a table without such rows.
        before: of the committed table.
        spared: the labels of the cells whose rows it has.
    """
    kept = {name: sorted({*now[name], *before[name]}) for name in ("threads", "workers")}
    if len(spared) == len(now["cells"]):
        kept |= {name: before[name] for name in ("machine", "date")}
    again = before.get("rechecked", {"cells": []})
    cells = [label for label in again["cells"] if label in spared]
    return {**now, **kept} | ({"rechecked": {**again, "cells": cells}} if cells else {})


def seconds_per_cell(plan: Plan) -> float | None:
    """Median of what committed cells took: of this study, else of any of its notebook.

    None for a plan that is not of report/studies.toml, or if there are no such cells.
    """
    if plan.name not in tables.planned(tables.STUDIES):
        return None
    taken: dict[str, list[float]] = {}
    for path in sorted(tables.PUBLISHED.glob("*.json")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # whoever reads its table is told
        if about["notebook"] == plan.notebook:
            taken[path.stem] = [one["seconds"] for one in about["cells"] if one["seconds"]]
    own = taken.get(plan.name) or [it for those in taken.values() for it in those]
    return statistics.median(own) if own else None


def _same(row: Row, cell: Cell, defaults: Mapping[str, Any]) -> bool:
    return row.get("arm") == cell.arm and all(
        row.get(name, str(text(defaults[name]))) == str(text(value))
        for name, value in cell.values.items()
    )


def _up_to_last(row: Row, names: Sequence[str], empty: Collection[str]) -> list[str]:
    """The columns up to the last that has an entry in a row, or in none."""
    last = max(place for place, name in enumerate(names) if row[name] or name in empty)
    return list(names[: last + 1])


def _record(
    row: Row, cell: Cell, about: Mapping[str, Any], one: Mapping[str, Any], columns: Sequence[str]
) -> Record:
    """Such that `running.row` gives the row again, and the provenance the same about the cell."""
    others = {"arm", "status", "error", *cell.values}
    numbers = {name: row[name] or None for name in columns if name not in others}
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
