"""Exercises of lesson 05: the step, the mean of an epoch, two optimisers, and curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_helpers.exercises.exercise import Exercise

LR = 0.1


class TinyVAE(nn.Module):
    """Six pixels, two latents, no hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(6, 4)
        self.to_logits = nn.Linear(2, 6)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x `[B, 6]`, eps `[B, 2]` to logits `[B, 6]`, mu and logvar `[B, 2]`."""
        mu, logvar = self.heads(x).chunk(2, dim=1)
        return self.to_logits(mu + torch.exp(logvar / 2) * eps), mu, logvar


def _two_batches() -> list[tuple[TinyVAE, Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(51)
    model = TinyVAE().double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=rng) / 2)
    x = torch.bernoulli(torch.full((2, 5, 6), 0.4, dtype=torch.float64), generator=rng)
    return [(model, x, torch.randn(2, 5, 2, generator=rng, dtype=torch.float64))]


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def _steps(answer: Callable[..., Any], model: nn.Module, x: Tensor, eps: Tensor) -> dict[str, Any]:
    """The weights after one step and after two, with plain SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    answer(model, optimizer, x[0], eps[0])
    first = _weights(model)
    answer(model, optimizer, x[1], eps[1])
    return {"weights after one step": first, "weights after two": _weights(model)}


def _plain_steps(model: nn.Module, x: Tensor, eps: Tensor) -> dict[str, Any]:
    """The same without an optimiser, with the losses of torch.distributions."""
    found = []
    for batch, noise in zip(x, eps, strict=True):
        logits, mu, logvar = model(batch, noise)
        log_p = Bernoulli(logits=logits).log_prob(batch).sum(dim=1)
        kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
        slopes = torch.autograd.grad((kl - log_p).mean(), list(model.parameters()))
        with torch.no_grad():
            for weight, slope in zip(model.parameters(), slopes, strict=True):
                weight.sub_(LR * slope)
        found.append(_weights(model))
    return {"weights after one step": found[0], "weights after two": found[1]}


def _mistaken_step(
    *, beta: float = 1.0, total: bool = False, pixel_mean: bool = False, clear: bool = True
) -> Callable[..., None]:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, eps: Tensor) -> None:
        if clear:
            optimizer.zero_grad()
        logits, mu, logvar = model(x, eps)
        bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
        bce = bce / x.shape[1] if pixel_mean else bce
        kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
        loss = bce + beta * kl
        (loss.sum() if total else loss.mean()).backward()
        optimizer.step()

    return step


TRAIN_STEP = Exercise(
    name="train_step",
    tries=_two_batches,
    observe=_steps,
    expected=_plain_steps,
    form="a function that changes the weights of the model once per call",
    hint="A step has four parts: clear the old gradients, compute the mean loss, compute its "
    "gradients, let the optimiser change the weights.",
    misconceptions={
        "The first step is right and the second is not: the gradients of the first are still "
        "there.": _mistaken_step(clear=False),
        "The loss is the sum over the images; their mean was asked for.": _mistaken_step(
            total=True
        ),
        "The KL is missing: this step minimises bce alone.": _mistaken_step(beta=0.0),
        "The KL has the wrong sign: its gradient drives q away from the prior.": _mistaken_step(
            beta=-1.0
        ),
        "The bce is a mean over the pixels, which makes beta as large as their number.": (
            _mistaken_step(pixel_mean=True)
        ),
        "The weights do not change: the optimiser makes no step, or the gradients are cleared "
        "before it.": lambda *args: None,
    },
)


def _ragged() -> list[tuple[list[Tensor]]]:
    rng = torch.Generator().manual_seed(52)
    return [
        ([100 + 10 * torch.randn(n, generator=rng, dtype=torch.float64) + 40 / n for n in sizes],)
        for sizes in ((8, 8, 3), (5, 5, 5, 1))
    ]


EPOCH_MEAN = Exercise(
    name="epoch_mean",
    tries=_ragged,
    expected=lambda batches: (
        sum(math.fsum(it.tolist()) for it in batches) / sum(len(it) for it in batches)
    ),
    form="one number, nats per image",
    hint="Which sum and which count do you have to carry from batch to batch?",
    misconceptions={
        "This is the mean of the batch means, in which images of the last batch count too "
        "much.": lambda batches: sum(it.mean() for it in batches) / len(batches),
        "The sum is divided as if all batches were as large as the first.": lambda batches: (
            sum(it.sum() for it in batches) / (len(batches) * len(batches[0]))
        ),
        "The last batch is left out.": lambda batches: torch.cat(batches[:-1]).mean(),
        "This is the sum over the images, not their mean.": lambda batches: torch.cat(
            batches
        ).sum(),
    },
)


def _gradient() -> Tensor:
    return torch.tensor([3.0, -0.02, 40.0, 1e-8, 0.0, -7e-9], dtype=torch.float64)


def _by_adam(answer: Callable[..., Any], gradient: Tensor) -> Any:
    return answer(gradient, lr=0.01, eps=1e-8)


