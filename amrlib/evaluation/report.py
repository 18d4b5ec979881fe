"""How well a model ranks the item held out of each user's history: HR@K, NDCG@K and their kin, for any model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import special

from ..checks import one_of, require, whole_number
from ..datasets.candidates import sample_candidates
from ..datasets.dataset import Dataset
from ..protocols import ALONE, Alone, Ranked
from . import ranks as measures


@dataclass
class Report:
    """Where each test user's held-out item stands, and every measure that follows from it. Arrays (n,), int64 but for
    ``cold``. ``measure`` is ``"hr"`` (or ``"recall"``, the same), ``"ndcg"``, ``"mrr"`` or ``"auc"``; these two have no k,
    but for an AUC of the first k. How ties, the ideal and AUC are counted is :func:`evaluate`'s."""

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
    ties: str = "lost"
    tied: np.ndarray | None = None  # where ties are shared: how many of ``ranks`` are rivals with the same score
    ideal: str = "achievable"
    auc_of: str = "all"

    def values(self, measure: str = "ndcg", k: int = 10) -> np.ndarray:
        """Each user's figure, float64 (n,); the measure is their mean."""
        k = whole_number(k, "k", 1)
        return self._mean_over_ties(lambda ranks, n: measures.gains(measure, ranks, k, n, self.ideal, self.auc_of))

    def _mean_over_ties(self, gain: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """What each user's rank gains, (n,); where ties are shared the mean over the places that they leave open, each as
        likely; 0 for a user of whom nothing is held out."""
        values = gain(self.ranks, self.n_candidates)
        if self.tied is not None:
            width = self.tied + 1
            user = np.repeat(np.arange(len(width)), width)
            places = self.ranks[user] - (np.arange(len(user)) - (np.cumsum(width) - width)[user])
            values = np.bincount(user, gain(places, self.n_candidates[user]), len(width)) / width
        nothing = self.items < 0
        return np.where(nothing, 0.0, values) if nothing.any() else values

    def hr(self, k: int) -> float:
        """Hit ratio HR@k."""
        return float(self.values("hr", k).mean())

    def ndcg(self, k: int) -> float:
        """NDCG@k."""
        return float(self.values("ndcg", k).mean())

    def mrr(self) -> float:
        """Mean reciprocal rank, the mean of 1 / (rank + 1)."""
        return float(self.values("mrr").mean())

    def auc(self, k: int = 10) -> float:
        """The chance that the held-out item beats a random other candidate; k matters to an AUC of the first k alone."""
        return float(self.values("auc", k).mean())

    def only(self, which: np.ndarray) -> Self:
        """The report on some of its users: a boolean mask or positions, e.g. ``report.only(report.cold)``."""
        rows = np.arange(len(self.ranks))[which]
        require(len(rows), "which selects no user: there is nothing to average")
        return replace(self, **{name: x[rows] for name, x in vars(self).items() if isinstance(x, np.ndarray)})

    def table(self) -> pd.DataFrame:
        """One row: HR and NDCG at each k; of a sampled report also their corrections."""
        columns = [(measure, k) for measure in ("hr", "ndcg") for k in self.k]
        row = {f"{measure.upper()}@{k}": self.values(measure, k).mean() for measure, k in columns}
        if self.ranking == "sampled":
            row |= {f"{measure.upper()}@{k} corrected": self.corrected(measure, k) for measure, k in columns}
        return pd.DataFrame([row], index=[self.name])

    def by(self, groups: str | Sequence[Any] | np.ndarray = "cold") -> pd.DataFrame:
        """The table of each group of users, with their number ``users``. ``groups`` is ``"cold"``: warm and cold held-out
        items; ``"activity"``: users by the size of their history, in steps that double (0, 1, 2–3, 4–7, …); or any labels,
        (n,), in the order of ``self.users``."""
        names: Any = ["warm item", "cold item"]
        if not isinstance(groups, str):
            labels, n = np.asarray(groups), len(self.ranks)
            require(labels.shape == (n,), f"groups needs one label for each of {n} users, not {labels.shape}")
            names, group = np.unique(labels, return_inverse=True)
        elif groups == "cold":
            group, names = np.where(self.items < 0, 2, self.cold), [*names, "no item"]
        elif groups == "activity":
            group = np.frexp(self.activity)[1]  # 0; 1; 2 for 2–3; 3 for 4–7; …
            names = ["0", "1", *(f"{2**n // 2}–{2**n - 1}" for n in range(2, group.max() + 1))]
        else:
            raise ValueError(f"groups must be 'cold', 'activity' or labels for the users, not {groups!r}")
        parts = {names[n]: self.only(group == n) for n in np.unique(group)}
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
        """What a sampled report says about the measure over the catalogue; a full report, and AUC, unbiased as sampled, stay.

        Krichene & Rendle's bias–variance estimator ("On Sampled Metrics for Item Recommendation", KDD 2020, §5). With R rivals
        in the catalogue, r of them ahead, and n of the R sampled, the sampled rank s has P(s | r) = A_rs, hypergeometric.
        Instead of f(s) each user contributes f̂(s), with bias² plus γ times variance the least over all ranks r alike:

            f̂ = argmin Σ_r [ (Σ_s A_rs f̂_s − f_r)² + γ Var(f̂_s | r) ] = ((1−γ) AᵀA + γ diag(Aᵀ1))⁻¹ Aᵀ f,   0 < γ ≤ 1.

        R and n are medians over the users. It does well while n is a fair part of R (999 of 5,000), and is too low where the
        sampled figure is far too high (999 of 300,000 cannot tell rank 10 from 100). It is no share: **the figure can leave
        [0, 1]**. All items first among 4,999, with 999 drawn, give HR@10 = 1.073; cut off at 1 its mean would be biased."""
        values = self.values(measure, k)
        require(0 < gamma <= 1, f"gamma must be above 0 and at most 1, not {gamma!r}")
        R, n = int(np.median(self.n_pool)), int(np.median(self.n_candidates))
        if (measure.lower() != "auc" or self.auc_of != "all") and n < R:
            ranks, solver = correction_solver(R, n, gamma)
            f_hat = solver @ measures.gains(measure, ranks, k, R, self.ideal, self.auc_of)  # (n + 1,)
            values = self._mean_over_ties(lambda ranks, _: f_hat[np.minimum(ranks, n)])
        return float(values.mean())


def bootstrap(values: np.ndarray, level: float = 0.95, n: int = 2000, seed: int = 0) -> tuple[float, float, np.ndarray]:
    """The percentile interval of the mean: its ends, and the means (n,) of ``values`` drawn again with replacement."""
    require(0 < level < 1, f"level must lie between 0 and 1, not {level!r}")
    require((users := len(values)) > 1, "an interval over users needs at least two users")
    n, rng = whole_number(n, "n", 1), np.random.default_rng(whole_number(seed, "seed", 0))
    step = max(1, 2**22 // users)  # 32 MiB of places at a time
    draws = (rng.integers(0, users, (min(step, n - start), users)) for start in range(0, n, step))
    means = np.concatenate([values[places].mean(1) for places in draws])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), means


@lru_cache(maxsize=2)
def correction_solver(R: int, n: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks r (m,) and the matrix (n + 1, m) that takes f_r to f̂. Far down, where A changes slowly, one rank
    stands for its neighbours, so that m stays near 4,000 in any catalogue."""
    r = np.unique(np.concatenate([np.arange(min(R + 1, 1000)), np.linspace(0, R, 3000).round()])).astype(np.int64)
    share = np.diff((r[1:] + r[:-1]) / 2, prepend=-0.5, append=R + 0.5) / (R + 1)  # (m,) how many it stands for
    # P(s | r) = C(r, s) C(R−r, n−s) / C(R, n), from a table of ln m!: scipy's own pmf takes minutes here
    table = np.append(special.gammaln(np.arange(R + 1) + 1.0), np.full(n, np.inf))  # m from 0 to R, and ∞ from −n to −1
    s, r_ = np.arange(n + 1), r[:, None]
    log_A = table[r_] - table[s] - table[r_ - s] + table[R - r_] - table[n - s] - table[R - r_ - n + s]  # (m, n + 1)
    A = np.exp(log_A - table[R] + table[n] + table[R - n])
    A_t = (A * share[:, None]).T
    return r, np.linalg.solve((1 - gamma) * A_t @ A + gamma * np.diag(A_t.sum(1)), A_t)


def cutoffs(k: int | Sequence[int] | None, n_items: int) -> tuple[int, ...]:
    """``k``, one or several, as Python ints within the catalogue; None: 5, 10 and 20, as far as it goes."""
    k = ([n for n in (5, 10, 20) if n <= n_items] or n_items) if k is None else k
    ks = tuple(k) if isinstance(k, Sequence | np.ndarray) and np.ndim(k) else (k,)
    require(ks, "k must be one whole number or several, not none")
    return tuple(whole_number(n, "k", 1, n_items, "the catalogue's {} items") for n in ks)


@measures.full_precision()
def evaluate(
    model: Ranked, dataset: Dataset, k: int | Sequence[int] | None = None, ranking: str = "full",
    features: Any = None, n_candidates: int = 999, seed: int = 0, progress: bool = True, ties: str = "lost",
    ideal: str = "achievable", missing: str = "left out", auc: str = "all", team: Alone = ALONE,
) -> Report:  # fmt: skip
    """Rank the held-out item of every user who has one, as in the AMR paper (§4.1.3); ties count against it.

    ``ranking="full"`` is among all items but the user's training items. ``"sampled"`` is among ``dataset.candidates`` where a
    protocol published them, else ``n_candidates`` random items that the user has not touched, drawn with ``seed``: the paper's
    way, to compare with its tables. Krichene & Rendle (KDD 2020) show why sampled figures can order models wrongly; the table
    then shows each figure's correction beside it (:meth:`amrlib.evaluation.Report.corrected`). ``features`` (N, D) are changed
    ones, as :func:`amrlib.perturb` makes them. With one item held out recall@K is HR@K, and precision@K is HR@K / K. An unknown
    word, a ``k``, one or several, outside the catalogue, no test user, and sizes that do not agree are a ValueError.

    Four switches meet figures that others published, who count otherwise; leave them alone to compare models. ``ties``: a
    rival with the same score is ahead, ``"lost"``; behind, ``"won"``; or ``"shared"``, the mean over all orders of the tied.
    ``ideal``, what NDCG is divided by: the best DCG that is ``"achievable"``, 1 with one item held out, or that of ``"k"``
    relevant items, Σ_{r<k} 1/log₂(r + 2). ``missing``: users of whom nothing is held out are ``"left out"`` of the mean, or
    count ``"zero"``. ``auc`` over ``"all"`` rivals, or from the ``"first k"`` places: a held-out item behind them gets half of
    the n − k other rivals, (n − k) / 2n. ``team``, from :func:`amrlib.parallel.team`: each of several processes ranks for its
    share of the users, and all get the report of all."""
    one_of(ranking, "ranking", ("full", "sampled"))
    for word, name, words in ((ties, "ties", ("lost", "won", "shared")), (ideal, "ideal", ("achievable", "k")),
                              (missing, "missing", ("left out", "zero")), (auc, "auc", ("all", "first k"))):  # fmt: skip
        one_of(word, name, words)
    ks, users = cutoffs(k, dataset.n_items), dataset.test_users
    require(len(users), "test holds no item out (-1 for every user): there is nothing to rank")
    U, V = model.user_vectors(), model.item_vectors(features)
    require((len(U), len(V)) == (dataset.n_users, dataset.n_items), f"the model knows {len(U)} users and {len(V)} items, "
            f"the data set has {dataset.n_users} and {dataset.n_items}")  # fmt: skip
    items, activity = dataset.test[users], np.diff(dataset.indptr)[users]
    pool = dataset.n_items - activity - 1 + dataset.is_train(users, items)
    candidates, rivals = None, pool
    if ranking == "sampled":
        candidates = sample_candidates(dataset, n_candidates, seed) if dataset.candidates is None else dataset.candidates
        rivals = (candidates[users] != items[:, None]).sum(1)
    ranked = {rule: measures.held_out_ranks(U, V, dataset, candidates, progress=progress, ties=rule, team=team)
              for rule in (("lost", "won") if ties == "shared" else (ties,))}  # fmt: skip
    ranks = ranked["won" if ties == "won" else "lost"]
    tied = ranks - ranked["won"] if ties == "shared" else None
    report = Report(ranks, users, items, dataset.cold[items], rivals, pool, activity, ks, type(model).__name__, ranking, ties,
                    tied, ideal, auc)  # fmt: skip
    return report if missing == "left out" else _with_everyone(report, dataset)


def _with_everyone(report: Report, dataset: Dataset) -> Report:
    """The report with the users of whom nothing is held out: item -1, behind every rival that they could have."""
    activity = np.diff(dataset.indptr)
    rivals = dataset.n_items - activity if report.ranking == "full" else np.full(len(activity), report.n_candidates.max())
    rows = {"ranks": rivals, "users": np.arange(dataset.n_users), "items": np.full(dataset.n_users, -1),
            "cold": np.zeros(dataset.n_users, dtype=bool), "n_candidates": rivals, "n_pool": dataset.n_items - activity,
            "activity": activity, "tied": np.zeros(dataset.n_users, dtype=np.int64)}  # fmt: skip
    whole: dict[str, Any] = {name: rows[name].copy() for name, x in vars(report).items() if isinstance(x, np.ndarray)}
    for name, column in whole.items():
        column[report.users] = getattr(report, name)
    return replace(report, **whole)
