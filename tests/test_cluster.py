"""What the benchmark of studies measures and projects, and how it reports it."""

import json
import subprocess
import sys

import pytest

from vae_helpers import __main__
from vae_helpers.benchmarks import clock, cluster
from vae_helpers.benchmarks.cluster import Cell, Timing
from vae_helpers.course.execution import NotebookFailedError
from vae_helpers.store import machine

ONE = Timing(1, seconds=44.0, start=2.0, cells=(10.0,) * 4, kernels=(8.0, 9.0, 8.0, 9.0))
TWO = Timing(2, seconds=25.0, start=3.0, cells=(10.5,) * 4, kernels=(9.0,) * 4)


# --- the arithmetic of a cluster


def test_a_bound_is_the_share_of_each_worker_or_the_longest_cell():
    assert cluster.lower_bound([6.0, 2.0, 4.0], 1) == 12.0
    assert cluster.lower_bound([6.0, 2.0, 4.0], 2) == 6.0
    assert cluster.lower_bound([6.0, 2.0, 4.0], 3) == 6.0
    assert cluster.lower_bound([3.0, 3.0, 3.0], 2) == 4.5


def test_longest_cells_go_first_to_the_worker_that_is_free_first():
    cells = [3.0, 5.0, 3.0, 4.0, 3.0]
    assert cluster.makespan(cells, 1) == 18.0
    assert cluster.makespan(cells, 2) == 10.0  # 5 + 3, 4 + 3 + 3; one after the other 11
    assert cluster.makespan(cells, 5) == 5.0


def test_the_fewest_workers_within_a_limit_are_found_or_there_are_none():
    cells = [3.0, 5.0, 3.0, 4.0, 3.0]
    assert [cluster.workers_for(cells, limit) for limit in (18.0, 17.9, 10.0, 9.9, 5.0)] == [
        1, 2, 2, 3, 5,
    ]  # fmt: skip
    assert cluster.workers_for(cells, 4.9) is None


def test_a_cell_with_two_threads_counts_twice():
    assert Cell("a", 3.0, 2).core_seconds == 6.0


def test_start_up_and_cells_are_told_from_the_rest():
    assert (ONE.efficiency(ONE), TWO.efficiency(ONE)) == (1.0, 44 / 50)
    assert (ONE.papermill, TWO.papermill) == (1.5, 1.5)
    assert (ONE.dask, TWO.dask) == (0.5, 0.5)


# --- what is read


def test_all_cells_of_the_committed_studies_are_read_with_their_threads(tmp_path):
    (tmp_path / "results" / "studies").mkdir(parents=True)
    (tmp_path / "studies.toml").write_text("[pair]\n", encoding="utf-8")
    cells = [
        {"cell": "seed=1", "seconds": 2.5, "machine": {"threads": 1}},
        {"cell": "seed=2", "seconds": 1.5, "machine": None},  # it failed
        {"cell": "seed=3", "seconds": None, "machine": None},  # its worker died
    ]
    about = json.dumps({"threads": [2], "cells": cells})
    (tmp_path / "results" / "studies" / "pair.json").write_text(about, encoding="utf-8")
    (tmp_path / "results" / "studies" / "left_over.json").write_text("{}", encoding="utf-8")
    found = cluster.committed(tmp_path)
    assert found == [Cell("pair, seed=1", 2.5, 1), Cell("pair, seed=2", 1.5, 2)]


def test_the_committed_studies_have_seconds():
    cells = cluster.committed()
    assert len(cells) >= 100
    assert all(cell.seconds > 0 and cell.threads >= 1 for cell in cells)


def test_seconds_of_a_kernel_are_those_of_its_cells(tmp_path):
    durations = [{"papermill": {"duration": 1.5}}, {"papermill": {"duration": None}}, {}]
    durations += [{"papermill": {"duration": 0.25}}]
    text = json.dumps({"cells": [{"metadata": own} for own in durations]})
    (tmp_path / "it.ipynb").write_text(text, encoding="utf-8")
    assert cluster.kernel_seconds(tmp_path / "it.ipynb") == 1.75


