"""Bad input, drawn at random: what is not used as it was given is refused by name.

Everywhere the same three things hold. What is refused is refused by an error of ours, raised by our
own code, whose message names what was wrong; nothing was run or written then. What is accepted has
the value that was asked for, in the documented type and range. There is no third way.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import math
import re
import struct
import tempfile
import tomllib
import traceback
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomlkit
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vae_helpers import PROJECT, __main__, data, evaluation, parameters, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.classifier import ClassifierConfig
from vae_helpers.course import execution, notebooks, results, tolerances
from vae_helpers.course.tolerances import ToleranceError
from vae_helpers.data import AlteredDataError, CacheError, DataError, Digits, load, load_mnist
from vae_helpers.datasets import DATASETS
from vae_helpers.parameters import ParameterError
from vae_helpers.store import code_digest, runs
from vae_helpers.studies import planning, running, tables, tolerance_tables
from vae_helpers.studies.tables import StudyError
from vae_helpers.training import DivergedError, TrainConfig

NAMED = (ParameterError, DataError, ToleranceError, DivergedError)


def outcome(call):
    """What a call returns and None, or None and the message by which our own code refuses."""
    try:
        return call(), None
    except Exception as error:
        assert_is_a_refusal(error)
        return None, str(error)


def assert_is_a_refusal(error):
    innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    whole = "".join(traceback.format_exception(error))
    assert isinstance(error, NAMED) or type(error) is ValueError, whole
    assert PROJECT / "vae_helpers" in innermost.parents, whole
    assert 10 < len(str(error)) < 1_500, whole


def is_named(name, message):
    """Whether a message names a parameter, a notebook or a file, in quotes if it is no word."""
    return repr(name) in message or (
        name.isidentifier() and bool(re.search(rf"\b{name}\b", message))
    )


# --- Values of every kind


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


def within_itself():
    values = [400]
    values.append(values)
    return values


DEEP = functools.reduce(lambda inner, _: [inner], range(5_000), 400)

ODD = (
    *(None, "", "5", "0x10", "1e400", "nan", "relu ", "RELU", "\ud800", "٣", "[400, 200]", b"5"),
    *(True, False, 10**400, -(10**400), 10**5_000, 2**53 + 1, -0.0, 1j, math.nan, math.inf),
    *(np.int64(3), np.int8(3), np.float32(0.1), np.float64(0.5), np.float16(0.5), np.bool_(True)),
    *(np.array(3), np.array([400, 200]), np.array("relu"), np.str_("relu"), np.array([])),
    *(torch.tensor(3), torch.tensor([0.5, 0.5]), Fraction(1, 3), Fraction(10**400), Decimal("0.5")),
    *((), [], {}, set(), [[]], [400, [200]], [True], [1.5], (400, None), range(2), {400: 200}),
    *(object(), int, Unprintable(), [Unprintable()], within_itself(), DEEP, "x" * 100_000),
    *([400] * 20_000, iter([400])),
)
anything = st.one_of(
    st.sampled_from(ODD),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.recursive(
        st.integers(-5, 20_000) | st.floats() | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
        max_leaves=8,
    ),
)


def whole(low, high):
    return lambda value: type(value) is int and low <= value <= high


def number(low, high):
    return lambda value: type(value) is float and low <= value <= high


def word(*words):
    return lambda value: type(value) is str and value in words


def widths(value):
    each = whole(1, 10_000)
    return type(value) is tuple and len(value) > 0 and all(each(width) for width in value)


def several_words(value):
    known = set(parameters.MEASURES)
    return type(value) is tuple and set(value) <= known and len(set(value)) == len(value)


DOCUMENTED = {
    "epochs": whole(1, 10_000),
    "batch_size": whole(1, 60_000),
    "learning_rate": number(1e-8, 10),
    "loss": word("elbo", "iwae", "beta_tc"),
    "beta": number(0, 1e6),
    "z_samples": whole(1, 1_000),
    "beta1": number(0, 0.9999),
    "latent_dim": whole(1, 1_000),
    "hidden_dims": widths,
    "batch_norm": lambda value: type(value) is bool,
    "slope": number(0, 1),
    "dropout": number(0, 0.95),
    "real_label": number(0.5, 1),
    "activation": word("relu", "tanh", "sigmoid"),
    "optimizer": word("adam", "sgd", "sgd_momentum"),
    "seed": whole(0, 2**31 - 1),
    "dataset": word(*DATASETS),
    "binarize": word("none", "dynamic"),
    "device": word("auto", "cpu", "cuda"),
    "acceleration": word("auto", "off"),
    "model": word("vae", "gan", "wgan", "flow", "layered", "images"),
    "sampler": word("prior", "mixture"),
    "components": whole(1, 1_000),
    "degradation": word("none", *parameters.DEGRADATIONS),
    "severity": number(0, 1_000),
    "measures": several_words,
    "curve": several_words,
    "penalty": number(0, 1e6),
    "critic_steps": whole(1, 100),
    "adam_eps": number(1e-12, 1),
    "stochastic_layers": whole(1, 2),
    "flow_length": whole(1, 1_000),
    "sample_seed": whole(0, 2**31 - 1),
    "contrast": lambda value: type(value) is bool,
    "confidence": number(0.5, 0.9999),
    "compare_epochs": whole(1, 1_000),
    "arm_epochs": whole(1, 1_000),
    "train_images": whole(1, 60_000),
    "held_out_images": whole(0, 59_999),
    "test_images": whole(1, 10_000),
    "generated_images": whole(10, 10_000),
    "likelihood_images": whole(1, 10_000),
    "num_samples": whole(1, 1_000_000),
}
"""What a parameter's value may be, once it was accepted."""

