"""Steps, epochs and fits against computations written out with torch.distributions."""

import copy
import math
from dataclasses import FrozenInstanceError

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_helpers import training
from vae_helpers.data import Digits
from vae_helpers.models import VAE
from vae_helpers.parameters import ParameterError
from vae_helpers.training import (
    TrainConfig,
    evaluate,
    fit,
    new_model,
    new_optimizer,
    resolve_device,
    train_epoch,
    train_step,
)

SMALL = {"epochs": 2, "batch_size": 16, "hidden_dims": (16,), "latent_dim": 3, "device": "cpu"}
PRIOR = Normal(0.0, 1.0)


def posterior(model, x):
    """The approximate posterior of each image, as torch.distributions has it."""
    mu, logvar = model.encode(x)
    return Normal(mu, torch.exp(logvar / 2))


def cross_entropy(logits, x):
    """Minus the sum over the pixels of x log p + (1 - x) log(1 - p), in float64."""
    log_p, log_not_p = F.logsigmoid(logits.double()), F.logsigmoid(-logits.double())
    return -(x * log_p + (1 - x) * log_not_p).sum(dim=-1)


@pytest.fixture
def dark_and_bright():
    """Forty dark training images and thirty bright test images, no two alike."""
    return Digits(
        0.1 * torch.rand(40, 784),
        torch.zeros(40, dtype=torch.int64),
        1 - 0.1 * torch.rand(30, 784),
        torch.zeros(30, dtype=torch.int64),
    )


@pytest.fixture
def deaf():
    """A VAE whose decoder does not listen to z: its bce and kl are known without any noise."""
    model = VAE(hidden_dims=(16,), latent_dim=3)
    with torch.no_grad():
        model.to_logits.weight.zero_()
        model.to_logits.bias.copy_(torch.linspace(-4, 4, 784))
        model.to_mu.weight.mul_(5)
        model.to_logvar.weight.mul_(5)
    return model


def unlike(n):
    """`n` images from black to white: the mean over some of them is not the mean over all."""
    return torch.linspace(0, 1, n)[:, None] * torch.linspace(0.5, 1, 784)


# The configuration


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("epochs", 0, "the nearest valid value is 1"),
        ("batch_size", 0, "the nearest valid value is 1"),
        ("learning_rate", -1e-3, "the nearest valid value is 1e-08"),
        ("beta", -1.0, "the nearest valid value is 0"),
        ("latent_dim", 0, "the nearest valid value is 1"),
        ("hidden_dims", (), "expected a list of numbers"),
        ("activation", "rely", "did you mean 'relu'?"),
        ("optimizer", "Adam", "did you mean 'adam'?"),
        ("seed", -1, "the nearest valid value is 0"),
        ("dataset", "MINST", "did you mean 'MNIST'?"),
        ("binarize", "dynamical", "did you mean 'dynamic'?"),
        ("device", "cuda:0", "did you mean 'cuda'?"),
    ],
)
def test_config_refuses_a_wrong_value_with_its_field_and_a_valid_one(field, value, says):
    with pytest.raises(ParameterError) as caught:
        TrainConfig(**{field: value})
    assert str(caught.value).startswith(f"{field}: ")
    assert says in str(caught.value)


def test_default_config_is_the_study():
    config = TrainConfig()
    assert (config.epochs, config.batch_size, config.learning_rate) == (30, 128, 1e-3)
    assert (config.beta, config.optimizer, config.binarize) == (1.0, "adam", "none")
    assert sum(p.numel() for p in new_model(config).parameters()) == 801_224


def test_config_turns_numbers_and_lists_into_its_own_types():
    assert TrainConfig(beta=1, hidden_dims=[50]) == TrainConfig(beta=1.0, hidden_dims=(50,))


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    with pytest.raises(FrozenInstanceError):
        TrainConfig().epochs = 0


def test_auto_is_the_gpu_when_there_is_one(monkeypatch):
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert resolve_device("auto").type == kind
        assert resolve_device("cpu").type == "cpu"


# Initial weights and optimisers


