"""Kill trainings and studies, damage their files, fill their disk: what is lost, what is wrong?

    python tests/faults.py              50 kills of each kind
    python tests/faults.py --write      the same, and its figures go to report/results/measured/
    python tests/faults.py --kills 5    fewer

Everything happens in temporary folders. A trial makes one fault, gives the same call again until it
is done, and compares its end with that of a run that nothing has disturbed, to the bit. `lost` is
how many epochs (cells, of a study) were trained twice because of one fault, at most. `wrong` is how
many trials ended with other numbers, read a half file, or left a file or a process behind.

The exit status is 0 if nothing was wrong and no fault cost more than it may.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import itertools
import json
import logging
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path

import psutil
import torch
import toy_project
from sudden_end import sudden_end

from vae_helpers import PROJECT, adversarial, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.data import Digits
from vae_helpers.store import runs
from vae_helpers.store.files import DamagedFileError, FileNotWrittenError, write_whole
from vae_helpers.training import TrainConfig

NUMBERS = PROJECT / "report" / "results" / "measured" / "faults.json"
EPOCHS = 8
SNAPSHOTS = (1, 2, 5)
SHAPE = {"epochs": EPOCHS, "batch_size": 100, "hidden_dims": (16,), "latent_dim": 2}
KINDS = {
    "VAE": (TrainConfig(device="cpu", **SHAPE), training.Trainer),
    "GAN": (GANConfig(device="cpu", **SHAPE), adversarial.Trainer),
}
WORKERS = 2
CELLS = ("-g", "seed", "1", "2", "3")
MARK = "VAE_HELPERS_FAULTS"
"""An environment variable that every process of a study inherits: none of them can hide."""


@dataclass
class Count:
    """What a series of trials has shown.

    Attributes:
        fault: what was done to the run.
        unit: what is trained or executed: epochs or cells.
        allowed: how many of them one fault may cost.
        trials: how many faults there were.
        done: epochs that the trials have trained, those in vain included.
        lost: the most that one fault has cost.
        wrong: what was not as it must be, one sentence a finding.
        notes: what else was seen.
    """

    fault: str
    unit: str = "epochs"
    allowed: int = 1
    trials: int = 0
    done: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: str = ""

    def add(self, done, lost):
        self.trials += 1
        self.done += done
        self.lost = max(self.lost, lost)

    def expect(self, fact, words):
        if not fact:
            self.wrong.append(f"trial {self.trials}: {words}")


def complaints(count):
    """What of a series of trials is not as it must be, one sentence a finding."""
    found = [] if count.trials else ["no trial was made"]
    if count.lost > count.allowed:
        found.append(f"lost {count.lost} {count.unit} by one, expected {count.allowed} at most")
    return [f"{count.fault}: {words}" for words in found + count.wrong]


def spread(seed):
    """Numbers in [0, 1) that begin anywhere and fill it evenly, however many are drawn.

    Independent draws would leave gaps as wide as a quarter when there are five of them.
    """
    start = random.Random(seed).random()
    for number in itertools.count():
        yield (start + number * (math.sqrt(5) - 1) / 2) % 1


# --- trainings


@dataclass(frozen=True)
class Fault:
    """What happens to a training: nothing, if all is as it is by default.

    Attributes:
        seconds: after which it is killed.
        point, share, full: as in `sudden_end`.
        largest: no file can grow beyond so many bytes, as on a disk with so much room.
    """

    seconds: float | None = None
    point: int | None = None
    share: float = 0.5
    full: bool = False
    largest: int | None = None


@dataclass(frozen=True)
class Life:
    """How a process that trained has ended, and what it said before.

    Attributes:
        exit: its exit status; -9 if it was killed.
        seconds: how long it lived.
        epochs: those that it has begun to train.
        points: how many points of its writing it has passed, if it came to its end.
        result: a digest of history and weights, if it came to its end.
        said: the message of the error that ended it.
        warned: of damaged files.
    """

    exit: int
    seconds: float
    epochs: tuple[int, ...]
    points: int | None
    result: str | None
    said: str
    warned: tuple[str, ...]


def images():
    """500 images of noise; what is in them plays no part."""
    pixels = torch.rand(600, 784, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(600, dtype=torch.int64)
    return Digits(pixels[:500], labels[:500], pixels[500:], labels[500:])


def folder_of(kind, run_dir):
    """The folder of a kind's run."""
    return run_dir / runs.describe(KINDS[kind][0], images())["key"]


