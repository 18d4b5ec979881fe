"""One object for every source of data: who touched what, what is held out, what an item looks like.

The protocol is the AMR paper's: **one held-out item a user**. ``test`` is a vector, and every measure rests on the rank of
that one item. A data set cannot be changed once it is made: its arrays are read-only, and :meth:`Dataset.replace` makes
another.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from .splits import distinct_keys, random_out, rows_of

__all__ = ["Dataset", "FeatureTable", "Fingerprint", "digest", "expand_rows", "leave_one_out"]


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
                "drop it, or map names to 0, 1, 2, … first"
            )
    return np.ascontiguousarray(array, dtype=np.int64)


def _ids_in_range(ids: np.ndarray, size: int, name: str, what: str, lowest: int = 0) -> None:
    wrong = np.flatnonzero((ids < lowest) | (ids >= size))
    if len(wrong):
        raise ValueError(
            f"{name}, row {wrong[0]}: {what} {ids[wrong[0]]} is outside {lowest}…{size - 1} "
            f"({len(wrong)} such rows); pass n_{what}s, or map the ids to 0, 1, 2, …"
        )


class Fingerprint(NamedTuple):
    """What tells one data set from another, as hexadecimal digests; equal arrays have equal ones on every machine."""

    train: str  # the rows in their order, and the numbers of users and items
    test: str
    ids: str  # the data's own names of users and items


class FeatureTable:
    """Item features, checked once, and shared by every data set and every model that uses them.

    ``array`` (N, D) is read-only; a memory map stays one.
    """

    def __init__(self, features: Any, n_items: int) -> None:
        given = np.asanyarray(features)  # keeps a memory map a memory map
        if given.ndim != 2 or len(given) != n_items:
            raise ValueError(f"features must have shape (n_items, D) = ({n_items}, D), not {given.shape}")
        if not np.issubdtype(given.dtype, np.floating):
            given = given.astype(np.float32)
        self.array = _frozen(given)
        self._tensors: WeakValueDictionary[tuple[torch.device, torch.dtype], Tensor] = WeakValueDictionary()
        step = max(1, 2**24 // max(1, given.shape[1]))  # in blocks: a memory map may be larger than memory
        for start in range(0, n_items, step):
            wrong = np.flatnonzero(~np.isfinite(self.array[start : start + step]).all(axis=1))
            if len(wrong):
                raise ValueError(
                    f"features, row {start + wrong[0]}: NaN or infinite; drop the item or give it a finite vector"
                )

    def __deepcopy__(self, memo: Any) -> FeatureTable:
        return self  # read-only, so as good as a copy

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureTable, (self.array, len(self.array))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the numbers, their type and their shape."""
        return digest(self.array)

    def on(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
        """The features as a tensor (N, D), one for each (device, dtype) however many models ask; for reading only.

        Raises
        ------
        ValueError
            A number type that cannot hold them.
        """
        with warnings.catch_warnings():  # torch has no read-only tensors
            warnings.filterwarnings("ignore", "The given NumPy array is not writ")
            shared = torch.as_tensor(np.asarray(self.array))
        key = (torch.empty(0, device=device).device, dtype or shared.dtype)
        tensor = self._tensors.get(key)
        if tensor is None:
            try:
                tensor = shared.to(*key)
            except torch.cuda.OutOfMemoryError as error:
                error.add_note("the features do not fit there; model.to(device, features=\"host\") leaves them where they are")
                raise
            if dtype not in (None, shared.dtype) and not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"the features are too large for {dtype}; take torch.bfloat16, or scale them")
            self._tensors[key] = tensor
        return tensor


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array read-only, C-contiguous, in this machine's byte order: a copy wherever somebody else could write to it."""
    if isinstance(array, np.memmap) and array.dtype.isnative and array.flags.c_contiguous:
        array = array.view()
    else:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        mine = owner.base is None and not owner.flags.writeable
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=None if mine else True)
    array.flags.writeable = False
    return array


