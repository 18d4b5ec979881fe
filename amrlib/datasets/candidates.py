"""The rivals of a sampled ranking: for each user, some of the items that the user has not touched."""

import numpy as np

from ..checks import whole_number
from .dataset import Dataset

BLOCK = 2**16  # candidates at a time: what a core's cache holds


def sample_candidates(dataset: Dataset, n: int = 999, seed: int = 0) -> np.ndarray:
    """n distinct items for each user, none of them touched by the user in train or test: (M, n) int64, rows ascending.

    Every set of n such items is equally likely, cold ones among them. A seed gives the same rows on every machine; a user with
    fewer than n such items is a ValueError. A user's L untouched items stand on a line without gaps, at 0 … L − 1; of these
    places n are drawn, and each moves up by the number of the user's items before it."""
    n, rng = whole_number(n, "n_candidates", 1), np.random.default_rng(whole_number(seed, "seed", 0))
    users = np.arange(dataset.n_users)
    held = (dataset.test >= 0) & ~dataset.is_train(users, dataset.test)  # (M,) has an item in test alone
    left = dataset.n_items - np.diff(dataset.indptr) - held  # (M,)  L
    if left.min() < n:
        user, fewest = dataset.user_ids.tolist()[left.argmin()], int(left.min())
        fewer = f"pass n_candidates={fewest} or less, or " if fewest else ""
        raise ValueError(f"n_candidates={n}, but user {user!r} has only {fewest} untouched items; {fewer}rank among all items "
                         "with ranking='full'")  # fmt: skip
    drawn = np.empty((dataset.n_users, n), dtype=np.int64)
    stride, block = dataset.n_items + 1, max(1, BLOCK // n)
    for ids in np.split(users, range(block, dataset.n_users, block)):
        line = np.arange(len(ids)) * stride  # where each user's line begins
        rows, items = dataset.seen_by(ids)
        own = np.sort(np.concatenate([line[rows] + items, (line + dataset.test[ids])[held[ids]]]))
        first = np.searchsorted(own, line)
        # the user's m-th item stands before place items_m − m: from there on, all places move up by one more
        gaps = own - (np.arange(len(own)) - first[own // stride])  # ascending over all users
        places = _subsets(rng, left[ids], n)  # (b, n)
        drawn[ids] = places + np.searchsorted(gaps, places + line[:, None], side="right") - first[:, None]
    return drawn


def _subsets(rng: np.random.Generator, left: np.ndarray, n: int) -> np.ndarray:
    """n distinct whole numbers below each ``left`` (b,), ascending, every set equally likely: (b, n).

    Floyd: for s = 0 … n − 1 draw t from 0 … L − n + s, and take t, or L − n + s where t has been taken. It has been taken if
    an earlier draw was t too, or if t is itself the L − n + s of an earlier step that had to take that."""
    first, step = (left - n)[:, None], np.arange(n)
    window = first + step  # (b, n)  L − n + s
    t = (rng.random(window.shape) * (window + 1)).astype(np.int64)  # in equal parts, but for L·2⁻⁵³ of one
    bits, taken = n.bit_length(), np.zeros(t.shape, dtype=bool)
    order = np.sort((t << bits) | step, axis=1)  # by t, then by step
    row, place = np.divmod(np.flatnonzero((order[:, 1:] ^ order[:, :-1]) < 2**bits), max(1, n - 1))  # the same t again
    taken[row, order[row, place + 1] & (2**bits - 1)] = True
    row, later = np.divmod(np.flatnonzero((t >= first) & (t < window)), n)
    earlier = t[row, later] - first[row, 0]
    while (new := taken[row, earlier] & ~taken[row, later]).any():
        taken[row[new], later[new]] = True
    return np.sort(np.where(taken, window, t), axis=1)