def fit(kind, run_dir):
    """Train, and the digest of what came out: every bit of history and weights counts."""
    result = runs.fit(KINDS[kind][0], images(), run_dir, snapshot_epochs=SNAPSHOTS)
    digest = hashlib.sha256(json.dumps(result.history).encode())
    everything = {**result.weights, "model": result.model.state_dict()}
    for key, weights in sorted(everything.items(), key=lambda item: str(item[0])):
        for name, tensor in weights.items():
            digest.update(f"{key} {name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def watched(kind, say):
    """Say which epochs are begun, and what is warned of."""
    trainer = KINDS[kind][1]
    epoch = trainer.epoch

    @functools.wraps(epoch)  # or it would be another method than that of the file
    def told(self, number):
        say("epoch", number)
        return epoch(self, number)

    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: say("warned", record.getMessage())
    logger = logging.getLogger("vae_helpers.store.checkpoints")
    logger.addHandler(handler)
    trainer.epoch = told
    try:
        yield
    finally:
        trainer.epoch = epoch
        logger.removeHandler(handler)


def _live(kind, run_dir, fault, pipe):
    torch.set_num_threads(1)
    if fault.largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest, resource.RLIM_INFINITY))
    points = sudden_end(fault.point, share=fault.share, full=fault.full)
    with watched(kind, lambda *words: pipe.send(words)):
        try:
            result = fit(kind, run_dir)
        except FileNotWrittenError as error:
            pipe.send(("said", str(error)))
            sys.exit(1)
    pipe.send(("points", points()))
    pipe.send(("result", result))


