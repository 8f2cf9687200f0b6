"""Studies: one notebook over a grid of parameters, its cells shared out by dask.distributed.

Each cell of the grid is one papermill run. What it found is written whole to
`FOLDER/cells/<key>.json` as soon as it is done, so that a study that was stopped, even killed, goes
on with the cells that are not there. `FOLDER/table.csv` has one row a cell and the same bytes
whether or not it was stopped; `FOLDER/provenance.json` says how, when and where it was made.

Two things enter the key besides the parameters: the notebook, and the code that its numbers come
from (`digest`). A committed study whose digest is no longer today's calls itself stale.

Reading needs neither torch nor dask:

    study = studies.read("beta")
    mean, half_width = studies.mean_interval(study.values("test_loss_last", {"beta": 1.0}))
"""

from __future__ import annotations

import ast
import csv
import hashlib
import importlib.metadata
import io
import itertools
import json
import logging
import math
import os
import platform
import shutil
import signal
import statistics
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_helpers import PROJECT, course, parameters
from vae_helpers.claims import BUILD, NOTEBOOKS, defaults
from vae_helpers.course import Execution, NotebookFailedError
from vae_helpers.parameters import ParameterError, suggestion

if TYPE_CHECKING:
    from distributed import Client, Future

STUDIES = PROJECT / "report" / "studies.toml"
PUBLISHED = PROJECT / "report" / "results" / "studies"
PACKAGE = PROJECT / "vae_helpers"

WITHOUT_NUMBERS = {
    *("__main__", "bands", "claims", "course", "parameters", "studies"),
    *("bench", "figures", "progress"),
}
"""Modules that show, check or run what others compute: they are left out of a digest."""

VERSIONS = ("torch", "torchvision", "numpy", "papermill", "distributed")
SCHEDULER_SECONDS = 10

Row = dict[str, Any]
Record = dict[str, Any]


class StudyError(ParameterError):
    """There is no such study, metric or value, or studies.toml does not say what is needed."""


class SchedulerLostError(RuntimeError):
    """The scheduler went away while a study ran."""


@dataclass(frozen=True)
class Cell:
    """One point of a grid.

    Attributes:
        label: what the grid says of it, such as "seed=1 beta=0.5".
        values: every parameter of the notebook.
        key: digest of the notebook, its code and the values.
        execution: the papermill run, all of its parameters spelt out.
    """

    label: str
    values: Mapping[str, Any]
    key: str
    execution: Execution


@dataclass(frozen=True)
class Plan:
    """A study that may be run: everything in it has been checked. Made by `plan`."""

    name: str
    notebook: str
    grid: Mapping[str, Sequence[Any]]
    given: Mapping[str, Any]
    profile: str
    code: str
    cells: tuple[Cell, ...]
    folder: Path


@dataclass(frozen=True)
class Study:
    """A committed study. Made by `read`.

    Attributes:
        rows: one dictionary a cell, in the order of the grid: the parameters, status, error and
            the metrics; None where there is nothing.
        provenance: how, when and where it was made.
        stale: whether the code has changed since.
    """

    name: str
    rows: list[Row]
    provenance: Mapping[str, Any]
    stale: bool

    def values(self, metric: str, where: Mapping[str, Any] | None = None) -> list[float]:
        """A metric in the finished rows, in their order; nan where it was not finite.

        Args:
            metric: a column, such as "test_loss_last", or "fcd[30]" of a series.
            where: only rows with these values in these columns, such as {"beta": 1.0}.

        Raises:
            StudyError: there is no such column, or no row has that value; the message names it.
        """
        where = where or {}
        for name in (metric, *where):
            if name not in self.rows[0]:
                known = suggestion(name, self.rows[0])
                raise StudyError(f"study {self.name}: no column {name!r}{known}")
        rows = self.rows
        for name, value in where.items():
            wanted = tuple(value) if isinstance(value, list) else value
            there = list(dict.fromkeys(row[name] for row in rows))
            if wanted not in there:
                raise StudyError(
                    f"study {self.name}: no row with {name} = {value!r}; there are "
                    + ", ".join(map(repr, there))
                )
            rows = [row for row in rows if row[name] == wanted]
        found = [row[metric] for row in rows if row["status"] == "finished"]
        if any(isinstance(value, (str, tuple)) for value in found):
            raise StudyError(f"study {self.name}: expected numbers in {metric!r}, got {found[0]!r}")
        return [math.nan if value is None else float(value) for value in found]

    def failed(self) -> list[Row]:
        """The rows without metrics; their `error` says why."""
        return [row for row in self.rows if row["status"] != "finished"]

    def label(self) -> str:
        """One line that says what the study is, the same until it is made anew or gets stale."""
        seeds = sorted({row["seed"] for row in self.rows if "seed" in row})
        row = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 2 else " and ".join(map(str, seeds))
        if seeds and seeds != list(range(seeds[0], seeds[-1] + 1)):
            row = ", ".join(map(str, seeds))
        words = [f"{len(self.rows)} runs of {self.provenance['notebook']}"]
        words += [f"seed{'s' if len(seeds) > 1 else ''} {row}"] if seeds else []
        words += [f"{len(self.failed())} failed"]
        earlier = "; made by an earlier version of the code" if self.stale else ""
        return f"study {self.name}: {', '.join(words)}{earlier}"


