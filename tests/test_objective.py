"""The terms of the loss against torch.distributions, closed forms and Monte Carlo."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vae_helpers import objective
from vae_helpers.models import VAEOutput

PRIOR = Normal(0.0, 1.0)
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


# The losses of the autoencoder


def some_output(*samples, images=7, latents=3, pixels=6):
    """What a model may give, and black-and-white images; gradients can be taken of all of it."""
    shapes = {
        "logits": (*samples, images, pixels),
        "mu": (images, latents),
        "logvar": (images, latents),
        "z": (*samples, images, latents),
    }
    parts = {
        name: torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for name, shape in shapes.items()
    }
    x = torch.bernoulli(torch.full((images, pixels), 0.4, dtype=torch.float64))
    return VAEOutput(**parts), x


def q_of(output):
    """q(z_d|x) of each image, as torch.distributions has it."""
    return Normal(output.mu, torch.exp(output.logvar / 2))


def log_p_x(output, x):
    """log p(x|z) of each sample and image."""
    return Bernoulli(logits=output.logits).log_prob(x).sum(dim=-1)


def assert_same_terms_and_slopes(output, found, expected):
    """Two computations of named terms agree in every value, and the losses in every gradient."""
    assert list(found) == list(expected)
    for name, term in found.items():
        assert term.shape == (len(output.mu),), name
        torch.testing.assert_close(term, expected[name], rtol=1e-9, atol=1e-9, msg=name)
    slopes, its_slopes = (
        torch.autograd.grad(
            terms["loss"].sum(), tuple(output), retain_graph=True, materialize_grads=True
        )
        for terms in (found, expected)
    )
    torch.testing.assert_close(slopes, its_slopes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_is_the_expected_log_likelihood_and_beta_times_the_divergence(beta):
    output, x = some_output()
    bce, kl = -log_p_x(output, x), kl_divergence(q_of(output), PRIOR).sum(dim=1)
    expected = {"bce": bce, "kl": kl, "loss": bce + beta * kl}
    assert_same_terms_and_slopes(output, objective.elbo(output, x, beta=beta), expected)
    assert torch.equal(objective.elbo(output, x)["loss"], objective.elbo(output, x, beta=1)["loss"])


@pytest.mark.parametrize("samples", [(), (1,), (2,), (50,)], ids=str)
def test_iwae_is_minus_the_log_of_the_mean_weight(samples):
    output, x = some_output(*samples)
    divergence = (q_of(output).log_prob(output.z) - PRIOR.log_prob(output.z)).sum(dim=-1)
    log_p = log_p_x(output, x)
    if not samples:
        log_p, divergence = log_p[None], divergence[None]
    bound = torch.log(torch.exp(log_p - divergence).mean(dim=0))
    expected = {
        "bce": -log_p.mean(dim=0),
        "kl": divergence.mean(dim=0),
        "gap": bound - (log_p - divergence).mean(dim=0),
        "loss": -bound,
    }
    assert_same_terms_and_slopes(output, objective.iwae(output, x), expected)


@pytest.mark.parametrize("samples", [(), (1,)], ids=str)
def test_iwae_of_one_sample_is_the_bound_of_one_sample_and_has_no_gap(samples):
    output, x = some_output(*samples)
    terms = objective.iwae(output, x)
    assert terms["gap"].tolist() == [0.0] * 7
    elbo = log_p_x(output, x) - (q_of(output).log_prob(output.z) - PRIOR.log_prob(output.z)).sum(-1)
    torch.testing.assert_close(terms["loss"], -elbo.reshape(7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gap_of_iwae_is_never_below_zero_and_zero_for_equal_weights(dtype):
    output, x = some_output(20, images=50)
    output = VAEOutput(*(part.detach().to(dtype) for part in output))
    assert (objective.iwae(output, x.to(dtype))["gap"] > 0).all()
    same = output._replace(
        logits=output.logits[:1].expand(20, -1, -1), z=output.z[:1].expand(20, -1, -1)
    )
    gap = objective.iwae(same, x.to(dtype))["gap"]
    torch.testing.assert_close(gap, torch.zeros(50, dtype=dtype), rtol=0, atol=1e-5)


def test_iwae_is_finite_where_the_weights_themselves_are_not():
    output, x = some_output(5, pixels=784)
    output = output._replace(logits=1000 * output.logits)
    terms = objective.iwae(output, x)
    assert torch.exp(-terms["loss"]).tolist() == [0.0] * 7  # of all weights, in double precision
    assert all(term.isfinite().all() for term in terms.values())
    terms["loss"].sum().backward()
    assert output.mu.grad.isfinite().all()


def test_iwae_is_minus_log_p_of_x_with_any_samples_when_q_is_the_posterior(monkeypatch):
    """In x = W z + b + noise all is known, and q is diagonal if W's columns are orthogonal."""
    std = 0.5
    monkeypatch.setattr(
        objective, "bce", lambda mean, x: -Normal(mean, std).log_prob(x).sum(dim=-1)
    )
    W = torch.linalg.qr(torch.randn(6, 3, dtype=torch.float64)).Q * torch.tensor([0.3, 0.8, 2.0])
    b = torch.linspace(-1, 1, 6, dtype=torch.float64)
    marginal = MultivariateNormal(b, W @ W.T + std**2 * torch.eye(6, dtype=torch.float64))
    x = marginal.sample((5,))
    variance = 1 / (1 + W.square().sum(dim=0) / std**2)
    mu, logvar = variance * ((x - b) @ W) / std**2, variance.log().expand(5, 3)
    z = 3 * torch.randn(4, 5, 3, dtype=torch.float64)  # anywhere: every weight is p(x)
    terms = objective.iwae(VAEOutput(z @ W.T + b, mu, logvar, z), x)
    torch.testing.assert_close(terms["loss"], -marginal.log_prob(x), rtol=1e-10, atol=0)
    torch.testing.assert_close(terms["gap"], torch.zeros(5).double(), rtol=0, atol=1e-10)
    off = VAEOutput(z @ W.T + b, mu + 0.5, logvar, z)
    assert (objective.iwae(off, x)["gap"] > 1e-3).all()