def _sealed(array: np.ndarray) -> np.ndarray:
    """An array of our own making, read-only from now on."""
    array.flags.writeable = False
    return array


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of numbers, texts and arrays."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            array = np.asarray(part)
            digest.update(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
            step = max(1, 2**24 // max(1, array[:1].size))
            for start in range(0, len(array), step):
                block = np.ascontiguousarray(array[start : start + step])
                digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False).data)
        else:
            digest.update(repr(part.tolist() if isinstance(part, np.ndarray) else part).encode())
    return digest.hexdigest()[:16]


class Dataset:
    """Interactions, one held-out item per user, and the items' features. It cannot be changed: see :meth:`replace`.

    Arrays that somebody else could still write to are copied; a memory map is not.

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
    user_ids, item_ids : optional
        The data's own names, one for each user and item, all different; the numbers themselves when left out.
    extras : dict, optional
        Whatever else a source knows about its items (labels, titles); each key becomes an attribute.
    notes : sequence of str
        What the source found odd and what it did about it.

    Attributes
    ----------
    item_counts : int64, shape (n_items,)
        Training interactions of each item.
    cold : bool, shape (n_items,)
        Items without a training interaction: known by their features alone.
    notes : tuple of str
        The source's (``source_notes``), then what was found odd here.

    Raises
    ------
    ValueError
        Ids out of range, NaN or infinite features, lengths that do not agree; the message names the
        argument, the first row at fault and the remedy.

    Warns
    -----
    UserWarning
        A user's test item is in train as well.
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
        user_ids: Any = None,
        item_ids: Any = None,
        extras: dict[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.train = _frozen(_pairs(train, "train"))  # (n, 2)
        held = np.asarray(test)
        if held.ndim != 1 or (held.size and not np.issubdtype(held.dtype, np.integer)):
            raise ValueError(
                f"test must be one item id per user, an integer array of shape (n_users,), "
                f"not {held.dtype} {held.shape}; write -1 for a user without one"
            )
        self.test = _sealed(held.astype(np.int64))  # (n_users,)

        largest = int(self.train[:, 0].max(initial=-1)) + 1
        self.n_users = int(n_users) if n_users is not None else max(len(self.test), largest)
        if len(self.test) != self.n_users:
            raise ValueError(
                f"test has {len(self.test)} entries for {self.n_users} users; write -1 for a user without one"
            )
        table = features.array if isinstance(features, FeatureTable) else features
        lengths = [len(x) for x in (table, images) if x is not None]
        largest = max(int(self.train[:, 1].max(initial=-1)), int(self.test.max(initial=-1))) + 1
        self.n_items = int(n_items) if n_items is not None else max([largest, *lengths])
        if self.n_users < 1 or self.n_items < 1:
            raise ValueError("train and test are empty: a data set needs at least one user and one item")
        _ids_in_range(self.train[:, 0], self.n_users, "train", "user")
        _ids_in_range(self.train[:, 1], self.n_items, "train", "item")
        _ids_in_range(self.test, self.n_items, "test", "item", lowest=-1)

        if isinstance(features, FeatureTable) and len(features.array) == self.n_items:
            self.feature_table: FeatureTable | None = features
        else:
            self.feature_table = None if features is None else FeatureTable(table, self.n_items)
        self.features = None if self.feature_table is None else self.feature_table.array  # (N, D)
        if images is not None and len(images) != self.n_items:
            raise ValueError(f"images has {len(images)} rows for {self.n_items} items")
        self.images = _frozen(images) if isinstance(images, np.ndarray) else images
        self.candidates: np.ndarray | None = None
        if candidates is not None:
            drawn = np.asarray(candidates)  # (n_users, C)
            if not np.issubdtype(drawn.dtype, np.integer):
                raise ValueError(f"candidates must be item ids, whole numbers, not {drawn.dtype}")
            if drawn.ndim != 2 or len(drawn) != self.n_users:
                raise ValueError(f"candidates must have shape (n_users, C) = ({self.n_users}, C), not {drawn.shape}")
            if drawn.size:
                lowest, highest = drawn.min(axis=1), drawn.max(axis=1)
                _ids_in_range(np.where(lowest < 0, lowest, highest), self.n_items, "candidates", "item")  # names the row
            self.candidates = _frozen(drawn.astype(np.int64, copy=False))
        self.user_ids, self._has_user_ids = self._own_ids(user_ids, self.n_users, "user_ids")
        self.item_ids, self._has_item_ids = self._own_ids(item_ids, self.n_items, "item_ids")

        self.source_notes = tuple(notes)
        found = []
        repeated = len(self.train) - len(self.unique_keys)
        if repeated:
            found.append(f"{repeated} repeated training rows: they count twice in training, once elsewhere")
        leaked = int(self.is_train(self.test_users, self.test[self.test_users]).sum())
        if leaked:
            found.append(f"{leaked} users have their test item in train as well: it is ranked all the same")
            warnings.warn(f"{name or 'this data set'}: {found[-1]}; take it out of train to measure honestly", stacklevel=2)
        self.notes = (*self.source_notes, *found)
        self.extras = {k: _frozen(v) if isinstance(v, np.ndarray) else v for k, v in (extras or {}).items()}
        for key, value in self.extras.items():
            if hasattr(self, key):
                raise ValueError(f"extras: {key!r} is the data set's own word; take another")
            setattr(self, key, value)
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_made", False):
            raise AttributeError(f"a Dataset cannot be changed; make another with dataset.replace({name}=…)")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Dataset cannot be changed; make another with dataset.replace({name}=…)")

    def __deepcopy__(self, memo: Any) -> Dataset:
        return self  # it cannot be changed, so it is as good as a copy

    def __reduce__(self) -> tuple[Any, ...]:  # made anew: an array forgets in a pickle that it is read-only
        return _made_of, (self._settings(),)

    def __repr__(self) -> str:
        features = "no features" if self.features is None else f"features ({self.features.shape[1]}-d)"
        return (
            f"Dataset({self.name or 'unnamed'}: {self.n_users:,} users, {self.n_items:,} items, "
            f"{len(self.train):,} training rows, {len(self.test_users):,} held out, "
            f"{int(self.cold.sum()):,} cold items, {features})"
        )

    # ---- whose data it is ----

    @property
    def fingerprint(self) -> Fingerprint:
        """Digests of train, test and ids, each computed once; that of the features is ``feature_table.fingerprint``."""
        return Fingerprint(self.train_digest, self.test_digest, self.ids_digest)

    @cached_property
    def train_digest(self) -> str:
        return digest(self.n_users, self.n_items, self.train)

    @cached_property
    def test_digest(self) -> str:
        return digest(self.test)

    @cached_property
    def ids_digest(self) -> str:
        given = (self.user_ids, self._has_user_ids), (self.item_ids, self._has_item_ids)
        return digest(*(ids.tolist() if has else None for ids, has in given))  # the same names, however they are stored

    @staticmethod
    def _own_ids(ids: Any, size: int, name: str) -> tuple[np.ndarray, bool]:
        if ids is None:
            return _sealed(np.arange(size)), False
        array = np.array(ids)
        if array.dtype.kind == "f" and isinstance(ids, list) and all(isinstance(key, int) for key in ids):
            array = np.array(ids, dtype=object)  # too large for NumPy's integers, and a float would merge them
        if array.shape != (size,) or len(set(array.tolist())) != size:
            raise ValueError(f"{name} must be {size} different names, one for each, not {array.shape}")
        return _sealed(array), True

    @cached_property
    def _numbers(self) -> tuple[dict[Any, int], dict[Any, int]]:
        return tuple({key: n for n, key in enumerate(ids.tolist())} for ids in (self.user_ids, self.item_ids))  # type: ignore[return-value]

    def user_number(self, user_id: Any) -> int:
        """The number 0 … n_users − 1 of a user given by the data's own id.

        Raises
        ------
        ValueError
            No user has this id.
        """
        return self._number(user_id, 0, "user", self.user_ids)

    def item_number(self, item_id: Any) -> int:
        """The number 0 … n_items − 1 of an item given by the data's own id; raises as :meth:`user_number`."""
        return self._number(item_id, 1, "item", self.item_ids)

    def _number(self, key: Any, which: int, what: str, ids: np.ndarray) -> int:
        number = self._numbers[which].get(key.item() if isinstance(key, np.generic) else key)
        if number is None:
            raise ValueError(f"no {what} has the id {key!r}; the ids of this data set are like {ids[0].item()!r}")
        return number

    # ---- who touched what, as sorted arrays: no Python loop ever goes over interactions ----

    @cached_property
    def unique_keys(self) -> np.ndarray:
        """user · n_items + item of the distinct training pairs, ascending, int64."""
        keys = self.train[:, 0] * self.n_items + self.train[:, 1]
        return _sealed(keys if (keys[1:] > keys[:-1]).all() else distinct_keys(keys, []))

    @cached_property
    def indptr(self) -> np.ndarray:
        """Row pointers of the users into :attr:`indices`, shape (n_users + 1,)."""
        counts = np.bincount(self.unique_keys // self.n_items, minlength=self.n_users)
        return _sealed(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    @cached_property
    def indices(self) -> np.ndarray:
        """The distinct training items, user after user, ascending within a user."""
        return _sealed(self.unique_keys % self.n_items)

    def items_of(self, user: int) -> np.ndarray:
        """The distinct training items of one user, ascending."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    def seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct training items of several users as pairs: (place in ``users``, item), int64, in that order."""
        return expand_rows(self.indptr, self.indices, users)

    def is_train(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each (user, item) is a training pair, bool of the broadcast shape."""
        keys = np.asarray(users, dtype=np.int64) * self.n_items + np.asarray(items, dtype=np.int64)
        if not len(self.unique_keys):
            return np.zeros(keys.shape, dtype=bool)
        places = np.searchsorted(self.unique_keys, keys)
        return self.unique_keys[np.minimum(places, len(self.unique_keys) - 1)] == keys

    @cached_property
    def item_counts(self) -> np.ndarray:
        return _sealed(np.bincount(self.train[:, 1], minlength=self.n_items).astype(np.int64))

    @cached_property
    def cold(self) -> np.ndarray:
        return _sealed(self.item_counts == 0)

    @cached_property
    def test_users(self) -> np.ndarray:
        """The users who have a held-out item, ascending."""
        return _sealed(np.flatnonzero(self.test >= 0))

    # ---- derived data sets ----

    def replace(self, **changes: Any) -> Dataset:
        """The same data with some constructor arguments replaced; what is not replaced is shared, not copied."""
        if {"train", "test"} & set(changes):
            return Dataset(**{**self._settings(), **changes})
        return _made_of({**self._settings(), **changes})

    def _settings(self) -> dict[str, Any]:
        return dict(
            train=self.train, test=self.test, features=self.feature_table, n_users=self.n_users,
            n_items=self.n_items, candidates=self.candidates, images=self.images, name=self.name,
            user_ids=self.user_ids if self._has_user_ids else None,
            item_ids=self.item_ids if self._has_item_ids else None,
            extras=self.extras, notes=self.source_notes,
        )  # fmt: skip

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


def _made_of(settings: dict[str, Any]) -> Dataset:
    with warnings.catch_warnings():  # of a leak it was told already
        warnings.simplefilter("ignore", UserWarning)
        return Dataset(**settings)


def expand_rows(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of some rows of a compressed table, as pairs: (place in ``rows``, index), int64, in that order."""
    lengths = indptr[rows + 1] - indptr[rows]
    places = np.repeat(np.arange(len(rows)), lengths)
    first = np.repeat(indptr[rows] - (np.cumsum(lengths) - lengths), lengths)
    return places, indices[first + np.arange(len(places))]


def leave_one_out(pairs: Any, seed: int = 0, n_users: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split distinct (user, item) pairs: one random item of every user with two or more is held out.

    Returns
    -------
    train : int64, shape (n, 2)
    test : int64, shape (n_users,), -1 for users with fewer than two items

    The split of He et al. and of the AMR paper (§4.1), drawn at random since it uses no timestamps.
    """
    array = _pairs(pairs, "pairs")
    n_users = int(array[:, 0].max(initial=-1)) + 1 if n_users is None else n_users
    n_items = int(array[:, 1].max(initial=0)) + 1
    _ids_in_range(array[:, 0], n_users, "pairs", "user")
    _ids_in_range(array[:, 1], n_items, "pairs", "item")
    keys, test = random_out(distinct_keys(array[:, 0] * n_items + array[:, 1], []), n_users, n_items, seed)
    return rows_of(keys, n_items), test
