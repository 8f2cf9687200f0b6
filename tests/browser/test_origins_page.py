"""From a number on a page to the cell that made it, by mouse and by keyboard."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from screen import painted

from vae_helpers import PROJECT
from vae_helpers.studies import origins

OPEN = ".origin-box:popover-open"
BOOK = PROJECT / "build" / "book"
PAGES = sorted(BOOK.glob("**/*.html"))
STEP = 23
"""Of the report's numbers every so many-th is followed by real clicks, and of all the links."""


def cell_after(page, name):
    """The text of the cell that an anchor stands before, its hidden outputs too."""
    return page.evaluate("(id) => document.getElementById(id).nextElementSibling.textContent", name)


def recorded(entry):
    """What an output shows of an entry: its name, or the beginning of the figure's caption."""
    source, name = re.fullmatch(r"((?:studies/|measured/)?\w+)[./](.+)", entry).groups()
    if "/" in entry and not entry.startswith("studies/"):
        path = PROJECT / "report" / "results" / f"{source}.json"
        return json.loads(path.read_text("utf-8"))["figures"][name]["caption"][:12]
    return name.partition("[")[0]


def test_two_clicks_lead_from_a_number_of_the_report_to_its_cell(book_url, visit):
    page = visit(f"{book_url}/report.html").page
    buttons = page.locator("button.origin")
    entries = buttons.evaluate_all("all => all.map((it) => it.dataset.entry)")
    followed = [at for at in range(0, len(entries), STEP) if origins.of(entries[at]).place]
    assert len(followed) > 10
    for at in followed:
        page.goto(f"{book_url}/report.html")
        buttons.nth(at).click()
        page.locator(f"{OPEN} dd a").click()
        page.wait_for_url("**/notebooks/*.html#cell-*")
        place = page.evaluate("location.hash.slice(1)")
        assert recorded(entries[at]) in cell_after(page, place), entries[at]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(BOOK).as_posix())
def test_every_marked_number_has_a_box_and_every_box_a_cell_that_there_is(path):
    text = path.read_text(encoding="utf-8")
    wanted = set(re.findall(r'popovertarget="([^"]+)"', text))
    boxes = re.findall(r'<div popover[^>]* id="([^"]+)".*?</div>', text, re.DOTALL)
    assert wanted <= set(boxes)
    assert len(boxes) == len(set(boxes))
    for page, place in set(re.findall(r'<dd><a href="([^"#]+)#([^"]+)">', text)):
        target = (path.parent / page).read_text(encoding="utf-8")
        assert target.count(f'id="{place}"') == 1


def test_the_notebooks_and_the_report_have_marks():
    marked = {path.name for path in PAGES if 'class="origin"' in path.read_text("utf-8")}
    assert {"report.html", "index.html", "05_training.html", "16_vae_vs_gan.html"} <= marked


def test_a_box_opens_by_keyboard_says_all_and_closes_again(book_url, visit):
    page = visit(f"{book_url}/notebooks/05_training.html").page
    number = page.locator("button.origin[popovertarget='origin-05_training.train_loss_last']").first
    number.focus()
    page.keyboard.press("Enter")
    box = page.locator(OPEN)
    said = dict(
        zip(box.locator("dt").all_inner_texts(), box.locator("dd").all_inner_texts(), strict=True)
    )
    assert said == origins.of("05_training.train_loss_last").words()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == said["cell"]
    page.keyboard.press("Escape")
    box.wait_for(state="detached", timeout=10_000)
    assert page.evaluate("document.activeElement.className") == "origin"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_open_box_is_whole_on_the_screen_and_has_no_barriers(book_url, visit, width, scheme):
    visited = visit(f"{book_url}/report.html", width=width, color_scheme=scheme)
    page = visited.page
    page.locator("button.origin").first.click()
    painted(page)
    place = page.locator(OPEN).bounding_box()
    assert place["x"] >= 0
    assert place["x"] + place["width"] <= width
    assert place["y"] >= 0
    found = Axe().run(page, OPEN, {"resultTypes": ["violations"]}).response["violations"]
    assert [it["id"] for it in found if it["impact"] in ("serious", "critical")] == []
    assert visited.problems == []


def test_the_legend_is_a_click_away_and_stands_once(book_url, visit):
    page = visit(f"{book_url}/notebooks/05_training.html").page
    page.locator("button.origin").first.click()
    page.locator(OPEN).get_by_role("link", name="What this says").click()
    page.wait_for_url("**/index.html#where-a-number-comes-from")
    assert page.locator("#where-a-number-comes-from h2").inner_text().startswith("Where a number")
