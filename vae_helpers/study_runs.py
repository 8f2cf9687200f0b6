"""Study runs: one notebook over a grid of parameters, its cells shared out by dask.

Each cell of the grid is one papermill run. What it found is written whole to
`FOLDER/cells/<key>.json` as soon as it is done, so that a study that was stopped, even killed, goes
on with the cells that are not there or damaged. `FOLDER/table.csv` has one row a cell and the same
bytes whether or not it was stopped; `FOLDER/provenance.json` says how, when and where it was made.

A grid is a product. What is compared one at a time are arms: named sets of parameters, each of
which goes through the whole grid.

Two things enter the key besides the parameters: the notebook, and the code that its numbers come
from (`fingerprint.digest`).
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import itertools
import json
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_helpers import PROJECT, course, parameters
from vae_helpers.claims import BUILD, defaults
from vae_helpers.course import Execution, NotebookFailedError
from vae_helpers.files import (
    DamagedFileError,
    read_json,
    read_sealed,
    remove_left_over,
    sealed,
    write_whole,
)
from vae_helpers.fingerprint import digest
from vae_helpers.parameters import ParameterError, shown, suggestion
from vae_helpers.studies import PUBLISHED, STUDIES, StudyError, planned

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

VERSIONS = ("torch", "torchvision", "numpy", "papermill", "distributed")
SCHEDULER_SECONDS = 10
ENTRY = {
    "purpose": str,
    "notebook": str,
    "arms": object,  # `plan` checks these
    "grid": dict,
    "given": dict,
    "profile": str,
}
"""What an entry of studies.toml may say, and of which type it is."""

Record = dict[str, Any]


class SchedulerLostError(RuntimeError):
    """The scheduler went away while a study ran."""


@dataclass(frozen=True)
class Cell:
    """One point of a grid.

    Attributes:
        label: what the grid says of it, such as "seed=1 beta=0.5", after its arm, if there are
            arms: "plain, seed=1".
        values: every parameter of the notebook.
        key: digest of the notebook, its code and the values.
        execution: the papermill run, all of its parameters spelt out.
        arm: the name of its arm; None without arms.
    """

    label: str
    values: Mapping[str, Any]
    key: str
    execution: Execution
    arm: str | None


@dataclass(frozen=True)
class Plan:
    """A study that may be run: everything in it has been checked. Made by `plan`."""

    name: str
    notebook: str
    arms: Mapping[str, Mapping[str, Any]]
    grid: Mapping[str, Sequence[Any]]
    given: Mapping[str, Any]
    profile: str
    code: str
    cells: tuple[Cell, ...]
    folder: Path


def plan(
    notebook: str,
    grid: Mapping[str, Sequence[Any]],
    given: Mapping[str, Any] | None = None,
    *,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
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
            notebook's defaults. Every arm goes through the whole grid.
        profile: "full" or "smoke"; grid, given and arms come on top.
        name: what messages call it; the notebook's name if None.
        folder: where cells and table go; a folder of its own below build/studies/ if None.

    Raises:
        ParameterError: an unknown notebook or parameter, a wrong type, a value out of range, a
            parameter or a cell given twice, a grid without values, no arms, an arm that is none.
    """
    given = given or {}
    if not grid:
        raise ParameterError("expected at least one parameter with its values, got an empty grid")
    for parameter, values in grid.items():
        if parameter in given:
            raise ParameterError(f"{parameter}: expected in the grid or by itself, got both")
        if not isinstance(values, (list, tuple)) or not values:
            raise ParameterError(f"{parameter}: expected one or more values, got {values!r}")
    if arms is not None:
        _check_arms(arms, grid, given)
    for path in (folder, *folder.parents) if folder is not None else ():
        if os.path.exists(path) and not path.is_dir():
            raise ParameterError(f"expected a folder for the study, got the file {path}")
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    found = [
        (arm, course.plan([notebook], {**given, **own, **point}, profile=profile)[0])
        for arm, own in (arms.items() if arms else [(None, {})])
        for point in points
    ]
    notebook = found[0][1].notebook
    code = digest(notebook)
    cells = tuple(_cell(execution, list(grid), code, arm=arm) for arm, execution in found)
    for number, cell in enumerate(cells):
        if cell.key in {other.key for other in cells[:number]}:
            raise ParameterError(f"{cell.label}: expected once in the grid, got twice")
    typed = {
        parameter: list(dict.fromkeys(cell.values[parameter] for cell in cells))
        for parameter in grid
    }
    alone = {parameter: cells[0].values[parameter] for parameter in given}
    whole = {cell.arm: cell.values for cell in cells}
    typed_arms = {
        arm: {parameter: whole[arm][parameter] for parameter in own}
        for arm, own in (arms or {}).items()
    }
    parts = (typed_arms, typed, alone, profile)
    default = BUILD / "studies" / (name or _hash([notebook, *parts])[:12])
    return Plan(name or notebook, notebook, *parts, code, cells, folder or default)


