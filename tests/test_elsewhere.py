"""Where readers really run it: another folder, another user's checkout, Windows, another locale."""

import ast
import os
import shutil
import subprocess
import sys

import pytest
import torch
import toy_project
from toy_digits import few_digits
from warm_python import AS_A_USER

from vae_helpers import PROJECT
from vae_helpers.adversarial import GANConfig
from vae_helpers.classifier import ClassifierConfig
from vae_helpers.data import unpacked
from vae_helpers.store import runs
from vae_helpers.training import TrainConfig

needs_permissions = pytest.mark.skipif(
    os.geteuid() == 0 and not AS_A_USER,
    reason="root may write anywhere, and setpriv, which takes that from it, is not installed",
)


@pytest.fixture
def run(warm_python):
    """Runs code in a new process in a folder, with the rights of an ordinary user."""

    def run(code, *arguments, folder, package=PROJECT, **variables):
        env = {**os.environ, "PYTHONPATH": str(package), **variables}
        return warm_python.run(code, *arguments, folder=folder, env=env)

    return run


def run_in_locale(code, *arguments, **variables):
    """A new Python, which reads these variables before it does anything else."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        env={**os.environ, **variables},
        capture_output=True,
        encoding="utf-8",
    )


def copy_of(folder, *names):
    """Parts of the project, as a clone would hold them."""
    ignored = shutil.ignore_patterns("__pycache__", ".unpacked", "*.lock")
    for name in names:
        source, target = PROJECT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def let_write(folder, *, allowed):
    """Give or take the right to write in a folder and all that is below it."""
    for path in [folder, *folder.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if allowed else mode & ~0o222)


@pytest.fixture
def clone(tmp_path):
    """Makes a copy of parts of the project that cannot be written to."""

    def make(*names, made=copy_of):
        (tmp_path / "clone").mkdir()
        made(tmp_path / "clone", *names)
        let_write(tmp_path / "clone", allowed=False)
        return tmp_path / "clone"

    yield make
    let_write(tmp_path / "clone", allowed=True)  # or pytest could not remove it


# Without a checkout

MODEL = """
import sys

for name in ("IPython", "matplotlib", "papermill", "platformdirs", "sklearn", "torchvision"):
    sys.modules[name] = None  # importing it fails

import torch
from vae_helpers import PROJECT
from vae_helpers.models import VAE

logits, mu, _, _ = VAE()(torch.rand(3, 784), torch.randn(3, 20))
print(PROJECT, tuple(logits.shape), tuple(mu.shape))
"""


def test_the_model_needs_nothing_but_the_package_and_torch(run, tmp_path):
    package = copy_of(tmp_path / "site", "vae_helpers")
    done = run(MODEL, folder=tmp_path, package=package)
    assert done.stdout == f"{package} (3, 784) (3, 20)\n", done.stderr


UNPACK = """
import sys
from pathlib import Path
from vae_helpers.data import DataError, unpacked

for folder in sys.argv[1:]:
    try:
        raw = unpacked("MNIST", folder or None) / "MNIST" / "raw"
        print(raw, *sorted(path.stem for path in raw.iterdir()))
    except DataError as error:
        print(error)