VALID = {
    "hidden_dims": st.lists(st.integers(1, 10_000), min_size=1, max_size=3),
    "batch_norm": st.booleans(),
    "contrast": st.booleans(),
    "sampler": st.sampled_from(["prior", "mixture"]),
    "degradation": st.sampled_from(["none", *parameters.DEGRADATIONS]),
    "measures": st.lists(st.sampled_from(parameters.MEASURES), unique=True, max_size=3),
    "curve": st.lists(st.sampled_from(parameters.MEASURES), unique=True, max_size=3),
    "critic_steps": st.integers(1, 100),
    "stochastic_layers": st.integers(1, 2),
    "severity": st.floats(0, 1_000),
    "penalty": st.floats(0, 1e6),
    "adam_eps": st.floats(1e-12, 1),
    "activation": st.sampled_from(["relu", "tanh", "sigmoid"]),
    "optimizer": st.sampled_from(["adam", "sgd", "sgd_momentum"]),
    "dataset": st.sampled_from(sorted(DATASETS)),
    "loss": st.sampled_from(["elbo", "iwae", "beta_tc"]),
    "acceleration": st.sampled_from(["auto", "off"]),
    "binarize": st.sampled_from(["none", "dynamic"]),
    "device": st.sampled_from(["auto", "cpu"]),
    "model": st.sampled_from(["vae", "gan", "wgan"]),
    "learning_rate": st.floats(1e-8, 10),
    "beta": st.floats(0, 1e6) | st.integers(0, 10**6),
    "beta1": st.floats(0, 0.9999) | st.just(0),
    "slope": st.floats(0, 1),
    "dropout": st.floats(0, 0.95),
    "real_label": st.floats(0.5, 1) | st.just(1),
    "confidence": st.floats(0.5, 0.9999),
}


def valid(name):
    return VALID.get(name, st.integers(10, 1_000))


def same(kept, asked):
    """Whether a value that was kept is the one that was asked for; a truth value is no number."""
    if isinstance(kept, bool) is not isinstance(asked, bool):
        return False
    if isinstance(kept, tuple):
        return len(kept) == len(asked) and all(map(same, kept, asked))
    if isinstance(kept, float):
        return kept == float(asked) and math.copysign(1, kept) == 1
    return kept == asked


# --- Configurations


BESIDE = {"z_samples": {"loss": "iwae"}}
"""What a field needs beside it, if it is to have another value than the default."""


def assert_kept_or_named(config, name, value, *, fine):
    made, refusal = outcome(lambda: config(**{name: value}, **BESIDE.get(name, {})))
    if refusal is None:
        kept = getattr(made, name)
        assert DOCUMENTED[name](kept)
        assert same(kept, value)
        json.dumps(dataclasses.asdict(made), allow_nan=False)
    else:
        assert re.match(rf"{name}(\[\d+\])?: expected .*got ", refusal)
        assert not fine
        assert not DOCUMENTED[name](tuple(value) if type(value) is list else value)


CONFIGS = {
    config: [field.name for field in dataclasses.fields(config)]
    for config in (TrainConfig, GANConfig, ClassifierConfig)
}


@pytest.mark.parametrize(
    ("config", "name"), [(config, name) for config, names in CONFIGS.items() for name in names]
)
def test_a_configuration_keeps_an_odd_value_or_names_the_field(config, name):
    for value in ODD:
        assert_kept_or_named(config, name, value, fine=False)


@settings(max_examples=300)
@given(st.sampled_from(list(CONFIGS)), st.data())
def test_a_configuration_keeps_what_is_asked_for_or_names_the_field(config, draw):
    name = draw.draw(st.sampled_from(CONFIGS[config]))
    fine = draw.draw(st.integers(0, 3)) == 0
    value = draw.draw(valid(name) if fine else anything)
    assert_kept_or_named(config, name, value, fine=fine)


@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5_000], ids=["big", "low", "huge"])
@pytest.mark.parametrize("name", ["epochs", "beta"])
def test_a_number_too_large_for_a_float_is_out_of_range(name, value):
    with pytest.raises(ParameterError, match=f"^{name}: expected .*the nearest valid value is"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "value", [np.array(["relu", "tanh"]), 10**5_000, ["relu"]], ids=["array", "huge", "list"]
)
def test_what_is_no_word_is_refused_where_a_word_is_wanted(value):
    with pytest.raises(ParameterError, match=r"^activation: expected one of relu, tanh, sigmoid"):
        TrainConfig(activation=value)


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(
        seed=np.arange(5)[3], beta=np.float32(0.5), hidden_dims=list(np.array([400, 200]))
    )
    assert config == TrainConfig(seed=3, beta=0.5, hidden_dims=(400, 200))
    assert [type(value) for value in (config.seed, config.beta, *config.hidden_dims)] == [
        *(int, float, int, int)
    ]


def test_a_classifiers_configuration_is_checked_as_the_others_are():
    with pytest.raises(ParameterError, match="batch_size: expected 1 to 60000, got 0"):
        ClassifierConfig(batch_size=0)


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, [400] * 10**5, DEEP, Unprintable()],
    ids=["text", "list", "deep", "unprintable"],
)
def test_a_message_stays_short_whatever_the_value_is(value):
    with pytest.raises(ParameterError) as caught:
        TrainConfig(seed=value)
    assert len(str(caught.value)) < 300


# --- Images


def digits(train=5, test=3):
    draw = torch.Generator().manual_seed(0)
    return Digits(
        torch.rand(train, 784, generator=draw),
        torch.randint(10, (train,), generator=draw),
        torch.rand(test, 784, generator=draw),
        torch.randint(10, (test,), generator=draw),
    )


def changed(tensor, place, value):
    tensor = tensor.clone()
    tensor.view(-1)[place % tensor.numel()] = value
    return tensor


SPOILED_IMAGES = {
    "grey levels of 0 to 255": lambda x, _: x * 255,
    "bytes": lambda x, _: (x * 255).to(torch.uint8),
    "double precision": lambda x, _: x.double(),
    "half precision": lambda x, _: x.half(),
    "truth values": lambda x, _: x > 0.5,
    "squares": lambda x, _: x.reshape(-1, 28, 28),
    "channels": lambda x, _: x.reshape(-1, 1, 28, 28),
    "one row": lambda x, _: x[0],
    "one number": lambda x, _: x[0, 0],
    "other size": lambda x, _: x[:, :783],
    "transposed": lambda x, _: x.T,
    "no images": lambda x, _: x[:0],
    "numpy": lambda x, _: x.numpy(),
    "nothing": lambda x, _: None,
    "centred": lambda x, _: x - x.mean(),
    "a NaN": lambda x, place: changed(x, place, math.nan),
    "an infinity": lambda x, place: changed(x, place, math.inf),
    "a bit below 0": lambda x, place: changed(x, place, -1e-6),
    "a bit above 1": lambda x, place: changed(x, place, 1 + 1e-6),
}
SPOILED_LABELS = {
    "too few": lambda y, _: y[1:],
    "too many": lambda y, _: torch.cat([y, y]),
    "one hot": lambda y, _: torch.nn.functional.one_hot(y, 10),
    "numbers with a point": lambda y, _: y.float(),
    "bytes": lambda y, _: y.to(torch.uint8),
    "a list": lambda y, _: y.tolist(),
    "a digit that is none": lambda y, place: changed(y, place, 10),
    "a digit below 0": lambda y, place: changed(y, place, -1),
}
SPOILED = {
    **{f"{side}_images": SPOILED_IMAGES for side in ("train", "test")},
    **{f"{side}_labels": SPOILED_LABELS for side in ("train", "test")},
}
CONFIGURED = {
    "VAE": TrainConfig(epochs=1, hidden_dims=(8,), device="cpu"),
    "GAN": GANConfig(epochs=1, hidden_dims=(8,), device="cpu"),
    "classifier": ClassifierConfig(epochs=1),
}


