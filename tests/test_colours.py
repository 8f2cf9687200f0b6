"""The colours of the interactive pages can be seen, and told apart by colour-blind readers."""

import itertools
import re

import numpy as np
import pytest

from vae_helpers import PROJECT

STYLE = PROJECT / "report" / "interactive" / "shared" / "page.css"
PANELS = [  # what stands in one picture
    ("data", "decoder", "approximate"),
    ("data", "posterior", "approximate"),
    ("evidence", "elbo", "approximation", "amortisation"),
]
VISIONS = {  # Machado, Oliveira and Fernandes (2009), Table 1, severity 1
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def palette(theme):
    """The colours by name, as linear red, green and blue."""
    found = re.findall(
        r"--(\w+): light-dark\((#\w+), (#\w+)\)", STYLE.read_text(encoding="utf-8").split("}")[0]
    )
    return {name: linear(light if theme == "light" else dark) for name, light, dark in found}


def linear(code):
    digits = code[1:] if len(code) == 7 else "".join(2 * digit for digit in code[1:])
    shares = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(colour, page):
    """WCAG 2.2: the ratio of the relative luminances."""
    low, high = sorted(TO_XYZ[1] @ each for each in (colour, page))
    return (high + 0.05) / (low + 0.05)


def lab(colour):
    """CIELAB of a linear colour."""
    x, y, z = np.cbrt(TO_XYZ @ np.clip(colour, 0, 1) / TO_XYZ.sum(axis=1))  # none is near black
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_black_and_white_have_the_largest_contrast():
    assert contrast(linear("#000"), linear("#ffffff")) == pytest.approx(21)
    assert contrast(linear("#767676"), linear("#fff")) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_stand_out_from_the_page_three_to_one_and_words_more(theme):
    colours = palette(theme)
    lines = {name for panel in PANELS for name in panel} | {"edge"}
    found = {name: contrast(colours[name], colours["page"]) for name in sorted(colours)}
    assert {name: found[name] for name in lines if found[name] < 3} == {}
    assert {name: found[name] for name in ("text", "quiet", "accent") if found[name] < 4.5} == {}


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_of_one_picture_differ_for_everybody(theme, vision):
    colours = palette(theme)
    seen = {name: lab(VISIONS[vision] @ colours[name]) for panel in PANELS for name in panel}
    close = {
        pair: round(float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])), 1)
        for panel in PANELS
        for pair in itertools.combinations(panel, 2)
        if np.linalg.norm(seen[pair[0]] - seen[pair[1]]) < 16
    }
    assert close == {}  # 2 is just noticeable side by side
