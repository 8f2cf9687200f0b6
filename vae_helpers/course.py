"""The course as a whole: papermill over the notebooks, with profiles and parameters.

Everything that can be refused is refused before the first notebook runs, and before torch is
imported. Executed notebooks, results and figures go to build/<profile>/; the committed ones change
in one place only, `refresh`.
"""

from __future__ import annotations

import ast
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from vae_helpers import PROJECT, bands, forked, parameters
from vae_helpers.claims import BUILD, NOTEBOOKS, SMOKE, defaults, profile_of
from vae_helpers.files import write_whole
from vae_helpers.parameters import Flag, Number, ParameterError, Several, shown, suggestion

PUBLISHED = PROJECT / "report"
REFERENCES = PROJECT / "tests" / "smoke"
REFRESH_THREADS = 2
IOPUB_SECONDS = 120
"""How long a kernel may take to hand over a cell's output: papermill's 4 are few under load."""
PROFILES = bands.PROFILES


class NotebookFailedError(RuntimeError):
    """A cell raised or the kernel died; the message says which cell, why, and where to look."""


@dataclass(frozen=True)
class Execution:
    """One notebook with the values that its parameters shall have."""

    notebook: str
    overrides: Mapping[str, Any]
    profile: str

    @property
    def output(self) -> Path:
        """Where the executed notebook is written."""
        return BUILD / self.profile / "notebooks" / f"{self.notebook}.ipynb"

    @property
    def results(self) -> Path:
        """Where its lesson leaves what it found."""
        return BUILD / self.profile / "results" / f"{self.notebook}.json"


def names() -> list[str]:
    """The notebooks of the course, in order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def plan(
    notebooks: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    *,
    profile: str = "full",
) -> list[Execution]:
    """What would be executed, with everything checked.

    Args:
        notebooks: names, unambiguous beginnings of names ("04"), or paths; all if empty.
        given: values by parameter name, as text or as numbers; a notebook takes those it has.
        profile: "full" or "smoke"; `given` comes on top.

    Raises:
        ParameterError: an unknown notebook or parameter, a wrong type or a value out of range. The
            message names the nearest valid one.
    """
    if profile not in PROFILES:
        raise ParameterError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    given = given or {}
    chosen = [_find(name) for name in notebooks] or names()
    known = {notebook: defaults(notebook) for notebook in chosen}
    for name in given:
        if not any(name in own for own in known.values()):
            all_names = sorted({other for own in known.values() for other in own})
            where = chosen[0] if len(chosen) == 1 else "these notebooks"
            raise ParameterError(f"{where}: no parameter {name!r}{suggestion(name, all_names)}")
    executions = []
    for notebook, own in known.items():
        base = {name: SMOKE[name] for name in own if profile == "smoke" and name in SMOKE}
        overrides = base | {
            name: parameters.check(name, _typed(name, value))
            for name, value in given.items()
            if name in own
        }
        values = {name: parameters.check(name, value) for name, value in (own | overrides).items()}
        executions.append(Execution(notebook, overrides, profile_of(notebook, values)))
    return executions


def run(executions: Iterable[Execution], *, threads: int | None = None) -> None:
    """Execute notebooks one after the other and stop at the first that fails.

    Args:
        executions: from `plan`.
        threads: of every kernel; what the machine has if None.

    Raises:
        NotebookFailedError: papermill's notebook, with the error marked in it, is kept.
    """
    executions = list(executions)
    fork = threads is None and len(executions) > 1 and forked.available()
    if fork:
        forked.prepare()
    for number, execution in enumerate(executions, start=1):
        label = f"{number}/{len(executions)} {execution.notebook}"
        print(f"{label} ({execution.profile}) ...", flush=True)
        began = time.perf_counter()
        with _environment(OMP_NUM_THREADS=threads):
            execute(execution, progress=label if sys.stderr.isatty() else None, fork=fork)
        print(f"{label} done in {time.perf_counter() - began:.0f} s", flush=True)


def execute(execution: Execution, *, progress: str | None = None, fork: bool = False) -> None:
    """Execute one notebook in a fresh kernel, which inherits this process's environment.

    Args:
        execution: from `plan`.
        progress: what a bar on stderr says; no bar if None.
        fork: whether the kernel is forked from the process that `forked.prepare` has started.

    Raises:
        NotebookFailedError: a cell raised, or the kernel died; papermill's notebook is kept.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    execution.output.parent.mkdir(parents=True, exist_ok=True)
    kept = f"The notebook up to there: {_short(execution.output)}"
    try:
        papermill.execute_notebook(
            NOTEBOOKS / f"{execution.notebook}.ipynb",
            execution.output,
            # papermill writes lists into the notebook, tuples it refuses
            parameters={
                name: list(value) if isinstance(value, tuple) else value
                for name, value in execution.overrides.items()
            },
            cwd=NOTEBOOKS,
            progress_bar={"desc": progress} if progress else False,
            # an interrupted kernel would print its own traceback over the message of ours
            extra_arguments=["--log-level=CRITICAL"],
            iopub_timeout=IOPUB_SECONDS,
            kernel_manager_class=(forked.ForkedKernelManager if fork else AsyncKernelManager),
        )
    except PapermillExecutionError as error:
        reason = error.evalue.strip() or error.ename
        raise NotebookFailedError(
            f"{execution.notebook}: cell {error.exec_count} failed: {error.ename}: {reason}\n"
            f"{kept}, with the error marked"
        ) from error
    except DeadKernelError as error:
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

    Every notebook runs in a fresh kernel with a fixed number of threads. Nothing is replaced
    unless all of them have passed.

    Args:
        profiles: "full" for the notebooks' outputs, results and figures, "smoke" for the
            references in tests/smoke that `make test` holds the course in miniature against.
    """
    executions = {profile: plan(profile=profile) for profile in profiles}
    run(
        [execution for chosen in executions.values() for execution in chosen],
        threads=REFRESH_THREADS,
    )
    if "full" in executions:
        _publish(executions["full"])
    if "smoke" in executions:
        _publish_references(executions["smoke"])


def _publish(executions: Sequence[Execution]) -> None:
    """Put notebooks, results and figures in the place of the committed ones."""
    for kind in ("results", "figures", "weights"):
        (PUBLISHED / kind).mkdir(parents=True, exist_ok=True)
        for old in (PUBLISHED / kind).iterdir():
            if old.is_file():  # report/results/studies/ is made by `study_runs`, in hours
                old.unlink()
    for execution in executions:
        _write_notebook(clean_metadata(_executed(execution)), NOTEBOOKS, execution.notebook)
        results = execution.results.read_bytes()
        write_whole(PUBLISHED / "results" / execution.results.name, results)
        for kind, file in _files(json.loads(results)):
            made = BUILD / execution.profile / kind / file
            write_whole(PUBLISHED / kind / file, made.read_bytes())


def _files(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files that belong to a lesson's results: folder and name."""
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
        _write_notebook(reference(_executed(execution)), REFERENCES, execution.notebook)


