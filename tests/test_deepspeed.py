"""DeepSpeed's states counted on live tensors, against theory and against its own differences."""

import pytest

from labs.model.transformer import GPT
from labs.ranks.launch import launch
from labs.ranks.memory import deepspeed_state_bytes, straddling_elements
from labs.ranks.workload import CONFIG

RUN = {"batch": 4, "steps": 2}
RANKS = 2
ALL = [(stage, precision) for precision in ("fp32", "mixed") for stage in range(4)]


@pytest.fixture(scope="module")
def runs():
    """One launch of the real `deepspeed` launcher: all stages, fp32 and bf16, and a default."""
    configs = [{**RUN, "stage": stage, "precision": precision} for stage, precision in ALL]
    configs.append({**RUN, "stage": 1, "precision": "mixed", "accumulate": 2, "lean": False})
    configs += [{**RUN, "stage": s, "precision": "mixed", "norm": "written out"} for s in (1, 3)]
    results = launch(
        "labs.ranks.deepspeed_train",
        world_size=RANKS,
        configs=configs,
        launcher="deepspeed",
        timeout=300.0,
        env={"OMP_NUM_THREADS": "1"},
    )
    return dict(zip([*ALL, "default", "written 1", "written 3"], results, strict=True))


@pytest.mark.parametrize(("stage", "precision"), ALL)
def test_state_bytes_per_parameter(runs, stage, precision):
    expected = deepspeed_state_bytes(stage, RANKS, precision)
    for result in runs[stage, precision]:
        for kind in ("params", "grads", "master", "moments"):
            held = result["bytes"]["before_step"][kind] / result["elements"]
            if kind == "grads" and stage in (1, 2):  # see test_gradients_across_a_border
                assert held >= expected.grads
            else:
                assert held == pytest.approx(getattr(expected, kind), rel=0.02)


@pytest.mark.parametrize("stage", [1, 2])
def test_gradients_across_a_border_are_held_whole(runs, stage):
    held = straddling_elements([p.numel() for p in GPT(CONFIG).parameters()], RANKS)
    for rank, result in enumerate(runs[stage, "mixed"]):
        assert result["bytes"]["before_step"]["grads"] == 2 * held[rank]


@pytest.mark.parametrize(("precision", "stages"), [("fp32", range(4)), ("mixed", range(1, 4))])
def test_stages_agree_in_the_loss(runs, precision, stages):
    traces = [runs[stage, precision][0]["losses"] for stage in stages]
    for trace in traces[1:]:
        assert trace == pytest.approx(traces[0], abs=2e-6)


def test_a_norm_written_out_changes_the_order_of_additions_in_bf16(runs):
    traces = [runs[key][0]["losses"] for key in ("written 1", "written 3")]
    assert traces[0][0] == traces[1][0]
    assert 0 < abs(traces[0][1] - traces[1][1]) < 1e-3


def test_bf16_stage_0_has_taken_an_adam_step_with_zero_gradients(runs):
    first, others = runs[0, "mixed"][0], [runs[stage, "mixed"][0] for stage in (1, 2, 3)]
    assert first["steps_before_training"] == 1
    assert all(run["steps_before_training"] == 0 for run in others)
    expected = (1 / (1 + 0.9)) / (1 / (1 + 0.999)) ** 0.5
    assert first["first_update"] == pytest.approx(expected, abs=1e-3)
    assert abs(first["losses"][1] - others[0]["losses"][1]) > 1e-3


def test_the_default_reduce_bucket_is_a_gigabyte(runs):
    seen = runs["default"][0]["bytes"]
    assert seen["between"]["buckets"] == 2 * 500_000_000
    assert seen["before_step"]["buckets"] == 0
    assert seen["between"]["grads"] == 2 * runs["default"][0]["elements"]
