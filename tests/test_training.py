"""Steps, epochs and fits against computations written out with torch.distributions."""

import copy
import math
import sys
from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_helpers import adversarial, gradients, objective, parameters, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.data import Digits
from vae_helpers.models import VAE, TunedVAE
from vae_helpers.objective import LOSSES, elbo
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import new_rng
from vae_helpers.training import (
    DivergedError,
    TrainConfig,
    add_up,
    checked_epoch,
    evaluate,
    fit,
    new_loss,
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
        ("loss", "elbow", "did you mean 'elbo'?"),
        ("beta", -1.0, "the nearest valid value is 0"),
        ("z_samples", 0, "the nearest valid value is 1"),
        ("latent_dim", 0, "the nearest valid value is 1"),
        ("hidden_dims", (), "expected a list of numbers"),
        ("activation", "rely", "did you mean 'relu'?"),
        ("optimizer", "Adam", "did you mean 'adam'?"),
        ("beta1", 1.0, "the nearest valid value is 0.9999"),
        ("batch_norm", 1, "expected True or False, got 1"),
        ("slope", -0.1, "the nearest valid value is 0"),
        ("dropout", 1.0, "the nearest valid value is 0.95"),
        ("seed", -1, "the nearest valid value is 0"),
        ("dataset", "MINST", "did you mean 'MNIST'?"),
        ("binarize", "dynamical", "did you mean 'dynamic'?"),
        ("device", "cuda:0", "did you mean 'cuda'?"),
        ("acceleration", "on", "expected one of auto, off"),
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
    assert (config.loss, config.beta, config.z_samples) == ("elbo", 1.0, 1)
    assert (config.optimizer, config.binarize) == ("adam", "none")
    assert (config.beta1, config.batch_norm, config.slope, config.dropout) == (0.9, False, 0.0, 0.0)
    assert type(new_model(config)) is VAE
    assert sum(p.numel() for p in new_model(config).parameters()) == 801_224


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"loss": "iwae", "beta": 0.5}, "beta: expected 1 for the loss 'iwae', .* got 0.5"),
        ({"loss": "elbo", "z_samples": 5}, "z_samples: expected 1 for the loss 'elbo', got 5"),
        ({"loss": "beta_tc", "z_samples": 2}, "z_samples: expected 1 .* take the loss 'iwae'"),
    ],
)
def test_settings_that_the_loss_has_no_use_for_are_refused_by_name(settings, says):
    with pytest.raises(ParameterError, match=says):
        TrainConfig(**settings)


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


def test_what_shapes_an_epoch_is_the_configuration_without_the_number_of_epochs(monkeypatch):
    monkeypatch.setattr(training.acceleration, "products", lambda choice: f"by {choice}")
    shape = TrainConfig(epochs=7, beta=2.0, device="cpu").shape()
    assert (shape["device"], shape["products"]) == ("cpu", "by auto")
    assert shape["config"]["beta"] == 2.0
    assert shape == TrainConfig(epochs=8, beta=2.0, device="cpu").shape()
    assert shape != TrainConfig(beta=2.0, device="cpu", acceleration="off").shape()
    assert not {"epochs", "device", "acceleration"} & shape["config"].keys()


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
    taken = train_step(model, optimizer, x, loss=partial(elbo, beta=beta), rng=noise)
    for parameter, start, slope in zip(model.parameters(), before, gradient, strict=True):
        torch.testing.assert_close(parameter, start - 0.01 * slope)
    expected = {"bce": bce, "kl": kl, "loss": bce + beta * kl}
    torch.testing.assert_close(taken, {name: term.detach() for name, term in expected.items()})
    assert not any(term.requires_grad for term in taken.values())


