"""Measures against their definitions, and against what they promise."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from labs.text.metrics import bits_per_byte, calibration_error, resampled_means, wilson_interval


def test_bits_per_byte_of_a_fair_coin_per_byte():
    assert bits_per_byte(10 * math.log(2), 10) == pytest.approx(1.0)


def test_calibration_error_by_hand():
    # bin 0.5-0.6: confidence .55, half right; bin 0.9-1.0: confidence .95, all wrong
    confidence, correct = [0.55, 0.55, 0.95, 0.95], [1, 0, 0, 0]
    assert calibration_error(confidence, correct, bins=10) == pytest.approx((0.05 + 0.95) / 2)


def test_a_calibrated_forecast_has_no_error_and_certainty_has_a_bin():
    assert calibration_error([0.25] * 4, [1, 0, 0, 0]) == pytest.approx(0)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0


@pytest.mark.parametrize("n", [5, 40, 198])
def test_wilson_solves_its_equation(n):
    z = 1.959964
    for k in range(n + 1):
        low, high = wilson_interval(k, n)
        assert -1e-12 <= low < high <= 1 + 1e-12
        for p in (low, high):
            assert abs(k / n - p) == pytest.approx(z * math.sqrt(max(0, p * (1 - p)) / n), abs=1e-7)


def test_wilson_covers_where_wald_does_not():
    n, p = 40, 0.97
    k = np.arange(n + 1)
    weight = binom.pmf(k, n, p)
    wilson = np.array([low <= p <= high for low, high in (wilson_interval(int(i), n) for i in k)])
    wald = np.abs(k / n - p) <= 1.96 * np.sqrt(k / n * (1 - k / n) / n)
    assert weight[wald].sum() < 0.75 < 0.9 < weight[wilson].sum()


def test_resampled_means_have_the_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    means = resampled_means(values, resamples=4000)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert means.mean() == pytest.approx(values.mean(), abs=0.005)


def test_columns_share_their_samples():
    values = np.random.default_rng(2).normal(size=(50, 1))
    means = resampled_means(np.hstack([values, values + 3]), resamples=20)
    assert means.shape == (20, 2)
    assert np.allclose(means[:, 1] - means[:, 0], 3)
