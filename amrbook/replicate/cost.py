"""What a run will cost here, from steps that were measured before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from amrlib import AMR, MFBPR, VBPR, Dataset, evaluate

from ..settings import device as resolved
from ..settings import trainer_for
from .recipes import Recipe, size_of_search

__all__ = ["Speed", "cost_of", "measure_speed", "say"]

BATCH, BATCHES, USERS = 512, 40, 512  # what is measured at most
Speed = dict[str, float]


def measure_speed(shop: Dataset, sampled: Dataset, dim: int = 64, device: str = "auto") -> Speed:
    """Seconds of an epoch of MF-BPR, VBPR and AMR on this machine, and of a look at the sampled and the full ranking.

    Of a large set a part is measured, 40 batches and 512 users, and the rest is taken to be alike."""
    rng, n = np.random.default_rng(0), len(shop.train)
    rows = rng.permutation(n)[: BATCH * BATCHES]
    part = shop.replace(train=shop.train[rows], test=np.full(shop.n_users, -1), candidates=None)
    how: dict[str, Any] = dict(device=device, trainer=trainer_for(device), lr=0.01, progress=False)
    found: Speed = {}
    vbpr: Any = None
    for name, model in {"MF-BPR": MFBPR(dim=dim), "VBPR": VBPR(dim=dim), "AMR": AMR(dim=dim)}.items():
        model.fit(part, 1, **how)  # what is compiled is compiled, and what is recorded is recorded
        start = time.perf_counter()
        model.fit(part, 3, **how)
        found[name] = (time.perf_counter() - start) / 3 * n / len(rows)
        vbpr = model
    some = np.where(np.isin(np.arange(shop.n_users), shop.test_users[:USERS]), shop.test, -1)
    few = sampled.replace(test=some)
    for name in ("sampled", "full"):
        evaluate(vbpr, few, 10, ranking=name, progress=False)  # what is made once is made
        start = time.perf_counter()
        evaluate(vbpr, few, 10, ranking=name, progress=False)
        found[name] = (time.perf_counter() - start) * len(shop.test_users) / len(few.test_users)
    return {name: round(seconds, 5) for name, seconds in found.items()}


# what an epoch of a model costs, in epochs that were measured
LIKE = {"MF-BPR": "MF-BPR", "DUIF": "VBPR", "VBPR": "VBPR", "VBPR, continued": "VBPR"}
NOISE = 6  # full rankings that the noise costs, and the full ranking itself
EALS, EALS_EPOCHS, EALS_LOOKS = 15, 40, 8  # epochs of MF-BPR that one of MF-eALS costs; what a trial of it has at most


def cost_of(recipe: Recipe, shop: Dataset, speed: Speed, seeds: int, every: int) -> tuple[float, float]:
    """Seconds of the search, at most, and of the training of all seeds."""
    limit, epochs = recipe.limit, recipe.epochs or recipe.limit["epochs"]
    search = 0.0
    for model, trials in size_of_search(recipe, shop).items():
        if model == "MF-eALS":
            search += trials * (EALS_EPOCHS * EALS * speed["MF-BPR"] + EALS_LOOKS * speed["full"])
            continue
        looks = limit["epochs"] / limit["every"]
        search += trials * (limit["epochs"] * speed[LIKE.get(model, "AMR")] + looks * speed["full"])
    training = 0.0
    for model in recipe.models:
        if model == "MF-eALS":
            training += EALS_EPOCHS * EALS * speed["MF-BPR"]
        elif model != "Popularity":
            training += epochs * speed[LIKE.get(model, "AMR")] + epochs / every * speed["sampled"]
        # what is recorded of it at the end
        training += 8 * speed["sampled"] + (NOISE if "test" in recipe.noise else 1) * speed["full"]
    return search, seeds * training


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def say(recipes: Sequence[Recipe], shop: Dataset, speed: Speed, seeds: int, every: int, device: str) -> str:
    """What the run will cost, in words, recipe by recipe."""
    lines = [f"Measured on {resolved(device).type}: an epoch of MF-BPR takes {speed['MF-BPR']:.3g} s, of VBPR "
             f"{speed['VBPR']:.3g} s, of AMR {speed['AMR']:.3g} s."]  # fmt: skip
    total, searched = 0.0, set()
    for recipe in recipes:
        search, training = cost_of(recipe, shop, speed, seeds, every)
        if (recipe.trials or recipe.name) in searched:
            search = 0.0  # made already
        searched.add(recipe.name)
        total += search + training
        lines.append(f"- {recipe.about}: at most {in_words(search)} of search, {in_words(training)} of training.")
    lines.append(f"Estimated from these steps, if nothing is stored yet and nothing else runs: {in_words(total)} at most.")
    return "\n".join(lines)
