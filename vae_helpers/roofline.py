"""What a computation costs at least: its operations and bytes, and what the machine can do of both.

A program that does F floating-point operations and moves B bytes cannot be faster than F divided by
the machine's rate of operations, nor than B divided by its rate of moving bytes; which of the two
is the longer time depends on F / B, the intensity (Williams, Waterman & Patterson 2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from vae_helpers.kernels import linear

FLOAT = 4  # bytes of a float32

Multiply = Callable[[Tensor, Tensor], Tensor]
"""`[N, I]` and `[O, I]` to `[N, O]`: `kernels.linear`, or `F.linear` for PyTorch's own BLAS."""


class Layer(NamedTuple):
    """A linear layer in a training step, and which products the step needs of it.

    Attributes:
        inputs, outputs: its widths.
        rows: images that pass through it.
        for_input: whether the gradient of its input is needed; not if that is the data.
        for_weights: whether that of its weights is; not if they stay as they are.
    """

    inputs: int
    outputs: int
    rows: int
    for_input: bool = True
    for_weights: bool = True

    @property
    def products(self) -> int:
        """How many of the three products are made: forward, and one for either gradient."""
        return 1 + self.for_input + self.for_weights

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition for each weight and row."""
        return self.products * 2 * self.rows * self.inputs * self.outputs

    @property
    def bytes(self) -> int:
        """What has to be moved if each product reads its two matrices once and writes the third."""
        rows, inputs, outputs = self.rows, self.inputs, self.outputs
        return self.products * FLOAT * (rows * inputs + rows * outputs + inputs * outputs)


def vae_layers(
    hidden_dims: Sequence[int] = (400, 200), latent_dim: int = 20, *, rows: int = 128
) -> list[Layer]:
    """The linear layers of a VAE's training step on `rows` images, the heads one by one."""
    down = [784, *hidden_dims]
    up = [latent_dim, *down[::-1]]
    heads = [(down[-1], latent_dim)] * 2
    widths = [*pairwise(down), *heads, *pairwise(up)]
    return [Layer(*pair, rows, for_input=number > 0) for number, pair in enumerate(widths)]


def gan_layers(
    hidden_dims: Sequence[int] = (400, 200), latent_dim: int = 20, *, rows: int = 128
) -> list[Layer]:
    """The linear layers of a GAN's training step on `rows` real images.

    The generator makes as many images; the discriminator learns from both kinds in one pass, and
    passes on the gradient of the generated ones in another, in which it stays as it is.
    """
    down = [784, *hidden_dims]
    up = [latent_dim, *down[::-1]]
    generator = list(pairwise(up))
    discriminator = [*pairwise(down), (down[-1], 1)]
    return [
        *(Layer(*pair, rows, for_input=number > 0) for number, pair in enumerate(generator)),
        *(
            Layer(*pair, 2 * rows, for_input=number > 0)
            for number, pair in enumerate(discriminator)
        ),
        *(Layer(*pair, rows, for_weights=False) for pair in discriminator),
    ]


def decoder_layers(
    hidden_dims: Sequence[int] = (400, 200), latent_dim: int = 20, *, rows: int
) -> list[Layer]:
    """The linear layers of decoding `rows` latent vectors, with no gradient at all."""
    up = [latent_dim, *reversed(hidden_dims), 784]
    pairs = pairwise(up)
    return [Layer(*pair, rows, for_input=False, for_weights=False) for pair in pairs]


def products_alone(layers: Sequence[Layer], multiply: Multiply = linear) -> Callable[[], None]:
    """The floor of a step: its matrix products at their shapes, forward and then backward.

    Nothing else is done, neither biases nor activations, loss or optimiser. What one product makes
    is not what the next one takes, so that a network of any form can be timed; all are there at
    one time, as in a step, so that they do not fit the caches any better.

    Args:
        layers: of the step.
        multiply: by what.
    """
    matrices = [
        (
            torch.randn(layer.rows, layer.inputs),
            torch.randn(layer.outputs, layer.inputs),
            torch.randn(layer.rows, layer.outputs),
        )
        for layer in layers
    ]

    @torch.no_grad()
    def step() -> None:
        gradients = []
        for x, weight, _ in matrices:
            multiply(x, weight)
        for layer, (x, weight, gradient) in zip(layers[::-1], matrices[::-1], strict=True):
            if layer.for_input:
                multiply(gradient, weight.T)
            if layer.for_weights:
                gradients.append(multiply(gradient.T, x.T))  # kept until the optimiser's turn

    return step


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

    def attainable(self, intensity: float) -> float:
        """Operations per second that the roof allows at an intensity."""
        return min(self.flops_per_second, intensity * self.bytes_per_second)


@torch.no_grad()
def measure_machine(multiply: Multiply = linear, *, size: int = 1_024, times: int = 7) -> Machine:
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


def seconds_of(work: Callable[[], object], *, repeat: int = 1) -> float:
    """Seconds that a call takes, the mean of `repeat` of them."""
    began = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - began) / repeat
