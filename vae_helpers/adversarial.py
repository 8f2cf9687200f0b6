"""One step, one epoch, one fit of the generative adversarial network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim

from vae_helpers import acceleration, parameters, training
from vae_helpers.data import Digits, batches
from vae_helpers.models import GAN, Discriminator, Generator
from vae_helpers.objective import discriminator_loss, generator_loss
from vae_helpers.seeds import dropout_seed, initial_weights, new_rng
from vae_helpers.training import (
    SNAPSHOT_EPOCHS,
    Fit,
    StateDict,
    add_up,
    refuse_single,
    resolve_device,
)


@dataclass(frozen=True)
class GANConfig:
    """Everything that shapes a run, apart from the images.

    The defaults of learning_rate, beta1 and dropout were the best after thirty epochs, judged by
    held-out training images (study `gan_final`).

    Attributes:
        epochs: full passes over the training images.
        batch_size: real images per step, and as many generated ones.
        learning_rate: Adam's step size, for both networks.
        beta1: how long Adam's mean of the gradients remembers.
        latent_dim: D.
        hidden_dims: widths of the discriminator's hidden layers, reversed in the generator.
        batch_norm: in the generator.
        slope: of both networks' leaky ReLU; 0 is the ReLU.
        dropout: in the discriminator.
        real_label: what the discriminator is asked to say of real images.
        seed: of initial weights, order, noise and dropout alike.
        dataset: a name in `data.DATASETS`; for the reader of a run, the images come separately.
        device: "cpu", "cuda", or "auto": a GPU when there is one.
        acceleration: "auto", or "off" for PyTorch as it is.

    Raises:
        ParameterError: a field has the wrong type or is out of range; the message names it.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    beta1: float = 0.5
    latent_dim: int = 20
    hidden_dims: tuple[int, ...] = (400, 200)
    batch_norm: bool = True
    slope: float = 0.2
    dropout: float = 0.3
    real_label: float = 1.0
    seed: int = 0
    dataset: str = "MNIST"
    device: str = "auto"
    acceleration: str = "auto"

    def __post_init__(self) -> None:
        parameters.check_fields(self)

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code."""
        return training.shape_of(self)

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


class Optimizers(NamedTuple):
    """One for each network: a step of one never moves the other."""

    generator: optim.Optimizer
    discriminator: optim.Optimizer


class Step(NamedTuple):
    """What one step saw, before it changed the weights: `[B]` each.

    Attributes:
        d_loss: the discriminator's loss, in nats per pair of images.
        g_loss: the generator's loss, in nats per image.
        d_real: D(x) of real images, in (0, 1).
        d_fake: D(G(z)) of generated ones, in (0, 1), in the discriminator's part of the step.
    """

    d_loss: Tensor
    g_loss: Tensor
    d_real: Tensor
    d_fake: Tensor


def fit(
    config: GANConfig,
    data: Digits,
    *,
    snapshot_epochs: Sequence[int] = SNAPSHOT_EPOCHS,
    title: str = "",
    show_progress: bool = True,
) -> Fit[GAN]:
    """Train a GAN in memory. `store.runs.fit` does the same and keeps the epochs on disk.

    Args:
        config: what to train.
        data: what to train on; the test images play no part.
        snapshot_epochs, title, show_progress: as in `training.fit`.

    Returns:
        Both networks, in evaluation mode, and their weights at the snapshot epochs. The history has
        per epoch `epoch`, and the means over images of what `Step` holds; the networks move while
        they are taken, and dropout is at work.

    Raises:
        DataError, ParameterError: as in `Trainer`.
        DivergedError: a number or weight is not finite; the message names it.
    """
    title = title or f"epochs 1 to {config.epochs}"
    return training.train(
        config.trainer(data),
        epochs=config.epochs,
        snapshot_epochs=snapshot_epochs,
        title=title if show_progress else None,
    )


def discriminator_step(
    discriminator: Discriminator,
    optimizer: optim.Optimizer,
    x: Tensor,
    fake: Tensor,
    *,
    real_label: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the discriminator towards telling real images from generated ones.

    Args:
        discriminator: changed in place.
        optimizer: of its parameters.
        x: `[B, 784]`, real images.
        fake: `[B, 784]`, generated ones; nothing flows back to the network that made them.
        real_label: as in `objective.discriminator_loss`.

    Returns:
        The loss, D(x) and D(G(z)) before the step, `[B]` each.
    """
    logits = discriminator(torch.cat([x, fake.detach()]))  # one pass: larger products
    real_logits, fake_logits = logits.chunk(2)
    loss = discriminator_loss(real_logits, fake_logits, real_label=real_label)
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    return loss.detach(), torch.sigmoid(real_logits).detach(), torch.sigmoid(fake_logits).detach()


