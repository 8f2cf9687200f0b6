"""Annealing and the refit of q against solvable models, quadrature and identities of weights."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from vae_helpers import objective
from vae_helpers.annealing import (
    amortization_gap,
    annealed_lower_bound,
    annealed_upper_bound,
    decoder_log_density,
    simulate,
    temperatures,
)
from vae_helpers.models import VAE

PIXEL_STD = 0.5


def new_rng(seed=77):
    """Not in the state of torch's global generator, from which images and their z are drawn."""
    return torch.Generator().manual_seed(seed)


def normal_pixels(mean, x):
    return Normal(mean, PIXEL_STD, validate_args=False).log_prob(x).sum(dim=-1)


class LinearGaussian:
    """x = W z + b + noise, whose log p(x) and posterior are known.

    The columns of W are not orthogonal: the latents of the posterior depend on each other.
    `encode` gives a diagonal q that is off the mean and too wide.
    """

    latent_dim = 3

    def __init__(self):
        self.W = torch.tensor(
            [[0.9, 0.2, 0.0], [0.5, -0.4, 0.3], [0.0, 0.8, 0.1], [-0.6, 0.0, 0.7]]
        ).double()
        self.b = torch.linspace(-1, 1, 4, dtype=torch.float64)
        self.precision = self.W.T @ self.W / PIXEL_STD**2 + torch.eye(3, dtype=torch.float64)
        covariance = self.W @ self.W.T + PIXEL_STD**2 * torch.eye(4, dtype=torch.float64)
        self.marginal = MultivariateNormal(self.b, covariance)
        self.decoded = 0

    def posterior(self, x):
        mean = torch.linalg.solve(self.precision, ((x - self.b) @ self.W).T / PIXEL_STD**2).T
        return MultivariateNormal(mean, precision_matrix=self.precision.expand(len(x), 3, 3))

    def encode(self, x):
        mean = self.posterior(x).mean
        return mean + 0.3, torch.full_like(mean, -0.5)

    def reparameterize(self, mu, logvar, eps):
        return mu + torch.exp(0.5 * logvar) * eps

    def decode(self, z):
        self.decoded += z.shape[:-1].numel()
        return z @ self.W.T + self.b

    def log_density(self, x):
        return lambda z: normal_pixels(self.decode(z), x)


@pytest.fixture
def gaussian_pixels(monkeypatch):
    """Pixels are normal around what the decoder gives: -log p(x|z) takes the place of the BCE."""
    monkeypatch.setattr(objective, "bce", lambda mean, x: -normal_pixels(mean, x))


@pytest.fixture
def one_latent():
    """A VAE of six pixels and one latent to which z matters, in double precision."""
    model = VAE(hidden_dims=(8,), latent_dim=1, input_dim=6, activation="tanh").double()
    with torch.no_grad():
        for parameter in (*model.decoder.parameters(), *model.to_logits.parameters()):
            parameter.mul_(3)
    return model


BLACK_AND_WHITE = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)


def by_quadrature(model, x):
    """log of the integral of p(z) p(x|z) over one latent, by the sum over a fine grid."""
    grid = torch.linspace(-9, 9, 2_001, dtype=torch.float64)
    with torch.no_grad():
        pixels = Bernoulli(logits=model.decode(grid[:, None, None]), validate_args=False)
    images, which = x.unique(dim=0, return_inverse=True)
    joint = pixels.log_prob(images).sum(dim=2) + Normal(0.0, 1.0).log_prob(grid)[:, None]
    return (joint.logsumexp(dim=0) + math.log(18 / 2_000))[which]


def constant_steps(size, num_temperatures, images):
    return torch.full((num_temperatures - 2, images), size, dtype=torch.float64)


def mean_and_error(draws):
    return draws.double().mean().item(), (draws.double().std() / math.sqrt(len(draws))).item()


def lower(log_p_x, shape, **options):
    return annealed_lower_bound(log_p_x, shape, dtype=torch.float64, **options)


# The temperatures


