"""Popularity: ŷ_ui = the number of training interactions of item i, the same for everyone."""

from typing import Any

import torch

from ..checks import item_ids
from ..datasets.dataset import Dataset
from ..recommender import Recommender
from ..training.callbacks import run_callbacks


class Popularity(Recommender):
    """User vector 1, item vector its count; the baseline that knows nobody. Nothing to train: the count is there once bound."""

    def __init__(self) -> None:
        self.counts = torch.zeros(0, 1)  # (N, 1)

    def _allocate(self, shop: Dataset) -> None:
        self.counts = torch.as_tensor(shop.item_counts.astype("float32"))[:, None]

    def _train(self, shop: Dataset, *, callbacks: Any = (), **_: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
        row = {"epoch": 1}
        return [row], {"stopped": run_callbacks(callbacks, self, row) or "done"}

    def parameters(self) -> dict[str, torch.Tensor]:
        return {"counts": self.counts}

    def user_vectors(self) -> torch.Tensor:
        return torch.ones(self.n_users, 1)

    def item_vectors(self, features: Any = None) -> torch.Tensor:
        self.data  # noqa: B018  (says so where there is none)
        return self.counts

    def fold_in(self, items: Any) -> torch.Tensor:
        """The vector of someone new, whatever they touched, or nothing: (1,)."""
        item_ids(items, self.n_items)
        return torch.ones(1)
