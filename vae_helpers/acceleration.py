"""The same training sooner on a processor: what `fit` applies and anybody can leave out.

    with applied():
        ...

Inside, three functions of PyTorch are replaced by faster ones whose values are equal up to rounding
(dropout's in distribution): `F.linear`, `F.binary_cross_entropy_with_logits` and `F.dropout`. What
does not suit them is left to PyTorch: another device or type, a small layer, a processor on which
nothing is gained. Nothing happens on import.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STOCK_LINEAR, STOCK_BCE, STOCK_DROPOUT = F.linear, F.binary_cross_entropy_with_logits, F.dropout

Functions = dict[str, Callable[..., Tensor]]  # by their names in torch.nn.functional
STOCK: Functions = {
    "linear": STOCK_LINEAR,
    "binary_cross_entropy_with_logits": STOCK_BCE,
    "dropout": STOCK_DROPOUT,
}

SMALL = 64
"""Below this width the fixed costs of a call decide, and PyTorch's own functions are as fast."""


@contextmanager
def applied(choice: str = "auto") -> Iterator[None]:
    """A context in which PyTorch computes what it can in less time.

    It gives names in `torch.nn.functional` to other functions, for all threads of the process. Of
    contexts that overlap the one that was entered last decides; after the last one PyTorch is as
    it was.

    Args:
        choice: "auto", or "off" for PyTorch as it is.
    """
    functions = STOCK
    if choice != "off":
        keep_freed_memory()
        functions = STOCK | {"binary_cross_entropy_with_logits": bce, "dropout": drop}
        functions |= {"linear": linear} if products() == "onednn" else {}
    with _lock:
        _entered.append(functions)
        vars(F).update(functions)
    try:
        yield
    finally:
        with _lock:
            _entered.remove(functions)
            vars(F).update(_entered[-1] if _entered else STOCK)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_entered: list[Functions] = list()  # of the contexts that are open now
_lock = threading.Lock()


def products(choice: str = "auto") -> str:
    """Which library multiplies matrices under `applied(choice)`: "off", "stock" or "onednn".

    On processors with AVX-512 it is oneDNN. PyTorch's own choice, MKL, uses vectors half as wide
    where the maker of the processor is not Intel; where there is only AVX2 both are about as fast,
    and PyTorch decides. `python -m vae_helpers bench` measures both.

    Results of the two libraries differ by rounding, so a run's key holds this word.
    """
    if choice == "off":
        return "off"
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "onednn" if wide and _has_onednn() else "stock"


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """`a @ b.T + bias` and its ReLU by the library that `products` names, without autograd.

    Args:
        a: `[N, I]`, float32 on the CPU.
        b: `[O, I]`, likewise.
        bias: `[O]`, or none.
        relu: whether what is below zero becomes zero.

    Returns:
        `[N, O]`.
    """
    if min(b.shape) >= SMALL and products() == "onednn":
        return _by_onednn(a, b, bias, "relu" if relu else "none")
    made = STOCK_LINEAR(a, b, bias)
    return made.relu_() if relu else made


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, as `F.linear`, by oneDNN where that is possible.

    PyTorch hands products of float32 matrices to MKL, which on processors that are not Intel's may
    use narrower vectors than there are. oneDNN, which PyTorch brings along for convolutions, asks
    the processor what it has.

    Args:
        x: `[..., I]`.
        weight: `[O, I]`.
        bias: `[O]`, or None.

    Returns:
        `[..., O]`. It can be differentiated any number of times.
    """
    if not _suits_onednn(x, weight):
        return STOCK_LINEAR(x, weight, bias)
    rows: Tensor = _Product.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return rows.view(*x.shape[:-1], len(weight))


def bce(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`F.binary_cross_entropy_with_logits` without the `log1p` that takes most of its time.

    It is softplus(input) - target * input; see `_Softplus`. With weights, another reduction than
    "none", few numbers, or on a GPU it is PyTorch's own.
    """
    settings = (weight, size_average, reduce, pos_weight)
    plain = reduction == "none" and all(setting is None for setting in settings)
    fits = input.shape == target.shape and input.device.type == "cpu"
    if not plain or not fits or input.numel() < SMALL**2:
        return STOCK_BCE(input, target, weight, size_average, reduce, reduction, pos_weight)
    softplus: Tensor = _Softplus.apply(input)
    return softplus - target * input


def drop(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`F.dropout` with cheaper random numbers: 16 bits per unit and not a draw of its own.

    A unit is left out with probability p to the nearest 1/65536, and the others are divided by
    1 - p, so that means stay.
    """
    left_out = round(p * 2**16)
    if not training or not 0 < left_out < 2**16 or inplace or input.device.type != "cpu":
        return STOCK_DROPOUT(input, p, training, inplace)
    words = torch.empty(math.ceil(input.numel() / 4), dtype=torch.int64)
    bits = words.random_(-(2**63), None).view(torch.int16)[: input.numel()].view(input.shape)
    stays = bits >= left_out - 2**15
    return input * stays.to(input.dtype).div_(1 - p)


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory for its next tensors, from now on.

    The C library of Linux gives the memory of large freed tensors back to the system at once; the
    next tensor then gets it page by page, each cleared by the kernel, which takes longer than most
    of what is done with it. Other C libraries are left as they are.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # names and numbers of mallopt(3), from malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(m_mmap_threshold, 2**25)  # the largest that glibc accepts, 32 MiB
        libc.mallopt(m_trim_threshold, 2**30)


def _has_onednn() -> bool:
    """Whether this PyTorch offers its private product by oneDNN, and the user has not said no."""
    switched_on = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return switched_on and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and x.shape[-1] == weight.shape[1]  # what does not fit gets F.linear's message
        and min(weight.shape) >= SMALL
        and _has_onednn()
        and not torch.compiler.is_compiling()  # inductor takes this operation for inference only
    )


def _by_onednn(a: Tensor, b: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, then, [], "")
    return made


class _Product(torch.autograd.Function):
    """`a @ b.T + bias` for `[N, I]` and `[O, I]` by oneDNN; its gradients are such products too."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return _by_onednn(a, b, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        for_a, for_b, for_bias = ctx.needs_input_grad
        return (
            _Product.apply(grad, b.T, None) if for_a else None,
            _Product.apply(grad.T, a.T, None) if for_b else None,
            grad.sum(dim=0) if for_bias else None,
        )


class _Softplus(torch.autograd.Function):
    """log(1 + e^x) as max(x, 0) - log(sigmoid(|x|)), in which nothing overflows.

    The sigmoid lies between 1/2 and 1, so what its rounding costs is 6e-8 at most, and that is lost
    in a sum over pixels. The derivative is sigmoid(x), at 0 as well.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu().sub_(x.abs().sigmoid_().log_())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.sigmoid()
        return slope * grad if torch.is_grad_enabled() else slope.mul_(grad)
