"""One model on several ranks with DeepSpeed: layers on different ranks, or matrices cut in pieces.

`split_layers` uses `deepspeed.pipe.PipelineModule`; with more ranks than stages it is a grid of
pipelines and data parallelism. `split_matrices` uses AutoTP, the `tensor_parallel` section of the
configuration. Both train a GPT whose head is a matrix of its own, made by `untied_gpt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepspeed.pipe import PipelineModule
from torch import Tensor
from torch.nn import functional as F

from labs.model.transformer import GPT
from labs.ranks.engine import deepspeed_config, engine_for, train_steps
from labs.ranks.workload import batch_of, untied_gpt

# (column, row) patterns. Column-parallel: a rank has some of the outputs (heads, hidden units).
# Row-parallel: it takes those as its inputs, and the ranks' results are summed (Shoeybi et al.
# 2019, section 3).
CUTS = {
    "mlp": (r".*\.(gate|up)\.weight$", r".*\.down\.weight$"),
    "attention": (r".*\.(query|key|value)\.weight$", r".*\.out\.weight$"),
}


def logits_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, nats per token, of logits (B, T, V) and targets (B, T)."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def tensor_parallel(ranks: int, cut: Sequence[str] = ("mlp", "attention")) -> dict[str, Any]:
    """The `tensor_parallel` section that cuts the parts named in `cut` (CUTS) into `ranks`."""
    layers = [
        {"patterns": [pattern], "partition_type": kind}
        for part in cut
        for pattern, kind in zip(CUTS[part], ("column", "row"), strict=True)
    ]
    partition = {"use_default_specs": False, "layer_specs": layers}
    return {"autotp_size": ranks, "partition_config": partition}


def count_own_heads(gpt: GPT) -> None:
    """Set each attention's numbers of heads to those whose weights this rank has.

    AutoTP divides attributes that it knows by name: it halves `n_heads` on two ranks and leaves
    `n_kv_heads` (deepspeed 0.19.6, module_inject/auto_tp.py, update_mp_params). The GPT would then
    repeat each key 0 times and run without attention, and no error would say so.
    """
    for block in gpt.blocks:
        attention = block.attention
        attention.n_heads = attention.query.weight.size(0) // attention.d_head
        attention.n_kv_heads = attention.key.weight.size(0) // attention.d_head


def split_layers(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """Pipelines of `stages` ranks, as many as there is room for; `settings` as everywhere.

    A step runs `settings["accumulate"]` micro-batches through every pipeline.
    """
    gpt = untied_gpt()
    model = PipelineModule(
        layers=[gpt.embedding, *gpt.blocks, gpt.norm, gpt.head],
        num_stages=config["stages"],
        loss_fn=logits_loss,
        partition_method="uniform",
    )
    pipelines, losses = world_size // config["stages"], []
    with engine_for(model, deepspeed_config(**config["settings"])) as engine:
        micro_batches = engine.gradient_accumulation_steps()
        own = engine.grid.get_data_parallel_rank()
        for step in range(config["steps"]):
            pieces = (
                batch_of(step, m * pipelines + own, micro_batches * pipelines, config["batch"])
                for m in range(micro_batches)
            )
            losses.append(engine.train_batch(pieces).item())
        held = sum(p.numel() for p in engine.module.parameters())
    return {"losses": losses, "elements": held, "pipelines": pipelines}


def split_matrices(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """AutoTP over all ranks; every rank sees the whole batch. `shapes` are those of one layer.

    `cut` names the parts, by default both; `mend` false leaves the heads as AutoTP counts them.
    """
    section = tensor_parallel(world_size, config.get("cut", tuple(CUTS)))
    settings = deepspeed_config(**config["settings"], tensor_parallel=section)
    with engine_for(untied_gpt(), settings) as engine:
        attention = engine.module.blocks[0].attention
        heads = [attention.n_heads, attention.n_kv_heads]
        if config.get("mend", True):
            count_own_heads(engine.module)
        trace = train_steps(engine, range(config["steps"]), config["batch"])
        weights = dict(engine.module.blocks[0].named_parameters())
        shapes = {name: list(w.shape) for name, w in weights.items() if w.dim() == 2}
        held = sum(p.numel() for p in engine.module.parameters())
    return {"losses": trace["losses"], "shapes": shapes, "elements": held, "heads": heads}
