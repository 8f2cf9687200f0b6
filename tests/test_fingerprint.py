"""The digest of the code behind a notebook: what changes it, in a package of a few lines."""

import json
import re
import shutil

import nbformat
import pytest

from vae_helpers import PROJECT, fingerprint
from vae_helpers.fingerprint import digest

MODULES = {
    "__init__": '"""A package."""\n',
    "near": '"""Near."""\nfrom vae_helpers import far\n\n\ndef f(x):\n    """Twice."""\n'
    "    return 2 * far.g(x)  # doubled\n",
    "far": "def g(x):\n    import vae_helpers.lazy as lazy\n\n    return lazy.ONE\n",
    "lazy": 'ONE = 1\n"""What it is."""\n',
    "unused": "TWO = 2\n",
    "figures": "from vae_helpers import unused\n\nCOLOUR = 'blue'\n",
}
CELLS = (
    "epochs: int = 2  # passes",
    "from vae_helpers import figures\nfrom vae_helpers.near import f\n\nlesson = 1",
    "print(f(1))",
    'lesson.show(figures.COLOUR, "name", caption="Blue.", alt="A blue square.")',
)


def notebook_of(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A notebook and a package whose imports are known."""
    for name in ("notebooks", "vae_helpers"):
        (tmp_path / name).mkdir()
    for name, source in MODULES.items():
        (tmp_path / "vae_helpers" / f"{name}.py").write_text(source)
    notebook = notebook_of(*CELLS)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("words"))
    nbformat.write(notebook, tmp_path / "notebooks" / "01_toy.ipynb")
    monkeypatch.setattr(fingerprint, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "vae_helpers")
    return tmp_path


def digest_with(small, file, old, new):
    path = small / file
    before = path.read_text()
    assert before.count(old) == 1
    path.write_text(before.replace(old, new))
    return digest("01_toy")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "2 * far", "3 * far"),
        ("vae_helpers/far.py", "lazy.ONE", "-lazy.ONE"),
        ("vae_helpers/lazy.py", "ONE = 1", "ONE = 1.0"),
        ("notebooks/01_toy.ipynb", "print(f(1))", "print(f(2))"),
    ],
)
def test_the_digest_changes_with_the_code_that_the_numbers_come_from(small, file, old, new):
    before = digest("01_toy")
    assert digest_with(small, file, old, new) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "# doubled", "# twice"),
        ("vae_helpers/near.py", '    """Twice."""\n', ""),
        ("vae_helpers/lazy.py", "What it is.", "What it was."),
        ("vae_helpers/unused.py", "TWO = 2", "TWO = 3"),
        ("vae_helpers/figures.py", "blue", "red"),
        ("notebooks/01_toy.ipynb", "print(f(1))", "print( f(1) )  # printed"),
        ("notebooks/01_toy.ipynb", "Blue.", "Red."),
        ("notebooks/01_toy.ipynb", "epochs: int = 2", "epochs: int = 3"),
        ("notebooks/01_toy.ipynb", "words", "other words"),
    ],
)
def test_the_digest_does_not_change_with_words_and_pictures(small, file, old, new):
    before = digest("01_toy")
    assert digest_with(small, file, old, new) == before


def test_digests_have_the_form_of_those_in_the_committed_studies():
    committed = (PROJECT / "report" / "results" / "studies").glob("*.json")
    found = [json.loads(path.read_text())["digest"] for path in committed]
    for each in (digest("04_training"), *found):
        assert re.fullmatch("[0-9a-f]{16}", each)


def test_the_loss_of_the_course_is_in_the_digest_of_notebook_04(tmp_path, monkeypatch):
    before = digest("04_training")
    shutil.copytree(PROJECT / "vae_helpers", tmp_path / "vae_helpers")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "vae_helpers")
    assert digest("04_training") == before
    loss = tmp_path / "vae_helpers" / "objective.py"
    loss.write_text(loss.read_text().replace("logvar", "logvariance"))
    assert digest("04_training") != before


def test_a_new_model_beside_the_courses_leaves_the_digest_of_notebook_04(tmp_path, monkeypatch):
    before = digest("04_training")
    shutil.copytree(PROJECT / "vae_helpers", tmp_path / "vae_helpers")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "vae_helpers")
    with (tmp_path / "vae_helpers" / "models.py").open("a") as file:
        file.write("\n\nclass Flow(nn.Module):\n    steps = hidden_layers\n")
    with (tmp_path / "vae_helpers" / "objective.py").open("a") as file:
        file.write("\n\ndef wasserstein(x):\n    return kl(x, x)\n")
    assert digest("04_training") == before


# --- which definitions are reached

FAR = """
def hidden():
    return 1


def other():
    return 2
"""
IMPORT = "from vae_helpers import far\n\n\n"
F = "def f(x):\n    return "
WAYS = {
    "an attribute of its module": IMPORT + F + "far.hidden()",
    "a call of another function": IMPORT + "def g():\n    return far.hidden()\n\n\n" + F + "g()",
    "another module": "from vae_helpers import middle\n\n\n" + F + "middle.g()",
    "what another module imports": "from vae_helpers import middle\n\n\n" + F + "middle.h()",
    "the module of another module": "from vae_helpers import middle\n\n\n"
    + F
    + "middle.far.hidden()",
    "a method": IMPORT + "class A:\n    def g(self):\n        far.hidden()\n\n\n" + F + "A().g()",
    "a base class": IMPORT + "class A(far.hidden):\n    pass\n\n\n" + F + "A()",
    "a default": IMPORT + "def f(x, y=far.hidden):\n    return y()",
    "a decorator": IMPORT + "@far.hidden\ndef f(x):\n    return x",
    "a constant": IMPORT + 'TABLE = {"a": far.hidden}\n\n\n' + F + "TABLE",
    "an annotated constant": IMPORT + "TABLE: list = [far.hidden]\n\n\n" + F + "TABLE",
    "one of two constants": IMPORT + "A, (B, *C) = 1, far.hidden()\n\n\n" + F + "C",
    "an inner assignment": IMPORT + "A = [B := far.hidden()]\n\n\n" + F + "B",
    "a second definition": F + "x\n\n\n" + IMPORT + F + "far.hidden()",
    "a module's alias": "import vae_helpers.far as away\n\n\n" + F + "away.hidden()",
    "a package's alias": "from vae_helpers import far as away\n\n\n" + F + "away.hidden()",
    "its own alias": "from vae_helpers.far import hidden as away\n\n\n" + F + "away()",
    "its full name": "import vae_helpers.far\n\n\n" + F + "vae_helpers.far.hidden()",
    "a relative import": "from .far import hidden\n\n\n" + F + "hidden()",
    "a relative import of its module": "from . import far\n\n\n" + F + "far.hidden()",
    "an import in a function": "def f(x):\n    import vae_helpers.far as away\n\n    away.hidden()",
    "an import that may fail": "try:\n    from vae_helpers.far import hidden\nexcept ImportError:\n"
    "    hidden = None\n\n\n" + F + "hidden()",
    "a statement": IMPORT + "far.hidden()\n\n\n" + F + "x",
    "an assignment to a part": IMPORT + "TABLE = {}\nTABLE['a'] = far.hidden\n\n\n" + F + "TABLE",
    "an assignment to a name and a part": IMPORT
    + "TABLE = {}\nA, TABLE['a'] = 1, far.hidden\n\n\n"
    + F
    + "TABLE",
    "a global variable": IMPORT + "def g():\n    global A\n    A = far.hidden\n\n\ng()\n\n\n"
    "A = 1\n\n\n" + F + "A",
    "its place in a text": IMPORT + F + "f'{far.hidden()}'",
}
MIDDLE = "from vae_helpers import far\nfrom vae_helpers.far import hidden as h\n\n\n" + (
    "def g():\n    return far.hidden()\n"
)


def write(small, **modules):
    for name, source in modules.items():
        (small / "vae_helpers" / f"{name}.py").write_text(source + "\n")


@pytest.mark.parametrize("near", WAYS.values(), ids=WAYS)
def test_a_definition_enters_that_is_reached_through(small, near):
    write(small, near=near, middle=MIDDLE, far=FAR)
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 2", "return 3") == before
    assert digest_with(small, "vae_helpers/far.py", "return 1", "return 3") != before


def test_definitions_that_nothing_reaches_may_come_and_go(small):
    write(small, near=WAYS["an attribute of its module"], far=FAR)
    before = digest("01_toy")
    write(small, far="import os\n\nTWO: int = 2\n\n\nclass A:\n    b = TWO, os\n" + FAR)
    assert digest("01_toy") == before
    write(small, far=FAR[: FAR.index("def other")])
    assert digest("01_toy") == before


def test_an_imported_name_enters_only_if_it_is_used(small):
    write(small, near="from vae_helpers.far import hidden\n\n\n" + F + "hidden()", far=FAR)
    before = digest("01_toy")
    assert (
        digest_with(small, "vae_helpers/near.py", "import hidden", "import hidden, other") == before
    )


def test_a_module_that_is_imported_and_not_used_does_not_enter(small):
    write(small, near=WAYS["an attribute of its module"], far=FAR)
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/near.py", "import far", "import far, unused") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from math import sin as g", "from math import cos as g"),
        ("far import hidden as h", "far import other as h"),
        ("import math as m", "import cmath as m"),
    ],
)
def test_what_a_used_name_is_imported_as_enters(small, old, new):
    both = "from vae_helpers.far import hidden as h\nfrom vae_helpers import far\n"
    near = "from math import sin as g\nimport math as m\n" + both
    write(small, near=near + F + "g(m.pi, h(), far.hidden(), far.other())", far=FAR)
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/near.py", old, new) != before


WHOLE = {
    "it is handed on": IMPORT + F + "vars(far)",
    "its attribute is a text": IMPORT + F + "getattr(far, x)()",
    "it gets another name": IMPORT + "away = far\n\n\n" + F + "away.other()",
    "all of it is imported": "from vae_helpers.far import *\n\n\n" + F + "other()",
    "all of it is imported on the way": "from vae_helpers import star\n\n\n" + F + "star.other()",
    "the attribute is made at run time": IMPORT + F + "far.made",
    "another module is handed on": "from vae_helpers import middle\n\n\n" + F + "vars(middle)",
}


@pytest.mark.parametrize("near", WHOLE.values(), ids=WHOLE)
def test_a_module_enters_whole_if(small, near):
    write(small, near=near, middle=MIDDLE, star="from vae_helpers.far import *", far=FAR)
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 2", "return 3") != before


def test_a_module_that_looks_its_own_names_up_enters_whole(small):
    write(small, near=F + "globals()[x]()\n\n\n" + "def g():\n    return 1")
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/near.py", "return 1", "return 2") != before


@pytest.mark.parametrize(
    "far",
    [
        "import random\n\nrandom.seed(1)",
        "A = []\nA += [1]",
        "A = []\nif True:\n    A.append(1)",
        "def register(g):\n    return g\n\n\n@register\ndef g():\n    return 1",
        "class A:\n    pass\n\n\nclass B(A):\n    b = 1",
        "def register(g):\n    return g\n\n\ng = register(1)",
        "from vae_helpers.unused import register\n\n\n@register\ndef g():\n    return 1",
    ],
)
def test_what_an_import_may_do_enters_though_nothing_of_the_module_is_used(small, far):
    write(small, near=IMPORT + F + "x", far=far)
    before = digest("01_toy")
    path = small / "vae_helpers" / "far.py"
    path.write_text(path.read_text().replace("1", "2"))
    assert digest("01_toy") != before


def test_decorators_and_bases_of_other_libraries_do_not_make_a_definition_enter(small):
    far = "import torch\nfrom torch import nn\n\n\n@torch.no_grad()\nclass A(nn.Module):\n    b = 1"
    write(small, near=IMPORT + F + "x", far=far)
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "b = 1", "b = 2") == before


def test_modules_that_import_each_other_are_followed_to_the_end(small):
    write(
        small,
        near="from vae_helpers.far import f\n",
        far="from vae_helpers.near import f\n\n\ndef f(x):\n    return 1",
    )
    before = digest("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 1", "return 2") != before


def test_a_function_whose_values_are_kept_has_the_digest_that_it_had_before(small):
    before = digest("01_toy")
    path = small / "vae_helpers" / "near.py"
    (small / "vae_helpers" / "kept.py").write_text("def kept(f):\n    return f\n")
    source = path.read_text().replace("def f(x)", "@kept\ndef f(x)")
    path.write_text(source.replace("from vae", "from vae_helpers.kept import kept\nfrom vae", 1))
    assert path.read_text().count("kept") == 3
    assert digest("01_toy") == before
    path.write_text(source.replace("@kept", "@far.g"))
    assert digest("01_toy") != before


def test_a_definition_has_a_digest_of_what_it_reaches(small):
    before = fingerprint.digest_of("near", "f")
    (small / "vae_helpers" / "unused.py").write_text("TWO = 3\n")
    assert fingerprint.digest_of("near", "f") == before
    (small / "vae_helpers" / "lazy.py").write_text("ONE = 2\n")
    assert fingerprint.digest_of("near", "f") != before
