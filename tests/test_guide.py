"""The guide, the slides and the book's page say what the lessons say, and refuse to guess."""

import json
import re
import shutil

import pytest
import typst
from published import load, with_pinned_typst

from vae_helpers import PROJECT
from vae_helpers.exercises import EXERCISES

lessons = load("lessons")
plan = load("plan")
markup = load("markup")
assignment = load("assignment")
guide = load("guide")
instructor = load("instructor")
build = load("build")
bundle = load("bundle")
explorer = load("explorer")
lab = load("lab")
pages = load("pages")
book = load("book")

OPENING = [
    "# 98 · Title",
    "Prose. **What is\nasked?**",
    "Afterwards you can",
    "- do this,\n- do $z$\n  and that.",
    "About 20 minutes to read, one minute to run. Nothing else.",
]


def notebook(folder, *paragraphs, cells=(), name="98_new"):
    opening = {"cell_type": "markdown", "metadata": {}, "source": ["\n\n".join(paragraphs)]}
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [opening, *cells]}), encoding="utf-8")
    return path


def markdown(source, **metadata):
    return {"cell_type": "markdown", "metadata": metadata, "source": [source]}


def test_a_lesson_is_read_from_its_first_and_last_words(tmp_path):
    cells = [
        markdown("## A heading\n\nProse."),
        {"cell_type": "code", "metadata": {}, "source": ['results.show(it, "curve")']},
        markdown("## What has been shown, and what has not\n\n**It?**\n\nYes.\n\nNot this."),
    ]
    found = lessons.lesson(notebook(tmp_path, *OPENING, cells=cells))
    assert (found.number, found.title, found.question) == ("98", "Title", "What is asked?")
    assert found.objectives == ("do this", "do $z$ and that")
    assert (found.minutes, found.shown) == (20, "**It?** Yes.")
    assert found.times == "About 20 minutes to read, one minute to run."
    assert found.sections == {"curve": "A heading"}


@pytest.mark.parametrize(
    ("prose", "question"),
    [
        ("**The question.** Does it? And\nthen?", "Does it? And then?"),
        ("**The question:** which of them?", "Which of them?"),
        ("It is so. What is lost? A statement.", "What is lost?"),
    ],
)
def test_a_question_may_be_announced_or_only_asked(tmp_path, prose, question):
    path = notebook(tmp_path, OPENING[0], prose, *OPENING[2:])
    assert lessons.lesson(path).question == question


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [(1, "no question"), (2, "no objectives"), (4, "no minutes"), (0, "a title such as")],
)
def test_a_lesson_that_does_not_say_what_it_should_is_refused(tmp_path, left_out, missing):
    path = notebook(tmp_path, *(it for i, it in enumerate(OPENING) if i != left_out))
    with pytest.raises(ValueError, match=rf"notebooks/98_new\.ipynb: .*{missing}"):
        lessons.lesson(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"name": "nothing"}, "'nothing' has no check"),
        ({"name": "kl_general", "kind": "derive"}, "'kl_general': missing .*'minutes'"),
    ],
)
def test_an_exercise_without_check_or_minutes_is_refused(tmp_path, about, message):
    path = notebook(tmp_path, "# 98", cells=[markdown("## 1 · Task", exercise=about)])
    with pytest.raises(ValueError, match=rf"solutions/98_new\.ipynb: exercise .*{message}"):
        list(lessons.exercises(path))


def test_every_lesson_and_every_exercise_of_the_course_is_read():
    found = lessons.read(PROJECT / "notebooks")
    names = {path.stem for path in (PROJECT / "notebooks").glob("*.ipynb")}
    assert names - {*found} == {"00_study_in_one_page"}
    known = plan.exercises_of(found)
    assert {*known} == {*EXERCISES}
    assert all(it.objectives and it.question.endswith("?") for it in found.values())
    assert all(it.misconceptions for it in known.values())