def committed(names: Sequence[str] = ()) -> list[Plan]:
    """The studies of report/studies.toml, planned; all if no names are given.

    Raises:
        StudyError: a name is not there, or an entry lacks something or has too much.
        ParameterError: as in `plan`.
    """
    entries = planned(STUDIES)
    plans = []
    for name in names or entries:
        if name not in entries:
            raise StudyError(f"unknown study {name!r}{suggestion(name, entries)}")
        entry = entries[name]
        _check_entry(name, entry)
        try:
            study = plan(
                entry["notebook"],
                entry["grid"],
                entry.get("given"),
                arms=entry.get("arms"),
                profile=entry.get("profile", "full"),
                name=name,
            )
        except ParameterError as error:
            raise StudyError(f"{STUDIES.name}: {name}: {error}") from error
        plans.append(study)
    return plans


def _check_entry(name: str, entry: Any) -> None:
    where = f"{STUDIES.name}: {name}"
    if not isinstance(entry, dict):
        raise StudyError(f"{where}: expected a table, got {shown(entry)}")
    for field in sorted({"purpose", "notebook", "grid"} - entry.keys()):
        raise StudyError(f"{where} lacks {field!r}")
    for field, value in entry.items():
        if field not in ENTRY:
            raise StudyError(f"{where}: unknown entry {field!r}{suggestion(field, ENTRY)}")
        if not isinstance(value, ENTRY[field]):
            kind = "a table" if ENTRY[field] is dict else "text"
            raise StudyError(f"{where}: {field}: expected {kind}, got {shown(value)}")


def run(plan: Plan, *, scheduler: str | None = None, workers: int | None = None) -> int:
    """Execute the cells that are not finished, and write table and provenance.

    Args:
        plan: from `plan` or `committed`.
        scheduler: address of a dask scheduler, whose workers have the same code; a local cluster
            if None. One thread of a worker there stands for one core.
        workers: processes of the local cluster; as many as there are cores if None. They share
            the cores out among themselves.

    Returns:
        How many cells failed. They are rows of the table, and run again next time.

    Raises:
        ParameterError: there is no such number of workers or no scheduler at that address.
        SchedulerLostError: it went away meanwhile.
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers: expected at least 1, got {workers}")
    if workers is not None and scheduler is not None:
        raise ParameterError("expected workers or a scheduler, which has its own, got both")
    records = _finished(plan)
    waiting = [cell for cell in plan.cells if cell.key not in records]
    done = len(records)
    print(f"study {plan.name}: {len(plan.cells)} cells, {done} finished before", flush=True)
    if waiting:
        workers = min(workers or _cores(), len(plan.cells))
        with _client(scheduler, workers) as client:
            threads = 1 if scheduler else threads_each(workers, cores=_cores())
            for cell, record in _run_cells(client, waiting, code=plan.code, threads=threads):
                write_whole(_path(plan, cell), sealed(record))
                records[cell.key] = record
                done += 1
                took = "" if record["seconds"] is None else f" in {record['seconds']:.0f} s"
                print(f"{done}/{len(plan.cells)} {cell.label} {record['status']}{took}", flush=True)
                if record["error"]:
                    where = cell.execution.output
                    print(f"{cell.label}: {record['error']}; see {where}", file=sys.stderr)
    ordered = [records[cell.key] for cell in plan.cells]
    arms = [cell.arm for cell in plan.cells if cell.arm is not None]
    write_whole(plan.folder / "table.csv", table(ordered, arms))
    write_whole(plan.folder / "provenance.json", _json(provenance(plan, ordered)))
    print(f"study {plan.name}: {plan.folder / 'table.csv'}", flush=True)
    return sum(record["status"] != "finished" for record in ordered)


def publish(plan: Plan) -> None:
    """Copy a committed study's table and provenance to report/results/studies/."""
    for made, kind in (("table.csv", "csv"), ("provenance.json", "json")):
        write_whole(PUBLISHED / f"{plan.name}.{kind}", (plan.folder / made).read_bytes())


