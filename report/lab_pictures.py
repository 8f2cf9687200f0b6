"""Take the pictures of the lab's stories that the notebooks show.

    python report/lab_pictures.py --page build/book/lab.html --output report/interactive/pictures

Each story's link is opened in Chromium, and its panels are saved when its run has reached its step.
`readings.json` beside the pictures holds the last numbers of each run, so that a test can tell when
a picture is not what the page shows any more.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from vae_helpers.store.files import write_whole

CHROMIUM = "/usr/bin/chromium"
WIDTH, SCALE, COLOURS = 1120, 1.25, 128
STYLE = """.side, .diagram, .phase, .panels .controls, #grid-note { display: none !important; }
.panels { padding: 8px; }
.panel figcaption { min-height: 0; }"""


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


def photograph(page: Page) -> bytes:
    """The panels as a PNG of few colours."""
    page.add_style_tag(content=STYLE)
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    page.wait_for_timeout(200)
    shot = Image.open(io.BytesIO(page.locator(".panels").screenshot()))
    saved = io.BytesIO()
    shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        saved, "PNG", optimize=True
    )
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
    readings = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, bypass_csp=True
        )
        page.goto(options.page.resolve().as_uri())
        for name, fragment in stories(page).items():
            readings[name] = read(page, fragment)
            write_whole(options.output / f"{name}.png", photograph(page))
            print(f"{name}: {readings[name]}", flush=True)
        browser.close()
    write_whole(options.output / "readings.json", json.dumps(readings, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
