"""Samples of others beside ours: what is accepted, and that columns are those of the studies."""

import numpy as np
import pytest
import torch

from vae_helpers.parameters import ParameterError
from vae_helpers.studies import score, tables


@pytest.fixture
def saved(tmp_path):
    """Saves an array and gives its path."""

    def save(array):
        path = tmp_path / "samples.npy"
        np.save(path, array)
        return path

    return save


def test_bytes_and_grey_levels_are_the_same_images(saved):
    grey = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28)).astype(np.uint8)
    images = score.read_samples(saved(grey))
    assert (images.shape, images.dtype) == ((10_000, 784), torch.float32)
    expected = torch.from_numpy(grey.reshape(10_000, 784)).float() / 255
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-7)
    again = score.read_samples(saved(grey.reshape(10_000, 784) / 255))
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9_999, 784)), "10,000 images.*distances depend on how many"),
        (np.zeros((10_000, 783)), "10,000 images"),
        (np.full((10_000, 784), 1.5), "logits need a sigmoid"),
        (np.full((10_000, 784), np.nan), "grey levels in"),
        (np.zeros((10_000, 784), dtype=np.int64), "got int64"),
    ],
    ids=["too few", "pixels", "logits", "nan", "whole numbers"],
)
def test_other_arrays_are_refused_with_what_came(saved, array, message):
    with pytest.raises(ParameterError, match=message):
        score.read_samples(saved(array))


def test_a_file_that_is_no_array_is_refused_and_no_code_of_it_is_executed(tmp_path):
    path = tmp_path / "samples.npy"
    path.write_bytes(b"not an array")
    with pytest.raises(ParameterError, match=r"numpy\.save"):
        score.read_samples(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ParameterError, match=r"numpy\.save"):
        score.read_samples(path)


def test_means_of_our_models_stand_beside_each_measure():
    row = tables.read("comparison_vae").rows[0]
    found = {"fcd": 1.25, "frechet_rounded_classifier": 2.5, "two_sample_rounded": 0.5}
    head, fcd, *_ = score.beside(found, ["comparison_vae"])
    assert "yours" in head
    assert row["arm"] in head
    values = tables.read("comparison_vae").values("fcd_last", {"arm": row["arm"]})
    assert fcd.split()[:3] == ["fcd", "1.25", f"{sum(values) / len(values):.4g}"]
