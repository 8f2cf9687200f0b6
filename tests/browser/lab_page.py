"""The lab as a page with few digits, and what its tests ask of it."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from published import load
from screen import painted

from vae_helpers import PROJECT
from vae_helpers.data import load_mnist

bundle = load("bundle")
lab = load("lab")

IMAGES, HELD_OUT = 500, 100


def write(folder: Path) -> Path:
    """The whole page, but with few digits."""
    mnist = load_mnist()
    pixels = mnist.train_images[:IMAGES].mul(255).round().byte().numpy()
    few = lab.packed(pixels, mnist.train_labels[:IMAGES].byte().numpy(), held_out=HELD_OUT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lab, "digits", lambda folder: few)
        content = lab.page(PROJECT / "data")
    path = folder / "lab.html"
    path.write_text(content, encoding="utf-8")
    return path


def go(page, path, fragment=""):
    """Open the page at a fragment, as from a link, and wait until its run is there."""
    page.goto("about:blank")
    page.goto(path.as_uri() + fragment)
    arrived(page)


def arrived(page):
    """Wait until the toy world's run has stopped by itself."""
    page.evaluate(
        """() => new Promise((done) => {
          const look = () => (lab.tabs.toy.isPlaying() ? setTimeout(look, 20) : done());
          look();
        })"""
    )
    painted(page)


def until(page, holds):
    """Whether something holds within ten seconds."""
    for _ in range(200):
        if holds():
            return True
        page.wait_for_timeout(50)
    return False


def weights(page):
    """All weights of the toy world, as text: the same to the bit or not."""
    return page.evaluate(
        """() => {
          const { model } = lab.tabs.toy.world().run, { vae } = lab.modules;
          return JSON.stringify(Object.entries(vae.sides(model))
            .map(([side, arrays]) => [side, arrays.map((array) => Array.from(array))]));
        }"""
    )


def steps(page):
    return page.evaluate("lab.tabs.toy.steps()")


def last(page):
    """What is known after the last tenth step: means in nats."""
    return page.evaluate("lab.tabs.toy.world().history.at(-1)")


def watched(page):
    """Each watched point: mu and sigma of q, the best Gaussian's sigma, the posterior's hills."""
    return page.evaluate(
        """() => {
          const world = lab.tabs.toy.world(), { toy, exact } = lab.modules;
          const view = toy.look(world, toy.watched(world.run));
          return view.rows.map((row, i) => ({
            mu: row.mu,
            sigma: Math.exp(row.logvar / 2),
            best: Math.exp(row.best.logvar / 2),
            hills: exact.hills(view.there.joints[i], view.there, 9).length,
          }));
        }"""
    )


def decoded(page, *z):
    """Where the decoder puts these z, `[len(z), 2]`."""
    return page.evaluate(
        """(z) => z.map((one) => Array.from(
          lab.modules.vae.decode(lab.tabs.toy.world().run.model, Float64Array.of(one), 1)))""",
        list(z),
    )


def length_of_curve(page):
    """Of the decoder's curve between z = -2 and z = 2."""
    points = decoded(page, *(i / 50 for i in range(-100, 101)))
    return sum(math.dist(a, b) for a, b in pairwise(points))
