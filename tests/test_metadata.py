"""What others' tools read of the project: cards, descriptions of tables, the crate, the package.

The tools themselves are asked in tests/metadata, by `make metadata`.
"""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from published import load

from vae_helpers import PROJECT, __main__
from vae_helpers.course import notebooks
from vae_helpers.parameters import ParameterError
from vae_helpers.store import shipped
from vae_helpers.studies import score

seal, cards = load("seal"), load("cards")
dictionary, croissant, crate = load("dictionary"), load("croissant"), load("crate")
SEALED = seal.read(PROJECT)
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def described():
    """The description of the studies' tables."""
    return croissant.studies(PROJECT)


@pytest.fixture(scope="module")
def graph():
    """The entities of the crate by their identifiers."""
    made = crate.metadata(PROJECT, {})["@graph"]
    entities = {entity["@id"]: entity for entity in made}
    assert len(entities) == len(made), "two entities of one name"
    return entities


def references(value):
    """The identifiers that a value of an entity refers to."""
    if isinstance(value, list):
        return [name for part in value for name in references(part)]
    return [value["@id"]] if isinstance(value, dict) and set(value) == {"@id"} else []


def test_a_column_has_the_words_of_the_dictionary_and_a_series_those_of_its_name_too():
    def words(column):
        return dictionary.describe(column, root=PROJECT, notebook="18_measured_run")

    assert words("fcd[30]").startswith("the measure that decides")
    assert words("images_seen") == "training images times epochs (count)"
    assert words("batch_size") == "parameter: images per step"
    assert "draws" in words("minus_bound_grey_50")
    assert words("d_fake[3]").endswith("d_fake: mean of D(G(z)) over 1,000 samples (0 to 1)")


def test_a_column_that_nothing_describes_is_named():
    with pytest.raises(dictionary.DictionaryError, match="'frechet_everything'"):
        dictionary.describe("frechet_everything", root=PROJECT, notebook="18_measured_run")


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2"], "Integer"),
        (["1", ""], "Float"),
        (["1", "2.5"], "Float"),
        (["nan", "1e-3"], "Float"),
        (["True", "False"], "Boolean"),
        (["True", "1"], "Text"),
        (["[400, 200]"], "Text"),
        (["", ""], "Text"),
    ],
)
def test_a_columns_type_holds_for_all_of_its_entries(texts, kind):
    assert croissant.kind_of(texts) == kind


def test_every_table_is_described_with_the_checksum_that_is_sealed_and_all_of_its_columns(
    described,
):
    paths = sorted((PROJECT / "report/results/studies").glob("*.csv"))
    assert [it["name"] for it in described["recordSet"]] == [path.stem for path in paths]
    for path, file, table in zip(
        paths, described["distribution"], described["recordSet"], strict=True
    ):
        name = path.relative_to(PROJECT).as_posix()
        assert (file["contentUrl"], file["sha256"]) == (name, SEALED[name])
        with path.open(encoding="utf-8", newline="") as lines:
            columns = next(csv.reader(lines))
        assert [it["source"]["extract"]["column"] for it in table["field"]] == columns
        assert all(it["description"] for it in table["field"])


def test_mnists_files_are_described_with_the_checksums_of_their_provenance():
    words = (PROJECT / "data/README.md").read_text("utf-8")
    known = dict(re.findall(r"^\| (\S+\.gz) \| [\d,]+ \| (\w{32}) \|$", words, re.MULTILINE))
    found = {it["name"]: it["md5"] for it in croissant.mnist(PROJECT)["distribution"]}
    assert len(known) == 4
    assert found == known


def test_a_crate_holds_what_it_lists_and_nothing_refers_to_what_it_does_not_list(graph):
    outside = {"https://w3id.org/ro/crate/1.1"}
    for entity in graph.values():
        for value in entity.values():
            assert set(references(value)) <= graph.keys() | outside
    files = {name: it for name, it in graph.items() if "File" in it["@type"]}
    sealed = {name for name in SEALED if "#" not in name}
    assert sealed <= files.keys(), "published, and not in the crate"
    for name, it in files.items():
        if name in sealed:
            assert it["sha256"] == SEALED[name]


def test_every_figure_table_and_weight_was_made_by_one_action(graph):
    actions = [it for it in graph.values() if it["@type"] == "CreateAction"]
    made = [name for it in actions for name in references([it["result"]])]
    assert len(made) == len(set(made))
    kinds = ("report/figures/", "report/results/studies/", "report/weights/")
    expected = {name for name in SEALED if name.startswith(kinds) and not name.endswith(".md")}
    assert expected <= set(made)
    weights = graph["#run-09_latent_space"]
    assert weights["instrument"] == {"@id": "notebooks/09_latent_space.ipynb"}
    assert weights["description"] == "python -m vae_helpers run 09_latent_space"
    provenance = PROJECT / "report/results/studies/beta.json"
    digest = json.loads(provenance.read_text("utf-8"))["digest"]
    assert graph["#study-beta.code-digest"]["value"] == digest


