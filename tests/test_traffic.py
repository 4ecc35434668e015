"""Bytes of collectives and of ZeRO by hand, and the collectives of DDP and DeepSpeed, on gloo."""

import pytest
import torch

from labs.ranks.launch import launch
from labs.ranks.traffic import by_name, elements_of, ring_passes
from labs.ranks.workload import CONFIG

ENV = {"OMP_NUM_THREADS": "1"}
N = 4
ELEMENTS = 840
COLLECTIVES = [
    {"algorithm": name, "ranks": ranks, "elements": ELEMENTS}
    for name in ("ring", "halving", "star")
    for ranks in (2, N)
]
ZERO = [
    {"stage": stage, "ranks": N, "accumulate": accumulate, "steps": 2}
    for stage in range(4)
    for accumulate in (1, 3)
]
TIGHT = {
    "stage3_max_live_parameters": 0,
    "stage3_max_reuse_distance": 0,
    "stage3_prefetch_bucket_size": 0,
    "stage3_param_persistence_threshold": 0,
}
ENGINES = {
    "ddp": {"engine": "ddp"},
    "ddp, accumulate": {"engine": "ddp", "accumulate": 2},
    "stage 0": {"engine": "deepspeed", "stage": 0},
    "stage 1": {"engine": "deepspeed", "stage": 1},
    "stage 2": {"engine": "deepspeed", "stage": 2},
    "stage 2, reduce": {
        "engine": "deepspeed",
        "stage": 2,
        "zero": {"use_multi_rank_bucket_allreduce": False},
    },
    "stage 3": {"engine": "deepspeed", "stage": 3},
    "stage 3, threshold 0": {
        "engine": "deepspeed",
        "stage": 3,
        "zero": {"stage3_param_persistence_threshold": 0},
    },
    "stage 3, tight": {"engine": "deepspeed", "stage": 3, "zero": TIGHT},
    "ddp, order": {"engine": "ddp", "bucket": 50_000, "gradients": True},
    "stage 2, order": {
        "engine": "deepspeed",
        "stage": 2,
        "gradients": True,
        "zero": {"reduce_bucket_size": 50_000},
    },
    "stage 1, accumulate": {"engine": "deepspeed", "stage": 1, "accumulate": 2},
    "stage 2, accumulate": {"engine": "deepspeed", "stage": 2, "accumulate": 2},
}
TIED = 2 * 256 * 64 / 406592  # the embedding is the head too
EXPECTED = {  # passes of the last step, in multiples of the parameters, by collective
    "ddp": {"all_reduce": 1},
    "ddp, accumulate": {"all_reduce": 1},
    "stage 0": {"all_reduce": 1},
    "stage 1": {"all_reduce": 1, "all_gather": 1},
    "stage 2": {"all_reduce": 1, "all_gather": 1},
    "stage 2, reduce": {"reduce": 1, "all_gather": 1},
    "stage 3, threshold 0": {"all_gather": 1, "reduce_scatter": 1},
    "stage 3, tight": {"all_gather": 2 + TIED, "reduce_scatter": 1},
    "stage 1, accumulate": {"all_reduce": 1, "all_gather": 1},
    "stage 2, accumulate": {"all_reduce": 2, "all_gather": 1},
}


@pytest.fixture(scope="module")
def by_hand():
    configs = COLLECTIVES + ZERO
    return launch("labs.ranks.traffic_hand", world_size=N, configs=configs, timeout=200.0, env=ENV)


@pytest.fixture(scope="module")
def engines():
    results = launch(
        "labs.ranks.traffic_engines",
        world_size=N,
        configs=list(ENGINES.values()),
        timeout=300.0,
        env=ENV,
    )
    return {name: ranks[0] for name, ranks in zip(ENGINES, results, strict=True)}


@pytest.mark.parametrize("index", range(len(COLLECTIVES)))
def test_every_algorithm_sums_and_sends_its_bytes(by_hand, index):
    config = COLLECTIVES[index]
    ranks, size = config["ranks"], 4 * ELEMENTS
    results = [r for r in by_hand[index] if r]
    assert len(results) == ranks and all(r["exact"] for r in results)
    sent = [r["sent"] for r in results]
    assert sent == [r["received"] for r in results]
    if config["algorithm"] == "star":
        assert sent == [(ranks - 1) * size] + [size] * (ranks - 1)
    else:
        assert sent == [2 * (ranks - 1) * size // ranks] * ranks
        per_pass = ranks - 1 if config["algorithm"] == "ring" else ranks.bit_length() - 1
        assert [r["messages"] for r in results] == [2 * per_pass] * ranks


@pytest.mark.parametrize("index", range(len(ZERO)))
def test_passes_of_a_step(by_hand, index):
    stage, k = ZERO[index]["stage"], ZERO[index]["accumulate"]
    passes = {0: 2, 1: 2, 2: k + 1, 3: 3 * k}[stage]
    for result in by_hand[len(COLLECTIVES) + index]:
        assert sum(result["sent"].values()) == passes * (N - 1) * result["padded"] * 4 // N
        assert result["updated"] == result["padded"] // (N if stage else 1)


@pytest.mark.parametrize("name", EXPECTED)
def test_collectives_of_engines(engines, name):
    result = engines[name]
    seen = by_name(result["steps"][-1], least=100)
    assert set(seen) == set(EXPECTED[name])
    for collective, multiple in EXPECTED[name].items():
        assert seen[collective] / result["elements"] == pytest.approx(multiple, rel=4e-3)


def test_a_tied_embedding_is_gathered_at_every_use(engines):
    gathered = by_name(engines["stage 3, tight"]["steps"][-1])["all_gather"]
    tied = CONFIG.vocab_size * CONFIG.d_model
    assert gathered == 2 * engines["stage 3, tight"]["elements"] + 2 * tied


@pytest.mark.parametrize("name", ["ddp, order", "stage 2, order"])
def test_reduction_begins_before_the_last_gradient(engines, name):
    calls = [c for c in engines[name]["steps"][-1] if c[1] >= 64]
    order = [what for what, _ in calls if what in ("gradient", "all_reduce")]
    last = len(order) - 1 - order[::-1].index("gradient")
    assert 3 <= order[:last].count("all_reduce") < order.count("all_reduce")
    assert by_name(calls)["gradient"] == engines[name]["elements"]


def test_all_train_the_same(engines):
    for name in ENGINES:
        if "accumulate" not in name:
            assert engines[name]["losses"] == pytest.approx(engines["ddp"]["losses"], abs=5e-6)


def test_counting():
    calls = [("all_reduce", 10), ("all_reduce", 1), ("all_gather", 10)]
    assert by_name(calls, least=2) == {"all_reduce": 10, "all_gather": 10}
    assert ring_passes(calls, 10, least=2) == 3
    assert elements_of([torch.zeros(2, 3), [torch.zeros(4)]]) == 10
