"""The stochastic layers against torch.distributions, quadrature and the paper's table of rates."""

import copy
import inspect
import math
from dataclasses import FrozenInstanceError, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal
from toy_digits import few_digits

from vae_helpers import evaluation, training
from vae_helpers.models import VAE
from vae_helpers.parameters import ParameterError
from vae_helpers.stochastic_layers import (
    OBJECTIVES,
    LayeredConfig,
    LayeredOutput,
    LayeredVAE,
    elbo,
    iwae,
    learning_rate,
    log_weights,
    new_model,
)
from vae_helpers.store import runs

PRIOR = Normal(0.0, 1.0)
SMALL = {"epochs": 4, "batch_size": 16, "z_samples": 3, "device": "cpu"}
KINDS = {
    f"{layers} {loss}": LayeredConfig(**SMALL, stochastic_layers=layers, loss=loss)
    for layers in (1, 2)
    for loss in ("elbo", "iwae")
}


@pytest.fixture(params=KINDS)
def config(request):
    return KINDS[request.param]


@pytest.fixture
def data():
    """Forty training images: two mini-batches of 16 and one of 8."""
    return few_digits(train=40)


def lively(*latent_dims, pixels=6, widths=None):
    """A model in double precision in which every weight and bias matters."""
    model = LayeredVAE(latent_dims, widths or [5] * len(latent_dims), pixels).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, dtype=torch.float64))
    return model


def black_and_white(images, pixels=6):
    return torch.bernoulli(torch.full((images, pixels), 0.4, dtype=torch.float64))


def gaussian(weights, given):
    """Two tanh layers and two heads by hand, the weights being those of a `Gaussian` in order."""
    W1, b1, W2, b2, W_mu, b_mu, W_log_std, b_log_std = weights
    hidden = torch.tanh(torch.tanh(given @ W1.T + b1) @ W2.T + b2)
    return Normal(hidden @ W_mu.T + b_mu, torch.exp(hidden @ W_log_std.T + b_log_std))


def bernoulli(weights, h):
    W1, b1, W2, b2, W3, b3 = weights
    return Bernoulli(logits=torch.tanh(torch.tanh(h @ W1.T + b1) @ W2.T + b2) @ W3.T + b3)


def pieces(model):
    """The weights in groups: q(h1|x), q(h2|h1) and p(h1|h2) if there are two layers, p(x|h1)."""
    weights = list(model.parameters())
    return [*(weights[first : first + 8] for first in range(0, len(weights) - 6, 8)), weights[-6:]]


# The configuration


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("stochastic_layers", 3, "the nearest valid value is 2"),
        ("loss", "iwea", "did you mean 'iwae'?"),
        ("loss", "beta_tc", "expected one of elbo, iwae for stochastic layers, got 'beta_tc'"),
        ("z_samples", 0, "the nearest valid value is 1"),
        ("epochs", 0, "the nearest valid value is 1"),
        ("learning_rate", -1e-3, "the nearest valid value is 1e-08"),
        ("batch_size", 0, "the nearest valid value is 1"),
        ("beta1", 1.0, "the nearest valid value is 0.9999"),
        ("adam_eps", 0.0, "the nearest valid value is 1e-12"),
        ("seed", -1, "the nearest valid value is 0"),
        ("dataset", "MINST", "did you mean 'MNIST'?"),
        ("binarize", "static", "expected one of none, dynamic"),
        ("device", "cuda:0", "did you mean 'cuda'?"),
        ("acceleration", "on", "expected one of auto, off"),
    ],
)
def test_config_refuses_a_wrong_value_with_its_field_and_a_valid_one(field, value, says):
    with pytest.raises(ParameterError) as caught:
        LayeredConfig(**{field: value})
    assert str(caught.value).startswith(f"{field}: ")
    assert says in str(caught.value)


