"""What DeepSpeed's launcher would start, asked of its own `main`, without starting anything.

`planned` runs `deepspeed.launcher.runner.main` on flags and a hostfile, and reads the world that it
hands to the per-machine launcher. Checked against deepspeed 0.19.6.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shlex
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

from labs.ranks.quiet import silent

os.environ.setdefault("DS_ACCELERATOR", "cpu")  # parsing needs no GPU
with silent():  # the import tries a linker
    from deepspeed.launcher import runner

VISIBLE = "CUDA_VISIBLE_DEVICES"


class World(NamedTuple):
    """The devices used on each machine, in the order of the ranks, and what the script gets."""

    devices: dict[str, list[int]]
    script_arguments: list[str]

    @property
    def size(self) -> int:
        """Number of ranks."""
        return sum(map(len, self.devices.values()))


def planned(
    flags: str,
    hostfile: str | None = None,
    *,
    visible: str | None = None,
    local_devices: int = 4,
    script: str = "train.py",
) -> World:
    """The world of `deepspeed FLAGS SCRIPT`, where SCRIPT may carry arguments of its own.

    `hostfile` is its text, `visible` the variable CUDA_VISIBLE_DEVICES, `local_devices` the GPUs of
    this machine when there is no hostfile. Raises ValueError with DeepSpeed's own words, those of
    its argument parser among them.
    """
    seen: list[list[str]] = []

    def start(command: list[str], env: dict[str, str]) -> SimpleNamespace:
        seen.append(command)
        return SimpleNamespace(wait=lambda: None, returncode=0)

    machine = SimpleNamespace(
        device_count=lambda: local_devices, visible_devices_envs=lambda: [VISIBLE]
    )
    spoken = io.StringIO()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "hosts"
        argv = [f"--hostfile={path}", "--log_level=error", *shlex.split(flags)]
        if hostfile is not None:
            path.write_text(hostfile)
            argv += ["--no_ssh", "--node_rank=0", "--master_addr=127.0.0.1"]
        stack.enter_context(mock.patch.dict(os.environ))
        os.environ.pop(VISIBLE, None)
        if visible is not None:
            os.environ[VISIBLE] = visible
        stack.enter_context(mock.patch.object(runner, "get_accelerator", lambda: machine))
        stack.enter_context(mock.patch.object(runner.subprocess, "Popen", start))
        stack.enter_context(mock.patch.object(runner.logger, "error", lambda *_: None))
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(spoken))
        try:
            runner.main([*argv, *shlex.split(script)])
        except SystemExit:
            raise ValueError(spoken.getvalue().strip().rpartition("error: ")[2]) from None
    return _read(seen[0])


def _read(command: list[str]) -> World:
    """The world and the script's arguments in the command line of `deepspeed.launcher.launch`."""
    info = next(part for part in command if part.startswith("--world_info="))
    devices = json.loads(base64.urlsafe_b64decode(info.partition("=")[2]))
    script = next(i for i, part in enumerate(command) if part.endswith(".py"))
    return World(devices, command[script + 1 :])
