"""Tolerances: intervals that further runs fall into, in a file that people and a command share."""

import json
import math
import tomllib
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import special, stats
from toy_project import command, executed, make

from vae_helpers import PROJECT
from vae_helpers.course import notebooks, tolerances
from vae_helpers.parameters import ParameterError
from vae_helpers.studies import planning, running, tables, tolerance_tables

ENTRY = """
# people wrote this
[01_toy.loss]
unit = "nats"
decimals = 1
range = "positive"
excludes = "a flipped sign"
full = { cap = 5.0 }
"""
COMMITTED = tomllib.loads(tolerances.TOLERANCES.read_text(encoding="utf-8"))
TABLES = sorted(tolerance_tables.TABLES.glob("*/*.csv"))
TOO_WIDE = {
    "05_training": {"held_out_relu_sgd"},
    "09_latent_space": {"minus_elbo_2d", "cost_of_two_latents"},
    "10_codes": {"aggregate_variance", "aggregate_covariance_size"},
    "14_gan_game": {"reply_std", "reply_to_nearest_mode"},
}
"""Wider than their caps with the five seeds of their full tables: they keep an earlier interval."""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tolerances.toml"
    path.write_text(ENTRY, encoding="utf-8")
    return path


def scipys(values):
    """The prediction interval of a normal population, by scipy."""
    n = len(values)
    sd = np.std(values, ddof=1) * math.sqrt((n + 1) / n)
    return stats.t.interval(0.999, n - 1, loc=np.mean(values), scale=sd)


# --- the interval


def test_the_interval_holds_the_next_value_999_times_in_1000():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(20_000, 6))
    ends = [tolerances.prediction_interval(row[:5]) for row in draws[:, :5].tolist()]
    inside = [low <= value <= high for (low, high), value in zip(ends, draws[:, 5], strict=True)]
    assert np.mean(inside) == pytest.approx(0.999, abs=4 * math.sqrt(0.001 * 0.999 / 20_000))


def test_at_five_values_the_interval_reaches_nine_standard_deviations():
    low, high = tolerances.prediction_interval([-2.0, -1.0, 0.0, 1.0, 2.0])
    sd = math.sqrt(2.5)
    assert high == pytest.approx(-low)
    assert 9 * sd < high < 10 * sd


@pytest.mark.parametrize("n", [5, 6, 10, 20])
def test_the_interval_is_that_of_scipy_whatever_the_number_of_seeds(n):
    values = np.random.default_rng(n).normal(100.0, 3.0, size=n).tolist()
    assert tolerances.prediction_interval(values) == pytest.approx(scipys(values), rel=1e-12)


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 2.0, 3.0, 4.0, math.nan]])
def test_too_few_or_infinite_values_make_no_interval(values):
    with pytest.raises(tolerances.ToleranceError, match="at least 5 finite"):
        tolerances.prediction_interval(values)
    with pytest.raises(tolerances.ToleranceError, match="at least 5 finite"):
        tolerances.measured(values, decimals=1)


# --- on the scale of the natural range


