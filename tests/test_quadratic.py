"""The noisy quadratic: the recursion is what SGD does on average, and ends at its noise floor."""

import numpy as np
import pytest

from labs.train.optim import warmup_stable_decay
from labs.train.quadratic import expected_losses, noise_floor, simulated_losses


def test_the_recursion_is_the_mean_of_runs():
    rates = [0.5] * 30 + [0.1] * 30
    runs = simulated_losses(rates, 4000, seed=0)
    error = runs.std(axis=0, ddof=1) / 4000**0.5
    assert np.all(np.abs(runs.mean(axis=0) - expected_losses(rates)) < 5 * error)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.5])
def test_a_constant_rate_ends_at_its_floor(rate):
    assert expected_losses([rate] * 80_000)[-1] == pytest.approx(noise_floor(rate), rel=1e-6)


def test_two_over_the_steepest_curvature_is_the_edge():
    assert expected_losses([1.99] * 500)[-1] < expected_losses([2.01] * 500)[-1]
    assert expected_losses([2.5] * 500)[-1] > 1e30


def test_warmup_stable_decay():
    rates = [warmup_stable_decay(s, steps=100, peak=2.0, warmup=4) for s in range(110)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0] and set(rates[4:80]) == {2.0}
    assert rates[89] == pytest.approx(1.0) and rates[99:] == [0.0] * 11
    longer = [warmup_stable_decay(s, steps=200, peak=2.0, warmup=4) for s in range(160)]
    assert longer[:80] == rates[:80]
    assert warmup_stable_decay(99, steps=100, peak=2.0, warmup=4, min_ratio=0.1) == pytest.approx(
        0.2
    )
