"""Studies: the grid, what survives a kill or a failure, the digest, the table and who reads it.

Whole studies run in a small project of their own, a copy of the package with one quick notebook:
workers and kernels are other processes, which a monkeypatch would not reach.
"""

import csv
import importlib.metadata
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from distributed import Client

from vae_helpers import PROJECT, course, studies
from vae_helpers.parameters import ParameterError
from vae_helpers.studies import StudyError

CORES = len(os.sched_getaffinity(0))
TEN_CELLS = ("-g", "seed", "1", "2", "3", "4", "5", "-g", "beta", "0", "1")

TOY = (
    "seed: int = 0  # of nothing\nbeta: float = 1.0  # 13, 14, 15: no luck; 16: needs company",
    'from vae_helpers.claims import begin\n\nlesson = begin("01_toy", seed=seed, beta=beta)',
    """
import glob, os, signal, time

with open("ran.log", "a") as log:
    print(seed, beta, os.getppid(), os.environ["OMP_NUM_THREADS"], file=log)
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
time.sleep(0.3)
lesson.record("square", seed**2)
lesson.record("kind", "odd" if seed % 2 else "even")
lesson.record("shape", [seed, 2])
lesson.measure("clock", time.time(), unit="s")
lesson.series("curve", {1: seed / 7, 30: float("nan")})
""",
)

