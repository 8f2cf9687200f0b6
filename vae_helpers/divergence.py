"""Numbers of a training that must be finite, and the error that says where they were not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class DivergedError(ArithmeticError):
    """A loss or a weight of a training is infinite or not a number."""


def add_up(steps: Sequence[Tensor], terms: Sequence[str], *, epoch: int) -> Tensor:
    """Sums over the steps of an epoch, if every step's numbers are finite.

    It looks once an epoch, at all steps: looking after each one would make a GPU wait.

    Args:
        steps: what each step gave, `[T]` for the T terms, such as sums over its images.
        terms: their names.
        epoch: for the message.

    Returns:
        `[T]` in float64, on the device of the steps.

    Raises:
        DivergedError: the message names epoch, step and term of the first number that is not
            finite.
    """
    wrong = ~torch.stack(list(steps)).isfinite()
    if wrong.any():
        step, term = (int(place) for place in wrong.nonzero()[0])
        raise DivergedError(
            f"epoch {epoch}, step {step + 1} of {len(steps)}: expected a finite {terms[term]}, "
            f"got {steps[step][term].item()}"
        )
    return sum((step.double() for step in steps), torch.zeros_like(steps[0], dtype=torch.float64))


def check(numbers: Mapping[str, float], weights: Mapping[str, Tensor], *, epoch: int) -> None:
    """Refuse what an epoch has left behind if any of it is not finite.

    Raises:
        DivergedError: the message names the epoch, and the number or the weights.
    """
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise DivergedError(f"epoch {epoch}: expected a finite {name}, got {number}")
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise DivergedError(
                f"epoch {epoch}, after its last step: expected finite weights, got {name} with "
                f"{int((~tensor.isfinite()).sum())} that are not"
            )
