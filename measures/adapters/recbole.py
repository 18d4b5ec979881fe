"""RecBole: its collector and evaluator, given a tensor of scores in which what a user had before is minus infinity."""

from __future__ import annotations

import os
import sys
import tempfile

from ..cases import Case
from ._scores import matrices

DISTRIBUTION = "recbole"
NAMES = {"HR": "hit", "NDCG": "ndcg", "precision": "precision", "recall": "recall", "MRR": "mrr", "MAP": "map"}


def measure(case: Case) -> dict[str, float]:
    import numpy as np
    import torch

    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, kind)  # names of numpy 1 that RecBole 1.2 reads
    from recbole.config import Config
    from recbole.evaluator import Collector, Evaluator

    sys.argv = sys.argv[:1]  # RecBole reads settings from it
    os.chdir(tempfile.gettempdir())  # where it looks for data
    scores, train, test = (matrix[sorted(case.held)] for matrix in matrices(case))  # its loader brings these users alone
    config = Config(model="BPR", dataset="given", config_dict={
        "metrics": [*NAMES.values(), "gauc"], "topk": [case.k], "metric_decimal_place": 6, "use_gpu": False, "device": "cpu",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"},
    })  # fmt: skip
    tensor = torch.as_tensor(np.where(train, -np.inf, scores)).float()  # as a model's: float32
    collector = Collector(config)
    rows, columns = (torch.as_tensor(axis) for axis in np.nonzero(test))
    collector.eval_batch_collect(tensor, None, rows, columns)
    found = Evaluator(config).evaluate(collector.get_data_struct())
    return {ours: float(found[f"{name}@{case.k}"]) for ours, name in NAMES.items()} | {"AUC": float(found["gauc"])}
