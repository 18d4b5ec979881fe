"""The boutique: real product photographs, simulated shoppers.

The pictures are Fashion-MNIST's (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747; MIT licence). Nobody bought
these things: the shoppers are simulated, so that a reader knows what drives every purchase and can change
it. The sizes follow the Pinterest set of the AMR paper (3,226 users, 4,998 items, 9,844 interactions).

How a simulated shopper chooses, in full:

1. An item has *visible* traits, measured on its pixels with the formulas of
   :func:`amrlib.datasets.traits.visible_traits`: category, shape, brightness, texture. No neural network takes part,
   or the features would predict themselves. It has *hidden* traits, four independent normal numbers (think of price,
   brand, cut, occasion), which no picture shows; and an appeal, by which some things sell a little better to everyone.
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

from typing import Any

import numpy as np

from ..shipped import read_shipped
from .dataset import Dataset
from .large_shops import SHELF, draw_large
from .shoppers import draw_purchases

__all__ = ["DEFAULT_SEED", "DEFAULT_VISUAL_SHARE", "LABEL_NAMES", "boutique", "statistics"]

# Fixed for plausibility before any two visual models were compared; data/README.md tells how.
DEFAULT_VISUAL_SHARE = 0.5
DEFAULT_SEED = 0
PICTURES_UP_TO = 100_000  # items; beyond, 784 bytes each are better fetched when needed: pool_images[pool]

LABEL_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


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
        A shop of that size, drawn in blocks: no array is users x items
        (:func:`amrlib.datasets.large_shops.draw_large` tells what differs).

    Returns
    -------
    Dataset
        Features are float32 (n_items, 128), the pooled activations of :func:`amrlib.features.small_cnn.load_cnn` divided
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
    features /= largest
    return Dataset(
        np.stack([train[:, 0], np.searchsorted(pool, train[:, 1])], axis=1),
        np.searchsorted(pool, test),
        features=_read_only(features),
        n_users=len(test),
        n_items=len(pool),
        images=_read_only(items["images"][pool]),
        name="boutique",
        extras=dict(
            labels=items["labels"][pool].astype(np.int64), label_names=LABEL_NAMES,
            hidden=items["hidden"][pool].astype(np.float32),  # shipped in half precision, whose sums go wrong
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
        train, test, _read_only(features), n_users=n_users, n_items=n_items, name="boutique",
        images=_read_only(items["images"][pool]) if n_items <= PICTURES_UP_TO else None,
        extras=dict(
            labels=items["labels"][pool].astype(np.int64), label_names=LABEL_NAMES, hidden=larger["hidden"],
            single=larger["single"], looks=looks, pool=pool, pool_images=items["images"], feature_scale=largest,
        ),
    )  # fmt: skip


def _read_only(array: np.ndarray) -> np.ndarray:
    """An array that is nobody else's, so that the data set need not copy it."""
    array.flags.writeable = False
    return array


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
