"""Cornac: ``ranking_eval`` of a recommender whose scores are given."""

from __future__ import annotations

from ..cases import ITEMS, Case
from ._scores import matrices

DISTRIBUTION = "cornac"


def measure(case: Case) -> dict[str, float]:
    import numpy as np
    from cornac import metrics as theirs
    from cornac.data import Dataset
    from cornac.eval_methods.base_method import ranking_eval
    from cornac.models import Recommender

    scores, train, test = matrices(case)
    n = len(scores)
    # one more user who had everything: so every user and item is known, and has the number it has here
    pairs = [(n, item, 1.0) for item in range(ITEMS)] + [(u, i, 1.0) for u, i in np.argwhere(train).tolist()]
    users, items = {user: user for user in range(n + 1)}, {item: item for item in range(ITEMS)}
    had = Dataset.build(pairs, global_uid_map=users, global_iid_map=items)
    held = Dataset.build([(u, i, 1.0) for u, i in np.argwhere(test).tolist()], global_uid_map=users, global_iid_map=items)

    class Given(Recommender):
        def score(self, user_idx, item_idx=None):
            return scores[user_idx] if item_idx is None else scores[user_idx, item_idx]

    model = Given("given").fit(had)
    k = case.k
    wanted = {"HR": theirs.HitRatio(k), "NDCG": theirs.NDCG(k), "precision": theirs.Precision(k), "recall": theirs.Recall(k),
              "MRR": theirs.MRR(), "MAP": theirs.MAP(), "AUC": theirs.AUC()}  # fmt: skip
    values, _ = ranking_eval(model, [*wanted.values()], had, held)
    return {name: float(value) for name, value in zip(wanted, values)}
