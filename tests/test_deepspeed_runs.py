"""The launched runs of the DeepSpeed chapter: what each reports is what happened."""

import numpy as np
import pytest

from labs.model.counting import forward_flops, multiplied
from labs.ranks.launch import LaunchError, launch
from labs.ranks.plans import launch_plan, train_run
from labs.ranks.workload import CONFIG, untied_gpt
from tests.one_process import adam_losses

BATCH, RANKS = 8, 2
ENV = {"OMP_NUM_THREADS": "1"}


def trained(stage, steps=3, **more):
    return train_run(stage, steps=steps, batch=BATCH, ranks=RANKS, **more)


def test_a_training_run_tells_options_from_settings():
    run = trained(2, load={"directory": "x"}, micro_batch=1, accumulate=4)
    assert run["load"] == {"directory": "x"} and run["steps"] == 3
    assert run["settings"] == {"stage": 2, "micro_batch": 1, "accumulate": 4, "lr": 1e-3}
    assert trained(0)["settings"]["micro_batch"] == BATCH // RANKS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two launches: the second loads what the first saved."""
    place = str(tmp_path_factory.mktemp("checkpoint"))
    tensor = {"run": "tensor", "batch": BATCH, "steps": 2, "settings": {"micro_batch": BATCH}}
    pipes = {"micro_batch": 2, "accumulate": 4}
    first = {
        "flops": {"run": "flops", "batch": BATCH},
        "saved": trained(3, save={"directory": place, "at": 2}),
        "frozen": trained(0, loss="frozen"),
        "boundary": {"run": "boundary", "batch": 2, "micro_steps": 4,
                     "settings": {"micro_batch": 1, "accumulate": 2}},
        "refused": {"run": "attempt", "settings": {"micro_batch": 4, "train_batch_size": 12}},
        "accepted": {"run": "attempt", "settings": {"micro_batch": 4, "train_batch_size": 8}},
        "without": {"run": "without engine", "batch": BATCH, "steps": 1},
        "pipeline": {"run": "pipeline", "stages": 2, "batch": BATCH, "steps": 2, "settings": pipes},
        "tensor": tensor,
        "broken": {**tensor, "mend": False},
    }  # fmt: skip
    second = {
        "loaded": trained(3, load={"directory": place}),
        "whole": {"run": "whole weights", "directory": place},
    }
    return launch_plan(first, world_size=RANKS) | launch_plan(second, world_size=RANKS)


def test_flops_are_those_of_the_shape_and_of_silu(runs):
    length = CONFIG.context_length
    silu = CONFIG.n_layers * CONFIG.hidden * length * BATCH
    expected = BATCH * forward_flops(CONFIG, length) + silu
    assert runs["flops"][0]["flops"] == expected > 2 * multiplied(CONFIG) * length * BATCH


def test_a_loaded_run_goes_on_where_the_saved_one_was(runs):
    saved, loaded = runs["saved"][0], runs["loaded"][0]
    assert loaded["first"] == 2
    assert loaded["losses"] == pytest.approx(saved["losses"][2:], abs=1e-6)
    assert np.abs(loaded["weights"] - saved["weights"]).max() < 1e-5
    assert np.array_equal(runs["whole"][0], saved["saved"]) and runs["whole"][1] is None
    assert saved["moments"] == pytest.approx(len(saved["weights"]) / RANKS, rel=0.01)


def test_losses_and_boundaries(runs):
    assert runs["frozen"][0]["losses"] == [0.0] * 3
    assert runs["boundary"][0] == {"global_steps": [0, 1, 1, 2], "moved": [0, 1, 0, 1]}
    assert runs["without"][0]["ranks_apart"] > 1e-4


def test_an_attempt_tells_the_error(runs):
    assert runs["refused"][0]["error"] == "AssertionError"
    assert "12 != 4 * 1 * 2" in runs["refused"][0]["text"]
    assert runs["accepted"][0] == {"error": None, "text": None}


def test_parallel_layouts_train_as_one_process(runs):
    losses = adam_losses(untied_gpt(), 2, BATCH)
    for name in ("pipeline", "tensor"):
        assert runs[name][0]["losses"] == pytest.approx(losses, abs=2e-6)
    assert runs["tensor"][0]["shapes"]["mlp.down.weight"] == [CONFIG.d_model, CONFIG.hidden // 2]
    assert runs["broken"][0]["heads"] == [CONFIG.n_heads // 2, CONFIG.n_heads]
    assert abs(runs["broken"][0]["losses"][0] - losses[0]) > 1e-2


def test_a_rank_that_kills_itself_is_named():
    dying = trained(0, kill={"rank": 1, "at": 1})
    with pytest.raises(LaunchError) as caught:
        launch("labs.ranks.deepspeed_runs", world_size=RANKS, configs=[dying], env=ENV)
    assert caught.value.rank == 1
