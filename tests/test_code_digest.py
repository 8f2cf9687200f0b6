"""The digest of the code behind a notebook: what changes it, in a package of a few lines."""

import importlib
import json
import re

import nbformat
import pytest
import torch

from vae_helpers import PROJECT, models, objective, training
from vae_helpers.store import code_digest
from vae_helpers.store.code_digest import (
    CodeDigestError,
    SourceChangedError,
    of_definition,
    of_notebook,
)

MODULES = {
    "__init__": '"""A package."""\n',
    "near": '"""Near."""\nfrom vae_helpers import far\n\n\ndef f(x):\n    """Twice."""\n'
    '    if x < 0:\n        raise ValueError("Too small")\n'
    "    return 2 * far.g(x)  # doubled\n",
    "far": "def g(x):\n    import vae_helpers.lazy as lazy\n\n    return lazy.ONE\n",
    "lazy": 'ONE = 1\n"""What it is."""\n',
    "unused": "TWO = 2\n",
    "figures": "from vae_helpers import unused\n\nCOLOUR = 'blue'\n",
}
CELLS = (
    "epochs: int = 2  # passes",
    "from vae_helpers import figures\nfrom vae_helpers.near import f\n\nresults = 1",
    "print(f(1))",
    'results.show(figures.COLOUR, "name", caption="Blue.", alt="A blue square.")',
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
        (tmp_path / "vae_helpers" / f"{name}.py").write_text(source, encoding="utf-8")
    notebook = notebook_of(*CELLS)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("words"))
    nbformat.write(notebook, tmp_path / "notebooks" / "01_toy.ipynb")
    monkeypatch.setattr(code_digest, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(code_digest, "PACKAGE", tmp_path / "vae_helpers")
    return tmp_path


def replace(path, old, new):
    before = path.read_text(encoding="utf-8")
    assert before.count(old) == 1, path
    path.write_text(before.replace(old, new), encoding="utf-8")


def digest_with(small, file, old, new):
    replace(small / file, old, new)
    return of_notebook("01_toy")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "2 * far", "3 * far"),
        ("vae_helpers/near.py", "2 * far.g(x)", "far.g(x) * 2"),
        ("vae_helpers/near.py", "def f(x)", "def f(x=1)"),
        ("vae_helpers/near.py", "raise ValueError", "raise KeyError"),
        ("vae_helpers/far.py", "lazy.ONE", "-lazy.ONE"),
        ("vae_helpers/lazy.py", "ONE = 1", "ONE = 1.0"),
        ("notebooks/01_toy.ipynb", "print(f(1))", "print(f(2))"),
    ],
)
def test_the_digest_changes_with_the_code_that_the_numbers_come_from(small, file, old, new):
    before = of_notebook("01_toy")
    assert digest_with(small, file, old, new) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vae_helpers/near.py", "# doubled", "# twice"),
        ("vae_helpers/near.py", "2 * far.g(x)", "(2  *  far.g(x))"),
        ("vae_helpers/near.py", "\n\n\ndef f", "\n\n\n\n\ndef f"),
        ("vae_helpers/near.py", '"Too small"', 'f"Smaller than {x}"'),
        ("vae_helpers/near.py", '"Too small")', '"Too small") from None'),
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
    before = of_notebook("01_toy")
    assert digest_with(small, file, old, new) == before


def test_a_process_in_a_folder_without_the_notebook_is_told_where_to_start(small):
    message = r"expected the notebook .*/99_gone\.ipynb, found none: start .* folder of its course"
    with pytest.raises(CodeDigestError, match=message):
        of_notebook("99_gone")


def test_digests_have_the_form_of_those_in_the_committed_studies():
    committed = (PROJECT / "report" / "results" / "studies").glob("*.json")
    found = [json.loads(path.read_text(encoding="utf-8"))["digest"] for path in committed]
    for each in (of_notebook("05_training"), *found):
        assert re.fullmatch("[0-9a-f]{16}", each)


def test_the_loss_of_the_course_is_in_the_digest_of_notebook_04(package):
    before = of_notebook("05_training")
    replace(package / "objective.py", "logvar.exp() - 1", "logvar.exp() - 2")
    assert of_notebook("05_training") != before


def test_a_new_model_beside_the_courses_leaves_the_digest_of_notebook_04(package):
    before = of_notebook("05_training")
    with (package / "models.py").open("a", encoding="utf-8") as file:
        file.write("\n\nclass Flow(VAE):\n    steps = hidden_layers\n")
    with (package / "objective.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef wasserstein(x):\n    return kl(x, x)\n")
    assert of_notebook("05_training") == before


