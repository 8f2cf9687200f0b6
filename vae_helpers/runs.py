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

import ast
import hashlib
import inspect
import json
import os
import platform
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vae_helpers import PROJECT, checkpoints, divergence
from vae_helpers.checkpoints import History, State, StateDict
from vae_helpers.divergence import DivergedError
from vae_helpers.files import (
    DamagedFileError,
    FileNotWrittenError,
    read_sealed,
    remove_left_over,
    sealed,
    write_whole,
)
from vae_helpers.progress import Progress

RUNS = PROJECT / "runs"
SNAPSHOT_EPOCHS = (1, 2, 5, 10, 15, 20, 30)
CURVE_EPOCHS = (*range(1, 11), 12, 15, 20, 25, 30)
"""Enough for a curve of sample quality over the epochs."""


class RunBusyError(RuntimeError):
    """Another process is training the same run."""


@dataclass
class Run:
    """The epochs that were asked for.

    Attributes:
        history: one dictionary an epoch, in order.
        weights: the model's weights at the snapshot epochs and at the last one.
    """

    history: History = field(default_factory=list)
    weights: dict[int, StateDict] = field(default_factory=dict)


def digest(
    *,
    config: Mapping[str, Any],
    data_checksum: str,
    device: torch.device,
    parts: Iterable[Callable[..., Any]],
) -> dict[str, Any]:
    """What shapes a run's numbers, in words, together with its key.

    Args:
        config: the configuration without its number of epochs.
        data_checksum: of the images that are trained and tested on.
        device: where the run computes.
        parts: the functions and classes that take part; comments and docstrings do not count.

    Returns:
        A dictionary for run.json whose `key` names the folder.
    """
    what = {
        "config": dict(config),
        "data": data_checksum,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "code": {f"{part.__module__}.{part.__qualname__}": code_digest(part) for part in parts},
    }
    text = json.dumps(what, sort_keys=True)
    return {"key": hashlib.sha256(text.encode()).hexdigest()[:16], **what}


def code_digest(part: Callable[..., Any]) -> str:
    """Digest of a function's or class's syntax tree, without comments and docstrings."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def continue_run(
    state: State,
    what: Mapping[str, Any],
    *,
    epochs: int,
    run_dir: Path | None,
    snapshot_epochs: Iterable[int] = SNAPSHOT_EPOCHS,
    title: str | None = "training",
    wait_seconds: float = 4 * 3600,
) -> Run:
    """Bring a run to `epochs` epochs, reusing those that are on disk.

    Args:
        state: fresh, as before the first epoch; trained or loaded only as far as is needed.
        what: from `digest`; its key names the folder inside `run_dir`.
        epochs: how many epochs the run shall have.
        run_dir: folder that holds the runs; nothing is read or written if None.
        snapshot_epochs: epochs whose weights are kept, besides the last.
        title: what the progress line says; no line if None.
        wait_seconds: how long to wait for another process that trains the same run.

    Returns:
        Exactly `epochs` epochs, though the folder may hold more.

    Raises:
        RunBusyError: the other process was not done after `wait_seconds`.
        DivergedError: a number or weight is not finite; the epochs before it are kept.
        FileNotWrittenError: the disk is full or the folder cannot be written to; the epochs whose
            checkpoints were written are kept.
    """
    keep = {epoch for epoch in snapshot_epochs if epoch <= epochs} | {epochs}
    with Progress(title, total=epochs) as progress:
        if run_dir is None:
            return _train(state, epochs, keep, folder=None, progress=progress)
        folder = Path(run_dir) / what["key"]
        with _alone(folder, wait_seconds, progress):
            checkpoints.keep_json(folder / "run.json", what)
            try:
                return _train(state, epochs, keep, folder=folder, progress=progress)
            except KeyboardInterrupt as error:
                error.add_note(
                    f"The epochs that were done are kept in {folder}; the same call goes on there."
                )
                raise


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
            f"{error.strerror}. Nothing was trained; take another folder, or None to keep nothing",
        ) from error
    try:
        remove_left_over(folder)
        yield
    finally:
        lock.release()


def _train(
    state: State, epochs: int, keep: set[int], *, folder: Path | None, progress: Progress
) -> Run:
    stored = checkpoints.last_good_checkpoint(folder, state)
    history = stored["history"] if stored else []
    if folder is not None and stored:
        checkpoints.keep_json(folder / "history.json", history)
    reached = min(epochs, len(history))
    run = Run(history[:reached], checkpoints.stored_weights(folder, keep, reached, state))
    missing = {epoch for epoch in keep if epoch <= reached} - run.weights.keys()
    again = max(missing - {len(history)}, default=0)  # the checkpoint has those of the last
    progress.skip(reached - again)
    if again:  # asked for only now, or damaged: the epochs up to there are repeated
        repeated = Run()
        for number in range(1, again + 1):
            _train_epoch(state, number, repeated, keep, kept_in=folder, progress=progress)
        if repeated.history == history[:again]:
            run.weights |= repeated.weights
        else:  # made on another machine: its epochs and ours are not one run
            run, stored, reached = repeated, None, again
            checkpoints.forget_after(folder, 0)
        for epoch, weights in repeated.weights.items():
            checkpoints.save_weights(folder, epoch, weights)
        if stored is None:
            checkpoints.save_checkpoint(folder, state, run.history)
    if stored and len(history) <= epochs:
        state.load_state_dict(stored["state"])
        if reached in missing:
            run.weights[reached] = checkpoints.copy_of(state.weights())
            checkpoints.save_weights(folder, reached, run.weights[reached])
    for number in range(reached + 1, epochs + 1):
        began = time.perf_counter()
        _train_epoch(state, number, run, keep, kept_in=folder, progress=progress)
        checkpoints.forget_after(folder, number - 1)
        if number in keep:
            checkpoints.save_weights(folder, number, run.weights[number])
        _note_seconds(folder, number, time.perf_counter() - began)
        checkpoints.save_checkpoint(folder, state, run.history)
    return run


def _train_epoch(
    state: State, number: int, run: Run, keep: set[int], *, kept_in: Path | None, progress: Progress
) -> None:
    """Train one epoch and add it to a run; nothing of an epoch that diverged is kept."""
    try:
        numbers = state.epoch(number)
        divergence.check(numbers, state.weights(), epoch=number)
    except DivergedError as error:
        kept = f"; the {number - 1} epochs before are kept in {kept_in}" if kept_in else ""
        raise DivergedError(
            f"{error}. The training was stopped{kept}. With the same settings it would go the same "
            "way again: take a smaller learning_rate, and see that all images are in [0, 1]"
        ) from error
    run.history.append(numbers)
    if number in keep:
        run.weights[number] = checkpoints.copy_of(state.weights())
    progress.step("  ".join(f"{name} {numbers[name]:.1f}" for name in numbers if name != "epoch"))


def _note_seconds(folder: Path | None, epoch: int, seconds: float) -> None:
    if folder is None:
        return
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


def seconds_per_epoch(what: Mapping[str, Any], run_dir: Path) -> list[float]:
    """Seconds of each epoch that was trained, in order, as measured when it ran.

    Raises:
        DamagedFileError: seconds.json is missing or damaged; the message says what to do.
    """
    path = Path(run_dir) / what["key"] / "seconds.json"
    return [epoch["seconds"] for epoch in _noted_epochs(path)]
