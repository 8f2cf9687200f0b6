"""Runs that are continued, damaged, killed and locked end with the numbers of one that was not."""

import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from types import SimpleNamespace

import pytest
import torch
from filelock import Timeout
from torch import nn
from toy_digits import few_digits

from vae_helpers import PROJECT, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.classifier import ClassifierConfig
from vae_helpers.store import checkpoints, code_digest, runs
from vae_helpers.store.code_digest import CodeDigestError
from vae_helpers.store.runs import RunBusyError, describe, fit, seconds_per_epoch
from vae_helpers.training import TrainConfig

WHAT = {"key": "0123456789abcdef", "threads": 1, "why": "a run of the tests"}
CONFIG = TrainConfig(epochs=4, batch_size=8, hidden_dims=(8,), latent_dim=2, device="cpu")


class Pendulum:
    """The smallest run: one weight, and a momentum that a continued run must not forget."""

    def __init__(self):
        self.model = nn.Module()
        self.model.register_buffer("weight", torch.zeros(1, dtype=torch.float64))
        self.momentum = torch.ones(1, dtype=torch.float64)
        self.trained = []  # the epochs that were really trained

    def state_dict(self):
        return {"model": self.model.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.momentum = state["momentum"]

    def epoch(self, number):
        self.trained.append(number)
        self.momentum = 0.9 * self.momentum - 0.1 * self.model.weight + 0.01 * number
        self.model.weight = self.model.weight + self.momentum
        return {"epoch": number, "loss": self.model.weight.item()}


class Elsewhere(Pendulum):
    """The same on a machine where sums come out in another order."""

    def epoch(self, number):
        self.model.weight = self.model.weight + 1e-9
        return super().epoch(number)


@dataclass(frozen=True)
class Swing:
    """A configuration whose run is always the same."""

    epochs: int
    pendulum: Pendulum

    def trainer(self, data):
        return self.pendulum


@pytest.fixture(autouse=True)
def _swings_have_a_key(monkeypatch):
    def described(config, data, **given):
        return WHAT if data is None else describe(config, data, **given)

    monkeypatch.setattr(runs, "describe", described)


def swing(epochs, run_dir=None, *, pendulum=None, **options):
    """A pendulum's run, in memory or on disk, and the epochs that had to be trained for it."""
    pendulum = pendulum or Pendulum()
    if run_dir is None:
        options = {"snapshot_epochs": training.SNAPSHOT_EPOCHS, **options}
        return training.train(pendulum, epochs=epochs, **options), pendulum.trained
    return fit(Swing(epochs, pendulum), None, run_dir, **options), pendulum.trained


@pytest.fixture
def folder(tmp_path):
    return tmp_path / WHAT["key"]


@pytest.fixture
def trained(monkeypatch):
    """The numbers of the epochs that fits have trained."""
    numbers = []
    train_epoch = training.train_epoch

    @wraps(train_epoch)  # or it would be another function than that of the file
    def counted(*args, epoch, **kwargs):
        numbers.append(epoch)
        return train_epoch(*args, epoch=epoch, **kwargs)

    monkeypatch.setattr(training, "train_epoch", counted)
    return numbers


# Continuing


def test_a_fit_in_memory_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    training.fit(CONFIG, few_digits())
    assert list(tmp_path.iterdir()) == []


def test_runs_lie_in_the_project_s_folder_unless_another_is_given():
    assert fit.__defaults__ == (PROJECT / "runs",) == (runs.RUNS,)


def test_two_epochs_and_then_four_are_four_at_once(tmp_path, trained):
    data = few_digits()
    whole = fit(CONFIG, data, tmp_path / "whole")
    trained.clear()
    fit(replace(CONFIG, epochs=2), data, tmp_path / "parts")
    parts = fit(CONFIG, data, tmp_path / "parts")
    assert trained == [1, 2, 3, 4]
    assert parts.history == whole.history == training.fit(CONFIG, data).history
    for epoch in (1, 2, 4):
        ours, theirs = (dict(result.at(epoch).state_dict()) for result in (parts, whole))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_finished_run_is_not_trained_again(tmp_path, trained):
    data = few_digits()
    first = fit(CONFIG, data, tmp_path)
    trained.clear()
    again = fit(CONFIG, data, tmp_path)
    assert trained == []
    assert again.history == first.history
    ours, theirs = (dict(result.model.state_dict()) for result in (again, first))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("kept", [(1, 2, 3), (1,)], ids=["kept", "not kept"])
def test_fewer_epochs_are_exactly_those_with_the_weights_they_had(tmp_path, kept):
    swing(4, tmp_path, snapshot_epochs=kept)
    fewer, _ = swing(2, tmp_path, snapshot_epochs=kept)
    alone, _ = swing(2)
    assert fewer.history == alone.history
    assert fewer.weights[2] == alone.weights[2]
    assert sorted(fewer.weights) == [1, 2]


def test_fewer_epochs_leave_the_longer_run_as_it_is(tmp_path):
    longer, _ = swing(4, tmp_path, snapshot_epochs=(1,))
    swing(2, tmp_path, snapshot_epochs=(1,))
    again, trained = swing(4, tmp_path, snapshot_epochs=(1,))
    assert trained == []
    assert again.history == longer.history


def test_weights_asked_for_later_are_those_of_the_same_run(tmp_path):
    swing(4, tmp_path, snapshot_epochs=())
    later, _ = swing(5, tmp_path, snapshot_epochs=(2,))
    whole, _ = swing(5, snapshot_epochs=(2,))
    assert later.history == whole.history
    assert later.weights == whole.weights


def test_epochs_of_another_machine_are_not_mixed_with_those_that_are_repeated(tmp_path):
    swing(4, tmp_path, pendulum=Elsewhere(), snapshot_epochs=())
    repeated, _ = swing(2, tmp_path, snapshot_epochs=(2,))
    assert repeated.history == swing(2)[0].history
    longer, trained = swing(4, tmp_path, snapshot_epochs=(2,))
    assert trained == [3, 4]
    assert longer.history == swing(4)[0].history


@pytest.mark.parametrize(("stored", "fresh"), [(2, 1), (1, 2)])
def test_a_checkpoint_with_other_parts_than_ours_is_not_loaded(tmp_path, stored, fresh):
    class Grouped(Pendulum):
        def __init__(self, groups):
            super().__init__()
            self.groups = [torch.zeros(1)] * groups  # as an optimiser's groups of parameters

        def state_dict(self):
            return super().state_dict() | {"groups": self.groups}

    swing(2, tmp_path, pendulum=Grouped(stored))
    state = Grouped(fresh)
    swing(2, tmp_path, pendulum=state)
    assert state.trained == [1, 2]


@pytest.mark.parametrize(
    "changed",
    [
        lambda state: state | {"momentum": state["momentum"].float()},
        lambda state: state | {"momentum": torch.ones(2, dtype=torch.float64)},
        lambda state: {"model": state["model"]},
    ],
    ids=["another type", "another shape", "missing"],
)
def test_a_checkpoint_whose_parts_do_not_fit_is_not_loaded(tmp_path, changed):
    class Changed(Pendulum):
        def state_dict(self):
            return changed(super().state_dict())

    swing(2, tmp_path, pendulum=Changed())
    _, trained = swing(2, tmp_path)
    assert trained == [1, 2]


def test_weights_are_copies_that_later_epochs_do_not_change(tmp_path):
    run, _ = swing(4, tmp_path, snapshot_epochs=(1,))
    assert run.weights[1]["weight"].item() == run.history[0]["loss"]
    assert run.weights[4]["weight"].item() == run.history[3]["loss"]


# What is on disk


def test_folder_holds_the_newest_two_checkpoints_and_the_kept_weights(tmp_path, folder):
    swing(4, tmp_path, snapshot_epochs=(1, 2))
    assert sorted(path.name for path in folder.glob("*.pt")) == [
        "checkpoint-0003.pt",
        "checkpoint-0004.pt",
        "weights-0001.pt",
        "weights-0002.pt",
        "weights-0004.pt",
    ]
    assert json.loads((folder / "run.json").read_text(encoding="utf-8")) == WHAT


def test_history_on_disk_is_the_history(tmp_path, folder):
    swing(2, tmp_path)
    run, _ = swing(4, tmp_path)
    assert json.loads((folder / "history.json").read_text(encoding="utf-8")) == run.history
    (folder / "history.json").write_text(
        "[]", encoding="utf-8"
    )  # as when a kill came between the two files
    assert swing(4, tmp_path)[1] == []
    assert json.loads((folder / "history.json").read_text(encoding="utf-8")) == run.history


def test_seconds_and_dates_are_kept_apart(tmp_path, folder):
    swing(2, tmp_path)
    swing(3, tmp_path)
    noted = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    assert [epoch["epoch"] for epoch in noted["epochs"]] == [1, 2, 3]
    for epoch in noted["epochs"]:
        assert 0 <= epoch["seconds"] < 60
        assert datetime.fromisoformat(epoch["done"]).utcoffset().total_seconds() == 0
    assert "cores" in noted["machine"]
    assert seconds_per_epoch(Swing(0, None), None, tmp_path) == [
        epoch["seconds"] for epoch in noted["epochs"]
    ]


def test_seconds_are_those_of_each_epoch_to_the_millisecond(tmp_path, monkeypatch):
    now = itertools.accumulate(itertools.cycle([5.0, 0.1234]))
    monkeypatch.setattr(runs, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    swing(3, tmp_path)
    assert seconds_per_epoch(Swing(0, None), None, tmp_path) == [0.123] * 3


def test_epochs_of_a_curve_are_those_at_which_the_committed_curves_stand():
    measured = json.loads(
        (PROJECT / "report" / "results" / "15_gan.json").read_text(encoding="utf-8")
    )
    assert list(training.CURVE_EPOCHS) == measured["values"]["fcd"]["at"]


def test_two_runs_of_one_configuration_write_the_same_history(tmp_path):
    data = few_digits()
    key = describe(CONFIG, data)["key"]
    written = []
    for name in ("one", "two"):
        fit(CONFIG, data, tmp_path / name)
        written.append((tmp_path / name / key / "history.json").read_bytes())
    assert written[0] == written[1]


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"not a checkpoint",
        lambda content: bytes(len(content)),
    ],
    ids=["empty", "half", "last byte lost", "text", "zeros"],
)
def test_damaged_checkpoint_costs_its_epoch_and_not_the_run(tmp_path, folder, damage):
    whole, _ = swing(4)
    swing(3, tmp_path)
    newest = folder / "checkpoint-0003.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    run, trained = swing(4, tmp_path)
    assert trained == [3, 4]
    assert run.history == whole.history
    assert run.weights == whole.weights


