"""The gradients that are written out, against autograd in double precision."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import optim
from toy_digits import few_digits

from vae_helpers import gradients, objective
from vae_helpers.models import VAE
from vae_helpers.training import TrainConfig, new_loss, new_model, new_step, train_epoch, train_step

IMAGES = torch.rand(40, 784)


def by_autograd(model, x, eps, beta):
    """Terms and gradients in double precision; the loss is written out here once more."""
    double = copy.deepcopy(model).double()
    output, x = double(x.double(), eps.double()), x.double()
    log_p, log_not_p = F.logsigmoid(output.logits), F.logsigmoid(-output.logits)
    bce = -(x * log_p + (1 - x) * log_not_p).sum(dim=1)
    prior = torch.distributions.Normal(0.0, 1.0)
    posterior = torch.distributions.Normal(output.mu, torch.exp(output.logvar / 2))
    kl = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    loss = bce + beta * kl
    loss.mean().backward()
    terms = {"bce": bce, "kl": kl, "loss": loss}
    return terms, [weight.grad for weight in double.parameters()]


@pytest.fixture(params=["AVX512", "AVX2"])
def processor(request, monkeypatch):
    """Products by oneDNN and by PyTorch's own choice, whatever this processor has."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(
    ("hidden_dims", "latent_dim", "batch"),
    [((400, 200), 20, 128), ((400, 200), 20, 96), ((64,), 2, 1), ((100, 90, 80), 3, 7)],
)
def test_gradients_are_those_of_autograd(hidden_dims, latent_dim, batch, beta):
    model = VAE(hidden_dims, latent_dim)
    x, eps = torch.rand(batch, 784), torch.randn(batch, latent_dim)
    terms = gradients.backward(model, x, eps, beta=beta)
    expected, slopes = by_autograd(model, x, eps, beta)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        torch.testing.assert_close(term.double(), expected[name], rtol=1e-6, atol=1e-5)
    for weight, slope in zip(model.parameters(), slopes, strict=True):
        torch.testing.assert_close(weight.grad.double(), slope, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_the_images_which_nobody_needs_is_not_computed(monkeypatch):
    shapes, product = [], gradients.product
    monkeypatch.setattr(
        gradients,
        "product",
        lambda a, b, *rest, **given: (
            shapes.append((*a.shape, len(b))) or product(a, b, *rest, **given)
        ),
    )
    gradients.backward(VAE((80, 70), 3), torch.rand(5, 784), torch.randn(5, 3))
    assert (
        shapes.count((5, 70, 80)) == 2
    )  # to the decoder's second layer, and back to the encoder's
    assert (5, 80, 784) in shapes  # forward, to the logits
    assert shapes.count((5, 80, 784)) == 1  # and not back to the images
    assert len(shapes) == 7 + 7 + 6  # forward, by weights, by inputs


@pytest.mark.parametrize("scale", [0.0, 1.0, 1_000.0])
def test_bce_is_that_of_the_objective_for_any_logits(scale):
    logits, x = scale * torch.randn(9, 784), torch.rand(9, 784)
    found = gradients._bce(logits, logits.sigmoid(), x)
    expected = objective.bce(logits.double(), x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-4)


def test_an_epoch_is_that_of_autograd_up_to_rounding():
    config, images = TrainConfig(device="cpu"), torch.rand(2_000, 784) ** 4
    loss, ends = new_loss(config, dataset_size=len(images)), []
    for step in (train_step, gradients.train_step):
        model = new_model(config)
        optimizer = optim.SGD(model.parameters(), lr=1e-3)  # Adam makes whole steps of rounding
        numbers = train_epoch(
            model, optimizer, images, loss=loss, config=config, epoch=1, step=step
        )
        ends.append((numbers, torch.cat([it.flatten() for it in model.state_dict().values()])))
    (numbers, weights), (ours, our_weights) = ends
    assert ours == pytest.approx(numbers, rel=1e-6)
    assert (our_weights - weights).norm() < 1e-6 * weights.norm()


def applies(model=None, images=IMAGES, loss=None, reference=train_step):
    model = model or VAE((80, 70), 3)
    loss = loss or partial(objective.elbo, beta=2.0)
    return gradients.applies(model, images, loss=loss, reference=reference)


def test_they_take_the_place_of_autograd_for_the_networks_loss_and_leave_the_model_alone():
    model = VAE((80, 70), 3)
    before = copy.deepcopy(model.state_dict())
    assert applies(model)
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


class Wider(VAE):
    """A model of the reader's own."""


@pytest.mark.parametrize(
    "other",
    [
        {"loss": objective.iwae},
        {"loss": partial(objective.beta_tc, dataset_size=40)},
        {"model": VAE((80, 70), 3, activation="tanh")},
        {"model": Wider((80, 70), 3)},
        {"model": VAE((80, 70), 3).double(), "images": IMAGES.double()},
    ],
    ids=["IWAE", "beta-TC", "tanh", "subclass", "double precision"],
)
def test_anything_else_is_left_to_autograd(other):
    assert not applies(**other)


def without_zero_grad(model, optimizer, x, **given):
    optimizer.zero_grad = lambda: None
    return train_step(model, optimizer, x, **given)


def with_another_term(*args, **given):
    return train_step(*args, **given) | {"mine": torch.zeros(32)}


@pytest.mark.parametrize("step", [without_zero_grad, with_another_term])
def test_a_step_that_somebody_has_changed_is_trained_as_it_says(step):
    assert not applies(reference=step)


@pytest.mark.parametrize(
    ("owner", "name", "changed"),
    [
        (objective, "kl", lambda mu, logvar: 0.5 * (mu.square() - logvar).sum(dim=1)),
        (objective, "bce", lambda logits, x: (logits - x).square().sum(dim=1)),
        (VAE, "reparameterize", lambda self, mu, logvar, eps: mu + logvar.exp() * eps),
        (VAE, "decode", lambda self, z: self.to_logits(self.decoder(z)) / 2),
    ],
    ids=["KL", "BCE", "sample", "decoder"],
)
def test_a_loss_or_model_that_somebody_has_changed_is_trained_as_it_says(
    owner, name, changed, monkeypatch
):
    monkeypatch.setattr(owner, name, changed)
    assert not applies()


def test_a_hook_is_trained_as_it_says():
    model = VAE((80, 70), 3)
    model.to_mu.register_forward_hook(lambda layer, inputs, output: output + 1)
    assert not applies(model)


def test_fit_takes_them_unless_they_are_switched_off():
    for choice, step in (("auto", gradients.train_step), ("off", train_step)):
        config = TrainConfig(device="cpu", acceleration=choice, hidden_dims=(64,), latent_dim=2)
        assert config.trainer(few_digits()).step is step
    loss = new_loss(TrainConfig(loss="iwae"), dataset_size=1)
    config = TrainConfig(device="cpu", loss="iwae")
    assert new_step(config, new_model(config), IMAGES, loss=loss) is train_step


def test_a_training_begins_with_the_random_numbers_that_it_would_have_had():
    before = torch.get_rng_state()
    TrainConfig(device="cpu", hidden_dims=(64,)).trainer(few_digits())
    assert torch.equal(torch.get_rng_state(), before)