def test_step_forgets_the_gradient_of_the_one_before():
    x = torch.rand(5, 784)
    fresh = VAE(hidden_dims=(16,), latent_dim=3)
    used = copy.deepcopy(fresh)
    for parameter in used.parameters():
        parameter.grad = torch.ones_like(parameter)
    for model in (fresh, used):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        train_step(model, optimizer, x, loss=elbo, rng=torch.Generator().manual_seed(0))
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
    optimizer = new_optimizer(config, deaf)
    numbers = train_epoch(deaf, optimizer, images, loss=elbo, config=config, epoch=epoch)
    assert numbers == pytest.approx({"bce": bce, "kl": kl, "loss": bce + kl}, rel=1e-4)


def test_order_depends_on_seed_and_epoch_and_on_nothing_else():
    visited = []

    def look(model, optimizer, x, **settings):
        visited.extend(x[:, 0].tolist())
        return {"loss": torch.zeros(len(x))}

    def order(epoch, **options):
        config = TrainConfig(batch_size=4, **options)
        model = new_model(config)
        visited.clear()
        optimizer = new_optimizer(config, model)
        train_epoch(model, optimizer, unlike(30), loss=elbo, config=config, epoch=epoch, step=look)
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
        return train_epoch(start, optimizer, images, loss=elbo, config=config, epoch=epoch)["bce"]

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
    numbers = evaluate(deaf, images, loss=elbo, seed=0)
    assert numbers == pytest.approx({"bce": bce, "kl": kl, "loss": bce + kl}, rel=1e-6)


def test_evaluation_leaves_the_model_and_repeats_itself(digits):
    model = VAE()
    before = copy.deepcopy(model.state_dict())
    first = evaluate(model, digits.test_images, loss=elbo, seed=0)
    assert evaluate(model, digits.test_images, loss=elbo, seed=0) == first
    assert evaluate(model, digits.test_images, loss=elbo, seed=1) != first
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_evaluation_keeps_no_graph():
    model, kept = VAE(hidden_dims=(16,), latent_dim=3), []
    model.register_forward_hook(lambda model, x, output: kept.append(output.logits.requires_grad))
    evaluate(model, torch.rand(5, 784), loss=elbo, seed=0)
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
    bce = [evaluate(model, x, loss=elbo, seed=seed)["bce"] for seed in range(50)]
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
        found = [
            train_epoch(deaf, optimizer, images, loss=elbo, config=config, epoch=epoch)
            for epoch in (1, 2)
        ]
    else:
        found = [
            evaluate(deaf, images, loss=elbo, seed=seed, binarize="dynamic") for seed in (1, 2)
        ]
    bce = [numbers["bce"] for numbers in found]
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
        images = torch.rand(4 * steps, 784)
        train_epoch(model, optimizer, images, loss=elbo, config=config, epoch=1)
        return list(waits)

    assert waits_in(steps=20) == waits_in(steps=2)


# The losses


def test_the_losses_that_a_configuration_may_ask_for_are_those_that_there_are():
    assert set(parameters.RULES["loss"].words) == set(LOSSES)


