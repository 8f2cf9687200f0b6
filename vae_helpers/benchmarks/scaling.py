"""How time and memory of training grow with images, epochs, batch, latent dimensions and seeds.

One size is changed at a time, all others are the course's. If time grows as a power of the size,
its points lie on a straight line in a plot of logarithms, and the slope is the exponent: 1 means
twice the size, twice the time. Where something else takes time too, such as the fixed costs of a
step, the line bends and no single exponent describes it. It is therefore fitted over all sizes
and, once more, over the upper half of them; where the two differ, the line bends.

Time is measured with one thread per core, memory with one thread per process. The images are random
numbers, since neither time nor memory depends on what they show.
"""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Barrier
from typing import Any

import torch
from torch import Tensor

from vae_helpers import acceleration, training
from vae_helpers.benchmarks import clock, speed
from vae_helpers.benchmarks.clock import Work
from vae_helpers.evaluation import log_likelihood
from vae_helpers.store import machine

IMAGES = 8_192  # of an epoch, unless they are what is changed: whole batches of every size
FEW_IMAGES = 4_096  # the same for memory: its peak is reached in the second step
SEEDS = 4

Sizes = Mapping[str, Sequence[int]]
Points = Sequence[tuple[str, int]]
"""Quantities, each with a size."""
TIMED: Sizes = {
    "images": (3_750, 7_500, 15_000, 30_000, 60_000),
    "epochs": (1, 2, 4, 8),
    "batch_size": (16, 32, 64, 128, 256, 512, 1_024, 2_048),
    "latent_dim": (2, 5, 10, 20, 40, 80, 160, 320),
    "hidden_width": (100, 200, 400, 800, 1_600),
    "num_samples": (20, 40, 80, 160, 320, 640, 1_280),
}
"""What is changed, and its sizes; the second hidden layer is always half as wide as the first."""
WEIGHED: Sizes = {
    "images": (1_875, 3_750, 7_500, 15_000, 30_000),
    "batch_size": (32, 128, 512, 1_024, 2_048),
    "latent_dim": (2, 20, 80, 320),
}
"""The same for memory."""


