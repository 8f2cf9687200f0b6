"""The course as a whole: papermill over the notebooks, with profiles and parameters.

Everything that can be refused is refused before the first notebook runs. Executed notebooks,
results and figures go to build/<profile>/; the committed ones change in one place only, `refresh`.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from vae_helpers import COURSE
from vae_helpers.course import kernels, notebooks, sockets
from vae_helpers.course.notebooks import PROFILES
from vae_helpers.datasets import DATASETS
from vae_helpers.parameters import Flag, Number, ParameterError, Several, Words, suggestion
from vae_helpers.store import machine
from vae_helpers.store.files import ensure_writable, write_whole

if TYPE_CHECKING:
    from vae_helpers.course.display import Display, Tell

PUBLISHED = COURSE / "report"
REFERENCES = COURSE / "tests" / "smoke"
LONG = {
    "00_study_in_one_page": 40.0,
    "05_training": 20.0,
    "15_gan": 17.0,
    "09_latent_space": 9.0,
    "06_ablation": 9.0,
    "17_clinic": 6.0,
}
"""Notebooks that train, the longest first, each with about how many times as long as another."""
ALONE = ("19_speed",)
"""Notebooks whose subject is time: nothing else is executed meanwhile."""
MOST_AT_A_TIME = 4
"""Kernels, of some 700 MB each; with more of them the longest notebook would take as long."""
IOPUB_SECONDS = 120
"""How long a kernel may take to hand over a cell's output: papermill's 4 are few under load."""


class NotebookFailedError(RuntimeError):
    """A cell raised, the kernel died or a tolerance was missed; the message says where to look."""


@dataclass(frozen=True)
class Execution:
    """One notebook with the values that its parameters shall have."""

    notebook: str
    overrides: Mapping[str, Any]
    profile: str

    @property
    def output(self) -> Path:
        """Where the executed notebook is written."""
        return notebooks.BUILD / self.profile / "notebooks" / f"{self.notebook}.ipynb"

    @property
    def results(self) -> Path:
        """Where it leaves what it found."""
        return notebooks.BUILD / self.profile / "results" / f"{self.notebook}.json"


def plan(
    asked: Sequence[str] = (), given: Mapping[str, Any] | None = None, *, profile: str = "full"
) -> list[Execution]:
    """What would be executed, with everything checked.

    Args:
        asked: names of notebooks, unambiguous beginnings of names ("05"), or paths; all if empty.
        given: values by parameter name, as text or as numbers; a notebook takes those it has.
        profile: "full" or "smoke"; `given` comes on top.

    Raises:
        ParameterError: an unknown notebook or parameter, a wrong type or a value out of range. The
            message names the nearest valid one.
    """
    if profile not in PROFILES:
        raise ParameterError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    given = given or {}
    chosen = [notebooks.find(name) for name in asked] or notebooks.names()
    known = {notebook: notebooks.defaults(notebook) for notebook in chosen}
    for name in given:
        if not any(name in own for own in known.values()):
            all_names = sorted({other for own in known.values() for other in own})
            where = chosen[0] if len(chosen) == 1 else "these notebooks"
            raise ParameterError(f"{where}: no parameter {name!r}{suggestion(name, all_names)}")
    small = notebooks.allowed().smoke if profile == "smoke" else {}
    executions = []
    for notebook, own in known.items():
        base = {name: small[name] for name in own if name in small}
        overrides = base | {
            name: notebooks.check(name, _typed(name, value))
            for name, value in given.items()
            if name in own
        }
        values = {name: notebooks.check(name, value) for name, value in (own | overrides).items()}
        executions.append(Execution(notebook, overrides, notebooks.profile_of(notebook, values)))
    return executions


def run(executions: Iterable[Execution], *, threads: int | None = None) -> None:
    """Execute notebooks side by side, each in a kernel of its own, and stop if one fails.

    Those that train begin first. A run that two of them need is trained by one, and the other
    waits. What one thread computes depends on no number of cores, so each of several kernels has
    one thread; a notebook that is executed alone has all of them.

    Args:
        executions: from `plan`.
        threads: of every kernel.

    Raises:
        ParameterError: a GPU or a data set is asked for and is not there; nothing was executed.
        FileNotWrittenError: build/ cannot be written to; nothing was executed.
        NotebookFailedError: a cell raised, and papermill's notebook is kept with the error marked
            in it; or the notebook has come to its end and missed a tolerance.
    """
    once = {execution.output: execution for execution in executions}  # some have no smoke profile
    executions = sorted(once.values(), key=lambda it: -LONG.get(it.notebook, 1))
    check_devices(executions)
    check_datasets(executions)
    for execution in executions:
        ensure_writable(execution.output.parent)
    if not executions:
        return
    from vae_helpers.course.display import Display

    threads = threads or (1 if len(executions) > 1 else None)
    lanes = side_by_side(len(executions), threads)
    with (
        kernels.forked() if len(executions) > 1 else nullcontext(),
        _environment(OMP_NUM_THREADS=threads, **sockets.environment()),
        Display({_label(it): LONG.get(it.notebook, 1) for it in executions}) as display,
    ):
        timed = [execution for execution in executions if execution.notebook in ALONE]
        _run_side_by_side([it for it in executions if it not in timed], lanes, display)
        _run_side_by_side(timed, 1, display)


def side_by_side(notebooks: int, threads: int | None) -> int:
    """How many notebooks are executed at a time, with so many threads each; all cores if None."""
    if threads is None:
        return 1
    return max(1, min(notebooks, machine.cores() // threads, MOST_AT_A_TIME))


def _label(execution: Execution) -> str:
    return f"{execution.notebook} ({execution.profile})"


def _run_side_by_side(executions: Sequence[Execution], lanes: int, display: Display) -> None:
    stopped = Event()

    def run_unless_stopped(execution: Execution) -> None:
        try:
            if not stopped.is_set():
                _run_one(execution, display)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(lanes) as pool:
        futures = [pool.submit(run_unless_stopped, execution) for execution in executions]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:  # Ctrl-C too
            stopped.set()
            kernels.kill_all()
            raise


def _run_one(execution: Execution, display: Display) -> None:
    from jupyter_core.utils import ensure_event_loop

    label = _label(execution)
    display.say(f"{label} ...")
    began = time.perf_counter()
    try:
        execute(execution, tell=partial(display.at, label))
    finally:
        ensure_event_loop().close()  # jupyter_client has made one for this thread
    if missed := _missed(execution):
        raise NotebookFailedError(
            f"{execution.notebook}: {len(missed)} of its numbers missed their tolerances: "
            f"{', '.join(missed)}. The manual says what to do\nThe notebook says which "
            f"mistakes they exclude: {_short(execution.output)}"
        )
    display.done(label)
    display.say(f"{label} done in {time.perf_counter() - began:.0f} s{display.left()}")


def check_devices(executions: Iterable[Execution]) -> None:
    """Look for a GPU if one of the executions asks for it by name.

    Raises:
        ParameterError: there is none.
    """
    if any(execution.overrides.get("device") == "cuda" for execution in executions):
        from vae_helpers.training import resolve_device

        resolve_device("cuda")


def check_datasets(executions: Iterable[Execution]) -> None:
    """Look for the files of the data sets that the executions ask for by name.

    Raises:
        ParameterError: one is missing or altered; the message says what to do.
    """
    given = {execution.overrides.get("dataset") for execution in executions} - {"MNIST"}
    asked = [name for name in DATASETS if name in given]  # another course may mean something else
    if asked:
        from vae_helpers.data import DataError, unpacked

        try:
            for dataset in asked:
                unpacked(dataset)
        except DataError as error:
            raise ParameterError(str(error)) from error


def _missed(execution: Execution) -> list[str]:
    """The numbers of an executed notebook that missed their tolerances, with their values."""
    if not execution.results.exists():
        return []
    values = json.loads(execution.results.read_bytes()).get("values", {})
    return [
        f"{name} ({entry['value']:.6g})" if entry["value"] is not None else f"{name} (no number)"
        for name, entry in values.items()
        if entry.get("missed")
    ]


def execute(execution: Execution, *, tell: Tell = lambda *_: None) -> None:
    """Execute one notebook in a fresh kernel, which inherits this process's environment.

    Args:
        execution: from `plan`.
        tell: is told how far it is.

    Raises:
        NotebookFailedError: a cell raised, or the kernel died; papermill's notebook is kept.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    from vae_helpers.course.display import ENGINE

    os.environ.update(sockets.environment())
    execution.output.parent.mkdir(parents=True, exist_ok=True)
    kept = f"The notebook up to there: {_short(execution.output)}"
    try:
        papermill.execute_notebook(
            notebooks.NOTEBOOKS / f"{execution.notebook}.ipynb",
            execution.output,
            # papermill writes lists into the notebook, tuples it refuses
            parameters={
                name: list(value) if isinstance(value, tuple) else value
                for name, value in execution.overrides.items()
            },
            # for the kernel; papermill's cwd would move this process, and with it other threads
            resources={"metadata": {"path": str(notebooks.NOTEBOOKS)}},
            engine_name=ENGINE,
            tell=tell,
            progress_bar=False,
            # an interrupted kernel would print its own traceback over the message of ours
            extra_arguments=["--log-level=CRITICAL"],
            iopub_timeout=IOPUB_SECONDS,
        )
    except PapermillExecutionError as error:
        reason = error.evalue.strip() or error.ename
        raise NotebookFailedError(
            f"{execution.notebook}: cell {error.exec_count} failed: {error.ename}: {reason}\n"
            f"{kept}, with the error marked"
        ) from error
    except RuntimeError as error:  # also before it has answered for the first time
        raise NotebookFailedError(
            f"{execution.notebook}: its kernel died, killed or out of memory\n{kept}"
        ) from error
    except CellTimeoutError as error:
        raise NotebookFailedError(
            f"{execution.notebook}: its kernel has not said for {IOPUB_SECONDS} s what a cell that "
            f"was done had printed; the machine has too much to do, run it again\n{kept}"
        ) from error


