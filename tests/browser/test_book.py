"""Every page of the book, as a reader's browser shows it.

A check takes a visit and returns what is wrong, a line for each finding. At the end of this file
each of them is shown pages on which something was broken on purpose.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from html import unescape
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from screen import resize

from vae_helpers import PROJECT

BOOK = PROJECT / "build" / "book"
PAGES = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PHONE = {"width": 390, "height": 844}
ALT_LEAST = 40  # characters; less cannot say what a figure shows
COLOURS = ["color-contrast", "link-in-text-block"]  # rules of axe
TEX = re.compile(r"\\[()\[\]]|\$\$|\\begin\{|\\(?:frac|log|mathcal|sigma|mu)\b")
IDENTIFIED = re.compile(r"""\sid=["']([^"']+)["']""")


def problems_of(visit):
    """Errors and warnings of the console, errors of scripts, requests that failed or went out."""
    return visit.problems


def raw_formulas(visit):
    """Formulas that are not typeset: TeX that is still text, or that MathJax did not understand."""
    formulas = visit.page.eval_on_selector_all(
        ".math",
        """all => all.filter(it => !it.querySelector("mjx-container") || it.querySelector(
               "mjx-merror, [data-mjx-error]")).map(it => it.textContent)""",
    )
    native = visit.page.eval_on_selector_all(
        "article math:not(mjx-container math)",
        """all => all.filter(it => !it.getBoundingClientRect().width).map(it => it.textContent)""",
    )
    prose = visit.page.evaluate(
        """() => {
             const copy = document.body.cloneNode(true);
             copy.querySelectorAll("pre, code, script, style, mjx-container").forEach(
               it => it.remove());
             return copy.textContent;
           }"""
    )
    return (
        formulas
        + native
        + [prose[max(0, m.start() - 30) : m.end() + 30] for m in TEX.finditer(prose)]
    )


def wordless_images(visit):
    """Images that do not load, and those whose alternative text cannot say what they show."""
    images = visit.page.eval_on_selector_all(
        "img", "all => all.map(it => [it.src, it.alt, it.complete && it.naturalWidth])"
    )
    return [
        f"{src}: {alt!r}, {width} pixels wide"
        for src, alt, width in images
        if len(alt.strip()) < ALT_LEAST or not width
    ]


WITH_SETTINGS = ("explorer.html", "lab.html")


def dead_links(visit, folder=BOOK):
    """Links to files that are not there, or to places that their page does not have."""
    here = urlsplit(visit.page.url)
    found = []
    for link in visit.page.eval_on_selector_all("a[href]", "all => all.map(it => it.href)"):
        target = urlsplit(link)
        if target.netloc != here.netloc:
            if target.scheme not in ("http", "https"):
                found.append(link)
            continue
        path = folder / unquote(target.path).removeprefix("/")
        place = unquote(target.fragment)
        if path.name in WITH_SETTINGS and "=" in place:
            place = ""  # these settings are read by the page's own test
        if not path.is_file() or (place and place not in ids_of(path)):
            found.append(link)
    return found


@cache
def ids_of(path):
    return frozenset(IDENTIFIED.findall(path.read_text(encoding="utf-8")))


def barriers(visit):
    """What axe finds to shut somebody out, seriously or altogether; but for colours."""
    return axe(visit, {"rules": {rule: {"enabled": False} for rule in COLOURS}})


def faint_colours(visit):
    """What axe finds too hard to see. This is most of its work, and depends on the theme."""
    visit.page.evaluate(MARK_ALIKE)
    return axe(visit, {"runOnly": COLOURS}, {"exclude": [["[data-alike]"]]})


MARK_ALIKE = """() => {
  const looks = new Map([[null, ""]]), seen = new Set();
  const look = (it) => {
    if (!looks.has(it)) {
      const own = getComputedStyle(it), names = [
        "color", "backgroundColor", "backgroundImage", "opacity", "fontSize", "fontWeight",
        "textShadow", "textDecorationLine", "display", "visibility", "position"];
      looks.set(it, look(it.parentElement) + "/" + names.map((name) => own[name]).join());
    }
    return looks.get(it);
  };
  const speaks = (it) => [...it.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
  for (const block of document.querySelectorAll("pre")) {
    const own = [block, ...block.querySelectorAll("*")].filter(speaks).map(look);
    block.toggleAttribute("data-alike", own.every((it) => seen.has(it)));
    own.forEach((it) => seen.add(it));
  }
}"""
"""Mark each block of code whose text looks in every place like some text in the blocks before it:
it has the same colours and sizes, and so has each element around it."""


def axe(visit, options, context=None):
    options |= {"resultTypes": ["violations"]}
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in Axe().run(visit.page, context, options).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overhang(visit):
    """A page that is wider than its window, with the elements that stick out."""
    return visit.page.evaluate(
        """() => {
             const root = document.documentElement;
             if (root.scrollWidth <= root.clientWidth) return [];
             const wide = [...document.body.querySelectorAll("*")].filter(
               it => it.getBoundingClientRect().right > root.clientWidth + 1);
             return [`${root.scrollWidth} > ${root.clientWidth}`,
                     ...wide.slice(0, 5).map(it => it.outerHTML.slice(0, 120))];
           }"""
    )


CHECKS = (
    problems_of,
    raw_formulas,
    wordless_images,
    dead_links,
    barriers,
    faint_colours,
    overhang,
)


def findings(visit, checks=CHECKS):
    """What the checks find, by their names; nothing for a good page."""
    return {check.__name__: found for check in checks if (found := check(visit))}


def test_the_book_has_its_pages():
    found = BOOK.parents[1].glob("notebooks/**/*.ipynb")
    notebooks = {
        path.relative_to(BOOK.parents[1]).with_suffix(".html").as_posix()
        for path in found
        if path.parent.name in ("notebooks", "exercises")
    }
    written = {"index", "report", "MANUAL", "CONTRIBUTING", "instructor", "glossary", "symptoms"}
    written |= {"template", "explorer", "lab", "search"}
    others = {f"{name}.html" for name in written}
    assert set(PAGES) == notebooks | others


def written_pictures(cell):
    """The words of the pictures that a text shows."""
    is_text = cell["cell_type"] == "markdown"
    return re.findall(r"!\[([^\]]*)\]\(", "".join(cell["source"])) if is_text else []


def drawn_pictures(cell):
    """The words of the figures that a cell has drawn."""
    return [
        output["metadata"].get("image/png", {}).get("alt")
        or cell["metadata"]["mystnb"]["image"]["alt"]
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_shows_every_figure_of_its_notebook_with_its_own_words(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    alts = [alt for cell in cells for alt in (*written_pictures(cell), *drawn_pictures(cell))]
    shown = (BOOK / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    assert [unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"', shown)] == alts


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_with_a_page(name, book_url, visit):
    visited = visit(f"{book_url}/{name}")
    assert findings(visited) == {}
    visited.page.emulate_media(color_scheme="dark")
    assert findings(visited, [problems_of, faint_colours]) == {}
    resize(visited.page, PHONE)
    assert findings(visited, [problems_of, barriers, overhang]) == {}


@pytest.mark.parametrize("word", ["Kullback", "roofline", "likelihood"])
def test_the_search_finds_a_page_that_has_the_word(word, book_url, visit):
    visited = visit(f"{book_url}/search.html?q={word}")
    first = visited.page.locator("ul.search a").first
    first.wait_for(timeout=10_000)
    visited.page.wait_for_load_state("networkidle")  # excerpts are read from the pages
    first.click()
    visited.page.wait_for_load_state()
    text = visited.page.locator("article").inner_text()
    assert word.lower() in text.lower()
    assert visited.problems == []


def test_the_theme_can_be_switched_by_hand_and_is_kept(book_url, visit):
    visited = visit(f"{book_url}/index.html")

    def brightness():
        colour = visited.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    assert brightness() > 700
    for _ in range(3):  # the button goes round light, dark and whatever the system has
        if visited.page.locator("body").get_attribute("data-theme") == "dark":
            break
        visited.page.locator(".theme-toggle:visible").first.click()
    assert brightness() < 150
    visited.page.goto(f"{book_url}/glossary.html")
    assert brightness() < 150


@pytest.mark.parametrize("width", [1280, 390])
def test_the_navigation_can_be_reached_by_keyboard(width, book_url, visit):
    page = visit(f"{book_url}/index.html", width=width).page
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "__navigation":
            page.keyboard.press("Space")
            page.wait_for_timeout(500)  # the drawer slides in
        if page.evaluate("() => !!document.activeElement.closest('.sidebar-tree')"):
            break
    focused = page.locator(".sidebar-tree a:focus")
    box = focused.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks/*.html")


@pytest.mark.parametrize("name", ["index.html", "notebooks/02_bound.html", "report.html"])
def test_a_page_works_when_it_is_opened_as_a_file(name, book, visit):
    visited = visit((book / name).as_uri())
    assert findings(visited, [problems_of, raw_formulas, wordless_images]) == {}


def test_the_search_works_when_it_is_opened_as_a_file(book, visit):
    visited = visit((book / "search.html").as_uri() + "?q=Kullback")
    visited.page.locator("ul.search a").first.wait_for(timeout=10_000)
    assert visited.problems == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("notebooks/05_training.html", "above-input"),  # imports
        ("notebooks/05_training.html", "below-input"),  # the output of a prediction
        ("notebooks/exercises/02_bound.html", "above-input"),  # a solution
    ],
)
def test_what_is_folded_opens(book_url, visit, path, kind):
    page = visit(f"{book_url}/{path}").page
    folded = page.locator(f"article details.{kind}").first
    content = folded.locator("pre").first
    assert content.is_hidden()
    folded.locator("summary").click()
    assert content.is_visible()


# From here on something is broken, and the checks must say so.


@pytest.fixture(scope="module")
def broken(serve, tmp_path_factory):
    """A copy of the book and its address."""
    folder = tmp_path_factory.mktemp("broken") / "book"
    shutil.copytree(BOOK, folder)
    with serve(folder) as url:
        yield folder, url


ALT = re.compile(r'alt="[^"]+"')
END = re.compile("</article>")
LONG = "x" * ALT_LEAST
CODE = re.compile(r"<pre>(?!.*<pre>)", re.DOTALL)  # the last block of code
SHORT = "notebooks/18_measured_run.html"  # the shortest page that has figures and formulas


@pytest.mark.parametrize(
    ("check", "pattern", "replacement"),
    [
        (problems_of, END, "<script>throw new Error('planted')</script>"),
        (problems_of, END, "<script>console.warn('planted')</script>"),
        (problems_of, END, "<script src='gone.js'></script>"),
        (problems_of, END, f"<img alt='{LONG}' src='http://example.invalid/a.png'>"),
        (raw_formulas, re.compile(r"<script[^>]*tex-svg.js[^>]*>"), ""),
        (raw_formulas, END, r"<p>where $\mu$ is</p>"),
        (raw_formulas, re.compile(r"\\\("), r"\\(\\planted "),
        (wordless_images, ALT, 'alt="a figure"'),
        (wordless_images, END, f"<img alt='{LONG}' src='gone.png'>"),
        (dead_links, END, "<a href='../notebooks/12_gone.html'>gone</a>"),
        (dead_links, END, "<a href='#gone'>gone</a>"),
        (dead_links, END, "<a href='../glossary.html#gone'>gone</a>"),
        (barriers, END, "<button></button>"),
        (faint_colours, END, "<p style='color: #999; background: #aaa'>pale</p>"),
        (faint_colours, CODE, "<pre><span style='color: #999; background: #aaa'>pale</span>"),
        (faint_colours, CODE, "<pre style='color: #999; background: #aaa'>pale"),
        (faint_colours, CODE, "<pre style='background: #666'>"),
        (overhang, END, "<div style='width: 2000px'>wide</div>"),
    ],
)
def test_what_is_planted_in_a_page_is_found(check, pattern, replacement, broken, visit):
    folder, url = broken
    page = (folder / SHORT).read_text(encoding="utf-8")
    changed, times = pattern.subn(lambda _: replacement, page, count=1)
    assert times == 1
    (folder / "notebooks" / "changed.html").write_text(changed, encoding="utf-8")
    ids_of.cache_clear()
    visited = visit(f"{url}/notebooks/changed.html")
    found = check(visited, folder) if check is dead_links else check(visited)
    assert found != []


def test_the_page_that_things_are_planted_in_was_good(broken, visit):
    _, url = broken
    assert findings(visit(f"{url}/{SHORT}")) == {}