def work(quantity: str, size: int, images: Tensor) -> Work:
    """Training, or likelihood evaluation, at one size; it can be called again and again.

    Args:
        quantity: a key of `TIMED`.
        size: of that quantity.
        images: `[N, 784]`; an epoch takes all, unless images are the quantity, and then `size`.
    """
    if quantity == "num_samples":
        model, few = training.new_model(speed.VAE), images[: speed.LIKELIHOOD_IMAGES]
        rng = torch.Generator()
        return lambda: log_likelihood(model, few, num_samples=size, rng=rng.manual_seed(0))
    if quantity == "images":
        return speed.training_of(speed.VAE, images[:size])
    changed: dict[str, Any] = {quantity: size}
    if quantity == "hidden_width":
        changed = {"hidden_dims": (size, size // 2)}
    return speed.training_of(replace(speed.VAE, **changed), images)


def seconds(points: Points, *, repeats: int) -> list[list[float]]:
    """How long `work` takes at each point, with all cores."""
    images = torch.rand(max(IMAGES, *(size for name, size in points if name == "images")), 784)
    with acceleration.threads(machine.cores()):
        works = {
            (name, size): work(name, size, images if name == "images" else images[:IMAGES])
            for name, size in points
        }
        return [*clock.interleaved(works, rounds=repeats).values()]


def megabytes(points: Points, *, repeats: int) -> list[list[float]]:
    """By how much a process grows that does `work` at each point."""
    number = {point: point[1] if point[0] == "images" else FEW_IMAGES for point in points}
    works = [(number[point], partial(_do, *point)) for point in points]
    return clock.growth(works, repeats=repeats)


def _do(quantity: str, size: int, images: Tensor) -> None:
    work(quantity, size, images)()


def train_seed(seed: int) -> None:
    """A short training: one epoch on random images."""
    speed.training_of(replace(speed.VAE, seed=seed), torch.rand(IMAGES, 784))()


def compare_seeds(number: int, *, repeats: int) -> dict[str, float]:
    """Some seeds one after the other with all cores, and as many at a time as there are cores.

    In parallel each has a process of its own with one thread. Starting the processes and
    importing PyTorch is not counted: a study does it once.
    """
    cores = machine.cores()
    all_there = clock.SPAWN.Barrier(cores)
    with (
        ProcessPoolExecutor(cores, clock.SPAWN, initializer=_ready, initargs=(all_there,)) as pool,
        acceleration.threads(cores),
    ):
        list(pool.map(train_seed, range(cores)))  # a process is started when work is there for it
        works: dict[str, Work] = {
            "sequence": lambda: list(map(train_seed, range(number))),
            "parallel": lambda: list(pool.map(train_seed, range(number))),
        }
        taken = clock.interleaved(works, rounds=repeats)
    found: dict[str, float] = {"number": number, "repeats": repeats}
    for name, times in taken.items():
        middle, low, high = clock.spread(times)
        found |= {f"{name}_seconds": middle, f"{name}_low": low, f"{name}_high": high}
    return found | {"ratio": clock.ratio(taken["sequence"], taken["parallel"]).median}


def _ready(all_there: Barrier) -> None:
    torch.set_num_threads(1)
    train_seed(0)
    all_there.wait(timeout=300)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The p of value ~ size^p by least squares of the logarithms, and its standard error."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    slope, intercept = statistics.linear_regression(x, y)
    squares = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    about_mean = sum((a - statistics.fmean(x)) ** 2 for a in x)
    return slope, math.sqrt(squares / max(len(x) - 2, 1) / about_mean)


def summary(values: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Median, lowest and highest value at each size, and the exponents of the medians."""
    spreads = {size: clock.spread(several) for size, several in values.items()}
    sizes, medians = [*spreads], [of_size.median for of_size in spreads.values()]
    half = (len(sizes) - 1) // 2  # the one in the middle belongs to both
    found: dict[str, Any] = {
        "series": [
            {"size": size, **of_size._asdict(), "repeats": len(values[size])}
            for size, of_size in spreads.items()
        ]
    }
    for name, first in (("exponent", 0), ("exponent_upper_half", half)):
        found[name], found[f"{name}_error"] = exponent(sizes[first:], medians[first:])
    return found


def _summaries(sizes: Sizes, measured: Callable[[Points], list[list[float]]]) -> dict[str, Any]:
    points = [(quantity, size) for quantity, several in sizes.items() for size in several]
    values = dict(zip(points, measured(points), strict=True))
    return {
        quantity: summary({size: values[quantity, size] for size in several})
        for quantity, several in sizes.items()
    }


def measure(*, timed: Sizes, weighed: Sizes, seeds: int, repeats: int) -> dict[str, Any]:
    """Everything, with the machine that it was measured on."""
    return {
        "threads": machine.cores(),
        "machine": clock.processor(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": _summaries(timed, partial(seconds, repeats=repeats)),
        "megabytes": _summaries(weighed, partial(megabytes, repeats=repeats)),
        "seeds": compare_seeds(seeds, repeats=repeats),
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of what `measure` returns."""
    yield f"{found['threads']} threads, {found['machine']}, torch {found['versions']['torch']}"
    for unit, digits in (("seconds", 3), ("megabytes", 1)):
        for quantity, fitted in found[unit].items():
            yield f"\n{quantity:>12}   {unit:>9}   lowest to highest"
            for size, middle, low, high, _ in map(dict.values, fitted["series"]):
                yield f"{size:12,}   {middle:9.{digits}f}   {low:.{digits}f} to {high:.{digits}f}"
            for name in ("exponent", "exponent_upper_half"):
                words = name.replace("_", " ")
                yield f"{words:>24}   {fitted[name]:.2f} +- {fitted[f'{name}_error']:.2f}"
    yield (
        "\n{number} seeds one after the other, with all cores: {sequence_seconds:.2f} s; one per "
        "core: {parallel_seconds:.2f} s; ratio {ratio:.2f}"
    ).format(**found["seeds"])


def report(*, repeats: int = 3, write: bool = False) -> None:
    """Measure everything and print a table; with `write` it goes to report/results/measured/."""
    found = measure(timed=TIMED, weighed=WEIGHED, seeds=SEEDS, repeats=repeats)
    print(*table(found), sep="\n")
    if write:
        clock.write("scaling", found)
