"""How many rivals reach a bar, in one reading of a tile of scores where torch takes three or more. It needs numba."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})  # sums of whole numbers, so any order will do
def count(
    s: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray, own: np.ndarray, out: np.ndarray, left: int,
    u: np.ndarray, v: np.ndarray, bar: np.ndarray, won: bool, beaten: np.ndarray,
) -> None:  # fmt: skip
    """Add to ``beaten`` (b,) the weights (w,) of the columns that reach each row's bar, less one for each of ``out`` that does.

    ``s`` (b, w) are float32 scores, written over. At ``high`` (b,) a column has reached the bar, and below ``low`` (b,) it has
    not; between the two ``u`` (b, K), ``v`` (w, K) and ``bar`` (b,) decide, in float64. ``own`` and ``out``, int (2, n), are
    rows and columns, counted from ``left``: of each row's own item, a tie however it is rounded, and of what does not count."""
    nothing, one = weight.dtype.type(0), weight.dtype.type(1)
    for t in range(own.shape[1]):
        s[own[0, t], own[1, t] - left] = -np.inf if won else np.inf
    for i in range(s.shape[0]):
        reached, perhaps, certain, possible = nothing, nothing, high[i], low[i]
        for j in range(s.shape[1]):
            reached += weight[j] if s[i, j] >= certain else nothing
            perhaps += nothing if s[i, j] < possible else weight[j]  # so would NaN, where float32 overflows
        beaten[i] += np.int64(reached)
        if perhaps > reached:
            for start in range(0, s.shape[1], 64):  # so many at a time are looked at side by side
                part = s[i, start : start + 64]
                doubtful = nothing
                for j in range(len(part)):
                    doubtful += nothing if part[j] >= certain or part[j] < possible else one
                if doubtful:
                    for j in range(len(part)):
                        if not (part[j] >= certain or part[j] < possible):
                            y = 0.0
                            for k in range(u.shape[1]):
                                y += u[i, k] * v[start + j, k]
                            ahead = y > bar[i] if won else y >= bar[i]
                            beaten[i] += np.int64(weight[start + j]) if ahead else 0
                            part[j] = np.inf if ahead else -np.inf
    for t in range(out.shape[1]):
        beaten[out[0, t]] -= s[out[0, t], out[1, t] - left] >= high[out[0, t]]
