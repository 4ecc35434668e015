"""A DeepSpeed engine for one experiment: configure it, make it, train it, read it, take it down.

For rank scripts (`labs.ranks.worker`), which import this module at their top. On every rank::

    config = deepspeed_config(stage=2, micro_batch=2, accumulate=2, lr=1e-3)
    with engine_for(small_gpt(), config) as engine:
        trace = train_steps(engine, range(10), batch=8)   # {"losses": [...], "lrs": [...], ...}
        weights = full_weights(engine)                    # whole parameters, in any stage

Many engines fit into one launch, one after the other; `engine_for` removes what each leaves behind.
Checked against deepspeed 0.19.6.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.module_inject.tp_shard import set_num_kv_heads
from deepspeed.utils import groups, safe_get_full_grad
from torch import Tensor, nn

from labs.ranks.workload import batch_of, next_token_loss

EXPERT_GROUPS = [name for name in vars(groups) if name.startswith("_EXPERT_")]
# What AutoTP sets, so that the next engine would take the tensor-parallel ranks for its own.
TENSOR_GROUPS = [
    "mesh_device", "_TENSOR_MODEL_PARALLEL_GROUP", "_MODEL_PARALLEL_GROUP", "_DATA_PARALLEL_GROUP",
]  # fmt: skip


def deepspeed_config(
    stage: int = 0,
    *,
    micro_batch: int,
    accumulate: int = 1,
    lr: float = 1e-3,
    precision: str = "fp32",
    zero: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A configuration for `deepspeed.initialize`: plain Adam, no clipping, and what is in `more`.

    `micro_batch` sequences per rank and micro-step, `accumulate` micro-steps per optimizer step,
    `precision` "fp32" or "mixed" (bf16). `zero` adds keys to the `zero_optimization` section;
    `more` adds sections or replaces them (None removes one). Two defaults of DeepSpeed are undone:
    gradients are clipped to norm 1.0, and "Adam" is AdamW, which has a decay of 0.01 in torch.
    """
    adam = {"lr": lr, "torch_adam": True, "adam_w_mode": False, "weight_decay": 0.0}
    config = {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulate,
        "gradient_clipping": 0.0,
        "optimizer": {"type": "Adam", "params": adam},
        "zero_optimization": {"stage": stage, **(zero or {})},
        "steps_per_print": 10**9,
        **({"bf16": {"enabled": True}} if precision == "mixed" else {}),
        **more,
    }
    return {key: value for key, value in config.items() if value is not None}


@contextmanager
def engine_for(
    model: nn.Module, config: dict[str, Any], **options: Any
) -> Iterator[deepspeed.DeepSpeedEngine]:
    """The engine of `deepspeed.initialize(model, config=config, **options)`, destroyed at the end.

    The model's parameters are trained unless `options` has an `optimizer` or `model_parameters`.
    Process groups that a pipeline or experts leave in DeepSpeed's globals are forgotten: with them
    the next engine of the launch would fail.
    """
    if "optimizer" not in options:
        options.setdefault("model_parameters", model.parameters())
    engine, *_ = deepspeed.initialize(model=model, config=config, **options)
    try:
        yield engine
    finally:
        engine.destroy()
        del engine
        forget_groups()


def forget_groups() -> None:
    """Clear DeepSpeed's global registers of model- and expert-parallel groups."""
    groups.mpu = None
    for name in TENSOR_GROUPS:
        setattr(groups, name, None)
    set_num_kv_heads(None)
    for name in EXPERT_GROUPS:
        getattr(groups, name).clear()
    gc.collect()


def train_step(
    engine: deepspeed.DeepSpeedEngine,
    step: int,
    batch: int,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor] = next_token_loss,
    look: Callable[[deepspeed.DeepSpeedEngine], None] | None = None,
) -> float:
    """One optimizer step on global batch number `step`; the mean loss of all ranks, nats per token.

    The `batch` sequences are cut into one piece for each micro-step and data-parallel rank, so the
    update is the same for any number of ranks and micro-steps that divides them. `look` is called
    before each `engine.step`, when the gradients are there.
    """
    group, micro_steps = engine.data_parallel_group, engine.gradient_accumulation_steps()
    ranks = dist.get_world_size(group)
    losses = []
    for micro_step in range(micro_steps):
        piece = micro_step * ranks + dist.get_rank(group)
        loss = loss_of(engine, *batch_of(step, piece, micro_steps * ranks, batch))
        engine.backward(loss)
        if look:
            look(engine)
        engine.step()
        losses.append(loss.detach())
    return mean_over_ranks(torch.stack(losses).mean(), group)


def train_steps(
    engine: deepspeed.DeepSpeedEngine,
    steps: Iterable[int],
    batch: int,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor] = next_token_loss,
) -> dict[str, list[float]]:
    """Optimizer steps on the global batches numbered `steps`.

    Returns `losses` (nats per token), `lrs` (the rate that each step used) and `norms` (of the
    gradient before clipping; 0 where the engine did not compute it: fp32 stage 0 without clipping).
    """
    trace: dict[str, list[float]] = {"losses": [], "lrs": [], "norms": []}
    for step in steps:
        trace["lrs"].append(float(engine.get_lr()[0]))
        trace["losses"].append(train_step(engine, step, batch, loss_of))
        trace["norms"].append(float(engine.get_global_grad_norm() or 0.0))
    return trace


def mean_over_ranks(value: Tensor, group: dist.ProcessGroup | None = None) -> float:
    """Mean of a scalar over the ranks of `group`, by default all."""
    total = value.detach().clone()
    dist.all_reduce(total, group=group)
    return total.item() / dist.get_world_size(group)


def full_weights(engine: deepspeed.DeepSpeedEngine) -> dict[str, Tensor]:
    """Whole parameters by name, fp32 copies on the CPU, in any stage; every rank has to ask."""
    named = dict(engine.module.named_parameters())
    parted = engine.zero_optimization_stage() == 3
    with deepspeed.zero.GatheredParameters(list(named.values()), enabled=parted):
        return {name: p.detach().float().cpu().clone() for name, p in named.items()}


def full_gradients(engine: deepspeed.DeepSpeedEngine) -> dict[str, Tensor]:
    """Gradients between `backward` and `step`, whole in any stage; every rank has to ask."""
    named = engine.module.named_parameters()
    return {name: safe_get_full_grad(p).detach().float().cpu().clone() for name, p in named}


def flat(weights: dict[str, Tensor]) -> Tensor:
    """All weights as one vector, in the order of their names in the model."""
    return torch.cat([w.flatten() for w in weights.values()])


def furthest_ranks(vector: Tensor, group: dist.ProcessGroup | None = None) -> float:
    """Largest difference, in any element, between the ranks' copies of a vector (0.0: equal).

    The ranks are those of `group`, by default all.
    """
    low = vector.to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    high = low.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN, group)
    dist.all_reduce(high, dist.ReduceOp.MAX, group)
    return (high - low).max().item()