def test_no_word_of_the_machinery_is_in_the_digest_of_a_notebook(package):
    notebooks = [path.stem for path in sorted((PROJECT / "notebooks").glob("*.ipynb"))]
    before = [*map(of_notebook, notebooks)]
    for folder in code_digest.MACHINERY:
        for path in [package / f"{folder}.py", *(package / folder).rglob("*.py")]:
            path.write_text("SOMETHING = 'else'\n", encoding="utf-8")
    assert [*map(of_notebook, notebooks)] == before


# --- the same everywhere

SYNTAX = r'''
"""Words."""
from __future__ import annotations
import os.path as p, sys
from .far import hidden
A: int = 0x_ff
B = C, *D = 1, 2.5e-300, 3j, b"\xff", "\u00e9\U0001fae8\u200b🫨", ..., None, True
T: dict[str, int] = {"a": 1, "b": 2}
def f(a, /, b: int = 1, *args: str, c, d=(e := 2), **kw) -> "X":
    """Words."""
    global A
    g = lambda x, *y, z=1, **k: (x, *y, z)
    for i, (j, *k) in enumerate(range(3)):
        if i < j <= 3 != 4 and not i or j is None: continue
        elif i in k: break
        else: pass
    else:
        A += 1
    while (n := len(args)) > 1: n -= 1
    with open("x") as g, open("y") as h: del g, h
    try:
        raise ValueError("words") from None
    except (KeyError, ValueError) as error: pass
    else: assert A, "no"
    finally: return {**kw, "a": 1}, {*args}, (i for i in k if i if j), {i: j for i in k}
def s(x):
    return (f"a{x}b" "c" f"{x!r:>{x}.{x}}" f"{{}}" f"{x=}" f"{x:%Y-%m-%d}" f"" rf"\d{x}" f"{'q'}"
        "end" f"{x}{x}" f"{f'{x}'}" f"{x:{'>'}{10}}" f"\N{BULLET}{x}" f"{x!s:}")
def m(x):
    match x:
        case 1 | "a" | None | -1.5 | 1+2j: return 1
        case [a, *_, 3] if a: return 2
        case {"k": v, **rest}: return 3
        case P(x=1, y=Q()) as q: return p.sep
        case _: return x[1:2, ::3, ...]
async def co(x):
    async with x as y: pass
    async for z in y: await z
    return [w async for w in x], (yield)
@f(1).g
class K(hidden, metaclass=M):
    """Words."""
    x: int
    y: str = "a" "b"
    @property
    def z(self): return self.x @ self.x ** -1 // ~2 % 3 << 4 & 5 | 6 ^ 7
try: pass
except* OSError: pass
if sys.platform: import json
x = d if A else (lambda: 0)
print(u"u", r"\r", "é", 1_000, 1e400, -0.0, "\ud800")
'''
GOLDEN = "1cc6c77cc0b304d2"
"""Of Python 3.11.7, 3.12.1 and 3.13.0."""


def test_every_kind_of_syntax_has_the_same_digest_under_every_version_of_python(small):
    write(small, near=SYNTAX + F + "s, m, co, K, T, x, B, d", far=FAR)
    assert of_notebook("01_toy") == GOLDEN


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
    "an inner assignment": IMPORT + "A = [B := far.hidden]\n\n\n" + F + "B",
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
        (small / "vae_helpers" / f"{name}.py").write_text(source + "\n", encoding="utf-8")


@pytest.mark.parametrize("near", WAYS.values(), ids=WAYS)
def test_a_definition_enters_that_is_reached_through(small, near):
    write(small, near=near, middle=MIDDLE, far=FAR)
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 2", "return 3") == before
    assert digest_with(small, "vae_helpers/far.py", "return 1", "return 3") != before


def test_definitions_that_nothing_reaches_may_come_and_go(small):
    write(small, near=WAYS["an attribute of its module"], far=FAR)
    before = of_notebook("01_toy")
    write(small, far="import os\n\nTWO: int = 2\n\n\nclass A:\n    b = TWO, os\n" + FAR)
    assert of_notebook("01_toy") == before
    write(small, far=FAR[: FAR.index("def other")])
    assert of_notebook("01_toy") == before


