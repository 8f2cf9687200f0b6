"""The real files against a second reader, and every way in which files can be wrong."""

import gzip
import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import entr
from torch.utils.data import DataLoader, TensorDataset

from vae_helpers import PROJECT
from vae_helpers.data import (
    AlteredDataError,
    DataError,
    Digits,
    MissingDataError,
    UnknownDatasetError,
    batches,
    binarize_images,
    load,
    load_mnist,
    unpacked,
)
from vae_helpers.datasets import DATASETS

PACKED = PROJECT / "data" / "MNIST" / "raw"
IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array):
    """The bytes of an IDX file: two zeros, 8 for unsigned bytes, the axes, their lengths, all."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(folder):
    """Every file below a folder except the cache, with its bytes."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".unpacked" not in path.parts
    }


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Writes a data set of 7 + 3 random images whose checksums count as the published ones."""

    def write(*, dataset="MNIST", packed=True):
        random = np.random.default_rng(0)
        arrays = {
            "train-images-idx3-ubyte": random.integers(0, 256, (7, 28, 28), dtype=np.uint8),
            "train-labels-idx1-ubyte": random.integers(0, 10, 7, dtype=np.uint8),
            "t10k-images-idx3-ubyte": random.integers(0, 256, (3, 28, 28), dtype=np.uint8),
            "t10k-labels-idx1-ubyte": random.integers(0, 10, 3, dtype=np.uint8),
        }
        raw = tmp_path / "data" / dataset / "raw"
        raw.mkdir(parents=True)
        for name, array in arrays.items():
            if packed:
                (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (raw / name).write_bytes(idx(array))
        sums = {name: hashlib.md5(idx(array)).hexdigest() for name, array in arrays.items()}
        monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], md5=sums))
        return tmp_path / "data", list(arrays.values())

    return write


def assert_holds(digits, arrays):
    """That the tensors are these arrays, in the order of the four files."""
    train_images, train_labels, test_images, test_labels = arrays
    for images, pixels in ((digits.train_images, train_images), (digits.test_images, test_images)):
        expected = pixels.reshape(len(pixels), 784).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(images.numpy(), expected)
    np.testing.assert_array_equal(digits.train_labels.numpy(), train_labels)
    np.testing.assert_array_equal(digits.test_labels.numpy(), test_labels)


# The real files


def test_mnist_is_what_a_second_reader_finds_in_the_files(mnist):
    arrays = []
    for name, header in zip(DATASETS["MNIST"].md5, (16, 8, 16, 8), strict=True):
        content = gzip.decompress((PACKED / f"{name}.gz").read_bytes())
        pixels = np.frombuffer(content, dtype=np.uint8, offset=header)
        arrays.append(pixels.reshape(-1, 28, 28) if header == 16 else pixels)
    assert_holds(mnist, arrays)


def test_mnist_has_its_shapes_types_and_range(mnist):
    assert mnist.train_images.shape == (60_000, 784)
    assert mnist.test_images.shape == (10_000, 784)
    for images in (mnist.train_images, mnist.test_images):
        assert images.dtype == torch.float32
        assert (images.min(), images.max()) == (0, 1)
    for labels in (mnist.train_labels, mnist.test_labels):
        assert labels.dtype == torch.int64
        assert labels.unique().tolist() == list(range(10))


def test_no_two_files_of_the_data_sets_have_one_checksum():
    sums = [checksum for dataset in DATASETS.values() for checksum in dataset.md5.values()]
    assert len(set(sums)) == 4 * len(DATASETS)
    assert all(re.fullmatch("[0-9a-f]{32}", checksum) for checksum in sums)


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_has_the_files_and_classes_that_torchvision_gives_it(name):
    import torchvision

    reader, dataset = getattr(torchvision.datasets, name), DATASETS[name]
    assert dataset.name == name
    assert [f"{file}.gz" for file in dataset.md5] == [file for file, _ in reader.resources]
    assert list(dataset.classes) == [label.split(" - ")[0] for label in reader.classes]


def test_floor_of_the_grey_bce_is_45_53_nats(mnist):
    pixels = mnist.test_images.numpy().astype(np.float64)
    assert (entr(pixels) + entr(1 - pixels)).sum(axis=1).mean() == pytest.approx(45.53, abs=0.005)


def test_best_constant_image_costs_205_65_nats(mnist):
    mean = mnist.test_images.numpy().mean(axis=0, dtype=np.float64)
    assert (entr(mean) + entr(1 - mean)).sum() == pytest.approx(205.65, abs=0.005)


# Folders as they may lie on disk


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_folder_is_loaded_and_left_as_it_was(small, dataset, packed):
    root, arrays = small(dataset=dataset, packed=packed)
    before = contents(root)
    assert_holds(load(dataset, root), arrays)
    assert contents(root) == before


def test_path_may_be_a_string(small):
    root, arrays = small()
    assert_holds(load("MNIST", str(root)), arrays)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_another_reader_finds_the_files_where_they_are_unpacked(small, packed):
    from torchvision.datasets import MNIST

    root, arrays = small(packed=packed)
    assert MNIST(unpacked("MNIST", root)).data.tolist() == arrays[0].tolist()


def test_single_precision_is_loaded_whatever_the_default_is(small):
    root, arrays = small()
    torch.set_default_dtype(torch.float64)
    try:
        digits = load("MNIST", root)
        (batch,) = batches(digits.train_images, batch_size=7, rng=seeded(0), binarize=seeded(1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_holds(digits, arrays)
    assert digits.train_images.dtype == batch.dtype == torch.float32


def test_unpacked_folder_gets_no_cache(small):
    root, _ = small(packed=False)
    load_mnist(root)
    assert not (root / ".unpacked").exists()


def test_folder_half_packed_is_loaded(small):
    root, arrays = small()
    packed = root / "MNIST" / "raw" / f"{IMAGES}.gz"
    (packed.parent / IMAGES).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    before = contents(root)
    assert_holds(load_mnist(root), arrays)
    assert contents(root) == before


def test_files_are_unpacked_once(small, monkeypatch):
    root, arrays = small()
    load_mnist(root)
    monkeypatch.setattr(gzip, "decompress", None)
    assert_holds(load_mnist(root), arrays)


@pytest.mark.parametrize("name", DATASETS["MNIST"].md5)
def test_damaged_cache_mends_itself(small, name):
    root, arrays = small()
    load_mnist(root)
    (root / ".unpacked" / "MNIST" / "raw" / name).write_bytes(b"half a fi")
    assert_holds(load_mnist(root), arrays)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_loading_leaves_nothing_for_git_to_see(small):
    root, _ = small()

    def git(*arguments):
        return subprocess.check_output(["git", *arguments], cwd=root, text=True, encoding="utf-8")

    git("init", "--quiet")
    before = git("status", "--porcelain", "--untracked-files=all")
    load_mnist(root)
    assert (root / ".unpacked").is_dir()
    assert git("status", "--porcelain", "--untracked-files=all") == before


LOAD_WHEN_BOTH_ARE_READY = """
import gzip, json, pathlib, sys, time
from vae_helpers.data import load_mnist

