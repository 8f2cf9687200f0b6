"""The wrapper around nbval: what passes, what fails, and what is refused unexecuted."""

import re
import sys
from datetime import UTC, datetime

import nbformat
import pytest
import verify

from vae_helpers import PROJECT
from vae_helpers.course import execution
from vae_helpers.store import machine

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


def test_outputs_that_come_again_with_another_number_behind_the_tilde_pass_without_ports(committed):
    row = "print(f\"{f'~{103.4:.5g}':>15}{f'~{9.5:.5g}':>17}  the same\")"
    transport = "print(get_ipython().kernel.parent.transport)"
    cells = [
        cell("loss ~103.4 nats\n"),
        cell("          ~98.7           ~10.25  the same\n", code=row, count=2),  # other padding
        cell("ipc\n", code=transport, count=3),
    ]
    assert verify.verify([committed(*cells)]) == 0


def test_what_has_changed_is_missed_is_no_number_or_raises_fails(committed, capfd):
    misses = "print('loss ~103.25 nats, NOT within 98.0 to 101.0: excludes a flipped sign')"
    nan = "print('loss ~nan nats, within 98.0 to 101.0')"
    cells = [
        cell("loss ~99.1 nats, within 98.0 to 101.0\n", code=misses),
        cell("loss ~99.1 nats, within 98.0 to 101.0\n", code=nan, count=2),
        cell("loss ~2.5 bits\n", count=3),
        cell(raises="; raise ValueError('planted')", count=4),
        cell(count=5),
    ]
    assert verify.verify([committed(*cells)]) == 1
    printed = capfd.readouterr().out
    for number in range(3):
        assert f"Cell {number}: Cell outputs differ" in printed
    assert "Cell 3: Cell execution caused an exception" in printed
    assert "4 failed, 1 passed" in printed


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
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(verify, "verify", lambda paths, **how: asked.append((paths, *how.values())))
    for words in (["05", "01_data"], ["--smoke", "05"], ["05", "--executed"]):
        monkeypatch.setattr(sys, "argv", ["verify.py", *words])
        verify.main()
    monkeypatch.setattr(sys, "argv", ["verify.py", "04_trainign"])
    with pytest.raises(SystemExit, match="2"):
        verify.main()
    full = [verify.NOTEBOOKS / f"{name}.ipynb" for name in ("05_training", "01_data")]
    assert asked == [
        (full, 2, None),
        ([execution.REFERENCES / "05_training.ipynb"], 1, None),
        (full[:1], 1, PROJECT / "build" / "full" / "notebooks"),
    ]


# What is executed already is compared, and not executed again.


@pytest.fixture
def executed(tmp_path):
    """A function that writes the notebook of these cells as papermill leaves it."""

    def write(*cells, **execution):
        execution = dict.fromkeys(("start_time", "end_time"), str(datetime.now(UTC))) | execution
        for each in cells:
            each.metadata["papermill"] = {"status": "completed"}
        notebook = nbformat.v4.new_notebook(cells=list(cells), metadata={"papermill": execution})
        (tmp_path / "executed").mkdir()
        nbformat.write(notebook, tmp_path / "executed" / "01_toy.ipynb")
        return tmp_path / "executed"

    return write


def test_an_execution_passes_with_another_number_and_with_a_stream_in_pieces(committed, executed):
    pieces = cell("loss ~103.4 nats\n")
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    pieces.outputs += [picture, *cell("and mo").outputs, *cell("re\n").outputs]
    whole = cell("loss ~2.5 nats\nand more\n")
    whole.outputs += [picture]
    raises_nothing = cell(count=2, code="raise ValueError('was executed again')")
    path = committed(whole, raises_nothing)
    assert verify.verify([path], executed=executed(pieces, raises_nothing)) == 0


def test_an_execution_with_other_outputs_or_without_them_fails(committed, executed, capfd):
    texts = [
        PRINTED,
        "loss ~2.5 bits\n",
        "",
        "loss ~nan nats\n",
        PRINTED + "and more\n",
        PRINTED + "NOT within 1.0 to 2.0\n",
    ]
    path = committed(*(cell(count=n) for n in range(1, 7)))
    came = executed(*(cell(text, count=n) for n, text in enumerate(texts, start=1)))
    assert verify.verify([path], executed=came) == 1
    printed = capfd.readouterr().out
    differ = [n for n in range(6) if f"Cell {n}: Cell outputs differ" in printed]
    assert differ == [1, 2, 3, 4, 5]
    assert "5 failed, 1 passed" in printed


def test_a_cell_that_is_skipped_fails_though_it_is_executed(committed, executed, capfd):
    cells = cell(tags=["nbval-skip"]), cell(count=2)
    assert verify.verify([committed(*cells)], executed=executed(*cells)) == 1
    assert "2 code cells, but only 1 were executed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cells", "execution", "reason"),
    [
        ([cell(code="import math")], {}, "to have the line .*print.* in code cell 1.*, got .*math"),
        ([cell(), cell(count=2)], {}, "to have the line none, got .*print.* in code cell 2"),
        ([cell(), cell(count=None)], {}, "to its end: execution counts are not 1 to 2"),
        ([cell()], {"end_time": None}, "to its end: papermill has noted no end"),
        ([cell()], {"start_time": "2000-01-01T00:00:00+00:00"}, r"by the code .* \S+ is newer"),
    ],
    ids=["changed source", "another cell", "stopped", "under way", "older than the code"],
)
def test_an_execution_that_would_prove_nothing_is_refused(
    cells, execution, reason, committed, executed, capfd, monkeypatch
):
    monkeypatch.setattr(verify.subprocess, "run", lambda *_, **__: pytest.fail("was compared"))
    folder = executed(*cells, **execution)
    assert verify.verify([committed(cell())], executed=folder) == 2
    expected = f"01_toy.ipynb: expected {folder}/01_toy.ipynb .*{reason}.*; `make run` executes it"
    assert re.search(expected, capfd.readouterr().err)


def test_an_execution_that_is_missing_is_refused(committed, tmp_path, capfd):
    assert verify.verify([committed(cell())], executed=tmp_path / "executed") == 2
    assert re.search("expected it .*/executed/01_toy.ipynb, found nothing", capfd.readouterr().err)
