"""Run a study: its cells shared out by dask, each of them one papermill run.

What a cell found is written whole to `FOLDER/cells/<key>.json` as soon as it is done, so that a
study that was stopped, even killed, goes on with the cells that are missing or damaged. Rows of the
committed table count as done if they hold today (`studies.committed`) and have today's versions.
A worker gets cells only if its code and its versions are the client's; it may join late, and the
cell of one that is gone runs again on another.
`FOLDER/table.csv` has one row per cell and the same bytes whether or not it was stopped;
`FOLDER/provenance.json` says how, when and where it was made.
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import logging
import math
import os
import platform
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vae_helpers import PROJECT
from vae_helpers.course import execution, notebooks
from vae_helpers.course.execution import NotebookFailedError
from vae_helpers.parameters import ParameterError
from vae_helpers.store import code_digest
from vae_helpers.store.files import (
    DamagedFileError,
    read_json,
    read_sealed,
    remove_left_over,
    sealed,
    write_whole,
)
from vae_helpers.studies import committed, tables
from vae_helpers.studies.planning import Cell, Plan, text

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

VERSIONS = ("torch", "torchvision", "numpy", "papermill", "distributed")
SCHEDULER_SECONDS = 10
POLL_SECONDS = 0.5
"""How long a worker that joins or is gone may go unnoticed."""
DIED = "its worker died again and again, killed or out of memory"

Record = dict[str, Any]


class SchedulerLostError(RuntimeError):
    """The scheduler went away while a study ran."""

    def __init__(self) -> None:
        super().__init__(
            "the scheduler went away; finished cells are stored, the same command goes on"
        )


class _Running(NamedTuple):
    """A cell under way.

    Attributes:
        cell: what runs.
        worker: the address of the only worker that may run it.
        workers: how many there were when it began.
    """

    cell: Cell
    worker: str
    workers: int


def run(plan: Plan, *, scheduler: str | None = None, workers: int | None = None) -> int:
    """Execute the cells that are not finished, and write table and provenance.

    Args:
        plan: what to run.
        scheduler: address of a dask scheduler; a local cluster if None. One thread of a worker
            there stands for one core. Workers with other code or versions get no cells.
        workers: processes of the local cluster, which share the cores; as many as cores if None.

    Returns:
        How many cells failed. They are rows of the table, and run again next time.

    Raises:
        ParameterError: there is no such number of workers, no scheduler at that address, or none
            of its workers has this code and these versions.
        SchedulerLostError: it went away meanwhile.
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers: expected at least 1, got {workers}")
    if workers is not None and scheduler is not None:
        raise ParameterError("expected workers or a scheduler, which has its own, got both")
    held, stored = _held(plan), _finished(plan)
    spared = committed.records(plan, held) if held else {}
    records = spared | stored
    left = [cell for cell in plan.cells if cell.key not in records]
    there = f"{len(records)} finished before"
    if only := len(spared.keys() - stored.keys()):
        there += f" ({only} of them in the committed table)"
    print(f"study {plan.name}: {len(plan.cells)} cells, {there}", flush=True)
    if left:
        workers = min(workers or _cores(), len(plan.cells))
        print(_estimate(plan, len(left), 1 if scheduler else workers), end="", flush=True)
        threads = 1 if scheduler else threads_each(workers, cores=_cores())
        with _client(scheduler, workers) as client:
            able = _Workers(client, plan)
            for cell, record in _run_cells(able, left, threads=threads):
                write_whole(_path(plan, cell), sealed(record))
                records[cell.key] = record
                _report(cell, record, f"{len(records)}/{len(plan.cells)}")
    ordered = [records[cell.key] for cell in plan.cells]
    made = [row(record, cell.arm) for cell, record in zip(plan.cells, ordered, strict=True)]
    write_whole(plan.folder / "table.csv", table(made))
    about = provenance(plan, ordered)
    if held:
        labels = {cell.label for cell in plan.cells if cell.key in spared}
        about = committed.provenance(about, held.provenance, labels)
        if not left and _is_published(plan, held, table(made)):
            about = dict(held.provenance)  # when and where it was made is known better there
    said = json.dumps(about, indent=1, ensure_ascii=False)
    write_whole(plan.folder / "provenance.json", said + "\n")
    print(f"study {plan.name}: {plan.folder / 'table.csv'}", flush=True)
    return sum(record["status"] != "finished" for record in ordered)


