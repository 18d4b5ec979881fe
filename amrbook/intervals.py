"""Intervals over independent runs, by Student's t. Nothing here draws or knows where the runs come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special  # not scipy.stats, which takes most of a second to load


def t_interval(values: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs and the half width of its 95 % interval (Student's t over the runs), along ``axis``."""
    a = np.asarray(values, dtype=float)
    n = a.shape[axis]
    if n < 2:
        raise ValueError("an interval needs at least two runs")
    return a.mean(axis), special.stdtrit(n - 1, 0.975) * a.std(axis, ddof=1) / np.sqrt(n)


def paired_t_interval(a: Any, b: Any) -> tuple[float, float, float]:
    """The difference a − b, run by run: mean, half width of its 95 % interval, p of the paired t-test (two-sided).

    ``a`` and ``b`` are (runs,), run n of both with the same seed. That seed drew both models' shop and triples, so the
    difference is taken before the mean.
    """
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    mean, half = t_interval(difference)
    if np.ptp(difference) == 0:  # the test divides by the spread
        return float(mean), float(half), float(not difference.any())
    n = len(difference)
    t = mean / (difference.std(ddof=1) / np.sqrt(n))
    return float(mean), float(half), float(2 * special.stdtr(n - 1, -abs(t)))


def within_prediction_interval(values: Any, another: float, rounding: float = 0.0) -> bool:
    """Whether ``another`` run is what the runs ``values`` (n,) let one expect.

    It has to lie in their 95 % prediction interval, mean ± t s √(1 + 1/n), which is that of the mean with the scatter
    of a single run added, or within ``rounding`` of it.
    """
    mean, half = t_interval(values)
    return bool(abs(float(another) - mean) <= half * np.sqrt(len(values) + 1) + rounding)
