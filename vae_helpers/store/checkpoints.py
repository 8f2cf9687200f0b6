"""The files of a run: checkpoints and weights that are loaded whole and in their place, or not.

A file is told from a damaged one, and from that of another run or epoch, by the SHA-256 in front of
it. What is read from disk is tensors and numbers; no code of a file is executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from vae_helpers.store.files import write_whole
from vae_helpers.training import EpochTrainer, History, StateDict

_log = logging.getLogger(__name__)  # on stderr, if nobody has asked for something else


def stored_weights(
    folder: Path, keep: set[int], reached: int, model: nn.Module
) -> dict[int, StateDict]:
    """Those of the epochs to keep that are on disk and whole."""
    found = {}
    for epoch in sorted(epoch for epoch in keep if epoch <= reached):
        path = _weights_path(folder, epoch)
        weights, ours = load(path), model.state_dict()
        if _fits(weights, ours) and _fits(ours, weights):
            found[epoch] = weights
        elif path.exists():
            warn_damaged(path, f"the weights of epoch {epoch} are made again")
    return found


def last_good_checkpoint(folder: Path, trainer: EpochTrainer[nn.Module]) -> dict[str, Any] | None:
    """The newest checkpoint that is whole: a damaged file costs its epoch, not the run."""
    paths = numbered(folder, "checkpoint")
    for epoch in sorted(paths, reverse=True):
        stored = load(paths[epoch])
        if _is_checkpoint(stored, epoch, trainer):
            return cast(dict[str, Any], stored)
        warn_damaged(paths[epoch], "the one before it is taken, and what is missing is trained")
    return None


def _is_checkpoint(stored: Any, epoch: int, trainer: EpochTrainer[nn.Module]) -> bool:
    if not isinstance(stored, dict) or stored.keys() != {"history", "state"}:
        return False
    history = stored["history"]
    if not isinstance(history, list) or not all(isinstance(numbers, dict) for numbers in history):
        return False
    epochs = [numbers.get("epoch") for numbers in history]
    return epochs == list(range(1, epoch + 1)) and _fits(stored["state"], trainer.state_dict())


def _fits(stored: Any, fresh: Any) -> bool:
    """Whether what is stored has every part of a fresh state, in its shape.

    It may have more: an optimiser that has made no step yet remembers nothing.
    """
    if isinstance(fresh, torch.Tensor):
        same = isinstance(stored, torch.Tensor) and stored.dtype == fresh.dtype
        return same and stored.shape == fresh.shape
    if isinstance(fresh, dict):
        return isinstance(stored, dict) and all(
            name in stored and _fits(stored[name], part) for name, part in fresh.items()
        )
    if isinstance(fresh, (list, tuple)):
        return (
            isinstance(stored, (list, tuple))
            and len(stored) == len(fresh)
            and all(map(_fits, stored, fresh))
        )
    return True


def warn_damaged(path: Path, what_follows: str) -> None:
    _log.warning("run %s: %s is damaged; %s", path.parent.name, path.name, what_follows)


def save_checkpoint(folder: Path, trainer: EpochTrainer[nn.Module], history: History) -> None:
    path = _checkpoint_path(folder, len(history))
    save(path, {"history": history, "state": trainer.state_dict()})
    for epoch, other in numbered(folder, "checkpoint").items():
        if epoch < len(history) - 1:
            other.unlink()
    keep_json(folder / "history.json", history)


def save_weights(folder: Path, epoch: int, weights: StateDict) -> None:
    save(_weights_path(folder, epoch), weights)


def forget_after(folder: Path, epoch: int) -> None:
    """Remove checkpoints and weights of later epochs: those of a run that could not be continued.

    Here its epochs may have other numbers, as on another machine, and must not be taken for ours.
    """
    for kind in ("checkpoint", "weights"):
        for later, path in numbered(folder, kind).items():
            if later > epoch:
                path.unlink()


def load(path: Path) -> Any:
    """What `save` has written to this very place, or None if it is not there or not whole."""
    try:
        stored = path.read_bytes()
    except OSError:  # not there, or on a disk that cannot give it back
        return None
    if seal_of(path, stored[32:]) != stored[:32]:
        return None
    try:
        return torch.load(io.BytesIO(stored[32:]), weights_only=True, map_location="cpu")
    except Exception:  # what torch raises on a foreign file has no common class
        return None


def _checkpoint_path(folder: Path, epoch: int) -> Path:
    return folder / f"checkpoint-{epoch:04}.pt"


def _weights_path(folder: Path, epoch: int) -> Path:
    return folder / f"weights-{epoch:04}.pt"


def numbered(folder: Path, kind: str) -> dict[int, Path]:
    """The files of a kind by their epochs; what else somebody has put there is left alone."""
    paths = folder.glob(f"{kind}-*.pt")
    numbers = {path: path.stem.removeprefix(f"{kind}-") for path in paths}
    return {int(number): path for path, number in numbers.items() if number.isdecimal()}


def save(path: Path, content: Any) -> None:
    saved = io.BytesIO()
    torch.save(content, saved)
    write_whole(path, seal_of(path, saved.getbuffer()) + saved.getbuffer())


def seal_of(path: Path, saved: bytes | memoryview) -> bytes:
    """The SHA-256 that stands in front of what `torch.save` gives.

    Run and name of the file enter, so that neither a flipped bit nor another run's or epoch's file
    becomes a number of this one.
    """
    seal = hashlib.sha256(f"{path.parent.name}/{path.name}\n".encode())
    seal.update(saved)
    return seal.digest()


def keep_json(path: Path, content: Any) -> None:
    """Write it if it is not what stands there: a finished run can be read from a full disk."""
    text = json.dumps(content, indent=1) + "\n"
    if not path.exists() or path.read_bytes() != text.encode():
        write_whole(path, text)
