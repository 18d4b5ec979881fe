"""The experiments, each for one seed: what is trained, at which points, and what of it is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amrlib.adversary import perturb
from amrlib.datasets.dataset import Dataset
from amrlib.evaluation import sample_candidates
from amrlib.models import VBPR

from .chain import ChainTraining, Look, train_chain
from .efficientnet import efficientnet
from .forms import form_finals, form_grid, penalty
from .measure import main_entry, mean_norm, measures, ranks_of, sweep_entry
from .names import (
    BLIND,
    EPSILON_POINTS,
    FEATURE_POINTS,
    LAMBDA_POINTS,
    MODELS,
    NO_ADVERSARY,
    SHARE_POINTS,
    SPARSITY_POINTS,
    TENTH,
    WEAK,
    WEAK_LAMBDA_POINTS,
)  # fmt: skip
from .pixels import pixels
from .rates import authors_run, frontier, rates, sizes
from .worlds import describe, redrawn, refeatured, world_grid, worlds

__all__ = ["EXPERIMENTS", "main_experiment"]


def main_experiment(
    shop: Dataset, settings: dict[str, Any], seed: int, only: Sequence[str] = MODELS, **options: Any
) -> dict[str, Any]:
    """Tables 2 and 3, figures 4 and 5 for one seed. ``only`` some models for a slice, as in ``train_chain``."""
    models = train_chain(shop, settings, seed, only, **options)
    sampled = shop if shop.candidates is not None else shop.replace(candidates=sample_candidates(shop, seed=seed))
    transferred = None
    surrogate: Any = models.get("VBPR, continued")
    if surrogate is not None and surrogate.features is not None:
        transferred = perturb(surrogate, shop, 1.0) - surrogate.features
    return {name: main_entry(model, shop, sampled, seed, transferred) for name, model in models.items()}


def curves(shop: Dataset, settings: dict[str, Any], seed: int, every: int = 20, **options: Any) -> dict[str, Any]:
    """Figure 3: the test items' figures while the models train."""
    result: dict[str, Any] = {}
    epsilon = TENTH * mean_norm(shop)

    def record(name: str, epoch: int, model: Any) -> None:
        clean = measures(ranks_of(model, shop), (10,))
        moved = clean if model.E is None else measures(ranks_of(model, shop, perturb(model, shop, epsilon)), (10,))
        curve = result.setdefault(name, {"epoch": [], "NDCG@10": [], "HR@10": [], "attacked": []})
        for column, value in (("epoch", epoch), *clean.items(), ("attacked", moved["NDCG@10"])):
            curve[column].append(value)

    def first(name: str) -> int:
        return 0 if name == "VBPR" else options.get("epochs") or settings["VBPR"]["epochs"]

    def watch(name: str, model: Any) -> list[Look]:
        if name == "MF-BPR":  # its last epoch alone
            return []
        record(name, first(name), model)
        return [Look(range(every, 10**9, every), lambda epoch, model: record(name, first(name) + epoch, model))]

    train = ChainTraining(shop, settings, seed, **options, watch=watch)
    mf = train.mf()
    record("MF-BPR", options.get("epochs") or settings["MF-BPR"]["epochs"], mf)
    vbpr = train.vbpr(mf)
    for name in ("VBPR, continued", "AMR, ε → 0", "AMR", "AMR, random noise"):
        train.second(vbpr, name)
    return result


def _with_references(shop: Dataset, train: ChainTraining) -> tuple[VBPR, dict[str, Any]]:
    """VBPR to go on from, and the entries of the models without an adversary."""
    mf = train.mf()
    vbpr = train.vbpr(mf)
    models = {"MF-BPR": mf, "VBPR": vbpr, "VBPR, continued": train.second(vbpr, "VBPR, continued")}
    return vbpr, {name: sweep_entry(model, shop) for name, model in models.items()}


def epsilon_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """Figure 6: AMR at λ = 1 trained with ε from next to nothing to the features' own length."""
    train, norm = ChainTraining(shop, settings, seed, **options), mean_norm(shop)
    vbpr, result = _with_references(shop, train)
    epsilons = {point: float(point) * norm or NO_ADVERSARY for point in EPSILON_POINTS}
    result["AMR"] = {p: sweep_entry(train.second(vbpr, "AMR", epsilon=e, adv_weight=1.0), shop) for p, e in epsilons.items()}
    return result


