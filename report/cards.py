"""A model card for each of the exported weights, with its numbers read from the results by key.

    python report/cards.py

writes report/weights/<name>.md, whose head is that of cards on model hubs. `make refresh` does so
after it has made new weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vae_helpers.adversarial import GANConfig
from vae_helpers.store.files import write_whole
from vae_helpers.studies.keys import value_of
from vae_helpers.training import TrainConfig

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = "09_latent_space"
"""The notebook that trains and exports all of them."""


@dataclass(frozen=True)
class Card:
    """What a card says that is no number.

    Attributes:
        title: of the model.
        what: the model in a sentence.
        config: the class of its settings.
        settings: those in which it differs from its notebook's parameters and the defaults.
        runs: label, key of a number with a tolerance, and its digits.
        seeds: label, key of a table's cell that has mean and half, and its digits.
        limits: what to know before it is used.
    """

    title: str
    what: str
    config: type[TrainConfig] | type[GANConfig]
    settings: Mapping[str, Any]
    runs: tuple[tuple[str, str, int], ...]
    seeds: tuple[tuple[str, str, int], ...]
    limits: tuple[str, ...]


def _compared(kind: str) -> tuple[tuple[str, str, int], ...]:
    return (
        ("FCD, less is better", f"16_vae_vs_gan.distance.{kind}.FCD", 1),
        ("coverage, more is better", f"16_vae_vs_gan.neighbours.{kind}.Coverage", 3),
        ("share told from real images, 0.5 at best", f"16_vae_vs_gan.two_sample.{kind}.rounded", 3),
    )


CARDS: Mapping[str, Card] = {
    "vae": Card(
        title="Decoder of the study's VAE, 20 latents",
        what="The decoder of a variational autoencoder (784-400-200-20-200-400-784, ReLU) as the "
        "replicated study trained it, with BCE + KL.",
        config=TrainConfig,
        settings={},
        runs=(
            ("minus ELBO of the test images", "05_training.test_loss_last", 1),
            ("of it reconstruction", "09_latent_space.distortion", 1),
            ("of it KL", "09_latent_space.rate", 1),
            ("latent dimensions in use", "09_latent_space.active_units", 0),
            ("FCD of the samples, less is better", "07_distance.fcd_last", 0),
        ),
        seeds=_compared("VAE"),
        limits=(
            "z from the prior gives some images that are no digit. z from a mixture that was "
            "fitted to codes gives better ones (notebook 16).",
            "The encoder is not in the file.",
        ),
    ),
    "vae_2d": Card(
        title="Decoder of the same VAE with 2 latents",
        what="The decoder of the same variational autoencoder with two latent dimensions, whose "
        "plane can be drawn.",
        config=TrainConfig,
        settings={"latent_dim": 2},
        runs=(
            ("minus ELBO of the test images", "09_latent_space.minus_elbo_2d", 1),
            ("of it KL", "09_latent_space.rate_2d", 1),
            ("minus ELBO above that with 20 latents", "09_latent_space.cost_of_two_latents", 1),
        ),
        seeds=(),
        limits=(
            "It is for pictures of a latent space. Its samples were not measured.",
            "The encoder is not in the file.",
        ),
    ),
    "gan": Card(
        title="Generator of the course's GAN, 20 latents",
        what="The generator of a GAN whose layers have the sizes of the study's decoder, with "
        "settings chosen on held-out images.",
        config=GANConfig,
        settings={},
        runs=(
            ("FCD of the samples, less is better", "15_gan.fcd_last", 0),
            ("entropy of the digits read in the samples", "15_gan.digit_entropy_last", 2),
        ),
        seeds=_compared("GAN"),
        limits=(
            "The discriminator is not in the file. Batch normalisation is folded into the layers, "
            "so training cannot go on from it.",
        ),
    ),
}

LOAD = """\
import torch
from safetensors.torch import load_file

w = load_file("{file}")
h = torch.randn(100, {latents})
for i in ("0.", "1."):
    h = torch.nn.functional.leaky_relu(h @ w[i + "weight"].T + w[i + "bias"], float(w["slope"]))
images = torch.sigmoid(h @ w["2.weight"].T + w["2.bias"])  # [100, 784], in [0, 1]"""


