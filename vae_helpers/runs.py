"""A run on disk: an open-ended sequence of epochs that can be continued, loaded and trusted.

A run's folder is named by a key, a digest of everything that shapes its numbers except how many
epochs there are. Asking for ten epochs and later for thirty is therefore one run, and changing a
line of the loss is another. The folder holds

    run.json             what the key was made from
    checkpoint-0007.pt   weights, optimiser and history after epoch 7; the newest two are kept
    weights-0005.pt      the weights alone, at the epochs that were asked to be kept
    history.json         the epochs' numbers, for people; the checkpoint's copy is the one used
    seconds.json         when and how fast each epoch ran: not reproducible, so kept apart
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
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
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout

from vae_helpers import PROJECT, divergence
from vae_helpers.divergence import DivergedError
from vae_helpers.files import FileNotWrittenError, write_whole
from vae_helpers.progress import Progress

RUNS = PROJECT / "runs"
SNAPSHOT_EPOCHS = (1, 2, 5, 10, 15, 20, 30)
CURVE_EPOCHS = (*range(1, 11), 12, 15, 20, 25, 30)
"""Enough for a curve of sample quality over the epochs."""

History = list[dict[str, float]]
StateDict = dict[str, Any]


class RunBusyError(RuntimeError):
    """Another process is training the same run."""


class State(Protocol):
    """What a fit must offer so that its run can be stopped and continued."""

    def state_dict(self) -> StateDict:
        """Everything that the next epoch depends on, except the data and the configuration."""

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""

    def weights(self) -> StateDict:
        """The model's weights alone."""

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` (the first is 1) and return its numbers."""


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
            _write_json(folder / "run.json", what)
            return _train(state, epochs, keep, folder=folder, progress=progress)


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
        for left in folder.glob("*.tmp"):  # by a process that was killed while it wrote
            left.unlink()
        yield
    finally:
        lock.release()


def _train(
    state: State, epochs: int, keep: set[int], *, folder: Path | None, progress: Progress
) -> Run:
    stored = _last_good_checkpoint(folder)
    history = stored["history"] if stored else []
    run = Run(history[:epochs], _stored_weights(folder, keep, len(history)))
    missing = {epoch for epoch in keep if epoch <= len(history)} - run.weights.keys()
    progress.skip(len(run.history) - max(missing, default=0))
    if missing:  # asked for only now, or damaged: the epochs up to there are repeated
        again = Run()
        for number in range(1, max(missing) + 1):
            _train_epoch(state, number, again, keep, folder=folder, progress=progress)
        if again.history == history[: len(again.history)]:
            run.weights |= again.weights
        else:  # made on another machine: its epochs and ours are not one run
            run, stored = again, None
            if folder is not None:
                _save_checkpoint(folder, state, run.history)
    if stored and len(history) <= epochs:
        state.load_state_dict(stored["state"])
    for number in range(len(run.history) + 1, epochs + 1):
        began = time.perf_counter()
        _train_epoch(state, number, run, keep, folder=folder, progress=progress)
        if folder is not None:
            _save_checkpoint(folder, state, run.history)
            _note_seconds(folder, number, time.perf_counter() - began)
    return run


def _train_epoch(
    state: State, number: int, run: Run, keep: set[int], *, folder: Path | None, progress: Progress
) -> None:
    """Train one epoch and add it to a run; nothing of an epoch that diverged is kept."""
    try:
        numbers = state.epoch(number)
        divergence.check(numbers, state.weights(), epoch=number)
    except DivergedError as error:
        kept = f"; the {number - 1} epochs before are kept in {folder}" if folder else ""
        raise DivergedError(
            f"{error}. The training was stopped{kept}. With the same settings it would go the same "
            "way again: take a smaller learning_rate, and see that all images are in [0, 1]"
        ) from error
    run.history.append(numbers)
    if number in keep:
        run.weights[number] = _copy(state.weights())
        if folder is not None:
            _save(_weights_path(folder, number), run.weights[number])
    progress.step("  ".join(f"{name} {numbers[name]:.1f}" for name in numbers if name != "epoch"))


def _stored_weights(folder: Path | None, keep: set[int], reached: int) -> dict[int, StateDict]:
    """Those of the epochs to keep that are on disk and whole."""
    if folder is None:
        return {}
    found = {epoch: _load(_weights_path(folder, epoch)) for epoch in keep if epoch <= reached}
    return {epoch: weights for epoch, weights in found.items() if weights}


def _last_good_checkpoint(folder: Path | None) -> dict[str, Any] | None:
    """The newest checkpoint that is whole: a damaged file costs its epoch, not the run."""
    paths = sorted(folder.glob("checkpoint-*.pt"), reverse=True) if folder else []
    return next((stored for path in paths if (stored := _load(path))), None)


def _save_checkpoint(folder: Path, state: State, history: History) -> None:
    _save(
        _checkpoint_path(folder, len(history)),
        {"history": history, "state": state.state_dict()},
    )
    keep = {_checkpoint_path(folder, len(history) - back) for back in (0, 1)}
    for other in set(folder.glob("checkpoint-*.pt")) - keep:
        other.unlink()  # older, or newer and damaged: otherwise the run would stand there
    _write_json(folder / "history.json", history)


def _load(path: Path) -> dict[str, Any] | None:
    """What `_save` has written, or None if it is not there or not whole."""
    stored = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(stored[32:]).digest() != stored[:32]:
        return None
    content: dict[str, Any] = torch.load(
        io.BytesIO(stored[32:]), weights_only=True, map_location="cpu"
    )
    return content


def _checkpoint_path(folder: Path, epoch: int) -> Path:
    return folder / f"checkpoint-{epoch:04}.pt"


def _weights_path(folder: Path, epoch: int) -> Path:
    return folder / f"weights-{epoch:04}.pt"


def _copy(weights: StateDict) -> StateDict:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _save(path: Path, content: Any) -> None:
    """The SHA-256 of what `torch.save` gives stands in front: no flipped bit becomes a number."""
    saved = io.BytesIO()
    torch.save(content, saved)
    write_whole(path, hashlib.sha256(saved.getbuffer()).digest() + saved.getbuffer())


def _write_json(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")


def _note_seconds(folder: Path, epoch: int, seconds: float) -> None:
    path = folder / "seconds.json"
    noted = json.loads(path.read_text()) if path.exists() else {"epochs": []}
    noted["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    done = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"epoch": epoch, "seconds": round(seconds, 3), "done": done}
    noted["epochs"] = [other for other in noted["epochs"] if other["epoch"] < epoch] + [entry]
    _write_json(path, noted)


def seconds_per_epoch(what: Mapping[str, Any], run_dir: Path) -> list[float]:
    """Seconds of each epoch that was trained, in order, as measured when it ran."""
    path = Path(run_dir) / what["key"] / "seconds.json"
    return [epoch["seconds"] for epoch in json.loads(path.read_text())["epochs"]]
