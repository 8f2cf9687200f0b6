"""The Wasserstein GAN with gradient penalty: the critic's loss, one step, one epoch.

The critic is the discriminator's network without its sigmoid. Its score may take any value, and a
penalty keeps it from changing faster than the images do, so that it saturates nowhere and the
generator always has a slope to follow (Gulrajani et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn, optim

from vae_helpers import acceleration, adversarial
from vae_helpers.adversarial import GANConfig, Optimizers, frozen
from vae_helpers.data import Digits, batches
from vae_helpers.models import GAN
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import dropout_seed, new_rng
from vae_helpers.training import add_up


@dataclass(frozen=True)
class WGANConfig(GANConfig):
    """Everything that shapes a run, apart from the images: that of a GAN, and

    Attributes:
        penalty: weight of the gradient penalty.
        critic_steps: steps of the critic, each on a batch of its own, for one of the generator.

    Batch normalisation is in the generator only, as in a GAN: in the critic it would make an
    image's score depend on the others, and the penalty is on that of each image.
    """

    learning_rate: float = 1e-3
    penalty: float = 10.0
    critic_steps: int = 5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.real_label != 1:
            raise ParameterError(
                f"real_label: expected 1 for a Wasserstein GAN, got {self.real_label}; its critic "
                "scores images and is asked for no label"
            )

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


class CriticStep(NamedTuple):
    """What one step of the critic saw, before it changed the weights: `[B]` each.

    Attributes:
        difference: score of the real image minus that of the generated one; its mean tends to the
            Wasserstein distance times the slope that the penalty allows.
        penalty: the squared deviation of the gradient's length from 1, >= 0, without its weight.
    """

    difference: Tensor
    penalty: Tensor


def gradient_penalty(critic: nn.Module, x: Tensor, fake: Tensor, *, share: Tensor) -> Tensor:
    """How far the critic's slope between real and generated images is from 1, squared.

    Args:
        critic: images `[B, 784]` to scores `[B]`.
        x: `[B, 784]`, real images.
        fake: `[B, 784]`, generated ones.
        share: `[B, 1]` in [0, 1], of the real image in the point at which the slope is taken.

    Returns:
        `[B]`, >= 0 (Gulrajani et al. 2017, equation 3), with a graph for the critic's weights.
    """
    between = (share * x + (1 - share) * fake.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    deviation: Tensor = (gradient.norm(dim=1) - 1).square()
    return deviation


def critic_step(
    critic: nn.Module,
    optimizer: optim.Optimizer,
    x: Tensor,
    fake: Tensor,
    *,
    share: Tensor,
    penalty: float,
) -> CriticStep:
    """One step of the critic towards higher scores for real images than for generated ones.

    Args:
        critic: changed in place.
        optimizer: of its parameters.
        x, fake, share: as in `gradient_penalty`.
        penalty: its weight.
    """
    real_score, fake_score = critic(torch.cat([x, fake.detach()])).chunk(2)
    deviation = gradient_penalty(critic, x, fake, share=share)
    loss = fake_score - real_score + penalty * deviation
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    return CriticStep((real_score - fake_score).detach(), deviation.detach())


def generator_step(model: GAN, optimizer: optim.Optimizer, z: Tensor) -> Tensor:
    """One step of the generator towards images with higher scores.

    Args:
        model: its generator is changed in place.
        optimizer: of the generator's parameters.
        z: `[B, D]`.

    Returns:
        Minus the scores before the step, `[B]`.
    """
    with frozen(model.discriminator):
        loss: Tensor = -model.discriminator(model.generator(z))
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    return loss.detach()


def train_step(
    model: GAN,
    optimizers: Optimizers,
    x: Tensor,
    *,
    config: WGANConfig,
    rng: torch.Generator,
    answer: bool,
) -> dict[str, Tensor]:
    """One step of the critic and, if the generator is to answer, one of the generator.

    This is algorithm 1 of Gulrajani et al. 2017, with a batch of new images for every step.

    Args:
        model: changed in place, in training mode.
        optimizers: one for each network.
        x: `[B, 784]` in [0, 1].
        config: weight of the penalty.
        rng: draws z and the points between, on the device of `x`.
        answer: whether the generator makes a step.

    Returns:
        What `CriticStep` holds, `[B]` each.
    """
    shape = (len(x), model.generator.latent_dim)
    z = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
    share = torch.rand(len(x), 1, generator=rng, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        fake = model.generator(z)
    seen = critic_step(
        model.discriminator,
        optimizers.discriminator,
        x,
        fake,
        share=share,
        penalty=config.penalty,
    )
    if answer:
        z = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
        generator_step(model, optimizers.generator, z)
    return seen._asdict()


def train_epoch(
    model: GAN, optimizers: Optimizers, images: Tensor, *, config: WGANConfig, epoch: int
) -> dict[str, float]:
    """One pass over all images in a new order, of the critic.

    Args:
        model: changed in place.
        optimizers: one for each network.
        images: `[N, 784]`, on the model's device.
        config: batch size, penalty, steps of the critic and seed.
        epoch: the number of this epoch, which chooses order, noise and dropout.

    Returns:
        The means over the N images of what the critic's steps saw, by the names in `CriticStep`.

    Raises:
        DivergedError: one of them is not finite in some step; the message names it.
    """
    device = images.device
    model.train()
    noise = new_rng(config.seed, "noise", epoch=epoch, device=device)
    order = new_rng(config.seed, "order", epoch=epoch)
    sums = []
    with dropout_seed(config.seed, epoch, device):
        for number, x in enumerate(batches(images, batch_size=config.batch_size, rng=order), 1):
            answer = number % config.critic_steps == 0
            step = train_step(model, optimizers, x, config=config, rng=noise, answer=answer)
            sums.append({name: values.sum() for name, values in step.items()})
    return {name: total / len(images) for name, total in add_up(sums, epoch=epoch).items()}


class Trainer(adversarial.Trainer):
    """Trains the networks of a configuration epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train on.

    Raises:
        DataError, ParameterError: as in `adversarial.Trainer`.
        ParameterError: an epoch has fewer steps than the critic makes for one of the generator.
    """

    config: WGANConfig

    def __init__(self, config: WGANConfig, data: Digits) -> None:
        super().__init__(config, data)
        steps = -(-len(data.train_images) // config.batch_size)
        if steps < config.critic_steps:
            raise ParameterError(
                f"critic_steps: expected at most {steps}, the steps of an epoch, got "
                f"{config.critic_steps}; the generator would never make one"
            )

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number`."""
        images = self.data.train_images
        with acceleration.applied(self.config.acceleration):
            means = train_epoch(
                self.model, self.optimizers, images, config=self.config, epoch=number
            )
        return {"epoch": number, **means}
