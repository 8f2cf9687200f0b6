"""Exercises of lesson 14: the two losses, the best discriminator, the best reply, and the steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linprog, minimize_scalar
from scipy.special import rel_entr
from torch import Tensor, nn
from torch.distributions import Bernoulli

from vae_helpers.exercises.comparison import ANY
from vae_helpers.exercises.exercise import Exercise


def _logits() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(141)
    real, fake = 3 * torch.randn(2, 6, generator=rng, dtype=torch.float64)
    return [(real, fake), (real - 900, fake + 900), (real + 900, fake - 900)]


def _losses(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Minus the log-probabilities of the labels."""
    one = torch.ones_like(real)
    on_real, on_fake = Bernoulli(logits=real), Bernoulli(logits=fake)
    return -on_real.log_prob(one) - on_fake.log_prob(0 * one), -on_fake.log_prob(one)


def _sigmoid_first(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    real, fake = real.sigmoid(), fake.sigmoid()
    return -real.log() - (1 - fake).log(), -fake.log()


GAN_LOSSES = Exercise(
    name="gan_losses",
    tries=_logits,
    expected=_losses,
    form="a pair of tensors [B], nats, at least 0 and finite: the discriminator's loss and the "
    "generator's",
    hint="-log sigmoid(a) = log(1 + exp(-a)), and 1 - sigmoid(a) = sigmoid(-a).",
    misconceptions={
        "The sigmoid of a large logit is exactly 1 and that of a small one 0, whose logarithm is "
        "infinite: start from the logits.": _sigmoid_first,
        "The generator's loss is the saturating one, which has no slope where samples are found "
        "out.": lambda real, fake: (ANY, -F.softplus(fake)),
        "The generator's loss is upside down: it is lowest when its samples are found out.": (
            lambda real, fake: (ANY, F.softplus(fake))
        ),
        "The labels of the discriminator are swapped: it learns to take samples for real.": (
            lambda real, fake: (_losses(fake, real)[0], ANY)
        ),
        "This is the mean of the two halves, not their sum: half of what the text asks "
        "for.": lambda real, fake: (_losses(real, fake)[0] / 2, ANY),
        "This is the value of the game, which is maximised; a loss is minus that.": (
            lambda real, fake: (-_losses(real, fake)[0], ANY)
        ),
    },
)


def _histograms() -> list[tuple[Tensor, Tensor]]:
    p = torch.tensor([0.4, 0.1, 0.0, 0.25, 0.25], dtype=torch.float64)
    g = torch.tensor([0.1, 0.3, 0.35, 0.25, 0.0], dtype=torch.float64)
    return [(p, g), (g, torch.full_like(g, 0.2))]


def _best(p: Tensor, g: Tensor) -> tuple[Tensor, float]:
    """By searching D place by place, and its value from two Kullback-Leibler divergences."""

    def belief(here: float, there: float) -> float:
        if 0 in {here, there}:
            return float(here > 0)

        def loss(d: float) -> float:
            return -here * math.log(d) - there * math.log(1 - d)

        return float(minimize_scalar(loss, bounds=(0, 1), method="bounded", options=_FINE).x)

    beliefs = [belief(*pair) for pair in zip(p.tolist(), g.tolist(), strict=True)]
    mixed = (p + g).numpy() / 2
    shannon = (rel_entr(p.numpy(), mixed).sum() + rel_entr(g.numpy(), mixed).sum()) / 2
    return torch.tensor(beliefs, dtype=torch.float64), float(2 * shannon - math.log(4))


_FINE = {"xatol": 1e-10}

BEST_DISCRIMINATOR = Exercise(
    name="best_discriminator",
    tries=_histograms,
    expected=_best,
    form="a pair: a tensor [N] of beliefs from 0 to 1, and one number from -log 4 to 0, in nats",
    hint="At each place maximise p log D + g log(1 - D) by itself. A term with p = 0 is 0.",
    misconceptions={
        "This is the belief that x is generated.": lambda p, g: (g / (p + g), ANY),
        "This is the ratio of the densities, whose logarithm is the logit; the belief is its "
        "sigmoid.": lambda p, g: (p / g, ANY),
        "D is set to one half: that is right only where both are equal.": lambda p, g: (
            torch.full_like(p, 0.5),
            ANY,
        ),
        "0 times minus infinity is not a number: places without real or without generated images "
        "need care.": lambda p, g: (ANY, math.nan),
        "The sum of the two expectations was asked for; this is their mean.": lambda p, g: (
            ANY,
            _best(p, g)[1] / 2,
        ),
        "This is the loss, which is minus the value.": lambda p, g: (ANY, -_best(p, g)[1]),
    },
)


def _slopes(logits: Tensor) -> tuple[Tensor, Tensor]:
    """By central differences of log-probabilities."""
    step = 1e-5

    def both(a: Tensor) -> tuple[Tensor, Tensor]:
        belief = Bernoulli(logits=a)
        return belief.log_prob(torch.zeros_like(a)), -belief.log_prob(torch.ones_like(a))

    above, below = both(logits + step), both(logits - step)
    return (above[0] - below[0]) / (2 * step), (above[1] - below[1]) / (2 * step)


SLOPES_OF_SAMPLES = Exercise(
    name="slopes_of_samples",
    tries=lambda: [(torch.tensor([-8.0, -4.0, -1.0, 0.0, 2.0, 5.0], dtype=torch.float64),)],
    expected=_slopes,
    form="a pair of tensors [N], all below 0: the slopes of log(1 - D) and of -log D",
    hint="The sigmoid's own slope is D (1 - D). Multiply by it and see what is left.",
    misconceptions={
        "These are the derivatives in D; the chain rule to the logit is missing.": lambda a: (
            -1 / (1 - a.sigmoid()),
            -1 / a.sigmoid(),
        ),
        "The two are swapped: log(1 - D) is the one that is flat where D is small.": lambda a: (
            -(1 - a.sigmoid()),
            -a.sigmoid(),
        ),
        "Both losses fall when the logit rises, so both slopes are negative.": lambda a: (
            a.sigmoid(),
            1 - a.sigmoid(),
        ),
        "Both are given the slope of the sigmoid, D (1 - D); the logarithm takes one of the two "
        "factors away.": lambda a: (
            -a.sigmoid() * (1 - a.sigmoid()),
            -a.sigmoid() * (1 - a.sigmoid()),
        ),
    },
)


def _beliefs() -> list[tuple[Tensor]]:
    return [
        (torch.tensor(values, dtype=torch.float64),)
        for values in ([0.2, 0.5, 0.9, 0.4], [0.55, 0.51, 0.5, 0.52, 0.1])
    ]


def _reply(beliefs: Tensor) -> Tensor:
    """As a linear programme: the least mean of -log D over distributions."""
    costs = -np.log(beliefs.numpy())
    found = linprog(costs, A_eq=np.ones((1, len(costs))), b_eq=[1.0], bounds=(0, 1))
    return torch.from_numpy(found.x)


BEST_REPLY = Exercise(
    name="best_reply",
    tries=_beliefs,
    expected=_reply,
    form="a tensor [N] of probabilities that add up to 1",
    hint="The mean of -log D under g is linear in g. Where does a linear function of "
    "probabilities have its least value?",
    misconceptions={
        "In proportion to D: nothing in the loss rewards variety, and every sample at a place with "
        "smaller D makes it larger.": lambda beliefs: beliefs / beliefs.sum(),
        "This spreads the samples over all places that are believed; one of them is better than "
        "the others.": lambda beliefs: (beliefs >= 0.5).double() / (beliefs >= 0.5).sum(),
        "The probabilities are equal everywhere: these are replies to no discriminator.": (
            lambda beliefs: torch.full_like(beliefs, 1 / len(beliefs))
        ),
        "All samples go where they are found out: the generator wants to be believed.": (
            lambda beliefs: F.one_hot(beliefs.argmin(), len(beliefs))
        ),
        "This is in proportion to the odds D / (1 - D), a ratio of densities; the loss asks for "
        "the most believed image alone.": lambda beliefs: (
            (beliefs / (1 - beliefs)) / (beliefs / (1 - beliefs)).sum()
        ),
    },
)


def _moved() -> dict[str, str]:
    """Which weights have a gradient after one backward pass, by autograd on two linear layers."""
    rng = torch.Generator().manual_seed(145)
    x, z = torch.rand(5, 4, generator=rng), torch.randn(5, 2, generator=rng)
    with torch.random.fork_rng(devices=[]):  # an import draws nothing that a reader would miss
        pair = {"generator": nn.Linear(2, 4), "discriminator": nn.Linear(4, 1)}

    def of(loss: Callable[[nn.Module, nn.Module], Tensor], *, fixed: bool = False) -> str:
        nets = copy.deepcopy(pair)
        if fixed:
            nets["discriminator"].requires_grad_(False)
        loss(nets["generator"], nets["discriminator"]).mean().backward()
        has = [name for name, it in nets.items() if it.weight.grad is not None]
        return "both" if len(has) == 2 else f"{has[0]} alone"

    def tell(g: nn.Module, d: nn.Module, *, cut: bool) -> Tensor:
        fake = g(z).detach() if cut else g(z)
        return F.softplus(-d(x)) + F.softplus(d(fake))

    def fool(g: nn.Module, d: nn.Module, *, cut: bool) -> Tensor:
        return F.softplus(-d(g(z).detach() if cut else g(z)))

    return {
        "d loss": of(lambda g, d: tell(g, d, cut=False)),
        "d loss, detached": of(lambda g, d: tell(g, d, cut=True)),
        "g loss": of(lambda g, d: fool(g, d, cut=False)),
        "g loss, detached": of(lambda g, d: fool(g, d, cut=True)),
        "g loss, frozen": of(lambda g, d: fool(g, d, cut=False), fixed=True),
    }


WHO_HAS_GRADIENTS = Exercise(
    name="who_has_gradients",
    expected=_moved(),
    form="a dictionary from the five cases to 'both', 'generator alone' or 'discriminator alone'",
    hint="Follow each loss backwards through every network that it has passed. Neither zero_grad "
    "nor an optimiser has a part in it.",
    misconceptions={
        "Samples carry the history of how they were made: nothing cuts it here.": {
            "d loss": "discriminator alone"
        },
        "detach cuts the way to the weights that made the samples; those that judge them come "
        "after it.": {"d loss, detached": "generator alone"},
        "backward fills the gradients of every weight on its way. Which of them an optimiser "
        "changes is another question.": {"g loss": "generator alone"},
        "Behind the cut there is nothing to learn from: this step would train the opponent.": {
            "g loss, detached": "generator alone"
        },
        "A network whose weights are fixed still passes slopes on to its input, and gets none "
        "itself.": {"g loss, frozen": "both"},
    },
)


def _games() -> list[tuple[float, float, float]]:
    return [(1.0, 0.0, 0.5), (0.7, -1.3, 0.2)]


def _two_steps(theta: float, psi: float, lr: float, *, together: bool = False) -> tuple[float, ...]:
    """By autograd, from the losses with their logarithms."""
    point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor(psi, dtype=torch.float64, requires_grad=True)
    d_loss = -Bernoulli(logits=0 * slope).log_prob(torch.ones_like(slope))
    d_loss = d_loss - Bernoulli(logits=slope * theta).log_prob(torch.zeros_like(slope))
    (by,) = torch.autograd.grad(d_loss, slope)
    after = psi - lr * by.item()
    judge = psi if together else after
    (by,) = torch.autograd.grad(
        -Bernoulli(logits=judge * point).log_prob(torch.ones_like(point)), point
    )
    return theta - lr * by.item(), after


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def _uphill(theta: float, psi: float, lr: float) -> tuple[float, float]:
    psi = psi + lr * theta * _sigmoid(psi * theta)
    return theta + lr * psi * _sigmoid(-psi * theta), psi


def _saturating(theta: float, psi: float, lr: float) -> tuple[float, float]:
    psi = _two_steps(theta, psi, lr)[1]
    return theta + lr * psi * _sigmoid(psi * theta), psi


def _generator_first(theta: float, psi: float, lr: float) -> tuple[float, float]:
    theta = theta + lr * psi * _sigmoid(-psi * theta)
    return theta, psi - lr * theta * _sigmoid(psi * theta)


DIRAC_STEP = Exercise(
    name="dirac_step",
    tries=_games,
    expected=_two_steps,
    form="a pair of numbers: the new theta, the new psi",
    hint="The derivative of softplus is the sigmoid. Differentiate each loss in its own player's "
    "number only.",
    misconceptions={
        "Both steps start from the old numbers; the generator has to answer the discriminator as "
        "it is after its step.": lambda *args: _two_steps(*args, together=True),
        "The generator moves first; the discriminator's step comes before it.": _generator_first,
        "The discriminator's step increases its loss.": _uphill,
        "The generator minimises log(1 - D): this is the saturating loss.": _saturating,
        "The generator is driven away from what is believed: the sign of its step is "
        "wrong.": lambda theta, psi, lr: (
            2 * theta - _two_steps(theta, psi, lr)[0],
            _two_steps(theta, psi, lr)[1],
        ),
    },
)

EXERCISES = (
    GAN_LOSSES,
    BEST_DISCRIMINATOR,
    SLOPES_OF_SAMPLES,
    BEST_REPLY,
    WHO_HAS_GRADIENTS,
    DIRAC_STEP,
)
