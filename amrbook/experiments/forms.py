"""What decides how much VBPR looks: penalties, forms, rates, epochs and item dropout, chosen on validation interactions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from amrlib.datasets.dataset import Dataset
from amrlib.evaluation import evaluate
from amrlib.models import VBPR, VBPRTwoVector
from amrlib.training import Losses, PairwiseTrainer

from ..settings import trainer_for
from .chain import Look
from .measure import mean_norm, picture_use, rates_entry, rounded
from .names import ADVERSARY_POINTS, AGAIN, AUTHORS_PENALTIES, AUTHORS_RATES, NO_ADVERSARY
from .results import load_results

__all__ = [
    "FORMS", "FORM_GRID", "SECOND", "ItemDropout", "arrivals_split", "best_form", "by_rank", "finalists", "fit_form",
    "form_finals", "form_grid", "name_of", "penalty",
]  # fmt: skip

EPOCH_POINTS = ("60", "120", "240", "480", "960")
PLACES = ("first", "second", "third")  # of a form's settings on the splits of form_grid


def arrivals_split(shop: Dataset, seed: int = 0, share: float = 0.2) -> Dataset:
    """New arrivals: a share of the warm items leaves training, and users are asked for one of these that they bought.

    Every item to be found is cold here, as ``Dataset.validation_split`` hardly ever makes one. A user who bought new items
    alone, or none, is not asked. The shop's own test items play no part."""
    rng = np.random.default_rng([seed, 1])
    warm, new = np.flatnonzero(~shop.cold), np.zeros(shop.n_items, dtype=bool)
    new[rng.permutation(warm)[: round(share * len(warm))]] = True
    is_new = new[shop.train[:, 1]]
    train, left_out = shop.train[~is_new], rng.permutation(shop.train[is_new])
    test = np.full(shop.n_users, -1)
    test[left_out[:, 0]] = left_out[:, 1]  # of several the last
    test[np.bincount(train[:, 0], minlength=shop.n_users) == 0] = -1
    return shop.replace(train=train, test=test, candidates=None)


class ItemDropout(PairwiseTrainer):
    """In each step a share of the batch's items has q_i = 0, so that E has to find them by their picture alone.

    Their rows of Q, and the optimiser's memory of them, stay as they were. ``share`` is an attribute of the class."""

    share = 0.5

    def step(self, users: torch.Tensor, pos: torch.Tensor, neg: torch.Tensor) -> Losses:
        Q, memory = self.model.Q, self.optimizer.state["Q"]
        assert Q is not None
        items = torch.unique(torch.cat([pos, neg]))
        items = items[torch.rand(len(items), generator=self.generator, device=items.device) < self.share]
        q, v = Q[items], memory[items]
        Q[items] = 0
        try:
            return super().step(users, pos, neg)
        finally:
            Q[items], memory[items] = q, v


class FifthOut(ItemDropout):
    share = 0.2


def _grid() -> Iterator[dict[str, Any]]:
    for lr, beta in itertools.product((0.005, 0.01, 0.02, 0.05), (0.01, 0.03, 0.1, 0.2)):
        yield {"form": "combined", "lr": [lr] * 3, "reg": [beta, beta, 0.0]}
    for ratio, beta in itertools.product((0.1, 0.01), (0.03, 0.1)):
        yield {"form": "combined", "lr": [0.02, round(0.02 * ratio, 6), 0.02], "reg": [beta, beta, 0.0]}
    yield {"form": "combined", "lr": list(AUTHORS_RATES), "reg": list(AUTHORS_PENALTIES)}
    coarse = itertools.product((0.02,), itertools.product((0.03, 0.1), (0.003, 0.03), (1.0, 10.0)))
    best = (0.1, 0.03, 10.0)  # of those; then higher rates, which this form wants, and around it under the best of them
    around = (0.03, 0.03, 10.0), (0.3, 0.03, 10.0), (0.1, 0.01, 10.0), (0.1, 0.1, 10.0), (0.1, 0.03, 3.0), (0.1, 0.03, 30.0)
    for lr, reg in (*coarse, *((lr, best) for lr in (0.05, 0.1, 0.2, 0.4)), *itertools.product((0.1, 0.2), around)):
        yield {"form": "apart", "lr": [lr] * 3, "reg": list(reg)}
    for lr, beta in itertools.product((0.02, 0.05, 0.1), (0.01, 0.03, 0.1)):
        yield {"form": "two-vector", "lr": [lr] * 3, "reg": [beta, beta, 0.0]}
    for share in (0.2, 0.5):
        yield {"form": f"item dropout {share}", "lr": [0.02] * 3, "reg": [0.1, 0.1, 0.0]}


def name_of(setting: dict[str, Any]) -> str:
    """A setting as a result file spells it."""
    numbers = [" ".join(f"{x:g}" for x in setting[key]) for key in ("lr", "reg")]
    return f"{setting['form']}, lr {numbers[0]}, reg {numbers[1]}"


FORM_GRID = {name_of(setting): setting for setting in _grid()}


