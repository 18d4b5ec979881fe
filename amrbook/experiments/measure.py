"""What is measured of a trained model, as plain numbers for a result file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from amrlib.adversary import breaking_epsilon, category_hit_ratio, item_ranks, perturb, promote, worst_case_ranks
from amrlib.datasets.dataset import Dataset
from amrlib.evaluation import Report, evaluate
from amrlib.evaluation.ranks import hr, ndcg

from .names import PAPER_EPSILONS, SHARES, TENTH

__all__ = ["main_entry", "mean_norm", "measures", "rates_entry", "sweep_entry"]


def mean_norm(shop: Dataset) -> float:
    """Mean ‖c_i‖₂, the yardstick of ε."""
    return float(np.linalg.norm(np.asarray(shop.features, dtype=np.float64), axis=1).mean())


def measures(ranks: np.ndarray, ks: Sequence[int] = (5, 10, 20)) -> dict[str, float | None]:
    """HR and NDCG at every k; None where there are no ranks."""
    names = {f"{name}@{k}": (f, k) for name, f in (("HR", hr), ("NDCG", ndcg)) for k in ks}
    return {name: rounded(f(ranks, k)) if len(ranks) else None for name, (f, k) in names.items()}


def rounded(value: Any, digits: int = 5) -> float | None:
    value = float(value)
    return round(value, digits) if np.isfinite(value) else None


def parts(report: Report) -> dict[str, Report]:
    return {"full": report, "cold": report.only(report.cold), "warm": report.only(~report.cold)}


def auc(report: Report) -> float | None:
    return rounded(report.auc()) if len(report.ranks) else None


def ranks_of(model: Any, shop: Dataset, features: Any = None) -> np.ndarray:
    return evaluate(model, shop, k=1, features=features, progress=False).ranks


def picture_use(model: Any) -> dict[str, Any]:
    """‖E‖_F, the mean sensitivity, and how much of the scores the pictures make."""
    norms = {"E norm": rounded(model.E.double().norm()), "sensitivity": rounded(model.sensitivity().double().mean())}
    some = slice(0, 500)  # enough users for a mean
    seen = model.visual_users()[some] @ (model.features.to(model.E.dtype) @ model.E).T  # (500, N)  p_uᵀEᵀc_i
    spread = (model.user_vectors()[some] @ model.item_vectors().T).std(1)  # (500,) over the items
    return norms | {"seen": rounded((seen.std(1) / spread.clamp_min(1e-12)).double().mean())}


def sweep_entry(model: Any, shop: Dataset, report: Report | None = None) -> dict[str, Any]:
    """An ``ENTRY`` of the sweeps; see :mod:`amrbook.experiments.schema`. ``report`` is the model's, if it is there already."""
    ten, epsilon = (10,), TENTH * (norm := mean_norm(shop))
    report = report or evaluate(model, shop, k=1, progress=False)
    trained_with = model.epsilon if getattr(model, "adv_weight", 0) > 0 else 0.0
    entry: dict[str, Any] = {"full": measures(report.ranks, ten), "cold": measures(report.ranks[report.cold], ten)}
    entry |= {"auc cold": auc(report.only(report.cold)), "attacked": entry["full"], "certified": entry["full"]}
    if model.E is not None:
        entry["attacked"] = measures(ranks_of(model, shop, perturb(model, shop, epsilon)), ten)
        entry["certified"] = measures(worst_case_ranks(model, shop, epsilon, progress=False), ten)
        entry |= picture_use(model)
    return entry | {"ε": rounded(trained_with), "ε/‖c‖": rounded(trained_with / norm)}


def mean_lead(model: Any, shop: Dataset) -> float:
    """By how much a purchase of training leads on average: ŷ_ui minus the mean ŷ_uj of the warm items u does not have."""
    U, V = model.user_vectors().double(), model.item_vectors().double()
    u, i = (torch.as_tensor(shop.train[:, column], device=U.device) for column in (0, 1))
    own = torch.zeros(len(U), V.shape[1], dtype=V.dtype, device=V.device).index_add_(0, u, V[i])  # (M, K̃)  Σ over u's items
    n_own = torch.bincount(u, minlength=len(U))[:, None]
    warm = torch.as_tensor(~shop.cold, device=V.device)
    rest = (V[warm].sum(0) - own) / (warm.sum() - n_own).clamp_min(1)
    return float(((V[i] - rest[u]) * U[u]).sum(1).mean())


def margin_share(model: Any, shop: Dataset, epsilon: float) -> float | None:
    """ε in a unit that any model has: the mean margin 2ε‖E p_u‖₂ that it takes, over :func:`mean_lead`."""
    return rounded(2 * epsilon * float(model.sensitivity().double().mean()) / mean_lead(model, shop))


def rates_entry(model: Any, shop: Dataset) -> dict[str, Any]:
    """:func:`sweep_entry` with warm items apart, and what a tenth of ‖c‖ is for this very model (:func:`margin_share`)."""
    report = evaluate(model, shop, k=1, progress=False)
    entry = sweep_entry(model, shop, report) | {"warm": measures(report.only(~report.cold).ranks, (10,))}
    if model.E is None:
        return entry | {"sensitivity": 0.0, "E norm": 0.0, "seen": 0.0, "margin": 0.0}
    return entry | {"margin": margin_share(model, shop, TENTH * mean_norm(shop))}