def waiting(plan: Plan) -> list[Cell]:
    """The cells that `run` would execute: neither finished nor in a committed table that holds."""
    held = _held(plan, say=False)
    known = _finished(plan).keys() | (committed.records(plan, held) if held else {}).keys()
    return [cell for cell in plan.cells if cell.key not in known]


def publish(plan: Plan) -> None:
    """Copy a committed study's table and provenance to report/results/studies/."""
    for made, kind in (("table.csv", "csv"), ("provenance.json", "json")):
        target = tables.PUBLISHED / f"{plan.name}.{kind}"
        write_whole(target, (plan.folder / made).read_bytes())


def threads_each(workers: int, *, cores: int) -> int:
    """How many threads a cell gets when workers share the cores of one machine."""
    return max(1, cores // workers)


def about_worker(notebook: str, words: Iterable[str]) -> dict[str, str]:
    """What has to be the same on all workers of a study; called on a worker.

    Returns:
        The digest of the notebook's code as `code`, with these texts among the values of its
        parameters, and the versions of Python and of the packages in `VERSIONS`.
    """
    return {"code": code_digest.of_notebook(notebook, words), **_versions()}


def differences(expected: Mapping[str, str], got: Mapping[str, str]) -> str:
    """What of a worker is not as expected, such as "torch: expected 2.1, got 2.0"; "" if nothing.

    Which build a version is, such as +cpu, does not count.
    """
    return ", ".join(
        f"{name}: expected {value}, got {got.get(name)}"
        for name, value in expected.items()
        if value.partition("+")[0] != got.get(name, "").partition("+")[0]
    )


def run_cell(cell: Cell, *, threads: int) -> dict[str, Any]:
    """Execute one cell in a kernel with so many threads; called on a worker.

    Returns:
        `seconds`, and either `results`, what the notebook has left, or `error`.
    """
    own = code_digest.of_notebook(cell.execution.notebook, code_digest.words_among(cell.values))
    if own != cell.code:
        return {
            "seconds": None,
            "error": f"{platform.node()} has other code: expected digest {cell.code}, got {own}; "
            f"bring {PROJECT} there to the same commit and run the study again",
        }
    # set and left: cells in other threads of this process need the same values
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    # dask's default for its workers; inherited by a kernel it makes training a third slower
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    left = cell.execution.results
    left.unlink(missing_ok=True)
    began = time.perf_counter()
    outcome: dict[str, Any] = {}
    try:
        execution.execute(cell.execution)
        outcome["results"] = read_json(left, remedy="run the study again")
    except (NotebookFailedError, DamagedFileError) as error:
        outcome["error"] = str(error)
    return {"seconds": round(time.perf_counter() - began, 3), **outcome}


def record(cell: Cell, outcome: Mapping[str, Any], *, threads: int, workers: int) -> Record:
    """What is stored of a cell: its parameters, what `run_cell` gave, and the conditions."""
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
        "date": _today(),
    }


