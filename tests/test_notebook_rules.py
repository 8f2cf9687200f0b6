"""Each rule for notebooks is content with a good one and finds what it is there to find."""

import copy

import nbformat
import notebook_rules as rules
import pytest

RECORDS = 'results.record("dots", 3)'
CAPTION = "Figure 1.1. Three dots."
ALT = "Three dots on a line, the last one higher than the other two."


def cell(number, source, *outputs, **metadata):
    new = nbformat.v4.new_code_cell(source, id=f"cell-{number:02}", metadata=metadata)
    new.execution_count = number
    new.outputs = list(outputs)
    return new


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def displayed(about=None, **data):
    data = {kind.replace("_", "/"): content for kind, content in data.items()}
    return nbformat.v4.new_output("display_data", data=data, metadata=about or {})


@pytest.fixture
def good():
    picture = displayed({"image/png": {"alt": ALT}}, image_png="iVBOR", text_plain="<dots>")
    caption = displayed(text_plain=CAPTION, text_markdown=f"*{CAPTION}*")
    metadata = {"kernelspec": dict(rules.KERNEL), "language_info": {"name": "python"}}
    cells = [
        nbformat.v4.new_markdown_cell("# Dots", id="cell-00"),
        cell(1, "epochs: int = 30  # passes over the images", tags=["parameters"]),
        cell(2, "import vae_helpers", picture, caption, mystnb={"image": {"alt": ALT}}),
        cell(
            3,
            "report()",
            printed(
                "loss                         ~99.4 nats, within 98.0 to 101.0\n"
                "each_epoch                   ~2.9 s for 60,000 images on this machine\n"
                "gradients of the encoder: 3 in 4 seeds/runs, 97 %; 12 samples, no time/second\n"
            ),
        ),
        cell(4, "table()", displayed(text_plain="<table>", text_html="<p>1/2</p>")),
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def says(text, name="stdout"):
    """A defect: the last cell prints this."""
    return lambda notebook: notebook.cells[-1].outputs.append(printed(text, name))


def shows(**data):
    return lambda notebook: notebook.cells[-1].outputs.append(displayed(**data))


def sets(number, **fields):
    return lambda notebook: notebook.cells[number].update(fields)


def about(number, **fields):
    return lambda notebook: notebook.cells[number].metadata.update(fields)


def stripped(notebook):
    for code in rules.code_cells(notebook):
        code.outputs, code.execution_count = [], None


def without_outputs(notebook):
    for code in rules.code_cells(notebook):
        code.outputs = []


def raised(notebook):
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    notebook.cells[-1].outputs.append(error)


def in_two_pieces(notebook):
    notebook.cells[3].outputs.append(printed("more\n"))


def no_alt_text(notebook):
    notebook.cells[2].outputs[0].metadata = {}


def no_caption(notebook):
    del notebook.cells[2].outputs[1]


def plain_without_alt(notebook):
    for code in rules.code_cells(notebook):
        code.source = "show()"
    del notebook.cells[2].metadata["mystnb"]


def many_cells(notebook):
    notebook.cells += [notebook.cells[-1]] * rules.CODE_CELLS_MOST


def hides_nothing(notebook):
    notebook.cells[-1].outputs = []
    notebook.cells[-1].metadata = {"tags": ["hide-output"], "jupyter": {"outputs_hidden": True}}


def caption_without_number(notebook):
    notebook.cells[2].outputs[1].data = {"text/plain": "Dots.", "text/markdown": "*Dots.*"}


def captions_differ(notebook):
    notebook.cells[2].outputs[1].data["text/markdown"] = "*Figure 1.1. Four dots.*"


def no_alt_text_on_the_page(notebook):
    del notebook.cells[2].metadata["mystnb"]


def large_file(notebook):
    notebook.cells[0].source = "word " * (rules.NOTEBOOK_MOST // 5)


def large_picture(notebook):
    notebook.cells[2].outputs[0].data["image/png"] = "i" * (rules.PICTURE_MOST + 1)


def other_kernel(**fields):
    return lambda notebook: notebook.metadata.kernelspec.update(fields)


def timed_by_papermill(notebook):
    notebook.metadata["papermill"] = {"duration": 1.5}


def version_of_python(notebook):
    notebook.metadata.language_info["version"] = "3.11.2"


def size_of_a_picture(notebook):
    notebook.cells[2].outputs[0].metadata["image/png"]["width"] = 640


DEFECTS = [
    (rules.not_executed_in_order, "stripped", stripped),
    (rules.not_executed_in_order, "no outputs", without_outputs),
    (rules.not_executed_in_order, "a cell executed twice", sets(3, execution_count=5)),
    (rules.not_executed_in_order, "a cell not executed", sets(4, execution_count=None)),
    (rules.errors, "a cell raised", raised),
    (rules.errors, "papermill's mark", about(0, tags=["papermill-error-cell-tag"])),
    (rules.warnings, "a warning on stderr", says("no gradient\n", "stderr")),
    (rules.warnings, "a warning in print", says("UserWarning: no gradient\n")),
    (rules.progress_bars, "a carriage return", says("10 of 30\r20 of 30\r")),
    (rules.progress_bars, "a rate", says("30/30 [00s, 12.5it/s]\n")),
    (rules.progress_bars, "a bar", says("100%|#####| 30/30\n")),
    (rules.progress_bars, "blocks", says("█████▌ 30/30\n")),
    (rules.progress_bars, "a widget", shows(**{"application/vnd.jupyter.widget-view+json": {}})),
    (rules.paths_and_addresses, "a home folder", says("kept in /home/ada/runs\n")),
    (rules.paths_and_addresses, "any absolute path", says("kept in '/srv/runs'\n")),
    (rules.paths_and_addresses, "a path in HTML", shows(text_html="<td>/home/ada/runs</td>")),
    (rules.paths_and_addresses, "a path of Windows", says("kept in C:\\runs\n")),
    (rules.paths_and_addresses, "a path of the home folder", says("kept in ~/runs\n")),
    (rules.paths_and_addresses, "an address", shows(text_plain="<VAE at 0x7f3a52c1>")),
    (rules.times_not_measured, "seconds", says("trained in 12 s\n")),
    (rules.times_not_measured, "milliseconds", says("a step takes 3.2ms\n")),
    (rules.times_not_measured, "minutes", says("trained in ~1.5 minutes\n")),
    (rules.times_not_measured, "a rate", says("~1608.2 1/s\n")),
    (rules.times_not_measured, "a rate in words", says("1,608 images per second\n")),
    (rules.times_not_measured, "a clock", says("trained in 1:23\n")),
    (rules.times_not_measured, "a measured line without ~", says("a 2 s on this machine\n")),
    (rules.times_not_measured, "half a measured line", says("took ~2 s on this machine, 3 s\n")),
    (rules.tildes_without_a_number, "not a number", says("loss  ~nan nats\n")),
    (rules.tildes_without_a_number, "infinity", says("loss  ~-inf nats\n")),
    (rules.tildes_without_a_number, "a word", shows(text_plain="~about 3")),
    (rules.much_ignored, "ignored by a tag", about(3, tags=["nbval-ignore-output"])),
    (rules.much_ignored, "skipped", about(3, tags=["nbval-skip"])),
    (rules.much_ignored, "may raise", about(3, tags=["raises-exception"])),
    (rules.much_ignored, "by a comment", sets(1 + 3, source="# NBVAL_IGNORE_OUTPUT\ntable()")),
    (rules.pieces_of_print, "two pieces of print", in_two_pieces),
    (rules.unexplained_parameters, "no tag", sets(1, metadata={})),
    (rules.unexplained_parameters, "two cells", about(3, tags=["parameters"])),
    (rules.unexplained_parameters, "no type", sets(1, source="epochs = 30  # passes")),
    (rules.unexplained_parameters, "no comment", sets(1, source="epochs: int = 30")),
    (rules.unexplained_parameters, "no value", sets(1, source="epochs: int  # passes")),
    (rules.unexplained_parameters, "two a line", sets(1, source="a: int = 1; b: int = 2  # both")),
    (rules.figures_without_words, "no alt text", no_alt_text),
    (rules.figures_without_words, "no alt text on the page", no_alt_text_on_the_page),
    (rules.figures_without_words, "no caption", no_caption),
    (rules.figures_without_words, "a caption without number", caption_without_number),
    (rules.figures_without_words, "two captions", captions_differ),
    (rules.much_bookkeeping, "one line in three", sets(4, source=RECORDS)),
    (rules.figures_without_words, "no alt text, nothing of ours", plain_without_alt),
    (rules.too_long, "many words", sets(0, source="word " * (rules.WORDS_MOST + 1))),
    (rules.too_long, "many code cells", many_cells),
    (rules.set_up_in_the_way, "open imports", sets(3, source="results = begin('a', globals())")),
    (rules.half_hidden_outputs, "a tag alone", about(3, tags=["hide-output"])),
    (rules.half_hidden_outputs, "metadata alone", about(3, jupyter={"outputs_hidden": True})),
    (rules.half_hidden_outputs, "nothing to hide", hides_nothing),
    (rules.folded_lessons, "a folded answer", sets(0, source="<details><summary>Answer</summary>")),
    (rules.too_large, "the file", large_file),
    (rules.too_large, "a picture", large_picture),
    (rules.too_large, "a text", says("9" * (rules.TEXT_MOST + 1))),
    (rules.foreign_kernel, "a kernel of one's own", other_kernel(name="vae")),
    (rules.foreign_kernel, "an environment's name", other_kernel(display_name="venv0")),
    (rules.foreign_kernel, "an environment's path", other_kernel(env={"PATH": "/opt"})),
    (rules.noise_in_metadata, "papermill's times", timed_by_papermill),
    (rules.noise_in_metadata, "a version", version_of_python),
    (rules.noise_in_metadata, "times of a cell", about(3, execution={"started": "10:00"})),
    (rules.noise_in_metadata, "a folded cell", about(3, collapsed=True)),
    (rules.noise_in_metadata, "an attachment", sets(0, attachments={"a.png": {}})),
    (rules.noise_in_metadata, "a picture's size", size_of_a_picture),
    (rules.unstable_ids, "an id that an editor drew", sets(3, id="3f9a1c2b")),
    (rules.unstable_ids, "an id twice", sets(3, id="cell-02")),
    (rules.unstable_ids, "no id", sets(3, id="")),
]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_is_found_good_by(rule, good):
    assert rule(good) == []


@pytest.mark.parametrize(
    ("rule", "defect"),
    [(rule, defect) for rule, _, defect in DEFECTS],
    ids=[f"{rule.__name__}: {what}" for rule, what, _ in DEFECTS],
)
def test_a_defect_is_found_by_the_rule_against_it(rule, defect, good):
    bad = copy.deepcopy(good)
    defect(bad)
    assert rule(bad) != []


RECORDED = """
results.show(
    figure,  # a comment behind code

    # a comment alone
    "dots",
)
"""


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        ("from vae_helpers.course.results import begin", 1),
        ("from vae_helpers.course import (\n    charts,\n)", 3),
        ("from vae_helpers import figures, store", 1),
        ("import vae_helpers.studies.tables", 1),
        ("from vae_helpers import figures", 0),
        ("from vae_helpers.courses import x", 0),
        ('results = begin("01_dots", globals())', 1),
        ("config = results.config(TrainConfig)", 0),
        ("for name in names:\n    results.check(name, 1.0)\n    results.record(name, 1)", 2),
        ('results.measure("s", 1.0, unit="s"); results.series("a", {})', 1),
        ('results.table("a", {})', 1),
        ('results.export("a", {})', 1),
        (RECORDED, 4),
        ("others.check(1)\ncheck(2)\nresults.checks(3)", 0),
    ],
)
def test_bookkeeping_is_imports_of_the_machinery_beginning_and_recording(source, counted):
    notebook = nbformat.v4.new_notebook(
        cells=[cell(1, "results = begin('parameters')", tags=["parameters"]), cell(2, source)]
    )
    lines = [line for line in source.splitlines() if line.strip() and "alone" not in line]
    assert rules.bookkeeping(notebook) == (counted, len(lines))


def test_every_rule_has_been_shown_a_defect():
    assert {rule for rule, _, _ in DEFECTS} == set(rules.RULES)