def test_initial_weights_depend_on_the_seed_alone():
    first, again, other = (
        nn.utils.parameters_to_vector(new_model(TrainConfig(**kwargs)).parameters())
        for kwargs in ({"seed": 1}, {"seed": 1, "beta": 0.0, "optimizer": "sgd"}, {"seed": 2})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "moved"),
    [("adam", 2.0), ("sgd", 2.0), ("sgd_momentum", 2.9)],
)
def test_two_steps_on_a_unit_slope_move_as_the_optimiser_does(name, moved):
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    optimizer = new_optimizer(TrainConfig(optimizer=name, learning_rate=0.01), model)
    for _ in range(2):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
    # Adam's first steps have the length of the learning rate; momentum makes 1 + 1.9 of 1 + 1.
    assert start - model.weight.item() == pytest.approx(0.01 * moved, rel=1e-4)


# One step


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_one_step_goes_down_the_gradient_of_the_mean_of_bce_plus_beta_kl(beta):
    model = VAE(hidden_dims=(16,), latent_dim=3).double()
    x = torch.rand(5, 784, dtype=torch.float64)
    noise = torch.Generator().manual_seed(3)
    eps = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))
    before = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]

    W1, b1, W_mu, b_mu, W_logvar, b_logvar, W2, b2, W3, b3 = before
    hidden = torch.relu(x @ W1.T + b1)
    q = Normal(hidden @ W_mu.T + b_mu, torch.exp((hidden @ W_logvar.T + b_logvar) / 2))
    z = q.loc + q.scale * eps
    logits = torch.relu(z @ W2.T + b2) @ W3.T + b3
    bce = cross_entropy(logits, x)
    kl = kl_divergence(q, PRIOR).sum(dim=1)
    gradient = torch.autograd.grad((bce + beta * kl).mean(), before)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    taken = train_step(model, optimizer, x, beta=beta, noise=noise)
    for parameter, start, slope in zip(model.parameters(), before, gradient, strict=True):
        torch.testing.assert_close(parameter, start - 0.01 * slope)
    torch.testing.assert_close(taken, (bce.detach(), kl.detach()))


def test_step_forgets_the_gradient_of_the_one_before():
    x = torch.rand(5, 784)
    fresh = VAE(hidden_dims=(16,), latent_dim=3)
    used = copy.deepcopy(fresh)
    for parameter in used.parameters():
        parameter.grad = torch.ones_like(parameter)
    for model in (fresh, used):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        train_step(model, optimizer, x, beta=1.0, noise=torch.Generator().manual_seed(0))
    torch.testing.assert_close(list(fresh.parameters()), list(used.parameters()))


# One epoch


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 11, 64])
def test_training_numbers_are_means_over_all_images(deaf, epoch, batch_size):
    images = unlike(11)
    with torch.no_grad():
        bce = cross_entropy(deaf.to_logits.bias, images).mean().item()
        kl = kl_divergence(posterior(deaf, images), PRIOR).sum(dim=1).mean().item()
    config = TrainConfig(batch_size=batch_size, learning_rate=1e-8, optimizer="sgd")
    numbers = train_epoch(deaf, new_optimizer(config, deaf), images, config=config, epoch=epoch)
    assert numbers == pytest.approx((bce, kl), rel=1e-4)


def test_order_depends_on_seed_and_epoch_and_on_nothing_else(monkeypatch):
    visited = []

    def look(model, optimizer, x, *, beta, noise):
        visited.extend(x[:, 0].tolist())
        return torch.zeros(len(x)), torch.zeros(len(x))

    monkeypatch.setattr(training, "train_step", look)

    def order(epoch, **options):
        config = TrainConfig(batch_size=4, **options)
        model = new_model(config)
        visited.clear()
        optimizer = new_optimizer(config, model)
        train_epoch(model, optimizer, unlike(30), config=config, epoch=epoch)
        return list(visited)

    assert order(1) == order(1, beta=0.0, optimizer="sgd", hidden_dims=(16,))
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)
    assert sorted(order(1)) == sorted(order(2)) == unlike(30)[:, 0].tolist()


def test_noise_depends_on_seed_and_epoch_and_on_nothing_else():
    model = VAE(hidden_dims=(16,), latent_dim=3)
    images = torch.rand(1, 784).expand(9, 784)  # all alike: their order cannot matter

    def bce(epoch, seed=0):
        config = TrainConfig(learning_rate=1e-8, optimizer="sgd", seed=seed)
        start = copy.deepcopy(model)
        optimizer = new_optimizer(config, start)
        return train_epoch(start, optimizer, images, config=config, epoch=epoch)[0]

    assert bce(1) == bce(1)
    assert bce(1) != bce(2)
    assert bce(1) != bce(1, seed=1)


