"""The boutique: real product photographs, simulated shoppers.

The pictures are Fashion-MNIST's (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747; MIT licence). Nobody bought
these things: the shoppers are simulated, so that a reader knows what drives every purchase and can change
it. The sizes follow the Pinterest set of the AMR paper (3,226 users, 4,998 items, 9,844 interactions).

How a simulated shopper chooses, in full:

1. An item has *visible* traits, measured on its pixels with the formulas of :func:`visible_traits`: category,
   shape, brightness, texture. No neural network takes part, or the features would predict themselves. It has
   *hidden* traits, four independent normal numbers (think of price, brand, cut, occasion), which no picture
   shows; and an appeal, by which some things sell a little better to everyone.
2. The season has TRENDS looks. A look is a point: the visible traits of one item and the hidden traits of
   another. A shopper follows one or two of them. The squared distance of an item from a look is
   ``visual_share · visible + (1 − visual_share) · hidden``.
3. A look attracts with weight exp(appeal − d²/2τ²), where τ grows with the distance to the look's
   REACH-th nearest item: every shopper is about equally picky, whatever ``visual_share`` is. Two looks
   mix 2 : 1.
4. A shopper buys n items without replacement with those weights (the Gumbel top-n trick). Many items are
   single pieces: shoppers come one after another, and what is sold is gone. That is what leaves so many
   items with one interaction, as the pins of Pinterest have.
5. One random purchase of each shopper is held out for the test. Items nobody bought leave the shop.
"""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from typing import Any

import numpy as np

from .dataset import Dataset, data_folder, leave_one_out

__all__ = [
    "DEFAULT_SEED", "DEFAULT_VISUAL_SHARE", "LABEL_NAMES", "boutique", "draw_large", "draw_purchases", "read_shipped",
    "statistics", "visible_traits",
]  # fmt: skip

# Fixed for plausibility before any two visual models were compared; data/README.md tells how.
DEFAULT_VISUAL_SHARE = 0.5
DEFAULT_SEED = 0
N_USERS = 3226  # the paper's Pinterest
REACH = 20
SHARPNESS = 3.0  # τ = (distance to the REACH-th nearest item) / SHARPNESS
TRENDS = 1000  # looks of the season; a few shoppers share each
TWO_LOOKS = 0.5  # share of shoppers with a second look
SECOND_LOOK = 1 / 3  # and how often they follow it
LIST = 128  # how far down the list a shopper goes when single pieces are sold out
SHELF = 6300  # of a shop of another size: items a look is chosen from, as many as the pool has
ANOTHER_SINGLE = 0.62  # and the chances that made the pool's items: data/README.md
ANOTHER_APPEAL = 0.5
PICTURES_UP_TO = 100_000  # items; beyond, 784 bytes each are better fetched when needed: pool_images[pool]

LABEL_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# How much of what a person sees each group of traits makes up: shares of the visible squared distance.
VISIBLE_WEIGHTS = {"category": 0.4, "shape": 0.25, "brightness": 0.2, "texture": 0.15}


