"""No number that is published can drift, and no digit of it can change unseen."""

import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tomllib

import mistune
import published
import pytest
from published import (
    broken_seals,
    idle_constants,
    misprints,
    places,
    seal,
    strange_pictures,
    unbound_decimals,
    unfilled_places,
)

from vae_helpers import PROJECT
from vae_helpers.course.cells import CellRun
from vae_helpers.course.results import Results
from vae_helpers.studies import keys


@pytest.mark.parametrize("check", published.CHECKS, ids=lambda check: check.__name__)
def test_what_is_published_agrees_with_itself(check):
    assert check(PROJECT) == []


# Every mistake below is planted in a copy, one at a time, and named with the check that finds it.


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A sealed copy of what the checks read, with some of the notebooks: that saves seconds."""
    root = tmp_path_factory.mktemp("copied")
    for name in keys.TEXTS:
        shutil.copy(PROJECT / name, root)
    shutil.copytree(PROJECT / "report", root / "report")
    (root / "notebooks").mkdir()
    for name in (
        "01_data.ipynb",
        "05_training.ipynb",
        "07_distance.ipynb",
        "13_published_numbers.ipynb",
        "21_files.ipynb",
        "captions.toml",
    ):
        shutil.copy(PROJECT / "notebooks" / name, root / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "PROJECT", root)
        patch.setattr(sys, "argv", ["seal.py"])
        assert seal.main() == 0
    return root


@pytest.fixture
def plant(copied):
    """Change a file of the copy for the length of a test."""
    before = {}

    def change(name, edit):
        path = copied / name
        before.setdefault(path, path.read_bytes())
        path.write_bytes(edit(before[path]))
        assert path.read_bytes() != before[path]
        return copied

    yield change
    for path, content in before.items():
        path.write_bytes(content)


def another(digit):
    return bytes([digit % 9 + ord("1")]) if isinstance(digit, int) else str(int(digit) % 9 + 1)


def first(pattern):
    """An edit: the last digit of the first match of a pattern becomes another digit."""

    def edit(content):
        text = content.decode()
        found = re.search(pattern, text)
        assert found, pattern
        at = max(i for i in range(found.start(), found.end()) if text[i].isdigit())
        return (text[:at] + another(text[at]) + text[at + 1 :]).encode()

    return edit


def some_byte(content):
    """An edit: one byte in the middle becomes another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


NOTEBOOK, RESULTS = "notebooks/05_training.ipynb", "report/results/05_training.json"


