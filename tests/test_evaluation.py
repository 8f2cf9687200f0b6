"""Likelihoods against solvable models and quadrature; latents against sampling and scipy."""

import copy
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist, pdist
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from vae_helpers import PROJECT, evaluation, objective
from vae_helpers.evaluation import (
    Posteriors,
    active_units,
    aggregate_moments,
    energy_distance,
    kl_per_dimension,
    log_likelihood,
    log_likelihood_and_error,
    log_weights,
    posteriors,
    targets,
)
from vae_helpers.models import VAE

PIXEL_STD = 0.5
PRIOR = Normal(0.0, 1.0)


def new_rng(seed=0):
    return torch.Generator().manual_seed(seed)


class LinearGaussian:
    """x = W z + b + noise, whose log p(x) and posterior are known.

    The columns of W are orthogonal, so that the posterior's covariance is diagonal. `wider` and
    `off` make another q of it. The rows that are decoded are counted.
    """

    latent_dim = 3

    def __init__(self, *, wider=1.0, off=0.0):
        orthogonal = torch.linalg.qr(torch.randn(6, 3, dtype=torch.float64)).Q
        self.W = orthogonal * torch.tensor([0.3, 0.8, 2.0], dtype=torch.float64)
        self.b = torch.linspace(-1, 1, 6, dtype=torch.float64)
        self.wider, self.off = wider, off
        self.decoded = []
        covariance = self.W @ self.W.T + PIXEL_STD**2 * torch.eye(6, dtype=torch.float64)
        self.marginal = MultivariateNormal(self.b, covariance)

    def posterior(self, x):
        variance = 1 / (1 + self.W.square().sum(dim=0) / PIXEL_STD**2)
        return Normal(variance * ((x - self.b) @ self.W) / PIXEL_STD**2, variance.sqrt())

    def q(self, x):
        p = self.posterior(x)
        return Normal(p.mean + self.off * p.stddev, self.wider * p.stddev)

    def encode(self, x):
        q = self.q(x)
        return q.mean, q.variance.log().expand_as(q.mean)

    def decode(self, z):
        self.decoded.append(z.shape[:-1].numel())
        return z @ self.W.T + self.b


@pytest.fixture
def gaussian_pixels(monkeypatch):
    """Pixels are normal around what the decoder gives: -log p(x|z) takes the place of the BCE."""

    def minus_log_p(mean, x):
        return -Normal(mean, PIXEL_STD).log_prob(x).sum(dim=-1)

    monkeypatch.setattr(evaluation, "bce", minus_log_p)


@pytest.fixture
def small():
    """A VAE of six pixels and two latents to which z matters, in double precision."""
    model = VAE(hidden_dims=(8,), latent_dim=2, input_dim=6, activation="tanh").double()
    with torch.no_grad():
        for parameter in (*model.decoder.parameters(), *model.to_logits.parameters()):
            parameter.mul_(3)
    return model


def black_and_white(pixels):
    """All 2^pixels images."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=pixels)), dtype=torch.float64)


def by_quadrature(model, x, nodes=60):
    """log of the integral of p(z) exp(sum x log p + (1 - x) log(1 - p)) over two latents."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    z = torch.tensor(list(itertools.product(points, points)))
    weight = torch.tensor(np.outer(weights, weights).flatten() / (2 * np.pi))
    with torch.no_grad():
        pixels = Bernoulli(logits=model.decode(z), validate_args=False)
    log_p = torch.stack([pixels.log_prob(image).sum(dim=1) for image in x], dim=1)
    return (log_p + weight.log()[:, None]).logsumexp(dim=0)


def mean_and_error(draws):
    return draws.double().mean().item(), (draws.double().std() / math.sqrt(len(draws))).item()


# The importance-weighted bound


def test_every_weight_is_p_of_x_when_q_is_the_posterior(gaussian_pixels):
    model = LinearGaussian()
    x = model.marginal.sample((5,))
    found = log_weights(model, x, torch.randn(7, 5, 3, dtype=torch.float64))
    torch.testing.assert_close(found, model.marginal.log_prob(x).expand(7, 5), rtol=1e-10, atol=0)


