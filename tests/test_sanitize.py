"""What nbval does not compare: numbers behind a `~`, and nothing else."""

import math
import re

import pytest
from nbval.plugin import get_sanitize_patterns

from vae_helpers import PROJECT

FILE = PROJECT / "notebooks" / "sanitize.cfg"


def compared(text):
    """What is left of a text to compare, as nbval does it: the rules one after the other."""
    for pattern, replacement in get_sanitize_patterns(FILE.read_text(encoding="utf-8")):
        text = re.sub(pattern, replacement, text)
    return text


def test_there_are_at_most_two_rules_and_nbval_reads_each_of_them():
    written = re.findall(
        r"^\W*regex", FILE.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE
    )
    assert 1 <= len(get_sanitize_patterns(FILE.read_text(encoding="utf-8"))) == len(written) <= 2


def test_the_file_is_of_the_plain_kind_that_nbval_can_read():
    content = FILE.read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert b"\t" not in content
    assert all(line == line.rstrip() for line in content.decode().splitlines())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("loss ~99.4 nats", "loss ~101.25 nats"),
        ("loss ~99.4 nats", "loss ~-99.4 nats"),
        ("~1,234", "~1"),
        ("~160888.2 1/s", "~5.0 1/s"),
        ("~ -5.0e-03", "~0.5"),
        ("~1e+20", "~2"),
        ("1: ~9.25  2: ~8.50", "1: ~10.00  2: ~7.25"),
        ("~7 of ~9", "~8 of ~11"),
        ("~3, within 1 to 5", "~4, within 1 to 5"),
        ("[~1.5, ~2.5]", "[~1.25, ~0.5]"),
        ("~+0.5", "~-0.5"),
        ("~1e-05", "~0.0001"),
        ("~2.5E+03 s", "~25 s"),
        ("~999.5", "~1,000.5"),
        ("~1,234,567", "~12"),
    ],
)
def test_texts_are_equal_that_differ_in_numbers_behind_a_tilde(one, other):
    assert compared(one) == compared(other)


LAYOUTS = {
    "right-aligned": lambda v: f"{f'~{v:.5g}':>15}{f'~{v:.1f}':>17}  the same",
    "left-aligned": lambda v: f"{f'~{v:.5g}':<10} x",
    "left-aligned at the end": lambda v: f"kl {f'~{v:.1f}':<10}\nbce",
    "centred": lambda v: f"| {f'~{v:.1f}':^12} |",
    "padded behind the tilde": lambda v: f"1  ~{v:7.2f} ~{v:5.2f}   ~{v:9,.1f}",
    "with its unit": lambda v: f"{f'~{v:.1f} nats':>16}{f'~{v:.1f} s':<28}|",
    "with its unit at the end": lambda v: f"{f'~{v:.1f} nats':<12}\n{f'~{v:.1f} nats':<12}",
    "two in a column": lambda v: (
        f"A {f'~{v:.1f} ± ~{v / 9:.2f}':>20}{f'~{v:.0f} of ~{v:.0f}':>20} B"
    ),
    "a series": lambda v: f"{'fcd':<28} 1: ~{v:.1f}  2: ~{v / 2:.1f}  30: ~{v:.1f} units",
    "a check": lambda v: f"{'loss':<28} ~{v:.2f} nats per image, within 98.00 to 101.00",
    "a measurement": lambda v: f"{'epoch':<28} ~{v:,.0f} s on this machine",
    "a list": lambda v: str([f"~{v:.3g}", "x"]),
    "general": lambda v: f"{f'~{v:g}':>12} and {f'~{v:.0e}':<9}.",
}
VALUES = (9.96, 99.94, 100.04, -3.2, 1234.5, 12345.6, 1e-5, 1e-4, 1e20, 0.0)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_padding_that_a_number_behind_a_tilde_brings_with_it_is_not_compared(layout):
    assert len({compared(layout(value)) for value in VALUES}) == 1


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_differs_in_every_layout(layout, value):
    assert compared(layout(value)) != compared(layout(1.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("~99.4, within 98.0 to 101.0", "~99.4, within 98.0 to 101.5"),  # band
        ("~99.4, within 98.0 to 101.0", "~99.4, within -98.0 to 101.0"),
        ("seen 60,000 images", "seen 60,001 images"),  # counts
        ("train_images (60000, 784)", "train_images (60000, 785)"),  # shapes
        ("loss ~99.4 nats", "loss ~99.4 bits"),  # units
        ("loss ~99.4 nats", "loss ~99.4"),
        ("test_loss ~99.4", "train_loss ~99.4"),  # names
        ("Figure 4.1. Three epochs.", "Figure 4.1. Two epochs."),  # captions
        ("1: ~9.25  2: ~8.50", "1: ~9.25  3: ~8.50"),  # where a curve was measured
        ("1: ~9.25  2: ~8.50", "1: ~9.25"),
        ("loss ~99.4 nats", "loss 99.4 nats"),  # whether there is a tilde
        ("loss 99.4 nats", "loss 99.5 nats"),
        ("loss ~99.4 nats", "loss ~nan nats"),  # what is no number
        ("loss ~99.4 nats", "loss ~inf nats"),
        ("loss ~99.4 nats", "loss ~-inf nats"),
        ("loss ~99.4 nats", "loss ~ nats"),
        ("~many", "~few"),
        ("-~3", "~3"),  # a sign or a digit beside it
        ("+~3", "-~3"),
        ("5~3", "6~3"),
        ("~3 5", "~3 6"),
        ("~3 -5", "~3 5"),
        ("~3%", "~3"),
        ("~3.5 ± 0.2", "~3.5 ± 0.3"),
        ("~3, 500", "~3, 600"),
        ("~3,x", "~3x"),
        ("~3.", "~3"),
        ("~3 to ~5", "~3"),
        ("~3\n5", "~3\n6"),  # the line below
        ("~\n5", "~\n6"),
        ("~3 nats\n~5", "~3 nats ~5"),  # where a line ends
        ("~3 5", "~35"),
        ("5 6", "56"),
        ("loss  ~nan nats", "loss ~nan bits"),
        ("loss   ~ nan", "loss ~3"),
        ("~3, NOT within 1 to 2: excludes x", "~1, within 1 to 2"),
    ],
)
def test_texts_differ_that_differ_in_anything_else(one, other):
    assert compared(one) != compared(other)