@pytest.mark.parametrize(
    ("name", "edit", "check"),
    [
        # a digit of a committed output
        (NOTEBOOK, first(r'"train_loss_last +~\d+\.\d+'), misprints),
        (NOTEBOOK, first(r'"train_loss_last .*within \d+\.\d+'), misprints),
        (NOTEBOOK, first(r'"seconds_per_epoch +~\d+\.\d+'), misprints),
        (NOTEBOOK, first(r'"test_loss +1: ~\d+\.\d+'), misprints),
        (NOTEBOOK, first(r"15: ~\d+\.\d+\\n"), misprints),
        (NOTEBOOK, first(r"~ \d\d\d\.\d\d"), broken_seals),  # printed by the cell itself: no key
        ("notebooks/01_data.ipynb", first(r'"batches +\d+'), misprints),
        ("notebooks/21_files.ipynb", first(r'"md5_test_labels +\w+'), misprints),
        ("notebooks/13_published_numbers.ipynb", first(r"K = 50 +96\.\d+"), misprints),
        ("notebooks/13_published_numbers.ipynb", first(r"K = 50 +96\.\d+ ± 0\.\d+"), misprints),
        ("notebooks/05_training.ipynb", first(r'"image/png": "[\w+/]{1000}'), strange_pictures),
        # a digit of a results file, shown or not; and of a study
        (RESULTS, first(r'"train_loss_last": \{\s*"value": \d+\.\d\d'), misprints),
        (RESULTS, first(r'"train_loss_last": \{\s*"value": \d+\.\d+'), broken_seals),
        (RESULTS, first(r'"train_loss_last": [^}]*"high": [\d.]+'), misprints),
        (RESULTS, first(r'"batch_size": \d+'), broken_seals),
        (RESULTS, first(r'"date": "[\d-]+'), broken_seals),
        (RESULTS, first(r'"train_loss_last": \{\s*"value": \d+\.\d'), unfilled_places),
        ("report/results/studies/gan_search.csv", first(r"\d+\.\d{9,}"), broken_seals),
        # a digit of the README
        ("README.md", first(r"train_loss_last .1f-->\d+\.\d"), unfilled_places),
        ("README.md", first(r"GAN.FCD.mean .0f-->\d+"), unfilled_places),
        ("MANUAL.md", first(r"99\.9 %"), unbound_decimals),
        ("MANUAL.md", first(r"localhost:8000"), broken_seals),
        ("README.md", first(r"loss of 183"), broken_seals),
        # a digit of the report
        ("report/report.typ", first(r"at most 2\.303"), unbound_decimals),
        ("report/appendix.typ", lambda old: old + b"\nIt is 1.25.\n", unbound_decimals),
        ("report/report.typ", first(r"minus ELBO of 101\.07"), unbound_decimals),
        ("report/report.pdf", some_byte, broken_seals),
        ("report/figures/05_training_samples.png", some_byte, strange_pictures),
        ("report/figures/05_training_samples.png", some_byte, broken_seals),
        # a digit of a notebook's prose, of its alt texts, of the constants
        (NOTEBOOK, first(r"gap_last .1f-->\d+\.\d"), unfilled_places),
        ("notebooks/07_distance.ipynb", first(r"log 10 = \d\.\d+"), unbound_decimals),
        (NOTEBOOK, first(r"more than four fifths.*|loss of 183"), broken_seals),
        (NOTEBOOK, first(r'"text/plain": \[\s*"Figure 5\.1'), strange_pictures),
        ("report/constants.toml", first(r"2\.303"), unbound_decimals),
    ],
)
def test_a_changed_digit_is_found(plant, name, edit, check):
    assert check(plant(name, edit)) != []


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("report/results/*.json")), ids=lambda p: p.stem
)
def test_any_digit_of_a_results_file_is_found(plant, path):
    def edit(old):
        at = random.Random(path.stem).choice([it.start() for it in re.finditer(rb"\d", old)])
        return old[:at] + another(old[at]) + old[at + 1 :]

    assert broken_seals(plant(path.relative_to(PROJECT).as_posix(), edit)) != []


COMMITTED = dict(published.notebooks(PROJECT))


@pytest.mark.parametrize("name", COMMITTED)
def test_any_digit_of_an_output_is_sealed(name):
    source, cells = random.Random(name), COMMITTED[name]["cells"]
    before = seal.outputs(cells)
    outputs = [it for cell in cells for it in cell.get("outputs", ())]
    outputs = [it for it in outputs if re.search(r"\d", str(it))]
    for output in source.sample(outputs, min(3, len(outputs))):
        text = json.dumps(output, ensure_ascii=False)
        at = source.choice([match.start() for match in re.finditer(r"\d", text)])
        kept = dict(output)
        output |= json.loads(text[:at] + another(text[at]) + text[at + 1 :])
        assert seal.outputs(cells) != before
        output |= kept
        assert seal.outputs(cells) == before


@pytest.mark.parametrize("name", COMMITTED)
def test_every_digit_of_what_has_a_key_is_held_by_the_key(name):
    text = (PROJECT / "report" / "tolerances.toml").read_text(encoding="utf-8")
    tolerances = tomllib.loads(text).get(name, {})
    lines = list(published.printed(COMMITTED[name]))
    for key, entry in published.results(PROJECT, name)["values"].items():
        (start,) = published.starts_of(key, entry, lines)
        more = list(itertools.takewhile(lambda line: line.startswith(" " * 28), lines[start + 1 :]))
        rows = len(entry["value"]) if entry["kind"] == "table" else len(more)
        text = "\n".join(lines[start : start + 1 + rows])
        assert list(published.misread(text.splitlines(), {key: entry}, tolerances)) == []
        for match in re.finditer(r"\d", text):
            changed = text[: match.start()] + another(match[0]) + text[match.end() :]
            assert list(published.misread(changed.splitlines(), {key: entry}, tolerances)), changed


def test_other_words_break_no_seal(plant):
    assert broken_seals(plant("README.md", lambda old: old.replace(b"two cores", b"a pair"))) == []
    reworded = plant(NOTEBOOK, lambda old: old.replace(b"make the network converge", b"help it"))
    assert broken_seals(reworded) == []


def test_a_number_that_is_listed_for_another_file_may_not_be_typed(plant):
    root = plant("README.md", lambda old: old + b"\nIt is 101.07.\n")
    (problem,) = unbound_decimals(root)
    assert problem.startswith("README.md: 101.07 is typed")


