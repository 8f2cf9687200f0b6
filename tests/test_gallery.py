"""The picture of the comparison shows the runs of its tables, or is not drawn."""

from types import SimpleNamespace

import pytest
import torch
from published import load
from toy_digits import few_digits

from vae_helpers.benchmarks import clock
from vae_helpers.store import runs

gallery = load("gallery")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "MEASURED", tmp_path)
    monkeypatch.setattr(gallery, "load_mnist", few_digits)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of all tests after this one
    return tmp_path


def test_every_arm_of_the_tables_has_a_run_of_the_seed_that_is_drawn():
    assert {row["seed"] for row in gallery.arms(1).values()} == {1}
    assert len(gallery.arms(1)) == 7
    with pytest.raises(ValueError, match=r"got 6; none of \['GAN, plain', 'WGAN-GP'\]"):
        gallery.arms(6)


def test_each_arm_is_trained_with_the_settings_of_its_row(monkeypatch):
    trained, ways = {}, []

    def fit(config, images, *, title):
        trained[title] = config
        return SimpleNamespace(model=title)

    def sampler(name):
        return lambda model, n, *, train_images, components, rng: ways.append((model, name, n))

    monkeypatch.setattr(runs, "fit", fit)
    monkeypatch.setattr(gallery, "SAMPLERS", {it: sampler(it) for it in ("prior", "mixture")})
    made = list(gallery.drawn(gallery.arms(1), few_digits()))
    tuned, wgan = trained["VAE, tuned"], trained["WGAN-GP"]
    assert (tuned.beta, tuned.batch_norm, tuned.learning_rate) == (2.0, True, 0.002)
    assert (wgan.critic_steps, wgan.seed, wgan.epochs) == (5, 1, 30)
    bce = [it for it in ways if it[0] == "BCE only, mixture"]
    assert [name for _, name, _ in bce] == ["prior", "mixture"]
    assert {n for *_, n in ways} == {10_000}
    assert [it.arm for it in made if it.fcd is None] == ["BCE only"]


def drawing(monkeypatch, *, expected):
    """`main`, with an arm whose samples are test images: their FCD is zero."""
    images = few_digits().test_images
    monkeypatch.setattr(gallery, "rounded_features", lambda _: lambda it: it[:, :2].double())
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(3))]
    arms = [gallery.Drawn("VAE", shuffled + 1, expected), gallery.Drawn("BCE only", shuffled, None)]
    monkeypatch.setattr(gallery, "drawn", lambda rows, images: iter(arms))
    return gallery.main()


def test_a_run_whose_distance_is_not_that_of_the_table_is_not_shown(here, monkeypatch, capsys):
    assert drawing(monkeypatch, expected=2.5) == 1
    assert "VAE: expected the run of the table, whose FCD is 2.50" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_the_picture_has_a_row_for_each_arm_and_one_for_test_images(here, monkeypatch):
    assert drawing(monkeypatch, expected=2.0) == 0  # every pixel is off by one: 1 + 1
    assert (here / "gallery.png").is_file()
    found = clock.read("gallery")
    assert (found["VAE"], found["BCE only"]) == (pytest.approx(2.0), pytest.approx(0, abs=1e-9))
    assert (found["seed"], found["images_per_arm"]) == (1, gallery.COLUMNS)
