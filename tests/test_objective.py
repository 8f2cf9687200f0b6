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


LOGITS = torch.tensor([-4.0, -1.0, -0.2, 0.0, 0.3, 2.0, 5.0], dtype=torch.float64)


@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.5])
def test_discriminator_s_loss_is_the_cross_entropy_of_telling_real_from_generated(real_label):
    real, fake = LOGITS, LOGITS.flip(0) + 0.1
    d_real, d_fake = 1 / (1 + torch.exp(-real)), 1 / (1 + torch.exp(-fake))
    expected = -real_label * torch.log(d_real) - (1 - real_label) * torch.log(1 - d_real)
    expected = expected - torch.log(1 - d_fake)
    loss = objective.discriminator_loss(real, fake, real_label=real_label)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_discriminator_s_label_of_real_images_is_one_unless_another_is_asked_for():
    loss = objective.discriminator_loss(LOGITS, LOGITS)
    explicit = objective.discriminator_loss(LOGITS, LOGITS, real_label=1.0)
    assert torch.equal(loss, explicit)
    assert not torch.equal(loss, objective.discriminator_loss(LOGITS, LOGITS, real_label=0.9))


def test_generator_s_loss_is_minus_the_log_of_the_belief_in_its_images():
    expected = -torch.log(1 / (1 + torch.exp(-LOGITS)))
    torch.testing.assert_close(objective.generator_loss(LOGITS), expected, rtol=1e-12, atol=0)


def test_losses_of_a_discriminator_that_guesses_are_log_four_and_log_two():
    zero = torch.zeros(3)
    for real_label in (1.0, 0.9):
        loss = objective.discriminator_loss(zero, zero, real_label=real_label)
        torch.testing.assert_close(loss, torch.full((3,), math.log(4)))
    torch.testing.assert_close(objective.generator_loss(zero), torch.full((3,), math.log(2)))


@pytest.mark.parametrize("real_label", [1.0, 0.9])
@pytest.mark.parametrize(("real", "fake"), [(1e3, -1e3), (-1e3, 1e3), (1e3, 1e3), (-1e3, -1e3)])
def test_adversarial_losses_are_finite_and_right_for_large_logits(real, fake, real_label):
    real, fake = (torch.full((2,), logit, requires_grad=True) for logit in (real, fake))
    loss = objective.discriminator_loss(real, fake, real_label=real_label)
    # softplus(l) is max(l, 0) up to exp(-|l|)
    expected = real.relu() - real_label * real + fake.relu()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(objective.generator_loss(fake), (-fake).relu())
    (loss + objective.generator_loss(fake)).sum().backward()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()


def test_adversarial_losses_are_one_value_per_image_and_never_negative():
    real, fake = 5 * torch.randn(9), 5 * torch.randn(9)
    for loss in (
        objective.discriminator_loss(real, fake),
        objective.discriminator_loss(real, fake, real_label=0.9),
        objective.generator_loss(fake),
    ):
        assert loss.shape == (9,)
        assert (loss >= 0).all()


def test_discriminator_and_generator_pull_the_logits_of_generated_images_apart():
    real, fake = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    of_real, of_fake = torch.autograd.grad(
        objective.discriminator_loss(real, fake).sum(), (real, fake)
    )
    (of_generator,) = torch.autograd.grad(objective.generator_loss(fake).sum(), fake)
    belief = 1 / (1 + torch.exp(-LOGITS))
    torch.testing.assert_close(of_real, belief - 1)  # downhill is up
    torch.testing.assert_close(of_fake, belief)  # downhill is down
    torch.testing.assert_close(of_generator, belief - 1)  # steepest where D(G(z)) is near 0


@pytest.mark.parametrize("real_label", [1.0, 0.9])
@pytest.mark.parametrize(("p", "g"), [(1, 1), (3, 1), (2, 7)])
def test_best_belief_is_the_share_of_real_images_times_their_label(p, g, real_label):
    """Goodfellow et al. 2014, proposition 1; with a label Salimans et al. 2016, section 3.4."""

    def loss(logit):
        """Of an image that is drawn with weight p from the data and g from the generator."""
        sure = torch.full_like(logit, 1e3)
        real = objective.discriminator_loss(logit, -sure, real_label=real_label)
        fake = objective.discriminator_loss(sure, logit)
        return p * real + g * fake

    share = real_label * p / (p + g)
    best = torch.tensor([math.log(share / (1 - share))], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(best).sum(), best)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    least = -(p + g) * (share * math.log(share) + (1 - share) * math.log(1 - share))
    assert loss(best).item() == pytest.approx(least)
    assert (loss(best.detach() + torch.cat([LOGITS[:3], LOGITS[4:]])) > least).all()
    if real_label == 1:
        assert best.item() == pytest.approx(math.log(p / g))
