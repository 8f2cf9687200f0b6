"""What nbval does not compare: numbers behind a `~`, and nothing else."""

import re

import pytest
from nbval.plugin import get_sanitize_patterns

from vae_helpers import PROJECT

FILE = PROJECT / "notebooks" / "sanitize.cfg"


def compared(text):
    """What is left of a text to compare, as nbval does it: the rules one after the other."""
    for pattern, replacement in get_sanitize_patterns(FILE.read_text()):
        text = re.sub(pattern, replacement, text)
    return text


def test_there_are_at_most_two_rules_and_nbval_reads_each_of_them():
    written = re.findall(r"^\W*regex", FILE.read_text(), re.MULTILINE | re.IGNORECASE)
    assert 1 <= len(get_sanitize_patterns(FILE.read_text())) == len(written) <= 2


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
        ("~3, in the band 1 to 5", "~4, in the band 1 to 5"),
        ("[~1.5, ~2.5]", "[~1.25, ~0.5]"),
    ],
)
def test_texts_are_equal_that_differ_in_numbers_behind_a_tilde(one, other):
    assert compared(one) == compared(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("~99.4, in the band 98.0 to 101.0", "~99.4, in the band 98.0 to 101.5"),  # band
        ("~99.4, in the band 98.0 to 101.0", "~99.4, in the band -98.0 to 101.0"),
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
    ],
)
def test_texts_differ_that_differ_in_anything_else(one, other):
    assert compared(one) != compared(other)
