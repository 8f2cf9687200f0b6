"""How far two sets of images are apart, given the features of a classifier.

Everything here takes features `[N, F]`, one row an image; `classifier.read` makes them. A distance
between generated and real images means something only beside the distance between two sets of real
ones, with equal numbers of images everywhere: the statistics are biased in that number.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

CHUNK = 1_000  # rows of a matrix of distances that exist at one time


class Quality(NamedTuple):
    """One set of images against a reference set, see `compare`.

    Attributes:
        fcd: Fréchet classifier distance, >= 0, 0 for equal means and covariances.
        kid: kernel distance, unbiased: around 0 for two samples of one distribution.
        precision: share of the images that lie where real ones do.
        recall: share of real images that lie where generated ones do.
        density: as precision, counted by how many real neighbourhoods hold an image; may exceed 1.
        coverage: share of real images with a generated one in their neighbourhood.
    """

    fcd: float
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float


def compare(features: Tensor, reference: Tensor, *, seed: int = 0) -> Quality:
    """All distances of a set of images to a reference set of the same size.

    Args:
        features: `[N, F]` of the images that are judged.
        reference: `[N, F]` of real images.
        seed: of the random subsets of the kernel distance.

    Raises:
        ValueError: the sets differ in size, or hold fewer than 10 images, or values that are not
            finite.
    """
    _check(features, reference)
    return Quality(
        frechet_distance(features, reference),
        kernel_distance(features, reference, seed=seed),
        *precision_recall_density_coverage(features, reference),
    )


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared distance between normals with the two sets' means and covariances.

    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), as in the FID of Heusel et al. 2017 (equation 6), with
    the features that are given instead of those of an Inception network.

    Args:
        features, reference: `[N, F]` and `[M, F]`.
    """
    metric = FrechetInceptionDistance(feature=_Given(features.shape[1]))
    return max(_torchmetrics(metric, features, reference), 0.0)  # rounding may end below zero


def kernel_distance(
    features: Tensor, reference: Tensor, *, subset_size: int = 1_000, seed: int = 0
) -> float:
    """Squared maximum mean discrepancy with a cubic kernel, mean over 100 random subsets.

    As in the KID of Binkowski et al. 2018 (section 4), with the features that are given.

    Args:
        features, reference: `[N, F]` and `[M, F]`.
        subset_size: images of a subset; all if there are fewer.
        seed: of the choice of subsets.
    """
    size = min(subset_size, len(features), len(reference))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save")
        metric = KernelInceptionDistance(
            feature=_Given(features.shape[1]), subsets=100, subset_size=size
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _torchmetrics(metric, features, reference)


def precision_recall_density_coverage(
    features: Tensor, reference: Tensor, *, k: int = 5
) -> tuple[float, float, float, float]:
    """How the two sets lie in each other's neighbourhoods (Naeem et al. 2020, section 3).

    The neighbourhood of a point is the ball that reaches to its k-th nearest neighbour in its own
    set. Precision and recall are those of Kynkäänniemi et al. 2019.

    Args:
        features: `[N, F]` of the images that are judged.
        reference: `[M, F]` of real images.
        k: neighbours that a ball holds, its centre not counted; fewer than N and M.

    Returns:
        Precision, recall and coverage in [0, 1], and density >= 0.
    """
    features, reference = features.double(), reference.double()
    radius_of_real, radius_of_generated = _radius(reference, k), _radius(features, k)
    generated_in_real = torch.zeros(len(features), device=features.device)  # balls around each
    real_in_generated = torch.zeros(len(reference), dtype=torch.bool, device=features.device)
    covered = torch.zeros(len(reference), dtype=torch.bool, device=features.device)
    for rows in torch.arange(len(reference), device=features.device).split(CHUNK):
        distance = torch.cdist(reference[rows], features)  # [rows, N]
        inside = distance < radius_of_real[rows, None]
        generated_in_real += inside.sum(dim=0)
        covered[rows] = inside.any(dim=1)
        real_in_generated[rows] = (distance < radius_of_generated).any(dim=1)
    return (
        (generated_in_real > 0).double().mean().item(),
        real_in_generated.double().mean().item(),
        (generated_in_real.double().mean() / k).item(),
        covered.double().mean().item(),
    )


def nearest(images: Tensor, references: Tensor) -> Tensor:
    """Euclidean distance from each of `[N, F]` to the nearest row of `[M, F]`: `[N]`.

    Of images, features or anything else. If generated images are much nearer to the training images
    than held-out real ones are, the model has memorised.
    """
    distances = []
    for part in images.to(references.device).split(CHUNK // 4):
        index = torch.cdist(part, references).argmin(dim=1)
        # cdist takes its distances from a matrix product, which leaves some for equal rows.
        distances.append((part - references[index]).square().sum(dim=1).sqrt())
    return torch.cat(distances)


def copies(features: Tensor, known: Tensor, *, nearness: float = 0.4) -> int:
    """How many images are nearer to an image of the training set than that is to the others.

    An image counts as a copy if its distance to the nearest training image is below `nearness`
    times the distance of that one to its own nearest neighbour in the training set. In the leading
    64 principal components no test image of MNIST is (the least ratio is 0.43), and of training
    images with some noise, blur or more contrast most are. A share of copies that no mean or
    median notices is counted (compare the authenticity of Alaa et al. 2022, whose threshold is 1).

    Args:
        features: `[N, F]` of the images that are judged.
        known: `[M, F]` of the training images, at least two of them distinct.
        nearness: below which ratio an image counts.
    """
    known = torch.unique(known, dim=0)  # else an image that is there twice has a neighbour at 0
    index, distance = [], []
    for part in features.split(CHUNK):
        nearest_one = torch.cdist(part, known).min(dim=1)
        index.append(nearest_one.indices)
        distance.append(nearest_one.values)
    originals, place = torch.unique(torch.cat(index), return_inverse=True)
    own = [
        torch.cdist(known[part], known).topk(2, dim=1, largest=False).values[:, 1]
        for part in originals.split(CHUNK)
    ]
    return int((torch.cat(distance) < nearness * torch.cat(own)[place]).sum())


def digit_histogram(digits: Tensor) -> Tensor:
    """The share of each of the ten digits among labels `[N]` in 0..9: `[10]`, sums to 1."""
    return torch.bincount(digits, minlength=10).double() / len(digits)


def entropy(shares: Tensor) -> float:
    """Entropy of shares that sum to 1, in nats: log 10 = 2.303 for ten equally frequent digits."""
    return float(torch.special.entr(shares).sum())


def _radius(points: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th nearest neighbour, itself not counted."""
    nearest = [
        torch.cdist(part, points).topk(k + 1, dim=1, largest=False).values  # sooner than kthvalue
        for part in points.split(CHUNK)
    ]
    return torch.cat(nearest)[:, -1]


def _torchmetrics(metric: Metric, features: Tensor, reference: Tensor) -> float:
    metric = metric.to(features.device).eval()
    metric.update(reference, real=True)
    metric.update(features, real=False)
    value = metric.compute()
    return float(value[0] if isinstance(value, Sequence) else value)


def _check(features: Tensor, reference: Tensor) -> None:
    if features.shape != reference.shape or features.ndim != 2 or len(features) < 10:
        raise ValueError(
            "expected two sets [N, F] of one size with N >= 10, got "
            f"{list(features.shape)} and {list(reference.shape)}: the distances depend on N"
        )
    if not (features.isfinite().all() and reference.isfinite().all()):
        raise ValueError("expected finite features; look for NaN in the images they were made of")


class _Given(nn.Module):
    """torchmetrics wants a network that makes features; ours are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
