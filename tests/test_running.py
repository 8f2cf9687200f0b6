"""Running a study: what survives a kill or a failure, on which workers, and the table.

Whole studies run in the small project of `toy_project`.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from distributed import Client
from toy_project import command, executed, make, start

from vae_helpers import PROJECT, __main__
from vae_helpers.course import execution, notebooks
from vae_helpers.studies import planning, running, tables

CORES = len(os.sched_getaffinity(0))
FOUR_CELLS = ("-g", "seed", "1", "2", "-g", "beta", "0", "1")
PAIR = ("-g", "seed", "1", "2", "-p", "beta", "16")  # each of the two waits for the other
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = make(tmp_path_factory.mktemp("project"))
    # a grammar of jsonschema's, which takes a second to load in every worker and is not needed
    (folder / "rfc3987_syntax.py").write_text("raise ImportError", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """A shell starts background jobs with Ctrl-C ignored, which their children would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def uninterrupted(project):
    """The bytes of the table of a study of four cells that nothing has disturbed."""
    executed(project, forget=True)
    folder = project / "build" / "uninterrupted"
    done = command(project, "study", "01", *FOUR_CELLS, "--output", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert len(executed(project, forget=True)) == 4
    return (folder / "table.csv").read_bytes()


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["05"], "expected at least one parameter with its values, got an empty grid"),
        (["05", "-g", "seed"], "seed: expected one or more values, got []"),
        (["05", "-g", "sed", "1"], "no parameter 'sed'; did you mean 'seed'?"),
        (["05", "-g", "seed", "1", "1.5"], "seed: expected a whole number, got '1.5'"),
        (["05", "-g", "beta", "1", "-1"], "beta: expected 0 to 1000000, got -1.0"),
        (["05", "-g", "beta", "1", "2", "1.0"], "beta=1.0: expected once in the grid, got twice"),
        (["05", "-g", "seed", "1", "-g", "seed", "2"], "seed: expected once in the grid"),
        (["05", "-g", "seed", "1", "-p", "seed", "2"], "seed: expected in the grid or by itself"),
        (["05", "-g", "seed", "1", "-p", "epoch", "2"], "did you mean 'epochs'?"),
        (["4_training", "-g", "seed", "1"], "unknown notebook '4_training'"),
        (["05", "-g", "seed", "1", "--workers", "0"], "workers: expected at least 1, got 0"),
        (
            ["05", "-g", "seed", "1", "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"],
            "expected workers or a scheduler, which has its own, got both",
        ),
        (["05", "-g", "seed", "1", "--output", "README.md"], "got the file README.md"),
    ],
)
def test_a_mistake_in_a_grid_is_refused_before_anything_runs(
    arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(PROJECT)
    assert __main__.main(["study", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("refused, nothing was run: ")
    assert message in err
    assert out == ""


def test_a_study_that_is_not_in_the_list_is_refused_with_the_nearest_that_is(capsys):
    assert __main__.main(["studies", "bta"]) == 2
    assert "unknown study 'bta'; did you mean 'beta'?" in capsys.readouterr().err


def test_a_refusal_waits_neither_for_torch_nor_for_dask():
    code = (
        "import sys; from vae_helpers.__main__ import main; "
        "main(['study', '04', '-g', 'sed', '5']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'dask', 'distributed')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (3, 8, 2), (1, 8, 8)]
)
def test_workers_divide_the_cores_among_themselves(workers, cores, threads):
    assert running.threads_each(workers, cores=cores) == threads


# --- whole studies


def killed(project, folder, kill):
    """Kill a study of four cells after the first: its arguments, and the cells that are stored."""
    arguments = ("study", "01", *FOUR_CELLS, "--output", folder, "--workers", 2)
    with start(
        project, "vae_helpers", *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert any(line.startswith("1/4 ") for line in process.stdout)
        others = psutil.Process(process.pid).children(recursive=True)
        kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert others, "expected workers and kernels"
    assert psutil.wait_procs(others, timeout=20)[1] == []
    kept = [
        json.loads(path.read_text(encoding="utf-8")) for path in (folder / "cells").glob("*.json")
    ]
    assert 1 <= len(kept) < 4
    return arguments, {
        (str(it["parameters"]["seed"]), str(it["parameters"]["beta"])) for it in kept
    }


def test_a_study_that_was_killed_goes_on_and_ends_with_the_same_table(
    project, uninterrupted, tmp_path
):
    arguments, kept = killed(project, tmp_path, os.killpg)
    executed(project, forget=True)
    done = command(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"study 01_toy: 4 cells, {len(kept)} finished before\n" in done.stdout
    again = [cell[:2] for cell in executed(project)]
    assert len(again) == 4 - len(kept)
    assert not kept & set(again)
    assert (tmp_path / "table.csv").read_bytes() == uninterrupted


def test_workers_and_kernels_end_when_only_the_client_is_killed(project, tmp_path):
    _, kept = killed(project, tmp_path, os.kill)  # waits for the others to end
    assert kept
    assert not (tmp_path / "table.csv").exists()


def test_an_interrupt_says_that_the_same_command_goes_on_and_leaves_no_process(project, tmp_path):
    arguments = ("study", "01", *FOUR_CELLS, "--output", tmp_path, "--workers", 2)
    with start(project, "vae_helpers", *arguments, **PIPES) as process:
        assert any(line.startswith("1/4 ") for line in process.stdout)
        others = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    # no traceback of the client, of a worker or of a nanny; a kernel that was just about to end may
    # log an error of its sockets (ipykernel's own, of logger tornado.general)
    assert "KeyboardInterrupt" not in err
    assert "distributed" not in err
    assert psutil.wait_procs(others, timeout=20)[1] == []
    assert not (tmp_path / "table.csv").exists()


def test_a_connection_that_closes_after_its_cluster_prints_nothing(project):
    code = (
        "import logging\n"
        "from vae_helpers.studies import running\n"
        "with running._client(None, 1):\n"
        "    pass\n"
        "logging.getLogger('distributed.batched').info('Batched Comm Closed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_failed_cells_stay_in_the_table_with_their_errors_and_are_run_again(
    project, tmp_path, monkeypatch
):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    executed(project, forget=True)
    grid = ("-g", "beta", "13", "14", "15", "1", "-p", "seed", "7", "--workers", 2)
    done = command(project, "study", "01", *grid, "--output", tmp_path)
    assert done.returncode == 1
    rows = tables.read_rows(tmp_path / "table.csv")
    assert [row["status"] for row in rows] == ["failed"] * 3 + ["finished"]
    assert rows[0]["error"] == "01_toy: cell 4 failed: ValueError: unlucky"
    assert "its kernel died" in rows[1]["error"]
    assert "its worker died" in rows[2]["error"]
    assert [row["square"] for row in rows] == ["", "", "", "49"]
    assert [cell[1] for cell in executed(project)].count("15.0") == 2
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
    assert {cell[3:] for cell in executed(project)} == {(str(CORES), "ipc")}
    folder = project / "report" / "results" / "studies"
    assert sorted(path.name for path in folder.iterdir()) == ["pair.csv", "pair.json"]
    found = json.loads((folder / "pair.json").read_text(encoding="utf-8"))
    assert found["threads"] == [CORES]
    assert found["seeds"] == [3, 4]
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert [cell["machine"]["threads"] for cell in found["cells"]] == [CORES] * 2
    assert all(cell["measured"]["clock"] > 1e9 for cell in found["cells"])


# --- a scheduler with workers


@pytest.fixture(scope="module")
def strangers(project, tmp_path_factory):
    """Two copies of the project: one has other code, one other versions of torch and Python."""
    ignore = shutil.ignore_patterns("build", "__pycache__", "ran.log")
    other, old = (tmp_path_factory.mktemp(name) / "project" for name in ("other", "old"))
    for folder in (other, old):
        shutil.copytree(project, folder, ignore=ignore)
    notebook = other / "notebooks" / "01_toy.ipynb"
    code = notebook.read_text(encoding="utf-8").replace("seed**2", "seed**3")
    notebook.write_text(code, encoding="utf-8")
    about = old / "torch-0.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: torch\nVersion: 0.9\n", encoding="utf-8")
    python = "import platform\nplatform.python_version = lambda: '3.99.0'\n"
    (old / "sitecustomize.py").write_text(python, encoding="utf-8")
    return other, old


@pytest.fixture(scope="module")
def client(project, strangers, tmp_path_factory):
    """A client of a scheduler that has two workers, neither of which may run cells."""
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    where = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file, "--no-dashboard")
    started = [start(project, "distributed.cli.dask_scheduler", *where, **QUIET)]
    try:
        until(file.exists)
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        started += [worker(folder, address) for folder in strangers]
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            yield client
    finally:
        end(started)


def until(condition):
    late = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < late, "expected it within a minute"
        time.sleep(0.05)


def worker(folder, address):
    """A worker with one thread and the code of a folder."""
    own = ("--nthreads", 1, "--no-nanny", "--no-dashboard")
    return start(folder, "distributed.cli.dask_worker", address, *own, **QUIET)


def end(processes):
    for process in reversed(processes):
        process.kill()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def disturbed(project, client, tmp_path_factory):
    """A study of two cells that wait for each other, on three workers that come and go.

    The first worker is killed in the middle of its cell, the second takes its place, and the third
    joins while the second waits for company. Returns the three workers, of which the last two are
    still there, what ran, what the study said, and its table.
    """
    executed(project, forget=True)
    folder, joined = tmp_path_factory.mktemp("disturbed"), [worker(project, scheduler_of(client))]
    there = ("--scheduler", scheduler_of(client), "--output", folder)
    try:
        until(lambda: len(client.nthreads()) == 3)
        with start(project, "vae_helpers", "study", "01", *PAIR, *there, **PIPES) as study:
            until((project / "notebooks" / "here-1").exists)
            end(joined)
            until(lambda: len(client.nthreads()) == 2)
            joined.append(worker(project, scheduler_of(client)))
            until(lambda: len(executed(project)) == 2)
            joined.append(worker(project, scheduler_of(client)))
            _, err = study.communicate(timeout=60)
        assert study.returncode == 0, err
        yield joined, executed(project), err, (folder / "table.csv").read_bytes()
    finally:
        end(joined)


def scheduler_of(client):
    return client.scheduler.address


def test_a_study_is_refused_if_no_worker_has_its_code(project, client, tmp_path):
    executed(project, forget=True)
    there = ("--scheduler", scheduler_of(client), "--output", tmp_path)
    done = command(project, "study", "01", *FOUR_CELLS, *there)
    assert done.returncode == 2
    assert "refused, nothing was run: expected a worker with this code" in done.stderr
    assert executed(project) == []


def test_a_worker_that_joins_late_gets_cells_while_others_are_under_way(disturbed):
    (_, second, third), cells, _, _ = disturbed
    assert {cell[2] for cell in cells[1:]} == {str(second.pid), str(third.pid)}


def test_the_cell_of_a_worker_that_is_killed_runs_again_on_another(disturbed, uninterrupted):
    (first, second, _), cells, err, table = disturbed
    assert [cell[::2][:2] for cell in cells[:2]] == [("1", str(it.pid)) for it in (first, second)]
    assert [cell[0] for cell in cells] == ["1", "1", "2"]
    assert "seed=1: worker tcp://127.0.0.1:" in err
    assert "is gone, so it runs again" in err
    head, *rows = uninterrupted.decode().splitlines(keepends=True)
    pair = [row.replace(",1.0,", ",16.0,", 1) for row in rows if row[1:].startswith(",1.0,")]
    assert table.decode() == "".join([head, *pair])  # the numbers do not depend on beta


def test_a_study_runs_at_once_on_all_workers_that_have_its_code_and_versions(
    project, client, disturbed, tmp_path, uninterrupted
):
    executed(project, forget=True)
    there = ("--scheduler", scheduler_of(client), "--output", tmp_path)
    done = command(project, "study", "01", *FOUR_CELLS, *there)
    assert done.returncode == 0, done.stderr
    cells = executed(project)
    assert len({cell[:2] for cell in cells}) == len(cells) == 4
    assert {cell[2] for cell in cells} == {str(process.pid) for process in disturbed[0][1:]}
    assert {cell[3:] for cell in cells} == {("1", "ipc")}
    assert (tmp_path / "table.csv").read_bytes() == uninterrupted
    assert done.stderr.count("gets no cells") == 2
    assert done.stderr.count("gets no cells: code: expected ") == 1
    python, torch = platform.python_version(), importlib.metadata.version("torch")
    assert (
        f"python: expected {python}, got 3.99.0, torch: expected {torch}, got 0.9; " in done.stderr
    )


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ({"code": "a", "torch": "2.1+cpu"}, ""),
        ({"code": "b", "torch": "2.1"}, "code: expected a, got b"),
        ({"code": "a", "torch": "2.10"}, "torch: expected 2.1, got 2.10"),
        ({"code": "a"}, "torch: expected 2.1, got None"),
    ],
)
def test_a_worker_may_have_another_build_but_neither_other_code_nor_another_version(got, said):
    assert running.differences({"code": "a", "torch": "2.1"}, got) == said


def test_threads_that_are_free_are_taken_from_all_workers_in_turn():
    cell = running._Running(None, "b", 1)
    there = {"a": 1, "b": 2, "c": 3}
    assert list(running._free(there, [cell])) == ["a", "c", "b", "c", "c"]
    assert list(running._free(there, [cell, cell])) == ["a", "c", "c", "c"]
    assert list(running._free({}, [cell])) == []


def test_a_worker_with_other_code_says_so_and_runs_nothing(monkeypatch):
    monkeypatch.setattr(execution, "execute", lambda execution: pytest.fail("it ran"))
    (cell,) = planning.plan("05", {"seed": [1]}).cells
    outcome = running.run_cell(replace(cell, code="0123456789abcdef"), threads=1)
    assert "expected digest 0123456789abcdef, got " in outcome["error"]
    assert "to the same commit" in outcome["error"]


@pytest.fixture
def own_environment(monkeypatch):
    """What `run_cell` sets for good is forgotten after the test."""
    monkeypatch.setattr(os, "environ", {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"})


@pytest.mark.usefixtures("own_environment")
def test_what_an_earlier_execution_has_left_is_not_taken_for_the_cells_own(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "BUILD", tmp_path)
    monkeypatch.setattr(execution, "execute", lambda execution: None)
    plan = planning.plan("05", {"seed": [1]})
    results = plan.cells[0].execution.results
    results.parent.mkdir(parents=True)
    results.write_text("{}", encoding="utf-8")
    outcome = running.run_cell(plan.cells[0], threads=1)
    assert f"{results}: expected a JSON file, got none; run the study" in outcome["error"]


@pytest.mark.usefixtures("own_environment")
def test_a_kernel_inherits_its_threads_and_none_of_dasks_memory_settings(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(notebooks, "BUILD", tmp_path)
    monkeypatch.setattr(execution, "execute", lambda execution: seen.update(os.environ))
    plan = planning.plan("05", {"seed": [1]})
    running.run_cell(plan.cells[0], threads=3)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert [seen[name] for name in names] == ["3"] * 3
    assert "MALLOC_TRIM_THRESHOLD_" not in seen


# --- the table


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
            "loss": {"kind": "tolerance", "value": 0.1 + 0.2},
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
            "loss": {"kind": "tolerance", "value": None},
            "steps": {"kind": "exact", "value": 12},
            "fcd": {"kind": "series", "value": [3.5], "at": [1], "unit": ""},
        },
    ),
]


def test_the_table_has_a_row_per_cell_and_a_column_per_metric_and_place_of_a_series():
    assert running.table(list(map(running.row, RECORDS))) == (
        "seed,beta,hidden_dims,status,error,loss,same,sum,fcd[1],fcd[30],steps\n"
        '1,0.0,"[400, 200]",failed,"it said ""no"", twice",,,,,,\n'
        '1,0.5,"[400, 200]",finished,,0.30000000000000004,True,0a1b,2.5,,\n'
        '2,0.5,"[400, 200]",finished,,,,,3.5,,12\n'
    )


def test_a_table_with_arms_has_them_in_its_first_column():
    lines = running.table(list(map(running.row, RECORDS, ["plain", "b, c", "1"]))).splitlines()
    assert lines[0].startswith("arm,seed,beta,")
    assert [line.split(",0.")[0] for line in lines[1:]] == ["plain,1", '"b, c",1', "1,2"]


@pytest.mark.parametrize("path", sorted(tables.PUBLISHED.glob("*.csv")), ids=lambda it: it.stem)
def test_a_table_that_is_read_and_written_again_has_the_same_bytes(path):
    assert running.table(tables.read_rows(path)).encode() == path.read_bytes()


def test_a_study_with_arms_leaves_them_in_its_table_and_its_provenance(tmp_path, monkeypatch):
    arms = {"plain": {"beta": 0.0}, "4": {"beta": 4.0}}
    plan = planning.plan("05", {"seed": [1, 2]}, arms=arms, name="toy", folder=tmp_path)
    ran = [({**RECORDS[1], "parameters": cell.values}, cell) for cell in plan.cells]
    monkeypatch.setattr(running, "_finished", lambda plan: {cell.key: it for it, cell in ran})
    assert running.run(plan) == 0
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path)
    running.publish(plan)
    study = tables.read("toy")
    assert [row["arm"] for row in study.rows] == ["plain", "plain", "4", "4"]
    assert study.values("beta", {"arm": "4"}) == [4.0, 4.0]
    assert study.provenance["arms"] == arms
    assert study.provenance["cells"][2]["cell"] == "4, seed=1"
