"""A training whose numbers are no longer finite is stopped, and says where."""

import dataclasses
import math

import pytest
import torch

from vae_helpers import adversarial, divergence, training
from vae_helpers.divergence import DivergedError


def test_sums_are_those_of_python_in_double_precision():
    steps = list(torch.randn(469, 2, generator=torch.Generator().manual_seed(1)) * 1e4)
    expected = [0.0, 0.0]
    for step in steps:
        expected = [total + number for total, number in zip(expected, step.tolist(), strict=True)]
    assert divergence.add_up(steps, ("a", "b"), epoch=1).tolist() == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_number_that_is_not_finite_is_named(value):
    steps = [torch.ones(2) for _ in range(5)]
    steps[3] = torch.tensor([1.0, value])
    steps[4] = torch.tensor([math.nan, math.nan])
    with pytest.raises(
        DivergedError, match=f"epoch 7, step 4 of 5: expected a finite kl, got {value}"
    ):
        divergence.add_up(steps, ("bce", "kl"), epoch=7)


def test_numbers_and_weights_that_are_not_finite_are_refused_by_name():
    divergence.check({"loss": 1.0}, {"w": torch.ones(3)}, epoch=2)
    with pytest.raises(DivergedError, match="epoch 2: expected a finite loss, got inf"):
        divergence.check({"loss": math.inf}, {}, epoch=2)
    with pytest.raises(DivergedError, match=r"epoch 2, after.*weights, got head\.bias with 1 that"):
        divergence.check({}, {"head.bias": torch.tensor([0.0, math.nan])}, epoch=2)


@pytest.fixture
def small(digits):
    return digits.first(256, 64)


SGD = training.TrainConfig(
    epochs=3, batch_size=64, hidden_dims=(16,), latent_dim=2, optimizer="sgd", learning_rate=10.0
)


def test_a_diverging_vae_stops_with_epoch_step_and_term_and_what_to_do(small):
    with pytest.raises(
        DivergedError, match=r"epoch \d, step \d of 4: expected a finite (bce|kl).*learning_rate"
    ):
        training.fit(SGD, small)


@pytest.mark.parametrize("kind", ["VAE", "GAN"])
def test_the_epochs_before_are_kept_and_no_checkpoint_is_of_a_diverged_one(
    kind, small, tmp_path, monkeypatch
):
    module, config = {
        "VAE": (training, dataclasses.replace(SGD, learning_rate=1e-3)),
        "GAN": (adversarial, adversarial.GANConfig(epochs=3, batch_size=64, hidden_dims=(16,))),
    }[kind]
    whole = module.fit(config, small, None)
    real = module.train_epoch

    def poisoned(model, optimizer, images, *, config, epoch):
        if epoch == 3:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)
        return real(model, optimizer, images, config=config, epoch=epoch)

    monkeypatch.setattr(module, "describe", lambda config, data: {"key": "poisoned"})
    monkeypatch.setattr(module, "train_epoch", poisoned)
    with pytest.raises(DivergedError, match=r"epoch 3, step 1 of 4.*2 epochs before are kept in"):
        module.fit(config, small, tmp_path)
    monkeypatch.setattr(module, "train_epoch", real)
    assert module.fit(config, small, tmp_path).history == whole.history


def test_weights_that_break_in_the_last_step_are_not_kept(small, tmp_path, monkeypatch):
    config = adversarial.GANConfig(epochs=1, batch_size=64, hidden_dims=(16,))
    real = adversarial.train_epoch

    def poisoned(model, *arguments, **named):
        step = real(model, *arguments, **named)
        with torch.no_grad():
            next(model.parameters()).fill_(math.inf)
        return step

    monkeypatch.setattr(adversarial, "train_epoch", poisoned)
    with pytest.raises(DivergedError, match="epoch 1, after its last step: expected finite"):
        adversarial.fit(config, small, tmp_path)
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("seconds.json"))