KINDS = {  # where values lie on the scale, and back, by numpy and scipy
    "real": (np.array, np.array, [-0.4, 0.1, 0.3, -0.2, 0.5, 0.05]),
    "positive": (np.log, np.exp, [0.4, 2.0, 0.7, 1.1, 0.9, 3.0]),
    "unit": (special.logit, special.expit, [0.97, 0.92, 0.99, 0.95, 0.9, 0.96]),
    "percent": (
        lambda it: special.logit(np.array(it) / 100),
        lambda it: 100 * special.expit(it),
        [3.0, 8.0, 1.0, 5.0, 10.0, 4.0],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_is_that_of_scipy_on_the_scale_of_its_range_rounded_outwards(kind):
    place, value, values = KINDS[kind]
    assert set(KINDS) == set(tolerances.SCALES)
    low, high = value(scipys(place(values)))
    exact = tolerances.measured(values, decimals=9, kind=kind)
    assert (exact["low"], exact["high"]) == pytest.approx((low, high), abs=2e-9)
    found = tolerances.measured(values, decimals=3, kind=kind)
    assert low - 0.001 < found["low"] <= low
    assert high <= found["high"] < high + 0.001


@pytest.mark.parametrize("kind", ["positive", "unit", "percent"])
def test_far_spread_values_leave_the_ends_in_the_natural_range(kind):
    ends = tolerances.SCALES[kind]
    top = ends.high if math.isfinite(ends.high) else 1e6
    values = [top * share for share in (0.001, 0.5, 0.2, 0.9, 0.99)]
    found = tolerances.measured(values, decimals=1, kind=kind)
    assert ends.low <= found["low"] <= min(values)
    assert max(values) <= found["high"] <= ends.high
    # on a linear scale it would leave the range on both sides
    low, high = scipys(values)
    assert low < ends.low
    assert high > top


def test_on_a_logarithmic_scale_the_interval_holds_the_next_of_values_that_spread_by_factors():
    draws = np.random.default_rng(1).lognormal(0.0, 1.0, size=(4_000, 11))
    inside = []
    for *values, following in draws.tolist():
        found = tolerances.measured(values, decimals=9, kind="positive")
        inside.append(found["low"] <= following <= found["high"])
    assert np.mean(inside) == pytest.approx(0.999, abs=4 * math.sqrt(0.001 * 0.999 / 4_000))


@pytest.mark.parametrize(
    ("kind", "values", "places"),
    [
        ("unit", [0.0, 0.0, 0.002, 0.0, 0.001], [0.0005, 0.0005, 0.002, 0.0005, 0.001]),
        ("unit", [1.0, 0.999, 1.0, 0.997, 1.0], [0.9995, 0.999, 0.9995, 0.997, 0.9995]),
        ("percent", [100.0, 99.0, 98.0, 100.0, 99.5], [99.9995, 99.0, 98.0, 99.9995, 99.5]),
        ("positive", [0.0, 0.003, 0.001, 0.0, 0.002], [0.0005, 0.003, 0.001, 0.0005, 0.002]),
    ],
)
def test_a_value_at_an_end_of_the_range_takes_the_place_half_a_unit_away(kind, values, places):
    place, value, _ = KINDS[kind]
    low, high = value(scipys(place(places)))
    found = tolerances.measured(values, decimals=3, kind=kind)
    assert low - 0.001 < found["low"] <= low
    assert high <= found["high"] < high + 0.001


@pytest.mark.parametrize(
    ("kind", "value", "ends"),
    [
        ("unit", 0.0, (0.0, 0.01)),
        ("unit", 1.0, (0.99, 1.0)),
        ("percent", 100.0, (99.99, 100.0)),
        ("positive", 0.0, (0.0, 0.01)),
        ("real", 0.0, (-0.01, 0.01)),
    ],
)
def test_values_that_all_lie_at_an_end_have_one_unit_on_the_side_where_others_can_be(
    kind, value, ends
):
    found = tolerances.measured([value] * 5, decimals=2, kind=kind)
    assert (found["low"], found["high"]) == pytest.approx(ends)


def test_an_entropy_of_ten_digits_ends_at_log_10_rounded_up():
    values = [2.28, 2.285, 2.275, 2.27, 2.29]
    found = tolerances.measured(values, decimals=3, kind="positive", maximum=math.log(10))
    assert found["high"] == 2.303
    assert found["low"] == tolerances.measured(values, decimals=3, kind="positive")["low"]


def test_a_difference_of_shares_ends_at_minus_one():
    found = tolerances.measured([-0.998, -0.999, -1.0, -0.99, -0.98], decimals=2, minimum=-1.0)
    assert found["low"] == -1.0
    assert found["high"] > -0.98


@pytest.mark.parametrize(
    ("kind", "bounds", "value"),
    [
        ("positive", {}, -0.1),
        ("unit", {}, 1.01),
        ("unit", {}, -0.01),
        ("percent", {}, 100.5),
        ("positive", {"maximum": 2.303}, 2.31),
        ("real", {"minimum": -1.0}, -1.1),
    ],
)
def test_a_value_that_its_range_does_not_hold_is_refused(kind, bounds, value):
    with pytest.raises(tolerances.ToleranceError, match="expected values in"):
        tolerances.measured([0.5] * 4 + [value], decimals=2, kind=kind, **bounds)


def test_a_number_that_never_changes_gets_one_unit_of_its_last_decimal():
    for kind in ("real", "positive", "percent"):
        found = tolerances.measured([45.534] * 5, decimals=2, kind=kind)
        assert found["low"] == pytest.approx(45.52)
        assert found["high"] == pytest.approx(45.55)


def test_mean_and_spread_are_kept_with_two_decimals_more_than_are_shown():
    found = tolerances.measured([3.0, 3.1, 2.9, 3.05, 2.9878], decimals=1, kind="positive")
    # the sum is 15.0378, that of the squared deviations 0.02236
    assert (found["mean"], found["sd"], found["n"]) == (3.008, 0.075, 5)


# --- the file


def test_writing_adds_what_was_measured_and_keeps_what_people_wrote(path):
    values = [7.0, 7.1, 7.2, 7.1, 7.0, 7.1]
    assert tolerances.write({"01_toy": {"loss": values}}, "full", path=path) == []
    entry = tomllib.loads(path.read_text(encoding="utf-8"))["01_toy"]["loss"]
    assert "# people wrote this" in path.read_text(encoding="utf-8")
    assert (entry["unit"], entry["full"]["cap"], entry["full"]["n"]) == ("nats", 5.0, 6)
    low, high = np.exp(scipys(np.log(values)))
    assert low - 0.1 < entry["full"]["low"] <= low < high <= entry["full"]["high"] < high + 0.1
    found = tolerances.read("01_toy", "full", path=path)["loss"]
    assert (found.low, found.high) == (entry["full"]["low"], entry["full"]["high"])


def test_writing_takes_the_bounds_of_an_entry(path):
    bounded = ENTRY.replace('"positive"', '"real"\nminimum = -1\nmaximum = 8')
    path.write_text(bounded, encoding="utf-8")
    assert tolerances.write({"01_toy": {"loss": [-0.9, 7.9, 4, 3, 2]}}, "full", path=path) == [
        "01_toy.loss: -1 to 8 is wider than the cap of 5; take more seeds or a steadier number"
    ]
    path.write_text(bounded.replace("5.0", "9.0"), encoding="utf-8")
    assert tolerances.write({"01_toy": {"loss": [-0.9, 7.9, 4, 3, 2]}}, "full", path=path) == []
    found = tolerances.read("01_toy", "full", path=path)["loss"]
    assert (found.low, found.high) == (-1.0, 8.0)


def test_a_tolerance_wider_than_its_cap_is_refused_and_the_old_one_kept(path):
    problems = tolerances.write({"01_toy": {"loss": [1.0, 5.0, 9.0, 2.0, 8.0]}}, "full", path=path)
    assert "wider than the cap of 5" in problems[0]
    assert path.read_text(encoding="utf-8") == ENTRY


def test_a_value_out_of_range_is_reported_and_the_old_tolerance_kept(path):
    problems = tolerances.write({"01_toy": {"loss": [1.0, 1.0, 1.0, 1.0, -1.0]}}, "full", path=path)
    assert problems[0].startswith("01_toy.loss: expected values in 0 to inf, got ")
    assert path.read_text(encoding="utf-8") == ENTRY


def test_a_number_without_an_entry_or_a_range_is_reported(path):
    problem = "no entry with a range and a cap for full"
    problems = tolerances.write({"01_toy": {"other": [1.0] * 5}}, "full", path=path)
    assert problems == [f"01_toy.other: {problem}"]
    path.write_text(ENTRY.replace('range = "positive"\n', ""), encoding="utf-8")
    problems = tolerances.write({"01_toy": {"loss": [1.0] * 5}}, "full", path=path)
    assert problems == [f"01_toy.loss: {problem}"]


def test_an_entry_must_say_what_it_excludes(path):
    path.write_text('[01_toy.loss]\nunit = ""\ndecimals = 1\n', encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match=r"01_toy.loss lacks excludes"):
        tolerances.read("01_toy", "full", path=path)


def test_a_tolerance_that_was_read_cannot_be_moved(path):
    found = tolerances.read("01_toy", "full", path=path)["loss"]
    with pytest.raises(FrozenInstanceError):
        found.high = math.inf


@pytest.mark.parametrize(
    "ends",
    [
        "low = 1.0",
        "low = -inf, high = 1.0",
        "low = 1.0, high = inf",
        "low = 2.0, high = 1.0",
        "low = nan, high = 1.0",
    ],
)
def test_a_tolerance_has_two_ends_that_are_finite_and_in_order(path, ends):
    path.write_text(ENTRY.replace("cap = 5.0", f"cap = 5.0, {ends}"), encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match=r"01_toy\.loss: full: expected two finite"):
        tolerances.read("01_toy", "full", path=path)


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ('"positive"', (-0.1, 1.0)),
        ('"unit"', (0.5, 1.1)),
        ('"unit"', (-0.1, 0.5)),
        ('"percent"', (99.0, 100.1)),
        ('"positive"\nmaximum = 2.303', (2.0, 2.5)),
        ('"real"\nminimum = -1', (-1.1, 0.0)),
    ],
)
def test_a_tolerance_whose_end_is_not_in_its_range_is_refused(path, said, ends):
    text = ENTRY.replace('"positive"', said)
    low, high = ends
    path.write_text(text.replace("5.0", f"5.0, low = {low}, high = {high}"), encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match=r"loss: full: expected ends in the natur"):
        tolerances.read("01_toy", "full", path=path)


