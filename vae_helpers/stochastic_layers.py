"""The networks of Burda et al. 2016 with one and two stochastic layers, and how they were trained.

Section 5 of the paper and its appendix give the sizes, the optimiser and the schedule. Every layer
of latents is Gaussian given the one before it: going up, q(h1|x) and q(h2|h1); coming down, p(h2) =
N(0, I), p(h1|h2) and the Bernoulli pixels p(x|h1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim

from vae_helpers import acceleration, parameters, training
from vae_helpers.data import PIXELS, Digits
from vae_helpers.models import VAE, hidden_layers
from vae_helpers.objective import Terms, bce, log_normal, log_prior
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import initial_weights
from vae_helpers.training import StateDict, resolve_device

LATENT_DIMS = {1: (50,), 2: (100, 50)}
"""By the number of stochastic layers, their sizes from the image upwards."""

HIDDEN_WIDTHS = {1: (200,), 2: (200, 100)}
"""Widths of the two hidden layers below each of them."""


SCHEDULE = 3_280
"""Epochs of the paper's schedule, 1 + 3 + 9 + ... + 2,187."""


@dataclass(frozen=True)
class LayeredConfig:
    """Everything that shapes a run, apart from the images; the defaults are the paper's.

    Attributes:
        stochastic_layers: 1 or 2.
        loss: "elbo" for the mean of the log-weights, "iwae" for the log of the mean weight.
        z_samples: K, samples of the latents per image.
        epochs: full passes over the training images, by default the paper's 3,280. The learning
            rate depends on the epoch alone, so that a run of fewer is the beginning of the paper's;
            4, 13, 40 and 121 end with its second, third, fourth and fifth stage.
        learning_rate: of the first stage; that of stage i is 10^(-i/7) times as large.
        batch_size: images per step.
        beta1: how long Adam's mean of the gradients remembers; its second beta is 0.999. The
            authors' published code has 0.99.
        adam_eps: what Adam adds to the root of the mean squared gradient. It matters how large the
            gradients are: here they are those of a mean over the mini-batch. The authors' code
            takes the sum, where 1e-4 weighs as much as 1e-4 / batch_size does here.
        seed: of initial weights, order, noise and binarisation alike.
        dataset: a name in `data.DATASETS`; for the reader of a run, the images come separately.
        binarize: "dynamic" for a new draw at every visit, "none" for grey images.
        device: "cpu", "cuda", or "auto": a GPU when there is one.
        acceleration: "auto", or "off" for PyTorch as it is.

    Raises:
        ParameterError: a field has the wrong type or is out of range; the message names it.
    """

    stochastic_layers: int = 1
    loss: str = "elbo"
    z_samples: int = 1
    epochs: int = SCHEDULE
    learning_rate: float = 1e-3
    batch_size: int = 20
    beta1: float = 0.9
    adam_eps: float = 1e-4
    seed: int = 0
    dataset: str = "MNIST"
    binarize: str = "dynamic"
    device: str = "auto"
    acceleration: str = "auto"

    def __post_init__(self) -> None:
        parameters.check_fields(self)
        if self.loss not in OBJECTIVES:
            raise ParameterError(
                f"loss: expected one of {', '.join(OBJECTIVES)} for stochastic layers, "
                f"got {self.loss!r}"
            )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of the samples of the latents of one image."""
        return (self.z_samples,)

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code."""
        return training.shape_of(self)

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


