"""A batch shared by two ranks: the same steps as on one, at the price of the gradients' bytes."""

import numpy as np
import pytest

from labs.ranks.launch import launch_named

STEP = {"batch": 4, "tokens": 16, "steps": 3}


@pytest.fixture(scope="module")
def runs():
    plan = {ranks: {**STEP, "ranks": ranks} for ranks in (1, 2)}
    options = {"timeout": 120.0, "env": {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}}
    return launch_named("labs.ranks.shared_batch", plan, world_size=2, **options)


def test_two_ranks_train_the_model_of_one(runs):
    one, two = runs[1][0]["weights"], runs[2]
    np.testing.assert_array_equal(two[0]["weights"], two[1]["weights"])
    np.testing.assert_allclose(two[0]["weights"], one, atol=1e-6)


def test_a_rank_sends_its_gradients_once_in_two_messages(runs):
    alone, other = runs[1]
    assert other == {} and alone["sent"] == alone["messages"] == 0
    for rank in runs[2]:
        assert rank["sent"] == 4 * rank["parameters"] and rank["messages"] == 2


def test_times_are_of_the_whole_step_and_of_its_part(runs):
    for rank in (runs[1][0], *runs[2]):
        assert 0 < rank["adding"] < rank["seconds"]
