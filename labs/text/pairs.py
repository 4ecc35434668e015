"""Pairs of spans for next sentence prediction, with three kinds of second spans that do not follow.

The rule is BERT's (Devlin et al., 2019, sec. 3.1, Task #2): take a span, then flip a coin. Heads:
the second span is the one that follows. Tails: it is another one,

`other`    from another document, as in BERT's code,
`same`     from the same document, but not the next,
`swapped`  the true pair in the wrong order (ALBERT's sentence order, Lan et al., 2020, sec. 3.1).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from labs.text.corpus import shakespeare
from labs.text.corpus import split as corpus_split
from labs.text.plays import speech_text

KINDS = ("other", "same", "swapped")


@dataclass(frozen=True)
class Span:
    """Whole sentences of a work; `index` counts the work's spans, so index + 1 follows index."""

    work: str
    index: int
    text: str


@dataclass(frozen=True)
class Pair:
    """Two spans and the label that the coin gave them."""

    first: Span
    second: Span
    is_next: bool


def split_sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text: each ends in a full stop, a question or an exclamation mark."""
    return tuple(s for s in re.split(r"(?<=[.!?])\s+", text) if s)


@cache
def sentences(work: str) -> tuple[str, ...]:
    """The sentences of a work's plain text (lower-case, without speakers and directions)."""
    return split_sentences(speech_text(work))


@cache
def spans(work: str, words: int) -> tuple[Span, ...]:
    """A work as neighbouring spans of whole sentences, each of at least `words` words.

    What is left at the end and fills no span is left out.
    """
    found, held = [], []
    for sentence in sentences(work):
        held.append(sentence)
        if sum(len(s.split()) for s in held) >= words:
            found.append(Span(work, len(found), " ".join(held)))
            held = []
    return tuple(found)


def documents(
    split: str | None = None, per_work: int | None = None, words: int = 32
) -> list[list[Span]]:
    """The first `per_work` spans (None: all) of each work of a split (None: of all) with three."""
    works = shakespeare() if split is None else corpus_split(split)
    found = [list(spans(work.name, words)[:per_work]) for work in works]
    return [doc for doc in found if len(doc) > 2]


def follows(pair: Pair) -> bool:
    """Whether the second span is the next one of the same work: read from the offsets alone."""
    first, second = pair.first, pair.second
    return first.work == second.work and second.index == first.index + 1


def make_pairs(
    documents: Sequence[Sequence[Span]], kind: str, count: int, seed: int, share: float = 0.5
) -> list[Pair]:
    """`count` pairs from documents of at least three neighbouring spans each.

    A second span is the next one with probability `share`, otherwise one of `kind`.
    Raises ValueError for an unknown kind, or where a kind cannot be drawn.
    """
    if kind not in KINDS:
        raise ValueError(f"No kind '{kind}': take one of {', '.join(KINDS)}.")
    if min(map(len, documents)) < 3 or (kind == "other" and len(documents) < 2):
        raise ValueError("Pairs need two documents or more, and three spans in each.")
    rng = random.Random(seed)
    return [_draw(documents, kind, rng, share) for _ in range(count)]


def _draw(documents: Sequence[Sequence[Span]], kind: str, rng: random.Random, share: float) -> Pair:
    at = rng.randrange(len(documents))
    place = rng.randrange(len(documents[at]) - 1)
    first, following = documents[at][place : place + 2]
    if rng.random() < share:
        return Pair(first, following, True)
    if kind == "swapped":
        return Pair(following, first, False)
    if kind == "other":
        elsewhere = rng.choice([i for i in range(len(documents)) if i != at])
        return Pair(first, rng.choice(documents[elsewhere]), False)
    others = [s for s in documents[at] if s not in (first, following)]
    return Pair(first, rng.choice(others), False)
