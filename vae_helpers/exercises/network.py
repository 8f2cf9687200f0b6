"""Exercises of lesson 04: likelihoods of pixels, the network, and the draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from vae_helpers.exercises.comparison import FormError, numbers, shown, written
from vae_helpers.exercises.exercise import Exercise


def _logits() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(41)
    logits = 3 * torch.randn(4, 7, generator=rng, dtype=torch.float64)
    x = torch.rand(4, 7, generator=rng, dtype=torch.float64)
    wrong_pixel = logits.clone()
    wrong_pixel[0, 0] = 800  # its sigmoid is exactly 1
    return [(logits, x), (wrong_pixel, x)]


def _bce(logits: Tensor, x: Tensor) -> Tensor:
    """By numpy's logaddexp: -log sigmoid(l) = log(exp(0) + exp(-l))."""
    on, off = np.logaddexp(0, -logits.numpy()), np.logaddexp(0, logits.numpy())
    return torch.from_numpy((x.numpy() * on + (1 - x.numpy()) * off).sum(axis=1))


def _sigmoid_first(logits: Tensor, x: Tensor) -> Tensor:
    p = torch.sigmoid(logits)
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum(dim=1)


BCE_FROM_LOGITS = Exercise(
    name="bce_from_logits",
    tries=_logits,
    expected=_bce,
    form="a tensor [B], nats per image, at least 0 and finite",
    hint="Of exp(l) and exp(-l) one is never above 1. Write the formula with that one.",
    misconceptions={
        "The sigmoid of a large logit is exactly 1, so that the logarithm of 1 - 1 is minus "
        "infinity, and its exponential is infinite: so is the loss.": _sigmoid_first,
        "PyTorch's function of probabilities cuts the logarithm off at -100, so the most wrong "
        "pixel counts too little.": lambda logits, x: F.binary_cross_entropy(
            torch.sigmoid(logits), x, reduction="none"
        ).sum(dim=1),
        "This is the mean over the pixels, which makes beta as large as their number.": (
            lambda logits, x: _bce(logits, x) / x.shape[1]
        ),
        "This is the log-likelihood, minus the bce.": lambda logits, x: -_bce(logits, x),
        "The sigmoid is taken twice: the loss is given probabilities where it expects "
        "logits.": lambda logits, x: _bce(torch.sigmoid(logits), x),
    },
)


