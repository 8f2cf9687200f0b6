"""The clinic: each patient has its own mistake, and nobody else has it."""

import ast
import json
import math
import re
from contextlib import nullcontext

import pytest
import torch

from vae_helpers import PROJECT, objective, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.mistakes import catalogue, lab
from vae_helpers.mistakes.catalogue import MistakeError
from vae_helpers.mistakes.lab import ClinicError, admit, letters
from vae_helpers.seeds import new_rng
from vae_helpers.store import cache
from vae_helpers.training import TrainConfig

PATIENTS = {
    "mean": "mean instead of sum over pixels",
    "control": None,
    "tested": "evaluation on training images",
}
SMALL = {"hidden_dims": (32,), "latent_dim": 4, "device": "cpu"}
SMALL |= {"acceleration": "off"}  # or another process might choose other products
CONFIG = TrainConfig(epochs=2, **SMALL)


workers = lab._workers


@pytest.fixture(scope="module", autouse=True)
def _own_cache_and_one_worker(tmp_path_factory):
    """Nobody else's patients are found, and none is left to others; torch is imported once."""
    with workers(1) as idle, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr(lab, "_workers", lambda count: nullcontext(idle))
        yield


@pytest.fixture(scope="module")
def few(digits):
    return digits.first(520, 200)


@pytest.fixture(scope="module")
def ward(few):
    """One process for all, so that each could have something of the patient before it."""
    return admit(PATIENTS, CONFIG, few, samples=3, at_once=1)


@pytest.fixture(scope="module")
def fit(few):
    return training.fit(CONFIG, few)


def evaluated(model, images):
    """The loss by this process's own code, with the noise that a training takes."""
    loss = training.new_loss(CONFIG, dataset_size=len(images))
    return training.evaluate(model, images, loss=loss, seed=CONFIG.seed)


def test_the_control_is_a_fit_of_this_process_bit_for_bit_whoever_came_before(ward, fit):
    assert list(ward) == list(PATIENTS)
    assert ward["control"].history == fit.history
    assert ward["control"].error == ""
    for name, tensor in fit.model.state_dict().items():
        assert torch.equal(ward["control"].weights[name], tensor)
    samples = fit.model.sample(3, new_rng(CONFIG.seed, "samples"))
    assert torch.equal(ward["control"].samples, samples)


def test_a_patient_that_tests_on_training_images_trains_as_the_control_does(ward, fit, few):
    for term in ("train_bce", "train_kl"):
        assert ward["tested"].curve(term) == fit.curve(term)
    expected = evaluated(fit.model, few.train_images)
    last = ward["tested"].history[-1]
    assert {name: last[f"test_{name}"] for name in expected} == expected
    assert ward["tested"].curve("test_bce") != fit.curve("test_bce")


def test_a_patient_that_averages_over_pixels_reports_a_784th_of_its_bce(ward, few):
    model = training.new_model(CONFIG)
    model.load_state_dict(ward["mean"].weights)
    true = evaluated(model, few.test_images)
    assert ward["mean"].history[-1]["test_bce"] == pytest.approx(true["bce"] / 784, rel=1e-5)
    assert ward["mean"].history[-1]["test_kl"] == pytest.approx(true["kl"], rel=1e-5)
    assert true["kl"] < ward["control"].history[-1]["test_kl"]


def test_no_mistake_reaches_this_process_or_its_files(ward):
    for name in filter(None, PATIENTS.values()):
        mistake = catalogue.catalogue()[name]
        assert mistake.old in (PROJECT / mistake.file).read_text(encoding="utf-8")
    nothing = torch.zeros(1, 784)
    assert objective.bce(nothing, nothing).item() == pytest.approx(784 * math.log(2))


def test_a_training_that_diverges_is_an_outcome_and_says_where(few):
    wild = TrainConfig(epochs=2, hidden_dims=(99,) * 4, learning_rate=10.0, device="cpu")
    patient = admit({"A": "KL sign flipped"}, wild, few)["A"]
    assert re.match(r"DivergedError: epoch \d, ", patient.error)
    assert len(patient.history) < 2
    assert patient.samples.shape == (0, 784)
    assert patient.weights == {}


def test_a_training_whose_only_step_ruins_the_test_numbers_has_diverged(few):
    wild = TrainConfig(epochs=1, hidden_dims=(99,) * 4, learning_rate=10.0, device="cpu")
    patient = admit({"A": None}, wild, few.first(100, 100))["A"]
    assert re.match(r"DivergedError: epoch 1: expected a finite test_\w+, got", patient.error)
    assert patient.history == []


