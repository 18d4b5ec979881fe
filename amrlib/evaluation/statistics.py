"""Intervals and the correction of sampled measures: functions of arrays, one number a user."""

from functools import lru_cache

import numpy as np
from scipy import special

from ..checks import whole_number
from .ranks import gains


def bootstrap(values: np.ndarray, level: float = 0.95, n: int = 2000, seed: int = 0) -> tuple[float, float, np.ndarray]:
    """The percentile interval of the mean: its ends, and the means (n,) of ``values`` drawn again with replacement."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}")
    if len(values) < 2:
        raise ValueError("an interval over users needs at least two users")
    n = whole_number(n, "n", 1)
    rng = np.random.default_rng(whole_number(seed, "seed", 0))
    means = np.empty(n)
    step = max(1, 2**22 // len(values))  # 32 MiB of places at a time
    for start in range(0, n, step):
        places = rng.integers(0, len(values), (min(step, n - start), len(values)))
        means[start : start + step] = values[places].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), means


def correction(measure: str, k: int, R: int, n: int, gamma: float) -> np.ndarray:
    """f̂ (n + 1,), by sampled rank, of :meth:`amrlib.evaluation.Report.corrected`, for ``"hr"``, ``"ndcg"`` or ``"mrr"``."""
    ranks, solver = correction_solver(R, n, gamma)
    return solver @ gains(measure, ranks, k)


@lru_cache(maxsize=2)
def correction_solver(R: int, n: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks r (m,) and the matrix (n + 1, m) that takes f_r to f̂. Far down, where A changes slowly, one rank
    stands for its neighbours, so that m stays near 4,000 in any catalogue."""
    r = np.unique(np.concatenate([np.arange(min(R + 1, 1000)), np.linspace(0, R, 3000).round()])).astype(np.int64)
    share = np.diff((r[1:] + r[:-1]) / 2, prepend=-0.5, append=R + 0.5) / (R + 1)  # (m,) how many it stands for
    # P(s | r) = C(r, s) C(R−r, n−s) / C(R, n), from a table of ln m!: scipy's own pmf takes minutes here
    table = special.gammaln(np.arange(R + 1) + 1.0)  # (R + 1,)
    s, r_ = np.arange(n + 1), r[:, None]
    possible = (s <= r_) & (n - s <= R - r_)  # (m, n + 1)
    ahead, behind = np.maximum(r_ - s, 0), np.maximum(R - r_ - n + s, 0)
    log_A = table[r_] - table[s] - table[ahead] + table[R - r_] - table[n - s] - table[behind]
    A = np.where(possible, np.exp(np.where(possible, log_A - table[R] + table[n] + table[R - n], 0.0)), 0.0)
    A_t = (A * share[:, None]).T
    return r, np.linalg.solve((1 - gamma) * A_t @ A + gamma * np.diag(A_t.sum(1)), A_t)
