"""A value that is read is the one that would be computed; what may be another is computed anew."""

import importlib.util
import sys
from collections import namedtuple

import pytest
import torch
from torch import nn

import vae_helpers
from vae_helpers import acceleration, evaluation, models
from vae_helpers.benchmarks import clock
from vae_helpers.seeds import new_rng
from vae_helpers.store import cache
from vae_helpers.store.code_digest import CodeDigestError

NEAR = """
from typing import NamedTuple
import torch
from vae_helpers import far

CALLS = []


class Pair(NamedTuple):
    total: float
    twice: torch.Tensor


def f(x, *, how=None, title=None) -> Pair:
    CALLS.append(how)
    return Pair(x.sum().item(), far.g(x))
"""


@pytest.fixture
def code(package, tmp_path, monkeypatch):
    """A copy of the package with two modules more, from whose files digests are made."""
    (package / "near.py").write_text(NEAR, encoding="utf-8")
    (package / "far.py").write_text("def g(x):\n    return 2 * x\n", encoding="utf-8")
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    for name in ("far", "near"):
        spec = importlib.util.spec_from_file_location(f"vae_helpers.{name}", package / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(vae_helpers, name, module, raising=False)
        spec.loader.exec_module(module)
    return package


@pytest.fixture
def measure(code):
    """A measurement that notes its calls."""
    near = sys.modules["vae_helpers.near"]
    recall = cache.cached(near.f)
    recall.calls = near.CALLS
    return recall


X = torch.tensor([[0.1, 1 / 3], [1e-30, float("inf")]])


def equal(a, b):
    return type(a) is type(b) and a.total == b.total and torch.equal(a.twice, b.twice)


def files():
    return sorted(cache.CACHE.rglob("*.pt"))


def test_a_value_is_computed_once_and_read_to_the_bit_afterwards(measure):
    computed = measure(X)
    assert equal(measure(X.clone()), computed)
    assert measure.calls == [None]


def test_values_lie_where_they_may_be_removed(measure):
    assert cache.CACHE.name == "cache"
    measure(X)
    (file,) = files()
    assert file.parent.name == "near.f"


# What makes it another value


def network(activation="relu", *, value=0.5):
    network = models.VAE((3,), latent_dim=2, input_dim=4, activation=activation)
    nn.init.constant_(network.to_mu.bias, value)
    return network


def changed(**attributes):
    """A network with another attribute that neither its words nor its weights tell."""
    it = network()
    vars(it).update(attributes)
    return it


def buffered(value):
    it = network()
    it.register_buffer("hidden", torch.full((2,), value), persistent=False)
    return it


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
        (lambda: {"1": 1}, lambda: {1: 1}),
        (lambda: {1}, lambda: {2}),
        (lambda: torch.zeros(4), lambda: torch.zeros(2, 2)),
        (lambda: torch.zeros(4), lambda: -torch.zeros(4)),
        (lambda: torch.zeros(2), lambda: torch.zeros(1, dtype=torch.float64)),
        (lambda: torch.zeros(2, dtype=torch.bfloat16), lambda: torch.zeros(2, dtype=torch.half)),
        (lambda: torch.ones(2, 3), lambda: torch.ones(3, 2).T),
        (lambda: new_rng(0, "a"), lambda: new_rng(1, "a")),
        (lambda: new_rng(0, "a"), lambda: new_rng(0, "a").get_state()),
        (lambda: network(), lambda: network(value=0.25)),
        (lambda: network(), lambda: network("tanh")),
        (lambda: network(), lambda: network().eval()),
        (lambda: network(), lambda: network().double()),
        (lambda: network(), lambda: network().requires_grad_(False)),
        (lambda: network(), lambda: changed(latent_dim=1)),
        (lambda: buffered(1.0), lambda: buffered(2.0)),
        (lambda: nn.Dropout(0.1), lambda: nn.Dropout(0.2)),
        (lambda: nn.Linear(2, 2), lambda: nn.Linear(2, 2, bias=False)),
        (
            lambda: evaluation.Posteriors(torch.ones(1), torch.ones(1)),
            lambda: (torch.ones(1), torch.ones(1)),
        ),
    ],
)
def test_another_argument_is_another_value(measure, one, other):
    for _ in range(2):
        measure(X, how=built(one))
        measure(X, how=built(other))
        assert len(measure.calls) == len(files()) == 2


def test_what_is_only_shown_does_not_count(measure):
    measure(X, title="first")
    measure(X, title="second")
    assert len(measure.calls) == 1
    assert cache.SHOWN_ONLY == ("title",)


@pytest.mark.parametrize("file", ["near", "far"])
def test_a_changed_line_on_the_way_makes_a_value_stale(measure, code, file):
    measure(X)
    path = code / f"{file}.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace("return", "return -"), encoding="utf-8"
    )
    measure(X)
    assert len(measure.calls) == 2


def test_a_comment_on_the_way_does_not(measure, code):
    measure(X)
    with (code / "far.py").open("a", encoding="utf-8") as file:
        file.write("# doubled\n")
    measure(X)
    assert len(measure.calls) == 1


