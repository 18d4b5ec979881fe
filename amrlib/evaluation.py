"""How well a model ranks what each user really chose: HR@K, NDCG@K and their kin, for any of the models.

Leave-one-out, as in the AMR paper (§4.1.3): each user has one held-out item, which is ranked

* ``"full"``: among all items but the user's training items; or
* ``"sampled"``: among 999 items the user has not touched, the paper's protocol, kept for comparison with
  its tables. Krichene & Rendle (KDD 2020) show why sampled figures can order models wrongly; the table
  of a sampled report therefore shows each figure's correction beside it (:meth:`Report.corrected`).

With one relevant item per user recall@K is HR@K, and precision@K is HR@K / K.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

from . import ranking as measures
from .datasets.dataset import Dataset
from .ranking import held_out_ranks

__all__ = ["Paired", "Report", "compare", "evaluate", "exposure", "paired_test", "sample_candidates"]

MEASURES = ("hr", "ndcg", "mrr", "auc")


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
    n_pool : int64, (n,)
        How many rivals there are in the whole catalogue; ``n_candidates`` of a full ranking.
    activity : int64, (n,)
        How many items the user has in train.
    """

    ranks: np.ndarray
    users: np.ndarray
    items: np.ndarray
    cold: np.ndarray
    n_candidates: np.ndarray
    n_pool: np.ndarray
    activity: np.ndarray
    k: tuple[int, ...] = (5, 10, 20)
    name: str = ""
    ranking: str = "full"

    def values(self, measure: str = "ndcg", k: int = 10) -> np.ndarray:
        """Each user's own figure, float64 (n,); a measure is their mean. ``"mrr"`` and ``"auc"`` have no k.

        Raises
        ------
        ValueError
            A measure other than ``"hr"`` (or ``"recall"``, the same), ``"ndcg"``, ``"mrr"``, ``"auc"``; k below 1.
        """
        measure = {"recall": "hr"}.get(measure.lower(), measure.lower())
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)} or recall, not {measure!r}")
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if measure == "hr":
            return (self.ranks < k).astype(float)
        if measure == "ndcg":
            return np.where(self.ranks < k, np.log(2) / np.log(self.ranks + 2.0), 0.0)
        if measure == "mrr":
            return 1.0 / (self.ranks + 1.0)
        return 1.0 - self.ranks / np.maximum(self.n_candidates, 1)

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
        """The report on some of its users: a boolean mask or positions, e.g. ``report.only(report.cold)``.

        Raises
        ------
        ValueError
            No user is left.
        """
        rows = np.arange(len(self.ranks))[which]
        if not len(rows):
            raise ValueError("which selects no user: there is nothing to average")
        columns = [f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)]
        return replace(self, **{c: getattr(self, c)[rows] for c in columns})

    def table(self) -> pd.DataFrame:
        """One row: HR and NDCG at each k; of a sampled report also their corrections."""
        row = {f"HR@{k}": self.hr(k) for k in self.k} | {f"NDCG@{k}": self.ndcg(k) for k in self.k}
        if self.ranking == "sampled":
            for measure in ("hr", "ndcg"):
                row |= {f"{measure.upper()}@{k} corrected": self.corrected(measure, k) for k in self.k}
        return pd.DataFrame([row], index=[self.name])

    def by(self, groups: str | Sequence[Any] | np.ndarray = "cold") -> pd.DataFrame:
        """The table of each group of users, with their number ``users``.

        Parameters
        ----------
        groups : ``"cold"``, ``"activity"`` or labels, (n,)
            Cold and warm held-out items; users by the size of their history, in steps that double
            (0, 1, 2–3, 4–7, …); or any labels of one's own, in the order of ``self.users``.
        """
        if isinstance(groups, str):
            if groups == "cold":
                labels = np.where(self.cold, "cold item", "warm item")
                order = [n for n in ("warm item", "cold item") if n in labels]
            elif groups == "activity":
                power = np.frexp(self.activity)[1]  # bits of the number: 0; 1; 2 for 2–3; 3 for 4–7; …
                name = lambda p: f"{2**p // 2}" if p < 2 else f"{2**p // 2}–{2**p - 1}"  # noqa: E731
                labels = np.array([name(int(p)) for p in power])
                order = [name(int(p)) for p in np.unique(power)]
            else:
                raise ValueError(f"groups must be 'cold', 'activity' or labels for the users, not {groups!r}")
        else:
            labels = np.asarray(groups)
            if labels.shape != self.ranks.shape:
                raise ValueError(f"groups needs one label for each of {len(self.ranks)} users, not {labels.shape}")
            order = list(np.unique(labels))
        parts = []
        for label in order:
            part = self.only(labels == label).table().set_axis([label])
            part.insert(0, "users", int((labels == label).sum()))
            parts.append(part)
        return pd.concat(parts)

    def interval(
        self, measure: str = "ndcg", k: int = 10, level: float = 0.95, n: int = 2000, seed: int = 0
    ) -> tuple[float, float]:
        """Between which values the measure would lie for other users like these: percentile bootstrap.

        The users are drawn again with replacement, ``n`` times. It says nothing about other training
        seeds.
        """
        return _bootstrap(self.values(measure, k), level, n, seed)[:2]

    def corrected(self, measure: str = "ndcg", k: int = 10, gamma: float = 0.1) -> float:
        """What a sampled report says about the measure over the whole catalogue.

        Krichene & Rendle's bias–variance estimator ("On Sampled Metrics for Item Recommendation", KDD 2020,
        §5). With R rivals in the catalogue, r of them ahead, and n of the R sampled without repetition, the
        sampled rank s has P(s | r) = A_rs, hypergeometric. Instead of f(s) each user contributes f̂(s), where

            f̂ = argmin  Σ_r [ (Σ_s A_rs f̂_s − f_r)² + γ Var(f̂_s | r) ]
              = ((1−γ) AᵀA + γ diag(Aᵀ1))⁻¹ Aᵀ f,

        bias² plus γ times variance, all ranks r alike. It is *not* unbiased at every rank: no function of s
        can be, once R is larger than n. It does well while n is a fair part of R (999 of 5,000); of 999 in
        300,000 nothing can tell rank 10 from rank 100, and the figure comes out too low where the sampled
        one comes out far too high. AUC alone is unbiased as sampled, and returned so. A full report is
        returned as it is. R and n are the medians over the users, who differ by a few items.

        Raises
        ------
        ValueError
            An unknown measure, γ outside (0, 1].
        """
        values = self.values(measure, k)
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, not {gamma!r}")
        R, n = int(np.median(self.n_pool)), int(np.median(self.n_candidates))
        if measure.lower() == "auc" or n >= R:
            return float(values.mean())
        measure = {"recall": "hr"}.get(measure.lower(), measure.lower())
        return float(_correction(measure, k, R, n, gamma)[np.minimum(self.ranks, n)].mean())


