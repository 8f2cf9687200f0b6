"""The crate that `make metadata` has made in build/crate, read by the tools of others.

Nothing is asked of a network.
"""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import mlcroissant
import pytest
import requests
import rocrate
from requests.adapters import BaseAdapter
from rocrate.rocrate import ROCrate
from rocrate_validator import models, services

from vae_helpers import PROJECT

CRATE = PROJECT / "build" / "crate"
CONTEXT = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the tools; what they find are errors


class OnlyTheContext(BaseAdapter):
    """Answers for the network: the specification's vocabulary, which rocrate has, and no more."""

    def send(self, request, **_):
        answer = requests.Response()
        answer.request, answer.url = request, request.url
        known = request.url.endswith("/context")
        answer.status_code = 200 if known else 404
        answer._content = CONTEXT.read_bytes() if known else b""
        answer.headers["Content-Type"] = "application/ld+json"
        return answer

    def close(self):
        pass


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr(requests.Session, "get_adapter", lambda self, url: OnlyTheContext())


def crate_problems(folder):
    """What the validator finds that the specification requires."""
    settings = services.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="process-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED,
        no_cache=True,
    )
    return [issue.message for issue in services.validate(settings).get_issues()]


def test_the_citation_is_valid():
    cffconvert = Path(sys.executable).with_name("cffconvert")
    subprocess.run([cffconvert, "--validate"], cwd=PROJECT, check=True, capture_output=True)


def test_the_crate_is_one_of_the_process_run_profile():
    assert crate_problems(CRATE) == []


def test_the_validator_finds_a_crate_without_licence_and_one_that_lacks_a_file(tmp_path):
    metadata = json.loads((CRATE / "ro-crate-metadata.json").read_text("utf-8"))
    root = next(it for it in metadata["@graph"] if it["@id"] == "./")
    del root["datePublished"]
    for name in CRATE.iterdir():
        if name.name not in ("ro-crate-metadata.json", "LICENSE"):
            (tmp_path / name.name).symlink_to(name)
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps(metadata), "utf-8")
    problems = "\n".join(crate_problems(tmp_path))
    assert "datePublished" in problems
    assert "LICENSE" in problems


def names(value):
    """The identifiers of what a property refers to, one entity or several."""
    return [it.id for it in (value if isinstance(value, list) else [value])]


def test_the_library_reads_the_crate_and_finds_what_made_a_figure():
    read = ROCrate(CRATE)
    files = [it for it in read.data_entities if "File" in it["@type"]]
    assert all((CRATE / it.id).is_file() for it in files)
    (made,) = [
        it
        for it in read.contextual_entities
        if it.type == "CreateAction"
        and "report/figures/05_training_samples.png" in names(it["result"])
    ]
    assert made["instrument"].id == "notebooks/05_training.ipynb"


def plain(value):
    """A value as Croissant's reader gives it, None for what is missing."""
    if isinstance(value, bytes):
        return value.decode()
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def typed(text, kind):
    """What an entry of a table stands for, read by Python alone."""
    if not text or text == "nan":
        return None
    return {"Integer": int, "Float": float, "Boolean": "True".__eq__, "Text": str}[kind](text)


def test_croissants_reader_gives_every_entry_of_every_table():
    path = CRATE / "croissant-studies.json"
    described = mlcroissant.Dataset(path)
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    tables = json.loads(path.read_text("utf-8"))["recordSet"]
    assert len(tables) == len(list((PROJECT / "report/results/studies").glob("*.csv")))
    entries = 0
    for table in tables:
        kinds = {it["name"]: it["dataType"].removeprefix("sc:") for it in table["field"]}
        source = PROJECT / "report/results/studies" / f"{table['name']}.csv"
        with source.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        records = list(described.records(table["name"]))
        for row, record in zip(rows, records, strict=True):
            expected = {name: typed(text, kinds[name]) for name, text in row.items()}
            found = {name.partition("/")[2]: plain(value) for name, value in record.items()}
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                # pandas reads the last digit of a float its own way
                near = pytest.approx(value, rel=1e-15, abs=0) if type(value) is float else value
                assert found[name] == near, (table["name"], name)
            entries += len(row)
    assert entries > 10_000


def test_croissants_reader_knows_which_of_mnists_files_belong_together():
    described = mlcroissant.Dataset(CRATE / "croissant-mnist.json")
    assert not described.metadata.ctx.issues.errors
    parts = {it["parts/name"]: it["parts/count"] for it in described.records("parts")}
    assert parts == {"train": 60_000, "test": 10_000}
