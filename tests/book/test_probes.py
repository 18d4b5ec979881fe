"""The probe against least squares written out, and on properties that are and are not in the features."""

import numpy as np
import pytest

from amrbook.probes import RIDGE, explained, probe, r_squared


def made(n=400, D=6):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, D)) + 3
    return x, x @ rng.normal(size=(D, 2)), rng.normal(size=(n, 2))


def test_it_is_ridge_regression_on_one_half():
    x, y, _ = made()
    order = np.random.default_rng(5).permutation(len(x))
    fit, rest = order[:200], order[200:]
    scale = x[fit].std() + 1e-12
    # the same by ordinary least squares on rows that stand for the penalty
    A = np.vstack([(x[fit] - x[fit].mean(0)) / scale, np.sqrt(RIDGE * 200) * np.eye(6)])
    B = np.vstack([y[fit] - y[fit].mean(0), np.zeros((6, 2))])
    W = np.linalg.lstsq(A, B, rcond=None)[0]
    held, predicted = probe(x, y, seed=5)
    assert np.array_equal(held, y[rest])
    assert np.allclose(predicted, (x[rest] - x[fit].mean(0)) / scale @ W + y[fit].mean(0), atol=1e-10)


def test_it_finds_what_is_there_and_nothing_else():
    x, there, noise = made()
    assert explained(x, there, seed=1) > 0.99
    assert -0.2 < explained(x, noise, seed=1) < 0.02


def test_r_squared_by_hand():
    assert r_squared(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])) == 0  # no better than the mean
    assert r_squared(np.array([[0.0], [2.0]]), np.array([[0.0], [2.0]])) == 1


def test_half_precision_changes_nothing():
    y = np.random.default_rng(0).normal(size=(20_000, 1)).astype(np.float16)
    predicted = np.zeros((20_000, 1))
    assert abs(r_squared(y, predicted) - r_squared(y.astype(np.float64), predicted)) < 1e-12


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="of the same items"):
        probe(np.ones((4, 2)), np.ones(4), 0)
