"""The rank's side of a launch: join the others, run every configuration, leave the results.

A rank script is a normal distributed script. It has one function and one call::

    from labs.ranks.worker import run_configs

    def train(config: dict, rank: int, world_size: int) -> dict:
        ...
        return {"loss": losses}

    if __name__ == "__main__":
        run_configs(train)

A notebook starts it with :func:`labs.ranks.launch.launch`. On one machine or several, the
launchers start it as well (configs.json holds a list of objects; on several machines the
results directory is a shared one; labs.ranks.records.read_results reads it)::

    torchrun --standalone --nproc-per-node 2 script.py --configs configs.json --results out
    torchrun --nnodes 2 --node-rank 0 --master-addr node-a --nproc-per-node 8 \\
        script.py --configs configs.json --results /shared/out        # and node-rank 1
    deepspeed --hostfile hosts script.py --configs configs.json --results /shared/out
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from labs.ranks.records import result_path, save_result


def run_configs(
    fn: Callable[[dict[str, Any], int, int], Any], *, backend: str | None = None
) -> None:
    """Call ``fn(config, rank, world_size)`` for every configuration and save what it returns.

    ``backend`` defaults to NCCL where the ranks have GPUs and to gloo elsewhere. A script
    that imports DeepSpeed at its top joins through DeepSpeed, any other through PyTorch.
    A barrier follows each configuration, so no rank runs ahead into the next.
    """
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    configs = json.loads(options.configs.read_text()) if options.configs else [{}]
    _join(backend, timedelta(seconds=options.timeout))
    rank, world_size = dist.get_rank(), dist.get_world_size()
    # The libraries stay. Frozen, their objects are not walked through after each configuration.
    gc.freeze()
    for index, config in enumerate(configs):
        save_result(
            result_path(options.results, index, rank),
            fn(dict(config), rank, world_size),
        )
        # What one configuration leaves behind must not count in the memory of the next.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        dist.barrier()
    # Without this, about one process in ten aborts when the interpreter ends.
    dist.destroy_process_group()


def run_named(runs: Mapping[str, Callable[[dict[str, Any], int, int], Any]]) -> None:
    """`run_configs` of a script with several experiments: `run` in a configuration names one."""
    run_configs(lambda config, rank, world_size: runs[config["run"]](config, rank, world_size))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--configs", type=Path, help="JSON file: a list of objects")
    parser.add_argument("--results", type=Path, required=True, help="directory for the results")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for a rank")
    # The rest belongs to the script, or is the --local_rank=K of the deepspeed launcher.
    return parser.parse_known_args()[0]


def _join(backend: str | None, timeout: timedelta) -> None:
    """Make the process group from the addresses that the launcher put into the environment."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = backend or ("nccl" if torch.cuda.is_available() else "gloo")
    if "deepspeed" not in sys.modules:
        dist.init_process_group(backend, timeout=timeout)
        return
    import deepspeed

    # DeepSpeed would compile a C++ operator for shared-memory all-reduce here. Only
    # inference uses it, and a reader's machine may have no compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(backend, timeout=timeout, verbose=False)
