"""A small process that outlives a launch and ends whatever is left of it.

``python guardian.py MARK DIRECTORY``

Its standard input is a pipe from the process that launches. The pipe ends when that process
closes it or dies, be it by SIGKILL. Then the guardian ends every process of the launch and
removes the directory. Signals to the launching process do not reach it (own session), so an
impatient second interrupt cannot stop the cleaning.

The processes of a launch carry a mark in their environment, which children inherit. A tree of
parents would not do: when a launcher is killed its ranks become children of process 1, and
torchrun puts every rank into a session of its own, where no process group reaches it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MARK = "BOOK_LAUNCH"
GRACE_SECONDS = 1.0


def marked(mark: str) -> list[psutil.Process]:
    """Return the live processes that carry ``mark``; only the user's own can be read."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_all(mark: str) -> None:
    """SIGTERM, and after a grace period SIGKILL, until no process carries ``mark``."""
    patience = time.monotonic() + GRACE_SECONDS
    while processes := marked(mark):
        for process in processes:
            with suppress(psutil.Error):
                process.terminate() if time.monotonic() < patience else process.kill()
        psutil.wait_procs(processes, timeout=0.2)


@contextmanager
def guarded(directory: Path) -> Iterator[str]:
    """Yield a new mark; when the block ends, or this process does, its processes are ended.

    ``directory`` is removed with them.
    """
    mark = uuid.uuid4().hex
    guardian = subprocess.Popen(
        [
            sys.executable,
            "-P",
            __file__,
            mark,
            *([str(directory)] if directory else []),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield mark
    finally:
        guardian.stdin.close()
        if guardian.wait() != 0:  # somebody ended the guardian: do its work here
            _clean(mark, directory)


def _clean(mark: str, directory: str | Path) -> None:
    end_all(mark)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _clean(*sys.argv[1:])
