"""The lab is one page that asks nobody for anything, and is built whole or not at all."""

import re

import numpy as np
import pytest
from elements import Reader
from published import load

from vae_helpers import PROJECT

bundle = load("bundle")
lab = load("lab")

FEW = lab.packed(np.zeros((3, 784), np.uint8), np.zeros(3, np.uint8), held_out=1)


@pytest.fixture(scope="module")
def page():
    """With three black images in the place of MNIST."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lab, "digits", lambda folder: FEW)
        return lab.page(PROJECT / "data")


def test_the_page_asks_nobody_for_anything(page):
    elements = Reader(page).elements
    addresses = {
        value.partition("#")[0]
        for _, attributes in elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    }
    pages = {"index.html", "explorer.html", "notebooks/03_small_world.html"}
    assert {"data:,", "index.html"} <= addresses <= {"", "data:,", *pages}
    policy = next(a["content"] for _, a in elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:|\*|connect-src|unsafe-eval", policy)
    readable = re.sub(r'octet-stream"[^<]*', "", page)  # base64 has slashes, too
    assert not re.search(r"//\w|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(|eval\(", readable)


def test_no_element_has_code_in_an_attribute(page):
    elements = Reader(page).elements
    assert len(elements) > 100
    assert not [a for _, attributes in elements for a in attributes if a.startswith("on")]


def test_everything_that_the_scripts_ask_for_by_name_is_in_the_page_once(page):
    ids = [a["id"] for _, a in Reader(page).elements if "id" in a]
    asked = set(re.findall(r'byId\("([^"]+)"\)', page))
    assert len(ids) == len(set(ids))
    assert len(asked) > 30
    assert asked <= set(ids)


def test_what_labels_or_controls_an_element_names_one_that_is_there(page):
    elements = Reader(page).elements
    ids = {a["id"] for _, a in elements if "id" in a}
    named = {
        name
        for _, attributes in elements
        for key in ("for", "aria-labelledby", "aria-describedby", "aria-controls")
        for name in attributes.get(key, "").split()
    }
    assert {"toy", "digits"} <= named <= ids


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["lab.py", *map(str, arguments)])
    return lab.main()


def test_the_command_writes_the_page(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "digits", lambda folder: FEW)
    output = tmp_path / "new" / "lab.html"
    assert run(monkeypatch, "--data", PROJECT / "data", "--output", output) == 0
    assert capsys.readouterr().out == f"built {output}\n"
    assert output.read_text(encoding="utf-8") == page


def test_without_digits_the_command_says_so_in_one_line_and_leaves_the_old_page(
    tmp_path, monkeypatch, capsys
):
    output = tmp_path / "lab.html"
    output.write_text("the old page", encoding="utf-8")
    assert run(monkeypatch, "--data", tmp_path / "none", "--output", output) == 1
    assert re.fullmatch(r"lab not built: .*none.*\n", capsys.readouterr().err)
    assert output.read_text(encoding="utf-8") == "the old page"


def test_modules_that_cannot_be_bundled_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "digits", lambda folder: FEW)

    def refused(entry):
        raise ValueError(f"{entry}, line 2: expected an import or export by name, got 'x'")

    monkeypatch.setattr(bundle, "script", refused)
    assert run(monkeypatch, "--data", PROJECT / "data", "--output", tmp_path / "lab.html") == 1
    assert re.fullmatch(r"lab not built: .*, line 2: .*\n", capsys.readouterr().err)
    assert not (tmp_path / "lab.html").exists()
