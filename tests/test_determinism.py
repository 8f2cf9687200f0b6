"""The contract: same configuration, machine and thread count give the same bits, however often
the run was interrupted and whatever else its process has done."""

import json
from dataclasses import replace

import pytest
import torch

from vae_helpers import PROJECT, acceleration, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import clock, thread_effects
from vae_helpers.store import runs
from vae_helpers.training import SNAPSHOT_EPOCHS, TrainConfig

VAE = TrainConfig(epochs=4, batch_size=64, hidden_dims=(32, 16))
CONFIGS = {
    "VAE": VAE,
    "VAE, black and white": replace(VAE, binarize="dynamic"),
    "VAE, importance-weighted": replace(VAE, loss="iwae", z_samples=2),
    "GAN": GANConfig(epochs=4, batch_size=64, hidden_dims=(32, 16)),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def small(digits):
    return digits.first(500, 100)


def fit(config, data):
    return training.train(
        config.trainer(data), epochs=config.epochs, snapshot_epochs=SNAPSHOT_EPOCHS
    )


def assert_same_bits(ours, other):
    assert ours.history == other.history
    assert ours.weights.keys() == other.weights.keys()
    for epoch, weights in ours.weights.items():
        for name, tensor in weights.items():
            assert torch.equal(tensor, other.weights[epoch][name]), (epoch, name)


def test_a_run_is_the_same_to_the_bit_whatever_the_process_has_drawn_before(config, small):
    ours = fit(config, small)
    torch.manual_seed(12345)
    torch.rand(1000)
    fit(replace(config, seed=9, epochs=1), small)
    assert_same_bits(ours, fit(config, small))


def test_a_run_stopped_after_every_epoch_is_the_same_to_the_bit(config, small, tmp_path):
    for epochs in range(1, config.epochs + 1):
        torch.manual_seed(epochs)
        again = runs.fit(replace(config, epochs=epochs), small, tmp_path)
    assert_same_bits(fit(config, small), again)
    assert len(list(tmp_path.glob("*/run.json"))) == 1  # it was one run, continued


IN_ANOTHER_PROCESS = """
import json, sys
import torch
from vae_helpers import adversarial, training
from vae_helpers.data import load_mnist

torch.set_num_threads(1)
digits = load_mnist().first(500, 100)
found = {}
for kind, module, config in (
    ("VAE", training, training.TrainConfig(epochs=4, batch_size=64, hidden_dims=(32, 16))),
    ("GAN", adversarial, adversarial.GANConfig(epochs=4, batch_size=64, hidden_dims=(32, 16))),
):
    fit = module.fit(config, digits, show_progress=False)
    weights = {name: tensor.tolist() for name, tensor in fit.weights[4].items()}
    found[kind] = [fit.history, weights]
json.dump(found, sys.stdout)
"""


def test_another_process_gets_the_same_bits(small, warm_python):
    done = warm_python.run(IN_ANOTHER_PROCESS, folder=PROJECT, env={"PATH": ""})
    assert done.returncode == 0, done.stderr
    for kind, (history, weights) in json.loads(done.stdout).items():
        ours = fit(CONFIGS[kind], small)
        assert history == ours.history
        assert weights == {name: tensor.tolist() for name, tensor in ours.weights[4].items()}


def test_the_difference_is_zero_only_between_equal_bits(config, small):
    ours = fit(config, small)
    assert thread_effects.difference(ours, fit(config, small)) == (0.0, 0.0)
    history, weights = thread_effects.difference(ours, fit(replace(config, seed=1), small))
    assert history > 1e-4
    assert weights > 1e-4
    last = {name: tensor.clone() for name, tensor in ours.weights[4].items()}
    first = next(iter(last.values()))
    first.flatten()[0] += 2 * first.abs().max()  # by twice the largest
    moved = replace(ours, weights={**ours.weights, 4: last})
    assert thread_effects.difference(ours, moved) == (0.0, pytest.approx(2.0, rel=1e-6))


def test_another_number_of_threads_moves_a_few_steps_by_rounding_at_most(config, small):
    few, one_epoch = small.first(192, 100), replace(config, epochs=1)
    with acceleration.threads(1):
        one = fit(one_epoch, few)
    with acceleration.threads(2):
        two = fit(one_epoch, few)
    history, weights = thread_effects.difference(one, two)
    assert history < 1e-5
    assert weights < 1e-2  # biases before batch norm: see vae_helpers.benchmarks.thread_effects


def test_fits_of_unequal_length_have_no_difference(small):
    config = CONFIGS["GAN"]
    ours, other = fit(config, small), fit(replace(config, epochs=1), small)
    with pytest.raises(ValueError, match="expected fits of the same number of epochs, got 4 and 1"):
        thread_effects.difference(ours, other)


def test_the_measured_effects_are_committed_with_the_machine_they_were_measured_on():
    values = clock.read("thread_effects")
    assert values["threads"] >= 2
    for kind in ("vae", "gan"):
        assert values[f"{kind}_again_history"] == values[f"{kind}_again_weights"] == 0.0
        assert f"{kind}_threads_history" in values
