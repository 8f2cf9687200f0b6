"""The progress line: in a notebook, in a terminal, and silent anywhere else."""

import io
from types import SimpleNamespace

import pytest

from vae_helpers import progress
from vae_helpers.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Handle:
    """Stands for the display of a notebook: remembers every text it has shown."""

    def __init__(self, shown):
        self.shown = shown

    def update(self, content, *, raw):
        assert raw
        self.shown.append(content["text/plain"])


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal shows, as if this process ran in one."""
    system = SimpleNamespace(stderr=Terminal(), modules={})
    monkeypatch.setattr(progress, "sys", system)
    return system.stderr


@pytest.fixture
def shown(monkeypatch):
    """The texts of a notebook's display, as if this process were a kernel."""
    texts = []

    def display(content, *, raw, display_id):
        assert raw
        assert display_id
        texts.append(content["text/plain"])
        return Handle(texts)

    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return texts


def test_outside_a_notebook_and_without_a_terminal_nothing_is_printed(capfd):
    with Progress("epochs", total=2) as line:
        line.step("loss 1.0")
        line.step("loss 0.5")
    assert capfd.readouterr() == ("", "")


def test_notebook_ends_with_the_text_it_began_with(shown):
    with Progress("epochs 1 to 3", total=3) as line:
        for _ in range(3):
            line.step("loss 1.0")
    assert len(shown) == 1 + 3 + 1
    assert shown[0] == shown[-1] == "epochs 1 to 3"
    assert all("of 3" in text for text in shown[1:-1])


def test_notebook_ends_with_the_text_it_began_with_after_an_error(shown):
    def interrupted():
        with Progress("epochs", total=3) as line:
            line.step()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown[0] == shown[-1] == "epochs"


def test_notebook_prints_nothing_besides_its_display(shown, capfd):
    with Progress("epochs", total=1) as line:
        line.step()
    assert shown
    assert capfd.readouterr() == ("", "")


def test_without_a_title_a_notebook_shows_nothing(shown, capfd):
    with Progress(None, total=1) as line:
        line.step()
    assert shown == []
    assert capfd.readouterr() == ("", "")


def test_without_a_title_a_terminal_shows_nothing(terminal):
    with Progress(None, total=1) as line:
        line.step()
    assert terminal.getvalue() == ""


def test_terminal_rewrites_one_line(terminal):
    with Progress("epochs", total=2) as line:
        line.step("loss 1.0")
        line.step("loss 0.5")
    written = terminal.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    _, first, second = written.rstrip("\n").split("\r\x1b[K")  # back to the start, and clear
    assert first.startswith("epochs: 1 of 2")
    assert first.endswith("loss 1.0")
    assert second.startswith("epochs: 2 of 2")


def test_time_left_is_the_mean_step_times_the_steps_that_remain(terminal, clock):
    with Progress("epochs", total=4) as line:
        clock[0] = 50.0
        line.step()
        assert "1 of 4, 2:30 left" in terminal.getvalue()  # 50 s per step, 3 to go
        clock[0] = 60.0
        line.step()
        assert "2 of 4, 1:00 left" in terminal.getvalue()  # 30 s per step, 2 to go


def test_steps_done_before_do_not_enter_the_time_left(terminal, clock):
    with Progress("epochs", total=30) as line:
        line.skip(10)
        clock[0] = 6.0
        line.step()
    assert "11 of 30, 1:54 left" in terminal.getvalue()  # 6 s per step, 19 to go
