"""Samples from the prior, and from a mixture of two clusters of codes that are known."""

import copy
import math

import numpy as np
import pytest
import torch

from vae_helpers import samplers
from vae_helpers.models import GAN, VAE, Discriminator, Generator
from vae_helpers.parameters import RULES
from vae_helpers.samplers import SAMPLERS, ex_post_mixture, prior

LEFT, RIGHT = torch.tensor([-3.0, 1.0]), torch.tensor([3.0, -1.0])
STD = 0.3
DRAWN = 3_000


@pytest.fixture
def vae():
    """Codes N(LEFT, 0.3^2) where pixel 0 is white, N(RIGHT, 0.3^2) where pixel 1 is.

    The decoder writes z into the logits of pixels 0 and 1 and leaves the others grey.
    """
    model = VAE(hidden_dims=(2,), latent_dim=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.encoder[0].weight[0, 0] = model.encoder[0].weight[1, 1] = 1.0
        model.to_mu.weight.copy_(torch.stack([LEFT, RIGHT], dim=1))
        model.to_logvar.bias.fill_(2 * math.log(STD))
        model.decoder[0].weight.copy_(torch.eye(2))
        model.decoder[0].bias.fill_(20.0)  # so that the ReLU changes nothing
        model.to_logits.weight[:2] = torch.eye(2)
        model.to_logits.bias[:2] = -20.0
    return model


def images(left, right):
    """So many images of one cluster, and so many of the other."""
    made = torch.zeros(left + right, 784)
    made[:left, 0] = made[left:, 1] = 1.0
    return made


def drawn(vae, *, train_images, components=2, seed=1, n=DRAWN):
    """The z of `n` samples, read from their pixels."""
    rng = torch.Generator().manual_seed(seed)
    found = ex_post_mixture(vae, n, train_images=train_images, components=components, rng=rng)
    assert found.shape == (n, 784)
    assert not found.requires_grad
    assert (found[:, 2:] == 0.5).all()
    return torch.logit(found[:, :2].double())


def test_samplers_are_those_that_a_parameter_may_name():
    assert set(SAMPLERS) == set(RULES["sampler"].words)
    assert (SAMPLERS["prior"], SAMPLERS["mixture"]) == (prior, ex_post_mixture)


@pytest.mark.parametrize("kind", ["VAE", "GAN"])
def test_prior_draws_what_the_model_samples_and_does_not_look_at_the_images(kind):
    models = {"VAE": lambda: VAE((8,), 3), "GAN": lambda: GAN(Generator((8,), 3), Discriminator())}
    model = models[kind]()
    for seed in (1, 2):
        rngs = [torch.Generator().manual_seed(seed) for _ in range(2)]
        found = prior(model, 5, train_images=torch.empty(0, 784), components=2, rng=rngs[0])
        assert torch.equal(found, model.sample(5, rngs[1]))
        assert torch.equal(rngs[0].get_state(), rngs[1].get_state())


def test_two_clusters_of_codes_are_drawn_with_their_shares_places_and_widths(vae):
    z = drawn(vae, train_images=images(1_000, 3_000))
    right = z[:, 0] > 0
    # The share is known to sqrt(3/16 / 3,000) = 0.008, and that of the codes is 3/4 exactly.
    assert right.double().mean() == pytest.approx(0.75, abs=0.04)
    for part, place in ((z[~right], LEFT), (z[right], RIGHT)):
        n = min(len(part), 1_000)  # the fewest of codes and draws
        torch.testing.assert_close(
            part.mean(dim=0), place.double(), rtol=0, atol=5 * STD * (2 / n) ** 0.5
        )
        spread = part.std(dim=0)
        torch.testing.assert_close(spread, torch.full_like(spread, STD), rtol=5 / n**0.5, atol=0)
        assert abs(torch.corrcoef(part.T)[0, 1]) < 5 * (2 / n) ** 0.5


def test_one_component_is_a_normal_with_mean_and_covariance_of_all_codes(vae):
    z = drawn(vae, train_images=images(1_000, 1_000), components=1)
    between = torch.outer(RIGHT, RIGHT)  # of two places on both sides of the origin
    expected = (between + STD**2 * torch.eye(2)).double()
    torch.testing.assert_close(torch.cov(z.T), expected, rtol=0.15, atol=0.15)
    assert z.mean(dim=0).abs().max() < 0.4
    assert (z[:, 0].abs() < 1.5).double().mean() > 0.3  # where no code is


def test_draws_of_the_components_are_mixed(vae):
    right = drawn(vae, train_images=images(1_000, 1_000))[:, 0] > 0
    halves = right.double().view(2, -1).mean(dim=1)
    assert halves.tolist() == pytest.approx([0.5, 0.5], abs=0.08)
    changes = (right[1:] != right[:-1]).double().mean()
    assert changes == pytest.approx(0.5, abs=0.05)  # five standard errors of 3,000 coins


def test_only_the_first_images_are_encoded(vae, monkeypatch):
    monkeypatch.setattr(samplers, "CODES", 1_000)
    z = drawn(vae, train_images=images(1_000, 3_000))
    assert (z[:, 0] < 0).all()
    z = drawn(vae, train_images=images(500, 3_000))
    assert (z[:, 0] < 0).double().mean() == pytest.approx(0.5, abs=0.08)


def test_draws_depend_on_the_seed_and_on_nothing_else(vae):
    few = images(300, 300)
    first = drawn(vae, train_images=few, n=50)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(drawn(vae, train_images=few, n=50), first)
    other = drawn(vae, train_images=few, n=50, seed=2)
    # Other codes and another order would not make that much of a difference.
    assert (other.sort(dim=0).values - first.sort(dim=0).values).abs().max() > 0.2


def test_model_and_global_generators_are_left_as_they_are(vae):
    before = copy.deepcopy(vae.state_dict())
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    drawn(vae, train_images=images(300, 300), n=50)
    torch.testing.assert_close(dict(vae.state_dict()), dict(before), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_a_decoder_that_turns_the_sign_of_z_turns_it_in_the_samples_and_not_in_the_codes(vae):
    few = images(300, 300)
    z = drawn(vae, train_images=few, n=50)
    with torch.no_grad():
        vae.decoder[0].weight.neg_()
    torch.testing.assert_close(drawn(vae, train_images=few, n=50), -z, rtol=0, atol=1e-3)


def test_a_mixture_is_refused_to_a_model_without_an_encoder():
    gan = GAN(Generator((4, 3), 2), Discriminator((5, 3)))
    with pytest.raises(ValueError, match="sampler: expected 'prior' for a GAN, got 'mixture'"):
        ex_post_mixture(
            gan, 3, train_images=images(2, 2), components=1, rng=torch.Generator().manual_seed(0)
        )