class Paired(NamedTuple):
    """The mean difference of two reports over the same users, with its interval and two p-values."""

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_t: float


def _bootstrap(values: np.ndarray, level: float, n: int, seed: int) -> tuple[float, float, np.ndarray]:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}")
    if len(values) < 2:
        raise ValueError("an interval over users needs at least two users")
    rng = np.random.default_rng(seed)
    means = np.concatenate([  # in batches of 32 MiB of indices
        values[rng.integers(0, len(values), (min(step, n - done), len(values)))].mean(1)
        for step in [max(1, 2**22 // len(values))] for done in range(0, n, step)
    ])  # fmt: skip
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), means


def paired_test(
    a: Report, b: Report, measure: str = "ndcg", k: int = 10, level: float = 0.95, n: int = 2000, seed: int = 0
) -> Paired:
    """Is ``a`` ahead of ``b`` for users like these? The difference a − b, user by user.

    ``p_t`` is Student's paired t-test, two-sided, the AMR paper's (§4.1.3); ``p_bootstrap`` draws the users
    again and is twice the share of draws on the other side of zero. Both take the two trained models as
    they are: whether another training seed would end otherwise they cannot tell.

    Raises
    ------
    ValueError
        The two do not rank the same items of the same users in the same way.
    """
    same = np.array_equal(a.users, b.users) and np.array_equal(a.items, b.items) and a.ranking == b.ranking
    if not same or not np.array_equal(a.n_candidates, b.n_candidates):
        raise ValueError("the two reports are not of the same users, held-out items and candidates: nothing to pair")
    d = a.values(measure, k) - b.values(measure, k)  # (n,)
    low, high, means = _bootstrap(d, level, n, seed)
    if not d.any():
        return Paired(0.0, 0.0, 0.0, 1.0, 1.0)
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (1 + n))
    p_t = float(stats.ttest_1samp(d, 0.0).pvalue) if np.ptp(d) > 0 else 0.0  # the paired test, on differences
    return Paired(float(d.mean()), low, high, float(p), p_t)


