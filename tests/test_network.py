"""The alpha-beta model: limits and orders that hold whatever the constants."""

import math

import pytest

from labs.ranks.network import (
    GB,
    Network,
    Setup,
    pass_seconds,
    passes,
    queue,
    star_seconds,
    step,
    tree_seconds,
    zeropp_passes,
)

NET = Network(alpha=10e-6, bandwidth=50 * GB)


def test_a_pass_is_latency_and_bandwidth():
    assert pass_seconds(8e9, 4, NET) == pytest.approx(3 * 10e-6 + 6e9 / 50e9)
    assert pass_seconds(8e9, 4, NET, "halving", buffers=5) == pytest.approx(5 * 2e-5 + 6e9 / 50e9)


def test_with_two_ranks_all_algorithms_are_near():
    ring = 2 * pass_seconds(1e9, 2, NET)
    assert 2 * pass_seconds(1e9, 2, NET, "halving") == ring
    assert star_seconds(1e9, 2, NET) == tree_seconds(1e9, 2, NET) == 2 * NET.seconds(1e9)


def test_the_ring_wins_on_large_buffers_and_the_tree_on_small_ones():
    for ranks in (8, 64, 1024):
        times = [
            [2 * pass_seconds(n, ranks, NET), tree_seconds(n, ranks, NET)] for n in (1e3, 14e9)
        ]
        assert times[0][1] < times[0][0] and times[1][0] < times[1][1]
        assert star_seconds(14e9, ranks, NET) > 0.49 * ranks * times[1][0]


def test_passes_of_the_paper():
    totals = {stage: sum(passes(stage).values()) for stage in range(4)}
    assert totals == {0: 2, 1: 2, 2: 2, 3: 3}
    assert [sum(passes(stage, 8).values()) for stage in range(4)] == [2, 2, 9, 24]
    with pytest.raises(KeyError):
        passes(4)


def test_overlap_hides_at_most_the_compute():
    for stage in range(4):
        for tokens in (256, 4096, 65536):
            base = {"parameters": 7e9, "ranks": 64, "stage": stage, "tokens": tokens}
            hidden, shown = step(Setup(**base)), step(Setup(**base, overlap=False))
            assert shown.exposed == pytest.approx(shown.communication)
            assert hidden.exposed <= shown.exposed <= hidden.exposed + hidden.compute + 1e-12
            assert hidden.sent == shown.sent and 0 < hidden.efficiency <= 1


def test_stage_3_is_hidden_from_the_ratio_of_compute_to_bandwidth():
    """A pass takes 2·parameters / B, forward 2·parameters·tokens / F: equal at tokens = F / B."""
    free = Network(alpha=0.0, bandwidth=50 * GB)
    edge = 400e12 / (50 * GB)
    for tokens, all_hidden in ((int(0.95 * edge), False), (int(1.05 * edge), True)):
        setup = Setup(7e9, 10**6, 3, tokens, network=free)
        assert (step(setup).exposed == 0.0) == all_hidden


def test_a_queue_waits_for_data_and_for_the_link():
    assert queue([0, 1, 5], [2, 2, 1]) == [(0, 2), (2, 4), (5, 6)]


def test_zeropp_sends_a_quarter():
    plain, fast = (sum(p.values()) for p in zeropp_passes().values())
    assert (plain, fast) == (3, 0.75) and math.isclose(fast / plain, 0.25)