def test_iwae_tightens_with_k_from_the_elbo_towards_log_p_of_x():
    """One latent and three pixels: log p(x) and the ELBO are integrals by Gauss and Hermite."""
    weight = torch.tensor([[2.0, -1.0, 3.0]], dtype=torch.float64)
    x = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    mu, logvar = torch.tensor([[0.2]]).double(), torch.tensor([[0.3]]).double()

    def log_p(z):
        return Bernoulli(logits=z[..., None] * weight[0] - 0.5).log_prob(x).sum(dim=-1)

    points, masses = (torch.from_numpy(it) for it in np.polynomial.hermite_e.hermegauss(80))
    masses = masses / masses.sum()
    log_p_of_x = (log_p(points) + masses.log()).logsumexp(dim=0).item()
    q = Normal(mu.squeeze(), torch.exp(logvar.squeeze() / 2))
    elbo = (masses * log_p(q.mean + q.stddev * points)).sum() - kl_divergence(q, PRIOR)

    n = 20_000
    bounds, errors = [], []
    for k in (1, 2, 5, 50):
        z = mu + torch.exp(logvar / 2) * torch.randn(k, n, 1, dtype=torch.float64)
        output = VAEOutput(z @ weight - 0.5, mu.expand(n, 1), logvar.expand(n, 1), z)
        bound = -objective.iwae(output, x.expand(n, 3))["loss"]
        bounds.append(bound.mean().item())
        errors.append((bound.std() / math.sqrt(n)).item())
    assert abs(bounds[0] - elbo.item()) < 4 * errors[0]
    for (lower, error), (higher, its) in itertools.pairwise(zip(bounds, errors, strict=True)):
        assert higher - lower > 4 * math.hypot(error, its)
    assert bounds[-1] < log_p_of_x + 4 * errors[-1]
    assert log_p_of_x - bounds[-1] < 0.1 * (log_p_of_x - bounds[0])


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("dataset_size", [7, 60_000])
def test_parts_of_beta_tc_add_up_to_the_log_ratio_and_beta_weighs_the_second(beta, dataset_size):
    output, x = some_output()
    terms = objective.beta_tc(output, x, dataset_size=dataset_size, beta=beta)
    assert list(terms) == ["bce", "mi", "tc", "dw_kl", "loss"]
    ratio = (q_of(output).log_prob(output.z) - PRIOR.log_prob(output.z)).sum(dim=1)
    torch.testing.assert_close(terms["mi"] + terms["tc"] + terms["dw_kl"], ratio)
    torch.testing.assert_close(terms["bce"], -log_p_x(output, x))
    loss = terms["bce"] + ratio + (beta - 1) * terms["tc"]
    torch.testing.assert_close(terms["loss"], loss)