def test_default_config_is_the_paper():
    config = LayeredConfig()
    assert (config.epochs, config.batch_size, config.binarize) == (3_280, 20, "dynamic")
    group = config.trainer(few_digits()).optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-4)
    with pytest.raises(FrozenInstanceError):
        config.epochs = 121


def test_config_turns_numbers_into_its_own_types():
    config = LayeredConfig(learning_rate=1, adam_eps=1, z_samples=np.int64(5))
    assert [type(it) for it in (config.learning_rate, config.adam_eps, config.z_samples)] == [
        float,
        float,
        int,
    ]


def test_adam_gets_the_settings_that_were_asked_for(data):
    config = LayeredConfig(**SMALL, beta1=0.99, adam_eps=5e-6, learning_rate=2e-3)
    group = config.trainer(data).optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (2e-3, (0.99, 0.999), 5e-6)


def test_a_run_of_fewer_epochs_is_the_beginning_of_one_of_more():
    shape = LayeredConfig(epochs=30, device="cpu").shape()
    assert shape == LayeredConfig(device="cpu").shape()
    assert shape != LayeredConfig(epochs=30, z_samples=5, device="cpu").shape()
    assert not {"epochs", "device", "acceleration"} & shape["config"].keys()


# The schedule


def test_the_eight_stages_have_the_papers_epochs_and_rates():
    rates = [learning_rate(LayeredConfig(), epoch) for epoch in range(1, 3_281)]
    # 10^(-i/7) to four digits, and 3^i, from a table of powers
    table = {
        1.0: 1,
        0.7197: 3,
        0.5179: 9,
        0.3728: 27,
        0.2683: 81,
        0.1931: 243,
        0.1389: 729,
        0.1: 2_187,
    }
    expected = [1e-3 * factor for factor, epochs in table.items() for _ in range(epochs)]
    assert rates == pytest.approx(expected, rel=1e-3)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("epochs", [1, 4, 13, 30, 40, 121, 3_280])
def test_a_shorter_run_keeps_the_rates_of_its_epochs(epochs):
    config, whole = LayeredConfig(epochs=epochs), LayeredConfig()
    for epoch in range(1, epochs + 1):
        assert learning_rate(config, epoch) == learning_rate(whole, epoch)
    assert learning_rate(replace(config, learning_rate=0.5), 1) == 0.5


@pytest.mark.parametrize("epochs", [1, 4, 13, 40, 121, 364, 1_093, 3_280])
def test_a_stage_ends_where_the_documentation_says(epochs):
    config = LayeredConfig()
    assert learning_rate(config, epochs + 1) < learning_rate(config, epochs)


def test_every_epoch_is_trained_at_its_rate_also_after_a_stop(data, monkeypatch):
    rates = []

    def look(model, optimizer, images, **settings):
        rates.append(optimizer.param_groups[0]["lr"])
        return {"loss": 0.0}

    monkeypatch.setattr(training, "train_epoch", look)
    config = LayeredConfig(**{**SMALL, "epochs": 13})
    trainer = config.trainer(data)
    for epoch in (1, 2, 4, 5):
        trainer.epoch(epoch)
    other = config.trainer(data)
    other.load_state_dict(trainer.state_dict())
    other.epoch(13)
    assert rates == pytest.approx([1e-3, 7.197e-4, 7.197e-4, 5.179e-4, 5.179e-4], rel=1e-3)


# The networks


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            1,
            {
                "up.0": [(200, 784), (200, 200), (50, 200), (50, 200)],
                "hidden": [(200, 50), (200, 200)],
                "to_logits": [(784, 200)],
            },
        ),
        (
            2,
            {
                "up.0": [(200, 784), (200, 200), (100, 200), (100, 200)],
                "up.1": [(100, 100), (100, 100), (50, 100), (50, 100)],
                "down.0": [(100, 50), (100, 100), (100, 100), (100, 100)],
                "hidden": [(200, 100), (200, 200)],
                "to_logits": [(784, 200)],
            },
        ),
    ],
)
def test_layers_have_the_papers_sizes(layers, expected, data):
    model = new_model(LayeredConfig(stochastic_layers=layers), data.train_images)
    found = {
        part: [
            tuple(m.weight.shape)
            for m in model.get_submodule(part).modules()
            if isinstance(m, nn.Linear)
        ]
        for part in expected
    }
    assert found == expected
    assert len(list(model.parameters())) == 2 * sum(len(shapes) for shapes in expected.values())
    assert model.latent_dim == {1: 50, 2: 150}[layers]


