"""One step, one epoch, one fit of the variational autoencoder."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn, optim

from vae_helpers import acceleration, gradients, objective, parameters
from vae_helpers.data import Digits, batches, binarize_images
from vae_helpers.gradients import Step
from vae_helpers.models import VAE, TunedVAE
from vae_helpers.objective import Loss
from vae_helpers.parameters import ParameterError
from vae_helpers.progress import Progress
from vae_helpers.seeds import dropout_seed, initial_weights, new_rng

EVALUATION_BATCH = 1_000
SNAPSHOT_EPOCHS = (1, 2, 5, 10, 15, 20, 30)
CURVE_EPOCHS = (*range(1, 11), 12, 15, 20, 25, 30)
"""Enough for a curve of sample quality over the epochs."""

History = list[dict[str, float]]
StateDict = dict[str, Any]
Model = TypeVar("Model", bound=nn.Module, covariant=True)


class DivergedError(ArithmeticError):
    """A loss or a weight of a training is infinite or not a number."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a run, apart from the images.

    Attributes:
        epochs: full passes over the training images.
        batch_size: images per step.
        learning_rate: step size of the optimiser.
        loss: a name in `objective.LOSSES`.
        beta: the weight in that loss: of the KL in "elbo", of the total correlation in "beta_tc".
        z_samples: samples of z per image, K of the loss "iwae"; 1 in the others.
        latent_dim: D.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: "relu", "tanh" or "sigmoid".
        optimizer: "adam", "sgd" or "sgd_momentum" (0.9).
        beta1: how long Adam's mean of the gradients remembers.
        batch_norm, slope, dropout: as in `models.TunedVAE`; as they are by default the model is the
            plain `VAE`.
        seed: of initial weights, order and noise alike.
        dataset: a name in `data.DATASETS`; for the reader of a run, the images come separately.
        binarize: "none" for grey images, "dynamic" for a new draw at every visit.
        device: "cpu", "cuda", or "auto": a GPU when there is one.
        acceleration: "auto", or "off" for PyTorch as it is.

    Raises:
        ParameterError: a field has the wrong type or is out of range, or the loss has no use for
            it; the message names it.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    loss: str = "elbo"
    beta: float = 1.0
    z_samples: int = 1
    latent_dim: int = 20
    hidden_dims: tuple[int, ...] = (400, 200)
    activation: str = "relu"
    optimizer: str = "adam"
    beta1: float = 0.9
    batch_norm: bool = False
    slope: float = 0.0
    dropout: float = 0.0
    seed: int = 0
    dataset: str = "MNIST"
    binarize: str = "none"
    device: str = "auto"
    acceleration: str = "auto"

    def __post_init__(self) -> None:
        parameters.check_fields(self)
        if self.z_samples > 1 and self.loss != "iwae":
            raise ParameterError(
                f"z_samples: expected 1 for the loss {self.loss!r}, got {self.z_samples}; "
                "take the loss 'iwae'"
            )
        if self.tuned and self.activation != "relu":
            raise ParameterError(
                "activation: expected 'relu' with batch_norm, slope or dropout, got "
                f"{self.activation!r}"
            )
        if self.optimizer != "adam" and self.beta1 != 0.9:
            raise ParameterError(
                f"beta1: expected 0.9 with the optimiser {self.optimizer!r}, which has none, got "
                f"{self.beta1}"
            )
        new_loss(self, dataset_size=1)

    @property
    def tuned(self) -> bool:
        """Whether the model is a `TunedVAE`."""
        return bool(self.batch_norm or self.slope or self.dropout)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of the samples of z of one image: `()` for a single one, else `(K,)`."""
        return () if self.loss != "iwae" else (self.z_samples,)

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code."""
        return shape_of(self)

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


