"""Whether two results agree, and how a result is described to the reader who has found it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

ANY = None
"""In what a misconception gives: this part may be anything."""


class FormError(ValueError):
    """An answer has another type or shape than was asked for; the text says which was expected."""


class UnwrittenError(FormError):
    """An answer, or a part of it, has not been written yet; the text says what to do."""


def agree(got: Any, wanted: Any, *, tolerance: float) -> bool:
    """Whether two results are equal, part by part.

    Args:
        got: anything.
        wanted: a number, tensor, word, set of words, True or False, or a tuple or dictionary of
            these. Of a dictionary only its keys are compared, and `ANY` agrees with everything.
        tolerance: of numbers, absolute and relative.

    Raises:
        FormError: they have different types or shapes, or a part of `got` is missing.
    """
    if wanted is ANY:
        return True
    written(got)
    if isinstance(wanted, dict):
        if not isinstance(got, dict) or not wanted.keys() <= got.keys():
            keys = ", ".join(map(repr, wanted))
            raise FormError(f"expected a dictionary with {keys}, got {shown(got)}")
        return all([_part(key, got[key], wanted[key], tolerance) for key in wanted])
    if isinstance(wanted, tuple):
        if not isinstance(got, (tuple, list)) or len(got) != len(wanted):
            raise FormError(f"expected {len(wanted)} results, got {shown(got)}")
        pairs = zip(got, wanted, strict=True)
        return all([agree(*pair, tolerance=tolerance) for pair in pairs])
    if isinstance(wanted, (str, bool, set)):
        got = truth(got) if isinstance(wanted, bool) else got
        if not isinstance(got, type(wanted)):
            kind = {str: "a word", bool: "True or False", set: "a set of words"}[type(wanted)]
            raise FormError(f"expected {kind}, got {shown(got)}")
        return bool(_plain(got) == _plain(wanted))
    right = numbers(wanted)
    left = numbers(got, shape=right.shape)
    return torch.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)


def _part(key: str, got: Any, wanted: Any, tolerance: float) -> bool:
    try:
        return agree(got, wanted, tolerance=tolerance)
    except FormError as error:
        raise type(error)(f"at {key!r} {error}") from None


def numbers(value: Any, *, shape: tuple[int, ...] | None = None) -> Tensor:
    """A number, list, array or tensor as float64 on the CPU, without its gradient.

    Raises:
        FormError: it is none of these, or has another shape.
    """
    written(value)
    try:
        if isinstance(value, bool):
            raise TypeError
        tensor = torch.as_tensor(value).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise FormError(f"expected numbers, got {shown(value)}") from None
    if shape is not None and tensor.shape != shape:
        wanted = f"a tensor {list(shape)}" if len(shape) else "one number"
        raise FormError(f"expected {wanted}, got {shown(value)}")
    return tensor


def truth(value: Any) -> Any:
    """True or False if a comparison of tensors or arrays has given a single one, else the value."""
    single = isinstance(value, (Tensor, np.ndarray, np.generic)) and value.ndim == 0
    return bool(value) if single and str(value.dtype) in ("bool", "torch.bool") else value


def written(value: Any) -> None:
    """Refuse what stands for "not yet".

    Raises:
        UnwrittenError: the value is None or `...`.
    """
    if value is None:
        raise UnwrittenError("it is None: return a result, or put one in place of None")
    if value is ...:
        raise UnwrittenError("`...` is still there: put your answer in its place")


def shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, dict):
        return f"a dictionary with {', '.join(map(repr, value)) or 'no keys'}"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} results"
    if isinstance(value, (str, bool, set, int)):
        return repr(value)
    if not isinstance(value, (float, Tensor)):
        return f"a value of type {type(value).__name__}"
    tensor = torch.as_tensor(value).detach().double()
    if tensor.ndim == 0:
        return f"{tensor.item():.6g}"
    if not tensor.numel():
        return f"an empty tensor {list(tensor.shape)}"
    least, most = tensor.aminmax()
    return f"a tensor {list(tensor.shape)} from {least:.4g} to {most:.4g}"


def difference(got: Any, wanted: Any, *, tolerance: float) -> str:
    """What came in place of the wanted result: the parts that are right, or the result itself."""
    if not isinstance(wanted, dict):
        return " and ".join(map(shown, got)) if isinstance(got, tuple) else shown(got)
    right = [key for key in wanted if agree(got[key], wanted[key], tolerance=tolerance)]
    wrong = [key for key in wanted if key not in right]
    return f"right so far: {', '.join(right) or 'nothing'}; not yet: {', '.join(wrong)}"


def _plain(value: Any) -> Any:
    """Words without regard to capitals and to spaces at their ends."""
    if isinstance(value, set):
        return {_plain(word) for word in value}
    return value.strip().casefold() if isinstance(value, str) else value