def test_beta_tc_of_all_images_is_that_of_torchs_mixtures():
    output, x = some_output()
    equal, q = Categorical(torch.ones(7, dtype=torch.float64)), q_of(output)
    log_q = MixtureSameFamily(equal, Independent(q, 1)).log_prob(output.z)
    per_dimension = [
        MixtureSameFamily(equal, Normal(q.mean[:, d], q.stddev[:, d])).log_prob(output.z[:, d])
        for d in range(3)
    ]
    log_product = torch.stack(per_dimension).sum(dim=0)
    own, prior = q.log_prob(output.z).sum(dim=1), PRIOR.log_prob(output.z).sum(dim=1)
    expected = {
        "bce": -log_p_x(output, x),
        "mi": own - log_q,
        "tc": log_q - log_product,
        "dw_kl": log_product - prior,
    }
    expected["loss"] = expected["bce"] + expected["mi"] + 3 * expected["tc"] + expected["dw_kl"]
    terms = objective.beta_tc(output, x, dataset_size=7, beta=3.0)
    assert_same_terms_and_slopes(output, terms, expected)


def test_beta_tc_of_a_batch_weighs_the_own_image_by_one_nth_and_the_others_alike():
    output, x = some_output()
    n, batch = 50, 7

    def density(i, j, dimensions):
        """q(z_i|x_j) over some of the dimensions."""
        q = Normal(output.mu[j], torch.exp(output.logvar[j] / 2))
        return math.exp(sum(q.log_prob(output.z[i])[d].item() for d in dimensions))

    def log_mixture(i, dimensions):
        others = [density(i, j, dimensions) for j in range(batch) if j != i]
        return math.log(density(i, i, dimensions) / n + (n - 1) / n * np.mean(others))

    terms = objective.beta_tc(output, x, dataset_size=n)
    for i in range(batch):
        joint, product = log_mixture(i, range(3)), sum(log_mixture(i, [d]) for d in range(3))
        assert terms["mi"][i].item() == pytest.approx(math.log(density(i, i, range(3))) - joint)
        assert terms["tc"][i].item() == pytest.approx(joint - product)


def test_the_aggregate_of_beta_tc_is_right_on_average_over_all_batches_with_the_image():
    output, x = some_output(images=6)
    q = q_of(output)
    log_own = q.log_prob(output.z).sum(dim=1)
    mixture = MixtureSameFamily(Categorical(torch.ones(6).double()), Independent(q, 1))
    estimates = []
    for others in itertools.combinations(range(1, 6), 2):
        batch = [0, *others]
        part = VAEOutput(*(tensor[batch] for tensor in output))
        mi = objective.beta_tc(part, x[batch], dataset_size=6)["mi"][0]
        estimates.append(torch.exp(log_own[0] - mi))
    exact = mixture.log_prob(output.z)[0].exp()
    assert len({round(estimate.item(), 12) for estimate in estimates}) == 10
    torch.testing.assert_close(torch.stack(estimates).mean(), exact)


def tc_of(mu, *, std, n):
    """Mean total correlation of n images whose posteriors' means are the rows of `mu` in turn."""
    mu = torch.tensor(mu, dtype=torch.float64).repeat(n // len(mu), 1)
    z = mu + std * torch.randn(mu.shape, dtype=torch.float64)
    output = VAEOutput(torch.zeros(n, 1).double(), mu, torch.full_like(mu, 2 * math.log(std)), z)
    return objective.beta_tc(output, torch.zeros(n, 1).double(), dataset_size=n)["tc"]


def test_total_correlation_is_zero_if_the_aggregate_factorises_and_log_two_on_a_diagonal():
    corners = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]
    for std in (0.1, 1.0):
        torch.testing.assert_close(
            tc_of(corners, std=std, n=40), torch.zeros(40).double(), rtol=0, atol=1e-9
        )
    apart = tc_of([(-1.0, -1.0), (1.0, 1.0)], std=0.01, n=40)
    torch.testing.assert_close(apart, torch.full((40,), math.log(2)).double())
    assert 0.05 < tc_of([(-1.0, -1.0), (1.0, 1.0)], std=1.0, n=2_000).mean() < math.log(2)


def test_losses_of_one_image_are_those_of_the_equations_in_single_precision_too():
    output, x = some_output(pixels=784)
    single = VAEOutput(*(part.detach().float() for part in output))
    for loss in (
        objective.elbo,
        objective.iwae,
        lambda *it: objective.beta_tc(*it, dataset_size=9),
    ):
        for name, term in loss(single, x.float()).items():
            assert term.dtype == torch.float32
            torch.testing.assert_close(
                term.double(), loss(output, x)[name].detach(), rtol=1e-5, atol=1e-4
            )


def test_densities_are_those_of_torch_distributions():
    z, mu, logvar = torch.randn(4, 1, 3), torch.randn(5, 3), torch.randn(5, 3)
    expected = Normal(mu, torch.exp(logvar / 2)).log_prob(z)
    torch.testing.assert_close(objective.log_normal(z, mu, logvar), expected)
    torch.testing.assert_close(objective.log_prior(z), PRIOR.log_prob(z))


# The losses of the adversarial pair


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
