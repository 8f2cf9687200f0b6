"""How much is computed in training, counted while it is carried out."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vae_helpers.training import EpochTrainer


class _Count(TorchDispatchMode):
    """Adds up the operations of matrix products and convolutions, as PyTorch's own counter does.

    `torch.utils.flop_counter.FlopCounterMode` hooks every module, and cannot be used where a
    gradient is differentiated again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total: int = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        packet = function._overloadpacket
        if packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=made)
        return made


def flops_of_epoch(trainer: EpochTrainer[nn.Module]) -> int:
    """Floating-point operations of the products in a trainer's next epoch, which it trains.

    A multiplication and an addition count as two. Sums, activations and the optimiser's arithmetic
    are not counted; for the networks of the course they are a few per cent. What an epoch evaluates
    counts, such as a VAE's loss of the test images: give the trainer few of those.

    Args:
        trainer: with `acceleration="off"`, as operations of its own are not known to PyTorch.
    """
    with _Count() as count:
        trainer.epoch(1)
    total: int = count.total
    return total
