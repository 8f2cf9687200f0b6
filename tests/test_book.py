"""The pages of the book, before Sphinx sees them. tests/browser holds what a browser shows."""

import base64
import json
import re
import shutil

import pytest
from published import captions, load, notebooks

from vae_helpers import PROJECT
from vae_helpers.studies import origins

build = load("build")
bundle = load("bundle")
explorer = load("explorer")
lab = load("lab")
marks = load("marks")
pages = load("pages")
for name in ("lessons", "plan", "markup", "assignment", "guide", "instructor"):
    load(name)
book = load("book")

RESULTS = PROJECT / "report" / "results"
KNOWN = {"06": "06_ablation.ipynb", "05": "05_training.ipynb", "4.1": "#figure-4-1"}


def picture(alt, caption, content=b"png"):
    """The two outputs that `results.show` leaves behind."""
    png = base64.b64encode(content).decode()
    return [
        {
            "data": {"image/png": png, "text/plain": "<curve>"},
            "metadata": {"image/png": {"alt": alt}},
        },
        {"data": {"text/markdown": [f"*{caption}*"], "text/plain": caption}, "metadata": {}},
    ]


def test_two_figures_of_one_cell_keep_their_own_words_and_pictures(tmp_path):
    printed = {"name": "stdout", "text": "1\n"}
    outputs = [
        *picture('the "first": a', "Figure 4.1. One.", b"one"),
        printed,
        *picture("the second", "Figure 4.2. Two.", b"two"),
    ]
    first, between, second = pages.with_figures(outputs, "03_name", tmp_path)[0]
    assert between is printed
    assert r':alt: "the \"first\": a"' in first["data"]["text/markdown"]
    assert ':alt: "the second"' in second["data"]["text/markdown"]
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == [b"one", b"two"]
    for figure, number in ((first, "4-1"), (second, "4-2")):
        assert f":name: figure-{number}\n" in figure["data"]["text/markdown"]
        assert f"figures/figure-{number}.png" in figure["data"]["text/markdown"]


@pytest.mark.parametrize(
    "outputs",
    [
        picture("", "Figure 4.1. One."),
        picture("words", "no number"),
        picture("words", "Figure 4.1. One.")[:1],
    ],
)
def test_a_picture_without_its_words_is_refused(outputs):
    with pytest.raises(ValueError, match="an alt text, and below it a caption"):
        list(pages.pictures(outputs))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Notebook 06 says", "[Notebook 06](06_ablation.ipynb) says"),
        ("in notebook\n05's run", "in [notebook\n05](05_training.ipynb)'s run"),
        ("notebooks 06 and 05", "notebooks [06](06_ablation.ipynb) and [05](05_training.ipynb)"),
        ("(appendix 06)", "([appendix 06](06_ablation.ipynb))"),
        ("see Figure 4.1.", "see [Figure 4.1](#figure-4-1)."),
        ("notebook 12, Figure 5.8 of a book", "notebook 12, Figure 5.8 of a book"),
        ("notebook 0612", "notebook 0612"),
        ("`notebook 06`", "`notebook 06`"),
        ("```\nnotebook 06\n```", "```\nnotebook 06\n```"),
        ("$notebook 06$", "$notebook 06$"),
        ("[notebook 06](x.md)", "[notebook 06](x.md)"),
        ("# The ruler of notebook 06", "# The ruler of notebook 06"),
        ("<summary>notebook 06</summary>", "<summary>notebook 06</summary>"),
        ("<!--05_training.x .1f-->3<!---->", "<!--05_training.x .1f-->3<!---->"),
    ],
)
def test_a_mention_in_prose_becomes_a_link_if_its_target_is_known(text, expected):
    assert pages.linked(text, KNOWN) == expected


def test_the_targets_are_the_notebooks_and_their_figures():
    cells = [{"outputs": picture("words", "Figure 4.1. One.")}, {"source": "prose"}]
    found = pages.targets({"05_training": {"cells": cells}})
    assert found == {"05": "05_training.ipynb", "4.1": "#figure-4-1"}


def test_a_picture_of_plain_matplotlib_keeps_its_place_and_the_alt_text_of_its_cell(tmp_path):
    drawn = {"data": {"image/png": "iVBOR"}, "metadata": {}}
    about = {"mystnb": {"image": {"alt": "Three grids of digits."}}}
    cell = {"cell_type": "code", "id": "page-1", "source": "show()"}
    cell |= {"outputs": [drawn], "metadata": about}
    page = pages.notebook_page(
        {"cells": [cell], "metadata": {}}, "00_page", KNOWN, RESULTS, tmp_path
    )
    anchor, shown = page["cells"]
    assert '<div id="cell-page-1"></div>' in anchor["source"]
    assert shown["outputs"] == [drawn]
    assert shown["metadata"] == about
    assert pages.targets({"00_page": {"cells": [cell]}}) == {"00": "00_page.ipynb"}