def boutique(
    visual_share: float = DEFAULT_VISUAL_SHARE, seed: int = DEFAULT_SEED, size: tuple[int, int] | None = None
) -> Dataset:
    """The shop that ships with the book; ``amrlib.load_dataset("boutique")``.

    Parameters
    ----------
    visual_share : float in [0, 1]
        How much of a shopper's taste is visible: at 0 only the hidden traits count and pictures tell
        nothing, at 1 only what is seen counts.
    seed : int
        Draws the shoppers and what they buy; the items and their traits stay. With the default arguments the
        stored purchases are read, otherwise they are drawn anew (a second or two).
    size : (users, items), each up to 1,000,000; optional
        A shop of that size, drawn in blocks: no array is users x items (:func:`draw_large` tells what differs).

    Returns
    -------
    Dataset
        Features are float32 (n_items, 128), the pooled activations of :func:`amrlib.vision.load_cnn` divided
        by their largest absolute value. Besides its usual attributes:

        - ``labels`` int64 (n_items,) and ``label_names``: the category;
        - ``hidden`` float32 (n_items, 4) and ``single`` bool (n_items,): the traits no model is shown;
        - ``looks`` int64 (n_users, 2, 2): for each look the item whose visible, and the one whose hidden
          traits it has, as rows of the pool; -1 where there is no second look;
        - ``pool`` int64 (n_items,): each item's row among the pool's pictures, ``pool_images`` uint8;
        - ``feature_scale`` float: what the CNN's activations were divided by.

    Raises
    ------
    ValueError
        ``visual_share`` outside [0, 1], ``seed`` not a whole number of at least 0, ``size`` not two whole numbers
        (at least 1 user and 100 items); a shipped file damaged.
    FileNotFoundError
        A shipped file missing.
    """
    number = isinstance(visual_share, int | float | np.number) and not isinstance(visual_share, bool)
    if not number or not 0 <= visual_share <= 1:
        raise ValueError(
            f"visual_share must be a number from 0 (only hidden traits) to 1 (only visible), not {visual_share!r}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}")
    if size is not None:
        return _of_size(float(visual_share), int(seed), size)
    items = read_shipped("items.npz")
    if (float(visual_share), int(seed)) == (DEFAULT_VISUAL_SHARE, DEFAULT_SEED):
        bought = read_shipped("purchases.npz")
        train, test, looks = (bought[k].astype(np.int64) for k in ("train", "test", "looks"))
    else:
        train, test, looks = draw_purchases(items, float(visual_share), int(seed))
    pool = np.unique(np.concatenate([train[:, 1], test]))  # what was bought stays in the shop
    features = read_shipped("features.npz")["features"][pool].astype(np.float32)  # (N, D)
    largest = np.abs(features).max()
    return Dataset(
        np.stack([train[:, 0], np.searchsorted(pool, train[:, 1])], axis=1),
        np.searchsorted(pool, test),
        features=features / largest,
        n_users=len(test),
        n_items=len(pool),
        images=items["images"][pool],
        name="boutique",
        extras=dict(
            labels=items["labels"][pool].astype(np.int64), label_names=LABEL_NAMES, hidden=items["hidden"][pool],
            single=items["single"][pool], looks=looks, pool=pool, pool_images=items["images"],
            feature_scale=float(largest),
        ),
    )  # fmt: skip


def _of_size(visual_share: float, seed: int, size: tuple[int, int]) -> Dataset:
    whole = isinstance(size, tuple | list) and len(size) == 2
    whole = whole and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in size)
    if not whole or not (1 <= size[0] <= 1_000_000 and 100 <= size[1] <= 1_000_000):
        raise ValueError(
            f"size must be (users, items), whole numbers up to 1,000,000 and at least 1 and 100, not {size!r}"
        )
    n_users, n_items = int(size[0]), int(size[1])
    items = read_shipped("items.npz")
    train, test, looks, larger = draw_large(items, visual_share, seed, n_users, n_items)
    pool = larger["pool"]
    shipped = read_shipped("features.npz")["features"]  # float16
    largest = float(np.abs(shipped[pool[:SHELF]].astype(np.float32)).max())
    features = np.empty((n_items, shipped.shape[1]), dtype=np.float32)  # (N, D)
    for start in range(0, n_items, 1 << 16):
        features[start : start + (1 << 16)] = shipped[pool[start : start + (1 << 16)]]
    features /= np.float32(largest)
    return Dataset(
        train, test, features, n_users=n_users, n_items=n_items, name="boutique",
        images=items["images"][pool] if n_items <= PICTURES_UP_TO else None,
        extras=dict(
            labels=items["labels"][pool].astype(np.int64), label_names=LABEL_NAMES, hidden=larger["hidden"],
            single=larger["single"], looks=looks, pool=pool, pool_images=items["images"], feature_scale=largest,
        ),
    )  # fmt: skip


