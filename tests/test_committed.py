"""Cells that a committed table spares a run, and what is not spared."""

import csv
import io
import json

import pytest

from vae_helpers.studies import committed, planning, running, tables


def planned(folder, seeds, *, arms=None, **given):
    arms = arms or {"plain": {"beta": 0.0}, "4": {"beta": 4.0}}
    return planning.plan("04", {"seed": seeds}, given, arms=arms, name="toy", folder=folder)


def result_of(cell):
    """What a run of a cell would leave: numbers that tell the cells apart."""
    key = f"{cell.arm} {cell.values['seed']}"
    fcd = {"kind": "series", "value": [len(key) / 7, None], "at": [1, 30], "unit": ""}
    values = {
        "score": {"kind": "tolerance", "value": cell.values["seed"] / 3},
        "kind": {"kind": "exact", "value": key},
        "fcd": fcd,
        "clock": {"kind": "measured", "value": 1.5},
    }
    if cell.arm == "4":
        values["more"] = {"kind": "observed", "value": True}
    return {"seconds": 60.0, "results": {"values": values, "machine": {"gpu": None}}}


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """Runs cells in no time; the labels of those that ran, in their order."""
    labels = []

    def run_cells(able, cells, *, threads):
        for cell in cells:
            labels.append(cell.label)
            yield cell, running.record(cell, result_of(cell), threads=1, workers=2)

    class Nobody:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(running, "_run_cells", run_cells)
    monkeypatch.setattr(running, "_client", lambda *_: Nobody())
    monkeypatch.setattr(running, "_Workers", lambda *_: None)
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path / "published")
    return labels


def execute(plan, *, publish=True):
    running.run(plan, workers=2)
    if publish:
        running.publish(plan)
    return (plan.folder / "table.csv").read_bytes()


def test_nothing_of_a_study_that_holds_runs_in_a_fresh_clone(ran, tmp_path):
    before = execute(planned(tmp_path / "a", [1, 2]))
    about = json.loads((tables.PUBLISHED / "toy.json").read_text(encoding="utf-8"))
    ran.clear()
    assert execute(planned(tmp_path / "b", [1, 2])) == before
    assert ran == []
    assert json.loads((tables.PUBLISHED / "toy.json").read_text(encoding="utf-8")) == about


def test_of_a_grid_that_has_grown_the_new_cells_run_and_the_table_is_that_of_one_run(ran, tmp_path):
    execute(planned(tmp_path / "a", [1, 2]))
    ran.clear()
    grown = execute(planned(tmp_path / "b", [1, 2, 3]), publish=False)
    assert ran == ["plain, seed=3", "4, seed=3"]
    (tables.PUBLISHED / "toy.csv").unlink()
    assert execute(planned(tmp_path / "c", [1, 2, 3])) == grown


def test_an_arm_that_is_new_runs_and_the_others_do_not(ran, tmp_path):
    execute(planned(tmp_path / "a", [1, 2]))
    ran.clear()
    arms = {"plain": {"beta": 0.0}, "new": {"beta": 2.0}, "4": {"beta": 4.0}}
    execute(planned(tmp_path / "b", [1, 2], arms=arms))
    assert ran == ["new, seed=1", "new, seed=2"]


def test_an_arm_whose_settings_have_changed_runs_again(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    ran.clear()
    execute(planned(tmp_path / "b", [1], arms={"plain": {"beta": 0.5}, "4": {"beta": 4.0}}))
    assert ran == ["plain, seed=1"]


def test_a_row_with_another_value_of_any_parameter_is_not_the_cells(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    ran.clear()
    execute(planned(tmp_path / "b", [1], epochs=29))
    assert ran == ["plain, seed=1", "4, seed=1"]


def rewrite(change):
    """The committed table after a change of its rows."""
    path = tables.PUBLISHED / "toy.csv"
    rows = tables.read_rows(path)
    for row in rows:
        change(row)
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(file.getvalue(), encoding="utf-8")


def test_a_parameter_that_the_notebook_has_only_had_since_counts_at_its_default(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    rewrite(lambda row: row.pop("latent_dim"))
    ran.clear()
    execute(planned(tmp_path / "b", [1]), publish=False)
    assert ran == []
    execute(planned(tmp_path / "c", [1], latent_dim=7), publish=False)
    assert ran == ["plain, seed=1", "4, seed=1"]


def test_a_failed_row_runs_again(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    rewrite(lambda row: row.update(status="failed" if row["arm"] == "4" else row["status"]))
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert ran == ["4, seed=1"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("digest", "0" * 16), ("versions", {"torch": "1.0"}), ("notebook", "03_ablation")],
)
def test_a_table_of_other_code_versions_or_notebook_spares_nothing(ran, tmp_path, field, value):
    execute(planned(tmp_path / "a", [1]))
    path = tables.PUBLISHED / "toy.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(about | {field: value}), encoding="utf-8")
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert len(ran) == 2


def test_a_rechecked_table_counts_as_one_of_todays_code(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    path = tables.PUBLISHED / "toy.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["rechecked"] = {"digest": about["digest"], "cells": ["plain, seed=1"]}
    path.write_text(json.dumps(about | {"digest": "0" * 16}), encoding="utf-8")
    ran.clear()
    execute(planned(tmp_path / "b", [1, 2]))
    assert ran == ["plain, seed=2", "4, seed=2"]


def test_before_it_starts_it_says_how_long_the_cells_have_taken(ran, tmp_path, capsys):
    execute(planned(tmp_path / "a", [1]))
    capsys.readouterr()
    execute(planned(tmp_path / "b", [*range(1, 7)]))  # ten new ones of a minute, two at a time
    said = capsys.readouterr().out
    assert "12 cells, 2 finished before\n10 to run, 2 at a time: about 5 min, if this" in said


def test_of_a_notebook_without_committed_cells_no_time_is_known(ran, tmp_path):
    assert committed.seconds_per_cell(planned(tmp_path / "a", [1])) is None
