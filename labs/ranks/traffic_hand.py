"""Count what the collectives and ZeRO by hand send, rank by rank.

Started by `labs.ranks.launch.launch`. A configuration runs on the first `ranks` ranks of the
launch, the others return an empty result:
  algorithm   "ring", "halving" or "star": one all-reduce of `elements` numbers
  stage       otherwise: `steps` optimizer steps of the small GPT at this ZeRO stage, fp32, with
              `accumulate` micro-steps each, on windows from the first `share` of the training text
"""

import torch
import torch._dynamo  # optimizers import it at first use, too late for gc.freeze
import torch.distributed as dist
from torch import Tensor

from labs.ranks.collectives import Halving, Ring, Star
from labs.ranks.worker import run_configs
from labs.ranks.workload import CONFIG, next_token_loss, small_gpt, training_bytes
from labs.ranks.zero import Zero, adam
from labs.ranks.zero_train import group_of

ALGORITHMS = {"ring": Ring, "halving": Halving, "star": Star}


class Logged(Ring):
    """A ring that writes down its collectives as (name, what, elements)."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(group)
        self.log: list[tuple[str, str, int]] = []

    def reduce_scatter(self, flat: Tensor, what: str) -> Tensor:
        """As `Ring.reduce_scatter`."""
        self.log.append(("reduce-scatter", what, flat.numel()))
        return super().reduce_scatter(flat, what)

    def all_gather(self, shard: Tensor, flat: Tensor, what: str) -> None:
        """As `Ring.all_gather`."""
        self.log.append(("all-gather", what, flat.numel()))
        super().all_gather(shard, flat, what)


def count_collective(config: dict, group: dist.ProcessGroup) -> dict:
    """One all-reduce of whole numbers; `exact` says whether every element is the sum."""
    network = ALGORITHMS[config["algorithm"]](group)
    device = "cuda" if dist.get_backend(group) == "nccl" else "cpu"
    flat = torch.arange(config["elements"], dtype=torch.float32, device=device) % 1000
    expected = flat * (network.size * (network.size + 1) / 2)
    flat *= network.rank + 1
    network.all_reduce(flat, "all")
    return {
        "sent": network.sent["all"],
        "received": network.received["all"],
        "messages": network.messages["all"],
        "exact": torch.equal(flat, expected),
    }


def count_zero(config: dict, rank: int, group: dist.ProcessGroup) -> dict:
    """Bytes, log and states of optimizer steps at one stage; gradients are averaged."""
    ranks, micro_steps = config["ranks"], config.get("accumulate", 1)
    model, ring = small_gpt(), Logged(group)
    zero = Zero(model, model.blocks, ring, config["stage"], adam(lr=1e-3))
    text, length = training_bytes(), CONFIG.context_length + 1
    last = int(len(text) * config.get("share", 1.0)) - length
    for step in range(config["steps"]):
        zero.events.clear()
        ring.log.clear()
        before = {name: dict(getattr(ring, name)) for name in ("sent", "messages")}
        for micro_step in range(micro_steps):
            seed = (step * micro_steps + micro_step) * ranks + rank
            start = int(torch.randint(last, (), generator=torch.Generator().manual_seed(seed)))
            window = text[start : start + length][None]
            zero.backward(next_token_loss(model, window[:, :-1], window[:, 1:]) / micro_steps)
        held = zero.state_bytes()
        zero.step()
    return {
        "elements": sum(p.numel() for p in model.parameters()),
        "padded": sum(u.shard_size * ranks for u in zero.units),
        "units": {u.name: u.shard_size * ranks for u in zero.units},
        "updated": sum(u.master.numel() for u in zero.units),
        "sent": {k: v - before["sent"].get(k, 0) for k, v in ring.sent.items()},
        "messages": sum(ring.messages.values()) - sum(before["messages"].values()),
        "log": ring.log,
        "before_step": held,
        "at_rest": zero.state_bytes(),
        "params_held": [state["params"] for *_, state in zero.events],
        "text_bytes": last + length,
    }


def count(config: dict, rank: int, world_size: int) -> dict:
    """One configuration; see the module's docstring."""
    group = group_of(config["ranks"])
    if rank >= config["ranks"]:
        return {}
    if "algorithm" in config:
        return count_collective(config, group)
    return count_zero(config, rank, group)


if __name__ == "__main__":
    run_configs(count)
