"""Where does the held-out item stand? Ranks in blocks of users, and the measures that follow from them.

A rank counts from 0: the number of other candidates that score at least as high as the held-out item.
A tie counts against it, as in the authors' program, so a model that gives every item the same score
is the worst there is, not the luckiest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .datasets.dataset import Dataset
from .progress import progress_bar

__all__ = ["auc", "held_out_ranks", "hr", "mrr", "ndcg"]

BLOCK_BYTES = 2**27  # the most that scores take at a time: 128 MiB, whatever the size of the catalogue
TILE_BYTES = 2**21  # on the CPU scores are compared while they are still in its cache
TILE_USERS = 512


def hr(ranks: np.ndarray, k: int) -> float:
    """Hit ratio HR@k: the share of users whose held-out item is among the first k. In [0, 1]. :eq:`eq-hr-ndcg`"""
    return float((ranks < k).mean())


def ndcg(ranks: np.ndarray, k: int) -> float:
    """NDCG@k with one relevant item: mean of ln 2 / ln(rank + 2) where rank < k, else 0. In [0, 1]. :eq:`eq-hr-ndcg`"""
    return float(np.where(ranks < k, np.log(2) / np.log(ranks + 2.0), 0.0).mean())


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank, mean of 1 / (rank + 1). In (0, 1]. :eq:`eq-mrr-auc`"""
    return float((1.0 / (ranks + 1.0)).mean())


def auc(ranks: np.ndarray, n_candidates: np.ndarray) -> float:
    """The chance that the held-out item beats a random other candidate (a tie is lost). In [0, 1]. :eq:`eq-mrr-auc`"""
    return float((1.0 - ranks / np.maximum(n_candidates, 1)).mean())


