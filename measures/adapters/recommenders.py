"""recommenders (Microsoft): ``python_evaluation`` on two tables."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "recommenders"


def measure(case: Case) -> dict[str, float]:
    import pandas as pd
    from recommenders.evaluation import python_evaluation as theirs

    if case.name == "empty list":
        raise CannotAsk("a table has no empty lists")
    truth = pd.DataFrame([(u, i, 1.0) for u, items in case.held.items() for i in items], columns=["userID", "itemID", "rating"])
    rows = [(u, i, score) for u, found in case.lists.items() for i, score in found]
    lists = pd.DataFrame(rows, columns=["userID", "itemID", "prediction"])
    functions = {"NDCG": theirs.ndcg_at_k, "precision": theirs.precision_at_k, "recall": theirs.recall_at_k,
                 "MAP": theirs.map_at_k}  # fmt: skip
    return {name: float(function(truth, lists, k=case.k)) for name, function in functions.items()}
