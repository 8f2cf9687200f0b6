"""How fast the course computes: its own loops, those of others, and the floor, interleaved.

The baseline is the loop of the usual VAE examples: same network, same images, same batch size. The
floor is the matrix products of an epoch and nothing else, at the same shapes, by oneDNN and by
`F.linear`, which is what PyTorch takes by itself. JAX and Keras take part where they are installed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_helpers import acceleration, adversarial, gradients, objective, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import baseline, clock, rivals
from vae_helpers.benchmarks.clock import Work
from vae_helpers.benchmarks.floor import products_alone, products_of
from vae_helpers.data import Digits, load_mnist
from vae_helpers.evaluation import log_likelihood
from vae_helpers.store import machine
from vae_helpers.training import TrainConfig

VAE, GAN = TrainConfig(epochs=1, device="cpu"), GANConfig(epochs=1, device="cpu")
LIKELIHOOD_IMAGES, SAMPLES = 100, 1_000

COMPARED = {
    "over_autograd": ("VAE: training", "VAE: autograd"),
    "over_stock": ("VAE: training", "VAE: stock"),
    "over_baseline": ("VAE: training", "VAE: baseline training"),
    "over_floor": ("VAE: training", "VAE: products"),
    "over_onednn": ("VAE: training", "VAE: products by oneDNN"),
    "over_own": ("VAE: training", "VAE: products by F.linear"),
    "over_compiled": ("VAE: training", "VAE: compiled"),
    "over_jax_step": ("VAE: training", "JAX: step"),
    "over_jax_scan": ("VAE: training", "JAX: scan"),
    "over_keras": ("VAE: training", "Keras"),
    "gan_over_stock": ("GAN: training", "GAN: stock"),
    "gan_over_floor": ("GAN: training", "GAN: products"),
    "likelihood_over_floor": ("likelihood", "likelihood: products"),
}
"""By its key, a ratio of two tasks: how many times as long the first takes."""
Seconds = Mapping[str, Sequence[float]]
"""By task, its seconds in each round."""


def tasks(digits: Digits, *, compiled: bool = False) -> dict[str, Work]:
    """Everything that is timed in this process, by its name, on these images.

    Args:
        digits: all of them.
        compiled: also the training by `torch.compile`, which needs a C++ compiler.
    """
    images, few = digits.train_images, digits.test_images[:LIKELIHOOD_IMAGES]
    steps = -(-len(images) // VAE.batch_size)
    vae, usual = training.new_model(VAE), baseline.Baseline()
    train, test = baseline.loaders(VAE.batch_size)
    stock_vae, stock_gan = replace(VAE, acceleration="off"), replace(GAN, acceleration="off")
    vae_step, gan_step = (
        products_of(training_of(config, images[: config.batch_size]))
        for config in (stock_vae, stock_gan)
    )

    def evaluate() -> None:
        with acceleration.applied():
            training.evaluate(vae, digits.test_images, loss=objective.elbo, seed=0)

    def likelihood() -> None:
        log_likelihood(vae, few, num_samples=SAMPLES, rng=torch.Generator().manual_seed(0))

    todo = {
        "VAE: training": training_of(VAE, images),
        "VAE: autograd": training_of(VAE, images, step=training.train_step),
        "VAE: stock": training_of(stock_vae, images),
        "VAE: products": products_alone(vae_step, times=steps),
        "VAE: products by oneDNN": products_alone(vae_step, acceleration.linear, times=steps),
        "VAE: products by F.linear": products_alone(vae_step, F.linear, times=steps),
        "VAE: baseline training": lambda: usual.train(train),
        "VAE: test evaluation": evaluate,
        "VAE: baseline evaluation": lambda: usual.evaluate(test),
        "GAN: training": training_of(GAN, images),
        "GAN: stock": training_of(stock_gan, images),
        "GAN: products": products_alone(gan_step, times=steps),
        "likelihood": likelihood,
        "likelihood: products": products_alone(products_of(likelihood)),
        "loading": load_mnist,
        "loading: baseline": lambda: [None for _ in train],
    }
    return todo | ({"VAE: compiled": compiled_training(images)} if compiled else {})


def training_of(
    config: TrainConfig | GANConfig, images: Tensor, *, step: gradients.Step | None = None
) -> Work:
    """All epochs of a training as `fit` makes them, without evaluation; each call trains further.

    Args:
        config: of the training.
        images: `[N, 784]`, to be trained on.
        step: another step of a VAE than that which `fit` takes.
    """
    if isinstance(config, GANConfig):
        gan = adversarial.new_model(config)
        optimizers = adversarial.new_optimizers(config, gan)
        return _epochs(
            config,
            lambda: adversarial.train_epoch(gan, optimizers, images, config=config, epoch=1),
        )
    vae, loss = training.new_model(config), training.new_loss(config, dataset_size=len(images))
    optimizer = training.new_optimizer(config, vae)
    taken = step or training.new_step(config, vae, images, loss=loss)
    return _epochs(
        config,
        lambda: training.train_epoch(
            vae, optimizer, images, loss=loss, config=config, epoch=1, step=taken
        ),
    )


def _epochs(config: TrainConfig | GANConfig, epoch: Work) -> Work:
    def epochs() -> None:
        with acceleration.applied(config.acceleration):
            for _ in range(config.epochs):
                epoch()

    return epochs


def compiled_training(images: Tensor) -> Work:
    """An epoch with the network and its loss compiled; the first call compiles."""
    vae = training.new_model(VAE)
    optimizer, loss = training.new_optimizer(VAE, vae), torch.compile(objective.elbo)
    network: Any = torch.compile(vae)
    return lambda: training.train_epoch(network, optimizer, images, loss=loss, config=VAE, epoch=1)


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
    """The lines of the table: seconds with their range, then the ratios."""
    yield f"{'':26}{'seconds':>9}   lowest to highest"
    for name, times in seconds.items():
        took = clock.spread(times)
        yield f"{name:26}{took.median:9.4f}   {took.low:7.4f} to {took.high:7.4f}"
    yield ""
    for above, below in COMPARED.values():
        if {above, below} <= seconds.keys():
            yield f"{above} / {below}: {clock.ratio(seconds[above], seconds[below])}"


def figures_of(seconds: Seconds, *, threads: int) -> dict[str, float]:
    """The figures of one table by their keys, such as `vae_training_seconds_2` for two threads."""
    found = {}
    for name, times in seconds.items():
        key = name.replace(":", "").replace(" ", "_").replace(".", "_").lower()
        found[f"{key}_seconds_{threads}"] = clock.spread(times).median
    for name, (above, below) in COMPARED.items():
        if {above, below} <= seconds.keys():
            middle, low, high = clock.ratio(seconds[above], seconds[below])
            found |= {
                f"{name}_{threads}": middle,
                f"{name}_low_{threads}": low,
                f"{name}_high_{threads}": high,
            }
    return found


def report(
    *,
    rounds: int = 5,
    threads: Sequence[int] = (),
    compiled: bool = False,
    write: bool = False,
) -> None:
    """Print a table for each number of threads, which are one and all cores if none is named.

    With `write` the figures go to report/results/measured/bench.json, or to bench_avx2.json if
    the environment narrows the vectors (`--narrow`).
    """
    cores = machine.cores()
    capability = torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{clock.processor()}, {capability}, {cores} cores, {versions}, {rounds} rounds")
    found: dict[str, Any] = {"rounds": rounds}
    for kind in ("VAE", "GAN"):
        found[f"{kind.lower()}_megabytes"] = grown = training_memory(kind)
        print(f"{kind} training, memory above imports and images: {grown:.0f} MB")
    digits = load_mnist()
    for count in threads or sorted({1, cores}):
        with acceleration.threads(count), ExitStack() as stack:
            print(f"\nthreads: {count}; products: {acceleration.products()}")
            others = {
                name: stack.enter_context(rivals.started(name, threads=count))
                for name in rivals.installed()
            }
            seconds = clock.interleaved(tasks(digits, compiled=compiled) | others, rounds=rounds)
        print(*table(seconds), sep="\n", flush=True)
        found |= figures_of(seconds, threads=count)
    if write:
        narrowed = "ATEN_CPU_CAPABILITY" in os.environ
        found |= {"processor": clock.processor(), "capability": capability, "cores": cores}
        clock.write("bench_avx2" if narrowed else "bench", found)