def row(record: Record, arm: str | None = None) -> dict[str, str]:
    """A cell's row of the table as text: its arm if any, parameters, status, error, metrics.

    Numbers that depend on the machine are left out, and so are lists that are no series. A series
    has a column for each of its values, such as `fcd[30]`.
    """
    entries = {} if arm is None else {"arm": arm}
    entries |= {name: text(value) for name, value in record["parameters"].items()}
    entries |= {"status": record["status"], "error": record["error"]}
    for name, entry in record["values"].items():
        if entry["kind"] == "series":
            numbers = zip(entry["at"], entry["value"], strict=True)
            entries |= {f"{name}[{at}]": value for at, value in numbers}
        elif entry["kind"] in ("tolerance", "exact", "observed") and not isinstance(
            entry["value"], list
        ):
            entries[name] = entry["value"]
    return {name: "" if value is None else str(value) for name, value in entries.items()}


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as CSV; the columns stand in the order in which they first appear."""
    file = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def provenance(plan: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """How, when and where a study was made, and what depends on that."""
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
        "versions": _versions(),
        "machine": f"{platform.machine()}, {platform.system()}, {_cores()} cores",
        "date": _today(),
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


@contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a local cluster that ends with it."""
    from distributed import Client, LocalCluster

    if scheduler is None:
        # the cluster silences this only while it lives, and its connections may close after it
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
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


class _Workers:
    """The workers of a client that may run cells of a study; each is asked once."""

    def __init__(self, client: Client, plan: Plan) -> None:
        words = code_digest.words_among(
            notebooks.defaults(plan.notebook), plan.arms, plan.grid, plan.given
        )
        self.client = client
        self._question = plan.notebook, words
        self._expected = {"code": plan.code, **_versions()}
        self._refused: dict[str, str] = {}
        self._taken: set[str] = set()

    def threads(self) -> dict[str, int]:
        """The threads of each worker that may run cells, by its address.

        Of a worker that may not it is said once why.

        Raises:
            SchedulerLostError: the scheduler went away.
        """
        if self.client.status != "running":
            raise SchedulerLostError
        try:
            there = self.client.nthreads()
            new = [it for it in there if it not in self._taken and it not in self._refused]
            if new:
                self._ask(new)
        except OSError as error:
            raise SchedulerLostError from error
        return {worker: count for worker, count in there.items() if worker in self._taken}

    def none(self) -> ParameterError:
        """The error that no worker may run cells."""
        found = "; ".join(f"{worker} has {why}" for worker, why in self._refused.items())
        return ParameterError(
            "expected a worker with this code and these versions, got "
            f"{found or 'no worker'}: bring {PROJECT} and its environment there to the same state"
        )

    def _ask(self, workers: list[str]) -> None:
        said = self.client.run(about_worker, *self._question, workers=workers, on_error="return")
        for worker, answer in said.items():
            if isinstance(answer, OSError):
                continue  # it is gone, or does not answer yet
            failed = isinstance(answer, BaseException)
            why = _reason(answer) if failed else differences(self._expected, answer)
            if not why:
                self._taken.add(worker)
                continue
            self._refused[worker] = why
            print(
                f"worker {worker} gets no cells: {why}; bring {PROJECT} and its environment there "
                "to the same state and start it again",
                file=sys.stderr,
                flush=True,
            )


def _run_cells(
    workers: _Workers, cells: Iterable[Cell], *, threads: int
) -> Iterator[tuple[Cell, Record]]:
    """Each cell with its record, as they are done."""
    client, waiting = workers.client, [*cells][::-1]
    if not workers.threads():
        raise workers.none()
    running: dict[Future[Any], _Running] = {}
    tries: Counter[str] = Counter()
    while waiting or running:
        there = workers.threads()
        for future in [it for it, own in running.items() if own.worker not in there]:
            if not future.done():
                waiting.append(_lost(client, future, running.pop(future)))
        for worker in _free(there, running.values()):
            if waiting and tries[waiting[-1].key] > _allowed_failures():
                cell = waiting.pop()
                failed = {"seconds": None, "error": DIED}
                yield cell, record(cell, failed, threads=threads, workers=len(there))
            elif waiting:
                cell = waiting.pop()
                tries[cell.key] += 1
                # with the same name an earlier client's call that still runs is taken over
                key = f"cell-{cell.key}-{tries[cell.key]}"
                future = client.submit(run_cell, cell, threads=threads, workers=[worker], key=key)
                running[future] = _Running(cell, worker, len(there))
        for future in _done(running):
            own = running.pop(future)
            outcome = _outcome(future)
            yield own.cell, record(own.cell, outcome, threads=threads, workers=own.workers)


