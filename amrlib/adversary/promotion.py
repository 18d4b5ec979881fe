"""Moving a few items' features to bring them into people's lists, and what that achieves."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import item_ids, list_length, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import BLOCK_BYTES, held_out_ranks
from ..protocols import Attackable, Ranked, Recommending
from .attacks import ascend, checked, score_blocks


@torch.no_grad()
def promote(
    model: Attackable, dataset: Dataset, items: Any, epsilon: float, k: int | None = None, steps: int = 1, norm: str = "l2"
) -> Tensor:
    """The features with some items' moved by at most ε to bring them into people's first k: (N, D).

    What goes up, for each promoted item t, is a smooth count of the people who are shown it,

        Σ_u σ(ŷ_ut − ŷ_u(k)),   ŷ_u(k) the k-th best of u's untouched items outside ``items``,

    over all users who do not have t already. (The BPR loss against the same bar would be spent on the many whom the item
    will never reach: their gradients are the largest.) The bar does not move with Δ, and no item's Δ touches another's
    count. ``steps`` and ``norm`` are those of :func:`perturb`, and the best step is taken item by item. Raises as
    :func:`perturb`, and a ValueError for no item, an id out of range, or fewer than k items left that are not promoted."""
    c, E, epsilon, steps = checked(model, epsilon, steps, norm)
    ids = item_ids(items, dataset.n_items, some=True)
    k = list_length(k, dataset.n_items - len(ids), "the {} items that are not promoted")
    U, V, visual = model.user_vectors(), model.item_vectors(), model.visual_users()
    at = torch.as_tensor(ids, device=U.device)
    users, bars = np.arange(dataset.n_users), []
    for _, _, _, scores in score_blocks(U, V, dataset, users):
        scores[:, at] = -torch.inf
        bars.append(torch.topk(scores, k, dim=1).values[:, -1])
    bar = torch.cat(bars)  # (M,)  −∞ for someone who has nearly everything: whatever comes is shown
    V = V[at]  # (n, K̃) the promoted ones
    block = max(1, BLOCK_BYTES // (len(ids) * U.element_size() * 4))

    def gradient(seen: Tensor | None) -> tuple[Tensor, Tensor]:  # ΔE (n, K) -> s (n, K), the smooth counts (n,)
        s, count = V.new_zeros(len(ids), visual.shape[1]), V.new_zeros(len(ids), dtype=torch.float64)
        for start in range(0, dataset.n_users, block):
            part = slice(start, start + block)
            ahead = U[part] @ V.T - bar[part, None]  # (b, n)
            if seen is not None:
                ahead += visual[part] @ seen.T
            has = torch.as_tensor(dataset.is_train(users[part, None], ids), device=s.device)
            shown = torch.sigmoid(ahead.masked_fill_(has, -torch.inf))
            count += shown.double().sum(0)
            s += (shown * (1 - shown)).T @ visual[part]  # σ' = σ (1 − σ)
        return s, count

    return c.to(E).index_copy(0, at, ascend(c[at.to(c.device)], E, gradient, epsilon, steps, norm))


def category_hit_ratio(
    model: Recommending, dataset: Dataset, items: Any, k: int | None = None, features: Any = None
) -> float:
    """CHR@k = 1/(kM) Σ_u #{ i ∈ items, not one that u has : i among u's first k }, with M users: the share of all places in
    people's first k that go to ``items``, one at least. In [0, 1]. It is the category hit ratio of Di Noia, Malitesta & Merra
    (2020) where they are a category's. What u has is what the data say that the model is bound to."""
    ids = item_ids(items, dataset.n_items, some=True)
    shown, _ = model.recommend(np.arange(dataset.n_users), list_length(k, dataset.n_items), features)  # (M, k)
    return float(np.isin(shown, ids).mean())


def item_ranks(model: Ranked, dataset: Dataset, item: int, features: Any = None) -> np.ndarray:
    """Where one item stands with everyone who does not have it: int64, one rank a user, users ascending; 0 is best, and ties
    count against it, as everywhere in this library."""
    item = whole_number(item, "item", 0, dataset.n_items - 1)
    has = dataset.is_train(np.arange(dataset.n_users), np.array(item))
    return held_out_ranks(model.user_vectors(), model.item_vectors(features), dataset, items=np.where(has, -1, item))