def test_a_length_of_the_layout_is_no_number_of_the_report_and_one_with_a_space_is(plant):
    root = plant("report/report.typ", lambda old: old + b"\n#v(1.25em)\n#box(width: 1.75cm)\n")
    assert unbound_decimals(root) == []
    root = plant("report/report.typ", lambda old: old + b"\nIt is 1.25 nats (1.75 em), 2.25em.\n")
    assert len(unbound_decimals(root)) == 3


def put(old, new):
    """An edit: some words become others, wherever they stand."""

    def edit(content):
        assert old.encode() in content, old
        return content.replace(old.encode(), new.encode())

    return edit


def test_a_decimal_in_an_alt_text_or_a_caption_is_a_typed_one(plant):
    for words in ("Two falling curves.", "Figure 5.1. Loss"):
        root = plant("notebooks/captions.toml", put(words, words + " 3.77"))
        expected = "notebooks/captions.toml, [05_training.loss]: 3.77 is typed"
        assert any(problem.startswith(expected) for problem in unbound_decimals(root))


def test_another_alt_text_or_caption_than_that_of_the_results_is_found(plant):
    for words in ('"alt": "Two falling curves', '"text/plain": [\n       "Figure 5.1. Loss'):
        (problem,) = strange_pictures(plant(NOTEBOOK, put(words, words + "!")))
        assert " of loss is another" in problem


def test_a_constant_that_nobody_types_any_more_is_found(plant):
    listed = 'numbers = ["99.9"]'
    unused = plant("report/constants.toml", put(listed, 'numbers = ["99.9", "99.8"]'))
    assert any("setting.tolerances: 99.8 is typed nowhere" in it for it in idle_constants(unused))
    elsewhere = plant("report/constants.toml", put('in = ["MANUAL", "re', 'in = ["01_data", "re'))
    assert any("setting.tolerances: 01_data types none" in it for it in idle_constants(elsewhere))


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        (["loss                         ~99.3 nats, within 97.5 to 101.1"], None),
        ([], "loss is printed 0 times"),
        (["loss                         ~99.3 nats, within 97.5 to 101.1"] * 2, "2 times"),
        (["loss                         ~99.25 nats, within 97.50 to 101.10"], "loss: the li"),
        (["loss                         ~99.3 nats, within 97.0 to 101.1"], "loss: the line"),
        (["loss                         ~99.3 bits, within 97.5 to 101.1"], "loss: the line"),
        (["loss                         ~99.3 nats"], "cannot read"),
    ],
)
def test_a_line_must_read_as_the_results_and_the_tolerances_ask(printed, problem):
    values = {
        "loss": {"value": 99.2536, "kind": "tolerance", "unit": "nats", "low": 97.5, "high": 101.1}
    }
    tolerances = {"loss": {"unit": "nats", "decimals": 1, "full": {"low": 97.5, "high": 101.1}}}
    found = list(published.misread(printed, values, tolerances))
    assert problem in found[0] if problem else found == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("rate", "rate", None),
        ("rate", "rite", "the columns read"),
        ("beta = 0.5", "beta = 0.6", "the row reads"),
        ("53.10", "53.20", "the row reads"),
        ("± 0.63", "± 0.64", "the row reads"),
        ("53.10 ± 0.63", "53.10 ± 0.63   1.00 ± 0.00", "the row reads"),
        ("beta = 0.5          53.10 ± 0.63\n", "", "the row reads"),
    ],
)
def test_a_table_must_read_as_the_results_hold_it(old, new, problem):
    table = (
        "by_beta                 rate\nbeta = 0.5          53.10 ± 0.63\nbeta = 1    20.24 ± 0.68\n"
    )
    rows = {"beta = 0.5": {"rate": [53.104, 0.6349]}, "beta = 1": {"rate": [20.236, 0.678]}}
    values = {"by_beta": {"value": rows, "kind": "table"}}
    found = list(published.misread(table.replace(old, new).splitlines(), values, {}))
    assert problem in found[0] if problem else found == []


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        (["kid                          ~-0.126"], None),
        (["kid                          ~-0.127"], "kid: the line reads '~-0.127'"),
        (["kid                          ~0.126"], "kid: the line"),
        (["kid                          -0.126"], "kid: the line"),
        (["kid                          ~-0.126 nats"], "kid: the line"),
        (["kid                          ~-0.126 on this machine"], "kid: the line"),
        (["kid                          ~-0.13"], None),  # as many digits as are printed
        ([], "kid is printed 0 times"),
        (["kid                          ~-0.126"] * 2, "kid is printed 2 times"),
    ],
)
def test_an_observed_line_must_read_as_the_results_hold_it(printed, problem):
    values = {"kid": {"value": -0.12597, "kind": "observed", "unit": ""}}
    found = list(published.misread(printed, values, {}))
    assert problem in found[0] if problem else found == []


