"""Real images, damaged on purpose, in steps: what a measure of sample quality is tried on first.

Of each damage it is known before any measurement what a measure should do: get worse from step to
step, or, for a mere change of contrast, stay where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from vae_helpers.data import SIDE


class Degradation(NamedTuple):
    """A damage that can be done in steps.

    Attributes:
        apply: images `[N, 784]` in [0, 1], their labels `[N]`, the severity and a generator on the
            CPU to damaged images `[N, 784]` in [0, 1].
        severities: the steps, mildest first.
        worsens: whether the images are worse digits afterwards, or as good as before.
    """

    apply: Callable[[Tensor, Tensor, float, torch.Generator], Tensor]
    severities: tuple[float, ...]
    worsens: bool = True


def contrast(images: Tensor, labels: Tensor, gain: float, rng: torch.Generator) -> Tensor:
    """Multiply the logits of all pixels, kept within those of 1/255 and 254/255, by a number."""
    return torch.sigmoid(gain * torch.logit(images, eps=1 / 255))


def rounded(images: Tensor, labels: Tensor, severity: float, rng: torch.Generator) -> Tensor:
    """Make the images black and white."""
    return (images >= 0.5).to(images.dtype)


def blur(images: Tensor, labels: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
    """Blur by a normal distribution with this standard deviation in pixels."""
    size = 2 * round(3 * sigma) + 1
    blurred = gaussian_blur(images.reshape(-1, 1, SIDE, SIDE), [size, size], [sigma, sigma])
    flat: Tensor = blurred.flatten(1)
    return flat


def noise(images: Tensor, labels: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Invert each pixel with this probability."""
    hit = torch.rand(images.shape, generator=rng) < share
    return torch.where(hit.to(images.device), 1 - images, images)


def holes(images: Tensor, labels: Tensor, count: float, rng: torch.Generator) -> Tensor:
    """Break strokes: make so many squares of 5 x 5 pixels black, each around a bright pixel."""
    ink = (images > 0.5).cpu() + 1e-6  # an image without bright pixels has holes anywhere
    centres = torch.multinomial(ink.float(), int(count), generator=rng)  # [N, count]
    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)
    row, column = (centres // SIDE)[..., None, None], (centres % SIDE)[..., None, None]
    square = ((rows - row).abs() <= 2) & ((columns - column).abs() <= 2)  # [N, count, 28, 28]
    whole = ~square.any(dim=1).flatten(1)
    return images * whole.to(images.device)


def overlaid(images: Tensor, labels: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Draw a second digit over this share of the images."""
    others = images[torch.randperm(len(images), generator=rng)]
    hit = torch.rand(len(images), 1, generator=rng) < share
    return torch.where(hit.to(images.device), torch.maximum(images, others), images)


def without_classes(images: Tensor, labels: Tensor, count: float, rng: torch.Generator) -> Tensor:
    """Replace the images of the last so many classes by copies of others, drawn at random."""
    keep = (labels < 10 - count).cpu()
    others = keep.nonzero()[:, 0]
    place = torch.arange(len(images))
    drawn = others[torch.randint(len(others), (len(images),), generator=rng)]
    return images[torch.where(keep, place, drawn)]


def repeated(images: Tensor, labels: Tensor, times: float, rng: torch.Generator) -> Tensor:
    """Show a part of the images so many times, and the others never."""
    distinct = max(1, round(len(images) / times))
    return images[torch.arange(len(images)) % distinct]


DEGRADATIONS: Mapping[str, Degradation] = {
    "contrast": Degradation(contrast, (0.5, 3.0, 10.0), worsens=False),
    "rounded": Degradation(rounded, (1.0,), worsens=False),
    "blur": Degradation(blur, (0.7, 1.0, 2.0)),
    "noise": Degradation(noise, (0.003, 0.01, 0.05)),
    "holes": Degradation(holes, (1.0, 2.0, 4.0)),
    "overlaid": Degradation(overlaid, (0.03, 0.1, 0.3)),
    "without_classes": Degradation(without_classes, (1.0, 2.0, 5.0)),
    "repeated": Degradation(repeated, (10.0, 30.0, 100.0)),
}
"""By name. `severities` are in the unit that each function names."""
