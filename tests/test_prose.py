"""Slips that a spelling checker does not see: doubled words and misplaced punctuation."""

import json
import re

import pytest
import yaml

from tests.browser import ROOT

SOURCES = [
    *sorted(ROOT.glob("chapters/*.ipynb")),
    ROOT / "ledger.ipynb",
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("data/*.yml")),
    *sorted(ROOT.glob("data/exercises/*.yml")),
]
CODE = re.compile(r"\]\([^)]*\)|```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
SLIPS = {
    "a word twice": re.compile(r"\b([A-Za-z]+)\s+\1\b"),
    "a space before punctuation": re.compile(r"[A-Za-z] [,;:!?](?=\s|$)"),
    "punctuation twice": re.compile(r"(?<![.\d])\.\.(?![.\d])|,,|;;"),
}
MEANT = ("the the the",)  # a famous candidate of the BLEU paper


def strings(value: object) -> list[str]:
    """All strings inside a value of a YAML file."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def slips(text: str) -> list[str]:
    """What is wrong in `text` and where; code, formulas and the targets of links are left out."""
    text = CODE.sub("¤", text)
    found = []
    for what, pattern in SLIPS.items():
        for match in pattern.finditer(text):
            around = text[max(0, match.start() - 20) : match.end() + 20]
            if not any(words in around for words in MEANT):
                found.append(f"{what}: …{around}…")
    return found


@pytest.mark.parametrize("text", ["it is is so", "said , then", "The end.. Or", "line of\nof text"])
def test_a_slip_is_seen(text):
    assert slips(text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_has_no_slip(path):
    content = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(content)["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    else:
        texts = strings(yaml.safe_load(content)) if path.suffix == ".yml" else [content]
    found = [slip for text in texts for slip in slips(text)]
    assert not found, "\n".join(found)