def test_run_without_a_good_checkpoint_begins_again(tmp_path, folder):
    swing(3, tmp_path)
    for path in folder.glob("checkpoint-*.pt"):
        path.write_bytes(b"")
    run, trained = swing(4, tmp_path)
    assert trained == [1, 2, 3, 4]
    assert run.history == swing(4)[0].history


def test_damaged_checkpoints_do_not_keep_new_ones_from_being_saved(tmp_path, folder):
    swing(5, tmp_path)
    for path in folder.glob("checkpoint-*.pt"):
        path.write_bytes(b"")

    class Stopped(Pendulum):
        def epoch(self, number):
            if number == 4:
                raise KeyboardInterrupt
            return super().epoch(number)

    with pytest.raises(KeyboardInterrupt):
        swing(5, tmp_path, pendulum=Stopped())
    run, trained = swing(5, tmp_path)
    assert trained == [4, 5]
    assert run.history == swing(5)[0].history


def test_no_flipped_bit_of_a_checkpoint_reaches_the_numbers(tmp_path, folder):
    whole, _ = swing(4)
    run, _ = swing(3, tmp_path)
    content = (folder / "checkpoint-0003.pt").read_bytes()
    weight = content.index(struct.pack("<d", run.weights[3]["weight"].item()))
    for place in {weight, *range(0, len(content), 31)}:
        damaged = tmp_path / f"byte {place}" / folder.name
        shutil.copytree(folder, damaged)
        flipped = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
        (damaged / "checkpoint-0003.pt").write_bytes(flipped)
        run, _ = swing(4, damaged.parent)
        assert run.history == whole.history, damaged
        assert run.weights == whole.weights, damaged


