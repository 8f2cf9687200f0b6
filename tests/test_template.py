"""Another course by the same commands: the example of the page, executed in a copy."""

import csv
import json
import re
import statistics
import subprocess
import sys
import tomllib

import nbformat
import notebook_rules
import numpy as np
import pytest
import transcript

from vae_helpers import PROJECT

COIN = transcript.TEMPLATE / "coin"


def committed(name):
    return (transcript.TEMPLATE / name).read_text(encoding="utf-8")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def share(seed, *, tosses, heads):
    """What the notebook estimates, without the notebook."""
    return np.mean(np.random.default_rng(seed).random(tosses) < heads)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A copy of the example after all commands of the page, and what they have printed."""
    course = transcript.copy(tmp_path_factory.mktemp("template").resolve() / "coin")
    return course, transcript.session(course)


@pytest.fixture
def course(tmp_path):
    """A copy of the example that nothing was executed in."""
    return transcript.copy(tmp_path.resolve() / "coin")


def course_of(folder):
    """The course that a process in a folder means."""
    return subprocess.check_output(
        [sys.executable, "-c", "from vae_helpers import COURSE; print(COURSE)"],
        cwd=folder,
        encoding="utf-8",
    ).strip()


def test_the_course_is_the_nearest_folder_upward_with_rules_else_that_of_the_package(course):
    nearest = [course_of(it) for it in (course, course / "notebooks", course / "tests" / "smoke")]
    assert nearest == [str(course)] * 3
    assert course_of(PROJECT) == course_of(course.parent) == str(PROJECT)
    (course / "notebooks" / "parameters.toml").unlink()
    assert course_of(course) == str(PROJECT)


def test_the_page_shows_what_the_commands_print(executed):
    assert executed[1] == committed("session.txt")


def test_a_mistake_in_the_code_fails_verification_by_the_line_on_the_page(course, monkeypatch):
    monkeypatch.setenv("CI", "true")  # the page is the same where pytest prints longer summaries
    printed = transcript.changed(course)
    assert printed == committed("changed.txt")
    assert "NOT within 0.584 to 0.614: excludes one toss that is counted again" in printed
    assert "1 failed, 6 passed" in printed


def test_an_unknown_parameter_and_a_value_out_of_its_range_are_refused(executed):
    printed = executed[1]
    assert "refused, nothing was run: 01_coin: no parameter 'toses'" in printed
    assert "refused, nothing was run: heads: expected 0 to 1, got 1.5" in printed


def test_other_parameters_have_a_folder_of_their_own_and_no_tolerance(executed):
    (path,) = [
        path
        for path in executed[0].glob("build/*/results/01_coin.json")
        if read(path)["parameters"] == {"seed": 0, "tosses": 100, "heads": 0.7}
    ]
    entry = read(path)["values"]["share"]
    assert re.fullmatch("[0-9a-f]{12}", path.parents[1].name)
    assert entry["value"] == share(0, tosses=100, heads=0.7)
    assert entry["low"] is None


def test_a_study_over_seeds_has_a_row_for_each_with_its_own_share(executed):
    (table,) = executed[0].glob("build/studies/*/table.csv")
    found = {int(row["seed"]): float(row["share"]) for row in rows(table)}
    assert found == {seed: share(seed, tosses=10_000, heads=0.6) for seed in (1, 2, 3)}


def test_tolerances_are_measured_over_seeds(executed):
    table = rows(executed[0] / "report" / "results" / "tolerances" / "full" / "01_coin.csv")
    found = [float(row["share"]) for row in table]
    assert found == [share(seed, tosses=10_000, heads=0.6) for seed in range(1, 6)]
    path = executed[0] / "report" / "tolerances.toml"
    entry = tomllib.loads(path.read_text(encoding="utf-8"))["01_coin"]["share"]["full"]
    assert entry["n"] == 5
    assert entry["mean"] == round(statistics.fmean(found), 5)


def test_where_names_the_cell_that_printed_the_number(executed):
    notebook = read(COIN / transcript.NOTEBOOK)
    (cell,) = [
        cell
        for cell in notebook["cells"]
        if any(
            line.startswith("share ")
            for it in cell.get("outputs", ())
            for line in it.get("text", ())
        )
    ]
    assert f"cell           [{cell['execution_count']}] of notebook 01_coin" in executed[1]
    assert ", today's" in executed[1]


def test_why_gives_the_mean_of_the_committed_seeds(executed):
    table = rows(COIN / "report" / "results" / "tolerances" / "full" / "01_coin.csv")
    mean = statistics.fmean(float(row["share"]) for row in table)
    assert f"mean {mean:.5g} ±" in executed[1]


def without_pictures(notebook):
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)
    return notebook


@pytest.mark.parametrize("name", [transcript.NOTEBOOK, "tests/smoke/01_coin.ipynb"], ids=str)
def test_the_committed_notebooks_are_those_of_a_refresh(executed, name):
    assert without_pictures(read(executed[0] / name)) == without_pictures(read(COIN / name))


def test_the_committed_results_are_those_of_a_refresh_and_name_their_code(executed):
    name = "report/results/01_coin.json"
    new, old = read(executed[0] / name), read(COIN / name)
    assert re.fullmatch("[0-9a-f]{16}", old["code"])
    assert new | {"machine": None} == old | {"machine": None}
    assert old["values"]["share"]["value"] == share(0, tosses=10_000, heads=0.6)
    assert old["values"]["tosses_for_one_percent"]["value"] == 2_400  # 0.6 * 0.4 / 0.01**2


def test_the_committed_figure_is_that_of_a_refresh(executed):
    name = "report/figures/01_coin_running.svg"
    assert (executed[0] / name).read_bytes() == (COIN / name).read_bytes()


def test_the_example_runs_without_torch(executed):
    assert read(executed[0] / "report/results/01_coin.json")["machine"]["torch"] is None


@pytest.mark.parametrize("rule", notebook_rules.RULES, ids=lambda rule: rule.__name__)
def test_the_example_keeps_the_rules_of_notebooks(rule):
    assert rule(nbformat.read(COIN / transcript.NOTEBOOK, as_version=4)) == []


def test_the_places_of_the_readme_hold_the_numbers_of_the_results(course):
    path = course / "README.md"
    right = path.read_text(encoding="utf-8")
    path.write_text(right.replace(">0.602<", ">0.502<"), encoding="utf-8")
    assert transcript.printed("python $VAE/report/places.py", course).endswith("README.md\n")
    assert path.read_text(encoding="utf-8") == right


def test_a_report_without_one_of_its_numbers_is_not_built(course):
    path = course / "report" / "results" / "01_coin.json"
    content = read(path)
    del content["values"]["tosses_for_one_percent"]
    path.write_text(json.dumps(content), encoding="utf-8")
    printed = transcript.printed(transcript.REPORT, course)
    assert re.search("report not built: .*tosses_for_one_percent", printed)
    assert not (course / "build" / "report.pdf").exists()


def test_a_stale_study_is_repeated_in_the_course_that_it_belongs_to(course):
    path = course / "report" / "results" / "studies" / "more_tosses.json"
    path.write_text(json.dumps(read(path) | {"digest": "0123456789abcdef"}), encoding="utf-8")
    printed = transcript.printed("python -m vae_helpers recheck", course)
    assert "1 of 1 studies are of an earlier version of the code" in printed
    assert printed.endswith("the same to the last digit\n")
