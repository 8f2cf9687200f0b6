"""Build the VAE Lab: one page that trains a variational autoencoder in the browser.

    python report/lab.py --data data --output build/book/lab.html

The page is report/interactive/lab/template.html with the styles, the modules as one script, the
worker of its second tab, and ten thousand digits inside. It asks nobody for anything, and opens
from a file as well as from a server.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bundle
from vae_helpers.data import load_mnist
from vae_helpers.store.files import write_whole

SOURCES = Path(__file__).resolve().parent / "interactive"
TRAINED_ON = 10_000
HELD_OUT = 1_000
"""Images whose codes the page shows; it trains on none of them."""


def page(data: Path) -> str:
    """The lab as one HTML document.

    Args:
        data: the folder of MNIST's four files.

    Raises:
        DataError: the digits cannot be read.
        ValueError: the modules cannot be made one script.
    """
    lab = SOURCES / "lab"
    files = [SOURCES / "shared" / "page.css", *lab.glob("*.css"), *lab.glob("*.html")]
    parts = {path.name: path.read_text(encoding="utf-8") for path in files}
    template = parts.pop("template.html").replace("{{ digits.html }}", parts.pop("digits.html"))
    scripts = {"lab.js": "main.js", "worker.js": "digits_worker.js"}
    parts |= {name: bundle.script(lab / entry) for name, entry in scripts.items()}
    parts["digits"] = base64.b64encode(digits(data)).decode()
    return bundle.page(template, parts)


def digits(data_folder: Path) -> bytes:
    """The digits that the page trains on and shows, as one gzip file.

    All of them are training images of MNIST: defaults are chosen on this page, and choices are
    never made on test images. Unpacked, the file holds two whole numbers of 32 bits, little-endian:
    how many images it trains on, T, and how many it only shows, H. Then come T + H images of 784
    bytes, and T + H labels of one byte.

    Args:
        data_folder: the folder that holds `MNIST/raw`.

    Raises:
        DataError: a file of MNIST is missing or altered; the message names it.
    """
    mnist = load_mnist(data_folder)
    images, labels = (
        each[: TRAINED_ON + HELD_OUT] for each in (mnist.train_images, mnist.train_labels)
    )
    return packed(images.mul(255).round().byte().numpy(), labels.byte().numpy(), held_out=HELD_OUT)


def packed(images: NDArray[np.uint8], labels: NDArray[np.uint8], *, held_out: int) -> bytes:
    """Images `[T + H, 784]` and labels `[T + H]` in the format of `digits`; H is `held_out`."""
    header = struct.pack("<2I", len(images) - held_out, held_out)
    return gzip.compress(header + images.tobytes() + labels.tobytes(), mtime=0)


def main() -> int:
    """Build, or say in one line why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        write_whole(options.output, page(options.data))
    except (ValueError, OSError) as error:
        print(f"lab not built: {error}", file=sys.stderr)
        return 1
    print(f"built {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
