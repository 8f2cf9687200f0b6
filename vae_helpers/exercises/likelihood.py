"""Exercises of lesson 11: importance weights, their bound, its errors, and what it is about."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.special import logsumexp, softmax
from scipy.stats import sem, variation
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from vae_helpers.exercises.exercise import Exercise


def _draws() -> list[tuple[Tensor, ...]]:
    rng = torch.Generator().manual_seed(111)
    mu, eps = (torch.randn(*shape, 3, generator=rng).double() for shape in ((4,), (5, 4)))
    lower = torch.randn(4, 3, 3, generator=rng).double().tril(-1)
    widths = torch.rand(4, 3, generator=rng).double() + 0.3
    root = lower + torch.diag_embed(widths)
    return [(10 * torch.randn(5, 4, generator=rng).double() - 90, mu, root, eps)]


def _latents(mu: Tensor, root: Tensor, eps: Tensor) -> Tensor:
    return mu + torch.einsum("bij,kbj->kbi", root, eps)


def _log_prior(z: Tensor) -> Tensor:
    return Independent(Normal(torch.zeros_like(z), 1.0), 1).log_prob(z)  # type: ignore[no-any-return]


def _log_q(mu: Tensor, root: Tensor, eps: Tensor) -> Tensor:
    q = MultivariateNormal(mu, scale_tril=root)
    return q.log_prob(_latents(mu, root, eps))  # type: ignore[no-any-return]


def _log_weights(log_px: Tensor, mu: Tensor, root: Tensor, eps: Tensor) -> Tensor:
    """By torch's distributions."""
    return log_px + _log_prior(_latents(mu, root, eps)) - _log_q(mu, root, eps)


def _log_det(root: Tensor) -> Tensor:
    return root.det().log()


FULL_WEIGHTS = Exercise(
    name="full_weights",
    tries=_draws,
    expected=_log_weights,
    form="a tensor [K, B], in nats",
    hint="The density of z is that of eps divided by how much the map from eps to z stretches "
    "volumes. What is the determinant of a triangular matrix?",
    misconceptions={
        "The prior is missing: this is log p(x|z) - log q(z|x).": lambda log_px, mu, root, eps: (
            log_px - _log_q(mu, root, eps)
        ),
        "log q is missing: this is log p(x, z), which is a weight for no draw.": (
            lambda log_px, mu, root, eps: log_px + _log_prior(_latents(mu, root, eps))
        ),
        "log q is added; a draw that q proposes too often has to count less.": (
            lambda log_px, mu, root, eps: (
                log_px + _log_prior(_latents(mu, root, eps)) + _log_q(mu, root, eps)
            )
        ),
        "The determinant is missing: this is the density of eps, not of z.": (
            lambda log_px, mu, root, eps: _log_weights(log_px, mu, root, eps) - _log_det(root)
        ),
        "The determinant has the wrong sign: where the map stretches, the density of z is lower "
        "than that of eps.": lambda log_px, mu, root, eps: (
            _log_weights(log_px, mu, root, eps) - 2 * _log_det(root)
        ),
        "z is made with the transpose of L. Each draw is a column that L multiplies from the "
        "left.": lambda log_px, mu, root, eps: (
            log_px + _log_prior(_latents(mu, root.mT, eps)) - _log_q(mu, root, eps)
        ),
    },
)


def _weights() -> list[tuple[Tensor]]:
    rng = torch.Generator().manual_seed(112)
    images = 12 * torch.randn(7, generator=rng, dtype=torch.float64) - 1_000
    return [(images + torch.randn(6, 7, generator=rng, dtype=torch.float64),)]


def _log_mean(log_w: Tensor) -> Tensor:
    rows = log_w.numpy()
    return torch.from_numpy(logsumexp(rows, axis=0, b=1 / len(rows)))


def _relative_errors(log_w: Tensor) -> Tensor:
    """Standard error of the logarithm of each image's mean weight, to first order."""
    shares = softmax(log_w.numpy(), axis=0)  # the weights up to a factor
    return torch.from_numpy(variation(shares, axis=0, ddof=1) / math.sqrt(len(shares)))


