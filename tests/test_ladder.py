"""The ladder: nanoGPT's recipe, one change a rung, and what is stored of its runs."""

import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
import torch

from labs.model.counting import parameters
from labs.model.transformer import count_parameters
from labs.train import ladder_runs, step_costs
from labs.train.ladder import (
    BEST,
    CONTEXT,
    HELD_OUT,
    LADDER,
    NANOGPT,
    NOT_KEPT,
    Run,
    Rung,
    characters,
    held_out_windows,
    untrained,
    vocabulary,
)

ROOT = Path(__file__).resolve().parents[1]


def changed(before: Rung, after: Rung) -> set[str]:
    names = {field.name for field in fields(Rung)}
    return {n for n in names if getattr(before, n) != getattr(after, n)} - {"name", "steps"}


def test_the_first_rung_is_the_published_recipe():
    """README of karpathy/nanoGPT ("I only have a macbook"), config/train_shakespeare_char.py."""
    assert (NANOGPT.steps, NANOGPT.batch, CONTEXT) == (2000, 12, 64)
    assert (NANOGPT.lr, NANOGPT.warmup, NANOGPT.beta2) == (1e-3, 100, 0.99)
    assert NANOGPT.lr_at(99) == pytest.approx(1e-3)
    assert NANOGPT.lr_at(2000) == pytest.approx(1e-4)  # min_lr
    model = untrained(NANOGPT, seed=0)
    assert len(model.blocks) == 4 and model.blocks[0].attention.n_heads == 4
    width = model.embedding.embedding_dim
    tables = (len(vocabulary()) + CONTEXT) * width
    assert width == 128 and count_parameters(model) == tables + 4 * 12 * width**2 + 9 * width


def test_every_rung_has_nearly_the_same_size():
    for rung in [*LADDER, *NOT_KEPT]:
        model = untrained(rung, seed=0)
        assert count_parameters(model) == parameters(model.config).total
        assert count_parameters(model) == pytest.approx(
            count_parameters(untrained(NANOGPT, 0)), rel=0.02
        )


def test_a_rung_changes_one_thing():
    """The optimizer brings its own rate and warm-up; a rate, its schedule."""
    together = {"lr", "shape", "optimizer", "warmup"}
    for before, after in zip(LADDER, LADDER[1:], strict=False):
        assert len(changed(before, after) - together) + bool(changed(before, after) & together) == 1
    for rung in NOT_KEPT:
        assert len(changed(BEST, rung)) == 1


def test_held_out_windows_are_of_works_that_are_not_trained_on():
    assert held_out_windows().shape == (HELD_OUT, CONTEXT + 1) and HELD_OUT == 20 * 12
    assert held_out_windows().max() < len(vocabulary())
    text = characters("train")
    window = held_out_windows()[100].to(torch.uint8)
    starts = (text[: -CONTEXT - 1] == window[0]).nonzero().flatten()
    assert not any(torch.equal(text[s : s + CONTEXT + 1], window) for s in starts.tolist())


def test_a_run_learns_repeats_itself_and_stops_at_its_target():
    short = Rung(name="short", steps=12, warmup=2, batch=4, optimizer="muon", averaged=0.5)
    first, again = (Run(short, seed=3).run(every=6) for _ in range(2))
    assert [c[2] for c in first.curve] == pytest.approx([c[2] for c in again.curve], abs=1e-4)
    assert [c[0] for c in first.curve] == [6, 12] and first.loss < 4.4
    stopped = Run(short, seed=3).run(every=6, target=99.0)
    assert stopped.step == 6 and len(stopped.curve) == 1
    assert Run(short, seed=3).run(every=6, limit=4).step == 4


