"""Draw samples of every arm of the comparison: of the very runs that its tables hold.

    python report/gallery.py    into report/results/measured/gallery.png, for the paper

One run of each arm is trained again, on one thread as in the studies, which takes some ten minutes;
runs that are kept are loaded. Its FCD has to be the one in the table: then the picture shows what
the table measures. The FCDs go to gallery.json beside the picture.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_helpers import figures
from vae_helpers.benchmarks import clock
from vae_helpers.data import Digits, load_mnist
from vae_helpers.methods import METHODS
from vae_helpers.sample_quality import frechet_distance
from vae_helpers.samplers import SAMPLERS
from vae_helpers.seeds import new_rng
from vae_helpers.store import runs
from vae_helpers.store.reference import rounded_features
from vae_helpers.studies import tables

STUDIES = ("comparison_vae", "comparison_gan", "comparison_wgan", "comparison_plain")
FIRST_ATTEMPT = "BCE only"
"""The arm that the tables hold with a mixture alone: its samples from the prior."""
COLUMNS = 20
"""Images of each arm that are shown."""


class Drawn(NamedTuple):
    """Samples of an arm, `[N, 784]` in [0, 1], and their FCD in the table; None if it has none."""

    arm: str
    images: Tensor
    fcd: float | None


def arms(seed: int) -> dict[str, Mapping[str, Any]]:
    """The rows of one seed, by the names of their arms.

    Raises:
        ValueError: an arm has no run of this seed.
    """
    rows = [row for study in STUDIES for row in tables.read(study).rows]
    found: dict[str, Mapping[str, Any]] = {row["arm"]: row for row in rows if row["seed"] == seed}
    if missing := sorted({row["arm"] for row in rows} - found.keys()):
        raise ValueError(f"seed: expected one that every arm has, got {seed}; none of {missing}")
    return found


def drawn(rows: Mapping[str, Mapping[str, Any]], images: Digits) -> Iterator[Drawn]:
    """Train each arm, or load its run, and draw its samples as notebook 18 does."""
    for arm, row in rows.items():
        kind = METHODS[row["model"]]
        config = kind(**{it.name: row[it.name] for it in fields(kind) if it.name in row})
        model = runs.fit(config, images, title=arm).model
        ways = {arm: row["sampler"]}
        if arm.startswith(FIRST_ATTEMPT):
            ways = {FIRST_ATTEMPT: "prior"} | ways
        for name, sampler in ways.items():
            made = SAMPLERS[sampler](
                model,
                row["generated_images"],
                train_images=images.train_images,
                components=row["components"],
                rng=new_rng(row["seed"], f"samples {row['sample_seed']}"),
            )
            yield Drawn(name, made, row["fcd_last"] if name == arm else None)


def main(seed: int = 1) -> int:
    """Draw the picture and write it, unless a run is another one than that of its table."""
    torch.set_num_threads(1)
    images, read = load_mnist(), rounded_features("MNIST")
    pick = torch.randperm(len(images.test_images), generator=new_rng(0, "real images"))
    real = images.test_images[pick]
    shown, found = {}, {}
    for arm, made, expected in drawn(arms(seed), images):
        found[arm] = frechet_distance(read(made), read(real))
        shown[arm] = made[:COLUMNS]
        print(f"{arm:<20} FCD {found[arm]:8.2f}", flush=True)
        if expected is not None and not math.isclose(found[arm], expected, rel_tol=1e-5):
            print(
                f"nothing written: {arm}: expected the run of the table, whose FCD is "
                f"{expected:.2f}. On another processor the same seed gives another run: "
                "draw the picture where the studies were run, or run them again (make studies)",
                file=sys.stderr,
            )
            return 1
    shown["test images"] = real[:COLUMNS]
    folder = clock.MEASURED
    rows = {arm.replace(", ", ",\n"): several for arm, several in shown.items()}
    figures.image_rows(rows, width=10).savefig(folder / "gallery.png")
    about = {"seed": seed, "images_per_arm": COLUMNS, "date": datetime.now(UTC).date().isoformat()}
    clock.write("gallery", found | about)
    print(f"drawn: {folder / 'gallery.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