def test_the_end_of_a_range_may_be_rounded_up(path):
    text = ENTRY.replace('"positive"', '"positive"\nmaximum = 2.303')
    path.write_text(text.replace("5.0", "5.0, low = 2.2, high = 2.4"), encoding="utf-8")
    assert tolerances.read("01_toy", "full", path=path)["loss"].high == 2.4


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('"log"', "range: expected one of real, positive, unit, percent, got 'log'"),
        ("1", "range: expected one of real, positive, unit, percent, got 1"),
        ('"unit"\nmaximum = 2', "expected minimum < maximum, numbers in the range unit"),
        ('"positive"\nminimum = -1', "expected minimum < maximum, numbers in the range positive"),
        ('"real"\nminimum = 3\nmaximum = 3', "expected minimum < maximum"),
        ('"real"\nmaximum = "10"', "expected minimum < maximum"),
        ('"real"\nmaximum = nan', "expected minimum < maximum"),
        ('"real"\nmaximal = 3', "unknown entry 'maximal'"),
    ],
)
def test_a_range_that_is_none_is_refused(path, said, message):
    path.write_text(ENTRY.replace('"positive"', said), encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match=r"toml: 01_toy\.loss") as refusal:
        tolerances.read("01_toy", "full", path=path)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "missed"),
    [
        (1.0, False),
        (2.0, False),
        (0.999, True),
        (2.001, True),
        (math.nan, True),
        (math.inf, True),
        (-math.inf, True),
    ],
)
def test_a_value_misses_outside_the_ends_and_if_it_is_no_number(value, missed):
    assert tolerances.Tolerance("", 2, "a mistake", 1.0, 2.0).misses(value) is missed
    assert tolerances.Tolerance("", 2, "a mistake").misses(value) is False