def test_an_imported_name_enters_only_if_it_is_used(small):
    write(small, near="from vae_helpers.far import hidden\n\n\n" + F + "hidden()", far=FAR)
    before = of_notebook("01_toy")
    assert (
        digest_with(small, "vae_helpers/near.py", "import hidden", "import hidden, other") == before
    )


def test_a_module_that_is_imported_and_not_used_does_not_enter(small):
    write(small, near=WAYS["an attribute of its module"], far=FAR)
    before = of_notebook("01_toy")
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
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/near.py", old, new) != before


WHOLE = {
    "it is handed on": IMPORT + F + "vars(far)",
    "its attribute is a text": IMPORT + F + "getattr(far, x)()",
    "it gets another name": IMPORT + "away = far\n\n\n" + F + "away.other()",
    "all of it is imported": "from vae_helpers.far import *\n\n\n" + F + "other()",
    "all of it is imported on the way": "from vae_helpers import star\n\n\n" + F + "star.other()",
    "another module is handed on": "from vae_helpers import middle\n\n\n" + F + "vars(middle)",
}


@pytest.mark.parametrize("near", WHOLE.values(), ids=WHOLE)
def test_a_module_enters_whole_if(small, near):
    write(small, near=near, middle=MIDDLE, star="from vae_helpers.far import *", far=FAR)
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 2", "return 3") != before


def test_a_module_that_looks_its_own_names_up_enters_whole(small):
    write(small, near=F + "globals()[x]()\n\n\n" + "def g():\n    return 1")
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/near.py", "return 1", "return 2") != before


@pytest.mark.parametrize(
    "far",
    [
        "import random\n\nrandom.seed(1)",
        "A = []\nA += [1]",
        "A = []\nif True:\n    A.append(1)",
        "def register(g):\n    return g\n\n\n@register\ndef g():\n    return 1",
        "class A(type):\n    pass\n\n\nclass B(metaclass=A):\n    b = 1",
        "def register(g):\n    return g\n\n\ng = register(1)",
        "from vae_helpers.lazy import ONE as register\n\n\n@register\ndef g():\n    return 1",
    ],
)
def test_what_an_import_may_do_enters_though_nothing_of_the_module_is_used(small, far):
    write(small, near=IMPORT + F + "x", far=far)
    before = of_notebook("01_toy")
    path = small / "vae_helpers" / "far.py"
    path.write_text(path.read_text(encoding="utf-8").replace("1", "2"), encoding="utf-8")
    assert of_notebook("01_toy") != before


def test_decorators_and_bases_of_other_libraries_do_not_make_a_definition_enter(small):
    far = "import torch\nfrom torch import nn\n\n\n@torch.no_grad()\nclass A(nn.Module):\n    b = 1"
    write(small, near=IMPORT + F + "x", far=far)
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "b = 1", "b = 2") == before


def test_modules_that_import_each_other_are_followed_to_the_end(small):
    write(
        small,
        near="from vae_helpers.far import f\n",
        far="from vae_helpers.near import f\n\n\ndef f(x):\n    return 1",
    )
    before = of_notebook("01_toy")
    assert digest_with(small, "vae_helpers/far.py", "return 1", "return 2") != before


def test_a_definition_has_a_digest_of_what_it_reaches(small):
    before = of_definition("near", "f")
    replace(small / "vae_helpers" / "unused.py", "TWO = 2", "TWO = 3")
    assert of_definition("near", "f") == before
    replace(small / "vae_helpers" / "lazy.py", "ONE = 1", "ONE = 2")
    assert of_definition("near", "f") != before


# --- tables

TABLE = """
def a():
    return 1


def b():
    return 2


TABLE = {"a": a, "b": b}
"""
ENTRIES = {
    "a literal key": ("far.TABLE['a']()", "b", True),
    "a key of the configuration": ("far.TABLE[x]()", "a", True),
    "a key in the code": ("far.TABLE[x]() or g('a')", "c", True),
    "a key that is looked for": ("x in far.TABLE", "a", True),
    "a key that something is compared with": ("far.TABLE[x]() if x != 'b' else 0", "a", True),
    "a key among several": ("far.TABLE[x]() if x not in ('b', 'c') else 0", "a", True),
    "no key that is known": ("far.TABLE[x]()", "c", False),
    "a key that is read": ("far.TABLE.get('a')", "a", False),
    "a table that is handed on": ("g(far.TABLE)", "a", False),
    "a table that is gone through": ("[it() for it in far.TABLE.values()]", "a", False),
    "an entry that is looked up by another": ("far.TABLE[x]() or g(y='b')", "a", False),
    "a table of two parts": ("far.TABLE[x]() or far.TABLE", "a", False),
}


