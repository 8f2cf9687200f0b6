"""Exercises of lesson 15: remedies, what they do, and how a GAN's numbers are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from scipy.stats import entropy
from torch import Tensor, nn

from vae_helpers.exercises.comparison import ANY
from vae_helpers.exercises.exercise import Exercise


def _densities() -> list[tuple[Tensor, Tensor, float]]:
    p = torch.tensor([0.4, 0.1, 0.3, 0.2], dtype=torch.float64)
    g = torch.tensor([0.1, 0.5, 0.3, 0.1], dtype=torch.float64)
    return [(p, g, 0.9), (p, g, 0.7)]


def _of_labels(answer: Callable[..., Any], p: Tensor, g: Tensor, label: float) -> Any:
    return answer(p, g, real_label=label)


def _smoothed(p: Tensor, g: Tensor, label: float) -> Tensor:
    """By searching the least cross-entropy place by place."""

    def loss(d: float, here: float, there: float) -> float:
        real = -label * math.log(d) - (1 - label) * math.log(1 - d)
        return here * real - there * math.log(1 - d)

    pairs = zip(p.tolist(), g.tolist(), strict=True)
    found = [
        minimize_scalar(loss, bounds=(0, 1), args=pair, method="bounded", options={"xatol": 1e-10})
        for pair in pairs
    ]
    return torch.tensor([it.x for it in found], dtype=torch.float64)


SMOOTHED_BELIEF = Exercise(
    name="smoothed_belief",
    tries=_densities,
    observe=_of_labels,
    expected=_smoothed,
    form="a tensor [N] of beliefs, from 0 to the label",
    hint="Collect what multiplies log D and what multiplies log(1 - D) at one place.",
    misconceptions={
        "The label is not used: this is the belief without smoothing.": (
            lambda p, g, *, real_label: p / (p + g)
        ),
        "Only the label of real images is smoothed; generated ones keep 0.": (
            lambda p, g, *, real_label: (real_label * p + (1 - real_label) * g) / (p + g)
        ),
        "The belief is cut off at the label; the label changes it everywhere.": (
            lambda p, g, *, real_label: (p / (p + g)).clamp(max=real_label)
        ),
        "Real images are weighted less in the sum as well: what is taken from log D goes to "
        "log(1 - D) and does not vanish.": lambda p, g, *, real_label: (
            real_label * p / (real_label * p + g)
        ),
    },
)

Norm = tuple[Tensor, Tensor, Tensor]
MOMENTUM, EPS = 0.1, 0.05


def _hidden() -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, bool]]:
    rng = torch.Generator().manual_seed(152)
    x = 1 + 2 * torch.randn(6, 3, generator=rng, dtype=torch.float64)
    mean, weight, bias = torch.randn(3, 3, generator=rng, dtype=torch.float64)
    var = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64)
    return [(x, mean, var, weight, bias, training) for training in (True, False)]


def _normalising(answer: Callable[..., Any], *args: Any) -> Any:
    *tensors, training = args
    copies = (it.clone() for it in tensors)
    return answer(*copies, training=training, momentum=MOMENTUM, eps=EPS)


def _by_module(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool
) -> Norm:
    norm = nn.BatchNorm1d(x.shape[1], eps=EPS, momentum=MOMENTUM, dtype=torch.float64)
    norm.load_state_dict(
        {
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": var,
            "num_batches_tracked": torch.tensor(0),
        }
    )
    out = norm.train(training)(x).detach()
    return out, norm.running_mean, norm.running_var  # type: ignore[return-value]


def _batch_norm(
    *,
    corrections: tuple[int, int] = (0, 1),
    own: bool = False,
    always: bool = False,
    swapped: bool = False,
    outside: bool = False,
) -> Callable[..., Norm]:
    """Batch normalisation with a mistake."""

    def norm(
        x: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Norm:
        m = x.mean(dim=0)
        used, kept = (x.var(dim=0, correction=it) for it in corrections)
        centre, spread = (m, used) if training or own else (mean, var)
        scale = spread.sqrt() + eps if outside else (spread + eps).sqrt()
        out = weight * (x - centre) / scale + bias
        if training or always:
            share = 1 - momentum if swapped else momentum
            mean, var = mean + share * (m - mean), var + share * (kept - var)
        return out, mean, var

    return norm


BATCH_NORM = Exercise(
    name="batch_norm",
    tries=_hidden,
    observe=_normalising,
    expected=_by_module,
    form="three tensors: the output [B, H], the running mean [H], the running variance [H]",
    hint="Two variances of the batch play a part: one divides its squares by B, the other by "
    "B - 1.",
    misconceptions={
        "In evaluation the batch's own mean and variance are used: what one image gives depends on "
        "its neighbours.": _batch_norm(own=True),
        "The output is normalised by the variance with B - 1; PyTorch divides by B here.": (
            _batch_norm(corrections=(1, 1))
        ),
        "The running variance is fed with squares divided by B; PyTorch keeps the one with "
        "B - 1.": _batch_norm(corrections=(0, 0)),
        "Momentum is the weight of the new value in PyTorch, and not of the old one.": _batch_norm(
            swapped=True
        ),
        "The running values change in evaluation as well: the test images leave traces in the "
        "model.": _batch_norm(always=True),
        "eps is added to the standard deviation; it belongs under the root.": _batch_norm(
            outside=True
        ),
    },
)


def _counts() -> list[tuple[Tensor]]:
    return [
        (torch.tensor(counts),)
        for counts in (
            [0, 0, 0, 1_000, 0, 0, 0, 0, 0, 0],
            [700, 250, 20, 10, 10, 10, 0, 0, 0, 0],
            [100, 120, 90, 80, 110, 100, 130, 90, 180, 0],
        )
    ]


def _digit_entropy(counts: Tensor) -> tuple[float, bool]:
    found = float(entropy(counts.numpy()))
    return found, found < 1.5


DIGIT_ENTROPY = Exercise(
    name="digit_entropy",
    tries=_counts,
    expected=_digit_entropy,
    form="a pair: one number from 0 to log 10, in nats, and True or False",
    hint="Entropy is minus the mean logarithm of the shares. What does a digit that never comes "
    "add to it?",
    misconceptions={
        "The logarithm of 0 is infinite, and 0 times it is not a number: leave out the digits that "
        "never come.": lambda counts: (math.nan, ANY),
        "The unit is bits.": lambda counts: (_digit_entropy(counts)[0] / math.log(2), ANY),
        "This is a share of the largest entropy, not nats.": lambda counts: (
            _digit_entropy(counts)[0] / math.log(10),
            ANY,
        ),
        "A low entropy is the failure: many equally frequent digits have a high one.": (
            lambda counts: (ANY, not _digit_entropy(counts)[1])
        ),
        "Digits that come at all are counted; a few rare ones do not make up for one that is "
        "nearly everything.": lambda counts: (ANY, int((counts > 0).sum()) < 5),
    },
)


def _flips(beta: float) -> int:
    """Steps of Adam, carried out one by one, until the weight goes the other way."""
    mean = square = 0.0
    change = 0
    for step in range(1, 2_000):
        gradient = 1.0 if step <= 1_000 else -1.0
        mean = beta * mean + (1 - beta) * gradient
        square = 0.999 * square + 0.001 * gradient**2
        move = -mean / (1 - beta**step) / math.sqrt(square / (1 - 0.999**step))
        change += step > 1_000
        if move > 0:
            break
    return change


ADAM_MEMORY = Exercise(
    name="adam_memory",
    expected={f"beta {beta:g}": _flips(beta) for beta in (0.0, 0.5, 0.9, 0.99)},
    form="a dictionary with four whole numbers of steps",
    hint="After k new gradients the old ones still weigh beta to the power k, and the new ones the "
    "rest.",
    misconceptions={
        "This is 1 / (1 - beta), the length of the memory; the weight turns when more than half of "
        "it is new.": {"beta 0.9": 10, "beta 0.99": 100},
        "The mean changes at once; its sign does not.": {"beta 0.9": 1, "beta 0.99": 1},
        "After one step the mean is exactly zero, and so is the step.": {"beta 0.5": 1},
        "At this step the old gradients still weigh more than the new ones.": {
            "beta 0.9": 6,
            "beta 0.99": 68,
        },
        "Without memory the step follows the gradient that is there.": {"beta 0": 0},
    },
)


def _output() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(155)
    slope = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    logits = 4 * torch.randn(3, 5, generator=rng, dtype=torch.float64)
    return [(slope, logits.sigmoid())]


def _through_sigmoid(slope: Tensor, images: Tensor) -> Tensor:
    """By autograd from the logits that make these images."""
    logits = images.logit().requires_grad_()
    (found,) = torch.autograd.grad(logits.sigmoid(), logits, slope)
    return found


SLOPE_AT_LOGITS = Exercise(
    name="slope_at_logits",
    tries=_output,
    expected=_through_sigmoid,
    form="a tensor [B, P]",
    hint="Write the derivative of the sigmoid by its own value. Where is it largest, and how "
    "large?",
    misconceptions={
        "The slope is not multiplied by anything: this is still the one at the images.": (
            lambda slope, images: slope
        ),
        "The images are values of the sigmoid already; it is taken once more here.": (
            lambda slope, images: slope * images.sigmoid() * (1 - images.sigmoid())
        ),
        "The factor 1 - x is missing: white pixels are flat, too.": lambda slope, images: (
            slope * images
        ),
        "The factor x is missing: black pixels are flat, too.": lambda slope, images: (
            slope * (1 - images)
        ),
        "The chain rule multiplies on the way back; this divides.": lambda slope, images: (
            slope / (images * (1 - images))
        ),
    },
)

RUNS = {
    # d_loss, g_loss, D(x) of training images, of test images, D(G(z)), entropy, FCD
    "maple": (1.13, 1.21, 0.61, 0.60, 0.39, 2.28, 28.0),
    "cedar": (0.01, 9.80, 0.99, 0.99, 0.00, 0.00, 1_310.0),
    "birch": (1.39, 0.70, 0.50, 0.50, 0.50, 2.24, 55.0),
    "larch": (0.55, 2.10, 0.83, 0.57, 0.21, 2.27, 44.0),
    "hazel": (1.35, 0.62, 0.60, 0.60, 0.55, 1.10, 160.0),
}


def _read_runs() -> dict[str, Any]:
    return {
        "failed": {name for name, run in RUNS.items() if run[5] < 1.5},
        "best samples": min(RUNS, key=lambda name: RUNS[name][6]),
        "memorises": max(RUNS, key=lambda name: RUNS[name][2] - RUNS[name][3]),
        "lowest g loss": min(RUNS, key=lambda name: RUNS[name][1]),
    }


READ_RUNS = Exercise(
    name="read_runs",
    expected=_read_runs(),
    form="a dictionary: a set of names of runs at 'failed', and one name at 'best samples', "
    "'memorises' and 'lowest g loss'",
    hint="A loss is measured with an opponent who learns, too. Which columns are measured without "
    "one?",
    misconceptions={
        "Losses that look healthy do not make ten digits: the entropy says whether a run has "
        "failed.": {"failed": {"cedar"}},
        "A certain discriminator is no failure by itself; here the digits are all there.": {
            "failed": {"cedar", "hazel", "larch"}
        },
        "Losses at the equilibrium of the theory prove nothing: this discriminator may simply be "
        "weak.": {"best samples": "birch"},
        "A low loss of the generator means that its opponent is easily fooled.": {
            "best samples": "hazel"
        },
        "Certainty about training images and test images alike is no memory of the training "
        "images.": {"memorises": "cedar"},
    },
)

EXERCISES = (
    SMOOTHED_BELIEF,
    BATCH_NORM,
    DIGIT_ENTROPY,
    ADAM_MEMORY,
    SLOPE_AT_LOGITS,
    READ_RUNS,
)