def test_a_number_may_be_shown_with_fifteen_decimals_and_no_more(path):
    entry = '[01_toy.loss]\nunit = ""\nexcludes = "nothing"\ndecimals = '
    path.write_text(f"{entry}15\n", encoding="utf-8")
    assert tolerances.read("01_toy", "full", path=path)["loss"].decimals == 15
    path.write_text(f"{entry}16\n", encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match="decimals: expected 0 to 15, got 16"):
        tolerances.read("01_toy", "full", path=path)


# --- from tables


TABLE = "seed,status,error,loss\n" + "".join(
    f"{seed},finished,,{value}\n" for seed, value in enumerate([7.0, 7.1, 7.2, 7.1, 7.3], 1)
)


@pytest.fixture
def course(tmp_path, path, monkeypatch):
    """A course of one notebook, its entry and its table."""
    for name in ("01_toy", "02_other"):
        code = "seed: int = 0" if name == "01_toy" else "batch_size: int = 128"
        cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [code]}
        text = json.dumps({"cells": [cell]})
        (tmp_path / f"{name}.ipynb").write_text(text, encoding="utf-8")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(tolerances, "TOLERANCES", path)
    monkeypatch.setattr(tolerance_tables, "TABLES", tmp_path / "tables")
    (tmp_path / "tables" / "full").mkdir(parents=True)
    (tmp_path / "tables" / "full" / "01_toy.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path


def test_intervals_follow_from_a_table_without_executing_anything(course, path):
    assert tolerance_tables.compute(profile="full") == []
    entry = tomllib.loads(path.read_text(encoding="utf-8"))["01_toy"]["loss"]["full"]
    low, high = np.exp(scipys(np.log([7.0, 7.1, 7.2, 7.1, 7.3])))
    assert low - 0.1 < entry["low"] <= low < high <= entry["high"] < high + 0.1
    assert (entry["mean"], entry["n"]) == (7.14, 5)


def test_a_number_without_a_column_and_a_notebook_without_a_table_are_reported(course, path):
    other = ENTRY.replace("01_toy.loss", "01_toy.kl")
    path.write_text(ENTRY + other + other.replace("01_toy", "02_other"), encoding="utf-8")
    assert tolerance_tables.compute(profile="full") == ["01_toy.kl: no column in 01_toy.csv"]
    assert tolerance_tables.compute(["02"], profile="full") == [
        "02_other: no table of the profile full; `make tolerances`"
    ]


def test_a_number_that_was_not_finite_is_reported_and_the_others_get_their_intervals(course, path):
    path.write_text(ENTRY + ENTRY.replace("01_toy.loss", "01_toy.kl"), encoding="utf-8")
    table = TABLE.replace("loss", "kl,loss").replace("finished,,", "finished,,9.5,")
    table += "6,finished,,9.5,\n"  # five others are there
    (course / "tables" / "full" / "01_toy.csv").write_text(table, encoding="utf-8")
    (problem,) = tolerance_tables.compute(profile="full")
    assert problem.startswith("01_toy.loss: expected at least 5 finite values")
    assert tolerances.read("01_toy", "full", path=path)["kl"].high > 7.3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("5,finished,,7.3", "5,failed,unlucky,", "expected finished cells only"),
        ("5,finished", "4,finished", "expected each seed once"),
        ("7.3", "seven", "expected numbers"),
        ("status", "state", "expected a column 'status'"),
        ("seed", "sed", "expected a column 'seed'"),
    ],
)
def test_a_table_with_something_else_gives_no_interval(course, path, old, new, message):
    table = course / "tables" / "full" / "01_toy.csv"
    table.write_text(TABLE.replace(old, new), encoding="utf-8")
    with pytest.raises(tables.StudyError, match=rf"01_toy\.csv: {message}"):
        tolerance_tables.compute(profile="full")
    assert path.read_text(encoding="utf-8") == ENTRY


