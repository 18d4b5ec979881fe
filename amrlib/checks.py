"""Numbers, words and ids that a call was given: an error names the argument and what it may be."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def require(met: Any, message: str) -> None:
    """A ValueError with the ``message`` unless the condition is ``met``."""
    if not met:
        raise ValueError(message)


def whole_number(value: Any, name: str, lowest: int, highest: int | None = None, of: str = "{}") -> int:
    """``value`` as a Python int; NumPy's integers are whole numbers too, True and False are not. ``of`` says what ``highest``
    is, e.g. ``"the catalogue's {} items"``."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if whole and lowest <= value and (highest is None or value <= highest):
        return int(value)
    allowed = f"of at least {lowest}" if highest is None else f"between {lowest} and {of.format(highest)}"
    raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")


def list_length(k: Any, n_items: int, of: str = "{}") -> int:
    """``k`` as :func:`whole_number`; left out (None), 10, or as many items as a smaller shop has."""
    return min(10, n_items) if k is None else whole_number(k, "k", 1, n_items, of)


def number(value: Any, name: str, positive: bool = False) -> float:
    """``value`` as a Python float: finite and not negative, or above 0 where it must be ``positive``."""
    try:
        result = np.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        result = np.nan
    if not np.isfinite(result) or result < 0 or (positive and result == 0):
        raise ValueError(f"{name} must be a finite number {'above' if positive else 'of at least'} 0, not {value!r}")
    return result


def one_of(value: Any, name: str, words: Sequence[str]) -> None:
    if value not in words:
        raise ValueError(f"{name} must be {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {value!r}")


def row_numbers(rows: Any, n: int, name: str, of: str, remedy: str = "") -> np.ndarray:
    """Numbers of items or users (``of``: "item", "user"), one or a list, as int64 (m,) in their order; there may be none."""
    ids = np.atleast_1d(np.asarray(rows))
    if not ids.size:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be {of} ids, whole numbers in one list, not {ids.dtype} {ids.shape}{remedy}")
    wrong = ids[(ids < 0) | (ids >= n)]
    if len(wrong):
        raise ValueError(f"{name}: {of} {wrong[0]} is outside 0…{n - 1}{remedy}")
    return ids.astype(np.int64)


def item_ids(items: Any, n_items: int, name: str = "items", some: bool = False) -> np.ndarray:
    """Distinct item ids, ascending, int64; with ``some`` there must be one at least."""
    ids = np.unique(row_numbers(items, n_items, name, "item"))
    require(len(ids) or not some, f"{name} must be item ids, at least one")
    return ids
