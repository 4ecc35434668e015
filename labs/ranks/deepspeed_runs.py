"""What a DeepSpeed engine does, one configuration at a time: train, stop, resume, refuse, profile.

Started by `labs.ranks.launch.launch` with the `deepspeed` launcher or torchrun, or from a shell on
one or several machines (`labs.ranks.worker`). A configuration is a dict; `run` names one of RUNS,
`settings` holds arguments of `labs.ranks.engine.deepspeed_config`.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
from contextlib import redirect_stdout
from typing import Any

import deepspeed
import torch
from deepspeed import env_report
from deepspeed.accelerator import real_accelerator
from deepspeed.profiling.flops_profiler import get_model_profile
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor, nn

from labs.ranks.deepspeed_parallel import split_layers, split_matrices
from labs.ranks.engine import (
    deepspeed_config,
    engine_for,
    flat,
    full_weights,
    furthest_ranks,
    mean_over_ranks,
    train_steps,
)
from labs.ranks.worker import run_named
from labs.ranks.workload import batch_of, next_token_loss, small_gpt
from labs.ranks.zero_train import train as train_by_hand


def shuffled_loss(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """The loss on the same targets in random order: nothing to learn but their frequencies."""
    order = torch.randperm(targets.numel(), generator=torch.Generator().manual_seed(0))
    return next_token_loss(model, ids, targets.flatten()[order].view_as(targets))


def frozen_loss(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """A loss that is 0 and has no gradient: Adam never moves."""
    return 0.0 * next_token_loss(model, ids, targets)


LOSSES = {"text": next_token_loss, "shuffled": shuffled_loss, "frozen": frozen_loss}


def train(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """Optimizer steps up to number `steps`, from where the engine is, on global batches of `batch`.

    Optional: `loss` (LOSSES, default "text"); `load` {directory, tag}; `save` {directory, at}:
    a checkpoint after that step; `kill` {rank, at}: that rank ends itself with SIGKILL before it.
    Without `settings` the configuration is the file of --deepspeed_config.
    """
    loss_of, save, kill = LOSSES[config.get("loss", "text")], config.get("save"), config.get("kill")
    trace: dict[str, list[float]] = {"losses": [], "lrs": [], "norms": []}
    saved = None
    settings = deepspeed_config(**config["settings"]) if "settings" in config else None
    with engine_for(small_gpt(), settings, **_arguments(settings)) as engine:
        if load := config.get("load"):
            engine.load_checkpoint(load["directory"], tag=load.get("tag"))
        first = engine.global_steps
        for step in range(first, config["steps"]):
            if kill and (rank, step) == (kill["rank"], kill["at"]):
                os.kill(os.getpid(), signal.SIGKILL)
            seen = train_steps(engine, [step], config["batch"], loss_of)
            for name, values in seen.items():
                trace[name] += values
            if save and engine.global_steps == save["at"]:
                engine.save_checkpoint(save["directory"])
                saved = flat(full_weights(engine))
        weights = flat(full_weights(engine))
        adam = getattr(engine.optimizer, "optimizer", engine.optimizer)  # without ZeRO's wrapper
        return {
            **trace,
            "first": first,
            "batch": engine.train_batch_size(),
            "micro_batch": engine.train_micro_batch_size_per_gpu(),
            "accumulate": engine.gradient_accumulation_steps(),
            "ranks": world_size,
            "ranks_apart": furthest_ranks(weights),
            "weights": weights if rank == 0 else None,
            "saved": saved if rank == 0 else None,
            "optimizer": type(adam).__name__,
            "moments": sum(s["exp_avg"].numel() for s in adam.state.values() if "exp_avg" in s),
            "dtype": str(next(engine.module.parameters()).dtype),
        }


def _arguments(settings: dict | None) -> dict[str, Any]:
    """Without settings: the command line's --deepspeed_config, as DeepSpeed reads it."""
    if settings is not None:
        return {}
    parser = deepspeed.add_config_arguments(argparse.ArgumentParser())
    arguments, _ = parser.parse_known_args()
    arguments.local_rank = int(os.environ["LOCAL_RANK"])
    return {"args": arguments}


def without_engine(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """The plain loop on each rank's own share of the batch: a script that lacks the three calls."""
    model = small_gpt()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(config["steps"]):
        loss = next_token_loss(model, *batch_of(step, rank, world_size, config["batch"]))
        adam.zero_grad()
        loss.backward()
        adam.step()
    vector = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"ranks_apart": furthest_ranks(vector), "ranks": world_size}


