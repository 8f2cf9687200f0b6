"""How time and memory of training grow with images, epochs, batch, latent dimensions and seeds.

    python -m vae_helpers.scale [--repeats 3] [--write]

One size is changed at a time, all others are the course's. If time grows as a power of the size,
its points lie on a straight line in a plot of logarithms, and the slope is the exponent: 1 means
twice the size, twice the time. Where something else costs time too, such as what a step takes
however small its batch, the line bends and no exponent is the exponent. It is therefore fitted
over all sizes and, once more, over the upper half of them; where the two differ, the line bends.

Time is measured with a thread a core. Memory is measured with one thread, many processes at a time;
it does not count the images, 3,136 bytes each. They are random numbers, since neither time nor
memory depends on what they show.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import torch
from torch import Tensor

from vae_helpers import PROJECT, training
from vae_helpers.drift import threads
from vae_helpers.evaluation import log_likelihood
from vae_helpers.files import read_json, write_whole

MEASURED = PROJECT / "report" / "results" / "measured" / "scale.json"
CONFIG = training.TrainConfig(epochs=1, device="cpu")
IMAGES = 8_192  # of an epoch, unless they are what is changed: whole batches of every size
FEW_IMAGES = 4_096  # the same for memory: its peak is reached in the second step
LIKELIHOOD_IMAGES = 100
SEEDS = 4

Sizes = Mapping[str, Sequence[int]]
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


def work(quantity: str, size: int, images: Tensor) -> Callable[[], object]:
    """Training, or likelihood evaluation, at one size; it can be called again and again.

    Args:
        quantity: a key of `TIMED`.
        size: of that quantity.
        images: `[N, 784]`; an epoch takes all, unless images are the quantity, and then `size`.
    """
    config = CONFIG
    if quantity == "hidden_width":
        config = replace(config, hidden_dims=(size, size // 2))
    elif quantity not in ("images", "num_samples"):
        changed: dict[str, Any] = {quantity: size}
        config = replace(config, **changed)
    model = training.new_model(config)
    if quantity == "num_samples":
        few = images[:LIKELIHOOD_IMAGES]
        return lambda: log_likelihood(
            model, few, num_samples=size, generator=torch.Generator().manual_seed(0)
        )
    optimizer = training.new_optimizer(config, model)
    mine = images[:size] if quantity == "images" else images

    def epochs() -> None:
        for epoch in range(1, config.epochs + 1):
            training.train_epoch(model, optimizer, mine, config=config, epoch=epoch)

    return epochs


def seconds(works: Sequence[Callable[[], object]], *, repeats: int) -> list[list[float]]:
    """How long each takes, turn about, so that a slow spell of the machine does not hit one alone.

    A first round is not counted: in it the kernels for each shape are chosen and memory is taken.
    """
    rounds = [[_clocked(call) for call in works] for _ in range(1 + repeats)][1:]
    return [list(times) for times in zip(*rounds, strict=True)]


def _clocked(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def growth(quantity: str, size: int) -> float:
    """By how many megabytes (1e6 bytes) this process grows at its peak in `work` at one size.

    It counts weights, gradients, the optimiser's moments and what a step holds; not the imports,
    the images (3,136 bytes each), nor what PyTorch loads with the first step of any network. Only
    a process that has trained nothing yet can tell.
    """
    images = torch.rand(size if quantity == "images" else FEW_IMAGES, 784)
    first = torch.nn.Linear(1, 1)
    first(images[:, :1]).sum().backward()
    torch.optim.Adam(first.parameters(), fused=True).step()
    before = _memory("VmRSS")
    work(quantity, size, images)()
    return float(_memory("VmHWM") - before) / 1e6


def _memory(field: str) -> int:
    """Bytes of this process, now ("VmRSS") or at its peak ("VmHWM"); on macOS always the peak."""
    if sys.platform == "linux":  # where ru_maxrss would hold the peak of the parent process
        lines = Path("/proc/self/status").read_text().splitlines()
        found = int(dict(line.split(":", 1) for line in lines)[field].split()[0]) * 1024
    else:
        import resource

        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def megabytes(points: Sequence[tuple[str, int]], *, repeats: int) -> list[list[float]]:
    """`growth` of each point, a quantity and a size, every time in a process of its own."""
    cores, context = len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        cores, context, initializer=torch.set_num_threads, initargs=(1,), max_tasks_per_child=1
    ) as pool:
        asked = [[pool.submit(growth, *point) for point in points] for _ in range(repeats)]
        return [[one.result() for one in several] for several in zip(*asked, strict=True)]


def train_seed(seed: int) -> tuple[float, float]:
    """A short training: one epoch on random images. It returns the means of bce and kl."""
    x = torch.rand(IMAGES, 784, generator=torch.Generator().manual_seed(seed))
    config = replace(CONFIG, seed=seed)
    model = training.new_model(config)
    optimizer = training.new_optimizer(config, model)
    return training.train_epoch(model, optimizer, x, config=config, epoch=1)


def compare_seeds(number: int, *, repeats: int) -> dict[str, Any]:
    """Some seeds one after the other with all cores, and as many at a time as there are cores.

    In parallel each has a process of its own with one thread. Starting the processes and
    importing PyTorch is not counted: a study does it once.
    """
    cores, context = len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")
    all_there = context.Barrier(cores)
    with (
        ProcessPoolExecutor(cores, context, initializer=_ready, initargs=(all_there,)) as pool,
        threads(cores),
    ):
        list(pool.map(train_seed, range(cores)))  # a process is started when work is there for it
        sequence, parallel = seconds(
            [
                lambda: [train_seed(seed) for seed in range(number)],
                lambda: list(pool.map(train_seed, range(number))),
            ],
            repeats=repeats,
        )
    return {
        "number": number,
        "repeats": repeats,
        "sequence_seconds": statistics.median(sequence),
        "sequence_low": min(sequence),
        "sequence_high": max(sequence),
        "parallel_seconds": statistics.median(parallel),
        "parallel_low": min(parallel),
        "parallel_high": max(parallel),
        "ratio": statistics.median(sequence) / statistics.median(parallel),
    }


def _ready(all_there: Barrier) -> None:
    torch.set_num_threads(1)
    train_seed(0)
    all_there.wait(timeout=300)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The p of value ~ size^p by least squares of the logarithms, and its standard error."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    slope, intercept = statistics.linear_regression(x, y)
    squares = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    return slope, math.sqrt(squares / max(len(x) - 2, 1) / spread)


def summary(values: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Median, lowest and highest value at each size, and the exponents of the medians."""
    series = [
        {
            "size": size,
            "median": statistics.median(several),
            "low": min(several),
            "high": max(several),
            "repeats": len(several),
        }
        for size, several in values.items()
    ]
    sizes, medians = [*values], [point["median"] for point in series]
    half = (len(sizes) - 1) // 2  # the one in the middle belongs to both
    slope, error = exponent(sizes, medians)
    upper, upper_error = exponent(sizes[half:], medians[half:])
    return {
        "series": series,
        "exponent": slope,
        "exponent_error": error,
        "exponent_upper_half": upper,
        "exponent_upper_half_error": upper_error,
    }


