"""Sphinx extension: the glossary, the notation table, and the links to them.

In every chapter the first use of each term becomes a link to its definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from book_directives import Html, Markdown, chapter_link
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from labs.book.claims import load_questions
from labs.book.glossary import by_name, load_symbols, load_terms, pattern

UNLINKED = (
    nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block,
    nodes.caption, nodes.raw, nodes.citation, nodes.rubric, addnodes.pending_xref,
)  # fmt: skip
CHAPTER_PAGE = re.compile(r"chapters/(\d\d)_")


class GlossaryEntries(Html):
    """Every term: English, Chinese, definition, the chapter that explains it."""

    def html(self) -> str:
        pages = {question.number: question for question in load_questions()}
        items = "".join(
            f'<div id="{term.anchor}"><dt>{escape(term.term)} '
            f'<span lang="zh-Hans">{escape(term.zh)}</span></dt><dd>{escape(term.definition)} '
            f"{chapter_link(pages[term.chapter])}</dd></div>"
            for term in load_terms()
        )
        return f'<dl class="terms">{items}</dl>'


class NotationTable(Markdown):
    """Every symbol with its meaning and the chapters that use it so."""

    def markdown(self) -> str:
        rows = [
            f"| ${symbol.symbol}$ | {symbol.meaning} | {_numbers(symbol.chapters)} |"
            for symbol in load_symbols()
        ]
        return "\n".join(["| symbol | meaning | chapters |", "| --- | --- | --- |", *rows])


def _numbers(chapters: tuple[int, ...]) -> str:
    """Chapters as numbers, runs of three or more shortened: 1, 4–6."""
    runs: list[list[int]] = []
    for number in sorted(chapters):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def link_terms(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Make the first use of each term in a chapter a link to its definition."""
    chapter = CHAPTER_PAGE.match(page)
    if not chapter:
        return
    linked: set[str] = set()
    for text in list(doctree.findall(nodes.Text)):
        above = _ancestors(text)
        if above and not any(isinstance(node, UNLINKED) for node in above):
            text.parent.replace(text, list(_with_links(str(text), int(chapter[1]), linked)))


def _ancestors(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _with_links(text: str, chapter: int, linked: set[str]) -> Iterator[nodes.Node]:
    """The text in pieces; a term that is not yet in `linked` is a reference, and enters it."""
    done = 0
    for match in pattern(chapter).finditer(text):
        term = by_name()[match[1].casefold()]
        if term.term in linked:
            continue
        linked.add(term.term)
        yield nodes.Text(text[done : match.start()])
        target = f"../glossary.html#{term.anchor}"
        yield nodes.reference("", match[0], refuri=target, internal=True, classes=["term"])
        done = match.end()
    yield nodes.Text(text[done:])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the links."""
    app.add_directive("glossary-entries", GlossaryEntries)
    app.add_directive("notation-table", NotationTable)
    app.connect("doctree-resolved", link_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