def test_a_page_of_exercises_has_each_solution_folded_behind_its_check():
    def code(name, source):
        return {"cell_type": "code", "id": name, "source": [source], "metadata": {}}

    solution = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
    cells = [code("f", solution), code("f-check", 'check("f", f)'), code("g", "x = 1")]
    page = pages.exercise_page({"cells": cells, "metadata": {}})
    assert [it["id"] for it in page["cells"]] == ["f", "f-check", "f-whole", "g"]
    stub, _, whole, _ = page["cells"]
    assert "return 1" not in "".join(stub["source"])
    assert "".join(whole["source"]) == "def f():\n    return 1\n"
    assert whole["metadata"] == {"tags": ["hide-input"]}


def test_a_notebook_does_not_link_to_itself(tmp_path):
    cells = [{"cell_type": "markdown", "source": ["notebook 06\n", "and notebook 05"]}]
    page = pages.notebook_page(
        {"cells": cells, "metadata": {}}, "05_training", KNOWN, RESULTS, tmp_path
    )
    assert page["cells"][0]["source"] == "[notebook 06](06_ablation.ipynb)\nand notebook 05"


def test_a_link_to_a_file_of_the_repository_becomes_a_download(tmp_path):
    text = "[`models`](../vae_helpers/models.py)"
    changed = pages.with_files(text, "notebooks/05_training.ipynb", tmp_path)
    assert changed == "[`models`](/files/vae_helpers/models.py)"
    copy = tmp_path / "files" / "vae_helpers" / "models.py"
    assert copy.read_bytes() == (PROJECT / "vae_helpers" / "models.py").read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[studies](../report/results/studies)", "studies"),
        ("[the explorer](explorer.html)", '<a href="../explorer.html">the explorer</a>'),
        ("[it](lab.html#beta=0&step=9)", '<a href="../lab.html#beta=0&amp;step=9">it</a>'),
        ("[06](06_ablation.ipynb#samples)", "[06](06_ablation.ipynb#samples)"),
        ("[start](../README.md)", "[start](/index.md)"),
        ("[map](../MANUAL.md#the-map)", "[map](/MANUAL.md#the-map)"),
        ("[kl](../report/book/glossary.md)", "[kl](/glossary.md)"),
        ("[data](../data/README.md)", "{download}`data </files/data/README.md>`"),
        ("[gone](../gone.py)", "[gone](../gone.py)"),
        ("[page](https://example.org/a)", "[page](https://example.org/a)"),
        ("![words](../report/report.pdf)", "![words](../report/report.pdf)"),
    ],
)
def test_other_links_lead_to_pages_or_are_left_for_sphinx_to_judge(text, expected, tmp_path):
    assert pages.with_files(text, "notebooks/05_training.ipynb", tmp_path) == expected


REPORT = """<html><head><style>p {}</style></head><body><h1>Title</h1><p>Summary</p>
<h2 id="model">1 The &amp; <em>model</em></h2><p>See <a href="#fig">Figure 1</a>.</p>
<h3>1.1 Sub</h3><table><tr><td>1</td></tr></table><h2>Empty</h2>
<section role="doc-bibliography"><h2>References</h2><ul><li id="loc-1">B</li></ul></section>
<pre><code data-lang="python"><span style="color: #d73948">def</span> f(): ...</code></pre>
</body></html>"""


def test_the_headings_of_the_report_become_the_book_s_and_keep_their_anchors():
    page = pages.report_page(REPORT, RESULTS)
    headings = re.findall(r"^#+ .*", page, re.MULTILINE)
    assert headings == [
        "# The report", "## 1 The & model", "### 1.1 Sub", "## Empty", "## References",
    ]  # fmt: skip
    assert '<span id="model"></span><p>See <a href="#fig">' in page
    assert '<li id="loc-1">' in page
    assert "<h" not in page
    assert "section" not in page


def test_the_report_s_listings_get_the_book_s_colours_and_its_tables_a_box_to_scroll_in():
    page = pages.report_page(REPORT, RESULTS)
    assert "color: #d73948" not in page
    assert '<span class="k">def</span>' in page
    assert '<div class="table-wrapper"><table class="docutils"><tr><td>1</td>' in page


