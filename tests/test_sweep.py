"""The sweep of small models: what is stored is complete, is what the code makes, and resumes."""

import json

import pytest
import torch

from labs.model.counting import parameters
from labs.model.transformer import count_parameters
from labs.train import sweep
from labs.train.one_pass import OnePass
from labs.train.sweep import BUDGETS, Run


def test_the_stored_runs_are_the_planned_ones():
    stored = sweep.stored_runs()
    assert list(stored) == sweep.planned_runs()
    for run, record in stored.items():
        assert 2.3 < record["bits_per_byte"] < 4.0 and {"date", "machine"} <= record.keys()
        model = sweep.untrained_model(run)
        assert record["parameters"] == count_parameters(model)
        if run.family == "gpt":
            assert record["parameters"] == parameters(model.config).total


def test_families_are_matched_in_parameters_and_read_the_text_once():
    gpt, gru = (
        count_parameters(sweep.untrained_model(Run(*shape, BUDGETS[0], 0)))
        for shape in (("gpt", 48, 2), ("gru", 48, 1))
    )
    assert abs(gpt - gru) < 1e-3 * gpt
    for budget in BUDGETS:
        training = sweep.trainer_of(Run("gpt", 16, 1, budget, 0))
        assert isinstance(training, OnePass)
        assert training.recipe.steps * sweep.BATCH * sweep.CONTEXT == budget
        assert len(training.tokens) == budget + 1


@pytest.mark.parametrize("family, layers", [("gpt", 2), ("gru", 1)])
def test_first_losses_repeat_the_stored_ones(family, layers):
    run = Run(family, 48, layers, BUDGETS[0], 1)
    expected = sweep.stored_runs()[run]["first_losses"]
    assert sweep.trainer_of(run).run(until=5) == pytest.approx(expected, abs=2e-3)


def test_the_smallest_run_repeats_the_stored_loss():
    run = Run("gpt", 48, 2, BUDGETS[0], 0)
    record = sweep.make_run(run)
    assert record["bits_per_byte"] == pytest.approx(
        sweep.stored_runs()[run]["bits_per_byte"], abs=0.03
    )


def test_held_out_text_is_not_in_the_training_text():
    held, n_bytes = sweep.held_out_passage()
    assert len(held) == sweep.HELD_OUT and 2 < n_bytes / len(held) < 2.6
    train = sweep.split_ids("train")[: BUDGETS[-1]]
    starts = (train[:-32] == held[100]).nonzero().flatten()
    assert not any(torch.equal(train[s : s + 32], held[100:132]) for s in starts)


def test_the_command_makes_what_is_missing_and_keeps_the_rest(tmp_path, monkeypatch):
    results, runs = tmp_path / "sweep.json", [Run("gpt", 16, 0, 512, 0), Run("gpt", 16, 0, 512, 1)]
    monkeypatch.setattr(sweep, "RESULTS", results)
    monkeypatch.setattr(sweep, "planned_runs", lambda: runs)
    assert sweep.stored_runs() == {}
    sweep.main()
    records = json.loads(results.read_text())
    assert [r["seed"] for r in records] == [0, 1]
    records[0]["bits_per_byte"] = 1.0
    results.write_text(json.dumps(records[:1]))
    sweep.main()
    assert [r["bits_per_byte"] == 1.0 for r in json.loads(results.read_text())] == [True, False]