@pytest.mark.parametrize("kind", CONFIGURED)
@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name in SPOILED for how in SPOILED[name]]
)
def test_a_fit_refuses_tensors_that_are_no_digits_and_names_them(kind, name, how, tmp_path):
    good = digits()
    for place in (0, 1_234_567):
        spoiled = dataclasses.replace(
            good, **{name: SPOILED[name][how](getattr(good, name), place)}
        )
        with pytest.raises(DataError, match=f"^{name}: expected .*got "):
            runs.fit(CONFIGURED[kind], spoiled, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_undivided_grey_levels_are_refused_with_what_to_do():
    good = digits()
    with pytest.raises(DataError, match=r"got .* to 25.*are to be divided by 255"):
        TrainConfig().trainer(dataclasses.replace(good, train_images=good.train_images * 255))


counts = st.integers(0, 5).flatmap(lambda odd: st.integers(-1, 6) if odd else anything)


@settings(max_examples=200)
@given(counts, counts)
def test_a_part_of_a_data_set_has_as_many_images_as_asked_for(train, test):
    part, refusal = outcome(lambda: digits().first(train, test))
    if refusal is None:
        assert [len(part.train_images), len(part.test_images)] == [train, test]
        assert {type(train), type(test)}.isdisjoint({bool, float})
    else:
        assert re.match("(train|test): expected 1 to [53] images, got ", refusal)
        assert not (type(train) is type(test) is int and 1 <= train <= 5 and 1 <= test <= 3)


@settings(max_examples=200)
@given(counts)
def test_as_many_images_are_held_out_as_asked_for(held_out):
    part, refusal = outcome(lambda: digits().hold_out(held_out))
    if refusal is None:
        assert [len(part.train_images), len(part.test_images)] == [5 - held_out, held_out]
        assert type(held_out) is not bool
    else:
        assert refusal.startswith("held_out: expected 1 to 4 images, got ")
        assert not (type(held_out) is int and 1 <= held_out <= 4)


@pytest.mark.parametrize("convention", evaluation.CONVENTIONS)
@pytest.mark.parametrize("how", ["grey levels of 0 to 255", "centred", "a NaN", "a bit above 1"])
def test_no_convention_takes_what_are_no_pixels(how, convention):
    images = SPOILED_IMAGES[how](digits().test_images, 5)
    with pytest.raises(ValueError, match=r"images: expected values in \[0, 1\], got "):
        evaluation.targets(images, convention, rng=torch.Generator().manual_seed(0))


SMALL = {
    "epochs": st.integers(1, 2),
    "batch_size": st.integers(1, 7) | st.integers(1, 60_000),
    "latent_dim": st.integers(1, 5),
    "hidden_dims": st.lists(st.integers(1, 9), min_size=1, max_size=3),
    "seed": st.integers(0, 2**31 - 1),
}


def small(config):
    """Configurations over all that is valid, as far as they train in milliseconds."""
    names = [field.name for field in dataclasses.fields(config)]
    fields = {name: SMALL.get(name, valid(name)) for name in names}
    if config is not TrainConfig:
        return st.builds(config, **fields)
    plain = {"batch_norm": st.just(False), "slope": st.just(0), "dropout": st.just(0)}
    tuned = {"activation": st.just("relu")}
    weighted = {"loss": st.sampled_from(["elbo", "beta_tc"]), "z_samples": st.just(1)}
    sampled = {"loss": st.just("iwae"), "z_samples": st.integers(1, 3), "beta": st.just(1)}
    descends = {"optimizer": st.sampled_from(["sgd", "sgd_momentum"]), "beta1": st.just(0.9)}
    losses, networks = (weighted, sampled), (plain, tuned)
    optimizers = ({"optimizer": st.just("adam")}, descends)
    kinds = [a | b | c for a in losses for b in networks for c in optimizers]
    return st.one_of(st.builds(config, **fields | kind) for kind in kinds)


@settings(max_examples=40)
@given(
    small(TrainConfig) | small(GANConfig) | small(ClassifierConfig),
    st.integers(1, 9),
    st.integers(1, 3),
)
@example(TrainConfig(epochs=2, learning_rate=10, beta=1e6, hidden_dims=(8,), optimizer="sgd"), 5, 1)
@example(TrainConfig(epochs=2, loss="beta_tc", hidden_dims=(8,), batch_size=4), 5, 1)
@example(GANConfig(epochs=2, learning_rate=10, hidden_dims=(8,), batch_size=4), 5, 1)
@example(GANConfig(epochs=2, hidden_dims=(8,), batch_size=4, batch_norm=False, beta1=0), 5, 1)
def test_an_accepted_configuration_trains_or_says_what_is_in_the_way(config, train, test):
    fit, refusal = outcome(
        lambda: training.train(config.trainer(digits(train, test)), epochs=config.epochs)
    )
    if refusal is None:
        assert [numbers["epoch"] for numbers in fit.history] == list(range(1, config.epochs + 1))
        assert all(math.isfinite(value) for numbers in fit.history for value in numbers.values())
    elif refusal.startswith(("batch_size", "test_images")):  # a batch of one image has no spread
        assert getattr(config, "batch_norm", False) or config.loss == "beta_tc"
        assert train % config.batch_size == 1 or 1 in (train, test)
    else:
        assert re.match(r"epoch [12](:|, step \d of \d:|, after its last step:) expected ", refusal)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"z_samples": 2}, "z_samples: expected 1 for the loss 'elbo', got 2"),
        ({"loss": "iwae", "beta": 2}, "beta: expected 1 for the loss 'iwae'.* got 2"),
        ({"activation": "tanh", "slope": 0.2}, "activation: expected 'relu' with batch_norm"),
        ({"optimizer": "sgd", "beta1": 0.5}, "beta1: expected 0.9 with the optimiser 'sgd'.* 0.5"),
    ],
)
def test_what_a_loss_has_no_use_for_is_refused_by_name(fields, message):
    with pytest.raises(ParameterError, match=message):
        TrainConfig(**fields)


