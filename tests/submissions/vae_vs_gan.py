"""Answers to the exercises of lesson 16, right and mistaken, as a student writes them."""

import itertools
import math
import statistics

import numpy as np
import torch
from scipy import stats

DRAWN = {
    "distance, prior": (1 - math.sqrt(4.25)) ** 2,
    "distance, one normal": 0,
    "told apart, one normal": True,
    "told apart, mixture": 0.5,
}


def gaps(first, second):
    return np.array([first[it] - second[it] for it in first if it in second])


def student(confidence, n):
    return stats.t.ppf((1 + confidence) / 2, n - 1)


def paired(first, second, confidence):
    d = gaps(first, second)
    return d.mean(), student(confidence, len(d)) * stats.sem(d)


def paired_in_torch(first, second, confidence):
    d = torch.tensor([first[it] - second[it] for it in second if it in first])
    return d.double().mean(), student(confidence, len(d)) * d.double().std() / len(d) ** 0.5


def paired_welch(first, second, confidence):
    a, b = (np.array([it[s] for s in first if s in second]) for it in (first, second))
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return a.mean() - b.mean(), stats.t.ppf((1 + confidence) / 2, df) * math.sqrt(va + vb)


def paired_by_place(first, second, confidence):
    d = np.array([a - b for a, b in zip(first.values(), second.values(), strict=False)])
    return d.mean(), student(confidence, len(d)) * stats.sem(d)


def paired_normal(first, second, confidence):
    d = gaps(first, second)
    return d.mean(), stats.norm.ppf((1 + confidence) / 2) * d.std(ddof=1) / math.sqrt(len(d))


def paired_undivided(first, second, confidence):
    d = gaps(first, second)
    return d.mean(), student(confidence, len(d)) * d.std(ddof=1)


def paired_biased(first, second, confidence):
    d = gaps(first, second)
    return d.mean(), student(confidence, len(d)) * d.std() / math.sqrt(len(d))


def paired_reversed(first, second, confidence):
    d = gaps(second, first)
    return d.mean(), student(confidence, len(d)) * stats.sem(d)


def vote(name, interval, higher):
    mean, half = interval
    if mean - half <= 0 <= mean + half:
        return None
    return "first" if (mean > 0) == (name in higher) else "second"


def verdict(intervals, higher):
    votes = {vote(name, it, higher) for name, it in intervals.items()}
    (only, *others) = votes
    return "no verdict" if others or only is None else only


def verdict_majority(intervals, higher):
    votes = [vote(name, it, higher) for name, it in intervals.items()]
    lead = votes.count("first") - votes.count("second")
    return "no verdict" if not lead else "first" if lead > 0 else "second"


def verdict_of_decided(intervals, higher):
    votes = {vote(name, it, higher) for name, it in intervals.items()} - {None}
    return votes.pop() if len(votes) == 1 else "no verdict"


def verdict_by_sign(intervals, higher):
    votes = {vote(name, (mean, 0.0), higher) for name, (mean, _) in intervals.items()}
    return votes.pop() if len(votes) == 1 else "no verdict"


def verdict_not_turned(intervals, higher):
    return verdict(intervals, [])


def verdict_of_first(intervals, higher):
    name = next(iter(intervals))
    return vote(name, intervals[name], higher) or "no verdict"


def verdict_swapped(intervals, higher):
    other = {"first": "second", "second": "first", "no verdict": "no verdict"}
    return other[verdict(intervals, higher)]


def weights(widths):
    return [m * n for m, n in itertools.pairwise(widths)]


def flops(generator, discriminator):
    g, d = weights(generator), weights(discriminator)
    making = 2 * (3 * sum(g) - g[0])
    telling = 2 * 2 * (3 * sum(d) - d[0])
    fooling = 2 * 2 * sum(d)
    return making + telling + fooling


def flops_in_pairs(generator, discriminator):
    return flops(generator, discriminator) // 2


def flops_back_once(generator, discriminator):
    g, d = sum(weights(generator)), sum(weights(discriminator))
    return 2 * (2 * g + 3 * 2 * d)


def flops_without_fooling(generator, discriminator):
    g, d = weights(generator), weights(discriminator)
    return 2 * (3 * sum(g) - g[0] + 2 * (3 * sum(d) - d[0]))


