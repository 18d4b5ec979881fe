"""Popularity: ŷ_ui = the number of training interactions of item i, the same for everyone."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from .base import Recommender

__all__ = ["Popularity"]


class Popularity(Recommender):
    """User vector 1, item vector its count; the baseline that knows nobody. Nothing to train."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.fit(dataset)

    def fit(self, dataset: Dataset, **_: Any) -> pd.DataFrame:
        """Count again, on a data set of the same size; the other models' settings are accepted and unused.

        Returns a history of one row, so that a loop over models may treat all alike.
        """
        self._check_sizes(dataset)
        self.counts = torch.as_tensor(dataset.item_counts, dtype=torch.float32)[:, None]  # (N, 1)
        return pd.DataFrame({"epoch": [1]})

    def user_vectors(self) -> Tensor:
        return torch.ones(self.n_users, 1)

    def item_vectors(self, features: Any = None) -> Tensor:
        return self.counts