def test_temperatures_are_a_sigmoid_from_zero_to_one():
    curve = expit(4 * np.linspace(-1, 1, 33))
    expected = (curve - expit(-4)) / (expit(4) - expit(-4))
    np.testing.assert_allclose(temperatures(33), expected, rtol=0, atol=1e-14)
    assert temperatures(2).tolist() == [0, 1]
    assert temperatures(3).tolist() == pytest.approx([0, 0.5, 1])


def test_temperatures_are_denser_at_the_ends_the_sharper_they_are():
    first_steps = [temperatures(100, sharpness=sharpness)[1].item() for sharpness in (0.01, 2, 4)]
    assert first_steps[0] == pytest.approx(1 / 99, rel=1e-3)
    assert first_steps[0] > first_steps[1] > first_steps[2]


# The bounds of solvable models


@pytest.mark.parametrize("num_temperatures", [3, 6, 20])
def test_lower_bound_of_many_chains_is_p_of_x(num_temperatures):
    model = LinearGaussian()
    x = model.marginal.sample((4,))
    options = {"chains": 4_000, "num_temperatures": num_temperatures, "leapfrog_steps": 3}
    adapted = lower(model.log_density(x), (4, 3), step_size=0.6, rng=new_rng(), **options)
    strict = lower(
        model.log_density(x), (4, 3), step_size=adapted.step_sizes, rng=new_rng(1), **options
    )
    for found in (adapted, strict):
        assert (found.standard_error < 0.13).all()
        difference = found.value - model.marginal.log_prob(x)
        assert (difference.abs() < 4 * found.standard_error).all()


@pytest.mark.parametrize("num_temperatures", [15, 30])
def test_upper_bound_of_many_chains_is_p_of_x(num_temperatures):
    model = LinearGaussian()
    x = model.marginal.sample((4,))
    found = annealed_upper_bound(
        model.log_density(x),
        model.posterior(x).sample((4_000,)),
        chains=4_000,
        num_temperatures=num_temperatures,
        leapfrog_steps=3,
        step_size=constant_steps(0.45, num_temperatures, 4),
        rng=new_rng(),
    )
    assert (found.standard_error < 0.13).all()
    difference = found.value - model.marginal.log_prob(x)
    assert (difference.abs() < 4 * found.standard_error).all()


@pytest.mark.parametrize("step_size", [0.2, 0.4, 0.6])
def test_expected_weights_are_p_of_x_and_its_inverse_whatever_the_step_size(step_size):
    """With long steps most of it is up to the decisions, with short ones chains hardly move."""
    model, n = LinearGaussian(), 20_000
    x = (model.b + 0.3).expand(n, -1)
    z = model.posterior(x).sample()
    exact = model.marginal.log_prob(x[:1])
    options = {"chains": 1, "num_temperatures": 20, "leapfrog_steps": 3}
    options["step_size"] = constant_steps(step_size, 20, n)
    log_p_x = model.log_density(x)
    weights = (lower(log_p_x, (n, 3), rng=new_rng(), **options).value - exact).exp()
    inverse = (exact - annealed_upper_bound(log_p_x, z, rng=new_rng(), **options).value).exp()
    for ratio in (weights, inverse):
        mean, error = mean_and_error(ratio)
        assert error < 0.03
        assert abs(mean - 1) < 4 * error


def test_bounds_enclose_p_of_x_ever_closer_with_more_temperatures():
    model, n = LinearGaussian(), 2_000
    x = model.marginal.sample((1,)).expand(n, -1)
    z = model.posterior(x).sample()
    exact = model.marginal.log_prob(x[:1])
    gaps = {"below": [], "above": []}
    for num_temperatures in (4, 16, 64):
        options = {"chains": 1, "num_temperatures": num_temperatures, "leapfrog_steps": 3}
        options["step_size"] = constant_steps(0.4, num_temperatures, n)
        below = lower(model.log_density(x), (n, 3), rng=new_rng(), **options)
        above = annealed_upper_bound(model.log_density(x), z, rng=new_rng(), **options)
        gaps["below"].append(mean_and_error(exact - below.value))
        gaps["above"].append(mean_and_error(above.value - exact))
    for side in gaps.values():
        for mean, error in side:
            assert mean > 4 * error
        for (wider, its_error), (closer, error) in itertools.pairwise(side):
            assert wider - closer > 4 * math.hypot(error, its_error)
        assert side[-1][0] < 0.3


