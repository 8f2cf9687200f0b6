"""Forked kernels: as fresh as those that Jupyter starts, and found dead when they have died."""

import pathlib
import subprocess
import sys
import time

import nbformat
import pytest
from test_course import notebook_of

from vae_helpers import claims, course, forked

pytestmark = pytest.mark.skipif(not forked.available(), reason="kernels are forked on Linux only")

STATE = """import os, random, sys, torch
print(torch.get_num_threads(), os.getcwd(), sorted(vars())[-3:], __name__)
print(os.getsid(0) == os.getpid(), sys.modules["__main__"].__dict__ is globals())"""
PARAMETERS = "epochs: int = 2  # passes"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course that has no notebooks yet."""
    for module in (claims, course):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path)
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    return tmp_path


def printed(execution):
    executed = nbformat.read(execution.output, as_version=4)
    return "".join(out["text"] for cell in executed.cells for out in cell.outputs)


def test_a_forked_kernel_finds_what_a_fresh_one_finds(toy):
    leaves = "import torch, math\nmath.pi = 3\ntorch.manual_seed(1)\ntorch.set_num_threads(1)"
    finds = "import math\nprint(math.pi)\n" + STATE
    nbformat.write(notebook_of(PARAMETERS, leaves), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS, finds), toy / "02_toy.ipynb")
    first, second = course.plan()
    course.run([first, second])
    forked = printed(second)
    course.run([second])  # one notebook alone has a kernel of Jupyter's
    assert forked == printed(second)
    assert forked.startswith("3.14159")


def test_kernels_are_forked_for_several_notebooks_with_the_machine_s_threads(toy, monkeypatch):
    forks = []
    monkeypatch.setattr(forked, "prepare", lambda: None)
    monkeypatch.setattr(course, "execute", lambda _, progress, fork: forks.append(fork))
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS), toy / f"{name}.ipynb")
    course.run(course.plan())
    course.run(course.plan(), threads=1)
    course.run(course.plan(["01"]))
    monkeypatch.setattr(sys, "platform", "darwin")
    course.run(course.plan())
    assert forks == [True, True, False, False, False, False, False]


def test_a_forked_kernel_ends_when_the_course_is_killed(toy):
    noted = toy / "kernel"
    sleeps = (
        f"import os, pathlib, time\n_ = pathlib.Path({str(noted)!r}).write_text(str(os.getpid()))"
    )
    nbformat.write(notebook_of(PARAMETERS, f"{sleeps}\ntime.sleep(600)"), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS), toy / "02_toy.ipynb")
    code = f"""import pathlib
from vae_helpers import claims, course
if __name__ == "__main__":
    for module in (claims, course):
        module.NOTEBOOKS, module.BUILD = pathlib.Path({str(toy)!r}), pathlib.Path({str(toy)!r})
    course.run(course.plan())"""
    (toy / "killed.py").write_text(code)
    with subprocess.Popen([sys.executable, toy / "killed.py"], stdout=subprocess.DEVNULL) as runner:
        wait_until(lambda: noted.exists() and noted.read_text())
        runner.kill()
    kernel = pathlib.Path(f"/proc/{noted.read_text()}")
    wait_until(lambda: not kernel.exists())
    assert not kernel.exists()


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_forked_kernel_that_dies_is_a_failed_notebook(toy):
    nbformat.write(notebook_of(PARAMETERS), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS, "import os\nos._exit(3)"), toy / "02_toy.ipynb")
    with pytest.raises(course.NotebookFailedError, match="02_toy: its kernel died"):
        course.run(course.plan())
