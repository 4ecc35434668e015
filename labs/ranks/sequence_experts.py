"""Sequence parallelism (DeepSpeed-Ulysses) and expert parallelism (DeepSpeed's MoE) on a GPT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.module_inject.tp_shard import set_num_kv_heads
from deepspeed.moe.layer import MoE
from deepspeed.moe.utils import split_params_into_different_moe_groups_for_optimizer
from deepspeed.runtime.sequence_parallel import parallel_state_sp
from deepspeed.sequence.layer import DistributedAttention
from deepspeed.utils import groups
from torch import Tensor, nn
from torch.nn import functional as F

from labs.model.attention import Attention
from labs.model.positions import apply_rope, rope_angles
from labs.model.transformer import GPT
from labs.ranks.engine import (
    deepspeed_config,
    engine_for,
    full_gradients,
    mean_over_ranks,
    train_step,
)
from labs.ranks.messages import messages, tally
from labs.ranks.workload import CONFIG, batch_of, next_token_loss, small_gpt


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q, k, v (B, T, H, D), each position to those up to itself, (B, T, H, D)."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


class Whole(nn.Module):
    """What `DistributedAttention` runs between its all-to-alls: some heads, all positions."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return causal_attention(q, k, v)


def ulysses() -> DistributedAttention:
    """DeepSpeed's attention over all ranks for tensors (B, T / ranks, H, D)."""
    return DistributedAttention(Whole(), dist.group.WORLD, scatter_idx=2, gather_idx=1)


@contextmanager
def uneven_heads(ranks: int) -> Iterator[None]:
    """What DeepSpeed needs for heads that `ranks` does not divide: its own register of ranks.

    Without it every rank takes itself for rank 0, and the all-to-all fails or hangs.
    """
    parallel_state_sp.initialize_sequence_parallel(ranks)
    groups.mpu = parallel_state_sp
    try:
        yield
    finally:
        groups.mpu = None
        set_num_kv_heads(None)


def attend_split(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """One attention, forward and backward, on a sequence cut over the ranks, against the plain one.

    `shape` is (B, T, H, D) of the whole. Returns the largest differences of this rank's part.
    """
    if config["shape"][2] % ranks:
        with uneven_heads(ranks):
            return _attend_split(config, rank, ranks)
    return _attend_split(config, rank, ranks)


def _attend_split(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    torch.manual_seed(0)
    device = get_accelerator().device_name()
    whole = [torch.randn(*config["shape"]).to(device).requires_grad_() for _ in "qkv"]
    upstream = torch.randn(*config["shape"]).to(device)
    expected = causal_attention(*whole)
    expected.backward(upstream)
    own = [t.detach().chunk(ranks, 1)[rank].clone().requires_grad_() for t in whole]
    with messages() as seen:
        found = ulysses()(*own, batch_dim_idx=0)
        found.backward(upstream.chunk(ranks, 1)[rank])
    gradients = ((w.grad, o.grad) for w, o in zip(whole, own, strict=True))
    pairs = [(expected.detach(), found.detach()), *gradients]
    apart = [(w.chunk(ranks, 1)[rank] - o).abs().max().item() for w, o in pairs]
    return {"apart": apart, "sent": tally(seen)}


class SplitAttention(nn.Module):
    """The GPT's attention when this rank holds positions rank·T/N to (rank + 1)·T/N only."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.inner, self.distributed = attention, ulysses()

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        inner, (b, t, _) = self.inner, x.shape
        q, k, v = (p(x).view(b, t, -1, inner.d_head) for p in (inner.query, inner.key, inner.value))
        at = torch.arange(t, device=x.device) + dist.get_rank() * t
        angles = rope_angles(at, inner.d_head, inner.rope_base)
        q, k = (apply_rope(z.transpose(1, 2), angles).transpose(1, 2) for z in (q, k))
        out = self.distributed(q.contiguous(), k.contiguous(), v, batch_dim_idx=0)
        return inner.out(out.reshape(b, t, -1))


def train_split_sequence(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """Optimizer steps in which every rank has a part of every sequence; `settings` as everywhere.

    The parameters are replicas, as in data parallelism, so ZeRO applies to them. Gradients are
    those of the first step, messages those of the last.
    """
    model, losses, gradients = small_gpt(), [], {}
    for block in model.blocks:
        block.attention = SplitAttention(block.attention)
    with engine_for(model, deepspeed_config(**config["settings"])) as engine:
        for step in range(config["steps"]):
            ids, targets = (t.chunk(ranks, 1)[rank] for t in batch_of(step, 0, 1, config["batch"]))
            with messages() as seen:
                loss = next_token_loss(engine, ids.contiguous(), targets.contiguous())
                engine.backward(loss)
                gradients = gradients or full_gradients(engine)
                engine.step()
            losses.append(mean_over_ranks(loss))
    gradients = {name.replace(".inner.", "."): g for name, g in gradients.items()}
    return {"losses": losses, "gradients": gradients, "sent": tally(seen), "tokens": ids.size(1)}


class ExpertMLP(nn.Module):
    """DeepSpeed's MoE layer where a block expects an MLP: no token is dropped, nothing random."""

    def __init__(self, expert: nn.Module, size: int, experts: int) -> None:
        super().__init__()
        self.moe = MoE(
            CONFIG.d_model, expert, experts, ep_size=size, k=1, drop_tokens=False, use_rts=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.moe(x)[0]


def train_experts(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """Optimizer steps of a GPT of two layers whose MLPs are `experts` experts, on `size` ranks."""
    torch.manual_seed(0)
    model = GPT(replace(CONFIG, n_layers=2))
    for block in model.blocks:
        block.mlp = ExpertMLP(block.mlp, config["size"], config["experts"])
    with torch.no_grad():  # the copies of one expert are made to differ, by their global number
        for name, p in model.named_parameters():
            if "deepspeed_experts" in name:
                local = int(name.split("deepspeed_experts.")[1].split(".")[0])
                first = rank % config["size"] * config["experts"] // config["size"]
                generator = torch.Generator().manual_seed(first + local)
                p += 0.02 * torch.randn(p.shape, generator=generator)
    trained = split_params_into_different_moe_groups_for_optimizer(
        {"params": list(model.parameters()), "name": "all"}
    )
    experts = sum(p.numel() for n, p in model.named_parameters() if "deepspeed_experts" in n)
    losses, settings = [], deepspeed_config(**config["settings"])
    with engine_for(model, settings, model_parameters=trained) as engine:
        for step in range(config["steps"]):
            with messages() as seen:
                losses.append(train_step(engine, step, config["batch"]))
        counts = [block.mlp.moe.deepspeed_moe.exp_counts.tolist() for block in model.blocks]
    return {"losses": losses, "sent": tally(seen), "expert_elements": experts, "counts": counts}
