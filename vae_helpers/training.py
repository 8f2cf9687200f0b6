"""One step, one epoch, one fit of the variational autoencoder."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from vae_helpers import kernels, models, objective, parameters, runs
from vae_helpers.checkpoints import History, StateDict
from vae_helpers.data import Digits, batches, binarize_images
from vae_helpers.divergence import add_up
from vae_helpers.models import VAE
from vae_helpers.runs import SNAPSHOT_EPOCHS
from vae_helpers.seeds import generator

EVALUATION_BATCH = 1_000


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a run, apart from the images.

    Attributes:
        epochs: full passes over the training images.
        batch_size: images a step.
        learning_rate: step size of the optimiser.
        beta: weight of the KL in `loss = bce + beta * kl`; 1 is the bound, 0 is BCE only.
        latent_dim: D.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: "relu", "tanh" or "sigmoid".
        optimizer: "adam", "sgd" or "sgd_momentum" (0.9).
        seed: of initial weights, order and noise alike.
        dataset: "MNIST" or "FashionMNIST"; for the reader of a run, the images come separately.
        binarize: "none" for grey images, "dynamic" for a new draw at every visit.
        device: "cpu", "cuda", or "auto": a GPU when there is one.

    Raises:
        ParameterError: a field has the wrong type or is out of range; the message names it.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    beta: float = 1.0
    latent_dim: int = 20
    hidden_dims: tuple[int, ...] = (400, 200)
    activation: str = "relu"
    optimizer: str = "adam"
    seed: int = 0
    dataset: str = "MNIST"
    binarize: str = "none"
    device: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = parameters.check(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True)
class Fit:
    """A trained model and how it came about.

    Attributes:
        model: the model after the last epoch, on the device of the run.
        history: per epoch `epoch`, and `train_bce`, `train_kl`, `train_loss`, `test_bce`,
            `test_kl`, `test_loss`: means over images, in nats. The training numbers are those of
            the mini-batches as they were trained on, so the weights move while they are taken.
        weights: by epoch, the weights that were kept, for `at`.
    """

    model: VAE
    history: History
    weights: dict[int, StateDict]

    def curve(self, name: str) -> list[float]:
        """One number of the history over the epochs, such as "test_loss"."""
        return [numbers[name] for numbers in self.history]

    def at(self, epoch: int) -> VAE:
        """A copy of the model as it was after `epoch`.

        Raises:
            KeyError: the weights of that epoch were not kept; the message lists those that were.
        """
        if epoch not in self.weights:
            raise KeyError(f"epoch {epoch} was not kept; kept are {sorted(self.weights)}")
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.weights[epoch])
        return model


def fit(
    config: TrainConfig,
    data: Digits,
    run_dir: Path | None = None,
    *,
    snapshot_epochs: tuple[int, ...] = SNAPSHOT_EPOCHS,
    title: str = "",
    show_progress: bool = True,
) -> Fit:
    """Train a VAE, or continue the run that is already there, up to `config.epochs`.

    Args:
        config: what to train.
        data: what to train and to test on.
        run_dir: folder that keeps runs, such as `runs.RUNS`, each in a folder named by its key. The
            epochs that are there are returned, the missing ones trained; a killed run loses at
            most the epoch it was in. If None the run happens in memory and nothing is written.
        snapshot_epochs: epochs whose weights are kept.
        title: what the progress line says; the epochs if empty.
        show_progress: a live line with the time left, in a notebook or a terminal.

    Returns:
        The model, its history, and its weights at the snapshot epochs.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
    """
    device, data = resolve_device(config.device), data.checked()
    state = _VAERun(config, data.to(device), device)
    run = runs.continue_run(
        state,
        describe(config, data),
        epochs=config.epochs,
        run_dir=run_dir,
        snapshot_epochs=snapshot_epochs,
        title=(title or f"epochs 1 to {config.epochs}") if show_progress else None,
    )
    state.model.load_state_dict(run.weights[config.epochs])
    return Fit(state.model, run.history, run.weights)


def describe(config: TrainConfig, data: Digits) -> dict[str, object]:
    """What shapes the run of this configuration on these images, and its key (`runs.digest`)."""
    shape = asdict(config)
    del shape["epochs"], shape["device"]
    return runs.digest(
        config=shape,
        data_checksum=data.checksum,
        device=resolve_device(config.device),
        parts=(
            *kernels.PARTS,
            models.VAE,
            models.hidden_layers,
            objective.bce,
            objective.kl,
            batches,
            binarize_images,
            generator,
            new_model,
            new_optimizer,
            train_step,
            train_epoch,
            evaluate,
            _VAERun,
        ),
    )


def train_step(
    model: VAE, optimizer: optim.Optimizer, x: Tensor, *, beta: float, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One step downhill on the mean of `bce + beta * kl` over a mini-batch.

    Args:
        model: changed in place.
        optimizer: of the model's parameters.
        x: `[B, 784]` in [0, 1].
        beta: weight of the KL.
        noise: draws eps, on the device of `x`.

    Returns:
        bce and kl of the batch before the step, `[B]` each, in nats.
    """
    eps = torch.randn(len(x), model.latent_dim, generator=noise, device=x.device)
    output = model(x, eps)
    bce = objective.bce(output.logits, x)
    kl = objective.kl(output.mu, output.logvar)
    loss = (bce + beta * kl).mean()  # the only place where images are averaged
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return bce.detach(), kl.detach()


