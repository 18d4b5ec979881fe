"""Three ways to train the chain, and what each of them chooses on validation interactions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amrlib import Dataset

from .. import trials
from ..experiments.names import AUTHORS_EPOCHS, AUTHORS_PENALTIES, AUTHORS_RATES
from ..tuning import tune
from .measure import ATTACKED_TRIPLES

__all__ = ["ATTACKED", "RECIPES", "Recipe", "chosen_settings", "quick", "size_of_search"]

ATTACKED = "AMR, ε by the attack"  # ε chosen by NDCG@10 under attack; of "AMR" it is chosen by clean NDCG@10
CHAIN = ("VBPR", "VBPR, continued", "AMR, ε → 0", "AMR")
ALL = ("Popularity", "MF-BPR", "MF-eALS", "DUIF", *CHAIN, ATTACKED)
SEARCHED = ("MF-BPR", "MF-eALS", "DUIF", "VBPR", "AMR")
# §4.1.4 of the paper
RATES, PENALTIES, STRENGTHS = (0.005, 0.01, 0.05, 0.1), (0.0, 1e-6, 1e-4, 1e-2, 1.0), (0.01, 0.1, 1.0, 10.0)

Grids = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Recipe:
    """``models``: what it trains, in the order of the chain; ``searched``: whose settings it chooses; ``epochs`` of VBPR and of
    the stages after it, None: those that did best on validation; ``limit``: of a trial, as words of ``fit``."""

    name: str
    about: str
    models: tuple[str, ...]
    searched: tuple[str, ...]
    grids: Callable[[Dataset], Grids]
    epochs: int | None
    splits: tuple[int, ...]
    limit: dict[str, Any]
    trials: str = ""  # the recipe whose file of trials it shares
    noise: tuple[str, ...] = ATTACKED_TRIPLES  # what is attacked at the end


def published_grids(shop: Dataset) -> Grids:
    """The paper's grids, with its eq. (7): ‖p_u‖², ‖q‖² and ‖E‖² apart. MF-eALS's it does not give, so ours are tried."""
    pairs = [{"lr": lr, "reg": [reg] * 3, "reg_form": "apart"} for lr, reg in itertools.product(RATES, PENALTIES)]
    return {
        "MF-BPR": pairs,
        "MF-eALS": trials.grid_of("MF-eALS", shop),
        "DUIF": pairs,
        "VBPR": [{"start": "MF-BPR"} | pair for pair in pairs],
        "AMR": [{"epsilon": epsilon, "adv_weight": 1.0} for epsilon in STRENGTHS],
    }


def our_grids(shop: Dataset) -> Grids:
    return {model: trials.grid_of(model, shop) for model in SEARCHED}


LONG = {"epochs": AUTHORS_EPOCHS, "every": 50, "patience": 5}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("paper", "the paper's settings: its grids, 2,000 epochs of VBPR and of what follows", ALL, SEARCHED,
               published_grids, AUTHORS_EPOCHS, (0,), LONG),
        Recipe("authors", "the authors' script: three rates, their penalties, 2,000 epochs", CHAIN, ("MF-BPR",),
               published_grids, AUTHORS_EPOCHS, (0,), LONG, "paper"),
        Recipe("ours", "ours: grids, epochs and start chosen on two validation splits", ALL, SEARCHED, our_grids, None,
               (0, 1), {"epochs": 400, "every": 10, "patience": 5}),
    )
}  # fmt: skip

# Epochs of a stage of a quick run, so that the whole of it takes about half an hour on a free card of Colab
QUICK_EPOCHS = {"pinterest": 1000, "amazon-clothing": 800, "amazon-women": 30}


def quick(recipe: Recipe, dataset: str, epochs: int | None = None) -> Recipe:
    """A recipe without a search: one setting of each model, and fewer epochs. What it gives is a try, and no replication;
    it looks at the noise on training pairs alone."""

    def one(shop: Dataset) -> Grids:
        grids = recipe.grids(shop)
        middle = {model: grid[len(grid) // 2] for model, grid in grids.items()}
        for model in ("MF-BPR", "DUIF", "VBPR"):
            middle[model] = next(s for s in grids[model] if s["lr"] == 0.05 and s["reg"][0] == 0.01)
        return {model: [setting] for model, setting in middle.items()}

    epochs = epochs or QUICK_EPOCHS.get(dataset, 100)
    every = max(1, epochs // 10)
    limit = {"epochs": epochs, "every": every, "patience": 2}
    about = f"{recipe.about.partition(':')[0]}, tried for {epochs} epochs per stage without a search"
    return replace(recipe, about=about, grids=one, epochs=epochs if recipe.epochs else None, splits=(0,), limit=limit,
                   noise=ATTACKED_TRIPLES[1:])  # fmt: skip


def size_of_search(recipe: Recipe, shop: Dataset) -> dict[str, int]:
    """How many trials each searched model has, its splits counted; without those of λ, which follow that of ε."""
    grids = recipe.grids(shop)
    return {model: len(grids[model]) * len(recipe.splits) for model in recipe.searched}


def chosen_settings(
    recipe: Recipe, shop: Dataset, folder: Path, device: str = "cpu", progress: bool = True
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Settings for the whole chain, from a search that goes on where it was stopped, and every trial behind them.

    Of AMR two are chosen, ``"AMR"`` by clean NDCG@10, the paper's way, and :data:`ATTACKED` by NDCG@10 under attack."""
    file, grids = folder / f"{recipe.trials or recipe.name} trials.json", recipe.grids(shop)
    words: dict[str, Any] = dict(minutes=None, file=file, splits=recipe.splits, progress=progress,
                                 limit=recipe.limit | {"device": device})  # fmt: skip
    record = tune(shop, recipe.searched, grids=grids, **words)
    if recipe.name == "paper" and len(grids["AMR"]) > 1:  # first ε at λ = 1, then λ at that ε
        best = max(record["trials"]["AMR"], key=lambda trial: trial["ndcg@10"] if trial["adv_weight"] == 1 else -1)
        grids["AMR"] += [{"epsilon": best["epsilon"], "adv_weight": weight} for weight in STRENGTHS if weight != 1]
        record = tune(shop, recipe.searched, grids=grids, **words)
    found = {model: _setting(record["chosen"][model]) for model in recipe.searched}
    if recipe.name == "authors":
        script = {"lr": list(AUTHORS_RATES), "reg": list(AUTHORS_PENALTIES), "epochs": recipe.epochs}
        found = {"MF-BPR": found["MF-BPR"], "VBPR": script | {"start": "MF-BPR"},
                 "AMR": script | {"epsilon": 0.1, "adv_weight": 1.0}}  # fmt: skip
    else:
        tried = record["trials"]["AMR"]
        found[ATTACKED] = found["AMR"]
        found["AMR"] = _setting(max(tried, key=lambda trial: trial["ndcg@10"]))
        if recipe.epochs:
            for model in ("VBPR", "AMR", ATTACKED):
                found[model]["epochs"] = recipe.epochs
    return found, {model: record["trials"][model] for model in recipe.searched}


def _setting(trial: dict[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in trial.items() if "ndcg@10" not in word}
