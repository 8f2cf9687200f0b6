"""The wrapper around nbval: what passes, what fails, and what is refused unexecuted."""

import sys

import nbformat
import pytest
import verify

from vae_helpers.course import execution

PRINTED = "loss ~2.5 nats\n"


def cell(text=PRINTED, raises="", count=1, tags=(), code=f"print({PRINTED!r}, end='')"):
    """A code cell that prints PRINTED, and the output that is committed with it."""
    new = nbformat.v4.new_code_cell(code + raises, id=f"cell-0{count}")
    new.metadata["tags"] = list(tags)
    new.execution_count = count
    new.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)] if text else []
    return new


@pytest.fixture
def committed(tmp_path):
    """A function that writes a notebook of these cells."""

    def write(*cells):
        nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), tmp_path / "01_toy.ipynb")
        return tmp_path / "01_toy.ipynb"

    return write


def test_outputs_that_come_again_pass_with_another_number_behind_the_tilde(committed):
    assert verify.verify([committed(cell("loss ~103.4 nats\n"))]) == 0


def test_kernels_need_no_ports(committed):
    transport = cell("ipc\n", code="print(get_ipython().kernel.parent.transport)")
    assert verify.verify([committed(transport)]) == 0


def test_a_column_that_is_padded_for_another_number_of_digits_passes(committed):
    row = "print(f\"{f'~{103.4:.5g}':>15}{f'~{9.5:.5g}':>17}  the same\")"
    assert (
        verify.verify([committed(cell("          ~98.7           ~10.25  the same\n", code=row))])
        == 0
    )


MISSES = "print('loss ~103.25 nats, NOT within 98.0 to 101.0: excludes a flipped sign')"


@pytest.mark.parametrize("code", [MISSES, "print('loss ~nan nats, within 98.0 to 101.0')"])
def test_a_missed_tolerance_and_what_is_no_number_fail(committed, code):
    text = "loss ~99.1 nats, within 98.0 to 101.0\n"
    assert verify.verify([committed(cell(text, code=code))]) == 1


def test_changed_outputs_fail_and_so_does_a_cell_that_raises(committed, capfd):
    changed = cell("loss ~2.5 bits\n")
    raising = cell(raises="; raise ValueError('planted')", count=2)
    assert verify.verify([committed(changed, raising, cell(count=3))]) == 1
    printed = capfd.readouterr().out
    assert "Cell 0: Cell outputs differ" in printed
    assert "Cell 1: Cell execution caused an exception" in printed
    assert "2 failed, 1 passed" in printed


def test_a_cell_that_is_skipped_fails(committed, capfd):
    assert verify.verify([committed(cell(tags=["nbval-skip"]), cell(count=2))]) == 1
    assert "2 code cells, but only 1 were executed" in capfd.readouterr().err


@pytest.mark.parametrize(
    "cells",
    [
        [cell("", count=None)],
        [cell("")],
        [cell(count=None)],
        [cell(count=2), cell(count=1)],
        [],
    ],
    ids=["stripped", "without outputs", "without counts", "out of order", "empty"],
)
def test_a_notebook_that_would_prove_nothing_is_refused(cells, committed, capfd, monkeypatch):
    monkeypatch.setattr(verify.subprocess, "run", lambda *_, **__: pytest.fail("was executed"))
    assert verify.verify([committed(*cells)]) == 2
    assert "refused, nothing was run: 01_toy.ipynb: " in capfd.readouterr().err


def test_the_command_finds_notebooks_by_their_beginning_and_refuses_others(monkeypatch):
    asked = []
    monkeypatch.setattr(verify, "verify", lambda paths, workers: asked.append((paths, workers)))
    for words in (["04", "01_data"], ["--smoke", "04"]):
        monkeypatch.setattr(sys, "argv", ["verify.py", *words])
        verify.main()
    monkeypatch.setattr(sys, "argv", ["verify.py", "04_trainign"])
    with pytest.raises(SystemExit, match="2"):
        verify.main()
    full = [verify.NOTEBOOKS / f"{name}.ipynb" for name in ("04_training", "01_data")]
    assert asked == [(full, 0), ([execution.REFERENCES / "04_training.ipynb"], 2)]
