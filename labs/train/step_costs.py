"""What changes of the code cost or save in one step, the arithmetic being the same.

`python -m labs.train.step_costs` times the steps of nanoGPT's recipe with one change each and
stores `data/measurements/step_costs.json`. The steps to a loss stay what they are, so the time of
a step decides. `--only one-thread` and `--only threads` measure a part: time them on a quiet
machine. How quiet it was is stored: the share of all cores' time that other programs took.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from functools import partial

import psutil
import torch
from torch import Tensor, nn

from labs.book.machine import device, set_threads, versions
from labs.text.corpus import DATA
from labs.train.ladder import CONTEXT, NANOGPT, Run
from labs.train.losses import chunked_cross_entropy

RESULTS = DATA / "measurements" / "step_costs.json"
ROUNDS, STEPS = 6, 20


class OneByOne(Run):
    """nanoGPT's loader: every window is cut, converted and stacked by itself (`get_batch`)."""

    def next_windows(self) -> Tensor:
        starts = torch.randint(
            len(self.tokens) - CONTEXT, (self.rung.batch,), generator=self.generator
        )
        return torch.stack([self.tokens[i : i + CONTEXT + 1].long() for i in starts.tolist()])


class Chunked(Run):
    """The loss without all logits at once, in two chunks."""

    def batch_loss(self, windows: Tensor) -> Tensor:
        head, self.model.head = self.model.head, nn.Identity()
        hidden = self.model(windows[:, :-1])
        self.model.head = head
        return chunked_cross_entropy(hidden, head.weight, windows[:, 1:], chunk=384)


def with_fused_norms() -> Run:
    """The norms as one operation of torch instead of the book's six."""
    run = Run(NANOGPT)
    for parent in list(run.model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "LayerNorm":
                fused = nn.LayerNorm(child.weight.shape, eps=child.eps, bias=False)
                fused.weight = child.weight  # the optimizer knows it
                setattr(parent, name, fused)
    return run


def with_fused_adamw() -> Run:
    run = Run(NANOGPT)
    groups = [
        {"params": group["params"], "weight_decay": group["weight_decay"]}
        for group in run.optimizers[0].param_groups
    ]
    run.optimizers = [torch.optim.AdamW(groups, lr=NANOGPT.lr, betas=(0.9, 0.99), fused=True)]
    return run


def with_compiler() -> Run:
    run = Run(NANOGPT)
    run.model = torch.compile(run.model)
    return run


VARIANTS: dict[str, Callable[[], Run]] = {
    "as it is": lambda: Run(NANOGPT),
    "windows cut one by one": lambda: OneByOne(NANOGPT),
    "norm as one operation": with_fused_norms,
    "fused AdamW": with_fused_adamw,
    "chunked loss": lambda: Chunked(NANOGPT),
    "torch.compile": with_compiler,
}


def seconds_of(run: Run, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        run.train_step()
    return time.perf_counter() - start


def busy_seconds() -> tuple[float, float]:
    """Processor seconds so far: of this process, and of all programs on all cores."""
    everything = psutil.cpu_times()
    return time.process_time(), everything.user + everything.system


def in_turns(measures: dict[str, Callable[[], float]]) -> dict:
    """Milliseconds a step of each, in rounds, so that all share a slow minute of the machine.

    `others` is the share of all cores' time that other programs took meanwhile.
    """
    times: dict[str, list[float]] = {name: [] for name in measures}
    start, before = time.perf_counter(), busy_seconds()
    for _ in range(ROUNDS):
        for name, seconds in measures.items():
            times[name].append(round(1e3 * seconds() / STEPS, 2))
    own, everything = (b - a for a, b in zip(before, busy_seconds(), strict=True))
    available = psutil.cpu_count() * (time.perf_counter() - start)
    results = {
        name: {"ms": round(statistics.median(ms), 2), "all_ms": ms} for name, ms in times.items()
    }
    return {"results": results, "others": round(max(0.0, everything - own) / available, 3)}


def on_one_thread() -> dict:
    """Every variant in turn; the seconds of its first two steps beside it."""
    set_threads(1)
    runs = {name: make() for name, make in VARIANTS.items()}
    first = {name: seconds_of(run, 2) for name, run in runs.items()}
    part = in_turns({name: partial(seconds_of, run, STEPS) for name, run in runs.items()})
    for name, result in part["results"].items():
        result["first_two_steps_s"] = round(first[name], 2)
    return part


def by_threads() -> dict:
    """A step on 1 and on 2 threads in turn.

    A thread that waits for a core which another program uses holds up its sibling: measured on
    cores that are not free, the second thread costs instead of helping.
    """
    run = Run(NANOGPT)

    def on(threads: int) -> float:
        set_threads(threads)
        seconds_of(run, 2)
        return seconds_of(run, STEPS)

    return in_turns({str(n): partial(on, n) for n in (1, 2)})


PARTS = {"one-thread": on_one_thread, "threads": by_threads}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", choices=PARTS)
    only = arguments.parse_args().only
    stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for name, measure in PARTS.items():
        if only in (None, name):
            part = {**measure(), "date": date.today().isoformat(), "machine": versions()}
            stored[name] = {**part, "device": str(device())}
            print(name, json.dumps(stored[name]), flush=True)
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, RESULTS)


if __name__ == "__main__":
    main()
