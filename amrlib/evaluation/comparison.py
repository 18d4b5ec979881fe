"""Models side by side: their reports, paired tests between them, and what each puts before people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special  # not scipy.stats, which takes most of a second to load

from ..checks import list_length, require
from ..datasets.dataset import Dataset
from ..protocols import Ranked, Recommending
from .report import Report, bootstrap, cutoffs, evaluate


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

    ``p_t`` is Student's paired t-test, two-sided, the AMR paper's (§4.1.3); ``p_bootstrap`` of users drawn again, twice the
    share beyond zero. Neither tells of other training seeds. Other users, items or candidates are a ValueError."""
    same = (np.array_equal(getattr(a, column), getattr(b, column)) for column in ("users", "items", "n_candidates"))
    require(a.ranking == b.ranking and all(same),
            "the two reports are not of the same users, held-out items and candidates: nothing to pair")  # fmt: skip
    counted = [(report.ties, report.ideal, report.auc_of) for report in (a, b)]
    require(counted[0] == counted[1], "the two reports count ties, the ideal or AUC in different ways: nothing to pair")
    differences = a.values(measure, k) - b.values(measure, k)
    low, high, means = bootstrap(differences, level, n, seed)
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (1 + n))
    p_t = float(not differences.any())  # where they differ by nothing, or by as much for everyone
    if np.ptp(differences) > 0:
        t = differences.mean() / differences.std(ddof=1) * np.sqrt(len(differences))
        p_t = 2 * special.stdtr(len(differences) - 1, -abs(t))
    return Paired(float(differences.mean()), low, high, float(p), float(p_t))


def exposure(
    model: Recommending, dataset: Dataset, k: int | None = None, features: Any = None, users: np.ndarray | None = None
) -> pd.Series:
    """What a model puts before people: of the top k of ``users`` (m,), by default everyone with a held-out item, four numbers.

    ``coverage`` is the share of the catalogue that is in somebody's list, ``popularity`` the mean training interactions of a
    place in a list, ``cold`` the share of places that go to items without one, and ``gini`` how unequally the places are
    spread, Σ_i (2i − N − 1) x_i / (N Σ x), x ascending: from 0, evenly, to 1 − 1/N, all to one item; all but the first NaN
    where nobody has an item left. Left out of a list is what the user has in the data that the model is bound to; ``dataset``
    says which items are popular or cold. Nobody, and k outside the catalogue, are a ValueError."""
    k, N = list_length(k, dataset.n_items, "the catalogue's {} items"), dataset.n_items
    users = dataset.test_users if users is None else np.atleast_1d(np.asarray(users))
    require(len(users), "users is empty: nobody to recommend to")
    items, _ = model.recommend(users, k, features)  # (m, k)
    shown = items[items >= 0]  # a user with little left has -1 at the end
    places = len(shown) or np.nan
    counts = np.sort(np.bincount(shown, minlength=N))  # (N,)
    gini = ((2 * np.arange(1, N + 1) - N - 1) * counts).sum() / (N * places)
    figures = [(counts > 0).mean(), dataset.item_counts[shown].sum() / places, dataset.cold[shown].sum() / places, gini]
    return pd.Series(figures, ["coverage", "popularity", "cold", "gini"], dtype=float).add_suffix(f"@{k}")


def compare(
    models: Mapping[str, Ranked | Report], dataset: Dataset, k: int | Sequence[int] | None = None, ranking: str = "full",
    features: Any = None, against: str | None = None, measure: str = "ndcg", seed: int = 0, progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Several models side by side, one row each, in the order given: name → model, or a :class:`Report` made already.

    ``k`` and ``ranking`` are as in :func:`evaluate`, ``features`` (N, D) changed ones for the models that use them, ``seed``
    that of the sampled candidates, the same for all, and of the bootstrap. The columns are those of :meth:`Report.table`;
    ``low`` and ``high``, the 95 % interval over users of ``measure`` at the middle k, named in ``attrs["interval"]``; for those
    that recommend, :func:`exposure`; and with ``against``, the name of the model that the others are tested against by
    :func:`paired_test`, ``difference``, ``p_t`` and ``p_bootstrap``. No model, ``against`` that is none of them, and what
    :func:`evaluate` refuses are a ValueError."""
    require(models, "models is empty: there is nothing to compare")
    require(against is None or against in models, f"against must be one of {', '.join(map(str, models))}, not {against!r}")
    ks = cutoffs(k, dataset.n_items)
    middle = sorted(ks)[len(ks) // 2]
    reports, rows = {}, []
    for name, model in models.items():
        changed = features if getattr(model, "E", None) is not None else None
        report = (model if isinstance(model, Report) else
                  evaluate(model, dataset, ks, ranking, changed, seed=seed, progress=progress))  # fmt: skip
        reports[name] = report = replace(report, name=name, k=ks)
        low, high = report.interval(measure, middle, seed=seed)
        shown = exposure(model, dataset, middle, changed).to_dict() if isinstance(model, Recommending) else {}
        rows.append(report.table().assign(low=low, high=high, **shown))
    table = pd.concat(rows)
    if against is not None:
        tests = {n: paired_test(r, reports[against], measure, middle, seed=seed) for n, r in reports.items()}
        for column in ("difference", "p_t", "p_bootstrap"):
            table[column] = [np.nan if n == against else getattr(tests[n], column) for n in table.index]
    short = measure.upper().replace("RECALL", "HR")
    table.attrs["interval"] = short if short in ("MRR", "AUC") else f"{short}@{middle}"
    return table
