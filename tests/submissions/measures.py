"""Answers to the exercises of lesson 12, right and mistaken, as a student writes them."""

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import kendalltau, norm, rankdata

FALL = {
    "missing classes": {"recall", "coverage"},
    "between classes": {"precision"},
    "all typical": {"recall", "coverage"},
    "copies": set(),
}
EVERY = {"precision", "recall", "coverage"}


def contrast(images, factor):
    return torch.sigmoid(factor * torch.logit(images))


def contrast_by_hand(images, factor):
    on, off = images**factor, (1 - images) ** factor
    return on / (on + off)


def contrast_linear(images, factor):
    return torch.clamp(images * factor + (1 - factor) / 2, 0.0, 1.0)


def contrast_multiplied(images, factor):
    return torch.minimum(images * factor, torch.ones_like(images))


def contrast_gamma(images, factor):
    return torch.pow(images, factor)


def contrast_shifted(images, factor):
    return torch.sigmoid(torch.logit(images) + math.log(factor))


def contrast_divided(images, factor):
    return torch.sigmoid(torch.logit(images) / factor)


def judges(measure):
    gap = abs(measure["GAN"] - measure["VAE"])
    moved = [abs(it - measure["real"]) for it in measure["real, other contrast"]]
    for name in ("VAE", "GAN"):
        moved.append(abs(measure[f"{name}, tripled"] - measure[name]))
    if any(it >= 0.25 * gap for it in moved):
        return False
    for steps in measure["damages"].values():
        before = measure["real"]
        for after in steps:
            if (after >= before) if measure["higher is better"] else (after <= before):
                return False
            before = after
    return True


def worse(measure, before, after):
    return after < before if measure["higher is better"] else after > before


def judges_in_parts(measure, moved, gap, damages=all):
    seen = []
    for steps in measure["damages"].values():
        line = [measure["real"], *steps]
        pairs = pairwise(line)
        seen.append(all(worse(measure, *it) for it in pairs))
    return all(it < gap / 4 for it in moved) and damages(seen)


def gap_of(measure):
    return abs(measure["VAE"] - measure["GAN"])


def changes_of(measure):
    moved = [it - measure["real"] for it in measure["real, other contrast"]]
    moved += [measure[f"{it}, tripled"] - measure[it] for it in ("VAE", "GAN")]
    return moved


def judges_by_real_digits(measure):
    moved = [abs(it - measure["real"]) for it in measure["real, other contrast"]]
    return judges_in_parts(measure, moved, gap_of(measure))


def judges_signed(measure):
    return judges_in_parts(measure, changes_of(measure), gap_of(measure))


def judges_ends(measure):
    if max(abs(it) for it in changes_of(measure)) >= gap_of(measure) / 4:
        return False
    return all(worse(measure, measure["real"], it[-1]) for it in measure["damages"].values())


def judges_upwards(measure):
    return judges_in_parts(
        measure | {"higher is better": False}, map(abs, changes_of(measure)), gap_of(measure)
    )


def judges_by_value(measure):
    moved = [abs(it) for it in changes_of(measure)]
    return judges_in_parts(measure, moved, abs(measure["real"]))


def judges_any(measure):
    moved = [abs(it) for it in changes_of(measure)]
    return judges_in_parts(measure, moved, gap_of(measure), any)


def ranks(a, b):
    a, b = (torch.from_numpy(rankdata(it.numpy())) for it in (a, b))
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


def ranks_by_counting(a, b):
    def rank(it):
        less = (it[None] < it[:, None]).sum(1)
        return less + ((it[None] == it[:, None]).sum(1) + 1) / 2

    return np.corrcoef(rank(a), rank(b))[0, 1]


def ranks_values(a, b):
    return np.corrcoef(a, b)[0, 1]


def ranks_once(a, b):
    return np.corrcoef(torch.argsort(a), torch.argsort(b))[0, 1]


def ranks_without_ties(a, b):
    places = [torch.empty(len(it)).double() for it in (a, b)]
    for place, it in zip(places, (a, b), strict=True):
        place[torch.argsort(it)] = torch.arange(len(it)).double()
    return torch.corrcoef(torch.stack(places))[0, 1]


def ranks_by_squares(a, b):
    n = len(a)
    d = rankdata(a) - rankdata(b)
    return 1 - 6 * (d @ d) / (n**3 - n)


def ranks_kendall(a, b):
    return kendalltau(a, b).correlation


def coin(right, n):
    return sum(math.comb(n, k) for k in range(right, n + 1)) / 2**n


def coin_more(right, n):
    return sum(math.comb(n, k) for k in range(right + 1, n + 1)) / 2**n


def coin_exactly(right, n):
    return math.comb(n, right) / 2**n


def coin_two_sided(right, n):
    return 2 * coin(right, n)


def coin_normal(right, n):
    z = (right / n - 0.5) / math.sqrt(0.25 / n)
    return 1 - norm.cdf(z)


def coin_at_most(right, n):
    return sum(math.comb(n, k) for k in range(right + 1)) / 2**n


ALTERNATIVES = {
    "with_contrast": [contrast, contrast_by_hand],
    "may_judge": [judges],
    "rank_correlation": [ranks, ranks_by_counting],
    "chance_by_coin": [coin],
    "which_fall": [FALL],
}
MISTAKEN = {
    "with_contrast": {
        "The pixels are scaled about": contrast_linear,
        "The pixels themselves": contrast_multiplied,
        "A power of the pixel": contrast_gamma,
        "The odds are multiplied": contrast_shifted,
        "The logits are divided": contrast_divided,
    },
    "may_judge": {
        "Contrast is tried on real digits alone": judges_by_real_digits,
        "A change counts in either direction": judges_signed,
        "Only the first and the last": judges_ends,
        "Some measures fall": judges_upwards,
        "The change is compared with the value": judges_by_value,
        "It is not enough that": judges_any,
    },
    "rank_correlation": {
        "This is the correlation of the values": ranks_values,
        "One argsort gives": ranks_once,
        "Equal values get different ranks": ranks_without_ties,
        "The formula with 6": ranks_by_squares,
        "This is Kendall's": ranks_kendall,
    },
    "chance_by_coin": {
        "The number that was observed": coin_more,
        "This is the probability of exactly": coin_exactly,
        "This is the probability of being as far off": coin_two_sided,
        "The normal curve": coin_normal,
        "This is the other tail": coin_at_most,
    },
    "which_fall": {
        "Every sample of the classes": FALL | {"missing classes": EVERY},
        "Real images of the classes": FALL | {"missing classes": {"precision"}},
        "All real images still have": FALL | {"between classes": EVERY},
        "Each of these samples": FALL | {"all typical": {"precision"}},
        "Copied images": FALL | {"copies": EVERY},
    },
}
