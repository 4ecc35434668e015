"""The planner: parts that other modules compute, limits, and a search that really searches."""

import pytest

from labs.ranks.memory import activation_bytes, gpt_shape, state_bytes
from labs.ranks.network import GB, Network
from labs.ranks.plan import (
    KEEP,
    Cluster,
    Strategy,
    Work,
    activations,
    by_rule,
    estimate,
    fastest,
    strategies,
)

WORK = Work(7e9)


def test_activations_of_whole_replicas_are_those_of_the_memory_model():
    whole = activation_bytes(*gpt_shape(7e9), 4096, 1, KEEP[0])
    assert activations(7e9, 4096, 1, KEEP[0]) == pytest.approx(whole)
    kept = activation_bytes(*gpt_shape(7e9), 4096, 1, KEEP[1])
    layers = gpt_shape(7e9)[0]
    assert activations(7e9, 4096, 1, KEEP[1]) == pytest.approx(kept + whole / layers)
    assert 10 / 34 < activations(7e9, 4096, 8, KEEP[0]) / whole < 0.5


def test_states_are_divided_by_cut_and_by_stage():
    found = estimate(WORK, Cluster(64), Strategy(1, 4))
    assert found.states == pytest.approx(7e9 / 4 * state_bytes(1, 16).total)
    assert estimate(WORK, Cluster(64), Strategy(3)).gathered > found.gathered == 0


def test_one_gpu_has_no_traffic_and_all_strategies_share_one_batch():
    alone = estimate(WORK, Cluster(1), Strategy(0))
    assert alone.efficiency == 1 and alone.data_parallel == alone.tensor_parallel == 0
    for strategy in strategies(Cluster(64)):
        found = estimate(WORK, Cluster(64), strategy)
        assert found.batch == 64 * alone.batch
        assert found.useful == pytest.approx(alone.useful)
        assert found.seconds > found.useful and 0 < found.efficiency < 1


def test_recomputation_costs_a_third_of_the_compute():
    plain, again = (estimate(WORK, Cluster(8), Strategy(1, keep=keep)) for keep in KEEP)
    assert again.again == pytest.approx(again.useful / 3) and plain.again == 0
    assert again.memory < plain.memory


def test_a_cut_costs_traffic_in_each_layer():
    found = estimate(WORK, Cluster(8), Strategy(0, 8))
    layers, hidden, _ = gpt_shape(7e9)
    one = 2 * (7 * 3e-6 + 7 / 8 * 2 * 4096 * hidden / (450 * GB))
    assert found.tensor_parallel == pytest.approx(8 * 8 * layers * 4 * one)
    assert found.data_parallel == 0


@pytest.mark.parametrize(("gpus", "tensor"), [(4, 8), (6, 4), (64, 16)])
def test_impossible_cuts_are_refused(gpus, tensor):
    with pytest.raises(ValueError, match="cannot be cut"):
        estimate(WORK, Cluster(gpus), Strategy(0, tensor))


def test_the_search_finds_the_minimum_and_respects_memory():
    for size in (1.3e9, 13e9, 70e9):
        for gpus in (1, 8, 64):
            work, cluster = Work(size), Cluster(gpus)
            every = [estimate(work, cluster, s) for s in strategies(cluster)]
            fitting = [e.seconds for e in every if e.fits]
            found, rule = fastest(work, cluster), by_rule(work, cluster)
            assert (found is None) == (rule is None) == (not fitting)
            if found:
                assert found[1].seconds == min(fitting) <= rule[1].seconds
                assert found[1].fits and rule[1].fits
    assert fastest(Work(70e9), Cluster(8)) is None
    assert fastest(Work(7e9), Cluster(8, memory=24 * GB)) is not None


def test_faster_links_never_hurt():
    for bandwidth in (1, 10):
        slow, fast = (
            fastest(WORK, Cluster(64, between=Network(10e-6, b * bandwidth * GB)))[1]
            for b in (1, 5)
        )
        assert fast.seconds <= slow.seconds
