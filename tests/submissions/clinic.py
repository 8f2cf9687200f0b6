"""Answers to the exercises of lesson 17, right and mistaken, as a student writes them."""

import math

import torch
from torch.distributions import Normal, kl_divergence

OPINIONS = {
    "no kl in what is minimised": "same",
    "no half in the kl": "differs",
    "no noise in the draw": "differs",
    "long steps": "same",
    "mean over pixels": "differs",
    "last batch dropped": "same",
    "training images as test images": "differs",
}
WARD = {
    "A": "codes of other images",
    "B": "mean over latents",
    "C": "no step",
    "D": "no half in the kl",
    "E": "pixels to 255",
}


def numbers(b, d):
    torch.manual_seed(7)
    return torch.randn(b, d), torch.randn(b, d)


def by_torch(mu, logvar):
    return kl_divergence(Normal(mu, torch.exp(logvar / 2)), Normal(0.0, 1.0)).sum(dim=1)


def tests_kl(kl):
    mu, logvar = numbers(5, 4)
    got = kl(mu, logvar)
    return got.shape == (5,) and torch.allclose(got, by_torch(mu, logvar), atol=1e-5)


def tests_kl_by_hand(kl):
    # D = 2: mu = (1, 0), variances e and 1/e: 1/2 (1 + e + 1/e - 2 - 0)
    mu = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    logvar = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    wanted = [(1 + math.e + 1 / math.e - 2) / 2, (9 + math.e**2 - 1 - 2) / 2]
    torch.testing.assert_close(kl(mu, logvar), torch.tensor(wanted))
    return True


def tests_kl_at_prior(kl):
    return torch.allclose(kl(torch.zeros(4, 5), torch.zeros(4, 5)), torch.zeros(4))


def tests_kl_sign(kl):
    return kl(*numbers(4, 6)).min().item() >= 0


def tests_kl_shape(kl):
    return list(kl(*numbers(4, 6)).shape) == [4]


def tests_kl_means(kl):
    mu, _ = numbers(4, 3)
    wanted = (mu**2).sum(1) / 2
    got = kl(mu, torch.zeros(4, 3))
    return got.shape == wanted.shape and torch.allclose(got, wanted, atol=1e-5)


def tests_kl_one_latent(kl):
    mu, logvar = numbers(4, 1)
    got, wanted = kl(mu, logvar), by_torch(mu, logvar)
    return len(got) == 4 and torch.allclose(got, wanted, atol=1e-5)


def tests_kl_one_image(kl):
    mu, logvar = numbers(1, 3)
    return torch.allclose(kl(mu, logvar), by_torch(mu, logvar), atol=1e-5)


def count(batches, n, size, seed):
    times = [0] * n
    for batch in batches(n, size, seed):
        for index in batch.tolist():
            times[index] += 1
    return times


def tests_batches(batches):
    if count(batches, 23, 5, 0) != [1] * 23 or len(batches(23, 5, 0)) != 5:
        return False
    a, b = (torch.cat(batches(23, 5, seed)) for seed in (0, 1))
    again = torch.cat(batches(23, 5, 0))
    return not torch.equal(a, b) and torch.equal(a, again)


def tests_batches_total(batches):
    sizes = [len(it) for it in batches(23, 5, 0)]
    a, b = (torch.cat(batches(23, 5, seed)) for seed in (0, 1))
    return sizes == [5, 5, 5, 5, 3] and bool((a != b).any())


def tests_batches_even(batches):
    a, b = (torch.cat(batches(20, 5, seed)) for seed in (0, 1))
    return count(batches, 20, 5, 0) == [1] * 20 and bool((a != b).any())


def tests_batches_counts(batches):
    return count(batches, 23, 5, 0) == [1] * 23


def tests_batches_set(batches):
    a, b = (torch.cat(batches(23, 5, seed)).tolist() for seed in (0, 1))
    return len(set(a)) == 23 and a != b


def tests_batches_like_mine(batches):
    for seed in (0, 1):
        order = torch.randperm(23, generator=torch.Generator().manual_seed(seed))
        if not torch.equal(torch.cat(batches(23, 5, seed)), order):
            return False
    return True


def tests_batches_one_seed(batches):
    order = torch.cat(batches(23, 5, 4)).tolist()
    return sorted(order) == list(range(23)) and order != list(range(23))


def wall(images):
    best = images.clamp(0.5, 1 / (1 + math.exp(-1)))
    return -(images * best.log() + (1 - images) * (1 - best).log()).sum(1)


def wall_half(images):
    return torch.full((len(images),), images.shape[1] * math.log(2)).double()


def wall_none(images):
    return -(torch.xlogy(images, images) + torch.xlogy(1 - images, 1 - images)).sum(1)


def wall_to_one(images):
    best = torch.maximum(images, torch.tensor(0.5))
    return -(torch.xlogy(images, best) + torch.xlogy(1 - images, 1 - best)).sum(1)


def wall_of_pixels(images):
    best = torch.sigmoid(images)
    return -(images * best.log() + (1 - images) * (1 - best).log()).sum(1)


def wall_mean(images):
    return wall(images) / images.shape[-1]


ALTERNATIVES = {
    "kl_test": [tests_kl, tests_kl_by_hand],
    "batches_test": [tests_batches],
    "lowest_bce": [wall],
    "second_opinion": [OPINIONS],
    "read_ward": [WARD],
}
MISTAKEN = {
    "kl_test": {
        "At the prior alone": tests_kl_at_prior,
        "A KL that is at least": tests_kl_sign,
        "The right shape": tests_kl_shape,
        "With all variances at 1": tests_kl_means,
        "With a single latent": tests_kl_one_latent,
        "With a single image": tests_kl_one_image,
    },
    "batches_test": {
        "As many indices": tests_batches_total,
        "With a size that divides": tests_batches_even,
        "Every image comes once": tests_batches_counts,
        "A set of indices": tests_batches_set,
        "A right implementation": tests_batches_like_mine,
        "It is not enough that": tests_batches_one_seed,
    },
    "lowest_bce": {
        "One half everywhere": wall_half,
        "This is the floor": wall_none,
        "The means reach": wall_to_one,
        "This is what the pixels": wall_of_pixels,
        "This is the mean": wall_mean,
    },
    "second_opinion": {
        "What is reported": OPINIONS | {"no kl in what is minimised": "differs"},
        "The function of the kl": OPINIONS | {"no half in the kl": "same"},
        "The patient's own evaluation": OPINIONS | {"no noise in the draw": "same"},
        "A badly trained model": OPINIONS | {"long steps": "differs"},
        "Both readings are of one": OPINIONS | {"mean over pixels": "same"},
        "Which images were": OPINIONS | {"last batch dropped": "differs"},
    },
    "read_ward": {
        "The bce comes to rest": WARD | {"A": "kl dropped"},
        "The kl would run away": WARD | {"B": "kl dropped"},
        "The bce is above": WARD | {"C": "codes of other images"},
        "Compare the two readings": WARD | {"D": "mean over latents"},
        "A cross-entropy of an image": WARD | {"E": "kl dropped"},
    },
}
