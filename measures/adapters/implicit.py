"""implicit: ``ranking_metrics_at_k`` of a model whose user factors are the scores, and whose item factors unit vectors."""

from __future__ import annotations

from ..cases import ITEMS, Case
from ._scores import matrices

DISTRIBUTION = "implicit"
NAMES = {"NDCG": "ndcg", "precision": "precision", "MAP": "map", "AUC": "auc"}


def measure(case: Case) -> dict[str, float]:
    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k
    from scipy.sparse import csr_matrix

    scores, train, test = matrices(case)
    model = AlternatingLeastSquares(factors=ITEMS, num_threads=1)
    model.user_factors, model.item_factors = scores.astype(np.float32), np.eye(ITEMS, dtype=np.float32)
    had, held = (csr_matrix(pairs.astype(np.float32)) for pairs in (train, test))
    found = ranking_metrics_at_k(model, had, held, K=case.k, show_progress=False, num_threads=1)
    return {ours: float(found[name]) for ours, name in NAMES.items()}
