"""Build the explorer: one page that holds three decoders and runs them in the browser.

    python report/explorer.py --weights report/weights --output build/book/explorer.html

The page is report/interactive/explorer/template.html with the styles, the modules as one script
and the bytes of the three files inside. It asks nobody for anything, and opens from a file as well
as from a server.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

import bundle
from vae_helpers.course.decoders import unpacked
from vae_helpers.store.files import DamagedFileError, write_whole

SOURCES = Path(__file__).resolve().parent / "interactive"
MODELS = ("vae", "vae_2d", "gan")
REMEDY = "run notebook 09 with its default parameters (`make refresh`) to export them again"


def page(weights: Path) -> str:
    """The explorer as one HTML document.

    Args:
        weights: folder with `09_latent_space_<model>.safetensors` for each of the three models, as
            notebook 09 exports them.

    Raises:
        DamagedFileError: a file is missing, damaged, or not what the page can draw; the message
            names it.
    """
    styles = (SOURCES / "shared" / "page.css", SOURCES / "explorer" / "explorer.css")
    parts = {path.name: path.read_text(encoding="utf-8") for path in styles}
    parts["explorer.js"] = bundle.script(SOURCES / "explorer" / "main.js")
    sizes = {}
    for name in MODELS:
        path = weights / f"09_latent_space_{name}.safetensors"
        content, sizes[name] = _checked(path, with_codes=name != "gan")
        parts[name] = base64.b64encode(content).decode()
    if sizes["vae_2d"] != 2 or sizes["gan"] != sizes["vae"]:
        raise DamagedFileError(
            f"{weights}: expected vae and gan with equally many latent dimensions and vae_2d with "
            f"2, got {sizes}; {REMEDY}"
        )
    template = (SOURCES / "explorer" / "template.html").read_text(encoding="utf-8")
    return bundle.page(template, parts)


def _checked(path: Path, *, with_codes: bool) -> tuple[bytes, int]:
    """The bytes of a file that the page can draw, and its number of latent dimensions."""
    try:
        content = path.read_bytes()
        tensors = load(content)
        layers, _ = unpacked(tensors)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path}: expected a decoder, got no file; {REMEDY}") from error
    except (SafetensorError, ValueError) as error:
        raise DamagedFileError(
            f"{path}: expected a whole decoder, got a damaged one ({error}); {REMEDY}"
        ) from error
    size = layers[0].weight.shape[1]
    got = {name: (str(value.dtype), list(value.shape)) for name, value in tensors.items()}
    images = len(tensors.get("labels", ()))
    extras = {
        "kl": ("torch.float32", [size]),
        "codes": ("torch.float32", [images, size]),
        "labels": ("torch.uint8", [images]),
    }
    wanted = {name: ("torch.float32", shape) for name, (_, shape) in got.items()} | (
        extras if with_codes else {}
    )
    if got != wanted or len(layers[-1].bias) != 784 or (with_codes and not images):
        raise DamagedFileError(
            f"{path}: expected float32 layers that end in 784 pixels"
            f"{' and ' + str(extras) if with_codes else ''}, got {got}; {REMEDY}"
        )
    if not all(value.isfinite().all() for value in tensors.values()):
        raise DamagedFileError(f"{path}: expected finite numbers, got others; {REMEDY}")
    return content, size


def main() -> int:
    """Build, or say in one line why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        write_whole(options.output, page(options.weights))
    except (ValueError, OSError) as error:
        print(f"explorer not built: {error}", file=sys.stderr)
        return 1
    print(f"built {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
