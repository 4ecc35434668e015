"""ZeRO by hand on gloo: equal to plain data parallelism, with the bytes of the paper."""

import pytest
import torch

from labs.ranks.launch import launch
from labs.ranks.memory import state_bytes
from labs.ranks.zero import nbytes

RUN = {"batch": 4, "steps": 3}
CONFIGS = [
    {**RUN, "engine": "zero", "stage": stage, "ranks": ranks, "precision": precision}
    for precision in ("fp32", "mixed")
    for ranks in (1, 2, 4)
    for stage in range(4)
]
EXTRA = {
    "ddp": {**RUN, "engine": "ddp", "ranks": 2, "precision": "fp32"},
    "local only": {**CONFIGS[0], "stage": 2, "ranks": 2, "ring": "local only"},
    "top k": {**CONFIGS[0], "stage": 2, "ranks": 2, "ring": "top k"},
}


@pytest.fixture(scope="module")
def runs():
    """One launch on four ranks; results by (stage, ranks, precision) and by the names of EXTRA."""
    results = launch(
        "labs.ranks.zero_train",
        world_size=4,
        configs=[*CONFIGS, *EXTRA.values()],
        timeout=300.0,
        env={"OMP_NUM_THREADS": "1"},
    )
    keys = [(c["stage"], c["ranks"], c["precision"]) for c in CONFIGS] + list(EXTRA)
    return {key: [r for r in ranks if r] for key, ranks in zip(keys, results, strict=True)}


def largest_difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_loss_trace_equals_data_parallelism(runs, stage, ranks):
    plain = runs[0, ranks, "fp32"][0]["losses"]
    assert largest_difference(runs[stage, ranks, "fp32"][0]["losses"], plain) < 1e-6


def test_data_parallelism_by_hand_equals_pytorchs_and_one_process(runs):
    by_hand = runs[0, 2, "fp32"][0]["losses"]
    assert largest_difference(by_hand, runs["ddp"][0]["losses"]) < 1e-6
    assert largest_difference(by_hand, runs[0, 1, "fp32"][0]["losses"]) < 1e-6


@pytest.mark.parametrize("ring", ["local only", "top k"])
def test_without_the_full_reduction_the_trace_differs(runs, ring):
    assert largest_difference(runs[ring][0]["losses"], runs[2, 2, "fp32"][0]["losses"]) > 1e-3


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c['stage']}-{c['ranks']}")
def test_bytes_before_the_step(runs, config):
    stage, ranks, precision = config["stage"], config["ranks"], config["precision"]
    expected = state_bytes(stage, ranks, precision)
    for result in runs[stage, ranks, precision]:
        for kind, held in result["before_step"].items():
            assert held / result["elements"] == pytest.approx(getattr(expected, kind), rel=0.01)


def test_shards_are_disjoint_and_cover_everything(runs):
    for stage in (1, 2, 3):
        results = runs[stage, 4, "mixed"]
        owned = sorted(interval for result in results for interval in result["owned"])
        assert [a for a, _ in owned] == [0, *(b for _, b in owned[:-1])]
        assert owned[-1][1] == results[0]["elements"]
        for result in results:
            assert sum(b - a for a, b in result["owned"]) == results[0]["padded"] // 4


def test_traffic_is_the_papers(runs):
    """Section 7: 2, 2, 2 and 3 times the elements, each at (N - 1)/N on a ring."""
    for ranks in (2, 4):
        for stage, multiple in enumerate((2, 2, 2, 3)):
            for result in runs[stage, ranks, "fp32"]:
                bytes_per_step = sum(result["sent"].values()) / RUN["steps"]
                assert bytes_per_step == multiple * (ranks - 1) / ranks * 4 * result["padded"]


def test_stage_3_never_holds_much_more_than_one_block(runs):
    result = runs[3, 4, "mixed"][0]
    at_rest = result["after_step"]["params"]
    most = max(held["params"] for *_, held in result["events"])
    units = result["unit_elements"]
    assert most == at_rest + 2 * (units["root"] + max(units.values()))


def test_a_shared_storage_counts_once():
    whole = torch.zeros(8)
    assert nbytes([whole, whole[:4], whole.view(2, 4), None, torch.tensor(1.0)]) == 32