def test_weights_of_epochs_that_are_trained_anew_elsewhere_are_forgotten(tmp_path, folder):
    swing(4, tmp_path, pendulum=Elsewhere(), snapshot_epochs=(2,))
    for path in folder.glob("checkpoint-*.pt"):
        path.write_bytes(b"")
    swing(4, tmp_path, snapshot_epochs=())
    again, _ = swing(4, tmp_path, snapshot_epochs=(2,))
    assert again.weights == swing(4, snapshot_epochs=(2,))[0].weights


def test_the_newest_checkpoint_is_that_of_the_largest_number(tmp_path, folder):
    swing(3, tmp_path)
    assert checkpoints.numbered(folder, "checkpoint").keys() == {2, 3}
    (folder / "checkpoint-10000.pt").touch()
    (folder / "checkpoint-9999.pt").touch()
    assert max(checkpoints.numbered(folder, "checkpoint")) == 10_000


def test_seconds_hold_one_entry_an_epoch_after_damage(tmp_path, folder):
    swing(3, tmp_path)
    (folder / "checkpoint-0003.pt").write_bytes(b"")
    swing(4, tmp_path)
    noted = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    assert [epoch["epoch"] for epoch in noted["epochs"]] == [1, 2, 3, 4]


TRAIN_ON_AND_ON = """
import pathlib, sys
import torch
sys.path.append("tests")
torch.set_num_threads(int(sys.argv[2]))
from toy_digits import few_digits
from vae_helpers.store.runs import fit
from vae_helpers.training import TrainConfig

config = TrainConfig(epochs=10_000, batch_size=8, hidden_dims=(8,), latent_dim=2, device="cpu")
fit(config, few_digits(), pathlib.Path(sys.argv[1]), snapshot_epochs=(1, 2))
"""


