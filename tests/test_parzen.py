"""Parzen windows against SciPy's and scikit-learn's densities, and a closed form."""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.neighbors import KernelDensity

from vae_helpers import parzen
from vae_helpers.parzen import SIGMAS, choose_sigma, estimate, log_densities


def test_the_widths_are_those_of_goodfellow_and_others():
    assert pytest.approx(np.logspace(-1, 0, 10)) == SIGMAS


@pytest.mark.parametrize("sigma", [0.1, 0.4, 3.0])
def test_the_density_is_that_of_scikit_learn(sigma):
    samples, images = torch.rand(30, 5), torch.rand(12, 5)
    kernels = KernelDensity(bandwidth=sigma, rtol=1e-12).fit(samples.double().numpy())
    (found,) = log_densities(images, samples, sigmas=[sigma])
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(kernels.score_samples(images.double().numpy()), rel=1e-9)


def test_around_one_sample_it_is_a_gaussian():
    images, sample = torch.randn(7, 3), torch.tensor([[0.3, -1.0, 2.0]])
    (found,) = log_densities(images, sample, sigmas=[0.7])
    expected = multivariate_normal(sample[0].double().numpy(), 0.49).logpdf(images.double().numpy())
    assert found.numpy() == pytest.approx(expected, rel=1e-9)


def test_of_gaussian_samples_it_tends_to_their_density_made_wider():
    samples, sigma = torch.randn(200_000, 1), 0.5
    images = torch.tensor([[0.0], [1.0], [-2.0]])
    (found,) = log_densities(images, samples, sigmas=[sigma])
    variance = 1 + sigma**2
    expected = -0.5 * images[:, 0] ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=0.02)


def test_it_integrates_to_one():
    x = torch.linspace(-8, 8, 4_001)[:, None]
    (found,) = log_densities(x, torch.tensor([[-1.0], [0.0], [2.5]]), sigmas=[0.3])
    assert torch.trapezoid(found.exp(), x[:, 0].double()).item() == pytest.approx(1, abs=1e-6)


def test_far_from_all_samples_it_is_finite():
    images, samples = torch.ones(2, 784), torch.zeros(3, 784)
    (found,) = log_densities(images, samples, sigmas=[0.1])
    expected = -0.5 * 784 / 0.01 - 784 * math.log(0.1 * math.sqrt(2 * math.pi))
    assert found.tolist() == pytest.approx([expected] * 2)


def test_the_density_at_a_sample_that_is_there_twice_is_no_rounding_error():
    image = torch.rand(1, 784)
    (found,) = log_densities(image, image.repeat(4, 1), sigmas=[0.1])
    assert found.item() == pytest.approx(-784 * math.log(0.1 * math.sqrt(2 * math.pi)), abs=1e-8)


def test_chunks_and_widths_do_not_change_it(monkeypatch):
    images, samples = torch.rand(11, 4), torch.rand(6, 4)
    whole = log_densities(images, samples, sigmas=[0.1, 0.5])
    assert whole.shape == (2, 11)
    monkeypatch.setattr(parzen, "CHUNK", 4)
    for row, sigma in zip(whole, (0.1, 0.5), strict=True):
        torch.testing.assert_close(log_densities(images, samples, sigmas=[sigma])[0], row)


def test_the_width_is_the_best_on_held_out_images():
    samples, held_out = 0.5 * torch.randn(40, 6), 0.5 * torch.randn(30, 6)
    scores = {
        sigma: KernelDensity(bandwidth=sigma).fit(samples.numpy()).score(held_out.numpy())
        for sigma in SIGMAS
    }
    best = max(scores, key=scores.get)
    assert SIGMAS[0] < best < SIGMAS[-1]
    assert choose_sigma(held_out, samples) == best


def test_the_estimate_is_the_mean_over_images_with_the_width_of_the_held_out():
    samples, held_out = 0.5 * torch.randn(40, 6), 0.5 * torch.randn(30, 6)
    images = 3 * torch.randn(25, 6)
    found = estimate(images, samples, held_out=held_out)
    assert found.sigma == choose_sigma(held_out, samples)
    assert found.sigma != choose_sigma(images, samples)
    kernels = KernelDensity(bandwidth=found.sigma, rtol=1e-12).fit(samples.double().numpy())
    values = kernels.score_samples(images.double().numpy())
    assert found.value == pytest.approx(values.mean(), rel=1e-9)
    assert found.standard_error == pytest.approx(values.std() / 5, rel=1e-9)


def test_if_held_out_images_are_among_the_samples_the_narrowest_width_wins():
    samples = torch.randn(40, 6)
    assert choose_sigma(samples[:20], samples) == SIGMAS[0]


def test_real_pixels_of_the_training_set_are_better_than_noise(digits):
    real, samples = digits.test_images[:100], digits.train_images[:300]
    ours = estimate(real[20:], samples, held_out=real[:20]).value
    noise = estimate(real[20:], torch.rand(300, 784), held_out=real[:20]).value
    assert ours > noise + 100


def test_the_held_out_images_cannot_be_forgotten():
    parameter = inspect.signature(estimate).parameters["held_out"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default is parameter.empty
