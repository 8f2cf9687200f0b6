"""What the benchmark measures, and how it reports it."""

import pickle
import re
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import acceleration, adversarial, gradients, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import clock, rivals, speed
from vae_helpers.training import TrainConfig


@pytest.mark.parametrize("kind", ["VAE", "GAN"])
def test_memory_of_a_kind_is_that_of_training_it(kind, monkeypatch):
    trained = []

    def growth(points):
        [(images, work)] = pickle.loads(pickle.dumps(points))  # as it goes to another process
        work(torch.rand(images, 784))
        return [[40.0]]

    monkeypatch.setattr(clock, "growth", growth)
    monkeypatch.setattr(
        speed, "training_of", lambda config, x: lambda: trained.append((type(config), len(x)))
    )
    assert speed.training_memory(kind, images=8) == 40.0
    assert trained == [({"VAE": TrainConfig, "GAN": GANConfig}[kind], 8)]


@pytest.mark.parametrize(("module", "new"), [(training, TrainConfig), (adversarial, GANConfig)])
@pytest.mark.parametrize("choice", ["auto", "off"])
def test_a_training_is_accelerated_as_in_fit_and_has_all_its_epochs(
    module, new, choice, monkeypatch
):
    inside, seen = [None], []

    @contextmanager
    def applied(choice="auto"):
        inside[0] = choice
        yield
        inside[0] = None

    monkeypatch.setattr(acceleration, "applied", applied)
    monkeypatch.setattr(
        module, "train_epoch", lambda model, _, x, **__: seen.append((len(x), inside[0]))
    )
    config = new(epochs=3, device="cpu", acceleration=choice)
    speed.training_of(config, torch.rand(64, 784))()
    assert seen == [(64, choice)] * 3


def test_a_training_takes_the_step_of_fit_or_the_one_that_is_asked_for(monkeypatch):
    taken, x = [], torch.rand(64, 784)
    config = TrainConfig(epochs=1, device="cpu")
    monkeypatch.setattr(training, "train_epoch", lambda *_, step, **__: taken.append(step))
    speed.training_of(config, x)()
    speed.training_of(config, x, step=training.train_step)()
    speed.training_of(replace(config, acceleration="off"), x)()
    assert taken == [gradients.train_step, training.train_step, training.train_step]


def test_table_shows_medians_ranges_and_the_ratios_of_what_took_part():
    seconds = {"likelihood": [2.0, 8.0, 4.0], "likelihood: products": [1.0, 2.0, 2.0]}
    _, work, least, empty, *ratios = (" ".join(it.split()) for it in speed.table(seconds))
    assert work == "likelihood 4.0000 2.0000 to 8.0000"
    assert least == "likelihood: products 2.0000 1.0000 to 2.0000"
    assert not empty
    assert ratios == ["likelihood / likelihood: products: 2.00 (2.00 to 4.00)"]


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
    optional = {*rivals.NEEDED, "VAE: compiled"}
    assert {name for pair in speed.COMPARED.values() for name in pair} - optional <= todo.keys()
    assert {name for pair in speed.COMPARED.values() for name in pair} >= optional


def test_the_floor_makes_as_many_steps_as_an_epoch_has(monkeypatch):
    steps = []
    monkeypatch.setattr(speed, "products_alone", lambda *_, times=1: lambda: steps.append(times))
    todo = speed.tasks(few_digits(train=300))
    for name in ("VAE: products", "VAE: products by oneDNN", "GAN: products"):
        todo[name]()
    assert steps == [3, 3, 3]  # of 128, 128 and 44 images


def test_figures_have_keys_for_what_is_quoted(seconds):
    found = speed.figures_of(seconds, threads=2)
    assert found["vae_training_seconds_2"] == seconds["VAE: training"][0]
    assert found["over_baseline_2"] == seconds["VAE: training"][0] / 2.0
    floor = seconds["GAN: products"][0]
    assert found["gan_over_floor_2"] == seconds["GAN: training"][0] / floor
    assert "over_jax_scan_2" not in found


def test_figures_are_written_when_asked_for_under_the_keys_of_the_committed_file(
    todo, seconds, monkeypatch, capsys
):
    written = {}
    monkeypatch.setattr(speed, "training_memory", lambda kind: 40.0)
    monkeypatch.setattr(speed, "tasks", lambda digits, compiled: todo)
    monkeypatch.setattr(rivals, "installed", list)
    monkeypatch.setattr(clock, "interleaved", lambda todo, rounds: seconds)
    monkeypatch.setattr(clock, "write", lambda name, values: written.update({name: values}))
    speed.report(rounds=1, threads=[1, 2])
    assert not written
    speed.report(rounds=1, threads=[1, 2], write=True)
    assert written.keys() == {"bench"}
    assert written["bench"].keys() <= clock.read("bench").keys()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    speed.report(rounds=1, threads=[1], write=True)
    assert written["bench_avx2"].keys() <= clock.read("bench_avx2").keys()
    assert "threads: 2" in capsys.readouterr().out