def test_a_notebook_without_tolerances_or_seed_is_skipped_with_the_reason(
    course, path, monkeypatch, capsys
):
    monkeypatch.setattr(planning, "plan", lambda *arguments, **options: (arguments, options))
    name = "tolerances/smoke/01_toy"
    planned = [(("01_toy", {"seed": [3, 4, 5, 6, 7]}), {"profile": "smoke", "name": name})]
    asked = {"profile": "smoke", "seeds": (3, 4, 5, 6, 7)}
    assert tolerance_tables.plan(["01", "02"], **asked) == planned
    assert capsys.readouterr().out == "02_other: skipped, because it has no tolerances\n"
    assert tolerance_tables.plan(**asked) == planned
    path.write_text(ENTRY + ENTRY.replace("01_toy", "02_other"), encoding="utf-8")
    assert tolerance_tables.plan(**asked) == planned
    assert capsys.readouterr().out == "02_other: skipped, because it has no parameter 'seed'\n"
    with pytest.raises(ParameterError, match="expected a notebook with tolerances and with a seed"):
        tolerance_tables.plan(["02"], **asked)


@pytest.mark.parametrize("seeds", [(1, 2, 3, 4), (1, 2, 3, 4, 4)])
def test_too_few_seeds_or_one_twice_are_refused(course, seeds):
    with pytest.raises(ParameterError, match="seeds: expected at least 5, each once"):
        tolerance_tables.plan(seeds=seeds)


