"""Pipeline schedules: the formulas, the memory, and what a valid schedule is."""

from fractions import Fraction
from itertools import product

import pytest

from labs.ranks.schedules import (
    SCHEDULES,
    TIMES,
    Op,
    bubble,
    idle_share,
    makespan,
    peak_held,
    timeline,
)

COSTS = [TIMES, {"F": 2, "B": 3, "W": 2}, {"F": 1, "B": 2, "W": 1}]
GRID = list(product((1, 2, 3, 4, 8), (1, 2, 3, 8), (1, 2, 4)))


@pytest.mark.parametrize("times", COSTS, ids=str)
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_idle_share_is_that_of_the_formula(name, times):
    for stages, rounds, chunks in GRID:
        slots = timeline(name, stages, stages * rounds, chunks, times)
        assert idle_share(slots) == bubble(name, stages, stages * rounds, chunks, times)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_piece_runs_once_after_what_it_needs(name):
    stages, micros, chunks = 4, 8, 2 if name == "interleaved" else 1
    slots = timeline(name, stages, micros, chunks)
    kinds = "FBW" if name == "zero bubble" else "FB"
    pieces = [Op(k, i, c) for k, i, c in product(kinds, range(micros), range(chunks))]
    ends = {(s.op, stage): s.end for stage, line in enumerate(slots) for s in line}
    for stage, line in enumerate(slots):
        assert sorted(slot.op for slot in line) == sorted(pieces)
        assert all(a.end <= b.start for a, b in zip(line, line[1:], strict=False))
        for slot in line:
            if slot.op.kind == "F" and stage:
                assert slot.start >= ends[slot.op, stage - 1]
            if slot.op.kind == "B" and stage < stages - 1:
                assert slot.start >= ends[slot.op, stage + 1]
            if slot.op.kind != "F":
                needs = slot.op._replace(kind="F" if slot.op.kind == "B" else "B")
                assert slot.start >= ends[needs, stage]


@pytest.mark.parametrize("stages", [2, 4, 8])
@pytest.mark.parametrize("micros", [2, 8, 32])
def test_what_the_stages_hold(stages, micros):
    of = {name: timeline(name, stages, micros) for name in ("GPipe", "1F1B", "zero bubble")}
    assert [peak_held(line) for line in of["GPipe"]] == [micros] * stages
    assert [peak_held(line) for line in of["1F1B"]] == [
        min(stages - s, micros) for s in range(stages)
    ]
    assert [peak_held(line) for line in of["zero bubble"]] == [min(stages, micros)] * stages
    assert makespan(of["GPipe"]) == makespan(of["1F1B"])


def test_interleaving_holds_more_and_needs_whole_rounds():
    line = timeline("interleaved", 8, 32, 2)[0]
    assert peak_held(line) == 8 + Fraction(7, 2)
    with pytest.raises(ValueError, match="not a multiple"):
        timeline("interleaved", 4, 6, 2)


def test_orders_that_wait_for_each_other_are_refused(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "odd", lambda *_: [Op("B", 0), Op("F", 0)])
    with pytest.raises(ValueError, match="wait for each other"):
        timeline("odd", 2, 1)


def test_too_few_micro_batches_spoil_the_zero_bubble():
    assert idle_share(timeline("zero bubble", 8, 3)) > bubble("zero bubble", 8, 3)
