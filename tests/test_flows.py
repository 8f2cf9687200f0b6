"""Planar flows against numeric Jacobians, an inverse by bisection, and quadrature."""

import copy
import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian
from torch.distributions import Bernoulli, Normal
from toy_digits import few_digits

from vae_helpers import evaluation, flows, objective, training
from vae_helpers.flows import FlowConfig, FlowOutput, FlowVAE, elbo, log_weights, new_model, planar
from vae_helpers.models import VAE
from vae_helpers.parameters import ParameterError
from vae_helpers.store import runs

PRIOR = Normal(0.0, 1.0)
CONFIG = FlowConfig(
    epochs=3, batch_size=16, hidden_dims=(16,), latent_dim=3, flow_length=4, device="cpu"
)


@pytest.fixture
def data():
    """Forty training images: two mini-batches of 16 and one of 8."""
    return few_digits(train=40)


def lively(latent_dim, flow_length, pixels=6):
    """A model in double precision whose flow bends strongly, also where w.u < -1."""
    model = FlowVAE(VAE((5,), latent_dim, pixels, "tanh"), flow_length).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, dtype=torch.float64))
        model.to_flow.weight.mul_(2)
        model.to_flow.bias.mul_(2)
    return model


def black_and_white(images, pixels=6):
    return torch.bernoulli(torch.full((images, pixels), 0.4, dtype=torch.float64))


def steps(model, x):
    """The parameters (u^, w, b) of each step for one image `[1, P]`, u^ by the paper's formula."""
    D = model.latent_dim
    found = []
    for step in model.to_flow(model.vae.encoder(x))[0].view(model.flow_length, 2 * D + 1):
        u, w, b = step[:D], step[D : 2 * D], step[2 * D]
        m = -1 + torch.log(1 + torch.exp(w @ u))
        found.append((u + (m - w @ u) * w / w.norm() ** 2, w, b))
    return found


# One step


def parameters_of_a_step(images, latents):
    return (
        2 * torch.randn(images, latents, dtype=torch.float64),
        2 * torch.randn(images, latents, dtype=torch.float64),
        torch.randn(images, dtype=torch.float64),
    )


def test_a_step_is_that_of_the_paper():
    u, w, b = parameters_of_a_step(50, 3)
    z = torch.randn(50, 3, dtype=torch.float64)
    moved, _ = planar(z, u, w, b)
    for i in range(50):
        m = -1 + math.log(1 + math.exp(w[i] @ u[i]))
        u_hat = u[i] + (m - w[i] @ u[i]) * w[i] / w[i].norm() ** 2
        assert w[i] @ u_hat > -1
        expected = z[i] + u_hat * math.tanh(w[i] @ z[i] + b[i])
        torch.testing.assert_close(moved[i], expected)


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_the_log_determinant_is_that_of_the_jacobian(latents):
    u, w, b = parameters_of_a_step(50, latents)
    assert ((u * w).sum(dim=1) < -1).any()
    z = torch.randn(50, latents, dtype=torch.float64)
    _, log_det = planar(z, u, w, b)
    for i in range(50):
        of_one = [it[i : i + 1] for it in (u, w, b)]
        slopes = jacobian(lambda z, of=of_one: planar(z[None], *of)[0][0], z[i])
        sign, expected = torch.linalg.slogdet(slopes)
        assert sign > 0
        torch.testing.assert_close(log_det[i], expected)


def test_a_step_of_k_samples_is_that_of_each():
    u, w, b = parameters_of_a_step(4, 3)
    z = torch.randn(6, 4, 3, dtype=torch.float64)
    moved, log_det = planar(z, u, w, b)
    assert log_det.shape == (6, 4)
    for k in range(6):
        torch.testing.assert_close((moved[k], log_det[k]), planar(z[k], u, w, b))


def test_the_log_determinant_is_finite_where_space_is_pressed_flat_in_single_precision():
    w = torch.tensor([[5.0, 0.0]], requires_grad=True)
    u = torch.tensor([[-4.0, 1.0]], requires_grad=True)  # w.u = -20: 1 + w.u^ is 2e-9
    _, log_det = planar(torch.zeros(1, 2), u, w, torch.zeros(1))
    assert log_det.item() == pytest.approx(math.log(math.log1p(math.exp(-20))), rel=1e-5)
    log_det.sum().backward()
    assert u.grad.isfinite().all()
    assert w.grad.isfinite().all()


