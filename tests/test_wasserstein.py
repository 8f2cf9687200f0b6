"""The Wasserstein GAN's penalty, steps, epochs and fits against sums written out by hand."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_digits import few_digits

from vae_helpers import acceleration, wasserstein
from vae_helpers.adversarial import Optimizers, fit, new_model, new_optimizers
from vae_helpers.data import Digits
from vae_helpers.models import GAN, Discriminator, Generator
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import new_rng
from vae_helpers.wasserstein import (
    CriticStep,
    WGANConfig,
    critic_step,
    generator_step,
    gradient_penalty,
    train_epoch,
    train_step,
)

CONFIG = WGANConfig(
    epochs=3,
    batch_size=8,
    beta1=0.5,
    latent_dim=3,
    hidden_dims=(16, 8),
    dropout=0.3,
    critic_steps=2,
    device="cpu",
)
STILL = replace(CONFIG, batch_size=4, learning_rate=1e-8, dropout=0.0, batch_norm=False)
"""A run whose networks hardly move, so that its numbers are those of the first weights."""


@pytest.fixture
def data():
    """Twenty training images: two mini-batches of 8 and one of 4."""
    return few_digits()


@pytest.fixture
def double():
    """Everything in double precision: weights, images and noise."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Smooth(nn.Module):
    """A critic of six pixels without corners, so that differences tend to derivatives."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        return 3 * self.layers(x)[:, 0]


def linear_critic(slope, pixels=784):
    """score(x) = w x + 0.3 with w of the given length."""
    critic = Discriminator((), pixels)
    with torch.no_grad():
        critic.to_logit.weight.div_(critic.to_logit.weight.norm()).mul_(slope)
        critic.to_logit.bias.fill_(0.3)
    return critic


def descent(network, learning_rate=0.1):
    return torch.optim.SGD(network.parameters(), lr=learning_rate)


def descents(model, learning_rate=0.1):
    return Optimizers(
        descent(model.generator, learning_rate), descent(model.discriminator, learning_rate)
    )


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


def unlike(n):
    """`n` images from black to white: the mean over some of them is not the mean over all."""
    return torch.linspace(0, 1, n)[:, None] * torch.linspace(0.5, 1, 784)


# The configuration


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("penalty", -1.0, "the nearest valid value is 0"),
        ("critic_steps", 0, "the nearest valid value is 1"),
        ("critic_steps", 2.5, "expected a whole number"),
        ("learning_rate", 0.0, "the nearest valid value is 1e-08"),
    ],
)
def test_config_refuses_a_wrong_value_with_its_field_and_a_valid_one(field, value, says):
    with pytest.raises(ParameterError) as caught:
        WGANConfig(**{field: value})
    assert str(caught.value).startswith(f"{field}: ")
    assert says in str(caught.value)


def test_default_weight_and_steps_are_those_of_the_paper_and_the_critic_leaves_nothing_out():
    config = WGANConfig()
    assert (config.penalty, config.critic_steps) == (10.0, 5)
    assert (config.learning_rate, config.dropout, config.batch_norm) == (1e-3, 0.0, True)


def test_what_shapes_an_epoch_includes_the_penalty_and_the_steps_of_the_critic():
    shape = CONFIG.shape()
    assert (shape["config"]["penalty"], shape["config"]["critic_steps"]) == (10.0, 2)
    assert "epochs" not in shape["config"]


def test_batch_normalisation_is_in_the_generator_only(data):
    model = CONFIG.trainer(data).model
    kinds = {
        name: {type(layer) for layer in network.modules()}
        for name, network in model.named_children()
    }
    assert nn.BatchNorm1d in kinds["generator"]
    assert nn.BatchNorm1d not in kinds["discriminator"]


# The penalty


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_the_square_of_its_slope_minus_one(slope):
    critic = linear_critic(slope)
    w = critic.to_logit.weight
    found = gradient_penalty(critic, torch.rand(5, 784), torch.rand(5, 784), share=torch.rand(5, 1))
    torch.testing.assert_close(found, torch.full((5,), (slope - 1) ** 2))
    (by_weight,) = torch.autograd.grad(found.mean(), w)
    torch.testing.assert_close(by_weight, (2 * (slope - 1) / slope * w).detach())


def slopes_by_differences(critic, points, step=1e-5):
    """The gradient of each point's score by the point, from the scores alone."""
    shifts = step * torch.eye(points.shape[1])
    with torch.no_grad():
        rises = [critic(points + shift) - critic(points - shift) for shift in shifts]
    return torch.stack(rises, dim=1) / (2 * step)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("at", ["between", "real", "generated"])
