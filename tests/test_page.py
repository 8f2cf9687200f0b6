"""The study on one page: short, plain, and the same study as the package's."""

import re
import shutil

import nbformat
import notebook_rules as rules
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vae_helpers import PROJECT, models, objective
from vae_helpers.course import tolerances

PAGE = nbformat.read(PROJECT / "notebooks" / "00_study_in_one_page.ipynb", as_version=4)
SOURCES = [cell.source for cell in rules.code_cells(PAGE)]
LINES_MOST = 90


def cell_with(words):
    (source,) = (source for source in SOURCES if words in source)
    return source


@pytest.fixture(scope="module")
def page():
    """What the page defines, with two hundred noisy images in the place of MNIST."""
    rng = torch.Generator().manual_seed(1)
    namespace = {"images": torch.rand(200, 784, generator=rng), "device": "cpu"}
    namespace["seed"] = 0
    for words in ("import torch", "class VAE", "def terms", "def train"):
        exec(cell_with(words), namespace)
    return namespace


def printed(pattern):
    text = "\n".join(text for _, text in rules.output_texts(PAGE))
    return [float(value) for value in re.findall(pattern, text)]


def test_the_page_is_short_and_imports_nothing_of_ours():
    lines = [line for source in SOURCES for line in source.splitlines() if line.strip()]
    assert len(lines) <= LINES_MOST
    assert not any("vae_helpers" in source for source in SOURCES)


def test_it_points_to_a_notebook_service_with_the_address_left_open():
    text = "\n".join(cell.source for cell in PAGE.cells)
    assert "colab.research.google.com/github/OWNER/REPOSITORY/" in text


def test_it_leaves_the_folder_of_the_images_as_it_was(tmp_path, monkeypatch):
    shutil.copytree(PROJECT / "data" / "MNIST", tmp_path / "data" / "MNIST")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    before = sorted((tmp_path / "data").rglob("*"))
    namespace = {"train_images": 60_000}
    exec(cell_with("import torch"), namespace)
    exec(cell_with("digits = MNIST"), namespace)
    assert namespace["images"].shape == (60_000, 784)
    assert sorted((tmp_path / "data").rglob("*")) == before  # other notebooks read it meanwhile


def test_its_model_and_its_loss_are_the_package_s(page):
    theirs, ours = page["VAE"](), models.VAE()
    vector_to_parameters(parameters_to_vector(theirs.parameters()), ours.parameters())
    x = page["images"]
    torch.manual_seed(3)
    bce, kl = page["terms"](theirs, x)
    torch.manual_seed(3)
    terms = objective.elbo(ours(x), x)
    torch.testing.assert_close((bce, kl), (terms["bce"], terms["kl"]))


def test_its_weight_takes_the_kl_out_of_the_loss_and_of_nothing_else(page):
    with_kl, without = (page["train"](beta=beta, epochs=2)[0] for beta in (1.0, 0.0))
    assert len(with_kl) == 2
    assert without[0] < with_kl[0]
    assert with_kl[1] < with_kl[0]


def test_its_training_is_a_mean_over_images_of_the_mean_loss_of_each_batch(page):
    torch.manual_seed(0)
    model = page["VAE"]()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for batch in torch.randperm(200).split(128):
        bce, kl = page["terms"](model, page["images"][batch])
        adam.zero_grad()
        (bce + kl).mean().backward()
        adam.step()
        total += (bce + kl).sum().item()
    assert page["train"](beta=1.0, epochs=1)[0][0] == pytest.approx(total / 200, rel=1e-5)


@pytest.mark.parametrize(
    ("epoch", "name"), [(1, "train_loss_first"), (30, "train_loss_last")], ids=["first", "last"]
)
def test_its_committed_losses_lie_where_the_package_s_do(epoch, name):
    (value,) = printed(rf"BCE \+ KL, epoch +{epoch}: training loss ~([\d.]+)")
    it = tolerances.read("05_training", "full", path=tolerances.TOLERANCES)[name]
    assert it.low <= value <= it.high


def test_its_first_attempt_ends_where_the_package_s_does_after_as_many_epochs():
    (value,) = printed(r"BCE only, epoch 10: training loss ~([\d.]+)")
    it = tolerances.read("06_ablation", "full", path=tolerances.TOLERANCES)["bce_only_test_bce"]
    assert it.low - 1 <= value <= it.high + 1  # nats: on training images, and while it trains
