"""The report takes its numbers from results, and refuses to do without."""

import ast
import html
import json
import re
import tomllib
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from matplotlib.image import imread
from published import load, results, with_pinned_typst

from vae_helpers import PROJECT
from vae_helpers.studies import origins

build = load("build")
NUMBER = r"\d+(?:\.\d+)?"


@cache
def page() -> str:
    """The paper as HTML."""
    return build.to_html(PROJECT / "report")


@cache
def unmarked() -> str:
    """What the paper says outside of marked numbers, mathematics, code and references.

    A table whose caption is marked counts as marked.
    """
    body = re.sub(r"<figure.*?</figure>", caption_if_marked, page(), flags=re.DOTALL)
    left_out = [
        *(rf"<{it}\b.*?</{it}>" for it in ("button", "math", "pre", "code", "a", r"h\d")),
        r"<section[^>]*doc-bibliography.*?</section>",
    ]
    return words(re.sub("|".join(left_out), " ", body, flags=re.DOTALL))


def caption_if_marked(figure: re.Match[str]) -> str:
    caption = figure[0].partition("<figcaption")[2].partition("</figcaption>")[0]
    return caption if "<button" in caption else figure[0]


@cache
def words(source: str) -> str:
    """A piece of HTML as a reader sees it, with one space between words."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", source))).strip()


@cache
def value(key: str):
    """A value of the results: "05_training.train_loss_last", and on into a table."""
    notebook, name, *path = key.split("/")
    here = results(PROJECT, notebook)["values"][name]["value"]
    for part in path:
        here = here[part]
    return here


@cache
def tolerance(name: str) -> dict[str, float]:
    path = PROJECT / "report" / "tolerances.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["05_training"][name]["full"]


def interval(pair) -> list[str]:
    """A mean and its half-width as they are to be printed, by decimal arithmetic."""
    mean, half = (Decimal(repr(it)) for it in pair)
    first_digit_is_one = half.as_tuple().digits[0] == 1
    step = Decimal(1).scaleb(half.adjusted() - first_digit_is_one)
    return [str(it.quantize(step, ROUND_HALF_UP)) for it in (mean, half)]


def of_tolerance(name: str) -> list[str]:
    return interval((tolerance(name)["mean"], tolerance(name)["sd"]))


def fcd(kind: str) -> list[float]:
    return value(f"16_vae_vs_gan/distance/{kind}/FCD")


def counts(key: str) -> list[int]:
    """For the first of a pair, for the second, undecided."""
    return [int(it) for it in re.findall(r"\d+", value(f"16_vae_vs_gan/{key}"))]


class Claim(NamedTuple):
    """A sentence of the abstract: how it begins, its numbers, where they stand, if it is true."""

    begins: str
    numbers: Callable[[], list[str]]
    place: str
    holds: Callable[[], bool]


CLAIMS = (
    Claim(
        "An unpublished student report",
        lambda: ["784", "400", "200", "20", "200", "400", "784", "183", "99"],  # the study's
        "numbers",
        lambda: value("04_network/parameters") == 801_224,
    ),
    Claim(
        "Over 5 seeds",
        lambda: [
            str(tolerance("train_loss_last")["n"]),
            *of_tolerance("train_loss_first"),
            *of_tolerance("train_loss_last"),
        ],
        "numbers",
        lambda: all(
            tolerance(name)["low"] <= theirs <= tolerance(name)["high"]
            for name, theirs in (("train_loss_first", 183), ("train_loss_last", 99))
        ),
    ),
    Claim(
        "Of the published numbers",
        lambda: re.findall(r"\d+", value("13_published_numbers/rows_same")),
        "board",
        lambda: (
            value("13_published_numbers/rows_same") == "6 of 6 agree"
            and len({it.split(",")[0] for it in value("13_published_numbers/same")}) == 2
        ),
    ),
    Claim(
        "The study's first attempt",
        list,
        "control",
        lambda: value("07_distance/fcd_bce_only") > 10 * value("07_distance/fcd_bce_kl"),
    ),
    Claim(
        "The same attempt, sampled from a mixture",
        lambda: [
            *interval(fcd("BCE only, mixture")),
            *interval(fcd("VAE, mixture")),
            *interval(fcd("VAE")),
            "95",
        ],
        "versus",
        lambda: fcd("BCE only, mixture")[0] < fcd("VAE, mixture")[0] < fcd("VAE")[0] / 4,
    ),
    Claim(
        "For a comparison with generative",
        lambda: [str(value(f"12_measures/{it}")) for it in ("measures", "number_passed")],
        "damages",
        lambda: value("12_measures/as_listed_in_the_package"),
    ),
    Claim(
        "A GAN of the study's kind",
        lambda: re.findall(r"\d+", value("16_vae_vs_gan/gan_plain_failed_runs")),
        "versus",
        lambda: value("16_vae_vs_gan/gan_plain_failed_runs") == "3 of 3",
    ),
    Claim(
        "With settings chosen on held-out images",
        lambda: [*interval(fcd("GAN")), *interval(fcd("WGAN-GP")), *interval(fcd("VAE, tuned"))],
        "versus",
        lambda: all(
            value(f"16_vae_vs_gan/{kind}_has_the_settings_that_were_best")
            for kind in ("vae", "gan", "wgan")
        ),
    ),
    Claim(
        "Sampled from its mixture",
        lambda: [
            str(counts(pair)[side])
            for pair, side in (
                ("vae_mixture_or_gan", 0),
                ("bce_only_mixture_or_gan", 0),
                ("vae_or_gan", 0),
                ("vae_or_gan", 1),
            )
        ],
        "verdicts",
        lambda: (
            counts("vae_mixture_or_gan")
            == counts("bce_only_mixture_or_gan")
            == [value("12_measures/number_passed"), 0, 0]
        ),
    ),
    Claim(
        "All of this is for one data set",
        list,
        "limits",
        lambda: value("16_vae_vs_gan/vae_parameters") == 801_224,
    ),
)


def sentences() -> list[str]:
    """Of the abstract, as a reader sees them."""
    found = re.search(r"<strong>Abstract\.</strong>(.*?)</p>", page(), re.DOTALL)
    text = words(found[1]).replace("’", "'")
    return re.split(r"(?<=[.)]) (?=[A-Z])", text)


def test_the_abstract_says_what_has_its_claim_here_and_nothing_else():
    assert len(sentences()) == len(CLAIMS)
    for sentence, claim in zip(sentences(), CLAIMS, strict=True):
        assert sentence.startswith(claim.begins)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.begins)
def test_a_sentence_of_the_abstract_has_the_numbers_of_its_keys(claim):
    (sentence,) = [it for it in sentences() if it.startswith(claim.begins)]
    assert re.findall(NUMBER, sentence) == claim.numbers()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.begins)
def test_a_sentence_of_the_abstract_is_true_and_has_its_table(claim):
    assert claim.holds()
    assert re.search(rf'<(?:figure|h2) id="{claim.place}"', page())


def test_the_table_of_a_claim_shows_its_intervals():
    shown = 0
    for claim in CLAIMS:
        figure = re.search(rf'<figure id="{claim.place}">(.*?)</figure>', page(), re.DOTALL)
        for mean, half in re.findall(rf"({NUMBER})\s±\s({NUMBER})", " ".join(sentences())):
            if figure and mean in claim.numbers() and half in claim.numbers():
                assert f"{mean} ± {half}" in words(figure[1]).replace("\xa0", " ")
                shown += 1
    assert shown == 8


def test_the_numbers_of_an_interval_have_the_digits_that_it_deserves():
    found = re.findall(rf"(-?{NUMBER})\s±\s({NUMBER})", words(page()).replace("−", "-"))
    assert len(found) > 60
    for mean, half in found:
        assert Decimal(mean).as_tuple().exponent == Decimal(half).as_tuple().exponent
        digits = half.replace(".", "").lstrip("0")
        assert re.fullmatch(r"[2-9]|1\d|[1-9]0+", digits), f"{mean} ± {half}"


def test_three_values_are_three_values():
    for name in ("by-beta", "remedies"):
        table = re.search(rf'<figure id="{name}">(.*?)</figure>', page(), re.DOTALL)[1]
        assert "±" not in table
        cells = [words(it).split() for it in re.findall(r"<td>(.*?)</td>", table, re.DOTALL)]
        assert sum(len(it) == 3 and all(map(is_number, it)) for it in cells) >= 18


def is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[\d.]+", text))


def test_the_equations_are_numbered_in_both_forms_and_none_is_left_out():
    numbers = re.findall(r"</math>\s*<div>\((\d+)\)</div>", page())
    assert numbers == [str(i + 1) for i in range(len(numbers))]
    defined = {"elbo", "bce", "kl", "loss", "iwae", "mixture", "discriminator", "generator"}
    defined |= {"critic", "wgenerator", "fcd-definition", "precision", "coverage", "two-sample"}
    defined |= {"entropy", "parzen", "interval"}
    assert len(numbers) == len(defined)
    source = (PROJECT / "report" / "report.typ").read_text(encoding="utf-8")
    assert {it for it in defined if f"$ <{it}>" not in source} == set()


def test_the_by_line_comes_from_committed_files():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dates = [
        json.loads(path.read_text(encoding="utf-8"))["machine"]["date"]
        for path in (PROJECT / "report" / "results").glob("*.json")
    ]
    assert citation["version"] == project["version"]
    line = words(page().partition("Abstract.")[0])
    assert all(author["name"] in line for author in citation["authors"])
    assert f"version {project['version']}, results of {max(dates)}" in line
    assert "commit" not in line


def test_the_date_of_the_paper_is_that_of_its_latest_result(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COURSE", tmp_path)
    copy_project(tmp_path)
    path = tmp_path / "report" / "results" / "09_latent_space.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    results["machine"]["date"] = "2031-01-02"
    path.write_text(json.dumps(results), encoding="utf-8")
    assert "results of 2031-01-02" in words(build.to_html(tmp_path / "report"))


@with_pinned_typst
def test_a_commit_is_printed_where_it_is_given_and_changes_nothing_else(tmp_path):
    build.build(PROJECT / "report", tmp_path / "with.pdf", commit="0123abc")
    build.build(PROJECT / "report", tmp_path / "without.pdf")
    committed = (PROJECT / "report" / "report.pdf").read_bytes()
    assert (tmp_path / "without.pdf").read_bytes() == committed
    assert (tmp_path / "with.pdf").read_bytes() != committed


def test_a_changed_result_changes_the_digest_of_the_paper(tmp_path):
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "a.json"
    path.write_text("1", encoding="utf-8")
    first = build.digest(tmp_path)
    path.write_text("2", encoding="utf-8")
    second = build.digest(tmp_path)
    path.rename(tmp_path / "results" / "b.json")
    assert len({first, second, build.digest(tmp_path)}) == 3
    assert build.digest(PROJECT / "report") in page()


def test_every_reference_is_cited_and_says_where_it_was_opened():
    folder = PROJECT / "report"
    listed = re.findall(r"^@\w+\{(\w+),", (folder / "references.bib").read_text("utf-8"), re.M)
    checked = re.findall(
        r"^\| (\w+\d\w*) \| \S", (folder / "references-checked.md").read_text("utf-8"), re.M
    )
    cited = set(re.findall(r"@(\w+)", (folder / "report.typ").read_text("utf-8")))
    assert len(listed) >= 25
    assert sorted(listed) == sorted(checked)
    assert set(listed) - cited == set()


def sizes(name):
    """What numbers.typ says of where a picture is cut, in pixels."""
    numbers = (PROJECT / "report" / "numbers.typ").read_text(encoding="utf-8")
    found = re.search(rf"#let {name} = \((.*), all: \((\d+), (\d+)\)\)", numbers)
    at = {it: float(pixels) for it, pixels in re.findall(r"(\w+): ([\d.]+)", found[1])}
    return at | {"all": (int(found[3]), int(found[2]))}


def shades(path):
    """A picture as `[height, width]`; 1 is white."""
    return imread(path)[..., :3].mean(axis=2)


def test_a_panel_of_the_samples_is_cut_between_images():
    source = (PROJECT / "report" / "report.typ").read_text(encoding="utf-8")
    grid = sizes("grid-pixels")
    panels = re.findall(r'panel\("(\w+)", "(\w+)", (\d), ', source)
    assert len(panels) == 2
    for notebook, name, index in panels:
        figure = results(PROJECT, notebook)["figures"][name]
        pixels = shades(PROJECT / "report" / "figures" / figure["file"])
        assert grid["all"] == pixels.shape
        left, top = int(grid["left"] + int(index) * grid["step"]), int(grid["top"])
        right, bottom = left + int(grid["width"]), top + int(grid["height"])
        for edge in (pixels[top - 1, left:right], pixels[bottom, left:right]):
            assert edge.mean() > 0.8
        for edge in (pixels[top:bottom, left - 1], pixels[top:bottom, right]):
            assert edge.mean() > 0.8


def test_a_row_of_the_gallery_is_cut_between_rows_and_right_of_the_names():
    grid = sizes("row-pixels")
    measured = PROJECT / "report" / "results" / "measured"
    pixels = shades(measured / "gallery.png")
    assert grid["all"] == pixels.shape
    entries = json.loads((measured / "gallery.json").read_text(encoding="utf-8"))["values"]
    arms = [it for it in entries if it not in ("seed", "images_per_arm", "date")]
    images = pixels[:, int(grid["left"]) :]
    assert images.mean() < 0.4  # black, for the most part
    for i in range(len(arms) + 1):  # and the test images
        top = grid["top"] + i * grid["step"]
        for gap in (top - 2, top + grid["height"] + 1):
            if 0 <= gap < len(images):
                assert images[round(gap)].mean() > 0.9, i
    assert round(top + grid["height"]) in range(len(images) - 4, len(images) + 2)


TYPED = {
    "the study's two numbers and its network": "183 99 784 400 200 20",
    "per cent of an interval": "95",
    "pixels, their range, and where they are rounded": "0 1 2",
    "levels of the FCD that were declared before": "100 50",
    "images, draws, features and normals of the protocol": "10,000 1,000 5,000 20,000 64 30",
    "notebooks that are named, and a checksum": "12 13 256",
}
"""Integers that the paper types, by what they are; a run produced none of them."""


def prose(source: str) -> str:
    """The words of a typst file: no code, no formula, no name of a reference or of a label."""
    made, stack, i = [], [], 0
    jumps = re.compile(r"\\u\{\w+\}|//[^\n]*|\$[^$]*\$|`[^`]*`|@[\w-]+|<[\w-]+>|\\.")
    call = re.compile(r"#(let|set|show|import|include)\b|#[\w.-]*|(?<=[)\]])\.[\w-]+(?=\()")
    while i < len(source):
        char = source[i]
        if not stack or stack[-1] == "[":
            if found := jumps.match(source, i):
                i = found.end()
            elif found := call.match(source, i):
                i = found.end()
                stack += ["statement"] if found[1] else []
                if not found[1] and source[i : i + 1] in {"(", "["}:
                    stack.append(source[i])
                    i += 1
            else:
                if char == "[":
                    stack.append(char)
                elif char == "]" and stack:
                    stack.pop()
                    made.append(" ")
                elif char == "(" and i and source[i - 1] in {")", "]"}:
                    stack.append(char)
                else:
                    made.append(char)
                i += 1
        elif char == '"':
            i = re.compile(r'"(?:\\.|[^"\\])*"').match(source, i).end()
        elif source.startswith("//", i):
            i = source.index("\n", i)
        else:
            if char in "([{":
                stack.append(char)
            elif char in ")]}" or (char == "\n" and stack[-1] == "statement"):
                stack.pop()
            i += 1
    return "".join(made)


def test_no_number_of_the_paper_is_typed_that_a_run_has_produced():
    folder = PROJECT / "report"
    source = "\n".join((folder / it).read_text("utf-8") for it in ("report.typ", "appendix.typ"))
    # decimals: see report/constants.toml
    text = re.sub(r"\d+\.\d+", "", prose(source))
    typed = {it.rstrip(",") for it in re.findall(r"(?<!\w)\d[\d,]*(?!\w)", text)}
    assert typed == set(" ".join(TYPED.values()).split())


def test_prose_is_what_a_reader_reads():
    source = """#let a = (1, [2])
