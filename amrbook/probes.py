"""Linear probes: how much of a property can be read off features by a linear map, on items that were not used for the fit.

With centred features ``A`` (n, D), scaled by one number, and centred properties ``B`` (n, t), ridge regression gives::

    W = (AᵀA + ρ n I)⁻¹ Aᵀ B                                                                   (D, t)

A linear model can use what a linear probe can read.
"""

from __future__ import annotations

import numpy as np

__all__ = ["explained", "probe", "r_squared"]

RIDGE = 1e-2  # ρ, the same wherever the book probes


def probe(features: np.ndarray, properties: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit ``properties`` (N, t) from ``features`` (N, D) on a random half of the items.

    Returns
    -------
    held, predicted : (N − N // 2, t) each
        The properties of the other half, and what the fit says of them.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(properties, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"features must be (N, D) and properties (N, t) of the same items, not {x.shape} and {y.shape}")
    order = np.random.default_rng(seed).permutation(len(x))
    fit, rest = order[: len(x) // 2], order[len(x) // 2 :]
    mean, scale = x[fit].mean(0), x[fit].std() + 1e-12
    A, B = (x[fit] - mean) / scale, y[fit] - y[fit].mean(0)  # (n, D), (n, t)
    W = np.linalg.solve(A.T @ A + RIDGE * len(A) * np.eye(A.shape[1]), A.T @ B)  # (D, t)
    return y[rest], (x[rest] - mean) / scale @ W + y[fit].mean(0)


def r_squared(y: np.ndarray, predicted: np.ndarray) -> float:
    """The share of the variance of ``y`` (n, t) that was predicted, all columns together; below 0 is worse than the mean."""
    y = np.asarray(y, dtype=np.float64)  # a sum in half precision stops growing long before it ends
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())


def explained(features: np.ndarray, properties: np.ndarray, seed: int) -> float:
    """:func:`r_squared` of a :func:`probe`."""
    return r_squared(*probe(features, properties, seed))
