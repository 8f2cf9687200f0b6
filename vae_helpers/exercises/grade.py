"""Grade the assignment: `python -m vae_helpers.exercises.grade SUBMISSION.ipynb ...`.

The exercises and their points are those of report/instructor.toml. A process of its own executes
the code cells of a submission and then the checks, by the exercises' names. A cell that raises is
passed over. A cell or a check that takes too long, or ends the process, is left out: the process is
started anew without it. This is no sandbox, so use an account that has nothing to lose.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vae_helpers import PROJECT
from vae_helpers.exercises import EXERCISES
from vae_helpers.exercises.exercise import judge
from vae_helpers.parameters import suggestion

ASSIGNMENT = PROJECT / "report" / "instructor.toml"
START_SECONDS = 120.0  # to import torch on a busy machine


class Mark(NamedTuple):
    """What an exercise of a submission is worth, and the words of its check."""

    name: str
    right: bool
    message: str
    points: int


class Graded(NamedTuple):
    """The marks of one submission, and what its grader should know of it."""

    marks: list[Mark]
    remarks: list[str]

    @property
    def points(self) -> int:
        """The sum over the exercises that are right."""
        return sum(mark.points for mark in self.marks)


def assigned(path: Path) -> dict[str, int]:
    """The exercises of the assignment, with their points.

    Raises:
        ValueError: an exercise is unknown, or its points are not a whole number above zero.
    """
    points = tomllib.loads(path.read_text(encoding="utf-8"))["assignment"]["points"]
    for name, number in points.items():
        if name not in EXERCISES:
            raise ValueError(
                f"{path.name}: assignment: unknown exercise {name!r}{suggestion(name, EXERCISES)}"
            )
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{path.name}: {name}: expected points from 1, got {number!r}")
    return dict(points)


def code_cells(path: Path) -> list[str]:
    """The sources of a notebook's code cells.

    Raises:
        ValueError: the file is no notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no notebook that can be read ({type(error).__name__})") from error


def grade(path: Path, points: Mapping[str, int], *, seconds: float = 60.0) -> Graded:
    """Execute a submission and try its answers.

    Args:
        path: a notebook.
        points: of each exercise, by name.
        seconds: limit for each cell and for each check.

    Returns:
        A mark for every exercise, whatever the submission does.
    """
    try:
        cells = code_cells(path)
    except ValueError as error:
        return Graded([Mark(name, False, f"{error}.", 0) for name in points], [])
    left_out: dict[str, str] = {}
    verdicts: dict[str, tuple[bool, str]] = {}
    while True:
        found, raised, stuck = _attempt(cells, [*points], left_out, seconds)
        verdicts |= found
        if stuck is None:
            break
        left_out |= stuck
    remarks = [f"{item} {why}" for item, why in left_out.items()] + raised
    if any("vae_helpers.exercises" in cell for cell in cells):
        remarks.append("uses vae_helpers.exercises, which holds the solutions: read this one")
    marks = []
    for name, worth in points.items():
        right, message = verdicts.get(name, (False, left_out.get(f"check {name}", "not tried")))
        marks.append(Mark(name, right, message, worth if right else 0))
    return Graded(marks, remarks)


Attempt = tuple[dict[str, tuple[bool, str]], list[str], dict[str, str] | None]


def _attempt(
    cells: list[str], names: list[str], left_out: Mapping[str, str], seconds: float
) -> Attempt:
    """One process: verdicts, what cells raised, and what was under way if it did not finish."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(
            target=_execute, args=(cells, names, {*left_out}, folder, sender), daemon=False
        )
        process.start()
        sender.close()
        verdicts: dict[str, tuple[bool, str]] = {}
        raised: list[str] = []
        under_way, limit, stuck = "", START_SECONDS, None
        try:
            while True:
                if not receiver.poll(limit):
                    stuck = f"took longer than {limit:g} s and was cut off"
                    break
                kind, item, *rest = receiver.recv()
                if kind == "done":
                    break
                if kind == "begin":
                    under_way, limit = item, seconds
                elif kind == "raised":
                    raised.append(f"{item} stopped with {rest[0]}")
                else:
                    verdicts[item] = (rest[0], rest[1])
        except EOFError:
            stuck = "ended the process and was left out"
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # with all that it has started
        process.kill()
        process.join()
    if stuck and not under_way:
        raise RuntimeError(f"the process that executes submissions does not start: it {stuck}")
    return verdicts, raised, {under_way: stuck} if stuck else None


def _execute(
    cells: list[str], names: list[str], left_out: Collection[str], folder: str, out: Connection
) -> None:
    """In the process: run the cells in one namespace, then the checks, and report each step."""
    os.setsid()
    os.chdir(folder)
    os.environ["MPLBACKEND"] = "Agg"
    nothing = open(os.devnull, "r+b")  # noqa: SIM115
    for stream in range(3):
        os.dup2(nothing.fileno(), stream)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    torch.set_num_threads(1)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells, start=1):
        item = f"code cell {number}"
        if item in left_out:
            continue
        out.send(("begin", item))
        try:
            exec(_plain(source), namespace)
        except NotImplementedError:
            continue  # an answer that was not written
        except BaseException as error:  # what a student writes may also exit
            out.send(("raised", item, type(error).__name__))
    for name in names:
        item = f"check {name}"
        if item in left_out:
            continue
        out.send(("begin", item))
        try:
            if name in namespace:
                verdict = judge(EXERCISES[name], namespace[name])
                right, message = verdict.right, verdict.message.splitlines()[0]
            else:
                right, message = False, f"not yet: nothing is called {name}."
        except BaseException as error:
            right, message = False, f"not yet: your code stopped with {type(error).__name__}."
        out.send(("verdict", name, bool(right), message))
    out.send(("done", ""))


def _plain(source: str) -> str:
    """Python without the notebook's commands, such as `%matplotlib inline`."""
    try:
        compile(source, "cell", "exec")
    except SyntaxError:
        lines = source.split("\n")
        return "\n".join("" if line.startswith(("%", "!")) else line for line in lines)
    return source


def table(graded: Graded, points: Mapping[str, int]) -> str:
    """Exercise, right or the message, and points, a line each."""
    width = max(map(len, points))
    lines = [
        f"  {mark.name:<{width}}  {f'{mark.points}/{points[mark.name]}':>5}  {mark.message}"
        for mark in graded.marks
    ]
    lines.append(f"  {'all':<{width}}  {f'{graded.points}/{sum(points.values())}':>5}")
    return "\n".join(lines + [f"  note: {remark}" for remark in graded.remarks])


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade the named notebooks, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("submissions", type=Path, nargs="+", metavar="SUBMISSION.ipynb")
    parser.add_argument("--assignment", type=Path, default=ASSIGNMENT, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=60.0, help="per cell and per check")
    options = parser.parse_args(arguments)
    try:
        points = assigned(options.assignment)
    except (OSError, ValueError, KeyError) as error:
        print(f"nothing graded: {error}", file=sys.stderr)
        return 1
    for path in options.submissions:
        graded = grade(path, points, seconds=options.seconds)
        print(f"{path}\n{table(graded, points)}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