def test_ten_seeds_are_taken_and_not_that_of_the_published_runs():
    assert tolerance_tables.SEEDS == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def test_a_study_with_a_failed_cell_leaves_the_committed_table(monkeypatch):
    published = []
    monkeypatch.setattr(tolerance_tables, "publish", published.append)
    monkeypatch.setattr(running, "run", lambda plan, **options: {"good": 0}.get(plan, 2))
    assert tolerance_tables.run(["bad", "good", "worse"], scheduler="tcp://somewhere") == 4
    assert published == ["good"]


def test_the_command_runs_missing_seeds_with_one_thread_each_and_computes_from_the_table(tmp_path):
    project = make(tmp_path)
    path = project / "report" / "tolerances.toml"
    path.write_text(
        ENTRY.replace("01_toy.loss", "01_toy.square").replace("5.0", "1e8"), encoding="utf-8"
    )
    seeds = ("1", "2", "3", "4", "5")
    done = command(project, "tolerances", "01", "--seeds", *seeds, "--workers", "1")
    assert done.returncode == 0, done.stderr
    cells = executed(project, forget=True)
    assert sorted(seed for seed, *_ in cells) == [*seeds]
    assert {threads for *_, threads, _ in cells} == {"1"}
    done = command(project, "tolerances", "--seeds", *seeds, "6", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert [(seed, threads) for seed, *_, threads, _ in executed(project, forget=True)] == [
        ("6", "1")
    ]
    table = project / "report" / "results" / "tolerances" / "full" / "01_toy.csv"
    assert [row["square"] for row in tables.read_rows(table)] == ["1", "4", "9", "16", "25", "36"]
    about = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    assert (about["threads"], about["seeds"]) == ([1], [1, 2, 3, 4, 5, 6])
    written = path.read_text(encoding="utf-8")
    entry = tomllib.loads(written)["01_toy"]["square"]["full"]
    low, high = np.exp(scipys(np.log([1, 4, 9, 16, 25, 36])))
    assert low - 0.1 < entry["low"] <= low < high <= entry["high"] < high + 0.1
    path.write_text(written.replace(f"n = {entry['n']}", "n = 0"), encoding="utf-8")
    done = command(project, "tolerances", "--from-tables")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_text(encoding="utf-8") == written
    assert executed(project) == []


# --- what is committed


def test_every_committed_entry_names_its_range_and_lies_in_it():
    for notebook, entries in COMMITTED.items():
        for profile in notebooks.PROFILES:
            tolerances.read(notebook, profile)  # refuses an end outside
        assert [name for name, entry in entries.items() if "range" not in entry] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.parent.name}-{table.stem}")
def test_every_committed_interval_is_what_the_committed_table_gives(table):
    profile, notebook = table.parent.name, table.stem
    columns = tolerance_tables.columns(table, COMMITTED[notebook])
    assert columns.keys() == COMMITTED[notebook].keys()
    for name, entry in COMMITTED[notebook].items():
        bounds = {end: float(entry[end]) for end in tolerances.BOUNDS if end in entry}
        found = tolerances.measured(
            columns[name], decimals=entry["decimals"], kind=entry["range"], **bounds
        )
        if found["high"] - found["low"] > entry[profile]["cap"]:
            assert name in TOO_WIDE[notebook]
            assert profile == "full"
        else:
            assert entry[profile] == {"cap": entry[profile]["cap"], **found}, name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.parent.name}-{table.stem}")
def test_committed_tables_are_of_one_thread_and_of_other_seeds_than_the_published(table):
    about = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    assert (about["notebook"], about["profile"]) == (table.stem, table.parent.name)
    assert about["threads"] == [1]
    assert len(about["seeds"]) >= tolerances.LEAST_SEEDS
    assert notebooks.defaults(table.stem)["seed"] not in about["seeds"]
    assert about["given"] == {}
    assert table.is_relative_to(PROJECT)
