"""Plans: configurations of `labs.ranks.deepspeed_runs` by name, run in one launch.

Nothing here imports DeepSpeed, so a notebook can hold a plan while its ranks do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from labs.ranks.commands import Nodes, free_port
from labs.ranks.launch import launch_named

ON_CPU = {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
OPTIONS = ("loss", "save", "load", "kill")  # of a training run; all else is a setting


def train_run(
    stage: int = 0, *, steps: int, batch: int, ranks: int = 2, lr: float = 1e-3, **more: Any
) -> dict[str, Any]:
    """A training run of `steps` steps on `batch` sequences, cut equally among `ranks`.

    `more` holds its OPTIONS, and settings of `labs.ranks.engine.deepspeed_config`, which replace
    the micro-batch of `batch / ranks` too.
    """
    options = {name: more.pop(name) for name in OPTIONS if name in more}
    settings = {"stage": stage, "micro_batch": batch // ranks, "lr": lr, **more}
    return {"run": "train", "steps": steps, "batch": batch, "settings": settings, **options}


def launch_plan(plan: Mapping[str, dict[str, Any]], **options: Any) -> dict[str, list[Any]]:
    """Run a plan in one launch (`options` as of `launch`); what every rank returned, by name."""
    options = {"timeout": 600.0, "env": {"OMP_NUM_THREADS": "1"}, **options}
    return launch_named("labs.ranks.deepspeed_runs", plan, **options)


def launch_as_nodes(
    plan: Mapping[str, dict[str, Any]], hostfile: Path, desc: str
) -> dict[str, list[Any]]:
    """Run a plan on the machines of a hostfile, all of them pretended by this one.

    Each machine's deepspeed launcher is started here, as nodes without ssh would (`--no_ssh`,
    `--node_rank`). Their ranks find each other by address and port, and leave their results in a
    new folder `shared` beside the hostfile. They stay on the CPU: NCCL cannot share a GPU.
    """
    slots = Nodes(hostfile, hostfile.parent / "shared").slots()
    port = free_port()

    def node(rank: int) -> dict[str, list[Any]]:
        nodes = Nodes(hostfile, hostfile.parent / "shared", rank, "127.0.0.1", port)
        return launch_plan(
            plan,
            world_size=sum(slots.values()),
            launcher="deepspeed",
            nodes=nodes,
            env={"OMP_NUM_THREADS": "1", **ON_CPU},
            desc=f"{desc}, node {rank}",
        )

    with ThreadPoolExecutor() as pool:
        first, *_ = pool.map(node, range(len(slots)))
    return first


def convert_to_universal(folder: Path) -> int:
    """Make `folder`/universal from the latest checkpoint in `folder`; the tool's exit code."""
    tag = (folder / "latest").read_text()
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    command += ["--inject_missing_state", "--input_folder", str(folder / tag)]
    command += ["--output_folder", str(folder / "universal")]
    done = subprocess.run(command, capture_output=True, env=os.environ | ON_CPU, check=False)
    return done.returncode