QUICK_TORCH = """
import os

__version__ = "a stand-in: the lesson only asks about the machine, and torch takes seconds to load"


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


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The package, with a course of one notebook that takes a second."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "vae_helpers", folder / "vae_helpers", ignore=ignore)
    (folder / "notebooks").mkdir()
    nbformat.write(notebook_of(*TOY), folder / "notebooks" / "01_toy.ipynb")
    (folder / "torch.py").write_text(QUICK_TORCH)
    (folder / "report").mkdir()
    (folder / "report" / "bands.toml").write_text("")
    (folder / "report" / "studies.toml").write_text(
        '[pair]\npurpose = "a test"\nnotebook = "01"\n[pair.grid]\nseed = [3, 4]\n'
    )
    return folder


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """A shell starts background jobs with Ctrl-C ignored, which their children would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(project, module, *arguments, **options):
    """A process of the small project, in a session and so in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        start_new_session=True,
        text=True,
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
    """The cells that have run since the last time it forgot: (seed, beta, worker, threads)."""
    path = project / "notebooks" / "ran.log"
    lines = path.read_text().splitlines() if path.exists() else []
    if forget:
        path.unlink(missing_ok=True)
    return [tuple(line.split()) for line in lines]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def uninterrupted(project):
    """The bytes of the table of a study of ten cells that nothing has disturbed."""
    folder = project / "build" / "uninterrupted"
    done = command(project, "study", "01", *TEN_CELLS, "--output", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert len(executed(project, forget=True)) == 10
    return (folder / "table.csv").read_bytes()


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["04"], "expected at least one parameter with its values, got an empty grid"),
        (["04", "-g", "seed"], "seed: expected one or more values, got []"),
        (["04", "-g", "sed", "1"], "no parameter 'sed'; did you mean 'seed'?"),
        (["04", "-g", "seed", "1", "1.5"], "seed: expected a whole number, got '1.5'"),
        (["04", "-g", "beta", "1", "-1"], "beta: expected 0 to 1000000, got -1.0"),
        (["04", "-g", "beta", "1", "2", "1.0"], "beta=1.0: expected once in the grid, got twice"),
        (["04", "-g", "seed", "1", "-g", "seed", "2"], "seed: expected once in the grid"),
        (["04", "-g", "seed", "1", "-p", "seed", "2"], "seed: expected in the grid or by itself"),
        (["04", "-g", "seed", "1", "-p", "epoch", "2"], "did you mean 'epochs'?"),
        (["4_training", "-g", "seed", "1"], "unknown notebook '4_training'"),
        (["04", "-g", "seed", "1", "--workers", "0"], "workers: expected at least 1, got 0"),
        (
            ["04", "-g", "seed", "1", "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"],
            "expected workers or a scheduler, which has its own, got both",
        ),
        (["04", "-g", "seed", "1", "--output", "README.md"], "got the file README.md"),
    ],
)
def test_a_mistake_in_a_grid_is_refused_before_anything_runs(arguments, message):
    done = command(PROJECT, "study", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("refused, nothing was run: ")
    assert message in done.stderr
    assert done.stdout == ""


def test_a_study_that_is_not_in_the_list_is_refused_with_the_nearest_that_is():
    done = command(PROJECT, "studies", "bta")
    assert done.returncode == 2
    assert "unknown study 'bta'; did you mean 'beta'?" in done.stderr


def test_a_refusal_waits_neither_for_torch_nor_for_dask():
    code = (
        "import sys; from vae_helpers.__main__ import main; "
        "main(['study', '04', '-g', 'sed', '5']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'dask', 'distributed')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nnotebook = "04"\npurpose = "p"', "a lacks 'grid'"),
        ('[a]\nnotebook = "04"\npurpose = "p"\nseeds = [1]\n[a.grid]\nseed = [1]', "entry 'seeds'"),
        ('[a]\nnotebook = "04"\npurpose = "p"\n[a.grid]\nseed = 1', "one or more values, got 1"),
    ],
)
def test_a_list_of_studies_that_does_not_say_what_is_needed_is_refused(
    tmp_path, monkeypatch, text, message
):
    (tmp_path / "studies.toml").write_text(text)
    monkeypatch.setattr(studies, "STUDIES", tmp_path / "studies.toml")
    with pytest.raises(ParameterError) as refusal:
        studies.committed()
    assert message in str(refusal.value)


def test_the_committed_list_can_be_planned():
    plans = studies.committed()
    assert [plan.name for plan in plans] == list(dict.fromkeys(plan.name for plan in plans))
    assert all(plan.folder.name == plan.name and plan.cells for plan in plans)


# --- the grid


def test_cells_are_the_product_of_the_grid_and_its_last_parameter_varies_fastest():
    plan = studies.plan("04", {"seed": ["1", "2"], "beta": ["0", "4"]}, {"epochs": "3"})
    assert [(cell.values["seed"], cell.values["beta"]) for cell in plan.cells] == [
        (1, 0.0),
        (1, 4.0),
        (2, 0.0),
        (2, 4.0),
    ]
    assert {cell.values["epochs"] for cell in plan.cells} == {3}
    assert plan.cells[1].label == "seed=1 beta=4.0"


def test_a_cell_states_every_parameter_of_the_notebook():
    (cell,) = studies.plan("04", {"seed": [1]}, profile="smoke").cells
    names = list(studies.defaults("04_training"))
    assert list(cell.values) == list(cell.execution.overrides) == names
    assert cell.values["epochs"] == course.plan(["04"], profile="smoke")[0].overrides["epochs"]


def test_other_studies_have_other_folders():
    one = studies.plan("04", {"seed": [1, 2]}).folder
    assert one == studies.plan("04_training", {"seed": ["1", "2"]}).folder
    assert one != studies.plan("04", {"seed": [1, 2]}, {"epochs": 2}).folder
    assert one != studies.plan("04", {"seed": [1, 2]}, profile="smoke").folder


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (3, 8, 2), (1, 8, 8)]
)
def test_workers_divide_the_cores_among_themselves(workers, cores, threads):
    assert studies.threads_each(workers, cores=cores) == threads


# --- whole studies


@pytest.mark.parametrize("whom", ["everything", "the client only"])
def test_a_study_that_was_killed_goes_on_and_ends_with_the_same_table(
    project, uninterrupted, whom, tmp_path
):
    executed(project, forget=True)
    arguments = ("study", "01", *TEN_CELLS, "--output", tmp_path, "--workers", 2)
    with start(
        project, "vae_helpers", *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert any(line.startswith("3/10 ") for line in process.stdout)
        others = psutil.Process(process.pid).children(recursive=True)
        if whom == "everything":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert others, "expected workers and kernels"
    assert psutil.wait_procs(others, timeout=20)[1] == []

    kept = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")]
    kept = {(str(it["parameters"]["seed"]), str(it["parameters"]["beta"])) for it in kept}
    assert 3 <= len(kept) < 10
    executed(project, forget=True)
    done = command(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"study 01_toy: 10 cells, {len(kept)} finished before\n" in done.stdout
    again = [cell[:2] for cell in executed(project)]
    assert len(again) == 10 - len(kept)
    assert not kept & set(again)
    assert (tmp_path / "table.csv").read_bytes() == uninterrupted


def test_an_interrupt_says_that_the_same_command_goes_on_and_leaves_no_process(project, tmp_path):
    arguments = ("study", "01", *TEN_CELLS, "--output", tmp_path, "--workers", 2)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(project, "vae_helpers", *arguments, **pipes) as process:
        assert any(line.startswith("2/10 ") for line in process.stdout)
        others = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert psutil.wait_procs(others, timeout=20)[1] == []
    assert not (tmp_path / "table.csv").exists()


def test_failed_cells_stay_in_the_table_with_their_errors_and_are_run_again(project, tmp_path):
    executed(project, forget=True)
    grid = ("-g", "beta", "13", "14", "15", "1", "2", "-p", "seed", "7", "--workers", 2)
    done = command(project, "study", "01", *grid, "--output", tmp_path)
    assert done.returncode == 1
    rows = rows_of(tmp_path / "table.csv")
    assert [row["status"] for row in rows] == ["failed"] * 3 + ["finished"] * 2
    assert rows[0]["error"] == "01_toy: cell 4 failed: ValueError: unlucky"
    assert "its kernel died" in rows[1]["error"]
    assert "its worker died" in rows[2]["error"]
    assert [row["square"] for row in rows] == ["", "", "", "49", "49"]
    for row in rows[:3]:
        assert f"beta={row['beta']}: {row['error']}; see " in done.stderr
    assert "3 cells failed" in done.stderr

    executed(project, forget=True)
    notebook = project / "notebooks" / "01_toy.ipynb"
    before = notebook.read_bytes()
    done = command(
        project, "study", "01", "-g", "beta", "13", "1", "-p", "seed", "7", "--output", tmp_path
    )
    assert done.returncode == 1
    assert [cell[1] for cell in executed(project)] == ["13.0"]
    assert notebook.read_bytes() == before


def test_one_worker_has_all_cores_and_writes_where_the_committed_studies_are(project):
    executed(project, forget=True)
    done = command(project, "studies", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert {cell[3] for cell in executed(project)} == {str(CORES)}
    folder = project / "report" / "results" / "studies"
    assert sorted(path.name for path in folder.iterdir()) == ["pair.csv", "pair.json"]
    found = json.loads((folder / "pair.json").read_text())
    assert found["threads"] == [CORES]
    assert found["seeds"] == [3, 4]
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert [cell["machine"]["threads"] for cell in found["cells"]] == [CORES] * 2
    assert all(cell["measured"]["clock"] > 1e9 for cell in found["cells"])


def test_a_study_runs_on_all_workers_of_a_scheduler_at_once(project, tmp_path, uninterrupted):
    executed(project, forget=True)
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = ("--scheduler-file", file, "--no-dashboard")
    module = "distributed.cli.dask_scheduler"
    started = [start(project, module, "--host", "127.0.0.1", "--port", 0, *where, **quiet)]
    try:
        module, own = "distributed.cli.dask_worker", ("--nthreads", 1, "--no-nanny")
        workers = [start(project, module, *where, *own, **quiet) for _ in range(2)]
        started += workers
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        there = ("--scheduler", address, "--output", tmp_path / "it")
        done = command(project, "study", "01", *TEN_CELLS, *there)
        assert done.returncode == 0, done.stderr
        cells = executed(project)
        shutil.copy(tmp_path / "it" / "table.csv", tmp_path / "ten.csv")
        together = command(project, "study", "01", "-g", "seed", 1, 2, "-p", "beta", 16, *there)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait(timeout=20)
    assert together.returncode == 0, together.stderr
    assert len({cell[:2] for cell in cells}) == len(cells) == 10
    assert {cell[2] for cell in cells} == {str(worker.pid) for worker in workers}
    assert {cell[3] for cell in cells} == {"1"}
    assert (tmp_path / "ten.csv").read_bytes() == uninterrupted


def test_a_worker_with_other_code_says_so_and_runs_nothing(monkeypatch):
    monkeypatch.setattr(course, "execute", lambda execution: pytest.fail("it ran"))
    (cell,) = studies.plan("04", {"seed": [1]}).cells
    outcome = studies.run_cell(cell.execution, code="0123456789abcdef", threads=1)
    assert "expected digest 0123456789abcdef, got " in outcome["error"]
    assert "to the same commit" in outcome["error"]


@pytest.fixture
def own_environment(monkeypatch):
    """What `run_cell` sets for good is forgotten after the test."""
    monkeypatch.setattr(os, "environ", {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"})


@pytest.mark.usefixtures("own_environment")
def test_what_an_earlier_execution_has_left_is_not_taken_for_the_cells_own(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "BUILD", tmp_path)
    monkeypatch.setattr(course, "execute", lambda execution: None)
    plan = studies.plan("04", {"seed": [1]})
    results = plan.cells[0].execution.results
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    outcome = studies.run_cell(plan.cells[0].execution, code=plan.code, threads=1)
    assert "has left no results" in outcome["error"]


@pytest.mark.usefixtures("own_environment")
def test_a_kernel_inherits_its_threads_and_none_of_dasks_memory_settings(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(course, "BUILD", tmp_path)
    monkeypatch.setattr(course, "execute", lambda execution: seen.update(os.environ))
    plan = studies.plan("04", {"seed": [1]})
    studies.run_cell(plan.cells[0].execution, code=plan.code, threads=3)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert [seen[name] for name in names] == ["3"] * 3
    assert "MALLOC_TRIM_THRESHOLD_" not in seen


# --- the digest


MODULES = {
    "__init__": '"""A package."""\n',
    "near": '"""Near."""\nfrom vae_helpers import far\n\n\ndef f(x):\n    """Twice."""\n'
    "    return 2 * far.g(x)  # doubled\n",
    "far": "def g(x):\n    import vae_helpers.lazy as lazy\n\n    return lazy.ONE\n",
    "lazy": 'ONE = 1\n"""What it is."""\n',
    "unused": "TWO = 2\n",
    "figures": "from vae_helpers import unused\n\nCOLOUR = 'blue'\n",
}
CELLS = (
    "epochs: int = 2  # passes",
    "from vae_helpers import figures\nfrom vae_helpers.near import f\n\nlesson = 1",
    "print(f(1))",
    'lesson.show(figures.COLOUR, "name", caption="Blue.", alt="A blue square.")',
)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A notebook and a package whose imports are known."""
    for name in ("notebooks", "vae_helpers"):
        (tmp_path / name).mkdir()
    for name, source in MODULES.items():
        (tmp_path / "vae_helpers" / f"{name}.py").write_text(source)
    notebook = notebook_of(*CELLS)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("words"))
    nbformat.write(notebook, tmp_path / "notebooks" / "01_toy.ipynb")
    monkeypatch.setattr(studies, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(studies, "PACKAGE", tmp_path / "vae_helpers")
    return tmp_path


def digest_with(small, file, old, new):
    path = small / file
    before = path.read_text()
    assert before.count(old) == 1
    path.write_text(before.replace(old, new))
    return studies.digest("01_toy")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "2 * far", "3 * far"),
        ("vae_helpers/far.py", "lazy.ONE", "-lazy.ONE"),
        ("vae_helpers/lazy.py", "ONE = 1", "ONE = 1.0"),
        ("notebooks/01_toy.ipynb", "print(f(1))", "print(f(2))"),
    ],
)
def test_the_digest_changes_with_the_code_that_the_numbers_come_from(small, file, old, new):
    before = studies.digest("01_toy")
    assert digest_with(small, file, old, new) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "# doubled", "# twice"),
        ("vae_helpers/near.py", '    """Twice."""\n', ""),
        ("vae_helpers/lazy.py", "What it is.", "What it was."),
        ("vae_helpers/unused.py", "TWO = 2", "TWO = 3"),
        ("vae_helpers/figures.py", "blue", "red"),
        ("notebooks/01_toy.ipynb", "print(f(1))", "print( f(1) )  # printed"),
        ("notebooks/01_toy.ipynb", "Blue.", "Red."),
        ("notebooks/01_toy.ipynb", "epochs: int = 2", "epochs: int = 3"),
        ("notebooks/01_toy.ipynb", "words", "other words"),
    ],
)
def test_the_digest_does_not_change_with_words_and_pictures(small, file, old, new):
    before = studies.digest("01_toy")
    assert digest_with(small, file, old, new) == before


