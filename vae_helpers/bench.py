"""How long an epoch takes, ours against the textbook's loop, in one process and turn about.

    python -m vae_helpers.bench [--rounds 5] [--threads 2]
    python -m vae_helpers.bench --studies

The textbook's loop is the one of the usual VAE examples: a DataLoader with ToTensor, a sigmoid
before the binary cross-entropy, default Adam, `.item()` after every step. Same network, same
images, same batch size. An epoch is a pass over the training images and an evaluation on the test
images. Machines differ and are shared, so the ratio of the medians is the figure to quote.

With --studies: a small study of notebook 04 by one worker that has all cores, and by a worker a
core, each with one thread.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from vae_helpers import PROJECT
from vae_helpers.data import Digits, load_mnist
from vae_helpers.models import VAE
from vae_helpers.training import TrainConfig, evaluate, new_model, new_optimizer, train_epoch

CONFIG = TrainConfig(device="cpu")


def textbook_loaders() -> tuple[
    DataLoader[tuple[Tensor, Tensor]], DataLoader[tuple[Tensor, Tensor]]
]:
    """Training and test images as the examples load them, from what `load_mnist` has unpacked."""
    from torchvision import datasets, transforms

    root, to_tensor = PROJECT / "data" / ".unpacked", transforms.ToTensor()
    return (
        DataLoader(datasets.MNIST(root, train=True, transform=to_tensor), 128, shuffle=True),
        DataLoader(datasets.MNIST(root, train=False, transform=to_tensor), 128),
    )


def textbook_epoch(
    train: DataLoader[tuple[Tensor, Tensor]], test: DataLoader[tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    """One epoch of the usual example, ready to be called again and again."""
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loss_of(x: Tensor) -> Tensor:
        output = model(x)
        bce = F.binary_cross_entropy(torch.sigmoid(output.logits), x, reduction="sum")
        mu, logvar = output.mu, output.logvar
        return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

    def epoch() -> None:
        total = 0.0
        for x, _ in train:
            optimizer.zero_grad()
            loss = loss_of(x.view(-1, 784))
            loss.backward()
            total += loss.item()
            optimizer.step()
        with torch.no_grad():
            for x, _ in test:
                total += loss_of(x.view(-1, 784)).item()

    return epoch


def our_epoch(digits: Digits) -> Callable[[], None]:
    """One epoch of `vae_helpers.training`, ready to be called again and again."""
    model = new_model(CONFIG)
    optimizer = new_optimizer(CONFIG, model)

    def epoch() -> None:
        train_epoch(model, optimizer, digits.train_images, config=CONFIG, epoch=1)
        evaluate(model, digits.test_images, seed=CONFIG.seed)

    return epoch


def loading_only(train: DataLoader[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    """The textbook's loader with nothing done to its batches."""

    def epoch() -> None:
        for _ in train:
            pass

    return epoch


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


def main() -> None:
    """Run the rounds and print median, minimum and maximum of each, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--studies", action="store_true", help="the time of a study instead")
    options = parser.parse_args()
    if options.studies:
        cores = len(os.sched_getaffinity(0))
        one, several = bench_studies(workers=1), bench_studies(workers=cores)
        print(f"one worker {one:.0f} s, {cores} workers {several:.0f} s: ratio {one / several:.2f}")
        return
    if options.threads:
        torch.set_num_threads(options.threads)

    digits = load_mnist()
    train, test = textbook_loaders()
    candidates = {
        "textbook loop": textbook_epoch(train, test),
        "its loading alone": loading_only(train),
        "ours": our_epoch(digits),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(options.rounds):
        for name, epoch in candidates.items():
            began = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - began)

    print(f"seconds an epoch, {options.rounds} rounds, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"  {name:18} median {middle:5.2f}   {min(times):5.2f} to {max(times):5.2f}")
    ratio = statistics.median(seconds["textbook loop"]) / statistics.median(seconds["ours"])
    print(f"ratio of the medians, textbook / ours: {ratio:.2f}")


if __name__ == "__main__":
    main()