TERMS = {
    "elbo": ["bce", "kl", "loss"],
    "iwae": ["bce", "kl", "gap", "loss"],
    "beta_tc": ["bce", "mi", "tc", "dw_kl", "loss"],
}
SETTINGS = {
    "elbo": {"beta": 0.5},
    "iwae": {"loss": "iwae", "z_samples": 5},
    "beta_tc": {"loss": "beta_tc", "beta": 3.0},
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fit_of_each_loss_falls_and_its_history_is_named_after_the_terms(loss, dark_and_bright):
    data = replace(dark_and_bright, test_images=dark_and_bright.train_images[:30])
    config = TrainConfig(**{**SMALL, "epochs": 20}, learning_rate=3e-3, **SETTINGS[loss])
    result = fit(config, data)
    assert result.terms() == result.terms("test") == TERMS[loss]
    for numbers in result.history:
        assert list(numbers) == [
            "epoch",
            *(f"train_{name}" for name in TERMS[loss]),
            *(f"test_{name}" for name in TERMS[loss]),
        ]
    for side in ("train", "test"):
        curve = {name: torch.tensor(result.curve(f"{side}_{name}")) for name in TERMS[loss]}
        total = {
            "elbo": lambda bce, kl: bce + 0.5 * kl,
            "iwae": lambda bce, kl, gap: bce + kl - gap,
            "beta_tc": lambda bce, mi, tc, dw_kl: bce + mi + 3 * tc + dw_kl,
        }[loss](*(curve[name] for name in TERMS[loss][:-1]))
        torch.testing.assert_close(curve["loss"], total, rtol=1e-4, atol=0)
        assert curve["loss"][-1] < 0.8 * curve["loss"][0]


def test_a_step_of_the_importance_weighted_bound_draws_k_samples_of_each_image():
    model, shapes = VAE(hidden_dims=(16,), latent_dim=3), []
    model.register_forward_hook(lambda model, x, output: shapes.append(tuple(output.z.shape)))
    x, rng = torch.rand(5, 784), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    terms = train_step(model, optimizer, x, loss=objective.iwae, rng=rng, sample_shape=(7,))
    evaluate(model, x, loss=objective.iwae, seed=0, sample_shape=(4,))
    assert shapes == [(7, 5, 3), (4, 5, 3)]
    assert [tuple(term.shape) for term in terms.values()] == [(5,)] * 4


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_gets_its_samples_its_beta_and_the_number_of_training_images(
    loss, dark_and_bright, monkeypatch
):
    seen, real = [], LOSSES[loss]

    def watched(output, x, **settings):
        seen.append((tuple(output.z.shape[:-1]), settings))
        return real(output, x, **settings)

    watched.__wrapped__ = real  # its signature is that of the loss
    monkeypatch.setitem(LOSSES, loss, watched)
    fit(TrainConfig(**{**SMALL, "epochs": 1}, **SETTINGS[loss]), dark_and_bright)
    settings = {
        "elbo": {"beta": 0.5},
        "iwae": {},
        "beta_tc": {"beta": 3.0, "dataset_size": 40},
    }[loss]
    samples = (5,) if loss == "iwae" else ()
    batches = (16, 16, 8, 30)  # of 40 training images and 30 test images
    assert seen == [((*samples, size), settings) for size in batches]


@pytest.fixture
def free_bits(monkeypatch):
    """A fourth loss: one function, and its name among the valid ones."""

    def free_bits(output, x):
        bce = objective.bce(output.logits, x)
        bits = objective.kl(output.mu, output.logvar).clamp(min=2.0)
        return {"bce": bce, "bits": bits, "loss": bce + bits}

    monkeypatch.setitem(LOSSES, "free_bits", free_bits)
    words = (*parameters.RULES["loss"].words, "free_bits")
    monkeypatch.setitem(parameters.RULES, "loss", parameters.Choice(words))


@pytest.mark.usefixtures("free_bits")
def test_a_fourth_loss_is_trained_shown_and_kept_under_the_names_of_its_terms(
    dark_and_bright, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    config = TrainConfig(**{**SMALL, "epochs": 10}, loss="free_bits")
    result = fit(config, dark_and_bright)
    assert result.terms() == result.terms("test") == ["bce", "bits", "loss"]
    assert result.curve("train_loss")[-1] < result.curve("train_loss")[0]
    assert min(result.curve("train_bits")) >= 2
    shown = capsys.readouterr().err.splitlines()[-1]
    last = result.history[-1]
    for name in ("train_bce", "train_bits", "test_bits", "test_loss"):
        assert f"{name} {last[name]:.1f}" in shown
    with pytest.raises(ParameterError, match="beta: expected 1 for the loss 'free_bits'"):
        TrainConfig(loss="free_bits", beta=2.0)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (33, 30, r"batch_size: .* 'beta_tc', got a last one of 1 \(33 images in batches of 16\)"),
        (40, 1, r"test_images: .* 'beta_tc', got a last one of 1 \(1 images in batches of 1000\)"),
    ],
)
def test_a_batch_of_one_image_is_refused_by_a_loss_that_compares_images(
    dark_and_bright, train, test, says
):
    data, config = dark_and_bright.first(train, test), TrainConfig(**SMALL, loss="beta_tc")
    with pytest.raises(ParameterError, match=says):
        fit(config, data)
    assert len(fit(replace(config, loss="elbo"), data).history) == 2
    assert len(fit(config, dark_and_bright.first(34, 2)).history) == 2


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


