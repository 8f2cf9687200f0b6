"""What was tried to make a training step faster and was not taken, with what it gives.

    python -m vae_helpers.bench --tried

Each variant makes the same step as `training.train_step` on the same batches, turn about; those
that change what is compiled or how numbers are rounded are in here alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, optim

from vae_helpers import PROJECT, objective, training
from vae_helpers.kernels import keep_freed_memory
from vae_helpers.models import VAE
from vae_helpers.training import TrainConfig

MEASURED = PROJECT / "report" / "results" / "measured" / "tried.json"
CONFIG = TrainConfig(device="cpu")
STEPS = 50  # of a variant in a round

Step = Callable[[Tensor], object]


def ours() -> Step:
    """The course's step."""
    return _step(training.new_model(CONFIG))


def compiled() -> Step:
    """`torch.compile` of network and loss, which needs a C++ compiler.

    What it makes of products are PyTorch's own: those of `kernels` it takes for inference only.
    """
    model, noise = training.new_model(CONFIG), torch.Generator()
    optimizer = training.new_optimizer(CONFIG, model)

    def loss_of(x: Tensor, eps: Tensor) -> Tensor:
        output = model(x, eps)
        kl = objective.kl(output.mu, output.logvar)
        return (objective.bce(output.logits, x) + kl).mean()

    faster = torch.compile(loss_of)

    def step(x: Tensor) -> None:
        loss = faster(x, torch.randn(len(x), model.latent_dim, generator=noise))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def in_place_relu() -> Step:
    """Activations that overwrite their input."""
    model = training.new_model(CONFIG)
    for layer in model.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = True
    return _step(model)


def adam_in_backward() -> Step:
    """An Adam for each weight, which moves it as soon as its gradient is there and still cached."""
    model, noise = training.new_model(CONFIG), torch.Generator()
    for weight in model.parameters():
        own = optim.Adam([weight], lr=CONFIG.learning_rate, fused=True)
        weight.register_post_accumulate_grad_hook(_stepping(own))
    idle = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    return lambda x: training.train_step(model, idle, x, beta=1.0, noise=noise)


def unfused_adam() -> Step:
    """Adam as PyTorch has it by default, a pass over all weights for each operation."""
    model, noise = training.new_model(CONFIG), torch.Generator()
    optimizer = optim.Adam(model.parameters(), lr=CONFIG.learning_rate)
    return lambda x: training.train_step(model, optimizer, x, beta=1.0, noise=noise)


def flushing() -> Step:
    """Numbers too small for full precision are taken for zero: Adam's means run into them."""
    step = ours()

    def flushed(x: Tensor) -> None:
        torch.set_flush_denormal(True)
        step(x)
        torch.set_flush_denormal(False)

    return flushed


VARIANTS = {
    "ours": ours,
    "torch.compile": compiled,
    "ReLU in place": in_place_relu,
    "Adam in backward": adam_in_backward,
    "Adam not fused": unfused_adam,
    "denormals flushed": flushing,
}


def _step(model: VAE) -> Step:
    optimizer, noise = training.new_optimizer(CONFIG, model), torch.Generator()
    return lambda x: training.train_step(model, optimizer, x, beta=1.0, noise=noise)


def _stepping(optimizer: optim.Optimizer) -> Callable[[Tensor], None]:
    def step(weight: Tensor) -> None:
        optimizer.step()
        weight.grad = None

    return step


def measure(*, rounds: int, names: Sequence[str] = tuple(VARIANTS)) -> dict[str, float]:
    """Time the variants and print a line for each.

    Args:
        rounds: how often each makes its steps.
        names: of the variants, "ours" among them.

    Returns:
        For each variant, the median over the rounds of its time as a share of ours, such as
        `torch_compile_over_ours`, and the seconds of its first step, such as
        `torch_compile_first_step_seconds`. A variant that cannot be had here is left out.
    """
    keep_freed_memory()
    batches = torch.rand(STEPS, CONFIG.batch_size, 784)
    steps: dict[str, Step] = {}
    found: dict[str, float] = {}
    for name in names:
        key = name.replace(".", "_").replace(" ", "_").lower()
        began = time.perf_counter()
        step = VARIANTS[name]()
        try:
            step(batches[0])
        except Exception as error:  # a compiler's failure has no class of its own
            print(f"{name:20} not to be had here: {str(error).splitlines()[0]}")
            continue
        steps[name] = step
        found[f"{key}_first_step_seconds"] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            for x in batches:
                step(x)
            seconds[name].append((time.perf_counter() - began) / STEPS)
    for name, times in seconds.items():
        key = name.replace(".", "_").replace(" ", "_").lower()
        shares = [a / b for a, b in zip(times, seconds["ours"], strict=True)]
        found[f"{key}_over_ours"] = statistics.median(shares)
        found[f"{key}_step_milliseconds"] = 1e3 * statistics.median(times)
        first = found[f"{key}_first_step_seconds"]
        print(
            f"{name:20} {1e3 * statistics.median(times):6.2f} ms, "
            f"{statistics.median(shares):.2f} of ours ({min(shares):.2f} to {max(shares):.2f}), "
            f"first step {first:.2f} s"
        )
    return found