@functools.cache
def forked():
    """Processes that begin where `warm` has ended: the import of torch is no part of their life."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["warm"])
    before = dict(os.environ)
    paths = [str(Path(__file__).parent), *before.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return processes


def live(kind, run_dir, fault=Fault()):
    """One call of `fit` in a process of its own, which may not come to its end."""
    processes = forked()
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_live, args=(kind, run_dir, fault, theirs))
    process.start()
    began = time.perf_counter()
    theirs.close()
    process.join(fault.seconds)
    process.kill()
    process.join()
    seconds = time.perf_counter() - began
    said = []
    with contextlib.suppress(EOFError), ours:
        while True:
            said.append(ours.recv())
    one = {word: content for word, content in said if word in ("points", "result", "said")}
    many = {
        word: tuple(content for other, content in said if other == word)
        for word in ("epoch", "warned")
    }
    return Life(
        process.exitcode,
        seconds,
        many["epoch"],
        one.get("points"),
        one.get("result"),
        one.get("said", ""),
        many["warned"],
    )


def end_again(count, kind, run_dir, whole, first):
    """Give the call again that a fault has ended, and compare."""
    kept = {path.name for path in folder_of(kind, run_dir).glob("*.pt")}
    second = live(kind, run_dir)
    begun = len(first.epochs) + len(second.epochs)
    count.add(done=begun, lost=begun - EPOCHS)
    count.expect(second.exit == 0, f"the second call ended with {second.exit}: {second.said}")
    count.expect(second.result == whole, "other numbers than those of an undisturbed run")
    count.expect(not second.warned, f"a half file under its own name: {second.warned}")
    reached = [int(name[-7:-3]) for name in kept if name.startswith("checkpoint")]
    expected = tuple(range(max(reached, default=0) + 1, EPOCHS + 1))
    count.expect(second.epochs == expected, f"{second.epochs} trained after {sorted(kept)}")
    left = [path.name for path in run_dir.rglob("*.tmp")]
    count.expect(not left, f"left behind: {left}")


def kill_trainings(kind, kills, *, seed=0):
    """SIGKILL at moments of a training: of its whole life, and of the writing of its files."""
    count, moments = Count(f"SIGKILL, training a {kind}"), spread(seed)
    with tempfile.TemporaryDirectory() as place:
        whole = live(kind, Path(place) / "whole")
        count.expect(whole.exit == 0, f"the undisturbed run ended with {whole.exit}")
        count.expect(whole.epochs == tuple(range(1, EPOCHS + 1)), f"it trained {whole.epochs}")
        writing = 0
        while count.trials < kills and not count.wrong:
            run_dir, moment = Path(place) / "killed", next(moments)
            if count.trials % 2:
                fault = Fault(seconds=moment * whole.seconds)
            else:
                fault = Fault(point=int(moment * whole.points), share=next(moments))
            first = live(kind, run_dir, fault)
            if first.exit == 0:  # done before its moment came: the machine was faster this time
                shutil.rmtree(run_dir)
                continue
            count.expect(first.exit == -signal.SIGKILL, f"ended with {first.exit}: {first.said}")
            writing += any(run_dir.rglob("*.tmp"))
            end_again(count, kind, run_dir, whole.result, first)
            shutil.rmtree(run_dir)
    count.notes = f"{writing} of them in the middle of a file"
    return count


def fill_disk(kind, sizes, points, *, seed=0):
    """A disk that is full: files cannot grow beyond a size, or a chosen write fails.

    Args:
        kind: what is trained.
        sizes: how many sizes, from nothing to just below that of a checkpoint.
        points: how many of the writes; all if None.
        seed: of how much of a file fits.
    """
    count, moments = Count(f"full disk, training a {kind}"), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole = live(kind, Path(place) / "whole")
        newest = max(folder_of(kind, Path(place) / "whole").glob("checkpoint-*.pt"))
        largest = newest.stat().st_size - 1
        faults = [Fault(largest=largest * number // (sizes - 1)) for number in range(sizes)]
        every = (
            range(whole.points)
            if points is None
            else moments.sample(range(whole.points), min(points, whole.points))
        )
        faults += [Fault(point=point, share=moments.random(), full=True) for point in every]
        for number, fault in enumerate(faults):
            run_dir = Path(place) / str(number)
            first = live(kind, run_dir, fault)
            if first.exit == 0 and fault.full:  # at this point nothing is written
                shutil.rmtree(run_dir)
                continue
            remedy = "free some space" if fault.full else "take a folder"
            words = ("expected to write", f"unchanged; {remedy}", "same command again")
            count.expect(
                first.exit == 1 and all(part in first.said for part in words),
                f"ended with {first.exit} and said {first.said!r}",
            )
            count.expect(not any(run_dir.rglob("*.tmp")), "a half file stayed behind")
            end_again(count, kind, run_dir, whole.result, first)
            shutil.rmtree(run_dir)
    return count


# --- damaged files


def damage_files(kind, places, *, seed=0):
    """Cut files of a finished run, and flip bits in them, at places all over each file."""
    count = Count(f"damaged files of a {kind}", allowed=EPOCHS)
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole = fit(kind, Path(place) / "whole")
        original = folder_of(kind, Path(place) / "whole")
        seconds = runs.seconds_per_epoch(KINDS[kind][0], images(), original.parent)
        for path in sorted(original.iterdir()):
            content = path.read_bytes()
            if not content:  # the lock
                continue
            for position in _places(len(content), places, moments):
                for how, damaged in (
                    ("cut", content[:position]),
                    ("flipped", _flipped(content, position, moments.randrange(8))),
                ):
                    run_dir = Path(place) / "damaged"
                    shutil.copytree(original.parent, run_dir)
                    (run_dir / original.name / path.name).write_bytes(damaged)
                    _check_damaged(
                        count, kind, run_dir, path.name, f"{how} at {position}", whole=whole
                    )
                    _check_seconds(count, kind, run_dir, seconds, path.name)
                    shutil.rmtree(run_dir)
    return count


def _places(size, number, moments):
    """The first and the last bytes, where headers and directories are, and others in between."""
    ends = {0, 1, 31, 32, 33, 64, size - 1, size - 22, size - 64, size // 2}
    chosen = {place for place in ends if 0 <= place < size}
    chosen = set(moments.sample(sorted(chosen), min(len(chosen), number)))
    step = max(1, size // number)
    chosen |= {min(size - 1, start + moments.randrange(step)) for start in range(0, size, step)}
    return sorted(chosen)


def _flipped(content, position, bit):
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def _check_damaged(count, kind, run_dir, name, how, *, whole):
    epochs, warned = [], []

    def say(word, content):
        (epochs if word == "epoch" else warned).append(content)

    with watched(kind, say):
        result = fit(kind, run_dir)
    count.add(done=len(epochs), lost=len(epochs))
    where = f"{name} {how}"
    count.expect(result == whole, f"{where}: other numbers than those of an undisturbed run")
    most = {f"checkpoint-{EPOCHS:04}.pt": 1}
    most |= {f"weights-{epoch:04}.pt": epoch for epoch in SNAPSHOTS}
    count.expect(len(epochs) <= most.get(name, 0), f"{where}: trained {epochs} again")
    read = name in most or name == f"weights-{EPOCHS:04}.pt"
    count.expect(bool(warned) == read, f"{where}: warned {warned}")
    count.expect(all(name in words for words in warned), f"{where}: warned {warned}")


def _check_seconds(count, kind, run_dir, seconds, name):
    try:
        found = runs.seconds_per_epoch(KINDS[kind][0], images(), run_dir)
    except DamagedFileError as error:
        count.expect(name == "seconds.json" and name in str(error), f"{name}: {error}")
    else:
        redone = name.startswith("checkpoint")  # the last epoch is measured anew
        count.expect(found[: EPOCHS - redone] == seconds[: EPOCHS - redone], "other seconds")
        count.expect(len(found) == EPOCHS, f"{len(found)} times for {EPOCHS} epochs")


def two_processes(kind, trials):
    """The same call in two processes at once, on one folder."""
    count = Count(f"two processes, training a {kind}", allowed=0)
    processes = forked()
    with tempfile.TemporaryDirectory() as place:
        whole = live(kind, Path(place) / "whole").result
        for number in range(trials):
            run_dir = Path(place) / str(number)
            pipes = [processes.Pipe(duplex=False) for _ in range(2)]
            both = [
                processes.Process(target=_live, args=(kind, run_dir, Fault(), theirs))
                for _, theirs in pipes
            ]
            for process in both:
                process.start()
            said = []
            for process, (ours, theirs) in zip(both, pipes, strict=True):
                theirs.close()
                with contextlib.suppress(EOFError), ours:
                    while True:
                        said.append(ours.recv())
                process.join()
            epochs = [content for word, content in said if word == "epoch"]
            count.add(done=len(epochs), lost=len(epochs) - EPOCHS)
            results = [content for word, content in said if word == "result"]
            count.expect(results == [whole] * 2, "other numbers than those of a run alone")
            count.expect(sorted(epochs) == list(range(1, EPOCHS + 1)), f"trained {epochs}")
    return count


# --- studies


def kill_studies(kills, *, seed=0, chain=5):
    """SIGKILL of everything that a study has started, or of the client only, again and again.

    A study is killed up to `chain` times before it may come to its end.
    """
    count = Count("SIGKILL, a study", unit="cells", allowed=WORKERS)
    moments, longest = spread(seed), 0.0
    with tempfile.TemporaryDirectory() as place:
        project = toy_project.make(Path(place) / "project")
        (project / "sitecustomize.py").write_text(SITE, encoding="utf-8")
        shutil.copy(Path(__file__).with_name("sudden_end.py"), project)
        began = time.perf_counter()
        whole = _study(project, Path(place) / "whole")
        alone = time.perf_counter() - began
        count.expect(whole == 0, f"the undisturbed study ended with {whole}")
        table = (Path(place) / "whole" / "table.csv").read_bytes()
        number = 0
        toy_project.executed(project, forget=True)
        while count.trials < kills and not count.wrong:
            number += 1
            folder, ended = Path(place) / f"study {number}", None
            until = min(count.trials + chain, kills)
            while ended != 0 and not count.wrong:
                before = _cells(folder)
                if count.trials == until:
                    fault = Fault()
                elif count.trials % 2:
                    fault = Fault(seconds=next(moments) * alone)
                else:
                    points = 3 * (CELL_NUMBER - len(before) + 2)  # also of table and provenance
                    fault = Fault(point=int(next(moments) * points), share=next(moments))
                ended = _study(project, folder, fault, everything=next(moments) < 0.5)
                longest = max(longest, _wait_for_orphans(count))
                kept = _cells(folder)
                ran = len(toy_project.executed(project, forget=True))
                count.expect(before <= kept, "a finished cell is gone")
                if ended == -signal.SIGKILL:
                    count.add(done=ran, lost=ran - len(kept - before))
                else:
                    count.done += ran
                    count.expect(ended == 0, f"it ended with {ended}")
                    count.expect(ran == len(kept - before), f"{ran} executed after {len(before)}")
            count.expect(len(_cells(folder)) == CELL_NUMBER, "not all cells are there")
            count.expect((folder / "table.csv").read_bytes() == table, "another table")
            left = [path.name for path in (*folder.rglob("*.tmp"), *project.rglob("*.tmp"))]
            count.expect(not left, f"left behind: {left}")
    count.notes = f"all of its processes gone after at most {longest:.1f} s"
    return count


CELL_NUMBER = len(CELLS) - 2
SITE = f"""
import os

