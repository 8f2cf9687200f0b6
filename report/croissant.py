"""The studies' tables and MNIST's files in Croissant, which loaders of data sets read.

A description names each file with its checksum and each column of a table with its type and its
words (`dictionary`). It holds no number of a table: a reader of Croissant takes those from the CSV.
`crate` writes both descriptions beside the files. https://docs.mlcommons.org/croissant/ (1.0).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dictionary import describe
from vae_helpers.datasets import DATASETS
from vae_helpers.studies import tables

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification prints it."""

PARTS = {"train": "train", "test": "t10k"}


def studies(root: Path) -> dict[str, Any]:
    """The tables of all committed studies: a record set per table, a field per column.

    Args:
        root: the checkout, from which the paths of the files count.
    """
    purposes = tables.planned(root / "report" / "studies.toml")
    paths = sorted((root / "report/results/studies").glob("*.csv"))
    about = {
        path.stem: json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        for path in paths
    }
    return {
        **_head(
            "vae_mnist_studies",
            "Runs of variational autoencoders and generative adversarial networks on MNIST, one "
            "row per run: losses, likelihood bounds and measures of sample quality.",
            root,
        ),
        "license": "https://spdx.org/licenses/MIT.html",
        "citeAs": "As CITATION.cff says, which lies beside this file.",
        "datePublished": max(it["date"] for it in about.values()),
        "distribution": [_file(path, root, "text/csv") for path in paths],
        "recordSet": [
            _table(path, root, purposes[path.stem]["purpose"], about[path.stem]["notebook"])
            for path in paths
        ],
    }


def mnist(root: Path) -> dict[str, Any]:
    """The four files of MNIST, and how many images each part has."""
    rows = [
        {
            "parts/name": part,
            "parts/images": f"{prefix}-images-idx3-ubyte.gz",
            "parts/labels": f"{prefix}-labels-idx1-ubyte.gz",
            "parts/count": getattr(DATASETS["MNIST"], f"{part}_images"),
        }
        for part, prefix in PARTS.items()
    ]
    types = {"name": "Text", "images": "Text", "labels": "Text", "count": "Integer"}
    words = {
        "name": "training or test",
        "images": "file of the images: idx3, 28 x 28 grey levels of 8 bits each",
        "labels": "file of the labels: idx1, a digit of 8 bits per image, in the same order",
        "count": "images, and labels",
    }
    return {
        **_head("MNIST", "70,000 images of handwritten digits, the four original files.", root),
        "license": "https://creativecommons.org/licenses/by-sa/3.0/",
        "datePublished": "1998",
        "citeAs": (
            "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document "
            "recognition, Proceedings of the IEEE 86(11), 1998."
        ),
        "distribution": [
            _file(path, root, "application/gzip")
            for path in sorted((root / "data/MNIST/raw").glob("*.gz"))
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "parts",
                "name": "parts",
                "description": "Which files belong together. The files themselves are idx files.",
                "key": {"@id": "parts/name"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"parts/{name}",
                        "name": name,
                        "description": words[name],
                        "dataType": f"sc:{kind}",
                    }
                    for name, kind in types.items()
                ],
                "data": rows,
            }
        ],
    }


def checksums(content: bytes) -> dict[str, str]:
    """SHA-256 and MD5 of a file's bytes, by name."""
    return {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "md5")}


def kind_of(texts: Iterable[str]) -> str:
    """The type of a column by its entries: a type of schema.org.

    Whole numbers among which entries are missing are floats, as whoever reads them makes them.
    """
    texts = list(texts)
    there = [text for text in texts if text]
    if there and set(there) <= {"True", "False"}:
        return "Boolean"
    for number, kind in ((int, "Integer"), (float, "Float")):
        if there and all(_is(number, text) for text in there):
            return kind if len(there) == len(texts) else "Float"
    return "Text"


def _head(name: str, description: str, root: Path) -> dict[str, Any]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "version": project["version"],
    }


def _file(path: Path, root: Path, encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.relative_to(root).as_posix(),
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        **checksums(path.read_bytes()),
    }


def _table(path: Path, root: Path, purpose: str, notebook: str) -> dict[str, Any]:
    rows = tables.read_rows(path)
    return {
        "@type": "cr:RecordSet",
        "@id": path.stem,
        "name": path.stem,
        "description": purpose,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{path.stem}/{column}",
                "name": column,
                "description": describe(column, root=root, notebook=notebook),
                "dataType": f"sc:{kind_of(row[column] for row in rows)}",
                "source": {"fileObject": {"@id": path.name}, "extract": {"column": column}},
            }
            for column in rows[0]
        ],
    }


def _is(number: type[int] | type[float], text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True
