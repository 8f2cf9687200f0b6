"""The classifier by whose features samples are compared, for every data set."""

from __future__ import annotations

from vae_helpers import classifier
from vae_helpers.classifier import Classifier, ClassifierConfig
from vae_helpers.data import load
from vae_helpers.store import runs


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
    config = ClassifierConfig(dataset=dataset)
    title = f"a classifier of {dataset}"
    return runs.fit(config, load(dataset), snapshot_epochs=(), title=title).model.requires_grad_(
        False
    )
