"""What watches a training as it goes: called after every epoch, and able to end it."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch

from ..checks import whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import held_out_ranks, hr, ndcg


class Callback(Protocol):
    """Anything with this method; ``fit(callbacks=[…])`` takes as many as you like."""

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> str | None:
        """``row`` is the epoch's line of the history: read it, or add to it. A word ends the training: ``stopped``."""


def run_callbacks(callbacks: Iterable[Callback], model: Any, row: dict[str, Any]) -> str | None:
    """Call each of them; the first word that one of them gave, if any."""
    words = [callback.on_epoch_end(model, row) for callback in callbacks]
    return next((word for word in words if word), None)


class EarlyStopping:
    """Ranks the held-out items of a ``Dataset.validation_split`` every so many epochs, and at the ``last`` one; remembers
    the best parameters, and stops after ``patience`` rankings without better ones. ``fit(validation=True)`` is a user of it."""

    def __init__(self, held_out: Dataset, every: int = 10, patience: int | None = None, last: int = 0) -> None:
        self.held_out, self.every, self.last = held_out, whole_number(every, "every", 1), last
        self.patience = None if patience is None else whole_number(patience, "patience", 1)
        self.scores: list[float] = []  # NDCG@10 of every ranking so far
        self.best: dict[str, torch.Tensor] = {}  # the parameters at the first of the highest

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> str | None:
        if row["epoch"] == 1:
            self.scores, self.best = [], {}  # another training, perhaps of another model
        if row["epoch"] % self.every and row["epoch"] != self.last:
            return None
        ranks = held_out_ranks(model.user_vectors(), model.item_vectors(), self.held_out)
        row |= {"hr@10": hr(ranks, 10), "ndcg@10": ndcg(ranks, 10)}
        if row["ndcg@10"] > self.best_score:
            self.best = {name: theta.clone() for name, theta in model.parameters().items()}
        self.scores.append(row["ndcg@10"])
        return "patience" if self.exhausted else None

    @property
    def best_score(self) -> float:
        return max(self.scores, default=-1.0)

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.best_score in self.scores[: -self.patience]

    @torch.no_grad()
    def restore(self, model: Any) -> None:
        """Give the model its best parameters back."""
        for name, theta in self.best.items():
            model.parameters()[name].copy_(theta)
