"""How well a model ranks the item held out of each user's history: HR@K, NDCG@K and their kin, for any model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from ..checks import one_of, whole_number
from ..datasets.dataset import Dataset
from ..protocols import Ranked
from . import ranks as measures
from .candidates import sample_candidates
from .statistics import bootstrap, correction


def measure_name(measure: str) -> str:
    """``"hr"``, ``"ndcg"``, ``"mrr"`` or ``"auc"``; recall is HR where one item is held out."""
    one_of(measure.lower(), "measure", ("hr", "ndcg", "mrr", "auc", "recall"))
    return "hr" if measure.lower() == "recall" else measure.lower()


@dataclass
class Report:
    """Where each test user's held-out item stands, and every measure that follows from it. Arrays (n,), int64 but for
    ``cold``. ``measure`` is ``"hr"`` (or ``"recall"``, the same), ``"ndcg"``, ``"mrr"`` or ``"auc"``; these two have no k."""

    ranks: np.ndarray  # 0 is best; ties count against the held-out item
    users: np.ndarray
    items: np.ndarray  # the held-out ones
    cold: np.ndarray  # bool: the held-out item had no training interaction
    n_candidates: np.ndarray  # how many rivals it was ranked against
    n_pool: np.ndarray  # how many there are in the whole catalogue; of a full ranking the same
    activity: np.ndarray  # how many items the user has in train
    k: tuple[int, ...] = (5, 10, 20)
    name: str = ""
    ranking: str = "full"

    def values(self, measure: str = "ndcg", k: int = 10) -> np.ndarray:
        """Each user's figure, float64 (n,); the measure is their mean."""
        return measures.gains(measure_name(measure), self.ranks, whole_number(k, "k", 1), self.n_candidates)

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

    def only(self, which: np.ndarray) -> Self:
        """The report on some of its users: a boolean mask or positions, e.g. ``report.only(report.cold)``."""
        rows = np.arange(len(self.ranks))[which]
        if not len(rows):
            raise ValueError("which selects no user: there is nothing to average")
        return replace(self, **{name: x[rows] for name, x in vars(self).items() if isinstance(x, np.ndarray)})

    def table(self) -> pd.DataFrame:
        """One row: HR and NDCG at each k; of a sampled report also their corrections."""
        row = {f"HR@{k}": self.hr(k) for k in self.k} | {f"NDCG@{k}": self.ndcg(k) for k in self.k}
        if self.ranking == "sampled":
            for measure in ("hr", "ndcg"):
                row |= {f"{measure.upper()}@{k} corrected": self.corrected(measure, k) for k in self.k}
        return pd.DataFrame([row], index=[self.name])

    def by(self, groups: str | Sequence[Any] | np.ndarray = "cold") -> pd.DataFrame:
        """The table of each group of users, with their number ``users``. ``groups`` is ``"cold"``: cold and warm held-out
        items; ``"activity"``: users by the size of their history, in steps that double (0, 1, 2–3, 4–7, …); or any labels,
        (n,), in the order of ``self.users``."""
        if not isinstance(groups, str):
            labels = np.asarray(groups)
            if labels.shape != self.ranks.shape:
                raise ValueError(f"groups needs one label for each of {len(self.ranks)} users, not {labels.shape}")
            names = list(np.unique(labels))
        elif groups == "cold":
            names, labels = ["warm item", "cold item"], np.where(self.cold, "cold item", "warm item")
        elif groups == "activity":
            power = np.frexp(self.activity)[1]  # 0; 1; 2 for 2–3; 3 for 4–7; …
            names = ["0", "1", *(f"{2**p // 2}–{2**p - 1}" for p in range(2, power.max() + 1))]
            labels = np.array(names)[power]
        else:
            raise ValueError(f"groups must be 'cold', 'activity' or labels for the users, not {groups!r}")
        parts = {name: self.only(labels == name) for name in names if (labels == name).any()}
        table = pd.concat([part.table() for part in parts.values()]).set_axis(list(parts))
        table.insert(0, "users", [len(part.ranks) for part in parts.values()])
        return table

    def interval(
        self, measure: str = "ndcg", k: int = 10, level: float = 0.95, n: int = 2000, seed: int = 0
    ) -> tuple[float, float]:
        """Where the measure would lie for other users like these (not after training with another seed): percentile
        bootstrap, the users drawn again with replacement ``n`` times."""
        return bootstrap(self.values(measure, k), level, n, seed)[:2]

    def corrected(self, measure: str = "ndcg", k: int = 10, gamma: float = 0.1) -> float:
        """What a sampled report says about the measure over the whole catalogue.

        Krichene & Rendle's bias–variance estimator ("On Sampled Metrics for Item Recommendation", KDD 2020, §5). With R rivals
        in the catalogue, r of them ahead, and n of the R sampled without repetition, the sampled rank s has P(s | r) = A_rs,
        hypergeometric. Instead of f(s) each user contributes f̂(s), where

            f̂ = argmin  Σ_r [ (Σ_s A_rs f̂_s − f_r)² + γ Var(f̂_s | r) ]
              = ((1−γ) AᵀA + γ diag(Aᵀ1))⁻¹ Aᵀ f,      0 < γ ≤ 1,

        bias² plus γ times variance, all ranks r alike. R and n are medians over the users, who differ by a few items. It is
        *not* unbiased at every rank: no function of s can be, once R is larger than n. It does well while n is a fair part of
        R (999 of 5,000); of 999 in 300,000 nothing can tell rank 10 from rank 100, and the figure comes out too low where the
        sampled one comes out far too high. f̂ solves equations and is no share: **the figure can leave [0, 1]**. Every
        held-out item first among 4,999, with 999 drawn, gives HR@10 = 1.073; cut off at 1 it would be biased in the mean of
        several runs. AUC alone is unbiased as sampled, and returned so; a full report is returned as it is."""
        values = self.values(measure, k)
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, not {gamma!r}")
        R, n = int(np.median(self.n_pool)), int(np.median(self.n_candidates))
        if measure_name(measure) != "auc" and n < R:
            values = correction(measure_name(measure), int(k), R, n, gamma)[np.minimum(self.ranks, n)]
        return float(values.mean())


