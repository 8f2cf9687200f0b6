"""Modules become one script that does the same, or are refused with the place of the trouble."""

import pytest
from published import load

from vae_helpers import PROJECT

bundle = load("bundle")

INTERACTIVE = PROJECT / "report" / "interactive"
ENTRIES = [
    INTERACTIVE / "explorer" / "main.js",
    INTERACTIVE / "lab" / "main.js",
    INTERACTIVE / "lab" / "digits_worker.js",
]


def written(folder, **modules):
    """Modules by the names of their files; the first is the entry."""
    for name, source in modules.items():
        (folder / f"{name}.js").write_text(source, encoding="utf-8")
    return folder / f"{next(iter(modules))}.js"


def test_a_module_that_two_import_is_there_once_and_before_them(tmp_path):
    entry = written(
        tmp_path,
        main='import { b } from "./b.js";\nimport { c } from "./c.js";\nuse(b + c);\n',
        b='import { base } from "./base.js";\nexport const b = base + 1;\n',
        c='import { base } from "./base.js";\nexport const c = base + 2;\n',
        base="export const base = 39;\n",
    )
    script = bundle.script(entry)
    places = [script.index(it) for it in ("base = 39", "b = base", "c = base", "use(")]
    assert places == sorted(places)
    assert script.count("base = 39") == 1


def test_no_module_line_is_left_in_the_scripts_of_the_pages():
    for entry in ENTRIES:
        script = bundle.script(entry)
        lines = script.splitlines()
        assert [it for it in lines if it.startswith(("import ", "export "))] == []
        assert len(lines) > 100


REFUSED = {
    "default export": ("export default 3;", "line 2: .*by name, got .export default 3;"),
    "export that can change": ("export let a = 3;", "line 2: .*by name, got"),
    "list of exports": ("const a = 3;\nexport { a };", "line 3: .*by name, got"),
    "default import": ('import a from "./tools.js";', "line 2: .*by name, got .import a"),
    "import of a package": ('import { a } from "tools";', "line 2: .*by name, got"),
    "import for its effects": ('import "./tools.js";', "line 2: .*by name, got"),
    "import without semicolon": ('import { a } from "./tools.js"', "line 2: .*by name, got"),
    "dynamic import": ('import("./tools.js");', "line 2: .*by name, got"),
    "other name": ('import { a as b } from "./tools.js";', r"line 2: .*of tools\.js, got .*'as'"),
    "name that is not exported": (
        'let x;\nimport { a, hidden, c } from "./tools.js";',
        r"line 3: expected names of tools\.js, got \['c', 'hidden'\]",
    ),
    "module that is not there": (
        'import { a } from "./gone.js";',
        r"line 2: expected a module, got no file \./gone\.js",
    ),
}


@pytest.mark.parametrize(("line", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_with_file_and_line(tmp_path, line, message):
    entry = written(
        tmp_path, main=f"// first\n{line}\n", tools="export const a = 1;\nconst hidden = 2;\n"
    )
    with pytest.raises(ValueError, match=rf"main\.js, {message}"):
        bundle.script(entry)


def test_a_circle_is_refused_by_its_members(tmp_path):
    entry = written(
        tmp_path,
        main='import { a } from "./a.js";\n',
        a='import { b } from "./b.js";\nexport const a = 1;\n',
        b='export const b = 1;\nimport { a } from "./a.js";\n',
    )
    with pytest.raises(ValueError, match=r"b\.js, line 2: .*circle, got a\.js -> b\.js -> a\.js$"):
        bundle.script(entry)


def test_a_module_that_imports_itself_is_a_circle(tmp_path):
    entry = written(tmp_path, main='import { a } from "./main.js";\nexport const a = 1;\n')
    with pytest.raises(ValueError, match=r"circle, got main\.js -> main\.js$"):
        bundle.script(entry)


def test_two_modules_of_one_name_are_refused(tmp_path):
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep", tools="export const b = 2;\n")
    entry = written(
        tmp_path,
        main='import { a } from "./tools.js";\nimport { b } from "./deep/tools.js";\n',
        tools="export const a = 1;\n",
    )
    with pytest.raises(ValueError, match=r"deep.tools\.js: expected one module of this name"):
        bundle.script(entry)


def test_every_marker_is_filled_and_what_a_part_holds_is_left_as_it_is():
    parts = {"a.css": r"b { content: '\1 {{ c }} $&' }", "c": "3"}
    assert bundle.page("<{{ a.css }}|{{ c }}|{{ c }}>", parts) == f"<{parts['a.css']}|3|3>"


@pytest.mark.parametrize("parts", [{}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}])
def test_markers_without_part_and_parts_without_marker_are_refused(parts):
    with pytest.raises(ValueError, match=r"expected parts for \['a', 'b'\], got"):
        bundle.page("{{ a }} {{ b }}", parts)


@pytest.mark.parametrize("end", ["</script>", "</SCRIPT >", "<!-- <script>"])
def test_a_script_that_would_end_its_element_is_refused(end):
    with pytest.raises(ValueError, match=r"main\.js: a script in a page may not hold"):
        bundle.page("<script>{{ main.js }}</script>", {"main.js": f'const a = "{end}";'})
