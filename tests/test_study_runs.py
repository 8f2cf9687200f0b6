"""Study runs: the grid and its arms, what survives a kill or a failure, the table.

Whole studies run in the small project of `toy_project`.
"""

import csv
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from distributed import Client
from toy_project import command, executed, make, start

from vae_helpers import PROJECT, course, studies, study_runs
from vae_helpers.parameters import ParameterError

CORES = len(os.sched_getaffinity(0))
TEN_CELLS = ("-g", "seed", "1", "2", "3", "4", "5", "-g", "beta", "0", "1")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """A shell starts background jobs with Ctrl-C ignored, which their children would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
        (
            '[a]\nnotebook = "04"\npurpose = "p"\narms = ["b"]\n[a.grid]\nseed = [1]',
            "arms: expected at least one, each a table by its name, got ['b']",
        ),
    ],
)
def test_a_list_of_studies_that_does_not_say_what_is_needed_is_refused(
    tmp_path, monkeypatch, text, message
):
    (tmp_path / "studies.toml").write_text(text)
    monkeypatch.setattr(study_runs, "STUDIES", tmp_path / "studies.toml")
    with pytest.raises(ParameterError) as refusal:
        study_runs.committed()
    assert message in str(refusal.value)


def test_the_committed_list_can_be_planned():
    plans = study_runs.committed()
    assert [plan.name for plan in plans] == list(dict.fromkeys(plan.name for plan in plans))
    assert all(plan.folder.name == plan.name and plan.cells for plan in plans)


# --- the grid


def test_cells_are_the_product_of_the_grid_and_its_last_parameter_varies_fastest():
    plan = study_runs.plan("04", {"seed": ["1", "2"], "beta": ["0", "4"]}, {"epochs": "3"})
    assert [(cell.values["seed"], cell.values["beta"]) for cell in plan.cells] == [
        (1, 0.0),
        (1, 4.0),
        (2, 0.0),
        (2, 4.0),
    ]
    assert {cell.values["epochs"] for cell in plan.cells} == {3}
    assert plan.cells[1].label == "seed=1 beta=4.0"


def test_a_cell_states_every_parameter_of_the_notebook():
    (cell,) = study_runs.plan("04", {"seed": [1]}, profile="smoke").cells
    names = list(study_runs.defaults("04_training"))
    assert list(cell.values) == list(cell.execution.overrides) == names
    assert cell.values["epochs"] == course.plan(["04"], profile="smoke")[0].overrides["epochs"]


def test_other_studies_have_other_folders():
    one = study_runs.plan("04", {"seed": [1, 2]}).folder
    assert one == study_runs.plan("04_training", {"seed": ["1", "2"]}).folder
    assert one != study_runs.plan("04", {"seed": [1, 2]}, {"epochs": 2}).folder
    assert one != study_runs.plan("04", {"seed": [1, 2]}, profile="smoke").folder


ARMS = {"plain": {"beta": 0}, "4 + small": {"beta": 4, "batch_size": 10}, "untouched": {}}


def test_cells_are_every_arm_with_every_point_of_the_grid_and_the_grid_varies_fastest():
    plan = study_runs.plan("04", {"epochs": [1, 2], "seed": [5, 6]}, {"latent_dim": 2}, arms=ARMS)
    assert [cell.label for cell in plan.cells[:5]] == [
        "plain, epochs=1 seed=5",
        "plain, epochs=1 seed=6",
        "plain, epochs=2 seed=5",
        "plain, epochs=2 seed=6",
        "4 + small, epochs=1 seed=5",
    ]
    assert [cell.arm for cell in plan.cells] == [arm for arm in ARMS for _ in range(4)]
    assert {cell.values["latent_dim"] for cell in plan.cells} == {2}


def test_what_an_arm_does_not_set_has_the_notebooks_default():
    cells = study_runs.plan("04", {"seed": [1]}, arms=ARMS).cells
    values = [(cell.values["beta"], cell.values["batch_size"]) for cell in cells]
    assert values == [(0.0, 128), (4.0, 10), (1.0, 128)]
    assert [cell.execution.overrides for cell in cells] == [cell.values for cell in cells]


def test_an_arms_name_is_not_part_of_its_cells_keys():
    keys = [
        study_runs.plan("04", {"seed": [1]}, arms={name: {"beta": 4}}).cells[0].key for name in "ab"
    ]
    assert keys == [study_runs.plan("04", {"seed": [1], "beta": [4]}).cells[0].key] * 2


def test_studies_with_other_arms_have_other_folders():
    arms = [None, {"a": {}}, {"b": {}}, {"a": {"beta": 4}}]
    assert len({study_runs.plan("04", {"seed": [1]}, arms=it).folder for it in arms}) == 4


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({}, "arms: expected at least one, each a table by its name, got {}"),
        ({"a": 4}, "arm 'a': expected a table of parameters, got 4"),
        ({"a": {"seed": 4}}, "seed: expected in the arm 'a' or in the grid, got both"),
        ({"a": {}, "b": {"epochs": 4}}, "epochs: expected in the arm 'b' or by itself, got both"),
        ({"a": {"bta": 4}}, "no parameter 'bta'; did you mean 'beta'?"),
        ({"a": {"beta": -4}}, "beta: expected 0 to 1000000, got -4"),
        ({"a": {"beta": 1.0}, "b": {}}, "b, seed=1: expected once in the grid, got twice"),
    ],
)
def test_a_mistake_in_the_arms_is_refused(arms, message):
    with pytest.raises(ParameterError) as refusal:
        study_runs.plan("04", {"seed": [1]}, {"epochs": 2}, arms=arms)
    assert message in str(refusal.value)


def test_the_list_of_studies_may_name_arms(tmp_path, monkeypatch):
    (tmp_path / "studies.toml").write_text(
        '[a]\nnotebook = "04"\npurpose = "p"\n[a.grid]\nseed = [1, 2]\n'
        '[a.arms]\n"plain" = { beta = 0.0 }\n"4 + small" = { beta = 4, batch_size = 10 }\n'
    )
    monkeypatch.setattr(study_runs, "STUDIES", tmp_path / "studies.toml")
    (plan,) = study_runs.committed()
    assert [cell.arm for cell in plan.cells] == ["plain"] * 2 + ["4 + small"] * 2
    assert plan.arms == {"plain": {"beta": 0.0}, "4 + small": {"beta": 4.0, "batch_size": 10}}


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (3, 8, 2), (1, 8, 8)]
)
def test_workers_divide_the_cores_among_themselves(workers, cores, threads):
    assert study_runs.threads_each(workers, cores=cores) == threads


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
    # no traceback of the client, of a worker or of a nanny; a kernel that was just about to end may
    # log an error of its sockets (ipykernel's own, of logger tornado.general)
    assert "KeyboardInterrupt" not in err
    assert "distributed" not in err
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
    (cell,) = study_runs.plan("04", {"seed": [1]}).cells
    outcome = study_runs.run_cell(cell.execution, code="0123456789abcdef", threads=1)
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
    plan = study_runs.plan("04", {"seed": [1]})
    results = plan.cells[0].execution.results
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    outcome = study_runs.run_cell(plan.cells[0].execution, code=plan.code, threads=1)
    assert "has left no results" in outcome["error"]


@pytest.mark.usefixtures("own_environment")
def test_a_kernel_inherits_its_threads_and_none_of_dasks_memory_settings(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(course, "BUILD", tmp_path)
    monkeypatch.setattr(course, "execute", lambda execution: seen.update(os.environ))
    plan = study_runs.plan("04", {"seed": [1]})
    study_runs.run_cell(plan.cells[0].execution, code=plan.code, threads=3)
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
    assert study_runs.table(RECORDS) == (
        "seed,beta,hidden_dims,status,error,loss,same,sum,fcd[1],fcd[30],steps\n"
        '1,0.0,"[400, 200]",failed,"it said ""no"", twice",,,,,,\n'
        '1,0.5,"[400, 200]",finished,,0.30000000000000004,True,0a1b,2.5,,\n'
        '2,0.5,"[400, 200]",finished,,,,,3.5,,12\n'
    )


def test_a_table_with_arms_has_them_in_its_first_column():
    lines = study_runs.table(RECORDS, ["plain", "b, c", "1"]).splitlines()
    assert lines[0].startswith("arm,seed,beta,")
    assert [line.split(",0.")[0] for line in lines[1:]] == ["plain,1", '"b, c",1', "1,2"]


def test_a_study_with_arms_leaves_them_in_its_table_and_its_provenance(tmp_path, monkeypatch):
    arms = {"plain": {"beta": 0.0}, "4": {"beta": 4.0}}
    plan = study_runs.plan("04", {"seed": [1, 2]}, arms=arms, name="toy", folder=tmp_path)
    ran = [({**RECORDS[1], "parameters": cell.values}, cell) for cell in plan.cells]
    monkeypatch.setattr(study_runs, "_finished", lambda plan: {cell.key: it for it, cell in ran})
    assert study_runs.run(plan) == 0
    for module in (study_runs, studies):
        monkeypatch.setattr(module, "PUBLISHED", tmp_path)
    study_runs.publish(plan)
    study = studies.read("toy")
    assert [row["arm"] for row in study.rows] == ["plain", "plain", "4", "4"]
    assert study.values("beta", {"arm": "4"}) == [4.0, 4.0]
    assert study.provenance["arms"] == arms
    assert study.provenance["cells"][2]["cell"] == "4, seed=1"