def test_penalty_is_that_of_differences_of_the_score_at_the_point_between_the_images(at):
    critic, x, fake = Smooth(), torch.rand(5, 6), torch.rand(5, 6)
    share = {"between": torch.rand(5, 1), "real": torch.ones(5, 1), "generated": torch.zeros(5, 1)}
    points = {"between": fake + share["between"] * (x - fake), "real": x, "generated": fake}
    lengths = slopes_by_differences(critic, points[at]).square().sum(dim=1).sqrt()
    found = gradient_penalty(critic, x, fake, share=share[at])
    torch.testing.assert_close(found.detach(), (lengths - 1) ** 2, rtol=1e-6, atol=1e-9)
    assert lengths.std() > 1e-2  # each image has a slope of its own


@pytest.mark.usefixtures("double")
def test_gradients_of_the_penalty_are_those_of_differences_of_the_penalty():
    critic, x, fake, share = Smooth(), torch.rand(5, 6), torch.rand(5, 6), torch.rand(5, 1)
    gradient_penalty(critic, x, fake, share=share).mean().backward()
    moving = 0
    for weight in critic.parameters():
        flat, found = weight.data.view(-1), torch.zeros(weight.numel())
        for index in range(len(flat)):
            ends = []
            for step in (1e-5, -2e-5):
                flat[index] += step
                ends.append(gradient_penalty(critic, x, fake, share=share).mean().item())
            flat[index] += 1e-5
            found[index] = (ends[0] - ends[1]) / 2e-5
        # the last bias shifts all scores alike, and the slope does not know it
        own = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(own.view(-1), found, rtol=1e-5, atol=1e-8)
        moving += int((own.abs() > 1e-3).sum())
    assert moving > 20


def test_a_flat_critic_is_penalised_by_one_and_its_gradients_are_finite():
    critic, x = linear_critic(0.0), torch.rand(4, 784)
    found = gradient_penalty(critic, x, 1 - x, share=torch.rand(4, 1))
    assert found.tolist() == [1.0] * 4
    found.mean().backward()
    assert critic.to_logit.weight.grad.isfinite().all()


def test_penalty_gives_no_gradient_to_the_images():
    x, fake = torch.rand(4, 784, requires_grad=True), torch.rand(4, 784, requires_grad=True)
    found = gradient_penalty(Discriminator((8,)), x.detach(), fake, share=torch.rand(4, 1))
    assert torch.autograd.grad(found.sum(), fake, allow_unused=True) == (None,)


# One step


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("penalty", [0.0, 10.0])
def test_critic_goes_down_generated_minus_real_score_plus_the_weighted_penalty(penalty):
    critic, x, fake = linear_critic(1.5), torch.rand(6, 784), torch.rand(6, 784)
    w = critic.to_logit.weight.detach().clone()
    by_weight = fake.mean(dim=0) - x.mean(dim=0) + penalty * 2 * 0.5 / 1.5 * w
    share = torch.rand(6, 1)
    step = critic_step(critic, descent(critic, 0.1), x, fake, share=share, penalty=penalty)
    torch.testing.assert_close(critic.to_logit.weight.detach(), w - 0.1 * by_weight)
    assert critic.to_logit.bias.item() == pytest.approx(0.3)  # both scores move alike
    torch.testing.assert_close(step.difference, ((x - fake) @ w.T)[:, 0])
    torch.testing.assert_close(step.penalty, torch.full((6,), 0.25))
    assert not any(numbers.requires_grad for numbers in step)


def test_critic_comes_to_score_real_images_higher_with_a_slope_near_one():
    critic = Discriminator((16,))
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    bright, dark = 0.6 + 0.1 * torch.rand(20, 784), 0.1 * torch.rand(20, 784)
    for _ in range(150):
        share = torch.rand(20, 1)
        step = critic_step(critic, optimizer, bright, dark, share=share, penalty=10.0)
    distance = (bright.mean(dim=0) - dark.mean(dim=0)).norm().item()
    # A slope that is a little above 1 pays: its length d maximises d * distance - 10 (d - 1)^2.
    assert step.difference.mean() == pytest.approx(distance * (1 + distance / 20), rel=0.1)
    assert step.penalty.mean().sqrt() == pytest.approx(distance / 20, rel=0.2)


def test_step_of_the_critic_leaves_the_generator_alone_also_where_its_images_have_a_graph():
    model = new_model(CONFIG)
    fake = model.generator(torch.randn(6, 3))
    before, other = state(model.generator), state(model.discriminator)
    x, share = torch.rand(6, 784), torch.rand(6, 1)
    optimizer = descent(model.discriminator)
    critic_step(model.discriminator, optimizer, x, fake, share=share, penalty=10.0)
    assert_same(state(model.generator), before)
    moved = state(model.discriminator)
    for name in ("hidden.0.weight", "hidden.3.weight", "to_logit.weight"):
        assert not torch.equal(moved[name], other[name]), name