def test_the_stored_runs_are_the_planned_ones():
    runs = ladder_runs.stored_runs()
    assert ladder_runs.missing_runs(runs) == []
    target, planned = ladder_runs.target_of(runs), {r.name: r for r in [*LADDER, *NOT_KEPT]}
    for run in runs:
        assert {"date", "machine"} <= run.keys() and "1 thread" in run["machine"]
        rung = planned[run["rung"]]
        assert run["schedule"] == rung.steps and run["batch"] == rung.batch
        if rung == NANOGPT:
            assert run["reached"] is None and run["steps"] == rung.steps  # it sets the target
        else:
            assert run["reached"] == (run["loss"] <= target)
            assert run["reached"] or run["steps"] == rung.steps


def test_first_losses_repeat_the_stored_ones():
    """The first score of the quickest rung, seed 0."""
    stored = next(
        run for run in ladder_runs.stored_runs() if run["rung"] == "RoPE" and run["seed"] == 0
    )
    run = Run(next(r for r in LADDER if r.name == "RoPE"), seed=0)
    assert characters("train").numel() > 1e6
    run.run(every=20, limit=20)
    assert stored["curve"][0][2] < run.loss < 3.2


def test_the_command_makes_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder_runs, "RESULTS", tmp_path / "ladder.json")
    tiny = [NANOGPT, BEST]
    monkeypatch.setattr(ladder_runs, "LADDER", tiny)
    monkeypatch.setattr(ladder_runs, "NOT_KEPT", [])
    monkeypatch.setattr("sys.argv", ["ladder_runs"])
    made = []

    def fake(rung, seed, target):
        made.append((rung.name, seed, target))
        return {"rung": rung.name, "seed": seed, "loss": 2.0 + seed, "steps": 1, "seconds": 1.0,
                "reached": True}  # fmt: skip

    monkeypatch.setattr(ladder_runs, "make_run", fake)
    ladder_runs.main()
    assert made[:3] == [(NANOGPT.name, seed, 0.0) for seed in range(3)]
    assert made[3:] == [(BEST.name, seed, 3.0) for seed in range(3)]
    ladder_runs.main()
    assert len(made) == 6 and len(json.loads((tmp_path / "ladder.json").read_text())) == 6


def test_variants_of_a_step_do_the_same_arithmetic():
    torch.manual_seed(0)
    losses = {}
    for name in ("as it is", "windows cut one by one", "norm as one operation", "fused AdamW",
                 "chunked loss"):  # fmt: skip
        run = step_costs.VARIANTS[name]()
        run.train_step(), run.train_step()
        windows = held_out_windows()[:8]
        losses[name] = run.batch_loss(windows).item()
    assert max(losses.values()) - min(losses.values()) < 1e-3


def test_the_commands_stand_in_the_makefile_and_their_results_are_stored():
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nmeasurements:")[2].partition("\n\n")[0]
    for module in ("labs.train.ladder_runs", "labs.train.step_costs"):
        assert f"python -m {module}" in recipe
        assert '__name__ == "__main__"' in (ROOT / f"{module.replace('.', '/')}.py").read_text()
    costs = json.loads(step_costs.RESULTS.read_text())
    assert set(costs["one-thread"]["results"]) == set(step_costs.VARIANTS)
    assert set(costs["threads"]["results"]) == {"1", "2"}
    for part in costs.values():
        assert {"date", "machine"} <= part.keys()
        assert part["others"] < 0.1, "measure on a quiet machine"


def test_rounds_take_turns_and_their_median_counts(monkeypatch):
    monkeypatch.setattr(step_costs, "ROUNDS", 3)
    order, left = [], {"a": [0.3, 0.1, 0.2], "b": [0.6, 0.6, 0.4]}

    def timed(name):
        order.append(name)
        return left[name].pop(0)

    part = step_costs.in_turns({name: partial(timed, name) for name in left})
    assert order == ["a", "b"] * 3 and 0 <= part["others"] <= 1
    assert part["results"]["a"] == {"ms": 10.0, "all_ms": [15.0, 5.0, 10.0]}
    assert part["results"]["b"]["ms"] == 30.0