@pytest.mark.parametrize("loss", LOSSES)
def test_test_numbers_are_those_of_the_loss_with_the_configuration_s_settings(
    loss, dark_and_bright
):
    config = TrainConfig(**SMALL, **SETTINGS[loss], binarize="dynamic", seed=4)
    result = fit(config, dark_and_bright)
    numbers = evaluate(
        result.model,
        dark_and_bright.test_images,
        loss=new_loss(config, dataset_size=40),
        seed=4,
        binarize="dynamic",
        sample_shape=(5,) if loss == "iwae" else (),
    )
    found = {name: result.history[-1][f"test_{name}"] for name in numbers}
    assert found == pytest.approx(numbers, rel=1e-5)


def test_fitted_model_is_in_evaluation_mode(dark_and_bright):
    result = fit(TrainConfig(**SMALL), dark_and_bright)
    assert not any(module.training for module in [*result.model.modules(), *result.at(1).modules()])


def test_progress_is_shown_only_if_asked_for(dark_and_bright, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(TrainConfig(**SMALL), dark_and_bright, title="a VAE", show_progress=False)
    assert capsys.readouterr() == ("", "")
    fit(TrainConfig(**SMALL), dark_and_bright, title="a VAE")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a VAE: 2 of 2" in shown.err
    fit(TrainConfig(**SMALL), dark_and_bright)
    assert "epochs 1 to 2: 2 of 2" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["adam", "sgd_momentum"])
