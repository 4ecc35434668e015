"""Sphinx extension: pages that are collected and not written.

Directives: `figure-index`, `result-index`, `chapter-costs`, `software-versions`.
"""

from __future__ import annotations

import itertools
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from book_directives import Html, Markdown, chapter_link
from sphinx.application import Sphinx

from labs.book.claims import DATA, load_questions
from labs.book.collected import Figure, Result, figures, results
from labs.book.ledger_downloads import write_downloads

ROOT = DATA.parent
LIBRARIES = ("torch", "deepspeed", "jupyter-book", "jupyterlab", "matplotlib", "nbval", "numpy")


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
            f"<tr><td>{chapter_link(question, words=question.title)}</td>"
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


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put what can be downloaded beside the pages."""
    if error is None:
        write_downloads(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("figure-index", FigureIndex)
    app.add_directive("result-index", ResultIndex)
    app.add_directive("chapter-costs", ChapterCosts)
    app.add_directive("software-versions", SoftwareVersions)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
