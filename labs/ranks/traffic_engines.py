"""Count the collectives of PyTorch's DistributedDataParallel and of DeepSpeed.

Started by `labs.ranks.launch.launch`, with the `deepspeed` launcher or torchrun, on CPUs or GPUs.

A configuration is a dict:
  engine      "ddp" or "deepspeed"
  stage       ZeRO stage (DeepSpeed)
  zero        keys of DeepSpeed's `zero_optimization` section (default: none, its defaults)
  accumulate  micro-steps per optimizer step (default 1)
  steps       optimizer steps; each is counted on its own (default 4)
  precision   "fp32" or "mixed" (default "fp32")
  bucket      DistributedDataParallel's bucket in elements (default: its own, 1 MiB and 25 MiB)
  gradients   true also lists ("gradient", elements) when a parameter's gradient is complete

The result has `elements` of the model, `start`: the collectives before the first step, `steps`: a
list of collectives for each step, each as `labs.ranks.traffic.Collectives` has them, and
`losses` of this rank's micro-steps.
"""

import contextlib

import deepspeed  # noqa: F401 (with it, run_configs joins through DeepSpeed)
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from labs.ranks.engine import deepspeed_config, engine_for
from labs.ranks.traffic import Collectives
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt


def micro_loss(model: nn.Module, config: dict, rank: int, ranks: int, step: int, micro: int):
    """Loss of one sequence per rank: the `micro`-th piece of global batch number `step`."""
    pieces = ranks * config.get("accumulate", 1)
    return next_token_loss(model, *batch_of(step, micro * ranks + rank, pieces, pieces))


def note_gradients(model: nn.Module, seen: Collectives) -> list:
    """From now on, a complete gradient is an entry of `seen.calls`; returns the hooks."""

    def note(p: torch.Tensor) -> None:
        seen.calls.append(("gradient", p.numel()))

    return [p.register_post_accumulate_grad_hook(note) for p in model.parameters()]


def count_ddp(config: dict, rank: int, ranks: int) -> dict:
    """Adam steps with PyTorch's own data parallelism; it reduces in the last micro-step."""
    model, micro_steps = small_gpt(config.get("precision", "fp32")), config.get("accumulate", 1)
    result = {"elements": sum(p.numel() for p in model.parameters()), "steps": [], "losses": []}
    with Collectives() as seen:
        bucket = config.get("bucket")
        megabytes = bucket and 4 * bucket / 2**20
        replica = DistributedDataParallel(model, bucket_cap_mb=megabytes)
    result["start"] = seen.calls
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(config.get("steps", 4)):
        with Collectives() as seen:
            hooks = note_gradients(model, seen) if config.get("gradients") else []
            for micro in range(micro_steps):
                last = micro == micro_steps - 1
                with contextlib.nullcontext() if last else replica.no_sync():
                    loss = micro_loss(replica, config, rank, ranks, step, micro)
                    (loss / micro_steps).backward()
                result["losses"].append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
        for hook in hooks:
            hook.remove()
        result["steps"].append(seen.calls)
    return result


def count_deepspeed(config: dict, rank: int, ranks: int) -> dict:
    """The same steps with a DeepSpeed engine."""
    model, micro_steps = small_gpt(config.get("precision", "fp32")), config.get("accumulate", 1)
    result = {"elements": sum(p.numel() for p in model.parameters()), "steps": [], "losses": []}
    settings = deepspeed_config(
        config["stage"],
        micro_batch=1,
        accumulate=micro_steps,
        precision=config.get("precision", "fp32"),
        zero=config.get("zero"),
    )
    with contextlib.ExitStack() as stack:
        with Collectives() as seen:
            engine = stack.enter_context(engine_for(model, settings))
        result["start"] = seen.calls
        for step in range(config.get("steps", 4)):
            with Collectives() as seen:
                hooks = note_gradients(model, seen) if config.get("gradients") else []
                for micro in range(micro_steps):
                    loss = micro_loss(engine, config, rank, ranks, step, micro)
                    engine.backward(loss)
                    engine.step()
                    result["losses"].append(loss.item())
            for hook in hooks:
                hook.remove()
            result["steps"].append(seen.calls)
    return result


def count(config: dict, rank: int, world_size: int) -> dict:
    """One configuration; see the module's docstring."""
    engine = count_ddp if config["engine"] == "ddp" else count_deepspeed
    return engine(config, rank, world_size)


if __name__ == "__main__":
    run_configs(count)
