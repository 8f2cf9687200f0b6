"""Answers to the exercises of lesson 15, right and mistaken, as a student writes them."""

import math

import torch
import torch.nn.functional as F

STEPS = {"beta 0": 1, "beta 0.5": 2, "beta 0.9": 7, "beta 0.99": 69}
READ = {
    "failed": {"cedar", "hazel"},
    "best samples": "maple",
    "memorises": "larch",
    "lowest g loss": "hazel",
}


def belief(p, g, *, real_label):
    on, off = real_label * p, (1 - real_label) * p + g
    return on / (on + off)


def belief_unsmoothed(p, g, *, real_label):
    return 1 / (1 + g / p)


def belief_both(p, g, *, real_label):
    share = p / (p + g)
    return share * real_label + (1 - share) * (1 - real_label)


def belief_clipped(p, g, *, real_label):
    return torch.minimum(p / (p + g), torch.full_like(p, real_label))


def belief_weighted(p, g, *, real_label):
    return 1 / (1 + g / (real_label * p))


def norm(x, mean, var, weight, bias, *, training, momentum, eps):
    out = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    return out, mean, var  # changed in place


def norm_by_hand(x, mean, var, weight, bias, *, training, momentum, eps):
    n = len(x)
    if training:
        m = x.sum(0) / n
        v = ((x - m) ** 2).sum(0)
        mean = (1 - momentum) * mean + momentum * m
        var = (1 - momentum) * var + momentum * v / (n - 1)
        return (x - m) / torch.sqrt(v / n + eps) * weight + bias, mean, var
    return (x - mean) / torch.sqrt(var + eps) * weight + bias, mean, var


def norm_own(x, mean, var, weight, bias, *, training, momentum, eps):
    out = F.batch_norm(x, None, None, weight, bias, True, momentum, eps)
    if training:
        F.batch_norm(x, mean, var, weight, bias, True, momentum, eps)
    return out, mean, var


def norm_unbiased(x, mean, var, weight, bias, *, training, momentum, eps):
    if training:
        m, v = x.mean(0), x.var(0)
        mean, var = mean.lerp(m, momentum), var.lerp(v, momentum)
    else:
        m, v = mean, var
    return weight * (x - m) / (v + eps).sqrt() + bias, mean, var


def norm_biased(x, mean, var, weight, bias, *, training, momentum, eps):
    if training:
        m, v = x.mean(0), x.var(0, correction=0)
        mean, var = mean.lerp(m, momentum), var.lerp(v, momentum)
    else:
        m, v = mean, var
    return weight * (x - m) / (v + eps).sqrt() + bias, mean, var


def norm_swapped(x, mean, var, weight, bias, *, training, momentum, eps):
    out = F.batch_norm(x, mean, var, weight, bias, training, 1 - momentum, eps)
    return out, mean, var


def norm_leaking(x, mean, var, weight, bias, *, training, momentum, eps):
    out = F.batch_norm(x, mean.clone(), var.clone(), weight, bias, training, momentum, eps)
    F.batch_norm(x, mean, var, weight, bias, True, momentum, eps)
    return out, mean, var


def norm_outside(x, mean, var, weight, bias, *, training, momentum, eps):
    m, v = (x.mean(0), x.var(0, correction=0)) if training else (mean, var)
    out = weight * (x - m) / (v.sqrt() + eps) + bias
    if training:
        F.batch_norm(x, mean, var, None, None, True, momentum, eps)
    return out, mean, var


def entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    nats = -(shares * shares.log()).sum()
    return nats, bool(nats < 1.5)


def entropy_of_logits(counts):
    nats = torch.distributions.Categorical(probs=counts.double()).entropy().item()
    return nats, nats < 1.5


def entropy_nan(counts):
    shares = counts / counts.sum()
    nats = -(shares * shares.log()).sum().item()
    return nats, nats < 1.5


def entropy_bits(counts):
    nats, failed = entropy(counts)
    return nats * math.log2(math.e), failed


def entropy_normalised(counts):
    nats, failed = entropy(counts)
    return nats / math.log(len(counts)), failed


def entropy_reversed(counts):
    nats, _ = entropy(counts)
    return nats, bool(nats > 1.5)


def entropy_by_digits(counts):
    return entropy(counts)[0], len(counts.nonzero()) < 5


def slope_back(slope, images):
    return slope * (images - images**2)


def slope_unchanged(slope, images):
    return slope.clone()


def slope_twice(slope, images):
    s = torch.sigmoid(images)
    return slope * s * (1 - s)


def slope_white(slope, images):
    return images * slope


def slope_black(slope, images):
    return slope - slope * images


def slope_divided(slope, images):
    return slope / images / (1 - images)


ALTERNATIVES = {
    "smoothed_belief": [belief],
    "batch_norm": [norm, norm_by_hand],
    "digit_entropy": [entropy, entropy_of_logits],
    "adam_memory": [STEPS],
    "slope_at_logits": [slope_back],
    "read_runs": [READ],
}
MISTAKEN = {
    "smoothed_belief": {
        "The label is not used": belief_unsmoothed,
        "Only the label of real": belief_both,
        "The belief is cut off": belief_clipped,
        "Real images are weighted": belief_weighted,
    },
    "batch_norm": {
        "In evaluation the batch's own": norm_own,
        "The output is normalised": norm_unbiased,
        "The running variance is fed": norm_biased,
        "Momentum is the weight": norm_swapped,
        "The running values change": norm_leaking,
        "eps is added": norm_outside,
    },
    "digit_entropy": {
        "The logarithm of 0": entropy_nan,
        "The unit is bits": entropy_bits,
        "This is a share": entropy_normalised,
        "A low entropy is": entropy_reversed,
        "Digits that come at all": entropy_by_digits,
    },
    "adam_memory": {
        "This is 1 / (1 - beta)": STEPS | {"beta 0.9": 10, "beta 0.99": 100},
        "The mean changes at once": STEPS | {"beta 0.9": 1, "beta 0.99": 1},
        "After one step": STEPS | {"beta 0.5": 1},
        "At this step the old": STEPS | {"beta 0.9": 6, "beta 0.99": 68},
        "Without memory": STEPS | {"beta 0": 0},
    },
    "slope_at_logits": {
        "The slope is not multiplied": slope_unchanged,
        "The images are values": slope_twice,
        "The factor 1 - x": slope_white,
        "The factor x is missing": slope_black,
        "The chain rule multiplies": slope_divided,
    },
    "read_runs": {
        "Losses that look healthy": READ | {"failed": {"cedar"}},
        "A certain discriminator": READ | {"failed": {"cedar", "hazel", "larch"}},
        "Losses at the equilibrium": READ | {"best samples": "birch"},
        "A low loss of the generator": READ | {"best samples": "hazel"},
        "Certainty about training": READ | {"memorises": "cedar"},
    },
}
