"""What a new reader's times are measured of is what README.md says."""

import newcomer
import pytest

from vae_helpers import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["picture", "parameter", "notebook", "own_number"])
def test_the_step_is_a_command_of_the_readme(name):
    assert newcomer.STEPS[name] in README


def test_the_readme_has_one_listing_and_it_leaves_the_samples_that_are_scored():
    listing = newcomer.listing(README)
    compile(listing, "README.md", "exec")
    assert 'np.save("samples.npy"' in listing


def test_a_readme_without_a_listing_is_refused():
    with pytest.raises(ValueError, match="expected one listing in Python, got 0"):
        newcomer.listing("```\nmake run\n```\n")


def test_a_step_that_fails_ends_the_measurement_with_what_it_said(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)expected status 0, got 2\n.*nothing"):
        newcomer.timed("make nothing", tmp_path)
