"""Shops of any size by the boutique's rules, the same for the same seed on every processor.

Processors and their libraries agree on whole numbers, on comparing, and on one addition, product, division or square
root at a time. They disagree in the last digit of a sum of many products (its order), of exp and log, and in the order
in which a partition leaves its part; a last digit decides who comes first, and then all that follows. So

- traits are whole numbers, small enough that a product of matrices is exact in float64, in whatever order it is summed;
- exp, and the draws whose makers use exp and log, are read off tables of a few thousand numbers, rounded to 28 binary
  digits; none lies so near to an edge of the rounding that a last digit matters (``tests/test_boutique.py`` measures it);
- what is sorted are whole numbers of which no two are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from .dataset import leave_one_out
from .shoppers import LIST, N_USERS, REACH, SECOND_LOOK, SHARPNESS, TRENDS, TWO_LOOKS, one_after_another
from .traits import traits_of_pool

__all__ = ["draw_large"]

SHELF = 6300  # items a look is chosen from, as many as the pool has
ANOTHER_SINGLE = 0.62  # and the chances that made the pool's items: data/README.md
ANOTHER_APPEAL = 0.5

TRAIT = 1 << 12  # steps of a trait of size 1; the pool's float16 traits have no more digits
LOG_WEIGHT = 1 << 9  # steps of a log weight of size 1
FURTHEST = 16 * LOG_WEIGHT  # from the likeliest item on; beyond, an item has no weight
DIGITS = 28  # binary digits of a table
CELLS = 1 << 12  # of a table of quantiles
KEY = 1 << 16  # steps of a key of size 1
NEVER = 1 << 54  # the key of what has no weight


# ---------------------------------------------------------------- tables in place of exp and log


def _rounded(values: Iterable[float] | np.ndarray, digits: int = DIGITS) -> np.ndarray:
    return np.rint(np.asarray(list(values), dtype=np.float64) * 2.0**digits) / 2.0**digits


@lru_cache(maxsize=1)
def _exp_table() -> np.ndarray:
    """exp(−n / LOG_WEIGHT), n = 0 … FURTHEST − 1, then 0."""
    return _rounded([*(math.exp(-n / LOG_WEIGHT) for n in range(FURTHEST)), 0.0])


def _quantile_table(quantile: Callable[[float], float], lowest: float, highest: float) -> np.ndarray:
    """Quantiles at 0, 1/CELLS, …, 1, of which the two at the ends are given, since they may be infinite."""
    return _rounded([lowest, *(quantile(n / CELLS) for n in range(1, CELLS)), highest])


@lru_cache(maxsize=1)
def _exponential_table() -> np.ndarray:
    last = -math.log1p(-(1 - 1 / CELLS))
    return _quantile_table(lambda u: -math.log1p(-u), 0.0, last + 2)  # + 2: the mean of what lies beyond is right


@lru_cache(maxsize=1)
def _normal_table() -> np.ndarray:
    return _quantile_table(NormalDist().inv_cdf, -4.0, 4.0)


@lru_cache(maxsize=1)
def _count_table() -> np.ndarray:
    """The chances that a negative binomial number is at most 0, 1, …, 8."""
    r, p = 1.2, 1.2 / (1.2 + 1.05)
    chances = [p**r]
    for k in range(8):
        chances.append(chances[-1] * (k + r) / (k + 1) * (1 - p))
    return _rounded(np.add.accumulate(chances))


def _off_table(table: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Quantiles of ``u``, uniform in [0, 1): straight lines between those of the table."""
    place = u * CELLS
    cell = place.astype(np.int64)
    place -= cell
    return table[cell] + (table[cell + 1] - table[cell]) * place