"""
FILES = (
    "t10k-images-idx3-ubyte t10k-labels-idx1-ubyte train-images-idx3-ubyte train-labels-idx1-ubyte"
)


def test_a_package_without_a_checkout_says_that_it_has_no_images_and_takes_a_folder(run, tmp_path):
    package = copy_of(tmp_path / "site", "vae_helpers")
    done = run(UNPACK, "", PROJECT / "data", folder=tmp_path, package=package)
    assert "site/data does not exist; give the folder that holds MNIST/raw" in done.stdout
    assert done.stdout.endswith(f"/MNIST/raw {FILES}\n"), done.stderr


# A checkout that cannot be written to


@needs_permissions
def test_images_of_a_read_only_checkout_are_unpacked_into_a_cache_of_ones_own(run, tmp_path, clone):
    data, own = clone("data/MNIST") / "data", tmp_path / "own"
    done = run(UNPACK, data, folder=tmp_path, XDG_CACHE_HOME=str(own))
    assert done.stdout == f"{own}/vae-helpers/MNIST/raw {FILES}\n", done.stderr
    assert not (data / ".unpacked").exists()


@needs_permissions
def test_where_nothing_can_be_written_the_message_says_what_to_do(run, tmp_path, clone):
    folder = clone("data/MNIST")
    done = run(UNPACK, folder / "data", folder=tmp_path, XDG_CACHE_HOME=str(folder / "cache"))
    assert "expected a folder that the files can be unpacked into" in done.stdout
    assert "copy the project to a folder of your own and work there" in done.stdout


@needs_permissions
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "damaged"])
def test_images_that_another_user_has_unpacked_are_used_as_far_as_they_are_whole(
    run, tmp_path, whole
):
    data, own = copy_of(tmp_path, "data/MNIST") / "data", tmp_path / "own"
    theirs = unpacked("MNIST", data) / "MNIST" / "raw"
    if not whole:
        (theirs / "t10k-labels-idx1-ubyte").write_bytes(b"half")
    let_write(data / ".unpacked", allowed=False)  # its lock as well
    try:
        done = run(UNPACK, data, folder=tmp_path, XDG_CACHE_HOME=str(own))
    finally:
        let_write(data / ".unpacked", allowed=True)
    used = theirs if whole else own / "vae-helpers" / "MNIST" / "raw"
    assert done.stdout == f"{used} {FILES}\n", done.stderr


WRITE = """
import sys
from pathlib import Path
from vae_helpers.store.files import write_whole

try:
    write_whole(Path(sys.argv[1]), "text")
except OSError as error:
    print(error)
"""


COMMAND = "import sys; from vae_helpers.__main__ import main; sys.exit(main(sys.argv[1:]))"


@needs_permissions
def test_a_course_that_cannot_be_written_to_is_refused_with_what_to_do(run, tmp_path, clone):
    project = clone(made=toy_project.make)
    done = run(COMMAND, "run", folder=tmp_path, package=project)
    assert done.returncode == 1
    assert "copy the project to a folder of your own" in done.stderr
    assert "Traceback" not in done.stderr


@needs_permissions
@pytest.mark.parametrize("name", ["README.md", "new.txt", "build/full/new.txt"])
def test_a_file_that_may_not_be_written_says_what_to_do(run, tmp_path, clone, name):
    path = clone("README.md") / name
    done = run(WRITE, path, folder=tmp_path)
    assert f"{path}: expected to write 4 bytes, but: Permission denied" in done.stdout
    assert "copy the project to a folder of your own" in done.stdout


FIT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_elsewhere import train
from vae_helpers.store.files import FileNotWrittenError

try:
    train(sys.argv[1])
except FileNotWrittenError as error:
    print(error)
"""


def train(folder):
    config = TrainConfig(epochs=1, hidden_dims=(8,), device="cpu")
    return runs.fit(config, few_digits(), folder, show_progress=False)


@needs_permissions
def test_a_run_that_another_user_has_made_says_what_to_do(run, tmp_path):
    train(tmp_path / "runs")
    let_write(tmp_path / "runs", allowed=False)
    try:
        done = run(FIT, tmp_path / "runs", PROJECT / "tests", folder=tmp_path)
    finally:
        let_write(tmp_path / "runs", allowed=True)
    assert "run_dir: expected a folder that can be written to" in done.stdout, done.stderr
    assert "take another folder" in done.stdout


BOOK = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1] + "/report")
import book

