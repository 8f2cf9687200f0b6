"""Answers to the exercises of lesson 09, right and mistaken, as a student writes them."""

import torch
import torch.nn.functional as F
from scipy.stats import norm

DRAWS = {"halfway": 5.0, "ten": 2.236, "difference": 10.0, "arc": 7.071, "angle": 90}
WALKS = {"A": "spherical", "B": "straight", "C": "stretched", "D": "one point"}


def direction(a, b, t):
    """Turn a towards b by t of their angle, in the plane of both."""
    u, v = F.normalize(a, dim=1), F.normalize(b, dim=1)
    side = F.normalize(v - (u * v).sum(1, keepdim=True) * u, dim=1)
    angle = t * torch.atan2((v * side).sum(1), (v * u).sum(1))[:, None]
    return angle.cos() * u + angle.sin() * side


def arc(a, b, t):
    return torch.lerp(a.norm(dim=1), b.norm(dim=1), t)[:, None] * direction(a, b, t)


def arc_of_unequal(a, b, t):
    cosine = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1) * b.norm(dim=-1))[:, None]
    angle = torch.acos(cosine) / torch.pi
    weight_a = (1 - t) * torch.sinc((1 - t) * angle) / torch.sinc(angle)
    return weight_a * a + t * torch.sinc(t * angle) / torch.sinc(angle) * b


def arc_of_the_line(a, b, t):
    length = (1 - t) * a.norm(dim=1) + t * b.norm(dim=1)
    line = a + t * (b - a)
    return line * (length / line.norm(dim=1)).unsqueeze(1)


def arc_of_length_one(a, b, t):
    return F.normalize(arc(a, b, t), dim=1)


def arc_as_long_as_a(a, b, t):
    return a.norm(dim=1, keepdim=True) * direction(a, b, t)


def arc_backwards(a, b, t):
    return arc(a, b, 1 - t)


def length(t, *, latents, correlation):
    second = correlation  # E[a b] of one coordinate
    return latents * (1 - 2 * t * (1 - t) * (1 - second))


def length_kept(t, *, latents, correlation):
    return latents * ((1 - t) + t)


def length_of_independent(t, *, latents, correlation):
    return latents * ((1 - t).pow(2) + t.pow(2))


def length_mixed_once(t, *, latents, correlation):
    return latents * ((1 - t).pow(2) + t.pow(2) + correlation * t * (1 - t))


def length_of_one(t, *, latents, correlation):
    return (1 - t).pow(2) + t.pow(2) + 2 * correlation * t * (1 - t)


def length_root(t, *, latents, correlation):
    return torch.sqrt(length(t, latents=latents, correlation=correlation))


def count(mu, logvar):
    centred = mu - mu.mean(0)
    return (centred.square().mean(0) > 0.01).sum()


def count_widths(mu, logvar):
    return sum(width.mean() > 0.01 for width in logvar.exp().T)


def count_offsets(mu, logvar):
    return (torch.mean(mu**2, 0) > 0.01).sum().item()


def count_stds(mu, logvar):
    return (torch.std(mu, 0) > 0.01).sum().item()


def count_kl(mu, logvar):
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp())
    return (kl.sum(0) / len(mu) > 0.01).sum().item()


def count_images(mu, logvar):
    return len([row for row in mu if row.var() > 0.01])


def tile(z, *, side):
    borders = torch.special.ndtri(torch.arange(1, side, dtype=z.dtype) / side)
    part = torch.bucketize(z, borders)
    return side - 1 - part[:, 1], part[:, 0]


def tile_by_scipy(z, *, side):
    right, down = norm.cdf(z[:, 0]), norm.sf(z[:, 1])
    return (side * down).astype(int), (side * right).astype(int)


def tile_upside_down(z, *, side):
    part = (side * torch.special.ndtr(z)).int()
    return part[:, 1], part[:, 0]


def tile_swapped(z, *, side):
    row, column = tile(z, side=side)
    return column, row


def tile_nearest(z, *, side):
    steps = torch.special.ndtri((torch.arange(side, dtype=z.dtype) + 0.5) / side)
    across = torch.cdist(z[:, :1], steps[:, None]).argmin(1)
    return torch.cdist(z[:, 1:], steps.flip(0)[:, None]).argmin(1), across


def tile_rounded(z, *, side):
    part = torch.round(side * torch.special.ndtr(z)).long()
    return side - 1 - part[:, 1], part[:, 0]


def tile_from_one(z, *, side):
    part = torch.ceil(side * torch.special.ndtr(z)).long()
    return side + 1 - part[:, 1], part[:, 0]


ALTERNATIVES = {
    "even_arc": [arc],
    "squared_length": [length],
    "count_active": [count],
    "tile_of": [tile, tile_by_scipy],
    "between_draws": [DRAWS],
    "which_walk": [WALKS],
}
MISTAKEN = {
    "even_arc": {
        "The direction does not turn evenly": arc_of_unequal,
        "This is the straight line": arc_of_the_line,
        "The length is one": arc_of_length_one,
        "The length of a is kept": arc_as_long_as_a,
        "The walk runs backwards": arc_backwards,
    },
    "squared_length": {
        "The weights are not squared": length_kept,
        "The covariance is missing": length_of_independent,
        "The mixed term": length_mixed_once,
        "This is one coordinate's part": length_of_one,
        "This is the root": length_root,
    },
    "count_active": {
        "This looks at the mean of the variances": count_widths,
        "The squares are not taken": count_offsets,
        "The limit is one for": count_stds,
        "This takes the kl": count_kl,
        "The variance runs over": count_images,
    },
    "tile_of": {
        "The picture is upside down": tile_upside_down,
        "Row and column": tile_swapped,
        "These are the tiles with": tile_nearest,
        "Shares are rounded": tile_rounded,
        "The tiles are counted": tile_from_one,
    },
    "between_draws": {
        "The mean of two draws": DRAWS | {"halfway": 7.07},
        "Both draws add to the variance": DRAWS | {"halfway": 3.54},
        "The length of a mean": DRAWS | {"ten": 0.707},
        "In a difference": DRAWS | {"difference": 7.07},
        "These are squared": {"halfway": 25, "ten": 5, "difference": 100, "arc": 50, "angle": 90},
        "The arc does not": DRAWS | {"arc": 5},
    },
    "which_walk": {
        "Shorter vectors": WALKS | {"C": "straight", "B": "spherical"},
        "What lies too far out": WALKS | {"B": "stretched"},
        "Nothing has changed": WALKS | {"A": "straight"},
        "Halfway between many": WALKS | {"D": "straight"},
    },
}