def _free(there: Mapping[str, int], running: Iterable[_Running]) -> Iterator[str]:
    """The worker of each thread that has no cell: one more would wait, and die with the worker."""
    busy = Counter(own.worker for own in running)
    for place in range(max(there.values(), default=0)):
        for worker, count in there.items():
            if busy[worker] <= place < count:
                yield worker


def _done(running: Mapping[Future[Any], _Running]) -> list[Future[Any]]:
    """The cells that are done, or cannot be any more; waits for the first, but not for long."""
    from distributed import CancelledError, wait

    if not running:
        time.sleep(POLL_SECONDS)  # no worker is left: one may join
        return []
    with suppress(TimeoutError, CancelledError):
        wait([*running], timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
    return [future for future in running if future.done()]


def _lost(client: Client, future: Future[Any], own: _Running) -> Cell:
    """The cell of a worker that is gone, to be run again."""
    client.cancel(future)  # no other worker may take it
    said = f"{own.cell.label}: worker {own.worker} is gone, so it runs again when another is free"
    print(said, file=sys.stderr, flush=True)
    return own.cell


def _outcome(future: Future[Any]) -> dict[str, Any]:
    """What `run_cell` gave, or the error that it ended with."""
    if future.cancelled():
        raise SchedulerLostError
    if future.status == "finished":
        return dict(future.result())
    return {"seconds": None, "error": _reason(future.exception())}


def _reason(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return DIED
    return f"{type(error).__name__}: {error}"


def _allowed_failures() -> int:
    """How many workers may die of a cell before it counts as failed: dask's own setting."""
    import dask

    return int(dask.config.get("distributed.scheduler.allowed-failures"))


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in VERSIONS},
    }


def _held(plan: Plan, *, say: bool = True) -> tables.Study | None:
    """Its committed study, if it holds today and has today's versions; else why not is said."""
    study = committed.holding(plan)
    if study and (why := differences(_versions(), study.provenance["versions"])):
        if say:
            print(f"study {plan.name}: committed rows do not count here: {why}", flush=True)
        return None
    return study


def _is_published(plan: Plan, study: tables.Study, content: str) -> bool:
    """Whether this table is the committed one, to the last byte, and of the same plan."""
    own = {"arms": plan.arms, "grid": plan.grid, "given": plan.given, "profile": plan.profile}
    own = json.loads(json.dumps(own))
    there = {name: study.provenance.get(name) for name in own}
    path = tables.PUBLISHED / f"{plan.name}.csv"
    return there == own and path.read_bytes() == content.encode()


def _estimate(plan: Plan, waiting: int, workers: int) -> str:
    """A line that says how long so many cells will take; "" where nothing is known of it."""
    seconds = committed.seconds_per_cell(plan)
    if seconds is None:
        return ""
    minutes = seconds * math.ceil(waiting / workers) / 60
    return (
        f"{waiting} to run, {workers} at a time: about {minutes:.0f} min, if this machine is as "
        "fast as that of the committed figures\n"
    )


def _report(cell: Cell, record: Record, count: str) -> None:
    took = "" if record["seconds"] is None else f" in {record['seconds']:.0f} s"
    print(f"{count} {cell.label} {record['status']}{took}", flush=True)
    if record["error"]:
        where = cell.execution.output
        print(f"{cell.label}: {record['error']}; see {where}", file=sys.stderr)


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
            stored = read_sealed(path, remedy="it runs again")
        except DamagedFileError as error:
            print(f"{cell.label}: {error}", file=sys.stderr)
            continue
        if stored["status"] == "finished":
            found[cell.key] = stored
    return found


def _path(plan: Plan, cell: Cell) -> Path:
    return plan.folder / "cells" / f"{cell.key}.json"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _cores() -> int:
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