def plan(
    notebook: str,
    grid: Mapping[str, Sequence[Any]],
    given: Mapping[str, Any] | None = None,
    *,
    profile: str = "full",
    name: str | None = None,
    folder: Path | None = None,
) -> Plan:
    """What a study would run, with everything checked.

    Args:
        notebook: its name or the beginning of its name.
        grid: values by parameter name, as text or as numbers; the last varies fastest.
        given: one value each for other parameters.
        profile: "full" or "smoke"; grid and given come on top.
        name: what messages call it; the notebook's name if None.
        folder: where cells and table go; a folder of its own below build/studies/ if None.

    Raises:
        ParameterError: an unknown notebook or parameter, a wrong type, a value out of range, a
            parameter or a cell given twice, a grid without values.
    """
    given = given or {}
    if not grid:
        raise ParameterError("expected at least one parameter with its values, got an empty grid")
    for parameter, values in grid.items():
        if parameter in given:
            raise ParameterError(f"{parameter}: expected in the grid or by itself, got both")
        if not isinstance(values, (list, tuple)) or not values:
            raise ParameterError(f"{parameter}: expected one or more values, got {values!r}")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ParameterError(f"expected a folder for the study, got the file {folder}")
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    found = [course.plan([notebook], {**given, **point}, profile=profile)[0] for point in points]
    notebook = found[0].notebook
    code = digest(notebook)
    cells = tuple(_cell(execution, list(grid), code) for execution in found)
    for number, cell in enumerate(cells):
        if cell.key in {other.key for other in cells[:number]}:
            raise ParameterError(f"{cell.label}: expected once in the grid, got twice")
    typed = {
        parameter: list(dict.fromkeys(cell.values[parameter] for cell in cells))
        for parameter in grid
    }
    alone = {parameter: cells[0].values[parameter] for parameter in given}
    default = BUILD / "studies" / (name or _hash([notebook, typed, alone, profile])[:12])
    return Plan(name or notebook, notebook, typed, alone, profile, code, cells, folder or default)


def committed(names: Sequence[str] = ()) -> list[Plan]:
    """The studies of report/studies.toml, planned; all if no names are given.

    Raises:
        StudyError: a name is not there, or an entry lacks something or has too much.
        ParameterError: as in `plan`.
    """
    entries = tomllib.loads(STUDIES.read_text())
    plans = []
    for name in names or entries:
        if name not in entries:
            raise StudyError(f"unknown study {name!r}{suggestion(name, entries)}")
        entry = entries[name]
        for field in {"purpose", "notebook", "grid"} - entry.keys():
            raise StudyError(f"{STUDIES.name}: {name} lacks {field!r}")
        for field in entry.keys() - {"purpose", "notebook", "grid", "given", "profile"}:
            raise StudyError(f"{STUDIES.name}: {name}: unknown entry {field!r}")
        plans.append(
            plan(
                entry["notebook"],
                entry["grid"],
                entry.get("given"),
                profile=entry.get("profile", "full"),
                name=name,
            )
        )
    return plans


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
                _write(plan.folder / "cells" / f"{cell.key}.json", _json(record))
                records[cell.key] = record
                done += 1
                took = "" if record["seconds"] is None else f" in {record['seconds']:.0f} s"
                print(f"{done}/{len(plan.cells)} {cell.label} {record['status']}{took}", flush=True)
                if record["error"]:
                    where = cell.execution.output
                    print(f"{cell.label}: {record['error']}; see {where}", file=sys.stderr)
    ordered = [records[cell.key] for cell in plan.cells]
    _write(plan.folder / "table.csv", table(ordered))
    _write(plan.folder / "provenance.json", _json(provenance(plan, ordered)))
    print(f"study {plan.name}: {plan.folder / 'table.csv'}", flush=True)
    return sum(record["status"] != "finished" for record in ordered)


def publish(plan: Plan) -> None:
    """Copy a committed study's table and provenance to report/results/studies/."""
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    shutil.copy(plan.folder / "table.csv", PUBLISHED / f"{plan.name}.csv")
    shutil.copy(plan.folder / "provenance.json", PUBLISHED / f"{plan.name}.json")


