"""The contract: same configuration, machine and thread count give the same bits, however often
the run was interrupted and whatever else its process has done."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from vae_helpers import PROJECT, adversarial, drift, training

CONFIGS = {
    "VAE": (training, training.TrainConfig(epochs=4, batch_size=64, hidden_dims=(32, 16))),
    "VAE, black and white": (
        training,
        training.TrainConfig(epochs=4, batch_size=64, hidden_dims=(32,), binarize="dynamic"),
    ),
    "GAN": (adversarial, adversarial.GANConfig(epochs=4, batch_size=64, hidden_dims=(32, 16))),
}


@pytest.fixture(params=CONFIGS)
def case(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def small(digits):
    return digits.first(500, 100)


def assert_same_bits(ours, other):
    assert ours.history == other.history
    assert ours.weights.keys() == other.weights.keys()
    for epoch, weights in ours.weights.items():
        for name, tensor in weights.items():
            assert torch.equal(tensor, other.weights[epoch][name]), (epoch, name)


def test_a_run_is_the_same_to_the_bit_whatever_the_process_has_drawn_before(case, small):
    module, config = case
    ours = module.fit(config, small)
    torch.manual_seed(12345)
    torch.rand(1000)
    module.fit(dataclasses.replace(config, seed=9, epochs=1), small)
    assert_same_bits(ours, module.fit(config, small))


def test_a_run_stopped_after_every_epoch_is_the_same_to_the_bit(case, small, tmp_path):
    module, config = case
    for epochs in range(1, config.epochs):
        torch.manual_seed(epochs)
        module.fit(dataclasses.replace(config, epochs=epochs), small, tmp_path)
    again = module.fit(config, small, tmp_path)
    assert_same_bits(module.fit(config, small, tmp_path / "whole"), again)
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


def test_another_process_gets_the_same_bits(small):
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=PROJECT,
        env={"PATH": "", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    for kind, (history, weights) in found.items():
        module, config = CONFIGS[kind]
        ours = module.fit(config, small)
        assert history == ours.history
        assert weights == {name: tensor.tolist() for name, tensor in ours.weights[4].items()}


def test_the_drift_is_zero_only_between_equal_bits(case, small):
    module, config = case
    ours = module.fit(config, small)
    assert drift.difference(ours, module.fit(config, small)) == (0.0, 0.0)
    history, weights = drift.difference(
        ours, module.fit(dataclasses.replace(config, seed=1), small)
    )
    assert history > 1e-4
    assert weights > 1e-4
    last = {name: tensor.clone() for name, tensor in ours.weights[4].items()}
    first = next(iter(last.values()))
    first.flatten()[0] += 2 * first.abs().max()  # by twice the largest
    moved = dataclasses.replace(ours, weights={**ours.weights, 4: last})
    assert drift.difference(ours, moved) == (0.0, pytest.approx(2.0, rel=1e-6))


def test_another_number_of_threads_moves_a_few_steps_by_rounding_at_most(case, small):
    module, config = case
    few, one_epoch = small.first(192, 100), dataclasses.replace(config, epochs=1)
    with drift.threads(1):
        one = module.fit(one_epoch, few)
    with drift.threads(2):
        two = module.fit(one_epoch, few)
    history, weights = drift.difference(one, two)
    assert history < 1e-5
    assert weights < 1e-2  # biases before batch norm: see vae_helpers.drift


def test_fits_of_unequal_length_have_no_drift(small):
    module, config = CONFIGS["GAN"]
    with pytest.raises(ValueError, match="expected fits of as many epochs, got 4 and 1"):
        drift.difference(
            module.fit(config, small), module.fit(dataclasses.replace(config, epochs=1), small)
        )


def test_the_measured_drift_is_committed_with_the_machine_it_was_measured_on():
    values = json.loads(drift.MEASURED.read_text())["values"]
    assert values["threads"]["value"] >= 2
    for kind in ("vae", "gan"):
        assert values[f"{kind}_again_history"]["value"] == 0.0
        assert values[f"{kind}_again_weights"]["value"] == 0.0
        assert f"{kind}_threads_history" in values