def boundary(config: dict, rank: int, world_size: int) -> dict[str, list[int]]:
    """Micro-steps with accumulation: `global_steps` after each, and whether weights moved."""
    settings = deepspeed_config(**config["settings"])
    with engine_for(small_gpt(), settings) as engine:
        counted, moved = [], []
        for micro_step in range(config["micro_steps"]):
            before = next(engine.module.parameters()).detach().clone()
            data = batch_of(micro_step, rank, world_size, config["batch"])
            engine.backward(next_token_loss(engine, *data))
            engine.step()
            counted.append(engine.global_steps)
            moved.append(int(not torch.equal(before, next(engine.module.parameters()))))
        return {"global_steps": counted, "moved": moved}


def plateau(config: dict, rank: int, world_size: int) -> dict[str, list[float]]:
    """PyTorch's ReduceLROnPlateau behind the engine; our code passes it the loss, at each step."""
    loss_of, model = LOSSES[config["loss"]], small_gpt()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    halve = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=0)
    settings = deepspeed_config(micro_batch=config["batch"] // world_size, optimizer=None)
    options = {"optimizer": adam, "lr_scheduler": halve}
    with engine_for(model, settings, **options) as engine:
        rates = []
        for step in range(config["steps"]):
            rates.append(engine.get_lr()[0])
            loss = loss_of(engine, *batch_of(step, rank, world_size, config["batch"]))
            engine.backward(loss)
            engine.step(lr_kwargs={"metrics": mean_over_ranks(loss)})
        return {"lrs": rates}


def attempt(config: dict, rank: int, world_size: int) -> dict[str, str | None]:
    """Make an engine, load a checkpoint if `load` says so: the error's type and text, or None."""
    try:
        with engine_for(small_gpt(), deepspeed_config(**config["settings"])) as engine:
            if load := config.get("load"):
                engine.load_checkpoint(load["directory"], tag=load.get("tag"))
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {"error": None, "text": None}


def whole_weights(config: dict, rank: int, world_size: int) -> Tensor | None:
    """The fp32 weights in the ZeRO checkpoint `directory`, as zero_to_fp32.py joins them (rank 0).

    The script itself writes files of at most 5 GB and needs huggingface_hub for that.
    """
    if rank > 0:
        return None
    state = get_fp32_state_dict_from_zero_checkpoint(config["directory"])
    return flat({name: state[name] for name, _ in small_gpt().named_parameters()})


def profile_flops(config: dict, rank: int, world_size: int) -> dict[str, int]:
    """DeepSpeed's count for one forward pass of `batch` sequences, in this process alone."""
    model = small_gpt()
    ids, _ = batch_of(0, 0, 1, config["batch"])
    device = next(model.parameters()).device
    flops, macs, params = get_model_profile(
        model, args=[ids.to(device)], as_string=False, print_profile=False, warm_up=0
    )
    return {"flops": flops, "macs": macs, "params": params}


def environment(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """What `ds_report` prints, and what DeepSpeed answers to each of `accelerators`."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        env_report.main()
    answers = {}
    known, real_accelerator.ds_accelerator = real_accelerator.ds_accelerator, None
    before = os.environ.get("DS_ACCELERATOR")
    for name in config["accelerators"]:
        os.environ["DS_ACCELERATOR"] = name
        try:
            answers[name] = type(real_accelerator.get_accelerator()).__name__
        except ValueError as error:
            answers[name] = str(error)
        real_accelerator.ds_accelerator = None
    real_accelerator.ds_accelerator = known
    os.environ.pop("DS_ACCELERATOR")
    if before is not None:
        os.environ["DS_ACCELERATOR"] = before
    return {
        "report": printed.getvalue(),
        "answers": answers,
        "known": real_accelerator.SUPPORTED_ACCELERATOR_LIST,
    }


RUNS = {
    "whole weights": whole_weights,
    "environment": environment,
    "train": train,
    "without engine": without_engine,
    "boundary": boundary,
    "plateau": plateau,
    "attempt": attempt,
    "flops": profile_flops,
    "pipeline": split_layers,
    "tensor": split_matrices,
    "by hand": train_by_hand,  # no engine: saves a launch of its own
}


if __name__ == "__main__":
    run_named(RUNS)
