"""Data parallelism by hand: whole replicas, own samples, gradients averaged before each update.

Each function runs on the ranks of a process group and takes the small GPT of
`labs.ranks.workload`. A global batch is the same on any number of ranks, cut into equal pieces.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from labs.ranks.engine import flat, furthest_ranks
from labs.ranks.messages import messages, tally
from labs.ranks.tensor_parallel import cut
from labs.ranks.workload import batch_of, next_token_loss, small_gpt


def copy_from_first(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Give every rank the parameters of the group's first: once, before training."""
    source = dist.get_global_rank(group, 0)
    for parameter in model.parameters():
        dist.broadcast(parameter.data, source, group=group)


def average_gradients(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Replace every gradient by its mean over the ranks of `group`, in one all-reduce."""
    gradients = [parameter.grad for parameter in model.parameters()]
    bucket = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(bucket, group=group)
    bucket /= dist.get_world_size(group)
    for gradient, mean in zip(gradients, bucket.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def mask_padding(targets: Tensor, lengths: Sequence[int]) -> Tensor:
    """Targets (B, T) with -100, which the loss ignores, behind the first `lengths[i]` of row i."""
    real = torch.arange(targets.size(1)) < torch.tensor(lengths)[:, None]
    return targets.where(real, -100)


def summed_loss(model: nn.Module, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses of all real tokens, nats, and their number."""
    device = next(model.parameters()).device
    targets = targets.to(device)
    logits = model(ids.to(device)).float()
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total, (targets != -100).sum()


def loss_of_piece(
    model: nn.Module, ids: Tensor, targets: Tensor, group: dist.ProcessGroup, weighting: str
) -> Tensor:
    """This rank's loss, such that the mean of the ranks' gradients is to be the batch's.

    "means": the mean over this rank's tokens. "tokens": its sum, divided by the tokens of all
    ranks, times their number, because the average divides by it again.
    """
    total, count = summed_loss(model, ids, targets)
    if weighting == "means":
        return total / count
    everywhere = count.clone()
    dist.all_reduce(everywhere, group=group)
    return total * dist.get_world_size(group) / everywhere


def batch_gradient(config: dict, rank: int, group: dist.ProcessGroup) -> dict[str, Any]:
    """The averaged gradient of one batch; `lengths` of all its sequences, `weighting` as above."""
    ranks, model = dist.get_world_size(group), small_gpt()
    ids, targets = batch_of(0, rank, ranks, config["batch"])
    lengths = config.get("lengths", [targets.size(1)] * config["batch"])
    own = lengths[rank * len(lengths) // ranks : (rank + 1) * len(lengths) // ranks]
    weighting = config.get("weighting", "means")
    loss_of_piece(model, ids, mask_padding(targets, own), group, weighting).backward()
    average_gradients(model, group)
    return {
        "gradient": flat({n: p.grad for n, p in model.named_parameters()}),
        "tokens": sum(own),
    }


def train_replicas(config: dict, rank: int, group: dist.ProcessGroup) -> dict[str, Any]:
    """Adam steps on replicas. Optional: `seeds` "own" starts every rank from another model,
    `copy` false leaves them so.

    Returns losses, weights, the calls `at_start` and `in_training` with their bytes, how far the
    ranks are apart at the end, and the median time of a step, seconds.
    """
    ranks, model = dist.get_world_size(group), small_gpt()
    if config.get("seeds") == "own":
        with torch.no_grad():
            torch.manual_seed(rank)
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn(parameter.shape).to(parameter)
    with messages() as start:
        if config.get("copy", True):
            copy_from_first(model, group)
    adam = torch.optim.Adam(model.parameters(), lr=config.get("lr", 1e-3))
    losses, seconds = [], []
    with messages() as seen:
        for step in range(config["steps"]):
            began = time.perf_counter()
            loss = next_token_loss(model, *batch_of(step, rank, ranks, config["batch"]))
            adam.zero_grad()
            loss.backward()
            average_gradients(model, group)
            adam.step()
            losses.append(loss.detach())
            seconds.append(time.perf_counter() - began)
    mean = torch.stack(losses)
    dist.all_reduce(mean, group=group)
    weights = flat({n: p.detach() for n, p in model.named_parameters()})
    return {
        "losses": (mean / ranks).tolist(),
        "weights": weights if rank == 0 else None,
        "at_start": {"calls": tally(start), "bytes": sum(m.nbytes for m in start)},
        "in_training": {
            "kinds": sorted({m.what for m in seen}),
            "bytes": sum(m.nbytes for m in seen) // config["steps"],
        },
        "ranks_apart": furthest_ranks(weights, group),
        "seconds": float(torch.tensor(seconds).median()),
    }


def grid_groups(tensor: int, ranks: int, rank: int) -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    """This rank's tensor-parallel group, of neighbours, and its data-parallel group, across them.

    Every rank makes every group, in one order: `torch.distributed.new_group` wants that.
    """
    rows = [list(range(first, first + tensor)) for first in range(0, ranks, tensor)]
    columns = [list(range(first, ranks, tensor)) for first in range(tensor)]
    made = [(members, dist.new_group(members)) for members in (*rows, *columns)]
    own = [group for members, group in made if rank in members]
    return own[0], own[1]


def train_grid(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """Adam steps on a grid: matrices cut over `tensor` ranks, whole batches dealt to the rows.

    Returns the mean losses, this rank's weights, what was sent inside forward and backward
    (`in_model`) and after them (`between_steps`), and the members of both groups.
    """
    rows, columns = grid_groups(config["tensor"], world_size, rank)
    row, replicas = rank // config["tensor"], world_size // config["tensor"]
    model = cut(small_gpt(), config["tensor"], rank % config["tensor"], rows)
    adam = torch.optim.Adam(model.parameters(), lr=config.get("lr", 1e-3))
    losses, inside, between = [], [], []
    for step in range(config["steps"]):
        with messages() as seen:
            loss = next_token_loss(model, *batch_of(step, row, replicas, config["batch"]))
            adam.zero_grad()
            loss.backward()
        inside += seen
        with messages() as seen:
            average_gradients(model, columns)
            adam.step()
        between += seen
        losses.append(loss.detach())
    mean = torch.stack(losses)
    dist.all_reduce(mean, group=columns)
    return {
        "losses": (mean / replicas).tolist(),
        "weights": {n: p.detach() for n, p in model.named_parameters()},
        "in_model": tally(inside),
        "between_steps": tally(between),
        "tensor_group": dist.get_process_group_ranks(rows),
        "data_group": dist.get_process_group_ranks(columns),
    }


def time_all_reduce(config: dict, rank: int, group: dist.ProcessGroup) -> dict[str, list[float]]:
    """Least seconds of an all-reduce of each of `elements` fp32 numbers, of `repeats` tries."""
    device = "cuda" if dist.get_backend(group) == "nccl" else "cpu"
    least = []
    for elements in config["elements"]:
        buffer, tries = torch.zeros(elements, device=device), []
        for _ in range(config["repeats"]):
            dist.barrier(group)
            began = time.perf_counter()
            dist.all_reduce(buffer, group=group)
            if device == "cuda":
                torch.cuda.synchronize()
            tries.append(time.perf_counter() - began)
        least.append(min(tries))
    return {"seconds": least}
