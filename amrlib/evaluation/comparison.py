"""Models side by side: their reports, paired tests between them, and what each puts before people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..checks import list_length
from ..datasets.dataset import Dataset
from ..protocols import Ranked, Recommending
from .report import Report, cutoffs, evaluate, measure_name
from .statistics import bootstrap


class Paired(NamedTuple):
    """A mean difference over the same users, with its interval and two p-values."""

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_t: float


def paired_test(
    a: Report, b: Report, measure: str = "ndcg", k: int = 10, level: float = 0.95, n: int = 2000, seed: int = 0
) -> Paired:
    """Is ``a`` ahead of ``b`` for users like these? The difference a − b, user by user.

    ``p_t`` is Student's paired t-test, two-sided, the AMR paper's (§4.1.3); ``p_bootstrap`` draws the users again and is
    twice the share of draws on the other side of zero. Both take the two trained models as they are: whether another
    training seed would end otherwise they cannot tell. Reports of other users, items or candidates are a ValueError."""
    same = (np.array_equal(getattr(a, column), getattr(b, column)) for column in ("users", "items", "n_candidates"))
    if a.ranking != b.ranking or not all(same):
        raise ValueError("the two reports are not of the same users, held-out items and candidates: nothing to pair")
    differences = a.values(measure, k) - b.values(measure, k)
    low, high, means = bootstrap(differences, level, n, seed)
    if not differences.any():
        return Paired(0.0, 0.0, 0.0, 1.0, 1.0)
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (1 + n))
    p_t = stats.ttest_1samp(differences, 0.0).pvalue if np.ptp(differences) > 0 else 0.0
    return Paired(float(differences.mean()), low, high, float(p), float(p_t))


def exposure(
    model: Recommending, dataset: Dataset, k: int | None = None, features: Any = None, users: np.ndarray | None = None
) -> pd.Series:
    """What a model puts before people: the items of the top k of ``users`` (m,), whether anyone wants them or not.

    Left out of a user's list is what the user has in the data that the model is bound to; ``dataset`` says which items are
    popular or cold. By default ``users`` is everyone with a held-out item; nobody, and k outside the catalogue, are a
    ValueError. Four numbers, of which coverage is 0 and the others NaN where nobody has an item left:

    * ``coverage``: share of the catalogue that is in somebody's list;
    * ``popularity``: mean training interactions of a place in a list;
    * ``cold``: share of places that go to items without a training interaction;
    * ``gini``: how unequally the places are spread over the catalogue, Σ_i (2i − N − 1) x_i / (N Σ x), x ascending: 0 evenly
      to 1 − 1/N all to one item."""
    k = list_length(k, dataset.n_items, "the catalogue's {} items")
    users = dataset.test_users if users is None else np.atleast_1d(np.asarray(users))
    if not len(users):
        raise ValueError("users is empty: nobody to recommend to")
    items, _ = model.recommend(users, k, features)  # (m, k)
    shown = items[items >= 0]  # a user with little left has -1 at the end
    N = dataset.n_items
    counts = np.sort(np.bincount(shown, minlength=N))  # (N,)
    figures = {"coverage": (counts > 0).mean(), "popularity": np.nan, "cold": np.nan, "gini": np.nan}
    if len(shown):
        gini = ((2 * np.arange(1, N + 1) - N - 1) * counts).sum() / (N * len(shown))
        figures |= {"popularity": dataset.item_counts[shown].mean(), "cold": dataset.cold[shown].mean(), "gini": gini}
    return pd.Series(figures, dtype=float).add_suffix(f"@{k}")


def compare(
    models: Mapping[str, Ranked | Report], dataset: Dataset, k: int | Sequence[int] | None = None, ranking: str = "full",
    features: Any = None, against: str | None = None, measure: str = "ndcg", seed: int = 0, progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Several models side by side, one row each, in the order given: name → model, or a :class:`Report` made already.

    ``k`` and ``ranking`` are as in :func:`evaluate`, ``features`` (N, D) changed ones for the models that use them. With
    ``against``, a name among them, the others are tested against it, user by user (:func:`paired_test`). Interval and test are
    about ``measure`` at the middle k. ``seed`` is that of the sampled candidates, the same for all, and of the bootstrap.

    The columns are those of :meth:`Report.table`; ``low`` and ``high``, the 95 % interval over users of the measure named in
    ``attrs["interval"]``; for models that recommend, those of :func:`exposure`; with ``against`` also ``difference``, ``p_t``
    and ``p_bootstrap``. No model, ``against`` that is none of them, and what :func:`evaluate` refuses are a ValueError."""
    if not models:
        raise ValueError("models is empty: there is nothing to compare")
    if against is not None and against not in models:
        raise ValueError(f"against must be one of {', '.join(models)}, not {against!r}")
    ks = cutoffs(k, dataset.n_items)
    middle = sorted(ks)[len(ks) // 2]
    reports: dict[str, Report] = {}
    rows = []
    for name, model in models.items():
        shown: dict[Any, float] = {}
        if isinstance(model, Report):
            report = model
        else:
            changed = features if getattr(model, "E", None) is not None else None
            report = evaluate(model, dataset, ks, ranking, changed, seed=seed, progress=progress)
            if isinstance(model, Recommending):
                shown = exposure(model, dataset, middle, changed).to_dict()
        reports[name] = report = replace(report, name=name, k=ks)
        row, interval = report.table(), report.interval(measure, middle, seed=seed)
        for place, bound in enumerate(("low", "high")):
            row.insert(1 + row.columns.get_loc(f"NDCG@{ks[-1]}") + place, bound, interval[place])
        rows.append(row.assign(**shown))
    table = pd.concat(rows)
    if against is not None:
        tests = {n: paired_test(r, reports[against], measure, middle, seed=seed) for n, r in reports.items()}
        for column in ("difference", "p_t", "p_bootstrap"):
            table[column] = [np.nan if n == against else getattr(tests[n], column) for n in table.index]
    short = measure_name(measure).upper()
    table.attrs["interval"] = f"{short}@{middle}" if short in ("HR", "NDCG") else short
    return table