if os.environ.get("{MARK}", "").startswith(f"{{os.getppid()}} "):
    from sudden_end import sudden_end

    _, point, share = os.environ["{MARK}"].split()
    sudden_end(int(point), share=float(share))
"""
"""Every Python of the small project runs this first; only the study's own process heeds it."""


def _study(project, folder, fault=Fault(), *, everything=True):
    """The exit status of a study that may be killed."""
    arguments = ("study", "01", *CELLS, "--output", folder, "--workers", WORKERS)
    point = -1 if fault.point is None else fault.point
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    os.environ[MARK] = f"{os.getpid()} {point} {fault.share}"
    try:
        process = toy_project.start(project, "vae_helpers", *arguments, **quiet)
    finally:
        del os.environ[MARK]
    try:
        return process.wait(fault.seconds or 300)
    except subprocess.TimeoutExpired:
        if everything:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        return process.wait()


def _cells(folder):
    return {path.name for path in (folder / "cells").glob("*.json")}


def _wait_for_orphans(count, patience=20.0):
    """Seconds until nothing is left of a study."""
    began = time.perf_counter()
    while others := [process for process in psutil.process_iter() if _is_ours(process)]:
        if time.perf_counter() - began > patience:
            count.expect(not others, f"still there after {patience:g} s: {others}")
            break
        time.sleep(0.1)
    return time.perf_counter() - began