def test_lower_bound_rises_with_the_chains_and_does_not_pass_p_of_x():
    model, n = LinearGaussian(), 1_000
    x = model.marginal.sample((1,)).expand(n, -1)
    exact = model.marginal.log_prob(x[:1]).item()
    means = []
    for chains in (1, 4, 16):
        options = {"chains": chains, "num_temperatures": 5, "leapfrog_steps": 2}
        options["step_size"] = constant_steps(0.4, 5, n)
        found = lower(model.log_density(x), (n, 3), rng=new_rng(chains), **options)
        means.append(mean_and_error(found.value))
    for (fewer, its_error), (more, error) in itertools.pairwise(means):
        assert more - fewer > 4 * math.hypot(error, its_error)
    assert means[-1][0] < exact


def test_lower_bound_agrees_with_quadrature_for_black_and_white_pixels(one_latent):
    x = BLACK_AND_WHITE[::9]
    log_p_x = decoder_log_density(one_latent, x)
    found = lower(
        log_p_x, (8, 1), chains=3_000, num_temperatures=8, leapfrog_steps=3, rng=new_rng()
    )
    assert (found.standard_error < 0.1).all()
    difference = found.value - by_quadrature(one_latent, x)
    assert (difference.abs() < 4 * found.standard_error).all()


def test_simulated_images_have_p_of_x_between_their_bounds(one_latent):
    n = 3_000
    z, x = simulate(one_latent, n, rng=new_rng(1))
    log_p_x, exact = decoder_log_density(one_latent, x), by_quadrature(one_latent, x)
    options = {"num_temperatures": 6, "leapfrog_steps": 3, "step_size": constant_steps(0.4, 6, n)}
    for chains in (1, 3):
        above = annealed_upper_bound(log_p_x, z, chains=chains, rng=new_rng(), **options).value
        below = lower(log_p_x, (n, 1), chains=chains, rng=new_rng(), **options).value
        for gap in (above - exact, exact - below):
            mean, error = mean_and_error(gap)
            assert mean > 4 * error
        for ratio in ((exact - above).exp(), (below - exact).exp()):  # 1 in expectation, both
            mean, error = mean_and_error(ratio)
            assert error < 0.06
            assert abs(mean - 1) < 4 * error


@pytest.mark.parametrize("num_temperatures", [2, 3, 10])
def test_bounds_are_exact_if_the_image_does_not_depend_on_z(num_temperatures):
    constant = torch.tensor([-3.0, -700.0], dtype=torch.float64)

    def log_p_x(z):
        return constant + 0 * z.sum(dim=2)

    z = torch.randn(2, 5, dtype=torch.float64)
    options = {"chains": 4, "num_temperatures": num_temperatures, "rng": new_rng()}
    for found in (lower(log_p_x, (2, 5), **options), annealed_upper_bound(log_p_x, z, **options)):
        torch.testing.assert_close(found.value, constant, rtol=1e-12, atol=0)
        assert (found.standard_error < 1e-10).all()


def test_two_temperatures_are_importance_sampling_from_the_prior(one_latent):
    x = BLACK_AND_WHITE[:5]
    found = lower(
        decoder_log_density(one_latent, x), (5, 1), chains=7, num_temperatures=2, rng=new_rng()
    )
    z = torch.randn(7, 5, 1, generator=new_rng(), dtype=torch.float64)
    pixels = Bernoulli(logits=one_latent.decode(z), validate_args=False)
    expected = pixels.log_prob(x).sum(dim=2).exp().mean(dim=0).log()
    torch.testing.assert_close(found.value, expected.detach())
    assert found.step_sizes.shape == (0, 5)
    assert found.acceptance.isnan().all()  # nothing was proposed


