"""A small project of its own: a copy of the package and a course of one quick notebook.

Workers and kernels are other processes, which a monkeypatch would not reach.
"""

import os
import shutil
import subprocess
import sys

import nbformat

from vae_helpers import PROJECT

TOY = (
    "seed: int = 0  # of nothing\n"
    "beta: float = 1.0  # 13, 14, 15: no luck; 16: needs company; 17: takes a minute",
    'from vae_helpers.course.results import begin\n\nresults = begin("01_toy", globals())',
    """
import glob, json, os, signal, time
import torch
from ipykernel.connect import get_connection_file

with open(get_connection_file()) as connection, open("ran.log", "a") as log:
    transport = json.load(connection)["transport"]
    print(seed, beta, os.getppid(), os.environ["OMP_NUM_THREADS"], transport, file=log)
if beta == 13:
    raise ValueError("unlucky")
if beta == 14:
    os._exit(3)
if beta == 15:
    os.kill(os.getppid(), signal.SIGKILL)
if beta == 16:
    open(f"here-{seed}", "w").close()
    until = time.monotonic() + 60
    while len(glob.glob("here-*")) < 2:
        assert time.monotonic() < until, "alone"
        time.sleep(0.1)
time.sleep(60 if beta == 17 else 0.3)
results.record("square", seed**2)
results.record("kind", "odd" if seed % 2 else "even")
results.record("shape", [seed, 2])
results.measure("clock", time.time(), unit="s")
results.series("curve", {1: seed / 7, 30: float("nan")})
""",
)

QUICK_TORCH = """
import os

__version__ = "a stand-in: only `begin` asks it, about the machine, and torch takes seconds to load"


class cuda:
    is_available = staticmethod(lambda: False)


def get_num_threads():
    return int(os.environ["OMP_NUM_THREADS"])
"""


def notebook_of(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def make(folder):
    """The package, with a course of one notebook that takes a second."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "vae_helpers", folder / "vae_helpers", ignore=ignore)
    (folder / "notebooks").mkdir()
    nbformat.write(notebook_of(*TOY), folder / "notebooks" / "01_toy.ipynb")
    (folder / "torch.py").write_text(QUICK_TORCH, encoding="utf-8")
    (folder / "report").mkdir()
    (folder / "report" / "tolerances.toml").touch()
    (folder / "report" / "studies.toml").write_text(
        '[pair]\npurpose = "a test"\nnotebook = "01"\n[pair.grid]\nseed = [3, 4]\n',
        encoding="utf-8",
    )
    return folder


def start(project, module, *arguments, **options):
    """A process of the small project, in a session and so in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        start_new_session=True,
        encoding="utf-8",
        **options,
    )


def command(project, *arguments):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(project, "vae_helpers", *arguments, **pipes) as process:
        try:
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def executed(project, *, forget=False):
    """What has run since it last forgot: (seed, beta, worker, threads, transport) of each cell."""
    path = project / "notebooks" / "ran.log"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if forget:
        path.unlink(missing_ok=True)
    return [tuple(line.split()) for line in lines]
