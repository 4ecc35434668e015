"""The interview as an Anki deck: `python -m labs.book.anki` writes `_build/anki/`.

One card for each question, follow-up and wrong answer. Ids of deck, model and notes are fixed, so
importing a newer deck updates the cards and keeps what the reader's Anki knows about them. Formulas
are written for Anki's own MathJax.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import genanki
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from labs.book.cards import verdict_html
from labs.book.claims import DATA
from labs.book.interview import VERDICT_MEANS, Interview, load_interviews

DECK_FILE = "twenty-questions.apkg"
DECK_ID, MODEL_ID = 1_764_041_201, 1_764_041_202  # drawn once; a change would double every card
NAME = "Twenty Questions on Large Language Models"
_FIELDS = ("Topic", "Front", "Chinese", "Back", "Where")
_FRONT = (
    '<div class="topic">{{Topic}}</div><div class="front">{{Front}}</div>'
    '{{#Chinese}}<div class="chinese" lang="zh-Hans">{{Chinese}}</div>{{/Chinese}}'
)
_BACK = '{{FrontSide}}<hr id="answer"><div>{{Back}}</div><div class="topic">{{Where}}</div>'
_CSS = """
.card { font: 1.15rem/1.5 sans-serif; text-align: left; padding: .5rem; }
.card { max-width: 40rem; margin: 0 auto; }
.front { font-weight: 600; }
.chinese { margin-top: .4rem; }
.topic { font-size: .85rem; opacity: .75; margin: .6rem 0; }
"""


@dataclass(frozen=True)
class Card:
    """One card. `key` never changes; the other texts are HTML."""

    key: str
    topic: str
    front: str
    chinese: str
    back: str
    where: str
    tags: tuple[str, ...]


def cards() -> list[Card]:
    """The cards of all written chapters, in the order of the book."""
    return [card for interview in load_interviews() for card in _cards(interview)]


def write_deck(path: Path) -> int:
    """Write the deck to `path`; returns the number of cards."""
    made = cards()
    model = genanki.Model(
        MODEL_ID,
        NAME,
        fields=[{"name": name} for name in _FIELDS],
        templates=[{"name": "Interview", "qfmt": _FRONT, "afmt": _BACK}],
        css=_CSS,
        sort_field_index=1,
    )
    deck = genanki.Deck(DECK_ID, NAME, "From the executable book. Text under CC BY 4.0.")
    for position, card in enumerate(made):
        deck.add_note(
            genanki.Note(
                model=model,
                fields=[card.topic, card.front, card.chinese, card.back, card.where],
                tags=list(card.tags),
                guid=genanki.guid_for("twenty-questions", card.key),
                due=position,
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    genanki.Package(deck).write_to_file(path)
    return len(made)


def html_of(markdown: str) -> str:
    """Markdown as HTML, with formulas as `\\( … \\)` for Anki; one paragraph loses its tags."""
    html = _markdown().render(markdown).strip()
    single = html.startswith("<p>") and html.count("<p>") == 1
    return html.removeprefix("<p>").removesuffix("</p>") if single else html


def _cards(interview: Interview) -> Iterator[Card]:
    question = interview.question
    if interview.answer is None:
        return
    chapter = f"Chapter {question.number}"
    topic = f"{chapter}: {escape(question.title)}"
    tag = f"chapter::{question.slug}"
    yield Card(
        f"q{question.number:02d}",
        "The ninety-second answer",
        escape(question.title),
        escape(question.title_zh),
        html_of(interview.answer),
        chapter,
        (tag, "kind::question"),
    )
    for follow_up in interview.follow_ups:
        yield Card(
            follow_up.id,
            topic,
            html_of(follow_up.ask),
            html_of(follow_up.ask_zh),
            html_of(follow_up.answer),
            f"{chapter}, “{html_of(interview.place(follow_up.link)[1])}”",
            (tag, "kind::follow-up"),
        )
    for claim in interview.wrong:
        decided = "the cell" if claim.experiment else "the sources"
        yield Card(
            claim.id,
            "True or false, and why?",
            f"“{escape(claim.claim)}”",
            f"「{escape(claim.claim_zh)}」",
            f"{verdict_html(claim.verdict)}{VERDICT_MEANS[claim.verdict]}.<br>{escape(claim.why)}",
            f"{topic} Decided by {decided} of {claim.id}",
            (tag, "kind::wrong-answer"),
        )


@functools.cache
def _markdown() -> MarkdownIt:
    def formula(content: str, options: dict) -> str:
        left, right = ("\\[", "\\]") if options["display_mode"] else ("\\(", "\\)")
        return f"{left}{escape(content)}{right}"

    return MarkdownIt("commonmark").use(dollarmath_plugin, renderer=formula)


def main() -> None:
    path = DATA.parent / "_build" / "anki" / DECK_FILE
    print(f"{path}: {write_deck(path)} cards")


if __name__ == "__main__":
    main()
