"""For libraries that rank by a model: a score for every user and item, and what the user had before."""

from __future__ import annotations

from typing import Any

from ..cases import ITEMS, Case
from . import CannotAsk


def matrices(case: Case) -> tuple[Any, Any, Any]:
    """Scores, float64 (users, items); train and test, bool of the same shape. What a list leaves out is in train."""
    import numpy as np

    if not all(case.lists.get(user) for user in case.users):
        raise CannotAsk("a model scores every item for every user")
    if case.name == "twice in the list":
        raise CannotAsk("every item has one score")
    if case.name == "not in the list":
        raise CannotAsk("the held-out item always has a score")
    if case.name.endswith("written first"):
        raise CannotAsk("scores come in the order of the items")
    scores = np.zeros((len(case.users), ITEMS))
    train, test = np.ones_like(scores, dtype=bool), np.zeros_like(scores, dtype=bool)
    for user, rows in case.lists.items():
        for item, score in rows:
            scores[user, item], train[user, item] = score, False
    for user, items in case.held.items():
        test[user, items] = True
    return scores, train, test