def generator_step(
    generator: Generator, discriminator: Discriminator, optimizer: optim.Optimizer, fake: Tensor
) -> Tensor:
    """One step of the generator towards images that the discriminator takes for real.

    Args:
        generator: changed in place.
        discriminator: left as it is, its gradients too.
        optimizer: of the generator's parameters.
        fake: `[B, 784]`, what the generator has just made, with its graph.

    Returns:
        The loss before the step, `[B]`, in nats.
    """
    with frozen(discriminator):
        loss = generator_loss(discriminator(fake))
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    return loss.detach()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """What passes through a network in here gives no gradients to its weights, only to its input.

    They would not be used, and are a third of the products.
    """
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def train_step(
    model: GAN, optimizers: Optimizers, x: Tensor, *, rng: torch.Generator, real_label: float
) -> Step:
    """One step of each network on the same generated images, the discriminator's first.

    This is algorithm 1 of Goodfellow et al. 2014 with k = 1, Adam, and the generator's loss
    non-saturating; the generator answers with the images that the discriminator has just judged,
    which saves making new ones.

    Args:
        model: changed in place, in training mode.
        optimizers: one for each network.
        x: `[B, 784]` in [0, 1].
        rng: draws z, on the device of `x`.
        real_label: as in `objective.discriminator_loss`.
    """
    shape = (len(x), model.generator.latent_dim)
    z = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
    fake = model.generator(z)
    d_loss, d_real, d_fake = discriminator_step(
        model.discriminator, optimizers.discriminator, x, fake, real_label=real_label
    )
    g_loss = generator_step(model.generator, model.discriminator, optimizers.generator, fake)
    return Step(d_loss, g_loss, d_real, d_fake)


def train_epoch(
    model: GAN, optimizers: Optimizers, images: Tensor, *, config: GANConfig, epoch: int
) -> dict[str, float]:
    """One pass over all images in a new order.

    Args:
        model: changed in place.
        optimizers: one for each network.
        images: `[N, 784]`, on the model's device.
        config: batch size, label and seed.
        epoch: the number of this epoch, which chooses order, noise and dropout.

    Returns:
        The means over the N images of what the steps saw, by the names in `Step`.

    Raises:
        DivergedError: one of them is not finite in some step; the message names it.
    """
    device = images.device
    model.train()
    noise = new_rng(config.seed, "noise", epoch=epoch, device=device)
    order = new_rng(config.seed, "order", epoch=epoch)
    sums = []
    with dropout_seed(config.seed, epoch, device):
        for x in batches(images, batch_size=config.batch_size, rng=order):
            step = train_step(model, optimizers, x, rng=noise, real_label=config.real_label)
            totals = torch.stack(step).sum(dim=1)  # not means: the last batch is smaller
            sums.append(dict(zip(Step._fields, totals, strict=True)))
    return {name: total / len(images) for name, total in add_up(sums, epoch=epoch).items()}


def new_model(config: GANConfig) -> GAN:
    """The untrained networks of a configuration, on the CPU; the global generator is untouched."""
    with initial_weights(config.seed):
        return GAN(
            Generator(
                config.hidden_dims[::-1],
                config.latent_dim,
                batch_norm=config.batch_norm,
                slope=config.slope,
            ),
            Discriminator(config.hidden_dims, dropout=config.dropout, slope=config.slope),
        )


def new_optimizers(config: GANConfig, model: GAN) -> Optimizers:
    """Adam for each network, in torch's fused form; its second beta is the usual 0.999."""

    def adam(network: nn.Module) -> optim.Optimizer:
        betas = (config.beta1, 0.999)
        return optim.Adam(network.parameters(), config.learning_rate, betas, fused=True)

    return Optimizers(adam(model.generator), adam(model.discriminator))


class Trainer:
    """Trains the GAN of a configuration epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train on.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
        ParameterError: the last mini-batch of an epoch would hold one image, of which batch
            normalisation can make no statistics.
    """

    def __init__(self, config: GANConfig, data: Digits) -> None:
        device, images = resolve_device(config.device), len(data.checked().train_images)
        if config.batch_norm:
            refuse_single(images, "batch_size", config.batch_size, why="batch normalisation")
        self.config = config
        self.data = data.to(device)
        self.model = new_model(config).to(device)
        self.optimizers = new_optimizers(config, self.model)

    def state_dict(self) -> StateDict:
        """Weights and optimisers of both networks."""
        optimizers = {name: own.state_dict() for name, own in self.optimizers._asdict().items()}
        return {"model": self.model.state_dict(), "optimizers": optimizers}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        for name, own in self.optimizers._asdict().items():
            own.load_state_dict(state["optimizers"][name])

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number`."""
        images = self.data.train_images
        with acceleration.applied(self.config.acceleration):
            means = train_epoch(
                self.model, self.optimizers, images, config=self.config, epoch=number
            )
        return {"epoch": number, **means}
