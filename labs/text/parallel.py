"""Real parallel text: the First Folio (1623) and a modern-spelling edition, speech by speech.

Both print the same plays, so the modern edition is a reference translation of the Folio's
spelling that nobody made for a machine. Editions differ in more than spelling: speeches are cut,
split and emended. So they are aligned in order, by the words that they share, and pairs that share
too few are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from labs.text.corpus import Document, document, shakespeare
from labs.text.labelled import MODERN_NAME
from labs.text.plays import speeches

# `   Mal. This is the Serieant,` starts a speech; `  1. When shall we` too.
SPEECH_START = re.compile(r"^ {1,5}([A-Z0-9][A-Za-z0-9.' -]{0,18}?)[.,:] (\S.*)$")
DIRECTION = re.compile(r"^(Enter|Exit|Exeunt|Exe|Flourish|Alarum|Actus|Scena|Scoena|Thunder)\b")


@dataclass(frozen=True)
class Pair:
    """One speech in two spellings, with its line breaks, and the play it comes from."""

    folio: str
    modern: str
    work: str


def folio_speeches(work: Document) -> list[str]:
    """The speeches of a First-Folio play, in order, without speakers' names and directions."""
    found: list[list[str]] = []
    for line in work.text.splitlines():
        if start := SPEECH_START.match(line):
            found.append([start[2]])
        elif found and line.strip() and not DIRECTION.match(line.strip()):
            found[-1].append(line)
    return ["\n".join(lines) for lines in found]


@cache
def spelling_key(word: str) -> str:
    """A rough key that most spellings of one word share: `vpon` and `upon` give `upon`."""
    key = word.lower().replace("v", "u").replace("j", "i").replace("y", "i").replace("ie", "i")
    key = re.sub(r"(.)\1", r"\1", key.replace("'", ""))
    return re.sub(r"e(?=s?$|d$)", "", key)


def spelling_keys(text: str) -> list[str]:
    """`spelling_key` of each word of a text."""
    return [spelling_key(word) for word in re.findall(r"[A-Za-z']+", text)]


def shared_words(folio: Sequence[str], modern: Sequence[str]) -> NDArray[np.float64]:
    """Share of words in common of every two texts, (F, M), 0 to 1: 2 |a ∩ b| / (|a| + |b|)."""
    counter = CountVectorizer(analyzer=spelling_keys, binary=True)
    both = counter.fit_transform([*folio, *modern]).astype(np.float64)
    a, b = both[: len(folio)], both[len(folio) :]
    total = np.asarray(a.sum(1)).reshape(-1, 1) + np.asarray(b.sum(1)).reshape(1, -1)
    return 2 * (a @ b.T).toarray() / np.maximum(total, 1)


def align(folio: Sequence[str], modern: Sequence[str]) -> list[tuple[int, int, float]]:
    """Pairs (i, j, share of words), i and j rising, of the greatest sum of shares.

    Dynamic programming over all prefixes, as for a longest common subsequence.
    """
    scores = shared_words(folio, modern)
    n, m = scores.shape
    best = np.zeros((n + 1, m + 1))
    for i in range(n):
        paired = np.maximum(best[i, 1:], best[i, :-1] + scores[i])
        best[i + 1, 1:] = np.maximum.accumulate(paired)
    pairs, i, j = [], n, m
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j, float(scores[i, j])))
    return pairs[::-1]


@cache
def spelling_pairs(split: str, least: float = 0.9) -> tuple[Pair, ...]:
    """The speeches of a split in both spellings that share `least` of their words, in order.

    Raises ValueError when no work of the First Folio belongs to `split`.
    """
    works = [work for work in shakespeare("first_folio") if work.split == split]
    if not works:
        raise ValueError(f"No split '{split}' in the First Folio.")
    found = []
    for work in works:
        name = MODERN_NAME.get(work.name, work.name)
        folio = folio_speeches(work)
        modern = ["\n".join(speech.lines) for speech in speeches(document(name))]
        for i, j, share in align(folio, modern):
            if share >= least:
                found.append(Pair(folio[i], modern[j], name))
    return tuple(found)
