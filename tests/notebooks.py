"""Reading a notebook in tests: its cells, headings, sections, syntax trees and outputs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from labs.book.chapter_text import without_fences

IMAGES = ("image/png", "image/jpeg", "image/svg+xml")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that are not empty."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def tree(cell: NotebookNode) -> ast.Module:
    """The syntax tree of a code cell, IPython's own syntax translated first."""
    return ast.parse(TransformerManager().transform_cell(cell.source))


def has_assert(cell: NotebookNode) -> bool:
    """Whether the cell asserts something."""
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree(cell)))


def label(cell: NotebookNode) -> str:
    """A cell as a complaint names it: its count and its first line."""
    first = cell.source.strip().splitlines()[0][:60] if cell.source.strip() else "empty"
    return f"cell [{cell.get('execution_count')}] `{first}`"


def headings(notebook: NotebookNode) -> list[tuple[int, str, int]]:
    """Every Markdown heading as (level, text, index of its cell); fenced blocks are left out."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            found += [
                (len(match[1]), match[2].strip(), index)
                for match in re.finditer(r"(?m)^(#{1,6}) +(.+?) *#*$", without_fences(cell.source))
            ]
    return found


def section(notebook: NotebookNode, name: str) -> list[NotebookNode]:
    """The cells of the section `## name`, the one with the heading included."""
    starts = [(text, index) for level, text, index in headings(notebook) if level == 2]
    for (text, start), (_, end) in zip(
        starts, [*starts[1:], ("", len(notebook.cells))], strict=True
    ):
        if text == name:
            return notebook.cells[start : max(end, start + 1)]
    return []


def texts(cell: NotebookNode) -> Iterator[str]:
    """Every piece of text in the outputs of a cell, embedded images left out."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join(output.traceback)
        else:
            for kind, data in output.data.items():
                if kind not in ("image/png", "image/jpeg") and isinstance(data, str):
                    yield re.sub(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]+", "", data)


def has_image(cell: NotebookNode) -> bool:
    """Whether an output of the cell is an image."""
    return any(kind in output.get("data", {}) for output in cell.outputs for kind in IMAGES)


def has_explorable(cell: NotebookNode) -> bool:
    """Whether an output of the cell is a figure that the reader moves."""
    return any('class="explorable"' in text for text in texts(cell))


def explorable_data(chapter: Path, name: str) -> dict:
    """What a chapter's stored page gives to the explorable `name`; nbval does not compare it."""
    cells = code_cells(nbformat.read(chapter, as_version=4))
    page = next(t for c in cells for t in texts(c) if f'data-explorable="{name}"' in t)
    return json.loads(re.search(r'class="explorable-data">(.*?)</script>', page)[1])