# --- Image files


def idx(array):
    """The bytes of an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def data_set(seed):
    """The four unpacked files of 4 + 2 random images, by their names."""
    draw = np.random.default_rng(seed)
    return {
        f"{part}-{kind}": idx(array)
        for part, n in (("train", 4), ("t10k", 2))
        for kind, array in (
            ("images-idx3-ubyte", draw.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            ("labels-idx1-ubyte", draw.integers(0, 10, n, dtype=np.uint8)),
        )
    }


FILES, OTHERS = data_set(0), data_set(1)


@pytest.fixture(scope="module")
def published():
    """Makes `FILES` the published MNIST and `OTHERS` the published Fashion-MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        for dataset, files in (("MNIST", FILES), ("FashionMNIST", OTHERS)):
            sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
            published = dataclasses.replace(DATASETS[dataset], md5=sums)
            patch.setitem(DATASETS, dataset, published)
        yield


def flipped(content, bit):
    place = bit % (8 * len(content))
    return (
        content[: place // 8]
        + bytes([content[place // 8] ^ 1 << place % 8])
        + content[place // 8 + 1 :]
    )


def damaged(path, how, place, packed):
    """Do something to a file that a person, a disk or a download may do."""
    content = path.read_bytes()
    name = path.name.removesuffix(".gz")
    other_file = sorted(FILES)[place % 4]
    pack = gzip.compress if packed else bytes
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(
            {
                "flipped": lambda: flipped(content, place),
                "truncated": lambda: content[: place % len(content)],
                "longer": lambda: content + bytes([place % 256]) * 3,
                "an error page": lambda: b"<html>403 Forbidden</html>",
                "another file of the set": lambda: pack(FILES[other_file]),
                "Fashion-MNIST": lambda: pack(OTHERS[name]),
                "another magic": lambda: pack(b"\0\0\x0d" + FILES[name][3:]),
                "not packed": lambda: FILES[name],
                "packed twice": lambda: gzip.compress(gzip.compress(FILES[name])),
                "text": lambda: pack(FILES[name].replace(b"\n", b"\r\n") + b"\r\n"),
            }[how]()
        )


HOW = (
    *("flipped", "truncated", "longer", "an error page", "another file of the set", "missing"),
    *("Fashion-MNIST", "another magic", "not packed", "packed twice", "text", "a folder"),
)


def assert_is_the_published_set(loaded):
    for part, images, labels in (
        ("train", loaded.train_images, loaded.train_labels),
        ("t10k", loaded.test_images, loaded.test_labels),
    ):
        pixels = np.frombuffer(FILES[f"{part}-images-idx3-ubyte"], np.uint8, offset=16)
        assert (images.numpy().ravel() * 255).round().tolist() == pixels.tolist()
        assert labels.tolist() == list(FILES[f"{part}-labels-idx1-ubyte"][8:])


@pytest.mark.usefixtures("published")
@settings(max_examples=150)
@given(
    st.booleans(),
    st.dictionaries(st.sampled_from(sorted(FILES)), st.sampled_from(HOW), min_size=1, max_size=2),
    st.integers(0, 10**6),
)
def test_damaged_files_are_named_with_the_way_to_mend_them(packed, damages, place):
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        paths = {name: raw / (f"{name}.gz" if packed else name) for name in FILES}
        for name, path in paths.items():
            path.write_bytes(gzip.compress(FILES[name]) if packed else FILES[name])
        for name, how in damages.items():
            damaged(paths[name], how, place, packed)
        before = {path: path.read_bytes() for path in raw.iterdir() if path.is_file()}
        loaded, refusal = outcome(lambda: load_mnist(folder))
        assert {path: path.read_bytes() for path in raw.iterdir() if path.is_file()} == before
        if refusal is None:  # nothing is lost: a flipped bit in the date of a packed file
            assert_is_the_published_set(loaded)
        else:
            assert any(name in refusal for name in damages)
            assert "replace it by a fresh copy" in refusal or "copy it there" in refusal


@pytest.mark.usefixtures("published")
@settings(max_examples=40)
@given(st.sampled_from(sorted(FILES)), st.sampled_from(HOW), st.integers(0, 10**6))
def test_a_damaged_cache_mends_itself_or_is_named(name, how, place):
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for other, content in FILES.items():
            (raw / f"{other}.gz").write_bytes(gzip.compress(content))
        load_mnist(folder)
        damaged(Path(folder) / ".unpacked" / "MNIST" / "raw" / name, how, place, packed=False)
        loaded, refusal = outcome(lambda: load_mnist(folder))
        if how == "a folder":
            assert ".unpacked: expected a folder" in refusal
            assert "remove it" in refusal
        else:
            assert_is_the_published_set(loaded)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("taken", [".unpacked", ".unpacked/MNIST", ".unpacked/MNIST/raw"])
def test_a_file_where_the_cache_should_be_is_named(tmp_path, taken):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("in the way", encoding="utf-8")
    with pytest.raises(CacheError, match=r"\.unpacked: expected a folder .*remove it"):
        load_mnist(tmp_path)


@pytest.mark.usefixtures("published")
def test_fashion_in_the_place_of_mnist_is_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in OTHERS.items():
        (raw / name).write_bytes(content)
    with pytest.raises(AlteredDataError, match="train-images-idx3-ubyte: expected MD5"):
        load_mnist(tmp_path)


@settings(max_examples=60)
@given(anything)
def test_only_a_known_data_set_is_looked_for(dataset):
    assume(not (isinstance(dataset, str) and dataset in DATASETS))
    _, refusal = outcome(lambda: load(dataset))
    assert refusal.startswith(f"dataset: expected one of {', '.join(DATASETS)}, got ")


# --- The parameters of every notebook


read_once = functools.cache(notebooks.defaults)


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """The real notebooks, with a folder of its own for what they make; nothing is read twice."""
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(notebooks, "defaults", read_once)
    monkeypatch.setattr(code_digest, "of_notebook", lambda notebook, words=(): f"of {notebook}")
    monkeypatch.setattr(tolerances, "read", functools.cache(tolerances.read))
    return tmp_path


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


NOTEBOOKS = {name: notebooks.defaults(name) for name in notebooks.names()}
ALL_NAMES = sorted({name for own in NOTEBOOKS.values() for name in own})
notebook_names = st.sampled_from(sorted(NOTEBOOKS))
wild_names = st.sampled_from([*ALL_NAMES, "epoch", "", "Seed", "seed ", "lr", "x" * 99, "\ud800"])


def asked_values(names):
    """Values by parameter name, most of them valid."""
    pairs = names.flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(valid(name), valid(name), anything))
    )
    return st.lists(pairs, max_size=4).map(dict)


@pytest.mark.usefixtures("workshop")
@settings(max_examples=200)
@given(
    notebook_names | st.sampled_from(["", "05", "05_trainign", "../05_training", "x" * 300, "\0"]),
    asked_values(wild_names),
    st.lists(wild_names, max_size=1),
    st.booleans(),
)
def test_results_have_the_parameters_that_were_set_or_name_the_wrong_one(
    workshop, notebook, asked, dropped, smoke
):
    own = NOTEBOOKS.get(notebook, {})
    asked = {name: value for name, value in asked.items() if name in own}
    small = notebooks.SMOKE if smoke else {}
    base = {name: small.get(name, value) for name, value in own.items()}
    values = {name: value for name, value in {**base, **asked}.items() if name not in dropped}
    before = files_below(workshop)
    with contextlib.redirect_stdout(io.StringIO()):
        begun, refusal = outcome(lambda: results.begin(notebook, {**values, "torch": torch}))
    if refusal is None:
        assert begun.parameters.keys() == own.keys() == values.keys()
        for name, value in values.items():
            assert DOCUMENTED[name](begun.parameters[name])
            assert same(begun.parameters[name], value)
        is_full = all(same(parameters.check(name, own[name]), v) for name, v in values.items())
        assert (begun.profile == "full") == is_full
        assert (begun.profile == "smoke") <= smoke
        assert begun.folder == workshop / "build" / begun.profile
        written = json.loads((begun.folder / "results" / f"{notebook}.json").read_bytes())
        assert written["parameters"] == json.loads(json.dumps(dict(begun.parameters)))
    else:
        assert files_below(workshop) == before
        wrong = [*asked, *dropped] if notebook in NOTEBOOKS else [notebook]
        assert any(is_named(name, refusal) for name in wrong)


@pytest.mark.usefixtures("workshop")
@settings(max_examples=100)
@given(notebook_names, st.data())
def test_other_parameters_have_another_folder_and_the_same_ones_the_same(notebook, draw):
    own = NOTEBOOKS[notebook]
    some = st.lists(st.sampled_from(sorted(own)), min_size=1, max_size=2)
    sets = [{name: draw.draw(valid(name)) for name in draw.draw(some)} for _ in range(2)]
    one, other = (execution.plan([notebook], values)[0] for values in sets)
    values = [{**own, **execution.overrides} for execution in (one, other)]
    normal = [
        {name: tuple(v) if name == "hidden_dims" else v for name, v in it.items()} for it in values
    ]
    assert (one.profile == other.profile) == (normal[0] == normal[1])


# --- Command lines


WORDS = (
    *("5", "0", "-1", "1", "2", "007", "1_000", "+3", "3.0", "1e3", "1e400", "nan", "inf", "-inf"),
    *("-0.0", "0.5", "True", "true", "False", "no", "vae", "gan", "relu", "dynamic", "none", "cpu"),
    *("400,200", "[400, 200]", "(400,)", "[400", "[[400]]", "{[]}", "400,,", "[1.5]", "[True]", ""),
    *("[" * 300, "[" + "-" * 9_999, "9" * 5_000, "٣", " 5", "5\n", "None", "__import__('os')"),
    *("[1is 2]", "1;2", "'400'", "0x10", "\ud800"),
)
texts = st.sampled_from(WORDS) | st.text("0123456789.,-+e[]()_ ", max_size=6)


def as_written(text):
    """What a text stands for, read without the package's help; None where nobody could say."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    if re.fullmatch(r"[\[(]?\s*[\d_]+\s*(,\s*[\d_]+\s*)*,?\s*[\])]?", text):
        return tuple(map(int, re.findall(r"[\d_]+", text)))
    return text


def was_asked(kept, text):
    asked = as_written(text)
    if isinstance(kept, tuple) and not isinstance(asked, tuple):
        asked = tuple(int(part, 0) for part in text.strip("[]() ").split(",") if part.strip())
    return same(kept, asked)


@pytest.mark.usefixtures("workshop")
@settings(max_examples=500)
@given(
    st.lists(
        notebook_names
        | st.sampled_from(["05", "15_gan", "notebooks/16_vae_vs_gan.ipynb"])
        | st.sampled_from(
            ["0", "", "x", "/tmp/05_training.ipynb", "05_training.py", "..", "\0/04"]
        ),
        max_size=2,
    ),
    st.lists(st.tuples(wild_names, texts), max_size=2).map(dict),
    st.sampled_from(["full", "smoke", "smok", ""]),
)
def test_a_plan_has_what_was_asked_for_or_nothing_is_planned(workshop, asked_for, asked, profile):
    planned, refusal = outcome(lambda: execution.plan(asked_for, asked, profile=profile))
    assert not files_below(workshop / "build")
    if refusal is not None:
        assert any(is_named(part, refusal) for part in (*asked_for, *asked, "profile"))
        return
    meant = [[it for it in NOTEBOOKS if it.startswith(Path(name).stem)] for name in asked_for]
    assert all(len(fitting) == 1 for fitting in meant)
    assert all(re.fullmatch(r"(notebooks/)?\w+(\.ipynb)?", name) for name in asked_for)
    expected = {fitting[0] for fitting in meant} or set(NOTEBOOKS)
    assert {it.notebook for it in planned} == expected
    assert all(any(name in it.overrides for it in planned) for name in asked)
    for it in planned:
        own = NOTEBOOKS[it.notebook]
        small = {name: notebooks.SMOKE[name] for name in own if name in notebooks.SMOKE}
        small = small if profile == "smoke" else {}
        assert it.overrides.keys() == (asked.keys() & own.keys()) | small.keys()
        for name, value in it.overrides.items():
            assert DOCUMENTED[name](value)
            assert was_asked(value, asked[name]) if name in asked else value == small[name]


RAN = []


@pytest.fixture
def stage(workshop, monkeypatch):
    """Where commands really run nothing: what they would run is noted in `RAN` instead."""

    def run(executions, *, threads=None):
        for it in executions:
            RAN.append(("run", it, threads))
            it.results.parent.mkdir(parents=True, exist_ok=True)
            it.results.write_bytes(b'{"values": {}}')

    def run_cells(client, cells, *, threads):
        for cell in cells:
            RAN.append(("cell", cell.execution, threads))
            kept = {"parameters": cell.values, "values": {}, "threads": threads, "workers": 1}
            about = {"status": "finished", "error": None, "seconds": 0.0}
            yield cell, {**kept, **about, "machine": None, "date": "2026-01-01"}

    monkeypatch.setattr(execution, "run", run)
    monkeypatch.setattr(execution, "refresh", lambda *_: RAN.append(("refresh", None, None)))
    client = SimpleNamespace(scheduler_info=lambda: {"address": "of a local cluster"})
    monkeypatch.setattr(running, "_client", lambda *_: contextlib.nullcontext(client))
    monkeypatch.setattr(running, "_run_cells", run_cells)
    monkeypatch.setattr(running, "write_whole", lambda path, content: None)
    monkeypatch.setattr(running, "publish", lambda plan: RAN.append(("publish", plan, None)))
    monkeypatch.setattr(tolerance_tables, "publish", lambda plan: None)
    monkeypatch.setattr(tolerance_tables, "compute", lambda *_, **__: [])
    for command in ("_classifier", "_recheck", "_bench"):
        done = functools.partial(lambda command, _: RAN.append((command, None, None)), command)
        monkeypatch.setattr(__main__, command, done)


some_notebook = st.sampled_from(
    [
        *["05", "05_training", "18", "notebooks/15_gan.ipynb"] * 4,
        "0",
        "4",
        "",
        "/tmp/04.ipynb",
        "99",
    ]
)
some_value = st.one_of(
    st.sampled_from([("epochs", "5"), ("seed", "7"), ("learning_rate", "1e-4"), ("seed", "-1")]),
    st.sampled_from([("batch_size", "64"), ("latent_dim", "2"), ("test_images", "100")]),
    st.tuples(wild_names, texts),
)
number_words = st.sampled_from(["1", "2", "3", "4", "5", "-1", "0", "x", "1.5", "9" * 5_000, ""])
OPTIONS = {
    "-p": some_value.map(list),
    "-g": st.tuples(some_value, st.lists(texts, max_size=1)).map(lambda it: [*it[0], *it[1]]),
    "--profile": st.sampled_from(["full", "smoke", "smok", ""]).map(lambda word: [word]),
    "--seeds": st.lists(number_words, max_size=6) | st.just(["1", "2", "3", "4", "5"]),
    "--threads": st.lists(number_words, max_size=3),
    "--workers": number_words.map(lambda word: [word]),
    "--scheduler": st.sampled_from([["tcp://127.0.0.1:1"], [""], []]),
    "--output": st.sampled_from([["/nowhere/x"], [__file__], [f"{__file__}/x"], []]),
    "--cells": number_words.map(lambda word: [word]),
    "--rounds": number_words.map(lambda word: [word]),
    "--write": st.just([]),
    "--noise": st.lists(texts, max_size=2),
    "-h": st.just([]),
    "--": st.just([]),
}
ALLOWED = {
    "run": ["-p", "--profile"],
    "study": ["-p", "-g", "--profile", "--workers", "--scheduler", "--output"],
    "studies": ["--workers", "--scheduler"],
    "tolerances": ["--profile", "--seeds", "--workers", "--scheduler"],
    "refresh": ["--profile"],
    "recheck": ["--cells", "--workers"],
    "bench": ["--rounds", "--threads", "--write"],
    "classifier": [],
}


@st.composite
def command_lines(draw):
    """The words of a command: what may stand there, with a mistake now and then."""
    command = draw(st.sampled_from(["run", "run", "study", "study", "tolerances", *ALLOWED, "rum"]))
    names = {
        "studies": st.lists(st.sampled_from(["beta", "bta", "likelihood"]), max_size=2),
        "study": st.lists(some_notebook, min_size=1, max_size=1),
    }.get(command, st.lists(some_notebook, max_size=2))
    if command in ("refresh", "bench", "classifier"):
        names = st.just([])
    words = [command, *draw(names)]
    if command == "study":
        words += [
            "-g",
            "seed",
            *draw(st.lists(st.sampled_from("12345"), unique=True, min_size=1, max_size=3)),
        ]
    for _ in range(draw(st.integers(0, 2))):
        options = ALLOWED.get(command, []) * 4 + [*OPTIONS]
        option = draw(st.sampled_from(options))
        words += [option, *draw(OPTIONS[option])]
    return words


def after(words, option):
    """The words after each occurrence of an option, up to the next option that is ours."""
    found = []
    for place, word in enumerate(words):
        if word == option:
            rest = words[place + 1 :]
            end = next((i for i, other in enumerate(rest) if other in OPTIONS), len(rest))
            found.append(rest[:end])
    return found


@pytest.mark.usefixtures("stage")
@settings(max_examples=400)
@given(command_lines())
@example(["run", "05", "-p", "epochs", "5", "-p", "epochs", "6"])
@example(["tolerances", "05", "--seeds", "1", "2"])
@example(["tolerances", "05", "--workers", "0"])
@example(["tolerances", "05", "--seeds", "1", "2", "3", "4", "-5"])
@example(["study", "05", "-g", "seed", "1", "--output", f"{__file__}/x"])
@example([])
def test_a_command_runs_what_it_says_or_refuses_and_says_why(words):
    RAN.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = __main__.main(words)
        except SystemExit as exit_of_argparse:
            status = exit_of_argparse.code
            assert status == (0 if "usage:" in out.getvalue() else 2)
    assert status in (0, 1, 2)
    if status != 0 or not RAN:
        assert not RAN
        assert status != 0 or "-h" in words
        assert len((out if status == 0 else err).getvalue()) > 10
        assert "Traceback" not in err.getvalue()
        return
    command, profile = words[0], (["full"], *after(words, "--profile"))[-1][0]
    kinds = {kind for kind, _, _ in RAN}
    assert kinds <= {
        "run": {"run"},
        "tolerances": {"cell"},
        "study": {"cell"},
        "studies": {"cell", "publish"},
        "refresh": {"refresh"},
    }.get(command, {f"_{command}"})
    if command not in ("run", "study", "tolerances"):
        return
    given = dict(after(words, "-p"))
    grid = {name: values for name, *values in after(words, "-g")}
    if command == "tolerances":
        seeds = ([str(seed) for seed in tolerance_tables.SEEDS], *after(words, "--seeds"))[-1]
        assert len(set(seeds)) >= 5
        assert {threads for *_, threads in RAN} == {1}
        grid = {"seed": seeds}
    for _, it, _ in RAN:
        own = NOTEBOOKS[it.notebook]
        small = notebooks.SMOKE if profile == "smoke" else {}
        base = {name: small.get(name, value) for name, value in own.items()}
        for name, value in {**own, **it.overrides}.items():
            if name in grid:
                assert any(was_asked(value, text) for text in grid[name])
            elif name in given:
                assert was_asked(value, given[name])
            else:
                assert same(value, base[name])
    for name, texts_given in grid.items():
        for text in texts_given:
            assert any(
                was_asked(it.overrides[name], text) for _, it, _ in RAN if name in it.overrides
            )
    assert all(any(name in it.overrides for _, it, _ in RAN) for name in given)


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "05", "-p", "epochs", "5", "-p", "epochs", "6"], "epochs: expected once"),
        (["run", "05", "-p", "hidden_dims", "{[]}"], "hidden_dims: expected a list of numbers"),
        (["run", "05", "-p", "hidden_dims", "[" + "-" * 9_999], "hidden_dims: expected a list"),
        (["run", "/tmp/05_training.ipynb"], "expected a notebook in notebooks/"),
        (["run", "05_training.py"], "unknown notebook '05_training.py'"),
        (["tolerances", "05", "--seeds", "1", "2"], "seeds: expected at least 5, each once"),
        (["tolerances", "05", "--seeds", "1", "1", "1", "1", "1"], "seeds: expected at least 5"),
        (
            ["tolerances", "05", "--workers", "0"],
            "workers: expected at least 1, got 0",
        ),
        (
            ["tolerances", "05", "--seeds", "1", "2", "3", "4", "-5"],
            "seed: expected 0 to 2147483647",
        ),
        (["study", "05", "-g", "seed", "1", "--output", f"{__file__}/x"], "got the file"),
    ],
)
def test_a_command_that_would_fail_later_or_do_something_else_is_refused(capsys, words, message):
    RAN.clear()
    assert __main__.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("refused, nothing was run: ")
    assert message in said
    assert not RAN


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(("text", "value"), [("False", False), ("true", True)])
def test_a_truth_value_can_be_given_on_the_command_line(text, value):
    RAN.clear()
    assert __main__.main(["run", "18", "-p", "batch_norm", text]) == 0
    assert RAN[0][1].overrides == {"batch_norm": value}


def test_the_classifier_is_not_trained_on_files_that_are_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    assert __main__.main(["classifier"]) == 2
    assert "refused, nothing was run: data_dir: expected a folder" in capsys.readouterr().err


def test_a_profile_that_does_not_exist_is_not_taken_for_the_full_one():
    with pytest.raises(ParameterError, match="profile: expected one of full, smoke, got 'smok'"):
        execution.plan(["05"], profile="smok")


# --- tolerances.toml, studies.toml and what studies leave

ENTRY = {
    "unit": "nats",
    "decimals": 1,
    "range": "positive",
    "excludes": "a flipped sign",
    "full": {"cap": 5.0, "low": 98.0, "high": 101.0, "mean": 99.5, "sd": 0.3, "n": 5},
    "smoke": {"cap": 50.0},
}
TOLERANCES = {"01_toy": {"loss": ENTRY, "kl": {**ENTRY, "unit": ""}}, "02_other": {"loss": ENTRY}}
STUDIES = {
    "beta": {
        "purpose": "a test",
        "notebook": "05_training",
        "given": {"epochs": 2},
        "grid": {"beta": [0, 1], "seed": [1, 2]},
        "profile": "smoke",
    },
    "arms": {
        "purpose": "a test",
        "notebook": "18",
        "arms": {"plain": {}, "wide": {"dropout": 0.5}},
        "grid": {"seed": [1, 2]},
    },
}
toml_values = st.recursive(
    st.sampled_from(["", "x", "full", "05", 0, -1, 1, 3.5, 10**30, math.nan, math.inf, True])
    | st.integers(-5, 20)
    | st.text("abc [", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


def places(content, above=()):
    """The way to every value of nested dictionaries."""
    for key, value in content.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


@st.composite
def altered(draw, content):
    """Nested dictionaries with one or two places deleted, replaced or added."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(list(places(content))))
        inner = functools.reduce(lambda it, key: it[key], way, content)
        how = draw(st.sampled_from(["delete", "replace", "add", "near"]))
        if how == "delete":
            del inner[last]
        else:
            key = {"replace": last, "add": "extra", "near": f"{last}s"}[how]
            inner[key] = draw(toml_values)
        if not content:
            break
    return content


@st.composite
def toml_files(draw, content):
    """A TOML file that says something else than it should, or is none."""
    text = tomlkit.dumps(draw(altered(content)))
    if draw(st.integers(0, 4)):
        return text.encode()
    place = draw(st.integers(0, max(0, len(text) - 1)))
    return draw(
        st.sampled_from([text[:place].encode(), text[place:].encode(), text.encode() + b"\xff"])
    )


@settings(max_examples=200)
@given(toml_files(TOLERANCES), st.sampled_from(["full", "smoke", "0123456789ab"]))
def test_tolerances_are_whole_or_file_and_entry_are_named(content, profile):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tolerances.toml"
        path.write_bytes(content)
        read, refusal = outcome(lambda: tolerances.read("01_toy", profile, path=path))
        if refusal is not None:
            assert "tolerances.toml" in refusal
            assert "01_toy" in refusal or "in TOML" in refusal
            return
        said = tomllib.loads(content.decode()).get("01_toy", {})
        assert read.keys() == said.keys()
        for name, tolerance in read.items():
            assert type(tolerance.unit) is type(tolerance.excludes) is str
            assert f"{1 / 3:.{tolerance.decimals}f}"
            ends = [said[name].get(profile, {}).get(end) for end in ("low", "high")]
            assert [tolerance.low, tolerance.high] == ends
            assert ends == [None, None] or -math.inf < ends[0] <= ends[1] < math.inf


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"full": {"cap": 5.0, "low": 98.0}}, "full: expected two finite numbers, low <= high"),
        ({"full": {"low": 98.0, "high": math.inf}}, "full: expected two finite numbers"),
        ({"full": {"low": 98.0, "high": 97.0}}, "got 98.0 and 97.0"),
        ({"ful": {"low": 98.0, "high": 99.0}}, "unknown entry 'ful'"),
        ({"decimals": -1}, "decimals: expected 0 to 15, got -1"),
        ({"decimals": "2"}, "decimals: expected int, got '2'"),
    ],
)
def test_a_tolerance_that_would_hold_nothing_is_refused(tmp_path, entry, message):
    path = tmp_path / "tolerances.toml"
    path.write_text(tomlkit.dumps({"01_toy": {"loss": {**ENTRY, **entry}}}), encoding="utf-8")
    with pytest.raises(ToleranceError) as caught:
        tolerances.read("01_toy", "full", path=path)
    assert str(caught.value).startswith("tolerances.toml: 01_toy.loss: ")
    assert message in str(caught.value)


