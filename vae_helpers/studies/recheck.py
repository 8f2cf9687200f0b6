"""Do committed studies still hold after the code has changed?

Every change of the code that a study's numbers come from makes it stale, also one that changes no
number, and to make all studies anew takes hours. So of each stale study some cells, drawn at
random, are repeated with today's code: in a copy of the project that holds no trained run, with as
many threads as before. If every number of their rows comes out the same, to the last digit, that is
noted in the study's provenance under today's digest; if one does not, the study stays stale and
what differs is printed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from vae_helpers import COURSE
from vae_helpers.mistakes.catalogue import copy_project
from vae_helpers.parameters import ParameterError
from vae_helpers.store.files import write_whole
from vae_helpers.studies import planning, running, tables
from vae_helpers.studies.planning import Plan

REPEAT = "import sys; from vae_helpers.studies import recheck; recheck.repeat(*sys.argv[1:])"


def recheck(names: Sequence[str] = (), *, cells: int = 1, workers: int = 2) -> int:
    """Repeat cells of stale studies, print what came of it, and note those that still hold.

    Args:
        names: of committed studies; all if empty.
        cells: to repeat of each stale study.
        workers: cells at a time, each in a process of its own.

    Returns:
        How many studies are no longer what the code gives.

    Raises:
        ParameterError: a name is unknown, a study cannot be planned or was not run yet, or one of
            the numbers is less than 1.
    """
    for name, number in {"cells": cells, "workers": workers}.items():
        if number < 1:
            raise ParameterError(f"{name}: expected at least 1, got {number}")
    plans = planning.committed(names)
    stale = [plan for plan in plans if tables.read(plan.name).stale]
    print(f"{len(stale)} of {len(plans)} studies are of an earlier version of the code", flush=True)
    jobs = [(plan, place) for plan in stale for place in draw(plan, cells)]
    changed: set[str] = set()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        copy_project(Path(folder), "notebooks", "report", course=COURSE)
        found = pool.map(lambda job: _repeated(*job, copy=Path(folder)), jobs)
        for (plan, place), lines in zip(jobs, found, strict=True):
            said = f"{len(lines)} entries differ" if lines else "the same to the last digit"
            print(f"{plan.name}, {plan.cells[place].label}: {said}", flush=True)
            print("".join(f"    {line}\n" for line in lines[:5]), end="", flush=True)
            changed |= {plan.name} if lines else set()
    for plan in stale:
        if plan.name not in changed:
            note(plan, draw(plan, cells))
    return len(changed)


def draw(plan: Plan, count: int) -> list[int]:
    """The places of so many finished cells, drawn by the code's digest: nobody picks them."""
    rows = _committed_rows(plan.name)
    finished = [place for place, row in enumerate(rows) if row["status"] == "finished"]
    return sorted(random.Random(plan.code).sample(finished, min(count, len(finished))))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Where two rows do not hold the same text; a column that a row lacks is empty in it."""
    return [
        f"{column}: committed {before.get(column, '')!r}, now {now.get(column, '')!r}"
        for column in dict.fromkeys((*before, *now))
        if before.get(column, "") != now.get(column, "")
    ]


def repeat(name: str, place: str, threads: str) -> None:
    """Execute one cell of a study and print its row as JSON; called in the copy, by `REPEAT`."""
    (plan,) = planning.committed([name])
    cell = plan.cells[int(place)]
    outcome = running.run_cell(cell, threads=int(threads))
    record = running.record(cell, outcome, threads=int(threads), workers=1)
    print(json.dumps(running.row(record, cell.arm)))


def note(plan: Plan, places: Sequence[int]) -> None:
    """Note in a study's provenance that these of its cells came out the same with today's code."""
    path = tables.PUBLISHED / f"{plan.name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["rechecked"] = {
        "digest": plan.code,
        "cells": [plan.cells[place].label for place in places],
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_whole(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _committed_rows(name: str) -> list[dict[str, str]]:
    return tables.read_rows(tables.PUBLISHED / f"{name}.csv")


def _repeated(plan: Plan, place: int, *, copy: Path) -> list[str]:
    """How the row of a cell that a process repeats in the copy differs from the committed one."""
    (threads, *_) = tables.read(plan.name).provenance["threads"]
    done = subprocess.run(
        [sys.executable, "-c", REPEAT, plan.name, str(place), str(threads)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it ended early"])[-1:]
    before = _committed_rows(plan.name)[place]
    # parameters that the notebook has only had since: at their defaults, or the numbers differ
    added = plan.cells[place].values.keys() - before.keys()
    now = json.loads(done.stdout.strip().splitlines()[-1])
    return differences(before, {name: it for name, it in now.items() if name not in added})