def lambda_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """Figure 7: AMR with the adversary's weight λ varied, at the ε of the settings and at a weak one."""
    train = ChainTraining(shop, settings, seed, **options)
    vbpr, result = _with_references(shop, train)
    rows = {"AMR": (LAMBDA_POINTS, settings["AMR"]["epsilon"]), WEAK: (WEAK_LAMBDA_POINTS, 0.05 * mean_norm(shop))}
    for name, (points, epsilon) in rows.items():
        trained = {p: train.second(vbpr, name, epsilon=epsilon, adv_weight=float(p)) for p in points}
        result[name] = {p: sweep_entry(model, shop) for p, model in trained.items()}
    return result


def starts(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """§4.1.4: AMR from a trained VBPR, and from nothing in as many epochs."""
    train = ChainTraining(shop, settings, seed, **options)
    vbpr = train.vbpr()
    result = {}
    for name in ("AMR", WEAK):
        result[name] = sweep_entry(train.second(vbpr, name), shop)
        result[f"{name}, afresh"] = sweep_entry(train.afresh(name), shop)
    return result


def _over_shops(
    shops: dict[str, Dataset], settings: dict[str, Any], seed: int, only: Sequence[str], **options: Any
) -> dict[str, Any]:
    result: dict[str, Any] = {name: {} for name in ("shop", *only)}
    for point, shop in shops.items():
        result["shop"][point] = describe(shop)
        for name, model in train_chain(shop, settings, seed, only, **options).items():
            result[name][point] = sweep_entry(model, shop)
    return result


def visual_share(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """When does it help? Shops whose tastes are more or less visible, drawn anew by each seed."""
    shops = {point: redrawn(shop, visual_share=float(point), seed=seed) for point in SHARE_POINTS}
    only = ("MF-BPR", "DUIF", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR", WEAK)
    return _over_shops(shops, settings, seed, only, **options)


def sparsity(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """When does it help? The same number of items with more or fewer people to buy them."""
    shops = {point: redrawn(shop, seed=seed, size=(int(point), 4830)) for point in SPARSITY_POINTS}
    return _over_shops(shops, settings, seed, ("MF-BPR", "VBPR", "VBPR, continued", "AMR", WEAK), **options)


def controls(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """In every shop of the map: what AMR's second stage does without pictures, and without an adversary."""
    shared = {"boutique": shop}
    shared |= {f"visual_share={p}": redrawn(shop, visual_share=float(p), seed=seed) for p in SHARE_POINTS}
    sizes = {f"users={p}": redrawn(shop, seed=seed, size=(int(p), 4830)) for p in SPARSITY_POINTS}
    first = _over_shops(shared, settings, seed, (BLIND,), **options)
    second = _over_shops(sizes, settings, seed, (BLIND, "AMR, ε → 0"), **options)
    return {name: first.get(name, {}) | second[name] for name in second}


def features_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    """Features longer or shorter at the same ε and at the same ε/‖c‖, and in fewer dimensions."""
    result: dict[str, Any] = {n: {} for n in ("shop", "VBPR", "VBPR, continued", "AMR, same ε", "AMR, same ε/‖c‖")}
    epsilon = settings["AMR"]["epsilon"]
    for point in FEATURE_POINTS:
        changed, scale = refeatured(shop, point)
        train = ChainTraining(changed, settings, seed, **options)
        vbpr = train.vbpr()
        absolute = train.second(vbpr, "AMR")
        models = {"VBPR": vbpr, "VBPR, continued": train.second(vbpr, "VBPR, continued"), "AMR, same ε": absolute}
        models["AMR, same ε/‖c‖"] = absolute if scale == 1 else train.second(vbpr, "AMR", epsilon=scale * epsilon)
        result["shop"][point] = describe(changed)
        for name, model in models.items():
            result[name][point] = sweep_entry(model, changed)
    return result


EXPERIMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "main": main_experiment, "curves": curves, "epsilon": epsilon_sweep, "lambda": lambda_sweep,
    "starts": starts, "visual_share": visual_share, "sparsity": sparsity, "features": features_sweep,
    "controls": controls, "rates": rates, "authors": authors_run, "frontier": frontier, "form_grid": form_grid,
    "form_finals": form_finals, "penalty": penalty, "sizes": sizes, "pixels": pixels, "world_grid": world_grid,
    "worlds": worlds, "efficientnet": efficientnet,
}  # fmt: skip
