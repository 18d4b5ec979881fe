"""The worlds of chapter 13's map, drawn by each seed, and their re-tuned version: settings chosen in each world.

``world_grid`` tries a small grid on validation splits of every world; ``worlds`` trains with what it chose. A world that keeps
the boutique's settings can lose for that reason alone: these two say whether it did."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from amrlib.datasets import load_dataset
from amrlib.datasets.dataset import Dataset

from .chain import ChainTraining
from .measure import mean_norm, rounded, sweep_entry
from .names import BLIND, FEATURE_POINTS, SHARE_POINTS, SPARSITY_POINTS
from .results import load_results

__all__ = ["WORLDS", "chosen_in", "describe", "redrawn", "refeatured", "world", "world_grid", "worlds"]

WORLDS = (
    *(f"visual_share={p}" for p in SHARE_POINTS),
    *(f"users={p}" for p in SPARSITY_POINTS),
    *(f"features={p}" for p in FEATURE_POINTS if p != "×1"),  # which is the boutique as it ships
)
SPLITS = (0, 1)  # validation splits of a world's training rows
RATES, REGS = (0.02, 0.05), (0.03, 0.1, 0.2)  # of VBPR, one rate for P, Q and E, the penalty on P and whole item vectors
STRENGTHS, WEIGHTS = (0.05, 0.1, 0.2), (0.1, 1.0)  # ε/‖c‖ and λ of AMR
BY = {"AMR": "attacked NDCG@10", "AMR, chosen clean": "NDCG@10"}  # as a defender chooses, and as the paper does
WORLD_MODELS = ("VBPR", "VBPR, continued", "AMR, ε → 0", *BY, BLIND)


def redrawn(shop: Dataset, **changes: Any) -> Dataset:
    """The boutique drawn again, with ``changes`` of ``load_dataset``."""
    if shop.name != "boutique":
        raise ValueError(f"this experiment draws the boutique anew, and {shop.name!r} cannot be drawn; leave --dataset out")
    return load_dataset("boutique", **changes)


def refeatured(shop: Dataset, point: str) -> tuple[Dataset, float]:
    """The shop with features ``"×4"`` as long, or of ``"D=16"`` dimensions at the same mean norm; and the factor."""
    c = np.asarray(shop.features, dtype=np.float64)
    if not point.startswith("D="):
        return shop.replace(features=(float(point[1:]) * c).astype(np.float32)), float(point[1:])
    d = int(point[2:])
    left, singular, _ = np.linalg.svd(c, full_matrices=False)
    c = left[:, :d] * singular[:d]
    return shop.replace(features=(c * (mean_norm(shop) / np.linalg.norm(c, axis=1).mean())).astype(np.float32)), 1.0


def describe(shop: Dataset) -> dict[str, Any]:
    held_out = shop.test[shop.test_users]
    return {"users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
            "cold share": rounded(shop.cold[held_out].mean()), "norm": rounded(mean_norm(shop))}  # fmt: skip


def world(shop: Dataset, name: str, seed: int) -> Dataset:
    """One of ``WORLDS``: drawn by the seed, or the shop itself with other features."""
    kind, point = name.split("=", 1)
    if kind == "features":
        return refeatured(shop, point)[0]
    changes: dict[str, Any] = {"visual_share": float(point)} if kind == "visual_share" else {"size": (int(point), 4830)}
    return redrawn(shop, seed=seed, **changes)


def _vbpr_grid() -> dict[str, dict[str, Any]]:
    pairs = itertools.product(RATES, REGS)
    return {f"lr {lr:g}, reg {reg:g}": {"start": "afresh", "lr": lr, "reg": [reg, reg, 0.0]} for lr, reg in pairs}


def _amr_grid(norm: float) -> dict[str, dict[str, Any]]:
    pairs = itertools.product(STRENGTHS, WEIGHTS)
    return {f"ε {share:g}, λ {weight:g}": {"epsilon": round(share * norm, 4), "adv_weight": weight} for share, weight in pairs}


VBPR_TRIALS, AMR_TRIALS = tuple(_vbpr_grid()), tuple(_amr_grid(1.0))


def world_grid(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "cpu", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """Validation figures of every setting in every world that ``seed`` draws, by :mod:`amrbook.trials`, mean of two splits.

    VBPR first; AMR starts from the VBPR whose setting did best, with its rate, penalty and epochs."""
    from ..trials import Starts, run_trial  # late: trials are made of this package

    result: dict[str, Any] = {}
    for name in WORLDS:
        there = world(shop, name, seed)
        there = there.replace(test=np.full(there.n_users, -1), candidates=None)  # nothing here can know what is held out
        started = Starts(there, {"chosen": {}}, {"device": device, **({"epochs": epochs} if epochs else {})}, dim)
        result[name] = {"VBPR": {}, "AMR": {}}
        tried = {n: run_trial("VBPR", there, how, SPLITS, started) for n, how in _vbpr_grid().items()}
        started.record["chosen"]["VBPR"] = max(tried.values(), key=lambda trial: trial["ndcg@10"])
        for n, trial in tried.items():
            result[name]["VBPR"][n] = {"NDCG@10": trial["ndcg@10"], "epochs": trial["epochs"]}
        for n, how in _amr_grid(mean_norm(there)).items():
            trial = run_trial("AMR", there, how, SPLITS, started)
            result[name]["AMR"][n] = {"NDCG@10": trial["ndcg@10"], "attacked NDCG@10": trial["attacked ndcg@10"]}
    return result


def chosen_in(grid: dict[str, Any], name: str, norm: float) -> dict[str, dict[str, Any]]:
    """A world's settings by a stored ``world_grid``, as ``train_chain`` takes them, of VBPR and of each of ``BY``.

    ``norm`` is the mean ‖c‖ of the world. Of equal trials the first counts."""
    trials = next(iter(grid["seeds"].values()))[name]
    best = max(VBPR_TRIALS, key=lambda n: trials["VBPR"][n]["NDCG@10"])
    vbpr = _vbpr_grid()[best] | {"epochs": trials["VBPR"][best]["epochs"]}
    amr = {m: max(AMR_TRIALS, key=lambda n: trials["AMR"][n][by]) for m, by in BY.items()}
    shared = {key: vbpr[key] for key in ("lr", "reg", "epochs")}
    return {"VBPR": vbpr} | {m: shared | _amr_grid(norm)[n] for m, n in amr.items()}


def worlds(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """When does it help, with the settings that each world's own validation chose? Worlds drawn by each seed."""
    grid = load_results("world_grid")
    result: dict[str, Any] = {name: {} for name in ("shop", *WORLD_MODELS)}
    for name in WORLDS:
        there = world(shop, name, seed)
        chosen = chosen_in(grid, name, mean_norm(there))
        train = ChainTraining(there, settings | chosen, seed, **options)
        vbpr = train.vbpr()
        second = {m: m for m in WORLD_MODELS[1:]} | {"AMR, chosen clean": "AMR"}
        result["shop"][name] = describe(there)
        result["VBPR"][name] = sweep_entry(vbpr, there)
        for m, kind in second.items():
            adversary = {k: chosen[m][k] for k in ("epsilon", "adv_weight")} if m in BY else {}
            result[m][name] = sweep_entry(train.second(vbpr, kind, **adversary), there)
    return result