@pytest.mark.parametrize("layers", [1, 2])
def test_weights_begin_as_glorots_and_biases_at_zero(layers, data):
    model = new_model(LayeredConfig(stochastic_layers=layers), data.train_images)
    linears = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    for name, linear in linears.items():
        end = math.sqrt(6 / sum(linear.weight.shape))
        assert linear.weight.abs().max().item() == pytest.approx(end, rel=0.01), name
        assert linear.weight.std().item() == pytest.approx(end / math.sqrt(3), rel=0.05), name
        if name != "to_logits":
            assert not linear.bias.any(), name
    weights = [linear.weight for linear in linears.values()]
    assert not any(
        torch.equal(one, other)
        for i, one in enumerate(weights)
        for other in weights[:i]
        if one.shape == other.shape
    )


def test_pixels_begin_with_the_mean_of_the_training_images(digits):
    model = new_model(LayeredConfig(), digits.train_images)
    means = digits.train_images.double().mean(dim=0).clamp(0.001, 0.999)
    torch.testing.assert_close(torch.sigmoid(model.to_logits.bias.double()), means)
    assert means.min() == 0.001  # some pixels are never lit


def test_initial_weights_depend_on_the_seed_alone(data):
    before = torch.get_rng_state()
    first, again, other = (
        nn.utils.parameters_to_vector(
            new_model(LayeredConfig(**kwargs), data.train_images).parameters()
        )
        for kwargs in ({"seed": 1}, {"seed": 1, "z_samples": 5, "loss": "iwae"}, {"seed": 2})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


# The log-weights


def test_log_weights_of_one_layer_are_those_of_torchs_distributions():
    model, x = lively(3), black_and_white(4)
    eps = torch.randn(5, 4, 3, dtype=torch.float64)
    of_q, of_pixels = pieces(model)
    q = gaussian(of_q, x)
    h = q.loc + q.scale * eps
    expected = bernoulli(of_pixels, h).log_prob(x).sum(-1)
    expected = expected + PRIOR.log_prob(h).sum(-1) - q.log_prob(h).sum(-1)
    torch.testing.assert_close(log_weights(model, x, eps), expected, rtol=1e-10, atol=1e-10)


def two_layers(model, x, eps):
    """The five log-densities of two layers, written out, `[K, B]` each."""
    of_q1, of_q2, of_p1, of_pixels = pieces(model)
    q1 = gaussian(of_q1, x)
    h1 = q1.loc + q1.scale * eps[..., : q1.loc.shape[1]]
    q2 = gaussian(of_q2, h1)
    h2 = q2.loc + q2.scale * eps[..., q1.loc.shape[1] :]
    return {
        "x|h1": bernoulli(of_pixels, h1).log_prob(x).sum(-1),
        "h1|h2": gaussian(of_p1, h2).log_prob(h1).sum(-1),
        "h2": PRIOR.log_prob(h2).sum(-1),
        "q h1|x": q1.log_prob(h1).sum(-1),
        "q h2|h1": q2.log_prob(h2).sum(-1),
    }


def test_log_weights_of_two_layers_are_those_of_torchs_distributions_and_so_are_their_slopes():
    model, x = lively(3, 2, widths=(5, 4)), black_and_white(4)
    eps = torch.randn(7, 4, 5, dtype=torch.float64)
    log_p = two_layers(model, x, eps)
    expected = log_p["x|h1"] + log_p["h1|h2"] + log_p["h2"] - log_p["q h1|x"] - log_p["q h2|h1"]
    found = log_weights(model, x, eps)
    assert found.shape == (7, 4)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    slopes, its_slopes = (
        torch.autograd.grad(it.mean(), list(model.parameters())) for it in (found, expected)
    )
    torch.testing.assert_close(slopes, its_slopes, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("latent_dims", [(1,), (1, 1)], ids=str)
def test_the_mean_weight_is_the_probability_of_the_image(latent_dims):
    """p(x) is an integral over the latents, by Gauss and Hermite; no q is in it."""
    model, x = lively(*latent_dims, pixels=3), black_and_white(2, pixels=3)
    with torch.no_grad():
        for layer in model.up:  # wider than the posterior: no weight outweighs all others
            layer.to_log_std.weight.mul_(0.2)
            layer.to_log_std.bias.fill_(0.5)
        for layer in model.down:
            layer.to_log_std.weight.mul_(0.2)
            layer.to_log_std.bias.fill_(-0.3)
    points, masses = (torch.from_numpy(it) for it in np.polynomial.hermite_e.hermegauss(100))
    masses = masses / masses.sum()
    groups = pieces(model)
    if len(latent_dims) == 1:
        h1, weight = points[:, None], masses
    else:
        p1 = gaussian(groups[2], points[:, None])  # of h1, for each h2
        h1 = (p1.loc + p1.scale * points).reshape(-1, 1)
        weight = (masses[:, None] * masses).reshape(-1)
    log_p = bernoulli(groups[-1], h1[:, None]).log_prob(x).sum(-1)  # [points, 2]
    p_of_x = (weight[:, None] * log_p.exp()).sum(dim=0)
    everything = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3)
    total = bernoulli(groups[-1], h1[:, None]).log_prob(everything).sum(-1).exp()
    torch.testing.assert_close((weight @ total).sum(), torch.tensor(1.0).double())

    K = 400_000
    with torch.no_grad():
        w = log_weights(model, x, torch.randn(K, 2, len(latent_dims)).double()).exp()
    error = w.std(dim=0) / math.sqrt(K)
    assert (error < 0.01 * p_of_x).all()
    assert ((w.mean(dim=0) - p_of_x).abs() < 4 * error).all()


def test_a_one_layer_model_has_the_weights_of_the_vae_with_the_same_networks():
    """`evaluation.log_weights` of `models.VAE`, whose head is for the log-variance."""
    ours, x = lively(3), black_and_white(4)
    theirs = VAE((5, 5), 3, 6, "tanh").double()
    of_q, of_pixels = pieces(ours)
    of_q = [*of_q[:6], *(2 * it for it in of_q[6:])]
    with torch.no_grad():
        for own, given in zip(theirs.parameters(), [*of_q, *of_pixels], strict=True):
            own.copy_(given)
    eps = torch.randn(6, 4, 3, dtype=torch.float64)
    expected = evaluation.log_weights(theirs, x, eps)
    torch.testing.assert_close(log_weights(ours, x, eps), expected, rtol=1e-10, atol=1e-10)


def test_log_weights_take_the_arguments_of_those_of_the_vae():
    ours, theirs = (
        list(inspect.signature(it).parameters) for it in (log_weights, evaluation.log_weights)
    )
    assert ours == theirs


@pytest.mark.parametrize("latent_dims", [(2,), (2, 1)], ids=str)
def test_samples_are_drawn_from_the_top_down(latent_dims):
    model = lively(*latent_dims, pixels=5).float()
    images = model.sample(40_000, torch.Generator().manual_seed(0)).double()
    again = model.sample(40_000, torch.Generator().manual_seed(0)).double()
    assert torch.equal(images, again)
    groups = [[it.detach().double() for it in group] for group in pieces(model)]
    h = torch.randn(40_000, latent_dims[-1]).double()
    if len(latent_dims) == 2:
        h = gaussian(groups[2], h).sample()
    expected = bernoulli(groups[-1], h).probs
    for found, wanted in ((images, expected), (images.square(), expected.square())):
        error = math.sqrt(2 / 40_000) * wanted.std(dim=0)
        assert ((found.mean(dim=0) - wanted.mean(dim=0)).abs() < 5 * error).all()


# The objectives


def some_output(k, images=7, pixels=6):
    """What a model may give, and black-and-white images."""
    logits = torch.randn(k, images, pixels, dtype=torch.float64)
    output = LayeredOutput(logits, 3 * torch.randn(k, images, dtype=torch.float64))
    return output, black_and_white(images, pixels)


@pytest.mark.parametrize("k", [1, 2, 50])
def test_vae_is_the_mean_and_iwae_the_log_of_the_mean_weight(k):
    output, x = some_output(k)
    log_p = Bernoulli(logits=output.logits).log_prob(x).sum(dim=-1)
    log_w = log_p - output.log_ratio
    parts = {"bce": -log_p.mean(dim=0), "kl": output.log_ratio.mean(dim=0)}
    bound = log_w.exp().mean(dim=0).log()
    torch.testing.assert_close(elbo(output, x), {**parts, "loss": -log_w.mean(dim=0)})
    torch.testing.assert_close(
        iwae(output, x), {**parts, "gap": bound - log_w.mean(dim=0), "loss": -bound}
    )


def test_iwae_of_one_sample_is_vae_of_one_sample_to_the_bit_and_no_other():
    output, x = some_output(1)
    assert torch.equal(iwae(output, x)["loss"], elbo(output, x)["loss"])
    assert not iwae(output, x)["gap"].any()
    output, x = some_output(2)
    assert (iwae(output, x)["loss"] < elbo(output, x)["loss"]).all()


def test_vae_of_k_samples_is_the_mean_of_k_times_one():
    model, x = lively(3, 2), black_and_white(4)
    eps = torch.randn(6, 4, 5, dtype=torch.float64)
    each = [elbo(model(x, one[None]), x) for one in eps]
    expected = {name: torch.stack([it[name] for it in each]).mean(dim=0) for name in each[0]}
    torch.testing.assert_close(elbo(model(x, eps), x), expected)


def test_iwae_is_finite_where_the_weights_themselves_are_not():
    output, x = some_output(5, pixels=784)
    terms = iwae(output._replace(logits=1000 * output.logits), x)
    assert torch.exp(-terms["loss"]).tolist() == [0.0] * 7
    assert all(term.isfinite().all() for term in terms.values())


def test_log_weights_are_what_the_objectives_average():
    model, x = lively(3, 2), black_and_white(4)
    eps = torch.randn(6, 4, 5, dtype=torch.float64)
    log_w = log_weights(model, x, eps)
    torch.testing.assert_close(elbo(model(x, eps), x)["loss"], -log_w.mean(dim=0))
    bound = log_w.logsumexp(dim=0) - math.log(6)
    torch.testing.assert_close(iwae(model(x, eps), x)["loss"], -bound)


# One fit


def test_a_step_descends_the_slope_of_the_mean_over_images_of_the_objective(config, data):
    """One mini-batch of all images: the first step of Adam has the sign of the slope."""
    config = replace(config, batch_size=40, adam_eps=1e-12, binarize="none")
    trainer = config.trainer(data)
    model = copy.deepcopy(trainer.model)
    seen = []
    trainer.model.register_forward_hook(lambda model, given, output: seen.append(given))
    trainer.epoch(1)
    x, eps = seen[0]
    assert eps.shape == (3, 40, model.latent_dim)
    log_w = log_weights(model, x, eps)
    bound = log_w.mean() if config.loss == "elbo" else log_w.exp().mean(dim=0).log().mean()
    if config.loss == "iwae":
        bound = (log_w.logsumexp(dim=0) - math.log(3)).mean()
    slopes = torch.autograd.grad(bound, list(model.parameters()))
    for before, after, slope in zip(
        model.parameters(), trainer.model.parameters(), slopes, strict=True
    ):
        clear = slope.abs() > 1e-4
        moved = (after - before).detach()[clear]
        torch.testing.assert_close(moved, 1e-3 * slope[clear].sign(), rtol=0, atol=2e-6)


def test_history_has_the_terms_of_the_objective_and_falls(config, digits):
    config = replace(config, epochs=13)
    result = training.train(config.trainer(digits.first(200, 50)), epochs=config.epochs)
    names = ["bce", "kl", *(["gap"] if config.loss == "iwae" else []), "loss"]
    assert result.terms() == result.terms("test") == names
    assert [numbers["epoch"] for numbers in result.history] == list(range(1, 14))
    for side in ("train", "test"):
        terms = {name: np.array(result.curve(f"{side}_{name}")) for name in names}
        total = terms["bce"] + terms["kl"] - terms.get("gap", 0.0)
        assert terms["loss"] == pytest.approx(total, rel=1e-4)
        assert terms["loss"][-1] < 0.9 * terms["loss"][0]


def test_test_numbers_are_the_bound_of_the_binarised_test_images(config, data):
    numbers = (trainer := config.trainer(data)).epoch(1)
    seen = []
    trainer.model.register_forward_hook(lambda model, given, output: seen.append(given))
    expected = training.evaluate(
        trainer.model,
        data.test_images,
        loss=OBJECTIVES[config.loss],
        seed=0,
        binarize="dynamic",
        sample_shape=(3,),
    )
    assert {name: numbers[f"test_{name}"] for name in expected} == pytest.approx(expected, rel=1e-5)
    x, eps = seen[0]
    assert eps.shape[0] == 3
    assert set(x.unique().tolist()) == {0.0, 1.0}


def test_images_are_drawn_anew_at_every_visit(data):
    trainer = LayeredConfig(**SMALL).trainer(data)
    seen = []
    trainer.model.register_forward_hook(
        lambda model, given, output: seen.append(given[0]) if model.training else None
    )
    for epoch in (1, 2):
        trainer.epoch(epoch)
    visits = [x for x in seen if len(x) in {16, 8}]
    assert all(set(x.unique().tolist()) <= {0.0, 1.0} for x in visits)
    first, second = torch.cat(visits[:3]), torch.cat(visits[3:6])
    assert not torch.equal(first.sum(dim=1).sort().values, second.sum(dim=1).sort().values)


def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(config, data):
    whole, first, second = (config.trainer(data) for _ in range(3))
    numbers = [whole.epoch(epoch) for epoch in (1, 2, 3)]
    assert [first.epoch(1), first.epoch(2)] == numbers[:2]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(99)
    assert second.epoch(3) == numbers[2]
    found, expected = (dict(each.model.state_dict()) for each in (second, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_run_on_disk_is_continued_to_the_bit(config, data, tmp_path):
    fit = partial(runs.fit, run_dir=tmp_path, show_progress=False)
    short = fit(replace(config, epochs=1), data)
    long = fit(config, data)
    whole = training.train(config.trainer(data), epochs=config.epochs)
    assert len(list(tmp_path.iterdir())) == 1
    assert long.history == whole.history
    assert short.history == whole.history[:1]
    found, expected = (dict(each.model.state_dict()) for each in (long, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_another_loss_number_of_samples_or_layers_is_another_run(data):
    config = KINDS["1 elbo"]
    keys = {
        runs.describe(other, data)["key"]
        for other in (
            config,
            replace(config, loss="iwae"),
            replace(config, z_samples=4),
            replace(config, stochastic_layers=2),
            replace(config, adam_eps=1e-5),
        )
    }
    assert len(keys) == 5
