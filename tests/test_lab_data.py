"""The digits that the lab's page holds are MNIST's first training images, byte for byte."""

import gzip
import shutil

import pytest
from published import load

from vae_helpers import PROJECT
from vae_helpers.data import AlteredDataError

bundle = load("bundle")
lab = load("lab")

RAW = PROJECT / "data" / "MNIST" / "raw"
COUNT = 11_000
PIXELS = 28 * 28


@pytest.fixture(scope="module")
def packed():
    return lab.digits(PROJECT / "data")


@pytest.fixture(scope="module")
def unpacked(packed):
    return gzip.decompress(packed)


def test_ten_thousand_are_trained_on_and_a_thousand_held_out(unpacked):
    assert unpacked[:8] == (10_000).to_bytes(4, "little") + (1_000).to_bytes(4, "little")
    assert len(unpacked) == 8 + COUNT * (PIXELS + 1)


def test_images_and_labels_are_the_first_of_the_training_files(unpacked):
    images = gzip.decompress((RAW / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((RAW / "train-labels-idx1-ubyte.gz").read_bytes())
    content = unpacked[8:]
    assert content[: COUNT * PIXELS] == images[16 : 16 + COUNT * PIXELS]
    assert content[COUNT * PIXELS :] == labels[8 : 8 + COUNT]


def test_the_same_digits_are_the_same_bytes_whenever_they_are_packed(packed):
    assert packed[4:8] == bytes(4)  # gzip's time of writing
    assert lab.digits(PROJECT / "data") == packed


def test_the_page_stays_below_two_and_a_half_million_characters(packed):
    assert len(packed) * 4 / 3 < 2_500_000


def test_an_altered_file_is_refused(tmp_path):
    raw = shutil.copytree(RAW, tmp_path / "MNIST" / "raw")
    path = raw / "train-labels-idx1-ubyte.gz"
    labels = bytearray(gzip.decompress(path.read_bytes()))
    labels[8] ^= 1
    path.write_bytes(gzip.compress(bytes(labels)))
    with pytest.raises(AlteredDataError, match="train-labels"):
        lab.digits(tmp_path)
