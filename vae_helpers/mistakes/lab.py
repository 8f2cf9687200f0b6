"""Train with a mistake: in a copy of the package, by another Python process.

No line of a copy is imported here. So a mistake cannot reach what this process computes, and what
it computes with a patient's weights is a second opinion.
"""

from __future__ import annotations

import hashlib
import json
import os
import string
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vae_helpers import PROJECT
from vae_helpers.adversarial import GANConfig
from vae_helpers.data import PIXELS, Digits
from vae_helpers.mistakes.catalogue import Mistake, MistakeError, catalogue, copy_project, plant
from vae_helpers.parameters import suggestion
from vae_helpers.progress import Progress
from vae_helpers.seeds import new_rng
from vae_helpers.store import cache, code_digest
from vae_helpers.store.code_digest import SourceChangedError
from vae_helpers.training import History, StateDict, TrainConfig, checked_epoch

_Idle = SimpleQueue[tuple[subprocess.Popen[bytes], BinaryIO]]

ORDER, DIGITS, REPORT, TENSORS = "order.json", "digits.safetensors", "report.json", "tensors"
CONFIGS = {"training": TrainConfig, "adversarial": GANConfig}
"""The kinds of training, by the modules that do them."""

WORKER = """
import importlib, pathlib, sys, torch
for line in sys.stdin:
    copy = line.rstrip()
    for name in [name for name in sys.modules if name.partition(".")[0] == "vae_helpers"]:
        del sys.modules[name]
    sys.path.insert(0, copy)
    importlib.import_module("vae_helpers.mistakes.lab")._train(pathlib.Path(copy))
    print("done", flush=True)
"""
"""A worker imports torch, which takes seconds, once, and the package anew from every copy."""


class ClinicError(RuntimeError):
    """A patient's process did not come to an end that says anything about the patient."""


@dataclass(frozen=True)
class Patient:
    """What became of one training.

    Attributes:
        history: the numbers of every epoch, as in `training.Fit`; those before the break if the
            training broke off.
        error: what broke it off; empty if nothing did.
        samples: `[n, 784]`, drawn by the patient's own code; no rows if it broke off.
        weights: after the last epoch; none if it broke off.
    """

    history: History
    error: str
    samples: Tensor
    weights: StateDict

    def curve(self, name: str) -> list[float]:
        """One number of the history over the epochs, such as "test_loss"."""
        return [numbers[name] for numbers in self.history]


def letters(names: Iterable[str], alphabet: str = string.ascii_uppercase) -> dict[str, str]:
    """A letter for each name, in an order that tells nothing and never changes."""
    shuffled = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return dict(zip(alphabet, shuffled, strict=False))


def admit(
    patients: Mapping[str, str | None],
    config: TrainConfig | GANConfig,
    data: Digits,
    *,
    samples: int = 10,
    at_once: int = 2,
    title: str | None = None,
) -> dict[str, Patient]:
    """Train every patient with its own copy of the package, on one thread each.

    Args:
        patients: what to call it, and the name of its mistake in the catalogue; None for none.
        config: the training, the same for all.
        data: what all are trained and tested on. It is handed over as tensors, so a mistake in
            reading the files shows nothing here.
        samples: images that each draws at the end, all from the same noise.
        at_once: how many processes share the work.
        title: what the progress line says; no line if None.

    Returns:
        What became of each, in the order of `patients`. A training that raises because of its
        mistake is an outcome as well.

    Raises:
        MistakeError: a mistake is not in the catalogue, or its line is no longer in the package.
        ClinicError: a process ended for another reason; the message shows its last words.
    """
    known = catalogue()
    for name in patients.values():
        if name is not None and name not in known:
            raise MistakeError(f"unknown mistake {name!r}{suggestion(name, known)}")
    module = "adversarial" if isinstance(config, GANConfig) else "training"
    order = {"module": module, "config": asdict(config), "samples": samples}
    mistakes = {who: known[name] if name else None for who, name in patients.items()}
    places = _places(mistakes, order, data)
    done = {who: Patient(**found) for who, path in places.items() if (found := cache.find(path))}
    ill = [who for who in patients if who not in done]
    if not ill:
        with Progress(title, total=len(patients)):  # its line is part of the notebook's output
            return done
    with TemporaryDirectory() as scratch, _workers(min(at_once, len(ill))) as idle:
        folder = Path(scratch)
        tensors = {name: getattr(data, name).clone() for name in data.__dataclass_fields__}
        save_file(tensors, folder / DIGITS)  # clones, for what `hold_out` gives shares its memory
        (folder / ORDER).write_text(json.dumps(order), encoding="utf-8")
        with Progress(title, total=len(patients)) as progress, ThreadPoolExecutor(at_once) as pool:
            progress.skip(len(done))
            waiting = {
                pool.submit(_examine, folder / f"{i}", mistakes[who], idle): who
                for i, who in enumerate(ill)
            }
            try:
                for future in as_completed(waiting):
                    who = waiting[future]
                    done[who] = future.result()
                    cache.keep(places[who], vars(done[who]))
                    progress.step()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for the others
                raise
    return {who: done[who] for who in patients}


