"""Forked kernels: as fresh as those that Jupyter starts, and found dead when they have died."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import nbformat
import pytest
from test_execution import notebook_of

from vae_helpers.course import execution, notebooks, sockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

STATE = """import os, random, sys, torch
print(torch.get_num_threads(), os.getcwd(), sorted(vars())[-3:], __name__)
print(os.getsid(0) == os.getpid(), sys.modules["__main__"].__dict__ is globals())"""
PARAMETERS = "epochs: int = 2  # passes"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course that has no notebooks yet."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    return tmp_path


def printed(execution):
    executed = nbformat.read(execution.output, as_version=4)
    return "".join(out["text"] for cell in executed.cells for out in cell.outputs)


def test_a_forked_kernel_finds_what_a_fresh_one_finds(toy):
    leaves = "import torch, math\nmath.pi = 3\ntorch.manual_seed(1)\ntorch.set_num_threads(1)"
    finds = "import math\nprint(math.pi)\n" + STATE
    nbformat.write(notebook_of(PARAMETERS, leaves), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS, finds), toy / "02_toy.ipynb")
    first, second = execution.plan()
    execution.run([first, second])
    forked = printed(second)
    execution.run([second])  # one notebook alone has a kernel of Jupyter's
    assert forked == printed(second)
    assert forked.startswith("3.14159")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_kernel_has_the_threads_of_its_environment_in_every_library(toy, threads):
    counts = """import concurrent.futures, os, torch, threadpoolctl, scipy.stats
print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
print(torch.__config__.parallel_info())
with concurrent.futures.ThreadPoolExecutor() as other:
    print(torch.get_num_threads(), other.submit(torch.get_num_threads).result())"""
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, counts), toy / f"{name}.ipynb")
    executions = execution.plan()
    execution.run(executions, threads=threads)
    forked = [printed(it) for it in executions]
    execution.run(executions[:1], threads=threads)
    assert forked == [printed(executions[0])] * 2
    assert forked[0].startswith(f"{{{threads}}}\n")
    assert forked[0].endswith(f"{threads} {threads}\n")


PARENT = "print(open(f'/proc/{__import__(\"os\").getppid()}/cmdline').read().replace('\\0', ' '))"


def test_kernels_are_forked_for_several_notebooks_and_not_for_one(toy):
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, PARENT), toy / f"{name}.ipynb")
    executions = execution.plan()
    execution.run(executions, threads=1)
    assert all("forkserver" in printed(it) for it in executions)
    execution.run(executions[:1])
    assert "forkserver" not in printed(executions[0])


def test_a_forked_kernel_ends_when_the_course_is_killed(toy):
    noted = toy / "kernel"
    sleeps = (
        f"import os, pathlib, time\n_ = pathlib.Path({str(noted)!r}).write_text(str(os.getpid()))"
    )
    nbformat.write(notebook_of(PARAMETERS, f"{sleeps}\ntime.sleep(600)"), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS), toy / "02_toy.ipynb")
    code = f"""import pathlib
from vae_helpers.course import execution, notebooks
if __name__ == "__main__":
    notebooks.NOTEBOOKS = notebooks.BUILD = pathlib.Path({str(toy)!r})
    execution.run(execution.plan())"""
    (toy / "killed.py").write_text(code, encoding="utf-8")
    with subprocess.Popen([sys.executable, toy / "killed.py"], stdout=subprocess.DEVNULL) as runner:
        wait_until(lambda: noted.exists() and noted.read_bytes())
        runner.kill()
    kernel = pathlib.Path(f"/proc/{noted.read_text(encoding='ascii')}")
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
    with pytest.raises(execution.NotebookFailedError, match="02_toy: its kernel died"):
        execution.run(execution.plan())


def test_kernels_talk_through_sockets_that_are_gone_afterwards(toy, monkeypatch):
    folders = []
    new_folder = sockets.new_folder
    monkeypatch.setattr(sockets, "new_folder", lambda: folders.append(new_folder()) or folders[-1])
    shows = "print(get_ipython().kernel.parent.transport, get_ipython().kernel.parent.ip)"
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, shows), toy / f"{name}.ipynb")
    executions = execution.plan()
    execution.run(executions)
    execution.run(executions[:1])
    assert len(folders) == 3
    assert printed(executions[1]) == f"ipc {folders[1]}/kernel\n"
    assert printed(executions[0]) == f"ipc {folders[2]}/kernel\n"
    assert not any(pathlib.Path(folder).exists() for folder in folders)


def test_sockets_have_short_paths_wherever_temporary_files_go(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = sockets.new_folder()
    assert len(folder) <= sockets.LONGEST
    os.rmdir(folder)
    assert list(long.iterdir()) == []


TAKES_EVERY_PORT = """
import jupyter_client.connect, socket
held = []
choose = jupyter_client.connect.LocalPortCache.find_available_port

def choose_and_lose(self, ip):
    port = choose(self, ip)
    held.append(socket.socket())
    held[-1].bind((ip, port))
    held[-1].listen()
    return port

jupyter_client.connect.LocalPortCache.find_available_port = choose_and_lose
"""


def test_another_process_that_takes_the_ports_first_does_not_keep_a_notebook_from_running(toy):
    nbformat.write(notebook_of(PARAMETERS, "print('ran')"), toy / "01_toy.ipynb")
    code = f"""import pathlib
from vae_helpers.course import execution, notebooks
{TAKES_EVERY_PORT}
notebooks.NOTEBOOKS = pathlib.Path({str(toy)!r})
notebooks.BUILD = notebooks.NOTEBOOKS / "build"
execution.run(execution.plan())"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert printed(execution.plan()[0]) == "ran\n"


def test_a_forked_kernel_removes_its_temporary_folders_when_it_ends(toy):
    makes = "import tempfile\nscratch = tempfile.TemporaryDirectory()\nprint(scratch.name)"
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, makes), toy / f"{name}.ipynb")
    executions = execution.plan()
    execution.run(executions)
    folders = [pathlib.Path(printed(it).strip()) for it in executions]
    assert len(set(folders)) == 2
    wait_until(lambda: not any(folder.exists() for folder in folders), seconds=20)
    assert [folder for folder in folders if folder.exists()] == []