def threads_each(workers: int, *, cores: int) -> int:
    """How many threads a cell gets when workers share the cores of one machine."""
    return max(1, cores // workers)


def run_cell(execution: Execution, *, code: str, threads: int) -> dict[str, Any]:
    """Execute one cell; called on a worker.

    Args:
        execution: with a value for every parameter of the notebook.
        code: what `fingerprint.digest` says where the study was started.
        threads: of the kernel; the same for all cells of a study.

    Returns:
        `seconds`, and either `results`, what the lesson has left, or `error`.
    """
    own = digest(execution.notebook)
    if own != code:
        return {
            "seconds": None,
            "error": f"{platform.node()} has other code: expected digest {code}, got {own}; bring "
            f"{PROJECT} there to the same commit and run the study again",
        }
    # set and left: cells in other threads of this process need the same values
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    # dask's default for its workers; inherited by a kernel it makes training a third slower
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    execution.results.unlink(missing_ok=True)
    began = time.perf_counter()
    error = None
    try:
        course.execute(execution)
    except NotebookFailedError as failure:
        error = str(failure)
    seconds = round(time.perf_counter() - began, 3)
    if error is None and not execution.results.exists():
        error = f"{execution.notebook}: its lesson has left no results in {execution.results}"
    if error is not None:
        return {"seconds": seconds, "error": error}
    remedy = "run the study again"
    return {"seconds": seconds, "results": read_json(execution.results, remedy=remedy)}


def table(records: Sequence[Record], arms: Sequence[str] = ()) -> str:
    """A study as CSV: parameters, status, error, metrics in the order in which they first appear.

    Numbers that depend on the machine are left out, and so are lists that are no series. A series
    has a column for each of its values, such as `fcd[30]`.

    Args:
        records: one a cell.
        arms: the arm of each, which becomes the first column; no such column if empty.
    """
    first = [{"arm": arm} for arm in arms] or [{}] * len(records)
    rows = [
        {
            **arm,
            **{name: _text(value) for name, value in record["parameters"].items()},
            "status": record["status"],
            "error": record["error"],
            **_metrics(record["values"]),
        }
        for arm, record in zip(first, records, strict=True)
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def provenance(plan: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """How, when and where a study was made, and what depends on that."""
    today = datetime.now(UTC).date().isoformat()
    return {
        "study": plan.name,
        "notebook": plan.notebook,
        "arms": plan.arms,
        "grid": plan.grid,
        "given": plan.given,
        "profile": plan.profile,
        "digest": plan.code,
        "seeds": sorted({cell.values["seed"] for cell in plan.cells if "seed" in cell.values}),
        "threads": sorted({record["threads"] for record in records}),
        "workers": sorted({record["workers"] for record in records}),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in VERSIONS},
        },
        "machine": f"{platform.machine()}, {platform.system()}, {_cores()} cores",
        "date": today,
        "cells": [
            {
                "cell": cell.label,
                "seconds": record["seconds"],
                "machine": record["machine"],
                "date": record["date"],
                "measured": {
                    name: entry["value"]
                    for name, entry in record["values"].items()
                    if entry["kind"] == "measured"
                },
            }
            for cell, record in zip(plan.cells, records, strict=True)
        ],
    }


def _check_arms(arms: Any, grid: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    if not isinstance(arms, Mapping) or not arms:
        raise ParameterError(f"arms: expected at least one, each a table by its name, got {arms!r}")
    for arm, values in arms.items():
        if not isinstance(values, Mapping):
            raise ParameterError(f"arm {arm!r}: expected a table of parameters, got {values!r}")
        for parameter in values:
            for place, others in (("in the grid", grid), ("by itself", given)):
                if parameter in others:
                    raise ParameterError(
                        f"{parameter}: expected in the arm {arm!r} or {place}, got both"
                    )


def _cell(execution: Execution, names: Iterable[str], code: str, *, arm: str | None) -> Cell:
    base = defaults(execution.notebook) | dict(execution.overrides)
    values = {name: parameters.check(name, value) for name, value in base.items()}
    # a worker's checkout may have other defaults: nothing is left to them
    whole = Execution(execution.notebook, values, execution.profile)
    point = " ".join(f"{name}={_text(values[name])}" for name in names)
    label = point if arm is None else f"{arm}, {point}"
    return Cell(label, values, _hash([execution.notebook, values, code])[:16], whole, arm)


@contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a local cluster that ends with it."""
    from distributed import Client, LocalCluster

    if scheduler is None:
        with _interrupts_ignored():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                # its web server starts all the same: not at 8787, where another may be
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                memory_limit=0,  # a worker is small, its kernels are not counted
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster) as client:
            try:
                yield client
            except BaseException:  # Ctrl-C above all
                _kill_workers(cluster)
                raise
        return
    try:
        client = Client(scheduler, timeout=SCHEDULER_SECONDS)
        client.wait_for_workers(1, timeout=SCHEDULER_SECONDS)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"expected a dask scheduler with workers at {scheduler!r}, got none: {error}"
        ) from error
    with client:
        yield client


def _kill_workers(cluster: LocalCluster) -> None:
    """End the workers at once; a kernel whose worker is gone ends itself within a second.

    A worker that ends in order would close its kernel in the middle of a cell, from another thread
    than the one that listens to it, which fails now and then and prints tracebacks.
    """
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid is not None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile leave Ctrl-C to this one, which ends them in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_cells(
    client: Client, cells: Sequence[Cell], *, code: str, threads: int
) -> Iterator[tuple[Cell, Record]]:
    """Each cell with its record, as they are done."""
    from distributed import as_completed

    waiting, completed = list(reversed(cells)), as_completed()
    running: dict[Future[Any], Cell] = {}
    while waiting or running:
        size = client.nthreads()
        # never more than there are threads: dask blames all that a worker held when it died
        while waiting and len(running) < max(1, sum(size.values())):
            cell = waiting.pop()
            # with the same name an earlier client's call that still runs is taken over
            future = client.submit(
                run_cell, cell.execution, code=code, threads=threads, key=f"cell-{cell.key}"
            )
            running[future] = cell
            completed.add(future)
        future = next(completed)
        cell = running.pop(future)
        if future.cancelled():
            raise SchedulerLostError(
                "the scheduler went away; finished cells are kept, the same command goes on"
            )
        if future.status == "finished":
            outcome = future.result()
        else:
            outcome = {"seconds": None, "error": _reason(future.exception())}
        yield cell, record(cell, outcome, threads=threads, workers=len(size))


def _reason(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker died again and again, killed or out of memory"
    return f"{type(error).__name__}: {error}"


def record(cell: Cell, outcome: Mapping[str, Any], *, threads: int, workers: int) -> Record:
    """What is kept of a cell: its parameters, what `run_cell` gave, and under what conditions."""
    results = outcome.get("results", {"values": {}, "machine": None})
    error = outcome.get("error")
    return {
        "parameters": cell.values,
        "status": "failed" if error else "finished",
        "error": error.splitlines()[0] if error else None,
        "values": results["values"],
        "machine": results["machine"],
        "threads": threads,
        "workers": workers,
        "seconds": outcome["seconds"],
        "date": datetime.now(UTC).date().isoformat(),
    }


def _finished(plan: Plan) -> dict[str, Record]:
    """What is on disk of the cells that did not fail, by their keys."""
    remove_left_over(plan.folder)
    remove_left_over(plan.folder / "cells")
    found = {}
    for cell in plan.cells:
        path = _path(plan, cell)
        if not path.exists():
            continue
        try:
            kept = read_sealed(path, remedy="it runs again")
        except DamagedFileError as error:
            print(f"{cell.label}: {error}", file=sys.stderr)
            continue
        if kept["status"] == "finished":
            found[cell.key] = kept
    return found


def _path(plan: Plan, cell: Cell) -> Path:
    return plan.folder / "cells" / f"{cell.key}.json"


def _metrics(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for name, entry in values.items():
        if entry["kind"] == "series":
            for at, value in zip(entry["at"], entry["value"], strict=True):
                found[f"{name}[{at}]"] = value
        elif entry["kind"] in ("banded", "exact") and not isinstance(entry["value"], list):
            found[name] = entry["value"]
    return found


def _text(value: Any) -> Any:
    """A parameter as it stands in a label or in a table."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cores() -> int:
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
