"""What PyTorch does slowly on a processor, done faster: products, softplus, dropout, memory.

The values are PyTorch's up to rounding; dropout's are PyTorch's in distribution. On a GPU products
and dropout are PyTorch's own. Notebook 11 measures what is gained.
"""

from __future__ import annotations

import ctypes
import math
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import flop_registry, register_flop_formula

SMALL = 64
"""Below this width the fixed costs of a call decide, and PyTorch's own product is as fast."""


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory for its next tensors.

    The C library of Linux gives the memory of large freed tensors back to the system at once; the
    next tensor then gets it page by page, each cleared by the kernel, which takes longer than most
    of what is done with it. Other C libraries are left as they are.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # names and numbers of mallopt(3), from malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(m_mmap_threshold, 2**25)  # the largest that glibc accepts, 32 MiB
        libc.mallopt(m_trim_threshold, 2**30)


keep_freed_memory()


class Linear(nn.Linear):
    """`nn.Linear` with its matrix products by oneDNN: same parameters, same initial weights."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[..., in_features]` to `[..., out_features]`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, as `F.linear`, by oneDNN where that helps.

    PyTorch hands products of float32 matrices to MKL, which on processors that are not Intel's may
    use narrower vectors than there are; oneDNN, which PyTorch brings along for convolutions, asks
    the processor what it has. On a GPU, in float64 and for narrow layers this is `F.linear`.

    Args:
        x: `[..., I]`.
        weight: `[O, I]`.
        bias: `[O]`, or None.

    Returns:
        `[..., O]`. It can be differentiated once.
    """
    if not _suits_onednn(x, weight):
        return F.linear(x, weight, bias)
    rows: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return rows.view(*x.shape[:-1], len(weight))


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), as `F.softplus`, without the `log1p` that takes most of its time.

    With |x| it is max(x, 0) - log(sigmoid(|x|)), in which nothing overflows. The sigmoid lies
    between 1/2 and 1, so what its rounding costs is 6e-8 at most, and that is lost in a sum over
    pixels. The derivative is sigmoid(x), at 0 as well.

    Args:
        x: any shape.
    """
    value: Tensor = _Softplus.apply(x)
    return value


class Dropout(nn.Dropout):
    """`nn.Dropout` with cheaper random numbers: 16 bits for each unit and not a draw of its own.

    A unit is left out with probability p to the nearest 1/65536, and the others are divided by
    1 - p, so that means stay.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape; as it is in evaluation mode."""
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        words = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64)
        bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()].view(x.shape)
        kept = bits >= round(self.p * 2**16) - 2**15
        return x * kept.to(x.dtype).div_(1 - self.p)


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and x.shape[-1] == weight.shape[1]  # what does not fit gets F.linear's message
        and min(weight.shape) >= SMALL
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()  # inductor takes this operation for inference only
    )


def _flops(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    """So that `FlopCounterMode` counts the product, as it does PyTorch's own."""
    return 2 * a.numel() * b[0]


if torch.backends.mkldnn.is_available():
    flop_registry.pop(torch.ops.mkldnn._linear_pointwise, None)  # when this module is reloaded
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_flops)


def _times_transposed(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a @ b.T + bias` for `[N, I]` and `[O, I]`."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _times_transposed(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _times_transposed(grad, weight.T) if for_x else None,
            _times_transposed(grad.T, x.T) if for_weight else None,
            grad.sum(dim=0) if for_bias else None,
        )


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu().sub_(x.abs().sigmoid_().log_())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.sigmoid()
        return slope.mul_(grad)


PARTS = (
    Linear,
    Dropout,
    linear,
    softplus,
    _suits_onednn,
    _times_transposed,
    _Linear,
    _Softplus,
)
"""Whose code shapes a run's numbers, for its key."""
