"""Start ranks from a notebook with the real launcher and bring their results back as data.

::

    results = launch("labs.ranks.some_script", world_size=2, configs=[{"stage": 0}, {"stage": 1}])
    results[1][0]  # what rank 0 returned for the second configuration

The script's side is :mod:`labs.ranks.worker`. One launch costs seconds of imports, so run
several configurations in it. Whatever goes wrong ends in one :class:`LaunchError`, and no
process, port or file stays behind (:mod:`labs.ranks.guardian`).
"""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labs.book.machine import progress
from labs.ranks.commands import Nodes, command, environment
from labs.ranks.guardian import MARK, guarded
from labs.ranks.records import load_result, result_path, write_json
from labs.ranks.watch import Failure, Watch
from labs.ranks.worker import run_configs

__all__ = ["LaunchError", "LaunchInterrupted", "Nodes", "launch", "launch_named", "run_configs"]

_LOOK_EVERY = 0.1  # seconds


class LaunchError(RuntimeError):
    """A launch failed: ``rank`` failed first (None: no single one), ``lines`` are its last."""

    def __init__(self, what: str, failure: Failure) -> None:
        self.rank, self.lines = failure.rank, failure.lines
        shown = "\n".join(f"    {line}" for line in failure.lines)
        super().__init__(
            f"{what}: {failure.what}.\n"
            + (f"Its last lines:\n{shown}\n" if shown else "")
            + f"What to do: {failure.advice} No process is left behind."
        )


class LaunchInterrupted(LaunchError, KeyboardInterrupt):
    """The launch was interrupted, so a notebook that runs all its cells stops here."""


def launch(
    script: str | Path,
    *,
    world_size: int,
    configs: Sequence[Mapping[str, Any]] = ({},),
    launcher: str = "torchrun",
    timeout: float = 120.0,
    args: Sequence[str] = (),
    desc: str | None = None,
    env: Mapping[str, str] | None = None,
    nodes: Nodes | None = None,
) -> list[list[Any]]:
    """Run every configuration on ``world_size`` ranks; return ``results[config][rank]``.

    Parameters
    ----------
    script: path of a .py file, or dotted name of a module, that calls ``run_configs``.
    configs: JSON-like dictionaries, run one after the other in the same processes.
    launcher: "torchrun" or "deepspeed".
    timeout: seconds for the whole launch, start-up included.
    args: further command-line arguments of the script.
    desc: name on the progress line (default: the script's).
    env: additions to the ranks' environment.
    nodes: several machines; default is this one.

    Raises
    ------
    LaunchError: a rank raised, hung or was killed, or could not be started.
    LaunchInterrupted: Ctrl-C, or the notebook's stop button.
    """
    name = Path(script).name
    what = f"{launcher} could not run {name} on {world_size} ranks"
    target = _find(script, what)
    start = command(launcher, world_size, nodes)
    local_ranks = list(nodes.slots().values())[nodes.node_rank or 0] if nodes else world_size
    try:
        with _place(nodes) as (directory, temporary, mark):
            write_json(directory / "configs.json", list(configs))
            log = temporary / "launcher.log"
            process = _start(
                [*start, "labs.ranks.bootstrap", str(directory), target]
                + [f"--configs={directory / 'configs.json'}", f"--results={directory}"]
                + [f"--timeout={timeout}", *args],
                # A launcher that is ended leaves temporary files: here they are removed.
                environment(local_ranks, {"TMPDIR": str(temporary), **(env or {}), MARK: mark}),
                log,
            )
            watch = Watch(directory, world_size, len(configs), process, log)
            if failure := _wait(watch, desc or name, timeout):
                raise LaunchError(what, failure)
            return [
                [load_result(result_path(directory, config, rank)) for rank in range(world_size)]
                for config in range(len(configs))
            ]
    except KeyboardInterrupt:
        raise LaunchInterrupted(what, Failure("it was interrupted", "run it again.")) from None


def launch_named(
    script: str | Path, plan: Mapping[str, Mapping[str, Any]], **options: Any
) -> dict[str, list[Any]]:
    """`launch` of configurations that have names; returns `results[name][rank]`."""
    results = launch(script, configs=list(plan.values()), **options)
    return dict(zip(plan, results, strict=True))


@contextmanager
def _place(nodes: Nodes | None) -> Iterator[tuple[Path, Path, str]]:
    """Yield a directory for records, one for temporary files, and a mark for the processes.

    Temporary files and processes end with the block; records do if only this machine has them.
    """
    temporary = Path(tempfile.mkdtemp(prefix="book-ranks-"))
    with guarded(temporary) as mark:
        if nodes is None:
            yield temporary, temporary, mark
            return
        directory = Path(nodes.directory).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.glob("config-*")):
            raise ValueError(f"{directory} holds the results of another run: name a new one")
        yield directory, temporary, mark


def _find(script: str | Path, what: str) -> str:
    """Return the absolute path or the module name; raise LaunchError when there is none."""
    name = str(script)
    if name.endswith(".py"):
        if Path(name).is_file():
            return str(Path(name).resolve())
        missing = f"there is no file {name}"
    else:
        try:
            if importlib.util.find_spec(name):
                return name
        except ModuleNotFoundError:
            pass
        missing = f"there is no module {name}"
    raise LaunchError(what, Failure(missing, "mend the name of the script."))


def _start(argv: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the launcher in a session of its own: an interrupt here does not reach it."""
    with open(log, "wb") as output:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait(watch: Watch, name: str, timeout: float) -> Failure | None:
    """Look at the ranks' records until all have ended (None), one has failed, or time is up."""
    started = time.monotonic()
    with progress(total=watch.configs, desc=name, unit="config") as bar:
        while not watch.complete():
            if failure := watch.failure():
                return failure
            if time.monotonic() - started > timeout:
                return watch.hang(timeout)
            bar.n = watch.configs_finished()
            bar.refresh()
            time.sleep(_LOOK_EVERY)
    # Every rank has left its results and the process group. Python needs seconds more to end
    # DeepSpeed's two launchers in turn; the guardian does not wait for that.
    return None
