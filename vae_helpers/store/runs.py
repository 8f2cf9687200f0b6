"""A run on disk: an open-ended sequence of epochs that can be continued, loaded and trusted.

A run's folder is named by a key, a digest of everything that shapes its numbers except how many
epochs there are. Asking for ten epochs and later for thirty is therefore one run, and changing a
line of the loss is another. The folder holds

    run.json             what the key was made from
    checkpoint-0007.pt   weights, optimiser and history after epoch 7; the newest two are kept
    weights-0005.pt      the weights alone, at the epochs that were asked to be kept
    history.json         the epochs' numbers, for people; the checkpoint's copy is the one used
    seconds.json         when and how fast each epoch ran: not reproducible, so kept apart

A damaged file costs its epoch and not the run: it is told from a whole one by the SHA-256 in front
of it, and made again. What is read from disk is tensors and numbers; no code of a file is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import nn

from vae_helpers import COURSE, acceleration, training
from vae_helpers.data import Digits
from vae_helpers.progress import Progress
from vae_helpers.store import checkpoints, code_digest
from vae_helpers.store.code_digest import SourceChangedError
from vae_helpers.store.files import (
    DamagedFileError,
    FileNotWrittenError,
    read_sealed,
    remove_left_over,
    sealed,
    write_whole,
)
from vae_helpers.training import SNAPSHOT_EPOCHS, DivergedError, EpochTrainer, Fit, copy_of

RUNS = COURSE / "runs"

Model = TypeVar("Model", bound=nn.Module)
Made = TypeVar("Made", bound=nn.Module, covariant=True)


class Config(Protocol[Made]):
    """The settings of a run: of `training`, `adversarial` or `classifier`."""

    @property
    def epochs(self) -> int:
        """How many epochs the run shall have."""

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code."""

    def trainer(self, data: Digits) -> EpochTrainer[Made]:
        """What trains it, before its first epoch."""


class RunBusyError(RuntimeError):
    """Another process is training the same run."""


def fit(
    config: Config[Model],
    data: Digits,
    run_dir: Path = RUNS,
    *,
    snapshot_epochs: Sequence[int] = SNAPSHOT_EPOCHS,
    title: str = "",
    show_progress: bool = True,
    wait_seconds: float = 4 * 3600,
) -> Fit[Model]:
    """What `training.fit` does, kept on disk: epochs that are there are returned, others trained.

    Args:
        config: what to train, a `TrainConfig`, `GANConfig` or `ClassifierConfig`.
        data: what to train and to test on.
        run_dir: folder that holds the runs; the run's own folder in it is named by its key.
        snapshot_epochs: epochs whose weights are kept, besides the last.
        title: what the progress line says; the epochs if empty.
        show_progress: a live line with the time left, in a notebook or a terminal.
        wait_seconds: how long to wait for another process that trains the same run.

    Returns:
        Exactly `config.epochs` epochs, though the folder may hold more.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
        DivergedError: a number or weight is not finite; the epochs before it are kept.
        RunBusyError: the other process was not done after `wait_seconds`.
        FileNotWrittenError: the disk is full or the folder cannot be written to; the epochs whose
            checkpoints were written are kept.
    """
    trainer = config.trainer(data)
    keep = {epoch for epoch in snapshot_epochs if epoch <= config.epochs} | {config.epochs}
    line = (title or f"epochs 1 to {config.epochs}") if show_progress else None
    try:
        what = _taken(config, data, Path(run_dir))
    except SourceChangedError as error:
        print(error, file=sys.stderr)
        return training.train(
            trainer, epochs=config.epochs, snapshot_epochs=snapshot_epochs, title=line
        )
    folder = Path(run_dir) / what["key"]
    with (
        Progress(line, total=config.epochs) as progress,
        _alone(folder, wait_seconds, progress),
        acceleration.threads(what["threads"]),
    ):
        checkpoints.keep_json(folder / "run.json", what)
        try:
            done = _continue(trainer, config.epochs, keep, folder=folder, progress=progress)
        except KeyboardInterrupt as error:
            error.add_note(
                f"The epochs that were done are kept in {folder}; the same call goes on there."
            )
            raise
    done.model.load_state_dict(done.weights[config.epochs])
    done.model.eval()
    return done


def describe(
    config: Config[nn.Module], data: Digits, *, threads: int | None = None
) -> dict[str, Any]:
    """What shapes the run of this configuration on these images, in words, together with its key.

    Args:
        config: what to train.
        data: what to train and to test on.
        threads: that train it; those that torch has now if None.

    Returns:
        A dictionary for run.json whose `key` names the folder.

    Raises:
        SourceChangedError: the code on disk is not the code of this process.
        CodeDigestError: a module is missing, or the configuration is none of the science.
    """
    shape = config.shape()
    kind = type(config)  # it reaches its trainer, and this the epoch
    module = kind.__module__.removeprefix("vae_helpers.")
    words = [value for value in shape["config"].values() if isinstance(value, str)]
    what = {
        **shape,
        "data": data.checksum,
        "torch": torch.__version__,
        "threads": threads or torch.get_num_threads(),
        "code": code_digest.of_definition(module, kind.__qualname__, words=words),
    }
    text = json.dumps(what, sort_keys=True)
    return {"key": hashlib.sha256(text.encode()).hexdigest()[:16], **what}


