"""The page of the claim ledger: counts, a chart, and every entry, filtered in the browser.

`overview` and `entries` return objects that a notebook shows as HTML. The HTML is complete
without scripts; `js/ledger.js` then adds the filter. Links are relative to the root of the site.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pybtex.database import Entry, Person, parse_file

from labs.book.cards import stated_html, verdict_color, verdict_html
from labs.book.claims import (
    DATA,
    VERDICTS,
    Claim,
    Question,
    Source,
    claims_of,
    load_claims,
    load_questions,
    verdict_counts,
)

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class LedgerHtml:
    """A piece of the ledger page with one stable line of plain text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def overview() -> LedgerHtml:
    """How many claims have each verdict: in all, and as one bar for each question."""
    claims, questions = load_claims(), load_questions()
    counts = verdict_counts(claims)
    widest = max(len(claims_of(question.number)) for question in questions)
    legend = "".join(
        f'<li><span class="ledger-swatch" style="background: {verdict_color(v)}"></span> '
        f'{verdict_html(v)} <span class="ledger-number">{n}</span></li>'
        for v, n in counts.items()
    )
    bars = "".join(_bar(question, widest) for question in questions)
    html = (
        f"<style>{_css()}</style>"
        f'<div class="ledger-overview"><ul class="ledger-legend" aria-label="Claims by verdict">'
        f'{legend}</ul><ol class="ledger-bars">{bars}</ol></div>'
    )
    return LedgerHtml(html, f"{len(claims)} claims: {_words(counts)}")


def entries() -> LedgerHtml:
    """Every entry, one table for each question, and the form that filters them."""
    claims, questions = load_claims(), load_questions()
    written = [question.number for question in questions if question.written]
    html = (
        f'<style>{_css()}</style><div class="ledger" id="ledger">{_form(questions)}'
        f"{''.join(_chapter(question) for question in questions)}</div>"
        f"<script>{(HERE / 'js' / 'ledger.js').read_text(encoding='utf-8')}</script>"
    )
    decided = sum(entry.question in written for entry in claims)
    where = "all" if len(written) == len(questions) else f"chapters {_list(written)}"
    text = f"{len(claims)} entries, {decided} of them in written chapters: {where}"
    return LedgerHtml(html, text)


def _bar(question: Question, widest: int) -> str:
    """One question's claims as a bar; the numbers beside it say the same in words."""
    counts = verdict_counts(claims_of(question.number))
    parts = "".join(
        f'<span style="flex: {n} 0 0; background: {verdict_color(v)}"></span>'
        for v, n in counts.items()
        if n
    )
    width = 100 * sum(counts.values()) / widest
    return (
        f'<li><a href="#ledger-q{question.number:02d}">{escape(question.title)}</a>'
        f'<span class="ledger-bar" style="width: {width:.1f}%" aria-hidden="true">{parts}</span>'
        f"<small>{_words({v: n for v, n in counts.items() if n})}</small></li>"
    )


def _form(questions: list[Question]) -> str:
    """The filter; hidden until the script shows it, because without scripts it does nothing."""
    chapters = "".join(
        f'<option value="{q.number}">{q.number}. {escape(q.title)}</option>' for q in questions
    )
    verdicts = "".join(f"<option>{verdict}</option>" for verdict in VERDICTS)
    return (
        '<form class="ledger-filter" role="search" aria-label="Filter the claims" hidden>'
        '<label>Question <select name="chapter"><option value="">all twenty</option>'
        f"{chapters}</select></label>"
        '<label>Verdict <select name="verdict"><option value="">all four</option>'
        f"{verdicts}</select></label>"
        '<label>Text <input type="search" name="text" autocomplete="off"></label>'
        '<button type="reset">Show all</button><output aria-live="polite"></output></form>'
    )


def _chapter(question: Question) -> str:
    """One question: its heading, its state, and the table of its entries."""
    number = question.number
    link = f'<a href="{question.page}">Read the chapter</a>' if question.written else ""
    state = link or "Open: this chapter is not yet written."
    names = ("Entry", "As stated", "Verdict explained")
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in names)
    rows = "".join(_row(entry, question) for entry in claims_of(number))
    return (
        f'<section data-chapter="{number}" aria-labelledby="ledger-q{number:02d}">'
        f'<h3 id="ledger-q{number:02d}">{number}. {escape(question.title)}</h3>'
        f'<p class="ledger-state"><span lang="zh-Hans">{escape(question.title_zh)}</span> '
        f'{state}</p><table class="ledger-table" role="table"><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></section>'
    )


def _row(entry: Claim, question: Question) -> str:
    """One entry; its id is the anchor to which the card in the chapter links back."""
    return (
        f'<tr role="row" id="{entry.id}" class="verdict-{entry.verdict}" '
        f'data-verdict="{entry.verdict}"><td role="cell"><a class="claim-id" href="#{entry.id}">'
        f"{entry.id}</a> {verdict_html(entry.verdict)}</td>"
        f'<td role="cell">{stated_html(entry)}</td>'
        f'<td role="cell">{escape(entry.why)} {_deciding(entry, question)}'
        f"<details><summary>Experiment and sources of {entry.id}</summary>"
        f"{_details(entry)}</details></td></tr>"
    )


def _deciding(entry: Claim, question: Question) -> str:
    """Where the entry is decided: a cell, the sources alone, or nowhere yet."""
    if entry.experiment is None:
        return '<span class="ledger-decided">Its sources decide.</span>'
    if not question.written:
        return '<span class="ledger-decided">Open: not yet tried.</span>'
    link = f'<a href="{question.page}#{entry.anchor}">See the cell that decides {entry.id}</a>'
    return f'<span class="ledger-decided">{link}.</span>'


def _details(entry: Claim) -> str:
    experiment = f"<p>{escape(entry.experiment)}</p>" if entry.experiment else ""
    sources = "".join(f"<li>{_source(source)}</li>" for source in entry.source)
    when = entry.checked.isoformat() if entry.checked else None
    note = f"Checked on {when}." if when else "Not yet compared with its sources."
    return f"{experiment}<ul>{sources}</ul><p><small>{note}</small></p>"


def _source(source: Source) -> str:
    """A source as a link: authors, year, the place in the work, and what was read instead."""
    work = _bibliography()[source.key]
    where = f", {escape(source.where)}" if source.where else ""
    through = f" (read: {escape(source.through)})" if source.through else ""
    return f'<a href="{escape(_url(work))}">{escape(_label(work))}</a>{where}{through}'


@functools.cache
def _bibliography() -> dict[str, Entry]:
    return dict(parse_file(str(DATA.parent / "references.bib")).entries)


def _label(work: Entry) -> str:
    """Author and year as a reader cites them; a title for works of an organisation."""
    people = work.persons["author"]
    if not people[0].first_names:
        return f"{_plain(work.fields['title'])} ({work.fields['year']})"
    names = [_surname(person) for person in people]
    if len(names) > 2:
        names = [f"{names[0]} et al."]
    return f"{' and '.join(names)} ({work.fields['year']})"


def _surname(person: Person) -> str:
    return _plain(" ".join(person.prelast_names + person.last_names))


def _url(work: Entry) -> str:
    fields = work.fields
    if "url" in fields:
        return fields["url"]
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}"
    return f"https://doi.org/{fields['doi']}"


def _plain(text: str) -> str:
    return text.replace("{", "").replace("}", "").replace("\\%", "%")


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in counts.items())


def _list(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _css() -> str:
    return (HERE / "js" / "ledger.css").read_text(encoding="utf-8")
