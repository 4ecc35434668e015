"""The command lines and the environment with which the real launchers start the ranks."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = {
    "torchrun": "torch.distributed.run",
    "deepspeed": "deepspeed.launcher.runner",
}


@dataclass(frozen=True)
class Nodes:
    """Several machines. All see ``directory`` (new for each run) and hold the same book.

    ``hostfile`` has lines ``name slots=N``, the first machine first. With ``node_rank`` every
    machine launches for itself, the same call on each. Without it the deepspeed launcher
    starts the other machines through ssh; torchrun needs it.
    """

    hostfile: str | Path
    directory: str | Path
    node_rank: int | None = None
    master_addr: str | None = None
    master_port: int = 29500

    def slots(self) -> dict[str, int]:
        """Return the number of ranks of each machine."""
        rows = (line.split("#")[0].split() for line in Path(self.hostfile).read_text().splitlines())
        return {row[0]: int(row[1].removeprefix("slots=")) for row in rows if row}


def command(launcher: str, world_size: int, nodes: Nodes | None) -> list[str]:
    """Return the launcher's command line up to where the ranks' module is named."""
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher is one of {', '.join(LAUNCHERS)}, not {launcher!r}")
    start = [sys.executable, "-m", LAUNCHERS[launcher]]
    if launcher == "torchrun":
        return [*start, *_torchrun(world_size, nodes), "--module"]
    return [*start, "--quiet", *_deepspeed(world_size, nodes), "--module"]


def _torchrun(world_size: int, nodes: Nodes | None) -> list[str]:
    if nodes is None:
        return ["--standalone", f"--nproc-per-node={world_size}"]
    slots = nodes.slots()
    if nodes.node_rank is None:
        raise ValueError("torchrun starts the ranks of one machine only: give node_rank")
    return [
        f"--nnodes={len(slots)}",
        f"--node-rank={nodes.node_rank}",
        f"--nproc-per-node={list(slots.values())[nodes.node_rank]}",
        f"--master-addr={nodes.master_addr or next(iter(slots))}",
        f"--master-port={nodes.master_port}",
    ]


def _deepspeed(world_size: int, nodes: Nodes | None) -> list[str]:
    if nodes is None:
        # The same option as --num_gpus. No hostfile: there may be one in the default place.
        return [
            f"--num_accelerators={world_size}",
            f"--master_port={free_port()}",
            "--hostfile=none",
        ]
    address = nodes.master_addr or (
        next(iter(nodes.slots())) if nodes.node_rank is not None else ""
    )
    return [
        f"--hostfile={nodes.hostfile}",
        f"--master_port={nodes.master_port}",
        *([f"--master_addr={address}"] if address else []),
        *(["--no_ssh", f"--node_rank={nodes.node_rank}"] if nodes.node_rank is not None else []),
    ]


def free_port() -> int:
    """Return a free TCP port, for the launcher that cannot choose one itself.

    Seconds pass until it is used. So it lies below the range from which systems number
    outgoing connections, and two launches draw it from the system's randomness: notebooks
    seed Python's own generator, all with the same number.
    """
    while True:
        port = SystemRandom().randrange(20000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def environment(local_ranks: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the launcher and, through it, of its ``local_ranks`` ranks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        # The launchers' own warnings would fill the last lines that an error shows.
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore::UserWarning,ignore::DeprecationWarning",
        "OMP_NUM_THREADS": str(max(1, (cores or 1) // local_ranks)),
        **_accelerator(local_ranks),
        **extra,
    }


def _accelerator(local_ranks: int) -> dict[str, str]:
    """Give every rank a GPU of its own, or none to any: NCCL refuses to share one."""
    import torch

    if torch.cuda.device_count() >= local_ranks:
        return {}
    return {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