def attacked(model: Any, shop: Dataset, seed: int, transferred: torch.Tensor | None) -> dict[str, Any]:
    """LEVEL → ATTACK → figures. The direction of a single step is the same at every ε, so it is computed once."""
    norm, c = mean_norm(shop), model.features
    moves = {
        "random": perturb(model, shop, 1.0, "random", seed=seed) - c,  # (N, D), ‖·‖₂ = 1 each
        "test": perturb(model, shop, 1.0) - c,
        "train": perturb(model, shop, 1.0, triples="train", seed=seed) - c,
        "linf": (perturb(model, shop, 1.0, norm="linf") - c) / c.shape[1] ** 0.5,
    }
    if transferred is not None:
        moves["transferred"] = transferred
    levels = [(s * norm, f"ε={s:g}‖c‖") for s in SHARES] + [(e, f"ε={e:g}") for e in PAPER_EPSILONS]
    result: dict[str, Any] = {}
    for epsilon, level in levels:
        ranks = {name: ranks_of(model, shop, c + epsilon * move) for name, move in moves.items()}
        ranks["certified"] = worst_case_ranks(model, shop, epsilon, progress=False)
        if level == f"ε={TENTH:g}‖c‖":
            ranks["steps"] = ranks_of(model, shop, perturb(model, shop, epsilon, steps=10))
        result[level] = {name: measures(r, (10,)) for name, r in ranks.items()}
    return result


def box(change: np.ndarray) -> dict[str, float]:
    """A box and its whiskers, which end at the last value within 1.5 times the box of it."""
    q1, median, q3 = np.quantile(change, [0.25, 0.5, 0.75])
    near = change[(change >= q1 - 1.5 * (q3 - q1)) & (change <= q3 + 1.5 * (q3 - q1))]
    values = {"low": near.min(), "Q1": q1, "median": median, "Q3": q3, "high": near.max()}
    return {name: round(float(v), 2) for name, v in values.items()}


def breaking_quantiles(model: Any, shop: Dataset) -> dict[str, float | None]:
    epsilons = breaking_epsilon(model, shop, 10) / mean_norm(shop)
    hits = epsilons[epsilons > 0]
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)  # a value that is there, never one between two: some may be infinite
    return {f"{q:g}": rounded(np.quantile(hits, q, method="lower")) if len(hits) else None for q in shares}


def promotion(model: Any, shop: Dataset, seed: int) -> dict[str, Any]:
    """The category least bought an item (without categories: the least bought tenth), and five cold items."""
    labels = getattr(shop, "labels", None)
    if labels is None:
        labels = np.argsort(np.argsort(shop.item_counts, kind="stable")) * 10 // shop.n_items
    sold = np.bincount(labels, shop.item_counts) / np.maximum(np.bincount(labels), 1)
    category = np.flatnonzero(labels == np.where(np.bincount(labels) > 0, sold, np.inf).argmin())
    cold = np.flatnonzero(shop.cold)
    cold = np.random.default_rng(seed).choice(cold, min(5, len(cold)), replace=False)
    epsilon = TENTH * mean_norm(shop)
    noise = perturb(model, shop, epsilon, "random", seed=seed)
    result: dict[str, Any] = {"CHR@10": {}, "rank": {}}

    def features(when: str, items: np.ndarray) -> torch.Tensor | None:
        if when == "random":
            at = torch.as_tensor(items, device=noise.device)
            return model.features.to(noise.dtype).index_copy(0, at, noise[at])
        return promote(model, shop, items, epsilon) if when == "after" else None

    for when in ("before", "after", "random"):
        result["CHR@10"][when] = rounded(category_hit_ratio(model, shop, category, 10, features(when, category)), 6)
        if len(cold):
            moved = features(when, cold)
            result["rank"][when] = float(np.median(np.concatenate([item_ranks(model, shop, i, moved) for i in cold.tolist()])))
    return result


def main_entry(
    model: Any, shop: Dataset, sampled: Dataset, seed: int, transferred: torch.Tensor | None = None
) -> dict[str, Any]:
    """One model's entry of the main experiment; see :mod:`amrbook.experiments.schema`.

    Parameters
    ----------
    sampled : Dataset
        The same shop with the sampled rivals of every user as ``candidates``.
    transferred : tensor (N, D), optional
        A change of the features of length 1 an item, made against another model.
    """
    report = evaluate(model, shop, progress=False)
    entry: dict[str, Any] = {part: measures(r.ranks) for part, r in parts(report).items()}
    among = parts(evaluate(model, sampled, ranking="sampled", progress=False))
    entry |= {f"sampled {part}".removesuffix(" full"): measures(r.ranks) for part, r in among.items()}
    entry["auc"] = {part: auc(r) for part, r in parts(report).items()}
    if model.E is not None:
        entry |= attacked(model, shop, seed, transferred)
        entry["breaking"] = breaking_quantiles(model, shop)
        after = ranks_of(model, shop, perturb(model, shop, TENTH * mean_norm(shop)))
        entry["rank change"] = box(after - report.ranks)
        entry["promotion"] = promotion(model, shop, seed)
        entry["E"] = [rounded(v) for v in torch.linalg.svdvals(model.E.double().cpu())[:10].tolist()]
        entry |= picture_use(model)
    return entry
