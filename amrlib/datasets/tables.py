"""Your own data: a table of who took what, and a vector of every item.

Real tables have holes, repetitions and ids of all sorts. What can be repaired without guessing is repaired, and
``shop.notes`` tells what was done; what cannot is refused, with the file and the line or the row of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .dataset import Dataset, leave_one_out
from .feature_rows import feature_rows, one_row_each, scaled
from .ids import Id, as_ids, meet, numbered

__all__ = ["from_frame"]


def from_frame(
    frame: pd.DataFrame,
    features: Any = None,
    feature_ids: Sequence[Any] | None = None,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    split: str = "random",
    test: Mapping[Any, Any] | None = None,
    scale: bool = True,
    seed: int = 0,
    name: str = "own",
    where: Callable[[int], str] | None = None,
) -> Dataset:
    """A data set from a pandas table with a row for each interaction.

    Parameters
    ----------
    frame : DataFrame
        Columns ``user`` and ``item``, and ``time`` if there is one; other columns are left alone. Ids are whole numbers,
        with gaps, or text; the shop keeps them as they are, and numbers them 0, 1, 2, … in their order.
    features : DataFrame indexed by item id, a mapping of id to vector, or an array (n, D); optional
        Items nobody has touched are part of the catalogue too, known by their features alone. Their ids are of the
        same kind as those of the table: 7 and "7" do not meet.
    feature_ids : n ids, optional
        Whose the rows of the array are; left out, row number and item id are the same.
    time : column of numbers or dates, needed for ``split="time"``
    split : ``"random"`` or ``"time"``
        Which of a user's items is held out: a random one, or the one met last (of items met more than once, the
        first time counts). Users with a single item keep it.
    test : mapping of user id to item id, optional
        A split you already have, instead of ``split``. A pair that is in the table as well is taken out of training.
    scale : bool
        Divide features by their largest absolute value, so that ε means the same as elsewhere in the book. An array
        mapped from a file is read into memory by it.
    where : function, optional
        Names a row of the table in messages; its number when left out.

    Returns
    -------
    Dataset
        ``notes`` tells what was repaired; ``user_ids`` and ``item_ids`` are your own ids. Extra: ``feature_scale``, what
        the features were divided by (with features).

    Raises
    ------
    ValueError
        Columns missing, times missing under ``split="time"``, ids of two kinds, features of the wrong shape, ids of
        ``test`` unknown, nothing left; the message names the argument and the first row at fault.
    """
    where = where or (lambda row: f"row {row}")
    notes: list[str] = []
    _check_columns(frame, user, item, time, split, test)
    user_codes, user_ids = numbered(frame[user], lambda row: f"{where(row)}, column {user!r}")  # (n,), -1 where missing
    item_codes, item_ids = numbered(frame[item], lambda row: f"{where(row)}, column {item!r}")
    good = (user_codes >= 0) & (item_codes >= 0)
    if not good.all():
        bad = np.flatnonzero(~good)
        notes.append(f"{len(bad):,} rows without user or item ({where(int(bad[0]))} first), left out")
    _check_left(good, notes)

    table, table_ids = feature_rows(features, feature_ids)
    extras = {}
    if table is not None:
        table, catalogue = one_row_each(table, table_ids, item_ids, notes)
        item_codes = _codes_in(catalogue, item_ids, item_codes, good, notes)
        good, item_ids = good & (item_codes >= 0), catalogue
        table, extras["feature_scale"] = scaled(table) if scale else (table, 1.0)

    _check_left(good, notes)
    rows = np.flatnonzero(good)
    # users all of whose rows went would be empty rows of P
    present, users = np.unique(user_codes[rows], return_inverse=True)
    if len(present) < len(user_ids):
        notes.append(f"{len(user_ids) - len(present):,} users are left without an interaction, left out")
    user_ids, items = [user_ids[u] for u in present], item_codes[rows]
    if table is None:  # without features nothing is known of an item all of whose rows went
        present, items = np.unique(items, return_inverse=True)
        item_ids = [item_ids[i] for i in present]
    pairs = np.stack([users, items], axis=1).astype(np.int64)  # (n, 2)
    by_time = split == "time" and test is None
    if by_time:
        pairs = pairs[np.argsort(_times(frame[time].iloc[rows], rows, str(time), where), kind="stable")]
    pairs = _first_of_each(pairs, len(item_ids), notes)
    if test is not None:
        train, held = _given(pairs, test, user_ids, item_ids, notes)
    elif by_time:
        train, held = _last_out(pairs, len(user_ids))
    else:
        train, held = leave_one_out(pairs, seed=seed, n_users=len(user_ids))
    return Dataset(train, held, table, n_users=len(user_ids), n_items=len(item_ids), name=name, user_ids=user_ids,
                   item_ids=item_ids, extras=extras, notes=notes)  # fmt: skip


def _check_columns(
    frame: pd.DataFrame, user: str, item: str, time: str | None, split: str, test: Mapping[Any, Any] | None
) -> None:
    missing = [c for c in (user, item, *([time] if time else [])) if c not in frame.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r}, only {', '.join(map(repr, frame.columns[:10]))}; "
            f"name the columns with user=, item=, time="
        )
    if split not in ("random", "time"):
        raise ValueError(f"split must be 'random' or 'time', not {split!r}")
    if split == "time" and not time and test is None:
        raise ValueError("split='time' needs time=, the name of the column of times")


def _codes_in(
    catalogue: list[Id], item_ids: list[Id], codes: np.ndarray, good: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Codes into ``item_ids`` as codes into the catalogue, -1 where it has no such item."""
    number = {key: n for n, key in enumerate(catalogue)}
    new = np.array([number.get(key, -1) for key in item_ids], dtype=np.int64)
    bare = np.flatnonzero(new < 0)
    if len(bare):
        lost = int((new[codes[good]] < 0).sum())
        notes.append(f"{len(bare):,} items without features ({item_ids[bare[0]]!r} first), left out with {lost:,} rows")
    return np.where(codes >= 0, new[codes], -1)


