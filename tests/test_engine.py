"""Helpers of rank scripts with DeepSpeed: any split of a batch, any stage, one update."""

import numpy as np
import pytest
import torch

from labs.ranks.launch import launch, run_configs
from labs.ranks.workload import small_gpt
from tests.one_process import adam_losses

BATCH, STEPS, RANKS = 8, 3, 2
SPLITS = [(0, 4, 1), (1, 2, 2), (2, 1, 4), (3, 2, 2)]  # stage, micro batch, micro-steps
LR = 1e-3


def run(config: dict, rank: int, world_size: int) -> dict:
    """One engine of this test, on every rank."""
    from labs.ranks.engine import (
        deepspeed_config,
        engine_for,
        flat,
        full_weights,
        furthest_ranks,
        train_steps,
    )

    stage, micro_batch, accumulate = config.pop("split")
    settings = deepspeed_config(
        stage, micro_batch=micro_batch, accumulate=accumulate, lr=LR, **config
    )
    with engine_for(small_gpt(), settings) as engine:
        trace = train_steps(engine, range(STEPS), BATCH)
        weights = flat(full_weights(engine))
        own = torch.full((3,), float(rank))
        return {
            **trace,
            "weights": weights,
            "ranks_apart": furthest_ranks(weights),
            "own_apart": furthest_ranks(own),
        }


@pytest.fixture(scope="module")
def runs():
    configs = [{"split": split} for split in SPLITS] + [{"split": SPLITS[1], "bf16": None}]
    env = {"OMP_NUM_THREADS": "1"}
    return launch(__file__, world_size=RANKS, configs=configs, timeout=200.0, env=env)


@pytest.fixture(scope="module")
def by_hand():
    """The plain loop on the whole batch: losses and weights."""
    model = small_gpt()
    losses = adam_losses(model, STEPS, BATCH, LR)
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()


@pytest.mark.parametrize("index", range(len(SPLITS) + 1))
def test_any_stage_and_split_is_the_plain_loop(runs, by_hand, index):
    losses, weights = by_hand
    for result in runs[index]:
        assert result["losses"] == pytest.approx(losses, abs=2e-6)
        # Adam divides by the root of the squared gradient: rounding of a gradient near zero moves
        # its weight by a part of the learning rate.
        apart = np.abs(result["weights"] - weights)
        assert apart.mean() < 1e-2 * LR and np.quantile(apart, 0.999) < 0.1 * LR
        assert result["lrs"] == [LR] * STEPS


def test_ranks_are_compared(runs):
    for result in runs[0]:
        assert result["ranks_apart"] == 0.0
        assert result["own_apart"] == RANKS - 1


def test_stages_1_to_3_report_the_norm_of_the_gradient(runs):
    norms = [runs[index][0]["norms"] for index in (1, 2, 3)]
    assert all(n > 0 for trace in norms for n in trace)
    for trace in norms[1:]:
        assert trace == pytest.approx(norms[0], rel=1e-4)


if __name__ == "__main__":
    import deepspeed  # noqa: F401 (with it, run_configs joins through DeepSpeed)

    run_configs(run)
