"""The explorer holds the exported weights as they are, and asks nobody for anything."""

import base64
import re

import pytest
import torch
from elements import Reader
from published import load
from safetensors.torch import load_file, save_file
from toy_decoders import toy_decoders, write_toy_weights

bundle = load("bundle")
explorer = load("explorer")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_toy_weights(folder, toy_decoders())
    return folder


@pytest.fixture
def weights(good, tmp_path):
    """Three files that a test may spoil."""
    for path in good.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_page_holds_the_bytes_of_the_three_files(good):
    texts = Reader(explorer.page(good)).texts
    for name in ("vae", "vae_2d", "gan"):
        held = base64.b64decode(texts[name], validate=True)
        assert held == (good / f"09_latent_space_{name}.safetensors").read_bytes()


def test_the_page_asks_nobody_for_anything(good):
    page = explorer.page(good)
    elements = Reader(page).elements
    addresses = {
        value.partition("#")[0]
        for _, attributes in elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    }
    assert addresses == {"data:,", "index.html", "notebooks/09_latent_space.html"}
    policy = next(a["content"] for _, a in elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    readable = re.sub(r'octet-stream"[^<]*', "", page)  # base64 has slashes, too
    assert not re.search(r"//\w|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(", readable)


def test_no_element_has_code_in_an_attribute(good):
    elements = Reader(explorer.page(good)).elements
    assert len(elements) > 50
    assert not [a for _, attributes in elements for a in attributes if a.startswith("on")]


def test_everything_that_the_script_asks_for_by_name_is_in_the_page(good):
    page = explorer.page(good)
    ids = [a["id"] for _, a in Reader(page).elements if "id" in a]
    asked = re.findall(r'byId\("([^"]+)"\)', page)
    assert len(ids) == len(set(ids))
    assert len(asked) > 20
    assert set(asked) <= set(ids)


def spoil(name, change):
    """A change of one file, by what is done to its tensors."""

    def spoiled(folder):
        path = folder / f"09_latent_space_{name}.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return spoiled


def cut(folder):
    path = folder / "09_latent_space_vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "09_latent_space_gan.safetensors").unlink(), r"_gan\.saf.*got no file"),
        (cut, r"_vae\.safetensors: expected a whole decoder, got a damaged one"),
        (spoil("gan", lambda t: t.pop("1.weight")), r"_gan\.saf.*got a damaged one \(tensors: "),
        (spoil("vae", lambda t: t.pop("kl")), r"_vae\.safetensors: expected .*'kl'.*\[6\]"),
        (spoil("vae_2d", lambda t: t.update(codes=t["codes"][1:])), r"_2d.*\[59, 2\]"),
        (spoil("vae", lambda t: t.update(labels=t["labels"].long())), r"_vae.*torch\.int64"),
        (spoil("gan", lambda t: t.update({"0.bias": t["0.bias"].half()})), r"_gan.*float16"),
        (spoil("gan", lambda t: t["0.bias"].fill_(torch.nan)), r"_gan.*expected finite numbers"),
        (
            spoil(
                "vae", lambda t: t.update({f"3.{n}": t[f"3.{n}"][1:] for n in ("weight", "bias")})
            ),
            r"_vae.*layers that end in 784 pixels.*\[783",
        ),
        (
            lambda f: (f / "09_latent_space_vae.safetensors").rename(
                f / "09_latent_space_vae_2d.safetensors"
            ),
            r"_vae\.saf.*got no file",
        ),
    ],
)
def test_a_damaged_file_is_refused_by_name(weights, damage, message):
    damage(weights)
    with pytest.raises(ValueError, match=message) as refusal:
        explorer.page(weights)
    assert str(refusal.value).endswith(
        "run notebook 09 with its default parameters (`make refresh`) to export them again"
    )


def test_decoders_of_other_latent_spaces_are_refused(weights):
    six, two = (weights / f"09_latent_space_{name}.safetensors" for name in ("vae", "vae_2d"))
    two.write_bytes(six.read_bytes())
    with pytest.raises(ValueError, match=r"vae_2d with 2, got \{'vae': 6, 'vae_2d': 6") as refusal:
        explorer.page(weights)
    assert str(weights) in str(refusal.value)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["explorer.py", *map(str, arguments)])
    return explorer.main()


def test_the_command_writes_the_page(weights, monkeypatch, capsys):
    output = weights / "new" / "explorer.html"
    assert run(monkeypatch, "--weights", weights, "--output", output) == 0
    assert capsys.readouterr().out == f"built {output}\n"
    assert output.read_text(encoding="utf-8") == explorer.page(weights)


def test_the_command_says_in_one_line_why_not_and_leaves_the_old_page(weights, monkeypatch, capsys):
    cut(weights)
    output = weights / "explorer.html"
    output.write_text("the old page", encoding="utf-8")
    assert run(monkeypatch, "--weights", weights, "--output", output) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"explorer not built: .*_vae\.safetensors: expected .*\n", said)
    assert output.read_text(encoding="utf-8") == "the old page"
