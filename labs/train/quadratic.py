"""SGD on a noisy quadratic: the expected loss under any schedule, exactly.

A noisy quadratic model in the manner of Zhang et al. (2019): loss ½ Σ h_i x_i², a gradient with
noise of variance `NOISE · h_i` in direction i, so noisier where the loss is steeper. One step with
rate η changes the expected square s_i of x_i to (1 - η h_i)² s_i + η² NOISE h_i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CURVATURES = 10.0 ** np.linspace(0, -3, 16)  # (16,): the steepest direction diverges from η = 2
NOISE = 0.1


def expected_losses(rates: Sequence[float]) -> np.ndarray:
    """Expected loss after each step, (steps,), from x_i = 1 in all directions."""
    squares, losses = np.ones_like(CURVATURES), []
    with np.errstate(over="ignore"):  # a rate beyond 2 / h diverges to infinity
        for rate in rates:
            squares = (1 - rate * CURVATURES) ** 2 * squares + rate**2 * NOISE * CURVATURES
            losses.append(0.5 * float(CURVATURES @ squares))
    return np.array(losses)


def simulated_losses(rates: Sequence[float], runs: int, seed: int) -> np.ndarray:
    """Losses of real runs of SGD with Gaussian gradient noise, (runs, steps)."""
    generator = np.random.default_rng(seed)
    x, losses = np.ones((runs, len(CURVATURES))), []
    for rate in rates:
        noise = np.sqrt(NOISE * CURVATURES) * generator.standard_normal(x.shape)
        x = x - rate * (CURVATURES * x + noise)
        losses.append(0.5 * (x**2) @ CURVATURES)
    return np.stack(losses, axis=1)


def noise_floor(rate: float) -> float:
    """The loss at which a constant rate below 2 / h stays: ½ Σ η NOISE h_i / (2 - η h_i)."""
    return 0.5 * float(np.sum(rate * NOISE * CURVATURES / (2 - rate * CURVATURES)))