# The transitions


def test_step_sizes_come_to_the_acceptance_asked_for_in_each_image():
    widths = torch.tensor([0.05, 0.3, 2.0], dtype=torch.float64)

    def log_p_x(z):
        return Normal(0.0, widths[:, None]).log_prob(z).sum(dim=2)

    options = {"chains": 40, "num_temperatures": 400, "leapfrog_steps": 3, "rng": new_rng()}
    found = lower(log_p_x, (3, 20), step_size=1.0, **options)
    first, *_, last = found.step_sizes
    assert first.tolist() == [1.0, 1.0, 1.0]
    assert last[0] < last[1] / 2 < last[2] / 4
    fixed = lower(log_p_x, (3, 20), step_size=found.step_sizes, **options)
    for acceptance in (found.acceptance, fixed.acceptance):
        assert ((acceptance - 0.65).abs() < 0.07).all()
    assert torch.equal(fixed.step_sizes, found.step_sizes)


def test_half_the_step_size_makes_less_than_a_quarter_of_the_refusals():
    """The leapfrog's energy is off by step^2, by step^3 on a short way; a wrong force by step."""
    model = LinearGaussian()
    x = model.marginal.sample((2,))
    refused = []
    for size in (0.2, 0.1, 0.05):
        options = {"chains": 1_000, "num_temperatures": 12, "leapfrog_steps": 4}
        options["step_size"] = constant_steps(size, 12, 2)
        refused.append(1 - lower(model.log_density(x), (2, 3), rng=new_rng(), **options).acceptance)
    for longer, shorter in itertools.pairwise(refused):
        assert (longer > 4 * shorter).all()
    assert (refused[0] < 0.03).all()


def test_acceptance_is_one_for_tiny_steps_and_zero_for_those_that_diverge():
    model = LinearGaussian()
    x = model.marginal.sample((2,))
    options = {"chains": 5, "leapfrog_steps": 3}
    prior_only = lower(
        model.log_density(x), (2, 3), num_temperatures=2, rng=new_rng(), **options
    ).value
    for size in (1e4, 1e300):  # the latter gives NaN
        steps = constant_steps(size, 6, 2)
        found = lower(
            model.log_density(x),
            (2, 3),
            num_temperatures=6,
            step_size=steps,
            rng=new_rng(),
            **options,
        )
        assert found.acceptance.tolist() == [0, 0]
        torch.testing.assert_close(found.value, prior_only)  # where they were drawn they stay
    options |= {"num_temperatures": 6, "step_size": constant_steps(1e-4, 6, 2), "rng": new_rng()}
    tiny = lower(model.log_density(x), (2, 3), **options)
    assert (tiny.acceptance > 0.999).all()


def test_a_transition_costs_one_evaluation_per_leapfrog_step():
    model = LinearGaussian()
    x = model.marginal.sample((2,))
    options = {"chains": 5, "num_temperatures": 9, "leapfrog_steps": 4, "rng": new_rng()}
    lower(model.log_density(x), (2, 3), **options)
    assert model.decoded == 5 * 2 * (1 + 7 * 4)


def test_chains_backwards_use_the_step_sizes_backwards():
    visited = []

    def log_p_x(z):
        visited.append(z.detach().clone())
        return -z.square().sum(dim=2)

    steps = torch.tensor([[0.0], [0.3]])  # the transition nearer to the prior goes nowhere
    options = {"chains": 2, "num_temperatures": 4, "leapfrog_steps": 3, "rng": new_rng()}
    annealed_upper_bound(log_p_x, torch.zeros(1, 2), step_size=steps, **options)
    start, *moving = visited[:4]
    assert all((z != start).all() for z in moving)
    assert torch.equal(visited[4], visited[5])
    assert torch.equal(visited[5], visited[6])
    found = annealed_upper_bound(log_p_x, torch.zeros(1, 2), step_size=0.2, **options)
    assert found.step_sizes[-1].item() == pytest.approx(0.2)  # was the first to be used
    assert found.step_sizes[0].item() != pytest.approx(0.2)


