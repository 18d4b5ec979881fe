"""One object for every source of data: who touched what, what is held out, what an item looks like."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Dataset", "data_folder", "leave_one_out"]


def data_folder() -> Path:
    """The folder of the data that ships: ``AMRLIB_SHIPPED``, the installed package's, or the checkout's.

    Raises
    ------
    FileNotFoundError
        When none of the three exists.
    """
    package = Path(__file__).resolve().parents[1]
    named = os.environ.get("AMRLIB_SHIPPED")
    places = [Path(named)] if named else [package / "data", package.parent / "data"]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"the shipped data is not in {' nor in '.join(map(str, places))}; "
        "install amrlib from a clone of its repository, or name the folder in AMRLIB_SHIPPED"
    )


def _pairs(pairs: Any, name: str) -> np.ndarray:
    array = np.asarray(pairs)
    if array.size == 0:
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name} must be an array of (user, item) rows, shape (n, 2), not {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{name} must hold whole numbers, not {array.dtype}; map names to 0, 1, 2, … first")
        odd = np.flatnonzero((~np.isfinite(array) | (array != np.floor(array))).any(axis=1))
        if len(odd):
            raise ValueError(
                f"{name} must hold whole numbers, and row {odd[0]} is {array[odd[0]].tolist()} ({len(odd)} such rows); "
                f"drop it, or map names to 0, 1, 2, … first"
            )
    return np.ascontiguousarray(array, dtype=np.int64)


def _ids_in_range(ids: np.ndarray, size: int, name: str, what: str, lowest: int = 0) -> None:
    wrong = np.flatnonzero((ids < lowest) | (ids >= size))
    if len(wrong):
        raise ValueError(
            f"{name}, row {wrong[0]}: {what} {ids[wrong[0]]} is outside {lowest}…{size - 1} "
            f"({len(wrong)} such rows); pass n_{what}s, or map the ids to 0, 1, 2, …"
        )


class Dataset:
    """Interactions, one held-out item per user, and the items' features.

    Parameters
    ----------
    train : int, shape (n, 2)
        Rows ``(user, item)``. A repeated row counts twice in training and once everywhere else.
    test : int, shape (n_users,)
        The held-out item of each user, -1 where there is none.
    features : float, shape (n_items, D), optional
        What the items look like; a memory map is kept as it is.
    n_users, n_items : int, optional
        Read off the data when left out.
    candidates : int, shape (n_users, C), optional
        The sampled negatives of a published protocol (see :func:`amrlib.evaluate`).
    images : uint8, shape (n_items, H, W) or (n_items, H, W, 3), optional
    name : str
    extras : dict, optional
        Whatever else a source knows about its items (labels, titles); each key becomes an attribute.

    Attributes
    ----------
    item_counts : int64, shape (n_items,)
        Training interactions of each item.
    cold : bool, shape (n_items,)
        Items without a training interaction: known by their features alone.
    notes : list of str
        What was found odd and what was done about it.

    Raises
    ------
    ValueError
        Ids out of range, NaN or infinite features, lengths that do not agree; the message names the
        argument, the first row at fault and the remedy.
    """

    def __init__(
        self,
        train: Any,
        test: Any,
        features: Any = None,
        n_users: int | None = None,
        n_items: int | None = None,
        candidates: Any = None,
        images: Any = None,
        name: str = "",
        extras: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.train = _pairs(train, "train")  # (n, 2)
        self.test = np.asarray(test)
        if self.test.ndim != 1 or (self.test.size and not np.issubdtype(self.test.dtype, np.integer)):
            raise ValueError(
                f"test must be one item id per user, an integer array of shape (n_users,), "
                f"not {self.test.dtype} {self.test.shape}; write -1 for a user without one"
            )
        self.test = self.test.astype(np.int64)  # (n_users,)

        self.n_users = int(n_users) if n_users is not None else max(
            len(self.test), int(self.train[:, 0].max(initial=-1)) + 1
        )
        if len(self.test) != self.n_users:
            raise ValueError(
                f"test has {len(self.test)} entries for {self.n_users} users; write -1 for a user without one"
            )
        lengths = [len(x) for x in (features, images) if x is not None]
        largest = max(int(self.train[:, 1].max(initial=-1)), int(self.test.max(initial=-1))) + 1
        self.n_items = int(n_items) if n_items is not None else max([largest, *lengths])
        if self.n_users < 1 or self.n_items < 1:
            raise ValueError("train and test are empty: a data set needs at least one user and one item")
        _ids_in_range(self.train[:, 0], self.n_users, "train", "user")
        _ids_in_range(self.train[:, 1], self.n_items, "train", "item")
        _ids_in_range(self.test, self.n_items, "test", "item", lowest=-1)

        self.features = None if features is None else _features(features, self.n_items)  # (N, D)
        if images is not None and len(images) != self.n_items:
            raise ValueError(f"images has {len(images)} rows for {self.n_items} items")
        self.images = images
        self.candidates: np.ndarray | None = None
        if candidates is not None:
            self.candidates = np.asarray(candidates)  # (n_users, C)
            if not np.issubdtype(self.candidates.dtype, np.integer):
                raise ValueError(f"candidates must be item ids, whole numbers, not {self.candidates.dtype}")
            self.candidates = self.candidates.astype(np.int64)
            if self.candidates.ndim != 2 or len(self.candidates) != self.n_users:
                raise ValueError(
                    f"candidates must have shape (n_users, C) = ({self.n_users}, C), not {self.candidates.shape}"
                )
            if self.candidates.size:
                lowest, highest = self.candidates.min(axis=1), self.candidates.max(axis=1)
                _ids_in_range(np.where(lowest < 0, lowest, highest), self.n_items, "candidates", "item")  # names the row

        self.notes: list[str] = []
        repeated = len(self.train) - len(self.unique_keys)
        if repeated:
            self.notes.append(f"{repeated} repeated training rows: they count twice in training, once elsewhere")
        held = np.flatnonzero(self.test >= 0)
        leaked = int(self.is_train(held, self.test[held]).sum())
        if leaked:
            self.notes.append(f"{leaked} users have their test item in train as well: it is ranked all the same")
        self.extras = dict(extras or {})
        for key, value in self.extras.items():
            if hasattr(self, key):
                raise ValueError(f"extras: {key!r} is the data set's own word; take another")
            setattr(self, key, value)

    def __repr__(self) -> str:
        looks = "no features" if self.features is None else f"features ({self.features.shape[1]}-d)"
        return (
            f"Dataset({self.name or 'unnamed'}: {self.n_users:,} users, {self.n_items:,} items, "
            f"{len(self.train):,} training rows, {int((self.test >= 0).sum()):,} held out, "
            f"{int(self.cold.sum()):,} cold items, {looks})"
        )

    # ---- who touched what, as sorted arrays: no Python loop ever goes over interactions ----

    @cached_property
    def unique_keys(self) -> np.ndarray:
        """user · n_items + item of the distinct training pairs, ascending, int64."""
        return np.unique(self.train[:, 0] * self.n_items + self.train[:, 1])

    @cached_property
    def indptr(self) -> np.ndarray:
        """Row pointers of the users into :attr:`indices`, shape (n_users + 1,)."""
        counts = np.bincount(self.unique_keys // self.n_items, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def indices(self) -> np.ndarray:
        """The distinct training items, user after user, ascending within a user."""
        return self.unique_keys % self.n_items

    def items_of(self, user: int) -> np.ndarray:
        """The distinct training items of one user, ascending."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    def is_train(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each (user, item) is a training pair, bool of the broadcast shape."""
        keys = np.asarray(users, dtype=np.int64) * self.n_items + np.asarray(items, dtype=np.int64)
        if not len(self.unique_keys):
            return np.zeros(keys.shape, dtype=bool)
        places = np.searchsorted(self.unique_keys, keys)
        return self.unique_keys[np.minimum(places, len(self.unique_keys) - 1)] == keys

    @cached_property
    def item_counts(self) -> np.ndarray:
        return np.bincount(self.train[:, 1], minlength=self.n_items).astype(np.int64)

    @cached_property
    def cold(self) -> np.ndarray:
        return self.item_counts == 0

    @property
    def test_users(self) -> np.ndarray:
        """The users who have a held-out item, ascending."""
        return np.flatnonzero(self.test >= 0)

    # ---- derived data sets ----

    def replace(self, **changes: Any) -> Dataset:
        """The same data with some constructor arguments replaced."""
        settings: dict[str, Any] = dict(
            train=self.train, test=self.test, features=self.features, n_users=self.n_users,
            n_items=self.n_items, candidates=self.candidates, images=self.images, name=self.name,
            extras=self.extras,
        )
        return Dataset(**{**settings, **changes})

    def validation_split(self, seed: int = 0) -> Dataset:
        """The data set to choose settings on: one random training item of each user becomes the held-out one.

        The real test items are out of sight. Users with a single distinct training item keep it and
        are not evaluated (-1), since they would have nothing left to learn from.
        """
        rng = np.random.default_rng(seed)
        keys = self.unique_keys
        users = keys // self.n_items
        order = np.lexsort((rng.random(len(keys)), users))  # each user's pairs, shuffled
        first = np.searchsorted(users[order], np.arange(self.n_users))
        able = np.flatnonzero(np.diff(self.indptr) >= 2)
        chosen = keys[order[first[able]]]
        test = np.full(self.n_users, -1, dtype=np.int64)
        test[able] = chosen % self.n_items
        kept = ~np.isin(self.train[:, 0] * self.n_items + self.train[:, 1], chosen)
        return self.replace(train=self.train[kept], test=test, candidates=None, name=f"{self.name} (validation)")


