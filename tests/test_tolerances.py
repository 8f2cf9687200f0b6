"""Tolerances: intervals that further runs fall into, in a file that people and a command share."""

import math
import tomllib
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vae_helpers.course import tolerances

ENTRY = """
# people wrote this
[01_toy.loss]
unit = "nats"
decimals = 1
excludes = "a flipped sign"
full = { cap = 5.0 }
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tolerances.toml"
    path.write_text(ENTRY, encoding="utf-8")
    return path


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


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 2.0, 3.0, 4.0, math.nan]])
def test_too_few_or_infinite_values_make_no_interval(values):
    with pytest.raises(tolerances.ToleranceError, match="at least 5 finite"):
        tolerances.prediction_interval(values)


def test_a_tolerance_covers_the_interval_of_every_number_of_threads():
    one, two = [1.0, 1.1, 0.9, 1.05, 0.95], [3.0, 3.1, 2.9, 3.05, 2.95]
    found = tolerances.measured({1: one, 2: two}, decimals=2)
    assert found["low"] <= tolerances.prediction_interval(one)[0]
    assert found["high"] >= tolerances.prediction_interval(two)[1]
    assert found["n"] == 5


def test_a_number_that_never_changes_gets_one_unit_of_its_last_decimal():
    found = tolerances.measured({1: [45.534] * 5, 2: [45.534] * 5}, decimals=2)
    assert found["low"] == pytest.approx(45.52)
    assert found["high"] == pytest.approx(45.55)


def test_writing_adds_what_was_measured_and_keeps_what_people_wrote(path):
    values = {1: [7.0, 7.1, 7.2, 7.1, 7.0]}
    assert tolerances.write({"01_toy": {"loss": values}}, "full", path=path) == []
    entry = tomllib.loads(path.read_text(encoding="utf-8"))["01_toy"]["loss"]
    assert "# people wrote this" in path.read_text(encoding="utf-8")
    assert (entry["unit"], entry["full"]["cap"], entry["full"]["n"]) == ("nats", 5.0, 5)
    assert entry["full"]["low"] < 7.0 < 7.2 < entry["full"]["high"]
    found = tolerances.read("01_toy", "full", path=path)["loss"]
    assert (found.low, found.high) == (entry["full"]["low"], entry["full"]["high"])


def test_a_tolerance_wider_than_its_cap_is_refused_and_the_old_one_kept(path):
    problems = tolerances.write(
        {"01_toy": {"loss": {1: [1.0, 5.0, 9.0, 2.0, 8.0]}}}, "full", path=path
    )
    assert "wider than the cap of 5" in problems[0]
    assert path.read_text(encoding="utf-8") == ENTRY


def test_a_number_without_an_entry_is_reported(path):
    problems = tolerances.write({"01_toy": {"other": {1: [1.0] * 5}}}, "full", path=path)
    assert problems == ["01_toy.other: no entry with a cap for full"]


def test_an_entry_must_say_what_it_excludes(path):
    path.write_text('[01_toy.loss]\nunit = ""\ndecimals = 1\n', encoding="utf-8")
    with pytest.raises(tolerances.ToleranceError, match=r"01_toy.loss lacks excludes"):
        tolerances.read("01_toy", "full", path=path)


def test_mean_and_spread_are_kept_with_two_decimals_more_than_are_shown():
    one, two = [1.0, 1.1, 0.9, 1.05, 0.9567], [3.0, 3.1, 2.9, 3.05, 2.9878]
    found = tolerances.measured({1: one, 2: two}, decimals=1)
    # the sum is 20.0445, and the larger spread, that of the first five, 0.07805
    assert (found["mean"], found["sd"]) == (2.004, 0.078)


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