def test_the_loss_of_the_course_is_in_the_digest_of_notebook_04(tmp_path, monkeypatch):
    before = studies.digest("04_training")
    shutil.copytree(PROJECT / "vae_helpers", tmp_path / "vae_helpers")
    monkeypatch.setattr(studies, "PACKAGE", tmp_path / "vae_helpers")
    assert studies.digest("04_training") == before
    loss = tmp_path / "vae_helpers" / "objective.py"
    loss.write_text(loss.read_text().replace("logvar", "logvariance"))
    assert studies.digest("04_training") != before


# --- the table and who reads it


def record(seed, beta, values):
    return {
        "parameters": {"seed": seed, "beta": beta, "hidden_dims": [400, 200]},
        "status": "finished" if values else "failed",
        "error": None if values else 'it said "no", twice',
        "values": values,
        "machine": None,
        "threads": 1,
        "workers": 2,
        "seconds": 1.5,
        "date": "2026-01-02",
    }


RECORDS = [
    record(1, 0.0, {}),
    record(
        1,
        0.5,
        {
            "loss": {"kind": "banded", "value": 0.1 + 0.2},
            "same": {"kind": "exact", "value": True},
            "sum": {"kind": "exact", "value": "0a1b"},
            "shape": {"kind": "exact", "value": [1, 2]},
            "clock": {"kind": "measured", "value": 7.5},
            "fcd": {"kind": "series", "value": [2.5, None], "at": [1, 30], "unit": ""},
        },
    ),
    record(
        2,
        0.5,
        {
            "loss": {"kind": "banded", "value": None},
            "steps": {"kind": "exact", "value": 12},
            "fcd": {"kind": "series", "value": [3.5], "at": [1], "unit": ""},
        },
    ),
]