def train_epoch(
    model: VAE, optimizer: optim.Optimizer, images: Tensor, *, config: TrainConfig, epoch: int
) -> tuple[float, float]:
    """One pass over all images in a new order.

    Args:
        model: changed in place.
        optimizer: of the model's parameters.
        images: `[N, 784]`, on the model's device.
        config: batch size, beta, binarisation and seed.
        epoch: the number of this epoch, which chooses order and noise.

    Returns:
        bce and kl, means over the N images as they were visited, in nats.

    Raises:
        DivergedError: one of them is not finite in some step; the message names it.
    """
    device = images.device
    noise = generator(config.seed, "noise", epoch=epoch, device=device)
    draws = generator(config.seed, "binarisation", epoch=epoch, device=device)
    sums = []
    for x in batches(
        images,
        batch_size=config.batch_size,
        generator=generator(config.seed, "order", epoch=epoch),
        binarize=draws if config.binarize == "dynamic" else None,
    ):
        bce, kl = train_step(model, optimizer, x, beta=config.beta, noise=noise)
        sums.append(torch.stack([bce.sum(), kl.sum()]))  # on the device: no wait in the loop
    mean_bce, mean_kl = (add_up(sums, ("bce", "kl"), epoch=epoch) / len(images)).tolist()
    return mean_bce, mean_kl


@torch.no_grad()
def evaluate(
    model: VAE, images: Tensor, *, seed: int, binarize: str = "none"
) -> tuple[float, float]:
    """bce and kl of images that are not trained on, with one sample of z each.

    Every call with one seed uses the same noise, so that two epochs differ by the model alone.

    Args:
        model: left as it is.
        images: `[N, 784]`, on the model's device.
        seed: of the noise.
        binarize: "dynamic" draws the images black and white first.

    Returns:
        Means over the N images, in nats.
    """
    device = images.device
    noise = generator(seed, "evaluation noise", device=device)
    draws = generator(seed, "evaluation binarisation", device=device)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for x in images.split(EVALUATION_BATCH):
        if binarize == "dynamic":
            x = binarize_images(x, generator=draws)
        eps = torch.randn(len(x), model.latent_dim, generator=noise, device=device)
        output = model(x, eps)
        bce, kl = objective.bce(output.logits, x), objective.kl(output.mu, output.logvar)
        sums += torch.stack([bce.sum(), kl.sum()])
    mean_bce, mean_kl = (sums / len(images)).tolist()
    return mean_bce, mean_kl


def new_model(config: TrainConfig) -> VAE:
    """The untrained model of a configuration, on the CPU; torch's global generator is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(config.seed, "initial weights").initial_seed())
        return VAE(config.hidden_dims, config.latent_dim, activation=config.activation)


def new_optimizer(config: TrainConfig, model: nn.Module) -> optim.Optimizer:
    """The optimiser of a configuration, in torch's fused form."""
    if config.optimizer == "adam":
        return optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    momentum = 0.9 if config.optimizer == "sgd_momentum" else 0.0
    return optim.SGD(model.parameters(), lr=config.learning_rate, momentum=momentum, fused=True)


def resolve_device(device: str) -> torch.device:
    """ "auto" is the GPU when there is one, and the CPU otherwise."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise parameters.ParameterError(
            "device: expected a GPU for 'cuda', but torch finds none; take 'auto' or 'cpu'"
        )
    return torch.device(device)


class _VAERun:
    """What `runs.continue_run` needs to know of a VAE."""

    def __init__(self, config: TrainConfig, data: Digits, device: torch.device) -> None:
        self.config = config
        self.data = data
        self.model = new_model(config).to(device)
        self.optimizer = new_optimizer(config, self.model)

    def state_dict(self) -> StateDict:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> StateDict:
        return self.model.state_dict()

    def epoch(self, number: int) -> dict[str, float]:
        config = self.config
        train_bce, train_kl = train_epoch(
            self.model, self.optimizer, self.data.train_images, config=config, epoch=number
        )
        test_bce, test_kl = evaluate(
            self.model, self.data.test_images, seed=config.seed, binarize=config.binarize
        )
        return {
            "epoch": number,
            "train_bce": train_bce,
            "train_kl": train_kl,
            "train_loss": train_bce + config.beta * train_kl,
            "test_bce": test_bce,
            "test_kl": test_kl,
            "test_loss": test_bce + config.beta * test_kl,
        }
