"""The clock, the probe of memory and the file of figures that the benchmarks share."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vae_helpers import acceleration, training
from vae_helpers.benchmarks import clock, speed
from vae_helpers.store.files import DamagedFileError
from vae_helpers.training import TrainConfig


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The folder of measured figures, an empty one."""
    monkeypatch.setattr(clock, "MEASURED", tmp_path / "measured")
    return tmp_path / "measured"


def test_seconds_are_those_of_one_call(monkeypatch):
    times = iter([10.0, 16.0])
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(times))
    calls = []
    assert clock.seconds_of(lambda: calls.append(1), repeat=3) == 2
    assert len(calls) == 3


def test_tasks_are_interleaved_and_the_first_round_does_not_count(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])

    def task(name, *durations):
        left = iter(durations)

        def call():
            calls.append(name)
            now[0] += next(left)

        return call

    works = {"a": task("a", 100, 1, 2), "b": task("b", 100, 30, 40)}
    assert clock.interleaved(works, rounds=2) == {"a": [1, 2], "b": [30, 40]}
    assert calls == ["a", "b"] * 3


def test_a_task_is_repeated_within_its_turn():
    calls = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    clock.interleaved(works, rounds=1, repeat=3)
    assert calls == [*"aaabbb"] * 2


def test_ratios_are_taken_within_a_round():
    assert clock.ratio([2.0, 9.0, 40.0], [1.0, 3.0, 10.0]) == (3, 2, 4)
    assert str(clock.ratio([2.0, 9.0, 40.0], [1.0, 3.0, 10.0])) == "3.00 (2.00 to 4.00)"


def test_threads_are_as_before_afterwards_even_when_something_fails():
    before, within = torch.get_num_threads(), []

    @acceleration.threads(before + 1)
    def fail():
        within.append(torch.get_num_threads())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert within == [before + 1]
    assert torch.get_num_threads() == before


def test_a_processor_has_a_name():
    assert clock.processor().strip()


worked = []


def hold_40_megabytes(images):
    assert len(images) == 5_000
    worked.append("holding")
    assert worked == ["holding"], "what an earlier measurement has loaded would not be measured"
    torch.ones(10_000_000)


def train(images):
    worked.append("training")
    speed.training_of(speed.VAE, images)()


@pytest.fixture(scope="module")
def grown():
    """Megabytes of a training and of what holds 40, measured one after the other."""
    ballast = torch.ones(100_000_000)  # 400 MB; the images are 16 MB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "cores", lambda: 1)
        [[trained], [held]] = clock.growth([(512, train), (5_000, hold_40_megabytes)])
    del ballast
    return {"training": trained, "holding": held}


def test_memory_is_that_of_the_work_and_not_of_images_this_process_or_an_earlier_measurement(grown):
    assert 39 < grown["holding"] < 50


def test_training_holds_weights_gradients_and_two_moments_at_least(grown):
    model = training.new_model(TrainConfig())
    own = sum(4 * weights.numel() for weights in model.parameters()) / 1e6
    assert 4 * own < grown["training"] < 100


def test_memory_is_measured_at_every_point_as_often_as_is_asked_for(monkeypatch):
    monkeypatch.setattr(clock, "ProcessPoolExecutor", lambda n, *_, **__: ThreadPoolExecutor(n))
    monkeypatch.setattr(clock, "_growth", lambda number, work: work(number))
    assert clock.growth([(3, float), (5, float)], repeats=2) == [[3, 3], [5, 5]]


def test_figures_are_read_as_they_were_written(measured):
    clock.write("speed", {"rounds": 5, "processor": "of the test"})
    clock.write("speed", {"rounds": 6, "processor": "of the test"})
    assert clock.read("speed") == {"rounds": 6, "processor": "of the test"}
    written = json.loads((measured / "speed.json").read_text(encoding="utf-8"))
    assert written["values"]["rounds"] == {"value": 6}  # as report/places.py reads it


@pytest.mark.parametrize("content", [None, '{"values": {"thr'])
def test_a_missing_or_damaged_file_is_refused_with_a_remedy(measured, content):
    if content is not None:
        measured.mkdir()
        (measured / "scaling.json").write_text(content, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"scaling\.json.*python -m vae_helpers bench"):
        clock.read("scaling")


def test_a_figure_that_is_not_a_number_is_not_written(measured):
    with pytest.raises(ValueError, match="nan"):
        clock.write("speed", {"seconds": float("nan")})
    assert not measured.exists()
