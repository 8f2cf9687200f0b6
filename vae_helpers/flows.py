"""An approximate posterior that bends: planar flows (Rezende & Mohamed 2015) on the study's VAE.

A sample of a Gaussian passes through T steps, each of which moves it along a direction by a tanh of
where it lies. The density of what comes out is that of what went in, divided by how much each step
stretches space there. The encoder gives the parameters of the steps along with mean and width, so
that each image has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from vae_helpers import acceleration, parameters, training
from vae_helpers.data import Digits
from vae_helpers.models import VAE
from vae_helpers.objective import Terms, bce, log_prior
from vae_helpers.seeds import initial_weights
from vae_helpers.training import StateDict, resolve_device


@dataclass(frozen=True)
class FlowConfig:
    """Everything that shapes a run, apart from the images.

    Attributes:
        epochs: full passes over the training images.
        batch_size: images per step.
        learning_rate: Adam's step size.
        flow_length: T, planar steps between the Gaussian and z.
        latent_dim: D.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: "relu", "tanh" or "sigmoid".
        seed: of initial weights, order, noise and binarisation alike.
        dataset: a name in `data.DATASETS`; for the reader of a run, the images come separately.
        binarize: "none" for grey images, "dynamic" for a new draw at every visit.
        device: "cpu", "cuda", or "auto": a GPU when there is one.
        acceleration: "auto", or "off" for PyTorch as it is.

    Raises:
        ParameterError: a field has the wrong type or is out of range; the message names it.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    flow_length: int = 10
    latent_dim: int = 20
    hidden_dims: tuple[int, ...] = (400, 200)
    activation: str = "relu"
    seed: int = 0
    dataset: str = "MNIST"
    binarize: str = "none"
    device: str = "auto"
    acceleration: str = "auto"

    def __post_init__(self) -> None:
        parameters.check_fields(self)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of the samples of z of one image: a single one."""
        return ()

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code."""
        return training.shape_of(self)

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


class FlowOutput(NamedTuple):
    """What one pass through the autoencoder gives.

    Attributes:
        logits: `[B, 784]`, unbounded; `sigmoid(logits)` are the Bernoulli means of the pixels.
        z: `[B, D]`, the sample that was decoded.
        log_q: `[B]`, log q(z|x), in nats.

    With K samples of z per image there is a first dimension K to each of them.
    """

    logits: Tensor
    z: Tensor
    log_q: Tensor


def planar(z: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """One planar step z' = z + u^ tanh(w.z + b) (Rezende & Mohamed 2015, section 4.1).

    The step can be undone if w.u^ > -1. So u^ is u, moved along w until w.u^ = softplus(w.u) - 1
    (the same, appendix A).

    Args:
        z: `[..., B, D]`.
        u, w: `[B, D]`, w not zero.
        b: `[B]`.

    Returns:
        z', `[..., B, D]`, and the log of the determinant of dz'/dz, `[..., B]`.
    """
    product = (w * u).sum(dim=-1)
    stretch = F.softplus(product)  # of space along u^ where the tanh is steepest, > 0
    u = u + ((stretch - 1 - product) / w.square().sum(dim=-1))[..., None] * w
    t = torch.tanh((z * w).sum(dim=-1) + b)
    # 1 + (1 - t^2) w.u^, written as a sum of positive parts
    return z + t[..., None] * u, torch.log(t.square() + (1 - t.square()) * stretch)


class FlowVAE(nn.Module):
    """A VAE whose approximate posterior is a Gaussian that went through planar steps.

    Args:
        vae: encoder, the Gaussian's heads, and decoder.
        flow_length: T, the number of steps.
    """

    def __init__(self, vae: VAE, flow_length: int) -> None:
        super().__init__()
        self.vae = vae
        self.flow_length = flow_length
        self.to_flow = nn.Linear(vae.to_mu.in_features, flow_length * (2 * vae.latent_dim + 1))

    @property
    def latent_dim(self) -> int:
        """D."""
        return self.vae.latent_dim

    def forward(self, x: Tensor, eps: Tensor) -> FlowOutput:
        """Encode, sample, bend, decode: `x` `[B, 784]`, `eps` `[B, D]`, or `[K, B, D]`."""
        hidden = self.vae.encoder(x)
        mu, logvar = self.vae.to_mu(hidden), self.vae.to_logvar(hidden)
        z = self.vae.reparameterize(mu, logvar, eps)
        log_q = (log_prior(eps) - 0.5 * logvar).sum(dim=-1)
        steps = self.to_flow(hidden).unflatten(dim=-1, sizes=(self.flow_length, -1))
        for step in steps.unbind(dim=-2):
            u, w, b = step.split((self.latent_dim, self.latent_dim, 1), dim=-1)
            z, log_det = planar(z, u, w, b.squeeze(dim=-1))
            log_q = log_q - log_det
        return FlowOutput(self.vae.decode(z), z, log_q)

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """`n` images `[n, 784]` in [0, 1], as `VAE.sample`: the prior has no flow."""
        return self.vae.sample(n, rng)


def elbo(output: FlowOutput, x: Tensor) -> Terms:
    """Minus the evidence lower bound, by the sample of z that was drawn.

    Args:
        output: of the model, with one sample of z per image.
        x: `[B, 784]` in [0, 1].

    Returns:
        `bce`; `kl`, log q(z|x) - log p(z), an estimate of the KL that may be below zero; and
        `loss = bce + kl`, `[B]` each, in nats.
    """
    reconstruction = bce(output.logits, x)
    divergence = output.log_q - log_prior(output.z).sum(dim=-1)
    return {"bce": reconstruction, "kl": divergence, "loss": reconstruction + divergence}


def log_weights(model: FlowVAE, x: Tensor, eps: Tensor) -> Tensor:
    """log of p(x|z) p(z) / q(z|x) where the flow takes mu + std * eps; `evaluation.log_weights`.

    Args:
        model: the VAE with its flow.
        x: `[B, 784]` in [0, 1].
        eps: `[K, B, D]` standard normal noise.

    Returns:
        `[K, B]`, in nats.
    """
    output: FlowOutput = model(x, eps)
    return log_prior(output.z).sum(dim=-1) - bce(output.logits, x) - output.log_q


def new_model(config: FlowConfig) -> FlowVAE:
    """The untrained model, on the CPU; its VAE has the weights of `training.new_model`."""
    with initial_weights(config.seed):
        vae = VAE(config.hidden_dims, config.latent_dim, activation=config.activation)
        return FlowVAE(vae, config.flow_length)


class Trainer:
    """Trains the model of a configuration epoch by epoch (a `training.EpochTrainer`).

    Args:
        config: what to train.
        data: what to train and to test on.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
    """

    def __init__(self, config: FlowConfig, data: Digits) -> None:
        device, data = resolve_device(config.device), data.checked()
        self.config = config
        self.data = data.to(device)
        self.model = new_model(config).to(device)
        self.optimizer = optim.Adam(self.model.parameters(), lr=config.learning_rate, fused=True)

    def state_dict(self) -> StateDict:
        """Weights and optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` and evaluate the test images after it."""
        # what `training` asks of a model, a loss and settings, these have too
        model: Any = self.model
        loss: Any = elbo
        config: Any = self.config
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
            )
        return {
            "epoch": number,
            **{f"train_{name}": value for name, value in trained.items()},
            **{f"test_{name}": value for name, value in tested.items()},
        }