# What is stated about the bounds


def test_stated_error_of_two_weights_is_the_delta_method():
    # weights 1 and 3: mean 2, standard error of the mean 1, hence 1/2 for its logarithm;
    # their inverses: mean 2/3, standard error 1/3, hence 1/2 again
    def log_p_x(z):
        return torch.tensor([[1.0], [3.0]]).log() + 0 * z.sum(dim=2)

    options = {"chains": 2, "num_temperatures": 2, "rng": new_rng()}
    below = annealed_lower_bound(log_p_x, (1, 1), **options)
    above = annealed_upper_bound(log_p_x, torch.zeros(1, 1), **options)
    assert (below.value.item(), below.standard_error.item()) == pytest.approx((math.log(2), 0.5))
    assert (above.value.item(), above.standard_error.item()) == pytest.approx((math.log(1.5), 0.5))


def test_stated_error_is_the_spread_of_independent_repetitions():
    model, n = LinearGaussian(), 1_000
    x = model.marginal.sample((1,)).expand(n, -1)
    options = {"chains": 60, "num_temperatures": 12, "leapfrog_steps": 3, "rng": new_rng()}
    steps = constant_steps(0.4, 12, n)
    found = lower(model.log_density(x), (n, 3), step_size=steps, **options)
    stated = found.standard_error.square().mean().sqrt().item()
    assert found.value.std().item() == pytest.approx(stated, rel=0.15)


def test_one_chain_states_no_error():
    model = LinearGaussian()
    x = model.marginal.sample((2,))
    found = lower(
        model.log_density(x), (2, 3), chains=1, num_temperatures=4, leapfrog_steps=2, rng=new_rng()
    )
    assert found.standard_error.isnan().all()
    assert found.value.isfinite().all()


def test_bounds_depend_on_their_rng_and_leave_the_model_as_it_is(one_latent):
    x = BLACK_AND_WHITE[10:13]
    before, weights = torch.get_rng_state(), copy.deepcopy(one_latent.state_dict())

    def bounds(seed):
        log_p_x = decoder_log_density(one_latent, x)
        options = {"chains": 3, "num_temperatures": 4, "leapfrog_steps": 2, "rng": new_rng(seed)}
        z = torch.zeros(3, 1, dtype=torch.float64)
        above = annealed_upper_bound(log_p_x, z, **options)
        with torch.no_grad():  # gradients are needed all the same
            return (*lower(log_p_x, (3, 1), **options), *above)

    first = bounds(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    torch.testing.assert_close(bounds(1), first, rtol=0, atol=0)
    assert (bounds(2)[0] != first[0]).all()
    assert not any(tensor.requires_grad for tensor in first)
    assert all(p.requires_grad and p.grad is None for p in one_latent.parameters())
    torch.testing.assert_close(dict(one_latent.state_dict()), dict(weights), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chains": 0}, "chains: expected at least 1, got 0"),
        ({"num_temperatures": 1}, "num_temperatures: expected at least 2, got 1"),
        ({"leapfrog_steps": 0}, "leapfrog_steps: expected at least 1, got 0"),
        (
            {"step_size": torch.ones(3, 2)},
            r"step_size: expected a number or \[T - 2, B\] = \[4, 2\], got \[3, 2\]",
        ),
    ],
)
def test_bounds_refuse_numbers_that_are_too_small_and_steps_of_another_shape(options, says):
    model = LinearGaussian()
    log_p_x = model.log_density(model.marginal.sample((2,)))
    options = {"num_temperatures": 6, "rng": new_rng()} | options
    with pytest.raises(ValueError, match=says):
        lower(log_p_x, (2, 3), **options)
    with pytest.raises(ValueError, match=says):
        annealed_upper_bound(log_p_x, torch.zeros(2, 3).double(), **options)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="images: expected at least 1, got 0"):
        annealed_lower_bound(lambda z: z.sum(dim=2), (0, 3), rng=new_rng())


# The decoder


