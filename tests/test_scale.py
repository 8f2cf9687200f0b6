"""How time and memory grow: the exponents, the order of measuring, and what is kept."""

import json

import pytest
import torch

from vae_helpers import scale
from vae_helpers.files import DamagedFileError

KEPT = {
    "threads", "machine", "versions", "date", "seconds", "megabytes", "seeds",
}  # fmt: skip
TIMED = {name: (1, 2) if name == "epochs" else (64, 128) for name in scale.TIMED}
WEIGHED = {"batch_size": (64, 128)}


@pytest.fixture
def kept_in(tmp_path, monkeypatch):
    path = tmp_path / "measured" / "scale.json"
    monkeypatch.setattr(scale, "MEASURED", path)
    return path


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law_is_found(power):
    sizes = [2, 5, 40, 320]
    slope, error = scale.exponent(sizes, [3.0 * size**power for size in sizes])
    assert slope == pytest.approx(power, abs=1e-9)
    assert error == pytest.approx(0, abs=1e-7)


def test_the_error_of_an_exponent_is_that_of_least_squares():
    # in logarithms to base 2 the points are (0, 0), (1, 2), (2, 1): slope 1/2, residuals
    # -1/2, 1, -1/2 and so a variance of 3/2 for one degree of freedom, over sum (x - 1)^2 = 2
    assert scale.exponent([1, 2, 4], [1.0, 4.0, 2.0]) == pytest.approx((0.5, (1.5 / 2) ** 0.5))


def test_a_line_that_bends_has_another_exponent_in_its_upper_half():
    kept = scale.summary({1: [8.0], 2: [8.0], 4: [8.0], 8: [16.0], 16: [32.0]})
    assert kept["exponent_upper_half"] == pytest.approx(1.0)
    assert 0 < kept["exponent"] < 0.6


def test_a_series_keeps_median_lowest_and_highest():
    kept = scale.summary({1: [1.0, 9.0, 2.0], 2: [4.0, 3.0, 50.0]})
    assert kept["series"] == [
        {"size": 1, "median": 2.0, "low": 1.0, "high": 9.0, "repeats": 3},
        {"size": 2, "median": 4.0, "low": 3.0, "high": 50.0, "repeats": 3},
    ]
    assert kept["exponent"] == pytest.approx(1.0)  # of the medians: the means would give 2.25


def test_the_works_take_turns_and_the_first_round_is_not_counted(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(scale.time, "perf_counter", lambda: now[0])

    def work(name, *durations):
        left = iter(durations)

        def call():
            calls.append(name)
            now[0] += next(left)

        return call

    works = [work("a", 100, 1, 2), work("b", 100, 30, 40)]
    assert scale.seconds(works, repeats=2) == [[1, 2], [30, 40]]
    assert calls == ["a", "b"] * 3


@pytest.mark.parametrize(
    ("quantity", "images"),
    [("images", 64), ("epochs", 128), ("batch_size", 128)],
)
def test_an_epoch_takes_all_images_unless_they_are_what_is_changed(quantity, images, monkeypatch):
    seen = []
    monkeypatch.setattr(
        scale.training, "train_epoch", lambda model, optimizer, x, **_: seen.append(len(x))
    )
    scale.work(quantity, 64, torch.rand(128, 784))()
    assert seen == [images] * (64 if quantity == "epochs" else 1)


def test_memory_of_this_process_and_images_do_not_count():
    ballast = torch.ones(100_000_000)  # 400 MB
    # 94 MB of images; four times the weights are 13
    [[grown]] = scale.megabytes([("images", 30_000)], repeats=1)
    assert 13 < grown < 90
    del ballast


def test_everything_is_measured_kept_and_renewed(kept_in, monkeypatch):
    monkeypatch.setattr(scale, "IMAGES", 128)
    monkeypatch.setattr(scale.os, "sched_getaffinity", lambda process: {0})
    monkeypatch.setattr(scale, "megabytes", lambda points, repeats: [[40.0]] * len(points))
    found = scale.measure(timed=TIMED, weighed=WEIGHED, seeds=2, repeats=1)
    assert set(found) == KEPT
    assert set(found["seconds"]) == set(TIMED)
    assert set(found["megabytes"]) == {"batch_size"}
    for unit in ("seconds", "megabytes"):
        for kept in found[unit].values():
            assert all(0 < point["low"] == point["high"] for point in kept["series"])
    seeds = found["seeds"]
    assert seeds["ratio"] == seeds["sequence_seconds"] / seeds["parallel_seconds"]

    kept_in.parent.mkdir()
    kept_in.write_text("of an earlier measurement")
    scale.write(found)
    assert scale.measured() == json.loads(json.dumps(found))
    assert "ratio" in scale.table(scale.measured())


@pytest.mark.parametrize("content", [None, '{"values": {"thr'])
def test_a_missing_or_damaged_file_is_refused_with_a_remedy(kept_in, content):
    if content is not None:
        kept_in.parent.mkdir()
        kept_in.write_text(content)
    with pytest.raises(DamagedFileError, match=r"scale\.json.*vae_helpers\.scale --write"):
        scale.measured()
