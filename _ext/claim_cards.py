"""Sphinx extension: a claim's card shows on the page what its experiment observed.

A notebook keeps the observations in the metadata of the card, where nbval does not compare them,
since their numbers depend on the machine. The page adds them under the card's reason.
"""

from __future__ import annotations

import functools
import re
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

CARD = re.compile(r'(<div class="claim-card .*?ledger\.html#(q\d\d-c\d\d)".*?)(</div>)', re.DOTALL)


def observed_html(record: dict) -> str:
    """The observations of one claim as a list, the sign of each in words."""
    items = "".join(
        f"<li><strong>{'true' if one['true'] else 'not true'}{kind}</strong>: "
        f"{escape(one['observed'])}</li>"
        for name, kind in (("stated", ""), ("corrected", " of the correction"))
        for one in record[name]
    )
    return f'<p class="claim-observed">Observed, of the claim as stated:</p><ul>{items}</ul>'


@functools.cache
def records(notebook: Path) -> dict[str, dict]:
    """The stored observations of a notebook by claim."""
    found = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            record = output.get("metadata", {}).get("claim")
            if record:
                found[record["id"]] = record
    return found


def add_observations(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put the observations into every card of a chapter."""
    notebook = Path(app.srcdir, f"{page}.ipynb")
    if not page.startswith("chapters/"):
        return
    for raw in doctree.findall(nodes.raw):
        card = CARD.search(raw.astext())
        if card and card[2] in records(notebook):
            html = card[1] + observed_html(records(notebook)[card[2]]) + card[3]
            raw.children = [nodes.Text(html)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what runs when a page is resolved."""
    app.connect("doctree-resolved", add_observations)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
