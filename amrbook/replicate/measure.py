"""What is recorded of a trained model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from amrlib import Dataset, evaluate, perturb
from amrlib.evaluation import Report

from .paper import EPSILONS, MEASURES

__all__ = ["DIGITS", "Looks", "entry_of", "figures"]

DIGITS = 9  # so that HR times the number of users is a whole number again, with 83,337 of them as well
ATTACKED_TRIPLES = ("test", "train")  # the loss that the noise attacks: the paper does not say which


def figures(report: Report) -> dict[str, float]:
    """The six measures of the paper's Table 2."""
    found = {}
    for name in MEASURES:
        measure, k = name.split("@")
        found[name] = round(float(report.values(measure, int(k)).mean()), DIGITS)
    return found


def _parts(report: Report) -> dict[str, Any]:
    parts: dict[str, Any] = {"all": figures(report)}
    for name, which in (("warm", ~report.cold), ("cold", report.cold)):
        if which.any():
            parts[name] = figures(report.only(which))
    return parts


class _Moved:
    """A model with other item vectors, (N, K)."""

    def __init__(self, model: Any, V: Any) -> None:
        self.user_vectors, self.V = model.user_vectors, V

    def item_vectors(self, features: Any = None) -> Any:
        return self.V


def entry_of(
    model: Any, shop: Dataset, sampled: Dataset, triples: Sequence[str] = ATTACKED_TRIPLES, progress: bool = False
) -> dict[str, Any]:
    """A model's entry: ``sampled`` as in the paper, ``full`` among all items, each for all, warm and cold held-out items;
    ``users``, how many those are; and of a model with pictures ``noise``: NDCG@10 among the sampled under attack on each of
    the ``triples``. Noise on the held-out items looks at every score of every user."""
    k = tuple(n for n in (5, 10, 20) if n <= shop.n_items)
    among = evaluate(model, sampled, k, ranking="sampled", progress=progress)
    full = evaluate(model, shop, k, progress=progress)
    cold = int(full.cold.sum())
    entry: dict[str, Any] = {"sampled": _parts(among), "full": _parts(full),
                             "users": {"all": len(full.ranks), "warm": len(full.ranks) - cold, "cold": cold}}  # fmt: skip
    if getattr(model, "E", None) is not None:
        entry["noise"] = {}
        for attacked in triples:
            entry["noise"][attacked] = {}
            still = model.item_vectors()
            # one step has the same direction at every ε, and vectors are linear in the features: one pass over those
            moved = model.item_vectors(perturb(model, shop, 1.0, triples=attacked)) - still
            for epsilon in EPSILONS:
                report = evaluate(_Moved(model, still + epsilon * moved), sampled, k, ranking="sampled", progress=progress)
                entry["noise"][attacked][f"{epsilon:g}"] = round(report.ndcg(10), DIGITS)
        entry["sensitivity"] = round(float(model.sensitivity().double().mean()), 6)  # mean ‖E p_u‖₂
    return entry


class Looks:
    """A callback: the six measures of the test items every so many epochs, as the authors' program prints them. They are
    written into the history, and so into the checkpoint; nothing is chosen by them. The seconds of an epoch too."""

    def __init__(self, sampled: Dataset, every: int) -> None:
        self.sampled, self.every, self.since = sampled, every, time.perf_counter()

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> None:
        if row["epoch"] % self.every == 0:
            report = evaluate(model, self.sampled, 10, ranking="sampled", progress=False)
            row |= {f"test {name}": value for name, value in figures(report).items()}
        now = time.perf_counter()
        row["seconds"], self.since = round(now - self.since, 4), now

    @staticmethod
    def of(history: Any) -> dict[str, Any]:
        """The looks in a model's history: ``epoch``, and a list for each measure; ``seconds`` of the whole training."""
        seconds = round(float(history["seconds"].sum()), 1)
        if "test HR@10" not in history:
            return {"seconds": seconds}
        rows = history[history["test HR@10"].notna()]
        looks: dict[str, Any] = {"epoch": rows["epoch"].astype(int).tolist()}
        return {"looks": looks | {name: rows[f"test {name}"].tolist() for name in MEASURES}, "seconds": seconds}