def _bound_and_errors(log_w: Tensor) -> dict[str, float]:
    """By scipy's coefficient of variation and standard error."""
    bounds, errors = _log_mean(log_w), _relative_errors(log_w)
    return {
        "bound": bounds.mean().item(),
        "draws": math.sqrt(errors.square().sum().item()) / len(bounds),
        "images": float(sem(bounds.numpy())),
    }


BOUND_AND_ERRORS = Exercise(
    name="bound_and_errors",
    tries=_weights,
    expected=_bound_and_errors,
    form="a dictionary with the numbers 'bound', 'draws' and 'images', in nats",
    hint="First one bound and one error per image, then the images. The squares of independent "
    "errors add up, and a mean divides their sum.",
    misconceptions={
        "The weights of all images are averaged before the logarithm: one image of a high density "
        "decides everything.": lambda log_w: {
            "bound": float(logsumexp(log_w.numpy()) - math.log(log_w.numel()))
        },
        "The sum over the draws is not divided by their number.": lambda log_w: {
            "bound": _log_mean(log_w).mean().item() + math.log(len(log_w))
        },
        "This is the spread of the log weights. The mean is one of weights, and the logarithm is "
        "taken of it.": lambda log_w: {
            "draws": math.sqrt((log_w.var(dim=0) / len(log_w)).sum().item()) / log_w.shape[1]
        },
        "The draws' errors of different images are independent and cancel in part; their mean is "
        "too large.": lambda log_w: {"draws": _relative_errors(log_w).mean().item()},
        "exp is taken as it stands, so that every weight is 0, and so are its mean and its "
        "spread: take out a common factor first.": lambda log_w: {"draws": math.nan},
        "This is the spread of the images; that of their mean is smaller.": lambda log_w: {
            "images": _log_mean(log_w).std().item()
        },
    },
    tolerance=1e-5,
)


def _few_draws() -> list[tuple[Tensor]]:
    rng = torch.Generator().manual_seed(113)
    log_w = 2 * torch.randn(8, 5, generator=rng, dtype=torch.float64)
    return [(log_w,), (log_w - 1_000,)]


def _effective(log_w: Tensor) -> Tensor:
    shares = softmax(log_w.numpy(), axis=0)
    return torch.from_numpy(1 / (shares**2).sum(axis=0))


EFFECTIVE_DRAWS = Exercise(
    name="effective_draws",
    tries=_few_draws,
    expected=_effective,
    form="a tensor [B], from 1 to K",
    hint="A common factor of all weights has to cancel, so you may choose one that keeps exp "
    "away from 0.",
    misconceptions={
        "This is the share of draws that count; the number of them is K times as large.": (
            lambda log_w: _effective(log_w) / len(log_w)
        ),
        "exp is taken as it stands, so that the second case is 0 divided by 0.": lambda log_w: (
            log_w.exp().sum(dim=0).square() / log_w.exp().square().sum(dim=0)
        ),
        "The log weights stand where the weights belong.": lambda log_w: (
            log_w.sum(dim=0).square() / log_w.square().sum(dim=0)
        ),
        "The sums run over the images; the draws come first, [K, B].": lambda log_w: _effective(
            log_w.T
        ),
        "This is the inverse of the largest share. It is close, but it looks at one draw only.": (
            lambda log_w: torch.from_numpy(1 / softmax(log_w.numpy(), axis=0).max(axis=0))
        ),
    },
)


def _two_weights() -> list[tuple[float, float, float, int]]:
    return [(-3.0, 1.0, 0.7, 1), (-3.0, 1.0, 0.7, 4), (-2.0, -6.5, 0.2, 7)]


def _of_two(answer: Callable[..., Any], a: float, b: float, share: float, draws: int) -> Any:
    return answer(a, b, share=share, draws=draws)


def _all_draws(
    a: float, b: float, share: float, draws: int, *, of: Callable[[list[float]], float]
) -> float:
    """The average over every sequence of draws."""
    total = 0.0
    for chosen in itertools.product((True, False), repeat=draws):
        probability = math.prod(share if it else 1 - share for it in chosen)
        total += probability * of([a if it else b for it in chosen])
    return total


def _log_of_mean(logs: list[float]) -> float:
    return math.log(math.fsum(map(math.exp, logs)) / len(logs))


