"""What surprised us, in words: each sentence takes its numbers from the stored run and says what must hold for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Seen = dict[str, dict[str, dict[str, Any]]]  # library -> case -> measure -> number


class Surprise(NamedTuple):
    topic: str
    text: str  # with {library[case][measure]}
    holds: Callable[[Seen], bool]


SURPRISES: list[Surprise] = [
    Surprise(
        "scores",
        "torchmetrics calls an item with a score of 0 or less \"not retrieved\" in some measures and not in others: with every "
        "score below zero the same list has HR {torchmetrics[below zero][HR]:.3f}, NDCG {torchmetrics[below zero][NDCG]:.3f} "
        "and recall {torchmetrics[below zero][recall]:.3f}. A model's scores are seldom all positive.",
        lambda v: v["torchmetrics"]["below zero"]["HR"] == 1 and v["torchmetrics"]["below zero"]["recall"] == 0,
    ),
]