@pytest.mark.parametrize("num_samples", [1, 2, 45])
def test_bound_is_exact_and_certain_when_q_is_the_posterior(gaussian_pixels, num_samples):
    model = LinearGaussian()
    x = model.marginal.sample((5,))
    value, error = log_likelihood_and_error(model, x, num_samples=num_samples, rng=new_rng())
    torch.testing.assert_close(value, model.marginal.log_prob(x).float())
    if num_samples > 1:
        assert (error < 1e-6).all()


def test_bound_of_another_q_tends_to_p_of_x(gaussian_pixels):
    model = LinearGaussian(wider=1.3, off=0.7)
    x = model.marginal.sample((8,))
    value, error = log_likelihood_and_error(
        model, x, num_samples=10_000, rng=new_rng(), sample_batch=1_000
    )
    assert (error < 0.03).all()
    assert ((value - model.marginal.log_prob(x)).abs() < 4 * error).all()


def test_bound_of_one_sample_lies_below_p_of_x_by_the_distance_of_q_from_the_posterior(
    gaussian_pixels,
):
    model = LinearGaussian(wider=1.3, off=0.7)
    x = model.marginal.sample((1,))
    draws = log_likelihood(
        model, x.repeat(4_000, 1), num_samples=1, rng=new_rng(), image_batch=1_000
    )
    mean, error = mean_and_error(draws)
    gap = kl_divergence(model.q(x), model.posterior(x)).sum().item()
    assert gap > 20 * error
    assert abs(mean - (model.marginal.log_prob(x).item() - gap)) < 4 * error


def test_bound_agrees_with_quadrature_over_two_latents(small):
    x = black_and_white(6)[::9]
    expected = by_quadrature(small, x)
    torch.testing.assert_close(by_quadrature(small, x, nodes=80), expected, rtol=0, atol=2e-4)
    value, error = log_likelihood_and_error(
        small, x, num_samples=10_000, rng=new_rng(), sample_batch=1_000
    )
    assert (error < 0.05).all()
    assert ((value - expected).abs() < 4 * error).all()


def test_bounds_of_all_black_and_white_images_add_up_to_one(small):
    x = black_and_white(6)
    value, error = log_likelihood_and_error(
        small, x, num_samples=2_000, rng=new_rng(), image_batch=64, sample_batch=100
    )
    total, its_error = value.exp().sum(), (value.exp() * error).square().sum().sqrt()
    assert its_error < 0.02
    assert abs(total - 1) < 4 * its_error


def test_bound_of_one_sample_is_the_elbo_in_expectation(small):
    x = black_and_white(6)[21:22]
    draws = log_likelihood(
        small, x.repeat(10_000, 1), num_samples=1, rng=new_rng(), image_batch=1_000
    )
    mean, error = mean_and_error(draws)
    with torch.no_grad():
        mu, logvar = small.encode(x)
        q = Normal(mu, torch.exp(logvar / 2))
        decoded = Bernoulli(logits=small.decode(q.sample((10_000,))))
        log_p_x, its_error = mean_and_error(decoded.log_prob(x).sum(dim=(1, 2)))
        elbo = log_p_x - kl_divergence(q, PRIOR).sum().item()
    assert error < 0.05
    assert abs(mean - elbo) < 4 * math.hypot(error, its_error)


def test_bound_does_not_fall_with_the_number_of_samples(gaussian_pixels):
    model = LinearGaussian(wider=1.4, off=1.0)
    x = model.marginal.sample((1,))
    bounds = [
        mean_and_error(
            log_likelihood(
                model, x.repeat(2_000, 1), num_samples=k, rng=new_rng(k), image_batch=500
            )
        )
        for k in (1, 2, 5, 50)
    ]
    for (lower, its_error), (higher, error) in itertools.pairwise(bounds):
        assert higher - lower > 4 * math.hypot(error, its_error)
    mean, error = bounds[-1]
    assert mean < model.marginal.log_prob(x).item() + 4 * error