@torch.no_grad()
def held_out_ranks(
    user_vectors: Tensor,
    item_vectors: Tensor,
    dataset: Dataset,
    candidates: np.ndarray | None = None,
    margin: Tensor | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Rank of each test user's held-out item (0 is best). Implements :eq:`eq-rank`.

    Parameters
    ----------
    user_vectors : (M, K), item_vectors : (N, K)
        Score ŷ_ui is their product.
    candidates : int, shape (M, C), optional
        Rank among these items only; by default among all items but the user's training items.
    margin : (M,), optional
        Added to every rival's score, per user: the worst case of :func:`amrlib.worst_case_ranks`.

    Returns
    -------
    int64, shape (len(dataset.test_users),)

    Raises
    ------
    ValueError
        A vector is not finite.
    """
    for name, vectors in (("user", user_vectors), ("item", item_vectors)):
        if not bool(torch.isfinite(vectors).all()):
            raise ValueError(f"the {name} vectors are not all finite; look for NaN in the parameters or the features")
    users = dataset.test_users
    device, size = user_vectors.device, user_vectors.element_size()
    # Items with the same vector become one column. That makes their tie exact: a matrix product may give two equal
    # columns scores that differ in the last bit. (And MF scores its cold items, all zero, once.)
    distinct, column, times = torch.unique(item_vectors, dim=0, return_inverse=True, return_counts=True)
    weight = times.to(distinct.dtype)  # (n,)
    budget = BLOCK_BYTES if device.type == "cuda" else min(BLOCK_BYTES, TILE_BYTES)
    # a sampled rival brings its whole vector, a ranked one only its score
    row_bytes = size * (1 if candidates is None else (candidates.shape[1] + 1) * user_vectors.shape[1])
    block = min(TILE_USERS if device.type != "cuda" else 4 * TILE_USERS, max(1, budget // row_bytes))
    ranks = np.empty(len(users), dtype=np.int64)
    for start in progress_bar(range(0, len(users), block), "ranking", progress):
        ids = users[start : start + block]
        rows = torch.as_tensor(ids, device=device)
        target = torch.as_tensor(dataset.test[ids], device=device)  # (b,)
        u = user_vectors[rows]  # (b, K)
        bar = (u * item_vectors[target]).sum(1, keepdim=True)  # (b, 1) the score to reach
        if margin is not None:
            bar -= margin[rows][:, None].to(bar.dtype)
        if candidates is None:
            beaten = _count(u, distinct, weight, bar, column[target], *_seen(dataset, ids, column), budget)
        else:
            rivals = torch.as_tensor(candidates[ids], device=device)  # (b, C)
            theirs = item_vectors.index_select(0, rivals.flatten()).view(*rivals.shape, -1)  # (b, C, K)
            scores = theirs.mul_(u[:, None]).sum(2)  # (b, C)
            reached = (scores >= bar) | (column[rivals] == column[target][:, None])
            beaten = (reached & (rivals != target[:, None])).sum(1)
        ranks[start : start + block] = beaten.cpu().numpy()
    return ranks


def _seen(dataset: Dataset, ids: np.ndarray, column: Tensor) -> tuple[Tensor, Tensor]:
    """Who is no rival: each user's training items and the held-out item itself, as (row, column), by column."""
    lengths = dataset.indptr[ids + 1] - dataset.indptr[ids]
    rows = np.repeat(np.arange(len(ids)), lengths)
    first = np.repeat(dataset.indptr[ids] - (np.cumsum(lengths) - lengths), lengths)
    items = dataset.indices[first + np.arange(len(first))]
    other = items != dataset.test[ids][rows]  # the held-out item may be among them; it counts once
    rows = np.concatenate([rows[other], np.arange(len(ids))])
    items = np.concatenate([items[other], dataset.test[ids]])
    columns, order = torch.sort(column[torch.as_tensor(items, device=column.device)])
    return torch.as_tensor(rows, device=column.device)[order], columns


def _count(
    u: Tensor, v: Tensor, weight: Tensor, bar: Tensor, own: Tensor, rows: Tensor, columns: Tensor, budget: int
) -> Tensor:
    """Σ_j weight_j [u·v_j ≥ bar] for each row of ``u``, less one for each (row, column) left out; int64, (b,).

    Works through the columns in tiles of ``budget`` bytes, each compared in place: nothing but the tile is held.
    """
    b = len(u)
    beaten = torch.zeros(b, dtype=torch.int64, device=u.device)
    width = max(1, min(len(v), budget // (u.element_size() * b)))
    edges = list(range(0, len(v), width))
    cuts = [*torch.searchsorted(columns, torch.as_tensor(edges, device=u.device)).tolist(), len(columns)]
    tile = u.new_empty(b * width)
    for place, left in enumerate(edges):
        part = v[left : left + width]
        s = torch.mm(u, part.T, out=tile[: b * len(part)].view(b, len(part)))  # (b, width)
        here = torch.nonzero((own >= left) & (own < left + len(part)))[:, 0]
        s[here, own[here] - left] = torch.inf  # a tie with itself and its twins, whatever the rounding
        s.ge_(bar)  # 1.0 or 0.0
        beaten += (s @ weight[left : left + len(part)]).long()  # whole numbers: exact in float32 up to 2²⁴ items
        cut = slice(cuts[place], cuts[place + 1])
        beaten.index_add_(0, rows[cut], -s[rows[cut], columns[cut] - left].long())
    return beaten


def best_items(U, V, rows, items, k, left_out=None):
    S = U @ V.T
    if not bool(torch.isfinite(S).all()):
        raise ValueError("a score is not finite; look for NaN in the parameters or the features")
    S[torch.as_tensor(rows, device=S.device), torch.as_tensor(items, device=S.device)] = -torch.inf
    if left_out is not None:
        S[:, torch.as_tensor(left_out, device=S.device)] = -torch.inf
    best = torch.topk(S, k, dim=1)
    ids, scores = best.indices.cpu().numpy(), best.values.double().cpu().numpy()
    ids[np.isneginf(scores)] = -1
    return ids, scores
