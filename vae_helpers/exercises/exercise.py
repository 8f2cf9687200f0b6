"""Try an answer: against an independent result, and against the mistakes that others have made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from vae_helpers.exercises.comparison import (
    FormError,
    UnwrittenError,
    agree,
    difference,
    shown,
    written,
)

UNWRITTEN = "not yet: write your code in place of `raise NotImplementedError()` and run the cell."


def call(answer: Any, *args: Any) -> Any:
    """What a function gives for the arguments, as it is."""
    return answer(*args)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What `judge` needs to know of an exercise.

    Attributes:
        name: of the exercise, and of the reader's answer.
        expected: what `agree` accepts as wanted. If the answer is a function, another function
            that finds it from the same arguments, in another way than the one that is taught.
        form: type, shape, unit and range of an answer.
        hint: where to look, without the answer.
        misconceptions: a sentence that names a mistake, and the function or value that has it. A
            dictionary may name only the parts that are wrong, and a tuple may hold `ANY`.
        tries: if the answer is a function, the arguments that it is tried with, made anew for each
            trial, so that nothing is lost when they are changed.
        observe: what is compared of a function, from it and its arguments.
        tolerance: of numbers, absolute and relative.
    """

    name: str
    expected: Any
    form: str
    hint: str
    misconceptions: Mapping[str, Any]
    tries: Callable[[], list[tuple[Any, ...]]] | None = None
    observe: Callable[..., Any] = call
    tolerance: float = 1e-5


class Verdict(NamedTuple):
    """Whether an answer is right, and what its author is told."""

    right: bool
    message: str


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Try an answer, whatever it is; nothing that it raises leaves this function."""
    try:
        if exercise.tries is not None and not callable(answer):
            written(answer)
            raise FormError(f"expected a function, got {shown(answer)}")
        seen = observed(exercise, answer)
    except NotImplementedError:
        return Verdict(False, UNWRITTEN)
    except UnwrittenError as error:
        return Verdict(False, f"not yet: {error}.")
    except FormError as error:
        return _missed(exercise, f"{error}. Expected: {exercise.form}")
    except Exception as error:  # the reader's code may raise anything
        reason = (str(error).splitlines() or ["no message"])[0]
        return _missed(exercise, f"your code stopped with {type(error).__name__}: {reason}")

    wanted = solved(exercise)
    tolerance = exercise.tolerance
    try:
        pairs = list(zip(seen, wanted, strict=True))
        wrong = [pair for pair in pairs if not agree(*pair, tolerance=tolerance)]
        if not wrong:
            return Verdict(True, "right.")
        came = f"expected {exercise.form}; got {difference(*wrong[0], tolerance=tolerance)}"
    except UnwrittenError as error:
        return Verdict(False, f"not yet: {error}.")
    except FormError as error:
        came = f"{error}. Expected: {exercise.form}"
    known = [
        told(sentence, mistake)
        for sentence, mistake in exercise.misconceptions.items()
        if resembles(exercise, seen, mistake)
    ]
    return Verdict(False, " ".join(["not yet.", *known])) if known else _missed(exercise, came)


def told(sentence: str, mistake: Any) -> str:
    """The words of the check for a misconception, with the parts of a dictionary that have it."""
    parts = ", ".join(map(repr, mistake)) if isinstance(mistake, dict) else ""
    return f"{parts}: {sentence}" if parts else sentence


def _missed(exercise: Exercise, what: str) -> Verdict:
    return Verdict(False, f"not yet: {what}.\nHint: {exercise.hint}")


def observed(exercise: Exercise, answer: Any) -> list[Any]:
    """One observation per trial; the reader's random numbers are left as they were."""
    if exercise.tries is None:
        return [answer]
    found = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for args in exercise.tries():
            torch.manual_seed(0)
            found.append(exercise.observe(answer, *args))
    return found


def solved(exercise: Exercise) -> list[Any]:
    """What is expected, one result per trial."""
    if exercise.tries is None:
        return [exercise.expected]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        return [exercise.expected(*args) for args in exercise.tries()]


def resembles(exercise: Exercise, seen: list[Any], mistake: Any) -> bool:
    """Whether what was observed of an answer is what a misconception gives, in every trial."""
    try:
        pairs = list(zip(seen, observed(exercise, mistake), strict=True))
        return all([agree(*pair, tolerance=exercise.tolerance) for pair in pairs])
    except FormError:
        return False
