"""Sphinx extension: the interview page, from data, chapters and ledger, and its deck of cards.

The directive `interview` writes all questions into the page when the site is built; what may hold
formulas is parsed as Markdown. Folds are `<details>`: they work by keyboard and without scripts,
and the style sheet opens them in print.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from labs.book.anki import DECK_FILE, write_deck
from labs.book.cards import verdict_html
from labs.book.chapter_text import notebook_path
from labs.book.claims import Claim
from labs.book.interview import VERDICT_MEANS, FollowUp, Interview, load_interviews

PAGE = "interview"
DOWNLOADS = "_downloads"


class InterviewDirective(SphinxDirective):
    """Every question: its answer, the follow-ups, the common wrong answers, each in a fold."""

    def run(self) -> list[nodes.Node]:
        interviews = load_interviews()
        for interview in interviews:
            self.env.note_dependency(str(notebook_path(interview.question)))
        return [self.question(interview) for interview in interviews]

    def question(self, interview: Interview) -> nodes.section:
        question = interview.question
        section = nodes.section(ids=[f"interview-q{question.number:02d}"], classes=["interview"])
        section += nodes.title("", f"{question.number}. {question.title}")
        section += _html(f'<p class="interview-zh" lang="zh-Hans">{escape(question.title_zh)}</p>')
        if interview.answer is None:
            link = f"ledger.html#ledger-q{question.number:02d}"
            section += _html(
                f'<p>This chapter is not yet written. <a href="{link}">Its claims</a> are.</p>'
            )
            return section
        read = f'<a href="{question.page}">Read chapter {question.number}</a>'
        section += self.fold(
            [_html("The ninety-second answer")],
            [*self.markdown(interview.answer), _html(f'<p class="interview-link">{read}</p>')],
            "interview-answer",
        )
        if interview.follow_ups:
            section += _html("<h3>Follow-up questions</h3>")
        for follow_up in interview.follow_ups:
            section += self.follow_up(interview, follow_up)
        if interview.wrong:
            section += _html("<h3>Common wrong answers: what is wrong with them?</h3>")
        for claim in interview.wrong:
            section += self.wrong(interview, claim)
        return section

    def follow_up(self, interview: Interview, follow_up: FollowUp) -> list[nodes.Node]:
        address, heading = interview.place(follow_up.link)
        chinese = ['<span class="interview-zh" lang="zh-Hans">', *self.inline(follow_up.ask_zh)]
        where = [
            f'<p class="interview-link">Shown in <a href="{address}">'
            f"chapter {interview.question.number}, “",
            *self.inline(heading),
            "”</a></p>",
        ]
        return self.fold(
            _mixed([*self.inline(follow_up.ask), " ", *chinese, "</span>"]),
            [*self.markdown(follow_up.answer), *_mixed(where)],
            "interview-follow-up",
            f"interview-{follow_up.id}",
        )

    def wrong(self, interview: Interview, claim: Claim) -> list[nodes.Node]:
        decided = (
            f'Decided by <a href="{interview.question.page}#{claim.anchor}">the cell of {claim.id}'
            f'</a>, with its sources in <a href="ledger.html#{claim.id}">the ledger</a>.'
            if claim.experiment
            else f'Decided by its sources: <a href="ledger.html#{claim.id}">{claim.id} in the '
            "ledger</a>."
        )
        body = (
            f'<p class="verdict-{claim.verdict}">{verdict_html(claim.verdict)}'
            f"{VERDICT_MEANS[claim.verdict]}. {escape(claim.why)}</p>"
            f'<p class="interview-link">{decided}</p>'
        )
        stated = (
            f'“{escape(claim.claim)}” <span class="interview-zh" lang="zh-Hans">'
            f"「{escape(claim.claim_zh)}」</span>"
        )
        return self.fold([_html(stated)], [_html(body)], "interview-wrong")

    def fold(
        self, summary: list[nodes.Node], body: list[nodes.Node], kind: str, anchor: str = ""
    ) -> list[nodes.Node]:
        identity = f' id="{anchor}"' if anchor else ""
        return [
            _html(f'<details class="interview-fold {kind}"{identity}><summary>'),
            *summary,
            _html('</summary><div class="interview-body">'),
            *body,
            _html("</div></details>"),
        ]

    def markdown(self, text: str) -> list[nodes.Node]:
        """Paragraphs of Markdown, with formulas, as the page's other text."""
        holder = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), PAGE), self.content_offset, holder)
        return holder.children

    def inline(self, text: str) -> list[nodes.Node]:
        """One line of Markdown without a paragraph around it; lists and headings are refused."""
        parsed = self.markdown(text)
        if len(parsed) != 1 or not isinstance(parsed[0], nodes.paragraph):
            raise self.error(f"{text!r} is not one line of text.")
        return parsed[0].children


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _mixed(parts: list[nodes.Node | str]) -> list[nodes.Node]:
    """Nodes as they are, words as HTML."""
    return [_html(part) if isinstance(part, str) else part for part in parts]


def add_assets(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give style and script to the interview page alone."""
    if page == PAGE:
        app.add_css_file("interview.css", priority=900)  # after book.css, whose colours it replaces
        app.add_js_file("interview.js", defer="defer")


def add_deck(app: Sphinx) -> None:
    """Put the deck of cards where the page offers it."""
    write_deck(Path(app.outdir, DOWNLOADS, DECK_FILE))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and what the page needs beside it."""
    app.add_directive("interview", InterviewDirective)
    app.connect("html-page-context", add_assets)
    app.connect("builder-inited", add_deck)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
