"""The report and the README take their numbers from results, and refuse to do without."""

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from vae_helpers import PROJECT


def load(name):
    """A module of report/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "report" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


build, readme = load("build"), load("readme")


def test_the_listing_is_the_module_s_code_without_its_docstrings():
    path = PROJECT / "vae_helpers" / "models.py"
    listing = build.without_docstrings(path, "VAE", "hidden_layers")
    assert '"""' not in listing

    def bare(source):
        nodes = {node.name: node for node in ast.parse(source).body if hasattr(node, "name")}
        for node in nodes.values():
            for inner in ast.walk(node):
                if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner):
                    inner.body = inner.body[1:]
        return {name: ast.dump(nodes[name]) for name in ("VAE", "hidden_layers")}

    assert bare(listing) == bare(path.read_text())


def test_the_committed_report_is_what_the_committed_results_build(tmp_path):
    output = tmp_path / "report.pdf"
    build.build(PROJECT / "report", output)
    assert output.read_bytes() == (PROJECT / "report" / "report.pdf").read_bytes()


def test_a_report_without_one_of_its_numbers_is_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    for name in ("report", "vae_helpers"):
        copy(PROJECT / name, tmp_path / name)
    path = tmp_path / "report" / "results" / "04_training.json"
    results = json.loads(path.read_text())
    del results["values"]["test_loss_last"]
    path.write_text(json.dumps(results))
    with pytest.raises(RuntimeError, match="test_loss_last"):
        build.build(tmp_path / "report", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def copy(source: Path, target: Path):
    for path in source.rglob("*"):
        if path.is_file() and path.suffix in {".json", ".png", ".toml", ".typ", ".bib", ".py"}:
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a folder of the project with results/"):
        build.build(tmp_path, tmp_path / "report.pdf")


def test_numbers_in_the_readme_are_those_of_the_committed_results():
    text = (PROJECT / "README.md").read_text()
    assert len(readme.PLACE.findall(text)) >= 3
    assert readme.fill(text, PROJECT / "report" / "results") == text


def test_filling_prints_a_number_as_its_place_asks(tmp_path):
    (tmp_path / "01_toy.json").write_text('{"values": {"loss": {"value": 99.2536}}}')
    text = "It is <!--01_toy.loss .1f-->?<!---->."
    assert readme.fill(text, tmp_path) == "It is <!--01_toy.loss .1f-->99.3<!---->."
    with pytest.raises(KeyError):
        readme.fill("<!--01_toy.lost .1f-->?<!---->", tmp_path)
