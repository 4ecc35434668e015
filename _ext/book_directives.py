"""Two kinds of directives whose content is computed when the site is built."""

from __future__ import annotations

from html import escape

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from labs.book.claims import Question


class Html(SphinxDirective):
    """A directive whose HTML is computed."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", self.html(), format="html")]

    def html(self) -> str:
        raise NotImplementedError


class Markdown(SphinxDirective):
    """A directive whose Markdown is computed, so that mathematics and references are set."""

    def run(self) -> list[nodes.Node]:
        box = nodes.container()
        self.state.nested_parse(StringList(self.markdown().splitlines()), 0, box)
        return box.children

    def markdown(self) -> str:
        raise NotImplementedError


def chapter_link(question: Question, words: str | None = None) -> str:
    """A link to the chapter; without a notebook, the words alone."""
    words = f"Question {question.number}" if words is None else f"{question.number}. {words}"
    return f'<a href="{question.page}">{escape(words)}</a>' if question.written else escape(words)