def test_what_results_prints_as_observed_is_read_back_and_every_digit_of_it_counts(
    tmp_path, monkeypatch, capsys
):
    observed = {"kid": -0.12597, "two_sample_means": 0.5, "frechet_means_" + "x" * 20: 1234.5678}
    found = Results("toy", "other", tmp_path, {}, "", {}, lambda: CellRun("a", "1"))
    found.observe(observed)
    lines = capsys.readouterr().out.splitlines()
    values = json.loads((tmp_path / "results" / "toy.json").read_bytes())["values"]
    assert list(published.misread(lines, values, {})) == []
    for number, (line, key) in enumerate(zip(lines, observed, strict=True)):
        for match in re.finditer(r"\d", line):
            wrong = line[: match.start()] + another(match[0]) + line[match.end() :]
            changed = [*lines[:number], wrong, *lines[number + 1 :]]
            assert list(published.misread(changed, values, {})), wrong
        others = {name: entry for name, entry in values.items() if name != key}
        (problem,) = published.misread(lines, others, {})
        assert f"do not hold {line!r}" in problem


@pytest.mark.parametrize(
    "line",
    [
        "epoch 3: ~ 101.25",
        "  5: ~2.00",
        "fcd                          1: ~2.00  2: ~3.00",
        "kid ~1",
    ],
)
def test_a_line_that_looks_a_little_like_an_observed_one_needs_no_key(line):
    assert list(published.misread([line], {}, {})) == []


@pytest.mark.parametrize("end", [" nats, within 97.5 to 101.1", " nats on this machine", ""])
def test_a_line_whose_key_the_results_do_not_hold_is_found(end):
    (problem,) = published.misread([f"lost                         ~99.3{end}"], {}, {})
    assert "do not hold 'lost" in problem


def test_a_tolerance_that_was_measured_anew_asks_for_new_outputs(plant):
    root = plant("report/tolerances.toml", put("high = 101.52", "high = 101.53"))
    assert "train_loss_last" in misprints(root)[0]


@pytest.mark.parametrize(
    "words",
    ["Figure 4.3", "section 3.4", "arXiv 1509.00519", "arXiv:1706.08500", "Python 3.11"],
)
def test_what_cites_a_source_is_no_number(plant, words):
    assert unbound_decimals(plant("README.md", lambda old: old + words.encode())) == []


# Places


TOY = {
    "loss": {"value": 99.2536, "kind": "tolerance"},
    "images": {"value": 1234567, "kind": "exact"},
    "counts": {"value": [7, 8], "kind": "exact"},
    "failed": {"value": "5 of 5", "kind": "exact"},
    "fcd": {"value": [586.5, 100.1], "at": [1, 30], "kind": "series"},
    "by_beta": {"value": {"beta = 0": {"FCD": [8.0, 1.0]}, "beta = 0.5": {"FCD": [4.0, 0.5]}}},
    "nothing": {"value": None, "kind": "tolerance"},
}
TOY["by_beta"]["kind"] = "table"