def _expected_bound(a: float, b: float, share: float, draws: int) -> float:
    return _all_draws(a, b, share, draws, of=_log_of_mean)


def _without_orders(a: float, b: float, *, share: float, draws: int) -> float:
    """A sequence for each number of draws of the first kind, and no other order of it."""
    total = 0.0
    for first in range(draws + 1):
        logs = first * [a] + (draws - first) * [b]
        total += share**first * (1 - share) ** (draws - first) * _log_of_mean(logs)
    return total


EXPECTED_BOUND = Exercise(
    name="expected_bound",
    tries=_two_weights,
    observe=_of_two,
    expected=_expected_bound,
    form="one number, in nats",
    hint="Of K draws j have the first weight. With which probability, and what is the bound then?",
    misconceptions={
        "The average is taken before the logarithm: this is log p(x), whatever K is.": (
            lambda a, b, *, share, draws: math.log(share * math.exp(a) + (1 - share) * math.exp(b))
        ),
        "This is the ELBO, the bound with one draw, whatever K is.": (
            lambda a, b, *, share, draws: share * a + (1 - share) * b
        ),
        "The sum over the draws is not divided by K.": lambda a, b, *, share, draws: (
            _expected_bound(a, b, share, draws) + math.log(draws)
        ),
        "The number of draws with the first weight can come about in several orders, and each of "
        "them counts.": _without_orders,
        "The two weights have exchanged their probabilities.": lambda a, b, *, share, draws: (
            _expected_bound(b, a, share, draws)
        ),
    },
)

GAP_TABLE = Exercise(
    name="gap_table",
    expected={
        "amortisation": 88.0 - 83.1,
        "approximation, least": 83.1 - 80.6,
        "approximation, most": 83.1 - 80.1,
        "5,000 draws, most": 80.9 - 80.1,
    },
    form="a dictionary with the numbers 'amortisation', 'approximation, least', 'approximation, "
    "most' and '5,000 draws, most', in nats, at least 0",
    hint="Put the five numbers on a line. Between which two of them must -log p(x) lie?",
    misconceptions={
        "This is the encoder's distance from a bound on log p(x), so it holds both gaps.": {
            "amortisation": 88.0 - 80.1
        },
        "The bound with many draws is no likelihood: a better estimate from below is in the "
        "table.": {"approximation, least": 83.1 - 80.9},
        "The approximation gap begins where the amortisation gap ends, with the refitted q.": {
            "approximation, most": 88.0 - 80.1
        },
        "An estimate from below can be too low itself. The most that can be missing follows from "
        "the one from above.": {"5,000 draws, most": 80.9 - 80.6},
        "Least and most are swapped: minus the estimate from below is the larger number.": {
            "approximation, least": 83.1 - 80.1,
            "approximation, most": 83.1 - 80.6,
        },
    },
    tolerance=1e-3,
)

WHICH_IMAGES = Exercise(
    name="which_images",
    expected={
        "A": "dynamic",
        "B": "grey",
        "C": "static",
        "D": "another",
        "no likelihood": "report B",
    },
    form="a dictionary from 'A', 'B', 'C' and 'D' to 'grey', 'dynamic', 'static' or 'another', and "
    "from 'no likelihood' to one of 'report A' to 'report D'",
    hint="Ask of each report which values its pixels have, who has drawn them, and how often.",
    misconceptions={
        "The pixels are drawn, so they have two values; only their probabilities are levels of "
        "brightness.": {"A": "grey"},
        "One file that everybody shares is drawn once and for all.": {"C": "dynamic"},
        "Fixed images alone are not enough: those of the shared file are drawn at random, and a "
        "pixel above one half can be black in it.": {"D": "static"},
        "Nothing is drawn here: the pixels are what the file of MNIST holds, divided by the "
        "largest value.": {"B": "dynamic"},
        "A rule without chance also gives images of two values, and a distribution over such "
        "images gives them probabilities.": {"no likelihood": "report D"},
    },
)

EXERCISES = (
    FULL_WEIGHTS,
    BOUND_AND_ERRORS,
    EFFECTIVE_DRAWS,
    EXPECTED_BOUND,
    GAP_TABLE,
    WHICH_IMAGES,
)
