"""The gradient of minus the ELBO, written out layer by layer, for networks with ReLUs.

`train_step` does what `training.train_step` does, without autograd: it knows the network and the
loss, and passes over the data fewer times. Autograd stays the reference. `fit` makes two steps both
ways before a training begins, and takes this one only if they agree: a loss, a model or a step that
somebody has changed is trained as it says.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn, optim

from vae_helpers import objective
from vae_helpers.acceleration import product
from vae_helpers.models import VAE
from vae_helpers.objective import Loss, Terms

Step = Callable[..., Terms]
"""`training.train_step`, or one that takes and gives the same."""

AGREEMENT = 1e-3
"""Gradients agree if they differ by at most this share of their length; rounding is 1e-6 of it."""


def applies(model: nn.Module, images: Tensor, *, loss: Loss, reference: Step) -> bool:
    """Whether `train_step` may take the place of another step.

    Args:
        model: left as it is.
        images: `[N, 784]`, of the training; the first few are tried.
        loss: of the training.
        reference: the other step.
    """
    return (
        type(model) is VAE
        and isinstance(loss, partial)
        and loss.func is objective.elbo
        and all(isinstance(layer, nn.Linear | nn.ReLU) for layer in _hidden(model))
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and _agree(model, images[:32], loss=loss, reference=reference)
    )


def _agree(model: VAE, x: Tensor, *, loss: Loss, reference: Step) -> bool:
    """Make two steps of plain gradient descent both ways, and compare terms and gradients."""
    made = []
    for step in (reference, train_step):
        trial, rng = copy.deepcopy(model), torch.Generator().manual_seed(0)
        optimizer = optim.SGD(trial.parameters(), lr=1e-3)
        for _ in range(2):
            terms = step(trial, optimizer, x, loss=loss, rng=rng)
        gradients = [weight.grad for weight in trial.parameters() if weight.grad is not None]
        made.append((sorted(terms), [*(terms[name] for name in sorted(terms)), *gradients]))
    (names, theirs), (own_names, ours) = made
    return names == own_names and all(
        a.shape == b.shape and (a - b).norm() <= AGREEMENT * a.norm()
        for a, b in zip(theirs, ours, strict=True)
    )


def train_step(
    model: VAE,
    optimizer: optim.Optimizer,
    x: Tensor,
    *,
    loss: Loss,
    rng: torch.Generator,
    sample_shape: tuple[int, ...] = (),
) -> Terms:
    """One step downhill, as `training.train_step` makes it.

    Args:
        model, optimizer, x, rng: as there.
        loss: `objective.elbo` with its beta, a `functools.partial`.
        sample_shape: `()`; there is one sample of z per image.
    """
    assert isinstance(loss, partial)  # see `applies`
    eps = torch.randn(len(x), model.latent_dim, generator=rng, dtype=x.dtype)
    terms = backward(model, x, eps, **loss.keywords)
    optimizer.step()
    return terms


@torch.no_grad()
def backward(model: VAE, x: Tensor, eps: Tensor, *, beta: float = 1.0) -> Terms:
    """Give every weight its gradient of the mean loss over a mini-batch, in `.grad`.

    Layer by layer, backward: by its weights the gradient is `g.T @ a`, by its input `g @ W`, where
    `a` is the input and `g` the gradient by the output. By the logits it is sigmoid(logits) - x.
    With z = mu + std * eps, and the KL's own gradient, mu gets `g_z + beta * mu`, and logvar
    `(g_z * eps * std + beta * (std^2 - 1)) / 2`.

    Args:
        model: a `VAE` with ReLUs, float32, on the CPU; only the `.grad` of its weights changes.
        x: `[B, 784]` in [0, 1].
        eps: `[B, D]` standard normal noise.
        beta: weight of the KL.

    Returns:
        The terms of `objective.elbo`, `[B]` each, in nats.
    """
    encoder = [layer for layer in model.encoder if isinstance(layer, nn.Linear)]
    decoder = [layer for layer in model.decoder if isinstance(layer, nn.Linear)]
    share = 1 / len(x)  # of an image in the mean

    encoded = _forward(encoder, x)
    mu, logvar = _output(model.to_mu, encoded[-1]), _output(model.to_logvar, encoded[-1])
    std = torch.exp(0.5 * logvar)
    decoded = _forward(decoder, torch.addcmul(mu, std, eps))
    logits = _output(model.to_logits, decoded[-1])
    means = torch.sigmoid(logits)
    bce, kl = _bce(logits, means, x), objective.kl(mu, logvar)

    g = _backward_layer(model.to_logits, means.sub_(x).mul_(share), decoded[-1])
    g = _backward(decoder, g, decoded)
    g_mu = torch.add(g, mu, alpha=beta * share)
    g_logvar = (g * eps).mul_(std).add_(std.square_().sub_(1), alpha=beta * share).mul_(0.5)
    g = _backward_layer(model.to_mu, g_mu, encoded[-1])
    g += _backward_layer(model.to_logvar, g_logvar, encoded[-1])
    _backward(encoder, g, encoded, first=True)
    return {"bce": bce, "kl": kl, "loss": bce + beta * kl}


def _forward(layers: list[nn.Linear], x: Tensor) -> list[Tensor]:
    """`x` and the output of every layer after its ReLU."""
    made = [x]
    for layer in layers:
        made.append(product(made[-1], layer.weight, layer.bias, relu=True))
    return made


def _output(layer: nn.Linear, a: Tensor) -> Tensor:
    return product(a, layer.weight, layer.bias)


def _backward(
    layers: list[nn.Linear], g: Tensor, made: list[Tensor], *, first: bool = False
) -> Tensor:
    """Backward through layers with ReLUs, from the gradient by the last output.

    Args:
        layers: from the input on.
        g: of the loss, by the output of the last.
        made: what `_forward` gave.
        first: the first layer's input is the images, whose gradient nobody needs.

    Returns:
        The gradient by the input of the first layer; if that is not needed, by its output.
    """
    for number in reversed(range(len(layers))):
        g = torch.ops.aten.threshold_backward(g, made[number + 1], 0)  # the ReLU's
        g = _backward_layer(layers[number], g, made[number], needed=not (first and number == 0))
    return g


def _backward_layer(layer: nn.Linear, g: Tensor, a: Tensor, *, needed: bool = True) -> Tensor:
    """Set the gradients of one layer and give that by its input `a`, if it is needed."""
    layer.weight.grad, layer.bias.grad = product(g.T, a.T), g.sum(dim=0)
    return product(g, layer.weight.T) if needed else g


def _bce(logits: Tensor, means: Tensor, x: Tensor) -> Tensor:
    """`objective.bce` with few logarithms, which are what takes its time.

    It is sum relu(l) - x l - log s, where s = max(p, 1 - p) and p = sigmoid(l). As s lies between
    1/2 and 1, the product of 112 of them is at least 2^-112, which float32 can hold, and its
    logarithm is the sum of theirs.
    """
    certain = torch.sub(means, 0.5).abs_().add_(0.5)
    together = math.gcd(certain.shape[1], 112)
    logs = certain.view(len(x), -1, together).prod(dim=2).log_().sum(dim=1)
    found: Tensor = logits.relu().sum(dim=1) - torch.linalg.vecdot(x, logits) - logs
    return found


def _hidden(model: Any) -> list[nn.Module]:
    return [*model.encoder, *model.decoder]
