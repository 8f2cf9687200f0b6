"""Answers to the exercises of lesson 14, right and mistaken, as a student writes them."""

import math

import torch
import torch.nn.functional as F
from torch.special import xlogy

GRADIENTS = {
    "d loss": "both",
    "d loss, detached": "discriminator alone",
    "g loss": "both",
    "g loss, detached": "discriminator alone",
    "g loss, frozen": "generator alone",
}


def losses(real, fake):
    return F.softplus(-real) + F.softplus(fake), F.softplus(-fake)


def losses_by_torch(real, fake):
    one, zero = torch.ones_like(real), torch.zeros_like(fake)
    bce = F.binary_cross_entropy_with_logits
    on_real, on_fake = bce(real, one, reduction="none"), bce(fake, zero, reduction="none")
    return on_real + on_fake, bce(fake, one, reduction="none")


def losses_from_beliefs(real, fake):
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    return -(torch.log(d_real) + torch.log(1 - d_fake)), -torch.log(d_fake)


def losses_minimax(real, fake):
    return losses(real, fake)[0], F.logsigmoid(-fake)


def losses_upside_down(real, fake):
    return losses(real, fake)[0], -F.logsigmoid(-fake)


def losses_swapped(real, fake):
    return F.softplus(real) + F.softplus(-fake), F.softplus(-fake)


def losses_halved(real, fake):
    d_loss, g_loss = losses(real, fake)
    return 0.5 * d_loss, g_loss


def losses_value(real, fake):
    return F.logsigmoid(real) + F.logsigmoid(-fake), F.softplus(-fake)


def best(p, g):
    d = p / (p + g)
    return d, (xlogy(p, d) + xlogy(g, 1 - d)).sum()


def best_by_cases(p, g):
    d = torch.where(p > 0, p / (p + g), 0.0)
    return d, sum(
        (a * math.log(c) if a > 0 else 0) + (b * math.log(1 - c) if b > 0 else 0)
        for a, b, c in zip(p.tolist(), g.tolist(), d.tolist(), strict=True)
    )


def best_of_samples(p, g):
    return g / (g + p), best(p, g)[1]


def best_ratio(p, g):
    return p / g, best(p, g)[1]


def best_half(p, g):
    return 0.5 * torch.ones_like(p), best(p, g)[1]


def best_with_nan(p, g):
    d = p / (p + g)
    return d, (p * d.log() + g * (1 - d).log()).sum()


def best_mean(p, g):
    d, value = best(p, g)
    return d, 0.5 * value


def best_loss(p, g):
    d = p / (p + g)
    return d, -(xlogy(p, d) + xlogy(g, 1 - d)).sum()


def slopes(a):
    return -torch.sigmoid(a), -torch.sigmoid(-a)


def slopes_by_autograd(a):
    a = a.clone().requires_grad_()
    (saturating,) = torch.autograd.grad(F.logsigmoid(-a).sum(), a)
    (other,) = torch.autograd.grad(F.softplus(-a).sum(), a)
    return saturating, other


def slopes_in_belief(a):
    d = a.sigmoid()
    return 1 / (d - 1), -1 / d


def slopes_swapped(a):
    return -torch.sigmoid(-a), -torch.sigmoid(a)


def slopes_positive(a):
    return torch.sigmoid(a), torch.sigmoid(-a)


def slopes_of_sigmoid(a):
    d = a.sigmoid()
    return d * (d - 1), d * (d - 1)


def reply(beliefs):
    g = torch.zeros_like(beliefs)
    g[beliefs.argmax()] = 1
    return g


def reply_proportional(beliefs):
    return torch.softmax(beliefs.log(), dim=0)


def reply_spread(beliefs):
    g = torch.where(beliefs < 0.5, 0.0, 1.0)
    return g / g.sum()


def reply_uniform(beliefs):
    return torch.ones_like(beliefs) / beliefs.numel()


def reply_least(beliefs):
    g = torch.zeros_like(beliefs)
    g[beliefs.argmin()] = 1
    return g


def reply_odds(beliefs):
    return torch.softmax(torch.logit(beliefs), dim=0)


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


def step(theta, psi, lr):
    psi = psi - lr * theta * sigmoid(psi * theta)
    theta = theta + lr * psi * sigmoid(-psi * theta)
    return theta, psi


def step_together(theta, psi, lr):
    d_slope = theta * sigmoid(psi * theta)
    g_slope = -psi * sigmoid(-psi * theta)
    return theta - lr * g_slope, psi - lr * d_slope


def step_generator_first(theta, psi, lr):
    theta += lr * psi * sigmoid(-psi * theta)
    psi -= lr * theta * sigmoid(psi * theta)
    return theta, psi


def step_uphill(theta, psi, lr):
    psi += lr * theta * sigmoid(psi * theta)
    theta += lr * psi * sigmoid(-psi * theta)
    return theta, psi


def step_saturating(theta, psi, lr):
    psi -= lr * theta * sigmoid(psi * theta)
    theta += lr * psi * sigmoid(psi * theta)  # minus the slope of log(1 - D)
    return theta, psi


def step_away(theta, psi, lr):
    psi -= lr * theta * sigmoid(psi * theta)
    theta -= lr * psi * sigmoid(-psi * theta)
    return theta, psi


ALTERNATIVES = {
    "gan_losses": [losses, losses_by_torch],
    "best_discriminator": [best, best_by_cases],
    "slopes_of_samples": [slopes, slopes_by_autograd],
    "best_reply": [reply],
    "who_has_gradients": [GRADIENTS],
    "dirac_step": [step],
}
MISTAKEN = {
    "gan_losses": {
        "The sigmoid of a large logit": losses_from_beliefs,
        "The generator's loss is the saturating": losses_minimax,
        "The generator's loss is upside down": losses_upside_down,
        "The labels of the discriminator": losses_swapped,
        "This is the mean of the two halves": losses_halved,
        "This is the value of the game": losses_value,
    },
    "best_discriminator": {
        "This is the belief": best_of_samples,
        "This is the ratio": best_ratio,
        "D is set to one half": best_half,
        "0 times minus infinity": best_with_nan,
        "The sum of the two": best_mean,
        "This is the loss": best_loss,
    },
    "slopes_of_samples": {
        "These are the derivatives in D": slopes_in_belief,
        "The two are swapped": slopes_swapped,
        "Both losses fall": slopes_positive,
        "Both are given the slope": slopes_of_sigmoid,
    },
    "best_reply": {
        "In proportion to D": reply_proportional,
        "This spreads the samples": reply_spread,
        "The probabilities are equal": reply_uniform,
        "All samples go": reply_least,
        "This is in proportion to the odds": reply_odds,
    },
    "who_has_gradients": {
        "Samples carry": GRADIENTS | {"d loss": "discriminator alone"},
        "detach cuts": GRADIENTS | {"d loss, detached": "generator alone"},
        "backward fills": GRADIENTS | {"g loss": "generator alone"},
        "Behind the cut": GRADIENTS | {"g loss, detached": "generator alone"},
        "A network whose weights": GRADIENTS | {"g loss, frozen": "both"},
    },
    "dirac_step": {
        "Both steps start": step_together,
        "The generator moves first": step_generator_first,
        "The discriminator's step increases": step_uphill,
        "The generator minimises": step_saturating,
        "The generator is driven away": step_away,
    },
}
