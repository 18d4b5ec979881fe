"""pytrec_eval (pytrec-eval-terrier): trec_eval's measures per query, averaged over the queries it returns."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "pytrec-eval-terrier"
NAMES = {"HR": "success", "NDCG": "ndcg_cut", "precision": "P", "recall": "recall", "MAP": "map_cut"}


def measure(case: Case) -> dict[str, float]:
    import pytrec_eval

    if case.name == "twice in the list":
        raise CannotAsk("a list is a dictionary of items")
    truth = {f"u{user}": {f"i{item:02}": 1 for item in items} for user, items in case.held.items()}
    lists = {f"u{user}": {f"i{item:02}": score for item, score in rows} for user, rows in case.lists.items()}
    wanted = {*(f"{name}.{case.k}" for name in NAMES.values()), "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(lists)
    mean = lambda key: sum(row[key] for row in found.values()) / len(found)  # noqa: E731
    return {ours: mean(f"{name}_{case.k}") for ours, name in NAMES.items()} | {"MRR": mean("recip_rank")}