@pytest.mark.usefixtures("double")
def test_generator_goes_up_the_mean_score_of_its_images():
    model = GAN(Generator((), 3), linear_critic(2.0))
    W, b = (parameter.detach().clone() for parameter in model.generator.parameters())
    w = model.discriminator.to_logit.weight.detach()
    z = torch.randn(6, 3)
    images = torch.sigmoid(z @ W.T + b)
    by_logit = w * images * (1 - images)  # of the score
    loss = generator_step(model, descent(model.generator, 0.5), z)
    torch.testing.assert_close(loss, -(images @ w.T)[:, 0] - 0.3)
    assert not loss.requires_grad
    moved_W, moved_b = (parameter.detach() for parameter in model.generator.parameters())
    torch.testing.assert_close(moved_W, W + 0.5 * by_logit.T @ z / 6)
    torch.testing.assert_close(moved_b, b + 0.5 * by_logit.mean(dim=0))


@pytest.mark.parametrize("used", [False, True], ids=["no gradients yet", "gradients"])
def test_step_of_the_generator_leaves_the_critic_alone_and_able_to_learn(used):
    model = new_model(CONFIG)
    if used:
        for parameter in model.discriminator.parameters():
            parameter.grad = torch.ones_like(parameter)
    before, other = state(model.discriminator), state(model.generator)
    generator_step(model, descent(model.generator), torch.randn(6, 3))
    assert_same(state(model.discriminator), before)
    assert all(parameter.requires_grad for parameter in model.discriminator.parameters())
    moved = state(model.generator)
    assert not torch.equal(moved["to_logits.weight"], other["to_logits.weight"])


@pytest.mark.parametrize("answer", [False, True])
def test_critic_moves_in_every_step_and_the_generator_only_where_it_answers(answer):
    model = new_model(replace(CONFIG, batch_norm=False))
    before = {name: state(network) for name, network in model.named_children()}
    rng = torch.Generator().manual_seed(3)
    train_step(model, descents(model), torch.rand(6, 784), config=CONFIG, rng=rng, answer=answer)
    critic, last = state(model.discriminator), "to_logit.weight"
    assert not torch.equal(critic[last], before["discriminator"][last])
    if answer:
        generator, last = state(model.generator), "to_logits.weight"
        assert not torch.equal(generator[last], before["generator"][last])
    else:
        assert_same(state(model.generator), before["generator"])


@pytest.mark.usefixtures("double")
def test_one_step_is_algorithm_1_the_generator_answering_second_with_noise_of_its_own():
    model = GAN(Generator((), 3), linear_critic(1.5))
    W, b = (parameter.detach().clone() for parameter in model.generator.parameters())
    w = model.discriminator.to_logit.weight.detach().clone()
    x, rng = torch.rand(6, 784), torch.Generator().manual_seed(3)
    z, _ = torch.randn(6, 3, generator=rng), torch.rand(6, 1, generator=rng)
    fresh = torch.randn(6, 3, generator=rng)

    fake = torch.sigmoid(z @ W.T + b)
    difference = ((x - fake) @ w.T)[:, 0]
    w = w + 0.5 * ((x - fake).mean(dim=0) - 4.0 * 2 * 0.5 / 1.5 * w)
    answer = torch.sigmoid(fresh @ W.T + b)
    by_logit = w * answer * (1 - answer)

    config = replace(CONFIG, penalty=4.0)
    rng = torch.Generator().manual_seed(3)
    seen = train_step(model, descents(model, 0.5), x, config=config, rng=rng, answer=True)
    assert list(seen) == ["difference", "penalty"]
    torch.testing.assert_close(seen["difference"], difference)
    torch.testing.assert_close(model.discriminator.to_logit.weight.detach(), w)
    moved_W, moved_b = (parameter.detach() for parameter in model.generator.parameters())
    torch.testing.assert_close(moved_W, W + 0.5 * by_logit.T @ fresh / 6)
    torch.testing.assert_close(moved_b, b + 0.5 * by_logit.mean(dim=0))


