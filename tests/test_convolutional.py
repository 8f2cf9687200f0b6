"""Convolutional networks, against products of unfolded patches and PyTorch's own optimiser."""

import copy
from dataclasses import fields

import pytest
import torch
from torch import nn, optim
from toy_digits import few_digits

from vae_helpers import measures
from vae_helpers.adversarial import GANConfig
from vae_helpers.convolutional import (
    ConvConfig,
    ConvDiscriminator,
    ConvGANConfig,
    ConvGenerator,
    ConvVAE,
)
from vae_helpers.objective import elbo
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import new_rng
from vae_helpers.store import runs
from vae_helpers.training import TrainConfig, train

SMALL = {"batch_size": 8, "latent_dim": 3, "device": "cpu", "acceleration": "off"}
CONFIGS = (ConvConfig(**SMALL), ConvGANConfig(**SMALL))


def as_matrix(layer, side):
    """A convolution `[in, side, side]` to `[out, side / 2, side / 2]` as a matrix, from its rule.

    Output (r, c) sees the 4 x 4 pixels whose first is (2 r - 1, 2 c - 1); outside there are zeros.
    """
    out, into, size, _ = layer.weight.shape
    half = side // 2
    matrix = torch.zeros(out, half, half, into, side, side, dtype=torch.float64)
    for r in range(half):
        for c in range(half):
            for i in range(size):
                for j in range(size):
                    y, x = 2 * r - 1 + i, 2 * c - 1 + j
                    if 0 <= y < side and 0 <= x < side:
                        matrix[:, r, c, :, y, x] = layer.weight[:, :, i, j].double()
    return matrix.flatten(3).flatten(0, 2)


