"""Measurements that are not repeated: a function of tensors is computed once and then read.

    @kept
    def compare(features, reference, *, seed=0): ...

What such a function gives depends on its arguments and its code alone. In a lesson of the full
profile its value is kept on disk under a key made of both, so that executing a course whose runs
are trained does not measure them anew; a changed weight, argument or line of code has another key.
Anywhere else the function is called as if nothing stood above it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache, wraps
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

import torch
from torch import Tensor, nn

from vae_helpers import checkpoints, claims, fingerprint

SHOWN_ONLY = ("title",)  # arguments that a value does not depend on
PACKAGES = ("torch", "torchmetrics", "numpy", "scipy", "scikit-learn", "safetensors")

P = ParamSpec("P")
T = TypeVar("T")


class _NotKeptError(Exception):
    """An argument whose content no digest tells."""


def kept(measure: Callable[P, T]) -> Callable[P, T]:
    """The same function, whose values are kept while `claims.KEPT` is a folder.

    Args:
        measure: pure but for the generators that it draws from: they are left as it would leave
            them. Its arguments are tensors, modules and generators on the CPU, numbers, text, and
            tuples, lists and dictionaries of these; with others it is simply called. It returns a
            number, a tensor, or a named tuple of them.
    """
    signature = inspect.signature(measure)

    @wraps(measure)
    def recall(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        arguments = {n: it for n, it in given.arguments.items() if n not in SHOWN_ONLY}
        module = measure.__module__.rpartition(".")[2]
        path = place(module, measure.__qualname__, arguments)
        found = find(path)
        generators = {n: it for n, it in arguments.items() if isinstance(it, torch.Generator)}
        if found is None:
            value = measure(*args, **kwargs)
            states = {name: it.get_state() for name, it in generators.items()}
            keep(path, {"value": _plain(value), "generators": states})
            return value
        for name, generator in generators.items():
            generator.set_state(found["generators"][name])
        value = found["value"]
        kind = get_type_hints(measure)["return"]
        return kind._make(value) if hasattr(kind, "_make") else value  # type: ignore[no-any-return]

    return recall


def place(module: str, name: str, arguments: Mapping[str, Any]) -> Path | None:
    """The file of a value of a definition of the package; its name tells all that shapes it.

    None if nothing is kept, or if an argument is none of those that `kept` names.
    """
    if claims.KEPT is None:
        return None
    try:
        content = _content(arguments)
    except _NotKeptError:
        return None
    what = {
        "code": _code(module, name),
        "arguments": content,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "packages": _versions(),
    }
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
    return claims.KEPT / f"{module}.{name}" / f"{key}.pt"


def find(path: Path | None) -> Any:
    """What was kept there, or None if that is nothing or damaged."""
    return None if path is None else checkpoints.load(path)


def keep(path: Path | None, content: Any) -> None:
    """Write numbers, text and tensors to a place, whole and sealed."""
    if path is not None:
        checkpoints.save(path, content)


@cache
def _code(module: str, name: str) -> str:
    return fingerprint.digest_of(module, name)


@cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _content(argument: Any) -> Any:
    """An argument as JSON that is another one for any other content."""
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return repr(argument)
    on_cpu = getattr(argument, "device", torch.device("cpu")).type == "cpu"
    if isinstance(argument, Tensor) and on_cpu and not argument.requires_grad:
        content = hashlib.sha256(argument.contiguous().numpy().data).hexdigest()
        return [f"{argument.dtype} {tuple(argument.shape)} {argument.stride()}", content]
    if isinstance(argument, torch.Generator) and on_cpu:
        return ["generator", _content(argument.get_state())]
    if isinstance(argument, nn.Module):  # its words tell what is not a weight: activations, dropout
        state = {name: _content(it.detach()) for name, it in argument.state_dict().items()}
        return [repr(argument), argument.training, state]
    if isinstance(argument, Mapping):
        return {name: _content(it) for name, it in argument.items()}
    if isinstance(argument, (list, tuple)):
        return [type(argument).__name__, *map(_content, argument)]
    raise _NotKeptError


def _plain(value: Any) -> Any:
    """A value without the name of its tuple: no class is read from a file."""
    return tuple(value) if isinstance(value, tuple) else value