def test_no_block_of_the_report_is_empty():
    assert "html\n\n`" not in pages.report_page(REPORT, RESULTS)


def test_a_folder_that_is_no_book_is_not_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("text", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a new folder or an earlier book"):
        book.make(PROJECT / "report", PROJECT / "notebooks", tmp_path)
    assert (tmp_path / "precious.txt").is_file()


@pytest.mark.filterwarnings("ignore::sphinx.deprecation.RemovedInSphinx11Warning")  # myst-parser's
def test_a_page_with_a_dead_link_is_not_built(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(PROJECT / "report" / "book", source)
    (source / "extra").mkdir()
    for page in ("glossary.md", "symptoms.md", "template.md"):  # which name files that are not here
        (source / page).unlink()
    (source / "index.md").write_text("# Title\n\n[words](gone.md)\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"^Sphinx: index\.md:3: .*'gone\.md'[^;]*$"):
        book.typeset(source, tmp_path / "site")


def terms():
    """Entries of the glossary, each with the words that it is listed under."""
    text = (PROJECT / "report" / "book" / "glossary.md").read_text(encoding="utf-8")
    entries = text.partition(":sorted:")[2].strip().removesuffix("```").strip().split("\n\n")
    return [[line for line in it.splitlines() if not line.startswith(" ")] for it in entries]


def test_every_term_of_the_glossary_is_a_word_of_the_course():
    texts = [(PROJECT / "report" / "report.typ").read_text(encoding="utf-8")]
    texts += [text for _, _, text in captions(PROJECT)]
    for _, notebook in notebooks(PROJECT):
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            texts += [source] if cell["cell_type"] == "markdown" else []
            texts += [json.dumps(output.get("text", "")) for output in cell.get("outputs", [])]
    course = re.sub(r"[\s*]+", " ", " ".join(texts)).lower()
    unused = [words for words in terms() if not any(word.lower() in course for word in words)]
    assert len(terms()) >= 40
    assert unused == []


def test_every_entry_of_the_glossary_leads_to_where_it_is_introduced():
    text = (PROJECT / "report" / "book" / "glossary.md").read_text(encoding="utf-8")
    entries = text.partition(":sorted:")[2].strip().split("\n\n")
    assert [entry for entry in entries if "](notebooks/" not in entry] == []


# --- where numbers come from


def test_a_place_becomes_a_button_and_its_entry_a_box_with_a_link_to_the_cell():
    text = "a loss of <!--05_training.train_loss_last .1f-->99.4<!---->, then"
    marked, groups = marks.with_buttons(text, RESULTS)
    assert groups == [("05_training.train_loss_last",)]
    assert re.sub("<[^>]+>", "", marked) == "a loss of 99.4, then"
    (target,) = re.findall('popovertarget="([^"]+)"', marked)
    box = marks.boxes(groups, "report.md", RESULTS)
    assert f'<div popover class="origin-box" id="{target}"' in box
    cell = origins.of("05_training.train_loss_last").place.cell
    assert f'href="notebooks/05_training.html#cell-{cell}"' in box
    assert "python -m vae_helpers run 05_training" in box


def test_a_quotient_names_both_of_its_numbers_in_one_box():
    first, second = "05_training.entropy_last", "05_training.entropy_first"
    text = f"to <!--{first} / {second} .0%-->63 %<!---->"
    _, groups = marks.with_buttons(text, RESULTS)
    assert groups == [(first, second)]
    box = marks.boxes(groups, "notebooks/05_training.ipynb", RESULTS)
    assert box.count("<dl>") + box.count('<dl class="stale">') == 2
    assert 'href="../notebooks/05_training.html#' in box


def test_a_box_stands_once_on_a_page_and_its_id_holds_no_space():
    groups = [("15_gan.in company",), ("15_gan.in company",)]
    (found,) = re.findall(' id="([^"]*)"', marks.boxes(groups, "report.md", RESULTS))
    assert f'popovertarget="{found}"' in marks.button(groups[0], "1.2")
    assert " " not in found


def test_a_stale_number_says_so_in_its_box(tmp_path):
    results = shutil.copytree(RESULTS, tmp_path / "results")
    path = results / "05_training.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"code": "0123456789abcdef"}
    path.write_text(json.dumps(content), encoding="utf-8")
    box = marks.boxes([("05_training.train_loss_last",)], "report.md", results)
    assert '<dl class="stale">' in box
    assert "stale: changed since" in box