def flops_not_frozen(generator, discriminator):
    g, d = weights(generator), weights(discriminator)
    return 2 * (3 * sum(g) - g[0] + 2 * (3 * sum(d) - d[0]) + 3 * sum(d))


def flops_to_inputs(generator, discriminator):
    g, d = sum(weights(generator)), sum(weights(discriminator))
    return 6 * g + 12 * d + 4 * d


def flops_made_twice(generator, discriminator):
    return flops(generator, discriminator) + 2 * sum(weights(generator))


def reached(epochs, curves, level):
    there = torch.where(curves <= level, epochs.double(), math.inf)
    return there.min(dim=1).values


def reached_argmax(epochs, curves, level):
    return epochs[(curves <= level).long().argmax(1)]


def reached_places(epochs, curves, level):
    places = torch.arange(len(epochs)).double()
    return torch.where(curves <= level, places, math.inf).amin(1)


def reached_below(epochs, curves, level):
    return torch.where(curves < level, epochs.double(), math.inf).amin(1)


def reached_last(epochs, curves, level):
    return torch.where(curves <= level, epochs, epochs[-1]).amin(1)


def reached_for_good(epochs, curves, level):
    found = []
    for run in curves:
        stays = [e for i, e in enumerate(epochs) if (run[i:] <= level).all()]
        found.append(stays[0].item() if stays else math.inf)
    return torch.tensor(found)


def best(values, k):
    n = len(values)
    ordered = sorted(values.tolist())
    return sum(v * math.comb(n - i - 1, k - 1) for i, v in enumerate(ordered)) / math.comb(n, k)


def best_by_choices(values, k):
    return torch.combinations(values, k).amin(dim=1).mean()


def best_mean(values, k):
    return sum(values) / len(values)


def best_of_all(values, k):
    return values.sort().values[0]


def best_worst(values, k):
    return torch.combinations(values, k).amax(dim=1).mean()


def best_with_return(values, k):
    n = len(values)
    ordered = values.sort().values
    i = torch.arange(n)
    return (ordered * (((n - i) / n) ** k - ((n - i - 1) / n) ** k)).sum()


def best_of_working(values, k):
    working = [it for it in values.tolist() if it < 500]
    chosen = itertools.combinations(working, min(k, len(working)))
    return statistics.mean(min(it) for it in chosen)


ALTERNATIVES = {
    "paired_interval": [paired, paired_in_torch],
    "verdict": [verdict],
    "gan_flops": [flops],
    "first_epoch": [reached],
    "best_of_trials": [best, best_by_choices],
    "where_z_is_drawn": [DRAWN],
}
MISTAKEN = {
    "paired_interval": {
        "The seeds are not used": paired_welch,
        "Values are paired by their place": paired_by_place,
        "The quantile is that of a normal": paired_normal,
        "This is about single": paired_undivided,
        "The squares are divided": paired_biased,
        "The sign is that": paired_reversed,
    },
    "verdict": {
        "A majority decides": verdict_majority,
        "A measure that decides nothing": verdict_of_decided,
        "The intervals are not used": verdict_by_sign,
        "The direction of measures": verdict_not_turned,
        "The first measure decides": verdict_of_first,
        "The two are mistaken": verdict_swapped,
    },
    "gan_flops": {
        "A multiplication and": flops_in_pairs,
        "The way back costs": flops_back_once,
        "The discriminator works on": flops_without_fooling,
        "The weights of a frozen": flops_not_frozen,
        "Nobody asks for": flops_to_inputs,
        "The samples are made once": flops_made_twice,
    },
    "first_epoch": {
        "argmax of a row": reached_argmax,
        "This is the place": reached_places,
        "A value equal to": reached_below,
        "A run that never": reached_last,
        "This is the epoch from which": reached_for_good,
    },
    "best_of_trials": {
        "This is the mean": best_mean,
        "This is the best of all": best_of_all,
        "The largest of the k": best_worst,
        "Trials are drawn with return": best_with_return,
        "Failed trials": best_of_working,
    },
    "where_z_is_drawn": {
        "The variance of the codes": DRAWN | {"distance, prior": (1 - 0.5) ** 2},
        "The two variances enter": DRAWN | {"distance, prior": 4.25 - 1},
        "This distance sees": DRAWN | {"distance, one normal": 1.0},
        "A normal puts": DRAWN | {"told apart, one normal": False},
        "Without any difference": DRAWN | {"told apart, mixture": 0},
    },
}
