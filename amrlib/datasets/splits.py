"""What is held out: a random item of each user, the last one, the first one after a date, or a split of one's own.

Whatever is drawn is drawn over the distinct pairs in the order of their ids, so the order of a table's rows never matters.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .ids import Id, as_ids, meet

Split = tuple[np.ndarray, np.ndarray]  # keys of train, ascending; held-out item of each user, -1 where there is none


def distinct_keys(keys: np.ndarray, notes: list[str]) -> np.ndarray:
    """Keys user · n_items + item, each once and ascending; sorts ``keys`` in place."""
    keys.sort()
    new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return _once(keys, new, notes)


def first_times(keys: np.ndarray, times: np.ndarray, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and the first time of each."""
    order = np.argsort(keys, kind="stable")
    keys, times = keys[order], times[order]
    new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return _once(keys, new, notes), np.minimum.reduceat(times, np.flatnonzero(new)) if len(keys) else times


def _once(keys: np.ndarray, new: np.ndarray, notes: list[str]) -> np.ndarray:
    repeated = len(keys) - int(new.sum())
    if repeated:
        notes.append(f"{repeated:,} repeated interactions, counted once")
    return keys[new] if repeated else keys


def rows_of(keys: np.ndarray, n_items: int) -> np.ndarray:
    """Rows (user, item), int64 (n, 2), of keys."""
    rows = np.empty((len(keys), 2), dtype=np.int64)
    np.divmod(keys, n_items, out=(rows[:, 0], rows[:, 1]))
    return rows


def random_out(keys: np.ndarray, n_users: int, n_items: int, seed: int) -> Split:
    """A random item of every user with two or more."""
    users = keys // n_items
    several = np.bincount(users, minlength=n_users)[users] >= 2
    return _without(keys, n_users, n_items, _one_each(users, several, seed))


def last_out(keys: np.ndarray, times: np.ndarray, n_users: int, n_items: int, seed: int, notes: list[str]) -> Split:
    """The item that a user with two or more met last; of several at that time a random one."""
    users = keys // n_items
    several = np.bincount(users, minlength=n_users)[users] >= 2
    last = several & (times == _of_each(np.maximum, users, times))
    _tell_ties(users[last], "last", notes)
    return _without(keys, n_users, n_items, _one_each(users, last, seed))


def after_a_date(
    keys: np.ndarray, times: np.ndarray, until: float, n_users: int, n_items: int, seed: int, notes: list[str], name: str
) -> Split:
    """Train is what was met up to ``until``; held out is the first item that a user of train met after it."""
    users, early = keys // n_items, times <= until
    known = np.zeros(n_users, dtype=bool)
    known[users[early]] = True
    late = ~early & known[users]
    first = late.copy()
    if late.any():
        first[late] = times[late] == _of_each(np.minimum, users[late], times[late])
    _tell_ties(users[first], "first new", notes)
    held = _one_each(users, first, seed)
    newcomers = np.unique(users[~early & ~known[users]])
    if len(newcomers):
        notes.append(f"{len(newcomers):,} users are newcomers after {name}, left out")
    unused = int(late.sum()) - len(held)
    if unused:
        notes.append(f"{unused:,} further interactions after {name}, neither learnt from nor held out")
    if not len(held):
        notes.append(f"nobody of train met anything new after {name}: nothing is held out")
    test = np.full(n_users, -1, dtype=np.int64)
    test[users[held]] = keys[held] % n_items
    return keys[early], test


def _one_each(users: np.ndarray, able: np.ndarray, seed: int) -> np.ndarray:
    """For each user (ascending) with able rows the place of a random one."""
    draws = np.random.default_rng(seed).random(len(users))  # one a row, able or not: who is able moves nobody else's draw
    rows = np.flatnonzero(able)
    if not len(rows):
        return rows
    rows = rows[draws[rows] == _of_each(np.minimum, users[rows], draws[rows])]
    return rows[np.unique(users[rows], return_index=True)[1]]


