"""Watch the ranks of a launch through their records and processes: done, failed or hanging.

Which rank failed first matters more than which failure is noticed first: when one rank is
lost, the others raise "connection closed", and the launcher ends those that do not.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from labs.ranks.records import read_json, result_path

_LINES = 12  # of a rank's last lines, in an error


@dataclass
class Failure:
    """What happened, what to do, the rank that failed first and its last lines."""

    what: str
    advice: str
    rank: int | None = None
    lines: list[str] = field(default_factory=list)


class Watch:
    """The ranks that write into ``directory``, and their launcher, which writes into ``log``."""

    def __init__(
        self,
        directory: Path,
        world_size: int,
        configs: int,
        launcher: subprocess.Popen[bytes],
        log: Path,
    ) -> None:
        self.directory, self.world_size, self.configs = directory, world_size, configs
        self.launcher, self.log = launcher, log
        self.started = time.monotonic()
        self._processes: dict[int, psutil.Process] = {}

    def complete(self) -> bool:
        """All ranks have ended well and left all results."""
        return self.configs_finished() == self.configs and all(
            (end := self._end(rank)) and not end["error"] for rank in range(self.world_size)
        )

    def configs_finished(self) -> int:
        """Count the configurations for which every rank has left its result."""
        return sum(
            all(result_path(self.directory, c, r).exists() for r in range(self.world_size))
            for c in range(self.configs)
        )

    def failure(self) -> Failure | None:
        """Return the failure that came first, or None while there is none."""
        # Whether the launcher has ended is asked first: its ranks' records are older.
        launcher_ended = self.launcher.poll() is not None
        if not self._failed_ranks() and not launcher_ended:
            return None
        # What is seen may be a consequence. Its cause happened before, so look once more.
        failed = self._failed_ranks()
        # A launcher ended by a signal takes the ranks' meeting point with it: it was first.
        launcher_killed = (self.launcher.poll() or 0) < 0
        if failed and not launcher_killed:
            rank, what = failed[0]
            after = time.monotonic() - self.started
            return Failure(
                f"rank {rank} {what}, {after:.0f} s after the start",
                "mend what the lines name and run it again.",
                rank,
                self._last_lines(rank),
            )
        # A launcher that ended well may have had the faster ranks of several machines.
        if self.complete() or self.launcher.returncode == 0:
            return None
        return Failure(
            f"the launcher ended (exit code {self.launcher.returncode}) before its ranks",
            "mend what the lines name and run it again.",
            lines=_tail(self.log),
        )

    def hang(self, timeout: float) -> Failure:
        """Ask every rank of this machine where it stands, and report it."""
        standing = []
        for process in self._processes.values():
            with suppress(psutil.Error):
                process.terminate()
        psutil.wait_procs(list(self._processes.values()), timeout=1.0)
        for rank in sorted(self._processes):
            standing += [f"rank {rank} stood at", *self._stack(rank)]
        finished = self.configs_finished()
        return Failure(
            f"it was not done after {timeout:g} s, with {finished} of {self.configs} "
            "configurations finished",
            "mend the rank that hangs, or give a larger timeout.",
            lines=standing or _tail(self.log),
        )

    def _failed_ranks(self) -> list[tuple[int, str]]:
        """Return (rank, what happened to it), first failure first."""
        failed: list[tuple[tuple[int, float], int, str]] = []
        for rank in range(self.world_size):
            gone = self._gone(rank)  # asked before its record is read
            end = self._end(rank)
            if end and end["error"]:
                what = f"raised {end['error'].splitlines()[-1]}"
                failed.append(((1, end["time"]), rank, what))
            elif end and self._lacks_results(rank):
                failed.append(((3, 0.0), rank, "ended without results: it must call run_configs"))
            elif gone and not end:
                # A launcher ends the other ranks of a lost one with SIGTERM, which leaves a
                # stack. No stack: a harder death, and no consequence of another.
                ended = bool(_read(self.directory / f"rank-{rank}.stacks"))
                what = "was ended by SIGTERM" if ended else "was killed (memory exhausted?)"
                failed.append(((2 if ended else 0, 0.0), rank, what))
        return [(rank, what) for _, rank, what in sorted(failed)]

    def _lacks_results(self, rank: int) -> bool:
        return not all(result_path(self.directory, c, rank).exists() for c in range(self.configs))

    def _end(self, rank: int) -> dict[str, Any] | None:
        return read_json(self.directory / f"rank-{rank}.end")

    def _gone(self, rank: int) -> bool:
        """Whether the rank has started on this machine and does not run any more."""
        record = read_json(self.directory / f"rank-{rank}.pid")
        if record is None or record["host"] != socket.gethostname():
            return False
        try:
            if rank not in self._processes:
                self._processes[rank] = psutil.Process(record["pid"])
            process = self._processes[rank]
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def _stack(self, rank: int) -> list[str]:
        """Return where the main thread stood, innermost call first, without our own frames."""
        # Python lists the main thread last, under a heading.
        frames = _read(self.directory / f"rank-{rank}.stacks").strip().split("\n\n")[-1]
        ours = str(Path(__file__).with_name("worker.py")), "<frozen runpy>"
        lines = itertools.takewhile(
            lambda line: not any(file in line for file in ours), frames.splitlines()[1:]
        )
        return list(lines)[:_LINES] or ["  (it did not answer)"]

    def _last_lines(self, rank: int) -> list[str]:
        """Return the end of the traceback, or of what the rank printed."""
        end = self._end(rank)
        if end and end["error"]:
            return end["error"].splitlines()[-_LINES:]
        return _tail(self.directory / f"rank-{rank}.log")


def _read(path: Path) -> str:
    """Return a text that ranks wrote; empty when there is none."""
    return path.read_text(errors="replace") if path.exists() else ""


def _tail(path: Path) -> list[str]:
    return _read(path).rstrip().splitlines()[-_LINES:]
