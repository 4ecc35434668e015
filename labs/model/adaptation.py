"""LoRA: a frozen matrix plus a trainable product of two thin ones, and how to merge it away."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """y = W x + (α/r) B A x with W frozen: Hu et al., LoRA (2022), sec. 4.1, eq. 3.

    A (r, d_in) starts random, B (d_out, r) at zero, so the first output is that of W alone.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float | None = None):
        super().__init__()
        if not 1 <= rank <= min(base.weight.shape):
            raise ValueError(f"The rank must be 1 to {min(base.weight.shape)}, not {rank}.")
        self.base = base.requires_grad_(False)
        weight = base.weight
        self.a = nn.Parameter(torch.empty(rank, base.in_features).to(weight))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank).to(weight))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as torch.nn.Linear
        self.scale = (rank if alpha is None else alpha) / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.a), self.b)

    @torch.no_grad()
    def delta(self) -> Tensor:
        """What is added to W: (d_out, d_in), of rank r at most."""
        return self.scale * self.b @ self.a

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain layer that computes the same; W + ΔW is written into `base`."""
        self.base.weight += self.delta()
        return self.base


def add_lora(
    model: nn.Module, rank: int, names: Collection[str] = (), alpha: float | None = None
) -> nn.Module:
    """Freeze a model and put LoRA on its linear layers, in place; returns the model.

    Args:
        names: last parts of the layers' names, such as "query"; by default all linear layers but
            those that share their weight with an embedding.
        alpha: the scale is alpha / rank; by default 1.

    Raises ValueError when no layer has one of these names.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and (name.rpartition(".")[2] in names if names else id(layer.weight) not in tables)
    ]
    if not chosen:
        raise ValueError(f"No linear layer is called {', '.join(names)}.")
    model.requires_grad_(False)
    for name, layer in chosen:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, LoRALinear(layer, rank, alpha))
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Replace every LoRALinear by one plain layer, in place: no cost at inference is left."""
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, LoRALinear)]:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.merged())
    return model


def count_trainable(model: nn.Module) -> int:
    """Numbers that receive gradients; a tied weight counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
