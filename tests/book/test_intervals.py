"""Student's intervals over runs, plain, paired and of one run more."""

import numpy as np
import pytest
from scipy import stats

from amrbook.intervals import paired_t_interval, t_interval, within_prediction_interval


def test_interval_is_students():
    runs = np.random.default_rng(0).normal(size=(6, 3))
    mean, half = t_interval(runs)
    for n in range(3):
        low, high = stats.ttest_1samp(runs[:, n], 0).confidence_interval(0.95)
        assert (mean[n] - half[n], mean[n] + half[n]) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="two runs"):
        t_interval([1.0])


def test_a_pair_is_scipys_paired_test():
    a, b = np.array([0.3, 0.5, 0.4, 0.45]), np.array([0.2, 0.45, 0.3, 0.35])
    mean, half, p = paired_t_interval(a, b)
    assert mean == pytest.approx((a - b).mean()) and p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert half == pytest.approx(stats.t.ppf(0.975, 3) * stats.sem(a - b))
    assert paired_t_interval(a, a) == (0.0, 0.0, 1.0) and paired_t_interval([1, 2], [0, 1]) == (1.0, 0.0, 0.0)


def test_one_run_more_lies_in_the_prediction_interval_as_often_as_it_should():
    rng = np.random.default_rng(0)
    runs = rng.normal(0.5, 0.1, (2000, 11))
    inside = [within_prediction_interval(row[:10], row[10]) for row in runs]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    assert not within_prediction_interval([0.5, 0.51, 0.49, 0.5], 0.6)
    assert within_prediction_interval([0.5, 0.5], 0.501, rounding=0.01)
