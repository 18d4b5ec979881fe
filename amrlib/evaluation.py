"""How well a model ranks what each user really chose: HR@K, NDCG@K and their kin, for any of the models.

Leave-one-out, as in the AMR paper (§4.1.3): each user has one held-out item, which is ranked

* ``"full"``: among all items but the user's training items; or
* ``"sampled"``: among 999 items the user has not touched, the paper's protocol, kept for comparison with
  its tables. Krichene & Rendle (KDD 2020) show why sampled figures can order models wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from . import ranking as measures
from .datasets.dataset import Dataset
from .ranking import held_out_ranks

__all__ = ["Report", "evaluate", "sample_candidates"]


@dataclass
class Report:
    """Where each test user's held-out item stands, and every measure that follows from it.

    Attributes
    ----------
    ranks : int64, (n,)
        0 is best; ties count against the held-out item.
    users, items : int64, (n,)
        Whose rank it is, and the held-out item.
    cold : bool, (n,)
        Whether the held-out item had no training interaction.
    n_candidates : int64, (n,)
        How many rivals it was ranked against.
    """

    ranks: np.ndarray
    users: np.ndarray
    items: np.ndarray
    cold: np.ndarray
    n_candidates: np.ndarray
    k: tuple[int, ...] = (5, 10, 20)
    name: str = ""
    ranking: str = "full"
    notes: list[str] = field(default_factory=list)

    def hr(self, k: int) -> float:
        """Hit ratio HR@k."""
        return measures.hr(self.ranks, k)

    def ndcg(self, k: int) -> float:
        """NDCG@k."""
        return measures.ndcg(self.ranks, k)

    def mrr(self) -> float:
        """Mean reciprocal rank."""
        return measures.mrr(self.ranks)

    def auc(self) -> float:
        """Chance of beating a random rival."""
        return measures.auc(self.ranks, self.n_candidates)

    def only(self, which: np.ndarray) -> Report:
        """The report on some of its users: a boolean mask or positions, e.g. ``report.only(report.cold)``."""
        rows = np.arange(len(self.ranks))[which]
        if not len(rows):
            raise ValueError("which selects no user: there is nothing to average")
        columns = ("ranks", "users", "items", "cold", "n_candidates")
        return Report(*(getattr(self, c)[rows] for c in columns), k=self.k, name=self.name, ranking=self.ranking)

    def table(self) -> pd.DataFrame:
        """One row: HR and NDCG at each k."""
        row = {f"HR@{k}": self.hr(k) for k in self.k} | {f"NDCG@{k}": self.ndcg(k) for k in self.k}
        return pd.DataFrame([row], index=[self.name])


def evaluate(
    model: Any,
    dataset: Dataset,
    k: int | Sequence[int] = (5, 10, 20),
    ranking: str = "full",
    features: Any = None,
    n_candidates: int = 999,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Rank every user's held-out item.

    Parameters
    ----------
    model
        Anything with ``user_vectors()`` (M, K) and ``item_vectors(features)`` (N, K).
    k : int or several
    ranking : ``"full"`` or ``"sampled"``
        Sampled uses ``dataset.candidates`` where a protocol published them, else ``n_candidates`` random
        items that the user has not touched, drawn with ``seed``.
    features : (N, D), optional
        Evaluate under changed features (see :func:`amrlib.perturb`).

    Raises
    ------
    ValueError
        An unknown ``ranking``, k below 1 or above the catalogue, no test user, sizes that do not agree.
    """
    if ranking not in ("full", "sampled"):
        raise ValueError(f"ranking must be 'full' or 'sampled', not {ranking!r}")
    ks = (k,) if isinstance(k, int) else tuple(k)
    if not ks or not all(isinstance(n, int | np.integer) and 1 <= n <= dataset.n_items for n in ks):
        raise ValueError(f"k must be whole numbers between 1 and the catalogue's {dataset.n_items} items, not {k!r}")
    users = dataset.test_users
    if not len(users):
        raise ValueError("test holds no item out (-1 for every user): there is nothing to rank")
    user_vectors, item_vectors = model.user_vectors(), model.item_vectors(features)
    if (len(user_vectors), len(item_vectors)) != (dataset.n_users, dataset.n_items):
        raise ValueError(
            f"the model knows {len(user_vectors)} users and {len(item_vectors)} items, "
            f"the data set has {dataset.n_users} and {dataset.n_items}"
        )
    items = dataset.test[users]
    candidates = None
    if ranking == "sampled":
        candidates = dataset.candidates
        if candidates is None:
            candidates = sample_candidates(dataset, n_candidates, seed)
        rivals = (candidates[users] != items[:, None]).sum(1)
    else:
        rivals = dataset.n_items - np.diff(dataset.indptr)[users] - 1 + dataset.is_train(users, items)
    ranks = held_out_ranks(user_vectors, item_vectors, dataset, candidates, progress=progress)
    return Report(ranks, users, items, dataset.cold[items], rivals, ks, type(model).__name__, ranking)


def sample_candidates(dataset: Dataset, n: int = 999, seed: int = 0) -> np.ndarray:
    """n distinct items for each user, none of them touched by the user in train or test; (M, n) int64.

    Cold items are among them: at test time they are rivals like any other.

    Raises
    ------
    ValueError
        Some user has fewer than ``n`` such items.
    """
    rng = np.random.default_rng(seed)
    M, N = dataset.n_users, dataset.n_items
    taken = np.diff(dataset.indptr) + ((dataset.test >= 0) & ~dataset.is_train(np.arange(M), dataset.test))
    if n < 1 or N - taken.max() < n:
        raise ValueError(f"n_candidates={n}: user {taken.argmax()} has only {N - taken.max()} untouched items")
    chosen = np.empty((M, n), dtype=np.int64)
    block = max(1, 2**24 // N)
    for start in range(0, M, block):
        stop = min(start + block, M)
        keys = rng.random((stop - start, N), dtype=np.float32)  # the n smallest keys are a random subset
        own = slice(dataset.indptr[start], dataset.indptr[stop])
        keys[dataset.unique_keys[own] // N - start, dataset.indices[own]] = 2.0
        held = np.flatnonzero(dataset.test[start:stop] >= 0)
        keys[held, dataset.test[start:stop][held]] = 2.0
        chosen[start:stop] = np.argpartition(keys, n - 1, axis=1)[:, :n] if n < N else np.arange(N)
    return chosen
