"""Train the small GPT with ZeRO by hand, or with PyTorch's DistributedDataParallel, on some ranks.

Started by `labs.ranks.launch.launch`. One launch serves runs on fewer ranks than it has: a
configuration with `ranks` = 2 runs on ranks 0 and 1, the others return an empty result.
"""

import json
import tempfile
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from labs.ranks.collectives import LocalOnly, Ring, TopK
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt
from labs.ranks.zero import Zero, adam

RINGS = {"ring": Ring, "local only": LocalOnly, "top k": TopK}


@cache
def group_of(ranks: int) -> dist.ProcessGroup:
    """The process group of the first `ranks` ranks; every rank has to ask for it."""
    return dist.new_group(list(range(ranks)))


def mean_over(group: dist.ProcessGroup, value: torch.Tensor) -> float:
    """Mean of a scalar over the ranks of `group`."""
    total = value.detach().clone()
    dist.all_reduce(total, group=group)
    return total.item() / dist.get_world_size(group)


def nonzero_share(unit_params: list[nn.Parameter]) -> float:
    """Share of gradient elements that are not zero."""
    grads = torch.cat([p.grad.flatten() for p in unit_params])
    return torch.count_nonzero(grads).item() / grads.numel()


def owned_elements(config: dict, group: dist.ProcessGroup) -> list[list[int]]:
    """Intervals [first, last + 1) of the model's elements whose optimizer states this rank holds.

    Read off the rank's own memory: every parameter element is set to its number in the model before
    it is handed to `Zero`, and the fp32 shards there tell which numbers arrived.
    """
    model, start = small_gpt("fp32"), 1
    for p in model.parameters():
        numbers = torch.arange(start, start + p.numel(), device=p.device)
        p.data = numbers.float().view_as(p)  # exact below 2 ** 24
        start += p.numel()
    zero = Zero(model, model.blocks, Ring(group), config["stage"], adam(lr=1e-3))
    numbers = torch.cat([unit.master for unit in zero.units]).long().cpu()
    numbers = numbers[numbers > 0].sort().values - 1  # zeros are padding
    cuts = (numbers.diff() != 1).nonzero().flatten().add(1).tolist()
    runs = zip([0, *cuts], [*cuts, len(numbers)], strict=True)
    return [[int(numbers[a]), int(numbers[b - 1]) + 1] for a, b in runs]


def train_by_hand(config: dict, rank: int, group: dist.ProcessGroup) -> dict:
    """A few Adam steps at `config["stage"]`; bytes are counted on the tensors that are alive."""
    ranks, precision, batch = config["ranks"], config["precision"], config["batch"]
    model = small_gpt(precision)
    elements = sum(p.numel() for p in model.parameters())
    ring = RINGS[config.get("ring", "ring")](group)
    zero = Zero(model, model.blocks, ring, config["stage"], adam(lr=config.get("lr", 1e-3)))
    losses, nonzero = [], None
    for step in range(config["steps"]):
        zero.events.clear()
        loss = next_token_loss(model, *batch_of(step, rank, ranks, batch))
        zero.backward(loss)
        if config["stage"] < 2:
            nonzero = nonzero_share([p for u in zero.units[1:] for p in u.params])
        before_step = zero.state_bytes()
        zero.step()
        losses.append(mean_over(group, loss))
    return {
        "losses": losses,
        "elements": elements,
        "padded": sum(u.shard_size * ranks for u in zero.units),
        "unit_elements": {u.name: u.shard_size * ranks for u in zero.units},
        "owned": owned_elements(config, group),
        "before_step": before_step,
        "after_step": zero.state_bytes(),
        "sent": dict(ring.sent),
        "nonzero": nonzero,
        "events": zero.events,
    }


def train_ddp(config: dict, rank: int, group: dist.ProcessGroup) -> dict:
    """The same training with PyTorch's own data parallelism; the profiler lists its collectives."""
    model = small_gpt(config["precision"])
    losses = []
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        replica = DistributedDataParallel(model, process_group=group)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.get("lr", 1e-3))
        for step in range(config["steps"]):
            data = batch_of(step, rank, config["ranks"], config["batch"])
            loss = next_token_loss(replica, *data)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
    return {"losses": [mean_over(group, x) for x in losses], "calls": collectives_in(seen)}


def collectives_in(seen: profile) -> list[tuple[str, int]]:
    """The collectives that a profile of gloo recorded, in order: (name, elements)."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    found = [e for e in events if e.get("name", "").startswith("gloo:")]
    found.sort(key=lambda e: e["ts"])
    return [(e["name"].removeprefix("gloo:"), e["args"]["Input Dims"][0][0]) for e in found]


def train(config: dict, rank: int, world_size: int) -> dict:
    """One configuration: `engine` "zero" or "ddp", `ranks`, `precision`, `batch`, `steps`, ..."""
    group = group_of(config["ranks"])
    if rank >= config["ranks"]:
        return {}
    engine = train_ddp if config.get("engine") == "ddp" else train_by_hand
    return engine(config, rank, group)


if __name__ == "__main__":
    run_configs(train)
