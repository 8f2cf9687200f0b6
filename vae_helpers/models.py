"""The networks: tensors in, tensors out. No loss, no optimiser, no data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_helpers.data import PIXELS

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class VAEOutput(NamedTuple):
    """What one pass through the autoencoder gives.

    Attributes:
        logits: `[B, 784]`, unbounded; `sigmoid(logits)` are the Bernoulli means of the pixels.
        mu: `[B, D]`, mean of the approximate posterior q(z|x).
        logvar: `[B, D]`, log of its variance.
        z: `[B, D]`, the sample that was decoded.

    With K samples of z per image, `logits` are `[K, B, 784]` and `z` is `[K, B, D]`.
    """

    logits: Tensor
    mu: Tensor
    logvar: Tensor
    z: Tensor


class VAE(nn.Module):
    """A variational autoencoder with fully connected layers (Kingma & Welling 2014, appendix C).

    The default is the study's network, 784-400-200-20-200-400-784 with 801,224 parameters, in the
    study's order of layers: two of the encoder, the two heads for mu and logvar, three of the
    decoder.

    Args:
        hidden_dims: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: D, the number of latent dimensions.
        input_dim: pixels of an image.
        activation: "relu", "tanh" or "sigmoid", after every hidden layer and nowhere else.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int] = (400, 200),
        latent_dim: int = 20,
        input_dim: int = PIXELS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        down = [input_dim, *hidden_dims]
        up = [latent_dim, *reversed(hidden_dims)]
        self.encoder = hidden_layers(down, ACTIVATIONS[activation])
        self.to_mu = nn.Linear(down[-1], latent_dim)
        self.to_logvar = nn.Linear(down[-1], latent_dim)
        self.decoder = hidden_layers(up, ACTIVATIONS[activation])
        self.to_logits = nn.Linear(up[-1], input_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`x` `[B, 784]` to `mu` and `logvar`, `[B, D]` each, of q(z|x)."""
        hidden = self.encoder(x)
        return self.to_mu(hidden), self.to_logvar(hidden)

    def reparameterize(self, mu: Tensor, logvar: Tensor, eps: Tensor | None = None) -> Tensor:
        """A sample z = mu + std * eps of q(z|x), through which gradients reach the encoder.

        Args:
            mu: `[..., D]`.
            logvar: `[..., D]`; std is `exp(logvar / 2)`.
            eps: `[..., D]` standard normal noise; drawn from torch's global generator if None.

        Returns:
            z, `[..., D]` (Kingma & Welling 2014, section 2.4).
        """
        if eps is None:
            eps = torch.randn_like(mu)
        return mu + torch.exp(0.5 * logvar) * eps

    def decode(self, z: Tensor) -> Tensor:
        """`z` `[..., D]` to `logits` `[..., 784]`; the sigmoid is the objective's business."""
        logits: Tensor = self.to_logits(self.decoder(z))
        return logits

    def forward(self, x: Tensor, eps: Tensor | None = None) -> VAEOutput:
        """Encode, sample, decode: `x` `[B, 784]`, `eps` `[B, D]`, or `[K, B, D]` for K samples."""
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar, eps)
        return VAEOutput(self.decode(z), mu, logvar, z)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """`n` images `[n, 784]` in [0, 1]: Bernoulli means decoded from z drawn from N(0, I).

        Args:
            n: how many.
            rng: draws z, on its own device, so that the same noise can be used again.
        """
        weight = self.to_logits.weight
        drawn_on = weight.device if rng is None else rng.device
        z = torch.randn(n, self.latent_dim, generator=rng, device=drawn_on)
        return torch.sigmoid(self.decode(z.to(weight.device)))


def hidden_layers(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers from each width to the next, each followed by the activation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers)