def cutoffs(k: int | Sequence[int] | None, n_items: int) -> tuple[int, ...]:
    """``k``, one or several, as Python ints within the catalogue; None: 5, 10 and 20, as far as it goes."""
    if k is None:
        return tuple(n for n in (5, 10, 20) if n <= n_items) or (n_items,)
    ks = tuple(k) if isinstance(k, Sequence | np.ndarray) and np.ndim(k) else (k,)
    if not ks:
        raise ValueError("k must be one whole number or several, not none")
    return tuple(whole_number(n, "k", 1, n_items, "the catalogue's {} items") for n in ks)


@measures.full_precision()
def evaluate(
    model: Ranked, dataset: Dataset, k: int | Sequence[int] | None = None, ranking: str = "full",
    features: Any = None, n_candidates: int = 999, seed: int = 0, progress: bool = True,
) -> Report:  # fmt: skip
    """Rank the held-out item of every user who has one; ties count against it.

    Leave-one-out, as in the AMR paper (§4.1.3), with at most one held-out item a user: recall@K is then HR@K, and precision@K
    is HR@K / K. Several, and with them recall, precision and MAP beside HR, are not provided for. An unknown ``ranking``,
    k below 1 or above the catalogue, no test user, and sizes that do not agree are a ValueError.

    Parameters
    ----------
    k : int or several
        Left out, 5, 10 and 20, as far as the catalogue goes.
    ranking : ``"full"`` or ``"sampled"``
        Among all items but the user's training items; or among ``dataset.candidates`` where a protocol published them, else
        ``n_candidates`` random items that the user has not touched, drawn with ``seed``: the paper's way, to compare with its
        tables. Krichene & Rendle (KDD 2020) show why sampled figures can order models wrongly; the table of a sampled report
        therefore shows each figure's correction beside it (:meth:`amrlib.evaluation.Report.corrected`).
    features : (N, D), optional
        Evaluate under changed features (see :func:`amrlib.perturb`).
    """
    one_of(ranking, "ranking", ("full", "sampled"))
    ks = cutoffs(k, dataset.n_items)
    users = dataset.test_users
    if not len(users):
        raise ValueError("test holds no item out (-1 for every user): there is nothing to rank")
    user_vectors, item_vectors = model.user_vectors(), model.item_vectors(features)
    if (len(user_vectors), len(item_vectors)) != (dataset.n_users, dataset.n_items):
        raise ValueError(f"the model knows {len(user_vectors)} users and {len(item_vectors)} items, "
                         f"the data set has {dataset.n_users} and {dataset.n_items}")  # fmt: skip
    items, activity = dataset.test[users], np.diff(dataset.indptr)[users]
    pool = dataset.n_items - activity - 1 + dataset.is_train(users, items)
    candidates, rivals = None, pool
    if ranking == "sampled":
        candidates = sample_candidates(dataset, n_candidates, seed) if dataset.candidates is None else dataset.candidates
        rivals = (candidates[users] != items[:, None]).sum(1)
    ranks = measures.held_out_ranks(user_vectors, item_vectors, dataset, candidates, progress=progress)
    return Report(ranks, users, items, dataset.cold[items], rivals, pool, activity, ks, type(model).__name__, ranking)
