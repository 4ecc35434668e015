"""Tensor parallelism by hand: every rank computes with its columns and rows of each matrix.

The first matrix of a block (query, key, value; gate, up) is cut by its outputs, the second (out,
down) by its inputs, so nothing has to be sent between the two (Shoeybi et al. 2019, section 3).
Two conjugate operators stand at the ends: `Enter` (f in figure 3) and `Leave` (g).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labs.model.transformer import GPT

COLUMN = ("query", "key", "value", "gate", "up")  # weights (outputs, inputs), cut along dim 0
ROW = ("out", "down")  # cut along dim 1


class Enter(torch.autograd.Function):
    """f: the identity forward; backward, the ranks' gradients of the input are summed."""

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


class Leave(torch.autograd.Function):
    """g: forward, the ranks' partial results are summed; the identity backward."""

    @staticmethod
    def forward(ctx, partial: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        total = partial.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def cut_dim(name: str) -> int | None:
    """The axis along which the parameter called `name` is cut; None when it is a replica."""
    module = name.split(".")[-2]
    return 0 if module in COLUMN else 1 if module in ROW else None


def own_piece(name: str, whole: Tensor, ranks: int, rank: int) -> Tensor:
    """This rank's piece of a weight: its columns, its rows, or all of it."""
    dim = cut_dim(name)
    return whole if dim is None else whole.chunk(ranks, dim)[rank]


def cut(gpt: GPT, ranks: int, rank: int, group: dist.ProcessGroup | None = None) -> GPT:
    """Keep this rank's pieces of `gpt`, and put f and g around its attentions and MLPs.

    Embedding, norms and head stay whole on every rank. Raises ValueError when the heads or hidden
    units cannot be divided by `ranks`. Changes and returns `gpt`.
    """
    for block in gpt.blocks:
        attention = block.attention
        if attention.n_kv_heads % ranks or block.mlp.up.out_features % ranks:
            raise ValueError(f"{attention.n_kv_heads} heads cannot be cut into {ranks}")
        attention.n_heads //= ranks
        attention.n_kv_heads //= ranks
        for part, last in ((attention, attention.out), (block.mlp, block.mlp.down)):
            part.register_forward_pre_hook(lambda _, args: (Enter.apply(args[0], group), *args[1:]))
            last.register_forward_hook(lambda _, args, partial: Leave.apply(partial, group))
    for name, parameter in gpt.named_parameters():
        piece = own_piece(name, parameter.detach(), ranks, rank).clone()
        parameter.data = piece
    return gpt


def average_shards(model: nn.Module) -> None:
    """Average every parameter over the ranks, as if the pieces were copies (a control)."""
    for parameter in model.parameters():
        dist.all_reduce(parameter.data)
        parameter.data /= dist.get_world_size()
