"""Sphinx extension: the pages that are collected and not written, and links into the glossary.

Directives: `glossary-entries`, `notation-table`, `figure-index`, `result-index`, `chapter-costs`,
`software-versions`. In every chapter the first use of each term becomes a link to its definition.
"""

from __future__ import annotations

import itertools
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from labs.book.claims import DATA, load_questions
from labs.book.collected import Figure, Result, figures, results
from labs.book.glossary import by_name, load_symbols, load_terms, pattern
from labs.book.ledger_downloads import write_downloads

ROOT = DATA.parent
UNLINKED = (
    nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block,
    nodes.caption, nodes.raw, nodes.citation, nodes.rubric, addnodes.pending_xref,
)  # fmt: skip
LIBRARIES = ("torch", "deepspeed", "jupyter-book", "jupyterlab", "matplotlib", "nbval", "numpy")
CHAPTER_PAGE = re.compile(r"chapters/(\d\d)_")


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


class GlossaryEntries(Html):
    """Every term: English, Chinese, definition, the chapter that explains it."""

    def html(self) -> str:
        pages = {question.number: question for question in load_questions()}
        items = "".join(
            f'<div id="{term.anchor}"><dt>{escape(term.term)} '
            f'<span lang="zh-Hans">{escape(term.zh)}</span></dt><dd>{escape(term.definition)} '
            f"{_chapter_link(pages[term.chapter])}</dd></div>"
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


class FigureIndex(Markdown):
    """Every figure by chapter, with the first sentence of its caption."""

    def markdown(self) -> str:
        lines: list[str] = []
        for question, group in itertools.groupby(figures(), key=lambda figure: figure.question):
            lines += ["", f"**{question.number}. {question.title}**", ""]
            lines += [f"- {_figure_line(figure)}" for figure in group]
        return "\n".join(lines)


class ResultIndex(Html):
    """Every prediction with its measurement, by chapter, after a sentence that sums them up."""

    def html(self) -> str:
        found = results()
        tables = [
            _result_table(list(group))
            for _, group in itertools.groupby(found, key=lambda result: result.question.number)
        ]
        return _summary(found) + "".join(tables)


class ChapterCosts(Html):
    """Time and memory of every chapter, from `data/measurements/chapters.json`."""

    def html(self) -> str:
        known = json.loads((DATA / "measurements" / "chapters.json").read_text("utf-8"))
        rows = "".join(
            f"<tr><td>{_chapter_link(question, words=question.title)}</td>"
            f"{_cost(known.get(question.slug, {}).get('cpu'))}"
            f"{_cost(known.get(question.slug, {}).get('gpu'))}</tr>"
            for question in load_questions()
            if question.written
        )
        head = "".join(
            f'<th scope="col">{name}</th>' for name in ("Chapter", "CPU", "memory", "GPU", "memory")
        )
        return (
            '<div class="table-scroll" tabindex="0" role="region" aria-label="Times and memory">'
            f'<table class="book-table costs"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{_machines(known)}"
        )


class SoftwareVersions(Html):
    """The pinned versions of the main libraries, from `requirements.txt`, and of the book."""

    def html(self) -> str:
        pins = dict(re.findall(r"(?m)^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text()))
        book = dict(re.findall(r"(?m)^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text()))
        parts = ", ".join(f"{name} {pins[name]}" for name in LIBRARIES)
        return (
            f"<p>This is version {escape(book['version'])} of {escape(book['date-released'])}. "
            f"It runs on {escape(parts)}; the file requirements.txt has the rest. The foot of each "
            "chapter tells the versions, the machine and the day of its outputs.</p>"
        )


def _chapter_link(question: Any, words: str | None = None) -> str:
    """A link to the chapter; without a notebook, the words alone."""
    words = f"Question {question.number}" if words is None else f"{question.number}. {words}"
    return f'<a href="{question.page}">{escape(words)}</a>' if question.written else escape(words)


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


def _figure_line(figure: Figure) -> str:
    if figure.moves:
        link = f"{figure.question.page}#{figure.anchor}"
        return f'<a href="{link}">{escape(figure.caption)}</a> (it moves)'
    words = re.sub(r"\s*\{[\w:]+\}`[^`]*`", "", figure.caption)
    first = re.match(r".+?[.:](?=\s+[A-Z]|$)", words)
    return f"{{numref}}`{figure.anchor}`: {first[0].rstrip(':.') if first else words}."


def _summary(found: list[Result]) -> str:
    """How near the measurements are: a sentence with counts."""
    ratios = [float(r.ratio.replace(",", "")) for r in found if re.match(r"[\d.,]+$", r.ratio)]
    near = {share: sum(abs(x - 1) <= share for x in ratios) for share in (0.001, 0.01, 0.1)}
    exact = sum(result.compared for result in found)
    return (
        f"<p>{len(found)} predictions stand in the tables of the chapters. {len(ratios)} have a "
        f"ratio: {near[0.001]} are within 0.1 % of 1, {near[0.01]} within 1 %, {near[0.1]} within "
        f"10 %. {exact} are compared digit by digit whenever the book is tested; the others depend "
        "on the machine or on training, and their cells assert what must hold.</p>"
    )


def _result_table(group: list[Result]) -> str:
    question = group[0].question
    rows = "".join(
        _section_row(list(part)) for _, part in itertools.groupby(group, key=lambda r: r.section)
    )
    names = ("what", "unit", "predicted", "measured", "ratio", "in tests")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    title = f"{question.number}. {escape(question.title)}"
    return (
        f'<h3 id="results-{question.number:02d}">{title}</h3>'
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="Results of question '
        f'{question.number}"><table class="book-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _section_row(part: list[Result]) -> str:
    """The rows of one section, under its name."""
    first = part[0]
    link = f'<a href="{first.question.page}#{first.anchor}">{escape(first.section)}</a>'
    rows = [f'<tr><th scope="rowgroup" colspan="6">{link}</th></tr>']
    for result in part:
        numbers = "".join(
            f'<td style="text-align:right">{escape(number)}</td>'
            for number in (result.predicted, result.measured, result.ratio)
        )
        tested = "compared" if result.compared else "asserted"
        words = f"<td>{escape(result.what)}</td><td>{escape(result.unit)}</td>"
        rows.append(f"<tr>{words}{numbers}<td>{tested}</td></tr>")
    return "".join(rows)


def _cost(entry: dict | None) -> str:
    """Time and memory as two cells."""
    if entry is None:
        return '<td colspan="2">not run yet</td>'
    return (
        f'<td style="text-align:right">{entry["seconds"]:.0f} s</td>'
        f'<td style="text-align:right">{entry["peak_rss_bytes"] / 2**30:.1f} GiB</td>'
    )


def _machines(known: dict) -> str:
    """Where and when the times were taken."""
    runs = {(run["machine"], run["date"]) for scales in known.values() for run in scales.values()}
    words = "; ".join(f"{machine}, {day}" for machine, day in sorted(runs))
    return f"<p><small>Measured on: {escape(words)}.</small></p>"


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


def _with_links(text: str, chapter: int, linked: set[str]) -> Any:
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


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put what can be downloaded beside the pages."""
    if error is None:
        write_downloads(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the links."""
    app.add_directive("glossary-entries", GlossaryEntries)
    app.add_directive("notation-table", NotationTable)
    app.add_directive("figure-index", FigureIndex)
    app.add_directive("result-index", ResultIndex)
    app.add_directive("chapter-costs", ChapterCosts)
    app.add_directive("software-versions", SoftwareVersions)
    app.connect("doctree-resolved", link_terms)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