@pytest.fixture
def results(tmp_path):
    (tmp_path / "01_toy.json").write_text(json.dumps({"values": TOY}), encoding="utf-8")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "grid.csv").write_text("arm,fcd\na,3\nb,12\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("01_toy.loss .1f", "99.3"),
        ("01_toy.images ,", "1,234,567"),
        ("01_toy.counts.1 ", "8"),
        ("01_toy.failed ", "5 of 5"),
        ("01_toy.fcd.30 .0f", "100"),
        ("01_toy.by_beta.beta = 0.5.FCD.mean .1f", "4.0"),
        ("01_toy.by_beta.beta = 0.FCD.half .1f", "1.0"),
        ("01_toy.by_beta.beta = 0.FCD.mean / 01_toy.by_beta.beta = 0.5.FCD.mean .1f", "2.0"),
        ("01_toy.fcd.1 - 01_toy.fcd.30 .1f", "486.4"),
        ("01_toy.by_beta.beta = 0.5.FCD.half / 01_toy.fcd.30 .1%", "0.5 %"),
        ("studies/grid.fcd.max / studies/grid.fcd.min .0f", "4"),
        ("studies/grid.fcd.mean .1f", "7.5"),
    ],
)
def test_a_place_shows_what_it_names_as_it_asks(results, name, shown):
    text = f"It is <!--{name}-->?<!---->."
    filled = places.fill(text, results, where="toy")
    assert filled == f"It is <!--{name}-->{shown}<!---->."
    assert places.fill(filled, results, where="toy") == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("It is <!--01_toy.los .1f-->9<!---->.", "toy: .*no 'los'; did you mean 'loss'"),
        ("It is <!--01_toi.loss .1f-->9<!---->.", "no results of '01_toi'; did you mean '01_toy'"),
        ("It is <!--01_toy.fcd.31 .1f-->9<!---->.", "no '31'"),
        ("It is <!--01_toy.fcd .1f-->9<!---->.", "expected the name of one number"),
        ("It is <!--01_toy.counts.2 -->9<!---->.", "no '2'"),
        ("It is <!--studies/grit.fcd.max .1f-->9<!---->.", "did you mean 'studies/grid'"),
        ("It is <!--studies/grid.arm.max .1f-->9<!---->.", "no 'arm'"),
        ("It is <!--01_toy.nothing .1f-->9<!---->.", "unsupported format string"),
        ("It is <!--01_toy.failed .1f-->9<!---->.", "Unknown format code"),
        ("It is <!--01_toy.loss .1f-->99.3.", "expected a place such as"),
        ("It is <!--01_toy.loss.1f-->99.3<!---->.", "expected a place such as"),
        ("It is <!--01_toy.loss .1f->99.3<!---->.", "expected a place such as"),
        ("It is\n<!--01_toy.loss .1f-->9<!---->.", "at the start of a line"),
        ("- <!--01_toy.loss .1f-->9<!---->.", "at the start of a line"),
        ("It is `<!--01_toy.loss .1f-->9<!---->`.", "inside code"),
        ("It is $x = <!--01_toy.loss .1f-->9<!---->$.", "inside a formula"),
    ],
)
def test_a_place_that_cannot_be_filled_says_where_and_why(results, text, message):
    with pytest.raises(places.PlaceError, match=message):
        places.fill(text, results, where="toy")


def test_a_reader_does_not_see_where_a_number_comes_from():
    markdown = mistune.create_markdown(escape=False, plugins=["table"])  # as nbconvert has it
    for _, notebook in published.notebooks(PROJECT):
        for cell in notebook["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown" and places.PLACE.search(text):
                html = markdown(text)
                paragraphs = re.findall(r"<(?:p|li|td)>.*?</(?:p|li|td)>", html, re.DOTALL)
                inside = "".join(paragraphs).count("<!---->")
                assert inside == len(places.PLACE.findall(text)), text


def test_filling_writes_a_notebook_only_where_a_number_has_changed(plant, monkeypatch, capsys):
    root = plant(NOTEBOOK, first(r"gap_last .1f-->\d+\.\d"))
    monkeypatch.setattr(places, "COURSE", root)
    assert places.main() == 0
    assert capsys.readouterr().out == f"filled {NOTEBOOK}\n"
    assert (root / NOTEBOOK).read_bytes() == (PROJECT / NOTEBOOK).read_bytes()
    assert places.main() == 0
    assert capsys.readouterr().out == ""


def test_sealing_what_is_named_leaves_the_rest_of_the_seal(plant, monkeypatch):
    plant("README.md", first(r"loss of 183"))
    plant(NOTEBOOK, first(r"~ \d\d\d\.\d\d"))
    root = plant(seal.SEAL, lambda old: old + b"0" * 64 + b"  report/lost.pdf\n")
    monkeypatch.setattr(seal, "PROJECT", root)
    monkeypatch.setattr(sys, "argv", ["seal.py", "README.md#numbers"])
    assert seal.main() == 0
    assert [problem.split()[:2] for problem in broken_seals(root)] == [
        [f"{NOTEBOOK}#outputs:", "changed"],
        ["report/lost.pdf:", "gone"],
    ]
    monkeypatch.setattr(sys, "argv", ["seal.py"])
    assert seal.main() == 0
    assert broken_seals(root) == []


def test_a_seal_of_something_unknown_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seal.py", "READ.me#numbers"])
    assert seal.main() == 1
    assert "did you mean 'README.md#numbers'" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the command is not installed")
def test_sha256sum_reads_the_seal():
    command = ["sha256sum", "--check", "--ignore-missing", "--quiet", seal.SEAL]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True).returncode == 0
