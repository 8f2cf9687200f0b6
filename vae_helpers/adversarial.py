"""One step, one epoch, one fit of the generative adversarial network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn, optim

from vae_helpers import kernels, models, objective, parameters, runs, training
from vae_helpers.checkpoints import StateDict
from vae_helpers.data import Digits, batches
from vae_helpers.divergence import add_up
from vae_helpers.models import GAN, Discriminator, Generator
from vae_helpers.runs import SNAPSHOT_EPOCHS
from vae_helpers.seeds import generator
from vae_helpers.training import resolve_device


@dataclass(frozen=True)
class GANConfig:
    """Everything that shapes a run, apart from the images.

    The defaults of learning_rate, beta1 and dropout were chosen on held-out training images: of 24
    trials the four best were continued to thirty epochs (studies `gan_search` and `gan_final`).

    Attributes:
        epochs: full passes over the training images.
        batch_size: real images a step, and as many generated ones.
        learning_rate: Adam's step size, for both networks.
        beta1: how long Adam's mean of the gradients remembers.
        latent_dim: D.
        hidden_dims: widths of the discriminator's hidden layers, reversed in the generator.
        batch_norm: in the generator.
        slope: of both networks' leaky ReLU; 0 is the ReLU.
        dropout: in the discriminator.
        real_label: what the discriminator is asked to say of real images.
        seed: of initial weights, order, noise and dropout alike.
        dataset: "MNIST" or "FashionMNIST"; for the reader of a run, the images come separately.
        device: "cpu", "cuda", or "auto": a GPU when there is one.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = parameters.check(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


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


@dataclass(frozen=True)
class Fit(training.Fit):
    """A trained GAN and how it came about; `curve` and `at` are those of `training.Fit`.

    Attributes:
        model: the GAN after the last epoch, on the device of the run, in evaluation mode.
        history: per epoch `epoch`, and the means over images of what `Step` holds. The networks
            move while they are taken, and dropout is at work.
        weights: by epoch, the weights of both networks that were kept.
    """

    model: GAN  # type: ignore[assignment]


def fit(
    config: GANConfig,
    data: Digits,
    run_dir: Path | None = None,
    *,
    snapshot_epochs: tuple[int, ...] = SNAPSHOT_EPOCHS,
    title: str = "",
    show_progress: bool = True,
) -> Fit:
    """Train a GAN, or continue the run that is already there, up to `config.epochs`.

    Args:
        config: what to train.
        data: what to train on; the test images play no part.
        run_dir, snapshot_epochs, title, show_progress: as in `training.fit`.

    Returns:
        Both networks, their history, and their weights at the snapshot epochs.

    Raises:
        DataError: as in `training.fit`.
        ParameterError: the last mini-batch of an epoch would hold one image, of which batch
            normalisation can make no statistics.
    """
    device, data = resolve_device(config.device), data.checked()
    last = len(data.train_images) % config.batch_size or config.batch_size
    if config.batch_norm and last == 1:
        raise parameters.ParameterError(
            f"batch_size: expected mini-batches of at least 2 images for batch normalisation, got "
            f"a last one of 1 ({len(data.train_images)} images in batches of {config.batch_size}); "
            "take another batch_size or another number of training images"
        )
    state = _GANRun(config, data.to(device), device)
    run = runs.continue_run(
        state,
        describe(config, data),
        epochs=config.epochs,
        run_dir=run_dir,
        snapshot_epochs=snapshot_epochs,
        title=(title or f"epochs 1 to {config.epochs}") if show_progress else None,
    )
    state.model.load_state_dict(run.weights[config.epochs])
    return Fit(state.model.eval(), run.history, run.weights)


def describe(config: GANConfig, data: Digits) -> dict[str, object]:
    """What shapes the run of this configuration on these images, and its key (`runs.digest`)."""
    shape = asdict(config)
    del shape["epochs"], shape["device"]
    return runs.digest(
        config=shape,
        data_checksum=data.checksum,
        device=resolve_device(config.device),
        parts=(
            *kernels.PARTS,
            models.GAN,
            models.Generator,
            models.Discriminator,
            objective.discriminator_loss,
            objective.generator_loss,
            batches,
            generator,
            new_model,
            new_optimizers,
            discriminator_step,
            generator_step,
            frozen,
            train_step,
            train_epoch,
            dropout_seed,
            _GANRun,
        ),
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
    loss = objective.discriminator_loss(real_logits, fake_logits, real_label=real_label)
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
        loss = objective.generator_loss(discriminator(fake))
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
    model: GAN, optimizers: Optimizers, x: Tensor, *, noise: torch.Generator, real_label: float
) -> Step:
    """One step of each network on the same generated images, the discriminator's first.

    This is algorithm 1 of Goodfellow et al. 2014 with k = 1, Adam, and the generator's loss
    non-saturating; the generator answers with the images that the discriminator has just judged,
    which saves making new ones.

    Args:
        model: changed in place, in training mode.
        optimizers: one for each network.
        x: `[B, 784]` in [0, 1].
        noise: draws z, on the device of `x`.
        real_label: as in `objective.discriminator_loss`.
    """
    z = torch.randn(len(x), model.generator.latent_dim, generator=noise, device=x.device)
    fake = model.generator(z)
    d_loss, d_real, d_fake = discriminator_step(
        model.discriminator, optimizers.discriminator, x, fake, real_label=real_label
    )
    g_loss = generator_step(model.generator, model.discriminator, optimizers.generator, fake)
    return Step(d_loss, g_loss, d_real, d_fake)


def train_epoch(
    model: GAN, optimizers: Optimizers, images: Tensor, *, config: GANConfig, epoch: int
) -> Step:
    """One pass over all images in a new order.

    Args:
        model: changed in place.
        optimizers: one for each network.
        images: `[N, 784]`, on the model's device.
        config: batch size, label and seed.
        epoch: the number of this epoch, which chooses order, noise and dropout.

    Returns:
        The means over the N images of what the steps saw, as float64 numbers `[]`.

    Raises:
        DivergedError: one of them is not finite in some step; the message names it.
    """
    device = images.device
    model.train()
    noise = generator(config.seed, "noise", epoch=epoch, device=device)
    order = generator(config.seed, "order", epoch=epoch)
    sums = []
    with dropout_seed(config.seed, epoch, device):
        for x in batches(images, batch_size=config.batch_size, generator=order):
            step = train_step(model, optimizers, x, noise=noise, real_label=config.real_label)
            sums.append(torch.stack(step).sum(dim=1))  # not means: the last batch is smaller
    return Step(*(add_up(sums, Step._fields, epoch=epoch) / len(images)).cpu())


@contextmanager
def dropout_seed(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed that for one epoch and give it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, "dropout", epoch=epoch).initial_seed())
        yield


def new_model(config: GANConfig) -> GAN:
    """The untrained networks of a configuration, on the CPU; the global generator is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(config.seed, "initial weights").initial_seed())
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


class _GANRun:
    """What `runs.continue_run` needs to know of a GAN."""

    def __init__(self, config: GANConfig, data: Digits, device: torch.device) -> None:
        self.config = config
        self.data = data
        self.model = new_model(config).to(device)
        self.optimizers = new_optimizers(config, self.model)

    def state_dict(self) -> StateDict:
        optimizers = {name: own.state_dict() for name, own in self.optimizers._asdict().items()}
        return {"model": self.model.state_dict(), "optimizers": optimizers}

    def load_state_dict(self, state: StateDict) -> None:
        self.model.load_state_dict(state["model"])
        for name, own in self.optimizers._asdict().items():
            own.load_state_dict(state["optimizers"][name])

    def weights(self) -> StateDict:
        return self.model.state_dict()

    def epoch(self, number: int) -> dict[str, float]:
        means = train_epoch(
            self.model, self.optimizers, self.data.train_images, config=self.config, epoch=number
        )
        return {"epoch": number, **{name: v.item() for name, v in means._asdict().items()}}
