"""Optimizers and schedules."""

from __future__ import annotations

import math

import torch
from torch import nn


def adamw(
    model: nn.Module,
    lr: float,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) that decays matrices, not norms and biases."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.dim() >= 2],
            "weight_decay": weight_decay,
        },
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas)


def warmup_cosine(
    step: int, *, steps: int, peak: float, warmup: int, min_ratio: float = 0.1
) -> float:
    """Learning rate of `step` (0 … steps-1): linear warm-up to `peak`, then half a cosine.

    The last step runs at `min_ratio · peak` (Loshchilov and Hutter, SGDR, 2017, eq. 5, one cycle).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return peak * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def warmup_stable_decay(
    step: int,
    *,
    steps: int,
    peak: float,
    warmup: int,
    decay: float = 0.2,
    min_ratio: float = 0.0,
) -> float:
    """Learning rate of `step` (0 … steps-1): linear warm-up, constant, linear to the end.

    The last `decay · steps` steps go down to `min_ratio · peak`; beyond the end the rate stays
    there. Until the decay begins, `steps` need not be known (Hu et al., MiniCPM, 2024, sec. 4).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    down = (step + 1 - (1 - decay) * steps) / (decay * steps)
    return peak * (1 - (1 - min_ratio) * min(1.0, max(0.0, down)))
