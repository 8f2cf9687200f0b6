"""What the course publishes as one RO-Crate: the files, their checksums, and what made what.

    python report/crate.py --output build/crate

copies results, figures, tables of studies, weights, notebooks, code and data into a folder, paths
as in the checkout, and writes beside them ro-crate-metadata.json (RO-Crate 1.1, Process Run Crate
0.5) and two descriptions in Croissant. Nothing in them depends on when or where this is done.
https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/process/0.5
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import croissant
from vae_helpers.store import code_digest
from vae_helpers.store.files import write_whole

PROJECT = Path(__file__).resolve().parent.parent
METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = {
    "environment": "https://w3id.org/ro/terms/workflow-run#environment",
    "sha256": "http://schema.org/sha256",
}
MIT, MNIST_LICENCE = (
    "https://spdx.org/licenses/MIT",
    "https://creativecommons.org/licenses/by-sa/3.0/",
)
PYTHON = "https://www.python.org/"
AUTHORS = "#maintainers"

FILES = (
    "README.md",
    "MANUAL.md",
    "CITATION.cff",
    "LICENSE",
    "requirements.txt",
    "pyproject.toml",
    "data/README.md",
    "data/MNIST/raw/*.gz",
    "data/*.safetensors",
    "notebooks/*.ipynb",
    "report/report.pdf",
    "report/studies.toml",
    "report/tolerances.toml",
    "report/results/*.json",
    "report/results/studies/*",
    "report/results/tolerances/*/*",
    "report/results/measured/*",
    "report/figures/*",
    "report/weights/*",
)
FOLDERS = {
    "vae_helpers/": "The package that the notebooks import, in Python.",
    "report/results/studies/": "Tables of studies, one row per run, with their provenance.",
}
ENCODINGS = {
    ".bib": "text/x-bibtex",
    ".cff": "text/yaml",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain",
    "": "text/plain",
}

Entity = dict[str, Any]


def metadata(root: Path, extra: Mapping[str, bytes]) -> Entity:
    """The crate's description, as JSON-LD.

    Args:
        root: the checkout.
        extra: files that the crate has besides those of the checkout, by their paths in it.
    """
    files = [_file(root, path) for path in published(root)]
    files += [_described(path, content) for path, content in extra.items()]
    actions = list(_actions(root))
    made = [it for action in actions for it in action]
    parts = [{"@id": it["@id"]} for it in files] + [{"@id": name} for name in FOLDERS]
    dates = [it["endTime"] for it in made if it["@type"] == "CreateAction"]
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", TERMS],
        "@graph": [
            {
                "@id": METADATA,
                "@type": "CreativeWork",
                "about": {"@id": "./"},
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": "A variational autoencoder on MNIST, reproduced",
                "description": "Results, figures, tables of studies, weights and notebooks of a "
                "course that is also the report of a replication, with the code and data that "
                "they come from.",
                "datePublished": max(dates),
                "version": _project(root)["version"],
                "license": {"@id": MIT},
                "author": {"@id": AUTHORS},
                "publisher": {"@id": AUTHORS},
                "conformsTo": {"@id": PROFILE},
                "hasPart": parts,
                "mentions": [{"@id": it["@id"]} for it in made if it["@type"] == "CreateAction"],
            },
            *_people_and_terms(),
            *({"@id": name, "@type": "Dataset", "name": words.partition(",")[0].rstrip("."),
               "description": words} for name, words in FOLDERS.items()),
            *files,
            *made,
        ],
    }  # fmt: skip


def published(root: Path) -> list[Path]:
    """The files of the checkout that the crate lists one by one, in the order of `FILES`."""
    return [path for pattern in FILES for path in sorted(root.glob(pattern)) if path.is_file()]


def write(folder: Path, root: Path = PROJECT) -> int:
    """Make the crate in a folder that it has to itself, and say how many files it has."""
    extra = {
        f"croissant-{name}.json": _as_json(made)
        for name, made in (("studies", croissant.studies(root)), ("mnist", croissant.mnist(root)))
    }
    described = _as_json(metadata(root, extra))
    if folder.exists():
        if any(folder.iterdir()) and not (folder / METADATA).is_file():
            raise ValueError(f"{folder}: expected a crate or nothing there, found something else")
        shutil.rmtree(folder)
    code = sorted((root / "vae_helpers").rglob("*.py"))
    for path in (*published(root), *code):
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name, content in {**extra, METADATA: described}.items():
        write_whole(folder / name, content)
    return len(published(root)) + len(code) + len(extra) + 1


def _actions(root: Path) -> Iterator[list[Entity]]:
    """Each execution that left results, with the entities of its parameters."""
    for path in sorted((root / "report/results").glob("*.json")):
        yield _execution(root, path)
    for path in sorted((root / "report/results/studies").glob("*.json")):
        yield _study(root, path)


def _execution(root: Path, path: Path) -> list[Entity]:
    about, notebook = _read(path), path.stem
    made = [f"report/results/{path.name}"]
    for figure in about["figures"].values():
        made += [f"report/figures/{figure[form]}" for form in ("file", "vector") if form in figure]
    made += [f"report/weights/{it['file']}" for it in about["weights"].values()]
    digest = code_digest.of_notebook(notebook, _words(about["parameters"]))
    inputs = [f"data/MNIST/raw/{it.name}" for it in sorted((root / "data/MNIST/raw").glob("*.gz"))]
    inputs += ["report/results/studies/"] if "tables.read(" in code_digest.cells(notebook) else []
    return _action(
        f"#run-{notebook}",
        f"Execution of {notebook}",
        f"python -m vae_helpers run {notebook}",
        notebook,
        about["machine"] | {"code digest": digest},
        parameters=about["parameters"],
        inputs=inputs,
        made=made,
    )


def _study(root: Path, path: Path) -> list[Entity]:
    about = _read(path)
    machine = {"machine": about["machine"], "date": about["date"], **about["versions"]}
    checked = about.get("rechecked", {}).get("digest")
    digests = {"code digest": about["digest"]} | ({"rechecked with": checked} if checked else {})
    given = {name: json.dumps(about[name]) for name in ("arms", "grid", "given") if about[name]}
    return _action(
        f"#study-{path.stem}",
        f"Study {path.stem}: {len(about['cells'])} runs of {about['notebook']}",
        f"python -m vae_helpers studies {path.stem}",
        about["notebook"],
        machine | digests,
        parameters=given,
        inputs=["report/studies.toml"],
        made=[f"report/results/studies/{path.stem}.{kind}" for kind in ("csv", "json")],
    )


def _action(
    name: str,
    title: str,
    command: str,
    notebook: str,
    environment: Mapping[str, Any],
    *,
    parameters: Mapping[str, Any],
    inputs: Iterable[str],
    made: Iterable[str],
) -> list[Entity]:
    given = [_value(f"{name}.{key}", key, value) for key, value in parameters.items()]
    around = [
        _value(f"{name}.{key.replace(' ', '-')}", key, value)
        for key, value in environment.items()
        if key != "date" and value is not None
    ]
    action: Entity = {
        "@id": name,
        "@type": "CreateAction",
        "name": title,
        "description": command,
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "endTime": environment["date"],
        "agent": {"@id": AUTHORS},
        "instrument": {"@id": f"notebooks/{notebook}.ipynb"},
        "object": _one_or_more([*inputs, *(it["@id"] for it in given)]),
        "environment": _one_or_more(it["@id"] for it in around),
        "result": _one_or_more(made),
    }
    return [action, *given, *around]


def _value(name: str, key: str, value: Any) -> Entity:
    known = value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
    return {"@id": name.replace(" ", "-"), "@type": "PropertyValue", "name": key, "value": known}


def _file(root: Path, path: Path) -> Entity:
    name = path.relative_to(root).as_posix()
    return _described(name, path.read_bytes(), _project(root)["version"]) | (
        {"license": {"@id": MNIST_LICENCE}} if name.startswith("data/MNIST") else {}
    )


def _described(name: str, content: bytes, version: str = "") -> Entity:
    path = Path(name)
    notebook = path.suffix == ".ipynb"
    language: Entity = {"programmingLanguage": {"@id": "#python"}, "version": version}
    return {
        "@id": name,
        "@type": ["File", "SoftwareSourceCode"] if notebook else "File",
        "name": path.stem if notebook else path.name,
        "encodingFormat": ENCODINGS[path.suffix],
        "contentSize": str(len(content)),
        "sha256": croissant.checksums(content)["sha256"],
        **(language if notebook else {}),
    }


def _one_or_more(names: Iterable[str]) -> Any:
    """References to entities; the specification asks for no list of one."""
    found = [{"@id": name} for name in names]
    return found[0] if len(found) == 1 else found


def _people_and_terms() -> list[Entity]:
    licences = {MIT: "MIT License", MNIST_LICENCE: "Creative Commons Attribution-ShareAlike 3.0"}
    return [
        {"@id": AUTHORS, "@type": "Organization", "name": "The maintainers"},
        {"@id": "#python", "@type": "ComputerLanguage", "name": "Python", "url": PYTHON},
        *(
            {"@id": it, "@type": "CreativeWork", "name": name, "description": name}
            for it, name in licences.items()
        ),
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
    ]


def _words(parameters: Mapping[str, Any]) -> list[str]:
    return [value for value in parameters.values() if isinstance(value, str)]


def _project(root: Path) -> Mapping[str, Any]:
    made: Mapping[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return made


def _read(path: Path) -> Mapping[str, Any]:
    made: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


def _as_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def main() -> int:
    """Write the crate, or say in one line why not."""
    parser = argparse.ArgumentParser(description="The published files as an RO-Crate.")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    try:
        count = write(options.output)
    except (ValueError, OSError) as error:
        print(f"no crate: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: a crate of {count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
