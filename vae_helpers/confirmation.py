"""Do committed studies still hold after the code has changed?

    python -m vae_helpers.confirmation [STUDY ...] [--cells 1] [--workers 2]

Every change of the code that a study's numbers come from makes it stale, also one that changes no
number, and to make all studies anew takes hours. So of each stale study some cells, drawn at
random, are repeated with today's code: in a copy of the project that holds no trained run, with as
many threads as before. If every number of their rows comes out the same, to the last digit, that is
noted in the study's provenance under today's digest; if one does not, the study stays stale and
what differs is printed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from vae_helpers import studies, study_runs
from vae_helpers.files import write_whole
from vae_helpers.mistakes import copy_project
from vae_helpers.parameters import ParameterError
from vae_helpers.studies import PUBLISHED
from vae_helpers.study_runs import Plan

Row = Mapping[str, str]


def committed_rows(name: str) -> list[Row]:
    """A committed study's table, every entry as the text that stands there."""
    with (PUBLISHED / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def draw(plan: Plan, count: int) -> list[int]:
    """The places of so many finished cells, drawn by the code's digest: nobody picks them."""
    finished = [i for i, row in enumerate(committed_rows(plan.name)) if row["status"] == "finished"]
    return sorted(random.Random(plan.code).sample(finished, min(count, len(finished))))


def differences(before: Row, now: Row) -> list[str]:
    """Where two rows do not hold the same text; a column that a row lacks is empty in it."""
    return [
        f"{column}: committed {before.get(column, '')!r}, now {now.get(column, '')!r}"
        for column in dict.fromkeys((*before, *now))
        if before.get(column, "") != now.get(column, "")
    ]


def repeat(plan: Plan, place: int, *, threads: int) -> Row:
    """Execute one cell of a study and return its row of the table."""
    cell = plan.cells[place]
    outcome = study_runs.run_cell(cell.execution, code=plan.code, threads=threads)
    record = study_runs.record(cell, outcome, threads=threads, workers=1)
    (row,) = csv.DictReader(
        io.StringIO(study_runs.table([record], [] if cell.arm is None else [cell.arm]))
    )
    return row


def _repeat_in(copy: Path, plan: Plan, place: int) -> list[str]:
    """Repeat a cell by a process in the copy; how its row differs from the committed one."""
    command = [sys.executable, "-m", "vae_helpers.confirmation", plan.name, "--repeat", str(place)]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode:
        return [done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it ended early"]
    return differences(
        committed_rows(plan.name)[place], json.loads(done.stdout.strip().splitlines()[-1])
    )


def confirm(plan: Plan, places: list[int]) -> None:
    """Note in a study's provenance that these of its cells came out the same with today's code."""
    path = PUBLISHED / f"{plan.name}.json"
    found = json.loads(path.read_text())
    found["confirmed"] = {
        "digest": plan.code,
        "cells": [plan.cells[place].label for place in places],
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_whole(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    """The number of studies that are no longer what the code gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="STUDY", help="all that are stale if none")
    parser.add_argument("--cells", type=int, default=1, help="to repeat of each study")
    parser.add_argument("--workers", type=int, default=2, help="cells at a time")
    parser.add_argument("--repeat", type=int, metavar="PLACE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        plans = study_runs.committed(options.names)
    except ParameterError as error:
        print(f"refused, nothing was run: {error}", file=sys.stderr)
        return 2
    threads = {plan.name: studies.read(plan.name).provenance["threads"][0] for plan in plans}
    if options.repeat is not None:
        print(json.dumps(repeat(plans[0], options.repeat, threads=threads[plans[0].name])))
        return 0

    stale = [plan for plan in plans if studies.read(plan.name).stale]
    jobs = [(plan, place) for plan in stale for place in draw(plan, options.cells)]
    changed: set[str] = set()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        copy_project(Path(folder), "notebooks", "report")
        for (plan, place), found in zip(
            jobs, pool.map(lambda job: _repeat_in(Path(folder), *job), jobs), strict=True
        ):
            said = f"{len(found)} entries differ" if found else "the same to the last digit"
            print(f"{plan.name}, {plan.cells[place].label}: {said}", flush=True)
            print("".join(f"    {line}\n" for line in found[:5]), end="", flush=True)
            changed |= {plan.name} if found else set()
    for plan in stale:
        if plan.name not in changed:
            confirm(plan, draw(plan, options.cells))
    return len(changed)


if __name__ == "__main__":
    sys.exit(main())