root = pathlib.Path(sys.argv[1])
decompress, unpacked = gzip.decompress, []

def slow(content):
    unpacked.append(len(content))
    time.sleep(0.2)  # the other process looks for the file meanwhile
    return decompress(content)

gzip.decompress = slow
(root / f"{sys.argv[2]} is ready").touch()
until = time.monotonic() + 60
while len(list(root.glob("* is ready"))) < 2:
    assert time.monotonic() < until, "alone"
    time.sleep(0.001)
print(json.dumps([load_mnist(root).checksum, len(unpacked)]))
"""


def test_two_processes_at_once_unpack_once_and_both_load_the_whole_set(
    tmp_path, mnist, warm_python
):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in PACKED.glob("*.gz"):
        (raw / packed.name).symlink_to(packed)
    both = [
        warm_python.start(LOAD_WHEN_BOTH_ARE_READY, tmp_path, name, folder=PROJECT)
        for name in ("one", "the other")
    ]
    done = [process.end() for process in both]
    assert [it.stderr for it in done] == ["", ""]
    results = [json.loads(it.stdout) for it in done]
    assert sorted(results) == [[mnist.checksum, 0], [mnist.checksum, 4]]
    unpacked = tmp_path / ".unpacked" / "MNIST" / "raw"
    assert sorted(path.name for path in unpacked.iterdir()) == sorted(DATASETS["MNIST"].md5)


# Folders that cannot be used


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        lambda content: content[:-9],
        lambda content: b"",
        lambda content: b"<html>403 Forbidden</html>",
    ],
    ids=["flipped", "truncated", "empty", "error page"],
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_altered_file_is_refused_and_kept(small, packed, damage, name):
    root, _ = small(packed=packed)
    path = root / "MNIST" / "raw" / (f"{name}.gz" if packed else name)
    path.write_bytes(damage(path.read_bytes()))
    before = contents(root)
    with pytest.raises(AlteredDataError) as caught:
        load_mnist(root)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert "found " in message
    assert message.endswith("replace it by a fresh copy")
    assert contents(root) == before


def test_message_on_an_altered_file_gives_both_checksums(small):
    root, _ = small()
    path = root / "MNIST" / "raw" / f"{LABELS}.gz"
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(AlteredDataError) as caught:
        load_mnist(root)
    assert f"expected MD5 {DATASETS['MNIST'].md5[LABELS]}" in str(caught.value)
    assert f"found {hashlib.md5(b'something else').hexdigest()}" in str(caught.value)


def test_altered_file_does_not_reach_the_cache(small):
    root, arrays = small()
    path = root / "MNIST" / "raw" / f"{IMAGES}.gz"
    good = path.read_bytes()
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(AlteredDataError):
        load_mnist(root)
    path.write_bytes(good)
    assert_holds(load_mnist(root), arrays)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_missing_file_is_named_with_the_way_to_mend_it(small, packed):
    root, _ = small(packed=packed)
    raw = root / "MNIST" / "raw"
    (raw / (f"{LABELS}.gz" if packed else LABELS)).unlink()
    before = contents(root)
    with pytest.raises(MissingDataError) as caught:
        load_mnist(root)
    assert str(caught.value) == (
        f"{raw}: expected {LABELS} or {LABELS}.gz, found neither"
        '; copy it there, or call load("MNIST", download=True) once, which needs a network'
    )
    assert contents(root) == before


def test_number_of_missing_files_is_given(small):
    root, _ = small()
    for path in (root / "MNIST" / "raw").glob("train*"):
        path.unlink()
    with pytest.raises(MissingDataError, match=r"\(2 of 4 files are missing\)"):
        load_mnist(root)


def test_raw_folder_itself_is_refused_with_a_hint_to_the_one_above(small):
    root, _ = small()
    raw = root / "MNIST" / "raw"
    before = contents(root)
    with pytest.raises(MissingDataError, match="give the folder above MNIST/raw"):
        load_mnist(raw)
    assert contents(root) == before


def test_a_data_set_that_did_not_come_with_the_project_says_where_it_goes(small):
    root, _ = small()
    with pytest.raises(MissingDataError) as caught:
        load("KMNIST", root)
    message = str(caught.value)
    assert f"copy the four files of KMNIST to {root / 'KMNIST' / 'raw'}, or " in message
    assert message.endswith('call load("KMNIST", download=True) once, which needs a network')


def test_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere does not exist; give the folder that hol"):
        load_mnist(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_unknown_dataset_is_refused_with_the_known_ones():
    known = ", ".join(DATASETS)
    with pytest.raises(UnknownDatasetError, match=f"one of {known}, got 'CIFAR10'"):
        load("CIFAR10")


def test_download_without_a_network_says_what_to_do(small, monkeypatch):
    root, _ = small()
    (root / "MNIST" / "raw" / f"{LABELS}.gz").unlink()

    def unreachable(root, *, download):
        assert download
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.MNIST", unreachable)
    with pytest.raises(MissingDataError, match="connect to a network, or copy the four files"):
        load("MNIST", root, download=True)


def test_every_data_error_is_a_value_error():
    for error in (UnknownDatasetError, MissingDataError, AlteredDataError):
        assert issubclass(error, DataError)
    assert issubclass(DataError, ValueError)


# Parts of a data set


@pytest.fixture
def numbered():
    """Ten training and four test images, each filled with a number of its own."""
    images = torch.arange(14.0)[:, None].expand(14, 784) / 255
    labels = torch.arange(14)
    return Digits(images[:10], labels[:10], images[10:], labels[10:])


def test_first_keeps_the_first_images_with_their_labels(numbered):
    part = numbered.first(3, 2)
    assert torch.equal(part.train_images, numbered.train_images[:3])
    assert part.train_labels.tolist() == [0, 1, 2]
    assert torch.equal(part.test_images, numbered.test_images[:2])
    assert part.test_labels.tolist() == [10, 11]
    assert len(numbered.first(1, 1).train_images) == 1


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (11, 4, "train: expected 1 to 10 images, got 11"),
        (10, 5, "test: expected 1 to 4 images, got 5"),
        (0, 4, "train: expected 1 to 10 images, got 0"),
        (10, -1, "test: expected 1 to 4 images, got -1"),
    ],
)
def test_first_refuses_more_than_there_are_and_none(numbered, train, test, message):
    with pytest.raises(ValueError, match=message):
        numbered.first(train, test)


def test_hold_out_splits_the_training_images_and_has_no_test_image(numbered):
    part = numbered.hold_out(3)
    assert part.train_labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert part.test_labels.tolist() == [7, 8, 9]
    images = torch.cat([part.train_images, part.test_images])
    assert torch.equal(images, numbered.train_images)


def test_hold_out_takes_ten_thousand_images_of_mnist(mnist):
    part = mnist.hold_out()
    assert (len(part.train_images), len(part.test_images)) == (50_000, 10_000)


@pytest.mark.parametrize("held_out", [0, 10, 11, -1])
def test_hold_out_refuses_to_leave_a_side_empty(numbered, held_out):
    with pytest.raises(ValueError, match=f"held_out: expected 1 to 9 images, got {held_out}"):
        numbered.hold_out(held_out)


def test_checksum_tells_subsets_and_single_pixels_apart(numbered):
    altered = numbered.train_images.clone()
    altered[5, 100] += 1 / 255
    different = [
        numbered,
        numbered.first(9, 4),
        numbered.first(10, 3),
        numbered.hold_out(4),
        Digits(altered, *list(vars(numbered).values())[1:4]),
    ]
    assert len({part.checksum for part in different}) == len(different)
    assert numbered.first(10, 4).checksum == numbered.checksum


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"test_labels": [0, 1, 2, 3]}, "test_labels: expected a tensor, got list"),
        ({"test_labels": torch.zeros(3, dtype=torch.int64)}, "one per image, got .3."),
        ({"test_labels": torch.full((4,), 10)}, "expected int64 in 0..9, got torch.int64 in 10"),
        ({"train_images": torch.full((10, 784), 255.0)}, "got 255 to 255; .* divided by 255"),
        ({"train_images": torch.full((10, 784), math.nan)}, "expected values in .0, 1., got nan"),
        ({"train_images": torch.zeros(10, 28, 28)}, "expected .N, 784. .* got .10, 28, 28."),
    ],
)
def test_digits_that_are_not_as_said_are_refused_before_anything_is_trained(numbered, wrong, says):
    right = replace(numbered, train_labels=torch.arange(10), test_labels=torch.arange(4))
    assert right.checked() is right
    with pytest.raises(DataError, match=says):
        replace(right, **wrong).checked()


# Mini-batches


def test_every_image_comes_exactly_once_and_the_last_batch_is_smaller(numbered):
    parts = list(batches(numbered.train_images, batch_size=4, rng=seeded(0)))
    assert [tuple(part.shape) for part in parts] == [(4, 784), (4, 784), (2, 784)]
    rows = torch.cat(parts)
    assert torch.equal(rows[rows[:, 0].argsort()], numbered.train_images)


@pytest.mark.parametrize(("batch_size", "sizes"), [(5, [5, 5]), (10, [10]), (64, [10])])
def test_batch_sizes_add_up(numbered, batch_size, sizes):
    parts = batches(numbered.train_images, batch_size=batch_size, rng=seeded(0))
    assert [len(part) for part in parts] == sizes


def test_batches_hold_what_those_of_a_data_loader_hold(numbered):
    images = numbered.train_images
    ours = list(batches(images, batch_size=4, rng=seeded(0)))
    theirs = [x for (x,) in DataLoader(TensorDataset(images), batch_size=4, shuffle=True)]
    assert [len(x) for x in ours] == [len(x) for x in theirs]
    assert sorted(torch.cat(ours).tolist()) == sorted(torch.cat(theirs).tolist())


def test_order_depends_on_the_state_of_the_generator_alone():
    images = torch.arange(100.0)[:, None]

    def order(generator):
        return torch.cat(list(batches(images, batch_size=7, rng=generator))).tolist()

    generator = seeded(0)
    first, second = order(generator), order(generator)
    assert first == order(seeded(0))
    assert first != second
    assert first != order(seeded(1))
    assert first != images.tolist()


# Black and white


def test_binarised_pixels_are_zeros_and_ones_with_the_grey_level_as_mean():
    n = 4_000
    grey = torch.linspace(0, 1, 784)
    drawn = binarize_images(grey.expand(n, 784), rng=seeded(0))
    assert drawn.dtype == torch.float32
    assert drawn.unique().tolist() == [0, 1]
    standard_error = (grey * (1 - grey) / n).sqrt()
    assert ((drawn.mean(dim=0) - grey).abs() <= 5 * standard_error).all()


def test_batches_are_drawn_anew_at_every_visit(numbered):
    images = numbered.train_images * 20
    draws = seeded(1)

    def visit():
        parts = batches(images, batch_size=4, rng=seeded(0), binarize=draws)
        return torch.cat(list(parts))

    first, second = visit(), visit()
    assert first.unique().tolist() == second.unique().tolist() == [0, 1]
    assert not torch.equal(first, second)


def test_binarising_does_not_change_the_order(numbered):
    black_or_white = (numbered.train_images > 4 / 255).float()
    grey, drawn = (
        torch.cat(list(batches(black_or_white, batch_size=4, rng=seeded(0), binarize=draws)))
        for draws in (None, seeded(1))
    )
    assert torch.equal(grey, drawn)
