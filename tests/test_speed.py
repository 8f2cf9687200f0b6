"""What the benchmark measures, and how it reports it."""

import re

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import acceleration, adversarial, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import clock, speed
from vae_helpers.training import TrainConfig, new_model


def test_training_holds_weights_gradients_and_two_moments_at_least():
    own = sum(4 * weights.numel() for weights in new_model(TrainConfig()).parameters()) / 1e6
    assert 4 * own < speed.training_memory("VAE", images=512) < 100


@pytest.mark.parametrize("kind", ["VAE", "GAN"])
def test_memory_of_a_kind_is_that_of_training_it(kind, monkeypatch):
    trained = []
    monkeypatch.setattr(clock, "growth", lambda points: [[points[0][1](torch.rand(8, 784)) or 1]])
    monkeypatch.setattr(
        speed, "training_of", lambda config, x: lambda: trained.append((type(config), len(x)))
    )
    speed.training_memory(kind)
    assert trained == [({"VAE": TrainConfig, "GAN": GANConfig}[kind], 8)]


@pytest.mark.parametrize(("module", "new"), [(training, TrainConfig), (adversarial, GANConfig)])
def test_a_training_is_accelerated_as_in_fit_and_has_all_its_epochs(module, new, monkeypatch):
    inside, seen = [False], []

    class Applied:
        def __enter__(self):
            inside[0] = True

        def __exit__(self, *_):
            inside[0] = False

    monkeypatch.setattr(acceleration, "applied", Applied)
    monkeypatch.setattr(
        module, "train_epoch", lambda model, _, x, **__: seen.append((len(x), inside[0]))
    )
    speed.training_of(new(epochs=3, device="cpu"), torch.rand(64, 784))()
    assert seen == [(64, True)] * 3


def test_table_shows_median_range_and_ratio():
    seconds = {"likelihood": [2.0, 8.0, 4.0], "likelihood: products": [1.0, 2.0, 2.0]}
    _, work, least = (" ".join(line.split()) for line in speed.table(seconds))
    assert work == "likelihood 4.0000 2.0000 to 8.0000 2.00 (2.00 to 4.00)"
    assert least == "likelihood: products 2.0000 1.0000 to 2.0000"


@pytest.fixture(scope="module")
def todo():
    """All tasks, on a few images; the baseline's loaders have the whole of MNIST."""
    return speed.tasks(few_digits())


@pytest.fixture(scope="module")
def seconds(todo):
    """One round of what takes no whole epoch, and two seconds for the rest."""
    quick = {name: task for name, task in todo.items() if not re.search("loading|baseline", name)}
    return {name: [2.0] for name in todo} | clock.interleaved(quick, rounds=1)


def test_every_task_takes_time_and_every_floor_is_one_of_them(todo, seconds):
    assert all(times[0] > 0 for times in seconds.values())
    assert {*speed.FLOORS, *speed.FLOORS.values()} <= todo.keys()


def test_the_floor_makes_as_many_steps_as_an_epoch_has(monkeypatch):
    steps = []
    monkeypatch.setattr(speed, "products_alone", lambda *_, times=1: lambda: steps.append(times))
    todo = speed.tasks(few_digits(train=300))
    for name in ("VAE: products", "VAE: products by F.linear", "GAN: products"):
        todo[name]()
    assert steps == [3, 3, 3]  # of 128, 128 and 44 images


def test_figures_have_keys_for_what_is_quoted(seconds):
    found = speed.figures_of(seconds, threads=2)
    assert found["vae_training_seconds_2"] == seconds["VAE: training"][0]
    assert found["baseline_over_ours_2"] == 2.0 / seconds["VAE: training"][0]
    floor = seconds["GAN: products"][0]
    assert found["gan_training_over_floor_2"] == seconds["GAN: training"][0] / floor


def test_figures_are_written_when_asked_for_under_the_keys_of_the_committed_file(
    todo, seconds, monkeypatch, capsys
):
    written = {}
    monkeypatch.setattr(speed, "training_memory", lambda kind: 40.0)
    monkeypatch.setattr(speed, "tasks", lambda digits: todo)
    monkeypatch.setattr(clock, "interleaved", lambda todo, rounds: seconds)
    monkeypatch.setattr(clock, "write", lambda name, values: written.update({name: values}))
    speed.report(rounds=1, threads=[1, 2])
    assert not written
    speed.report(rounds=1, threads=[1, 2], write=True)
    assert written.keys() == {"bench"}
    assert written["bench"].keys() == clock.read("bench").keys()
    assert "threads: 2" in capsys.readouterr().out


def test_a_study_is_timed_by_one_worker_and_by_one_per_core(monkeypatch, capsys):
    monkeypatch.setattr(clock, "cores", lambda: 4)
    monkeypatch.setattr(speed, "study_seconds", lambda workers: 60.0 / workers)
    speed.report_studies()
    assert capsys.readouterr().out == "one worker 60 s, one per core 15 s: ratio 4.00\n"
