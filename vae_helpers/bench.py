"""How fast the course computes: its own loops, the textbook's, and the floor, turn about.

    python -m vae_helpers.bench [--rounds 5] [--threads 1 2] [--write]
    python -m vae_helpers.bench --tried
    python -m vae_helpers.bench --studies

The textbook's loop is that of the usual VAE examples (`textbook`): same network, same images, same
batch size. The floor is the matrix products of an epoch and nothing else, at the same
shapes and through the same library (`roofline.products_alone`); beside it the same products through
the library that PyTorch takes by itself. All of it happens in one process, each task once a round,
and a ratio is taken within a round: machines differ and are shared, so the median of the ratios is
the figure to quote.

With --tried: what was tried for a training step and not taken (`tried`). With --studies: a small
study of notebook 04 by one worker that has all cores, and by a worker a core, each with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from vae_helpers import (
    PROJECT,
    adversarial,
    checkpoints,
    evaluation,
    roofline,
    textbook,
    training,
    tried,
)
from vae_helpers.adversarial import GANConfig
from vae_helpers.data import Digits, load_mnist
from vae_helpers.drift import threads
from vae_helpers.files import write_whole
from vae_helpers.training import TrainConfig

MEASURED = PROJECT / "report" / "results" / "measured" / "bench.json"
CONFIG = TrainConfig(device="cpu")
GAN_CONFIG = GANConfig(device="cpu")
SAMPLES = 1_000  # of the likelihood of each image, and images that are sampled at one time
LIKELIHOOD_IMAGES = 100


@dataclass(frozen=True)
class Task:
    """Something that is timed.

    Attributes:
        work: does it once.
        amount: how many of `unit` that is.
        unit: of what is done, such as "images".
        floor: the name of the task that does its matrix products alone, or nothing.
    """

    work: Callable[[], object]
    amount: int
    unit: str = "images"
    floor: str = ""


Seconds = dict[str, list[float]]
"""By task, its seconds in each round."""


def tasks(digits: Digits, scratch: Path) -> dict[str, Task]:
    """Everything that is timed, by its name.

    Args:
        digits: what is trained and tested on.
        scratch: an empty folder, for checkpoints.
    """
    n, tested = len(digits.train_images), len(digits.test_images)
    batches = -(-n // CONFIG.batch_size)
    vae_layers = roofline.vae_layers(rows=CONFIG.batch_size)
    gan_layers = roofline.gan_layers(rows=GAN_CONFIG.batch_size)
    rows = 1_000  # what log_likelihood decodes at one time
    decoded = LIKELIHOOD_IMAGES * SAMPLES
    vae = training.new_model(CONFIG)
    state = training._VAERun(CONFIG, digits, torch.device("cpu"))
    history: checkpoints.History = [{"epoch": 1.0}]
    train, test = textbook.loaders(CONFIG.batch_size)
    usual = textbook.Textbook()
    return {
        "VAE: training": Task(vae_epoch(digits), n, floor="VAE: products"),
        "VAE: products": Task(repeated(roofline.products_alone(vae_layers), batches), n),
        "VAE: products by F.linear": Task(
            repeated(roofline.products_alone(vae_layers, F.linear), batches), n
        ),
        "VAE: textbook training": Task(lambda: usual.train(train), n),
        "VAE: test evaluation": Task(
            lambda: training.evaluate(vae, digits.test_images, seed=0), tested
        ),
        "VAE: textbook evaluation": Task(lambda: usual.evaluate(test), tested),
        "VAE: checkpoint": Task(
            lambda: checkpoints.save_checkpoint(scratch, state, history), 1, "files"
        ),
        "GAN: training": Task(gan_epoch(digits), n, floor="GAN: products"),
        "GAN: products": Task(repeated(roofline.products_alone(gan_layers), batches), n),
        "likelihood": Task(
            lambda: evaluation.log_likelihood(
                vae,
                digits.test_images[:LIKELIHOOD_IMAGES],
                num_samples=SAMPLES,
                generator=torch.Generator().manual_seed(0),
            ),
            decoded,
            "images x samples",
            floor="likelihood: products",
        ),
        "likelihood: products": Task(
            repeated(roofline.products_alone(roofline.decoder_layers(rows=rows)), decoded // rows),
            decoded,
            "images x samples",
        ),
        "sampling": Task(lambda: vae.sample(SAMPLES), SAMPLES, floor="sampling: products"),
        "sampling: products": Task(
            roofline.products_alone(roofline.decoder_layers(rows=SAMPLES)), SAMPLES
        ),
        "loading": Task(load_mnist, n + tested),
        "loading: textbook": Task(lambda: [None for _ in train], n),
    }


def measure(todo: Mapping[str, Task], *, rounds: int) -> Seconds:
    """Do each task once a round, after a round that does not count."""
    seconds: Seconds = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, task in todo.items():
            taken = roofline.seconds_of(task.work)
            if number:
                seconds[name].append(taken)
    return seconds


def ratio(seconds: Seconds, above: str, below: str) -> tuple[float, float, float]:
    """Median, smallest and largest of the ratios of two tasks within each round."""
    ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def table(todo: Mapping[str, Task], seconds: Seconds) -> Iterator[str]:
    """The lines of the table: median and range in seconds, rate, ratio to the floor."""
    yield f"{'':26}{'seconds':>9}{'  lowest to highest':21}{'a second':>26}   times its floor"
    for name, task in todo.items():
        times = seconds[name]
        middle = statistics.median(times)
        line = f"{name:26}{middle:9.4f}   {min(times):7.4f} to {max(times):7.4f}"
        line += f"{task.amount / middle:13,.0f} {task.unit}".ljust(36)
        if task.floor:
            middle, low, high = ratio(seconds, name, task.floor)
            line += f"{middle:.2f} ({low:.2f} to {high:.2f})"
        yield line.rstrip()


def figures_of(todo: Mapping[str, Task], seconds: Seconds, *, threads: int) -> dict[str, float]:
    """The figures of one table by their keys, such as `vae_training_seconds_2` for two threads."""
    found = {}
    for name, task in todo.items():
        key = name.replace(":", "").replace(" ", "_").replace(".", "_").lower()
        found[f"{key}_seconds_{threads}"] = statistics.median(seconds[name])
        if task.floor:
            middle, low, high = ratio(seconds, name, task.floor)
            found |= {
                f"{key}_over_floor_{threads}": middle,
                f"{key}_over_floor_low_{threads}": low,
                f"{key}_over_floor_high_{threads}": high,
            }
    middle, low, high = ratio(seconds, "VAE: textbook training", "VAE: training")
    return found | {
        f"textbook_over_ours_{threads}": middle,
        f"textbook_over_ours_low_{threads}": low,
        f"textbook_over_ours_high_{threads}": high,
        f"ours_over_products_by_f_linear_{threads}": ratio(
            seconds, "VAE: training", "VAE: products by F.linear"
        )[0],
    }


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """A step so many times, as in an epoch."""

    def epoch() -> None:
        for _ in range(times):
            step()

    return epoch


def vae_epoch(digits: Digits) -> Callable[[], object]:
    """One epoch of `vae_helpers.training`, ready to be called again and again."""
    model = training.new_model(CONFIG)
    optimizer = training.new_optimizer(CONFIG, model)
    images = digits.train_images
    return lambda: training.train_epoch(model, optimizer, images, config=CONFIG, epoch=1)


def gan_epoch(digits: Digits) -> Callable[[], object]:
    """One epoch of `vae_helpers.adversarial`, ready to be called again and again."""
    model = adversarial.new_model(GAN_CONFIG)
    optimizers = adversarial.new_optimizers(GAN_CONFIG, model)
    images = digits.train_images
    return lambda: adversarial.train_epoch(model, optimizers, images, config=GAN_CONFIG, epoch=1)


def bench_studies(*, workers: int) -> float:
    """Seconds that a study of four cells of notebook 04 takes with so many local workers.

    It runs in a copy of the project that holds no trained runs, and that is removed afterwards.
    """
    grid = ["-g", "seed", "1", "2", "3", "4", "-p", "epochs", "6", "-p", "train_images", "10000"]
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("vae_helpers", "notebooks", "report", "data"):
            shutil.copytree(PROJECT / name, Path(scratch) / name)
        command = [sys.executable, "-m", "vae_helpers", "study", "04", "--profile", "smoke", *grid]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--workers", str(workers)],
            cwd=scratch,
            env={**os.environ, "PYTHONPATH": scratch},
            check=True,
        )
        return time.perf_counter() - began


def training_memory(kind: str, *, images: int = 12_800) -> float:
    """By how much a process grows when it trains a network for an epoch, at its peak.

    It is measured in a process of its own, from after the imports, the images, and a first step of
    a network of one weight, with which PyTorch loads what any training needs (some 150 MB).

    Args:
        kind: "VAE" or "GAN", with its default configuration.
        images: of the epoch; random ones, their content does not matter.

    Returns:
        Megabytes (1e6 bytes): weights, gradients, the optimiser's moments and what a step holds.
    """
    command = [sys.executable, "-c", _TRAINING_MEMORY, kind, str(images)]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return float(done.stdout)


_TRAINING_MEMORY = """
import sys
import psutil, torch
from vae_helpers import adversarial, training

