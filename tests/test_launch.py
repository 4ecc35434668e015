"""Launches that succeed and launches that fail, with the real launchers.

Every test ends by looking for what must not be there: a process of the launch (they all carry
a mark of the test in their environment), a guardian, a file, a line of output.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from jupyter_client.manager import start_new_kernel

from labs.ranks import guardian
from labs.ranks.commands import ROOT, environment, free_port
from labs.ranks.launch import LaunchError, LaunchInterrupted, Nodes, launch
from labs.ranks.records import load_result, read_results, save_result
from labs.ranks.watch import Watch

TEST_MARK = "BOOK_TEST"
# From a failure to its LaunchError or, when the parent dies, to the last process's end.
# Measured on two idle cores: 0.3 to 1.5 s. DeepSpeed's own launcher needs 30 s.
SOON = 8.0

SCRIPT = '''
"""A rank that does what its configuration says."""
import os, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from labs.ranks.launch import run_configs

PLACE = Path(__file__).parent


def sum_of_ranks(config, rank, world_size):
    print("noise on stdout", flush=True)
    print("noise on stderr", file=sys.stderr, flush=True)
    (PLACE / f"here-{rank}").touch()
    if config.get("rank") == rank:
        (PLACE / "failed-at").write_text(str(time.time()))
        fail(config["fail"])
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    return {
        "sum": total,
        "table": {"ranks": np.arange(world_size), "config": config},
        "threads": torch.get_num_threads(),
        "deepspeed": "deepspeed" in sys.modules,
    }


def fail(how):
    if how == "raise":
        raise ValueError("negative learning rate")
    if how == "exit":
        sys.exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "kill launcher":
        os.kill(os.getppid(), signal.SIGKILL)
    # A child that does not want to die, where no process group reaches it.
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
    subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
    time.sleep(1000)


if __name__ == "__main__":
    run_configs(sum_of_ranks)
'''


def marked(mark: str) -> list[psutil.Process]:
    """Return the live processes whose environment carries the test's mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(TEST_MARK) == mark and process.status() != "zombie":
                found.append(process)
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def place(tmp_path, monkeypatch, capfd) -> Iterator[SimpleNamespace]:
    """A rank script, the mark of its processes; afterwards nothing is left and said."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "with_deepspeed.py").write_text("import deepspeed\n" + SCRIPT)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("BOOK_QUIET", "1")
    mark = uuid.uuid4().hex
    yield SimpleNamespace(
        path=tmp_path, script=tmp_path / "script.py", mark=mark, env={TEST_MARK: mark}
    )
    assert not marked(mark)
    assert not [p for p in psutil.process_iter() if is_guardian(p, temporary)]
    assert not list(temporary.iterdir())
    assert not list(tmp_path.rglob("*.unfinished"))
    assert capfd.readouterr() == ("", "")


def is_guardian(process: psutil.Process, temporary: Path) -> bool:
    with suppress(psutil.Error):
        return guardian.__file__ in process.cmdline() and str(temporary) in str(process.cmdline())
    return False


def failed_launch(
    place: SimpleNamespace, script: str | Path | None = None, **options
) -> LaunchError:
    """Return the error of a launch that must fail; nothing is left when it is raised."""
    with pytest.raises(LaunchError) as caught:
        launch(script or place.script, **{"world_size": 2, "env": place.env, **options})
    assert not marked(place.mark)
    if (moment := place.path / "failed-at").exists() and "timeout" not in options:
        assert time.time() - float(moment.read_text()) < SOON
    message = str(caught.value)
    assert message.splitlines()[-1].endswith("No process is left behind.")
    return caught.value


# ---- launches that succeed


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_launches_at_once_give_every_ranks_results(place, launcher):
    script = place.path / ("with_deepspeed.py" if launcher == "deepspeed" else "script.py")

    def one(name: str) -> None:
        configs = [{"name": name}, {"name": name, "stage": np.int64(3), "lr": 1e-3}]
        results = launch(script, world_size=2, configs=configs, launcher=launcher, env=place.env)
        assert len(results) == 2 and [len(ranks) for ranks in results] == [2, 2]
        for config, ranks in zip(configs, results, strict=True):
            for result in ranks:
                assert result["sum"].dtype == np.float32 and result["sum"].tolist() == [3.0]
                assert result["table"]["ranks"].tolist() == [0, 1]
                assert result["table"]["config"] == config
                assert result["deepspeed"] == (launcher == "deepspeed")
                assert 1 <= result["threads"] <= max(1, os.cpu_count() // 2)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, ["first", "second"]))


def test_progress_line_names_the_launch_and_leaves_no_trace(place, monkeypatch, capfd):
    monkeypatch.delenv("BOOK_QUIET")
    launch(place.script, world_size=1, configs=[{}, {}], desc="two runs", env=place.env)
    out, err = capfd.readouterr()
    assert out == "" and "two runs" in err and "/2 [" in err
    assert not err.rsplit("\r", 1)[-1].strip()


def test_two_nodes(place):
    """Two "machines" with the launcher's hostfile, each making the same call."""
    (place.path / "hosts").write_text("# two nodes\nnode-a slots=1\nnode-b slots=1\n")
    shared, port = place.path / "shared", free_port()

    def node(rank: int) -> list:
        nodes = Nodes(place.path / "hosts", shared, rank, "127.0.0.1", port)
        return launch(place.script, world_size=2, env=place.env, nodes=nodes)

    with ThreadPoolExecutor() as pool:
        for results in pool.map(node, [0, 1]):
            assert [result["sum"][0] for result in results[0]] == [3.0, 3.0]
    with pytest.raises(ValueError, match="another run"):
        node(0)


