"""A data set as tensors, in batches.

The files are read by `torchvision.datasets`; what this module adds is that they are the right
files (MD5 of the unpacked bytes), that they are unpacked once and safely, and that the whole data
set then lives in memory as float32 rows of 784 pixels.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from vae_helpers import PROJECT
from vae_helpers.datasets import DATASETS
from vae_helpers.parameters import shown

SIDE = 28
"""Pixels per row and rows per image, in every data set."""

PIXELS = SIDE * SIDE
CLASSES = 10


class DataError(ValueError):
    """The data set cannot be used as it lies on disk."""


class UnknownDatasetError(DataError):
    """The name is not one of `DATASETS`."""


class MissingDataError(DataError):
    """A file or folder of the data set is not there."""


class CacheError(DataError):
    """The packed files cannot be unpacked anywhere."""


class AlteredDataError(DataError):
    """A file of the data set is there, but its bytes are not the published ones."""


@dataclass(frozen=True)
class Digits:
    """Images and labels of one data set, in memory.

    Attributes:
        train_images: `[N, 784]` float32 in [0, 1], row by row from the top left pixel.
        train_labels: `[N]` int64 in 0..9.
        test_images: `[M, 784]` float32 in [0, 1].
        test_labels: `[M]` int64 in 0..9.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def first(self, train: int, test: int) -> Digits:
        """The first `train` training and `test` test images: the same digits in miniature.

        Raises:
            ValueError: more images are asked for than there are, or none at all.
        """
        _check_count("train", train, len(self.train_images))
        _check_count("test", test, len(self.test_images))
        return Digits(
            self.train_images[:train],
            self.train_labels[:train],
            self.test_images[:test],
            self.test_labels[:test],
        )

    def hold_out(self, held_out: int = 10_000) -> Digits:
        """Training images only, split in two: the place where choices are made.

        The last `held_out` training images take the place of the test images, and the others stay
        training images. The real test images are not part of the result, so that no choice can
        look at them.

        Raises:
            ValueError: nothing would be left on one of the two sides.
        """
        _check_count("held_out", held_out, len(self.train_images) - 1)
        return Digits(
            self.train_images[:-held_out],
            self.train_labels[:-held_out],
            self.train_images[-held_out:],
            self.train_labels[-held_out:],
        )

    def checked(self) -> Digits:
        """The same digits if they are as said above, which a fit makes sure of before it begins.

        Raises:
            DataError: the message names the tensor, what was expected and what it is.
        """
        for side in ("train", "test"):
            images, labels = getattr(self, f"{side}_images"), getattr(self, f"{side}_labels")
            _check_images(f"{side}_images", images)
            _check_labels(f"{side}_labels", labels, len(images))
        return self

    def to(self, device: str | torch.device) -> Digits:
        """The same digits on another device."""
        moved = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **moved)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over the four tensors: what was really trained on, subsets included."""
        digest = hashlib.sha256()
        for name in self.__dataclass_fields__:
            tensor = getattr(self, name)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def load(
    dataset: str = "MNIST",
    data_dir: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    download: bool = False,
) -> Digits:
    """Load a data set through torchvision and check every byte.

    Args:
        dataset: one of `DATASETS`.
        data_dir: folder that holds `<dataset>/raw`; the project's data/ if None.
        device: where the tensors live.
        download: let torchvision fetch the files if one is missing. Needs a network.

    Returns:
        60,000 training and 10,000 test images.

    Raises:
        UnknownDatasetError, MissingDataError, AlteredDataError, CacheError: each says which file,
            what was expected, what was found and how to mend it.
    """
    folder = unpacked(dataset, data_dir, download=download)
    reader = _reader(dataset)
    train, test = reader(folder, train=True), reader(folder, train=False)
    return Digits(
        _pixels(train.data), train.targets.clone(), _pixels(test.data), test.targets.clone()
    ).to(device)


def load_mnist(data_dir: str | Path | None = None) -> Digits:
    """MNIST, which comes with the project: `load("MNIST", data_dir)`."""
    return load("MNIST", data_dir)


def unpacked(
    dataset: str = "MNIST", data_dir: str | Path | None = None, *, download: bool = False
) -> Path:
    """A folder in which torchvision finds a data set unpacked, each file with the right MD5.

    The four files are looked for in `data_dir/<dataset>/raw`, unpacked or as .gz. Packed ones are
    unpacked once into `data_dir/.unpacked`, which git ignores, or into the user's own cache where
    `data_dir` may not be written to; the folder itself is left as it was.

    Args, Raises: as `load`.
    """
    if not isinstance(dataset, str) or dataset not in DATASETS:
        raise UnknownDatasetError(
            f"dataset: expected one of {', '.join(DATASETS)}, got {shown(dataset)}"
        )
    root = Path(data_dir) if data_dir is not None else PROJECT / "data"
    raw = root / dataset / "raw"
    missing = [name for name in DATASETS[dataset].md5 if not _source(raw, name)]
    if missing and download:
        try:
            _reader(dataset)(root, download=True)
        except (OSError, RuntimeError) as error:
            raise MissingDataError(
                f"{dataset}: {missing[0]} is not in {raw} and could not be downloaded ({error}); "
                "connect to a network, or copy the four files there"
            ) from error
    elif missing:
        raise MissingDataError(_explain_missing(root, dataset, missing))
    sources = {name: _source(raw, name) or raw / name for name in DATASETS[dataset].md5}
    if any(source.suffix == ".gz" for source in sources.values()):
        return _cache(root, dataset, sources)
    for name, source in sources.items():
        _check(_read(source), source, DATASETS[dataset].md5[name])
    return root


def batches(
    images: Tensor,
    *,
    batch_size: int,
    rng: torch.Generator,
    binarize: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Shuffled mini-batches from memory: every image exactly once, the last batch smaller.

    Args:
        images: `[N, 784]`.
        batch_size: images per batch, B; the last batch has `N % B` images if that is not zero.
        rng: draws the order; two generators in the same state give the same order.
        binarize: if given, draws every batch anew as black and white, see `binarize_images`.

    Yields:
        `[B, 784]` tensors on the device of `images`.
    """
    order = torch.randperm(len(images), generator=rng, device=rng.device)
    for indices in order.to(images.device).split(batch_size):
        batch = images[indices]
        yield batch if binarize is None else binarize_images(batch, rng=binarize)


