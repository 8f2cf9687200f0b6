"""How fast the course computes: its own loops, the baseline's, and the floor, interleaved.

The baseline is the loop of the usual VAE examples: same network, same images, same batch size. The
floor is the matrix products of an epoch and nothing else, at the same shapes and by the library
that `fit` takes; beside it the same products by `F.linear`, which is what PyTorch takes by itself.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers import PROJECT, acceleration, adversarial, objective, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import baseline, clock
from vae_helpers.benchmarks.clock import Work
from vae_helpers.benchmarks.floor import products_alone, products_of
from vae_helpers.data import Digits, load_mnist
from vae_helpers.evaluation import log_likelihood
from vae_helpers.training import TrainConfig

VAE, GAN = TrainConfig(epochs=1, device="cpu"), GANConfig(epochs=1, device="cpu")
LIKELIHOOD_IMAGES, SAMPLES = 100, 1_000

FLOORS = {
    "VAE: training": "VAE: products",
    "GAN: training": "GAN: products",
    "likelihood": "likelihood: products",
}
"""By task, the one that does its matrix products alone."""
Seconds = Mapping[str, Sequence[float]]
"""By task, its seconds in each round."""


def tasks(digits: Digits) -> dict[str, Work]:
    """Everything that is timed, by its name, on these images."""
    images, few = digits.train_images, digits.test_images[:LIKELIHOOD_IMAGES]
    steps = -(-len(images) // VAE.batch_size)
    vae, usual = training.new_model(VAE), baseline.Baseline()
    train, test = baseline.loaders(VAE.batch_size)
    vae_step, gan_step = (
        products_of(epoch_of(config, images[: config.batch_size])) for config in (VAE, GAN)
    )

    def evaluate() -> None:
        with acceleration.applied():
            training.evaluate(vae, digits.test_images, loss=objective.elbo, seed=0)

    def likelihood() -> None:
        log_likelihood(vae, few, num_samples=SAMPLES, rng=torch.Generator().manual_seed(0))

    return {
        "VAE: training": training_of(VAE, images),
        "VAE: products": products_alone(vae_step, times=steps),
        "VAE: products by F.linear": products_alone(vae_step, F.linear, times=steps),
        "VAE: baseline training": lambda: usual.train(train),
        "VAE: test evaluation": evaluate,
        "VAE: baseline evaluation": lambda: usual.evaluate(test),
        "GAN: training": training_of(GAN, images),
        "GAN: products": products_alone(gan_step, times=steps),
        "likelihood": likelihood,
        "likelihood: products": products_alone(products_of(likelihood)),
        "loading": load_mnist,
        "loading: baseline": lambda: [None for _ in train],
    }


def epoch_of(config: TrainConfig | GANConfig, images: Tensor) -> Work:
    """An epoch of training by PyTorch as it is; each call trains the same network further.

    Args:
        config: of the training.
        images: `[N, 784]`, to be trained on.
    """
    if isinstance(config, GANConfig):
        gan = adversarial.new_model(config)
        optimizers = adversarial.new_optimizers(config, gan)
        return lambda: adversarial.train_epoch(gan, optimizers, images, config=config, epoch=1)
    vae, loss = training.new_model(config), training.new_loss(config, dataset_size=len(images))
    optimizer = training.new_optimizer(config, vae)
    return lambda: training.train_epoch(vae, optimizer, images, loss=loss, config=config, epoch=1)


def training_of(config: TrainConfig | GANConfig, images: Tensor) -> Work:
    """All epochs of a training as `fit` makes them, without evaluation; see `epoch_of`."""
    epoch = epoch_of(config, images)

    def epochs() -> None:
        with acceleration.applied():
            for _ in range(config.epochs):
                epoch()

    return epochs


def training_memory(kind: str, *, images: int = 12_800) -> float:
    """By how much a process grows at its peak when it trains a network for an epoch.

    Args:
        kind: "VAE" or "GAN", with its default configuration.
        images: of the epoch; random ones, their content does not matter.

    Returns:
        Megabytes (1e6 bytes): weights, gradients, the optimiser's moments and what a step holds.
    """
    [[grown]] = clock.growth([(images, partial(_train, GAN if kind == "GAN" else VAE))])
    return grown


def _train(config: TrainConfig | GANConfig, images: Tensor) -> None:
    training_of(config, images)()


def table(seconds: Seconds) -> Iterator[str]:
    """The lines of the table: median and range in seconds, and the ratio to the floor."""
    yield f"{'':26}{'seconds':>9}   lowest to highest    times its floor"
    for name, times in seconds.items():
        took = clock.spread(times)
        line = f"{name:26}{took.median:9.4f}   {took.low:7.4f} to {took.high:7.4f}   "
        floor = FLOORS.get(name)
        yield (line + (str(clock.ratio(times, seconds[floor])) if floor else "")).rstrip()


def figures_of(seconds: Seconds, *, threads: int) -> dict[str, float]:
    """The figures of one table by their keys, such as `vae_training_seconds_2` for two threads."""
    key = {
        name: name.replace(":", "").replace(" ", "_").replace(".", "_").lower() for name in seconds
    }
    found = {
        f"{key[name]}_seconds_{threads}": clock.spread(times).median
        for name, times in seconds.items()
    }
    compared = {f"{key[name]}_over_floor": (name, floor) for name, floor in FLOORS.items()}
    compared["baseline_over_ours"] = "VAE: baseline training", "VAE: training"
    for name, (above, below) in compared.items():
        middle, low, high = clock.ratio(seconds[above], seconds[below])
        found |= {
            f"{name}_{threads}": middle,
            f"{name}_low_{threads}": low,
            f"{name}_high_{threads}": high,
        }
    return found


def report(*, rounds: int = 5, threads: Sequence[int] = (), write: bool = False) -> None:
    """Print a table for each number of threads, which are one and all cores if none is named.

    With `write` the figures go to report/results/measured/bench.json.
    """
    cores = clock.cores()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{clock.processor()}, {cores} cores, {versions}, {rounds} rounds")
    found: dict[str, Any] = {"rounds": rounds}
    for kind in ("VAE", "GAN"):
        found[f"{kind.lower()}_megabytes"] = grown = training_memory(kind)
        print(f"{kind} training, memory above imports and images: {grown:.0f} MB")
    digits = load_mnist()
    for count in threads or sorted({1, cores}):
        with clock.threads(count):
            print(f"\nthreads: {count}; products: {acceleration.products()}")
            seconds = clock.interleaved(tasks(digits), rounds=rounds)
        print(*table(seconds), sep="\n")
        found |= figures_of(seconds, threads=count)
        ratio = clock.ratio(seconds["VAE: baseline training"], seconds["VAE: training"])
        print(f"the baseline's training / ours: {ratio}", flush=True)
    if write:
        clock.write("bench", {**found, "processor": clock.processor(), "cores": cores})


def report_studies() -> None:
    """Time a small study of notebook 04, by one worker with all cores and by one per core."""
    one, several = study_seconds(workers=1), study_seconds(workers=clock.cores())
    print(f"one worker {one:.0f} s, one per core {several:.0f} s: ratio {one / several:.2f}")


def study_seconds(*, workers: int) -> float:
    """Seconds that a study of four cells of notebook 04 takes with so many local workers.

    It runs in a copy of the project that holds no trained runs, and that is removed afterwards.
    """
    command = [sys.executable, "-m", "vae_helpers", "study", "04", "--profile", "smoke"]
    command += [
        "-g",
        "seed",
        "1",
        "2",
        "3",
        "4",
        "-p",
        "epochs",
        "6",
        "-p",
        "train_images",
        "10000",
    ]
    command += ["--workers", str(workers)]
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("vae_helpers", "notebooks", "report", "data"):
            shutil.copytree(PROJECT / name, Path(scratch) / name)
        environment = {**os.environ, "PYTHONPATH": scratch}
        return clock.seconds_of(
            partial(subprocess.run, command, cwd=scratch, env=environment, check=True)
        )
