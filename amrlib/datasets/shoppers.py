"""Who buys what: the simulated shoppers of the shop that ships, and of its redraws for the same items.

Computed in float64: for another processor to draw other purchases, two of a shopper's keys would have to agree in their
first thirteen digits.
"""

from __future__ import annotations

import numpy as np

from .dataset import leave_one_out
from .traits import traits_of_pool

__all__ = ["draw_purchases", "one_after_another"]

N_USERS = 3226  # the paper's Pinterest
REACH = 20
SHARPNESS = 3.0  # τ = (distance to the REACH-th nearest item) / SHARPNESS
TRENDS = 1000  # looks of the season; a few shoppers share each
TWO_LOOKS = 0.5  # share of shoppers with a second look
SECOND_LOOK = 1 / 3  # and how often they follow it
LIST = 128  # how far down the list a shopper goes when single pieces are sold out


def draw_purchases(
    items: dict[str, np.ndarray], visual_share: float, seed: int, n_users: int = N_USERS, block: int = 256
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the simulated shoppers and their purchases; the rules are at the top of :mod:`amrlib.datasets.boutique`.

    Parameters
    ----------
    items : arrays of the pool of P items
        ``images`` (P, 28, 28), ``labels`` (P,), ``hidden`` (P, 4), ``appeal`` (P,), ``single`` (P,).
    block : int
        How many shoppers are drawn at once: the largest arrays are (block, P), and what draws to each trend, (TRENDS, P).

    Returns
    -------
    train : int64, shape (n, 2)
        Rows (user, row of the pool).
    test : int64, shape (n_users,)
    looks : int64, shape (n_users, 2, 2)
        See :func:`amrlib.datasets.boutique.boutique`.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    visible = traits_of_pool(items)  # (P, V), total variance 1
    hidden = items["hidden"].astype(np.float64) / 2  # (P, 4), total variance 1 as well
    shares = np.sqrt([visual_share, 1 - visual_share])
    traits = np.concatenate([shares[0] * visible, shares[1] * hidden], axis=1)  # (P, V + 4)
    squares, appeal, P = np.square(traits).sum(1), items["appeal"].astype(np.float64), len(traits)

    # as many purchases as the paper's Pinterest users made: 2 at least, 3 on average, 11 at most
    counts = 2 + np.minimum(rng.negative_binomial(1.2, 1.2 / (1.2 + 1.05), n_users), 9)  # (M,)
    trends = rng.integers(P, size=(TRENDS, 2))  # (trend, visible or hidden)
    followed = rng.integers(TRENDS, size=(n_users, 2))  # (user, look)
    looks = trends[followed]  # (user, look, visible or hidden)
    looks[rng.random(n_users) >= TWO_LOOKS, 1] = -1

    attraction = np.empty((TRENDS, P))  # rows sum to 1
    for start in range(0, TRENDS, block):
        trend = trends[start : start + block]  # (b, 2)
        centre = np.concatenate([shares[0] * visible[trend[:, 0]], shares[1] * hidden[trend[:, 1]]], axis=1)
        distance = np.square(centre).sum(1, keepdims=True) - 2 * centre @ traits.T + squares  # (b, P) squared
        reach = np.partition(distance, REACH, axis=1)[:, REACH, None].clip(1e-12)
        weight = np.exp(appeal - distance * (SHARPNESS**2 / 2) / reach)
        attraction[start : start + block] = weight / weight.sum(1, keepdims=True)

    wanted = np.empty((n_users, LIST), dtype=np.int64)  # each shopper's list, best first
    for start in range(0, n_users, block):
        first, second = followed[start : start + block].T
        weight = attraction[first]  # (b, P)
        two = np.flatnonzero(looks[start : start + block, 1, 0] >= 0)
        weight[two] = (1 - SECOND_LOOK) * weight[two] + SECOND_LOOK * attraction[second[two]]
        # an exponential number over the weight, the smallest first: the Gumbel trick without logarithms
        keys = rng.standard_exponential(weight.shape)
        keys /= np.maximum(weight, 1e-300, out=weight)
        head = np.sort(np.argpartition(keys, LIST, axis=1)[:, :LIST], axis=1)  # its own order is the processor's
        order = np.argsort(np.take_along_axis(keys, head, 1), axis=1, kind="stable")
        wanted[start : start + block] = np.take_along_axis(head, order, 1)

    left = np.ones(wanted.shape, dtype=bool)
    users, places = one_after_another(wanted, left, counts, items["single"])
    new = rng.permutation(n_users)  # a user's number tells nothing about when he came
    train, test = leave_one_out(np.stack([new[users], wanted[users, places]], axis=1), seed=seed, n_users=n_users)
    return train, test, looks[np.argsort(new)]


def one_after_another(
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
