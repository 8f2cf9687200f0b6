"""What a parameter may be, and what the message says when it is not."""

import ast
import json
import math
import subprocess
import sys

import pytest

from vae_helpers import PROJECT
from vae_helpers.datasets import DATASETS
from vae_helpers.parameters import (
    MEASURES,
    RULES,
    Choice,
    Flag,
    ParameterError,
    Words,
    check,
    shown,
    suggestion,
)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 30, 30),
        ("beta", 1, 1.0),
        ("beta", 0.0, 0.0),
        ("learning_rate", 1e-3, 1e-3),
        ("hidden_dims", [400, 200], (400, 200)),
        ("hidden_dims", (50,), (50,)),
        ("activation", "tanh", "tanh"),
        ("batch_norm", True, True),
        ("batch_norm", False, False),
        ("beta1", 0, 0.0),
        ("slope", 1, 1.0),
        ("dropout", 0.95, 0.95),
        ("real_label", 0.5, 0.5),
        ("model", "gan", "gan"),
        ("model", "layered", "layered"),
        ("stochastic_layers", 2, 2),
        ("adam_eps", 1, 1.0),
        ("generated_images", 10, 10),
        ("seed", 2**31 - 1, 2**31 - 1),
        ("train_images", 60_000, 60_000),
        ("measures", ["fcd", "copies"], ("fcd", "copies")),
        ("measures", ("copies", "fcd"), ("copies", "fcd")),
        ("curve", [], ()),
        ("severity", 3, 3.0),
    ],
)
def test_valid_value_comes_back_in_its_own_type(name, value, expected):
    checked = check(name, value)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("epochs", 0, "1"),
        ("epochs", -5, "1"),
        ("epochs", 10_001, "10000"),
        ("batch_size", 60_001, "60000"),
        ("beta", -0.5, "0"),
        ("learning_rate", 0.0, "1e-08"),
        ("learning_rate", math.inf, "10"),
        ("learning_rate", math.nan, "1e-08"),
        ("beta1", 1.0, "0.9999"),
        ("slope", -0.2, "0"),
        ("dropout", 1.0, "0.95"),
        ("real_label", 0.1, "0.5"),
        ("real_label", 2, "1"),
        ("generated_images", 9, "10"),
        ("latent_dim", 0, "1"),
        ("test_images", 10_001, "10000"),
    ],
)
def test_number_out_of_range_is_refused_with_the_nearest_valid_one(name, value, nearest):
    with pytest.raises(ParameterError) as caught:
        check(name, value)
    message = str(caught.value)
    assert message.startswith(f"{name}: expected ")
    assert f"got {value!r}" in message
    assert message.endswith(f"the nearest valid value is {nearest}")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 2.0, "a whole number"),
        ("epochs", "30", "a whole number"),
        ("epochs", True, "a whole number"),
        ("beta", "1", "a number"),
        ("beta", False, "a number"),
        ("beta", None, "a number"),
        ("batch_norm", 1, "True or False"),
        ("batch_norm", 0.0, "True or False"),
        ("batch_norm", "True", "True or False"),
        ("batch_norm", None, "True or False"),
        ("dropout", True, "a number"),
        ("hidden_dims", 400, "a list of numbers"),
        ("hidden_dims", [], "a list of numbers"),
        ("hidden_dims", "400", "a list of numbers"),
        ("measures", "fcd", "a list of words"),
        ("curve", None, "a list of words"),
        ("curve", {"fcd": 1}, "a list of words"),
        ("measures", ["fcd", "copies", "fcd"], "each word once"),
    ],
)
def test_value_of_the_wrong_type_is_refused(name, value, expected):
    with pytest.raises(ParameterError) as caught:
        check(name, value)
    assert str(caught.value) == f"{name}: expected {expected}, got {value!r}"


def test_wrong_item_of_a_list_is_named_by_its_place():
    with pytest.raises(ParameterError, match=r"^hidden_dims\[1\]: expected 1 to 10000, got 0"):
        check("hidden_dims", [400, 0])


@pytest.mark.parametrize("name", ["measures", "curve"])
def test_wrong_word_of_a_list_is_named_by_its_place_with_the_nearest_known_one(name):
    with pytest.raises(ParameterError) as caught:
        check(name, ["fcd", "kopies"])
    message = str(caught.value)
    assert message.startswith(f"{name}[1]: expected one of {', '.join(MEASURES)}, got 'kopies'")
    assert message.endswith("; did you mean 'copies'?")
    with pytest.raises(ParameterError, match=rf"^{name}\[0\]: expected one of .*, got 3$"):
        check(name, [3, "fcd"])


