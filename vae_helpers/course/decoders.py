"""A decoder as a plain stack of matrices, for a page that has no PyTorch.

    0.weight [200, D]    1.weight [400, 200]    2.weight [784, 400]    float32
    0.bias   [200]       1.bias   [400]         2.bias   [784]         float32
    slope    [1]         of the hidden units below zero, float32

Each layer is `h @ weight.T + bias`; a hidden one is followed by the (leaky) ReLU, the last one by
the sigmoid. Batch normalisation in evaluation mode is a linear map, too, and is folded into the
layer before it. Half the size, in float16, costs up to 0.007 in a pixel, against 0.000005.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_weights

from vae_helpers.models import VAE, Generator


class Layer(NamedTuple):
    """A linear layer.

    Attributes:
        weight: `[O, I]`.
        bias: `[O]`.
    """

    weight: Tensor
    bias: Tensor


@torch.no_grad()
def packed(network: VAE | Generator, extras: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder of a VAE, or a generator in evaluation mode, as named tensors on the CPU.

    Args:
        network: unchanged; its hidden units are ReLUs or leaky ReLUs.
        extras: what else the page shows, under names of its own.

    Returns:
        The tensors of the table above, and the extras as they are.

    Raises:
        ValueError: another activation, or an extra that bears a name of the table.
    """
    hidden = network.decoder if isinstance(network, VAE) else network.hidden
    layers: list[Layer] = []
    slope = 0.0
    for module in [*hidden, network.to_logits]:
        match module:
            case nn.Linear():
                layers.append(Layer(module.weight.double(), module.bias.double()))
            case nn.BatchNorm1d():
                layers[-1] = _folded(layers[-1], module)
            case nn.ReLU():
                slope = 0.0
            case nn.LeakyReLU():
                slope = module.negative_slope
            case _:
                raise ValueError(
                    "network: expected hidden units that are ReLUs or leaky ReLUs, got "
                    f"{type(module).__name__}; pack a network that was trained with "
                    'activation="relu"'
                )
    tensors = {
        f"{number}.{name}": value.float().cpu().contiguous()
        for number, layer in enumerate(layers)
        for name, value in layer._asdict().items()
    }
    tensors["slope"] = torch.tensor([slope])
    if taken := sorted(tensors.keys() & extras.keys()):
        raise ValueError(f"extras: expected names of their own, got {taken}; give them others")
    return tensors | dict(extras)


def _folded(layer: Layer, norm: nn.BatchNorm1d) -> Layer:
    """The layer and the batch normalisation behind it, with its running statistics, as one."""
    weight, bias = fuse_linear_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean.double(),  # type: ignore[union-attr]
        norm.running_var.double(),  # type: ignore[union-attr]
        norm.eps,
        norm.weight.double(),
        norm.bias.double(),
    )
    return Layer(weight, bias)


def unpacked(tensors: Mapping[str, Tensor]) -> tuple[list[Layer], float]:
    """The layers and the slope that `packed` made the tensors of; extras are left aside.

    Raises:
        ValueError: a tensor is missing, or one layer's output does not fit the next one's input.
    """
    numbers = {name.partition(".")[0] for name in tensors if name.endswith((".weight", ".bias"))}
    names = [f"{number}.{name}" for number in range(len(numbers)) for name in Layer._fields]
    if not names or not {*names, "slope"} <= tensors.keys():
        raise ValueError(
            "tensors: expected 0.weight, 0.bias, 1.weight, ... and slope, got "
            f"{sorted(tensors)}; make them with packed"
        )
    layers = [
        Layer(tensors[f"{number}.weight"], tensors[f"{number}.bias"])
        for number in range(len(numbers))
    ]
    shapes = [(list(layer.weight.shape), list(layer.bias.shape)) for layer in layers]
    chained = all(before[0][:1] == after[0][1:] for before, after in pairwise(shapes))
    if not chained or any(weight[:1] != bias for weight, bias in shapes):
        raise ValueError(
            "tensors: expected layers [O, I] with biases [O], each as wide as the next one's "
            f"input, got {shapes}; make them with packed"
        )
    return layers, tensors["slope"].item()