def refresh(profiles: Sequence[str] = PROFILES) -> None:
    """Replace what is committed of executions by what new ones give.

    Every notebook runs in a fresh kernel with one thread. Nothing is replaced
    unless all of them have passed.

    Args:
        profiles: "full" for the notebooks' outputs, results and figures, "smoke" for the
            references in tests/smoke that `make test` holds the course in miniature against.
    """
    executions = {profile: plan(profile=profile) for profile in profiles}
    run(itertools.chain(*executions.values()), threads=1)
    if "full" in executions:
        _publish(executions["full"])
    if "smoke" in executions:
        _publish_references(executions["smoke"])


def _publish(executions: Sequence[Execution]) -> None:
    """Put notebooks, results and figures in the place of the committed ones."""
    for kind in ("results", "figures", "weights"):
        (PUBLISHED / kind).mkdir(parents=True, exist_ok=True)
        for old in (PUBLISHED / kind).iterdir():
            if old.is_file():  # report/results/studies/ is made in hours
                old.unlink()
    for execution in executions:
        _replace(notebooks.NOTEBOOKS, execution, clean_metadata)
        if not execution.results.exists():  # a notebook that imports nothing of ours
            continue
        results = execution.results.read_bytes()
        write_whole(PUBLISHED / "results" / execution.results.name, results)
        for kind, file in _files(json.loads(results)):
            made = notebooks.BUILD / execution.profile / kind / file
            write_whole(PUBLISHED / kind / file, made.read_bytes())