def _places(
    patients: Mapping[str, Mistake | None], order: Mapping[str, Any], data: Digits
) -> dict[str, Path | None]:
    """Where each patient is cached: the code of its copy is ours with the one edit."""
    words = [value for value in order["config"].values() if isinstance(value, str)]
    try:
        code = code_digest.of_definition(order["module"], "Trainer", words=words)
    except SourceChangedError as error:
        print(error, file=sys.stderr)
        return dict.fromkeys(patients)
    arguments = {"order": order, "data": data.checksum}
    edits = {who: it and (it.file, it.old, it.new) for who, it in patients.items()}
    return {
        who: cache.path_for("patients", code, arguments | {"edit": edit})
        for who, edit in edits.items()
    }


@contextmanager
def _workers(count: int) -> Iterator[_Idle]:
    """Processes that train in one copy after the other, as they are told; stopped at the end."""
    idle: _Idle = SimpleQueue()
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with ExitStack() as stack:
        for _ in range(count):
            last_words = stack.enter_context(TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=last_words,
                bufsize=0, env=environment,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            idle.put((process, last_words))
        yield idle


def _examine(copy: Path, mistake: Mistake | None, idle: _Idle) -> Patient:
    """Plant a mistake in a new copy of the package, have it trained there, read what it left."""
    copy.mkdir()
    copy_project(copy)
    if mistake is not None:
        plant(mistake, copy)
    process, last_words = idle.get()
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended already, which the next line finds
        process.stdin.write(f"{copy}\n".encode())
    answer = process.stdout.readline()
    idle.put((process, last_words))
    if not answer:
        last_words.seek(0)
        said = last_words.read().decode(errors="replace")[-2_000:]
        raise ClinicError(
            f"{mistake.name if mistake else 'no mistake'}: expected a training or its error, but "
            f"the process ended with status {process.wait()}:\n{said}"
        )
    report = json.loads((copy / REPORT).read_text(encoding="utf-8"))
    tensors = load_file(copy / TENSORS)
    return Patient(report["history"], report["error"], tensors.pop("samples"), tensors)


def _train(copy: Path) -> None:
    """What a worker does for a patient, with the package of the copy."""
    if copy.resolve() != PROJECT:
        raise ClinicError(f"expected the package of {copy}, but that of {PROJECT} was imported")
    torch.set_num_threads(1)
    order = json.loads((copy.parent / ORDER).read_text(encoding="utf-8"))
    config = CONFIGS[order["module"]](**order["config"])
    tensors, error = {"samples": torch.empty(0, PIXELS)}, ""
    history: History = []
    try:
        trainer = config.trainer(Digits(**load_file(copy.parent / DIGITS)))
        for number in range(1, config.epochs + 1):
            history.append(checked_epoch(trainer, number))
        model = trainer.model.eval()
        noise = new_rng(config.seed, "samples")
        tensors = model.state_dict() | {"samples": model.sample(order["samples"], noise)}
    except (ArithmeticError, RuntimeError) as raised:  # diverged, or torch refuses
        error = f"{type(raised).__name__}: {raised}"
    save_file(tensors, copy / TENSORS)
    report = json.dumps({"history": history, "error": error})
    (copy / REPORT).write_text(report, encoding="utf-8")
