"""Values that are computed once and then read: a function of tensors, kept on disk.

    compare = cached(sample_quality.compare)
    quality = compare(features, reference)    # computed
    quality = compare(features, reference)    # read, also by the next process

The key is made of the function's code and all that it reaches (`code_digest`), of the arguments'
contents, and of what else decides the bits: threads, processor, versions. A changed weight,
argument or line of code has another key. A value of one thread, as the course publishes them, is
taken by a process with any number. The values lie in build/cache/ and may be removed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

import torch
from torch import Tensor, nn

from vae_helpers import COURSE, acceleration
from vae_helpers.store import checkpoints, code_digest
from vae_helpers.store.code_digest import MACHINERY, SourceChangedError
from vae_helpers.store.files import FileNotWrittenError

CACHE = COURSE / "build" / "cache"
SHOWN_ONLY = ("title",)  # arguments that a value does not depend on
PACKAGES = ("torch", "torchmetrics", "numpy", "scipy", "scikit-learn", "safetensors")

P = ParamSpec("P")
T = TypeVar("T")


class _NotCachedError(Exception):
    """An argument whose content no digest tells."""


def cached(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, whose values are kept in `CACHE`.

    Args:
        function: of the science, pure but for the generators that it draws from: they are left as
            it would leave them. Its arguments are tensors, modules of the science or of torch, and
            generators on the CPU, numbers, text, and tuples, lists and dictionaries of these; with
            others it is simply called. It returns a number, a tensor, or a named tuple of them.

    Raises:
        CodeDigestError: when it is called, if it is no function of the science.
    """
    signature = inspect.signature(function)
    module, name = function.__module__.removeprefix("vae_helpers."), function.__qualname__

    @wraps(function)
    def recall(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        rngs = {n: it for n, it in given.arguments.items() if isinstance(it, torch.Generator)}
        states = {n: ("rng", it.device.type, it.get_state()) for n, it in rngs.items()}
        arguments = {n: it for n, it in given.arguments.items() if n not in SHOWN_ONLY} | states
        try:
            code = code_digest.of_definition(module, name)
            path_with = partial(path_for, f"{module}.{name}", code, arguments)
            path = path_with()
            published = path if torch.get_num_threads() == 1 else path_with(threads=1)
        except SourceChangedError as error:
            print(error, file=sys.stderr)
            path = published = None
        found = find(published) or find(path)
        if found is None:
            value = function(*args, **kwargs)
            left = {n: it.get_state() for n, it in rngs.items()}
            keep(path, {"value": _plain(value), "rngs": left})
            return value
        for n, rng in rngs.items():
            rng.set_state(found["rngs"][n])
        value = found["value"]
        kind = get_type_hints(function)["return"]
        return kind._make(value) if hasattr(kind, "_make") else value  # type: ignore[no-any-return]

    return recall


def path_for(
    name: str, code: str, arguments: Mapping[str, Any], *, threads: int | None = None
) -> Path | None:
    """The file of a value; its name tells all that shapes it.

    Args:
        name: of what computes it, for people.
        code: its digest.
        arguments: of the call.
        threads: that compute it; those that torch has now if None.

    Returns:
        None if an argument is none of those that `cached` names.
    """
    try:
        content = _content(arguments)
    except _NotCachedError:
        return None
    what = {
        "code": code,
        "arguments": content,
        "threads": threads or torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "products": acceleration.products(),
        "numbers": str(torch.get_default_dtype()),
        "packages": _versions(),
    }
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
    return CACHE / name / f"{key}.pt"


def find(path: Path | None) -> Any:
    """What is kept there, or None if that is nothing or damaged."""
    return None if path is None else checkpoints.load(path)


def keep(path: Path | None, content: Any) -> None:
    """Write numbers, text and tensors to a place, whole and sealed; nowhere if that cannot be."""
    if path is None:
        return
    try:
        checkpoints.save(path, content)
    except FileNotWrittenError as error:
        print(f"{error} (it was not kept, and is computed again next time)", file=sys.stderr)


@cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _content(argument: Any) -> Any:
    """An argument as JSON that is another one for any other content."""
    kind = type(argument)
    if kind in (type(None), bool, int, float, str):
        return repr(argument)
    if kind is Tensor and argument.device.type == "cpu" and not argument.requires_grad:
        try:
            whole = argument.contiguous().reshape(-1).view(torch.uint8).numpy().data
        except (RuntimeError, TypeError) as error:  # a sparse one, say
            raise _NotCachedError from error
        words = f"{argument.dtype} {tuple(argument.shape)} {argument.stride()}"
        return [words, hashlib.sha256(whole).hexdigest()]
    if kind in (dict, OrderedDict):
        return {"pairs": [[_content(name), _content(it)] for name, it in argument.items()]}
    if kind in (list, tuple, set):
        parts = list(map(_content, argument))
        return [kind.__name__, *(sorted(parts) if kind is set else parts)]
    if isinstance(argument, tuple):
        return [_code_of(kind), *map(_content, argument)]
    if isinstance(argument, nn.Module):
        return [_code_of(kind), _content({**vars(argument), "_parameters": _weights(argument)})]
    raise _NotCachedError


def _weights(network: nn.Module) -> dict[str, Any]:
    own = network.named_parameters(recurse=False)
    return {name: (weight.requires_grad, weight.detach()) for name, weight in own}


def _code_of(kind: type) -> str:
    """What tells a class and its code.

    Raises:
        _NotCachedError: it is neither of the science nor of torch, or another one has its name.
    """
    package, _, module = kind.__module__.partition(".")
    known = getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    if known and package == "torch":
        return f"{kind.__module__}.{kind.__qualname__}"
    if known and package == "vae_helpers" and module.partition(".")[0] not in MACHINERY:
        return code_digest.of_definition(module, kind.__qualname__)
    raise _NotCachedError


def _plain(value: Any) -> Any:
    """A value without the name of its tuple: no class is read from a file."""
    return tuple(value) if isinstance(value, tuple) else value
