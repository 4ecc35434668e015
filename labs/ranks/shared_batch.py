"""What a training step costs a rank that shares its batch: processor seconds, and bytes sent.

A rank's processor seconds hardly change when ranks take turns on one core, so they say what each
would need on a core of its own. The time on a link is not in them.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional as F

from labs.ranks.collectives import Ring
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt


def step_costs(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """SGD steps on `batch` sequences of `tokens` tokens, shared by the first `ranks` ranks.

    Returns the medians over `steps` of the processor seconds of a step, in all and for adding up
    gradients, and the bytes that this rank sends in a step. The other ranks return an empty result.
    """
    ranks, group = config["ranks"], dist.new_group(list(range(config["ranks"])))
    if rank >= ranks:
        return {}
    model, ring = small_gpt(), Ring(group)
    whole, adding = [], []
    for step in range(config["steps"]):
        ids, targets = (
            t[:, : config["tokens"]] for t in batch_of(step, rank, ranks, config["batch"])
        )
        began = time.process_time()
        next_token_loss(model, ids, targets).backward()
        computed = time.process_time()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        summed = F.pad(gradient, (0, -len(gradient) % ranks))  # the ring wants equal chunks
        ring.all_reduce(summed, "gradients")
        added = time.process_time()
        with torch.no_grad():
            mean = summed[: len(gradient)] / ranks
            parts = mean.split([p.numel() for p in model.parameters()])
            for p, part in zip(model.parameters(), parts, strict=True):
                p -= 0.1 * part.view_as(p)
                p.grad = None
        whole.append(time.process_time() - began)
        adding.append(added - computed)
    return {
        "seconds": median(whole),
        "adding": median(adding),
        "sent": ring.sent["gradients"] // config["steps"],
        "messages": ring.messages["gradients"] // config["steps"],
        "parameters": len(gradient),
        "weights": torch.cat([p.detach().flatten() for p in model.parameters()])[:1000],
    }


if __name__ == "__main__":
    run_configs(step_costs, backend="gloo")