@dataclass(frozen=True)
class Fit(Generic[Model]):
    """A trained model and how it came about.

    Attributes:
        model: the model after the last epoch, on the device of the run, in evaluation mode.
        history: per epoch `epoch`, and for each term of the loss, such as bce, kl and loss, its
            means over the training and the test images, `train_bce` and `test_bce`, in nats. The
            training numbers are those of the mini-batches as they were trained on, so the weights
            move while they are taken.
        weights: by epoch, the weights that were kept, for `at`.
    """

    model: Model
    history: History
    weights: dict[int, StateDict]

    def curve(self, name: str) -> list[float]:
        """One number of the history over the epochs, such as "test_loss"."""
        return [numbers[name] for numbers in self.history]

    def terms(self, side: str = "train") -> list[str]:
        """The names of the loss's terms: those in the history that begin with `side`."""
        prefix = f"{side}_"
        return [name.removeprefix(prefix) for name in self.history[0] if name.startswith(prefix)]

    def at(self, epoch: int) -> Model:
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
    *,
    snapshot_epochs: Sequence[int] = SNAPSHOT_EPOCHS,
    title: str = "",
    show_progress: bool = True,
) -> Fit[VAE]:
    """Train a VAE in memory. `store.runs.fit` does the same and keeps the epochs on disk.

    Args:
        config: what to train.
        data: what to train and to test on.
        snapshot_epochs: epochs whose weights are kept, besides the last.
        title: what the progress line says; the epochs if empty.
        show_progress: a live line with the time left, in a notebook or a terminal.

    Returns:
        The model, its history, and its weights at the snapshot epochs.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
        DivergedError: a number or weight is not finite; the message names it.
    """
    title = title or f"epochs 1 to {config.epochs}"
    return train(
        config.trainer(data),
        epochs=config.epochs,
        snapshot_epochs=snapshot_epochs,
        title=title if show_progress else None,
    )


