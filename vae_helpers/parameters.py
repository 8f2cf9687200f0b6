"""What values a parameter may take, for configurations, notebooks and the command line alike.

One name means one thing everywhere, so that one table can say what is valid. The module imports
neither torch nor anything else slow: a mistake on the command line is refused at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from vae_helpers.datasets import DATASETS


class ParameterError(ValueError):
    """A parameter has a name, a type or a value that is not valid."""


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`; whole ones only if `type` is int."""

    type: type[int] | type[float]
    low: float
    high: float

    def check(self, name: str, value: Any) -> int | float:
        """The value as `type`, or a `ParameterError` that gives the nearest valid one."""
        accepted = Integral if self.type is int else Real  # numpy's numbers as well
        if isinstance(value, bool) or not isinstance(value, accepted):
            kind = "a whole number" if self.type is int else "a number"
            raise ParameterError(f"{name}: expected {kind}, got {shown(value)}")
        # numpy would round the ends of the range
        number: Any = value.item() if hasattr(value, "item") else value
        if not self.low <= number <= self.high:
            nearest = self.high if number > self.high else self.low
            raise ParameterError(
                f"{name}: expected {self.low:.10g} to {self.high:.10g}, got {shown(value)}; "
                f"the nearest valid value is {nearest:.10g}"
            )
        return self.type(number) + 0  # -0.0 becomes 0.0: equal values make equal keys


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        """The word, or a `ParameterError` that gives the nearest valid one."""
        if not isinstance(value, str) or value not in self.words:
            raise ParameterError(
                f"{name}: expected one of {', '.join(self.words)}, got {shown(value)}"
                + (suggestion(value, self.words) if isinstance(value, str) else "")
            )
        return str(value)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    def check(self, name: str, value: Any) -> bool:
        """The truth value, or a `ParameterError`."""
        if not isinstance(value, bool):
            raise ParameterError(f"{name}: expected True or False, got {shown(value)}")
        return value


@dataclass(frozen=True)
class Several:
    """One or more numbers, each of them as `each` says.

    A notebook writes a list, as papermill does; a configuration keeps a tuple.
    """

    each: Number

    def check(self, name: str, value: Any) -> tuple[int | float, ...]:
        """The numbers as a tuple, or a `ParameterError` that names the first wrong one."""
        if not isinstance(value, (list, tuple)) or not value:
            raise ParameterError(f"{name}: expected a list of numbers, got {shown(value)}")
        return tuple(self.each.check(f"{name}[{i}]", item) for i, item in enumerate(value))


@dataclass(frozen=True)
class Words:
    """Any number of words out of some, each once at most; none is an empty list."""

    known: tuple[str, ...]

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        """The words as a tuple, or a `ParameterError` that names the first wrong one."""
        if not isinstance(value, (list, tuple)):
            raise ParameterError(f"{name}: expected a list of words, got {shown(value)}")
        words = [Choice(self.known).check(f"{name}[{i}]", item) for i, item in enumerate(value)]
        if len(set(words)) < len(words):
            raise ParameterError(f"{name}: expected each word once, got {shown(value)}")
        return tuple(words)


Rule = Number | Choice | Flag | Several | Words

TRAIN = max(dataset.train_images for dataset in DATASETS.values())
TEST = max(dataset.test_images for dataset in DATASETS.values())
"""The most images that a data set has."""

DEGRADATIONS = (
    *("contrast", "rounded", "blur", "noise", "holes", "overlaid", "without_classes", "repeated"),
)
MEASURES = (
    *(
        "fcd",
        "frechet",
        "neighbours",
        "two_sample",
        "digits",
        "copies",
        "likelihood",
        "codes",
        "units",
    ),
    *("bounds", "bound_curve", "static_draws", "annealed", "amortization", "parzen"),
)
"""The names of `degradations.DEGRADATIONS` and `measures.MEASURES`; a test holds them equal."""

RULES: Mapping[str, Rule] = {
    "epochs": Number(int, 1, 10_000),
    "batch_size": Number(int, 1, 60_000),
    "learning_rate": Number(float, 1e-8, 10.0),
    "loss": Choice(("elbo", "iwae", "beta_tc")),
    "z_samples": Number(int, 1, 1_000),
    "beta": Number(float, 0.0, 1e6),
    "beta1": Number(float, 0.0, 0.9999),
    "adam_eps": Number(float, 1e-12, 1.0),
    "batch_norm": Flag(),
    "slope": Number(float, 0.0, 1.0),
    "dropout": Number(float, 0.0, 0.95),
    "real_label": Number(float, 0.5, 1.0),
    "latent_dim": Number(int, 1, 1_000),
    "hidden_dims": Several(Number(int, 1, 10_000)),
    "stochastic_layers": Number(int, 1, 2),
    "flow_length": Number(int, 1, 1_000),
    "activation": Choice(("relu", "tanh", "sigmoid")),
    "optimizer": Choice(("adam", "sgd", "sgd_momentum")),
    "seed": Number(int, 0, 2**31 - 1),
    "sample_seed": Number(int, 0, 2**31 - 1),
    "dataset": Choice(tuple(DATASETS)),
    "binarize": Choice(("none", "dynamic")),
    "compare_epochs": Number(int, 1, 1_000),
    "arm_epochs": Number(int, 1, 1_000),
    "model": Choice(("vae", "gan", "wgan", "flow", "layered", "conv_vae", "conv_gan", "images")),
    "sampler": Choice(("prior", "mixture")),
    "components": Number(int, 1, 1_000),
    "degradation": Choice(("none", *DEGRADATIONS)),
    "severity": Number(float, 0.0, 1_000.0),
    "measures": Words(MEASURES),
    "curve": Words(MEASURES),
    "penalty": Number(float, 0.0, 1e6),
    "critic_steps": Number(int, 1, 100),
    "device": Choice(("auto", "cpu", "cuda")),
    "acceleration": Choice(("auto", "off")),
    "train_images": Number(int, 1, TRAIN),
    "held_out_images": Number(int, 0, TRAIN - 1),
    "test_images": Number(int, 1, TEST),
    "generated_images": Number(int, 10, 10_000),
    "likelihood_images": Number(int, 1, TEST),
    "num_samples": Number(int, 1, 1_000_000),
    "contrast": Flag(),
    "confidence": Number(float, 0.5, 0.9999),
}
"""Every parameter of a configuration or of a notebook, by its name."""


def check(name: str, value: Any, rules: Mapping[str, Rule] = RULES) -> Any:
    """The value in its own type, if it is valid for the parameter of this name.

    Raises:
        ParameterError: it says what was expected, what came, and the nearest valid choice.
    """
    if name not in rules:
        raise ParameterError(f"unknown parameter {name!r}{suggestion(name, rules)}")
    return rules[name].check(name, value)


def check_fields(config: Any) -> None:
    """Check every field of a frozen dataclass, and give it its own type.

    Raises:
        ParameterError: as in `check`.
    """
    for field in fields(config):
        object.__setattr__(config, field.name, check(field.name, getattr(config, field.name)))


def shown(value: Any) -> str:
    """A value as messages quote it: its repr, cut if it is long."""
    try:
        text = repr(value)
    except Exception:  # foreign code, and whole numbers of more than 4,300 digits have none
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:100]}... ({len(text):,} characters)"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word that looks most like this one, or all."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {by_lower[near[0]]!r}?"
    return f"; known are {', '.join(by_lower.values())}"
