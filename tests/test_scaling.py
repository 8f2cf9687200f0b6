"""How time and memory grow: the exponents, and what is measured and written."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vae_helpers import training
from vae_helpers.benchmarks import clock, scaling
from vae_helpers.store import machine

TIMED = {name: (1, 2) if name == "epochs" else (64, 128) for name in scaling.TIMED}
WEIGHED = {"batch_size": (64, 128)}


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law_is_found(power):
    sizes = [2, 5, 40, 320]
    slope, error = scaling.exponent(sizes, [3.0 * size**power for size in sizes])
    assert slope == pytest.approx(power, abs=1e-9)
    assert error == pytest.approx(0, abs=1e-7)


def test_the_error_of_an_exponent_is_that_of_least_squares():
    # in logarithms to base 2 the points are (0, 0), (1, 2), (2, 1): slope 1/2, residuals
    # -1/2, 1, -1/2 and so a variance of 3/2 for one degree of freedom, over sum (x - 1)^2 = 2
    assert scaling.exponent([1, 2, 4], [1.0, 4.0, 2.0]) == pytest.approx((0.5, (1.5 / 2) ** 0.5))


def test_a_line_that_bends_has_another_exponent_in_its_upper_half():
    found = scaling.summary({1: [8.0], 2: [8.0], 4: [8.0], 8: [16.0], 16: [32.0]})
    assert found["exponent_upper_half"] == pytest.approx(1.0)
    assert 0 < found["exponent"] < 0.6


def test_a_series_holds_median_lowest_and_highest():
    found = scaling.summary({1: [1.0, 9.0, 2.0], 2: [4.0, 3.0, 50.0]})
    assert found["series"] == [
        {"size": 1, "median": 2.0, "low": 1.0, "high": 9.0, "repeats": 3},
        {"size": 2, "median": 4.0, "low": 3.0, "high": 50.0, "repeats": 3},
    ]
    assert found["exponent"] == pytest.approx(1.0)  # of the medians: the means would give 2.25


@pytest.mark.parametrize(
    ("quantity", "images", "epochs"),
    [("images", 64, 1), ("epochs", 128, 64), ("batch_size", 128, 1), ("hidden_width", 128, 1)],
)
def test_an_epoch_takes_all_images_unless_they_are_what_is_changed(
    quantity, images, epochs, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        training, "train_epoch", lambda model, optimizer, x, **_: seen.append(len(x))
    )
    scaling.work(quantity, 64, torch.rand(128, 784))()
    assert seen == [images] * epochs


def test_the_second_hidden_layer_is_half_as_wide_as_the_first(monkeypatch):
    configs = []
    monkeypatch.setattr(scaling.speed, "training_of", lambda config, images: configs.append(config))
    scaling.work("hidden_width", 1_600, torch.rand(1, 784))
    assert configs[0].hidden_dims == (1_600, 800)


def test_memory_is_that_of_the_work_on_as_many_images_as_are_asked_for(monkeypatch):
    asked, done = [], []
    monkeypatch.setattr(clock, "growth", lambda works, repeats: asked.append((works, repeats)))
    monkeypatch.setattr(scaling, "work", lambda *point: lambda: done.append(point))
    scaling.megabytes([("images", 30_000), ("latent_dim", 2)], repeats=3)
    [(works, repeats)] = asked
    assert repeats == 3
    assert [images for images, _ in works] == [30_000, scaling.FEW_IMAGES]
    for _, work in pickle.loads(pickle.dumps(works)):  # as it goes to another process
        work("the images")
    assert done == [("images", 30_000, "the images"), ("latent_dim", 2, "the images")]


class InThreads(ThreadPoolExecutor):
    """Does here what would be done in processes, which take seconds to start."""

    def __init__(self, workers, context, **begins):
        assert context is clock.SPAWN
        super().__init__(workers, **begins)

    def submit(self, *job):
        return super().submit(*pickle.loads(pickle.dumps(job)))


def test_everything_is_measured_and_written_under_the_keys_of_the_committed_file(monkeypatch):
    monkeypatch.setattr(scaling, "ProcessPoolExecutor", InThreads)
    monkeypatch.setattr(scaling, "IMAGES", 128)
    monkeypatch.setattr(machine, "cores", lambda: 1)
    monkeypatch.setattr(scaling, "megabytes", lambda points, repeats: [[40.0]] * len(points))
    found = scaling.measure(timed=TIMED, weighed=WEIGHED, seeds=2, repeats=1)
    committed = clock.read("scaling")
    assert found.keys() == committed.keys()
    assert found["seconds"].keys() == committed["seconds"].keys()
    assert found["seconds"]["images"].keys() == committed["seconds"]["images"].keys()
    assert found["seeds"].keys() == committed["seeds"].keys()
    assert found["megabytes"].keys() == {"batch_size"}
    for unit in ("seconds", "megabytes"):
        for fitted in found[unit].values():
            assert all(0 < point["low"] == point["high"] for point in fitted["series"])
    seeds = found["seeds"]
    assert seeds["ratio"] == seeds["sequence_seconds"] / seeds["parallel_seconds"]
    assert json.loads(json.dumps(found)) == found


def test_the_table_has_all_points_and_the_exponents():
    lines = "\n".join(scaling.table(clock.read("scaling")))
    assert "60,000       1.772   1.731 to 1.878" in lines
    assert "exponent upper half   1.09 +- 0.05" in lines
    assert "4 seeds one after the other, with all cores: 1.18 s; one per core: 0.74 s" in lines


def test_the_figures_are_printed_and_written_only_when_asked_for(monkeypatch, capsys):
    committed, written = clock.read("scaling"), []
    monkeypatch.setattr(scaling, "measure", lambda **_: committed)
    monkeypatch.setattr(clock, "write", lambda *what: written.append(what))
    scaling.report()
    assert not written
    scaling.report(write=True)
    assert written == [("scaling", committed)]
    assert "ratio 1.60" in capsys.readouterr().out
