"""The rates that real DeepSpeed engines use, one launch on two ranks."""

import pytest

from labs.ranks.launch import launch

WARMUP = {
    "type": "WarmupLR",
    "params": {"warmup_max_lr": 1e-3, "warmup_num_steps": 4, "warmup_type": "linear"},
}
RAMP = [0.0, 0.0, 2.5e-4, 5e-4, 7.5e-4, 1e-3]  # the first two steps run at index -1 and 0
CONFIGS = {
    "plain": {"scheduler": WARMUP, "steps": 6},
    "shuffled": {"scheduler": WARMUP, "steps": 6, "data": "shuffled"},
    "frozen": {"scheduler": WARMUP, "steps": 6, "data": "frozen"},
    "accumulated": {"scheduler": WARMUP, "steps": 8, "accumulate": 2},
    "overflow": {"scheduler": WARMUP, "steps": 6, "precision": "bf16", "overflow": [3]},
    "unseen": {"scheduler": WARMUP, "steps": 4, "stage": 1, "overflow": [3]},
    "stage 3": {"scheduler": WARMUP, "steps": 4, "precision": "bf16", "stage": 3, "overflow": [3]},
    "client": {"client": "inverse root", "steps": 4, "stage": 1},
    "metric": {"client": "plateau", "steps": 8, "metric": [3.0] * 8},
    "unknown": {"scheduler": {"type": "Unknown", "params": {}}, "steps": 1},
    "emulated": {"emulate": [3.0] * 6, "scheduler": WARMUP},
    "fp16": {"scheduler": WARMUP, "steps": 1, "precision": "fp16"},
}


@pytest.fixture(scope="module")
def runs():
    results = launch(
        "labs.ranks.scheduler_train",
        world_size=2,
        configs=list(CONFIGS.values()),
        timeout=200,
        env={"OMP_NUM_THREADS": "1"},
    )
    return dict(zip(CONFIGS, results, strict=True))


def test_rates_do_not_depend_on_data(runs):
    for name in ("plain", "shuffled", "frozen"):
        for rank in runs[name]:
            assert rank["rates"] == pytest.approx(RAMP, abs=1e-15)
    assert runs["plain"][0]["losses"] != runs["shuffled"][0]["losses"]
    assert runs["frozen"][0]["losses"] == [4.0] * 6


def test_nothing_moves_while_the_rate_is_zero_and_nothing_moves_when_frozen(runs):
    moved = runs["plain"][0]["moved"]
    assert moved[:2] == [0.0, 0.0] and min(moved[2:]) > 0
    assert runs["frozen"][0]["moved"] == [0.0] * 6


def test_an_accumulated_step_is_one_step_of_the_schedule(runs):
    run = runs["accumulated"][0]
    assert run["rates"] == pytest.approx([rate for rate in RAMP[:4] for _ in range(2)])
    assert run["optimizer_steps"] == run["schedule_steps"] == 4


def test_an_overflow_on_one_rank_stops_the_schedule_on_both(runs):
    for rank in runs["overflow"]:
        assert rank["rates"] == pytest.approx([*RAMP[:4], *RAMP[3:5]])
        assert rank["skipped"] == 1 and rank["finite"] and rank["moved"][3] == 0.0


@pytest.mark.parametrize("name", ["unseen", "stage 3"])
def test_fp32_and_stage_3_do_not_look_for_an_overflow(runs, name):
    for rank in runs[name]:
        assert rank["skipped"] == 0 and not rank["finite"]


def test_schedulers_of_the_caller(runs):
    expected = [1e-3 * (t + 1) ** -0.5 for t in range(4)]
    assert runs["client"][0]["rates"] == pytest.approx(expected, rel=1e-12)
    assert runs["metric"][0]["rates"] == pytest.approx([1e-3] * 4 + [5e-4] * 3 + [2.5e-4])


def test_refusals_come_back_in_words(runs):
    assert runs["unknown"][0]["error"].startswith("AssertionError: DeepSpeed does not recognize")
    assert runs["fp16"][0]["error"] == "ValueError: Type fp16 is not supported on your device."


def test_emulated_fp16_steps(runs):
    """3.0 overflows until the scale is 2^14; the first overflow only spends the hysteresis."""
    run = runs["emulated"][0]
    assert run["scales"] == [2.0**k for k in (16, 16, 15, 14, 14, 14)]
    assert run["overflows"] == [True] * 3 + [False] * 3
    assert run["rates"] == pytest.approx([0.0] * 5 + [2.5e-4])
