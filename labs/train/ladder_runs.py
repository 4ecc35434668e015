"""Make and store the runs of the ladder: seconds and steps to the first rung's final loss.

`python -m labs.train.ladder_runs` makes what `data/measurements/ladder.json` lacks, one run after
the other, each stored as soon as it is done. `--seconds N` begins no run after N seconds. Time it
on a quiet machine; it uses one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import date

from labs.book.machine import set_threads, versions
from labs.text.corpus import DATA
from labs.train.ladder import LADDER, NANOGPT, NOT_KEPT, Run, Rung

RESULTS = DATA / "measurements" / "ladder.json"
SEEDS = (0, 1, 2)


def stored_runs() -> list[dict]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def target_of(runs: list[dict]) -> float | None:
    """The mean final loss of nanoGPT's recipe, nats per character; None until all seeds ran."""
    final = [run["loss"] for run in runs if run["rung"] == NANOGPT.name]
    return sum(final) / len(final) if len(final) == len(SEEDS) else None


def make_run(rung: Rung, seed: int, target: float) -> dict:
    """Train until the target is reached or the schedule ends; the record that is stored.

    Scored every 250 steps (nanoGPT), or 20 times a schedule from its half on.
    """
    run = Run(rung, seed)
    if target:
        run.run(every=max(1, rung.steps // 20), first=rung.steps // 2, target=target)
    else:
        run.run(every=250)
    return {
        "rung": rung.name,
        "seed": seed,
        "schedule": rung.steps,
        "batch": rung.batch,
        "steps": run.step,
        "seconds": round(run.seconds, 2),
        "loss": round(run.loss, 5),
        "reached": run.loss <= target if target else None,  # the first rung sets the target
        "curve": [[step, round(at, 2), round(loss, 4)] for step, at, loss in run.curve],
        "date": date.today().isoformat(),
        "machine": versions(),
    }


def missing_runs(runs: list[dict]) -> list[tuple[Rung, int]]:
    """What is still to do, the first rung first."""
    done = {(run["rung"], run["seed"]) for run in runs}
    planned = [(rung, seed) for rung in [*LADDER, *NOT_KEPT] for seed in SEEDS]
    return [(rung, seed) for rung, seed in planned if (rung.name, seed) not in done]


def store_runs(runs: list[dict]) -> None:
    """A reader of the file sees the old list or the new one, never half of it."""
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(
        "[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]\n", encoding="utf-8"
    )
    os.replace(partial, RESULTS)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=float("inf"))
    limit = arguments.parse_args().seconds
    set_threads(1)
    start, runs = time.monotonic(), stored_runs()
    for rung, seed in missing_runs(runs):
        if time.monotonic() - start > limit:
            break
        target = 0.0 if rung == NANOGPT else target_of(runs)
        run = make_run(rung, seed, target)
        runs.append(run)
        store_runs(runs)
        words = "reached" if run["reached"] else "not reached"
        print(
            f"{rung.name}, seed {seed}: {run['loss']:.4f} after {run['steps']} steps and "
            f"{run['seconds']:.1f} s, {words}",
            flush=True,
        )


if __name__ == "__main__":
    main()