def threads_each(workers: int, *, cores: int) -> int:
    """How many threads a cell gets when workers share the cores of one machine."""
    return max(1, cores // workers)


def run_cell(execution: Execution, *, code: str, threads: int) -> dict[str, Any]:
    """Execute one cell; called on a worker.

    Args:
        execution: with a value for every parameter of the notebook.
        code: what `digest` says where the study was started.
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
    return {"seconds": seconds, "results": json.loads(execution.results.read_text())}


def digest(notebook: str) -> str:
    """Digest of the code that a notebook's numbers come from.

    That is the syntax trees of its code cells and of all modules of this package that they import,
    directly or through each other, except `WITHOUT_NUMBERS`. Not in it: comments, docstrings,
    `lesson.show(...)` (pictures and their words) and the parameters cell, whose values each cell
    of a study states itself. Nothing is imported to find out.
    """
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    trees = {
        f"cell {number}": ast.parse("".join(cell["source"]))
        for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code")
        if "parameters" not in cell["metadata"].get("tags", [])
    }
    open_ends = list(trees.values())
    while open_ends:
        for module in _imported(open_ends.pop()) - trees.keys():
            trees[module] = ast.parse((PACKAGE / f"{module}.py").read_text())
            open_ends.append(trees[module])
    return _hash({name: _skeleton(tree) for name, tree in trees.items()})[:16]


def table(records: Iterable[Record]) -> str:
    """A study as CSV: parameters, status, error, metrics in the order in which they first appear.

    Numbers that depend on the machine are left out, and so are lists that are no series. A series
    has a column for each of its values, such as `fcd[30]`.
    """
    rows = [
        {
            **{name: _text(value) for name, value in record["parameters"].items()},
            "status": record["status"],
            "error": record["error"],
            **_metrics(record["values"]),
        }
        for record in records
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


def read(name: str) -> Study:
    """A committed study from report/results/studies/.

    Raises:
        StudyError: it is not there; the message says which are, or how it is made.
    """
    path = PUBLISHED / f"{name}.csv"
    if not path.exists():
        planned = tomllib.loads(STUDIES.read_text())
        if name in planned:
            raise StudyError(f"study {name!r} was not run yet; `make studies` does")
        raise StudyError(f"unknown study {name!r}{suggestion(name, planned)}")
    with path.open(newline="") as file:
        rows = [
            {column: _value(text) for column, text in row.items()} for row in csv.DictReader(file)
        ]
    found = json.loads((PUBLISHED / f"{name}.json").read_text())
    return Study(name, rows, found, stale=found["digest"] != digest(found["notebook"]))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean over seeds and half the width of its confidence interval, by Student's t.

    `t * sd / sqrt(n)`, t the quantile with n - 1 degrees of freedom. It is about the mean; where
    one more seed would fall is much wider (`bands.prediction_interval`).

    Raises:
        ValueError: there are fewer than two values, or one is not finite.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least 2 finite values, got {list(values)}")
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) / math.sqrt(n)
    return statistics.fmean(values), reach * statistics.stdev(values)


def _cell(execution: Execution, names: Iterable[str], code: str) -> Cell:
    base = defaults(execution.notebook) | dict(execution.overrides)
    values = {name: parameters.check(name, value) for name, value in base.items()}
    # a worker's checkout may have other defaults: nothing is left to them
    whole = Execution(execution.notebook, values, execution.profile)
    label = " ".join(f"{name}={_text(values[name])}" for name in names)
    return Cell(label, values, _hash([execution.notebook, values, code])[:16], whole)


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
            yield client
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
        yield cell, _record(cell, outcome, threads=threads, workers=len(size))


def _reason(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker died again and again, killed or out of memory"
    return f"{type(error).__name__}: {error}"


def _record(cell: Cell, outcome: Mapping[str, Any], *, threads: int, workers: int) -> Record:
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
    paths = {cell.key: plan.folder / "cells" / f"{cell.key}.json" for cell in plan.cells}
    found = {key: json.loads(path.read_text()) for key, path in paths.items() if path.exists()}
    return {key: record for key, record in found.items() if record["status"] == "finished"}


def _imported(tree: ast.AST) -> set[str]:
    """The modules of this package that some code imports, but for `WITHOUT_NUMBERS`."""
    dotted = {"vae_helpers.__init__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            dotted |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    modules = {name.split(".")[1] for name in dotted if name.startswith("vae_helpers.")}
    return {name for name in modules if (PACKAGE / f"{name}.py").exists()} - WITHOUT_NUMBERS


def _skeleton(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings and `lesson.show(...)`.

    What is empty is left out: Python versions differ in which empty fields a node has.
    """
    if isinstance(node, list):
        return [_skeleton(item) for item in node if not _is_words(item)]
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, [[name, _skeleton(value)] for name, value in fields]]
    return repr(node)


def _is_words(node: Any) -> bool:
    """Whether a statement is a docstring, or shows a picture with its caption."""
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func) == "lesson.show"
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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


def _value(text: str) -> Any:
    """What a table's text stands for: a number, a truth value, some numbers, a word or None."""
    if text in ("", "True", "False"):
        return text == "True" if text else None
    if text.startswith("["):
        return tuple(json.loads(text))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, content: str) -> None:
    """Write beside the target and rename, so that a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(content)
    os.replace(temporary, path)


def _cores() -> int:
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
