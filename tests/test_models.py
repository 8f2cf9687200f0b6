"""The autoencoder against the study's network, written out here a second time."""

import math

import pytest
import torch
from torch import nn

from vae_helpers.models import VAE


class StudyNetwork(nn.Module):
    """The study's network in its own order and with its own end: decode gives probabilities."""

    def __init__(self, activation=torch.relu):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc2 = nn.Linear(400, 200)
        self.fc_mean = nn.Linear(200, 20)
        self.fc_logvar = nn.Linear(200, 20)
        self.fc3 = nn.Linear(20, 200)
        self.fc4 = nn.Linear(200, 400)
        self.fc5 = nn.Linear(400, 784)
        self.activation = activation

    def encode(self, x):
        h = self.activation(self.fc2(self.activation(self.fc1(x))))
        return self.fc_mean(h), self.fc_logvar(h)

    def decode(self, z):
        h = self.activation(self.fc4(self.activation(self.fc3(z))))
        return torch.sigmoid(self.fc5(h))


@torch.no_grad()
def study_network_like(vae, activation=torch.relu):
    """The study's network with the parameters of `vae`, handed over one by one in order."""
    study = StudyNetwork(activation)
    for theirs, ours in zip(study.parameters(), vae.parameters(), strict=True):
        assert theirs.shape == ours.shape
        theirs.copy_(ours)
    return study


@pytest.fixture
def vae():
    return VAE()


@pytest.fixture
def x():
    return torch.rand(6, 784)


def test_default_has_the_parameters_of_the_study(vae):
    assert sum(parameter.numel() for parameter in vae.parameters()) == 801_224


def test_parameters_come_in_the_order_of_the_study(vae):
    shapes = [tuple(parameter.shape) for parameter in vae.parameters()]
    layers = [(784, 400), (400, 200), (200, 20), (200, 20), (20, 200), (200, 400), (400, 784)]
    assert shapes == [shape for inp, out in layers for shape in ((out, inp), (out,))]


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@torch.no_grad()
def test_outputs_are_those_of_the_study(name, x):
    vae = VAE(activation=name)
    study = study_network_like(vae, getattr(torch, name))
    z = torch.randn(6, 20)
    torch.testing.assert_close(vae.encode(x), study.encode(x))
    torch.testing.assert_close(torch.sigmoid(vae.decode(z)), study.decode(z))


def test_widths_and_latents_can_be_chosen():
    vae = VAE(hidden_dims=(30, 20, 10), latent_dim=2, input_dim=16)
    output = vae(torch.rand(5, 16))
    assert [tuple(tensor.shape) for tensor in output] == [(5, 16), (5, 2), (5, 2), (5, 2)]
    widths = [layer.out_features for layer in vae.modules() if isinstance(layer, nn.Linear)]
    assert widths == [30, 20, 10, 2, 2, 10, 20, 30, 16]


@torch.no_grad()
def test_mu_logvar_and_logits_are_unbounded_and_take_both_signs(vae, x):
    for name, parameter in vae.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    z = torch.randn(6, 20)
    # Linear layers without bias and ReLU: a thousand times the input is as much more output.
    for small, large in zip(
        (*vae.encode(x), vae.decode(z)),
        (*vae.encode(1000 * x), vae.decode(1000 * z)),
        strict=True,
    ):
        torch.testing.assert_close(large, 1000 * small, rtol=1e-4, atol=1e-2)
        assert large.min() < -1
        assert large.max() > 1


@torch.no_grad()
def test_forward_decodes_the_sample_of_the_encoded_image(vae, x):
    eps = torch.randn(6, 20)
    logits, mu, logvar, z = vae(x, eps)
    torch.testing.assert_close((mu, logvar), vae.encode(x))
    torch.testing.assert_close(z, mu + torch.sqrt(torch.exp(logvar)) * eps)
    torch.testing.assert_close(logits, vae.decode(z))


def test_reparameterize_samples_the_approximate_posterior(vae):
    n = 100_000
    mu = torch.tensor([-1.0, 0.0, 2.0])
    logvar = torch.tensor([-2.0, 0.5, 1.5])
    std = torch.tensor([math.exp(-1.0), math.exp(0.25), math.exp(0.75)])
    z = vae.reparameterize(mu.expand(n, 3), logvar.expand(n, 3))
    # Five standard errors: std / sqrt(n) of the mean, std / sqrt(2n) of the standard deviation.
    assert ((z.mean(dim=0) - mu).abs() < 5 * std / math.sqrt(n)).all()
    assert ((z.std(dim=0) - std).abs() < 5 * std / math.sqrt(2 * n)).all()


def test_reparameterize_scales_the_given_noise_by_the_standard_deviation(vae):
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[math.log(4.0), math.log(0.25)]])
    z = vae.reparameterize(mu, logvar, torch.tensor([[1.5, -1.0]]))
    torch.testing.assert_close(z, torch.tensor([[1 + 2 * 1.5, -2 - 0.5 * 1.0]]))


def test_without_given_noise_every_call_draws_its_own(vae, x):
    assert not torch.equal(vae(x).z, vae(x).z)


def test_gradients_pass_through_the_sample_to_mu_and_logvar(vae):
    mu, logvar = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    eps = torch.randn(4, 3)
    vae.reparameterize(mu, logvar, eps).sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones(4, 3))
    torch.testing.assert_close(logvar.grad, eps * torch.exp(logvar.detach() / 2) / 2)


def test_every_parameter_gets_a_gradient_from_the_logits_alone(vae, x):
    vae(x).logits.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in vae.parameters())


def test_sampled_images_are_decoded_from_standard_normal_noise(vae):
    images = vae.sample(9, torch.Generator().manual_seed(5))
    z = torch.randn(9, 20, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(images, study_network_like(vae).decode(z))


def test_samples_are_grey_levels_without_a_gradient(vae):
    images = vae.sample(9)
    assert images.shape == (9, 784)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images.requires_grad


def test_same_generator_state_gives_the_same_samples(vae):
    first, again, other = (vae.sample(4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_given_noise_or_generator_leaves_the_global_generator_untouched(vae, x):
    before = torch.get_rng_state()
    vae.sample(4, torch.Generator().manual_seed(1))
    vae(x, torch.randn(6, 20, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)
