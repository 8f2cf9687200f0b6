"""What is kept is what would be computed, and what has changed is computed anew."""

from typing import NamedTuple

import pytest
import torch

from vae_helpers import claims, evaluation, fingerprint, kept, models
from vae_helpers.seeds import generator

SOURCE = "from vae_helpers import far\n\n\ndef f(x):\n    return far.g(x)\n"


class Pair(NamedTuple):
    total: float
    twice: torch.Tensor


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """A measurement that notes its calls, with a package of its own to have its code from."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "__init__.py").write_text("")
    (tmp_path / "code" / "near.py").write_text(SOURCE)
    (tmp_path / "code" / "far.py").write_text("def g(x):\n    return 2 * x\n")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "code")
    monkeypatch.setattr(claims, "KEPT", tmp_path / "kept")
    kept._code.cache_clear()
    calls = []

    def f(x, *, how=None, title=None) -> Pair:
        calls.append(how)
        return Pair(x.sum().item(), 2 * x)

    f.__module__, f.__qualname__ = "vae_helpers.near", "f"
    recall = kept.kept(f)
    recall.calls = calls
    recall.folder = tmp_path
    yield recall
    kept._code.cache_clear()


X = torch.tensor([[0.1, 1 / 3], [1e-30, float("inf")]])


def equal(a, b):
    return type(a) is type(b) and a.total == b.total and torch.equal(a.twice, b.twice)


def test_a_value_is_computed_once_and_read_to_the_bit_afterwards(measure):
    computed = measure(X)
    assert equal(measure(X.clone()), computed)
    assert measure.calls == [None]


def test_without_a_folder_nothing_is_kept(measure, monkeypatch):
    monkeypatch.setattr(claims, "KEPT", None)
    measure(X)
    measure(X)
    assert len(measure.calls) == 2
    assert not (measure.folder / "kept").exists()


def network(activation="relu", *, value=0.5):
    network = models.VAE((3,), latent_dim=2, input_dim=4, activation=activation)
    torch.nn.init.constant_(network.to_mu.bias, value)
    return network


def built(how):
    torch.manual_seed(0)
    return how()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: 1, lambda: 1.0),
        (lambda: 1, lambda: True),
        (lambda: "1", lambda: 1),
        (lambda: [1, 2], lambda: (1, 2)),
        (lambda: {"a": 1}, lambda: {"a": 2}),
        (lambda: torch.zeros(4), lambda: torch.zeros(2, 2)),
        (lambda: torch.zeros(4), lambda: -torch.zeros(4)),
        (lambda: torch.zeros(2), lambda: torch.zeros(1, dtype=torch.float64)),
        (lambda: generator(0, "a"), lambda: generator(1, "a")),
        (lambda: network(), lambda: network(value=0.25)),
        (lambda: network(), lambda: network("tanh")),
        (lambda: network(), lambda: network().eval()),
    ],
)
def test_another_argument_is_another_value(measure, one, other):
    measure(X, how=built(one))
    measure(X, how=built(other))
    assert len(measure.calls) == 2
    measure(X, how=built(one))
    measure(X, how=built(other))
    assert len(measure.calls) == 2


def test_what_is_only_shown_does_not_count(measure):
    measure(X, title="first")
    measure(X, title="second")
    assert len(measure.calls) == 1


@pytest.mark.parametrize("file", ["near", "far"])
def test_a_changed_line_on_the_way_makes_a_value_stale(measure, file):
    measure(X)
    path = measure.folder / "code" / f"{file}.py"
    path.write_text(path.read_text().replace("return", "return -"))
    kept._code.cache_clear()  # as in the next process
    measure(X)
    assert len(measure.calls) == 2


def test_a_comment_on_the_way_does_not(measure):
    measure(X)
    path = measure.folder / "code" / "far.py"
    path.write_text(path.read_text() + "# doubled\n")
    kept._code.cache_clear()
    measure(X)
    assert len(measure.calls) == 1


def test_another_number_of_threads_is_another_value(measure):
    measure(X)
    torch.set_num_threads(2)
    try:
        measure(X)
    finally:
        torch.set_num_threads(1)
    assert len(measure.calls) == 2


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:]]
)
def test_a_damaged_file_costs_a_repetition_and_is_replaced(measure, damage):
    computed = measure(X)
    (path,) = (measure.folder / "kept").rglob("*.pt")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert equal(measure(X), computed)
    assert len(measure.calls) == 2
    assert path.read_bytes() == whole


def test_a_file_in_another_s_place_is_not_taken_for_it(measure):
    measure(X, how=1)
    (first,) = (measure.folder / "kept").rglob("*.pt")
    measure(X + 1, how=2)
    (second,) = set((measure.folder / "kept").rglob("*.pt")) - {first}
    second.write_bytes(first.read_bytes())
    assert torch.equal(measure(X + 1, how=2).twice, 2 * (X + 1))


def test_an_argument_that_no_digest_tells_is_simply_measured(measure):
    for how in (object(), X.clone().requires_grad_()):
        measure(X, how=how)
        measure(X, how=how)
    assert len(measure.calls) == 4
    assert not (measure.folder / "kept").exists()


def test_a_likelihood_that_is_read_is_the_computed_one_and_draws_as_many_seeds(
    tmp_path, monkeypatch
):
    torch.manual_seed(0)
    model = models.VAE((16,), latent_dim=3)
    x = torch.rand(7, 784)

    def bound(drawn):
        return evaluation.log_likelihood_and_error(model, x, num_samples=4, generator=drawn)

    plain = generator(0, "test")
    expected = bound(plain)
    monkeypatch.setattr(claims, "KEPT", tmp_path)
    for _ in range(2):
        drawn = generator(0, "test")
        found = bound(drawn)
        assert isinstance(found, evaluation.LogLikelihood)
        assert torch.equal(found.value, expected.value)
        assert torch.equal(found.standard_error, expected.standard_error)
        assert torch.equal(drawn.get_state(), plain.get_state())
    assert len(list(tmp_path.rglob("*.pt"))) == 1


@pytest.mark.parametrize(("profile", "keeps"), [("full", True), ("smoke", False), ("x", False)])
def test_only_a_lesson_of_the_full_profile_keeps(profile, keeps, tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BUILD", tmp_path)
    monkeypatch.setattr(claims, "profile_of", lambda *_: profile)
    claims.begin("08_published_numbers", confidence=0.95)
    assert (tmp_path / "kept" if keeps else None) == claims.KEPT