def epochs_before(stage: int) -> int:
    """Epochs of the stages 0 to `stage` - 1, the stage i having 3^i."""
    return int((3**stage - 1) // 2)


def learning_rate(config: LayeredConfig, epoch: int) -> float:
    """Of an epoch, the first being 1: 10^(-i/7) of the configuration's in stage i.

    Burda et al. 2016, section 5: 0.001 * 10^(-i/7) for 3^i passes over the data, i = 0 to 7.
    """
    stage = 0
    while epoch > epochs_before(stage + 1):
        stage += 1
    return float(config.learning_rate * 10 ** (-stage / 7))


class LayeredOutput(NamedTuple):
    """What one pass through the stochastic layers gives.

    Attributes:
        logits: `[K, B, 784]`, unbounded; `sigmoid(logits)` are the Bernoulli means of the pixels.
        log_ratio: `[K, B]`, log q(h|x) - log p(h) of the latents h that were drawn, in nats.
    """

    logits: Tensor
    log_ratio: Tensor


class Gaussian(nn.Module):
    """A Gaussian with diagonal covariance, given what lies before it.

    Two hidden layers, and two heads for its mean and for the log of its standard deviation.

    Args:
        given_dim: numbers that it is given.
        hidden_width: of the hidden layers.
        dim: numbers that it is a distribution of.
    """

    def __init__(self, given_dim: int, hidden_width: int, dim: int) -> None:
        super().__init__()
        self.hidden = hidden_layers([given_dim, hidden_width, hidden_width], nn.Tanh)
        self.to_mu = nn.Linear(hidden_width, dim)
        self.to_log_std = nn.Linear(hidden_width, dim)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """`given` `[..., given_dim]` to mean and log standard deviation, `[..., dim]` each."""
        hidden = self.hidden(given)
        return self.to_mu(hidden), self.to_log_std(hidden)


class LayeredVAE(nn.Module):
    """A variational autoencoder with one or more layers of latents (Burda et al. 2016, section 5).

    Weights are Glorot's uniform ones and biases zero, but for the pixels' bias, see `start_at`.

    Args:
        latent_dims: sizes of h1, h2 and so on, from the image upwards.
        hidden_widths: of the two hidden tanh layers between each of them and what is below it, the
            same on the way up and on the way down.
        input_dim: pixels of an image.
    """

    def __init__(
        self,
        latent_dims: Sequence[int] = LATENT_DIMS[1],
        hidden_widths: Sequence[int] = HIDDEN_WIDTHS[1],
        input_dim: int = PIXELS,
    ) -> None:
        super().__init__()
        self.latent_dims = tuple(latent_dims)
        steps = list(zip(pairwise([input_dim, *latent_dims]), hidden_widths, strict=True))
        self.up = nn.ModuleList(Gaussian(below, width, above) for (below, above), width in steps)
        self.down = nn.ModuleList(
            Gaussian(above, width, below) for (below, above), width in steps[1:]
        )
        lowest = hidden_widths[0]
        self.hidden = hidden_layers([latent_dims[0], lowest, lowest], nn.Tanh)
        self.to_logits = nn.Linear(lowest, input_dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def latent_dim(self) -> int:
        """D, of all layers together."""
        return sum(self.latent_dims)

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let the biases of the pixels say the mean image, `[784]` in [0, 1].

        The mean is kept between 0.001 and 0.999, as in the authors' code.
        """
        self.to_logits.bias.copy_(mean.clamp(0.001, 0.999).logit())

    def decode(self, h1: Tensor) -> Tensor:
        """The lowest latents `[..., D1]` to `logits` `[..., 784]`."""
        logits: Tensor = self.to_logits(self.hidden(h1))
        return logits

    def generate(self, eps: Tensor) -> Tensor:
        """Standard normal `eps` `[..., D]` to `logits` `[..., 784]`, from the top down.

        The first numbers of D are those of h1, as in `forward`. What comes out is distributed as
        in the model, so that p(x) is the mean of p(x | generate(eps)) over N(0, I).
        """
        *lower, h = eps.split(self.latent_dims, dim=-1)
        for layer, noise in zip(reversed(self.down), reversed(lower), strict=True):
            mu, log_std = layer(h)
            h = mu + log_std.exp() * noise
        return self.decode(h)

    def forward(self, x: Tensor, eps: Tensor) -> LayeredOutput:
        """Draw latents layer by layer on the way up, and give them their densities both ways.

        Args:
            x: `[B, 784]` in [0, 1].
            eps: `[K, B, D]` standard normal noise; the first numbers of D are those of h1.
        """
        drawn: list[Tensor] = []  # h1, h2, ..., [K, B, D_i] each
        log_ratio: Tensor | float = 0.0
        for layer, noise in zip(self.up, eps.split(self.latent_dims, dim=-1), strict=True):
            mu, log_std = layer(drawn[-1] if drawn else x)
            drawn.append(mu + log_std.exp() * noise)
            log_ratio = log_ratio + (log_prior(noise) - log_std).sum(dim=-1)  # log q
        for layer, (below, above) in zip(self.down, pairwise(drawn), strict=True):
            mu, log_std = layer(above)
            log_ratio = log_ratio - log_normal(below, mu, 2 * log_std).sum(dim=-1)
        return LayeredOutput(self.decode(drawn[0]), log_ratio - log_prior(drawn[-1]).sum(dim=-1))

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """`n` images `[n, 784]` in [0, 1]: Bernoulli means, the latents drawn from the top down.

        Args:
            n: how many.
            rng: draws the noise, on its own device, so that the same can be used again.
        """
        weight = self.to_logits.weight
        drawn_on = weight.device if rng is None else rng.device
        eps = torch.randn(n, self.latent_dim, generator=rng, device=drawn_on).to(weight.device)
        return torch.sigmoid(self.generate(eps))


def elbo(output: LayeredOutput, x: Tensor) -> Terms:
    """Minus the mean of K log-weights, an estimate of the evidence lower bound.

    Args:
        output: of the model.
        x: `[B, 784]` in [0, 1].

    Returns:
        `bce`; `kl`, an estimate of the KL of all layers that may be below zero; and
        `loss = bce + kl`; means over the samples, `[B]` each, in nats.
    """
    reconstruction = bce(output.logits, x).mean(dim=0)
    divergence = output.log_ratio.mean(dim=0)
    return {"bce": reconstruction, "kl": divergence, "loss": reconstruction + divergence}


def iwae(output: LayeredOutput, x: Tensor) -> Terms:
    """Minus the importance-weighted bound with K samples (Burda et al. 2016, equation 8).

    Args:
        output: of the model.
        x: `[B, 784]` in [0, 1].

    Returns:
        `bce` and `kl` as in `elbo`; `gap`, >= 0, by how much the bound is tighter than the mean of
        the log-weights; and `loss = bce + kl - gap`, `[B]` each, in nats.
    """
    reconstruction = bce(output.logits, x)  # [K, B]
    log_w = -reconstruction - output.log_ratio
    bound = log_w.logsumexp(dim=0) - math.log(len(log_w))
    return {
        "bce": reconstruction.mean(dim=0),
        "kl": output.log_ratio.mean(dim=0),
        "gap": bound - log_w.mean(dim=0),
        "loss": -bound,
    }


OBJECTIVES: Mapping[str, Callable[[LayeredOutput, Tensor], Terms]] = {"elbo": elbo, "iwae": iwae}
"""By name, what `LayeredConfig(loss=...)` may ask for."""


def log_weights(model: LayeredVAE, x: Tensor, eps: Tensor) -> Tensor:
    """log of p(x, h) / q(h|x) with the latents h of all layers, as `evaluation.log_weights`.

    Args:
        model: with D latents in all layers together.
        x: `[B, 784]` in [0, 1].
        eps: `[K, B, D]` standard normal noise.

    Returns:
        `[K, B]`, in nats.
    """
    output: LayeredOutput = model(x, eps)
    return -bce(output.logits, x) - output.log_ratio


def as_vae(model: LayeredVAE) -> VAE:
    """A model of one stochastic layer as the `VAE` that it is, with copies of its weights.

    Raises:
        ValueError: it has more layers.
    """
    if len(model.latent_dims) != 1:
        raise ValueError(f"model: expected one stochastic layer, got {len(model.latent_dims)}")
    up: Any = model.up[0]
    hidden = [layer.out_features for layer in up.hidden if isinstance(layer, nn.Linear)]
    same = VAE(hidden, model.latent_dim, model.to_logits.out_features, "tanh")
    same = same.to(model.to_logits.weight)
    parts: dict[str, nn.Module] = {
        "encoder": up.hidden,
        "to_mu": up.to_mu,
        "to_logvar": up.to_log_std,
    }
    parts |= {"decoder": model.hidden, "to_logits": model.to_logits}
    for name, part in parts.items():
        getattr(same, name).load_state_dict(part.state_dict())
    with torch.no_grad():
        for weight in same.to_logvar.parameters():
            weight.mul_(2)
    return same.eval()


def new_model(config: LayeredConfig, images: Tensor) -> LayeredVAE:
    """The untrained model, on the CPU, its pixels' biases from the mean of `images` `[N, 784]`."""
    layers = config.stochastic_layers
    with initial_weights(config.seed):
        model = LayeredVAE(LATENT_DIMS[layers], HIDDEN_WIDTHS[layers])
    model.start_at(images.mean(dim=0))
    return model


class Trainer:
    """Trains the model of a configuration epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train and to test on.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
    """

    def __init__(self, config: LayeredConfig, data: Digits) -> None:
        device, data = resolve_device(config.device), data.checked()
        self.config = config
        self.data = data.to(device)
        self.model = new_model(config, data.train_images).to(device)
        self.optimizer = optim.Adam(
            self.model.parameters(),
            lr=config.learning_rate,
            betas=(config.beta1, 0.999),
            eps=config.adam_eps,
            fused=True,
        )

    def state_dict(self) -> StateDict:
        """Weights and optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` at its learning rate, and evaluate the test images after it."""
        # what `training` asks of a model, a loss and settings, these have too
        model: Any = self.model
        loss: Any = OBJECTIVES[self.config.loss]
        config: Any = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, number)
        with acceleration.applied(config.acceleration):
            trained = training.train_epoch(
                model,
                self.optimizer,
                self.data.train_images,
                loss=loss,
                config=config,
                epoch=number,
            )
            tested = training.evaluate(
                model,
                self.data.test_images,
                loss=loss,
                seed=config.seed,
                binarize=config.binarize,
                sample_shape=config.sample_shape,
            )
        return {
            "epoch": number,
            **{f"train_{name}": value for name, value in trained.items()},
            **{f"test_{name}": value for name, value in tested.items()},
        }