def test_shares_are_uniform_between_0_and_1_and_one_for_each_image(monkeypatch):
    shares, real = [], wasserstein.gradient_penalty

    def watched(critic, x, fake, *, share):
        shares.append(share)
        return real(critic, x, fake, share=share)

    monkeypatch.setattr(wasserstein, "gradient_penalty", watched)
    model, rng = new_model(STILL), torch.Generator().manual_seed(3)
    images = torch.rand(2_000, 784)
    for _ in range(2):
        train_step(model, descents(model, 0.0), images, config=STILL, rng=rng, answer=False)
    first, second = shares
    assert first.shape == (2_000, 1)
    assert not torch.equal(first, second)
    # The largest distance of 2,000 uniform numbers' distribution from the straight line is below
    # 1.95 / sqrt(2,000) but once in a thousand times (Kolmogorov).
    line = torch.arange(1, 2_001) / 2_000
    assert (first[:, 0].sort().values - line).abs().max() < 1.95 / math.sqrt(2_000)


def test_steps_forget_the_gradients_of_the_ones_before():
    fresh = new_model(replace(CONFIG, dropout=0.0))
    used = copy.deepcopy(fresh)
    for parameter in used.parameters():
        parameter.grad = torch.ones_like(parameter)
    x = torch.rand(6, 784)
    for model in (fresh, used):
        rng = torch.Generator().manual_seed(0)
        train_step(model, descents(model), x, config=CONFIG, rng=rng, answer=True)
    torch.testing.assert_close(dict(fresh.state_dict()), dict(used.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("processor", ["AVX512", "AVX2"])
def test_accelerated_gradients_of_the_critic_are_those_of_double_precision(processor, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    critic = Discriminator((80, 70))
    exact = copy.deepcopy(critic).double()
    x, fake, share = torch.rand(64, 784), torch.rand(64, 784), torch.rand(64, 1)
    with acceleration.applied():
        critic_step(critic, descent(critic, 0.0), x, fake, share=share, penalty=10.0)
    inputs = (x.double(), fake.double())
    critic_step(exact, descent(exact, 0.0), *inputs, share=share.double(), penalty=10.0)
    for weight, expected in zip(critic.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(weight.grad.double(), expected.grad, rtol=1e-3, atol=1e-5)


# One epoch


def looked_at(monkeypatch):
    """What the epoch hands to its steps: pixels of the images, and who answers."""
    visited, answers = [], []

    def look(model, optimizers, x, *, config, rng, answer):
        visited.extend(x[:, 0].tolist())
        answers.append(answer)
        return CriticStep(torch.zeros(len(x)), torch.zeros(len(x)))._asdict()

    monkeypatch.setattr(wasserstein, "train_step", look)

    def epoch(number, **options):
        visited.clear()
        answers.clear()
        config = replace(CONFIG, **options)
        model = new_model(config)
        optimizers = new_optimizers(config, model)
        train_epoch(model, optimizers, unlike(30), config=config, epoch=number)
        return list(visited), list(answers)

    return epoch


@pytest.mark.parametrize("critic_steps", [1, 3, 5])
def test_generator_answers_every_so_many_batches(critic_steps, monkeypatch):
    epoch = looked_at(monkeypatch)
    for number in (1, 2):
        _, answers = epoch(number, critic_steps=critic_steps, batch_size=4)
        expected = [batch % critic_steps == 0 for batch in range(1, 9)]
        assert answers == expected


def test_order_depends_on_seed_and_epoch_and_on_nothing_else(monkeypatch):
    epoch = looked_at(monkeypatch)

    def order(number, **options):
        return epoch(number, **options)[0]

    assert order(1) == order(1, batch_size=4, dropout=0.0, critic_steps=7)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)
    assert sorted(order(1)) == sorted(order(2)) == unlike(30)[:, 0].tolist()


def score_and_slope(critic, x):
    """Of a critic with one hidden layer and no dropout, with the length of the slope."""
    W1, b1, W2, b2 = (parameter.detach().double() for parameter in critic.parameters())
    h = x.double() @ W1.T + b1
    leak = torch.where(h > 0, 1.0, 0.2)
    return ((h * leak) @ W2.T + b2)[:, 0], ((leak * W2) @ W1).square().sum(dim=1).sqrt()


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 11, 64])
def test_numbers_of_an_epoch_are_means_over_all_images(batch_size, epoch):
    images = unlike(11)
    config = replace(STILL, batch_size=batch_size, hidden_dims=(16,), penalty=3.0)
    model = new_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # networks that tell their inputs apart
    noise = new_rng(config.seed, "noise", epoch=epoch)
    order = torch.randperm(11, generator=new_rng(config.seed, "order", epoch=epoch))
    differences, penalties = [], []
    for number, x in enumerate(images[order].split(batch_size), 1):
        z, share = (torch.randn(len(x), 3, generator=noise), torch.rand(len(x), 1, generator=noise))
        fake = model.generator(z).detach()
        real_score, fake_score = (score_and_slope(model.discriminator, it)[0] for it in (x, fake))
        _, slope = score_and_slope(model.discriminator, share * x + (1 - share) * fake)
        differences.append(real_score - fake_score)
        penalties.append((slope - 1) ** 2)
        if number % 2 == 0:
            torch.randn(len(x), 3, generator=noise)  # the generator's answer
    expected = {"difference": torch.cat(differences), "penalty": torch.cat(penalties)}
    assert all(numbers.std() > 0.01 for numbers in expected.values())
    means = train_epoch(model, new_optimizers(config, model), images, config=config, epoch=epoch)
    expected = {name: numbers.mean().item() for name, numbers in expected.items()}
    assert means == pytest.approx(expected, rel=1e-3)


def test_epoch_trains_in_training_mode_whatever_the_mode_was():
    config = replace(STILL, batch_norm=True)
    model = new_model(config).eval()
    statistics = model.generator.hidden[1].running_mean.clone()
    train_epoch(model, new_optimizers(config, model), torch.rand(8, 784), config=config, epoch=1)
    assert not torch.equal(model.generator.hidden[1].running_mean, statistics)


@pytest.mark.parametrize("dropout", [0.5, 0.0], ids=["dropout", "noise"])
def test_draws_depend_on_seed_and_epoch_and_on_nothing_else(dropout):
    model = new_model(replace(STILL, dropout=dropout))
    if dropout:
        with torch.no_grad():
            model.generator.to_logits.weight.zero_()  # whatever the noise, the same image
    images = torch.rand(1, 784).expand(9, 784)  # all alike: their order cannot matter

    def taken(epoch, **options):
        config, start = replace(STILL, **options), copy.deepcopy(model)
        optimizers = new_optimizers(config, start)
        means = train_epoch(start, optimizers, images, config=config, epoch=epoch)
        return means["difference"]

    first = taken(1)
    torch.manual_seed(99)
    assert taken(1) == first
    # The steps, which are tiny and not the same, move it by less.
    assert abs(taken(2) - first) > 1e-4
    assert abs(taken(1, seed=1) - first) > 1e-4


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


def test_same_config_gives_the_same_history_and_weights_and_another_seed_others(data):
    before = torch.get_rng_state()
    first = fit(CONFIG, data)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second = fit(CONFIG, data)
    assert first.history == second.history
    assert_same(first.model.state_dict(), second.model.state_dict())
    assert fit(replace(CONFIG, seed=1), data).history != first.history


def test_history_has_the_numbers_of_the_critic_s_steps_for_every_epoch(data):
    result = fit(CONFIG, data)
    assert result.curve("epoch") == [1, 2, 3]
    for numbers in result.history:
        assert list(numbers) == ["epoch", "difference", "penalty"]
        assert numbers["penalty"] >= 0


def test_test_images_play_no_part_in_the_numbers(data):
    other = replace(data, test_images=1 - data.test_images)
    assert fit(CONFIG, data).history == fit(CONFIG, other).history


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
        for index, memory in theirs[network]["state"].items():
            assert_same(ours[network]["state"][index], memory)


def test_last_mini_batch_of_one_image_is_refused_with_batch_normalisation(data):
    config = replace(CONFIG, epochs=1)
    few = data.first(17, 9)
    with pytest.raises(ParameterError, match=r"batch_size: .* \(17 images in batches of 8\)"):
        fit(config, few)
    assert len(fit(replace(config, batch_norm=False), few).history) == 1


def test_a_few_epochs_bring_the_images_towards_the_brightness_of_the_data():
    for grey in (0.1, 0.9):
        images = grey + 0.1 * (torch.rand(64, 784) - 0.5)
        labels = torch.zeros(64, dtype=torch.int64)
        config = replace(CONFIG, epochs=60, learning_rate=5e-3, dropout=0.0)
        result = fit(config, Digits(images, labels, images, labels), snapshot_epochs=())
        assert abs(result.model.sample(50).mean() - grey) < 0.2


def test_a_label_is_refused_since_a_critic_is_asked_for_none():
    with pytest.raises(ParameterError, match=r"real_label: expected 1 for a Wasserstein GAN.*0.9"):
        WGANConfig(real_label=0.9)


def test_an_epoch_in_which_the_generator_would_never_answer_is_refused():
    config = WGANConfig(batch_size=4, hidden_dims=(5,), critic_steps=5, device="cpu")
    config.trainer(few_digits(train=18, test=1)).epoch(1)  # the fifth batch has two images
    with pytest.raises(ParameterError, match=r"critic_steps: expected at most 4.*got 5; the gen"):
        config.trainer(few_digits(train=16, test=1))
