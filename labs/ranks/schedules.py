"""Pipeline schedules: the order of work on each stage, and the time at which each piece runs.

An operation is F (forward of one micro-batch through one chunk of layers), B (gradient of its
input) or W (gradient of its weights). Only the zero-bubble schedule runs B and W apart; elsewhere B
stands for both. Stages are numbered from 0, time is in units of one F through a whole stage, and
messages take no time.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

TIMES = {"F": 1, "B": 1, "W": 1}  # of a whole stage


class Op(NamedTuple):
    """One piece of work: kind F, B or W, micro-batch, chunk of the stage's layers."""

    kind: str
    micro: int
    chunk: int = 0


class Slot(NamedTuple):
    """An operation and when it runs."""

    op: Op
    start: Fraction
    end: Fraction


def gpipe(stages: int, micros: int, stage: int, chunks: int = 1) -> list[Op]:
    """All forwards, then all backwards in reverse (Huang et al. 2019, section 2.3)."""
    forward = [Op("F", i) for i in range(micros)]
    return forward + [Op("B", i) for i in reversed(range(micros))]


def one_f_one_b(stages: int, micros: int, stage: int, chunks: int = 1) -> list[Op]:
    """Warm-up forwards, then forward and backward in turn (Narayanan et al. 2021, 2.2.1)."""
    forward, backward = [Op("F", i) for i in range(micros)], [Op("B", i) for i in range(micros)]
    return alternate(forward, backward, min(stages - 1 - stage, micros))


