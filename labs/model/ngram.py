"""A smoothed n-gram model: the baseline that a neural language model has to beat.

Interpolated Kneser-Ney: Kneser and Ney (1995); Chen and Goodman, An Empirical Study of Smoothing
Techniques for Language Modeling (1999), sec. 2.7, with one discount for each order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids = NDArray[np.int64]


def _keys(tokens: Ids, n: int, vocab_size: int) -> Ids:
    """One integer for each n-gram of `tokens`: its ids as the digits of a number, (N - n + 1,)."""
    count = len(tokens) - n + 1
    key = np.zeros(count, dtype=np.int64)
    for i in range(n):
        key = key * vocab_size + tokens[i : i + count]
    return key


def _count_of(keys: Ids, counts: Ids, wanted: Ids) -> Ids:
    """`counts` of the `wanted` keys, 0 where a key does not occur; `keys` is sorted."""
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0)


@dataclass(frozen=True)
class _Order:
    """Counts of one order: of n-grams, and of their contexts (total, and distinct next tokens)."""

    keys: Ids
    counts: Ids
    contexts: Ids
    totals: Ids
    types: Ids
    discount: float

    @classmethod
    def of(cls, keys: Ids, counts: Ids, vocab_size: int) -> _Order:
        contexts, first, types = np.unique(
            keys // vocab_size, return_index=True, return_counts=True
        )
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5  # Chen and Goodman, eq. 26
        totals = np.add.reduceat(counts, first)
        return cls(keys, counts, contexts, totals, types, float(discount))


class NGram:
    """P(token | previous order - 1 tokens), each order interpolated with the next lower one."""

    def __init__(self, tokens: ArrayLike, vocab_size: int, order: int = 5):
        """Count `tokens` (N,). Raises ValueError when an n-gram would not fit into 64 bits."""
        if vocab_size**order >= 2**63:
            raise ValueError(f"{order}-grams over {vocab_size} tokens need more than 64 bits.")
        tokens = np.asarray(tokens, dtype=np.int64)
        self.vocab_size, self.order = vocab_size, order
        keys, counts = np.unique(_keys(tokens, order, vocab_size), return_counts=True)
        orders = [_Order.of(keys, counts, vocab_size)]
        for n in range(order - 1, 0, -1):
            # A lower order counts in how many contexts an n-gram occurs, not how often.
            suffixes = orders[-1].keys % vocab_size**n
            orders.append(_Order.of(*np.unique(suffixes, return_counts=True), vocab_size))
        self.orders = orders[::-1]

    def probabilities(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P of each token of `tokens` (N,) that has order - 1 predecessors: (N - order + 1,)."""
        tokens = np.asarray(tokens, dtype=np.int64)
        p = np.full(len(tokens) - self.order + 1, 1.0 / self.vocab_size)
        for n, table in enumerate(self.orders, start=1):
            keys = _keys(tokens[self.order - n :], n, self.vocab_size)
            contexts = keys // self.vocab_size
            totals = _count_of(table.contexts, table.totals, contexts)
            types = _count_of(table.contexts, table.types, contexts)
            kept = np.maximum(_count_of(table.keys, table.counts, keys) - table.discount, 0.0)
            seen = totals > 0  # an unseen context leaves the lower order as it is
            p = np.where(seen, (kept + table.discount * types * p) / np.maximum(totals, 1), p)
        return p

    def nats(self, tokens: ArrayLike) -> float:
        """Total loss of a text in nats, its first order - 1 tokens left out."""
        return -math.fsum(np.log(self.probabilities(tokens)))
