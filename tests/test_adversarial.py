"""Steps, epochs and fits of the GAN against computations written out by hand."""

import copy
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn
from toy_digits import few_digits

from vae_helpers import adversarial
from vae_helpers.adversarial import (
    GANConfig,
    Optimizers,
    discriminator_step,
    fit,
    generator_step,
    new_model,
    new_optimizers,
    train_epoch,
    train_step,
)
from vae_helpers.data import Digits
from vae_helpers.models import GAN, Discriminator, Generator
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import new_rng

CONFIG = GANConfig(
    epochs=4,
    batch_size=16,
    learning_rate=2e-4,
    beta1=0.5,
    latent_dim=3,
    hidden_dims=(16, 8),
    batch_norm=True,
    slope=0.2,
    dropout=0.3,
    real_label=1.0,
    device="cpu",
)
STILL = replace(CONFIG, batch_size=4, learning_rate=1e-8, dropout=0.0, batch_norm=False)
"""A run whose networks hardly move, so that its numbers are those of the first weights."""


@pytest.fixture
def data():
    """Forty training images: two mini-batches of 16 and one of 8."""
    return few_digits(train=40)


@pytest.fixture
def double():
    """Everything in double precision: weights, images and noise."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def descent(network, learning_rate=0.1):
    return torch.optim.SGD(network.parameters(), lr=learning_rate)


def state(network):
    """Parameters, statistics and gradients of a network, as they are now."""
    gradients = {f"{name}.grad": p.grad for name, p in network.named_parameters()}
    return copy.deepcopy({**network.state_dict(), **gradients})


def assert_same(found, expected):
    """Two dictionaries hold the same bits, or None in the same places."""
    assert found.keys() == expected.keys()
    for name in found:
        ours, theirs = found[name], expected[name]
        assert (ours is None) == (theirs is None), name
        assert ours is None or torch.equal(ours, theirs), name


def assert_moved(found, expected):
    """No parameter of a network is as it was."""
    for name in (name for name in found if f"{name}.grad" in found):
        assert not torch.equal(found[name], expected[name]), name


def unlike(n):
    """`n` images from black to white: the mean over some of them is not the mean over all."""
    return torch.linspace(0, 1, n)[:, None] * torch.linspace(0.5, 1, 784)


# The configuration


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("epochs", 0, "the nearest valid value is 1"),
        ("batch_size", 2.5, "expected a whole number"),
        ("learning_rate", 0.0, "the nearest valid value is 1e-08"),
        ("beta1", 1.0, "the nearest valid value is 0.9999"),
        ("latent_dim", 0, "the nearest valid value is 1"),
        ("hidden_dims", (), "expected a list of numbers"),
        ("batch_norm", 1, "expected True or False, got 1"),
        ("slope", -0.1, "the nearest valid value is 0"),
        ("dropout", 1.0, "the nearest valid value is 0.95"),
        ("real_label", 0.4, "the nearest valid value is 0.5"),
        ("real_label", 1.1, "the nearest valid value is 1"),
        ("seed", -1, "the nearest valid value is 0"),
        ("dataset", "MINST", "did you mean 'MNIST'?"),
        ("device", "cuda:0", "did you mean 'cuda'?"),
    ],
)
def test_config_refuses_a_wrong_value_with_its_field_and_a_valid_one(field, value, says):
    with pytest.raises(ParameterError) as caught:
        GANConfig(**{field: value})
    assert str(caught.value).startswith(f"{field}: ")
    assert says in str(caught.value)


def test_default_config_is_the_one_that_was_chosen_on_held_out_images():
    config = GANConfig()
    assert (config.epochs, config.batch_size, config.learning_rate) == (30, 128, 2e-3)
    assert (config.beta1, config.dropout, config.slope) == (0.5, 0.3, 0.2)
    assert (config.batch_norm, config.real_label) == (True, 1.0)
    assert (config.latent_dim, config.hidden_dims) == (20, (400, 200))


def test_config_turns_numbers_and_lists_into_its_own_types():
    config = GANConfig(dropout=0, hidden_dims=[50])
    assert config == GANConfig(dropout=0.0, hidden_dims=(50,))
    assert isinstance(config.dropout, float)
    assert isinstance(config.hidden_dims, tuple)


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    with pytest.raises(FrozenInstanceError):
        CONFIG.epochs = 0


def test_networks_are_those_of_the_configuration():
    model = new_model(replace(CONFIG, slope=0.1, dropout=0.25, batch_norm=False))
    for network, widths in ((model.generator, [8, 16, 784]), (model.discriminator, [16, 8, 1])):
        linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
        assert [layer.out_features for layer in linear] == widths
        leaky = [layer for layer in network.modules() if isinstance(layer, nn.LeakyReLU)]
        assert [layer.negative_slope for layer in leaky] == [0.1, 0.1]
    assert model.generator.latent_dim == 3
    dropout = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert dropout == [0.25, 0.25]
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules())
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in new_model(CONFIG).modules())


def test_initial_weights_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (
        nn.utils.parameters_to_vector(new_model(config).parameters())
        for config in (CONFIG, replace(CONFIG, dropout=0.0), replace(CONFIG, seed=1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_two_steps_of_a_network_are_those_of_adam_with_its_betas(network):
    config = replace(CONFIG, learning_rate=0.01, beta1=0.3)
    model = new_model(config)
    optimizer = getattr(new_optimizers(config, model), network)
    weights = list(getattr(model, network).parameters())
    start = weights[0].detach().clone()
    for slope in (1.0, -2.0):
        for weight in weights:
            weight.grad = torch.full_like(weight, slope)
        optimizer.step()
    # Kingma & Ba 2015, algorithm 1, with gradients 1 and -2.
    mean = 0.3 * 0.7 * 1 + 0.7 * -2
    square = 0.999 * 0.001 * 1 + 0.001 * 4
    second = mean / (1 - 0.3**2) / (square / (1 - 0.999**2)) ** 0.5
    torch.testing.assert_close(start - weights[0], torch.full_like(start, 0.01 * (1 + second)))


# One step


def test_step_of_the_discriminator_leaves_the_generator_alone():
    model = new_model(CONFIG)
    fake = model.generator(torch.randn(6, 3))
    before, other = state(model.generator), state(model.discriminator)
    discriminator_step(model.discriminator, descent(model.discriminator), torch.rand(6, 784), fake)
    assert_same(state(model.generator), before)
    assert_moved(state(model.discriminator), other)


@pytest.mark.parametrize("used", [False, True], ids=["no gradients yet", "gradients"])
def test_step_of_the_generator_leaves_the_discriminator_alone(used):
    model = new_model(CONFIG)
    fake = model.generator(torch.randn(6, 3))
    if used:
        x, optimizer = torch.rand(6, 784), descent(model.discriminator)
        discriminator_step(model.discriminator, optimizer, x, fake)
    before, other = state(model.discriminator), state(model.generator)
    generator_step(model.generator, model.discriminator, descent(model.generator), fake)
    assert_same(state(model.discriminator), before)
    # A bias before batch normalisation has no effect, and its gradient is rounding.
    moved = state(model.generator)
    for name in ("hidden.0.weight", "hidden.1.weight", "hidden.1.bias", "to_logits.bias"):
        assert not torch.equal(moved[name], other[name]), name


def test_discriminator_comes_to_believe_in_real_images_and_not_in_generated_ones():
    discriminator = Discriminator((16,), dropout=0.0)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    bright, dark = 0.8 + 0.2 * torch.rand(20, 784), 0.2 * torch.rand(20, 784)
    steps = [discriminator_step(discriminator, optimizer, bright, dark) for _ in range(100)]
    (first_loss, first_real, first_fake), (loss, real, fake) = (
        [numbers.mean().item() for numbers in step] for step in (steps[0], steps[-1])
    )
    assert real > max(first_real, 0.8)
    assert fake < min(first_fake, 0.2)
    assert loss < first_loss


def test_generator_moves_towards_what_the_discriminator_takes_for_real():
    brightness = Discriminator(())
    with torch.no_grad():
        brightness.to_logit.weight.fill_(4 / 784)
        brightness.to_logit.bias.fill_(-2.0)
    network = Generator((16,), 3)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    z = torch.randn(20, 3)
    losses, means = [], []
    for _ in range(20):
        fake = network(z)
        means.append(fake.mean().item())
        losses.append(generator_step(network, brightness, optimizer, fake).mean().item())
    assert means == sorted(means)
    assert means[-1] > 0.7
    assert losses == sorted(losses, reverse=True)


def test_steps_forget_the_gradients_of_the_ones_before():
    fresh = new_model(replace(CONFIG, dropout=0.0))
    used = copy.deepcopy(fresh)
    for parameter in used.parameters():
        parameter.grad = torch.ones_like(parameter)
    x = torch.rand(6, 784)
    for model in (fresh, used):
        optimizers = Optimizers(descent(model.generator), descent(model.discriminator))
        rng = torch.Generator().manual_seed(0)
        train_step(model, optimizers, x, rng=rng, real_label=1.0)
    torch.testing.assert_close(dict(fresh.state_dict()), dict(used.state_dict()), rtol=0, atol=0)


def leaky(h):
    return torch.where(h > 0, h, 0.2 * h)


def generated(weights, z, batch_norm):
    """The generator with one hidden layer, in training mode; and mean and variance of the layer."""
    W1, b1, *scale_and_shift, W2, b2 = weights
    h = z @ W1.T + b1
    mean, variance = h.mean(dim=0), ((h - h.mean(dim=0)) ** 2).sum(dim=0) / len(h)
    if batch_norm:
        scale, shift = scale_and_shift
        h = scale * (h - mean) / torch.sqrt(variance + 1e-5) + shift
    return 1 / (1 + torch.exp(-(leaky(h) @ W2.T + b2))), mean.detach(), variance.detach()


def belief(weights, x):
    """D(x) of the discriminator with one hidden layer and no dropout."""
    W1, b1, W2, b2 = weights
    return 1 / (1 + torch.exp(-(leaky(x @ W1.T + b1) @ W2.T + b2)))[:, 0]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_one_step_goes_down_both_losses_the_generator_answering_second(batch_norm, real_label):
    model = GAN(Generator((8,), 3, batch_norm=batch_norm), Discriminator((8,), dropout=0.0))
    x, z = torch.rand(6, 784), torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    ours, theirs = (
        [parameter.detach().clone().requires_grad_() for parameter in network.parameters()]
        for network in (model.generator, model.discriminator)
    )
    fake, mean, variance = generated(ours, z, batch_norm)
    d_real, d_fake = belief(theirs, x), belief(theirs, fake.detach())
    d_loss = -real_label * torch.log(d_real) - (1 - real_label) * torch.log(1 - d_real)
    d_loss = d_loss - torch.log(1 - d_fake)
    slopes = torch.autograd.grad(d_loss.mean(), theirs)
    theirs = [weight - 0.5 * slope for weight, slope in zip(theirs, slopes, strict=True)]
    g_loss = -torch.log(belief(theirs, fake))
    slopes = torch.autograd.grad(g_loss.mean(), ours)
    ours = [weight - 0.5 * slope for weight, slope in zip(ours, slopes, strict=True)]
    # The answer to the discriminator as it was before would be another one.
    assert ((g_loss + torch.log(d_fake)).abs() > 1e-3).all()

    optimizers = Optimizers(descent(model.generator, 0.5), descent(model.discriminator, 0.5))
    rng = torch.Generator().manual_seed(3)
    step = train_step(model, optimizers, x, rng=rng, real_label=real_label)
    torch.testing.assert_close(tuple(step), (d_loss, g_loss, d_real, d_fake))
    torch.testing.assert_close(list(model.generator.parameters()), ours)
    torch.testing.assert_close(list(model.discriminator.parameters()), theirs)
    assert not any(numbers.requires_grad for numbers in step)
    if batch_norm:  # the generator has made its images once
        statistics = model.generator.hidden[1]
        torch.testing.assert_close(statistics.running_mean, 0.1 * mean)
        torch.testing.assert_close(statistics.running_var, 0.9 + 0.1 * variance * 6 / 5)


# One epoch


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 11, 64])
def test_numbers_of_an_epoch_are_means_over_all_images(batch_size, epoch):
    images = unlike(11)
    config = replace(STILL, batch_size=batch_size, real_label=0.9)
    model = new_model(config)
    with torch.no_grad():
        for network in (model.generator, model.discriminator):
            for parameter in network.parameters():
                parameter.mul_(4)  # networks that tell their inputs apart
    noise = new_rng(config.seed, "noise", epoch=epoch)
    sizes = [len(part) for part in images.split(batch_size)]
    z = torch.cat([torch.randn(size, 3, generator=noise) for size in sizes])
    with torch.no_grad():
        real = torch.sigmoid(model.discriminator(images).double())
        fake = torch.sigmoid(model.discriminator(model.generator(z)).double())
    d_loss = -0.9 * torch.log(real) - 0.1 * torch.log(1 - real) - torch.log(1 - fake)
    each = {"d_loss": d_loss, "g_loss": -torch.log(fake), "d_real": real, "d_fake": fake}
    expected = {name: numbers.mean().item() for name, numbers in each.items()}
    assert real.std() > 0.03
    means = train_epoch(model, new_optimizers(config, model), images, config=config, epoch=epoch)
    assert means == pytest.approx(expected, rel=1e-3)


def test_epoch_trains_in_training_mode_whatever_the_mode_was():
    model = new_model(CONFIG).eval()
    config = replace(CONFIG, learning_rate=1e-8)
    statistics = model.generator.hidden[1].running_mean.clone()
    train_epoch(model, new_optimizers(config, model), torch.rand(8, 784), config=config, epoch=1)
    assert not torch.equal(model.generator.hidden[1].running_mean, statistics)


def test_order_depends_on_seed_and_epoch_and_on_nothing_else(monkeypatch):
    visited = []

    def look(model, optimizers, x, *, rng, real_label):
        visited.extend(x[:, 0].tolist())
        return adversarial.Step(*(torch.zeros(len(x)) for _ in range(4)))

    monkeypatch.setattr(adversarial, "train_step", look)

    def order(epoch, **options):
        config = replace(CONFIG, **options)
        model = new_model(config)
        visited.clear()
        optimizers = new_optimizers(config, model)
        train_epoch(model, optimizers, unlike(30), config=config, epoch=epoch)
        return list(visited)

    assert order(1) == order(1, batch_size=8, dropout=0.0, hidden_dims=(5,))
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)
    assert sorted(order(1)) == sorted(order(2)) == unlike(30)[:, 0].tolist()


@pytest.mark.parametrize(
    ("number", "dropout"), [("d_real", 0.5), ("d_fake", 0.0)], ids=["dropout", "noise"]
)
def test_draws_depend_on_seed_and_epoch_and_on_nothing_else(number, dropout):
    model = new_model(STILL)
    for layer in model.discriminator.hidden:
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    images = torch.rand(1, 784).expand(9, 784)  # all alike: their order cannot matter

    def taken(epoch, **options):
        config = replace(STILL, **options)
        start = copy.deepcopy(model)
        optimizers = new_optimizers(config, start)
        means = train_epoch(start, optimizers, images, config=config, epoch=epoch)
        return means[number]

    first = taken(1)
    torch.manual_seed(99)
    assert taken(1) == first
    assert taken(2) != first
    assert taken(1, seed=1) != first


def test_loop_does_not_wait_for_the_device_at_every_step(monkeypatch):
    waits = []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__"):
        method = getattr(torch.Tensor, name)

        def counted(self, *args, method=method, name=name, **kwargs):
            waits.append(name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)

    def waits_in(steps):
        model = new_model(STILL)
        optimizers = new_optimizers(STILL, model)
        waits.clear()
        train_epoch(model, optimizers, torch.rand(4 * steps, 784), config=STILL, epoch=1)
        return list(waits)

    assert waits_in(steps=20) == waits_in(steps=2)


# One fit


def test_same_config_gives_the_same_history_and_weights(data):
    first = fit(CONFIG, data)
    torch.manual_seed(99)
    second = fit(CONFIG, data)
    assert first.history == second.history
    assert_same(first.model.state_dict(), second.model.state_dict())


def test_another_seed_gives_another_history(data):
    first, second = (fit(replace(CONFIG, seed=seed), data).history for seed in (0, 1))
    assert all(first[0][name] != second[0][name] for name in adversarial.Step._fields)


def test_fit_leaves_the_global_generator_untouched(data):
    before = torch.get_rng_state()
    fit(CONFIG, data)
    assert torch.equal(torch.get_rng_state(), before)


def test_history_has_the_numbers_of_a_step_for_every_epoch(data):
    result = fit(CONFIG, data)
    assert result.curve("epoch") == [1, 2, 3, 4]
    for numbers in result.history:
        assert list(numbers) == ["epoch", "d_loss", "g_loss", "d_real", "d_fake"]
        assert all(type(numbers[name]) is float for name in adversarial.Step._fields)
        assert numbers["d_loss"] > 0
        assert numbers["g_loss"] > 0
        assert 0 < numbers["d_real"] < 1
        assert 0 < numbers["d_fake"] < 1


def test_test_images_play_no_part_in_the_numbers(data):
    other = replace(data, test_images=1 - data.test_images, test_labels=data.test_labels + 1)
    assert fit(CONFIG, data).history == fit(CONFIG, other).history


def test_fitted_networks_are_in_evaluation_mode(data):
    result = fit(CONFIG, data)
    for model in (result.model, result.at(1)):
        logits = [model.discriminator(data.test_images) for _ in range(2)]
        assert torch.equal(*logits)
        assert not any(module.training for module in model.modules())


def test_a_few_epochs_bring_the_images_towards_the_brightness_of_the_data():
    for grey in (0.1, 0.9):
        images = grey + 0.1 * (torch.rand(64, 784) - 0.5)
        labels = torch.zeros(64, dtype=torch.int64)
        config = replace(CONFIG, epochs=40, learning_rate=5e-3)
        result = fit(config, Digits(images, labels, images, labels), snapshot_epochs=())
        assert abs(result.model.sample(50).mean() - grey) < 0.2


def test_weights_are_kept_at_the_snapshot_epochs_and_the_last(data):
    assert sorted(fit(CONFIG, data, snapshot_epochs=(1, 3, 9)).weights) == [1, 3, 4]


def test_networks_at_an_epoch_are_those_that_had_trained_so_long(data):
    result = fit(CONFIG, data, snapshot_epochs=(1, 2))
    for epoch in (1, 2, 4):
        expected = fit(replace(CONFIG, epochs=epoch), data).model
        assert isinstance(result.at(epoch), GAN)
        assert_same(result.at(epoch).state_dict(), expected.state_dict())
    with pytest.raises(KeyError, match=r"epoch 3 was not kept; kept are \[1, 2, 4\]"):
        result.at(3)


def test_last_mini_batch_of_one_image_is_refused_with_batch_normalisation(data):
    for images, batch_size in ((33, 16), (40, 13), (40, 1)):
        config = replace(CONFIG, batch_size=batch_size, epochs=1)
        few = data.first(images, 9)
        with pytest.raises(ParameterError) as caught:
            fit(config, few)
        assert str(caught.value).startswith("batch_size: ")
        assert f"({images} images in batches of {batch_size})" in str(caught.value)
        assert len(fit(replace(config, batch_norm=False), few).history) == 1


def test_progress_is_shown_only_if_asked_for(data, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    config = replace(CONFIG, epochs=1)
    fit(config, data, title="a GAN", show_progress=False)
    assert capsys.readouterr() == ("", "")
    fit(config, data, title="a GAN")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a GAN: 1 of 1" in shown.err


def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(data):
    whole, first, second = (CONFIG.trainer(data) for _ in range(3))
    numbers = [whole.epoch(number) for number in (1, 2)]
    assert first.epoch(1) == numbers[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(99)
    assert second.epoch(2) == numbers[1]
    assert_same(second.model.state_dict(), whole.model.state_dict())
    ours, theirs = (each.state_dict()["optimizers"] for each in (second, whole))
    for network in ("generator", "discriminator"):
        assert ours[network]["param_groups"] == theirs[network]["param_groups"]
        for index, memory in theirs[network]["state"].items():
            assert_same(ours[network]["state"][index], memory)


def test_what_shapes_an_epoch_is_the_configuration_without_the_number_of_epochs(monkeypatch):
    monkeypatch.setattr(adversarial.acceleration, "products", lambda choice: f"by {choice}")
    shape = CONFIG.shape()
    assert (shape["device"], shape["products"]) == ("cpu", "by auto")
    assert shape["config"]["real_label"] == 1.0
    assert shape == replace(CONFIG, epochs=8).shape()
    assert shape != replace(CONFIG, acceleration="off").shape()
    assert not {"epochs", "device", "acceleration"} & shape["config"].keys()
