"""Real labels that nobody had to write for us: windows of Shakespeare with what is known of them.

Five tasks. Each reads its label from the printed page (title, layout, edition) and then removes
from the window what gave the label away: text is lower-case, on one line, without the speakers'
names that stand before speeches.

`genre`      comedy, history or tragedy, by the catalogue of the First Folio (1623)
`work`       which work the window comes from
`verse`      verse or prose: the printer starts each line of verse with a capital
`spelling`   modern edition or First Folio, the same 35 plays in both
`direction`  stage direction or the beginning of a speech, pairs of about equal length

`capitals` labels single words in their context: printed with a capital in mid-sentence or not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TypeVar

from labs.text.corpus import shakespeare, split
from labs.text.plays import (
    FOLIO_CUE,
    IN_BRACKETS,
    blocks,
    is_verse,
    plain,
    speech_text,
    speeches,
    spoken,
)

# First Folio, "A Catalogue of the severall Comedies, Histories, and Tragedies". It has neither
# Pericles nor the poems, and does not list Troilus and Cressida: these have no genre here.
GENRES = {
    "comedy": "tempest two_gentlemen_of_verona merry_wives_of_windsor measure_for_measure "
    "comedy_of_errors much_ado_about_nothing loves_labours_lost midsummer_nights_dream "
    "merchant_of_venice as_you_like_it taming_of_the_shrew alls_well_that_ends_well "
    "twelfth_night winters_tale",
    "history": "john richard_ii henry_iv_part_1 henry_iv_part_2 henry_v henry_vi_part_1 "
    "henry_vi_part_2 henry_vi_part_3 richard_iii henry_viii",
    "tragedy": "coriolanus tragedy_of_titus_andronicus romeo_and_juliet timon_of_athens "
    "julius_caesar macbeth hamlet lear othello antony_and_cleopatra cymbeline",
}
GENRE_OF = {work: genre for genre, works in GENRES.items() for work in works.split()}
# Works whose names differ between the editions: First Folio to modern.
MODERN_NAME = {
    "all_is_well_that_ends_well": "alls_well_that_ends_well",
    "anthonie_and_cleopatra": "antony_and_cleopatra",
    "comedy_of_errours": "comedy_of_errors",
    "loves_labour_lost": "loves_labours_lost",
    "midsummer_nights_dreame": "midsummer_nights_dream",
    "titus_andronicus": "tragedy_of_titus_andronicus",
    "twelfe-night": "twelfth_night",
}


@dataclass(frozen=True)
class Window:
    """A labelled piece of text; `start` counts characters of the plain text before it."""

    text: str
    label: str
    work: str
    start: int


@dataclass(frozen=True)
class Word:
    """A word in its place: `start` and `end` count characters of `speech_text(work)`."""

    work: str
    start: int
    end: int
    label: str

    def context(self, before: int, after: int) -> tuple[str, str]:
        """The text up to the end of the word, from `before` characters on, and what follows."""
        text = speech_text(self.work)
        return text[max(0, self.start - before) : self.end], text[self.end : self.end + after]


Item = TypeVar("Item", Window, Word)


def _whole_words(text: str, length: int) -> str:
    """The beginning of a text, at most `length` characters, cut between words where it can be."""
    end = len(text) if len(text) <= length else text.rfind(" ", 1, length + 1)
    return text[: length if end < 0 else end]


def _cut(text: str, length: int, label: str, work: str, start: int = 0) -> Iterator[Window]:
    """Neighbouring windows of at most `length` characters, cut between words; the rest is left."""
    at = 0
    while len(text) - at >= length:
        piece = _whole_words(text[at : at + length + 1], length)
        yield Window(piece, label, work, start + at)
        at += len(piece) + (text[at + len(piece) : at + len(piece) + 1] == " ")


@cache
def capitals(margin: int = 240) -> tuple[Word, ...]:
    """Words of the plays, `name` where printed with a capital inside a sentence, else `other`.

    The text itself is lower-case. Words of four letters or more, not the first of a line, after a
    word or a comma, and at least `margin` characters from both ends of the play.
    """
    found = []
    for work in shakespeare():
        lines = [" ".join(line.split()) for s in speeches(work) for line in s.lines]
        text, starts = (
            " ".join(lines),
            set(accumulate((len(line) + 1 for line in lines), initial=0)),
        )
        for match in re.finditer(r"(?<=[a-z,] )(?!I')[A-Za-z]{3,}(?:'?[a-z])", text[:-margin]):
            if match.start() >= margin and match.start() not in starts:
                label = "name" if match[0][0].isupper() else "other"
                found.append(Word(work.name, *match.span(), label))
    return tuple(found)


def _genre(length: int) -> Iterator[Window]:
    for work in shakespeare():
        if work.name in GENRE_OF:
            yield from _cut(speech_text(work.name), length, GENRE_OF[work.name], work.name)


def _work(length: int) -> Iterator[Window]:
    for work in shakespeare():
        yield from _cut(speech_text(work.name), length, work.name, work.name)


def _verse(length: int) -> Iterator[Window]:
    for work in shakespeare():
        start = 0
        for speech in speeches(work):
            text, verse = plain(" ".join(speech.lines)), is_verse(speech)
            if verse is not None:
                yield from _cut(text, length, "verse" if verse else "prose", work.name, start)
            start += len(text) + 1


def _spelling(length: int) -> Iterator[Window]:
    for work in shakespeare():
        if work.name in GENRE_OF:
            yield from _cut(speech_text(work.name), length, "modern", work.name)
    for work in shakespeare("first_folio"):
        text = plain(spoken(FOLIO_CUE.sub("", work.text)))
        yield from _cut(text, length, "folio", MODERN_NAME.get(work.name, work.name))


def _direction(length: int) -> Iterator[Window]:
    for work in shakespeare():
        said = (plain(" ".join(speech.lines)) for speech in speeches(work))
        start = 0
        for block in blocks(work):
            text = _whole_words(plain(block.strip("[] \n")), length)
            if IN_BRACKETS.fullmatch(block.strip()) and len(text) >= 20:
                partner = next((s for s in said if len(s) > len(text)), None)
                if partner is not None:
                    yield Window(text, "direction", work.name, start)
                    yield Window(_whole_words(partner, len(text)), "speech", work.name, start)
            start += len(block) + 2


TASKS = {
    "genre": _genre,
    "work": _work,
    "verse": _verse,
    "spelling": _spelling,
    "direction": _direction,
}


@cache
def labelled(task: str, length: int = 160) -> tuple[Window, ...]:
    """All windows of a task, at most `length` characters each, in the order of the corpus.

    Raises ValueError for an unknown task.
    """
    if task not in TASKS:
        raise ValueError(f"No task '{task}': take one of {', '.join(TASKS)}.")
    return tuple(TASKS[task](length))


def split_by_work(
    windows: Iterable[Item], held_out: Iterable[str] | None = None
) -> tuple[list[Item], list[Item]]:
    """Windows of the other works, and windows of the held-out works.

    Held out by default: the corpus's validation and test works, two comedies and two tragedies.
    """
    if held_out is None:
        held_out = [work.name for name in ("validation", "test") for work in split(name)]
    names, windows = set(held_out), list(windows)
    return [w for w in windows if w.work not in names], [w for w in windows if w.work in names]


def split_within(
    windows: Iterable[Window], share: float = 0.2
) -> tuple[list[Window], list[Window]]:
    """The first part and the last `share` of each work: for labels that a work has only one of."""
    windows = list(windows)
    last: dict[str, int] = {}
    for window in windows:
        last[window.work] = max(window.start, last.get(window.work, 0))
    late = [w.start > (1 - share) * last[w.work] for w in windows]
    pairs = list(zip(windows, late, strict=True))
    return [w for w, is_late in pairs if not is_late], [w for w, is_late in pairs if is_late]


def balanced(windows: Iterable[Item], per_label: int, seed: int) -> list[Item]:
    """`per_label` windows (or words) of each label, drawn without replacement and shuffled.

    Raises ValueError when a label has fewer.
    """
    by_label: dict[str, list[Item]] = {}
    for window in windows:
        by_label.setdefault(window.label, []).append(window)
    rng, drawn = random.Random(seed), []
    for label, members in sorted(by_label.items()):
        if len(members) < per_label:
            raise ValueError(f"'{label}' has {len(members)} windows, not {per_label}.")
        drawn += rng.sample(members, per_label)
    rng.shuffle(drawn)
    return drawn
