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

BLOCK_BYTES = 2**27  # scores held at a time: 128 MiB, whatever the size of the catalogue


def hr(ranks: np.ndarray, k: int) -> float:
    """Hit ratio HR@k: the share of users whose held-out item is among the first k. In [0, 1]."""
    return float((ranks < k).mean())


def ndcg(ranks: np.ndarray, k: int) -> float:
    """NDCG@k with one relevant item: mean of ln 2 / ln(rank + 2) where rank < k, else 0. In [0, 1]."""
    return float(np.where(ranks < k, np.log(2) / np.log(ranks + 2.0), 0.0).mean())


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank, mean of 1 / (rank + 1). In (0, 1]."""
    return float((1.0 / (ranks + 1.0)).mean())


def auc(ranks: np.ndarray, n_candidates: np.ndarray) -> float:
    """The chance that the held-out item beats a random other candidate (a tie is lost). In [0, 1]."""
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
    """Rank of each test user's held-out item (0 is best).

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
    device = user_vectors.device
    n_items = len(item_vectors)
    block = max(1, BLOCK_BYTES // (n_items * user_vectors.element_size() * 2))
    ranks = np.empty(len(users), dtype=np.int64)
    items_t = item_vectors.T
    for start in progress_bar(range(0, len(users), block), "ranking", progress):
        ids = users[start : start + block]
        rows = torch.as_tensor(ids, device=device)
        target = torch.as_tensor(dataset.test[ids], device=device)
        scores = user_vectors[rows] @ items_t  # (b, N)
        own = scores.gather(1, target[:, None])  # (b, 1)
        bar = own if margin is None else own - margin[rows][:, None].to(own.dtype)
        if candidates is None:
            beaten = (scores >= bar).sum(1)
            beaten -= (own >= bar)[:, 0].long()  # the item itself is no rival
            lengths = dataset.indptr[ids + 1] - dataset.indptr[ids]
            seen_rows = np.repeat(np.arange(len(ids)), lengths)
            first = np.repeat(dataset.indptr[ids], lengths)
            seen_items = dataset.indices[first + np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)]
            not_target = seen_items != dataset.test[ids][seen_rows]
            at = torch.as_tensor(seen_rows[not_target], device=device)
            which = torch.as_tensor(seen_items[not_target], device=device)
            beaten.index_add_(0, at, -(scores[at, which] >= bar[at, 0]).long())
        else:
            rivals = torch.as_tensor(candidates[ids], device=device)  # (b, C)
            beaten = ((scores.gather(1, rivals) >= bar) & (rivals != target[:, None])).sum(1)
        ranks[start : start + block] = beaten.cpu().numpy()
    return ranks