@pytest.mark.parametrize(("use", "word", "chosen"), ENTRIES.values(), ids=ENTRIES)
def test_of_a_table_the_entries_count_that_can_be_looked_up(small, use, word, chosen):
    write(small, near=IMPORT + F + use, far=TABLE)
    before = of_notebook("01_toy", [word])
    replace(small / "vae_helpers" / "far.py", "return 2", "return 3")
    assert (of_notebook("01_toy", [word]) == before) == chosen
    replace(small / "vae_helpers" / "far.py", "return 1", "return 3")
    assert of_notebook("01_toy", [word]) != before


def test_an_entry_of_a_table_that_is_not_looked_up_may_come_and_go(small):
    write(small, near=IMPORT + F + "far.TABLE[x]()", far=TABLE)
    before = of_notebook("01_toy", ["a"])
    write(small, far=TABLE.replace('"b": b', '"b": b, "c": b, "d": b()'))
    assert of_notebook("01_toy", ["a"]) == before


def test_without_words_a_table_counts_whole(small):
    write(small, near=IMPORT + F + "far.TABLE[x]() or g('a')", far=TABLE)
    before = of_definition("near", "f")
    replace(small / "vae_helpers" / "far.py", "return 2", "return 3")
    assert of_definition("near", "f") != before


# --- what cannot be followed


def moved(package, name, folder):
    """Move a module into a folder, with the names by which the others import it."""
    (package / folder).mkdir(exist_ok=True)
    (package / folder / "__init__.py").touch()
    (package / f"{name}.py").rename(package / folder / f"{name}.py")
    for path in package.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        source = source.replace(f"from vae_helpers.{name} ", f"from vae_helpers.{folder}.{name} ")
        path.write_text(source, encoding="utf-8")


def test_a_module_that_moves_into_a_folder_of_the_science_is_followed(package):
    moved(package, "models", "networks")
    before = of_definition("training", "Trainer")
    replace(package / "networks" / "models.py", "0.5 * logvar", "0.4 * logvar")
    after = of_definition("training", "Trainer")
    assert after != before
    (package / "networks" / "__init__.py").write_text("print()\n", encoding="utf-8")
    assert of_definition("training", "Trainer") != after


def test_a_module_that_moves_into_a_folder_is_followed_by_relative_imports(package):
    moved(package, "models", "networks")
    models = package / "networks" / "models.py"
    (package / "networks" / "layers.py").write_text(
        "from ..data import PIXELS as WIDTH\n\n\ndef bent():\n    return WIDTH\n", encoding="utf-8"
    )
    replace(models, "from vae_helpers.data import PIXELS", "from .layers import bent as PIXELS")
    before = of_definition("training", "Trainer")
    replace(package / "networks" / "layers.py", "return WIDTH", "return -WIDTH")
    after = of_definition("training", "Trainer")
    assert after != before
    replace(package / "data.py", "PIXELS = SIDE * SIDE", "PIXELS = SIDE * 28")
    assert of_definition("training", "Trainer") != after


def test_names_that_a_folder_hands_on_are_followed(package):
    moved(package, "models", "networks")
    own = "from vae_helpers.networks.models import VAE, TunedVAE, VAEOutput\n"
    (package / "networks" / "__init__.py").write_text(own, encoding="utf-8")
    for name in ("training", "objective"):
        replace(package / f"{name}.py", "vae_helpers.networks.models", "vae_helpers.networks")
    before = of_definition("training", "Trainer")
    replace(package / "networks" / "models.py", "0.5 * logvar", "0.4 * logvar")
    assert of_definition("training", "Trainer") != before


def test_a_module_that_moves_into_the_machinery_is_an_error(package):
    moved(package, "models", "store")
    with pytest.raises(CodeDigestError, match=r"imports the machinery \(store\.models"):
        of_definition("training", "Trainer")


def test_a_module_that_is_gone_is_an_error(package):
    (package / "models.py").unlink()
    expected = r"expected vae_helpers\.models, .* found none: restore it, or change what uses it"
    with pytest.raises(CodeDigestError, match=expected):
        of_definition("training", "Trainer")
    with pytest.raises(CodeDigestError, match=expected):
        of_notebook("06_ablation")