def binarize_images(images: Tensor, *, rng: torch.Generator) -> Tensor:
    """Draw each pixel as 0 or 1 with its grey level as the probability of a 1.

    Called anew at every visit this is dynamic binarisation (Burda et al. 2016, section 5).

    Args:
        images: `[B, 784]` grey levels in [0, 1].
        rng: on the same device as `images`.

    Returns:
        `[B, 784]` float32, zeros and ones.
    """
    return torch.bernoulli(images, generator=rng)


def _check_count(name: str, asked: Any, there: int) -> None:
    whole = isinstance(asked, Integral) and not isinstance(asked, bool)
    if not whole or not 1 <= asked <= there:
        raise ValueError(f"{name}: expected 1 to {there} images, got {shown(asked)}")


def _check_images(name: str, images: Any) -> None:
    if not isinstance(images, Tensor):
        raise DataError(f"{name}: expected a tensor, got {type(images).__name__}")
    if images.ndim != 2 or images.shape[1] != PIXELS or not len(images):
        raise DataError(f"{name}: expected [N, {PIXELS}] with N >= 1, got {list(images.shape)}")
    if images.dtype != torch.float32:
        raise DataError(f"{name}: expected float32 in [0, 1], got {images.dtype}")
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):  # NaN is in no interval
        raise DataError(
            f"{name}: expected values in [0, 1], got {low:.4g} to {high:.4g}; grey levels of 0 to "
            "255 are to be divided by 255"
        )


