"""RecBole: its collector and evaluator, given a tensor of scores in which what a user had before is minus infinity."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..cases import DRAWN, SHOP, Case
from ._scores import matrices

DISTRIBUTION = "recbole"
NAMES = {"HR": "hit", "NDCG": "ndcg", "precision": "precision", "recall": "recall", "MRR": "mrr", "MAP": "map"}


def settings(**options: Any) -> Any:
    """RecBole's ``Config``, for the processor."""
    import numpy as np

    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, kind)  # names of numpy 1 that RecBole 1.2 reads
    from recbole.config import Config

    sys.argv = sys.argv[:1]  # RecBole reads settings from it
    os.chdir(tempfile.gettempdir())  # where it looks for data and writes
    common = {"use_gpu": False, "device": "cpu", "show_progress": False, "seed": 0}
    return Config(model="BPR", dataset="shop", config_dict=common | options)


def measure(case: Case) -> dict[str, float]:
    import numpy as np
    import torch

    scores, train, test = (matrix[sorted(case.held)] for matrix in matrices(case))  # its loader brings these users alone
    evaluation = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
    config = settings(metrics=[*NAMES.values(), "gauc"], topk=[case.k], metric_decimal_place=6, eval_args=evaluation)
    from recbole.evaluator import Collector, Evaluator

    tensor = torch.as_tensor(np.where(train, -np.inf, scores)).float()  # as a model's: float32
    collector = Collector(config)
    rows, columns = (torch.as_tensor(axis) for axis in np.nonzero(test))
    collector.eval_batch_collect(tensor, None, rows, columns)
    found = Evaluator(config).evaluate(collector.get_data_struct())
    return {ours: float(found[f"{name}@{case.k}"]) for ours, name in NAMES.items()} | {"AUC": float(found["gauc"])}


def sampled() -> dict[str, float]:
    """``uni100``: the rivals that its loader brings for each test user."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        evaluation = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": f"uni{DRAWN}"}
        columns = ["user_id", "item_id", "timestamp"]
        config = settings(data_path=folder, load_col={"inter": columns}, eval_args=evaluation, reproducibility=True)
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import init_seed

        rows = [f"{user}\t{item}\t{step}" for user, items in enumerate(SHOP) for step, item in enumerate(items)]
        (Path(folder) / "shop").mkdir()
        text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""])
        (Path(folder) / "shop" / "shop.inter").write_text(text)
        init_seed(0, True)
        _, _, loader = data_preparation(config, create_dataset(config))
        drawn, distinct = [], []
        for batch, places, _, held in loader:
            items, places = batch["item_id"].numpy(), np.asarray(places)
            for place in np.unique(places):
                rivals = items[places == place][1:]  # the held-out item comes first
                assert held[place] == items[places == place][0]
                drawn.append(len(rivals))
                distinct.append(len(set(rivals.tolist())))
    assert set(drawn) == {DRAWN} and len(distinct) == len(SHOP)
    return {"drawn": DRAWN, "distinct": sum(distinct) / len(distinct)}
