"""The whole course in miniature: every notebook, from any directory, without leaving a trace."""

import json
import subprocess
import sys

import pytest

from vae_helpers import PROJECT, claims, course


def status():
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    before = status()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [sys.executable, "-m", "vae_helpers", "run", "--profile", "smoke"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert list(elsewhere.iterdir()) == []
    assert status() == before
    return done


def test_every_notebook_runs_in_the_smoke_profile_and_keeps_to_its_bands(done):
    assert done.returncode == 0, done.stderr
    for execution in course.plan(profile="smoke"):
        assert json.loads(execution.results.read_text())["values"]


def test_a_plain_papermill_call_from_elsewhere_gets_a_folder_of_its_own(tmp_path):
    values = {**claims.SMOKE, "epochs": 1, "beta": 4}
    arguments = [word for name, value in values.items() for word in ("-p", name, str(value))]
    notebook = PROJECT / "notebooks" / "04_training.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", notebook, "out.ipynb", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]
    text = (tmp_path / "out.ipynb").read_text()
    assert "shown without a band" in text


def test_another_seed_changes_the_live_numbers_of_the_comparison_and_only_them():
    given = {"seed": 7}
    (execution,) = course.plan(["06"], given, profile="smoke")
    course.run([execution])
    found = json.loads(execution.results.read_text())["values"]
    published = PROJECT / "report" / "results" / "06_vae_vs_gan.json"
    committed = json.loads(published.read_text())["values"]
    for name, entry in found.items():
        read_from_studies = entry["kind"] in ("exact", "table")
        assert (entry["value"] == committed[name]["value"]) == read_from_studies, name
