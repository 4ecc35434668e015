"""Exact attention without its T × T matrix: softmax computed online, one tile of keys at a time.

The arithmetic of FlashAttention (Dao et al., 2022, sec. 3.1, algorithm 1) in plain PyTorch, after
Milakov and Gimelshein (2018) and Rabe and Staats (2021): the memory of the method, not the speed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, block: int, causal: bool = False
) -> tuple[Tensor, int]:
    """softmax(q kᵀ / sqrt(d_head)) v for q (…, T_q, d_head), k and v (…, T_k, d_head).

    Returns the output (…, T_q, d_head) and the most scores held at once for one head:
    T_q · block instead of T_q · T_k. Keys come in tiles of `block`; each query keeps its largest
    score so far and the sum of its exponentials, and rescales both when a larger one arrives.
    With `causal`, query i sees keys up to i; T_q must equal T_k, or ValueError is raised.
    """
    t_q, t_k = q.size(-2), k.size(-2)
    if causal and t_q != t_k:
        raise ValueError(f"A causal mask here needs as many keys as queries: {t_q} and {t_k}.")
    top = q.new_full((*q.shape[:-1], 1), -math.inf)
    total, peak = torch.zeros_like(top), 0
    out = q.new_zeros(*q.shape[:-1], v.size(-1))
    for start in range(0, t_k, block):
        keys = slice(start, min(start + block, t_k))
        scores = q @ k[..., keys, :].mT / math.sqrt(q.size(-1))
        peak = max(peak, scores.size(-1) * t_q)
        if causal:
            at = torch.arange(t_k, device=q.device)
            scores = scores.masked_fill(at[keys] > at[:, None], -math.inf)
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        weights, shrink = torch.exp(scores - new_top), torch.exp(top - new_top)
        total = total * shrink + weights.sum(-1, keepdim=True)
        out = out * shrink + weights @ v[..., keys, :]
        top = new_top
    return out / total, peak
