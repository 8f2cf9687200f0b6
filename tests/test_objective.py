"""The terms of the loss against torch.distributions, closed forms and Monte Carlo."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_helpers import objective

GREY = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.9, 1.0], dtype=torch.float64)


@pytest.fixture
def gaussians():
    """mu and logvar `[5, 20]` of five approximate posteriors, wide and narrow."""
    return (
        2 * torch.randn(5, 20, dtype=torch.float64),
        2 * torch.randn(5, 20, dtype=torch.float64),
    )


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_bce_of_black_and_white_is_minus_the_bernoulli_log_likelihood(dtype, rtol):
    logits = 3 * torch.randn(7, 784, dtype=dtype)
    x = torch.bernoulli(torch.full((7, 784), 0.3, dtype=dtype))
    expected = -Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(objective.bce(logits, x), expected, rtol=rtol, atol=0)


def test_bce_of_grey_is_the_formula():
    logits = 3 * torch.randn(7, 784, dtype=torch.float64)
    x = torch.rand(7, 784, dtype=torch.float64)
    p = 1 / (1 + torch.exp(-logits))
    expected = -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum(dim=1)
    torch.testing.assert_close(objective.bce(logits, x), expected, rtol=1e-10, atol=0)


def test_bce_of_grey_is_the_mean_over_black_and_white_draws():
    logits, x = torch.randn(1, 784), torch.rand(1, 784)
    drawn = objective.bce(logits.expand(4_000, -1), torch.bernoulli(x.expand(4_000, -1)))
    standard_error = drawn.std() / math.sqrt(len(drawn))
    assert abs(objective.bce(logits, x) - drawn.mean()) < 5 * standard_error


@pytest.mark.parametrize("logit", [-1000.0, -50.0, 50.0, 1000.0])
def test_bce_is_finite_and_right_for_large_logits(logit):
    x = GREY.float().repeat(3, 1)
    logits = torch.full_like(x, logit, requires_grad=True)
    bce = objective.bce(logits, x)
    # softplus(logit) - x * logit, where softplus(l) is max(l, 0) up to exp(-|l|)
    expected = (max(logit, 0.0) - GREY * logit).sum()
    torch.testing.assert_close(bce.double(), expected.expand(3), rtol=1e-6, atol=1e-6)
    bce.sum().backward()
    torch.testing.assert_close(logits.grad, (1.0 if logit > 0 else 0.0) - x, rtol=0, atol=1e-6)


def test_bce_is_one_value_per_image():
    assert objective.bce(torch.zeros(3, 784), torch.zeros(3, 784)).shape == (3,)


def test_bce_is_a_sum_over_pixels():
    bce = objective.bce(torch.zeros(2, 784), torch.rand(2, 784))
    torch.testing.assert_close(bce, torch.full((2,), 784 * math.log(2)))


def test_bce_of_one_image_does_not_depend_on_the_others():
    logits, x = torch.randn(3, 784), torch.rand(3, 784)
    torch.testing.assert_close(objective.bce(logits, x)[1:2], objective.bce(logits[1:2], x[1:2]))


def test_bce_is_never_below_the_entropy_of_the_pixels():
    x = GREY[1:-1]
    entropy = -(x * torch.log(x) + (1 - x) * torch.log(1 - x)).sum()
    best = torch.log(x / (1 - x))
    torch.testing.assert_close(objective.bce(best[None], x[None]), entropy[None])
    others = best + torch.randn(100, len(x), dtype=torch.float64)
    assert (objective.bce(others, x.expand_as(others)) > entropy).all()


def test_gradient_of_bce_at_zero_logits_is_one_half_minus_the_pixel():
    x = GREY[None]
    logits = torch.zeros_like(x, requires_grad=True)
    objective.bce(logits, x).sum().backward()
    torch.testing.assert_close(logits.grad, 0.5 - x)


def test_kl_is_that_of_torch_distributions(gaussians):
    mu, logvar = gaussians
    q, prior = Normal(mu, torch.exp(logvar / 2)), Normal(0.0, 1.0)
    expected = kl_divergence(q, prior).sum(dim=1)
    torch.testing.assert_close(objective.kl(mu, logvar), expected)


def test_kl_is_the_mean_log_ratio_of_q_and_the_prior():
    mu, logvar = torch.tensor([[1.0, -0.5, 0.0]]), torch.tensor([[-1.0, 0.5, 0.0]])
    q, prior = Normal(mu, torch.exp(logvar / 2)), Normal(0.0, 1.0)
    z = q.sample((100_000,))  # [K, 1, D]
    log_ratio = (q.log_prob(z) - prior.log_prob(z)).sum(dim=2)
    standard_error = log_ratio.std() / math.sqrt(len(z))
    assert standard_error < 0.01
    assert abs(objective.kl(mu, logvar) - log_ratio.mean()) < 5 * standard_error


def test_kl_of_the_prior_is_zero():
    assert objective.kl(torch.zeros(2, 20), torch.zeros(2, 20)).tolist() == [0.0, 0.0]


def test_kl_of_everything_else_is_positive(gaussians):
    assert (objective.kl(*gaussians) > 0).all()


def test_kl_is_one_value_per_image_and_a_sum_over_latents():
    mu = torch.ones(4, 20)
    torch.testing.assert_close(objective.kl(mu, torch.zeros(4, 20)), torch.full((4,), 10.0))


def test_gradient_of_kl_pulls_mu_and_logvar_to_zero(gaussians):
    mu, logvar = (tensor.requires_grad_() for tensor in gaussians)
    objective.kl(mu, logvar).sum().backward()
    torch.testing.assert_close(mu.grad, mu.detach())
    torch.testing.assert_close(logvar.grad, (logvar.detach().exp() - 1) / 2)