class TunedVAE(VAE):
    """The VAE with what the networks of a GAN may have, for a comparison on equal terms.

    Args:
        hidden_dims, latent_dim: as in `VAE`.
        batch_norm: normalise every hidden unit over the mini-batch before its activation.
        slope: of the leaky ReLU below zero; 0 is the ReLU.
        dropout: share of the encoder's hidden units that are left out at random in training.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int] = (400, 200),
        latent_dim: int = 20,
        *,
        batch_norm: bool = False,
        slope: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(hidden_dims, latent_dim)

        def rebuilt(plain: nn.Sequential, share: float) -> nn.Sequential:
            layers: list[nn.Module] = []
            for linear in (layer for layer in plain if isinstance(layer, nn.Linear)):
                layers += [linear]
                layers += [nn.BatchNorm1d(linear.out_features)] if batch_norm else []
                layers += [nn.LeakyReLU(slope)]
                layers += [nn.Dropout(share)] if share else []
            return nn.Sequential(*layers)

        self.encoder = rebuilt(self.encoder, dropout)
        self.decoder = rebuilt(self.decoder, 0.0)

    def decode(self, z: Tensor) -> Tensor:
        """`z` `[..., B, D]` to `logits` `[..., B, 784]`, normalised over all z alike."""
        return super().decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Noise to images: the VAE's decoder by its sizes, 20-200-400-784, without an encoder.

    Args:
        hidden_dims: widths of the hidden layers, from the noise to the image.
        latent_dim: D, how many numbers an image is made of.
        output_dim: pixels of an image.
        batch_norm: normalise every hidden unit over the mini-batch before its activation.
        slope: of the leaky ReLU below zero; 0 is the ReLU.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int] = (200, 400),
        latent_dim: int = 20,
        output_dim: int = PIXELS,
        *,
        batch_norm: bool = True,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([latent_dim, *hidden_dims]):
            layers += [nn.Linear(fan_in, fan_out)]
            layers += [nn.BatchNorm1d(fan_out)] if batch_norm else []
            layers += [nn.LeakyReLU(slope)]
        self.hidden = nn.Sequential(*layers)
        self.to_logits = nn.Linear([latent_dim, *hidden_dims][-1], output_dim)

    def forward(self, z: Tensor) -> Tensor:
        """`z` `[B, D]` to images `[B, 784]` in (0, 1), which is what the discriminator looks at."""
        return torch.sigmoid(self.to_logits(self.hidden(z)))


class Discriminator(nn.Module):
    """Images to one logit each: the VAE's encoder by its sizes, 784-400-200-1.

    Args:
        hidden_dims: widths of the hidden layers, from the image to the logit.
        input_dim: numbers in what is judged.
        dropout: share of the hidden units that are left out at random in training.
        slope: of the leaky ReLU below zero; 0 is the ReLU.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int] = (400, 200),
        input_dim: int = PIXELS,
        *,
        dropout: float = 0.0,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([input_dim, *hidden_dims]):
            layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(slope), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.to_logit = nn.Linear([input_dim, *hidden_dims][-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[B, 784]` to logits `[B]`; `sigmoid(logit)` is D(x), the belief that x is real."""
        logit: Tensor = self.to_logit(self.hidden(x))
        return logit.squeeze(dim=1)


class GAN(nn.Module):
    """A generator and the discriminator that it is trained against."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """`n` images `[n, 784]` in (0, 1), decoded from z drawn from N(0, I).

        The generator works in evaluation mode meanwhile: with the statistics of a mini-batch an
        image would depend on the others that are drawn with it.

        Args:
            n: how many.
            rng: draws z, on its own device, so that the same noise can be used again.
        """
        weight = self.generator.to_logits.weight
        drawn_on = weight.device if rng is None else rng.device
        z = torch.randn(n, self.generator.latent_dim, generator=rng, device=drawn_on)
        was_training = self.generator.training
        try:
            images: Tensor = self.generator.eval()(z.to(weight.device))
        finally:
            self.generator.train(was_training)
        return images