def test_two_crates_have_the_same_bytes_and_a_folder_of_something_else_is_left_alone(tmp_path):
    for name in ("one", "two"):
        count = crate.write(tmp_path / name)
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert len(files) == count
    for name in ("ro-crate-metadata.json", "croissant-studies.json", "croissant-mnist.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("a year", "utf-8")
    with pytest.raises(ValueError, match="something else"):
        crate.write(mine)
    assert (mine / "thesis.txt").read_text("utf-8") == "a year"


@pytest.mark.parametrize("name", cards.CARDS)
def test_a_committed_card_is_the_one_that_the_results_give(name):
    path = PROJECT / f"report/weights/09_latent_space_{name}.md"
    assert path.read_text("utf-8") == cards.card(name, PROJECT), "run report/cards.py"


def test_every_exported_weight_has_a_card_with_the_checksum_of_its_bytes():
    weights = sorted((PROJECT / "report/weights").glob("*.safetensors"))
    assert len(weights) == len(cards.CARDS)
    for path in weights:
        words = path.with_suffix(".md").read_text("utf-8")
        assert hashlib.sha256(path.read_bytes()).hexdigest() in words


def test_a_card_shows_a_number_that_has_changed_in_the_results(tmp_path):
    shutil.copytree(PROJECT / "report/results", tmp_path / "report/results")
    shutil.copytree(PROJECT / "report/weights", tmp_path / "report/weights")
    path = tmp_path / "report/results/05_training.json"
    results = json.loads(path.read_text("utf-8"))
    results["values"]["test_loss_last"] |= {"value": 98.76, "low": 90.0}
    path.write_text(json.dumps(results), "utf-8")
    assert "| 98.8 (90.0 to " in cards.card("vae", tmp_path)


@pytest.mark.parametrize("name", cards.CARDS)
def test_the_code_of_a_card_gives_images(name, monkeypatch):
    monkeypatch.chdir(PROJECT)
    text = (PROJECT / f"report/weights/09_latent_space_{name}.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    made = {}
    exec(code, made)
    images = made["images"]
    assert images.shape == (100, 784)
    # ink of digits: a fifth of the pixels at most is white, and images differ
    assert 0.05 < images.mean() < 0.2
    assert images.std(0).mean() > 0.05
    assert torch.isfinite(images).all()


def test_citation_changes_and_metadata_name_the_version_and_the_report_that_there_are():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == VERSION
    assert f"version {VERSION}" in citation["preferred-citation"]["notes"]
    title = citation["preferred-citation"]["title"]
    assert f'title: "{title}"' in (PROJECT / "report/report.typ").read_text("utf-8")
    assert f"\n## {VERSION}" in (PROJECT / "CHANGELOG.md").read_text("utf-8")


def test_what_rescience_asks_is_there_and_no_identifier_is_made_up():
    about = yaml.safe_load((PROJECT / "report/metadata.yaml").read_text("utf-8"))
    asked = {"title", "authors", "keywords", "code", "data", "replication", "abstract", "type"}
    assert asked | {"bibliography", "domain", "language"} <= about.keys()
    assert about["title"].startswith("[Re] ")
    assert (PROJECT / "report" / about["bibliography"]).is_file()
    replication = {key: value for entry in about["replication"] for key, value in entry.items()}
    assert "unpublished" in replication["cite"]
    identifiers = [entry for name in ("code", "data", "replication") for entry in about[name]]
    for entry in identifiers:
        assert all(value is None for key, value in entry.items() if key != "cite")


def test_the_pinned_environment_satisfies_what_the_wheel_requires():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = dict(
        line.split("==")
        for line in (PROJECT / "requirements.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    for text in project["dependencies"]:
        asked = Requirement(text)
        if asked.name in pins:
            assert Version(pins[asked.name]) in asked.specifier
        else:
            assert asked.name == "numpy", "a dependency without a pin"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel leaves it: no checkout around it, and its data where pip puts them."""
    packages, share = tmp_path / "lib" / "packages", tmp_path / "share" / "vae-helpers"
    info = packages / "vae_helpers-0.1.0.dist-info"
    for folder in (info, share / "data", share / "report/results/studies"):
        folder.mkdir(parents=True)
    (share / "data" / "README.md").write_text("where it is from", "utf-8")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vae-helpers\nVersion: 0.1.0\n", "utf-8"
    )
    (info / "RECORD").write_text("../../share/vae-helpers/data/README.md,,\n", "utf-8")
    monkeypatch.setattr(shipped, "PROJECT", packages)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", packages / "notebooks")
    # the editable install of the checkout must not be found first
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    return share


def test_data_are_found_in_the_checkout_and_beside_an_installed_wheel(installed, monkeypatch):
    assert shipped.folder() == installed.resolve()
    monkeypatch.setattr(shipped, "PROJECT", PROJECT)
    assert shipped.folder() == PROJECT


def test_without_checkout_and_wheel_it_is_said_what_to_install(installed):
    (installed.parents[1] / "lib/packages/vae_helpers-0.1.0.dist-info/RECORD").write_text(
        "", "utf-8"
    )
    with pytest.raises(ParameterError, match=r"found none; install the wheel, or .*pip install -e"):
        shipped.folder()


def test_a_wheel_scores_samples_by_its_own_tables_and_says_that_the_rest_needs_a_clone(
    installed, capsys, monkeypatch
):
    table = installed / "report/results/studies/comparison_vae.csv"
    table.write_text("arm,fcd_last\nmine,2.0\nmine,4.0\n", "utf-8")
    monkeypatch.setattr(score, "STUDIES", ("comparison_vae",))
    _, line = score.beside({"fcd": 1.0}, ["comparison_vae"])
    assert line.split() == ["fcd", "1", "3"]
    assert __main__.main(["run", "05"]) == 2
    assert "a wheel holds none, so install the package from a clone" in capsys.readouterr().err
    assert __main__.main(["score", str(installed / "none.npy")]) == 2
    assert "numpy.save" in capsys.readouterr().err


def test_a_script_says_in_one_line_why_there_is_no_crate(tmp_path):
    (tmp_path / "thesis.txt").write_text("a year", "utf-8")
    command = [sys.executable, "report/crate.py", "--output", str(tmp_path)]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8")
    assert (found.returncode, len(found.stderr.splitlines())) == (1, 1)
    assert found.stderr.startswith("no crate: ")