@pytest.mark.parametrize(
    ("image_batch", "sample_batch"), [(1, 1), (1, 100), (2, 7), (3, 11), (5, 20), (7, 3), (50, 23)]
)
def test_bound_and_error_do_not_depend_on_the_batches(small, image_batch, sample_batch):
    x = torch.rand(7, 6, dtype=torch.float64)
    expected, found = (
        log_likelihood_and_error(small, x, num_samples=23, rng=new_rng(), **batches)
        for batches in (
            {"image_batch": 7, "sample_batch": 23},
            {"image_batch": image_batch, "sample_batch": sample_batch},
        )
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("image_batch", "sample_batch"), [(1, 1), (2, 7), (3, 11), (50, 100)])
@pytest.mark.parametrize("num_samples", [1, 7, 23])
def test_exactly_so_many_samples_are_decoded_and_never_more_at_one_time_than_the_batches_allow(
    gaussian_pixels, num_samples, image_batch, sample_batch
):
    model = LinearGaussian(wider=1.3)
    log_likelihood(
        model,
        model.marginal.sample((5,)),
        num_samples=num_samples,
        rng=new_rng(),
        image_batch=image_batch,
        sample_batch=sample_batch,
    )
    assert sum(model.decoded) == 5 * num_samples
    assert max(model.decoded) <= image_batch * sample_batch


@pytest.mark.parametrize("logit", [-1000.0, -50.0, 50.0, 1000.0])
def test_bound_is_finite_and_right_for_large_logits(logit):
    model = VAE(hidden_dims=(16,), latent_dim=3)
    with torch.no_grad():
        for layer in (model.to_logits, model.to_mu, model.to_logvar):
            layer.weight.zero_()
            layer.bias.zero_()  # q is the prior
        model.to_logits.bias.fill_(logit)
    x = torch.stack([torch.zeros(784), torch.ones(784), torch.linspace(0, 1, 784)])
    value, error = log_likelihood_and_error(model, x, num_samples=50, rng=new_rng())
    # x * logit - softplus(logit), where softplus(l) is max(l, 0) up to exp(-|l|)
    expected = x.sum(dim=1) * logit - 784 * max(logit, 0.0)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-4)
    assert (error < 1e-3).all()


def test_stated_error_is_the_spread_of_independent_repetitions(gaussian_pixels):
    model = LinearGaussian(wider=1.2, off=0.3)
    x = model.marginal.sample((1,)).repeat(2_000, 1)
    value, error = log_likelihood_and_error(
        model, x, num_samples=100, rng=new_rng(), image_batch=500
    )
    assert value.std().item() == pytest.approx(error.square().mean().sqrt().item(), rel=0.15)


def test_stated_error_of_two_weights_is_the_delta_method(gaussian_pixels, monkeypatch):
    # weights 1 and 3: mean 2, standard error of the mean 1, hence 1/2 for its logarithm
    weights = torch.tensor([[1.0], [3.0]]).log()
    monkeypatch.setattr(evaluation, "log_weights", lambda model, x, eps: weights)
    model = LinearGaussian()
    value, error = log_likelihood_and_error(model, torch.zeros(1, 6), num_samples=2, rng=new_rng())
    assert (value.item(), error.item()) == pytest.approx((math.log(2), 0.5))


def test_one_sample_states_no_error(small):
    found = log_likelihood_and_error(small, black_and_white(6)[:3], num_samples=1, rng=new_rng())
    assert found.standard_error.isnan().all()
    assert found.value.isfinite().all()