@pytest.mark.parametrize("n", [11, 1_001])
def test_evaluation_numbers_are_means_over_all_images(deaf, n):
    images = unlike(n)
    images[-1] = 0  # alone in its batch when there are 1,001, and unlike its neighbours
    with torch.no_grad():
        bce = cross_entropy(deaf.to_logits.bias, images).mean().item()
        kl = kl_divergence(posterior(deaf, images), PRIOR).sum(dim=1).mean().item()
    assert evaluate(deaf, images, seed=0) == pytest.approx((bce, kl), rel=1e-6)


def test_evaluation_leaves_the_model_and_repeats_itself(digits):
    model = VAE()
    before = copy.deepcopy(model.state_dict())
    first = evaluate(model, digits.test_images, seed=0)
    assert evaluate(model, digits.test_images, seed=0) == first
    assert evaluate(model, digits.test_images, seed=1) != first
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_evaluation_keeps_no_graph():
    model, kept = VAE(hidden_dims=(16,), latent_dim=3), []
    model.register_forward_hook(lambda model, x, output: kept.append(output.logits.requires_grad))
    evaluate(model, torch.rand(5, 784), seed=0)
    assert kept == [False]


def test_evaluation_draws_one_sample_of_z_for_each_image():
    model = VAE(hidden_dims=(16,), latent_dim=3)
    with torch.no_grad():
        model.to_logits.weight.mul_(20)  # a decoder to which the noise matters
    x = torch.rand(200, 784)
    with torch.no_grad():
        means = torch.stack(
            [cross_entropy(model.decode(posterior(model, x).sample()), x).mean() for _ in range(50)]
        )
    bce = [evaluate(model, x, seed=seed)[0] for seed in range(50)]
    mine = torch.tensor(bce, dtype=torch.float64)
    standard_error = math.sqrt((means.var() + mine.var()) / 50)
    assert abs(means.mean() - mine.mean()) < 5 * standard_error
    assert 0.5 < mine.std() / means.std() < 2  # 50 draws give it to 10 %


@pytest.mark.parametrize("numbers", ["train", "test"])
def test_dynamic_binarisation_costs_the_same_on_average_and_scatters(deaf, numbers):
    images = torch.full((50, 784), 0.5)
    expected = cross_entropy(deaf.to_logits.bias, images)[0].item()
    # The variance of an image's bce is the sum over the pixels of x (1 - x) logit^2.
    sd = math.sqrt(0.25 * torch.linspace(-4, 4, 784).square().sum() / 50)
    config = TrainConfig(binarize="dynamic", learning_rate=1e-8, optimizer="sgd")
    if numbers == "train":
        optimizer = new_optimizer(config, deaf)
        bce = [train_epoch(deaf, optimizer, images, config=config, epoch=e)[0] for e in (1, 2)]
    else:
        bce = [evaluate(deaf, images, seed=seed, binarize="dynamic")[0] for seed in (1, 2)]
    assert bce[0] != bce[1]
    assert bce == pytest.approx([expected] * 2, abs=5 * sd)
    assert abs(bce[0] - expected) > sd / 1000


def test_loop_does_not_wait_for_the_device_at_every_step(monkeypatch):
    waits = []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__"):
        method = getattr(torch.Tensor, name)

        def counted(self, *args, method=method, name=name, **kwargs):
            waits.append(name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)

    def waits_in(steps):
        config = TrainConfig(batch_size=4, hidden_dims=(16,), latent_dim=3)
        model = new_model(config)
        optimizer = new_optimizer(config, model)
        waits.clear()
        train_epoch(model, optimizer, torch.rand(4 * steps, 784), config=config, epoch=1)
        return list(waits)

    assert waits_in(steps=20) == waits_in(steps=2)


# One fit


def test_same_config_gives_the_same_history_and_weights(dark_and_bright):
    config = TrainConfig(**SMALL)
    first = fit(config, dark_and_bright)
    torch.manual_seed(99)
    second = fit(config, dark_and_bright)
    assert first.history == second.history
    assert torch.equal(*(next(f.model.parameters()) for f in (first, second)))


def test_another_seed_gives_another_history(dark_and_bright):
    first, second = (
        fit(TrainConfig(**SMALL, seed=seed), dark_and_bright).history for seed in (0, 1)
    )
    assert first[0]["train_bce"] != second[0]["train_bce"]


