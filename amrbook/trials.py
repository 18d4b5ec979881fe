"""One setting of one model on validation interactions, and the settings that are tried; see :mod:`amrbook.tuning`."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import amrlib
from amrlib import Dataset

from .experiments import mean_norm

MODELS: dict[str, Any] = {"MF-BPR": amrlib.MFBPR, "MF-eALS": amrlib.MFeALS, "DUIF": amrlib.DUIF, "VBPR": amrlib.VBPR,
                          "AMR": amrlib.AMR}  # fmt: skip
NEEDS = {"VBPR": ("MF-BPR",), "AMR": ("MF-BPR", "VBPR")}  # the paper's chain: a model may start from the one before
BEST_BY = {"AMR": "attacked ndcg@10"}
LIMIT: dict[str, Any] = dict(trainer="auto", epochs=400, every=10, patience=5, validation=True, progress=False, device="cpu")
RATES, REGS = (0.02, 0.05, 0.1), (0.01, 0.03, 0.1, 0.3, 1.0)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # ε of AMR, of the mean feature norm


def grid_of(model: str, shop: Dataset) -> list[dict[str, Any]]:
    """The settings that are tried for a model, in their order."""
    # As in the authors' own run: ‖E‖² is not weighted by itself, it is held through the whole item vector.
    pairwise = [{"lr": rate, "reg": [reg, reg, 0.0]} for rate, reg in itertools.product(RATES, REGS)]
    if model == "MF-eALS":
        numbers = itertools.product((32.0, 128.0, 512.0, 2048.0), (0.0, 0.4), (0.01, 0.1, 1.0))
        return [{"c0": c0, "alpha": alpha, "reg": reg} for c0, alpha, reg in numbers]
    if model == "VBPR":  # the paper starts it from MF-BPR; starting afresh is tried as well
        return [{"start": start} | setting for start, setting in itertools.product(("MF-BPR", "afresh"), pairwise)]
    if model == "AMR":
        norm = mean_norm(shop)
        pairs = [(0.0001 / norm, 1.0), *((share, 1.0) for share in SHARES), (0.1, 0.1), (0.1, 10.0)]
        return [{"epsilon": round(share * norm, 4), "adv_weight": weight} for share, weight in pairs]
    return pairwise


class Starts:
    """Trained models to start others from, one a split; they see the same split, and so never the held-out items.

    ``limit``: words of ``fit`` that the trials share, other than those of :data:`LIMIT`. Another ``dim`` is for runs that
    must be short."""

    def __init__(
        self, shop: Dataset, record: dict[str, Any], limit: dict[str, Any] | None = None, dim: int = 64
    ) -> None:  # fmt: skip
        self.shop, self.record, self.dim, self.limit = shop, record, dim, LIMIT | (limit or {})
        self.models: dict[tuple[str, int], tuple[dict[str, Any], Any]] = {}  # the choice it was trained with, and the model

    def __call__(self, name: str, split: int) -> Any:
        best = self.record["chosen"][name]
        if self.models.get((name, split), ({}, None))[0] != best:
            model = fresh(name, self.shop, split, best, self)
            self.models[name, split] = best, whole(model.fit(self.shop, seed=split, **self.limit, **rates_of(best)))
        return self.models[name, split][1]


def rates_of(setting: dict[str, Any]) -> dict[str, Any]:
    """What a setting says of rate and regulariser, as words of ``fit``."""
    return {word: setting[word] for word in ("lr", "reg", "reg_form") if word in setting}


def fresh(name: str, shop: Dataset, split: int, setting: dict[str, Any], started: Starts) -> Any:
    """A model before its first epoch."""
    if setting.get("start") == "MF-BPR":
        return MODELS[name].warm_start(started("MF-BPR", split), shop, seed=split)
    return MODELS[name](dim=started.dim, seed=split).bind(shop)


def whole(model: Any) -> Any:
    """A model whose training was not interrupted: ``fit`` leaves it as it was then, and half a trial is no result."""
    if model.history.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    return model


def run_trial(model: str, shop: Dataset, setting: dict[str, Any], splits: Sequence[int], started: Starts) -> dict[str, Any]:
    how: Callable[..., dict[str, Any]] = {"MF-eALS": _eals_trial, "AMR": _amr_trial}.get(model, _pairwise_trial)
    return how(model, shop, setting, splits, started)


def _pairwise_trial(model: str, shop: Dataset, setting: dict[str, Any], splits: Any, started: Starts) -> dict[str, Any]:
    scores, epochs = [], []
    for split in splits:
        fitted = fresh(model, shop, split, setting, started)
        whole(fitted.fit(shop, seed=split, **started.limit, **rates_of(setting)))
        best = fitted.history["ndcg@10"].idxmax()
        scores.append(fitted.history["ndcg@10"][best])
        epochs.append(fitted.history["epoch"][best])
    return {**setting, "ndcg@10": round(float(np.mean(scores)), 5), "epochs": int(np.mean(epochs))}


def _eals_trial(_: str, shop: Dataset, setting: dict[str, Any], splits: Any, started: Starts) -> dict[str, Any]:
    scores = []
    for split in splits:
        data = shop.validation_split(split)
        model = amrlib.MFeALS(seed=split, **setting).bind(data)
        looks = []
        for _look in range(8):
            whole(model.fit(data, epochs=5, device=started.limit["device"], progress=False))
            looks.append(amrlib.evaluate(model, data, k=min(10, data.n_items), progress=False).ndcg(10))
        scores.append(looks)
    mean = np.mean(scores, 0)
    return {**setting, "ndcg@10": round(float(mean.max()), 5), "epochs": 5 * (int(mean.argmax()) + 1)}


def _how(started: Starts) -> dict[str, Any]:
    return {word: started.limit[word] for word in ("device", "trainer")}


def _amr_trial(_: str, shop: Dataset, setting: dict[str, Any], splits: Any, started: Starts) -> dict[str, Any]:
    """As in the paper (§4.1.4): AMR takes over VBPR's rate and regulariser and trains as long again, with no early stop."""
    best = started.record["chosen"]["VBPR"]
    base = rates_of(best)
    clean, attacked = [], []
    for split in splits:
        data = shop.validation_split(split)
        model = amrlib.AMR.warm_start(started("VBPR", split), data, seed=split, **setting)
        whole(model.fit(data, best["epochs"], seed=split, progress=False, **_how(started), **base))
        k = min(10, data.n_items)
        clean.append(amrlib.evaluate(model, data, k=k, progress=False).ndcg(10))
        changed = amrlib.perturb(model, data, 0.1 * mean_norm(shop))
        attacked.append(amrlib.evaluate(model, data, k=k, features=changed, progress=False).ndcg(10))
    return {**setting, **base, "epochs": best["epochs"], "ndcg@10": round(float(np.mean(clean)), 5),
            "attacked ndcg@10": round(float(np.mean(attacked)), 5)}  # fmt: skip
