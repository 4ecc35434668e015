"""What other pages take from a chapter's notebook: its short answer, and where its parts are."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from docutils.nodes import make_id

from labs.book.claims import DATA, LedgerError, Question

_PLACE = re.compile(
    r"(?m)^#{2,6} +(?:\d+\. +)?(?P<heading>.+?) *#*$"
    r"|^\*\*\d+\. +(?P<run_in>.+?)\.?\*\*"  # **2. A census.** names what follows; it has no id
    r"|^\((?P<anchor>[\w-]+)\)=$"
)


def notebook_path(question: Question) -> Path:
    """The notebook of a chapter."""
    return DATA.parent / "chapters" / f"{question.slug}.ipynb"


def short_answer(question: Question) -> str:
    """The section "Short answer" of a written chapter, as Markdown, without its heading.

    Raises `LedgerError` when the notebook has no such section.
    """
    for text in _markdown(notebook_path(question)):
        match = re.match(r"## Short answer\n(.+)", text, re.DOTALL)
        if match:
            return match[1].strip()
    raise LedgerError(f"{question.slug}: the notebook has no section `## Short answer`.")


def places(question: Question) -> dict[str, str]:
    """Every id that a written chapter's page offers to links, with its heading, less its number.

    A heading has the id that docutils makes of it. An anchor `(name)=` before a cell has the id
    `name`, and the heading above it.
    """
    found: dict[str, str] = {}
    heading = question.title
    for text in _markdown(notebook_path(question)):
        for match in _PLACE.finditer(without_fences(text)):
            heading = match["heading"] or match["run_in"] or heading
            if not match["run_in"]:
                found.setdefault(match["anchor"] or make_id(match["heading"]), heading)
    return found


def without_fences(text: str) -> str:
    """Markdown without its fenced blocks, where a `#` begins no heading."""
    return re.sub(r"(?ms)^(`{3,}).*?^\1`*\s*$", "", text)


@functools.cache
def _markdown(path: Path) -> tuple[str, ...]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise LedgerError(f"{path.name} cannot be read.") from error
    return tuple("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
