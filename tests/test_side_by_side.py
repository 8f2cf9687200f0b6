"""Notebooks that are executed at the same time, and what a terminal shows meanwhile."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from test_execution import notebook_of

from vae_helpers import PROJECT
from vae_helpers.course import execution, kernels, notebooks
from vae_helpers.course.display import Display
from vae_helpers.store import machine

MEETS = """import pathlib, time
folder = pathlib.Path({folder!r})
(folder / "{mine}").touch()
until = time.monotonic() + 30
while not (folder / "{other}").exists():
    assert time.monotonic() < until, "nobody came"
    time.sleep(0.02)"""
THREADS = "import torch\nprint(torch.get_num_threads())"
SLEEPS = "import time\ntime.sleep(600)"
FAILS = "import time\ntime.sleep(0.5)\nraise ValueError('no')"
PARAMETERS = "epochs: int = 2  # passes"
SHOWS = """from vae_helpers.progress import Progress
with Progress("trains", total=2) as progress:
    progress.step("loss 3")
    progress.step("loss 2")"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Makes a course of these notebooks, on a machine with two cores."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(kernels, "PRELOADED", ("ipykernel.kernelapp", "torch"))

    def make(**sources):
        for name, source in sources.items():
            nbformat.write(notebook_of(PARAMETERS, source), tmp_path / f"{name}.ipynb")
        return execution.plan()

    return make


def test_two_notebooks_are_executed_at_a_time(course, tmp_path):
    meets = [
        MEETS.format(folder=str(tmp_path), mine=mine, other=other)
        for mine, other in (("a", "b"), ("b", "a"))
    ]
    executions = course(n1=meets[0], n2=meets[1])
    execution.run(executions)
    assert all(it.output.exists() for it in executions)
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


def test_each_of_several_has_one_thread_and_one_alone_has_all(course, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    executions = course(n1=THREADS, n2=THREADS)
    execution.run(executions)
    assert [printed(it) for it in executions] == ["1\n", "1\n"]
    execution.run(executions[:1])
    assert printed(executions[0]) == f"{len(os.sched_getaffinity(0))}\n"


def printed(execution):
    return nbformat.read(execution.output, as_version=4).cells[-1].outputs[0].text


def test_a_failure_ends_the_others_and_begins_no_more(course):
    executions = course(n1=SLEEPS, n2=FAILS, n3=THREADS)
    began = time.monotonic()
    with pytest.raises(execution.NotebookFailedError, match="n2: cell 2 failed"):
        execution.run(executions)
    assert time.monotonic() - began < 60
    assert not executions[2].output.exists()


@pytest.mark.parametrize(
    ("number", "threads", "cores", "lanes"),
    [(11, 1, 2, 2), (11, 1, 16, 4), (11, 2, 2, 1), (11, 2, 8, 4), (1, None, 2, 1), (3, 8, 2, 1)],
)
def test_lanes_share_the_cores(number, threads, cores, lanes, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert execution.side_by_side(number, threads) == lanes


def test_what_trains_begins_first_and_what_is_timed_is_alone_and_last(monkeypatch):
    began, lanes = [], []
    monkeypatch.setattr(
        execution,
        "_run_side_by_side",
        lambda executions, count, _: (
            began.append([it.notebook for it in executions]),
            lanes.append(count),
        ),
    )
    monkeypatch.setattr(machine, "cores", lambda: 2)
    execution.run(execution.plan())
    (first, *_), timed = began
    assert first == "00_study_in_one_page"
    assert (timed, lanes) == (["19_speed"], [2, 1])
    assert sorted(began[0] + timed) == notebooks.names()


INTERRUPTED = """import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs behind ignores it
from vae_helpers import __main__
from vae_helpers.store import machine
from vae_helpers.course import notebooks
notebooks.NOTEBOOKS = pathlib.Path(sys.argv[1])
notebooks.BUILD = notebooks.NOTEBOOKS / "build"
machine.cores = lambda: 2
sys.exit(__main__.main(["run"]))"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux has them")
def test_ctrl_c_ends_all_kernels_and_says_that_the_same_command_goes_on(course, tmp_path):
    here = f"open({str(tmp_path)!r} + f'/{{os.getpid()}}.pid', 'w').close()"
    course(n1=f"import os, time\n{here}\n{SLEEPS}", n2=f"import os, time\n{here}\n{SLEEPS}")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    until = time.monotonic() + 60
    while len(found := [*tmp_path.glob("*.pid")]) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    until = time.monotonic() + 10
    while any(alive(int(it.stem)) for it in found) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(int(it.stem)) for it in found)


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


# The display


class Terminal:
    """Keeps what is written to it."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_every_notebook_under_way_has_a_line_and_all_of_them_one_more(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Display({"a": 3.0, "b": 1.0}) as display:
        display._began -= 30  # seconds ago
        display.at("a", 1, 4)
        display.at("b", 2, 4, "epochs 1 to 30: 12 of 30, 1:02 left")
        lines = terminal.text.split("\x1b[J")[-1].splitlines()
        assert [" ".join(line.split()) for line in lines[:2]] == [
            "a cell 1 of 4",
            "b cell 2 of 4 epochs 1 to 30: 12 of 30, 1:02 left",
        ]
        # done are a quarter of three and a half of one, of four in all
        assert lines[2] == "0 of 2 notebooks done, about 1:06 left"
        display.done("a")
        display.say("a done")
        assert terminal.text.split("\x1b[J")[-1].startswith("b")
        assert "1 of 2 notebooks done" in terminal.text
    assert terminal.text.endswith("\x1b[J")
    assert capsys.readouterr().out == "a done\n"


def test_outside_a_terminal_only_beginnings_and_ends_are_said(capsys):
    with Display({"a": 1.0}) as display:
        display.at("a", 1, 2)
        display.say("a done")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a done\n", "")


def test_progress_of_a_notebook_reaches_whoever_is_told(course):
    (planned,) = course(n1=SHOWS)
    told = []
    execution.execute(planned, tell=lambda *it: told.append(it))
    notes = [note for *_, note in told if note]
    assert "trains: 1 of 2, 0:00 left  loss 3" in notes
    assert {(cell, cells) for cell, cells, _ in told} == {(1, 2), (2, 2)}
