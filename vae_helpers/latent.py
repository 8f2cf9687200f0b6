"""The latent space of a trained VAE: ways through it, how codes fill it, what can be read off them.

The aggregate posterior of n images is the mixture q(z) = (1/n) sum_j q(z|x_j).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.distributions import Normal

from vae_helpers.evaluation import Posteriors

CHUNK = 500


def quantiles(n: int) -> Tensor:
    """The middles of n parts of the real line to which N(0, 1) gives equal mass: `[n]`, rising."""
    return torch.special.ndtri((torch.arange(n) + 0.5) / n)  # type: ignore[no-any-return]


def plane(side: int) -> Tensor:
    """`[side * side, 2]`: a grid over the plane, each of whose points stands for equal prior mass.

    Row by row as a picture is read: z_1 rises from left to right, z_2 from bottom to top (Kingma &
    Welling 2014, figure 4).
    """
    steps = quantiles(side)
    z_2, z_1 = torch.meshgrid(steps.flip(0), steps, indexing="ij")
    return torch.stack([z_1, z_2], dim=-1).reshape(-1, 2)


def traversals(code: Tensor, levels: Tensor) -> Tensor:
    """A code `[D]` with each dimension in turn at each of `levels` `[S]`: `[D, S, D]`."""
    z = code.repeat(len(code), len(levels), 1)
    for d in range(len(code)):
        z[d, :, d] = levels
    return z


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """From a to b along an arc about the origin (Shoemake 1985; White 2016).

    The direction turns at constant speed; vectors of one length keep it. Between opposite
    directions no arc is the shortest, and what comes out means nothing.

    Args:
        a, b: `[..., D]`, not zero.
        t: from 0 (a) to 1 (b), or a tensor that broadcasts against `[..., 1]`.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1)[..., None]
    angle = torch.acos(cosine.clamp(-1, 1)) / torch.pi
    # sinc(x) = sin(pi x) / (pi x) is 1 at 0: equal directions are a straight line
    weight_a = (1 - t) * torch.sinc((1 - t) * angle) / torch.sinc(angle)
    weight_b = t * torch.sinc(t * angle) / torch.sinc(angle)
    return weight_a * a + weight_b * b


def log_each(z: Tensor, q: Posteriors) -> Tensor:
    """log q(z|x) of each of `z` `[N, D]` under each of M posteriors, in nats: `[N, M]`."""
    precision = torch.exp(-q.logvar)
    square = z.square() @ precision.T - 2 * z @ (q.mu * precision).T  # [N, M]
    rest = (q.mu.square() * precision + q.logvar + math.log(2 * math.pi)).sum(dim=1)
    return -0.5 * (square + rest)


def log_aggregate(z: Tensor, q: Posteriors) -> Tensor:
    """log q(z) of the aggregate posterior at `z` `[N, D]`, in nats: `[N]`."""
    parts = [log_each(part, q).logsumexp(dim=1) for part in z.split(CHUNK)]
    return torch.cat(parts) - math.log(len(q.mu))


class Split(NamedTuple):
    """How the mean KL(q(z|x) || p(z)) divides, in nats per image (Hoffman & Johnson 2016).

    Attributes:
        rate: the mean KL itself.
        information: I(x; z) between these n images and their codes; at most log n.
        surplus: KL(q(z) || p(z)) of their aggregate posterior; information + surplus = rate.
        surplus_below: the same as `surplus`, but that each code counts without its own image; not
            more, in expectation, than the surplus that all images there are would have, while
            `surplus` is not less.
    """

    rate: float
    information: float
    surplus: float
    surplus_below: float


def split(z: Tensor, q: Posteriors) -> Split:
    """The split of the rate, by Monte Carlo with one code an image.

    Args:
        z: `[n, D]`, row i drawn from q(z|x_i).
        q: of the n images, at least two.
    """
    log_p = Normal(0.0, 1.0).log_prob(z).sum(dim=1)
    log_own = Normal(q.mu, torch.exp(0.5 * q.logvar)).log_prob(z).sum(dim=1)
    parts = []
    for first in range(0, len(z), CHUNK):
        each = log_each(z[first : first + CHUNK], q)
        each.diagonal(first).fill_(-math.inf)
        parts.append(each.logsumexp(dim=1))
    log_sum = torch.cat(parts)  # over all images but the code's own
    aggregate = torch.logaddexp(log_sum, log_own) - math.log(len(z))
    others = log_sum - math.log(len(z) - 1)
    return Split(
        rate=(log_own - log_p).mean().item(),
        information=(log_own - aggregate).mean().item(),
        surplus=(aggregate - log_p).mean().item(),
        surplus_below=(others - log_p).mean().item(),
    )


def surplus_per_dimension(q: Posteriors, *, points: int = 1_001) -> Tensor:
    """KL(q(z_d) || p(z_d)) of each dimension by itself, by the trapezoid rule, in nats: `[D]`."""
    found = []
    for mu, logvar in zip(q.mu.double().T, q.logvar.double().T, strict=True):
        reach = (mu.abs() + 8 * torch.exp(0.5 * logvar)).max().item()
        z = torch.linspace(-reach, reach, points, dtype=torch.float64)
        log_q = log_aggregate(z[:, None], Posteriors(mu[:, None], logvar[:, None]))
        ratio = log_q - Normal(0.0, 1.0).log_prob(z)
        found.append(torch.trapezoid(log_q.exp() * ratio, z))
    return torch.stack(found)


def neighbour_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, *, k: int = 5
) -> float:
    """Share of `test` `[M, F]` whose label most of the k nearest of `train` `[N, F]` have."""
    fitted = KNeighborsClassifier(k).fit(train.numpy(), train_labels.numpy())
    return float(fitted.score(test.numpy(), test_labels.numpy()))


def linear_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> float:
    """Share of `test` `[M, F]` that a logistic regression on `train` `[N, F]` labels rightly."""
    fitted = LogisticRegression(max_iter=5_000).fit(train.numpy(), train_labels.numpy())
    return float(fitted.score(test.numpy(), test_labels.numpy()))
