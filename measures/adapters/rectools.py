"""RecTools: ``calc_metrics`` on a table of recommendations with ranks and a table of interactions."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "rectools"


def measure(case: Case) -> dict[str, float]:
    import pandas as pd
    from rectools import metrics as theirs

    if case.name == "empty list":
        raise CannotAsk("a table has no empty lists")
    if "all equal" in case.name:
        raise CannotAsk("it takes ranks, not scores")
    truth = pd.DataFrame([(u, i) for u, items in case.held.items() for i in items], columns=["user_id", "item_id"])
    rows = [(u, i, place) for u, found in case.lists.items() for place, (i, _) in enumerate(found, start=1)]
    lists = pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])
    k = case.k
    wanted = {"HR": theirs.HitRate(k), "NDCG": theirs.NDCG(k), "precision": theirs.Precision(k), "recall": theirs.Recall(k),
              "MRR": theirs.MRR(k), "MAP": theirs.MAP(k)}  # fmt: skip
    return {name: float(value) for name, value in theirs.calc_metrics(wanted, reco=lists, interactions=truth).items()}
