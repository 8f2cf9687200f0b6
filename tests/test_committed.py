"""Cells that a committed table spares a run, and what is not spared."""

import csv
import io
import json
from argparse import Namespace

import pytest

from vae_helpers import __main__
from vae_helpers.course import notebooks
from vae_helpers.parameters import ParameterError
from vae_helpers.studies import committed, planning, running, tables


def planned(folder, seeds, *, arms=None, **given):
    arms = arms or {"plain": {"beta": 0.0}, "4": {"beta": 4.0}}
    return planning.plan("05", {"seed": seeds}, given, arms=arms, name="toy", folder=folder)


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
    if cell.arm != "plain":  # a column of its own
        values[f"of {cell.arm}"] = {"kind": "observed", "value": True}
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
    monkeypatch.setattr(tables, "STUDIES", tmp_path / "studies.toml")
    tables.STUDIES.write_text("[toy]\n", encoding="utf-8")
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


def test_files_of_a_data_set_are_asked_for_by_cells_that_would_run_and_by_no_others(ran, tmp_path):
    def command():
        plans = [plan("c", "first"), plan("d", "other", dataset="KMNIST")]
        return __main__._run_studies(plans, Namespace(scheduler=None, workers=2))

    def plan(folder, name, **given):
        return planning.plan("05", {"seed": [1]}, given, name=name, folder=tmp_path / folder)

    with pytest.raises(ParameterError, match="KMNIST"):
        command()
    assert ran == []  # of the first study neither
    execute(plan("a", "other", dataset="KMNIST"))
    ran.clear()
    assert command() == 0
    assert ran == [plan("c", "first").cells[0].label]


def test_a_study_that_holds_keeps_what_is_known_of_it_to_the_last_byte(ran, tmp_path, monkeypatch):
    execute(planned(tmp_path / "a", [1, 2]))
    before = amend(rechecked)
    monkeypatch.setattr(running, "_today", lambda: "2999-01-01")
    execute(planned(tmp_path / "b", [1, 2]))
    assert (tables.PUBLISHED / "toy.json").read_text(encoding="utf-8") == before


