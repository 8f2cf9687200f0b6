"""A study is confirmed only by cells that today's code gives to the last digit."""

import json
import shutil
import subprocess

import pytest

from vae_helpers import confirmation, studies, study_runs


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The committed studies in a folder that may be changed."""
    folder = tmp_path / "studies"
    shutil.copytree(studies.PUBLISHED, folder)
    monkeypatch.setattr(studies, "PUBLISHED", folder)
    monkeypatch.setattr(confirmation, "PUBLISHED", folder)
    return folder


@pytest.fixture
def stale(published):
    """A study of 15 cells whose code is said to be another one than today's."""
    path = published / "vae_gan.json"
    found = json.loads(path.read_text())
    found.pop("confirmed", None)
    path.write_text(json.dumps(found | {"digest": "an earlier one"}))
    (plan,) = study_runs.committed(["vae_gan"])
    assert studies.read("vae_gan").stale
    return plan


def test_one_digit_in_one_entry_is_a_difference():
    row = {"arm": "GAN", "fcd_last": "22.510000", "seed": "1"}
    assert confirmation.differences(row, dict(row)) == []
    (line,) = confirmation.differences(row, row | {"fcd_last": "22.510001"})
    assert line == "fcd_last: committed '22.510000', now '22.510001'"


def test_a_column_that_only_one_row_has_is_a_difference_unless_it_is_empty():
    assert confirmation.differences({"a": "1"}, {"a": "1", "b": ""}) == []
    assert len(confirmation.differences({"a": "1", "b": "2"}, {"a": "1"})) == 1


def test_the_cells_to_repeat_are_drawn_by_the_code_and_not_chosen(stale):
    places = confirmation.draw(stale, 3)
    assert places == confirmation.draw(stale, 3)
    assert len(set(places)) == 3
    others = {tuple(confirmation.draw(_with_code(stale, f"{i}"), 3)) for i in range(20)}
    assert len(others) > 10
    assert confirmation.draw(stale, 99) == list(range(15))


def _with_code(plan, code):
    return study_runs.Plan(**{**vars(plan), "code": code})


def test_a_confirmed_study_is_not_stale_and_says_how_much_was_repeated(stale):
    confirmation.confirm(stale, [3, 7])
    study = studies.read("vae_gan")
    assert not study.stale
    assert study.label().endswith("2 of them repeated since, with the same numbers")
    assert study.provenance["digest"] == "an earlier one"
    assert study.provenance["confirmed"]["cells"] == [stale.cells[3].label, stale.cells[7].label]


def test_a_confirmation_of_other_code_does_not_count(stale, published):
    confirmation.confirm(_with_code(stale, "of yesterday"), [0])
    assert studies.read("vae_gan").stale


@pytest.mark.parametrize("wrong", [False, True])
def test_a_study_is_confirmed_only_if_the_repeated_row_is_the_committed_one(
    wrong, stale, published, monkeypatch, capsys
):
    def process(command, **about):
        assert "runs" not in {path.name for path in about["cwd"].iterdir()}
        row = dict(confirmation.committed_rows("vae_gan")[int(command[-1])])
        if wrong:
            row["fcd_last"] += "1"
        return subprocess.CompletedProcess(command, 0, f"noise\n{json.dumps(row)}\n", "")

    monkeypatch.setattr(confirmation.subprocess, "run", process)
    monkeypatch.setattr("sys.argv", ["confirmation", "vae_gan"])
    assert confirmation.main() == int(wrong)
    assert studies.read("vae_gan").stale == wrong
    said = "entries differ" if wrong else "the same to the last digit"
    assert said in capsys.readouterr().out


def test_a_repetition_that_fails_confirms_nothing(stale, monkeypatch):
    def process(command, **about):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nMemoryError: no more")

    monkeypatch.setattr(confirmation.subprocess, "run", process)
    monkeypatch.setattr("sys.argv", ["confirmation", "vae_gan"])
    assert confirmation.main() == 1
    assert studies.read("vae_gan").stale