class EpochTrainer(Protocol[Model]):
    """A training that is done epoch by epoch, and can be stopped and continued between two."""

    @property
    def model(self) -> Model:
        """The model, on the device of the training."""

    def state_dict(self) -> StateDict:
        """Everything that the next epoch depends on, except the data and the configuration."""

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` (the first is 1) and return its numbers."""


def train(
    trainer: EpochTrainer[Model],
    *,
    epochs: int,
    snapshot_epochs: Sequence[int] = (),
    title: str | None = None,
) -> Fit[Model]:
    """Train from the first epoch to the last, in memory.

    Args:
        trainer: as before its first epoch; changed.
        epochs: how many.
        snapshot_epochs: epochs whose weights are kept, besides the last.
        title: what the progress line says; no line if None.
    """
    fit = Fit(trainer.model, [], {})
    with Progress(title, total=epochs) as progress:
        for number in range(1, epochs + 1):
            fit.history.append(checked_epoch(trainer, number))
            if number in snapshot_epochs or number == epochs:
                fit.weights[number] = copy_of(trainer.model)
            progress.step(summary(fit.history[-1]))
    trainer.model.eval()
    return fit


def checked_epoch(trainer: EpochTrainer[nn.Module], number: int) -> dict[str, float]:
    """Train one epoch and return its numbers, if they and the weights are finite.

    Raises:
        DivergedError: the message names the epoch, and the number or the weights.
    """
    numbers = trainer.epoch(number)
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"epoch {number}: expected a finite {name}, got {value}; take a smaller "
                "learning_rate"
            )
    for name, tensor in trainer.model.state_dict().items():
        if wrong := int((~tensor.isfinite()).sum()):
            raise DivergedError(
                f"epoch {number}, after its last step: expected finite weights, got {name} with "
                f"{wrong} that are not; take a smaller learning_rate"
            )
    return numbers


def copy_of(model: nn.Module) -> StateDict:
    """The weights of a model, on the CPU, which later steps do not change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def summary(numbers: Mapping[str, float]) -> str:
    """The numbers of an epoch for a progress line, such as "train_bce 84.1  train_kl 18.9"."""
    return "  ".join(f"{name} {value:.1f}" for name, value in numbers.items() if name != "epoch")


def train_step(
    model: VAE,
    optimizer: optim.Optimizer,
    x: Tensor,
    *,
    loss: Loss,
    rng: torch.Generator,
    sample_shape: tuple[int, ...] = (),
) -> dict[str, Tensor]:
    """One step downhill on the mean of a loss over a mini-batch.

    Args:
        model: changed in place.
        optimizer: of the model's parameters.
        x: `[B, 784]` in [0, 1].
        loss: what is minimised, such as `objective.elbo`.
        rng: draws eps, on the device of `x`.
        sample_shape: `(K,)` for K samples of z per image.

    Returns:
        The terms of the loss of the batch before the step, `[B]` each, in nats.
    """
    shape = (*sample_shape, len(x), model.latent_dim)
    eps = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
    terms = loss(model(x, eps), x)
    optimizer.zero_grad()
    terms["loss"].mean().backward()  # the only place where images are averaged
    optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def train_epoch(
    model: VAE,
    optimizer: optim.Optimizer,
    images: Tensor,
    *,
    loss: Loss,
    config: TrainConfig,
    epoch: int,
    step: Step = train_step,
) -> dict[str, float]:
    """One pass over all images in a new order.

    Args:
        model: changed in place.
        optimizer: of the model's parameters.
        images: `[N, 784]`, on the model's device.
        loss: what is minimised.
        config: batch size, samples, binarisation and seed.
        epoch: the number of this epoch, which chooses order and noise.
        step: trains on a mini-batch.

    Returns:
        The terms of the loss, means over the N images as they were visited, in nats.

    Raises:
        DivergedError: one of them is not finite in some step; the message names it.
    """
    noise = new_rng(config.seed, "noise", epoch=epoch, device=images.device)
    draws = new_rng(config.seed, "binarisation", epoch=epoch, device=images.device)
    sums = []
    for x in batches(
        images,
        batch_size=config.batch_size,
        rng=new_rng(config.seed, "order", epoch=epoch),
        binarize=draws if config.binarize == "dynamic" else None,
    ):
        terms = step(model, optimizer, x, loss=loss, rng=noise, sample_shape=config.sample_shape)
        sums.append({name: term.sum() for name, term in terms.items()})
    return {name: total / len(images) for name, total in add_up(sums, epoch=epoch).items()}


def add_up(steps: Sequence[Mapping[str, Tensor]], *, epoch: int) -> dict[str, float]:
    """Sums over the steps of an epoch in float64, if every step's numbers are finite.

    It looks once per epoch, at all steps: looking after each one would make a GPU wait.

    Args:
        steps: what each step gave by the names of the terms, `[]` each, such as sums over images.
        epoch: for the message.

    Raises:
        DivergedError: the message names epoch, step and term of the first number that is not
            finite.
    """
    names = list(steps[0])
    numbers = torch.stack([step[name] for step in steps for name in names]).cpu()
    numbers = numbers.view(len(steps), len(names))  # [steps, terms]
    wrong = ~numbers.isfinite()
    if wrong.any():
        step, term = (int(place) for place in wrong.nonzero()[0])
        raise DivergedError(
            f"epoch {epoch}, step {step + 1} of {len(steps)}: expected a finite {names[term]}, "
            f"got {numbers[step, term].item()}; take a smaller learning_rate"
        )
    sums = sum(numbers.double(), torch.zeros(len(names), dtype=torch.float64))
    return dict(zip(names, sums.tolist(), strict=True))


@torch.no_grad()
def evaluate(
    model: VAE,
    images: Tensor,
    *,
    loss: Loss,
    seed: int,
    binarize: str = "none",
    sample_shape: tuple[int, ...] = (),
) -> dict[str, float]:
    """The terms of a loss on images that are not trained on.

    Every call with one seed uses the same noise, so that two epochs differ by the model alone.

    Args:
        model: left as it is.
        images: `[N, 784]`, on the model's device.
        loss: what is evaluated.
        seed: of the noise.
        binarize: "dynamic" draws the images black and white first.
        sample_shape: `(K,)` for K samples of z per image.

    Returns:
        Means over the N images, in nats.
    """
    noise = new_rng(seed, "evaluation noise", device=images.device)
    draws = new_rng(seed, "evaluation binarisation", device=images.device)
    sums: dict[str, Tensor] = {}
    for x in images.split(EVALUATION_BATCH):
        if binarize == "dynamic":
            x = binarize_images(x, rng=draws)
        shape = (*sample_shape, len(x), model.latent_dim)
        eps = torch.randn(shape, generator=noise, dtype=x.dtype, device=x.device)
        for name, term in loss(model(x, eps), x).items():
            sums[name] = sums.get(name, 0.0) + term.sum().double()
    return {name: total.item() / len(images) for name, total in sums.items()}


def new_loss(config: TrainConfig, *, dataset_size: int) -> Loss:
    """The loss of a configuration, with those of its settings that it takes.

    Raises:
        ParameterError: beta is not 1, and the loss has no such weight.
    """
    loss = objective.LOSSES[config.loss]
    takes = inspect.signature(loss).parameters
    if "beta" not in takes and config.beta != 1:
        raise ParameterError(
            f"beta: expected 1 for the loss {config.loss!r}, which has no such weight, "
            f"got {config.beta}"
        )
    settings = {"beta": config.beta, "dataset_size": dataset_size}
    return partial(loss, **{name: value for name, value in settings.items() if name in takes})


def new_model(config: TrainConfig) -> VAE:
    """The untrained model of a configuration, on the CPU; torch's global generator is untouched."""
    with initial_weights(config.seed):
        if config.tuned:
            return TunedVAE(
                config.hidden_dims,
                config.latent_dim,
                batch_norm=config.batch_norm,
                slope=config.slope,
                dropout=config.dropout,
            )
        return VAE(config.hidden_dims, config.latent_dim, activation=config.activation)


def new_step(config: TrainConfig, model: VAE, images: Tensor, *, loss: Loss) -> Step:
    """`train_step`, or where that is possible and not switched off, the one without autograd."""
    if config.acceleration != "off":
        with acceleration.applied():
            if gradients.applies(model, images, loss=loss, reference=train_step):
                return gradients.train_step
    return train_step


def new_optimizer(config: TrainConfig, model: nn.Module) -> optim.Optimizer:
    """The optimiser of a configuration, in torch's fused form."""
    if config.optimizer == "adam":
        betas = (config.beta1, 0.999)
        return optim.Adam(model.parameters(), config.learning_rate, betas, fused=True)
    momentum = 0.9 if config.optimizer == "sgd_momentum" else 0.0
    return optim.SGD(model.parameters(), lr=config.learning_rate, momentum=momentum, fused=True)


def resolve_device(device: str) -> torch.device:
    """ "auto" is the GPU when there is one, and the CPU otherwise."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError(
            "device: expected a GPU for 'cuda', but torch finds none; take 'auto' or 'cpu'"
        )
    return torch.device(device)


def refuse_single(images: int, parameter: str, batch_size: int, *, why: str) -> None:
    """Refuse batches of which the last holds one image.

    Args:
        images: how many there are.
        parameter: what to change, for the message.
        batch_size: images per batch.
        why: what needs two images, for the message.

    Raises:
        ParameterError: the last batch would hold one image.
    """
    if images % batch_size == 1 % batch_size:
        raise ParameterError(
            f"{parameter}: expected batches of at least 2 images for {why}, got a last one of 1 "
            f"({images} images in batches of {batch_size}); take another {parameter}"
        )


def shape_of(config: Any, *, free: Sequence[str] = ("epochs",)) -> dict[str, Any]:
    """What of a configuration shapes an epoch, with the device and the products that it gets.

    Args:
        config: a configuration with the fields `device` and `acceleration`.
        free: fields that shape no epoch.
    """
    settings = {name: value for name, value in asdict(config).items() if name not in free}
    device = resolve_device(settings.pop("device"))
    products = acceleration.products(settings.pop("acceleration"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"config": settings, "device": name, "products": products}


class Trainer:
    """Trains the VAE of a configuration epoch by epoch (an `EpochTrainer`).

    Args:
        config: what to train.
        data: what to train and to test on.

    Raises:
        DataError: as in `fit`.
        ParameterError: the loss or batch normalisation compares the images of a batch, and some
            batch would hold one.
    """

    def __init__(self, config: TrainConfig, data: Digits) -> None:
        device, data = resolve_device(config.device), data.checked()
        if "dataset_size" in inspect.signature(objective.LOSSES[config.loss]).parameters:
            why = f"the loss {config.loss!r}"
            refuse_single(len(data.train_images), "batch_size", config.batch_size, why=why)
            refuse_single(len(data.test_images), "test_images", EVALUATION_BATCH, why=why)
        if config.batch_norm:
            why = "batch normalisation"
            refuse_single(len(data.train_images), "batch_size", config.batch_size, why=why)
        self.config = config
        self.data = data.to(device)
        self.loss = new_loss(config, dataset_size=len(data.train_images))
        self.model = new_model(config).to(device)
        self.optimizer = new_optimizer(config, self.model)
        self.step = new_step(config, self.model, self.data.train_images, loss=self.loss)

    def state_dict(self) -> StateDict:
        """Weights and optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` and evaluate the test images after it."""
        config, model, loss = self.config, self.model, self.loss
        images = self.data.train_images
        with (
            acceleration.applied(config.acceleration),
            dropout_seed(config.seed, number, images.device),
        ):
            model.train()
            trained = train_epoch(
                model,
                self.optimizer,
                images,
                loss=loss,
                config=config,
                epoch=number,
                step=self.step,
            )
            model.eval()
            tested = evaluate(
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