# The density


def test_log_q_is_the_gaussian_s_over_the_numeric_jacobian_of_all_steps():
    model, x = lively(3, 5), black_and_white(4)
    eps = torch.randn(7, 4, 3, dtype=torch.float64)
    output = model(x, eps)
    assert output.log_q.shape == (7, 4)
    for k in range(7):
        for i in range(4):
            one = x[i : i + 1]
            slopes = jacobian(lambda e, one=one: model(one, e[None]).z[0], eps[k, i])
            expected = PRIOR.log_prob(eps[k, i]).sum() - torch.linalg.slogdet(slopes).logabsdet
            torch.testing.assert_close(output.log_q[k, i], expected)


def test_z_is_the_gaussian_s_sample_after_the_steps_in_order():
    model, x = lively(3, 4), black_and_white(1)
    eps = torch.randn(1, 3, dtype=torch.float64)
    mu, logvar = model.vae.encode(x)
    z = (mu + torch.exp(logvar / 2) * eps)[0]
    for u_hat, w, b in steps(model, x):
        z = z + u_hat * torch.tanh(w @ z + b)
    output = model(x, eps)
    torch.testing.assert_close(output.z[0], z)
    torch.testing.assert_close(output.logits, model.vae.decode(z[None]))


def undone(z, u_hat, w, b):
    """What a step made z `[N, D]` of: w.z is found by bisection, and then z."""
    goal = z @ w
    low, high = goal - (w @ u_hat).abs() - 1, goal + (w @ u_hat).abs() + 1
    for _ in range(60):
        middle = (low + high) / 2
        below = middle + (w @ u_hat) * torch.tanh(middle + b) < goal
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return z - torch.tanh(low + b)[:, None] * u_hat


@torch.no_grad()
def test_the_density_integrates_to_one_over_the_plane():
    """Every point of a grid is taken back through the steps; log q of what it came from."""
    model, x = lively(2, 3), black_and_white(1)
    model.vae.to_logvar.bias.fill_(-1.0)
    sides = 501
    mu, logvar = model.vae.encode(x)
    drawn = model(x, torch.randn(20_000, 1, 2, dtype=torch.float64)).z[:, 0]
    low, high = drawn.amin(dim=0) - 3, drawn.amax(dim=0) + 3
    axes = [torch.linspace(a, b, sides).double() for a, b in zip(low, high, strict=True)]
    grid = torch.cartesian_prod(*axes)
    before = grid
    for step in reversed(steps(model, x)):
        before = undone(before, *step)
    eps = (before - mu) / torch.exp(logvar / 2)
    output = model(x, eps[:, None])
    torch.testing.assert_close(output.z[:, 0], grid, rtol=1e-8, atol=1e-8)
    cell = torch.prod((high - low) / (sides - 1))
    assert (output.log_q.exp().sum() * cell).item() == pytest.approx(1, abs=2e-3)


@torch.no_grad()
def test_the_mean_weight_is_the_probability_of_the_image():
    """p(x) of one latent and three pixels is an integral by Gauss and Hermite."""
    model, x = lively(1, 3, pixels=3), black_and_white(2, pixels=3)
    points, masses = (torch.from_numpy(it) for it in np.polynomial.hermite_e.hermegauss(100))
    masses = masses / masses.sum()
    log_p = Bernoulli(logits=model.vae.decode(points[:, None, None])).log_prob(x).sum(dim=-1)
    p_of_x = (masses[:, None] * log_p.exp()).sum(dim=0)
    model.vae.to_logvar.weight.zero_()  # wider than the posterior: no weight outweighs all others
    model.vae.to_logvar.bias.fill_(2.0)
    model.to_flow.weight.mul_(0.3)
    model.to_flow.bias.mul_(0.3)
    K = 400_000
    w = log_weights(model, x, torch.randn(K, 2, 1, dtype=torch.float64)).exp()
    error = w.std(dim=0) / math.sqrt(K)
    assert (error < 0.01 * p_of_x).all()
    assert ((w.mean(dim=0) - p_of_x).abs() < 4 * error).all()


