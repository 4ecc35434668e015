"""Named entities with labels that nobody had to annotate: characters named in the speeches.

Each play lists its characters in front (*dramatis personae*), names in capitals. A mention of one
of them in a speech, with the title before it, is an entity: `Caesar`, `Sir Toby`, `Lady Macbeth`.
Names of people who are not in the list (`Jove`) are not entities here.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

from labs.text.corpus import Document, shakespeare
from labs.text.plays import speeches

CAST = re.compile(
    r"^ *(?:dramatis person|persons represented|characters)[^\n]*\n(.*?)^ *(?:act|scene)\b",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
TITLES = frozenset(
    [
        *("Captain", "Count", "Countess", "Don", "Duchess", "Duke", "Earl", "Friar", "King"),
        *("Lady", "Lord", "Madam", "Master", "Mistress", "Prince", "Princess", "Queen"),
        *("Signior", "Sir"),
    ]
)
TOKEN = re.compile(r"[A-Za-z]+|'[a-z]+|[^\sA-Za-z]")
B, I, O = "B", "I", "O"  # begin, inside, outside: Ramshaw and Marcus (1995)  # noqa: E741


@dataclass(frozen=True)
class Tagged:
    """One speech: its tokens, and the entity spans (start, end) in them, end exclusive."""

    work: str
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@cache
def _lower_case_words() -> frozenset[str]:
    """Words that the modern-spelling works write in lower case at least as often as not."""
    seen = Counter(word for work in shakespeare() for word in re.findall(r"[A-Za-z]+", work.text))
    return frozenset(w for w, n in seen.items() if w.islower() and n >= seen[w.capitalize()])


@cache
def cast(work: Document) -> frozenset[str]:
    """The names in a play's list of characters, `Caesar` for CAESAR; empty where it has none.

    Titles are no names, nor are words that the works write in lower case (`Boy`, `Citizen`).
    """
    found = CAST.search(work.text[:8000])
    words = re.findall(r"\b[A-Z]{2,}\b", found[1]) if found else []
    common = _lower_case_words()
    return frozenset(w.capitalize() for w in words if w.lower() not in common) - TITLES


def find_spans(tokens: tuple[str, ...], names: frozenset[str]) -> tuple[tuple[int, int], ...]:
    """Longest runs of titles and names that end in a name: ((start, end), …), end exclusive."""
    spans, start = [], None
    for i, token in enumerate((*tokens, "")):
        if token in names or token in TITLES:
            start = i if start is None else start
        elif start is not None:
            last = max((j for j in range(start, i) if tokens[j] in names), default=None)
            spans += [(start, last + 1)] if last is not None else []
            start = None
    return tuple(spans)


@cache
def tagged_speeches(work: Document) -> tuple[Tagged, ...]:
    """The speeches of a play with the characters that they name."""
    names = cast(work)
    texts = [tuple(TOKEN.findall(" ".join(speech.lines))) for speech in speeches(work)]
    return tuple(Tagged(work.name, t, find_spans(t, names)) for t in texts if t)


def to_bio(length: int, spans: tuple[tuple[int, int], ...]) -> list[str]:
    """One tag for each token: B begins an entity, I is inside it, O is outside."""
    tags = [O] * length
    for start, end in spans:
        tags[start:end] = [B] + [I] * (end - start - 1)
    return tags


def from_bio(tags: list[str]) -> tuple[tuple[int, int], ...]:
    """The spans that tags describe; an I without a B before it begins an entity (as in CoNLL)."""
    spans, start = [], None
    for i, tag in enumerate([*tags, O]):
        if start is not None and tag != I:
            spans.append((start, i))
            start = None
        if start is None and tag != O:
            start = i
    return tuple(spans)
