"""Arguments that every room takes, checked in one place; an error names the argument and what it may be."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["item_ids", "number", "one_of", "whole_number"]


def whole_number(value: Any, name: str, lowest: int, highest: int | None = None, of: str = "{}") -> int:
    """``value`` as a Python int; NumPy's integers are whole numbers, truth values are not.

    ``of`` says in the message what ``highest`` is, e.g. ``"the catalogue's {} items"``.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        if lowest <= int(value) and (highest is None or int(value) <= highest):
            return int(value)
    allowed = f"of at least {lowest}" if highest is None else f"between {lowest} and {of.format(highest)}"
    raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")


def number(value: Any, name: str, lowest: float = 0.0) -> float:
    """``value`` as a finite Python float of at least ``lowest``."""
    try:
        result = np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        result = np.nan
    if not np.isfinite(result) or result < lowest:
        raise ValueError(f"{name} must be a finite number of at least {lowest:g}, not {value!r}")
    return result


def one_of(value: Any, name: str, words: Sequence[str]) -> None:
    """Raise unless ``value`` is one of ``words``."""
    if value not in words:
        raise ValueError(f"{name} must be {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {value!r}")


def item_ids(items: Any, n_items: int, name: str = "items") -> np.ndarray:
    """Distinct item ids, ascending, int64; one item may come without a list, and no item is an empty array."""
    ids = np.atleast_1d(np.asarray(items))
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be item ids, whole numbers in one list, not {ids.dtype} {ids.shape}")
    ids = np.unique(ids)
    if ids[0] < 0 or ids[-1] >= n_items:
        raise ValueError(f"{name}: item {ids[0] if ids[0] < 0 else ids[-1]} is outside 0…{n_items - 1}")
    return ids.astype(np.int64)
