"""Ranks by several processes, each of which ranks for its users."""

from typing import Any

import numpy as np
import torch

from .. import adversary, evaluation
from ..datasets.dataset import Dataset
from ..protocols import Ranked
from .team import team


def held_out_ranks(model: Ranked, dataset: Dataset, features: Any = None) -> np.ndarray:
    """The ranks of ``amrlib.evaluate(model, dataset)``, full ranking: int64, (n,), users ascending; alike in each process."""
    U, V = model.user_vectors(), model.item_vectors(features)
    return _together(dataset, lambda part: evaluation.held_out_ranks(U, V, part))


def worst_case_ranks(model: Ranked, dataset: Dataset, epsilon: float, norm: str = "l2") -> np.ndarray:
    """As :func:`amrlib.worst_case_ranks`, each process for its users."""
    return _together(dataset, lambda part: adversary.worst_case_ranks(model, part, epsilon, progress=False, norm=norm))


def _together(dataset: Dataset, ranked: Any) -> np.ndarray:
    us, everyone = team(), np.arange(dataset.n_users)
    mine = dataset.replace(test=np.where(everyone % us.size == us.rank, dataset.test, -1))
    ranks = torch.zeros(dataset.n_users, dtype=torch.int64)
    if len(mine.test_users):
        ranks[mine.test_users] = torch.from_numpy(ranked(mine))
    return us.sum(ranks.to(us.device)).cpu().numpy()[dataset.test_users]