def _gaussians() -> list[tuple[Tensor, Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(42)
    mean, log_std, x = (
        torch.randn(4, 6, generator=rng, dtype=torch.float64).div(2) for _ in range(3)
    )
    return [(mean, log_std, x)]


def _gaussian_terms(mean: Tensor, log_std: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    squares = (x - mean).square() / (2 * log_std).exp()
    return squares, log_std, torch.full_like(x, 0.5 * math.log(2 * math.pi))


def _gaussian(mean: Tensor, log_std: Tensor, x: Tensor) -> Tensor:
    return Normal(mean, log_std.exp()).log_prob(x).sum(dim=1)  # type: ignore[no-any-return]


GAUSSIAN_LOG_LIKELIHOOD = Exercise(
    name="gaussian_log_likelihood",
    tries=_gaussians,
    expected=_gaussian,
    form="a tensor [B], nats per image, of either sign",
    hint="A density has three terms in its logarithm. Which of them depend on the width?",
    misconceptions={
        "log sigma is missing, so a network would make the width infinite.": (
            lambda mean, log_std, x: _gaussian(mean, log_std, x) + log_std.sum(dim=1)
        ),
        "The squares lack their factor 1/2.": lambda mean, log_std, x: (
            _gaussian(mean, log_std, x) - _gaussian_terms(mean, log_std, x)[0].sum(dim=1) / 2
        ),
        "The squares are divided by the standard deviation, not by the variance.": (
            lambda mean, log_std, x: (
                -((x - mean).square() / log_std.exp() / 2 + log_std + 0.5 * math.log(2 * math.pi))
            ).sum(dim=1)
        ),
        "log_std is used as the logarithm of the variance.": lambda mean, log_std, x: _gaussian(
            mean, log_std / 2, x
        ),
        "The constant with 2 pi is missing: harmless for gradients, wrong as a number.": (
            lambda mean, log_std, x: (
                _gaussian(mean, log_std, x) + x.shape[1] * 0.5 * math.log(2 * math.pi)
            )
        ),
        "This is minus the log-likelihood.": lambda *args: -_gaussian(*args),
    },
)


def _layers(pixels: int, hidden: list[int], latents: int) -> dict[str, int]:
    """Weights and biases of layers that are really built, by part."""

    def stack(widths: list[int]) -> list[nn.Linear]:
        return [nn.Linear(*pair) for pair in pairwise(widths)]

    parts = {
        "down": stack([pixels, *hidden]),
        "heads": [nn.Linear(hidden[-1], latents), nn.Linear(hidden[-1], latents)],
        "up": stack([latents, *reversed(hidden), pixels]),
    }
    counted = {
        name: sum(p.numel() for layer in layers for p in layer.parameters())
        for name, layers in parts.items()
    }
    every = [p for layers in parts.values() for layer in layers for p in layer.parameters()]
    return counted | {"biases": sum(p.numel() for p in every if p.ndim == 1)}


def _count(pixels: int, hidden: list[int], latents: int) -> int:
    found = _layers(pixels, hidden, latents)
    return found["down"] + found["heads"] + found["up"]


def _of_widths(answer: Callable[..., Any], pixels: int, hidden: list[int], latents: int) -> Any:
    return answer(pixels=pixels, hidden=hidden, latents=latents)


COUNT_PARAMETERS = Exercise(
    name="count_parameters",
    tries=lambda: [(20, [12, 7], 3), (10, [5], 2)],
    observe=_of_widths,
    expected=_count,
    form="one whole number",
    hint="A linear layer from m to n numbers has m n weights and n biases. List all layers.",
    misconceptions={
        "The biases are not counted.": lambda *, pixels, hidden, latents: (
            _count(pixels, hidden, latents) - _layers(pixels, hidden, latents)["biases"]
        ),
        "There is one head for the latents only; mu and logvar need one each.": (
            lambda *, pixels, hidden, latents: (
                _count(pixels, hidden, latents) - (hidden[-1] + 1) * latents
            )
        ),
        "The decoder is not counted.": lambda *, pixels, hidden, latents: (
            _count(pixels, hidden, latents) - _layers(pixels, hidden, latents)["up"]
        ),
        "The decoder is counted as a second encoder; it has one output layer, and its layers have "
        "other biases.": lambda *, pixels, hidden, latents: (
            2 * (_count(pixels, hidden, latents) - _layers(pixels, hidden, latents)["up"])
        ),
    },
)

FIRST_LOSS = Exercise(
    name="first_loss",
    expected={
        "bce": 784 * math.log(2),
        "kl": 0.0,
        "colour": 3072 * math.log(2),
        "gaussian": 1568.0,
    },
    form="a dictionary with the numbers 'bce', 'kl', 'colour' and 'gaussian', nats per image",
    hint="What probability does a logit of 0 give, and what is its cross-entropy?",
    misconceptions={
        "This is the mean over the pixels; nats per image are their sum.": {"bce": math.log(2)},
        "This is the probability, without its logarithm.": {"bce": 392.0},
        "The unit is bits: a fair coin has an entropy of one bit, or log 2 nats.": {"bce": 784.0},
        "The closed form has a 1 to subtract besides the logarithm: one half per latent is too "
        "much.": {"kl": 10.0},
        "The squares are not divided by the variance: this is the term of a decoder with "
        "sigma = 1.": {"gaussian": 98.0},
        "The squares are divided by sigma; the density has its square.": {"gaussian": 392.0},
    },
    tolerance=2e-3,
)


def _draws() -> list[tuple[Tensor, Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(44)
    mu, logvar, eps = (torch.randn(3, 4, generator=rng, dtype=torch.float64) for _ in range(3))
    return [(mu.requires_grad_(), logvar.requires_grad_(), eps)]


def _drawn(
    answer: Callable[..., Any], mu: Tensor, logvar: Tensor, eps: Tensor
) -> dict[str, Tensor]:
    z = answer(mu, logvar, eps)
    written(z)
    if not isinstance(z, Tensor):
        raise FormError(f"expected a tensor {list(mu.shape)}, got {shown(z)}")
    slopes = [torch.zeros_like(mu), torch.zeros_like(mu)]
    if z.requires_grad:
        found = torch.autograd.grad(z.sum(), (mu, logvar), allow_unused=True)
        slopes = [0 * mu if it is None else it for it in found]
    return {"z": numbers(z), "gradient in mu": slopes[0], "gradient in logvar": slopes[1]}


def _normal_draw(mu: Tensor, logvar: Tensor, eps: Tensor) -> dict[str, Tensor]:
    """z from the quantile of its distribution; slopes by central differences."""

    def z(m: Tensor, s: Tensor) -> Tensor:
        level = Normal(0.0, 1.0).cdf(eps)
        return Normal(m, s.exp().sqrt()).icdf(level)  # type: ignore[no-any-return]

    with torch.no_grad():
        step = 1e-5
        in_mu = (z(mu + step, logvar) - z(mu - step, logvar)) / (2 * step)
        in_logvar = (z(mu, logvar + step) - z(mu, logvar - step)) / (2 * step)
        return {"z": z(mu, logvar), "gradient in mu": in_mu, "gradient in logvar": in_logvar}


REPARAMETERIZE = Exercise(
    name="reparameterize",
    tries=_draws,
    observe=_drawn,
    expected=_normal_draw,
    form="a tensor [B, D] through which gradients reach mu and logvar",
    hint="From the logarithm of a variance to a standard deviation there is a half in the "
    "exponent. Nothing may cut the way back to mu and logvar.",
    misconceptions={
        "This is the variance where the standard deviation belongs: the half is missing.": (
            lambda mu, logvar, eps: mu + logvar.exp() * eps
        ),
        "logvar is used as the standard deviation itself.": lambda mu, logvar, eps: (
            mu + logvar * eps
        ),
        "The values are right, and no gradient comes back: the draw is detached.": (
            lambda mu, logvar, eps: (mu + (logvar / 2).exp() * eps).detach()
        ),
        "The width is detached: no gradient reaches logvar.": lambda mu, logvar, eps: (
            mu + (logvar / 2).exp().detach() * eps
        ),
        "The noise is not used; this is the mean of q.": lambda mu, logvar, eps: mu + 0 * logvar,
    },
)


def _parts_without_gradient() -> dict[str, set[str]]:
    """By autograd, in a network of one linear layer per part."""
    rng = torch.Generator().manual_seed(45)
    x, eps = torch.rand(5, 6, generator=rng), torch.randn(5, 2, generator=rng)
    found = {}
    for case in ("sample", "sample + kl", "mean", "frozen decoder"):
        with torch.random.fork_rng(devices=[]):  # an import draws nothing that a reader would miss
            widths = {"encoder": (6, 4), "to_mu": (4, 2), "to_logvar": (4, 2), "decoder": (2, 6)}
            net = {part: nn.Linear(*pair) for part, pair in widths.items()}
        hidden = net["encoder"](x).tanh()
        mu, logvar = net["to_mu"](hidden), net["to_logvar"](hidden)
        z = mu if case == "mean" else mu + (logvar / 2).exp() * eps
        if case.startswith("sample"):
            z = z.detach()
        if case == "frozen decoder":
            net["decoder"].requires_grad_(False)
        loss = F.binary_cross_entropy_with_logits(net["decoder"](z), x)
        if case == "sample + kl":
            loss = loss + (mu.square() + logvar.exp() - logvar).sum()
        loss.backward()
        found[case] = {
            part for part, layer in net.items() if all(p.grad is None for p in layer.parameters())
        }
    return found


NO_GRADIENT = Exercise(
    name="no_gradient",
    expected=_parts_without_gradient(),
    form="a dictionary from the four cases to sets of 'encoder', 'to_mu', 'to_logvar' and "
    "'decoder'; set() where every part has a gradient",
    hint="Follow each loss backwards to the parts that it can reach.",
    misconceptions={
        "The decoder comes after the draw: its gradient does not pass through z.": {
            "sample": {"encoder", "to_mu", "to_logvar", "decoder"}
        },
        "The KL does not pass through z: it reaches mu and logvar directly.": {
            "sample + kl": {"encoder", "to_mu", "to_logvar"}
        },
        "Without noise the width plays no part in the reconstruction.": {"mean": set()},
        "A part whose weights are fixed still passes gradients on to its input.": {
            "frozen decoder": {"encoder", "to_mu", "to_logvar", "decoder"}
        },
    },
)

EXERCISES = (
    BCE_FROM_LOGITS,
    GAUSSIAN_LOG_LIKELIHOOD,
    COUNT_PARAMETERS,
    FIRST_LOSS,
    REPARAMETERIZE,
    NO_GRADIENT,
)