def _check_left(good: np.ndarray, notes: list[str]) -> None:
    if not good.any():
        raise ValueError("no interaction is left" + "".join(f"; {note}" for note in notes))


def _first_of_each(pairs: np.ndarray, n_items: int, notes: list[str]) -> np.ndarray:
    """The distinct pairs, each where it first is."""
    _, first = np.unique(pairs[:, 0] * n_items + pairs[:, 1], return_index=True)
    if len(first) < len(pairs):
        notes.append(f"{len(pairs) - len(first):,} repeated interactions, counted once")
    return pairs[np.sort(first)]


def _times(column: pd.Series, rows: np.ndarray, name: str, where: Callable[[int], str]) -> np.ndarray:
    """Numbers that grow with time, float64 or int64."""
    values = pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_datetime64_any_dtype(column) or values.isna().all():
        values = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    bad = np.flatnonzero(values.isna().to_numpy())
    if len(bad):
        raise ValueError(
            f"{where(int(rows[bad[0]]))}: {name} is {column.iloc[bad[0]]!r}, neither a number nor a date as the others "
            f"are ({len(bad):,} such rows); correct it, drop the rows or take split='random'"
        )
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.astype("int64").to_numpy()
    return values.to_numpy()


def _last_out(pairs: np.ndarray, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Of distinct pairs in the order of time, each user's last one is held out if there are two or more."""
    order = np.argsort(pairs[:, 0], kind="stable")
    counts = np.bincount(pairs[:, 0], minlength=n_users)
    last = np.cumsum(counts) - 1
    held = order[last[counts >= 2]]
    test = np.full(n_users, -1, dtype=np.int64)
    test[pairs[held, 0]] = pairs[held, 1]
    train = np.delete(pairs, held, axis=0)
    return train[np.lexsort((train[:, 1], train[:, 0]))], test


def _given(
    pairs: np.ndarray, test: Mapping[Any, Any], user_ids: list[Id], item_ids: list[Id], notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    held = np.full(len(user_ids), -1, dtype=np.int64)
    held[_numbers_of(test.keys(), user_ids, "user")] = _numbers_of(test.values(), item_ids, "item")
    leaked = held[pairs[:, 0]] == pairs[:, 1]
    if leaked.any():
        notes.append(f"{int(leaked.sum()):,} test items that were in train too, taken out of train")
    return pairs[~leaked], held


def _numbers_of(keys: Iterable[Any], known: list[Id], what: str) -> list[int]:
    keys, number = list(keys), {key: n for n, key in enumerate(known)}
    ids = as_ids(keys, lambda n: f"test, entry {n}, {what}")
    meet([key for key in ids if key is not None], known, f"test: its {what}s", "those of the table")
    unknown = [key for key, own in zip(keys, ids) if own not in number]
    if unknown:
        raise ValueError(f"test: {what} {unknown[0]!r} is not among those of the table (or was left out)")
    return [number[key] for key in ids if key is not None]