def test_command_line_of_two_nodes(place):
    """What a reader types on two machines; DeepSpeed's launcher appends --local_rank."""
    (place.path / "hosts").write_text("node-a slots=1\nnode-b slots=1\n")
    (place.path / "configs.json").write_text('[{"stage": 1}, {"stage": 2}]')
    port = str(free_port())
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile=hosts", "--no_ssh"]
            + [f"--node_rank={rank}", "--master_addr=127.0.0.1", f"--master_port={port}"]
            + ["script.py", "--configs=configs.json", "--results=out"],
            cwd=place.path,
            env=environment(2, {**place.env, "TMPDIR": str(place.path)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    try:
        assert [node.wait(120) for node in nodes] == [0, 0]
    finally:
        for process in marked(place.mark):
            process.kill()
    results = read_results(place.path / "out")
    assert [[rank["table"]["config"]["stage"] for rank in ranks] for ranks in results] == [
        [1, 1],
        [2, 2],
    ]


# ---- launches that fail


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_rank_raises(place, launcher):
    script = place.path / ("with_deepspeed.py" if launcher == "deepspeed" else "script.py")
    configs = [{}, {"fail": "raise", "rank": 1}]
    error = failed_launch(place, script, configs=configs, launcher=launcher)
    assert error.rank == 1
    assert f"{launcher} could not run {script.name} on 2 ranks: rank 1 raised" in str(error)
    assert error.lines[-1] == "ValueError: negative learning rate"
    assert any("in fail" in line for line in error.lines)


def test_rank_is_killed(place):
    error = failed_launch(place, configs=[{"fail": "kill", "rank": 0}])
    assert error.rank == 0 and "rank 0 was killed" in str(error)
    assert "noise on stderr" in error.lines


def test_rank_hangs(place):
    error = failed_launch(place, configs=[{}, {"fail": "hang", "rank": 0}], timeout=15)
    assert time.time() - float((place.path / "failed-at").read_text()) < 15 + SOON
    assert "not done after 15 s, with 1 of 2 configurations finished" in str(error)
    stacks = "\n".join(error.lines)
    rank_0, rank_1 = stacks.split("rank 1 stood at")
    assert "rank 0 stood at" in rank_0 and "in fail" in rank_0
    assert "in all_reduce" in rank_1


def test_rank_leaves_early(place):
    error = failed_launch(place, configs=[{"fail": "exit", "rank": 1}])
    assert error.rank == 1 and "ended without results" in str(error)


def test_launcher_is_killed(place):
    error = failed_launch(place, configs=[{"fail": "kill launcher", "rank": 0}])
    assert error.rank is None and "the launcher ended (exit code -9)" in str(error)


def test_guardian_is_killed_before_the_rest_fails(place):
    def end_guardian() -> bool:
        for process in psutil.Process().children():
            if is_guardian(process, place.path):
                process.kill()
                return True
        return False

    with ThreadPoolExecutor() as pool:
        ended = pool.submit(wait_for, end_guardian, 30)
        failed_launch(place, configs=[{"fail": "raise", "rank": 0}])
        assert ended.result()


def test_script_imports_a_missing_module(place):
    (place.path / "script.py").write_text("import no_such_library\n")
    error = failed_launch(place)
    assert error.lines[-1] == "ModuleNotFoundError: No module named 'no_such_library'"


@pytest.mark.parametrize(
    "script", ["no_such_script.py", "labs.no_such.module", "no_such_package.x"]
)
def test_script_is_missing(place, script):
    start = time.monotonic()
    error = failed_launch(place, script)
    assert time.monotonic() - start < 1
    assert f"there is no {'file' if script.endswith('.py') else 'module'} {script}" in str(error)


def test_result_that_would_need_pickle(place):
    script = SCRIPT.replace('"sum": total', '"sum": object()')
    (place.path / "script.py").write_text(script)
    error = failed_launch(place)
    assert error.lines[-1].startswith("TypeError: a rank can return")


# ---- the kernel is interrupted or dies


@pytest.fixture
def kernel(place) -> Iterator[SimpleNamespace]:
    """A Jupyter kernel that runs a launch whose rank 0 hangs."""
    env = {**environment(1, {}), "BOOK_QUIET": "1", "TMPDIR": str(place.path / "tmp")}
    manager, client = start_new_kernel(env=env, cwd=str(ROOT), stderr=subprocess.DEVNULL)

    def start(launcher: str) -> None:
        client.execute("from labs.ranks.launch import launch", reply=True, timeout=60)
        while client.get_iopub_msg(timeout=5)["content"] != {"execution_state": "idle"}:
            pass
        client.execute(
            f"launch({str(place.script)!r}, world_size=2, launcher={launcher!r}, "
            f"configs=[{{'fail': 'hang', 'rank': 0}}], env={place.env!r})"
        )
        assert wait_for(lambda: all((place.path / f"here-{r}").exists() for r in (0, 1)), 90)
        assert len(marked(place.mark)) >= 3

    try:
        yield SimpleNamespace(manager=manager, client=client, start=start)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        wait_for(lambda: not marked(place.mark), SOON)


def test_kernel_is_interrupted(place, kernel):
    kernel.start("torchrun")
    interrupted = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=30)["content"]
    assert time.monotonic() - interrupted < SOON
    assert not marked(place.mark)
    assert reply["ename"] == LaunchInterrupted.__name__
    assert "it was interrupted" in reply["evalue"]
    while (message := kernel.client.get_iopub_msg(timeout=5))["msg_type"] != "error":
        assert message["msg_type"] != "stream", message["content"]


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_kernel_dies(place, kernel, launcher):
    kernel.start(launcher)
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    assert wait_for(lambda: not marked(place.mark), SOON)
    assert wait_for(lambda: not list((place.path / "tmp").glob("book-ranks-*")), SOON)


# ---- records


def test_results_keep_their_types_and_shapes(tmp_path):
    data = {
        "tensor": torch.arange(6).reshape(2, 3),
        "numbers": [1, 2.5, True, None, float("inf"), np.float64(0.1)],
        "nested": ({"empty": np.zeros((0, 4), dtype=np.int8)}, "text Ψ"),
    }
    save_result(tmp_path / "result", data)
    loaded = load_result(tmp_path / "result")
    assert loaded["tensor"].dtype == np.int64 and loaded["tensor"].tolist() == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    assert loaded["numbers"] == [1, 2.5, True, None, float("inf"), 0.1]
    assert loaded["nested"][0]["empty"].shape == (0, 4) and loaded["nested"][1] == "text Ψ"


@pytest.mark.parametrize("data", [object(), {1: "key"}, np.array([object()]), {"set": {1}}])
def test_results_refuse_what_needs_pickle(tmp_path, data):
    with pytest.raises(TypeError, match="a rank can return"):
        save_result(tmp_path / "result", data)
    assert not list(tmp_path.iterdir())


def test_interrupt_is_both_an_error_and_an_interrupt():
    assert issubclass(LaunchInterrupted, LaunchError) and issubclass(
        LaunchInterrupted, KeyboardInterrupt
    )
    assert "labs" not in inspect.getsource(guardian).split('"""')[2]  # starts without the book


@pytest.mark.parametrize(("code", "first"), [(-9, None), (1, 0)])
def test_a_killed_launcher_comes_before_the_errors_that_it_causes(tmp_path, code, first):
    """When torchrun dies, its ranks lose their meeting point and may raise before we look."""
    launcher = SimpleNamespace(poll=lambda: code, returncode=code)
    record = {"error": "Traceback …\nDistNetworkError: connection reset by peer", "time": 1.0}
    (tmp_path / "rank-0.end").write_text(json.dumps(record), encoding="utf-8")
    failure = Watch(tmp_path, 2, 1, launcher, tmp_path / "launcher.log").failure()
    assert failure.rank == first
    assert ("the launcher ended (exit code -9)" in failure.what) == (first is None)