def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(
    dark_and_bright, optimizer
):
    config = TrainConfig(**SMALL, optimizer=optimizer, learning_rate=1e-2)
    whole, first, second = (config.trainer(dark_and_bright) for _ in range(3))
    numbers = [whole.epoch(1), whole.epoch(2)]
    assert first.epoch(1) == numbers[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.epoch(2) == numbers[1]
    found, expected = (dict(each.model.state_dict()) for each in (second, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


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


def test_weights_are_kept_at_the_epochs_that_the_course_shows_unless_others_are_named(
    dark_and_bright,
):
    result = fit(TrainConfig(**{**SMALL, "epochs": 31}), dark_and_bright)
    assert sorted(result.weights) == [1, 2, 5, 10, 15, 20, 30, 31]


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


# What the networks of a GAN may have

TUNED = {"batch_norm": True, "slope": 0.2, "dropout": 0.4}


@pytest.mark.parametrize("option", TUNED)
def test_each_of_the_options_makes_a_tuned_vae_that_has_it_alone(option):
    model = new_model(TrainConfig(**SMALL, **{option: TUNED[option]}))
    assert type(model) is TunedVAE
    layers = list(model.modules())
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in layers) == (option == "batch_norm")
    slopes = [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2 if option == "slope" else 0.0] * 2
    dropout = [layer.p for layer in layers if isinstance(layer, nn.Dropout)]
    assert dropout == ([0.4] if option == "dropout" else [])
    assert (model.latent_dim, model.to_mu.in_features) == (3, 16)


@pytest.mark.parametrize("option", TUNED)
def test_another_activation_than_the_relu_is_refused_with_any_of_the_options(option):
    with pytest.raises(ParameterError, match=r"activation: expected 'relu' with .*, got 'tanh'"):
        TrainConfig(activation="tanh", **{option: TUNED[option]})
    assert type(new_model(TrainConfig(activation="tanh"))) is VAE


def test_two_steps_of_adam_have_its_first_beta():
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    optimizer = new_optimizer(TrainConfig(learning_rate=0.01, beta1=0.3), model)
    for slope in (1.0, -2.0):
        model.weight.grad = torch.full((1, 1), slope)
        optimizer.step()
    # Kingma & Ba 2015, algorithm 1, with gradients 1 and -2.
    mean = 0.3 * 0.7 * 1 + 0.7 * -2
    square = 0.999 * 0.001 * 1 + 0.001 * 4
    second = mean / (1 - 0.3**2) / (square / (1 - 0.999**2)) ** 0.5
    assert start - model.weight.item() == pytest.approx(0.01 * (1 + second), rel=1e-4)


def test_default_training_is_the_plain_loop_of_a_vae_and_torch_s_adam_to_the_bit(dark_and_bright):
    config = TrainConfig(**SMALL, acceleration="off")
    result = fit(config, dark_and_bright)
    model = new_model(config)
    assert type(model) is VAE
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    losses = []
    for epoch in (1, 2):
        noise = new_rng(0, "noise", epoch=epoch)
        order = torch.randperm(40, generator=new_rng(0, "order", epoch=epoch))
        losses.append([])
        for x in dark_and_bright.train_images[order].split(16):
            terms = elbo(model(x, torch.randn(len(x), 3, generator=noise)), x)
            optimizer.zero_grad()
            terms["loss"].mean().backward()
            optimizer.step()
            losses[-1] += terms["loss"].tolist()
    expected = [math.fsum(each) / 40 for each in losses]
    assert result.curve("train_loss") == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(
        dict(result.model.state_dict()), dict(model.state_dict()), rtol=0, atol=0
    )


def test_the_step_without_autograd_is_the_plain_vae_s_alone(dark_and_bright):
    def step(**options):
        return TrainConfig(**SMALL, **options).trainer(dark_and_bright).step

    assert step() is step(beta1=0.5) is gradients.train_step
    for option, value in TUNED.items():
        assert step(**{option: value}) is train_step


def test_a_tuned_vae_is_trained_in_training_mode_and_judged_in_evaluation_mode(dark_and_bright):
    trainer = TrainConfig(**SMALL, **TUNED).trainer(dark_and_bright)
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda model, inputs: seen.append((len(inputs[0]), model.decoder[1].training))
    )
    for number in (1, 2):
        trainer.epoch(number)
    assert seen == [(16, True), (16, True), (8, True), (30, False)] * 2


@pytest.mark.parametrize("option", ["batch_norm", "dropout"])
def test_judging_a_tuned_vae_leaves_no_trace_in_it_and_draws_no_dropout(option, dark_and_bright):
    config = TrainConfig(**{**SMALL, "epochs": 1}, **{option: TUNED[option]})
    result = fit(config, dark_and_bright)
    numbers = evaluate(
        result.model.eval(), dark_and_bright.test_images, loss=partial(elbo, beta=1.0), seed=0
    )
    found = {name: result.history[-1][f"test_{name}"] for name in numbers}
    assert found == pytest.approx(numbers, rel=1e-5)
    statistics = dict(fit(config, dark_and_bright.first(40, 1)).model.named_buffers())
    torch.testing.assert_close(dict(result.model.named_buffers()), statistics, rtol=0, atol=0)


def test_dropout_depends_on_seed_and_epoch_and_on_nothing_else():
    images = torch.rand(1, 784).expand(9, 784)  # all alike: their order cannot matter
    labels = torch.zeros(9, dtype=torch.int64)
    data = Digits(images, labels, images, labels)
    still = TrainConfig(**SMALL, dropout=0.5, learning_rate=1e-8)
    model = new_model(still)

    def kl(epoch, seed=0):
        trainer = replace(still, seed=seed).trainer(data)
        trainer.model.load_state_dict(model.state_dict())
        return trainer.epoch(epoch)["train_kl"]  # which knows of no other noise

    first = kl(1)
    torch.manual_seed(99)
    assert kl(1) == first
    # The steps, which are tiny and not the same, move it by less.
    assert abs(kl(2) - first) > 1e-4
    assert abs(kl(1, seed=1) - first) > 1e-4


def test_a_tuned_training_that_goes_on_ends_as_one_that_was_never_stopped(dark_and_bright):
    config = TrainConfig(**SMALL, **TUNED, beta1=0.5)
    before = torch.get_rng_state()
    whole, first, second = (config.trainer(dark_and_bright) for _ in range(3))
    numbers = [whole.epoch(1), whole.epoch(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert first.epoch(1) == numbers[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(99)
    assert second.epoch(2) == numbers[1]
    found, expected = (dict(each.model.state_dict()) for each in (second, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_last_mini_batch_of_one_image_is_refused_with_batch_normalisation(dark_and_bright):
    config, data = TrainConfig(**SMALL, batch_norm=True), dark_and_bright.first(33, 1)
    says = r"batch_size: .* batch normalisation, got a last one of 1 \(33 images in batches of 16\)"
    with pytest.raises(ParameterError, match=says):
        fit(config, data)
    assert len(fit(replace(config, batch_norm=False, dropout=0.1), data).history) == 2
    assert len(fit(config, dark_and_bright.first(34, 1)).history) == 2  # a test image may be alone


# Numbers that are no longer finite


def test_sums_are_those_of_python_in_double_precision():
    numbers = (torch.randn(469, 2, generator=torch.Generator().manual_seed(1)) * 1e4).unbind()
    steps = [{"a": a, "b": b} for a, b in numbers]
    expected = {"a": 0.0, "b": 0.0}
    for step in steps:
        expected = {name: total + step[name].item() for name, total in expected.items()}
    assert add_up(steps, epoch=1) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_number_that_is_not_finite_is_named(value):
    steps = [{"bce": torch.ones(()), "kl": torch.ones(())} for _ in range(5)]
    steps[3]["kl"] = torch.tensor(value)
    steps[4] = dict.fromkeys(("bce", "kl"), torch.tensor(math.nan))
    with pytest.raises(
        DivergedError, match=f"epoch 7, step 4 of 5: expected a finite kl, got {value}"
    ):
        add_up(steps, epoch=7)


class Broken:
    """A training whose epoch ends with given numbers and weights."""

    def __init__(self, loss, bias):
        self.loss = loss
        self.model = nn.Linear(1, 2)
        with torch.no_grad():
            self.model.bias.copy_(torch.tensor([0.0, bias]))

    def epoch(self, number):
        return {"epoch": number, "loss": self.loss}


def test_numbers_and_weights_that_are_not_finite_are_refused_by_name():
    assert checked_epoch(Broken(1.0, 1.0), 2) == {"epoch": 2, "loss": 1.0}
    with pytest.raises(DivergedError, match=r"epoch 2: expected a finite loss, got inf"):
        checked_epoch(Broken(math.inf, 1.0), 2)
    with pytest.raises(DivergedError, match=r"epoch 2, after.*weights, got bias with 1 that are"):
        checked_epoch(Broken(1.0, math.nan), 2)


STEEP = TrainConfig(**SMALL, optimizer="sgd", learning_rate=10.0)


def test_a_diverging_vae_stops_with_epoch_step_and_term_and_what_to_do(digits):
    with pytest.raises(
        DivergedError,
        match=r"epoch \d, step \d+ of 16: expected a finite (bce|kl|loss), .*learning_rate",
    ):
        fit(STEEP, digits.first(256, 64))


@pytest.mark.parametrize("kind", ["VAE", "GAN"])
def test_weights_that_break_in_the_last_step_stop_the_training(kind, digits, monkeypatch):
    module, config = {
        "VAE": (training, TrainConfig(**SMALL)),
        "GAN": (adversarial, GANConfig(**SMALL)),
    }[kind]
    real = module.train_epoch

    def poisoned(model, *arguments, **named):
        numbers = real(model, *arguments, **named)
        with torch.no_grad():
            list(model.parameters())[-1].fill_(math.inf)
        return numbers

    monkeypatch.setattr(module, "train_epoch", poisoned)
    monkeypatch.setattr(training, "evaluate", lambda *arguments, **named: {})
    with pytest.raises(DivergedError, match="epoch 1, after its last step: expected finite weig"):
        module.fit(config, digits.first(256, 64))