def test_decoder_density_is_that_of_bernoulli_pixels(one_latent):
    x, z = BLACK_AND_WHITE[20:25], torch.randn(3, 5, 1, dtype=torch.float64)
    pixels = Bernoulli(logits=one_latent.decode(z), validate_args=False)
    found = decoder_log_density(one_latent, x)(z)
    assert found.shape == (3, 5)
    torch.testing.assert_close(found, pixels.log_prob(x).sum(dim=2))


def test_simulated_pixels_are_drawn_from_what_their_own_z_decodes_to():
    model = VAE(hidden_dims=(), latent_dim=1, input_dim=3)
    with torch.no_grad():
        model.to_logits.weight[:] = torch.tensor([[1e6], [0.0], [-1e6]])
        model.to_logits.bias[:] = torch.tensor([0.0, math.log(0.3 / 0.7), 0.0])
    z, x = simulate(model, 10_000, rng=new_rng())
    assert torch.equal(x[:, 0], (z[:, 0] > 0).float())
    assert torch.equal(x[:, 2], (z[:, 0] < 0).float())
    assert x[:, 1].mean().item() == pytest.approx(0.3, abs=0.02)
    assert (z.mean().item(), z.std().item()) == pytest.approx((0, 1), abs=0.03)
    assert torch.equal(simulate(model, 10_000, rng=new_rng())[1], x)


# The amortisation gap


def test_refitted_q_is_the_best_diagonal_gaussian(gaussian_pixels):
    """Its mean is the posterior's, its variance that of a latent given the others."""
    model = LinearGaussian()
    x = model.marginal.sample((5,))
    found = amortization_gap(
        model, x, steps=400, draws=20, evaluation_draws=4_000, learning_rate=0.05, rng=new_rng()
    )
    p = model.posterior(x)
    variance = (1 / model.precision.diag()).expand(5, 3)
    torch.testing.assert_close(found.q.mu, p.mean, rtol=0, atol=0.06)
    torch.testing.assert_close(found.q.logvar, variance.log(), rtol=0, atol=0.1)

    def elbo(mu, logvar):
        q = MultivariateNormal(mu, torch.diag_embed(logvar.exp()))
        return model.marginal.log_prob(x) - kl_divergence(q, p)

    best, worse = elbo(p.mean, variance.log()), elbo(*model.encode(x))
    assert ((elbo(*found.q) - best).abs() < 0.005).all()
    torch.testing.assert_close(found.refitted, best, rtol=0, atol=0.12)
    torch.testing.assert_close(found.encoder, worse, rtol=0, atol=0.35)
    difference = (found.refitted - found.encoder) - (best - worse)
    assert (difference.abs() < 4 * found.standard_error + 0.005).all()
    assert (found.refitted - found.encoder > 10 * found.standard_error).all()


def elbo_by_quadrature(model, x, mu, logvar):
    """E_q[log p(x|z)] - KL over one latent by the sum over a fine grid; one image, one number."""
    std = math.exp(logvar / 2)
    eps = torch.linspace(-9, 9, 2_001, dtype=torch.float64)
    with torch.no_grad():
        logits = model.decode(mu + std * eps[:, None])
    log_p_x = Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(dim=1)
    mean = (Normal(0.0, 1.0).log_prob(eps).exp() * log_p_x).sum().item() * 18 / 2_000
    return mean - 0.5 * (mu**2 + std**2 - 1 - logvar)


def test_refitted_q_of_black_and_white_pixels_is_the_optimum_by_quadrature(one_latent):
    x = BLACK_AND_WHITE[::9]
    found = amortization_gap(
        one_latent, x, steps=500, draws=20, evaluation_draws=4_000, rng=new_rng()
    )
    with torch.no_grad():
        encoders = torch.cat(one_latent.encode(x), dim=1)
    refitted = torch.cat(found.q, dim=1)
    for i in range(len(x)):

        def minus_elbo(q, image=x[i]):
            return -elbo_by_quadrature(one_latent, image, *q)

        best = -minimize(minus_elbo, encoders[i], method="Nelder-Mead").fun
        there, here = -minus_elbo(encoders[i].tolist()), -minus_elbo(refitted[i].tolist())
        assert here == pytest.approx(best, abs=0.003)
        assert here > there
        gap = (found.refitted - found.encoder)[i].item()
        assert abs(gap - (here - there)) < 4 * found.standard_error[i] + 1e-6
        assert here < by_quadrature(one_latent, x[i : i + 1]).item()