def interleaved(stages: int, micros: int, stage: int, chunks: int = 2) -> list[Op]:
    """Every stage holds `chunks` pieces of the model (Narayanan et al. 2021, section 2.2.2).

    The order is that of Megatron-LM: rounds of `stages` micro-batches, chunk after chunk.
    Raises ValueError when `micros` is not a multiple of `stages`.
    """
    if micros % stages:
        raise ValueError(f"{micros} micro-batches are not a multiple of {stages} stages")

    def piece(kind: str, k: int) -> Op:
        rest = k % (stages * chunks)
        chunk = rest // stages if kind == "F" else chunks - 1 - rest // stages
        return Op(kind, k // (stages * chunks) * stages + rest % stages, chunk)

    total = micros * chunks
    warm_up = min(2 * (stages - 1 - stage) + (chunks - 1) * stages, total)
    return alternate(*([piece(kind, k) for k in range(total)] for kind in "FB"), warm_up)


def zero_bubble(stages: int, micros: int, stage: int, chunks: int = 1) -> list[Op]:
    """ZB-H1 (Qi et al. 2024, section 2.1): W waits, longer on later stages, and fills the drain.

    Stage s runs the W of a micro-batch s backwards later, so every stage holds as many
    micro-batches as stage 0 of 1F1B, and no more.
    """
    ops = [Op("F", i) for i in range(min(stages - stage, micros))]
    for i in range(micros):
        ops.append(Op("B", i))
        if i >= stage:
            ops.append(Op("W", i - stage))
        if i + stages - stage < micros:
            ops.append(Op("F", i + stages - stage))
    return ops + [Op("W", i) for i in range(max(micros - stage, 0), micros)]


def alternate(forward: list[Op], backward: list[Op], warm_up: int) -> list[Op]:
    """`warm_up` forwards, then forward and backward in turn, then the backwards that are left."""
    ops = forward[:warm_up]
    for f, b in zip(forward[warm_up:], backward, strict=False):
        ops += [f, b]
    return ops + backward[len(forward) - warm_up :]


SCHEDULES: dict[str, Callable[..., list[Op]]] = {
    "GPipe": gpipe,
    "1F1B": one_f_one_b,
    "interleaved": interleaved,
    "zero bubble": zero_bubble,
}


def duration(op: Op, name: str, chunks: int, times: dict[str, int]) -> Fraction:
    """Time of `op`; where B and W are not split, B takes both."""
    whole = times["B"] + times["W"] if op.kind == "B" and name != "zero bubble" else times[op.kind]
    return Fraction(whole, chunks)


def timeline(
    name: str, stages: int, micros: int, chunks: int = 1, times: dict[str, int] = TIMES
) -> list[list[Slot]]:
    """When each operation of schedule `name` runs, stage by stage, each as early as it can.

    F waits for the F before it in the model, B for the B after it (the last for its own F).
    `chunks` counts for "interleaved" only. Raises ValueError when the orders wait for each other.
    """
    chunks = chunks if name == "interleaved" else 1
    orders = [SCHEDULES[name](stages, micros, s, chunks) for s in range(stages)]
    done: dict[tuple[str, int, int], Fraction] = {}  # (kind, micro-batch, place in the model): end
    slots: list[list[Slot]] = [[] for _ in range(stages)]
    last = stages * chunks - 1
    while any(len(s) < len(o) for s, o in zip(slots, orders, strict=True)):
        before = len(done)
        for stage, order in enumerate(orders):
            while len(slots[stage]) < len(order):
                op = order[len(slots[stage])]
                place = op.chunk * stages + stage
                ready = ready_at(op, place, last, done)
                if ready is None:
                    break
                start = max(ready, slots[stage][-1].end if slots[stage] else Fraction(0))
                end = start + duration(op, name, chunks, times)
                slots[stage].append(Slot(op, start, end))
                done[op.kind, op.micro, place] = end
        if len(done) == before:
            raise ValueError(f"{name}: the stages wait for each other")
    return slots


def ready_at(op: Op, place: int, last: int, done: dict) -> Fraction | None:
    """When the input of `op` is there; None while it is not known."""
    if op.kind == "F":
        return Fraction(0) if place == 0 else done.get(("F", op.micro, place - 1))
    if op.kind == "W":
        return done.get(("B", op.micro, place))
    needs = ("F", op.micro, place) if place == last else ("B", op.micro, place + 1)
    return done.get(needs)


def makespan(slots: list[list[Slot]]) -> Fraction:
    """Time until the last stage is done."""
    return max(slot.end for stage in slots for slot in stage)


def idle_share(slots: list[list[Slot]]) -> Fraction:
    """Share of the stages' time in which they wait: the bubble."""
    busy = sum(slot.end - slot.start for stage in slots for slot in stage)
    return 1 - busy / (len(slots) * makespan(slots))


def peak_held(slots: list[Slot]) -> Fraction:
    """The most micro-batches whose activations one stage holds at a time, in whole stages."""
    releases = "W" if any(slot.op.kind == "W" for slot in slots) else "B"
    now = most = 0
    for slot in slots:
        now += (slot.op.kind == "F") - (slot.op.kind == releases)
        most = max(most, now)
    return Fraction(most, 1 + max(slot.op.chunk for slot in slots))


def bubble(name: str, stages: int, micros: int, chunks: int = 1, times: dict = TIMES) -> Fraction:
    """The formulas: the idle share that `idle_share` measures on the timeline.

    Huang et al. 2019, section 2.3; Narayanan et al. 2021, section 2.2; Qi et al. 2024, Table 2.
    """
    work = micros * (times["F"] + times["B"] + times["W"])
    idle = Fraction((stages - 1) * (times["F"] + times["B"] + times["W"]))
    if name == "interleaved":
        idle /= chunks
    if name == "zero bubble":
        idle = Fraction((stages - 1) * (times["F"] + times["B"] - times["W"]))
    return idle / (work + idle)


def page_data() -> dict:
    """What `labs/book/js/pipeline.js` starts with: the choices of each control."""
    return {
        "schedules": list(SCHEDULES),
        "stages": [1, 2, 3, 4, 6, 8],
        "rounds": [1, 2, 3, 4, 6, 8, 16],
        "chunks": [1, 2, 3, 4],
        "times": {"1 : 1 : 1": [1, 1, 1], "2 : 3 : 2": [2, 3, 2], "1 : 2 : 1": [1, 2, 1]},
        "start": {
            "schedule": "1F1B", "stages": 4, "rounds": 2, "chunks": 2, "times": "1 : 1 : 1",
        },
    }  # fmt: skip
