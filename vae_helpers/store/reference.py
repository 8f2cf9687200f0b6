"""The classifier by whose features samples are compared, for every data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vae_helpers import classifier, features
from vae_helpers.classifier import Classifier
from vae_helpers.data import load
from vae_helpers.store import runs, shipped
from vae_helpers.store.cache import cached


def reference_classifier(dataset: str) -> Classifier:
    """The committed classifier for MNIST, and for another data set one that is trained on it here.

    A distance depends on the classifier, so those of another data set have a scale of their own;
    this is printed. Training takes ten epochs, once, and is kept like any run.

    Args:
        dataset: a name in `data.DATASETS`.
    """
    if dataset == "MNIST":
        return classifier.reference()
    print(
        f"the reference classifier is MNIST's: for {dataset} one is trained here, and its "
        "distances (FCD, KID) may be compared with each other only"
    )
    return _trained("classifier", dataset)


def rounded_features(
    dataset: str, *, device: torch.device | str = "cpu"
) -> Callable[[Tensor], Tensor]:
    """The features that the FCD compares: images `[N, 784]` to `[N, 64]`, kept on disk.

    The images are rounded to black and white first, so that contrast cannot move the distance.

    Args:
        dataset: a name in `data.DATASETS`, whose reference classifier reads the images.
        device: where it reads them.
    """
    reference, read = reference_classifier(dataset), cached(classifier.read)

    def rounded_and_read(images: Tensor) -> Tensor:
        made: Tensor = read(features.rounded(images).to(device), model=reference).features
        return made

    return rounded_and_read


def extractors(dataset: str, train_images: Tensor) -> dict[str, nn.Module]:
    """All of `features.EXTRACTORS`; for a data set but MNIST the classifiers are trained here.

    Those of MNIST are read from where `shipped.folder` finds them.

    Args:
        dataset: a name in `data.DATASETS`.
        train_images: `[N, 784]`, whose principal components are taken.
    """
    return {
        name: _classifier(name, dataset)
        if name in classifier.COMMITTED
        else features.extractor(name, train_images)
        for name in features.EXTRACTORS
    }


def _classifier(name: str, dataset: str) -> Classifier:
    if dataset != "MNIST":
        return _trained(name, dataset)
    committed = classifier.COMMITTED[name]
    return classifier.reference(shipped.folder() / "data" / committed.path.name, committed.checksum)


def _trained(name: str, dataset: str) -> Classifier:
    config = replace(classifier.COMMITTED[name].config, dataset=dataset)
    title = f"{name}, {dataset}"
    run = runs.fit(config, load(dataset), snapshot_epochs=(), title=title)
    return run.model.requires_grad_(False)
