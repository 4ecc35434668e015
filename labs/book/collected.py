"""What the chapters show, collected from their notebooks: figures, and predictions with results.

Nothing here is typed: a figure's words are its caption, a result is a row that `table` stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from docutils.nodes import make_id
from nbformat import NotebookNode

from labs.book.chapter_text import without_fences
from labs.book.claims import Question, load_questions

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
COMPARED = ["predicted", "measured", "ratio"]
IGNORED = "nbval-ignore-output"


@dataclass(frozen=True)
class Figure:
    """A figure of a chapter. `anchor` is its id in the page; `moves` tells an explorable."""

    question: Question
    anchor: str
    caption: str
    moves: bool = False


@dataclass(frozen=True)
class Result:
    """A row of a table "predicted against measured", as its chapter prints it.

    anchor, section: id and words of the heading above it. compared: whether every run must print
    the same digits.
    """

    question: Question
    anchor: str
    section: str
    what: str
    unit: str
    predicted: str
    measured: str
    ratio: str
    compared: bool


def figures() -> list[Figure]:
    """Every figure and explorable of the written chapters, in reading order."""
    return [figure for question in _written() for figure in _figures(question)]


def results() -> list[Result]:
    """Every predicted and measured pair of the written chapters, in reading order."""
    return [result for question in _written() for result in _results(question)]


def _written() -> list[Question]:
    return [question for question in load_questions() if question.written]


def _read(question: Question) -> NotebookNode:
    return nbformat.read(CHAPTERS / f"{question.slug}.ipynb", as_version=4)


def _figures(question: Question) -> Iterator[Figure]:
    for cell, anchor, _ in _cells_below_headings(_read(question)):
        about = cell.metadata.get("mystnb", {}).get("figure", {})
        for page in _pages(cell):
            for title in page.select("figure.explorable .explorable-title"):
                yield Figure(question, anchor, title.get_text(" ", strip=True), moves=True)
        if about.get("caption") and about.get("name"):
            yield Figure(question, make_id(about["name"]), about["caption"])


def _results(question: Question) -> Iterator[Result]:
    for cell, anchor, section in _cells_below_headings(_read(question)):
        compared = IGNORED not in cell.metadata.get("tags", [])
        for page in _pages(cell):
            for table in page.select("table.book-table"):
                first, *names = [th.get_text() for th in table.select("th")]
                if names != COMPARED:
                    continue
                unit = first.removeprefix("in ") if first.startswith("in ") else ""
                for row in table.select("tbody tr"):
                    what, *numbers = [td.get_text() for td in row.select("td")]
                    yield Result(question, anchor, section, what, unit, *numbers, compared=compared)


def _pages(cell: NotebookNode) -> Iterator[BeautifulSoup]:
    """The HTML outputs of a cell that hold a figure or a table."""
    for output in cell.get("outputs", []):
        html = output.get("data", {}).get("text/html", "")
        if "book-table" in html or "explorable-title" in html:
            yield BeautifulSoup(html, "html.parser")


def _cells_below_headings(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, str, str]]:
    """Every code cell with the id that the page gives to the heading above it, and its words."""
    words = ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell, make_id(words), re.sub(r"\\sqrt\{(\w)_?(\w*)\}", r"√\1\2", words)
            continue
        for heading in re.findall(r"(?m)^#{2,4} +(.+?) *#*$", without_fences(cell.source)):
            words = re.sub(r"[`*$]", "", heading)