def test_a_function_that_is_renamed_where_it_is_defined_only_is_an_error(package):
    replace(package / "objective.py", "def generator_loss(", "def loss(")
    with pytest.raises(CodeDigestError, match=r"expected vae_helpers\.objective\.generator_loss, "):
        of_definition("adversarial", "GANConfig")


def test_names_that_depend_on_a_condition_are_found(small):
    far = (
        "import sys\n\nif sys.platform:\n    def hidden():\n        return 1\nelse:\n    hidden = 2"
    )
    write(small, near=IMPORT + F + "far.hidden()", far=far)
    before = of_notebook("01_toy")
    replace(small / "vae_helpers" / "far.py", "return 1", "return 3")
    assert of_notebook("01_toy") != before


@pytest.mark.parametrize("how", ["    def __init_subclass__(cls):\n        pass", "    pass"])
def test_code_that_is_found_by_its_base_class_is_an_error(small, how):
    use = "A()" if "def" in how else "A.__subclasses__()"
    write(small, near=f"class A:\n{how}\n\n\n" + F + use)
    with pytest.raises(CodeDigestError, match="looks its subclasses up"):
        of_notebook("01_toy")


def test_what_a_notebook_imports_of_the_machinery_is_not_followed(small):
    (small / "vae_helpers" / "store").mkdir()
    nbformat.write(
        notebook_of(
            "", "from vae_helpers.store import runs\nfrom vae_helpers.store.runs import fit"
        ),
        small / "notebooks" / "02_other.ipynb",
    )
    before = of_notebook("02_other")
    runs = small / "vae_helpers" / "store" / "runs.py"
    runs.write_text("from vae_helpers import far\n\nfit = far.g(1)\n", encoding="utf-8")
    assert of_notebook("02_other") == before


@pytest.mark.parametrize("module", ["__main__", "store.runs", "test_code_digest", "torch.nn"])
def test_a_definition_that_is_none_of_the_science_has_no_digest(module):
    with pytest.raises(CodeDigestError, match="expected "):
        of_definition(module, "fit")


# --- what is in memory


def mine(*args):
    return 0


REPLACED = {
    "a function": (objective, "kl"),
    "a class": (models, "VAE"),
    "a method": (models.VAE, "decode"),
    "a property": (training.TrainConfig, "sample_shape", property(mine)),
    "a decorated method": (models.VAE, "sample"),
    "a decorated function": (training, "evaluate"),
    "a number": (training, "EVALUATION_BATCH"),
    "an imported function": (training, "batches"),
    "an imported class": (training, "VAE"),
}


@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED)
def test_a_definition_that_this_process_has_replaced_has_no_digest(replaced, monkeypatch):
    place, name, *other = replaced

    def digests():
        return of_definition("training", "TrainConfig"), of_definition("models", "VAE")

    digests()
    monkeypatch.setattr(place, name, *(other or [mine]))
    with pytest.raises(SourceChangedError, match=r"replaced .* of vae_helpers.*restart the kernel"):
        digests()


def test_an_entry_of_a_table_that_this_process_has_replaced_has_no_digest(monkeypatch):
    monkeypatch.setitem(models.ACTIVATIONS, "relu", torch.nn.Tanh)
    with pytest.raises(SourceChangedError, match=r"replaced ACTIVATIONS of vae_helpers\.models"):
        of_definition("training", "TrainConfig", words=["relu"])


def test_every_definition_of_the_science_is_as_it_was_written():
    for path in sorted((PROJECT / "vae_helpers").glob("[a-z]*.py")):
        importlib.import_module(f"vae_helpers.{path.stem}")
        whole = code_digest.reached(f"from vae_helpers.{path.stem} import *", None)
        assert len(whole.get(path.stem, ())) > 3 or path.stem in code_digest.SHOWS
        code_digest._check_memory(whole)


@pytest.mark.parametrize(
    ("file", "refused"), [("objective.py", True), ("store/files.py", False), ("__main__.py", False)]
)
def test_only_a_changed_file_of_the_science_asks_for_a_restart(file, refused, monkeypatch):
    path = PROJECT / "vae_helpers" / file
    monkeypatch.setitem(code_digest.SOURCES, path, path.read_bytes() + b"#")
    try:
        code_digest.check_unchanged()
        raised = ""
    except SourceChangedError as error:
        raised = str(error)
    assert ("restart the kernel" in raised) == refused
