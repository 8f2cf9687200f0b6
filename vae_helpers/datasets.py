"""Which data sets there are. To add one, write an entry here; nothing else names them.

The module imports nothing slow, so that a misspelt name is refused before torch loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """Grey images of ten classes in the four files of MNIST's format.

    Attributes:
        name: the class of `torchvision.datasets` that reads it, and the folder of its files.
        classes: what the labels 0 to 9 stand for.
        md5: MD5 of the unpacked files by name: compressed copies differ from place to place.
        train_images: how many images there are to train on.
        test_images: how many there are to test on.
    """

    name: str
    classes: tuple[str, ...]
    md5: Mapping[str, str]
    train_images: int = 60_000
    test_images: int = 10_000


DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "MNIST",
            classes=tuple("0123456789"),
            md5={
                "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
            },
        ),
        Dataset(
            "FashionMNIST",
            classes=(
                *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
                *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
            ),
            md5={
                "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
                "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
                "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
            },
        ),
        Dataset(
            "KMNIST",
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            md5={
                "train-images-idx3-ubyte": "92be26ec9822e900ac425d0a0aa84ced",
                "train-labels-idx1-ubyte": "949e75301f8813e0dc5800dcc320fc52",
                "t10k-images-idx3-ubyte": "bf305b8cd328700fbc17f5acbc2856d2",
                "t10k-labels-idx1-ubyte": "9f55f451c0988b028eccdf7d5cc265ab",
            },
        ),
    )
}
"""The data sets by name.

MNIST (LeCun et al. 1998) comes with the project. Fashion-MNIST (Xiao et al. 2017) and KMNIST
(Clanuwat et al. 2018) do not. No list of the MD5 of KMNIST's unpacked files was found: three were
computed from packed files that have torchvision's MD5; that of the training images is the key of
the file in Mila's copy (github.com/datasets-mila/datasets--kmnist), whose keys of the other three
are the ones computed.
"""