def _summaries(
    sizes: Sizes, measure: Callable[[list[tuple[str, int]]], list[list[float]]]
) -> dict[str, Any]:
    points = [(quantity, size) for quantity, several in sizes.items() for size in several]
    values = dict(zip(points, measure(points), strict=True))
    return {
        quantity: summary({size: values[quantity, size] for size in several})
        for quantity, several in sizes.items()
    }


def measure(*, timed: Sizes, weighed: Sizes, seeds: int, repeats: int) -> dict[str, Any]:
    """Everything, with the machine that it was measured on."""
    cores = len(os.sched_getaffinity(0))
    all_images = torch.rand(max(IMAGES, *timed["images"]), 784)

    def clock(points: list[tuple[str, int]]) -> list[list[float]]:
        works = [
            work(quantity, size, all_images if quantity == "images" else all_images[:IMAGES])
            for quantity, size in points
        ]
        return seconds(works, repeats=repeats)

    with threads(cores):
        by_time = _summaries(timed, clock)
    return {
        "threads": cores,
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": by_time,
        "megabytes": _summaries(weighed, lambda points: megabytes(points, repeats=repeats)),
        "seeds": compare_seeds(seeds, repeats=repeats),
    }


def table(found: Mapping[str, Any]) -> str:
    """What `measure` returns, for people."""
    lines = [f"{found['threads']} threads, {found['machine']}, torch {found['versions']['torch']}"]
    for unit, digits in (("seconds", 3), ("megabytes", 1)):
        for quantity, kept in found[unit].items():
            lines += ["", f"{quantity:>12}   {unit:>9}   lowest to highest"]
            lines += [
                f"{point['size']:12,}   {point['median']:9.{digits}f}"
                f"   {point['low']:.{digits}f} to {point['high']:.{digits}f}"
                for point in kept["series"]
            ]
            lines += [
                f"{words:>30}{kept[name]:6.2f} +- {kept[f'{name}_error']:.2f}"
                for words, name in (
                    ("exponent", "exponent"),
                    ("of the upper half", "exponent_upper_half"),
                )
            ]
    seeds = found["seeds"]
    return "\n".join(
        [
            *lines,
            "",
            f"{seeds['number']} seeds one after the other, all cores each: "
            f"{seeds['sequence_seconds']:.2f} s; one a core: {seeds['parallel_seconds']:.2f} s; "
            f"ratio {seeds['ratio']:.2f}",
        ]
    )


def write(found: Mapping[str, Any]) -> None:
    """Keep what `measure` returns; report/places.py finds a number as `seconds.images.exponent`."""
    entries = {name: {"value": value} for name, value in found.items()}
    write_whole(MEASURED, json.dumps({"values": entries}, indent=1) + "\n")


def measured() -> dict[str, Any]:
    """What `write` has kept.

    Raises:
        DamagedFileError: nothing was kept yet, or the file is damaged.
    """
    file = read_json(MEASURED, remedy="measure with python -m vae_helpers.scale --write")
    return {name: entry["value"] for name, entry in file["values"].items()}


def main() -> None:
    """Measure, print a table, and keep the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the figures in report/")
    options = parser.parse_args()
    found = measure(timed=TIMED, weighed=WEIGHED, seeds=SEEDS, repeats=options.repeats)
    print(table(found))
    if options.write:
        write(found)


if __name__ == "__main__":
    main()