def test_the_table_has_a_row_a_cell_and_a_column_for_each_metric_and_place_of_a_series():
    assert studies.table(RECORDS) == (
        "seed,beta,hidden_dims,status,error,loss,same,sum,fcd[1],fcd[30],steps\n"
        '1,0.0,"[400, 200]",failed,"it said ""no"", twice",,,,,,\n'
        '1,0.5,"[400, 200]",finished,,0.30000000000000004,True,0a1b,2.5,,\n'
        '2,0.5,"[400, 200]",finished,,,,,3.5,,12\n'
    )


@pytest.fixture
def published(small, tmp_path, monkeypatch):
    """The records above as a committed study of the small notebook."""
    monkeypatch.setattr(studies, "PUBLISHED", tmp_path)
    monkeypatch.setattr(studies, "STUDIES", tmp_path / "studies.toml")
    (tmp_path / "studies.toml").write_text("[toy]\n[planned]\n")
    (tmp_path / "toy.csv").write_text(studies.table(RECORDS))
    about = {"notebook": "01_toy", "digest": studies.digest("01_toy")}
    (tmp_path / "toy.json").write_text(json.dumps(about))
    return small


@pytest.mark.usefixtures("published")
def test_what_is_read_has_the_values_and_types_that_were_written():
    study = studies.read("toy")
    assert study.rows[1] == {
        "seed": 1,
        "beta": 0.5,
        "hidden_dims": (400, 200),
        "status": "finished",
        "error": None,
        "loss": 0.1 + 0.2,
        "same": True,
        "sum": "0a1b",
        "fcd[1]": 2.5,
        "fcd[30]": None,
        "steps": None,
    }
    assert [type(study.rows[1][name]) for name in ("seed", "beta", "same")] == [int, float, bool]
    assert study.failed() == [study.rows[0]]