def _is_ours(process):
    with contextlib.suppress(psutil.Error):
        mark = process.environ().get(MARK, "")
        return mark.startswith(f"{os.getpid()} ") and process.status() != psutil.STATUS_ZOMBIE
    return False


# --- the command


def report(counts):
    """The table that is printed."""
    rows = [("fault", "trials", "trained", "lost by one", "may be", "wrong")]
    rows += [
        (
            count.fault,
            f"{count.trials}",
            f"{count.done} {count.unit}",
            f"{count.lost}",
            f"{count.allowed}",
            f"{len(count.wrong)}",
        )
        for count in counts
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"{count.fault}: {count.notes}" for count in counts if count.notes]
    return "\n".join(
        lines + [f"{count.fault}: {words}" for count in counts for words in count.wrong]
    )


def numbers(counts):
    """What the manual takes from report/results/measured/faults.json, by key."""
    values = {}
    for key, count in counts.items():
        values[f"{key}_trials"] = {"value": count.trials}
        values[f"{key}_{count.unit}"] = {"value": count.done}
        values[f"{key}_lost"] = {"value": count.lost}
    values["wrong"] = {"value": sum(len(count.wrong) for count in counts.values())}
    return {"values": values}


def main():
    """Make every fault and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, metavar="N", help="of each kind, instead of 50")
    parser.add_argument("--write", action="store_true", help="keep the figures in report/")
    options = parser.parse_args()
    kills = options.kills or 50
    torch.set_num_threads(1)
    logging.getLogger("vae_helpers.store.checkpoints").propagate = False
    trials = {
        "vae_kills": lambda: kill_trainings("VAE", kills),
        "gan_kills": lambda: kill_trainings("GAN", kills),
        "study_kills": lambda: kill_studies(kills),
        "full_disk": lambda: fill_disk("VAE", kills, None),
        "damaged": lambda: damage_files("VAE", kills),
        "two_processes": lambda: two_processes("VAE", max(2, kills // 5)),
    }
    counts = {}
    for key, trial in trials.items():
        began = time.perf_counter()
        counts[key] = trial()
        print(f"{counts[key].fault}: {time.perf_counter() - began:.0f} s", flush=True)
    print("\n" + report(counts.values()))
    if options.write:
        write_whole(NUMBERS, json.dumps(numbers(counts), indent=1) + "\n")
        print(f"{NUMBERS}")
    return 1 if any(map(complaints, counts.values())) else 0


if __name__ == "__main__":
    sys.exit(main())