def _correction(measure: str, k: int, R: int, n: int, gamma: float) -> np.ndarray:
    """f̂ (n + 1,) of :meth:`Report.corrected`."""
    r, solver = _correction_solver(R, n, gamma)
    f = {"hr": np.ones(len(r)), "ndcg": np.log(2) / np.log(r + 2.0), "mrr": 1 / (r + 1.0)}[measure]
    return solver @ (f if measure == "mrr" else np.where(r < k, f, 0.0))


@lru_cache(maxsize=2)
def _correction_solver(R: int, n: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks r (m,) and the matrix (n + 1, m) that takes f_r to f̂. Far down, where A changes slowly, one rank
    stands for its neighbours, so that m stays near 4,000 in any catalogue."""
    r = np.unique(np.concatenate([np.arange(min(R + 1, 1000)), np.linspace(0, R, 3000).round()])).astype(np.int64)
    edges = np.concatenate([[-0.5], (r[1:] + r[:-1]) / 2, [R + 0.5]])
    share = np.diff(edges) / (R + 1)  # (m,) how many it stands for
    # P(s | r) = C(r, s) C(R−r, n−s) / C(R, n), from a table of ln m!: scipy's own pmf takes minutes here
    table = special.gammaln(np.arange(R + 1) + 1.0)  # (R + 1,)
    s, r_ = np.arange(n + 1), r[:, None]
    possible = (s <= r_) & (n - s <= R - r_)  # (m, n + 1)
    ahead, behind = np.maximum(r_ - s, 0), np.maximum(R - r_ - n + s, 0)
    log_A = table[r_] - table[s] - table[ahead] + table[R - r_] - table[n - s] - table[behind]
    A = np.where(possible, np.exp(np.where(possible, log_A - table[R] + table[n] + table[R - n], 0.0)), 0.0)
    A_t = (A * share[:, None]).T
    return r, np.linalg.solve((1 - gamma) * A_t @ A + gamma * np.diag(A_t.sum(1)), A_t)


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
    activity = np.diff(dataset.indptr)[users]
    pool = dataset.n_items - activity - 1 + dataset.is_train(users, items)
    candidates, rivals = None, pool
    if ranking == "sampled":
        candidates = dataset.candidates
        if candidates is None:
            candidates = sample_candidates(dataset, n_candidates, seed)
        rivals = (candidates[users] != items[:, None]).sum(1)
    ranks = held_out_ranks(user_vectors, item_vectors, dataset, candidates, progress=progress)
    name = type(model).__name__
    return Report(ranks, users, items, dataset.cold[items], rivals, pool, activity, ks, name, ranking)


def exposure(
    model: Any, dataset: Dataset, k: int = 10, features: Any = None, users: np.ndarray | None = None
) -> pd.Series:
    """What a model puts before people: the items of all users' top k, whether anyone chose them or not.

    Parameters
    ----------
    model
        Anything with ``recommend(users, k, features)``.
    users : int, (m,), optional
        By default everyone with a held-out item, as in :func:`evaluate`.

    Returns
    -------
    Series of four numbers

    * ``coverage``: share of the catalogue that is in somebody's list;
    * ``popularity``: mean training interactions of a place in a list;
    * ``cold``: share of places that go to items without a training interaction;
    * ``gini``: how unequally the places are spread over the catalogue, 0 evenly to 1 − 1/N all to one item:
      Σ_i (2i − N − 1) x_i / (N Σ x), x ascending.
    """
    users = dataset.test_users if users is None else np.asarray(users)
    if not len(users):
        raise ValueError("users is empty: nobody to recommend to")
    items, _ = model.recommend(users, k, features)  # (m, k)
    shown = items[items >= 0]  # a user with little left has -1 at the end
    N = dataset.n_items
    counts = np.sort(np.bincount(shown, minlength=N))  # (N,)
    gini = float(((2 * np.arange(1, N + 1) - N - 1) * counts).sum() / (N * max(counts.sum(), 1)))
    return pd.Series({
        f"coverage@{k}": float((counts > 0).mean()), f"popularity@{k}": float(dataset.item_counts[shown].mean()),
        f"cold@{k}": float(dataset.cold[shown].mean()), f"gini@{k}": gini,
    })  # fmt: skip


def compare(
    models: Mapping[str, Any],
    dataset: Dataset,
    k: int | Sequence[int] = (5, 10, 20),
    ranking: str = "full",
    features: Any = None,
    against: str | None = None,
    measure: str = "ndcg",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Several models side by side, one row each, in the order given.

    Parameters
    ----------
    models : name → model, or a :class:`Report` made already
    features : (N, D), optional
        Changed features for the models that look; the others are evaluated as they are.
    against : str, optional
        A name among them: the others are tested against it, user by user (:func:`paired_test`).
    measure : str
        What the interval and the test are about, at the middle k; ``"ndcg"`` by default.
    seed : int
        Of the sampled candidates (the same for all) and of the bootstrap.

    Returns
    -------
    DataFrame with the columns of :meth:`Report.table`; ``low`` and ``high``, the 95 % interval over users of the
    measure named in ``attrs["interval"]``; for models that recommend, the columns of :func:`exposure`; with
    ``against`` also ``difference``, ``p_t`` and ``p_bootstrap``.

    Raises
    ------
    ValueError
        No model, or ``against`` is none of them; and what :func:`evaluate` raises.
    """
    if not models:
        raise ValueError("models is empty: there is nothing to compare")
    if against is not None and against not in models:
        raise ValueError(f"against must be one of {', '.join(models)}, not {against!r}")
    ks = (k,) if isinstance(k, int) else tuple(k)
    middle = sorted(ks)[len(ks) // 2] if ks else 0
    reports: dict[str, Report] = {}
    rows = []
    for name, model in models.items():
        if isinstance(model, Report):
            reports[name] = replace(model, name=name, k=ks)
            rows.append(reports[name].table())
        else:
            changed = features if getattr(model, "E", None) is not None else None
            found = evaluate(model, dataset, ks, ranking, changed, seed=seed, progress=progress)
            reports[name] = replace(found, name=name)
            rows.append(reports[name].table())
            if hasattr(model, "recommend"):
                rows[-1] = rows[-1].assign(**exposure(model, dataset, middle, changed).to_dict())
        low, high = reports[name].interval(measure, middle, seed=seed)
        place = 1 + list(rows[-1].columns).index(f"NDCG@{ks[-1]}")
        rows[-1].insert(place, "low", low)
        rows[-1].insert(place + 1, "high", high)
    table = pd.concat(rows)
    if against is not None:
        tests = {n: paired_test(r, reports[against], measure, middle, seed=seed) for n, r in reports.items()}
        for column in ("difference", "p_t", "p_bootstrap"):
            table[column] = [np.nan if n == against else getattr(tests[n], column) for n in table.index]
    short = {"recall": "hr"}.get(measure.lower(), measure.lower()).upper()
    table.attrs["interval"] = f"{short}@{middle}" if short in ("HR", "NDCG") else short
    return table


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
