"""From numbered rows of who took what to a data set: what has no vector goes, what is repeated counts once, one is held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import splits
from .dataset import Dataset
from .dates import Times
from .feature_rows import feature_rows, one_row_each, scaled
from .ids import Id


@dataclass
class Interactions:
    """Rows of a table: codes (n,) into ids in their order, -1 where missing; times; and how a row is named."""

    users: np.ndarray
    user_ids: list[Id]
    items: np.ndarray
    item_ids: list[Id]
    times: Times | None
    say: Callable[[int], str]


def check_split(
    split: str, time: str | None, until: Any, test: Any, notes: list[str], dayfirst: Any = None, format: Any = None
) -> bool:
    """Whether the split goes by time; a ValueError where the words of a call do not fit together."""
    if split not in ("random", "time"):
        raise ValueError(f"split must be 'random' or 'time', not {split!r}")
    if test is not None and until is not None:
        raise ValueError("test is a split, and until another; pass one of them")
    by_time = split == "time" and test is None
    if by_time and time is None:
        raise ValueError("split='time' needs time=, the name of the column of times")
    if until is not None and not by_time:
        raise ValueError("until= needs split='time': up to then is train, and what comes after is held out")
    if not by_time:
        why = "test= is the split" if test is not None else "the split is random; split='time' holds the last one out"
        words = {"time": time, "dayfirst": dayfirst, "format": format}
        notes += [f"{word}={value!r} is not used: {why}" for word, value in words.items() if value is not None]
    return by_time


def data_set_of(
    rows: Interactions,
    features: Any,
    feature_ids: Sequence[Any] | None,
    by_time: bool,
    until: Any,
    test: Any,
    columns: tuple[str, str],
    scale: bool,
    seed: int,
    name: str,
    notes: list[str],
) -> Dataset:
    """The data set; what was repaired is added to ``notes``. ``columns``: of users and items, for a table in ``test``."""
    good = (rows.users >= 0) & (rows.items >= 0)
    if not good.all():
        bad = np.flatnonzero(~good)
        notes.append(f"{len(bad):,} rows without user or item ({rows.say(int(bad[0]))} first), left out")
    _check_left(good, notes)
    table, table_ids = feature_rows(features, feature_ids)
    extras, items, item_ids = {}, rows.items, rows.item_ids
    if table is not None:
        table, catalogue = one_row_each(table, table_ids, item_ids, notes)
        items = _codes_in(catalogue, item_ids, items, good, notes)
        good, item_ids = good & (items >= 0), catalogue
        table, extras["feature_scale"] = scaled(table) if scale else (table, 1.0)
        _check_left(good, notes)
    left = None if good.all() else np.flatnonzero(good)  # rows
    users, items = (codes if left is None else codes[left] for codes in (rows.users, items))
    times = None
    if by_time:
        assert rows.times is not None
        times = rows.times.numbers(left, rows.say, notes)
    # users all of whose rows went would be empty rows of P
    users, user_ids = _present(users, rows.user_ids)
    if len(user_ids) < len(rows.user_ids):
        notes.append(f"{len(rows.user_ids) - len(user_ids):,} users are left without an interaction, left out")
    if table is None:  # without features nothing is known of an item all of whose rows went
        items, item_ids = _present(items, item_ids)
    M, N = len(user_ids), len(item_ids)
    keys = users.astype(np.int64) * N
    keys += items
    if times is None:
        keys = splits.distinct_keys(keys, notes)
    else:
        keys, times = splits.first_times(keys, times, notes)
    if test is not None:
        keys, held = splits.given_split(keys, test, user_ids, item_ids, columns, notes)
    elif times is None:
        keys, held = splits.random_out(keys, M, N, seed)
    elif until is None:
        keys, held = splits.last_out(keys, times, M, N, seed, notes)
    else:
        assert rows.times is not None
        keys, held = splits.after_a_date(keys, times, rows.times.moment(until), M, N, seed, notes, f"until={until!r}")
        keys, held, user_ids, item_ids = _without_newcomers(keys, held, user_ids, item_ids, table is not None, until, notes)
    train = splits.rows_of(keys, len(item_ids))
    train.flags.writeable = False  # nobody else has them: the data set need not copy them
    return Dataset(train, held, table, n_users=len(user_ids), n_items=len(item_ids), name=name, user_ids=user_ids,
                   item_ids=item_ids, extras=extras, notes=notes)  # fmt: skip


def _without_newcomers(
    keys: np.ndarray, held: np.ndarray, user_ids: list[Id], item_ids: list[Id], with_features: bool, until: Any,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray, list[Id], list[Id]]:
    """Only users of train, and without features only items of train."""
    if not len(keys):
        raise ValueError(f"nothing was met up to until={until!r}, so there is nothing to learn from; take a later date")
    N = len(item_ids)
    users, items = keys // N, keys % N
    known = np.bincount(users, minlength=len(user_ids)) > 0
    users, user_ids = _present(users, user_ids)
    held = held[known]
    if not with_features:
        old = np.bincount(items, minlength=N) > 0
        new = (held >= 0) & ~old[held]
        if new.any():
            notes.append(f"{int(new.sum()):,} users' held-out items are new after until={until!r}, and nothing is "
                         "known of them without features: nobody is asked")  # fmt: skip
        number = np.cumsum(old) - 1
        held = np.where((held >= 0) & ~new, number[held], -1)
        items, item_ids = _present(items, item_ids)
    return users * len(item_ids) + items, held, user_ids, item_ids


def _present(codes: np.ndarray, ids: list[Id]) -> tuple[np.ndarray, list[Id]]:
    """Codes into those ids that are there, and these."""
    there = np.bincount(codes, minlength=len(ids)) > 0
    if there.all():
        return codes, ids
    return (np.cumsum(there) - 1)[codes], [ids[n] for n in np.flatnonzero(there)]


def _codes_in(
    catalogue: list[Id], item_ids: list[Id], codes: np.ndarray, good: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Codes into ``item_ids`` as codes into the catalogue, -1 where it has no such item."""
    number = {key: n for n, key in enumerate(catalogue)}
    new = np.array([number.get(key, -1) for key in item_ids] + [-1], dtype=np.int64)  # the last for what is missing
    bare = np.flatnonzero(new[:-1] < 0)
    if len(bare):
        lost = int((new[codes[good]] < 0).sum())
        notes.append(f"{len(bare):,} items without features ({item_ids[bare[0]]!r} first), left out with {lost:,} rows")
    return new[codes]


def _check_left(good: np.ndarray, notes: list[str]) -> None:
    if not good.any():
        raise ValueError("no interaction is left" + "".join(f"; {note}" for note in notes))
