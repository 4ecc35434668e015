"""Sphinx extension of the book: landing page from the ledger, provenance, descriptions, numbers.

Three directives read `data/questions.yml` and `data/claims.yml` when the site is built:
`verdict-map` (every claim as a square), `verdict-legend` (what the four verdicts mean, each with
a claim of a written chapter) and `question-cards`. Every page gets a description; a chapter also
gets the versions and the machine of its outputs and figure numbers that start with its own number.
"""

from __future__ import annotations

import functools
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from book_directives import Html
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from labs.book.cards import MARKS, verdict_html
from labs.book.claims import (
    VERDICTS,
    Claim,
    Question,
    claims_of,
    load_claims,
    load_questions,
    verdict_counts,
)

BOOK = (
    "An executable book on large language models: twenty questions, theory and labs, "
    "and a ledger of claims that experiments confirm or refute."
)
MEANINGS = {
    "holds": "True as stated. Every observation agrees.",
    "limited": "True in one measured case, false in another. The chapter shows where it ends.",
    "imprecise": "False as stated. A corrected sentence passes the same experiment.",
    "wrong": "False in every case that the experiment measures.",
}
STAMP = ".built"
UNWATCHED = ("web/**/*", "data/*.yml", "labs/book/*.py", "_ext/*.py")
PARTS = {
    "The language model": range(1, 7),
    "Evaluating and training": range(7, 13),
    "Training at scale": range(13, 21),
}


class VerdictMap(Html):
    """Every claim as one square: a column for each question, verdicts from the bottom up."""

    def html(self) -> str:
        counts = verdict_counts(load_claims())
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        columns = "".join(_column(question) for question in load_questions())
        keys = "".join(
            f'<li class="verdict-{v}">{verdict_html(v)} <span class="count">{n}</span></li>'
            for v, n in counts.items()
        )
        total = sum(counts.values())
        return (
            '<figure class="verdict-map">'
            f'<div class="verdict-squares" role="img" aria-label="{total} claims: {words}">'
            f"{columns}</div>"
            f"<figcaption>{total} claims, one square each; a column for each question.</figcaption>"
            f'<ul class="verdict-keys" aria-label="Claims by verdict">{keys}</ul></figure>'
        )


class VerdictLegend(Html):
    """The four verdicts, each with its meaning and one claim of a written chapter."""

    def html(self) -> str:
        items = "".join(
            f'<div class="verdict-{verdict}"><dt>{verdict_html(verdict)}</dt>'
            f"<dd>{meaning}{_example(verdict)}</dd></div>"
            for verdict, meaning in MEANINGS.items()
        )
        return f'<dl class="verdict-legend">{items}</dl>'


class QuestionCards(Html):
    """Twenty cards, in three parts: titles, teaser, verdict counts."""

    def html(self) -> str:
        html = []
        for part, numbers in PARTS.items():
            cards = "".join(_card(q) for q in load_questions() if q.number in numbers)
            html.append(
                f'<h3 class="cards-part">{part}</h3><ol class="question-cards">{cards}</ol>'
            )
        return "".join(html)


def _by_verdict(question: Question) -> list[Claim]:
    return sorted(claims_of(question.number), key=lambda entry: VERDICTS.index(entry.verdict))


def _column(question: Question) -> str:
    squares = "".join(f'<i class="verdict-{entry.verdict}"></i>' for entry in _by_verdict(question))
    return f'<span class="column">{squares}<b>{question.number}</b></span>'


def _example(verdict: str) -> str:
    """A short claim with this verdict from a written chapter, linked to the cell that decides."""
    pages = {question.number: question.page for question in load_questions() if question.written}
    examples = [
        entry
        for entry in load_claims()
        if entry.verdict == verdict and entry.question in pages and entry.experiment
    ]
    if not examples:
        return ""
    entry = min(examples, key=lambda entry: (entry.question, len(entry.claim)))
    link = f"{pages[entry.question]}#{entry.anchor}"
    return (
        f'<span class="example">“{escape(entry.claim)}” '
        f'<a href="{link}">question {entry.question} decides</a></span>'
    )


