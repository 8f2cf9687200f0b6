"""Anybody's samples on the course's measures, beside the models that the course has measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_helpers.data import PIXELS, load
from vae_helpers.features import RENDERINGS, extract
from vae_helpers.measures import MEASURES, Numbers, Subject, name_of, rendered_real
from vae_helpers.parameters import ParameterError
from vae_helpers.seeds import new_rng
from vae_helpers.store import shipped
from vae_helpers.store.reference import extractors
from vae_helpers.studies import tables

COUNT = 10_000
"""Samples that are compared with as many test images: the distances depend on the number."""

TRIED = ("fcd", "frechet", "neighbours", "two_sample", "digits", "copies")
STUDIES = ("comparison_vae", "comparison_gan", "comparison_wgan", "comparison_plain")


def read_samples(path: Path) -> Tensor:
    """Images from a file of NumPy: `[10000, 784]` float32 in [0, 1].

    Args:
        path: of an array `[10000, 784]` or `[10000, 28, 28]`, grey levels in [0, 1], or in 0..255
            if they are whole numbers of 8 bits.

    Raises:
        ParameterError: it is something else; the message says what was expected and what came.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParameterError(f"{path}: expected an array that numpy.save wrote: {error}") from error
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    if array.shape[:1] != (COUNT,) or array.size != COUNT * PIXELS:
        raise ParameterError(
            f"{path}: expected {COUNT:,} images, [{COUNT}, {PIXELS}] or [{COUNT}, 28, 28], got "
            f"{list(array.shape)}: distances depend on how many images there are"
        )
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        raise ParameterError(
            f"{path}: expected grey levels in [0, 1] or 8-bit numbers, got {array.dtype} from "
            f"{array.min():.4g} to {array.max():.4g}; logits need a sigmoid first"
        )
    return torch.from_numpy(array.reshape(COUNT, PIXELS).astype(np.float32))


def score(samples: Tensor) -> Numbers:
    """What the measures of the course say of samples `[10000, 784]` of MNIST's digits."""
    digits = load("MNIST", shipped.folder() / "data")
    order = torch.randperm(COUNT, generator=new_rng(0, "real images"))  # as in notebook 18
    real = digits.test_images[order]
    networks = extractors("MNIST", digits.train_images)
    real_features = {
        name_of(rendering, name): extract(network, rendered_real(real, rendering))
        for name, network in networks.items()
        for rendering in RENDERINGS
    }
    subject = Subject(samples, real, digits.train_images, networks, real_features)
    found: Numbers = {}
    for name in TRIED:
        found |= MEASURES[name](subject)
    return found


def beside(found: Numbers, studies: Sequence[str] = STUDIES) -> list[str]:
    """A table: each measure of some samples, and its mean over the seeds of each kind of models."""
    folder = shipped.folder() / "report" / "results" / "studies"
    rows = [row for name in studies for row in tables.read_rows(folder / f"{name}.csv")]
    kinds = list(dict.fromkeys(row["arm"] for row in rows))
    head = f"{'':<28} {'yours':>9}" + "".join(f" {kind:>17}" for kind in kinds)
    lines = [head]
    for name, value in found.items():
        column = f"{name}_last" if name in ("fcd", "digit_entropy") else name
        means = []
        for kind in kinds:
            those = [row.get(column, "") for row in rows if row["arm"] == kind]
            means += ["-" if "" in those else f"{statistics.fmean(map(float, those)):.4g}"]
        lines.append(f"{name:<28} {value:>9.4g}" + "".join(f" {mean:>17}" for mean in means))
    return lines