def card(name: str, root: Path) -> str:
    """A card in Markdown.

    Args:
        name: of the weights, as results have it.
        root: the checkout.
    """
    it, results = CARDS[name], _read(root, SOURCE)
    weights, machine = results["weights"][name], results["machine"]
    settings = _settings(it, results["parameters"])
    own = [f"| {label} | {_within(root, key, digits)} |" for label, key, digits in it.runs]
    rows = [f"| {label} | {_over_seeds(root, key, digits)} |" for label, key, digits in it.seeds]
    content = (root / "report/weights" / weights["file"]).stat().st_size
    lines = [
        "---",
        "license: mit",
        "library_name: pytorch",
        "datasets: [mnist]",
        "tags: [unconditional-image-generation]",
        "---",
        "",
        f"# {it.title}",
        "",
        it.what,
        "",
        "| | |",
        "|---|---|",
        f"| file | `{weights['file']}`, {content:,} bytes, float32 |",
        f"| SHA-256 | `{weights['sha256']}` |",
        f"| made by | [notebook {SOURCE}](../../notebooks/{SOURCE}.ipynb), {machine['date']}, "
        f"torch {machine['torch']}, {machine['threads']} thread |",
        f"| training data | {results['parameters']['train_images']:,} training images of MNIST, "
        "grey levels in [0, 1] |",
        f"| settings | {settings} |",
        "",
        "## How good it is",
        "",
        "| of this file | value, and where 99.9 % of other seeds lie |",
        "|---|---|",
        *own,
        "",
        *(["| of other seeds | mean, and its 95 % interval |", "|---|---|"] if rows else []),
        *([*rows, ""] if rows else []),
        "An FCD is the Fréchet distance of 10,000 samples to the 10,000 test images, rounded to "
        "black and white, on the features of the course's classifier. It can be compared with "
        "itself only ([notebook 12](../../notebooks/12_measures.ipynb)).",
        "",
        "## How to load it",
        "",
        "```python",
        LOAD.format(file=f"report/weights/{weights['file']}", latents=_latents(it, results)),
        "```",
        "",
        "From the root of a checkout. The file also holds what the book's explorer shows, under "
        "other names. Loading it executes no code.",
        "",
        "## What it is for, and what not",
        "",
        "It is a baseline that others can compare with, and an example for teaching.",
        "",
        *(f"- {limit}" for limit in it.limits),
        "- It draws small centred digits of one data set and nothing else. Do not use its samples "
        "in place of data, to train or to test a reader of digits.",
        "- An image has the mean of each pixel; it is no draw from the model.",
        "",
        "This card is made by `python report/cards.py`.",
    ]
    return "\n".join(lines) + "\n"


def _latents(it: Card, results: Mapping[str, Any]) -> int:
    """How many latent dimensions the model has."""
    return int(it.settings.get("latent_dim", results["parameters"]["latent_dim"]))


def _settings(it: Card, parameters: Mapping[str, Any]) -> str:
    known = {field.name for field in fields(it.config)} - {"device", "acceleration", "dataset"}
    given = {name: value for name, value in parameters.items() if name in known} | dict(it.settings)
    config = it.config(**given)
    return ", ".join(f"{name} {getattr(config, name)}" for name in sorted(known))


def _within(root: Path, key: str, digits: int) -> str:
    notebook, _, name = key.partition(".")
    entry = _read(root, notebook)["values"][name]
    value, low, high = (f"{entry[it]:.{digits}f}" for it in ("value", "low", "high"))
    return f"{value} ({low} to {high}) {entry['unit']}".rstrip()


def _over_seeds(root: Path, key: str, digits: int) -> str:
    results = root / "report/results"
    mean, half = (value_of(f"{key}.{part}", results) for part in ("mean", "half"))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def _read(root: Path, notebook: str) -> Mapping[str, Any]:
    path = root / "report/results" / f"{notebook}.json"
    made: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


def main() -> int:
    """Write the cards."""
    for name in CARDS:
        path = PROJECT / "report/weights" / f"{SOURCE}_{name}.md"
        write_whole(path, card(name, PROJECT))
        print(f"wrote {path.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
