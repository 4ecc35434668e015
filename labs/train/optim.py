"""Optimizers (AdamW, Muon) and schedules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


@torch.no_grad()
def orthogonalised(updates: Tensor, steps: int = 5) -> Tensor:
    """Every matrix of `updates` (n, a, b) with its singular values brought near 1.

    Newton-Schulz iteration: the quintic c0·σ + c1·σ³ + c2·σ⁵ acts on singular values alone. They
    end between 0.7 and 1.2 (Jordan et al., Muon, 2024), except those that began near 0.
    """
    c0, c1, c2 = NEWTON_SCHULZ
    tall = updates.size(1) > updates.size(2)
    x = updates.mT if tall else updates
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=c1, alpha=c2), x, beta=c0)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: for the hidden matrices only (Jordan et al., 2024).

    The update of an (a, b) matrix is scaled by 0.2 sqrt(max(a, b)), so that its root mean square
    is about that of AdamW's and rates and weight decay carry over (Liu et al., Muon is Scalable,
    2025, sec. 2.2). Matrices of one shape go through Newton-Schulz together, in `dtype`.

    Raises ValueError for a parameter that is not a matrix.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ):
        if any(p.dim() != 2 for p in matrices):
            raise ValueError("Muon orthogonalises matrices: give other parameters to AdamW.")
        super().__init__(
            matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "dtype": dtype}
        )

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            same_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    same_shape.setdefault(p.shape, []).append(p)
            for matrices in same_shape.values():
                self._update(matrices, group)

    def _update(self, matrices: list[nn.Parameter], group: dict) -> None:
        look_ahead = []
        for p in matrices:
            mean = self.state[p].setdefault("momentum", torch.zeros_like(p))
            mean.lerp_(p.grad, 1 - group["momentum"])
            look_ahead.append(p.grad.lerp(mean, group["momentum"]))  # Nesterov
        updates = orthogonalised(torch.stack(look_ahead).to(group["dtype"]))
        rate = group["lr"] * 0.2 * max(matrices[0].shape) ** 0.5
        for p, update in zip(matrices, updates.to(matrices[0].dtype), strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def muon_with_adamw(
    model: nn.Module,
    lr: float,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    dtype: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embedding, head, norms and biases."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    hidden = [p for name, p in named if p.dim() == 2 and "blocks." in name]
    inside = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in inside]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [
        Muon(hidden, lr, weight_decay, dtype=dtype),
        torch.optim.AdamW(groups, lr=lr, betas=betas),
    ]