def test_one_number_that_is_not_finite_does_not_lose_the_tolerances_of_the_others(tmp_path):
    path = tmp_path / "tolerances.toml"
    path.write_text(tomlkit.dumps(TOLERANCES), encoding="utf-8")
    found = {"kl": [99.0, math.nan, 99.0, 99.0, 99.0], "loss": [99.0, 99.1, 99.2] * 2}
    problems = tolerances.write({"01_toy": found}, "full", path=path)
    assert len(problems) == 1
    assert problems[0].startswith("01_toy.kl: expected at least 5 finite values")
    assert tolerances.read("01_toy", "full", path=path)["loss"].high < 101


@pytest.mark.usefixtures("workshop")
@settings(max_examples=150)
@given(toml_files(STUDIES), st.sampled_from([(), ("beta",), ("arms", "beta"), ("bta",)]))
def test_a_list_of_studies_is_planned_as_it_stands_or_file_and_study_are_named(content, names):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "studies.toml"
        path.write_bytes(content)
        patch.setattr(planning, "STUDIES", path)
        plans, refusal = outcome(lambda: planning.committed(names))
        if refusal is not None:
            assert "studies.toml" in refusal or refusal.startswith("unknown study ")
            return
        said = tomllib.loads(content.decode())
        assert [plan.name for plan in plans] == list(names or said)
        for plan in plans:
            assert plan.notebook.startswith(said[plan.name]["notebook"])
            assert plan.profile == said[plan.name].get("profile", "full")
            assert plan.grid.keys() == said[plan.name]["grid"].keys()
            values = [len(each) for each in said[plan.name]["grid"].values()]
            assert len(plan.cells) == math.prod(values) * max(1, len(plan.arms))


