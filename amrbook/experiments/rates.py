"""Does AMR stop looking by itself, or does the rate of Q decide it? Second stages under other rates and penalties."""

from __future__ import annotations

from typing import Any

import numpy as np

from amrlib.adversary import perturb
from amrlib.datasets.dataset import Dataset
from amrlib.evaluation import evaluate, sample_candidates
from amrlib.models import VBPR

from .chain import ChainTraining, Look, Watch
from .measure import mean_norm, measures, ranks_of, rates_entry
from .names import (
    ADVERSARY_POINTS,
    AUTHORS_EPOCHS,
    AUTHORS_PENALTIES,
    AUTHORS_RATES,
    DROPOUT_POINTS,
    GRID_POINTS,
    NO_ADVERSARY,
    PENALTY_POINTS,
    RATE_POINTS,
    SIZE_POINTS,
    SIZE_RATES,
    TENTH,
    TWIN,
    VOLUME_POINTS,
)

__all__ = ["authors_run", "frontier", "how_at", "rates", "sizes", "weights_at"]


def how_at(point: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Rates and penalties of a second stage at a point of ``RATE_POINTS``: (P, Q, E) and (P, items, E)."""
    lr, reg = np.broadcast_to(settings["AMR"]["lr"], 3).tolist(), np.broadcast_to(settings["AMR"]["reg"], 3).tolist()
    if point in ("authors", "authors' rates"):
        lr = list(AUTHORS_RATES)
    if point in ("authors", "authors' penalties"):
        reg = list(AUTHORS_PENALTIES)
    if point in GRID_POINTS:
        lr[1] = float(point) * lr[2]
    return {"lr": lr, "reg": reg}


def weights_at(point: str) -> tuple[str, ...]:
    """λ at a point of ``RATE_POINTS``, as text."""
    return ("0.1", "1") if point in GRID_POINTS else ("1",)


def rates(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """S1: second stages from one VBPR, each with what trains it: lr_Q / lr_E, ε and λ, and the authors' own values."""
    train = ChainTraining(shop, settings, seed, **options)
    return _rates(shop, settings, train, train.vbpr())


def _rates(shop: Dataset, settings: dict[str, Any], train: ChainTraining, vbpr: VBPR) -> dict[str, Any]:
    norm = mean_norm(shop)
    result: dict[str, Any] = {"VBPR": rates_entry(vbpr, shop), "VBPR, continued": {}, TWIN: {}, "AMR": {}}
    for point in RATE_POINTS:
        how = how_at(point, settings)
        result["VBPR, continued"][point] = rates_entry(train.second(vbpr, "VBPR, continued", how), shop)
        weights = {w: float(w) for w in weights_at(point)}
        result[TWIN][point] = {w: rates_entry(train.second(vbpr, TWIN, how, adv_weight=x), shop) for w, x in weights.items()}
        result["AMR"][point] = {
            e: {w: rates_entry(train.second(vbpr, "AMR", how, epsilon=float(e) * norm or NO_ADVERSARY, adv_weight=x), shop)
                for w, x in weights.items()}
            for e in ADVERSARY_POINTS
        }  # fmt: skip
    return result


def frontier(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """S3: :func:`rates` on a validation split of that seed, and three knobs that need no adversary, as strong and less.

    Features dropped, the penalty on P and whole item vectors multiplied, and, without any training, E multiplied (0: what
    Q alone has learnt). What is chosen by these figures has seen no test item."""
    data = shop.validation_split(seed)
    train = ChainTraining(data, settings, seed, **options)
    vbpr = train.vbpr()
    result = _rates(data, settings, train, vbpr)
    result["VBPR, feature dropout"] = {
        p: rates_entry(train.second(vbpr, "VBPR, feature dropout", {"dropout": float(p)}), data) for p in DROPOUT_POINTS
    }  # fmt: skip
    reg = np.broadcast_to(settings["AMR"]["reg"], 3) * [[float(p), float(p), 1.0] for p in PENALTY_POINTS]
    result["VBPR, stronger L2"] = {
        p: rates_entry(train.second(vbpr, "VBPR, continued", {"reg": r.tolist()}), data)
        for p, r in zip(PENALTY_POINTS, reg, strict=True)
    }
    quieter = train.second(vbpr, "VBPR, continued")
    E, result["VBPR, E turned down"] = quieter.E.clone(), {}
    for point in VOLUME_POINTS:
        quieter.E.copy_(float(point) * E)
        result["VBPR, E turned down"][point] = rates_entry(quieter, data)
    return result


def padded(shop: Dataset, d: int, seed: int) -> Dataset:
    """The features with directions of pure noise up to ``d``, together of the length of the real part; ‖c‖ stays on average."""
    c = np.asarray(shop.features, dtype=np.float64)
    noise = np.random.default_rng(seed).standard_normal((len(c), d - c.shape[1]))
    noise *= np.sqrt((c**2).sum(1).mean() / (noise**2).sum(1).mean())
    wide = np.concatenate([c, noise], 1)
    return shop.replace(features=(wide * (mean_norm(shop) / np.linalg.norm(wide, axis=1).mean())).astype(np.float32))


def sizes(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """S5: other K, and features padded with noise: does AMR go blind there, and does a slow Q keep it looking?"""
    result: dict[str, Any] = {"VBPR, continued": {}, "AMR": {}}
    dim = options.pop("dim", 64)  # what K = 64 stands for
    for point in SIZE_POINTS:
        kind, number = point[0], int(point[2:])
        data = padded(shop, number, seed) if kind == "D" else shop
        train = ChainTraining(data, settings, seed, dim=number * dim // 64 if kind == "K" else dim, **options)
        vbpr, epsilon = train.vbpr(), 0.2 * mean_norm(data)
        for name in result:
            result[name][point] = {}
            for rate in SIZE_RATES:
                model = train.second(vbpr, name, how_at(rate, settings), epsilon=epsilon, adv_weight=1.0)
                result[name][point][rate] = rates_entry(model, data)
    return result


AUTHORS_EVERY = 100
AUTHORS_MODELS = {"VBPR, continued": None, "AMR, ε → 0": 0.0, "AMR, 10 %": 0.1, "AMR, 20 %": 0.2}  # → ε/‖c‖


def authors_run(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """S6, figure 3: the authors' rates, penalties and epochs to the letter, VBPR trained under them as well."""
    norm = mean_norm(shop)
    sampled = shop if shop.candidates is not None else shop.replace(candidates=sample_candidates(shop, seed=seed))
    epochs = options.get("epochs") or AUTHORS_EPOCHS
    how = {"lr": AUTHORS_RATES, "reg": AUTHORS_PENALTIES, "epochs": epochs}
    result: dict[str, Any] = {}

    def record(name: str, epoch: int, model: Any) -> None:
        curve = result.setdefault(name, {"epoch": [], "NDCG@10": [], "sampled NDCG@10": [], "attacked NDCG@10": []})
        among = evaluate(model, sampled, k=10, ranking="sampled", progress=False).ranks
        moved = ranks_of(model, shop, perturb(model, shop, TENTH * norm))
        values = [measures(ranks, (10,))["NDCG@10"] for ranks in (ranks_of(model, shop), among, moved)]
        for column, value in zip(curve, (epoch, *values), strict=True):
            curve[column].append(value)

    def recorded_as(name: str, first: int) -> Watch:
        def watch(_: str, model: Any) -> list[Look]:
            record(name, first, model)
            every = range(AUTHORS_EVERY, epochs + 1, AUTHORS_EVERY)
            return [Look(every, lambda epoch, model: record(name, first + epoch, model))]

        return watch

    train = ChainTraining(shop, settings, seed, **options)
    mf = train.mf()
    train.watch = recorded_as("VBPR", 0)
    vbpr = train.fit(VBPR.warm_start(mf, shop, seed=seed), "VBPR", seed, how=how)
    result["VBPR"] |= rates_entry(vbpr, shop)
    for name, share in AUTHORS_MODELS.items():
        train.watch = recorded_as(name, epochs)
        adversary = {} if share is None else {"epsilon": share * norm or NO_ADVERSARY, "adv_weight": 1.0}
        model = train.second(vbpr, "VBPR, continued" if share is None else "AMR", how, **adversary)
        result[name] |= rates_entry(model, shop)
    return result
