"""Text from a model, one token at a time: greedy, or drawn from a tempered, truncated softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labs.model.transformer import GPT


def next_token_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """The distribution that is sampled: logits (..., V) to probabilities (..., V).

    First the temperature divides the logits (0 is greedy: all weight on the largest logit, on the
    first of equals); then top-k keeps the k likeliest tokens (Fan et al., 2018, sec. 5.1.1);
    then top-p keeps the smallest set of likeliest tokens whose probability reaches p (Holtzman et
    al., 2020, sec. 3.1); then min-p keeps the tokens at least `min_p` times as likely as the
    likeliest (Nguyen et al., 2025). The rest is scaled to sum to 1. Ties are kept by rank: exactly
    k remain.

    Raises ValueError for a negative temperature, k < 1, top_p outside (0, 1], min_p outside [0, 1].
    """
    if temperature < 0 or (top_k is not None and top_k < 1):
        raise ValueError("The temperature must not be negative, and top_k must be 1 or more.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}: it must lie in (0, 1].")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"min_p is {min_p}: it must lie in [0, 1].")
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)
    ranked, order = (logits / temperature).sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked[..., top_k:] = -math.inf
    p = torch.softmax(ranked, dim=-1)
    if top_p is not None:
        before = p.cumsum(-1) - p  # probability of the likelier tokens
        p = p.masked_fill(before >= top_p, 0.0)
    if min_p is not None:
        p = p.masked_fill(p < min_p * p[..., :1], 0.0)
    p = p / p.sum(-1, keepdim=True)
    return torch.zeros_like(p).scatter(-1, order, p)


def gumbel_max(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One draw from softmax(logits), which is never computed.

    Logits (..., V) to tokens (...) int64: the largest sum of logit and Gumbel
    noise (Maddison et al., 2014, sec. 2). The noise is -log E, E exponential.
    A logit of -inf is never drawn.
    """
    noise = torch.empty_like(logits).exponential_(generator=generator)
    noise.clamp_(min=torch.finfo(noise.dtype).tiny)
    return (logits - noise.log()).argmax(-1)


@torch.no_grad()
def generate(
    model: GPT,
    ids: Tensor,
    new_tokens: int,
    *,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    use_cache: bool = True,
) -> Tensor:
    """Continue ids (B, T) by `new_tokens`: (B, T + new_tokens) int64.

    With a KV cache each step runs the newest token only, and positions may pass the context length
    of a model without learned positions. Without it each step runs the last `context_length`
    tokens again. Every step draws on the CPU from `generator`, so one seed gives one text on one
    kind of machine. The model is left in evaluation mode.
    """
    model.eval()
    device = next(model.parameters()).device
    cache = model.new_cache() if use_cache else None
    ids, new = ids.to(device), ids.to(device)
    for _ in range(new_tokens):
        window = new if use_cache else ids[:, -model.config.context_length :]
        logits = model(window, cache=cache)[:, -1]
        p = next_token_probabilities(logits.float().cpu(), temperature, top_k, top_p, min_p)
        new = torch.multinomial(p, 1, generator=generator).to(device)
        ids = torch.cat((ids, new), dim=1)
    return ids
