"""The methods by name: each a configuration whose training gives what can be sampled."""

from dataclasses import fields

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import training
from vae_helpers.methods import METHODS
from vae_helpers.parameters import RULES

TINY = {"batch_size": 10, "hidden_dims": (5,), "latent_dim": 3, "device": "cpu"}


def test_methods_are_those_that_a_parameter_may_name_besides_real_images():
    assert {*METHODS, "images"} == set(RULES["model"].words)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("vae", ["train_bce", "train_kl", "train_loss", "test_bce", "test_kl", "test_loss"]),
        ("gan", ["d_loss", "g_loss", "d_real", "d_fake"]),
        ("wgan", ["difference", "penalty"]),
        ("conv_vae", ["train_bce", "train_kl", "train_loss", "test_bce", "test_kl", "test_loss"]),
        ("conv_gan", ["d_loss", "g_loss", "d_real", "d_fake"]),
    ],
)
def test_each_method_trains_its_own_numbers_and_gives_a_model_that_can_be_sampled(name, numbers):
    sizes = {key: it for key, it in TINY.items() if "conv" not in name or key != "hidden_dims"}
    fit = training.train(METHODS[name](**sizes).trainer(few_digits(train=50)), epochs=1)
    assert list(fit.history[0]) == ["epoch", *numbers]
    images = fit.model.sample(4, torch.Generator().manual_seed(0))
    assert images.shape == (4, 784)
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("name", ["vae", "gan", "wgan"])
def test_the_options_of_the_networks_are_there_for_each_method(name):
    names = {field.name for field in fields(METHODS[name])}
    assert {"batch_norm", "slope", "dropout", "beta1"} <= names