def fit_form(
    shop: Dataset, setting: dict[str, Any], seed: int, epochs: int, device: str, dim: int = 64, callbacks: Any = (),
    start: Any = None, epsilon: float = 0.0, adv_weight: float = 0.0,
) -> Any:  # fmt: skip
    """A model of a form, from random numbers or from ``start``; against an adversary if ``adv_weight`` is above 0."""
    form = setting["form"]
    if start is not None:
        model: Any = type(start).warm_start(start, shop, seed=seed)
    else:
        model = (VBPRTwoVector(dim // 2, seed) if form == "two-vector" else VBPR(dim, seed)).bind(shop)
    model.epsilon, model.adv_weight = epsilon, adv_weight  # the step asks these of any model; AMR has no other secret
    dropout = {"item dropout 0.2": FifthOut, "item dropout 0.5": ItemDropout}
    model.fit(
        shop, epochs, lr=setting["lr"], reg=setting["reg"], reg_form="apart" if form == "apart" else "combined", seed=seed,
        trainer=dropout.get(form) or trainer_for(device), callbacks=callbacks, progress=False, device=device,
    )  # fmt: skip
    if model.history.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    return model


def _by_epoch(
    data: Dataset, setting: dict[str, Any], seed: int, device: str, epochs: int | None, dim: int
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """A model trained on a split, and what it finds there after each of ``EPOCH_POINTS``."""
    found: dict[str, Any] = {point: {"NDCG@10": None, "AUC": None} for point in EPOCH_POINTS}  # a smoke run ends before

    def look(epoch: int, model: Any) -> None:
        report = evaluate(model, data, k=10, progress=False)
        found[str(epoch)] = {"NDCG@10": rounded(report.ndcg(10)), "AUC": rounded(report.auc())}

    points = [int(point) for point in EPOCH_POINTS]
    return fit_form(data, setting, seed, epochs or points[-1], device, dim, [Look(points, look)]), found


def form_grid(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """S2, S4: every setting of ``FORM_GRID`` on one validation split and on one of new arrivals; no test item plays a part.

    ``seed`` is that of both splits and of the models. The two-vector form has half the dimension for either half, so that
    all models have as many numbers a user."""
    result: dict[str, Any] = {}
    splits = {"validation": shop.validation_split(seed), "arrivals": arrivals_split(shop, seed)}
    for name, setting in FORM_GRID.items():
        result[name] = {}
        for part, data in splits.items():
            model, result[name][part] = _by_epoch(data, setting, seed, device, epochs, dim)
        result[name]["seen"] = picture_use(model)["seen"]
    return result


FORMS = ("combined", "apart", "two-vector")


def finalists(form: str, grid: dict[str, Any]) -> tuple[str, ...]:
    """The settings of a form that are best on the validation splits of a stored ``form_grid``, each at its best epoch."""
    splits = list(grid["seeds"].values())
    best = {
        name: max(np.mean([split[name]["validation"][e]["NDCG@10"] for split in splits]) for e in EPOCH_POINTS)
        for name, setting in FORM_GRID.items() if setting["form"] == form
    }  # fmt: skip
    return tuple(sorted(best, key=best.__getitem__, reverse=True)[: len(PLACES)])


def form_finals(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """S2: the best of the grid on a validation split that the grid has not seen, so that no setting wins by two lucky splits.

    That is successive halving with one round (Jamieson & Talwalkar, 2016), with a fraction of the trainings that the whole grid
    on ten splits takes. ``seed`` is that of the models, and with ``AGAIN`` added that of the split."""
    grid, data = load_results("form_grid"), shop.validation_split(seed + AGAIN)
    result: dict[str, Any] = {}
    for form in FORMS:
        result[form] = {}
        for place, name in zip(PLACES, finalists(form, grid), strict=True):
            result[form][place] = {"setting": name} | _by_epoch(data, FORM_GRID[name], seed, device, epochs, dim)[1]
    return result


def by_rank(form: str, finals: dict[str, Any], most: int | None = None) -> list[tuple[dict[str, Any], int, np.ndarray]]:
    """The settings of a form in stored ``form_finals``, the best first: each with the number of epochs at which its mean
    NDCG@10 over the splits is highest, and its NDCG@10 there, (splits,)."""
    points = [e for e in EPOCH_POINTS if most is None or int(e) <= most]
    splits = [split[form] for split in finals["seeds"].values()]
    ranked = []
    for place in PLACES:
        found = np.array([[split[place][e]["NDCG@10"] for e in points] for split in splits])  # (splits, points)
        at = int(found.mean(0).argmax())
        ranked.append((FORM_GRID[splits[0][place]["setting"]], int(points[at]), found[:, at]))
    return sorted(ranked, key=lambda entry: -entry[2].mean())


def best_form(form: str, finals: dict[str, Any], most: int | None = None) -> tuple[dict[str, Any], int]:
    """The setting of a form, and its number of epochs, with the best mean NDCG@10 over the splits of stored ``form_finals``.

    With ``most`` the best of those that take no more epochs, for a page that has less time than the finals had.
    """
    return by_rank(form, finals, most)[0][:2]


SECOND = "combined, second"


def penalty(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """S2: VBPR of each form with its own best settings, and second stages from it with and without an adversary; of the
    combined form with its second-best settings as well, which validation can hardly tell from the best.

    A second stage is as long as the first, as each setting has a pace of its own: with a slow rate AMR's 240 epochs of the
    other experiments would end before the adversary has done its work."""
    finals, norm = load_results("form_finals"), mean_norm(shop)
    chosen = {form: best_form(form, finals) for form in FORMS} | {SECOND: by_rank("combined", finals)[1][:2]}
    result: dict[str, Any] = {}
    for form, (setting, best) in chosen.items():
        long = epochs or best
        vbpr = fit_form(shop, setting, seed, long, device, dim)
        result[form] = {"VBPR": rates_entry(vbpr, shop)}
        again = dict(seed=seed + AGAIN, epochs=long, device=device, dim=dim, start=vbpr)
        result[form]["VBPR, continued"] = rates_entry(fit_form(shop, setting, **again), shop)
        for point in ADVERSARY_POINTS:
            epsilon = float(point) * norm or NO_ADVERSARY
            amr = fit_form(shop, setting, **again, epsilon=epsilon, adv_weight=1.0)
            result[form][f"AMR {point}"] = rates_entry(amr, shop)
    return result
