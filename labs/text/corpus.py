"""Real text from installed packages: no download, a checksum for every source.

`data/corpora.yml` names each source, its package, its licence and the SHA-256 of what is read.
A document is one whole work; splits are by work, so that no passage of a held-out play is seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import yaml

DATA = Path(__file__).resolve().parents[2] / "data"
MANIFEST = DATA / "corpora.yml"
SPLITS = ("train", "validation", "test")


class CorpusError(RuntimeError):
    """A source of text is not installed, or is not the text that the manifest records."""


@dataclass(frozen=True)
class Document:
    """One work: name, bytes (ASCII; Latin-1 in the First Folio), and the split it belongs to."""

    name: str
    data: bytes
    split: str

    @property
    def text(self) -> str:
        return self.data.decode("latin-1")

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").title()


@cache
def manifest() -> dict:
    """The recorded sources: package, version, licence, folder, files with size and SHA-256."""
    return yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))


def _installed_file(package: str, path: str, hint: str) -> Path:
    """The file of an installed package, found without importing the package."""
    try:
        located = Path(str(metadata.distribution(package).locate_file(path)))
    except metadata.PackageNotFoundError:
        raise CorpusError(f"The package '{package}' is not installed. Run: {hint}") from None
    if not located.is_file():
        raise CorpusError(f"The package '{package}' has no file '{path}'. Reinstall it: {hint}")
    return located


def _read_checked(source: dict, entry: dict) -> bytes:
    """Read one file of a source and compare it with its recorded SHA-256."""
    path = f"{source['folder']}/{entry['file']}"
    data = _installed_file(source["package"], path, source["install"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CorpusError(
            f"'{entry['file']}' of '{source['package']}' is damaged or of another version "
            f"({len(data)} bytes, {entry['bytes']} recorded). Reinstall it: {source['install']}"
        )
    return data


def read(source: str, file: str) -> bytes:
    """One recorded file of a source, for example `read("minilm", "vocab.txt")`.

    Raises CorpusError when it is not installed or not the recorded one, KeyError when not recorded.
    """
    recorded = manifest()[source]
    for entry in recorded["files"]:
        if entry["file"] == file:
            return _read_checked(recorded, entry)
    raise KeyError(f"No file '{file}' is recorded for '{source}'.")


@cache
def shakespeare(edition: str = "modern") -> tuple[Document, ...]:
    """All works of one edition: `modern` (42 works) or `first_folio` (35, original spelling).

    Raises CorpusError when the package is missing or a file is not the recorded one.
    """
    source = manifest()[f"shakespeare_{edition}"]
    return tuple(
        Document(entry["name"], _read_checked(source, entry), entry["split"])
        for entry in source["files"]
    )


def split(name: str, edition: str = "modern") -> tuple[Document, ...]:
    """The documents of `train`, `validation` or `test`: whole works, about 90/5/5 by bytes."""
    if name not in SPLITS:
        raise ValueError(f"No split '{name}': take one of {', '.join(SPLITS)}.")
    return tuple(document for document in shakespeare(edition) if document.split == name)


def document(name: str, edition: str = "modern") -> Document:
    """One work by its name, for example `hamlet`."""
    for candidate in shakespeare(edition):
        if candidate.name == name:
            return candidate
    raise KeyError(f"No work '{name}' in the {edition} edition.")


def _pairs(catalogue: dict) -> Iterator[tuple[str, str]]:
    for key, translations in catalogue.items():
        english = key.split("\x04")[-1]  # gettext puts a context before this separator
        if key and translations and translations[0] and english.strip():
            yield english, translations[0]


@cache
def python_code() -> tuple[Document, ...]:
    """Large modules of scikit-learn, comments and documentation included: a domain of its own."""
    source = manifest()["scikit_learn_code"]
    return tuple(
        Document(entry["file"], _read_checked(source, entry), "train") for entry in source["files"]
    )


@cache
def english_chinese() -> tuple[tuple[str, str], ...]:
    """Interface messages in English and Simplified Chinese, without duplicates, in fixed order."""
    source = manifest()["jupyterlab_zh_cn"]
    found: dict[tuple[str, str], None] = {}
    for entry in source["files"]:
        catalogue = json.loads(_read_checked(source, entry))
        found.update(dict.fromkeys(_pairs(catalogue)))
    return tuple(found)


def licence(source: str) -> str:
    """The licence of a source, as the manifest records it."""
    return manifest()[source]["licence"]