def _adam(gradient: Tensor) -> Tensor:
    weight = nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient
    torch.optim.Adam([weight], lr=0.01, eps=1e-8).step()
    return weight.detach()


ADAM_FIRST_STEP = Exercise(
    name="adam_first_step",
    tries=lambda: [(_gradient(),)],
    observe=_by_adam,
    expected=_adam,
    form="a tensor [N], what is added to the weights; no entry is larger than lr",
    hint="After one step both moving averages hold one gradient. What does the correction of their "
    "bias leave?",
    misconceptions={
        "The moving averages are not corrected for having begun at zero: the step is about three "
        "times too long.": lambda gradient, *, lr, eps: (
            -lr * 0.1 * gradient / ((0.001 * gradient**2).sqrt() + eps)
        ),
        "This is a step of plain SGD, proportional to the gradient.": (
            lambda gradient, *, lr, eps: -lr * gradient
        ),
        "The step has the sign of the gradient: it goes uphill.": lambda gradient, *, lr, eps: (
            lr * gradient / (gradient.abs() + eps)
        ),
        "eps is not used: where a gradient is about as small, the step gets shorter.": (
            lambda gradient, *, lr, eps: -lr * gradient.sign()
        ),
        "The gradient is divided by the length of the whole vector; Adam divides each weight's "
        "by its own.": lambda gradient, *, lr, eps: -lr * gradient / (gradient.norm() + eps),
    },
    tolerance=1e-6,
)


def _gradients() -> list[tuple[Tensor]]:
    rng = torch.Generator().manual_seed(54)
    return [(torch.randn(5, 3, generator=rng, dtype=torch.float64),)]


def _with_momentum(answer: Callable[..., Any], gradients: Tensor) -> Any:
    return answer(gradients, lr=0.05, momentum=0.9)


def _sgd(
    gradients: Tensor, *, dampening: float = 0.0, nesterov: bool = False, momentum: float = 0.9
) -> Tensor:
    weight = nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = torch.optim.SGD(
        [weight], lr=0.05, momentum=momentum, dampening=dampening, nesterov=nesterov
    )
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def _averaged(gradients: Tensor, *, lr: float, momentum: float) -> Tensor:
    velocity = change = torch.zeros_like(gradients[0])
    for gradient in gradients:
        velocity = momentum * velocity + (1 - momentum) * gradient
        change = change - lr * velocity
    return change


MOMENTUM_CHANGE = Exercise(
    name="momentum_change",
    tries=_gradients,
    observe=_with_momentum,
    expected=_sgd,
    form="a tensor [N], the sum of all steps",
    hint="Carry one velocity from step to step, and add up the steps.",
    misconceptions={
        "No velocity is carried: these are steps of plain SGD.": lambda gradients, **_: _sgd(
            gradients, momentum=0.0
        ),
        "The velocity is an average of gradients; PyTorch's momentum adds them up without the "
        "factor 1 - momentum.": _averaged,
        "This is Nesterov's form, which looks one step ahead.": lambda gradients, **_: _sgd(
            gradients, nesterov=True
        ),
        "This is the last step; the sum of all was asked for.": lambda gradients, **_: (
            _sgd(gradients) - _sgd(gradients[:-1])
        ),
    },
)

SUM_FOR_MEAN = Exercise(
    name="sum_for_mean",
    expected={"sgd": 128, "adam": 1},
    form="a dictionary with the numbers 'sgd' and 'adam', above 0",
    hint="All gradients get one common factor. Put it into both rules for the first step.",
    misconceptions={
        "Adam does not step in proportion to the gradient: it divides by a root of its square.": {
            "adam": 128
        },
        "The factor is upside down: the sum has the longer gradients.": {"sgd": 1 / 128},
        "SGD's step is proportional to the gradient, so it changes with the factor.": {"sgd": 1},
    },
    tolerance=1e-3,
)

READ_CURVES = Exercise(
    name="read_curves",
    expected={
        "A": "healthy",
        "B": "overfitting",
        "C": "collapse",
        "D": "no kl",
        "E": "mean over pixels",
    },
    form="a dictionary from 'A' to 'E' to 'healthy', 'overfitting', 'collapse', 'no kl' or 'mean "
    "over pixels'",
    hint="Compare the first bce with that of a fair coin, train with test, and watch what the kl "
    "does as bce falls.",
    misconceptions={
        "A gap of one nat is usual; what counts is whether the test loss rises.": {
            "A": "overfitting"
        },
        "A training loss that falls is not enough: look at the test images.": {"B": "healthy"},
        "The bce stays near that of the best constant, and nothing passes through z.": {
            "C": "healthy"
        },
        "A kl that grows without end is not counted in the loss.": {"D": "healthy"},
        "The first bce shows that the unit is another one than nats per image.": {"E": "collapse"},
    },
)

EXERCISES = (
    TRAIN_STEP,
    EPOCH_MEAN,
    ADAM_FIRST_STEP,
    MOMENTUM_CHANGE,
    SUM_FOR_MEAN,
    READ_CURVES,
)