project = Path(sys.argv[1])
book.lay_out(project / "report", project / "notebooks", Path(sys.argv[2]))
"""


@needs_permissions
def test_the_book_of_a_read_only_checkout_is_laid_out_where_one_may_write(run, tmp_path, clone):
    names = ["README.md", "MANUAL.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff"]
    names += ["pyproject.toml", "data", "tests/mistakes.toml", "tests/template"]
    project = clone("report", "notebooks", "vae_helpers", *names)
    done = run(BOOK, project, tmp_path / "source", folder=tmp_path, package=project)
    assert done.stderr == ""
    pages = {path.stem for path in (tmp_path / "source" / "notebooks").glob("*.ipynb")}
    assert pages == {path.stem for path in (PROJECT / "notebooks").glob("*.ipynb")}


# Another system


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a git repository")
def test_a_clone_that_would_turn_line_ends_has_those_of_the_repository(tmp_path):
    def git(*arguments):
        return subprocess.check_output(
            ["git", "-c", "core.autocrlf=true", *arguments], cwd=PROJECT, encoding="utf-8"
        )

    names = git("ls-files", "*.py", "*.md", "*.toml", "*.cfg", "*.ipynb", "*.csv").split()
    git("checkout-index", f"--prefix={tmp_path}/", "--", *names)
    turned = [name for name in names if b"\r\n" in (tmp_path / name).read_bytes()]
    assert len(names) > 100
    assert turned == []


def leaves_encoding_to_the_locale(call):
    """Whether a call reads or writes text without saying in which encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
    module = getattr(getattr(call.func, "value", None), "id", "")
    if "encoding" in given or module in ("Image", "os", "tarfile"):  # which open no text
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < ("read_text", "write_text").index(name) + 1
    if name == "open":
        words = [getattr(arg, "value", None) for arg in call.args[:2]] + [given.get("mode")]
        return not any(word in ("rb", "wb", "ab", "xb", "r+b") for word in words)
    return given.get("text") is True


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text('a')", True),
        ("path.write_text('a', encoding='utf-8')", False),
        ("open(path)", True),
        ("open(path, 'wb')", False),
        ("path.open('rb')", False),
        ("path.open(mode='wb')", False),
        ("path.open(newline='')", True),
        ("Image.open(path)", False),
        ("subprocess.run(command, text=True)", True),
        ("new_output('stream', text=text)", False),
        ("subprocess.run(command, encoding='utf-8')", False),
    ],
)
def test_a_call_that_leaves_its_encoding_to_the_locale_is_found(code, expected):
    assert leaves_encoding_to_the_locale(ast.parse(code).body[0].value) is expected


@pytest.mark.parametrize("folder", ["vae_helpers", "report", "tests"])
def test_no_text_is_read_or_written_in_the_encoding_of_the_locale(folder):
    found = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and leaves_encoding_to_the_locale(node)
    ]
    assert found == []


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""What makes Python read and write ASCII where nothing else was said."""

DIGESTS = """
import locale
from vae_helpers.course import notebooks
from vae_helpers.store import code_digest

print(*map(code_digest.of_notebook, notebooks.names()))
print(locale.getpreferredencoding(False))
"""


def test_code_has_the_same_digest_in_every_locale():
    ours, theirs = (
        run_in_locale(DIGESTS, **variables) for variables in ({"PYTHONUTF8": "1"}, ASCII)
    )
    (digests, encoding), (other_digests, other_encoding) = (
        done.stdout.splitlines() for done in (ours, theirs)
    )
    assert encoding.lower() == "utf-8" != other_encoding.lower()
    assert digests == other_digests


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["run", "nonexistent"]])
def test_the_command_line_says_the_same_in_every_locale(words):
    ours, theirs = (
        run_in_locale(COMMAND, *words, **variables) for variables in ({"PYTHONUTF8": "1"}, ASCII)
    )
    assert len(ours.stdout + ours.stderr) > 50
    assert "Traceback" not in ours.stderr
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)


# Another default


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(epochs=1, hidden_dims=(8,), device="cpu"),
        TrainConfig(epochs=1, hidden_dims=(8,), device="cpu", binarize="dynamic", loss="iwae"),
        GANConfig(epochs=1, hidden_dims=(8,), batch_size=4, device="cpu"),
        ClassifierConfig(epochs=1),
    ],
    ids=["VAE", "IWAE", "GAN", "classifier"],
)
def test_a_default_of_double_precision_changes_no_training(config):
    digits = few_digits()
    expected = config.trainer(digits).epoch(1)
    torch.set_default_dtype(torch.float64)
    try:
        found = config.trainer(digits).epoch(1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == expected