def _taken(config: Config[nn.Module], data: Digits, run_dir: Path) -> dict[str, Any]:
    """The description of the run that `fit` takes.

    With one thread the numbers depend on no machine's number of cores, and several runs side by
    side are trained sooner. This is how the course trains what it publishes. A whole run of one
    thread is therefore taken by a process with any number; if there is none, all threads train.
    """
    published = describe(config, data, threads=1)
    done = checkpoints.numbered(run_dir / published["key"], "checkpoint")
    if max(done, default=0) >= config.epochs or torch.get_num_threads() == 1:
        return published
    return describe(config, data)


@contextmanager
def _alone(folder: Path, wait_seconds: float, progress: Progress) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made if it is missing."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note("waiting for another process that trains the same run")
            lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise RunBusyError(
            f"{folder}: expected a free run, but another process has been training it for "
            f"{wait_seconds:g} s; wait for it to end, or stop it"
        ) from error
    except OSError as error:
        raise FileNotWrittenError(
            error.errno,
            f"run_dir: expected a folder that can be written to, got {folder.parent}: "
            f"{error.strerror}. Nothing was trained; take another folder, or `training.fit`, which "
            "keeps nothing",
        ) from error
    try:
        remove_left_over(folder)
        yield
    finally:
        lock.release()


def _continue(
    trainer: EpochTrainer[Model],
    epochs: int,
    keep: set[int],
    *,
    folder: Path,
    progress: Progress,
) -> Fit[Model]:
    """Bring a run to `epochs` epochs, reusing those that are on disk."""
    stored = checkpoints.last_good_checkpoint(folder, trainer)
    history = stored["history"] if stored else []
    if stored:
        checkpoints.keep_json(folder / "history.json", history)
    reached = min(epochs, len(history))
    weights = checkpoints.stored_weights(folder, keep, reached, trainer.model)
    run = Fit(trainer.model, history[:reached], weights)
    missing = {epoch for epoch in keep if epoch <= reached} - weights.keys()
    again = max(missing - {len(history)}, default=0)  # the checkpoint has those of the last
    progress.skip(reached - again)
    if again:  # asked for only now, or damaged: the epochs up to there are repeated
        repeated: Fit[Model] = Fit(trainer.model, [], {})
        for number in range(1, again + 1):
            _train_epoch(trainer, number, repeated, keep, folder=folder, progress=progress)
        if repeated.history == history[:again]:
            weights |= repeated.weights
        else:  # made on another machine: its epochs and ours are not one run
            run, stored, reached = repeated, None, again
            checkpoints.forget_after(folder, 0)
        for epoch, those in repeated.weights.items():
            checkpoints.save_weights(folder, epoch, those)
        if stored is None:
            checkpoints.save_checkpoint(folder, trainer, run.history)
    if stored and len(history) <= epochs:
        trainer.load_state_dict(stored["state"])
        if reached in missing:
            weights[reached] = copy_of(trainer.model)
            checkpoints.save_weights(folder, reached, weights[reached])
    for number in range(reached + 1, epochs + 1):
        began = time.perf_counter()
        _train_epoch(trainer, number, run, keep, folder=folder, progress=progress)
        checkpoints.forget_after(folder, number - 1)
        if number in keep:
            checkpoints.save_weights(folder, number, run.weights[number])
        _note_seconds(folder, number, time.perf_counter() - began)
        checkpoints.save_checkpoint(folder, trainer, run.history)
    return run


def _train_epoch(
    trainer: EpochTrainer[Model],
    number: int,
    run: Fit[Model],
    keep: set[int],
    *,
    folder: Path,
    progress: Progress,
) -> None:
    """Train one epoch and add it to a run; nothing of an epoch that diverged is kept."""
    try:
        numbers = training.checked_epoch(trainer, number)
    except DivergedError as error:
        raise DivergedError(
            f"{error}; the {number - 1} epochs before are kept in {folder}"
        ) from error
    run.history.append(numbers)
    if number in keep:
        run.weights[number] = copy_of(trainer.model)
    progress.step(training.summary(numbers))


def _note_seconds(folder: Path, epoch: int, seconds: float) -> None:
    path = folder / "seconds.json"
    try:
        earlier = _noted_epochs(path) if path.exists() else []
    except DamagedFileError:
        checkpoints.warn_damaged(
            path, "the times of the earlier epochs are lost, their numbers are not"
        )
        earlier = []
    done = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"epoch": epoch, "seconds": round(seconds, 3), "done": done}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    epochs = [other for other in earlier if other["epoch"] < epoch] + [entry]
    write_whole(path, sealed({"epochs": epochs, "machine": machine}))


def _noted_epochs(path: Path) -> list[dict[str, Any]]:
    remedy = f"the run is as good as before, its times are lost: remove {path.parent} to take them"
    return list(read_sealed(path, remedy=f"{remedy} anew")["epochs"])


def seconds_per_epoch(config: Config[nn.Module], data: Digits, run_dir: Path = RUNS) -> list[float]:
    """Seconds of each epoch that was trained, in order, as measured when it ran.

    Raises:
        DamagedFileError: seconds.json is missing or damaged; the message says what to do.
    """
    path = Path(run_dir) / _taken(config, data, Path(run_dir))["key"] / "seconds.json"
    return [epoch["seconds"] for epoch in _noted_epochs(path)]
