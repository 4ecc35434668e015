"""Losses that need more than one line: chunked cross-entropy, and DPO on preference pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORE = -100  # the target of a position without a loss, as in torch.nn.CrossEntropyLoss


def cross_entropy_in_place(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses of (n,) targets; logits (n, V) become its gradient."""
    y = targets[:, None]
    top, at_target = logits.amax(-1, keepdim=True), logits.gather(-1, y)
    exp = logits.sub_(top).exp_()
    sums = exp.sum(-1, keepdim=True)
    nats = (sums.log() + top - at_target).sum(dtype=torch.float64)
    return nats, exp.div_(sums).scatter_add_(-1, y, -torch.ones_like(sums))


class ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of a linear head that never holds all logits.

    The logits of one chunk are made, turned into their gradient, and forgotten: what remains are
    gradients of the size of `hidden` and `weight`. The backward pass only scales them. The idea is
    that of FusedLinearCrossEntropy (Hsu et al., Liger Kernel, 2024), here with torch's operations.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets, total: float, chunk: int) -> Tensor:
        wide = torch.promote_types(weight.dtype, torch.float32)
        loss = hidden.new_zeros((), dtype=torch.float64)
        d_hidden = torch.zeros_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=wide)
        for rows in torch.arange(len(hidden), device=hidden.device).split(chunk):
            rows = rows[targets[rows] != IGNORE]
            if not len(rows):
                continue
            h = hidden[rows]
            logits = (h @ weight.T).to(wide)
            nats, grad = cross_entropy_in_place(logits, targets[rows])
            loss += nats
            grad = grad.div_(total).to(weight.dtype)
            d_hidden[rows] = (grad @ weight).to(hidden.dtype)
            d_weight += grad.T @ h
            del logits, grad  # before the next chunk's are made
        ctx.save_for_backward(d_hidden, d_weight.to(weight.dtype))
        return (loss / total).to(wide)

    @staticmethod
    @once_differentiable
    def backward(ctx, scale: Tensor) -> tuple:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * scale.to(d_hidden.dtype), d_weight * scale.to(d_weight.dtype), *[None] * 3


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    chunk: int = 1024,
    total: float | None = None,
) -> Tensor:
    """`F.cross_entropy(hidden @ weight.T, targets)` with the logits of `chunk` positions at a time.

    Args:
        hidden: (N, d) or (B, T, d), what the head reads.
        weight: (V, d), the head.
        targets: (N,) or (B, T) int64; positions with IGNORE have no loss.
        chunk: positions whose logits exist at once; the memory for logits is chunk · V numbers.
        total: what the sum of losses is divided by; by default the positions that have a loss.
            With gradient accumulation give the positions of *all* micro-batches.

    Returns the loss in nats, a scalar in fp32 or better; 0 when no position has a loss, where
    F.cross_entropy gives NaN. Differentiable once. Raises ValueError for a chunk below 1.
    """
    if chunk < 1:
        raise ValueError(f"A chunk needs at least one position, not {chunk}.")
    if total is None:
        total = max(1, int((targets != IGNORE).sum()))
    return ChunkedCrossEntropy.apply(
        hidden.flatten(0, -2), weight, targets.flatten(), float(total), chunk
    )


def sequence_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each sequence, (B,) in nats: logits (B, T, V), targets (B, T) with IGNORE left out.

    The positions are those of `targets`: nothing is shifted here.
    """
    nats = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORE)
    return -nats.sum(-1)


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Direct preference optimization: Rafailov et al. (2023), eq. 7.

    Args:
        policy_chosen, policy_rejected: log p of the answers under the trained model, (B,) in nats,
            summed over the tokens of the answer.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: how strongly the policy is held to the reference.

    Returns the loss of each pair, and the implicit rewards β log(π/π_ref) of the chosen and of the
    rejected answers (without gradient), all (B,).
    """
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    return -F.logsigmoid(chosen - rejected), chosen.detach(), rejected.detach()