def changed(tmp_path, old, new):
    text = (PROJECT / "report" / "instructor.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "plan.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return plan.read(path, lessons.read(PROJECT / "notebooks"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("02_bound = {", "02_band = {", "needs: unknown lesson '02_band'.*02_bound"),
        ('lessons = ["06_ablation"]', 'lessons = ["06_oblation"]', "unknown lesson '06_oblation'"),
        ('["effective_beta"]', '["effective_bet"]', "unknown exercise.*effective_beta"),
        ("iwae_loss = 8", "iwae_los = 8", "assignment: unknown exercise 'iwae_los'"),
        ("minutes = 50", "minutes = 44", "'The bound': 45 minutes are planned for 44"),
        ("minutes = 360", "minutes = 359", "'One day': its parts take 360 minutes, and it has 359"),
        ("19_speed = {", "# {", "nothing is said of lesson '19_speed'"),
        ('["02_bound"], also = "stat', '["04_network"], also = "stat', "does not come before"),
        ('about = "For', 'abuot = "For', "expected a field 'about'"),
        (
            'criterion = "Experiment"\nlevels = [',
            'criterion = "E"\nlevels = ["",',
            "4 levels, got 5",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_lessons_is_refused(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=rf"^plan\.toml: .*{message}"):
        changed(tmp_path, old, new)


def test_a_cut_names_the_lessons_that_it_builds_on_and_leaves_out(tmp_path):
    cut = changed(tmp_path, "minutes = 50", "minutes = 50").cuts[0]
    assert cut.assumed == ("01_data", "05_training")
    assert [part.needed for part in cut.parts] == [45, 35]


@pytest.mark.parametrize(
    ("latex", "typeset"),
    [
        (r"\mu + \sigma\varepsilon", "mu + sigma epsilon"),
        (r"q(z \mid x)", "q ( z | x )"),
        (r"\mathcal N(0, I)", "cal(N) ( 0 , I )"),
        (r"\log p_\theta(x)", "log p_(theta) ( x )"),
        (r"10^{20} / \mathtt{bce}", '10^(20) slash mono("bce")'),
    ],
)
def test_a_formula_is_the_same_in_the_notation_of_typst(latex, typeset):
    assert markup.formula(latex) == typeset
    typst.compile(f"${typeset}$".encode())


@pytest.mark.parametrize("latex", [r"\unheard", "a_", "a_{b"])
def test_a_formula_that_is_not_understood_is_refused(latex):
    with pytest.raises(ValueError, match=re.escape(f"${latex}$")):
        markup.formula(latex)


def test_markdown_comes_as_pieces_and_a_place_as_its_number():
    made = markup.pieces("**a $x$** `b*` [c](d) <!--01_data.x .1f-->3.0<!---->\n e")
    assert made[0] == {
        "kind": "bold",
        "body": [{"kind": "text", "text": "a "}, {"kind": "math", "text": "x"}],
    }
    assert [it.get("text") for it in made[1:]] == [" ", "b*", " ", "c", " 3.0 e"]


@with_pinned_typst
def test_the_committed_guide_is_what_lessons_exercises_and_plan_build():
    made = guide.typeset("instructor.typ", guide.guide_data(*guide.read(PROJECT)))
    same = made == (PROJECT / "report" / "instructor.pdf").read_bytes()
    assert same, "report/instructor.pdf is older than lessons, exercises or plan: make guide"


def test_a_misconception_stands_in_the_guide_with_the_words_of_its_check():
    data = guide.guide_data(*guide.read(PROJECT))
    words = {
        exercise["name"]: exercise["misconceptions"]
        for lesson in data["lessons"]
        for exercise in lesson["exercises"]
    }
    assert "The factor 1/2 is missing." in words["kl_general"]
    assert any(it.startswith("'the gap': ") for it in words["which_kl"])


@pytest.fixture
def slides(tmp_path, monkeypatch):
    """Data of slides with made-up results: a figure of lesson 02, and of no other lesson."""
    figure = {"file": "02_bound_toy_bound.png", "alt": "A curve.", "caption": "Figure 2.3. It."}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "02_bound.json").write_text(
        json.dumps({"figures": {"toy_bound": figure}}), encoding="utf-8"
    )
    (tmp_path / "figures").mkdir()
    any_picture = next((PROJECT / "report" / "figures").glob("*.png"))
    shutil.copy(any_picture, tmp_path / "figures" / figure["file"])
    shutil.copytree(
        PROJECT / "report", tmp_path / "report", ignore=lambda *_: {"results", "weights"}
    )
    monkeypatch.setattr(guide, "PROJECT", tmp_path)
    return guide.slides_data(lessons.read(PROJECT / "notebooks"), tmp_path)


def test_a_figure_is_on_a_slide_below_its_heading_and_a_lesson_without_results_has_none(slides):
    (shown,) = [figure for lesson in slides for figure in lesson["figures"]]
    assert slides[1]["figures"] == [shown]
    assert shown["file"] == "02_bound_toy_bound.png"
    assert shown["heading"] == markup.pieces("The bound in the toy world")


def test_no_slide_is_too_full(slides, tmp_path):
    made = guide.typeset("slides.typ", slides, folder=tmp_path)
    expected = sum(2 + len(it["figures"]) + bool(it["shown"]) for it in slides)
    assert len(re.findall(rb"/Type ?/Page\b", made)) == expected


def test_a_figure_that_is_not_there_stops_the_slides(slides, tmp_path):
    slides[1]["figures"][0]["file"] = "gone.png"
    with pytest.raises(RuntimeError, match=r"slides\.typ: .*gone\.png"):
        guide.typeset("slides.typ", slides, folder=tmp_path)


@pytest.mark.filterwarnings("ignore::sphinx.deprecation.RemovedInSphinx11Warning")  # myst-parser's
def test_the_page_of_the_book_has_every_mistake_folded_and_no_dead_link(tmp_path):
    found, written = guide.read(PROJECT)
    source = tmp_path / "source"
    shutil.copytree(PROJECT / "report" / "book", source)
    for name in ("glossary.md", "symptoms.md", "template.md"):  # which name files that are not here
        (source / name).unlink()
    (source / "extra").mkdir()
    for name in found:
        cells = [{"cell_type": "markdown", "metadata": {}, "source": "# T\n", "id": "a"}]
        text = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (source / "notebooks").mkdir(exist_ok=True)
        (source / "notebooks" / f"{name}.ipynb").write_text(json.dumps(text), encoding="utf-8")
    toctree = "# T\n\n```{toctree}\n:glob:\n\ninstructor\nnotebooks/*\n```\n"
    (source / "index.md").write_text(toctree, encoding="utf-8")
    page = pages.with_files(instructor.page(found, written), "README.md", source)
    (source / "instructor.md").write_text(page, encoding="utf-8")
    book.typeset(source, tmp_path / "site")

    html = (tmp_path / "site" / "instructor.html").read_text(encoding="utf-8")
    folded = re.findall(r"<details>.*?</details>", html, re.DOTALL)
    assert len(folded) == sum(bool(it.exercises) for it in found.values())
    mistakes = sum(len(it.misconceptions) for it in plan.exercises_of(found).values())
    assert sum(it.count("<li>") for it in folded) == mistakes + len(EXERCISES)
    assert "instructor.pdf" in html
