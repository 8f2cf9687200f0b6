"""What a computation costs at least: its operations and bytes, and what the machine can do of both.

A program that does F floating-point operations and moves B bytes cannot be faster than F divided by
the machine's rate of operations, nor than B divided by its rate of moving bytes; which of the two
is the longer time depends on F / B, the intensity (Williams, Waterman & Patterson 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vae_helpers import acceleration
from vae_helpers.benchmarks.clock import Work, seconds_of

FLOAT = 4  # bytes of a float32

Multiply = Callable[[Tensor, Tensor], Tensor]
"""`[N, I]` and `[O, I]` to `[N, O]`: `F.linear`, or `acceleration.linear` for oneDNN's."""


class Product(NamedTuple):
    """Two matrices to be multiplied: `a` `[N, I]` by the transpose of `b` `[O, I]`."""

    a: Tensor
    b: Tensor

    @property
    def flops(self) -> int:
        """Floating-point operations: N O sums of I products."""
        return 2 * len(self.a) * len(self.b) * self.a.shape[1]

    @property
    def bytes(self) -> int:
        """What has to be moved if each matrix is read once and the result written once."""
        return FLOAT * (self.a.numel() + self.b.numel() + len(self.a) * len(self.b))


def products_of(work: Work) -> list[Product]:
    """The matrix products that linear layers make in `work`, forward and backward, in order.

    The matrices are random ones with the shapes and the layout in memory of those that were
    multiplied, and a matrix of several products is one here too, so that they fit the caches as
    well as in `work` and no better.
    """
    recorder = _Recorder()
    with recorder:
        work()
    return recorder.products


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []
        self._numbers: dict[tuple[int, int], Tensor] = {}  # by the place and size of a matrix

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self._note(args[-2], args[-1].T)
        elif func.name() == "mkldnn::_linear_pointwise":  # of `acceleration`, not in every PyTorch
            self._note(*args[:2])
        return func(*args, **(kwargs or {}))

    def _note(self, a: Tensor, b: Tensor) -> None:
        self.products.append(Product(self._like(a), self._like(b)))

    def _like(self, matrix: Tensor) -> Tensor:
        place = matrix.data_ptr(), matrix.numel()
        numbers = self._numbers.setdefault(place, torch.randn(matrix.numel()))
        return numbers.as_strided(matrix.shape, matrix.stride())


def products_alone(
    products: Iterable[Product], multiply: Multiply | None = None, *, times: int = 1
) -> Work:
    """The floor of a step: its matrix products and nothing else.

    Args:
        products: of the step.
        multiply: by what; by what `fit` takes on this processor if None.
        times: how many steps a call makes.
    """
    if multiply is None:
        multiply = acceleration.linear if acceleration.products() == "onednn" else F.linear

    @torch.no_grad()
    def steps() -> None:
        for _ in range(times):
            for a, b in products:
                multiply(a, b)

    return steps


@dataclass(frozen=True)
class Machine:
    """The two rates of a machine, at the present number of threads.

    Attributes:
        flops_per_second: of large float32 matrix products.
        bytes_per_second: read and written, of arrays that no cache holds.
    """

    flops_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """The intensity, in operations per byte, from which on operations are what takes time."""
        return self.flops_per_second / self.bytes_per_second

    def seconds(self, flops: float, moved: float) -> float:
        """The least time of something that does so many operations and moves so many bytes."""
        return max(flops / self.flops_per_second, moved / self.bytes_per_second)


@torch.no_grad()
def measure_machine(multiply: Multiply, *, size: int = 1_024, times: int = 7) -> Machine:
    """Measure the roof of this machine, about a second.

    The best of several times is taken: others who use the machine can only make it slower.

    Args:
        multiply: which library's products.
        size: of the square matrices; the array that is copied is 16 times as large, 64 MiB.
        times: how often.
    """
    a, b = torch.randn(size, size), torch.randn(size, size)
    source = torch.randn(16 * size * size)
    target = torch.empty_like(source)
    product = min(seconds_of(lambda: multiply(a, b)) for _ in range(times))
    copy = min(seconds_of(lambda: target.copy_(source)) for _ in range(times))
    return Machine(2 * size**3 / product, 2 * FLOAT * source.numel() / copy)