@torch.no_grad()
def test_encoder_is_two_convolutions_that_halve_the_sides():
    vae, x = ConvVAE(3), torch.rand(2, 784)
    first, second = (it for it in vae.encoder if isinstance(it, nn.Conv2d))
    hidden = x.double() @ as_matrix(first, 28).T + first.bias.double().repeat_interleave(196)
    hidden = hidden.relu() @ as_matrix(second, 14).T + second.bias.double().repeat_interleave(49)
    hidden = hidden.relu()
    mu, logvar = vae.encode(x)
    for found, head in ((mu, vae.to_mu), (logvar, vae.to_logvar)):
        expected = hidden @ head.weight.double().T + head.bias.double()
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_decoder_spreads_by_the_transposes_of_such_convolutions():
    vae, z = ConvVAE(3), torch.randn(2, 3)
    first, last = vae.decoder[3], vae.to_logits
    hidden = (z @ vae.decoder[0].weight.T + vae.decoder[0].bias).relu().double()
    # a transposed convolution has its weights the other way round, and so its matrix
    hidden = (hidden @ as_matrix(first, 14) + first.bias.double().repeat_interleave(196)).relu()
    expected = hidden @ as_matrix(last, 28) + last.bias.double()
    torch.testing.assert_close(vae.decode(z).double(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_several_samples_per_image_are_decoded_as_each_of_them():
    vae, z = ConvVAE(3), torch.randn(4, 5, 3)
    torch.testing.assert_close(vae.decode(z), torch.stack([vae.decode(one) for one in z]))
    torch.testing.assert_close(vae.decode(z[0, 0]), vae.decode(z)[0, 0])


def test_convolutions_need_far_fewer_weights_than_the_study_s_network():
    count = sum(weights.numel() for weights in ConvVAE().parameters())
    taps, code = 4 * 4, 32 * 7 * 7
    encoder = (taps + 1) * 16 + (16 * taps + 1) * 32
    decoder = (32 * taps * 16 + 16) + (16 * taps + 1)
    assert count == encoder + 2 * (code + 1) * 20 + (20 + 1) * code + decoder == 112_649


def test_one_epoch_of_the_vae_is_adam_on_the_gradients_of_the_loss():
    data, config = few_digits(train=8, test=2), CONFIGS[0]
    trainer = config.trainer(data)
    own = copy.deepcopy(trainer.model)
    adam = optim.Adam(own.parameters(), lr=1e-3)
    x = data.train_images[torch.randperm(8, generator=new_rng(0, "order", epoch=1))]
    eps = torch.randn(8, 3, generator=new_rng(0, "noise", epoch=1))
    elbo(own(x, eps), x)["loss"].mean().backward()
    adam.step()
    found = trainer.epoch(1)
    assert found["train_loss"] == pytest.approx(
        elbo(own_before(config, data)(x, eps), x)["loss"].mean().item(), rel=1e-4
    )
    for mine, theirs in zip(own.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def own_before(config, data):
    return config.trainer(data).model


@pytest.mark.parametrize("config", CONFIGS, ids=["vae", "gan"])
def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(config):
    data = few_digits(train=20, test=2)
    whole, first, second = (config.trainer(data) for _ in range(3))
    for number in (1, 2):
        whole.epoch(number)
    first.epoch(1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.epoch(2)
    torch.testing.assert_close(
        dict(second.model.state_dict()), dict(whole.model.state_dict()), rtol=0, atol=0
    )


@pytest.mark.parametrize("config", CONFIGS, ids=["vae", "gan"])
def test_an_epoch_moves_every_weight_of_the_networks(config):
    trainer = config.trainer(few_digits(train=20, test=2))
    before = copy.deepcopy(dict(trainer.model.named_parameters()))
    trainer.epoch(1)
    assert all((it != before[name]).any() for name, it in trainer.model.named_parameters())


@pytest.mark.parametrize("config", CONFIGS, ids=["vae", "gan"])
def test_initial_weights_follow_the_seed_alone(config):
    data = few_digits()
    weights = [
        torch.cat([it.flatten() for it in made.trainer(data).model.parameters()])
        for made in (
            config,
            type(config)(**SMALL, learning_rate=0.5),
            type(config)(**SMALL, seed=1),
        )
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_generator_gives_images_and_discriminator_a_logit_each():
    generator, discriminator = ConvGenerator(3), ConvDiscriminator()
    images = generator(torch.randn(5, 3))
    assert images.shape == (5, 784)
    assert 0 < images.min() < images.max() < 1
    assert discriminator(images).shape == (5,)


@pytest.mark.parametrize(("batch_norm", "channels"), [(True, [32, 16]), (False, [])])
def test_channels_are_normalised_if_that_is_asked_for(batch_norm, channels):
    generator = ConvGenerator(3, batch_norm=batch_norm)
    found = [it.num_features for it in generator.hidden if isinstance(it, nn.BatchNorm2d)]
    assert found == channels


def test_dropout_and_slope_reach_every_hidden_layer():
    discriminator, generator = ConvDiscriminator(dropout=0.3, slope=0.1), ConvGenerator(slope=0.1)
    layers = [*discriminator.hidden, *generator.hidden]
    slopes = [it.negative_slope for it in layers if isinstance(it, nn.LeakyReLU)]
    assert slopes == [0.1] * 4
    assert [it.p for it in layers if isinstance(it, nn.Dropout)] == [0.3, 0.3]


def test_settings_of_the_configuration_reach_both_networks():
    config = ConvGANConfig(**SMALL, batch_norm=False, slope=0.05, dropout=0.6)
    model = config.trainer(few_digits()).model
    assert not any(isinstance(it, nn.BatchNorm2d) for it in model.generator.modules())
    assert {it.negative_slope for it in model.modules() if isinstance(it, nn.LeakyReLU)} == {0.05}
    assert {it.p for it in model.modules() if isinstance(it, nn.Dropout)} == {0.6}


def test_dead_channels_are_counted_unit_by_unit(digits):
    config = ConvGANConfig(**SMALL, batch_norm=False, slope=0.0)
    model = config.trainer(few_digits()).model.eval()
    with torch.no_grad():
        model.generator.hidden[0].bias[:49] = -1e6  # the first channel of 32, in all 7 x 7 places
    subject = measures.Subject(
        digits.test_images[:10], digits.test_images, digits.train_images, {}, {}, model
    )
    found = measures.units(subject)["dead_generator_units"]
    first, second = model.generator.hidden[:4], model.generator.hidden
    with torch.no_grad():
        z = torch.randn(1_000, 3, generator=new_rng(0, "units"))
        largest = torch.cat([half(z).flatten(1).max(dim=0).values for half in (first, second)])
    assert largest.shape == (32 * 49 + 16 * 196,)
    assert (largest[:49] == 0).all()
    assert found == pytest.approx((largest == 0).double().mean().item())
    assert 0 < found < 1


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (ConvConfig, "hidden_dims", (5,)),
        (ConvConfig, "activation", "tanh"),
        (ConvConfig, "batch_norm", True),
        (ConvConfig, "slope", 0.2),
        (ConvConfig, "dropout", 0.3),
        (ConvGANConfig, "hidden_dims", (5,)),
    ],
)
def test_what_shapes_a_fully_connected_network_is_refused(config, field, value):
    with pytest.raises(
        ParameterError, match=rf"{field}: expected .* a convolutional network .* got"
    ):
        config(**{field: value})


def test_fields_are_those_of_the_fully_connected_methods():
    for convolutional, connected in ((ConvConfig, TrainConfig), (ConvGANConfig, GANConfig)):
        defaults = [
            {it.name: it.default for it in fields(kind)} for kind in (convolutional, connected)
        ]
        assert defaults[0] == defaults[1]


@pytest.mark.parametrize("config", CONFIGS, ids=["vae", "gan"])
def test_a_run_is_kept_and_not_taken_for_that_of_a_fully_connected_network(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(runs, "RUNS", tmp_path, raising=False)
    data = few_digits(train=20, test=2)
    connected = (TrainConfig if isinstance(config, ConvConfig) else GANConfig)(**SMALL)
    keys = {runs.describe(it, data)["key"] for it in (config, connected)}
    assert len(keys) == 2


def test_a_few_epochs_bring_the_loss_down(digits):
    config = ConvConfig(epochs=2, device="cpu", batch_size=20)
    fit = train(config.trainer(digits.first(200, 50)), epochs=2)
    assert fit.history[1]["test_loss"] < 0.8 * 543