@torch.no_grad()
def test_a_flow_that_stands_still_has_the_weights_of_its_vae(monkeypatch):
    model, x = lively(3, 2), black_and_white(4)
    eps = torch.randn(5, 4, 3, dtype=torch.float64)
    still = math.log(math.e - 1)  # softplus(w.u) = 1: u^ is u less its part along w
    monkeypatch.setattr(flows, "planar", lambda z, *step: (z, z.new_zeros(z.shape[:-1])))
    expected = evaluation.log_weights(model.vae, x, eps)
    torch.testing.assert_close(log_weights(model, x, eps), expected)
    monkeypatch.undo()
    model.to_flow.weight.zero_()
    step = torch.tensor([still, 0.0, 0.0, 1.0, 0.0, 0.0, 0.3], dtype=torch.float64)
    model.to_flow.bias.copy_(step.repeat(2))
    torch.testing.assert_close(log_weights(model, x, eps), expected)


def test_log_weights_take_the_arguments_of_those_of_the_vae():
    ours, theirs = (
        list(inspect.signature(it).parameters) for it in (log_weights, evaluation.log_weights)
    )
    assert ours == theirs


# The loss


def test_the_loss_is_minus_the_log_weight_in_two_parts_with_one_value_per_image():
    model, x = lively(3, 5), black_and_white(4)
    eps = torch.randn(1, 4, 3, dtype=torch.float64)
    output = model(x, eps[0])
    terms = elbo(output, x)
    assert list(terms) == ["bce", "kl", "loss"]
    bce = -Bernoulli(logits=output.logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(terms["bce"], bce)
    kl = output.log_q - PRIOR.log_prob(output.z).sum(dim=1)
    torch.testing.assert_close(terms["kl"], kl)
    torch.testing.assert_close(terms["loss"], -log_weights(model, x, eps)[0])
    assert terms["loss"].shape == (4,)


def test_the_mean_kl_of_a_flow_that_stands_still_is_the_closed_form(monkeypatch):
    monkeypatch.setattr(flows, "planar", lambda z, *step: (z, z.new_zeros(z.shape[:-1])))
    model, x = lively(3, 2), black_and_white(4)
    kl = elbo(model(x, torch.randn(20_000, 4, 3, dtype=torch.float64)), x)["kl"]
    error = kl.std(dim=0) / math.sqrt(len(kl))
    expected = objective.kl(*model.vae.encode(x))
    assert ((kl.mean(dim=0) - expected).abs() < 5 * error).all()


def test_every_weight_has_a_gradient():
    model, x = lively(3, 2), black_and_white(4)
    elbo(model(x, torch.randn(4, 3, dtype=torch.float64)), x)["loss"].mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


# Configuration, model and fit


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("epochs", 0, "the nearest valid value is 1"),
        ("batch_size", 0, "the nearest valid value is 1"),
        ("learning_rate", -1e-3, "the nearest valid value is 1e-08"),
        ("flow_length", 0, "the nearest valid value is 1"),
        ("latent_dim", 0, "the nearest valid value is 1"),
        ("hidden_dims", (), "expected a list of numbers"),
        ("activation", "rely", "did you mean 'relu'?"),
        ("seed", -1, "the nearest valid value is 0"),
        ("dataset", "MINST", "did you mean 'MNIST'?"),
        ("binarize", "dynamical", "did you mean 'dynamic'?"),
        ("device", "cuda:0", "did you mean 'cuda'?"),
        ("acceleration", "on", "expected one of auto, off"),
    ],
)
def test_config_refuses_a_wrong_value_with_its_field_and_a_valid_one(field, value, says):
    with pytest.raises(ParameterError) as caught:
        FlowConfig(**{field: value})
    assert str(caught.value).startswith(f"{field}: ")
    assert says in str(caught.value)


def test_config_turns_numbers_and_lists_into_its_own_types():
    config = FlowConfig(learning_rate=1, hidden_dims=[50], flow_length=np.int64(5))
    assert config == FlowConfig(learning_rate=1.0, hidden_dims=(50,), flow_length=5)
    assert (type(config.learning_rate), type(config.flow_length)) == (float, int)


