"""Ours. The scores become user vectors and the items unit vectors; what a list leaves out, the user had before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..cases import DRAWN, ITEMS, SHOP, SHOP_ITEMS, Case
from . import CannotAsk

DISTRIBUTION = "amrlib"


def as_asked(case: Case) -> tuple[Any, Any]:
    """A model with the scores of ``case``, and its shop."""
    import numpy as np
    import torch

    import amrlib

    n = max(case.users) + 1
    scores, test = np.zeros((n, ITEMS)), np.full(n, -1)
    train = []
    for user, rows in case.lists.items():
        for item, score in rows:
            scores[user, item] = score
        train += [(user, item) for item in sorted(set(range(ITEMS)) - {item for item, _ in rows})]
    for user, items in case.held.items():
        test[user] = items[0]
    vectors = torch.as_tensor(scores), torch.eye(ITEMS, dtype=torch.float64)
    model = SimpleNamespace(user_vectors=lambda: vectors[0], item_vectors=lambda features=None: vectors[1])
    return model, amrlib.Dataset(train, test, n_users=n, n_items=ITEMS)


def measure(case: Case) -> dict[str, float]:
    import amrlib

    if any(len(items) > 1 for items in case.held.values()):
        raise CannotAsk("one held-out item per user")
    if not all(case.lists.get(user) for user in case.users):
        raise CannotAsk("a model scores every item for every user")
    if case.name == "twice in the list":
        raise CannotAsk("every item has one score")
    if case.name == "not in the list":
        raise CannotAsk("the held-out item is always ranked")
    report = amrlib.evaluate(*as_asked(case), k=case.k, progress=False)
    return {"HR": report.hr(case.k), "NDCG": report.ndcg(case.k), "recall": float(report.values("recall", case.k).mean()),
            "MRR": report.mrr(), "AUC": report.auc()}  # fmt: skip


def sampled() -> dict[str, float]:
    import amrlib

    train = [(user, item) for user, items in enumerate(SHOP) for item in items[:-1]]
    shop = amrlib.Dataset(train, [items[-1] for items in SHOP], n_users=len(SHOP), n_items=SHOP_ITEMS)
    rows = amrlib.evaluation.sample_candidates(shop, DRAWN)
    return {"drawn": DRAWN, "distinct": sum(len(set(row)) for row in rows.tolist()) / len(rows)}
