"""Decoders as plain matrices: what is packed decodes as the network itself does."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn.functional import leaky_relu, linear

from vae_helpers.course.decoders import packed, unpacked
from vae_helpers.models import VAE, Generator

ROUNDING = 1e-5


def used_generator(**settings):
    """A generator whose batch normalisation has running statistics and weights of its own."""
    network = Generator(**settings)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
    return network


def decode(layers, z, *, slope):
    """`z` `[B, D]` to images `[B, 784]` in [0, 1]: what the page does, in PyTorch."""
    *hidden, last = layers
    for layer in hidden:
        z = leaky_relu(linear(z, *layer), slope)
    return torch.sigmoid(linear(z, *last))


def largest_difference(network, z):
    """Between the images of the packed decoder, written to a file and read, and the network's."""
    layers, slope = unpacked(load(save(packed(network, {}))))
    with torch.no_grad():
        images = torch.sigmoid(network.decode(z)) if isinstance(network, VAE) else network(z)
    return (decode(layers, z, slope=slope) - images).abs().max()


@pytest.mark.parametrize(
    ("hidden", "latent", "pixels"), [((400, 200), 20, 784), ((400, 200), 2, 784), ((7,), 3, 11)]
)
def test_a_packed_vae_decodes_as_the_vae(hidden, latent, pixels):
    network = VAE(hidden, latent, pixels)
    for parameter in network.parameters():
        parameter.data *= 3  # so that pixels are not all near one half
    assert largest_difference(network, torch.randn(100, latent)) < ROUNDING


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_packed_generator_draws_as_in_evaluation_mode(batch_norm, slope):
    network = used_generator(batch_norm=batch_norm, slope=slope).eval()
    assert largest_difference(network, torch.randn(100, 20)) < ROUNDING


def test_a_generator_is_packed_alike_in_training_mode_and_left_in_it():
    network = used_generator()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    in_training = packed(network.train(), {})
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    in_evaluation = packed(network.eval(), {})
    assert all(torch.equal(value, in_evaluation[name]) for name, value in in_training.items())


def test_what_is_packed_is_the_layers_in_order_their_slope_and_the_extras():
    extras = {"kl": torch.rand(20), "labels": torch.arange(10, dtype=torch.uint8)}
    tensors = packed(used_generator(), extras)
    assert {name: (value.dtype, list(value.shape)) for name, value in tensors.items()} == {
        "0.weight": (torch.float32, [200, 20]),
        "0.bias": (torch.float32, [200]),
        "1.weight": (torch.float32, [400, 200]),
        "1.bias": (torch.float32, [400]),
        "2.weight": (torch.float32, [784, 400]),
        "2.bias": (torch.float32, [784]),
        "slope": (torch.float32, [1]),
        "kl": (torch.float32, [20]),
        "labels": (torch.uint8, [10]),
    }
    assert tensors["slope"].item() == pytest.approx(0.2)
    assert all(tensors[name] is extra for name, extra in extras.items())
    assert packed(VAE(), {})["slope"].item() == 0


def test_another_activation_is_refused_by_name():
    with pytest.raises(ValueError, match=r'ReLUs, got Tanh; .*activation="relu"') as refusal:
        packed(VAE(activation="tanh"), {})
    assert str(refusal.value).startswith("network: expected")


def test_an_extra_cannot_take_the_place_of_a_layer():
    with pytest.raises(ValueError, match=r"names of their own, got \['1.bias'\]") as refusal:
        packed(VAE(), {"1.bias": torch.zeros(3)})
    assert str(refusal.value).startswith("extras: expected")


@pytest.mark.parametrize("name", ["0.weight", "1.weight", "2.weight", "1.bias", "slope"])
def test_a_missing_tensor_is_noticed(name):
    tensors = packed(VAE(), {})
    del tensors[name]
    with pytest.raises(ValueError, match=r"expected 0\.weight, .* and slope, got") as refusal:
        unpacked(tensors)
    assert name not in str(refusal.value).split("got")[1]


@pytest.mark.parametrize("name", ["1.weight", "0.bias", "2.bias"])
def test_layers_that_do_not_fit_are_noticed(name):
    tensors = packed(VAE(), {})
    tensors[name] = tensors[name][..., 1:]
    with pytest.raises(ValueError, match=r"each as wide as the next one's input, got") as refusal:
        unpacked(tensors)
    assert str(list(tensors[name].shape)) in str(refusal.value)