def test_five_thousand_samples_need_little_memory():
    code = """
import resource, torch
from vae_helpers.evaluation import log_likelihood
from vae_helpers.models import VAE
torch.set_num_threads(1)
def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
model, x, draw = VAE(), torch.rand(10, 784), torch.Generator()
before = megabytes()
log_likelihood(model, x, num_samples=5_000, rng=draw)
print(megabytes() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 200


def test_bound_depends_on_its_rng_and_on_no_other(small):
    x = torch.rand(4, 6, dtype=torch.float64)

    def bound(seed, **options):
        return log_likelihood(small, x, num_samples=5, rng=new_rng(seed), **options)

    before = torch.get_rng_state()
    first = bound(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(bound(1), first)
    assert torch.equal(bound(1, title="log p(x)"), first)
    assert (bound(2) != first).all()


def test_images_have_noise_of_their_own_whatever_follows_them(small):
    x = torch.rand(1, 6, dtype=torch.float64).repeat(5, 1)
    all_five = log_likelihood(small, x, num_samples=5, rng=new_rng())
    assert len(set(all_five.tolist())) == 5
    first_two = log_likelihood(small, x[:2], num_samples=5, rng=new_rng())
    torch.testing.assert_close(first_two, all_five[:2])


@pytest.mark.parametrize("training", [True, False])
def test_bound_leaves_the_model_as_it_is(small, training):
    small.train(training)
    before = copy.deepcopy(small.state_dict())
    found = log_likelihood_and_error(small, black_and_white(6)[:3], num_samples=5, rng=new_rng())
    assert not any(tensor.requires_grad for tensor in found)
    assert all(module.training == training for module in small.modules())
    assert all(p.requires_grad and p.grad is None for p in small.parameters())
    torch.testing.assert_close(dict(small.state_dict()), dict(before), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"image_batch": 0}, "image_batch: expected at least 1, got 0"),
        ({"sample_batch": -1}, "sample_batch: expected at least 1, got -1"),
        ({"images": torch.zeros(0, 6)}, "images: expected at least 1, got 0"),
    ],
)
def test_bound_refuses_numbers_below_one(small, options, says):
    options = {"images": torch.zeros(2, 6).double(), "num_samples": 2} | options
    with pytest.raises(ValueError, match=says):
        log_likelihood(small, rng=new_rng(), **options)


# Conventions of the targets


def test_grey_targets_are_the_images():
    images = torch.rand(3, 784)
    assert torch.equal(targets(images, "grey", rng=new_rng()), images)


@pytest.mark.parametrize("convention", ["dynamic", "static"])
def test_binarised_targets_are_black_or_white_with_the_grey_level_as_probability(convention):
    grey = torch.linspace(0, 1, 11)
    drawn = targets(grey.repeat(20_000, 1), convention, rng=new_rng())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    standard_error = (grey * (1 - grey) / 20_000).sqrt()
    assert ((drawn.mean(dim=0) - grey).abs() <= 4 * standard_error).all()


def test_dynamic_targets_are_drawn_from_the_rng():
    images, draw = torch.rand(3, 784), new_rng(1)
    first, second = (targets(images, "dynamic", rng=draw) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(targets(images, "dynamic", rng=new_rng(1)), first)


def test_static_targets_are_the_same_for_everybody():
    images = torch.rand(30, 784)
    draw = new_rng(1)
    first, second = (targets(images, "static", rng=draw) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(targets(images, "static", rng=new_rng(2)), first)
    assert torch.equal(draw.get_state(), new_rng(1).get_state())


@pytest.mark.parametrize("n", [1, 7, 16, 29])
def test_static_targets_of_the_first_images_are_the_first_static_targets(n):
    images = torch.rand(30, 784)
    everything = targets(images, "static", rng=new_rng())
    assert torch.equal(targets(images[:n], "static", rng=new_rng()), everything[:n])


def test_unknown_convention_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"grey, dynamic, static, got 'binary'"):
        targets(torch.rand(1, 784), "binary", rng=new_rng())


@pytest.mark.parametrize(
    ("level", "says"), [(255.0, "got 0 to 255"), (-0.5, "got -0.5 to 0"), (math.nan, "got nan")]
)
def test_values_that_are_no_grey_levels_are_refused(level, says):
    images = torch.zeros(2, 784)
    images[1, 5] = level
    with pytest.raises(ValueError, match=rf"images: expected values in \[0, 1\], {says}"):
        targets(images, "grey", rng=new_rng())


# The bridge between grey and black-and-white: it can be crossed in one direction only


GREY = torch.tensor([[0.3, 0.4, 0.7, 0.6, 0.0, 1.0]], dtype=torch.float64)


def drawn_from_grey():
    """Every black-and-white image with the probability that binarisation draws it from GREY."""
    images = black_and_white(6)
    return images, torch.where(images == 1, GREY, 1 - GREY).prod(dim=1)


def test_bce_of_grey_is_exactly_the_mean_over_all_black_and_white_images():
    images, probability = drawn_from_grey()
    assert probability.sum().item() == pytest.approx(1)
    logits = 3 * torch.randn(1, 6, dtype=torch.float64)
    mean = (probability * objective.bce(logits.expand(64, -1), images)).sum()
    torch.testing.assert_close(mean, objective.bce(logits, GREY)[0])


def test_grey_bound_lies_below_the_mean_log_likelihood_of_its_binarised_images(small):
    images, probability = drawn_from_grey()
    value, error = log_likelihood_and_error(
        small,
        torch.cat([GREY, images]),
        num_samples=3_000,
        rng=new_rng(),
        image_batch=65,
        sample_batch=100,
    )
    expected = by_quadrature(small, torch.cat([GREY, images]))
    assert ((value - expected).abs() < 4.5 * error).all()  # 65 images
    mean, grey = (probability * expected[1:]).sum(), expected[0]
    assert mean - grey > 0.02  # strictly, by the convexity of log p in the pixels
    assert (probability * value[1:]).sum() - value[0] > 0.02
    # Of a single image nothing follows: some that may be drawn lie above and some below.
    possible = expected[1:][probability > 0]
    assert possible.min() < grey < possible.max()


def test_grey_bound_is_the_mean_log_likelihood_if_the_decoder_does_not_listen(small):
    nn.init.zeros_(small.to_logits.weight)
    images, probability = drawn_from_grey()
    expected = by_quadrature(small, torch.cat([GREY, images]))
    torch.testing.assert_close((probability * expected[1:]).sum(), expected[0])


# The latents


@pytest.fixture
def q():
    """Posteriors of 40 images over 4 latents: two used, one constant off zero, one the prior."""
    mu, logvar = torch.randn(40, 4), torch.randn(40, 4)
    mu[:, 2], logvar[:, 2] = 1.5, -1.0
    mu[:, 3], logvar[:, 3] = 0.0, 0.0
    return Posteriors(mu, logvar)


@pytest.mark.parametrize("n", [1, 1_000, 2_001])
def test_posteriors_are_those_of_each_image_in_order(small, n):
    x = torch.rand(n, 6, dtype=torch.float64)
    found = posteriors(small, x)
    with torch.no_grad():
        torch.testing.assert_close(tuple(found), small.encode(x))
    assert not found.mu.requires_grad


def test_kl_per_dimension_adds_up_to_the_rate(q):
    torch.testing.assert_close(kl_per_dimension(q).sum(), objective.kl(*q).mean())


def test_kl_per_dimension_is_the_mean_log_ratio_of_q_and_the_prior(q):
    posterior = Normal(q.mu, torch.exp(q.logvar / 2))
    z = posterior.sample((4_000,))  # [4000, 40, 4]
    log_ratio = (posterior.log_prob(z) - PRIOR.log_prob(z)).mean(dim=1)
    standard_error = log_ratio.std(dim=0) / math.sqrt(len(z))
    found = kl_per_dimension(q)
    assert ((found - log_ratio.mean(dim=0)).abs() <= 4 * standard_error + 1e-6).all()
    # (mu^2 + sigma^2 - 1 - log sigma^2) / 2 of the constant dimension, and the prior's zero
    assert found[2:].tolist() == pytest.approx([(1.5**2 + math.exp(-1)) / 2, 0.0])


def test_active_units_are_those_whose_mean_moves_with_the_image(q):
    assert active_units(q) == 2  # a constant mean off zero tells nothing about the image


@pytest.mark.parametrize(("variance", "active"), [(0.0098, 0), (0.0102, 1)])
def test_active_means_a_variance_of_the_mean_above_one_hundredth(variance, active):
    values = torch.randn(500, 1)
    mu = (values - values.mean()) / values.std() * math.sqrt(variance)
    assert active_units(Posteriors(mu, torch.full_like(mu, -3.0))) == active
    assert active_units(Posteriors(mu, torch.zeros_like(mu)), threshold=0.001) == 1


def test_moments_of_the_aggregate_are_those_of_samples_from_all_posteriors(q):
    z = Normal(q.mu, torch.exp(q.logvar / 2)).sample((20_000,)).flatten(0, 1).double()
    mean, covariance = aggregate_moments(q)
    torch.testing.assert_close(mean.double(), z.mean(dim=0), rtol=0, atol=0.02)
    torch.testing.assert_close(covariance.double(), torch.cov(z.T), rtol=0.01, atol=0.02)


def test_covariance_of_the_aggregate_is_its_second_moment_less_that_of_its_mean(q):
    first = [Posteriors(q.mu[:n], q.logvar[:n]) for n in (3, 40, 1)]
    for part in first:
        each = [
            torch.outer(mu, mu) + torch.diag(logvar.exp()) for mu, logvar in zip(*part, strict=True)
        ]
        mean, covariance = aggregate_moments(part)
        expected = torch.stack(each).mean(dim=0) - torch.outer(mean, mean)
        torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-5)


def test_moments_of_one_latent_have_the_same_shapes():
    mean, covariance = aggregate_moments(Posteriors(torch.randn(5, 1), torch.zeros(5, 1)))
    assert (mean.shape, covariance.shape) == ((1,), (1, 1))


# The energy distance


@pytest.mark.parametrize(("n", "m"), [(20, 30), (1_500, 1_100)])
def test_energy_distance_in_one_dimension_is_that_of_scipy_without_its_bias(n, m):
    a, b = torch.randn(n, 1), torch.rand(m, 1) + 0.5
    biased = stats.energy_distance(a.flatten(), b.flatten()) ** 2
    # scipy takes a point's distance to itself into the mean over pairs
    bias = pdist(a).mean() / n + pdist(b).mean() / m
    assert energy_distance(a, b) == pytest.approx(biased - bias, rel=1e-4)


def test_energy_distance_of_points_in_space_is_its_definition():
    a, b = torch.randn(60, 5), 2 * torch.randn(80, 5) + 0.3
    expected = 2 * cdist(a, b).mean() - pdist(a).mean() - pdist(b).mean()
    assert energy_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_energy_distance_of_shifted_normals_is_the_closed_form():
    shift = 0.8

    def mean_of_absolute(mean):  # of a normal with this mean and variance 2
        return 2 / math.sqrt(math.pi) * math.exp(-(mean**2) / 4) + mean * math.erf(mean / 2)

    expected = 2 * mean_of_absolute(shift) - 2 * mean_of_absolute(0.0)
    found = [energy_distance(torch.randn(500, 1), torch.randn(500, 1) + shift) for _ in range(20)]
    mean, error = mean_and_error(torch.tensor(found))
    assert expected > 20 * error
    assert abs(mean - expected) < 4 * error


def test_energy_distance_is_around_zero_for_one_distribution():
    found = [energy_distance(torch.randn(30, 4), torch.randn(20, 4)) for _ in range(200)]
    mean, error = mean_and_error(torch.tensor(found))
    assert abs(mean) < 4 * error
    assert min(found) < 0 < max(found)
    assert energy_distance(torch.randn(30, 4), torch.randn(20, 4) + 1) > max(found)
