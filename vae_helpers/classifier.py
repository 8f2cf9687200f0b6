"""The reference classifier: its features tell how much images look like digits.

Distances between sets of images are taken between what this network makes of them, so its weights
are part of the unit. They are committed, together with their checksum; everybody's figures are on
one scale as long as they use the same file. `python -m vae_helpers classifier` trains it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn, optim
from torchvision.transforms.v2.functional import gaussian_blur

from vae_helpers import PROJECT, acceleration, parameters, training
from vae_helpers.data import CLASSES, PIXELS, SIDE, Digits, batches
from vae_helpers.seeds import initial_weights, new_rng
from vae_helpers.training import StateDict

WEIGHTS = PROJECT / "data" / "classifier.safetensors"
CHECKSUM = "9a0157742c6847a7204e6990bfeea37181d0ab8d69d70cea75f0a33cf163ba6d"
"""SHA-256 of the committed weights: name it wherever a distance by them is published."""


class ReferenceClassifierError(ValueError):
    """The weights are not the committed ones, so that distances would be on another scale."""


class Reading(NamedTuple):
    """What the classifier makes of some images.

    Attributes:
        features: `[N, 64]`, >= 0, the last hidden layer.
        digits: `[N]` int64 in 0..9, the most probable digit.
    """

    features: Tensor
    digits: Tensor


class Classifier(nn.Module):
    """Two convolutions and one hidden layer of 64 units, about 106,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # [B, 16, 14, 14]
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # [B, 32, 7, 7]
            nn.Flatten(),
        )
        self.to_features = nn.Linear(32 * (SIDE // 4) ** 2, 64)
        self.to_logits = nn.Linear(64, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """`x` `[B, 784]` in [0, 1] to the 64 activations before the last layer, `[B, 64]`."""
        return F.relu(self.to_features(self.convolutions(x.reshape(-1, 1, SIDE, SIDE))))

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[B, 784]` to the logits of the ten digits, `[B, 10]`."""
        logits: Tensor = self.to_logits(self.features(x))
        return logits


@torch.no_grad()
def read(images: Tensor, *, model: Classifier | None = None) -> Reading:
    """Features and digits of images, on the device of `images`.

    Args:
        images: `[N, 784]` in [0, 1]: grey levels or Bernoulli means, not logits.
        model: another classifier than the committed one, whose features are another scale.

    Raises:
        ValueError: the images have another shape, or values outside [0, 1].
        ReferenceClassifierError: the committed weights are missing or altered.
    """
    if images.ndim != 2 or images.shape[1] != PIXELS or not len(images):
        raise ValueError(f"images: expected [N, {PIXELS}], got {list(images.shape)}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images: expected values in [0, 1], got {images.min():.3g} to {images.max():.3g}; "
            "if these are a decoder's logits, take their sigmoid"
        )
    model = (model or reference()).to(images.device)
    features = torch.cat([model.features(x) for x in images.split(250)])
    return Reading(features, model.to_logits(features).argmax(dim=1))


@cache
def reference(path: Path = WEIGHTS, checksum: str | None = None) -> Classifier:
    """The committed classifier, ready to read.

    Args:
        path: of its weights.
        checksum: that they must have; `CHECKSUM` if None.

    Raises:
        ReferenceClassifierError: the file is missing, or its bytes are not the committed ones.
    """
    expected = checksum or CHECKSUM
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ReferenceClassifierError(
            f"{path}: expected the committed weights with SHA-256 {expected[:16]}..., found "
            f"{found[:16] + '...' if path.is_file() else 'no file'}; get them back with "
            f"`git checkout -- data/{path.name}`"
        )
    model = Classifier()
    model.load_state_dict(load(content))
    return model.requires_grad_(False)


def committed(name: str) -> Classifier:
    """A classifier of `COMMITTED`, ready to read.

    Raises:
        ReferenceClassifierError: as in `reference`.
    """
    return reference(*COMMITTED[name][:2])


@dataclass(frozen=True)
class ClassifierConfig:
    """How the reference classifier was made; the epochs were chosen on held-out training images.

    Attributes:
        epochs: full passes over the training images.
        batch_size: images a step.
        learning_rate: Adam's step size in the first epoch; it falls by the same amount every epoch
            and would reach zero after the last.
        contrast: whether contrast and sharpness vary in training (`vary_contrast`).
        seed: of initial weights, order and shifts.
        dataset: for the reader of a run, the images come separately.
        device, acceleration: as in `TrainConfig`.

    Raises:
        ParameterError: a field has the wrong type or is out of range; the message names it.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    contrast: bool = False
    seed: int = 0
    dataset: str = "MNIST"
    device: str = "cpu"
    acceleration: str = "off"

    def __post_init__(self) -> None:
        parameters.check_fields(self)

    def shape(self) -> dict[str, Any]:
        """What shapes an epoch besides images and code; their number shapes the step sizes."""
        return training.shape_of(self, free=())

    def trainer(self, data: Digits) -> Trainer:
        """What trains this configuration on these images, before its first epoch."""
        return Trainer(self, data)


def train_epoch(
    model: Classifier,
    optimizer: optim.Optimizer,
    data: Digits,
    *,
    config: ClassifierConfig,
    epoch: int,
) -> float:
    """One pass over all training images in a new order; mean cross-entropy in nats per image."""
    n, device = len(data.train_images), data.train_images.device
    order = new_rng(config.seed, "order", epoch=epoch)
    total = torch.zeros((), dtype=torch.float64, device=device)
    numbers = torch.arange(n, device=device)
    offsets = new_rng(config.seed, "shifts", epoch=epoch)
    for index in batches(numbers, batch_size=config.batch_size, rng=order):
        x = shift(data.train_images[index], rng=offsets)
        if config.contrast:
            x = vary_contrast(x, rng=offsets)
        loss = F.cross_entropy(model(x), data.train_labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(index)
    return total.item() / n


def shift(images: Tensor, *, rng: torch.Generator, reach: int = 2) -> Tensor:
    """Each image moved by up to `reach` pixels either way, black where nothing was.

    A digit stays a digit when it moves, and the classifier learns it from more than 60,000 images.

    Args:
        images: `[B, 784]`.
        rng: on the CPU, draws one shift an image.
        reach: the longest shift in pixels, along each axis.
    """
    start = torch.randint(2 * reach + 1, (2, len(images), 1), generator=rng)
    rows, columns = (start + torch.arange(SIDE)).to(images.device)  # [B, 28] each
    padded = F.pad(images.reshape(-1, SIDE, SIDE), (reach,) * 4)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].flatten(1)


def vary_contrast(images: Tensor, *, rng: torch.Generator) -> Tensor:
    """Images with another contrast and sharpness each, as one digit may have.

    Half of the batches are blurred, by up to one pixel. Then the contrast of every image is
    multiplied by a number between 1/2 and 16 on the scale of logits, and one image in four is
    rounded to black and white.

    Args:
        images: `[B, 784]` in [0, 1].
        rng: on the CPU.
    """
    blur, sigma = torch.rand(2, generator=rng).tolist()
    if blur < 0.5:
        size = (len(images), 1, SIDE, SIDE)
        images = gaussian_blur(images.reshape(size), [5, 5], [0.1 + 0.9 * sigma]).flatten(1)
    gain, rounded = torch.rand(2, len(images), 1, generator=rng).to(images.device)
    varied = torch.sigmoid(2 ** (5 * gain - 1) * torch.logit(images, eps=1 / 255))
    return torch.where(rounded < 0.25, images.round(), varied)


def accuracy(model: Classifier, images: Tensor, labels: Tensor) -> float:
    """The share of images `[N, 784]` whose most probable digit is their label `[N]`."""
    return (read(images, model=model).digits == labels).double().mean().item()


def weights_file(model: Classifier) -> bytes:
    """A classifier's weights as a safetensors file; `CHECKSUM` is the SHA-256 of such bytes."""
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})


class Committed(NamedTuple):
    """A classifier whose weights are part of the project.

    Attributes:
        path: of the weights.
        checksum: their SHA-256.
        config: how they were made.
    """

    path: Path
    checksum: str
    config: ClassifierConfig


COMMITTED: Mapping[str, Committed] = {
    "classifier": Committed(WEIGHTS, CHECKSUM, ClassifierConfig()),
    "varied": Committed(
        PROJECT / "data" / "classifier_varied.safetensors",
        "1906f72f08d911266f616c2ffa89fa95d57fb770215743c51a4cb0c930c84c9b",
        ClassifierConfig(contrast=True),
    ),
    "reseeded": Committed(
        PROJECT / "data" / "classifier_reseeded.safetensors",
        "53d15171b1a8f3a246abd1fb64a93f72e3a32ce76c2e4a19d424c74588f6c043",
        ClassifierConfig(seed=1),
    ),
}
"""The reference classifier, the same with contrast varied in training, the same of another seed."""


class Trainer:
    """Trains a classifier epoch by epoch (a `training.EpochTrainer`).

    The history has per epoch `train_loss` (cross-entropy, nats per image) and `test_accuracy` (a
    share).

    Args:
        config: what to train.
        data: what to train and to test on.

    Raises:
        DataError: the images are not float32 in [0, 1], or the like; the message names them.
    """

    def __init__(self, config: ClassifierConfig, data: Digits) -> None:
        device = training.resolve_device(config.device)
        self.config = config
        self.data = data.checked().to(device)
        with initial_weights(config.seed):
            self.model = Classifier().to(device)
        self.optimizer = optim.Adam(self.model.parameters(), lr=config.learning_rate, fused=True)

    def state_dict(self) -> StateDict:
        """Weights and optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch `number` and read the test images after it."""
        config, data = self.config, self.data
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - (number - 1) / config.epochs)
        with acceleration.applied(config.acceleration):
            loss = train_epoch(self.model, self.optimizer, data, config=config, epoch=number)
        return {
            "epoch": number,
            "train_loss": loss,
            "test_accuracy": accuracy(self.model, data.test_images, data.test_labels),
        }
