"""The explorable `masking` in Python: a reader's text, tokenized and masked from a seed.

The page has no torch, so it draws its random numbers from a generator of 32 bits that is easily
written twice. `example` is the reference that its browser test compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labs.text.wordpiece import UNK, WordPieceTokenizer, split_words

RATES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
RECIPES = ((0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.8, 0.0, 0.2), (0.8, 0.2, 0.0))
UNITS = ("token", "word")
LONGEST = 240  # characters of the reader's text
DRAWS = 1000  # for the distribution of the number of selected tokens


def uniforms(seed: int) -> Iterator[float]:
    """Numbers in 0 … 1 from the generator Mulberry32, in the arithmetic of 32 bits."""

    def times(a: int, b: int) -> int:
        return (a * b) & 0xFFFFFFFF

    state = seed & 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = times(state ^ (state >> 15), 1 | state)
        t = ((t + times(t ^ (t >> 7), 61 | t)) & 0xFFFFFFFF) ^ t
        yield (t ^ (t >> 14)) / 2**32


@dataclass(frozen=True)
class PageExample:
    """Pieces of a text, the inputs after masking, and what happened at each position.

    `fates`: "" where not selected, else mask, random or kept; `owners`: the index of the word.
    """

    pieces: list[str]
    owners: list[int]
    inputs: list[str]
    fates: list[str]


def cut(tokenizer: WordPieceTokenizer, text: str) -> tuple[list[str], list[int]]:
    """Pieces of a text and for each the index of its word."""
    ids, owners = tokenizer.encode_words(split_words(text[:LONGEST]))
    return [tokenizer.vocab[i] for i in ids], owners


def selected(
    pieces: list[str], owners: list[int], seed: int, rate: float, unit: str
) -> tuple[list[bool], Iterator[float]]:
    """Who is selected, each unit with probability `rate`, and the generator for what follows."""
    generator = uniforms(seed)
    draws = [next(generator) for _ in pieces]
    units = owners if unit == "word" else range(len(pieces))
    return [
        draws[u] < rate and piece != UNK for u, piece in zip(units, pieces, strict=True)
    ], generator


def example(
    tokenizer: WordPieceTokenizer,
    text: str,
    seed: int,
    rate: float,
    shares: tuple[float, float, float],
    unit: str = "token",
) -> PageExample:
    """`mask_tokens` for one text; with the unit `word`, all pieces of a word are selected at once.

    The fate of each selected piece is drawn on its own, as in BERT's code for whole words.
    """
    pieces, owners = cut(tokenizer, text)
    chosen, generator = selected(pieces, owners, seed, rate, unit)
    fates, randoms = ([next(generator) for _ in pieces] for _ in range(2))
    ordinary = [p for i, p in enumerate(tokenizer.vocab) if i not in tokenizer.special_ids]
    inputs, names = list(pieces), []
    for i, (is_chosen, fate) in enumerate(zip(chosen, fates, strict=True)):
        name = ""
        if is_chosen:
            name = "mask" if fate < shares[0] else "random"
            name = name if fate < shares[0] + shares[1] else "kept"
        if name == "mask":
            inputs[i] = "[MASK]"
        elif name == "random":
            inputs[i] = ordinary[math.floor(randoms[i] * len(ordinary))]
        names.append(name)
    return PageExample(pieces, owners, inputs, names)


def selected_counts(tokenizer: WordPieceTokenizer, text: str, rate: float, unit: str) -> list[int]:
    """How many pieces the draws 1 … DRAWS select."""
    pieces, owners = cut(tokenizer, text)
    return [sum(selected(pieces, owners, s, rate, unit)[0]) for s in range(1, DRAWS + 1)]


def page_data(tokenizer: WordPieceTokenizer, text: str) -> dict[str, Any]:
    """What the page needs: the vocabulary, one string, and where the controls start."""
    return {
        "vocab": "\n".join(tokenizer.vocab),
        "rates": RATES,
        "recipes": RECIPES,
        "longest": LONGEST,
        "draws": DRAWS,
        "text": text,
        "start": {"rate": 0.15, "recipe": 0, "unit": "token", "draw": 1},
    }
