"""What the launcher starts in place of the rank script: tell the parent, then run the script.

``python -m labs.ranks.bootstrap DIRECTORY SCRIPT ARGUMENTS...``

The parent of a launch cannot see the ranks: the launcher stands in between, and DeepSpeed's
takes up to 30 s to say that one has failed. So each rank reports for itself, from before its
first import to its end, in small files (:mod:`labs.ranks.records`).
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from labs.ranks.records import write_json


def main() -> None:
    """Run the script as ``__main__`` and record how it ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", help="added by the deepspeed launcher")
    parser.add_argument("directory", type=Path)
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    if os.environ.get("DS_ACCELERATOR") == "cpu":
        # DeepSpeed's launcher numbers "devices" of a CPU, and would show the ranks real GPUs.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rank = options.directory / f"rank-{os.environ['RANK']}"
    _report(rank)
    error = _run(options.script, options.arguments)
    write_json(rank.with_suffix(".end"), {"time": time.time(), "error": error})
    if error:
        print(error, file=sys.stderr, flush=True)
        # A normal exit would wait for a process group whose other members are lost.
        os._exit(1)


def _report(rank: Path) -> None:
    """Send the output to the rank's log and stacks on SIGTERM to a file; give the process id."""
    log = os.open(rank.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    # Works in a rank that hangs inside C code, too; then the default action ends it.
    stacks = open(rank.with_suffix(".stacks"), "w")  # noqa: SIM115 (open until the end)
    faulthandler.register(signal.SIGTERM, file=stacks, chain=True)
    write_json(rank.with_suffix(".pid"), {"pid": os.getpid(), "host": socket.gethostname()})


def _run(script: str, arguments: list[str]) -> str | None:
    """Run a path or a dotted module name; return the text of its error, or None."""
    sys.argv = [script, *arguments]
    try:
        if script.endswith(".py"):
            sys.path[0] = str(Path(script).parent)
            runpy.run_path(script, run_name="__main__")
        else:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return f"SystemExit: {stop.code}" if stop.code else None
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename in (__file__, "<frozen runpy>"):
            trace = trace.tb_next
        return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    return None


if __name__ == "__main__":
    main()
