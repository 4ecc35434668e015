"""One model on several ranks: by hand and with DeepSpeed, along each of four axes.

Started by `labs.ranks.launch.launch` with the `deepspeed` launcher or torchrun, or from a shell on
one or several machines (`labs.ranks.worker`). A configuration is a dict; `run` names one of RUNS.
All train the GPT of `labs.ranks.workload` on its stream of batches, so every trace can be compared
with that of one process.
"""

from __future__ import annotations

import hashlib
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.pipe import PipelineModule
from deepspeed.runtime.pipe.schedule import TrainSchedule
from torch import Tensor

from labs.ranks.deepspeed_parallel import CUTS, count_own_heads, logits_loss, tensor_parallel
from labs.ranks.engine import (
    deepspeed_config,
    engine_for,
    flat,
    forget_groups,
    full_gradients,
    furthest_ranks,
    train_step,
)
from labs.ranks.messages import messages, tally
from labs.ranks.pipelines import train_pipeline
from labs.ranks.sequence_experts import attend_split, train_experts, train_split_sequence
from labs.ranks.tensor_parallel import average_shards, cut, cut_dim
from labs.ranks.worker import run_named
from labs.ranks.workload import batch_of, next_token_loss, small_gpt, untied_gpt


def fingerprint(ids: Tensor) -> str:
    """Eight hexadecimal digits that tell one batch from another."""
    return hashlib.sha256(ids.numpy().tobytes()).hexdigest()[:8]


def by_hand(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """Adam steps with the matrices cut by hand (`labs.ranks.tensor_parallel`).

    Optional controls: `different` gives each rank its own share of the batch; `average_every` k
    averages the shards every k steps.
    """
    model = cut(small_gpt(), ranks, rank)
    adam = torch.optim.Adam(model.parameters(), lr=config["lr"])
    losses, gradients, shares = [], {}, (rank, ranks) if config.get("different") else (0, 1)
    batch = config["batch"] * (ranks if config.get("different") else 1)
    with messages() as seen:
        for step in range(config["steps"]):
            data = batch_of(step, *shares, batch)
            loss = next_token_loss(model, *data)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
            if step == 0:
                sent_in_a_step = list(seen)
                gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
            if (step + 1) % config.get("average_every", config["steps"] + 1) == 0:
                average_shards(model)
    weights = {n: p.detach() for n, p in model.named_parameters()}
    replicas = {n: w for n, w in weights.items() if cut_dim(n) is None}
    query = weights["blocks.0.attention.query.weight"]
    return {
        "losses": losses,
        "gradients": gradients,
        "weights": weights,
        "sent": tally(sent_in_a_step),
        "shapes": tally(seen),
        "batch": fingerprint(data[0]),
        "replicas_apart": furthest_ranks(flat(replicas)),
        "shards_apart": furthest_ranks(query.flatten()),
    }


def auto_tensor(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """DeepSpeed's AutoTP over `size` ranks, and data parallelism over the rest.

    Gradients are those of the first step, messages those of the last.
    """
    section = tensor_parallel(config["size"], tuple(CUTS))
    settings = deepspeed_config(**config["settings"], tensor_parallel=section)
    losses, gradients = [], {}
    with engine_for(untied_gpt(), settings) as engine:
        count_own_heads(engine.module)
        pieces, piece = ranks // config["size"], dist.get_rank(engine.data_parallel_group)
        for step in range(config["steps"]):
            with messages() as seen:
                look = None if gradients else lambda e: gradients.update(full_gradients(e))
                losses.append(train_step(engine, step, config["batch"], look=look))
        weights = {n: p.detach().clone() for n, p in engine.module.named_parameters()}
        ids, _ = batch_of(0, piece, pieces, config["batch"])
        return {
            "losses": losses,
            "gradients": gradients,
            "weights": weights,
            "sent": tally(seen),
            "batch": fingerprint(ids),
            "elements": sum(w.numel() for w in weights.values()),
            "piece": piece,
        }


def attempt(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """Make an engine, as a pipeline if `stages` is given: its error, or what it has become."""
    gpt, settings = untied_gpt(), deepspeed_config(**config["settings"])
    try:
        if stages := config.get("stages"):
            layers = [gpt.embedding, *gpt.blocks, gpt.norm, gpt.head]
            gpt = PipelineModule(layers, num_stages=stages, loss_fn=logits_loss)
        with engine_for(gpt, settings) as engine:
            held = sum(p.numel() for p in engine.module.parameters())
            shape = getattr(engine, "num_stages", 1), engine.data_parallel_group.size()
            return {"error": None, "text": None, "elements": held, "shape": list(shape)}
    except Exception as error:
        forget_groups()
        lines = str(error).strip().splitlines() or [""]
        return {"error": type(error).__name__, "text": lines[0]}


def schedules(config: dict, rank: int, ranks: int) -> list[dict]:
    """DeepSpeed's TrainSchedule for each (stages, micro-batches) of `grid`, as order and slots."""
    found = []
    for stages, micros in config["grid"]:
        orders, idle, slots, buffers = [], [], [], []
        for stage in range(stages):
            schedule = TrainSchedule(micro_batches=micros, stages=stages, stage_id=stage)
            steps = [[type(c).__name__ for c in commands] for commands in schedule.steps()]
            work = [
                [n[0] for n in names if n in ("ForwardPass", "BackwardPass")] for names in steps
            ]
            orders.append("".join(kind for kinds in work for kind in kinds))
            idle.append(sum(not kinds for kinds in work))
            slots.append(len(work))
            buffers.append(schedule.num_pipe_buffers())
        found.append({"orders": orders, "idle": idle, "slots": slots, "buffers": buffers})
    return found


RUNS = {
    "by hand": by_hand,
    "auto tensor": auto_tensor,
    "pipeline": train_pipeline,
    "attempt": attempt,
    "schedules": schedules,
    "attention": attend_split,
    "sequence": train_split_sequence,
    "experts": train_experts,
}


if __name__ == "__main__":
    deepspeed.logger.setLevel("ERROR")
    run_named(RUNS)