#set x(
  3,
)
Four 4 are $5$ of #f("6", 7)[eight 8 (9)] and #value("x").at(10), @fig11 <t12> `13` // 14
#lines(15, [16], caption: [17 of #g(18).])
"""
    assert re.findall(r"\d+", prose(source)) == ["2", "4", "8", "9", "16", "17"]


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


@with_pinned_typst
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
    files = [it for it in resources if not it.startswith("data:image/png;base64,")]
    assert len(files) == len(resources) - 1  # the gallery is inside of the page
    assert all((PROJECT / "report" / file).is_file() for file in files)
    assert not re.search(r"<(?:script|link|iframe)|@import|url\(", page)


def test_every_picture_of_the_report_as_html_has_its_alt_text():
    pictures = re.findall(r"<img[^>]*>", build.to_html(PROJECT / "report"))
    alts = {
        figure["alt"]
        for path in (PROJECT / "report" / "results").glob("*.json")
        for figure in json.loads(path.read_text(encoding="utf-8"))["figures"].values()
    }
    described = [html.unescape(re.search('alt="([^"]*)"', picture)[1]) for picture in pictures]
    source = (PROJECT / "report" / "report.typ").read_text(encoding="utf-8")
    assert len(described) == 5
    assert set(described) <= alts | {re.search('#let gallery-alt = "(.*)"', source)[1]}


def test_what_is_not_an_image_of_digits_is_a_vector_graphic_in_the_report():
    shown = re.findall(r'src="figures/([^"]+)"', build.to_html(PROJECT / "report"))
    of_digits = {name for name in shown if re.search(r"_(?:plain_)?samples\.png$|mixtures", name)}
    assert of_digits == {"05_training_samples.png"}
    assert [name for name in shown if not name.endswith(".svg") and name not in of_digits] == []


def test_a_warning_of_the_typesetter_stops_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COURSE", tmp_path)
    copy_project(tmp_path)
    path = tmp_path / "report" / "report.typ"
    path.write_text(
        path.read_text(encoding="utf-8") + '\n#text(font: "A font that nobody has")[x]\n',
        encoding="utf-8",
    )
    with pytest.raises(RuntimeError, match="unknown font family"):
        build.build(tmp_path / "report", tmp_path / "report.pdf")


def test_a_report_without_one_of_its_numbers_is_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COURSE", tmp_path)
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
    monkeypatch.setattr(build, "COURSE", tmp_path)
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


# --- marks that lead to where a number comes from

# Dai and Wipf, stat8201-dgm
OF_OTHERS = {"16.6", "0.4", "6.8", "0.5", "12.6", "1.5", "54.5", "1.0", "101.07"}
OF_RULES = {"2.303", "99.9", "0.01"}  # the entropy of ten digits, the tolerance, a used latent
OF_SETTINGS = {"0.001", "0.002", "0.5", "0.1"}  # step sizes and beta1 of Adam, values of beta
OF_MACHINES = {"2.14", "3.11"}  # versions, with the package's "0.1" above


def test_every_number_with_decimals_is_marked_but_for_those_that_no_run_has_made():
    found = set(re.findall(r"\d[\d,]*\.\d+", unmarked()))
    assert found == OF_OTHERS | OF_RULES | OF_SETTINGS | OF_MACHINES


def test_a_marked_number_is_one_that_its_key_holds():
    marked = re.findall(r'<button[^>]*data-entry="([^"]+)">(.*?)</button>', page(), re.DOTALL)
    assert len(marked) > 300
    for key, shown in marked:
        origin = origins.of(html.unescape(key))
        assert origin.key == html.unescape(key), shown
    printed = {key: words(shown) for key, shown in marked}
    assert printed["04_network.parameters"] == f"{value('04_network/parameters'):,}"
