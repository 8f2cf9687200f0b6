"""How far one run differs between thread counts and devices.

The contract is in the manual: the same configuration on the same machine with the same number of
threads gives the same bits. With another number of threads a matrix product may add its terms in
another order, and a GPU does; how much of that is left after some epochs is measured here. Every
difference is relative to the run with one thread, the largest over the history and the weights.

The GAN depends on the number of threads where the VAE does not. The reason is batch normalisation:
its sums over a batch are shared out among the threads. The biases in front of it go first. Their
gradient is zero, since the mean that they shift is taken out again; what is computed is rounding,
and Adam, which divides by the gradient's own size, makes whole steps of it.
"""

from __future__ import annotations

from typing import Any

import torch

from vae_helpers import acceleration, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import clock
from vae_helpers.data import Digits, load_mnist
from vae_helpers.store import machine
from vae_helpers.training import TrainConfig

Fit = training.Fit[Any]
KINDS: dict[str, type[TrainConfig | GANConfig]] = {"VAE": TrainConfig, "GAN": GANConfig}


def difference(ours: Fit, other: Fit) -> tuple[float, float]:
    """The largest relative difference of two fits.

    Returns:
        That of the numbers in the history, each relative to its own size, and that of the weights,
        relative to the largest weight of their tensor. Both are 0 if all bits are the same.

    Raises:
        ValueError: the fits do not have the same number of epochs.
    """
    if len(ours.history) != len(other.history):
        raise ValueError(
            "expected fits of the same number of epochs, got "
            f"{len(ours.history)} and {len(other.history)}"
        )
    history = [
        abs(numbers[name] - others[name]) / max(abs(numbers[name]), 1e-12)
        for numbers, others in zip(ours.history, other.history, strict=True)
        for name in numbers
    ]
    last = len(ours.history)
    weights = [
        (tensor - other.weights[last][name]).abs().max() / tensor.abs().max().clamp(min=1e-12)
        for name, tensor in ours.weights[last].items()
    ]
    return max(history), max(weights).item()


def trained(kind: str, digits: Digits, *, epochs: int, device: str, count: int) -> Fit:
    """The course's VAE or GAN, trained with `count` threads on "cpu" or "cuda"."""
    config = KINDS[kind](epochs=epochs, device=device)
    with acceleration.threads(count):
        return training.train(config.trainer(digits), epochs=epochs)


def report(*, epochs: int = 3, write: bool = False) -> None:
    """Train with one thread, again, with all cores, and on a GPU if there is one; print a table.

    With `write` the figures go to report/results/measured/thread_effects.json.
    """
    digits, cores = load_mnist(), machine.cores()
    others = {"again": ("cpu", 1), f"{cores} threads": ("cpu", cores)}
    if torch.cuda.is_available():
        others["a GPU"] = ("cuda", 1)
    values: dict[str, float | str] = {
        "epochs": epochs,
        "threads": cores,
        "machine": f"{clock.processor()}, torch {torch.__version__}",
    }
    print(f"relative to one thread, after {epochs} epochs   history     weights")
    for kind in KINDS:
        one = trained(kind, digits, epochs=epochs, device="cpu", count=1)
        for label, (device, count) in others.items():
            again = trained(kind, digits, epochs=epochs, device=device, count=count)
            history, weights = difference(one, again)
            print(f"{kind} {label:<32}   {history:9.1e}   {weights:9.1e}", flush=True)
            key = f"{kind.lower()}_{label.split()[-1]}"
            values |= {f"{key}_history": history, f"{key}_weights": weights}
    if write:
        clock.write("thread_effects", values)