# --- what runs


def test_the_first_cell_that_is_done_tells_when_cells_began(tmp_path):
    code = (
        "print('study'); print('1/4 seed=3 finished in 5 s'); print('2/4 seed=1 finished in 6 s')"
    )
    seconds, first, label = cluster._run([sys.executable, "-c", code], tmp_path)
    assert 0 < first < seconds
    assert label == "seed=3"


def test_a_study_that_fails_is_an_error_that_names_the_command(tmp_path):
    code = "print('1/4 seed=3 finished in 5 s'); raise SystemExit(1)"
    with pytest.raises(NotebookFailedError, match=r"status 0, got 1: .*\n?.*raise SystemExit"):
        cluster._run([sys.executable, "-c", code], tmp_path)


def test_a_study_has_as_many_cores_as_workers_and_gives_them_back():
    before = machine.cores()
    code = "import os; print(len(os.sched_getaffinity(0)))"
    with cluster._cores(1):
        found = subprocess.check_output([sys.executable, "-c", code], encoding="utf-8")
    assert int(found) == 1
    assert machine.cores() == before


def test_the_small_study_is_one_that_the_command_line_takes(tmp_path, monkeypatch):
    from vae_helpers.studies import running

    seen = []
    monkeypatch.setattr(running, "run", lambda plan, **given: seen.append((plan, given)) or 0)
    assert __main__.main(cluster.command(2, 4, tmp_path)[3:]) == 0
    [(plan, given)] = seen
    assert given == {"scheduler": None, "workers": 2}
    assert [cell.label for cell in plan.cells] == [f"seed={seed}" for seed in (1, 2, 3, 4)]
    assert (plan.folder, plan.profile) == (tmp_path, "smoke")
    assert plan.given == cluster.PARAMETERS


# --- what is printed and written


@pytest.fixture
def printed(monkeypatch):
    """A report on studies that take no time: what was timed and what was written."""
    done, written = [], {}
    cells = [Cell("a, seed=1", 650.0, 1), Cell("b, seed=2", 400.0, 1), Cell("b, seed=3", 300.0, 1)]
    monkeypatch.setattr(cluster, "committed", lambda: cells)
    monkeypatch.setattr(
        cluster, "timed", lambda n, size: done.append((n, size)) or {1: ONE}.get(n, TWO)
    )
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(clock, "write", lambda name, values: written.update({name: values}))
    return done, written


def test_a_report_says_what_is_measured_and_what_is_projected(printed, capsys):
    cluster.report()
    out = capsys.readouterr().out
    measured, projected = out.split("PROJECTED")
    assert measured.startswith("MEASURED on ")
    lines = [" ".join(line.split()) for line in measured.splitlines()]
    assert lines[-3:-1] == ["1 44.0 2.0 100% 8.50 1.50 0.50", "2 25.0 3.0 88% 9.00 1.50 0.50"]
    assert "3 cells, 1,350 core-seconds; the longest takes\n650 s: a, seed=1\n" in projected
    assert "no number of workers, as the longest cell takes longer; 1 of the cells do" in projected
    assert "the other 2 cells in 600 s: 2 workers" in projected
    assert projected.endswith("100 workers: 650 s\n")
    assert printed == ([(1, 4), (2, 4)], {})


def test_studies_that_a_cluster_can_do_in_ten_minutes_say_how_many_workers_it_needs():
    cells = [Cell(f"seed={seed}", 300.0, 1) for seed in range(5)]
    assert "in 600 s: 3 workers" in list(cluster.projected_lines(cells))


def test_the_command_line_passes_on_workers_and_figures_are_written_when_asked_for(printed):
    assert __main__.main(["bench", "cluster", "--workers", "8", "--write"]) == 0
    done, written = printed
    assert done == [(1, 8), (8, 8)]
    figures = written["cluster"]
    assert figures["seconds_1"] == 44.0
    assert figures["projected_workers"] is None
    assert figures["projected_workers_without_too_long"] == 2
    assert figures["projected_seconds_100"] == 650.0
    assert figures["cores"] == 2
