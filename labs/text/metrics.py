"""Measures that more than one chapter needs: bits per byte, calibration error, intervals.

What scikit-learn and sacrebleu have (precision, recall, AUC, BLEU, chrF) is taken from there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Total loss of a text in bits, for each of its bytes: comparable between tokenizers.

    Gao et al., The Pile (2020), sec. 3.1.
    """
    return nats / math.log(2) / n_bytes


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean over all cases of |accuracy - confidence|.

    Both are means of the case's bin; bins of equal width on [0, 1].
    confidence, correct: (N,). Guo et al. (2017), eq. 3.
    """
    confidence = np.asarray(confidence, float)
    correct = np.asarray(correct, float)
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(place, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def wilson_interval(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval for a proportion, 95 % by default: all p with |p̂ - p| <= z sqrt(p (1 - p) / n).

    Wilson (1927). Unlike p̂ ± z sqrt(p̂ (1 - p̂) / n) it stays within [0, 1], also for 0 of n.
    """
    p, shrink = successes / n, 1 / (1 + z * z / n)
    centre = shrink * (p + z * z / (2 * n))
    half = shrink * z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def resampled_means(values: ArrayLike, resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Means of `resamples` bootstrap samples of `values` (N,) or (N, M): (resamples,) or (…, M).

    All columns share each sample, so statistics of several columns (a difference of two systems,
    BLEU from its counts) are paired. Efron (1979); for BLEU, Koehn (2004).
    """
    values = np.asarray(values, float)
    n = len(values)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return weights @ values / n