def measure_bands(
    notebooks: Sequence[str], *, profile: str, seeds: Sequence[int], threads: Sequence[int]
) -> list[str]:
    """Execute notebooks over seeds and thread counts and write report/bands.toml.

    The seed of the published run should not be among `seeds`: its numbers are then predictions
    that can fail. Trained runs are reused, so an interrupted call costs little.

    Returns:
        The sentences of `bands.write`: what did not fit.

    Raises:
        ParameterError: as in `plan`; too few seeds for a band; a seed or a number of threads is
            given twice, or is none.
    """
    if len(set(seeds)) < max(len(seeds), bands.LEAST_SEEDS):
        raise ParameterError(
            f"seeds: expected at least {bands.LEAST_SEEDS}, each once, got {shown(list(seeds))}"
        )
    if len(set(threads)) < max(len(threads), 1) or min(threads) < 1:
        raise ParameterError(f"threads: expected at least 1, each once, got {shown(list(threads))}")
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    plans = [plan(notebooks, {"seed": seed}, profile=profile) for seed in seeds]
    for count in threads:
        for executions in plans:
            run(executions, threads=count)
            for execution in executions:
                numbers = found.setdefault(execution.notebook, {})
                values = json.loads(execution.results.read_text())["values"]
                for name, entry in values.items():
                    if entry["kind"] == "banded":
                        value = math.nan if entry["value"] is None else entry["value"]
                        numbers.setdefault(name, {}).setdefault(count, []).append(value)
    return bands.write(found, profile)


def clean_metadata(notebook: Any) -> Any:
    """Take out what depends on the execution, and give each figure's alt text to its cell.

    Args:
        notebook: an nbformat notebook, changed in place.
    """
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
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


def _executed(execution: Execution) -> Any:
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    executed = nbformat.read(execution.output, as_version=4)
    # a kernel sends what is printed in pieces that depend on the machine's speed
    merged, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
    return merged


def _write_notebook(notebook: Any, folder: Path, name: str) -> None:
    import nbformat

    nbformat.write(notebook, folder / f"{name}.ipynb")


def _find(name: str) -> str:
    """A notebook's name from its name, its path, or a beginning that only it has."""
    path = Path(os.path.abspath(name))
    stem = path.stem if path.suffix == ".ipynb" else path.name
    if os.sep in name and path.parent != NOTEBOOKS:
        raise ParameterError(f"expected a notebook in {_short(NOTEBOOKS)}/, got {name!r}")
    fitting = [known for known in names() if known == stem] or [
        known for known in names() if known.startswith(stem)
    ]
    if len(fitting) != 1:
        raise ParameterError(f"unknown notebook {name!r}{suggestion(stem, names())}")
    return fitting[0]


def _typed(name: str, value: Any) -> Any:
    """Text from the command line as the type that the parameter's rule asks for."""
    rule = parameters.RULES.get(name)
    if not isinstance(value, str) or rule is None:
        return value
    try:
        if isinstance(rule, Several):
            return ast.literal_eval(value if value[:1] in "([" else f"[{value}]")
        if isinstance(rule, Flag):
            return {"true": True, "false": False}.get(value.lower(), value)
        return rule.type(value) if isinstance(rule, Number) else value
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value  # the rule's own check says what was expected


@contextmanager
def _environment(**variables: int | None) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _short(path: Path) -> Path:
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
