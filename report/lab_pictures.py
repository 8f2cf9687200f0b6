"""Take the pictures of the lab's stories that the notebooks show.

    python report/lab_pictures.py --page build/book/lab.html --output report/interactive/pictures

Each story's link is opened in Chromium, and its panels are saved when its run has reached its step.
The text "settings" in a picture holds its link and the last numbers of its run, so that a test can
tell when the picture is not what the page shows any more.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, sync_playwright

from vae_helpers.store.files import write_whole

CHROMIUM = "/usr/bin/chromium"
WIDTH, SCALE, COLOURS = 880, 1.5, 256
STYLE = """
.side, .diagram, .phase, .panels .controls, .panels .hint, #grid-note {
  display: none !important;
}
.panels { grid-template: auto 1fr / 1fr 1fr; padding: 8px; }
.panel figcaption { min-height: 0; }
.stack { grid-area: 1 / 2 / 3; }
#latent { height: 13rem; }
#curves { height: 11rem; }
.numbers { grid-area: 2 / 1; align-self: start; }
.numbers tbody { display: grid; grid-template-columns: 1fr 1fr; white-space: nowrap; }
.numbers tr { justify-content: space-between; }"""


def stories(page: Page) -> dict[str, str]:
    """The name and the fragment of each story of a lab that is open."""
    script = "(all) => Object.fromEntries(all.map((it) => [it.id, it.hash]))"
    found: dict[str, str] = page.locator("#presets a").evaluate_all(script)
    return found


def read(page: Page, fragment: str) -> dict[str, Any]:
    """Go to a story and wait until it is told: its fragment, and the run's last numbers."""
    address = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(address + fragment)
    page.evaluate(
        """() => new Promise((done) => {
          const look = () => (lab.tabs.toy.isPlaying() ? setTimeout(look, 50) : done());
          look();
        })"""
    )
    readings = page.evaluate("lab.tabs.toy.world().history.at(-1)")
    return {"link": fragment, **readings}


def photograph(page: Page, readings: dict[str, Any]) -> bytes:
    """The panels as a PNG of few colours that holds its readings."""
    page.add_style_tag(content=STYLE)
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    page.wait_for_timeout(200)
    shot = Image.open(io.BytesIO(page.locator(".panels").screenshot()))
    # by octree: the median cut mixes the thin lines of the key with other colours
    few = shot.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    settings, saved = PngInfo(), io.BytesIO()
    settings.add_text("settings", json.dumps(readings))
    few.save(saved, "PNG", optimize=True, pnginfo=settings)
    return saved.getvalue()


def main() -> int:
    """Take the pictures, or say in one line why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if not options.page.is_file():
        print(f"expected the lab in {options.page}; `make book` builds it", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, bypass_csp=True
        )
        page.goto(options.page.resolve().as_uri())
        for name, fragment in stories(page).items():
            readings = read(page, fragment)
            write_whole(options.output / f"{name}.png", photograph(page, readings))
            print(f"{name}: {readings}", flush=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