kind, n = sys.argv[1], int(sys.argv[2])
images = torch.rand(n, 784)
warm = torch.nn.Linear(1, 1)  # with its step PyTorch loads what any training needs
warm(images[:, :1]).sum().backward()
torch.optim.Adam(warm.parameters(), fused=True).step()
before = psutil.Process().memory_info().rss
if kind == "VAE":
    config, method = training.TrainConfig(device="cpu"), training
    new = training.new_optimizer
else:
    config, method = adversarial.GANConfig(device="cpu"), adversarial
    new = adversarial.new_optimizers
model = method.new_model(config)
method.train_epoch(model, new(config, model), images, config=config, epoch=1)
if sys.platform == "linux":  # where ru_maxrss would hold the peak of the parent process
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(lines["VmHWM"].split()[0]) * 1024
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
print((peak - before) / 1e6)
"""


def processor() -> str:
    """The processor's own name for itself, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1] for line in _lines(info) if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def main() -> None:
    """Print the tables, and with --write keep their figures in report/."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}))
    parser.add_argument("--write", action="store_true", help="keep the figures in report/")
    parser.add_argument("--tried", action="store_true", help="what did not help instead")
    parser.add_argument("--studies", action="store_true", help="the time of a study instead")
    options = parser.parse_args()
    if options.studies:
        one, several = bench_studies(workers=1), bench_studies(workers=cores)
        print(f"one worker {one:.0f} s, {cores} workers {several:.0f} s: ratio {one / several:.2f}")
        return
    if options.tried:
        found = tried.measure(rounds=options.rounds)
    else:
        versions = f"torch {torch.__version__}, Python {platform.python_version()}"
        print(f"{processor()}, {cores} cores, {versions}, {options.rounds} rounds")
        found = {"rounds": options.rounds}
        for kind in ("VAE", "GAN"):
            found[f"{kind.lower()}_megabytes"] = training_memory(kind)
            print(f"{kind} training, memory above imports and images: ", end="")
            print(f"{found[f'{kind.lower()}_megabytes']:.0f} MB")
        digits = load_mnist()
        for count in options.threads:
            print(f"\nthreads: {count}")
            with threads(count), tempfile.TemporaryDirectory() as scratch:
                todo = tasks(digits, Path(scratch))
                seconds = measure(todo, rounds=options.rounds)
            for line in table(todo, seconds):
                print(line)
            found |= figures_of(todo, seconds, threads=count)
            middle, low, high = ratio(seconds, "VAE: textbook training", "VAE: training")
            print(f"textbook's training / ours: {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)
    if options.write:
        values: dict[str, dict[str, float | str]]
        values = {key: {"value": value} for key, value in found.items()}
        values |= {"processor": {"value": processor()}, "cores": {"value": cores}}
        path = tried.MEASURED if options.tried else MEASURED
        write_whole(path, json.dumps({"values": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
