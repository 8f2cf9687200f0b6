"""No fault loses more than the epoch under way, and none becomes a number.

The trials are those of `faults.py`, fewer of each; it also says what they count.
"""

import errno
import functools
import hashlib
import io
import os
import pickle
import shutil
import signal
import subprocess
import time

import faults
import psutil
import pytest
import torch
import toy_project
from toy_digits import few_digits
from toy_project import executed, start

from vae_helpers import PROJECT, classifier, training
from vae_helpers.classifier import ReferenceClassifierError
from vae_helpers.store import checkpoints, runs
from vae_helpers.store.files import DamagedFileError, FileNotWrittenError, sealed
from vae_helpers.store.runs import describe, fit
from vae_helpers.studies import planning, running
from vae_helpers.training import TrainConfig

CONFIG = TrainConfig(epochs=4, batch_size=8, hidden_dims=(8,), latent_dim=2, device="cpu")
KEPT = (1, 2)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return toy_project.make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def run_dir(tmp_path):
    """A finished run in a folder of its own, and the path of that folder."""
    fit(CONFIG, few_digits(), tmp_path / "runs", snapshot_epochs=KEPT)
    return tmp_path / "runs"


@pytest.fixture
def folder(run_dir):
    return run_dir / describe(CONFIG, few_digits())["key"]


@pytest.fixture(scope="module")
def undisturbed():
    return training.fit(CONFIG, few_digits(), snapshot_epochs=KEPT)


def differences(ours, theirs, *, at=(*KEPT, CONFIG.epochs)):
    """Which parts of two fits do not have the same bits."""
    found = [] if ours.history == theirs.history else ["history"]
    return found + [
        f"{name} after epoch {epoch}"
        for epoch in at
        for name, weights in theirs.weights[epoch].items()
        if not torch.equal(weights, ours.weights[epoch][name])
    ]


# --- the trials of the harness


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_killed_training_loses_at_most_the_epoch_under_way(kind):
    assert faults.complaints(faults.kill_trainings(kind, 5)) == []


def test_a_killed_study_loses_at_most_the_cells_under_way_and_leaves_no_process():
    """With this seed the client alone while it writes a cell, and then everything."""
    assert faults.complaints(faults.kill_studies(2, seed=29)) == []


def test_a_full_disk_is_said_and_loses_at_most_the_epoch_under_way():
    assert faults.complaints(faults.fill_disk("VAE", 3, 4)) == []


def test_damage_at_any_place_of_any_file_becomes_no_number():
    assert faults.complaints(faults.damage_files("VAE", 2)) == []


@pytest.mark.parametrize("kind", faults.KINDS)
def test_two_processes_on_one_folder_train_each_epoch_once(kind):
    assert faults.complaints(faults.two_processes(kind, 1)) == []


def test_the_harness_counts_what_is_lost_and_what_is_wrong():
    count = faults.Count("a fault")
    count.add(done=10, lost=2)
    assert faults.complaints(count) == ["a fault: lost 2 epochs by one, expected 1 at most"]
    count = faults.Count("a fault")
    count.expect(False, "other numbers")
    assert faults.complaints(count) == [
        "a fault: no trial was made",
        "a fault: trial 0: other numbers",
    ]
    assert faults.numbers({"a": count})["values"]["wrong"] == {"value": 1}


# --- folders that cannot be written to


def test_a_file_in_the_place_of_the_folder_is_refused_by_name(tmp_path):
    (tmp_path / "runs").write_text("mine", encoding="utf-8")
    with pytest.raises(FileNotWrittenError, match=r"run_dir: expected a folder.*take another"):
        fit(CONFIG, few_digits(), tmp_path / "runs")
    assert (tmp_path / "runs").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused_by_name(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FileNotWrittenError, match=r"run_dir: .*Permission denied"):
        fit(CONFIG, few_digits(), tmp_path / "runs")