def _smallest(keys: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n smallest whole numbers of each row, ascending, of equal ones the first, and their places: two (b, n)."""
    width = keys.shape[1]
    keys = keys * width
    keys += np.arange(width)  # now no two are equal, and any sorting gives the same
    keys.partition(n - 1, axis=1)
    return np.divmod(np.sort(keys[:, :n], axis=1), width)


# ---------------------------------------------------------------- items and shoppers


def draw_large(
    items: dict[str, np.ndarray], visual_share: float, seed: int, n_users: int, n_items: int, block: int = 64
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A shop of any size, by the rules at the top of :mod:`amrlib.datasets.boutique` but for four things.

    - Beyond the pool, pictures come again: another thing of the same appearance, with hidden traits, appeal and
      singleness of its own.
    - There are as many looks for each shopper as in the shop that ships (one for about three), and a look chooses
      from a shelf of at most SHELF items, a random part of the catalogue: a shopper does not see a million things.
    - Of the shelf the LIST likeliest items count; the others have next to no weight.
    - Items nobody bought stay: cold, known by their features alone, so that the shop has ``n_items`` items.

    Parameters
    ----------
    items : arrays of the pool, as for :func:`amrlib.datasets.shoppers.draw_purchases`
    block : int
        How many looks share a shelf and are worked on at once: the largest array is (block, SHELF). Besides, the
        lists of all looks are kept, 8 bytes · LIST for each, 320 MB for a million shoppers.

    Returns
    -------
    train : int64, shape (n, 2)
        Rows (user, item).
    test : int64, shape (n_users,), -1 for whoever found fewer than two items
    looks : int64, shape (n_users, 2, 2)
        As in :func:`amrlib.datasets.boutique.boutique`, but in rows of the shop's items.
    larger : ``pool`` int64, ``hidden`` float32 (n_items, 4), ``appeal`` float32, ``single`` bool
    """
    rng = np.random.Generator(np.random.PCG64([seed, n_users, n_items]))
    larger = _draw_items(items, n_items, rng)
    n_looks = max(1, round(n_users * TRENDS / N_USERS))
    trends = rng.integers(n_items, size=(n_looks, 2))  # (look, visible or hidden)
    lists, chances = _lists_of_looks(traits_of_pool(items), larger, visual_share, trends, block, rng)

    counts = 2 + np.searchsorted(_count_table(), rng.random(n_users), side="right")  # (M,)
    followed = rng.integers(n_looks, size=(n_users, 2))  # (user, look)
    two = rng.random(n_users) < TWO_LOOKS
    new = rng.permutation(n_users)  # a user's number tells nothing about when he came
    depth, single = lists.shape[1], larger["single"]
    sold, bought = np.zeros(n_items, dtype=bool), []
    for start in range(0, n_users, 4096):
        now = slice(start, start + 4096)
        share = np.where(two[now, None], [[1 - SECOND_LOOK, SECOND_LOOK]], [[1.0, 0.0]]).astype(np.float32)  # (b, 2)
        weight = (chances[followed[now]] * share[:, :, None]).reshape(len(share), -1)  # (b, 2 · depth)
        # an exponential number over the weight, the smallest first: about 1, below 2**36
        keys = np.full(weight.shape, NEVER, dtype=np.float64)
        waits = _off_table(_exponential_table(), rng.random(weight.shape))
        np.divide(KEY * waits, weight, out=keys, where=weight > 0)
        keys, places = _smallest(np.rint(keys).astype(np.int64), depth)
        wanted = np.take_along_axis(lists[followed[now]].reshape(weight.shape), places, 1)  # (b, depth), best first
        left = (keys < NEVER) & ~sold[wanted]
        users, places = one_after_another(wanted, left, counts[now], single)
        things = wanted[users, places]
        sold[things[single[things]]] = True
        bought.append(np.stack([new[start + users], things], axis=1))
    train, test = leave_one_out(np.concatenate(bought), seed=seed, n_users=n_users)
    looks = trends[followed]  # (M, 2, 2)
    looks[~two, 1] = -1
    return train, test, looks[np.argsort(new)], larger


def _draw_items(items: dict[str, np.ndarray], n_items: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """``pool``, ``hidden``, ``appeal`` and ``single`` of the pool's items, or a part of them, and of more like them."""
    P = len(items["labels"])
    first = np.arange(P) if n_items >= P else np.sort(rng.permutation(P)[:n_items])
    more = n_items - len(first)

    def normal(*shape: int) -> np.ndarray:
        return _off_table(_normal_table(), rng.random(shape)).astype(np.float32)

    return {
        "pool": np.concatenate([first, rng.integers(P, size=more)]),
        "hidden": np.concatenate([items["hidden"][first], normal(more, 4)]),
        "appeal": np.concatenate([items["appeal"][first], np.float32(ANOTHER_APPEAL) * normal(more)]),
        "single": np.concatenate([items["single"][first], rng.random(more) < ANOTHER_SINGLE]),
    }


def _lists_of_looks(
    visible: np.ndarray, larger: dict[str, np.ndarray], visual_share: float, trends: np.ndarray, block: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The likeliest items of each look, int32 (L, depth), and their chances, float32 (L, depth)."""
    n_items, n_looks = len(larger["pool"]), len(trends)
    depth, shelf = min(LIST, n_items // 2), min(SHELF, n_items)
    shares = np.sqrt([visual_share, 1 - visual_share]) * TRAIT
    # rounded twice: once where only the shipped pictures decide on which side, then after products one at a time
    visible = np.rint(shares[0] * _rounded(visible.ravel(), 16).reshape(visible.shape)).astype(np.float32)  # (P, V)
    hidden = np.rint(shares[1] / 2 * larger["hidden"].astype(np.float64)).astype(np.float32)  # (N, 4)
    appeal = np.rint(larger["appeal"].astype(np.float64) * LOG_WEIGHT)  # (N,)

    def traits(seen: np.ndarray, unseen: np.ndarray) -> np.ndarray:  # rows of items -> (n, V + 4), whole numbers
        return np.concatenate([visible[larger["pool"][seen]], hidden[unseen]], axis=1, dtype=np.float64)

    order = rng.permutation(n_items)  # a shelf is a stretch of it
    lists = np.empty((n_looks, depth), dtype=np.int32)
    chances = np.empty((n_looks, depth), dtype=np.float32)
    for start in range(0, n_looks, block):
        look = trends[start : start + block]  # (b, 2)
        rows = order[(rng.integers(n_items) + np.arange(shelf)) % n_items]  # (S,)
        here, centre = traits(rows, rows), traits(look[:, 0], look[:, 1])
        distance = (-2 * centre) @ here.T  # (b, S) squared, exact
        distance += np.square(centre).sum(1, keepdims=True)
        distance += np.square(here).sum(1)
        reach = np.partition(distance, REACH, axis=1)[:, REACH, None].clip(1)
        distance *= (SHARPNESS**2 / 2 * LOG_WEIGHT) / reach
        distance -= appeal[rows]
        less, places = _smallest(np.rint(distance, out=distance).astype(np.int64), depth)  # (b, depth)
        weight = _exp_table()[(less - less[:, :1]).clip(max=FURTHEST)]
        lists[start : start + block] = rows[places]
        chances[start : start + block] = weight / weight.sum(1, keepdims=True)
    return lists, chances
