"""What the benchmark measures, and how it reports it."""

import re

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import bench
from vae_helpers.bench import Task
from vae_helpers.data import load_mnist
from vae_helpers.training import TrainConfig, new_model


def test_training_holds_weights_gradients_and_two_moments_at_least():
    own = sum(4 * weights.numel() for weights in new_model(TrainConfig()).parameters()) / 1e6
    assert 4 * own < bench.training_memory("VAE", images=512) < 100


def test_memory_of_this_process_does_not_count():
    ballast = torch.ones(150_000_000)  # 600 MB
    assert bench.training_memory("GAN", images=512) < 100
    del ballast


def test_tasks_take_turns_and_the_first_round_does_not_count(monkeypatch):
    done, clock = [], iter(range(100))
    monkeypatch.setattr(bench.roofline, "seconds_of", lambda work: [work(), next(clock)][1])
    todo = {name: Task(lambda name=name: done.append(name), 1) for name in "ab"}
    assert bench.measure(todo, rounds=2) == {"a": [2, 4], "b": [3, 5]}
    assert done == list("ababab")


def test_ratios_are_taken_within_a_round():
    seconds = {"above": [2.0, 9.0, 40.0], "below": [1.0, 3.0, 10.0]}
    assert bench.ratio(seconds, "above", "below") == (3, 2, 4)


def test_table_shows_median_range_rate_and_ratio():
    todo = {"work": Task(print, 100, floor="least"), "least": Task(print, 100)}
    seconds = {"work": [2.0, 8.0, 4.0], "least": [1.0, 2.0, 2.0]}
    _, work, least = bench.table(todo, seconds)
    assert " ".join(work.split()) == "work 4.0000 2.0000 to 8.0000 25 images 2.00 (2.00 to 4.00)"
    assert " ".join(least.split()) == "least 2.0000 1.0000 to 2.0000 50 images"


@pytest.fixture(scope="module")
def todo(tmp_path_factory):
    """All tasks, on a few images; the textbook's loaders have the whole of MNIST."""
    load_mnist()  # unpacks what they read
    return bench.tasks(few_digits(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def seconds(todo):
    """One round of what takes no whole epoch, and two seconds for the rest."""
    quick = {name: task for name, task in todo.items() if not ALL_OF_MNIST.search(name)}
    return {name: [2.0] for name in todo} | bench.measure(quick, rounds=1)


ALL_OF_MNIST = re.compile("loading|textbook")


def test_every_task_takes_time_and_every_floor_is_one_of_them(todo, seconds):
    assert all(times[0] > 0 for times in seconds.values())
    assert {task.floor for task in todo.values()} - {""} <= todo.keys()


def test_the_floor_makes_as_many_steps_as_an_epoch_has(monkeypatch, tmp_path, todo):
    steps = []
    monkeypatch.setattr(bench.roofline, "products_alone", lambda *_: lambda: steps.append(1))
    bench.tasks(few_digits(train=300), tmp_path)["VAE: products"].work()
    assert len(steps) == 3  # of 128, 128 and 44 images


def test_figures_have_keys_for_what_is_quoted(todo, seconds):
    found = bench.figures_of(todo, seconds, threads=2)
    assert found["vae_training_seconds_2"] == seconds["VAE: training"][0]
    assert found["textbook_over_ours_2"] == 2.0 / seconds["VAE: training"][0]
    floor = seconds["GAN: products"][0]
    assert found["gan_training_over_floor_2"] == seconds["GAN: training"][0] / floor