def test_what_a_study_says_of_its_plan_is_todays_also_if_its_table_stays(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    ran.clear()
    execute(planned(tmp_path / "b", [1], epochs=30))  # as is the default
    assert ran == []
    assert tables.read("toy").provenance["given"] == {"epochs": 30}


def test_a_last_column_without_any_number_stays(ran, tmp_path):
    arms = {"plain": {"beta": 0.0}}
    whole = execute(planned(tmp_path / "a", [1], arms=arms))
    ran.clear()
    assert execute(planned(tmp_path / "b", [1], arms=arms)) == whole
    assert ran == []


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
    grown = execute(planned(tmp_path / "b", [1, 2], arms=arms), publish=False)
    assert ran == ["new, seed=1", "new, seed=2"]
    (tables.PUBLISHED / "toy.csv").unlink()
    assert execute(planned(tmp_path / "c", [1, 2], arms=arms)) == grown  # its own column in between


def test_an_arm_that_is_gone_leaves_no_column_of_its_own(ran, tmp_path):
    arms = {"gone": {"beta": 2.0}, "plain": {"beta": 0.0}, "4": {"beta": 4.0}}
    execute(planned(tmp_path / "a", [1], arms=arms))
    ran.clear()
    left = execute(planned(tmp_path / "b", [1]), publish=False)
    assert ran == []
    (tables.PUBLISHED / "toy.csv").unlink()
    assert execute(planned(tmp_path / "c", [1])) == left


def test_an_arm_whose_settings_have_changed_runs_again(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    amend(rechecked)
    ran.clear()
    execute(planned(tmp_path / "b", [1], arms={"plain": {"beta": 0.5}, "4": {"beta": 4.0}}))
    assert ran == ["plain, seed=1"]
    assert "rechecked" not in tables.read("toy").provenance  # it was about the row that is gone


def test_a_row_of_another_arm_is_not_the_cells_also_if_its_parameters_are(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    ran.clear()
    execute(planned(tmp_path / "b", [1], arms={"renamed": {"beta": 0.0}, "4": {"beta": 4.0}}))
    assert ran == ["renamed, seed=1"]


def test_a_row_with_another_value_of_any_parameter_is_not_the_cells(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    ran.clear()
    execute(planned(tmp_path / "b", [1], epochs=29))
    assert ran == ["plain, seed=1", "4, seed=1"]


def amend(change):
    """The committed provenance after a change, as text."""
    path = tables.PUBLISHED / "toy.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    change(about)
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8")


def rechecked(about):
    """A note that today's code gives one cell again; the table is of an earlier one."""
    note = {"digest": about["digest"], "cells": ["plain, seed=1"], "date": "2026-01-02"}
    about |= {"rechecked": note, "digest": "0" * 16, "date": "2026-01-01"}


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


def test_a_parameter_that_the_notebook_has_only_had_since_counts_at_its_default(
    ran, tmp_path, monkeypatch
):
    whole = execute(planned(tmp_path / "a", [1]))
    rewrite(lambda row: row.pop("latent_dim"))
    about = tables.read("toy").provenance
    ran.clear()
    monkeypatch.setattr(running, "_today", lambda: "2999-01-01")
    assert execute(planned(tmp_path / "b", [1])) == whole  # its column is there again
    assert ran == []
    assert tables.read("toy").provenance == about
    rewrite(lambda row: row.pop("latent_dim"))
    execute(planned(tmp_path / "c", [1], latent_dim=7), publish=False)
    assert ran == ["plain, seed=1", "4, seed=1"]


def test_a_default_counts_as_the_value_that_it_stands_for(ran, tmp_path, monkeypatch):
    known = notebooks.defaults("05_training") | {"learning_rate": 1}  # 1.0 in a cell
    monkeypatch.setattr(notebooks, "defaults", lambda name: known)
    execute(planned(tmp_path / "a", [1]))
    rewrite(lambda row: row.pop("learning_rate"))
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert ran == []


def test_what_is_known_of_a_failed_row_gives_way_to_what_is_stored_of_its_cell(ran, tmp_path):
    plan = planned(tmp_path / "a", [1])
    execute(plan)
    rewrite(lambda row: row.update(status="failed"))
    amend(lambda about: [one.update(seconds=None) for one in about["cells"]])
    ran.clear()
    execute(plan)
    assert ran == []
    assert [one["seconds"] for one in tables.read("toy").provenance["cells"]] == [60, 60]


def test_a_failed_row_runs_again(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    rewrite(lambda row: row.update(status="failed" if row["arm"] == "4" else row["status"]))
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert ran == ["4, seed=1"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("digest", "0" * 16), ("versions", {"torch": "1.0"}), ("notebook", "06_ablation")],
)
def test_a_table_of_other_code_versions_or_notebook_spares_nothing(ran, tmp_path, field, value):
    execute(planned(tmp_path / "a", [1]))
    amend(lambda about: about.update({field: value}))
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert len(ran) == 2


def test_a_table_of_another_notebook_spares_nothing_also_if_it_holds(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    other = planning.plan("06", {"seed": [1]})
    amend(lambda about: about.update(notebook=other.notebook, digest=other.code))
    assert not tables.read("toy").stale
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert len(ran) == 2


def test_a_build_of_the_same_version_counts_as_that_version(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    amend(lambda about: about["versions"].update(torch=about["versions"]["torch"] + "+cpu"))
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert ran == []


def test_why_rows_of_other_versions_do_not_count_is_said(ran, tmp_path, capsys):
    execute(planned(tmp_path / "a", [1]))
    amend(lambda about: about["versions"].update(torch="1.0"))
    execute(planned(tmp_path / "b", [1]))
    said = capsys.readouterr().out
    assert "study toy: committed rows do not count here: torch: expected " in said


def test_of_a_rechecked_table_that_has_grown_the_note_stays(ran, tmp_path, monkeypatch):
    execute(planned(tmp_path / "a", [1]))
    amend(rechecked)
    monkeypatch.setattr(running, "_today", lambda: "2999-01-01")
    ran.clear()
    plan = planned(tmp_path / "b", [1, 2])
    execute(plan)
    assert ran == ["plain, seed=2", "4, seed=2"]
    about = tables.read("toy").provenance
    assert about["digest"] == about["rechecked"]["digest"] == plan.code
    assert about["rechecked"]["cells"] == ["plain, seed=1"]
    assert (about["seeds"], about["date"]) == ([1, 2], "2999-01-01")


def test_threads_and_workers_of_spared_rows_are_not_forgotten(ran, tmp_path):
    execute(planned(tmp_path / "a", [1]))
    amend(lambda about: about.update(threads=[1, 4], workers=[1, 8]))
    execute(planned(tmp_path / "b", [1, 2]))
    about = tables.read("toy").provenance
    assert (about["threads"], about["workers"]) == ([1, 4], [1, 2, 8])


@pytest.mark.parametrize("left", ["of fewer cells", "none"])
def test_a_table_whose_provenance_a_kill_kept_from_being_written_spares_nothing(
    ran, tmp_path, left
):
    execute(planned(tmp_path / "a", [1]))
    if left == "none":
        (tables.PUBLISHED / "toy.json").unlink()
    else:
        amend(lambda about: about["cells"].pop())
    ran.clear()
    execute(planned(tmp_path / "b", [1]))
    assert len(ran) == 2
    assert len(tables.read("toy").provenance["cells"]) == 2


def test_the_notebook_is_read_once_for_all_cells(ran, tmp_path, monkeypatch):
    plan = planned(tmp_path / "a", [*range(1, 6)])
    execute(plan)
    study, times = committed.holding(plan), []
    defaults = notebooks.defaults
    monkeypatch.setattr(notebooks, "defaults", lambda name: times.append(1) or defaults(name))
    assert len(committed.records(plan, study)) == 10
    assert len(times) == 1


def test_before_it_starts_it_says_how_many_are_committed_and_how_long_the_others_take(
    ran, tmp_path, capsys
):
    execute(planned(tmp_path / "a", [1]))
    capsys.readouterr()
    execute(planned(tmp_path / "b", [*range(1, 7)]))  # ten new ones of a minute, two at a time
    said = capsys.readouterr().out
    assert "toy: 12 cells, 2 finished before (2 of them in the committed table)\n" in said
    assert "\n10 to run, 2 at a time: about 5 min, if this" in said
    execute(planned(tmp_path / "b", [*range(1, 7)]))
    said = capsys.readouterr().out  # ten of them are here as well
    assert "toy: 12 cells, 12 finished before (2 of them in the committed table)\n" in said
    assert "to run" not in said
    running.run(planned(tmp_path / "c", [*range(1, 8)]), scheduler="tcp://of.many:1")
    assert "\n2 to run, 1 at a time: about 2 min, if this" in capsys.readouterr().out


def test_how_long_is_known_from_other_studies_of_the_notebook_but_said_of_committed_ones_only(
    ran, tmp_path, capsys
):
    execute(planned(tmp_path / "a", [1]))
    tables.STUDIES.write_text("[toy]\n[other]\n", encoding="utf-8")
    plans = {
        name: planning.plan("05", {"seed": [5]}, name=name, folder=tmp_path / str(name))
        for name in ("other", None)
    }
    assert committed.seconds_per_cell(plans["other"]) == 60
    assert committed.seconds_per_cell(plans[None]) is None
    for name, notebook in (("quick", "05_training"), ("slow", "06_ablation")):
        about = {"notebook": notebook, "cells": [{"seconds": 10 if name == "quick" else 900}] * 5}
        (tables.PUBLISHED / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")
    assert committed.seconds_per_cell(planned(tmp_path / "b", [1])) == 60
    assert committed.seconds_per_cell(plans["other"]) == 10
    (tables.PUBLISHED / "bad.json").write_text("<<<<<<<", encoding="utf-8")
    assert committed.seconds_per_cell(plans["other"]) == 10  # an estimate may do without it
    capsys.readouterr()
    execute(plans[None], publish=False)
    assert "to run" not in capsys.readouterr().out


def test_of_a_notebook_without_committed_cells_no_time_is_known(ran, tmp_path):
    assert committed.seconds_per_cell(planned(tmp_path / "a", [1])) is None