@pytest.mark.usefixtures("published")
def test_values_are_those_of_the_finished_rows_that_are_asked_for():
    study = studies.read("toy")
    assert study.values("fcd[1]") == [2.5, 3.5]
    assert study.values("fcd[1]", {"seed": 2, "beta": 0.5}) == [3.5]
    assert study.values("fcd[1]", {"beta": 0}) == []
    assert study.values("seed", {"hidden_dims": [400, 200]}) == [1, 2]
    assert math.isnan(study.values("loss")[1])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("metric", "where", "message"),
    [
        ("los", {}, "no column 'los'; did you mean 'loss'?"),
        ("loss", {"bta": 1}, "no column 'bta'; did you mean 'beta'?"),
        ("loss", {"beta": 4}, "no row with beta = 4; there are 0.0, 0.5"),
        ("sum", {"seed": 1}, "expected numbers in 'sum', got '0a1b'"),
    ],
)
def test_a_metric_or_a_condition_that_is_not_there_is_named(metric, where, message):
    with pytest.raises(StudyError) as refusal:
        studies.read("toy").values(metric, where)
    assert message in str(refusal.value)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("name", "message"),
    [("tyo", "did you mean 'toy'?"), ("planned", "was not run yet; `make studies` does")],
)
def test_a_study_that_cannot_be_read_says_why(name, message):
    with pytest.raises(StudyError) as refusal:
        studies.read(name)
    assert message in str(refusal.value)


def test_a_study_says_what_it_is_and_whether_the_code_has_changed_since(published):
    study = studies.read("toy")
    assert not study.stale
    assert study.label() == "study toy: 3 runs of 01_toy, seeds 1 and 2, 1 failed"
    digest_with(published, "vae_helpers/near.py", "2 * far", "3 * far")
    study = studies.read("toy")
    assert study.stale
    assert study.label().endswith("1 failed; made by an earlier version of the code")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([5], "seed 5"), ([1, 2, 3], "seeds 1 to 3"), ([1, 2, 4], "seeds 1, 2, 4")],
)
def test_a_label_names_the_seeds(seeds, words):
    rows = [{"seed": seed, "status": "finished"} for seed in seeds]
    study = studies.Study("toy", rows, {"notebook": "01_toy"}, stale=False)
    assert f", {words}, 0 failed" in study.label()


def test_the_interval_of_a_mean_is_students():
    # 4.30265 is the 97.5 % quantile with 2 degrees of freedom in every table
    mean, half_width = studies.mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half_width == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert studies.mean_interval([1.0, 2.0, 3.0], 0.99)[1] == pytest.approx(9.92484 / math.sqrt(3))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_an_interval_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="at least 2 finite values"):
        studies.mean_interval(values)