def test_a_value_of_two_threads_is_not_taken_by_one(measure):
    with acceleration.threads(2):
        measure(X)
    measure(X)
    assert len(measure.calls) == 2


def test_another_default_type_is_another_value(measure):
    measure(X)
    torch.set_default_dtype(torch.float64)
    try:
        measure(X)
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(measure.calls) == 2


# What is simply computed


class Disguised(models.VAE):
    """Calls itself VAE, has the same weights, and decodes to something else."""

    def decode(self, z):
        return -super().decode(z)


Disguised.__name__ = Disguised.__qualname__ = "VAE"
Disguised.__module__ = models.__name__


def method_of_its_own():
    it = network()
    it.decode = lambda z: -z
    return it


def hooked(register):
    it = network()
    getattr(it.encoder[0], register)(lambda *args: None)
    return it


def of_a_notebook():
    kind = type("VAE", (models.VAE,), {"__module__": "__main__"})
    return kind((3,), latent_dim=2, input_dim=4)


@pytest.mark.parametrize(
    "how",
    [
        lambda: object(),
        lambda: X.clone().requires_grad_(),
        lambda: X.to_sparse(),
        lambda: [new_rng(0, "a")],
        lambda: namedtuple("Posteriors", "mu var")(1, 2),
        lambda: Disguised((3,), latent_dim=2, input_dim=4),
        lambda: nn.Sequential(Disguised((3,), latent_dim=2, input_dim=4)),
        of_a_notebook,
        method_of_its_own,
        lambda: hooked("register_forward_hook"),
        lambda: hooked("register_forward_pre_hook"),
        lambda: hooked("register_full_backward_hook"),
    ],
)
def test_an_argument_that_no_digest_tells_is_simply_measured(measure, how):
    for _ in range(2):
        measure(X, how=built(how))
    assert len(measure.calls) == 2
    assert files() == []


@pytest.mark.parametrize(
    "function", [lambda: 1, clock.processor, files], ids=["lambda", "machinery", "a test's"]
)
def test_a_function_that_is_none_of_the_science_is_refused(function):
    with pytest.raises(CodeDigestError, match="expected "):
        cache.cached(function)()


def test_a_class_whose_method_this_process_has_replaced_is_not_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    recall = cache.cached(evaluation.posteriors)
    model, x = models.VAE((3,), latent_dim=2), torch.rand(2, 784)
    first = recall(model, x)
    monkeypatch.setattr(models.VAE, "encode", lambda self, x: (x[:, :2], x[:, :2]))
    assert not torch.equal(recall(model, x)[0], first[0])
    assert len(files()) == 1
    assert "replaced" in capsys.readouterr().err


def test_a_network_is_another_value_when_the_code_of_its_class_is_edited(measure, code):
    measure(X, how=built(network))
    measure(X, how=built(network))
    assert len(measure.calls) == 1
    path = code / "models.py"
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace("0.5 * logvar", "0.4 * logvar"), encoding="utf-8")
    measure(X, how=built(network))
    assert len(measure.calls) == 2


# Files


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:]]
)
def test_a_damaged_file_costs_a_repetition_and_is_replaced(measure, damage):
    computed = measure(X)
    (path,) = files()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert equal(measure(X), computed)
    assert len(measure.calls) == 2
    assert path.read_bytes() == whole


def test_a_file_in_another_s_place_is_not_taken_for_it(measure):
    measure(X, how=1)
    (first,) = files()
    measure(X + 1, how=2)
    (second,) = set(files()) - {first}
    second.write_bytes(first.read_bytes())
    assert torch.equal(measure(X + 1, how=2).twice, 2 * (X + 1))


def test_a_cache_that_cannot_be_written_to_is_said_and_costs_nothing_else(measure, capsys):
    cache.CACHE.parent.mkdir(exist_ok=True)
    cache.CACHE.write_text("mine", encoding="utf-8")
    for _ in range(2):
        assert measure(X).twice[0, 0] == pytest.approx(0.2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(measure.calls) == 2
    assert all("it was not kept, and is computed again next time" in line for line in said)


# Random numbers


def test_a_likelihood_that_is_read_is_the_computed_one_and_draws_as_many_seeds(
    tmp_path, monkeypatch
):
    model = models.VAE((16,), latent_dim=3)
    x = torch.rand(7, 784)

    def bound(measure, drawn):
        return measure(model, x, num_samples=4, rng=drawn)

    plain = new_rng(0, "test")
    expected = bound(evaluation.log_likelihood_and_error, plain)
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    for _ in range(2):
        drawn = new_rng(0, "test")
        found = bound(cache.cached(evaluation.log_likelihood_and_error), drawn)
        assert isinstance(found, evaluation.LogLikelihood)
        assert torch.equal(found.value, expected.value)
        assert torch.equal(found.standard_error, expected.standard_error)
        assert torch.equal(drawn.get_state(), plain.get_state())
    assert len(files()) == 1
