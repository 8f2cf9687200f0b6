"""The report takes its numbers from results, and refuses to do without."""

import ast
import html
import json
import re
from pathlib import Path

import pytest
from published import load

from vae_helpers import PROJECT

build = load("build")


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

    assert bare(listing) == bare(path.read_text(encoding="utf-8"))


def test_the_committed_report_is_what_the_committed_results_build(tmp_path):
    output = tmp_path / "report.pdf"
    build.build(PROJECT / "report", output)
    same = output.read_bytes() == (PROJECT / "report" / "report.pdf").read_bytes()
    assert same, "report/report.pdf is older than its numbers, figures or text: make report"


def test_the_report_is_a_paper_of_eight_to_ten_pages():
    pages = (PROJECT / "report" / "report.pdf").read_bytes()
    assert 8 <= len(re.findall(rb"/Type ?/Page\b", pages)) <= 10


def test_the_report_as_html_says_what_the_pdf_says_and_needs_nothing_from_elsewhere():
    page = build.to_html(PROJECT / "report")
    results = json.loads(
        (PROJECT / "report" / "results" / "05_training.json").read_text(encoding="utf-8")
    )
    assert f"{results['values']['train_loss_last']['value']:.2f}" in page
    assert page.count("<figure") == page.count("<figcaption") > 10
    assert '<math display="block">' in page
    resources = re.findall(r"""(?:src|srcset|data)=["']([^"']*)""", page)
    assert resources
    assert all((PROJECT / "report" / resource).is_file() for resource in resources)
    assert not re.search(r"<(?:script|link|iframe)|@import|url\(", page)


def test_every_picture_of_the_report_as_html_has_its_alt_text():
    pictures = re.findall(r"<img[^>]*>", build.to_html(PROJECT / "report"))
    alts = {
        figure["alt"]
        for path in (PROJECT / "report" / "results").glob("*.json")
        for figure in json.loads(path.read_text(encoding="utf-8"))["figures"].values()
    }
    described = [html.unescape(re.search('alt="([^"]*)"', picture)[1]) for picture in pictures]
    assert len(described) >= 6
    assert set(described) <= alts


def test_what_is_not_an_image_of_digits_is_a_vector_graphic_in_the_report():
    shown = re.findall(r'src="figures/([^"]+)"', build.to_html(PROJECT / "report"))
    of_digits = {name for name in shown if re.search(r"_(?:plain_)?samples\.png$|mixtures", name)}
    assert len(of_digits) >= 5
    assert [name for name in shown if not name.endswith(".svg") and name not in of_digits] == []


def test_a_warning_of_the_typesetter_stops_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    copy_project(tmp_path)
    path = tmp_path / "report" / "report.typ"
    path.write_text(
        path.read_text(encoding="utf-8") + '\n#text(font: "A font that nobody has")[x]\n',
        encoding="utf-8",
    )
    with pytest.raises(RuntimeError, match="unknown font family"):
        build.build(tmp_path / "report", tmp_path / "report.pdf")


def test_a_report_without_one_of_its_numbers_is_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    copy_project(tmp_path)
    path = tmp_path / "report" / "results" / "05_training.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    del results["values"]["test_loss_last"]
    path.write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(RuntimeError, match="test_loss_last"):
        build.build(tmp_path / "report", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def copy_project(target: Path):
    """What the report is made of, into a folder of its own."""
    kinds = {".json", ".csv", ".png", ".svg", ".toml", ".typ", ".bib", ".py"}
    folders = (PROJECT / "report", PROJECT / "vae_helpers")
    paths = [it for folder in folders for it in folder.rglob("*") if it.suffix in kinds]
    for path in (*paths, PROJECT / "CITATION.cff", PROJECT / "pyproject.toml"):
        copy = target / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a folder of the project with results/"):
        build.build(tmp_path, tmp_path / "report.pdf")


def test_a_digit_changed_in_the_report_s_text_changes_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    copy_project(tmp_path)
    path = tmp_path / "report" / "report.typ"
    assert "a training loss of 183" in path.read_text(encoding="utf-8")
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "a training loss of 183", "a training loss of 184"
        ),
        encoding="utf-8",
    )
    build.build(tmp_path / "report", tmp_path / "report.pdf")
    committed = (PROJECT / "report" / "report.pdf").read_bytes()
    assert (tmp_path / "report.pdf").read_bytes() != committed
