"""Data parallelism from all sides: by hand, with PyTorch's DDP, and with a DeepSpeed engine.

Started by `labs.ranks.launch.launch`, or by the launchers from a shell on one or several machines
(`labs.ranks.worker`). A configuration is a dict; `run` names one of RUNS. With `ranks` a run by
hand takes the first ranks of the launch, and the others return an empty result.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.dataloader import DeepSpeedDataLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from labs.ranks import replicas, traffic_engines, traffic_hand
from labs.ranks.deepspeed_runs import train
from labs.ranks.deepspeed_train import state_bytes
from labs.ranks.engine import deepspeed_config, engine_for, flat, full_weights
from labs.ranks.memory import saved_bytes
from labs.ranks.messages import messages
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt
from labs.ranks.zero_train import group_of


class Numbers(Dataset):
    """The samples 0 to n - 1."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise IndexError(index)
        return index


def engine_gradient(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """The gradient that a DeepSpeed engine uses, read off one SGD step with rate 1.

    `batch`, `lengths` and `weighting` as in `labs.ranks.replicas.batch_gradient`; `stage` of ZeRO.
    """
    ids, targets = batch_of(0, rank, world_size, config["batch"])
    lengths = config["lengths"]
    own = lengths[rank * len(lengths) // world_size : (rank + 1) * len(lengths) // world_size]
    sgd = {"type": "SGD", "params": {"lr": 1.0}}
    untested = {"zero_allow_untested_optimizer": True}
    settings = deepspeed_config(config["stage"], micro_batch=len(ids), optimizer=sgd, **untested)
    with engine_for(small_gpt(), settings) as engine:
        before = flat(full_weights(engine))
        targets = replicas.mask_padding(targets, own)
        group = engine.data_parallel_group
        loss = replicas.loss_of_piece(engine, ids, targets, group, config["weighting"])
        engine.backward(loss)
        engine.step()
        moved = before - flat(full_weights(engine))
    return {"gradient": moved if rank == 0 else None}


def batch_triples(config: dict, rank: int, world_size: int) -> list[list[int] | None]:
    """DeepSpeed's three batch sizes for each of `cases`, or None where it refuses."""
    keys = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    found: list[list[int] | None] = []
    for case in config["cases"]:
        given = {key: size for key, size in zip(keys, case, strict=True) if size is not None}
        try:
            settings = deepspeed.DeepSpeedConfig(given)
            found.append([getattr(settings, key) for key in keys])
        except (AssertionError, ValueError):
            found.append(None)
    return found


def loader_indices(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """What this rank's loader of `samples` samples yields: two epochs, and one after set_epoch(1).

    The loader is the one that `deepspeed.initialize(training_data=...)` returns. `workers` are what
    that it would start; here it loads in this process, which must not fork while it communicates.
    """
    drop = {"dataloader_drop_last": True} if config.get("drop_last") else {}
    settings = deepspeed_config(micro_batch=config["micro_batch"], **drop)
    model = torch.nn.Linear(1, 1)
    _, _, loader, _ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config=settings,
        training_data=Numbers(config["samples"]),
    )
    workers, loader.num_local_io_workers = loader.num_local_io_workers, 0
    epochs = [[batch.tolist() for batch in loader] for _ in range(config["epochs"])]
    if config.get("set_epoch"):
        loader.data_sampler.set_epoch(1)
        epochs.append([batch.tolist() for batch in loader])
    return {
        "epochs": epochs,
        "deepspeed": isinstance(loader, DeepSpeedDataLoader),
        "inside": type(loader.dataloader) is DataLoader,
        "workers": workers,
        "pinned": loader.dataloader.pin_memory,
        "methods": hasattr(loader, "set_epoch"),
    }


def _keep_loss(losses: list[Tensor], model: torch.nn.Module, data: tuple[Tensor, Tensor]) -> None:
    losses.append(next_token_loss(model, *data))


def precision_costs(config: dict, rank: int, world_size: int) -> dict[str, Any]:
    """Bytes of the second step of plain data parallelism, in fp32 or in bf16 with fp32 masters.

    Of a rank: `sent` in all-reduces of gradients, `saved` for the backward pass, and `states` after
    it, by kind. (In fp32 Adam makes its moments in the first step.)
    """
    precision = config["precision"]
    settings = deepspeed_config(0, micro_batch=config["batch"], precision=precision)
    with engine_for(small_gpt(precision), settings) as engine:
        for step in range(2):
            data, losses = batch_of(step, rank, world_size, config["batch"] * world_size), []
            forward = partial(_keep_loss, losses, engine, data)
            saved = saved_bytes(forward, engine.module.parameters())
            with messages() as seen:
                engine.backward(losses[0])
                states = state_bytes(engine)
                engine.step()
        return {
            "elements": sum(p.numel() for p in engine.module.parameters()),
            "sent": sum(m.nbytes for m in seen if m.what == "all_reduce" and len(m.shape) == 1),
            "saved": saved,
            "states": states,
        }


def place(config: dict, rank: int, world_size: int) -> dict[str, str]:
    """What the launcher told this rank, and DeepSpeed's view of it."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "CROSS_RANK", "CROSS_SIZE", "MASTER_ADDR")
    return {name: os.environ.get(name, "") for name in names} | {
        "process": str(os.getpid()),
        "launcher": str(os.getppid()),
    }


BY_HAND = {
    "gradient": replicas.batch_gradient,
    "replicas": replicas.train_replicas,
    "all-reduce": replicas.time_all_reduce,
}
EVERYWHERE = {
    "grid": replicas.train_grid,
    "engine": train,
    "engine gradient": engine_gradient,
    "triples": batch_triples,
    "loader": loader_indices,
    "precision": precision_costs,
    "traffic": traffic_engines.count,
    "ZeRO by hand": traffic_hand.count,
    "place": place,
}


def run(config: dict, rank: int, world_size: int) -> Any:
    """One configuration of the launch."""
    name = config["run"]
    if name in EVERYWHERE:
        return EVERYWHERE[name](config, rank, world_size)
    group = group_of(config["ranks"])
    return BY_HAND[name](config, rank, group) if rank < config["ranks"] else {}


if __name__ == "__main__":
    deepspeed.logger.setLevel("ERROR")
    run_configs(run)
