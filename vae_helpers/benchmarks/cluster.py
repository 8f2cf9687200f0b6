"""How a study scales with its workers, and what a cluster would need for all committed studies.

Measured here: a small study with one, two, four, ... local workers of one thread each. Projected:
everything about clusters, from the seconds of every cell that the committed studies have left in
their provenance. A projection takes workers as fast as those were and counts nothing for dask.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers import PROJECT
from vae_helpers.benchmarks import clock
from vae_helpers.course.execution import NotebookFailedError
from vae_helpers.store import machine
from vae_helpers.store.files import read_json

REPORT = PROJECT / "report"
NOTEBOOK = "05_training"
PARAMETERS = {"epochs": 6, "train_images": 10_000}
LEAST_CELLS = 4
LOCAL, CLUSTERS = (1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64, 100)
LIMIT = 600
"""Seconds within which a cluster is asked to do all studies."""


@dataclass(frozen=True)
class Timing:
    """What a small study took.

    Attributes:
        workers: of one thread each.
        seconds: from the command to its end.
        start: seconds of it until the first cell began: imports, scheduler and workers.
        cells: seconds of each cell: start of its kernel, papermill, the notebook.
        kernels: seconds of each cell in which its kernel executed the notebook.
    """

    workers: int
    seconds: float
    start: float
    cells: tuple[float, ...]
    kernels: tuple[float, ...]

    @property
    def papermill(self) -> float:
        """Seconds per cell that start a kernel and read and write the notebook."""
        return statistics.fmean(self.cells) - statistics.fmean(self.kernels)

    @property
    def dask(self) -> float:
        """Seconds per cell of a worker's time that is neither start-up nor cell.

        Dask's messages, the client's files, the end of the cluster, and with several workers the
        time that one waits for the last.
        """
        return (self.workers * (self.seconds - self.start) - sum(self.cells)) / len(self.cells)

    def efficiency(self, one: Timing) -> float:
        """Seconds of one worker over the seconds of these times their number."""
        return one.seconds / (self.workers * self.seconds)


@dataclass(frozen=True)
class Cell:
    """A committed cell: its study and label, its seconds, and the threads that it had."""

    name: str
    seconds: float
    threads: int

    @property
    def core_seconds(self) -> float:
        """Its seconds on one core, if its threads had lost nothing."""
        return self.seconds * self.threads


def committed(report: Path = REPORT) -> list[Cell]:
    """The cells of all studies of studies.toml that were run, from their provenance.

    Args:
        report: the folder with studies.toml and results/studies/.

    Raises:
        DamagedFileError: a study has left a table and no provenance, or a damaged one.
    """
    names = tomllib.loads((report / "studies.toml").read_text(encoding="utf-8"))
    found = []
    for name in names:
        path = report / "results" / "studies" / f"{name}.json"
        if not path.exists() and not path.with_suffix(".csv").exists():
            continue  # it is planned
        about = read_json(path, remedy=f"run it: python -m vae_helpers studies {name}")
        for cell in about["cells"]:
            if cell["seconds"] is not None:  # its worker died
                threads = (cell["machine"] or {}).get("threads") or max(about["threads"])
                found.append(Cell(f"{name}, {cell['cell']}", cell["seconds"], threads))
    return found


def lower_bound(seconds: Sequence[float], workers: int) -> float:
    """Seconds that so many workers need at least: their share of all, and the longest cell."""
    return max(sum(seconds) / workers, max(seconds))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds that so many workers take if the longest cell that is left goes to the first free."""
    ends = [0.0] * workers
    for cell in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + cell)
    return max(ends)


def workers_for(seconds: Sequence[float], limit: float) -> int | None:
    """The fewest workers whose `makespan` is within a limit in seconds; None if there are none."""
    if max(seconds) > limit:
        return None
    return next(n for n in range(1, len(seconds) + 1) if makespan(seconds, n) <= limit)


def timed(workers: int, cells: int) -> Timing:
    """Time a study of so many cells of notebook 05 in the smoke profile.

    It runs in a copy of the project that holds no trained run and is removed afterwards, on as many
    cores as there are workers, if the machine has them: so each has one thread.

    Raises:
        NotebookFailedError: the study failed; what it said stands on stderr.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy, folder = Path(scratch) / "project", Path(scratch) / "study"
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        for name in ("vae_helpers", "notebooks", "report", "data"):
            shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
        shutil.copy(PROJECT / "pyproject.toml", copy)
        with _cores(workers):
            seconds, first, label = _run(command(workers, cells, folder), copy)
        about = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        of = {cell["cell"]: float(cell["seconds"]) for cell in about["cells"]}
        executed = sorted((copy / "build").rglob(f"notebooks/{NOTEBOOK}.ipynb"))
        kernels = tuple(kernel_seconds(path) for path in executed)
    return Timing(workers, seconds, first - of[label], tuple(of.values()), kernels)


def command(workers: int, cells: int, folder: Path) -> list[str]:
    """The command line of the small study: so many seeds, in a folder."""
    given = [word for name, value in PARAMETERS.items() for word in ("-p", name, str(value))]
    seeds = map(str, range(1, cells + 1))
    return [
        *(sys.executable, "-m", "vae_helpers", "study", NOTEBOOK, "--profile", "smoke"),
        *("-g", "seed", *seeds, *given, "--workers", str(workers), "--output", str(folder)),
    ]


def kernel_seconds(path: Path) -> float:
    """Seconds in which a kernel executed the cells of a notebook that papermill has written."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return sum(cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in cells)


