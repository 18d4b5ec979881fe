"""Features as a caller has them (a table, a mapping, an array), and the rows of them that a data set needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .ids import Id, as_ids, in_order, meet

__all__ = ["feature_rows", "one_row_each", "scaled"]


def feature_rows(features: Any, ids: Sequence[Any] | None) -> tuple[np.ndarray | None, list[Id]]:
    """Feature rows (n, D), None without features, and whose they are.

    Raises
    ------
    ValueError
        Vectors that are no numbers or of several lengths; ids missing, or as many as there are not rows.
    """
    if features is None:
        if ids is not None:
            raise ValueError("feature_ids without features")
        return None, []
    if isinstance(features, pd.DataFrame):
        ids, features = list(features.index), features.to_numpy()
    elif isinstance(features, Mapping):
        ids, features = list(features), list(features.values())
        lengths = [np.size(vector) for vector in features]
        odd = [n for n, length in enumerate(lengths) if length != lengths[0]]
        if odd:
            raise ValueError(f"features: {ids[odd[0]]!r} has {lengths[odd[0]]} numbers, {ids[0]!r} has {lengths[0]}")
    try:
        table = np.asanyarray(features)
        if not np.issubdtype(table.dtype, np.floating):
            table = table.astype(np.float32)
    except (TypeError, ValueError):
        raise ValueError("features must be numbers, one row for each item") from None
    if table.ndim != 2:
        raise ValueError(f"features must have shape (n_items, D), not {table.shape}")
    if ids is None:
        return table, list(range(len(table)))
    if len(ids) != len(table):
        raise ValueError(f"feature_ids has {len(ids)} entries for {len(table)} rows of features")
    names = as_ids(ids, lambda n: f"the ids of the features, row {n}")
    if None in names:
        raise ValueError(f"the ids of the features, row {names.index(None)}: missing; drop the row or name its item")
    return table, [key for key in names if key is not None]


def one_row_each(
    table: np.ndarray, table_ids: list[Id], item_ids: list[Id], notes: list[str]
) -> tuple[np.ndarray, list[Id]]:
    """The rows (N, D) with finite numbers, one for each id, in the order of the ids; and the ids.

    Raises
    ------
    ValueError
        The ids of the features and those of the items are of two kinds.
    """
    meet(table_ids, item_ids, "the ids of the features", "the items of the table")
    fine = np.concatenate(
        [np.isfinite(table[n : n + 4096]).all(axis=1) for n in range(0, len(table), 4096)] or [np.ones(0, dtype=bool)]
    )
    if not fine.all():
        bad = np.flatnonzero(~fine)
        notes.append(
            f"{len(bad):,} items with NaN or infinite features ({table_ids[bad[0]]!r} first): as if they had none"
        )
    place: dict[Id, int] = {}  # of repeated ids the first
    for n in np.flatnonzero(fine).tolist():
        place.setdefault(table_ids[n], n)
    if len(place) < fine.sum():
        notes.append(f"{int(fine.sum()) - len(place):,} feature rows of repeated ids, left out")
    catalogue = in_order(place)
    rows = np.array([place[key] for key in catalogue], dtype=np.int64)
    if np.array_equal(rows, np.arange(len(table))):  # in order already: a memory map stays one
        return table, catalogue
    return _owned(table[rows]), catalogue


def scaled(table: np.ndarray) -> tuple[np.ndarray, float]:
    """The features, float32 or float16, divided by their largest absolute value; and that."""
    table = np.asarray(table, dtype=np.float32 if table.dtype != np.float16 else np.float16)
    largest = float(max(table.max(initial=0), -table.min(initial=0))) or 1.0
    return _owned(table / table.dtype.type(largest)), largest


def _owned(array: np.ndarray) -> np.ndarray:
    """An array that nobody else can write to, so that a data set need not copy it."""
    array.flags.writeable = False
    return array
