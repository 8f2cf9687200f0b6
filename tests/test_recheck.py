"""A study holds only if today's code gives its cells again, to the last digit."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from toy_project import make

from vae_helpers.parameters import ParameterError
from vae_helpers.studies import planning, recheck, running, tables


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The committed studies in a folder that may be changed."""
    folder = tmp_path / "studies"
    shutil.copytree(tables.PUBLISHED, folder)
    monkeypatch.setattr(tables, "PUBLISHED", folder)
    return folder


@pytest.fixture
def stale(published):
    """A study of ten cells whose code is said to be another one than today's."""
    path = published / "comparison_gan.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found.pop("rechecked", None)
    path.write_text(json.dumps(found | {"digest": "an earlier one"}), encoding="utf-8")
    (plan,) = planning.committed(["comparison_gan"])
    assert tables.read("comparison_gan").stale
    return plan


@pytest.fixture
def project(tmp_path):
    return make(tmp_path / "project")


def test_one_digit_in_one_entry_is_a_difference():
    row = {"arm": "GAN", "fcd_last": "22.510000", "seed": "1"}
    assert recheck.differences(row, dict(row)) == []
    (line,) = recheck.differences(row, row | {"fcd_last": "22.510001"})
    assert line == "fcd_last: committed '22.510000', now '22.510001'"


def test_a_column_that_only_one_row_has_is_a_difference_unless_it_is_empty():
    assert recheck.differences({"a": "1"}, {"a": "1", "b": ""}) == []
    assert len(recheck.differences({"a": "1", "b": "2"}, {"a": "1"})) == 1


def test_the_cells_to_repeat_are_drawn_by_the_code_and_not_chosen(stale):
    places = recheck.draw(stale, 3)
    assert places == recheck.draw(stale, 3)
    assert len(set(places)) == 3
    others = {tuple(recheck.draw(_with_code(stale, f"{i}"), 3)) for i in range(20)}
    assert len(others) > 10
    assert recheck.draw(stale, 99) == list(range(10))


def _with_code(plan, code):
    return planning.Plan(**{**vars(plan), "code": code})


def test_a_study_that_was_rechecked_is_not_stale_and_says_how_much_was_repeated(stale):
    recheck.note(stale, [3, 7])
    study = tables.read("comparison_gan")
    assert not study.stale
    assert study.label().endswith("2 of them repeated since, with the same numbers")
    assert study.provenance["digest"] == "an earlier one"
    assert study.provenance["rechecked"]["cells"] == [stale.cells[3].label, stale.cells[7].label]


def test_a_recheck_of_other_code_does_not_count(stale):
    recheck.note(_with_code(stale, "of yesterday"), [0])
    assert tables.read("comparison_gan").stale


@pytest.fixture
def answer(stale, monkeypatch):
    """Sets what the process that repeats a cell says, from the row that is committed."""

    def set_answer(change, *, status=0):
        def process(command, **about):
            names = {path.name for path in about["cwd"].iterdir()}
            assert {"vae_helpers", "notebooks", "report"} <= names
            assert "runs" not in names
            *_, name, place, threads = command
            assert (name, threads) == ("comparison_gan", "1")
            row = tables.read_rows(tables.PUBLISHED / f"{name}.csv")[int(place)]
            said = f"noise\n{json.dumps(row | change)}\n"
            return subprocess.CompletedProcess(command, status, said, "Traceback\nMemoryError: no")

        monkeypatch.setattr(recheck.subprocess, "run", process)

    return set_answer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "the same to the last digit"),
        ({"fcd_last": "22.5"}, "1 entries differ\n    fcd_last: committed "),
        ({"fcd_last": "22.5", "kid_last": "0"}, "2 entries differ"),
        ({"a_number_of_today": "1"}, "1 entries differ"),
    ],
)
def test_a_study_holds_only_if_the_repeated_row_is_the_committed_one(answer, change, said, capsys):
    answer(change)
    assert recheck.recheck(["comparison_gan"]) == int(change != {})
    assert tables.read("comparison_gan").stale == (change != {})
    assert said in capsys.readouterr().out


def test_a_repetition_that_fails_leaves_the_study_stale(answer, capsys):
    answer({}, status=1)
    assert recheck.recheck(["comparison_gan"]) == 1
    assert tables.read("comparison_gan").stale
    assert "MemoryError: no" in capsys.readouterr().out


def test_a_parameter_that_the_notebook_did_not_have_then_is_no_difference(answer, published):
    path = published / "comparison_gan.csv"
    rows = [{k: v for k, v in it.items() if k != "slope"} for it in tables.read_rows(path)]
    path.write_text(running.table(rows), encoding="utf-8")
    answer({"slope": "0.2"})
    assert recheck.recheck(["comparison_gan"]) == 0
    assert not tables.read("comparison_gan").stale


def test_what_is_not_stale_is_not_repeated(stale, monkeypatch, capsys):
    recheck.note(stale, [0])
    monkeypatch.setattr(recheck.subprocess, "run", lambda *_, **__: pytest.fail("it ran"))
    assert recheck.recheck(["comparison_gan"]) == 0
    assert capsys.readouterr().out.startswith("0 of 1 studies ")


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["comparison_tund"], {}, "unknown study 'comparison_tund'; did you mean"),
        ([], {"cells": 0}, "cells: expected at least 1, got 0"),
        ([], {"workers": 0}, "workers: expected at least 1, got 0"),
    ],
)
def test_a_recheck_that_cannot_be_done_is_refused(names, options, message):
    with pytest.raises(ParameterError, match=message):
        recheck.recheck(names, **options)


STUDIES_WITHOUT_DASK = """
import sys
from contextlib import nullcontext
from vae_helpers.__main__ import main
from vae_helpers.studies import running

def run_cells(*given, threads):
    for cell in given[-1]:
        outcome = running.run_cell(cell, threads=threads)
        yield cell, running.record(cell, outcome, threads=threads, workers=1)

running._client, running._run_cells = lambda *_: nullcontext(), run_cells
sys.exit(main(["studies", "--workers", "1"]))
"""


def test_the_process_in_the_copy_prints_the_row_of_the_cell(project):
    """The whole way once, in the small project, whose study `pair` has the seeds 3 and 4."""

    def run(*command):
        done = subprocess.run(
            [sys.executable, "-c", *command], cwd=project,
            env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    run(STUDIES_WITHOUT_DASK)
    committed = tables.read_rows(project / "report" / "results" / "studies" / "pair.csv")[1]
    assert committed["square"] == "16"
    assert json.loads(run(recheck.REPEAT, "pair", "1", "1")[-1]) == committed
