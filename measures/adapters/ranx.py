"""ranx: ``evaluate`` of a ``Qrels`` and a ``Run``, each user a query."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "ranx"
NAMES = {"HR": "hit_rate", "NDCG": "ndcg", "precision": "precision", "recall": "recall", "MRR": "mrr", "MAP": "map"}


def measure(case: Case) -> dict[str, float]:
    import ranx

    if case.name == "twice in the list":
        raise CannotAsk("a list is a dictionary of items")
    truth = ranx.Qrels({f"u{user}": {f"i{item:02}": 1 for item in items} for user, items in case.held.items()})
    lists = ranx.Run({f"u{user}": {f"i{item:02}": score for item, score in rows} for user, rows in case.lists.items()})
    found = ranx.evaluate(truth, lists, [f"{name}@{case.k}" for name in NAMES.values()])
    return {ours: float(found[f"{name}@{case.k}"]) for ours, name in NAMES.items()}
