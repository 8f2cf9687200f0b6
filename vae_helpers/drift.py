"""How far one run differs between thread counts and devices.

    python -m vae_helpers.drift [--epochs 3] [--write]

The contract is in the README: the same configuration on the same machine with the same number of
threads gives the same bits. With another number of threads a matrix product may add its terms in
another order, and a GPU does; how much of that is left after some epochs is measured here. Every
difference is relative to the run with one thread, the largest over the history and the weights.

The GAN drifts where the VAE does not, and batch normalisation is why: its sums over a batch are
shared out among the threads. The biases in front of it go first. Their gradient is zero, since the
mean that they shift is taken out again; what is computed is rounding, and Adam, which divides by
the gradient's own size, makes whole steps of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from vae_helpers import PROJECT, adversarial, training
from vae_helpers.data import Digits, load_mnist
from vae_helpers.files import write_whole

MEASURED = PROJECT / "report" / "results" / "measured" / "drift.json"


def difference(ours: training.Fit, other: training.Fit) -> tuple[float, float]:
    """The largest relative difference of two fits.

    Returns:
        That of the numbers in the history, each relative to its own size, and that of the weights,
        relative to the largest weight of their tensor. Both are 0 if all bits are the same.

    Raises:
        ValueError: the fits have not the same numbers and weights at all.
    """
    if len(ours.history) != len(other.history):
        raise ValueError(
            f"expected fits of as many epochs, got {len(ours.history)} and {len(other.history)}"
        )
    history = [
        abs(numbers[name] - others[name]) / max(abs(numbers[name]), 1e-12)
        for numbers, others in zip(ours.history, other.history, strict=True)
        for name in numbers
    ]
    last = len(ours.history)
    return max(history), _largest(ours.weights[last], other.weights[last])


def _largest(ours: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    shares = [
        ((tensor - other[name]).abs().max() / tensor.abs().max().clamp(min=1e-12)).item()
        for name, tensor in ours.items()
    ]
    return max(shares)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(kind: str, digits: Digits, *, epochs: int, device: str, count: int) -> training.Fit:
    """Train the course's VAE or GAN in memory, with `count` threads, on "cpu" or "cuda"."""
    with threads(count):
        if kind == "GAN":
            config = adversarial.GANConfig(epochs=epochs, device=device)
            return adversarial.fit(config, digits, show_progress=False)
        return training.fit(
            training.TrainConfig(epochs=epochs, device=device), digits, show_progress=False
        )


def main() -> None:
    """Train with one thread, again, with all cores, and on a GPU if there is one; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the figures in report/")
    options = parser.parse_args()

    digits, cores = load_mnist(), len(os.sched_getaffinity(0))
    others = {"again": ("cpu", 1), f"{cores} threads": ("cpu", cores)}
    if torch.cuda.is_available():
        others["a GPU"] = ("cuda", 1)
    values: dict[str, dict[str, float | str]] = {
        "epochs": {"value": options.epochs},
        "threads": {"value": cores},
        "machine": {"value": f"{platform.machine()}, torch {torch.__version__}"},
    }
    print(f"relative to one thread, after {options.epochs} epochs   history     weights")
    for kind in ("VAE", "GAN"):
        one = train(kind, digits, epochs=options.epochs, device="cpu", count=1)
        for label, (device, count) in others.items():
            again = train(kind, digits, epochs=options.epochs, device=device, count=count)
            history, weights = difference(one, again)
            print(f"{kind} {label:<32}   {history:9.1e}   {weights:9.1e}", flush=True)
            key = f"{kind.lower()}_{label.split()[-1]}"
            values[f"{key}_history"] = {"value": history}
            values[f"{key}_weights"] = {"value": weights}
    if options.write:
        write_whole(MEASURED, json.dumps({"values": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