def measured_lines(timings: Sequence[Timing]) -> Iterator[str]:
    """The table of the small study; the first timing is that of one worker."""
    yield "workers  seconds  start-up  efficiency   per cell: kernel  papermill and start  dask"
    for own in timings:
        yield (
            f"{own.workers:7}{own.seconds:9.1f}{own.start:10.1f}{own.efficiency(timings[0]):12.0%}"
            f"{statistics.fmean(own.kernels):19.2f}{own.papermill:21.2f}{own.dask:6.2f}"
        )


def projected_lines(cells: Sequence[Cell]) -> Iterator[str]:
    """What a cluster of workers with one thread each would need for all committed studies."""
    seconds = [cell.core_seconds for cell in cells]
    longest = max(cells, key=lambda cell: cell.core_seconds)
    yield f"{len(cells)} cells, {sum(seconds):,.0f} core-seconds; the longest takes"
    yield f"{longest.core_seconds:,.0f} s: {longest.name}"
    yield "workers  seconds at least  longest cells first"
    for count in CLUSTERS:
        yield f"{count:7}{lower_bound(seconds, count):18,.0f}{makespan(seconds, count):21,.0f}"
    enough = workers_for(seconds, LIMIT)
    if enough is not None:
        yield f"in {LIMIT} s: {enough} workers"
    else:
        rest = [each for each in seconds if each <= LIMIT]
        yield (
            f"in {LIMIT} s: no number of workers, as the longest cell takes longer; "
            f"{len(seconds) - len(rest)} of the cells do"
        )
        if rest:
            yield f"the other {len(rest)} cells in {LIMIT} s: {workers_for(rest, LIMIT)} workers"
    yield f"100 workers: {makespan(seconds, 100):,.0f} s"


def figures_of(timings: Sequence[Timing], cells: Sequence[Cell]) -> dict[str, Any]:
    """The figures by their keys: `seconds_2` is that of two workers, `projected_...` no measure."""
    found: dict[str, Any] = {"cells": len(timings[0].cells)}
    for own in timings:
        found |= {
            f"seconds_{own.workers}": own.seconds,
            f"start_seconds_{own.workers}": own.start,
            f"efficiency_{own.workers}": own.efficiency(timings[0]),
            f"kernel_seconds_{own.workers}": statistics.fmean(own.kernels),
            f"papermill_seconds_{own.workers}": own.papermill,
            f"dask_seconds_{own.workers}": own.dask,
        }
    seconds = [cell.core_seconds for cell in cells]
    return found | {
        "projected_cells": len(cells),
        "projected_core_seconds": sum(seconds),
        "projected_longest_seconds": max(seconds),
        "projected_too_long": sum(each > LIMIT for each in seconds),
        "projected_workers": workers_for(seconds, LIMIT),
        "projected_workers_without_too_long": workers_for(
            [each for each in seconds if each <= LIMIT] or [0.0], LIMIT
        ),
        "projected_seconds_100": makespan(seconds, 100),
        "projected_seconds_at_least_100": lower_bound(seconds, 100),
    }


def report(*, workers: Sequence[int] = (), write: bool = False) -> None:
    """Print what was measured, and what is projected from the committed studies.

    Args:
        workers: their numbers; 1, 2, 4 and 8, as far as there are cores, if none is named. One
            worker is always measured: the others are compared with it.
        write: the figures to report/results/measured/cluster.json.
    """
    cores, cells = machine.cores(), committed()
    counts = sorted({1, *(workers or (count for count in LOCAL if count <= cores))})
    size = max(LEAST_CELLS, *counts)
    print(f"MEASURED on {clock.processor()}, {cores} cores: a study of {size} cells of {NOTEBOOK}")
    print("in the smoke profile; workers of one thread; all in seconds", flush=True)
    timings = [timed(count, size) for count in counts]
    print(*measured_lines(timings), sep="\n")
    print("\nPROJECTED from the seconds of each cell of the committed studies, for workers of one")
    print(
        "thread as fast as theirs; a cell that went on from a trained run would take longer alone"
    )
    print(*projected_lines(cells), sep="\n")
    if write:
        about: Mapping[str, Any] = {"processor": clock.processor(), "cores": cores}
        clock.write("cluster", {**figures_of(timings, cells), **about})


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """Processes that start inside may use so many cores, or all if there are fewer."""
    if not hasattr(os, "sched_setaffinity"):  # not on macOS: one worker has all cores there
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _run(words: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Run a study in a copy of the project.

    Returns:
        Its seconds, those until its first cell was done, and that cell's label.
    """
    began, first = time.perf_counter(), None
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if done := re.match(r"1/\d+ (.+) finished in ", line):
                first = time.perf_counter() - began, done[1]
    if process.returncode or first is None:
        raise NotebookFailedError(
            f"expected the study to end with status 0, got {process.returncode}: what it said "
            "stands above; run it by itself: " + " ".join(words[1:])
        )
    return time.perf_counter() - began, *first
