"""What single heads of a trained model do: where they look, and what is lost without them.

Attention patterns are seen, effects are caused: a head counts as an induction head here only when
both its pattern and its ablation say so (Olsson et al., In-context Learning and Induction Heads,
2022; Jain and Wallace, Attention is not Explanation, 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from labs.model.transformer import GPT


@torch.no_grad()
def attention_maps(model: GPT, ids: Tensor) -> Tensor:
    """Every head's weights on ids (B, T): (n_layers, B, n_heads, T, T), each row sums to 1."""
    weights: list[Tensor] = []
    model(ids, weights=weights)
    return torch.stack(weights)


@torch.no_grad()
def raw_scores(model: GPT, ids: Tensor) -> Tensor:
    """Every head's q·k on ids (B, T), rotated by RoPE, neither scaled nor masked: (L, B, H, T, T).

    Dividing by sqrt(d_head), masking and a softmax turn them into `attention_maps`. Heads that
    share keys (grouped queries) and additive positions (ALiBi) are not supported: ValueError.
    """
    if model.config.n_kv_heads not in (None, model.config.n_heads):
        raise ValueError("Grouped-query heads share their keys: raw scores are not defined here.")
    if model.config.positions == "alibi":
        raise ValueError("ALiBi adds its positions to the scores: q·k alone is not the whole.")
    scores: list[Tensor] = []

    def record(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        q, k, _ = module.project(inputs[0])
        scores.append(q @ k.mT)

    hooks = [block.attention.register_forward_pre_hook(record) for block in model.blocks]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(scores)


def row_entropy(weights: Tensor) -> Tensor:
    """Entropy of each row of weights (..., T_q, T_k) in nats: (..., T_q); 0 · ln 0 is 0."""
    return -torch.xlogy(weights, weights).sum(-1)


def previous_token_score(maps: Tensor) -> Tensor:
    """Mean weight on the token just before, (n_layers, n_heads), of maps (L, B, H, T, T)."""
    return maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(1, 3))


def repeated(block: Tensor) -> Tensor:
    """A block of tokens (B, T) followed by itself: (B, 2T)."""
    return torch.cat((block, block), dim=1)


def induction_score(maps: Tensor, period: int) -> Tensor:
    """Mean weight of second-half queries on what followed their token in the first half: (L, H).

    For text made by `repeated` with blocks of `period` tokens: query t looks at t - period + 1.
    Olsson et al. (2022), "Definition of induction heads", prefix matching on repeated random
    tokens. Query `period` itself counts, so the diagonal has `period` entries.
    """
    stripe = maps.diagonal(offset=1 - period, dim1=-2, dim2=-1)  # queries period - 1, period, …
    return stripe[..., 1:].mean(dim=(1, 3))


def induction_targets(ids: Tensor) -> Tensor:
    """(B, T, T), True where the token before key k equals the query's token, and k ≤ q."""
    t = ids.size(1)
    targets = torch.zeros(ids.size(0), t, t, dtype=torch.bool, device=ids.device)
    targets[:, :, 1:] = ids[:, :, None] == ids[:, None, :-1]
    return targets & torch.ones(t, t, dtype=torch.bool, device=ids.device).tril()


def prefix_matching_score(maps: Tensor, ids: Tensor) -> tuple[Tensor, float]:
    """Prefix matching on any text: (L, H), and what evenly spread weights would give.

    Mean over the queries whose token occurred before of the weight on the tokens that followed.
    Raises ValueError when no token of ids (B, T) occurs twice.
    """
    targets = induction_targets(ids)
    asks = targets.any(-1)  # (B, T)
    if not asks.any():
        raise ValueError("No token occurs twice: there is nothing to match.")
    on_targets = (maps * targets[None, :, None]).sum(-1)  # (L, B, H, T)
    visible = torch.arange(1, ids.size(1) + 1, device=ids.device)
    even = (targets.sum(-1) / visible)[asks].mean().item()
    return on_targets.transpose(2, 3)[:, asks].mean(1), even


@torch.no_grad()
def head_means(model: GPT, ids: Tensor) -> Tensor:
    """Mean output of each head over all positions of ids (B, T): (n_layers, n_heads, d_head)."""
    means: list[Tensor] = []

    def record(module: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        means.append(inputs[0].mean(dim=(0, 1)))

    hooks = [block.attention.out.register_forward_pre_hook(record) for block in model.blocks]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(means).unflatten(1, (model.config.n_heads, -1))


@contextmanager
def mean_ablated(model: GPT, heads: list[tuple[int, int]], means: Tensor) -> Iterator[GPT]:
    """The model with each (layer, head) of `heads` writing its mean, whatever it reads.

    `means` comes from `head_means`. The mean keeps what a head always writes and removes what
    depends on the text; zero would remove both (Wang et al., 2023, sec. 2.1 discusses the choice).
    """

    def replace(layer: int):
        def hook(module: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            x = inputs[0].unflatten(-1, (model.config.n_heads, -1)).clone()
            for other, head in heads:
                if other == layer:
                    x[..., head, :] = means[layer, head]
            return (x.flatten(-2),)

        return hook

    hooks = [
        model.blocks[layer].attention.out.register_forward_pre_hook(replace(layer))
        for layer in {layer for layer, _ in heads}
    ]
    try:
        yield model
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def losses_by_position(model: GPT, ids: Tensor) -> Tensor:
    """Loss of predicting ids[:, 1:] in nats, (B, T-1): column t predicts the token t + 1."""
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


def ablation_rises(model: GPT, ids: Tensor, means: Tensor, start: int = 0) -> Tensor:
    """Rise of the mean loss (nats per token) when one head is mean-ablated: (n_layers, n_heads).

    Only predictions from column `start` on count: `start=T/2` for the second half of a repeat.
    """
    whole = losses_by_position(model, ids)[:, start:].mean()
    rises = torch.empty(model.config.n_layers, model.config.n_heads)
    for layer in range(model.config.n_layers):
        for head in range(model.config.n_heads):
            with mean_ablated(model, [(layer, head)], means):
                rises[layer, head] = losses_by_position(model, ids)[:, start:].mean() - whole
    return rises