def test_killed_run_continues_to_the_history_of_an_uninterrupted_one(
    tmp_path, trained, warm_python
):
    data = few_digits()
    folder = tmp_path / describe(CONFIG, data)["key"]
    process = warm_python.start(TRAIN_ON_AND_ON, tmp_path, torch.get_num_threads(), folder=PROJECT)
    until = time.monotonic() + 60
    while not (folder / "checkpoint-0002.pt").exists() and time.monotonic() < until:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.end().returncode == -9  # killed, not ended

    done = max(int(path.stem[-4:]) for path in folder.glob("checkpoint-*.pt"))
    longer = replace(CONFIG, epochs=done + 2)
    continued = fit(longer, data, tmp_path, snapshot_epochs=(1, 2))
    assert trained == [done + 1, done + 2]
    assert continued.history == training.fit(longer, data).history


# The key


def test_key_does_not_depend_on_the_number_of_epochs_or_the_spelling_of_the_device():
    data = few_digits()
    key = describe(CONFIG, data)["key"]
    assert describe(replace(CONFIG, epochs=30), data)["key"] == key
    if not torch.cuda.is_available():
        assert describe(replace(CONFIG, device="auto"), data)["key"] == key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"beta": 0.0},
        {"batch_size": 9},
        {"learning_rate": 2e-3},
        {"latent_dim": 3},
        {"hidden_dims": (8, 8)},
        {"activation": "tanh"},
        {"optimizer": "sgd"},
        {"dataset": "FashionMNIST"},
        {"binarize": "dynamic"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_key_depends_on_everything_else_in_the_configuration(change):
    data = few_digits()
    assert describe(replace(CONFIG, **change), data)["key"] != describe(CONFIG, data)["key"]


def test_key_depends_on_the_images():
    data = few_digits()
    keys = {describe(CONFIG, part)["key"] for part in (data, data.first(19, 9), data.first(20, 8))}
    assert len(keys) == 3


def test_key_depends_on_the_number_of_threads(monkeypatch):
    keys = set()
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        keys.add(describe(CONFIG, few_digits())["key"])
    assert len(keys) == 2


KINDS = {
    "VAE": TrainConfig(device="cpu"),
    "IWAE": TrainConfig(device="cpu", loss="iwae", z_samples=2),
    "GAN": GANConfig(device="cpu"),
    "classifier": ClassifierConfig(),
}
EDITS = {
    "an activation": ("models", '"relu": nn.ReLU', '"relu": nn.Softplus', {"VAE", "IWAE"}),
    "another activation": ("models", '"tanh": nn.Tanh', '"tanh": nn.Softplus', set()),
    "a limit": ("acceleration", "SMALL = 64", "SMALL = 65", {*KINDS}),
    "a batch": ("training", "EVALUATION_BATCH = 1_000", "EVALUATION_BATCH = 500", {"VAE", "IWAE"}),
    "sums": ("training", "sum(numbers.double()", "sum(numbers", {"VAE", "IWAE", "GAN"}),
    "progress": ("training", "{value:.1f}", "{value:.2f}", set()),
    "the loss": ("objective", "return 0.5 * (mu", "return 0.4 * (mu", {"VAE", "IWAE"}),
    "another loss": ("objective", "- math.log(len(z))", "- len(z)", {"IWAE"}),
    "a loss of the GAN": ("objective", "F.softplus(-fake)", "F.softplus(fake)", {"GAN"}),
    "batches": ("data", "split(batch_size)", "split(batch_size + 1)", {*KINDS}),
    "random numbers": ("seeds", "digest[:7]", "digest[:6]", {*KINDS}),
    "initial weights": ("seeds", "(torch.float32)", "(torch.float64)", {*KINDS}),
    "a layer": ("models", "nn.BatchNorm1d(fan_out)", "nn.LayerNorm(fan_out)", {"GAN"}),
    "a sample": ("models", "torch.exp(0.5 * logvar)", "torch.exp(logvar)", {"VAE", "IWAE"}),
    "shifts": ("classifier", "randint(2 * reach + 1", "randint(2 * reach", {"classifier"}),
    "a message": ("training", "expected a finite {names[term]}", "got no {names[term]}", set()),
    "a docstring": ("objective", "Minus the evidence lower bound", "The bound", set()),
    "a comment": ("training", "# the only place where images are averaged", "# averaged", set()),
}
ADDED = {
    "a loss": ("objective", '{"elbo": elbo,', '{"elbo": elbo, "mine": mine,'),
    "an activation": ("models", "nn.Module]] = {", 'nn.Module]] = {"gelu": nn.GELU, '),
    "a GAN": (
        "models",
        "class GAN(nn.Module):",
        "class Mine(VAE):\n    pass\n\n\nclass GAN(nn.Module):",
    ),
    "an error": (
        "data",
        "class CacheError",
        "class MyError(DataError):\n    code = 1\n\n\nclass CacheError",
    ),
    "a data set": (
        "datasets",
        "for dataset in (\n",
        'for dataset in (\n        Dataset("Mine", (), {}),\n',
    ),
}


def keys():
    return {kind: describe(config, few_digits())["key"] for kind, config in KINDS.items()}


def edit(package, module, old, new):
    path = package / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(("module", "old", "new", "changed"), EDITS.values(), ids=EDITS)
def test_a_key_depends_on_the_code_that_an_epoch_reaches(package, module, old, new, changed):
    before = keys()
    edit(package, module, old, new)
    assert {kind for kind, key in keys().items() if key != before[kind]} == changed


@pytest.mark.parametrize(("module", "old", "new"), ADDED.values(), ids=ADDED)
def test_a_key_does_not_depend_on_what_is_added_beside_that(package, module, old, new):
    before = keys()
    edit(package, module, old, new)
    assert keys() == before


def test_a_key_does_not_depend_on_machinery_and_what_only_shows(package):
    before = keys()
    for name in (*code_digest.MACHINERY, *code_digest.SHOWS):
        for path in [package / f"{name}.py", *(package / name).rglob("*.py")]:
            path.write_text("SOMETHING = 'else'\n", encoding="utf-8")
    assert keys() == before


def test_a_configuration_that_a_notebook_defines_has_no_key():
    class Mine(TrainConfig):
        def trainer(self, data):
            return Pendulum()

    Mine.__module__, Mine.__qualname__ = "__main__", "Mine"
    with pytest.raises(
        CodeDigestError, match=r"got Mine of __main__.*vae_helpers/, or keep nothing"
    ):
        fit(Mine(epochs=1, device="cpu"), few_digits())


# Code that has changed since it was imported

KEPT = """
import json, pathlib
import torch
torch.set_num_threads(1)
import vae_helpers
from toy_digits import few_digits
from vae_helpers import objective
from vae_helpers.store import cache, runs
from vae_helpers.training import TrainConfig

CONFIG = TrainConfig(epochs=2, batch_size=8, hidden_dims=(8,), latent_dim=2, device="cpu")

def now():
    history = runs.fit(CONFIG, few_digits(), show_progress=False).history
    kl = cache.cached(objective.kl)(torch.ones(3, 2), torch.ones(3, 2)).tolist()
    kept = [path.parent.name for path in pathlib.Path().glob("runs/*/run.json")]
    kept += [path.name for path in pathlib.Path().glob("build/cache/*/*.pt")]
    print(json.dumps([history, kl, sorted(kept)]))

now()
"""

EDITED = f"""
{KEPT}
import time
from vae_helpers.store import code_digest

path = pathlib.Path("vae_helpers", "objective.py")
source = path.read_text(encoding="utf-8").replace("0.5 * (mu", "0.4 * (mu")
path.write_text(source, encoding="utf-8")
now()
pathlib.Path("edited").touch()
until = time.monotonic() + 60
while not pathlib.Path("restarted").exists():
    assert time.monotonic() < until
    time.sleep(0.01)
now()
try:
    code_digest.of_notebook("05_training")
except code_digest.SourceChangedError as error:
    print(json.dumps(str(error)))
"""

IMPORTED_LATER = """
import pathlib, sys
from vae_helpers.store import runs
from toy_digits import few_digits

assert "vae_helpers.adversarial" not in sys.modules
path = pathlib.Path("vae_helpers", "adversarial.py")
path.write_text(path.read_text(encoding="utf-8") + "# edited", encoding="utf-8")
from vae_helpers.adversarial import GANConfig

config = GANConfig(epochs=1, batch_size=8, hidden_dims=(8,), device="cpu")
assert len(runs.fit(config, few_digits(), show_progress=False).history) == 1
assert not runs.RUNS.exists()
"""


@pytest.fixture
def elsewhere(tmp_path, warm_python):
    """Starts a script beside a copy of the package, which may be edited."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "vae_helpers", tmp_path / "vae_helpers", ignore=ignore)
    env = {**os.environ, "PYTHONPATH": str(PROJECT / "tests")}
    # an edit in the second of the first import would not be seen in compiled files
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return lambda script: warm_python.start(script, folder=tmp_path, env=env)


def test_what_code_computes_that_has_changed_on_disk_is_neither_kept_nor_loaded(
    elsewhere, tmp_path
):
    kernel = elsewhere(EDITED)
    until = time.monotonic() + 60
    while not (tmp_path / "edited").exists() and time.monotonic() < until:
        time.sleep(0.01)
    restarted = elsewhere(KEPT).end()  # the kernel's restart
    (tmp_path / "restarted").touch()
    done = kernel.end()
    first, edited, again, message = map(json.loads, done.stdout.splitlines())
    restarted = json.loads(restarted.stdout)
    assert edited == first  # trained in memory: nothing is kept
    assert restarted[0] != first[0]
    assert restarted[1] != first[1]
    assert len(restarted[2]) == 2 * len(first[2]) == 4
    assert again == [*first[:2], restarted[2]]  # nor is what the new code has kept loaded
    words = (
        "vae_helpers/objective.py has changed since this process imported the package, so what it "
        "computes is neither kept nor loaded: restart the kernel"
    )
    assert message == words
    assert done.stderr.splitlines() == [words] * 4  # twice of the run and twice of the cache


def test_a_module_that_was_edited_before_it_was_imported_has_changed_as_well(elsewhere):
    done = elsewhere(IMPORTED_LATER).end()
    assert done.returncode == 0, done.stderr
    assert "adversarial.py has changed since" in done.stderr


# Two processes

HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(float(sys.argv[2]))
    open(sys.argv[3], "w").close()
"""


@pytest.fixture
def holder(tmp_path, folder):
    """Starts another process that holds the run's lock until a line comes, and then for a while.

    Just before it lets go it makes the file `released`.
    """
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder / "lock", "0.3", tmp_path / "released"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout.readline() == "held\n"
    with process:  # closes its input at the end, which lets it go
        yield process


def test_second_process_waits_for_the_first_and_says_so(tmp_path, holder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    holder.stdin.write("\n")
    holder.stdin.flush()
    run, trained = swing(2, tmp_path)
    assert (tmp_path / "released").exists()
    words = "epochs 1 to 2: waiting for another process that trains the same run"
    assert words in capsys.readouterr().err
    assert trained == [1, 2]
    assert len(run.history) == 2


def test_second_process_gives_up_with_a_clear_word(tmp_path, folder, holder):
    with pytest.raises(RunBusyError) as caught:
        swing(2, tmp_path, wait_seconds=0.1)
    assert str(caught.value) == (
        f"{folder}: expected a free run, but another process has been training it for 0.1 s; "
        "wait for it to end, or stop it"
    )
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_unless_told_otherwise_a_process_waits_four_hours(tmp_path, monkeypatch):
    asked = []

    class Held:
        def __init__(self, path):
            self.path = path

        def acquire(self, timeout):
            asked.append(timeout)
            raise Timeout(self.path)

    monkeypatch.setattr(runs, "FileLock", Held)
    with pytest.raises(RunBusyError):
        swing(2, tmp_path)
    assert asked == [0, 4 * 60 * 60]