def test_fit_leaves_the_global_generator_untouched(dark_and_bright):
    before = torch.get_rng_state()
    fit(TrainConfig(**SMALL), dark_and_bright)
    assert torch.equal(torch.get_rng_state(), before)


def test_history_counts_the_epochs_and_adds_up_the_loss(dark_and_bright):
    beta = 2.5
    history = fit(TrainConfig(**SMALL, beta=beta), dark_and_bright).history
    assert [numbers["epoch"] for numbers in history] == [1, 2]
    for numbers in history:
        for part in ("train", "test"):
            loss = numbers[f"{part}_bce"] + beta * numbers[f"{part}_kl"]
            assert numbers[f"{part}_loss"] == pytest.approx(loss)
            assert numbers[f"{part}_kl"] > 0


def test_without_beta_the_loss_is_the_bce_and_the_kl_is_free_to_grow(digits):
    free, bound = (
        fit(TrainConfig(beta=beta, epochs=2, batch_size=32, device="cpu"), digits.first(1_000, 200))
        for beta in (0.0, 1.0)
    )
    assert free.curve("train_loss") == free.curve("train_bce")
    assert free.curve("test_loss") == free.curve("test_bce")
    assert free.curve("test_kl")[-1] > 3 * bound.curve("test_kl")[-1]


def test_training_kl_is_that_of_the_training_images(dark_and_bright):
    result = fit(TrainConfig(**SMALL, learning_rate=1e-8), dark_and_bright)
    q = posterior(result.model, dark_and_bright.train_images)
    expected = kl_divergence(q, PRIOR).sum(dim=1).mean().item()
    assert result.curve("train_kl") == pytest.approx([expected] * 2, rel=1e-4)


def test_test_numbers_are_those_of_the_test_images_under_the_returned_model(dark_and_bright):
    config = TrainConfig(**{**SMALL, "epochs": 10}, learning_rate=3e-3, activation="tanh")
    result = fit(config, dark_and_bright)
    x = dark_and_bright.test_images
    q = posterior(result.model, x)
    kl = kl_divergence(q, PRIOR).sum(dim=1).mean().item()
    assert result.history[-1]["test_kl"] == pytest.approx(kl, rel=1e-5)
    logits = result.model.decode(q.sample((200,))).detach()  # [200, 30, 784]
    bce = -Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(dim=2).mean(dim=1)
    # The history holds one more draw of the noise.
    assert abs(result.history[-1]["test_bce"] - bce.mean()) < 5 * bce.std()
    dark = cross_entropy(logits[0, 0], dark_and_bright.train_images).mean()
    assert abs(dark - bce.mean()) > 50 * bce.std()  # training images would not pass for them


def test_a_few_hundred_steps_on_real_digits_beat_the_best_constant_image(digits):
    result = fit(TrainConfig(epochs=4, batch_size=32, device="cpu"), digits)
    loss = result.curve("test_loss")
    assert loss == sorted(loss, reverse=True)
    assert loss[-1] < 195  # the best constant image costs 205.65
    assert result.curve("test_kl")[-1] > 3  # and the latents are in use


def test_weights_are_kept_at_the_snapshot_epochs_and_the_last(dark_and_bright):
    config = TrainConfig(**{**SMALL, "epochs": 4})
    result = fit(config, dark_and_bright, snapshot_epochs=(1, 3, 9))
    assert sorted(result.weights) == [1, 3, 4]


def test_model_at_an_epoch_is_the_one_that_had_trained_so_long(dark_and_bright):
    result = fit(TrainConfig(**SMALL), dark_and_bright)
    one = fit(TrainConfig(**{**SMALL, "epochs": 1}), dark_and_bright)
    for epoch, expected in ((1, one.model), (2, result.model)):
        found = dict(result.at(epoch).state_dict())
        torch.testing.assert_close(found, dict(expected.state_dict()), rtol=0, atol=0)
    assert result.at(2) is not result.model


def test_model_at_an_epoch_that_was_not_kept_is_refused_with_those_that_were(dark_and_bright):
    result = fit(TrainConfig(**SMALL), dark_and_bright)
    with pytest.raises(KeyError, match=r"epoch 7 was not kept; kept are \[1, 2\]"):
        result.at(7)


def test_a_gpu_that_is_not_there_is_refused_by_the_field_s_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device: expected a GPU for 'cuda'"):
        resolve_device("cuda")