def test_a_training_that_torch_refuses_is_an_outcome(few):
    config = GANConfig(epochs=1, **SMALL)
    patient = admit({"X": "generated images not detached"}, config, few)["X"]
    assert patient.error.startswith("RuntimeError: Trying to backward through the graph")
    assert patient.history == []


def test_an_unknown_mistake_is_refused_with_the_nearest_name(few):
    with pytest.raises(MistakeError, match="did you mean 'KL dropped'"):
        admit({"A": "KL droped"}, CONFIG, few)


def test_a_process_that_ends_for_another_reason_is_no_outcome(few, monkeypatch):
    monkeypatch.setattr(lab, "_workers", workers)
    monkeypatch.setattr(lab.sys, "executable", "false")
    with pytest.raises(ClinicError, match=r"no mistake: expected a training .* status 1"):
        admit({"control": None}, CONFIG, few)


def test_a_process_that_imports_another_package_than_the_copy_s_refuses(tmp_path):
    with pytest.raises(ClinicError, match="expected the package of"):
        lab._train(tmp_path)


@pytest.fixture
def examined(monkeypatch, tmp_path):
    """The mistakes of the patients that are examined; each is given what `_examine` would give."""
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    seen = []

    def examine(copy, mistake, idle):
        seen.append(mistake and mistake.name)
        drawn = torch.rand(2, 784, generator=torch.Generator().manual_seed(len(seen)))
        history = [{"epoch": 1, "test_loss": float("inf")}]
        return lab.Patient(history, f"error {len(seen)}", drawn, {"w": drawn[0] / 3})

    monkeypatch.setattr(lab, "_examine", examine)
    return seen


def test_a_cached_patient_is_the_one_that_was_examined_and_starts_no_process(
    examined, few, monkeypatch
):
    patients = {"A": "KL dropped", "B": None}
    first = admit(patients, CONFIG, few, at_once=1)
    with monkeypatch.context() as nothing:
        nothing.setattr(lab, "_workers", None)
        again = admit({"X": None, "Y": "KL dropped"}, CONFIG, few)
    assert examined == ["KL dropped", None]
    assert list(again) == ["X", "Y"]
    admit({"A": "KL dropped", "C": "last batch dropped"}, CONFIG, few, at_once=1)
    assert examined == ["KL dropped", None, "last batch dropped"]
    for who, found in {"B": again["X"], "A": again["Y"]}.items():
        assert (found.history, found.error) == (first[who].history, first[who].error)
        assert torch.equal(found.samples, first[who].samples)
        assert torch.equal(found.weights["w"], first[who].weights["w"])


def test_a_patient_with_another_edit_configuration_or_data_is_examined(
    examined, few, digits, monkeypatch
):
    def ask(config=CONFIG, data=few, samples=10):
        admit({"A": "KL dropped"}, config, data, samples=samples, at_once=1)

    ask()
    ask(config=TrainConfig(epochs=3, **SMALL))
    ask(data=digits.first(521, 200))
    ask(samples=11)
    other = catalogue.Mistake("KL dropped", "vae_helpers/objective.py", "kl", "0 * kl", "")
    monkeypatch.setattr(lab, "catalogue", lambda: {"KL dropped": other})
    ask()
    assert len(examined) == 5
    ask()
    assert len(examined) == 5


def test_a_damaged_patient_is_examined_again(examined, few, tmp_path):
    admit({"A": None}, CONFIG, few)
    (path,) = (tmp_path / "cache").rglob("*.pt")
    path.write_bytes(path.read_bytes()[:-1])
    admit({"A": None}, CONFIG, few)
    assert examined == [None, None]


def test_letters_tell_nothing_of_the_order_in_which_names_are_given():
    names = ["KL dropped", "last batch dropped", "labels flipped"]
    assert letters(names) == letters(reversed(names))
    assert list(letters(names)) == ["A", "B", "C"]
    assert sorted(letters(names, "XYZ").values()) == sorted(names)


def test_every_folded_answer_names_the_mistake_that_its_letter_has():
    notebook = json.loads((PROJECT / "notebooks" / "17_clinic.ipynb").read_text(encoding="utf-8"))
    sources = {"code": "", "markdown": ""}
    for cell in notebook["cells"]:
        sources[cell["cell_type"]] += "".join(cell["source"]) + "\n"
    candidates = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(sources["code"]).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
    }
    key = letters(candidates["VAES"]) | letters(candidates["GANS"], "XYZ")
    assert dict(re.findall(r"^\*\*([A-Z])\*\* is \*(.+?)\*", sources["markdown"], re.M)) == key
    assert {*key.values(), candidates["DECOY"]} <= catalogue.catalogue().keys()