def _features(features: Any, n_items: int) -> np.ndarray:
    array = np.asanyarray(features)  # keeps a memory map a memory map
    if array.ndim != 2 or len(array) != n_items:
        raise ValueError(f"features must have shape (n_items, D) = ({n_items}, D), not {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    step = max(1, 2**24 // max(1, array.shape[1]))  # in blocks: a memory map may be larger than memory
    for start in range(0, n_items, step):
        wrong = np.flatnonzero(~np.isfinite(array[start : start + step]).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"features, row {start + wrong[0]}: NaN or infinite; drop the item or give it a finite vector"
            )
    return array


def leave_one_out(pairs: Any, seed: int = 0, n_users: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split distinct (user, item) pairs: one random item of every user with two or more is held out.

    Returns
    -------
    train : int64, shape (n, 2)
    test : int64, shape (n_users,), -1 for users with fewer than two items

    The split of He et al. and of the AMR paper (§4.1), drawn at random since it uses no timestamps.
    """
    array = np.unique(_pairs(pairs, "pairs"), axis=0)
    n_users = int(array[:, 0].max(initial=-1)) + 1 if n_users is None else n_users
    _ids_in_range(array[:, 0], n_users, "pairs", "user")
    rng = np.random.default_rng(seed)
    array = array[np.lexsort((rng.random(len(array)), array[:, 0]))]
    counts = np.bincount(array[:, 0], minlength=n_users)
    first = np.cumsum(counts) - counts
    held = first[counts >= 2]
    test = np.full(n_users, -1, dtype=np.int64)
    test[array[held, 0]] = array[held, 1]
    kept = np.ones(len(array), dtype=bool)
    kept[held] = False
    train = array[kept]
    return train[np.lexsort((train[:, 1], train[:, 0]))], test