TABLE = (
    "arm,seed,beta,hidden_dims,status,error,loss,fcd[1]\n"
    'plain,1,0.5,"[400, 200]",failed,[Errno 28] No space left,,\n'
    'wide,2,0.5,"[400, 200]",finished,,99.5,2.5\n'
)
PROVENANCE = {"study": "toy", "notebook": "05_training", "digest": "0123", "seeds": [1, 2]}


@st.composite
def damaged_text(draw, text):
    """A text with a part cut out, doubled or overwritten."""
    first, second = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    part = draw(st.sampled_from(["", text[first:second] * 2, '"', "[", ",", "\n", "\0", "é", "x"]))
    return (text[:first] + part + text[second:]).encode(draw(st.sampled_from(["utf-8", "utf-16"])))


@pytest.mark.usefixtures("workshop")
@settings(max_examples=300)
@given(
    damaged_text(TABLE) | st.just(TABLE.encode()),
    damaged_text(json.dumps(PROVENANCE))
    | altered(PROVENANCE).map(lambda content: json.dumps(content).encode())
    | st.sampled_from([b"", b"[]", b"null"]),
)
def test_a_study_is_read_whole_or_its_file_is_named(table, provenance):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PUBLISHED", Path(folder))
        (Path(folder) / "toy.csv").write_bytes(table)
        (Path(folder) / "toy.json").write_bytes(provenance)
        study, refusal = outcome(lambda: tables.read("toy"))
        if refusal is not None:
            assert re.search(r"toy\.(csv|json): expected ", refusal)
            return
        columns = study.rows[0].keys()
        assert all(row.keys() == columns for row in study.rows)
        assert study.label().startswith(f"study toy: {len(study.rows)} runs of ")
        for column in columns:
            values, refusal = outcome(lambda column=column: study.values(column))
            assert refusal is not None or len(values) == len(study.rows) - len(study.failed())


@pytest.mark.usefixtures("workshop")
def test_an_error_that_begins_like_a_list_is_read_as_the_text_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path)
    (tmp_path / "toy.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "toy.json").write_text(json.dumps(PROVENANCE), encoding="utf-8")
    study = tables.read("toy")
    assert study.failed()[0]["error"] == "[Errno 28] No space left"
    assert study.values("loss", {"hidden_dims": [400, 200]}) == [99.5]


def test_a_study_of_a_notebook_that_is_gone_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path)
    (tmp_path / "toy.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "toy.json").write_text(
        json.dumps({**PROVENANCE, "notebook": "04_gone"}), encoding="utf-8"
    )
    with pytest.raises(StudyError, match=r"toy\.json: expected .*'04_gone'"):
        tables.read("toy")