def _card(question: Question) -> str:
    counts = verdict_counts(claims_of(question.number))
    numbers = "".join(
        f'<li class="verdict-{verdict}" data-verdict="{verdict}" data-count="{count}" '
        f'title="{count} {verdict}"><span aria-hidden="true">{MARKS[verdict]}</span> {count}'
        f'<span class="visually-hidden"> {verdict}</span></li>'
        for verdict, count in counts.items()
    )
    bar = "".join(
        f'<i class="verdict-{verdict}" style="flex-grow:{count}"></i>'
        for verdict, count in counts.items()
        if count
    )
    return (
        f'<li class="question-card" data-question="{question.number}">'
        f'<span class="card-number">{question.number}</span>'
        f'<p class="card-title"><a href="{question.page}">{escape(question.title)}</a></p>'
        f'<p class="card-zh" lang="zh-Hans">{escape(question.title_zh)}</p>'
        f'<p class="card-teaser">{escape(question.teaser)}</p>'
        f'<div class="card-bar" aria-hidden="true">{bar}</div>'
        '<div class="card-bottom"><ul class="card-counts" aria-label="Claims by verdict">'
        f"{numbers}</ul></div></li>"
    )


@functools.cache
def _notebook_metadata(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))["metadata"] if path.exists() else {}


def add_page_context(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give a page its description and, when it is a notebook, where its outputs came from."""
    metadata = _notebook_metadata(Path(app.srcdir, f"{page}.ipynb"))
    teasers = {f"chapters/{q.slug}": f"{q.title} {q.teaser}" for q in load_questions()}
    description = escape(teasers.get(page, BOOK), quote=True)
    context["metatags"] = (
        f'{context.get("metatags", "")}<meta name="description" content="{description}">'
    )
    context["provenance"] = metadata.get("book")
    context["notebook"] = f"_sources/{page}.ipynb" if metadata else None


def drop_unused_mathematics(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Take KaTeX from a page without formulas: Sphinx gives it to the root for its chapters'."""
    if not app.env.domaindata["math"]["has_equations"].get(page):
        scripts = context.get("script_files", [])
        context["script_files"] = [s for s in scripts if "katex" not in str(s.filename)]


def number_figures_by_chapter(app: Sphinx, env: BuildEnvironment) -> None:
    """Figures, tables and code of chapter 6 are 6.1, 6.2, …: Sphinx alone would count on."""
    for page, kinds in env.toc_fignumbers.items():
        chapter = re.match(r"chapters/(\d+)_", page)
        if not chapter:
            continue
        for numbers in kinds.values():
            ordered = sorted(numbers, key=lambda target: numbers[target][-1])
            for position, target in enumerate(ordered, start=1):
                numbers[target] = (int(chapter[1]), position)


def outdated_pages(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Every page, when something changed that Sphinx does not watch: style, script, data, code."""
    stamp = Path(app.outdir, STAMP)
    built = stamp.stat().st_mtime if stamp.exists() else 0.0
    watched = [path for room in UNWATCHED for path in Path(app.srcdir).glob(room)]
    return sorted(env.found_docs) if any(path.stat().st_mtime > built for path in watched) else []


def make_static_folder(app: Sphinx) -> None:
    """Make `_static` first: after a failed build the theme copies its logo to a file of that name.

    pydata-sphinx-theme copies the logo when a build has finished, also when it broke off before the
    folder was there (`pydata_sphinx_theme/logo.py`); every later build then failed on the file.
    """
    folder = Path(app.outdir, "_static")
    if folder.is_file():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def stamp_build(app: Sphinx, error: Exception | None) -> None:
    """Leave the time of the build, so that tests notice pages older than their sources."""
    if error is None:
        Path(app.outdir, STAMP).touch()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and what runs at each step of a build."""
    app.add_directive("verdict-map", VerdictMap)
    app.add_directive("verdict-legend", VerdictLegend)
    app.add_directive("question-cards", QuestionCards)
    # 400: before the theme (500) drops the parts of a page that are empty
    app.connect("html-page-context", add_page_context, priority=400)
    app.connect("html-page-context", drop_unused_mathematics, priority=900)
    app.connect("env-get-outdated", outdated_pages)
    app.connect("builder-inited", make_static_folder)
    app.connect("build-finished", stamp_build, priority=900)  # last
    app.connect("env-check-consistency", number_figures_by_chapter)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
