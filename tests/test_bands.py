"""The bands: intervals that further runs fall into, and a file that people and a command share."""

import math
import tomllib
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vae_helpers import bands

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
    path = tmp_path / "bands.toml"
    path.write_text(ENTRY)
    return path


def test_the_interval_holds_the_next_value_999_times_in_1000():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(20_000, 6))
    ends = [bands.prediction_interval(row[:5]) for row in draws[:, :5].tolist()]
    inside = [low <= value <= high for (low, high), value in zip(ends, draws[:, 5], strict=True)]
    assert np.mean(inside) == pytest.approx(0.999, abs=4 * math.sqrt(0.001 * 0.999 / 20_000))


def test_at_five_values_the_interval_reaches_nine_standard_deviations():
    low, high = bands.prediction_interval([-2.0, -1.0, 0.0, 1.0, 2.0])
    sd = math.sqrt(2.5)
    assert high == pytest.approx(-low)
    assert 9 * sd < high < 10 * sd


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 2.0, 3.0, 4.0, math.nan]])
def test_too_few_or_infinite_values_make_no_interval(values):
    with pytest.raises(bands.BandError, match="at least 5 finite"):
        bands.prediction_interval(values)


def test_a_band_covers_the_interval_of_every_number_of_threads():
    one, two = [1.0, 1.1, 0.9, 1.05, 0.95], [3.0, 3.1, 2.9, 3.05, 2.95]
    band = bands.measured({1: one, 2: two}, decimals=2)
    assert band["low"] <= bands.prediction_interval(one)[0]
    assert band["high"] >= bands.prediction_interval(two)[1]
    assert band["n"] == 5


def test_a_number_that_never_changes_gets_one_unit_of_its_last_decimal():
    band = bands.measured({1: [45.534] * 5, 2: [45.534] * 5}, decimals=2)
    assert band["low"] == pytest.approx(45.52)
    assert band["high"] == pytest.approx(45.55)


def test_writing_adds_what_was_measured_and_keeps_what_people_wrote(path):
    values = {1: [7.0, 7.1, 7.2, 7.1, 7.0]}
    assert bands.write({"01_toy": {"loss": values}}, "full", path=path) == []
    entry = tomllib.loads(path.read_text())["01_toy"]["loss"]
    assert "# people wrote this" in path.read_text()
    assert (entry["unit"], entry["full"]["cap"], entry["full"]["n"]) == ("nats", 5.0, 5)
    assert entry["full"]["low"] < 7.0 < 7.2 < entry["full"]["high"]
    band = bands.read("01_toy", "full", path=path)["loss"]
    assert (band.low, band.high) == (entry["full"]["low"], entry["full"]["high"])


def test_a_band_wider_than_its_cap_is_refused_and_the_old_one_kept(path):
    problems = bands.write({"01_toy": {"loss": {1: [1.0, 5.0, 9.0, 2.0, 8.0]}}}, "full", path=path)
    assert "wider than the cap of 5" in problems[0]
    assert path.read_text() == ENTRY


def test_a_number_without_an_entry_is_reported(path):
    problems = bands.write({"01_toy": {"other": {1: [1.0] * 5}}}, "full", path=path)
    assert problems == ["01_toy.other: no entry with a cap for full"]


def test_an_entry_must_say_what_it_excludes(path):
    path.write_text('[01_toy.loss]\nunit = ""\ndecimals = 1\n')
    with pytest.raises(bands.BandError, match=r"01_toy.loss lacks excludes"):
        bands.read("01_toy", "full", path=path)


def test_mean_and_spread_are_kept_with_two_decimals_more_than_are_shown():
    one, two = [1.0, 1.1, 0.9, 1.05, 0.9567], [3.0, 3.1, 2.9, 3.05, 2.9878]
    band = bands.measured({1: one, 2: two}, decimals=1)
    # the sum is 20.0445, and the larger spread, that of the first five, 0.07805
    assert (band["mean"], band["sd"]) == (2.004, 0.078)


def test_a_band_that_was_read_cannot_be_moved(path):
    band = bands.read("01_toy", "full", path=path)["loss"]
    with pytest.raises(FrozenInstanceError):
        band.high = math.inf


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
def test_a_band_has_two_ends_that_are_finite_and_in_order(path, ends):
    path.write_text(ENTRY.replace("cap = 5.0", f"cap = 5.0, {ends}"))
    with pytest.raises(bands.BandError, match=r"01_toy\.loss: full: expected two finite"):
        bands.read("01_toy", "full", path=path)
