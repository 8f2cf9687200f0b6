"""One seed, many independent random number generators.

A run draws random numbers for several purposes: initial weights, the order of the images, noise.
Each purpose, and each epoch of it, has a generator of its own, so that any of them can be repeated
alone: the order of epoch 17 does not depend on what epochs 1 to 16 have drawn, and two models with
the same seed see the same images in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def new_rng(
    seed: int, purpose: str, *, epoch: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A random number generator that depends on all arguments, and on nothing else.

    Args:
        seed: the run's seed, >= 0.
        purpose: a word such as "order" or "noise".
        epoch: epochs of one purpose have unrelated generators.
        device: where it draws; the same seed gives other numbers on another kind of device.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Networks that are made in here have the weights of this seed, in float32 on the CPU.

    Torch's global generator and its default type are as before afterwards.
    """
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(new_rng(seed, "initial weights").initial_seed())
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


@contextmanager
def dropout_seed(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed that for one epoch and give it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(new_rng(seed, "dropout", epoch=epoch).initial_seed())
        yield
