"""torchmetrics: the retrieval measures on flat tensors, and ``BinaryAUROC`` of the items in the lists."""

from __future__ import annotations

from ..cases import Case
from . import CannotAsk

DISTRIBUTION = "torchmetrics"


def measure(case: Case) -> dict[str, float]:
    import torch
    from torchmetrics import classification, retrieval

    if case.name in ("no list", "empty list"):
        raise CannotAsk("users are numbers beside the scores, so a user without scores does not exist")
    rows = [(user, score, item in case.held.get(user, [])) for user, found in case.lists.items() for item, score in found]
    users, scores, held = zip(*rows)
    given = torch.tensor(scores, dtype=torch.float64), torch.tensor(held), torch.tensor(users)
    kinds = {"HR": retrieval.RetrievalHitRate, "NDCG": retrieval.RetrievalNormalizedDCG, "MRR": retrieval.RetrievalMRR,
             "precision": retrieval.RetrievalPrecision, "recall": retrieval.RetrievalRecall,
             "MAP": retrieval.RetrievalMAP}  # fmt: skip
    values = {name: float(kind(top_k=case.k)(given[0], given[1], indexes=given[2])) for name, kind in kinds.items()}
    if len(case.lists) == 1:  # AUROC knows no users
        values["AUC"] = float(classification.BinaryAUROC()(given[0], given[1].long()))
    return values