def _of_each(what: Any, users: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A user's least or greatest value, at each of the user's rows; users are ascending."""
    if not len(users):
        return values
    starts = np.flatnonzero(np.concatenate([[True], users[1:] != users[:-1]]))
    return np.repeat(what.reduceat(values, starts), np.diff(np.append(starts, len(users))))


def _tell_ties(users: np.ndarray, which: str, notes: list[str]) -> None:
    tied = int((np.bincount(users) > 1).sum()) if len(users) else 0
    if tied:
        notes.append(f"{tied:,} users met several items at their {which} time: which of them is held out is drawn with seed=")


def _without(keys: np.ndarray, n_users: int, n_items: int, held: np.ndarray) -> Split:
    test = np.full(n_users, -1, dtype=np.int64)
    test[keys[held] // n_items] = keys[held] % n_items
    kept = np.ones(len(keys), dtype=bool)
    kept[held] = False
    return keys[kept], test


def given_split(
    keys: np.ndarray, test: Any, user_ids: list[Id], item_ids: list[Id], columns: tuple[str, str], notes: list[str]
) -> Split:
    """A split of one's own: a mapping of user to item, or a table with the two columns.

    Users and items that the data do not have are left out and counted, and so is a user with None for an item.

    Raises
    ------
    ValueError
        Ids of another kind; two items for one user; nobody left.
    """
    users, items = _entries(test, columns)
    user_keys = _ids_of(users, user_ids, "user")
    item_keys = _ids_of(items, item_ids, "item")
    user_number = {key: n for n, key in enumerate(user_ids)}
    item_number = {key: n for n, key in enumerate(item_ids)}
    held = np.full(len(user_ids), -1, dtype=np.int64)
    unknown: dict[str, list[Any]] = {"users": [], "items": []}
    without = 0
    for user, item in zip(user_keys, item_keys):
        u, i = user_number.get(user, -1), item_number.get(item, -1)  # type: ignore[arg-type]
        if item is None:
            without += 1
        elif u < 0:
            unknown["users"].append(user)
        elif i < 0:
            unknown["items"].append(item)
        elif held[u] not in (-1, i):
            raise ValueError(f"test: user {user!r} has two items, {item_ids[held[u]]!r} and {item!r}, and one is held "
                             "out; choose one")
        else:
            held[u] = i
    for what, missing in unknown.items():
        if missing:
            notes.append(f"test: {len(missing):,} entries with {what} that are not among those of the table "
                         f"({missing[0]!r} first), left out")  # fmt: skip
    if without:
        notes.append(f"test: {without:,} entries without an item: nobody is asked")
    if (held < 0).all():
        lost = next(((w[:-1], m[0]) for w, m in unknown.items() if m), None)
        raise ValueError(f"test: {lost[0]} {lost[1]!r} is not among those of the table (or was left out), and no other "
                         "entry is left"
                         if lost else "test holds nothing out: no entry has an item")  # fmt: skip
    N = len(item_ids)
    leaked = held[keys // N] == keys % N
    if leaked.any():
        notes.append(f"{int(leaked.sum()):,} test items that were in train too, taken out of train")
    return keys[~leaked], held


def _entries(test: Any, columns: tuple[str, str]) -> tuple[list[Any], list[Any]]:
    if isinstance(test, pd.DataFrame):
        absent = [name for name in columns if name not in test.columns]
        if absent:
            raise ValueError(f"test: the table has no column {absent[0]!r}, only {', '.join(map(repr, test.columns[:10]))}")
        return test[columns[0]].tolist(), test[columns[1]].tolist()
    if isinstance(test, pd.Series):
        return test.index.tolist(), test.tolist()
    if isinstance(test, Mapping):
        return list(test.keys()), list(test.values())
    raise ValueError(f"test must map user ids to item ids, or be a table with columns {columns[0]!r} and {columns[1]!r}, not "
                     f"{type(test).__name__}; for one date for all there is split='time' with until=")  # fmt: skip


def _ids_of(keys: Iterable[Any], known: list[Id], what: str) -> list[Id | None]:
    ids = as_ids(keys, lambda n: f"test, entry {n}, {what}")
    meet([key for key in ids if key is not None], known, f"test: its {what}s", "those of the table")
    return ids
