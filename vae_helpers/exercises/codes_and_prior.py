"""Exercises of lesson 08: where codes lie, where the prior draws, and what is fitted to codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.integrate import quad
from scipy.special import erf
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from vae_helpers.exercises.comparison import numbers
from vae_helpers.exercises.exercise import Exercise

DRAWS = 40_000


def _radii() -> list[tuple[Tensor, int]]:
    return [
        (torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), 2),
        (torch.tensor([1.0, 3.0, 4.5, 6.0], dtype=torch.float64), 20),
    ]


def _of_radius(answer: Callable[..., Any], radius: Tensor, latents: int) -> Any:
    return answer(radius, latents=latents)


def _share(radius: Tensor, latents: int) -> Tensor:
    """The density of the length, integrated by an adaptive rule."""

    def density(r: float) -> float:
        return float(r ** (latents - 1) * math.exp(-r * r / 2))

    whole = quad(density, 0, 40, points=[latents**0.5], epsrel=1e-10)[0]
    return torch.tensor([quad(density, 0, r, epsrel=1e-10)[0] / whole for r in radius.tolist()])


def _gamma(radius: Tensor, latents: int) -> Tensor:
    return torch.special.gammainc(torch.full_like(radius, latents / 2), radius.square() / 2)  # type: ignore[no-any-return]


SHARE_INSIDE = Exercise(
    name="share_inside",
    tries=_radii,
    observe=_of_radius,
    expected=_share,
    form="a tensor as long as the radii, from 0 to 1",
    hint="The squared length of z is chi-squared with D degrees of freedom.",
    misconceptions={
        "The chi-squared distribution is one of squared lengths; here it was given lengths.": (
            lambda radius, *, latents: _gamma(radius.sqrt(), latents)
        ),
        "This is the share of a cube, not of a ball: every coordinate by itself is small "
        "enough.": lambda radius, *, latents: torch.from_numpy(
            erf(radius.numpy() / math.sqrt(2)) ** latents
        ),
        "This is the share of one coordinate, whatever the number of latents.": (
            lambda radius, *, latents: torch.from_numpy(erf(radius.numpy() / math.sqrt(2)))
        ),
        "This is the share outside.": lambda radius, *, latents: 1 - _gamma(radius, latents),
    },
    tolerance=1e-5,
)


def _codes() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(72)
    mu, logvar = (torch.randn(5, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    return [(2 * mu, logvar - 1)]


def _mixture_variance(mu: Tensor, logvar: Tensor) -> Tensor:
    shares = Categorical(logits=torch.zeros(len(mu), dtype=mu.dtype))
    parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
    return MixtureSameFamily(shares, parts).variance


def _variance(values: Tensor) -> Tensor:
    return values.square().mean(dim=0) - values.mean(dim=0).square()


AGGREGATE_VARIANCE = Exercise(
    name="aggregate_variance",
    tries=_codes,
    expected=_mixture_variance,
    form="a tensor [D], above 0",
    hint="Draw an image, then a code from its q. The variance of a code has one part from each of "
    "the two draws.",
    misconceptions={
        "The widths of q are forgotten: this is the variance of the means.": (
            lambda mu, logvar: _variance(mu)
        ),
        "The spread of the means is forgotten: this is the mean of the variances of q.": (
            lambda mu, logvar: logvar.exp().mean(dim=0)
        ),
        "Variances are averaged, not their logarithms.": lambda mu, logvar: (
            _variance(mu) + logvar.mean(dim=0).exp()
        ),
        "The mean of sigma is added; it has to be that of the variance.": lambda mu, logvar: (
            _variance(mu) + (logvar / 2).exp().mean(dim=0)
        ),
        "The mixture is made of these images and no others: divide by N, not by N - 1.": (
            lambda mu, logvar: mu.var(dim=0) + logvar.exp().mean(dim=0)
        ),
    },
)


def _gaussian() -> list[tuple[Tensor, Tensor]]:
    root = torch.tensor([[2.0, 0, 0], [0.9, 0.6, 0], [-0.7, 0.5, 1.2]])
    return [(torch.tensor([1.0, -2.0, 0.5]), root @ root.T)]


def _moments(answer: Callable[..., Any], mean: Tensor, covariance: Tensor) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(73)
    z = numbers(answer(mean, covariance, n=DRAWS, rng=rng), shape=(DRAWS, len(mean)))
    few, again = (
        answer(mean, covariance, n=5, rng=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    standard = torch.linalg.solve(covariance.double(), (z - z.mean(dim=0)).T).T * (
        z - z.mean(dim=0)
    )
    return {
        "mean": z.mean(dim=0),
        "covariance": z.T.cov(),
        "tails": (standard.sum(dim=1) / len(mean)).square().mean().log(),
        "the same rng, the same draws": torch.equal(few, again),
    }


def _true_moments(mean: Tensor, covariance: Tensor) -> dict[str, Any]:
    normal, size = MultivariateNormal(mean, covariance), len(mean)
    tails = torch.tensor((size + 2) / size).log()  # chi-squared: variance 2 D
    return {
        "mean": normal.mean,
        "covariance": normal.covariance_matrix,
        "tails": tails,
        "the same rng, the same draws": True,
    }


def _transformed(root: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def draw(mean: Tensor, covariance: Tensor, *, n: int, rng: torch.Generator) -> Tensor:
        eps = torch.randn(n, len(mean), generator=rng, dtype=mean.dtype)
        return mean + eps @ root(covariance)

    return draw


def _without_mean(mean: Tensor, covariance: Tensor, *, n: int, rng: torch.Generator) -> Tensor:
    return _transformed(lambda it: torch.linalg.cholesky(it).T)(0 * mean, covariance, n=n, rng=rng)


SAMPLE_GAUSSIAN = Exercise(
    name="sample_gaussian",
    tries=_gaussian,
    observe=_moments,
    expected=_true_moments,
    form="a tensor [n, D]",
    hint="If eps is standard normal, the covariance of A eps is A A^T. Mind that rows are draws.",
    misconceptions={
        "The covariance multiplies the noise where a root of it belongs.": _transformed(
            lambda covariance: covariance
        ),
        "The root is multiplied from the wrong side: with rows of noise it has to be "
        "transposed.": _transformed(lambda covariance: torch.linalg.cholesky(covariance)),
        "Only the variances are used: the draws have no correlations.": _transformed(
            lambda covariance: torch.diag(covariance.diagonal().sqrt())
        ),
        "The mean is missing.": _without_mean,
        "Variances are used as standard deviations, without correlations.": _transformed(
            lambda covariance: torch.diag(covariance.diagonal())
        ),
    },
    tolerance=0.07,
)

APART = 8.0


def _mixture() -> list[tuple[Tensor, ...]]:
    means = APART * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.5]])
    stds = torch.tensor([[0.5, 1.0], [1.2, 0.4], [0.8, 0.8]])
    return [(torch.tensor([0.5, 0.3, 0.2]), means, stds)]


def _of_components(answer: Callable[..., Any], *args: Tensor) -> dict[str, Any]:
    weights, means, stds = args
    rng = torch.Generator().manual_seed(74)
    z = numbers(answer(weights, means, stds, n=DRAWS, rng=rng), shape=(DRAWS, means.shape[1]))
    few, again = (
        answer(weights, means, stds, n=5, rng=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    distance = torch.cdist(z, means.double())
    near = (distance.amin(dim=1) < APART / 1.5)[:, None] & (
        torch.nn.functional.one_hot(distance.argmin(dim=1), len(means)) == 1
    )
    spread = [
        z[near[:, k]].std(dim=0) if near[:, k].sum() > 100 else torch.zeros(2).double()
        for k in range(len(means))
    ]
    neighbours = (near[1:] & near[:-1]).any(dim=1).double().mean()
    return {
        "share of each component": near.double().mean(dim=0),
        "widths": torch.stack(spread),
        "draws in mixed order": neighbours,
        "the same rng, the same draws": torch.equal(few, again),
    }


def _true_components(weights: Tensor, means: Tensor, stds: Tensor) -> dict[str, Any]:
    return {
        "share of each component": weights,
        "widths": stds,
        "draws in mixed order": weights.square().sum(),
        "the same rng, the same draws": True,
    }


def _mistaken_mixture(*, kind: str) -> Callable[..., Tensor]:
    def draw(
        weights: Tensor, means: Tensor, stds: Tensor, *, n: int, rng: torch.Generator
    ) -> Tensor:
        every = means + stds * torch.randn(n, *means.shape, generator=rng, dtype=means.dtype)
        if kind == "average":
            return (weights[:, None] * every).sum(dim=1)
        shares = torch.ones_like(weights) if kind == "equal" else weights
        k = torch.multinomial(shares, n, replacement=True, generator=rng)
        if kind == "in order":
            k = k.sort().values
        if kind == "means":
            return means[k]
        z = every[torch.arange(n), k]
        return means[k] + (z - means[k]) * stds[k] if kind == "variances" else z

    return draw


SAMPLE_MIXTURE = Exercise(
    name="sample_mixture",
    tries=_mixture,
    observe=_of_components,
    expected=_true_components,
    form="a tensor [n, D]",
    hint="Each draw comes from one component. First draw which one, then draw from it.",
    misconceptions={
        "Every draw is an average over the components; a draw belongs to one of them.": (
            _mistaken_mixture(kind="average")
        ),
        "The weights are not used: all components come equally often.": _mistaken_mixture(
            kind="equal"
        ),
        "The widths are not used: all draws lie on the means.": _mistaken_mixture(kind="means"),
        "The draws come component by component; a batch of them would show one only.": (
            _mistaken_mixture(kind="in order")
        ),
        "The widths are squared: the noise is multiplied by variances.": _mistaken_mixture(
            kind="variances"
        ),
    },
    tolerance=0.02,
)

COMPONENTS = Exercise(
    name="components",
    expected={"held out": 20, "too many": 320, "evidence": "no"},
    form="a dictionary with the numbers 'held out' and 'too many', and 'evidence', which is "
    "'yes' or 'no'",
    hint="Read the column of codes that the fit has not seen. How large is a difference in "
    "standard errors?",
    misconceptions={
        "Training codes favour the largest mixture, which describes them one by one.": {
            "held out": 320
        },
        "The smallest difference between the columns is not the best description.": {"held out": 1},
        "A mixture is too large where held-out codes get a lower density than with "
        "one component.": {"too many": 80},
        "A difference of half a standard error decides nothing.": {"evidence": "yes"},
    },
)

LENGTHS = Exercise(
    name="lengths",
    expected={
        "prior": math.sqrt(20),
        "codes": math.sqrt(20 * 25.0),
        "at the origin": "almost none",
        "samples look": "unlike digits",
    },
    form="a dictionary with the numbers 'prior' and 'codes', with 'at the origin', which is "
    "'most', 'half' or 'almost none', and 'samples look', which is 'like digits' or "
    "'unlike digits'",
    hint="Add up the squares of twenty independent coordinates, then take the root.",
    misconceptions={
        "The density is highest at the origin, but hardly any volume lies there.": {
            "at the origin": "most"
        },
        "This is the size of one coordinate of a code; there are twenty.": {"codes": 5.0},
        "This is the root mean square of one coordinate of the prior; the length has twenty.": {
            "prior": 1.0
        },
        "These are mean squared lengths: a root is missing.": {"prior": 20.0, "codes": 500.0},
        "The decoder was not trained where the prior draws and no codes lie.": {
            "samples look": "like digits"
        },
    },
    tolerance=5e-3,
)

EXERCISES = (
    SHARE_INSIDE,
    AGGREGATE_VARIANCE,
    SAMPLE_GAUSSIAN,
    SAMPLE_MIXTURE,
    COMPONENTS,
    LENGTHS,
)
