"""Forked kernels: as fresh as those that Jupyter starts, and found dead when they have died."""

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import pytest
from test_execution import notebook_of

from vae_helpers.course import execution, kernels, notebooks, sockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

PARAMETERS = "epochs: int = 2  # passes"
LEAVES = "import torch, math\nmath.pi = 3\ntorch.manual_seed(1)\ntorch.set_num_threads(1)"
FINDS = """import math, os, random, sys, torch
print(math.pi, torch.get_num_threads(), os.getcwd(), sorted(vars())[-3:], __name__)
print(os.getsid(0) == os.getpid(), sys.modules["__main__"].__dict__ is globals())"""
COUNTS = """import concurrent.futures, os, torch, threadpoolctl, scipy.linalg
print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
print(torch.__config__.parallel_info())
with concurrent.futures.ThreadPoolExecutor() as other:
    print(torch.get_num_threads(), other.submit(torch.get_num_threads).result())"""
TELLS = """import json, os, pathlib, tempfile
kernel, scratch = get_ipython().kernel.parent, tempfile.TemporaryDirectory()
parent = pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode()
print(json.dumps([parent, f"{kernel.transport} {kernel.ip}", scratch.name]))"""


DRAWS = """import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course that has no notebooks yet."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    return tmp_path


def printed(execution):
    """What each cell has printed."""
    executed = nbformat.read(execution.output, as_version=4)
    return ["".join(out["text"] for out in cell.outputs) for cell in executed.cells]


class Ran:
    """Two notebooks in forked kernels, and the second again, alone in a kernel of Jupyter's."""

    def __init__(self, folder, patch, threads):
        self.threads, self.sockets = threads, []
        new_folder = sockets.new_folder
        patch.setattr(notebooks, "NOTEBOOKS", folder)
        patch.setattr(notebooks, "BUILD", folder / "build")
        patch.setattr(
            sockets, "new_folder", lambda: self.sockets.append(new_folder()) or self.sockets[-1]
        )
        for name, code in {"01_toy": LEAVES, "02_toy": FINDS}.items():
            nbformat.write(notebook_of(PARAMETERS, code, COUNTS, TELLS), folder / f"{name}.ipynb")
        first, second = execution.plan()
        execution.run([first, second], threads=threads)
        forked = [printed(first), printed(second)]
        execution.run([second], threads=threads)
        self.found, self.found_alone = forked[1][1:3], printed(second)[1:3]
        self.told = [json.loads(cells[3]) for cells in (*forked, printed(second))]


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def ran(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Ran(tmp_path_factory.mktemp("course"), patch, request.param)


def test_a_forked_kernel_finds_what_a_fresh_one_finds(ran):
    assert ran.found == ran.found_alone
    assert ran.found[0].startswith("3.14159")


def test_a_forked_kernel_has_the_threads_of_its_environment_in_every_library(ran):
    assert ran.found[1] == ran.found_alone[1]
    assert ran.found[1].startswith(f"{{{ran.threads}}}\n")
    assert ran.found[1].endswith(f"{ran.threads} {ran.threads}\n")


def test_kernels_are_forked_for_several_notebooks_and_not_for_one(ran):
    assert ["forkserver" in parent for parent, _, _ in ran.told] == [True, True, False]


def test_kernels_talk_through_sockets_that_are_gone_afterwards(ran):
    assert len(ran.sockets) == 3
    talked = [socket for _, socket, _ in ran.told]
    assert sorted(talked) == sorted(f"ipc {folder}/kernel" for folder in ran.sockets)
    assert not any(pathlib.Path(folder).exists() for folder in ran.sockets)


def test_a_forked_kernel_shows_a_figure_of_plain_matplotlib_as_a_fresh_one_does(toy):
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, DRAWS), toy / f"{name}.ipynb")
    first, second = execution.plan()
    shown = []
    for executions in ([first, second], [second]):  # forked, and alone in a kernel of Jupyter's
        execution.run(executions, threads=1)
        (output,) = nbformat.read(second.output, as_version=4).cells[-1].outputs
        shown.append(output.data)
    assert shown[0].keys() == {"image/png", "text/plain"}
    assert shown[0] == shown[1]


def test_a_kernel_is_where_the_notebooks_are_wherever_this_process_goes(toy, monkeypatch):
    went, go = [], os.chdir
    monkeypatch.setattr(os, "chdir", lambda path: went.append(pathlib.Path(path)) or go(path))
    where = "import os\nprint(os.getcwd())"
    for name in ("01_toy", "02_toy"):
        nbformat.write(notebook_of(PARAMETERS, where), toy / f"{name}.ipynb")
    first, second = execution.plan()
    for executions in ([first, second], [second]):  # forked, and alone in a kernel of Jupyter's
        execution.run(executions, threads=1)
        assert [printed(it)[-1].strip() for it in executions] == [str(toy)] * len(executions)
    assert {*went} <= {pathlib.Path.cwd()}


def test_a_forked_kernel_removes_its_temporary_folders_when_it_ends(ran):
    folders = [pathlib.Path(scratch) for _, _, scratch in ran.told[:2]]
    assert len(set(folders)) == 2
    wait_until(lambda: not any(folder.exists() for folder in folders), seconds=20)
    assert [folder for folder in folders if folder.exists()] == []


def test_a_kernel_whose_group_is_gone_already_is_still_told_to_end():
    process = kernels._Kernel(target=time.sleep, args=(600,))
    process.start()
    provisioner = kernels.ForkingProvisioner()
    provisioner.process, provisioner.pgid = process, process.pid  # it leads no group of its own
    asyncio.run(provisioner.terminate())
    process.join(60)
    assert process.exitcode == -signal.SIGTERM


def test_a_kernel_that_is_about_to_start_does_not_keep_others_from_being_killed(monkeypatch):
    def start(process):
        kernels.kill_all()  # as another thread may at this moment
        raise InterruptedError

    others = kernels.ForkingProvisioner()
    others.process = other = kernels._Kernel(target=time.sleep, args=(600,))
    other.start()
    monkeypatch.setattr(kernels._Kernel, "start", start)
    monkeypatch.setattr(kernels, "_forking", True)
    monkeypatch.setattr(kernels, "_started", {others})
    starting = kernels.ForkingProvisioner().launch_kernel(["-f", "file"], env={})
    try:
        with pytest.raises(InterruptedError):
            asyncio.run(starting)
        other.wait(60)
        assert other.exitcode == -signal.SIGKILL
    finally:
        other.kill()


def test_a_forked_kernel_ends_when_the_course_is_killed(toy):
    noted = toy / "kernel"
    sleeps = (
        f"import os, pathlib, time\n_ = pathlib.Path({str(noted)!r}).write_text(str(os.getpid()))"
    )
    nbformat.write(notebook_of(PARAMETERS, f"{sleeps}\ntime.sleep(600)"), toy / "01_toy.ipynb")
    nbformat.write(notebook_of(PARAMETERS), toy / "02_toy.ipynb")
    code = f"""import pathlib
from vae_helpers.course import execution, kernels, notebooks
if __name__ == "__main__":
    kernels.PRELOADED = ()  # they would take long, and no notebook imports anything
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
    assert printed(execution.plan()[0])[1] == "ran\n"