def _check_labels(name: str, labels: Any, images: int) -> None:
    if not isinstance(labels, Tensor):
        raise DataError(f"{name}: expected a tensor, got {type(labels).__name__}")
    if labels.shape != (images,):
        raise DataError(f"{name}: expected [{images}], one per image, got {list(labels.shape)}")
    if labels.dtype != torch.int64 or not (labels.min() >= 0 and labels.max() < CLASSES):
        raise DataError(
            f"{name}: expected int64 in 0..{CLASSES - 1}, got {labels.dtype} in "
            f"{labels.min().item()}..{labels.max().item()}"
        )


def _reader(dataset: str) -> Any:
    import torchvision  # here, because it takes seconds to import

    return getattr(torchvision.datasets, dataset)


def _pixels(images: Tensor) -> Tensor:
    return images.reshape(len(images), -1).to(torch.float32).div_(255)


def _source(raw: Path, name: str) -> Path | None:
    """The unpacked file, or else the packed one, or else None."""
    for path in (raw / name, raw / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _cache(root: Path, dataset: str, sources: dict[str, Path]) -> Path:
    """The folder that the files were unpacked into: the project's, or else the user's own."""
    md5 = DATASETS[dataset].md5
    try:
        return _unpack(root / ".unpacked", dataset, sources, md5)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise CacheError(
                f"{root / '.unpacked'}: expected a folder that the files can be unpacked into, "
                f"but: {error}; remove it, or unpack the four files in {root / dataset / 'raw'} "
                "yourself"
            ) from error
    from platformdirs import user_cache_path  # here, because few need it

    own = user_cache_path("vae-helpers")
    try:
        return _unpack(own, dataset, sources, md5)
    except OSError as error:
        raise CacheError(
            f"{own}: expected a folder that the files can be unpacked into, because "
            f"{root / '.unpacked'} may not be written to, but: {error}; copy the project to a "
            "folder of your own and work there"
        ) from error


def _unpack(cache: Path, dataset: str, sources: dict[str, Path], md5: Mapping[str, str]) -> Path:
    """Unpack what is not there yet, and return `cache`."""
    targets = {name: cache / dataset / "raw" / name for name in sources}
    if all(_is(targets[name], md5[name]) for name in sources):  # by whoever: nothing to write
        return cache
    (cache / dataset / "raw").mkdir(parents=True, exist_ok=True)
    if not (cache / ".gitignore").exists():
        (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    with FileLock(cache / f"{dataset}.lock"):
        for name, source in sources.items():
            if not _is(targets[name], md5[name]):  # a half of a killed process, or damaged
                content = _content(source)
                _check(content, source, md5[name])
                targets[name].write_bytes(content)
    return cache


def _is(path: Path, md5: str) -> bool:
    return path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() == md5


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise MissingDataError(
            f"{source}: expected a file that can be read, but: {error.strerror}; ask its owner "
            "for the right to read it, or replace it by a fresh copy"
        ) from error


def _content(source: Path) -> bytes:
    content = _read(source)
    if source.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise AlteredDataError(
            f"{source}: expected a whole gzip file, found {len(content)} bytes that do not unpack "
            f"({error}); replace it by a fresh copy"
        ) from error


def _check(content: bytes, source: Path, expected: str) -> None:
    found = hashlib.md5(content).hexdigest()
    if found != expected:
        raise AlteredDataError(
            f"{source}: expected MD5 {expected} of the unpacked bytes, found {found} "
            f"({len(content)} bytes); replace it by a fresh copy"
        )


def _explain_missing(root: Path, dataset: str, missing: list[str]) -> str:
    raw, named = root / dataset / "raw", f"{dataset}/raw"
    if not root.is_dir():
        return (
            f"data_dir: expected a folder, but {root} does not exist; give the folder that holds "
            f"{named}"
        )
    download = f'call load("{dataset}", download=True) once, which needs a network'
    if not raw.is_dir():
        return (
            f"data_dir: expected {named} in it, but {raw} does not exist; give the folder above "
            f"{named}, copy the four files of {dataset} to {raw}, or {download}"
        )
    return (
        f"{raw}: expected {missing[0]} or {missing[0]}.gz, found neither"
        + (f" ({len(missing)} of 4 files are missing)" if len(missing) > 1 else "")
        + f"; copy it there, or {download}"
    )
