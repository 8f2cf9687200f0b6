"""A small convolutional VAE and GAN: networks that know which pixels are neighbours.

Both halves mirror each other: 28 x 28 pixels, 16 channels of 14 x 14, 32 of 7 x 7, and back
(strides of 2 in place of pooling, as in Radford et al. 2016). Images are flat outside, as
everywhere in this package.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor, nn

from vae_helpers import adversarial, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.data import SIDE, Digits
from vae_helpers.models import GAN, VAE, Discriminator, Generator
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import initial_weights
from vae_helpers.training import TrainConfig

CHANNELS = (16, 32)
"""Of the two convolutions, from the image on."""

CODE = (CHANNELS[1], SIDE // 4, SIDE // 4)
"""Shape of what lies between convolutions and latents."""

WIDTH = CODE[0] * CODE[1] * CODE[2]
"""Numbers in it."""


def halve(fan_in: int, fan_out: int) -> nn.Conv2d:
    """A convolution after which each side has half as many pixels."""
    return nn.Conv2d(fan_in, fan_out, kernel_size=4, stride=2, padding=1)


def double(fan_in: int, fan_out: int) -> nn.ConvTranspose2d:
    """A transposed convolution after which each side has twice as many pixels."""
    return nn.ConvTranspose2d(fan_in, fan_out, kernel_size=4, stride=2, padding=1)


class ConvVAE(VAE):
    """The VAE with two convolutions on either side of the latents.

    Args:
        latent_dim: D.
    """

    def __init__(self, latent_dim: int = 20) -> None:
        super().__init__((), latent_dim)
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            halve(1, CHANNELS[0]),
            nn.ReLU(),
            halve(*CHANNELS),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.to_mu = nn.Linear(WIDTH, latent_dim)
        self.to_logvar = nn.Linear(WIDTH, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, WIDTH),
            nn.ReLU(),
            nn.Unflatten(1, CODE),
            double(*CHANNELS[::-1]),
            nn.ReLU(),
        )
        self.to_logits = double(CHANNELS[0], 1)  # type: ignore[assignment]

    def decode(self, z: Tensor) -> Tensor:
        """`z` `[..., D]` to `logits` `[..., 784]`."""
        logits: Tensor = self.to_logits(self.decoder(z.reshape(-1, self.latent_dim)))
        return logits.reshape(*z.shape[:-1], -1)


class ConvGenerator(Generator):
    """Noise to images by two transposed convolutions.

    Args:
        latent_dim: D.
        batch_norm: normalise every hidden channel over the mini-batch before its activation.
        slope: of the leaky ReLU below zero; 0 is the ReLU.
    """

    def __init__(
        self, latent_dim: int = 20, *, batch_norm: bool = True, slope: float = 0.2
    ) -> None:
        super().__init__((), latent_dim)
        self.hidden = nn.Sequential(
            nn.Linear(latent_dim, WIDTH),
            nn.Unflatten(1, CODE),
            nn.BatchNorm2d(CODE[0]) if batch_norm else nn.Identity(),
            nn.LeakyReLU(slope),
            double(*CHANNELS[::-1]),
            nn.BatchNorm2d(CHANNELS[0]) if batch_norm else nn.Identity(),
            nn.LeakyReLU(slope),
        )
        self.to_logits = double(CHANNELS[0], 1)  # type: ignore[assignment]

    def forward(self, z: Tensor) -> Tensor:
        """`z` `[B, D]` to images `[B, 784]` in (0, 1)."""
        return super().forward(z).flatten(1)


class ConvDiscriminator(Discriminator):
    """Images to one logit each by two convolutions.

    Args:
        dropout: share of the hidden units that are left out at random in training.
        slope: of the leaky ReLU below zero; 0 is the ReLU.
    """

    def __init__(self, *, dropout: float = 0.0, slope: float = 0.2) -> None:
        super().__init__(())
        self.hidden = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            halve(1, CHANNELS[0]),
            nn.LeakyReLU(slope),
            nn.Dropout(dropout),
            halve(*CHANNELS),
            nn.LeakyReLU(slope),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        self.to_logit = nn.Linear(WIDTH, 1)


@dataclass(frozen=True)
class ConvConfig(TrainConfig):
    """Everything that shapes a run of the convolutional VAE, apart from the images.

    The fields are those of `TrainConfig`. What shapes its network has no meaning here but for
    `latent_dim`, and must be left at the default.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(self, "hidden_dims", "activation", "batch_norm", "slope", "dropout")

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


@dataclass(frozen=True)
class ConvGANConfig(GANConfig):
    """Everything that shapes a run of the convolutional GAN, apart from the images.

    The fields are those of `GANConfig`; `hidden_dims` has no meaning and stays at the default.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(self, "hidden_dims")

    def trainer(self, data: Digits) -> GANTrainer:
        """What trains this configuration on these images, before its first epoch."""
        return GANTrainer(self, data)


class Trainer(training.Trainer):
    """Trains the convolutional VAE epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train and to test on.

    Raises:
        DataError, ParameterError: as in `training.Trainer`.
    """

    def __init__(self, config: ConvConfig, data: Digits) -> None:
        super().__init__(config, data)
        with initial_weights(config.seed):
            self.model = ConvVAE(config.latent_dim)
        self.model.to(self.data.train_images.device)
        self.optimizer = training.new_optimizer(config, self.model)
        self.step = training.train_step


class GANTrainer(adversarial.Trainer):
    """Trains the convolutional GAN epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train on.

    Raises:
        DataError, ParameterError: as in `adversarial.Trainer`.
    """

    def __init__(self, config: ConvGANConfig, data: Digits) -> None:
        super().__init__(config, data)
        with initial_weights(config.seed):
            generator = ConvGenerator(
                config.latent_dim, batch_norm=config.batch_norm, slope=config.slope
            )
            discriminator = ConvDiscriminator(dropout=config.dropout, slope=config.slope)
        self.model = GAN(generator, discriminator).to(self.data.train_images.device)
        self.optimizers = adversarial.new_optimizers(config, self.model)


def _refuse(config: TrainConfig | GANConfig, *names: str) -> None:
    """Refuse fields that are not at the default.

    Raises:
        ParameterError: one is not; the message names it.
    """
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        if getattr(config, name) != defaults[name]:
            raise ParameterError(
                f"{name}: expected {defaults[name]!r}, since a convolutional network has widths "
                f"and activations of its own, got {getattr(config, name)!r}"
            )
