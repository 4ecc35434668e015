"""Data parallelism by hand and in an engine: one launch of four ranks."""

from itertools import chain

import numpy as np
import pytest
import torch

from labs.ranks.launch import launch
from labs.ranks.replicas import mask_padding, summed_loss
from labs.ranks.tensor_parallel import own_piece
from labs.ranks.workload import batch_of, next_token_loss, small_gpt
from tests.one_process import adam_losses

BATCH, RANKS = 8, 4
LENGTHS = [64, 64, 64, 64, 8, 8, 8, 8]
PLAN = {
    "place": {"run": "place"},
    "two": {"run": "gradient", "ranks": 2, "batch": BATCH},
    "four": {"run": "gradient", "ranks": 4, "batch": BATCH},
    "means": {"run": "gradient", "ranks": 4, "batch": BATCH, "lengths": LENGTHS},
    "tokens": {"run": "gradient", "ranks": 4, "batch": BATCH, "lengths": LENGTHS,
               "weighting": "tokens"},
    "engine": {"run": "engine gradient", "stage": 2, "batch": BATCH, "lengths": LENGTHS,
               "weighting": "tokens"},
    "replicas": {"run": "replicas", "ranks": 4, "batch": BATCH, "steps": 2, "seeds": "own"},
    "strangers": {"run": "replicas", "ranks": 4, "batch": BATCH, "steps": 2, "seeds": "own",
                  "copy": False},
    "grid": {"run": "grid", "tensor": 2, "batch": BATCH, "steps": 2},
    "triples": {"run": "triples", "cases": [[16, 4, None], [12, 4, 1]]},
    "loader": {"run": "loader", "samples": 11, "micro_batch": 2, "epochs": 2, "set_epoch": True},
    "fp32": {"run": "precision", "precision": "fp32", "batch": 2},
    "mixed": {"run": "precision", "precision": "mixed", "batch": 2},
    "times": {"run": "all-reduce", "ranks": 2, "elements": [10, 100], "repeats": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    results = launch(
        "labs.ranks.scaling_runs",
        world_size=RANKS,
        configs=list(PLAN.values()),
        timeout=300.0,
        env={"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
    )
    return dict(zip(PLAN, results, strict=True))


def whole_gradient(lengths=None):
    model, (ids, targets) = small_gpt(), batch_of(0, 0, 1, BATCH)
    if lengths:
        targets = mask_padding(targets, lengths)
    total, count = summed_loss(model, ids, targets)
    (total / count).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).numpy()


def off(found, whole):
    return np.linalg.norm(found - whole) / np.linalg.norm(whole)


def test_padding_is_masked_and_the_sum_over_its_number_is_the_mean():
    ids, targets = batch_of(0, 0, 1, 2)
    masked = mask_padding(targets, [3, 64])
    assert (masked == -100).sum() == 61 and torch.equal(masked[0, :3], targets[0, :3])
    total, count = summed_loss(small_gpt(), ids, targets)
    assert count == targets.numel()
    assert torch.allclose(total / count, next_token_loss(small_gpt(), ids, targets))


@pytest.mark.parametrize("name", ["two", "four"])
def test_the_mean_gradient_is_the_batchs(runs, name):
    assert off(runs[name][0]["gradient"], whole_gradient()) < 1e-6


def test_unequal_token_counts_need_weights(runs):
    whole = whole_gradient(LENGTHS)
    assert [r["tokens"] for r in runs["means"]] == [128, 128, 16, 16]
    assert off(runs["means"][0]["gradient"], whole) > 0.1
    assert off(runs["tokens"][0]["gradient"], whole) < 1e-6
    assert off(runs["engine"][0]["gradient"], whole) < 1e-4


def test_a_copy_at_the_start_is_what_keeps_ranks_together(runs):
    assert runs["replicas"][0]["ranks_apart"] == 0.0
    assert runs["strangers"][0]["ranks_apart"] > 0.01
    assert set(runs["replicas"][0]["in_training"]["kinds"]) == {"all_reduce"}
    assert runs["strangers"][0]["at_start"]["bytes"] == 0


def test_a_grid_trains_as_one_process(runs):
    model = small_gpt()
    losses = adam_losses(model, 2, BATCH)
    grid = runs["grid"]
    assert np.allclose(grid[0]["losses"], losses, atol=1e-5)
    assert [r["tensor_group"] for r in grid] == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert [r["data_group"] for r in grid] == [[0, 2], [1, 3], [0, 2], [1, 3]]
    name, whole = "blocks.0.mlp.up.weight", dict(model.named_parameters())
    for rank, result in enumerate(grid):
        piece = own_piece(name, whole[name], 2, rank % 2).detach().numpy()
        assert np.abs(result["weights"][name] - piece).max() < 1e-4


def test_deepspeed_resolves_or_refuses_a_batch(runs):
    assert runs["triples"][0] == [[16, 4, 1], None]


def test_the_loader_deals_out_all_samples_in_one_order(runs):
    epochs = [[list(chain(*epoch)) for epoch in r["epochs"]] for r in runs["loader"]]
    dealt = sorted(chain(*(own[0] for own in epochs)))
    assert len(dealt) == 12 and set(dealt) == set(range(11))
    assert all(own[0] == own[1] != own[2] for own in epochs)
    assert runs["loader"][0]["workers"] == 2 and runs["loader"][0]["inside"]


def test_half_the_bytes_travel_in_16_bit_and_the_states_are_as_large(runs):
    full, mixed = runs["fp32"][0], runs["mixed"][0]
    assert full["sent"] == 2 * mixed["sent"] == 4 * full["elements"]
    assert sum(full["states"].values()) == sum(mixed["states"].values()) == 16 * full["elements"]
    assert mixed["saved"] < 0.7 * full["saved"]


def test_ranks_on_the_cpu_see_no_gpu_and_times_are_positive(runs):
    assert [r["RANK"] for r in runs["place"]] == ["0", "1", "2", "3"]
    assert all(seconds > 0 for seconds in runs["times"][0]["seconds"])
    assert runs["times"][2] == {}