def read_shipped(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``data/boutique/<name>``, after comparing it with ``data/SHA256SUMS``.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, or is not the one that shipped; the message names it and the remedy.
    """
    folder = data_folder()
    remedy = "restore it with `git checkout -- data`, or make it again with `python data/make_boutique.py`"

    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"data/{path} is missing from {folder}; {remedy}") from None

    content, sums = read(f"boutique/{name}"), read("SHA256SUMS").decode()
    if f"{hashlib.sha256(content).hexdigest()}  boutique/{name}" not in sums.splitlines():
        raise ValueError(f"data/boutique/{name} is not the file that shipped (SHA256SUMS has another sum); {remedy}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


# ---------------------------------------------------------------- what a person sees


def visible_traits(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What a person sees of each item, measured on its pixels.

    Parameters
    ----------
    images : uint8, shape (N, 28, 28)
        0 is the background.
    labels : int, shape (N,)
        The category, 0 … 9.

    Returns
    -------
    traits : float64, shape (N, V)
        Centred; each group of columns has the total variance of ``VISIBLE_WEIGHTS``, all together 1.
    groups : list of str, one for each column
    """
    grey = images.astype(np.float64) / 255  # (N, 28, 28)
    inside = grey > 0.1
    area = inside.sum((1, 2)).clip(1)
    rows, columns = inside.mean(2), inside.mean(1)  # (N, 28) the silhouette's width and height, line by line
    mean = grey.sum((1, 2), where=inside) / area

    def part(which: slice) -> np.ndarray:  # mean brightness of some rows of the item
        return grey[:, which].sum((1, 2), where=inside[:, which]) / inside[:, which].sum((1, 2)).clip(1)

    def steps(axis: int) -> np.ndarray:  # mean change from a pixel to the next, inside the item
        both = inside.take(range(1, 28), axis) & inside.take(range(27), axis)
        return np.abs(np.diff(grey, axis=axis)).sum((1, 2), where=both) / both.sum((1, 2)).clip(1)

    coarse = grey.reshape(-1, 7, 4, 7, 4).mean((2, 4))  # (N, 7, 7)
    middle = grey - coarse.repeat(4, 1).repeat(4, 2)  # what is left of patterns finer than four pixels
    groups = {
        "category": np.eye(10)[labels],
        "shape": np.column_stack([
            area / 784, rows.reshape(-1, 7, 4).mean(2), columns.reshape(-1, 7, 4).mean(2),
            (inside & ~inside[:, :, ::-1]).sum((1, 2)) / area,  # lopsidedness
        ]),
        "brightness": np.column_stack([
            mean, np.sqrt(np.square(grey - mean[:, None, None]).sum((1, 2), where=inside) / area),
            part(slice(0, 14)) - part(slice(14, 28)),  # light top, dark bottom
        ]),
        "texture": np.column_stack([
            steps(1), steps(2), np.sqrt(np.square(middle).sum((1, 2), where=inside) / area),
        ]),
    }  # fmt: skip
    columns_out, names = [], []
    for name, values in groups.items():
        values = values - values.mean(0)
        if name != "category":  # each measure counts alike; the categories as they are, one step apart
            values = values / values.std(0).clip(1e-9)
        values = values * np.sqrt(VISIBLE_WEIGHTS[name] / values.var(0).sum().clip(1e-9))
        columns_out.append(values)
        names += [name] * values.shape[1]
    return np.concatenate(columns_out, axis=1), names


def _visible(items: dict[str, np.ndarray]) -> np.ndarray:
    """The visible traits of a pool; every redraw looks at the same pictures, so those of the last pool are kept."""
    labels = items["labels"].astype(np.int64)
    return _visible_of(np.ascontiguousarray(items["images"]).tobytes(), labels.tobytes())


@lru_cache(maxsize=1)
def _visible_of(images: bytes, labels: bytes) -> np.ndarray:
    traits, _ = visible_traits(np.frombuffer(images, np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, np.int64))
    traits.flags.writeable = False  # it is handed out more than once
    return traits


# ---------------------------------------------------------------- who buys what


def draw_purchases(
    items: dict[str, np.ndarray], visual_share: float, seed: int, n_users: int = N_USERS, block: int = 256
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the simulated shoppers and their purchases; the rules are at the top of this file.

    Parameters
    ----------
    items : arrays of the pool of P items
        ``images`` (P, 28, 28), ``labels`` (P,), ``hidden`` (P, 4), ``appeal`` (P,), ``single`` (P,).
    block : int
        How many shoppers are drawn at once: the largest arrays are (block, P).

    Returns
    -------
    train : int64, shape (n, 2)
        Rows (user, row of the pool).
    test : int64, shape (n_users,)
    looks : int64, shape (n_users, 2, 2)
        See :func:`boutique`.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    visible = _visible(items)  # (P, V), total variance 1
    hidden = items["hidden"].astype(np.float64) / 2  # (P, 4), total variance 1 as well
    shares = np.sqrt([visual_share, 1 - visual_share])
    traits = np.concatenate([shares[0] * visible, shares[1] * hidden], axis=1)  # (P, V + 4)
    squares, appeal, P = np.square(traits).sum(1), items["appeal"].astype(np.float64), len(traits)

    # as many purchases as the paper's Pinterest users made: 2 at least, 3 on average, 11 at most
    counts = 2 + np.minimum(rng.negative_binomial(1.2, 1.2 / (1.2 + 1.05), n_users), 9)  # (M,)
    trends = rng.integers(P, size=(TRENDS, 2))  # (trend, visible or hidden)
    looks = trends[rng.integers(TRENDS, size=(n_users, 2))]  # (user, look, visible or hidden)
    looks[rng.random(n_users) >= TWO_LOOKS, 1] = -1

    def attraction(look: np.ndarray) -> np.ndarray:  # (b, 2) -> (b, P), rows sum to 1
        centre = np.concatenate([shares[0] * visible[look[:, 0]], shares[1] * hidden[look[:, 1]]], axis=1)
        distance = np.square(centre).sum(1, keepdims=True) - 2 * centre @ traits.T + squares  # (b, P) squared
        reach = np.partition(distance, REACH, axis=1)[:, REACH, None].clip(1e-12)
        weight = np.exp(appeal - distance * (SHARPNESS**2 / 2) / reach)
        return weight / weight.sum(1, keepdims=True)

    wanted = np.empty((n_users, LIST), dtype=np.int64)  # each shopper's list, best first
    for start in range(0, n_users, block):
        look = looks[start : start + block]
        weight = attraction(look[:, 0])
        two = np.flatnonzero(look[:, 1, 0] >= 0)
        weight[two] = (1 - SECOND_LOOK) * weight[two] + SECOND_LOOK * attraction(look[two, 1])
        # an exponential number over the weight, the smallest first: the Gumbel trick without logarithms
        keys = rng.standard_exponential(weight.shape) / weight.clip(1e-300)
        first = np.argpartition(keys, LIST, axis=1)[:, :LIST]
        order = np.argsort(np.take_along_axis(keys, first, 1), axis=1)
        wanted[start : start + block] = np.take_along_axis(first, order, 1)

    left = np.ones(wanted.shape, dtype=bool)
    users, places = _one_after_another(wanted, left, counts, items["single"])
    new = rng.permutation(n_users)  # a user's number tells nothing about when he came
    train, test = leave_one_out(np.stack([new[users], wanted[users, places]], axis=1), seed=seed, n_users=n_users)
    return train, test, looks[np.argsort(new)]


def _one_after_another(
    wanted: np.ndarray, left: np.ndarray, counts: np.ndarray, single: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Who takes what of their lists ``wanted`` (M, L): row and place of every purchase; ``left`` (M, L) is used up.

    Shoppers come in the order of their rows; a single piece goes to the first who wants it, and the others look
    further down their lists, until nobody has to.
    """
    alone = single[wanted]  # (M, L)
    while True:
        taken = left & (np.cumsum(left, axis=1) <= counts[:, None])
        users, places = np.nonzero(taken & alone)  # ascending users
        _, firsts = np.unique(wanted[users, places], return_index=True)
        late = np.ones(len(users), dtype=bool)
        late[firsts] = False
        if not late.any():
            break
        left[users[late], places[late]] = False
    users, places = np.nonzero(taken)
    return users, places


def draw_large(
    items: dict[str, np.ndarray], visual_share: float, seed: int, n_users: int, n_items: int, block: int = 64
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A shop of any size, by the rules at the top of this file but for four things.

    - Beyond the pool, pictures come again: another thing that looks the same, with hidden traits, appeal and
      singleness of its own.
    - There are as many looks for each shopper as in the shop that ships (one for about three), and a look chooses
      from a shelf of at most SHELF items, a random part of the catalogue: a shopper does not see a million things.
    - Of the shelf the LIST likeliest items count; the others have next to no weight.
    - Items nobody bought stay: cold, known by their features alone, so that the shop has ``n_items`` items.

    Parameters
    ----------
    items : arrays of the pool, as for :func:`draw_purchases`
    block : int
        How many looks share a shelf and are worked on at once: the largest array is (block, SHELF). Besides, the
        lists of all looks are kept, 8 bytes · LIST for each, 320 MB for a million shoppers.

    Returns
    -------
    train : int64, shape (n, 2)
        Rows (user, item).
    test : int64, shape (n_users,), -1 for whoever found fewer than two items
    looks : int64, shape (n_users, 2, 2)
        As in :func:`boutique`, but in rows of the shop's items.
    larger : ``pool`` int64, ``hidden`` float32 (n_items, 4), ``appeal`` float32, ``single`` bool
    """
    rng = np.random.Generator(np.random.PCG64([seed, n_users, n_items]))
    P = len(items["labels"])
    first = np.arange(P) if n_items >= P else np.sort(rng.permutation(P)[:n_items])
    more = n_items - len(first)
    pool = np.concatenate([first, rng.integers(P, size=more)])  # (N,)
    hidden = np.concatenate([items["hidden"][first], rng.standard_normal((more, 4), dtype=np.float32)])
    appeal = np.concatenate(
        [items["appeal"][first], np.float32(ANOTHER_APPEAL) * rng.standard_normal(more, dtype=np.float32)]
    )
    single = np.concatenate([items["single"][first], rng.random(more, dtype=np.float32) < ANOTHER_SINGLE])
    visible = _visible(items).astype(np.float32)  # (P, V)
    shares = np.sqrt([visual_share, 1 - visual_share]).astype(np.float32)

    def traits(seen: np.ndarray, unseen: np.ndarray) -> np.ndarray:  # rows of items -> (n, V + 4)
        return np.concatenate([shares[0] * visible[pool[seen]], shares[1] / 2 * hidden[unseen]], axis=1)

    n_looks = max(1, round(n_users * TRENDS / N_USERS))
    trends = rng.integers(n_items, size=(n_looks, 2))  # (look, visible or hidden)
    order = rng.permutation(n_items)  # a shelf is a stretch of it
    depth, shelf = min(LIST, n_items // 2), min(SHELF, n_items)
    lists = np.empty((n_looks, depth), dtype=np.int32)  # the likeliest items of each look
    chances = np.empty((n_looks, depth), dtype=np.float32)
    for start in range(0, n_looks, block):
        look = trends[start : start + block]  # (b, 2)
        rows = order[(rng.integers(n_items) + np.arange(shelf)) % n_items]  # (S,)
        here, centre = traits(rows, rows), traits(look[:, 0], look[:, 1])
        distance = np.square(centre).sum(1, keepdims=True) - 2 * centre @ here.T + np.square(here).sum(1)  # (b, S)
        reach = np.partition(distance, REACH, axis=1)[:, REACH, None].clip(1e-6)
        weight = appeal[rows] - distance * np.float32(SHARPNESS**2 / 2) / reach  # its logarithm
        best = np.argpartition(-weight, depth - 1, axis=1)[:, :depth]
        weight = np.take_along_axis(weight, best, 1)
        weight = np.exp(weight - weight.max(1, keepdims=True))
        lists[start : start + block] = rows[best]
        chances[start : start + block] = weight / weight.sum(1, keepdims=True)

    counts = 2 + np.minimum(rng.negative_binomial(1.2, 1.2 / (1.2 + 1.05), n_users), 9)  # (M,)
    followed = rng.integers(n_looks, size=(n_users, 2))  # (user, look)
    two = rng.random(n_users) < TWO_LOOKS
    new = rng.permutation(n_users)  # a user's number tells nothing about when he came
    sold, bought = np.zeros(n_items, dtype=bool), []
    for start in range(0, n_users, 4096):
        now = slice(start, start + 4096)
        share = np.where(two[now, None], [[1 - SECOND_LOOK, SECOND_LOOK]], [[1.0, 0.0]]).astype(np.float32)  # (b, 2)
        weight = (chances[followed[now]] * share[:, :, None]).reshape(len(share), -1)  # (b, 2 · depth)
        keys = rng.standard_exponential(weight.shape, dtype=np.float32) / weight.clip(1e-30)
        keys[weight == 0] = np.inf
        places = np.argsort(keys, axis=1)[:, :depth]
        wanted = np.take_along_axis(lists[followed[now]].reshape(weight.shape), places, 1)  # (b, depth), best first
        left = np.isfinite(np.take_along_axis(keys, places, 1)) & ~sold[wanted]
        users, places = _one_after_another(wanted, left, counts[now], single)
        things = wanted[users, places]
        sold[things[single[things]]] = True
        bought.append(np.stack([new[start + users], things], axis=1))
    train, test = leave_one_out(np.concatenate(bought), seed=seed, n_users=n_users)
    looks = trends[followed]  # (M, 2, 2)
    looks[~two, 1] = -1
    larger = {"pool": pool, "hidden": hidden, "appeal": appeal, "single": single}
    return train, test, looks[np.argsort(new)], larger


def statistics(shop: Dataset) -> dict[str, Any]:
    """The figures that data/README.md sets beside the paper's Pinterest.

    ``activity`` and ``popularity`` are lists: how many users, and how many items, have 0, 1, 2, … training interactions.
    """
    per_user = np.bincount(shop.train[:, 0], minlength=shop.n_users)
    held = np.unique(shop.test[shop.test >= 0])
    n = len(shop.train) + int((shop.test >= 0).sum())
    return {
        "users": shop.n_users,
        "items": shop.n_items,
        "interactions": n,
        "sparsity": 1 - n / (shop.n_users * shop.n_items),
        "users with one training interaction": int((per_user == 1).sum()),
        "training interactions a user, median": float(np.median(per_user)),
        "training interactions a user, max": int(per_user.max()),
        "training interactions an item, median": float(np.median(shop.item_counts)),
        "training interactions an item, max": int(shop.item_counts.max()),
        "cold items": int(shop.cold.sum()),
        "distinct test items": len(held),
        "cold share of distinct test items": float(shop.cold[held].mean()),
        "cold share of test interactions": float(shop.cold[shop.test[shop.test >= 0]].mean()),
        "activity": np.bincount(per_user).tolist(),
        "popularity": np.bincount(shop.item_counts).tolist(),
    }
