"""Data of the explorable `objectives`: one sentence as a training example of three objectives."""

from __future__ import annotations

from typing import Any

import torch

from labs.text.tokenizers import ByteTokenizer
from labs.train.objectives import span_corruption

RATES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
MEAN_SPANS = (1, 2, 3, 5)
DRAWS = (0, 1, 2, 3)  # seeds of the generator
START = {"objective": "causal", "rate": 0.15, "span": 3, "draw": 0}
NAMES = tuple("XYZWVUTSRQPONMLKJIHG")  # sentinels, as the page writes them: <X>, <Y>, …


def shown(tokenizer: ByteTokenizer, token: int) -> str:
    """A token as the page writes it: a dot for the space before a word."""
    return tokenizer.token_bytes(token).decode("utf-8", "backslashreplace").replace(" ", "·")


def masking_draws(n: int, ordinary: int, seed: int) -> dict[str, list]:
    """The three draws that `mask_tokens` makes for n positions: select, fate, random token."""
    generator = torch.Generator().manual_seed(seed)
    selects, fates = (torch.rand(1, n, generator=generator)[0].tolist() for _ in range(2))
    random = torch.randint(ordinary, (1, n), generator=generator)[0].tolist()
    return {
        "select": [round(x, 7) for x in selects],
        "fate": [round(x, 7) for x in fates],
        "random": random,
    }


def span_places(n: int, rate: float, mean_span: float, seed: int) -> list[list[int]]:
    """Where `span_corruption` cuts a window of n tokens: [start, length] of each span."""
    generator = torch.Generator().manual_seed(seed)
    sentinels = torch.arange(n, 2 * n)
    _, targets = span_corruption(torch.arange(n)[None], sentinels, generator, rate, mean_span)
    places: list[list[int]] = []
    previous = n
    for token in targets[0].tolist()[:-1]:
        if token < n and previous >= n:
            places.append([token, 0])
        if token < n:
            places[-1][1] += 1
        previous = token
    return places


def page_data(tokenizer: ByteTokenizer, text: str, ordinary: int) -> dict[str, Any]:
    """Tokens of the text, every draw that the page needs, and where the controls start.

    `ordinary`: ids from 0 that a random replacement is drawn from.
    """
    ids = tokenizer.encode(text)
    draws = [masking_draws(len(ids), ordinary, seed) for seed in DRAWS]
    for draw in draws:
        draw["random"] = [shown(tokenizer, token) for token in draw["random"]]
    places = [
        [[span_places(len(ids), rate, mean, seed) for seed in DRAWS] for mean in MEAN_SPANS]
        for rate in RATES
    ]
    return {
        "tokens": [shown(tokenizer, token) for token in ids],
        "sentinels": [f"<{name}>" for name in NAMES],
        "rates": RATES,
        "spans": MEAN_SPANS,
        "draws": draws,
        "places": places,
        "start": START,
    }