def test_refit_is_not_below_the_encoder_by_more_than_the_error():
    model = VAE(hidden_dims=(16,), latent_dim=4, input_dim=12)
    x = torch.rand(30, 12).round()
    found = amortization_gap(model, x, steps=200, draws=10, evaluation_draws=500, rng=new_rng())
    assert (found.refitted - found.encoder > -4 * found.standard_error).all()
    assert (found.refitted - found.encoder).mean() > 0.01


def test_gap_without_a_step_is_zero_and_certain(one_latent):
    x = BLACK_AND_WHITE[:3]
    found = amortization_gap(one_latent, x, steps=0, evaluation_draws=50, rng=new_rng())
    assert torch.equal(found.refitted, found.encoder)
    assert found.standard_error.tolist() == [0, 0, 0]
    with torch.no_grad():
        torch.testing.assert_close(tuple(found.q), one_latent.encode(x), rtol=0, atol=0)


def test_stated_error_of_the_gap_is_the_spread_of_repetitions(gaussian_pixels):
    model = LinearGaussian()
    x = model.marginal.sample((1,)).repeat(400, 1)
    found = amortization_gap(model, x, steps=100, draws=20, evaluation_draws=30, rng=new_rng())
    stated = found.standard_error.square().mean().sqrt().item()
    assert (found.refitted - found.encoder).std().item() == pytest.approx(stated, rel=0.15)


@pytest.mark.parametrize(("draws", "evaluation_draws"), [(7, 23), (30, 5), (5, 20)])
def test_exactly_so_many_draws_are_decoded(gaussian_pixels, draws, evaluation_draws):
    model = LinearGaussian()
    x = model.marginal.sample((4,))
    options = {"draws": draws, "evaluation_draws": evaluation_draws}
    amortization_gap(model, x, steps=3, rng=new_rng(), **options)
    assert model.decoded == 4 * (3 * draws + 2 * evaluation_draws)


def test_refit_depends_on_its_rng_and_leaves_the_model_as_it_is(one_latent):
    x, before = BLACK_AND_WHITE[:3], torch.get_rng_state()
    weights = copy.deepcopy(one_latent.state_dict())

    def refit(seed):
        return amortization_gap(one_latent, x, steps=3, evaluation_draws=9, rng=new_rng(seed))

    first = refit(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(refit(1).refitted, first.refitted)
    assert (refit(2).refitted != first.refitted).all()
    assert all(p.requires_grad and p.grad is None for p in one_latent.parameters())
    assert not any(tensor.requires_grad for tensor in (*first[:3], *first.q))
    torch.testing.assert_close(dict(one_latent.state_dict()), dict(weights), rtol=0, atol=0)


def test_there_is_no_gap_if_the_decoder_does_not_listen_and_q_is_the_prior(one_latent):
    for layer in (one_latent.to_mu, one_latent.to_logvar, one_latent.to_logits):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    found = amortization_gap(one_latent, BLACK_AND_WHITE[:4], steps=50, rng=new_rng())
    expected = torch.full((4,), -6 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(found.encoder, expected)
    torch.testing.assert_close(found.refitted, expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": -1}, "steps: expected at least 0, got -1"),
        ({"draws": 0}, "draws: expected at least 1, got 0"),
        ({"evaluation_draws": 1}, "evaluation_draws: expected at least 2, got 1"),
    ],
)
def test_refit_refuses_numbers_that_are_too_small(one_latent, options, says):
    with pytest.raises(ValueError, match=says):
        amortization_gap(one_latent, BLACK_AND_WHITE[:2], rng=new_rng(), **options)