def _files(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files that belong to a notebook's results: folder and name."""
    for figure in results["figures"].values():
        for form in ("file", "vector"):
            if form in figure:
                yield "figures", figure[form]
    for weights in results["weights"].values():
        yield "weights", weights["file"]


def _publish_references(executions: Sequence[Execution]) -> None:
    """Put smoke references in the place of the committed ones."""
    REFERENCES.mkdir(parents=True, exist_ok=True)
    for old in REFERENCES.glob("*.ipynb"):
        old.unlink()
    for execution in executions:
        _replace(REFERENCES, execution, reference)


def clean_metadata(notebook: Any) -> Any:
    """Take out what depends on the execution, and give each figure's alt text to its cell.

    A cell with the tag hide-output hides it in JupyterLab too.

    Args:
        notebook: an nbformat notebook, changed in place.
    """
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags, own = cell.metadata.get("tags", []), cell.metadata.get("mystnb", {}).get("image", {})
        cell.metadata = {"tags": tags} if tags else {}
        if "hide-output" in tags:
            cell.metadata["jupyter"] = {"outputs_hidden": True}
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if "image/png" in output.get("data", {}):
                alt = alt or own.get("alt")  # written by hand where no caption of ours is
            if alt:
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return notebook


def reference(notebook: Any) -> Any:
    """What is kept of an execution to compare another one with: code cells without pictures.

    Text is not executed and pictures are not compared, so neither can go wrong in a reference.

    Args:
        notebook: an executed nbformat notebook, changed in place.
    """
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill draws another one every time
        for output in cell.outputs:
            output.get("data", {}).pop("image/png", None)
            output.get("metadata", {}).pop("image/png", None)
    return clean_metadata(notebook)


def _replace(folder: Path, execution: Execution, prepared: Callable[[Any], Any]) -> None:
    """Write an executed notebook over the one in a folder."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    executed = nbformat.read(execution.output, as_version=4)
    # a kernel sends what is printed in pieces that depend on the machine's speed
    merged, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
    nbformat.write(prepared(merged), folder / f"{execution.notebook}.ipynb")


def _typed(name: str, value: Any) -> Any:
    """Text from the command line as the type that the parameter's rule asks for."""
    rule = notebooks.allowed().rules.get(name)
    if not isinstance(value, str) or rule is None:
        return value
    try:
        if isinstance(rule, Words):
            return re.findall(r"\w+", value)
        if isinstance(rule, Several):
            return ast.literal_eval(value if value[:1] in "([" else f"[{value}]")
        if isinstance(rule, Flag):
            return {"true": True, "false": False}.get(value.lower(), value)
        return rule.type(value) if isinstance(rule, Number) else value
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value  # the rule's own check says what was expected


@contextmanager
def _environment(**variables: int | str | None) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _short(path: Path) -> Path:
    return path.relative_to(COURSE) if path.is_relative_to(COURSE) else path
