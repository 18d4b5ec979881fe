"""Numbers and ids that a call was given."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["item_ids", "whole_number"]


def whole_number(value: Any, name: str, lowest: int, highest: int | None = None) -> int:
    """``value`` as a Python int; NumPy's integers are whole numbers too, True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise ValueError(f"{name} must be a whole number of at least {lowest}, not {value!r}")
    if highest is not None and value > highest:
        raise ValueError(f"{name} must be a whole number between {lowest} and {highest}, not {value!r}")
    return int(value)


def item_ids(items: Any, n_items: int, name: str = "items") -> np.ndarray:
    """Distinct item ids, ascending, int64."""
    ids = np.atleast_1d(np.asarray(items))
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be item ids, whole numbers in one list, not {ids.dtype} {ids.shape}")
    wrong = ids[(ids < 0) | (ids >= n_items)]
    if len(wrong):
        raise ValueError(f"{name}: item {wrong[0]} is outside 0…{n_items - 1}")
    return np.unique(ids).astype(np.int64)