def test_all_words_of_a_list_may_be_given_at_once():
    assert check("measures", list(MEASURES)) == MEASURES
    assert RULES["measures"] == RULES["curve"] == Words(MEASURES)


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("activation", "rely", "relu"),
        ("optimizer", "adm", "adam"),
        ("dataset", "MINST", "MNIST"),
        ("dataset", "Fashion", "FashionMNIST"),
        ("loss", "iwea", "iwae"),
        ("acceleration", "of", "off"),
        ("device", "gpu", "cpu"),
        ("model", "GAN", "gan"),
        ("sampler", "mixtur", "mixture"),
        ("degradation", "blurred", "blur"),
    ],
)
def test_unknown_word_is_refused_with_the_nearest_known_one(name, value, near):
    with pytest.raises(ParameterError) as caught:
        check(name, value)
    message = str(caught.value)
    assert message.startswith(f"{name}: expected one of ")
    assert message.endswith(f"got {value!r}; did you mean {near!r}?")


def test_unknown_parameter_is_refused_with_the_nearest_known_one():
    with pytest.raises(ParameterError, match="unknown parameter 'epoch'; did you mean 'epochs'"):
        check("epoch", 3)


def test_word_like_no_other_gets_the_whole_list():
    assert suggestion("xyz", ["adam", "sgd"]) == "; known are adam, sgd"


def test_parameter_error_is_a_value_error():
    assert issubclass(ParameterError, ValueError)


RANGES = {
    "epochs": (1, 10_000),
    "batch_size": (1, 60_000),
    "learning_rate": (1e-8, 10.0),
    "beta": (0.0, 1e6),
    "beta1": (0.0, 0.9999),
    "slope": (0.0, 1.0),
    "dropout": (0.0, 0.95),
    "real_label": (0.5, 1.0),
    "latent_dim": (1, 1_000),
    "seed": (0, 2_147_483_647),  # the largest whole number of 32 bits with a sign
    "sample_seed": (0, 2_147_483_647),
    "compare_epochs": (1, 1_000),
    "arm_epochs": (1, 1_000),
    "components": (1, 1_000),
    "severity": (0.0, 1_000.0),
    "penalty": (0.0, 1e6),
    "critic_steps": (1, 100),
    "z_samples": (1, 1_000),
    "train_images": (1, 60_000),  # what MNIST has
    "held_out_images": (0, 59_999),  # one is left to train on
    "test_images": (1, 10_000),  # what MNIST has
    "generated_images": (10, 10_000),  # as many as are compared with at least and at most
    "likelihood_images": (1, 10_000),
    "num_samples": (1, 1_000_000),
    "confidence": (0.5, 0.9999),
    "stochastic_layers": (1, 2),  # the networks of Burda et al. 2016
    "flow_length": (1, 1_000),
    "adam_eps": (1e-12, 1.0),
}


def test_a_long_value_is_quoted_by_its_beginning_and_its_length():
    assert shown("a" * 198) == f"'{'a' * 198}'"
    assert shown("a" * 199) == f"'{'a' * 99}... (201 characters)"


def test_every_data_set_can_be_asked_for():
    assert [check("dataset", name) for name in DATASETS] == list(DATASETS)


def annotation(name):
    """How a notebook annotates a parameter: one type for each rule, and a list where several."""
    rule = RULES[name]
    if isinstance(rule, Choice):
        return "str"
    if isinstance(rule, Flag):
        return "bool"
    if isinstance(rule, Words):
        return "list[str]"
    return rule.type.__name__ if hasattr(rule, "type") else f"list[{rule.each.type.__name__}]"


def parameters_cell(path):
    """The statements of a notebook's cell that is tagged as its parameters."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    return ast.parse("".join(cell["source"])).body


@pytest.mark.parametrize("path", sorted(PROJECT.glob("notebooks/*.ipynb")), ids=lambda it: it.stem)
def test_a_name_has_the_same_annotation_and_type_in_every_notebook(path):
    for line in parameters_cell(path):
        name, default = line.target.id, ast.literal_eval(line.value)
        assert ast.unparse(line.annotation) == annotation(name), name
        assert type(default).__name__ == annotation(name).partition("[")[0], name
        checked = check(name, default)
        assert (list(checked) if isinstance(default, list) else checked) == default, name


def test_every_number_has_a_range():
    assert RANGES.keys() == {name for name, rule in RULES.items() if hasattr(rule, "low")}


@pytest.mark.parametrize("name", [*RANGES, "hidden_dims"])
def test_both_ends_of_a_range_are_valid_and_what_lies_beyond_is_not(name):
    low, high = RANGES.get(name, (1, 10_000))
    beyond = (low - 1, high + 1)
    if isinstance(low, float):
        beyond = (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))

    def checked(value):
        return check(name, [value])[0] if name == "hidden_dims" else check(name, value)

    assert (checked(low), checked(high)) == (low, high)
    for value in beyond:
        with pytest.raises(ParameterError, match=name):
            checked(value)


def test_checking_a_parameter_imports_nothing_slow():
    code = "import json, sys, vae_helpers.parameters; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert not {"torch", "torchvision", "numpy", "matplotlib"} & set(json.loads(done.stdout))