@pytest.mark.parametrize(
    "settings", [{}, {"activation": "tanh", "hidden_dims": (30, 20), "latent_dim": 5}], ids=str
)
def test_the_vae_below_the_flow_begins_as_the_one_that_training_makes(settings):
    ours = new_model(FlowConfig(seed=3, **settings))
    theirs = training.new_model(training.TrainConfig(seed=3, **settings))
    found, expected = ours.vae.state_dict(), theirs.state_dict()
    torch.testing.assert_close(dict(found), dict(expected), rtol=0, atol=0)
    assert torch.equal(
        ours.sample(5, torch.Generator().manual_seed(5)),
        theirs.sample(5, torch.Generator().manual_seed(5)),
    )
    assert len(ours.to_flow.bias) == 10 * (2 * ours.latent_dim + 1)


def test_a_new_flow_gives_finite_numbers_in_single_precision(digits):
    model = new_model(FlowConfig(flow_length=80))
    output = model(digits.test_images, torch.randn(500, 20))
    assert isinstance(output, FlowOutput)
    assert all(part.isfinite().all() for part in output)
    assert output.logits.dtype == torch.float32


def test_history_has_the_terms_of_the_loss_and_falls(digits):
    config = replace(CONFIG, learning_rate=3e-3, binarize="dynamic")
    result = training.train(config.trainer(digits.first(200, 50)), epochs=10)
    assert result.terms() == result.terms("test") == ["bce", "kl", "loss"]
    for side in ("train", "test"):
        bce, kl, loss = (np.array(result.curve(f"{side}_{n}")) for n in ("bce", "kl", "loss"))
        assert loss == pytest.approx(bce + kl, rel=1e-4)
    assert result.curve("train_loss")[-1] < 0.8 * result.curve("train_loss")[0]


def test_a_step_descends_the_slope_of_the_mean_over_images_of_the_loss(data):
    """One mini-batch of all images: the first step of Adam has the sign of the slope."""
    trainer = replace(CONFIG, batch_size=40).trainer(data)
    model, seen = copy.deepcopy(trainer.model), []
    trainer.model.register_forward_hook(lambda model, given, output: seen.append(given))
    trainer.epoch(1)
    x, eps = seen[0]
    assert eps.shape == (40, 3)
    slopes = torch.autograd.grad(log_weights(model, x, eps[None]).mean(), list(model.parameters()))
    for before, after, slope in zip(
        model.parameters(), trainer.model.parameters(), slopes, strict=True
    ):
        clear = slope.abs() > 1e-3
        moved = (after - before).detach()[clear]
        torch.testing.assert_close(moved, 1e-3 * slope[clear].sign(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_images_are_as_the_configuration_wants_them(data, binarize):
    trainer, seen = replace(CONFIG, binarize=binarize).trainer(data), []
    trainer.model.register_forward_hook(lambda model, given, output: seen.append(given[0]))
    trainer.epoch(1)
    for x in seen:
        assert (set(x.unique().tolist()) <= {0.0, 1.0}) == (binarize == "dynamic")


def test_test_numbers_are_those_of_the_test_images_under_the_trained_model(data):
    numbers = (trainer := CONFIG.trainer(data)).epoch(1)
    found = training.evaluate(trainer.model, data.test_images, loss=elbo, seed=0)
    expected = {name: numbers[f"test_{name}"] for name in ("bce", "kl", "loss")}
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(data):
    whole, first, second = (CONFIG.trainer(data) for _ in range(3))
    numbers = [whole.epoch(1), whole.epoch(2)]
    assert first.epoch(1) == numbers[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(99)
    assert second.epoch(2) == numbers[1]
    found, expected = (dict(each.model.state_dict()) for each in (second, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_run_on_disk_is_continued_to_the_bit(data, tmp_path):
    short = runs.fit(replace(CONFIG, epochs=1), data, tmp_path, show_progress=False)
    long = runs.fit(CONFIG, data, tmp_path, show_progress=False)
    whole = training.train(CONFIG.trainer(data), epochs=CONFIG.epochs)
    assert len(list(tmp_path.iterdir())) == 1
    assert long.history == whole.history
    assert short.history == whole.history[:1]
    assert len({runs.describe(replace(CONFIG, flow_length=n), data)["key"] for n in (4, 5)}) == 2
