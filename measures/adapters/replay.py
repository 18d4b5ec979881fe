"""RePlay: its metrics on two pandas tables."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "replay-rec"


def measure(case: Case) -> dict[str, float]:
    import pandas as pd
    from replay import metrics as theirs

    if case.name == "empty list":
        raise CannotAsk("a table has no empty lists")
    truth = pd.DataFrame([(u, i) for u, items in case.held.items() for i in items], columns=["query_id", "item_id"])
    rows = [(u, i, score) for u, found in case.lists.items() for i, score in found]
    lists = pd.DataFrame(rows, columns=["query_id", "item_id", "rating"])
    kinds = {"HR": theirs.HitRate, "NDCG": theirs.NDCG, "precision": theirs.Precision, "recall": theirs.Recall,
             "MRR": theirs.MRR, "MAP": theirs.MAP, "AUC": theirs.RocAuc}  # fmt: skip
    return {name: float(next(iter(kind(case.k)(lists, truth).values()))) for name, kind in kinds.items()}