def test_a_finished_run_is_read_from_a_disk_without_room(run_dir, undisturbed, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []


# --- content that is whole, but not what belongs there


class Malice:
    """Unpickling it makes a file: any code could run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def replaced(path, content):
    """Put bytes there whose seal is right, as only somebody could who means to."""
    path.write_bytes(checkpoints.seal_of(path, content) + content)


@pytest.mark.parametrize("name", ["checkpoint-0004.pt", "weights-0002.pt"])
def test_no_code_of_a_file_is_executed(run_dir, folder, undisturbed, tmp_path, name, caplog):
    evil = pickle.dumps(Malice(tmp_path / "executed"))
    pickle.loads(evil)
    (tmp_path / "executed").rmdir()  # it works, where somebody unpickles it
    for content in (evil, as_torch_saves(Malice(tmp_path / "executed"))):
        replaced(folder / name, content)
        caplog.clear()
        assert (
            differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []
        )
        assert not (tmp_path / "executed").exists()
        assert f"{name} is damaged" in caplog.text


def as_torch_saves(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_classifier_weights_that_hold_code_are_refused(tmp_path, monkeypatch):
    content = pickle.dumps(Malice(tmp_path / "executed"))
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(content)
    with pytest.raises(ReferenceClassifierError, match="expected the committed weights"):
        classifier.reference(path)
    monkeypatch.setattr(classifier, "CHECKSUM", hashlib.sha256(content).hexdigest())
    with pytest.raises(Exception, match="header"):  # even if its checksum were ours
        classifier.reference.__wrapped__(path)
    assert not (tmp_path / "executed").exists()


def foreign_contents():
    whole = {"epoch": 1, "train_loss": 1.0}
    return {
        "a list": [1, 2],
        "nothing": {},
        "no history": {"state": {}},
        "a history of text": {"history": "1234", "state": {}},
        "another history": {"history": [whole] * 4, "state": {}},
        "another state": {"history": [{**whole, "epoch": n} for n in (1, 2, 3, 4)], "state": {}},
    }


@pytest.mark.parametrize("content", foreign_contents().values(), ids=foreign_contents())
@pytest.mark.parametrize("name", ["checkpoint-0004.pt", "weights-0002.pt"])
def test_foreign_content_is_not_loaded(run_dir, folder, undisturbed, content, name):
    replaced(folder / name, as_torch_saves(content))
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []


def test_a_checkpoint_whose_history_is_not_that_of_its_epoch_is_not_loaded(
    run_dir, folder, undisturbed
):
    replaced(folder / "checkpoint-0004.pt", (folder / "checkpoint-0003.pt").read_bytes()[32:])
    (folder / "checkpoint-0003.pt").unlink()
    assert (
        differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=()), undisturbed, at=(4,))
        == []
    )


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
def test_a_file_of_another_run_or_epoch_is_not_loaded(run_dir, folder, undisturbed, kind):
    config = TrainConfig(**{**vars(CONFIG), "seed": 1})
    fit(config, few_digits(), run_dir, snapshot_epochs=KEPT)
    other = run_dir / describe(config, few_digits())["key"]
    shutil.copy(other / f"{kind}-0004.pt", folder / f"{kind}-0004.pt")
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []
    shutil.copy(folder / "weights-0001.pt", folder / "weights-0002.pt")
    shutil.copy(folder / "checkpoint-0003.pt", folder / "checkpoint-0004.pt")
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []


def test_what_somebody_else_has_put_into_the_folder_is_left_alone(run_dir, folder, undisturbed):
    shutil.copy(folder / "checkpoint-0004.pt", folder / "checkpoint-0004 (1).pt")
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []
    assert (folder / "checkpoint-0004 (1).pt").exists()


def test_damaged_weights_of_the_last_epoch_cost_nothing(run_dir, folder, undisturbed, monkeypatch):
    (folder / "weights-0004.pt").write_bytes(b"")
    epoch = functools.wraps(training.Trainer.epoch)(lambda *args: pytest.fail("trained"))
    monkeypatch.setattr(training.Trainer, "epoch", epoch)
    assert differences(fit(CONFIG, few_digits(), run_dir, snapshot_epochs=KEPT), undisturbed) == []


# --- Ctrl-C


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """A shell starts background jobs with Ctrl-C ignored, which their children would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


TRAIN = """
import pathlib, sys, torch
sys.path.append("tests")
torch.set_num_threads(1)
from dataclasses import replace
from test_faults import CONFIG
from toy_digits import few_digits
from vae_helpers.store.runs import fit
fit(replace(CONFIG, epochs=10_000), few_digits(), pathlib.Path(sys.argv[1]), snapshot_epochs=(1, 2))
"""


def test_an_interrupted_training_says_what_is_kept_and_goes_on(tmp_path, undisturbed, warm_python):
    folder = tmp_path / describe(CONFIG, few_digits())["key"]
    process = warm_python.start(TRAIN, tmp_path, folder=PROJECT)
    until = time.monotonic() + 120
    while not (folder / "checkpoint-0002.pt").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    done = process.end(timeout=60)
    # which status an uncaught interrupt has is Python's affair: once torch has loaded tabulate, 1
    assert done.returncode in (-signal.SIGINT, 1)
    assert done.stderr.splitlines()[-2:] == [
        "KeyboardInterrupt",
        f"The epochs that were done are kept in {folder}; the same call goes on there.",
    ]
    assert not list(folder.glob("*.tmp"))
    assert differences(fit(CONFIG, few_digits(), tmp_path, snapshot_epochs=KEPT), undisturbed) == []


def test_an_interrupted_notebook_says_that_the_same_command_goes_on(project, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    executed(project, forget=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(project, "vae_helpers", "run", "01", "-p", "beta", 17, **pipes) as process:
        until = time.monotonic() + 120
        while not executed(project) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        others = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "\ninterrupted; the same command goes on with what is left\n"
    assert psutil.wait_procs(others, timeout=20)[1] == []


# --- results that are half written or damaged


def some_study(tmp_path):
    plan = planning.plan("05", {"seed": [1, 2]}, folder=tmp_path / "study")
    for cell in plan.cells:
        record = {"parameters": cell.values, "status": "finished", "error": None, "values": {}}
        path = plan.folder / "cells" / f"{cell.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sealed({**record, "seconds": 12345.0}), encoding="utf-8")
    return plan


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("12345", "12346"),
        lambda text: "[]",
        lambda text: text.replace("finished", "f\udcffnished"),
    ],
    ids=["empty", "half", "another digit", "a list", "no text"],
)
def test_a_damaged_cell_of_a_study_runs_again_and_is_named(tmp_path, damage, capsys):
    plan = some_study(tmp_path)
    assert len(running._finished(plan)) == 2
    path = plan.folder / "cells" / f"{plan.cells[0].key}.json"
    path.write_bytes(damage(path.read_text(encoding="utf-8")).encode(errors="surrogateescape"))
    assert list(running._finished(plan)) == [plan.cells[1].key]
    said = capsys.readouterr().err
    assert said.startswith("seed=1: ")
    assert path.name in said
    assert said.endswith("; it runs again\n")


def test_times_that_are_damaged_are_an_error_that_says_what_to_do(run_dir, folder):
    path = folder / "seconds.json"
    path.write_text(path.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"seconds\.json: expected .*; the run is as good"):
        runs.seconds_per_epoch(CONFIG, few_digits(), run_dir)
    longer = TrainConfig(**{**vars(CONFIG), "epochs": 5})
    fit(longer, few_digits(), run_dir)
    known = runs.seconds_per_epoch(CONFIG, few_digits(), run_dir)
    assert len(known) == 1  # that of the epoch that was trained since
    path.unlink()
    with pytest.raises(DamagedFileError, match=r"seconds\.json: expected .*, got none"):
        runs.seconds_per_epoch(CONFIG, few_digits(), run_dir)
