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

__all__ = ["FORMS", "FORM_GRID", "ItemDropout", "arrivals_split", "best_form", "fit_form", "form_grid", "name_of", "penalty"]

EPOCH_POINTS = ("60", "120", "240", "480", "960")


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
    for lr, beta in (*itertools.product((0.005, 0.01, 0.02, 0.05), (0.03, 0.1)), (0.02, 0.2)):
        yield {"form": "combined", "lr": [lr] * 3, "reg": [beta, beta, 0.0]}
    for ratio, beta in itertools.product((0.1, 0.01), (0.03, 0.1)):
        yield {"form": "combined", "lr": [0.02, round(0.02 * ratio, 6), 0.02], "reg": [beta, beta, 0.0]}
    yield {"form": "combined", "lr": list(AUTHORS_RATES), "reg": list(AUTHORS_PENALTIES)}
    for beta, beta_q, beta_E in itertools.product((0.03, 0.1), (0.003, 0.03), (1.0, 10.0)):
        yield {"form": "apart", "lr": [0.02] * 3, "reg": [beta, beta_q, beta_E]}
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


def form_grid(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """S2, S4: every setting of ``FORM_GRID`` on one validation split and on one of new arrivals; no test item plays a part.

    ``seed`` is that of both splits and of the models. The two-vector form has half the dimension for either half, so that
    all models have as many numbers a user."""
    result: dict[str, Any] = {}
    splits = {"validation": shop.validation_split(seed), "arrivals": arrivals_split(shop, seed)}
    points = [int(point) for point in EPOCH_POINTS]
    for name, setting in FORM_GRID.items():
        result[name] = {}
        for part, data in splits.items():
            looks: dict[str, Any] = {}

            def look(epoch: int, model: Any, data: Dataset = data, looks: dict[str, Any] = looks) -> None:
                report = evaluate(model, data, k=10, progress=False)
                looks[str(epoch)] = {"NDCG@10": rounded(report.ndcg(10)), "AUC": rounded(report.auc())}

            model = fit_form(data, setting, seed, epochs or points[-1], device, dim, [Look(points, look)])
            nothing = {"NDCG@10": None, "AUC": None}  # a smoke run ends before
            result[name][part] = {point: looks.get(point, nothing) for point in EPOCH_POINTS}
        result[name]["seen"] = picture_use(model)["seen"]
    return result


FORMS = ("combined", "apart", "two-vector")


def best_form(
    form: str, grid: dict[str, Any], part: str = "validation", most: int | None = None
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """The setting of a form, and its number of epochs, with the best mean NDCG@10 over the splits of a stored ``form_grid``.

    With ``most`` the best of those that take no more epochs, for a page that has less time than the grid had.
    """
    names = [name for name, setting in FORM_GRID.items() if setting["form"] == form]
    points = [e for e in EPOCH_POINTS if most is None or int(e) <= most]
    splits = list(grid["seeds"].values())
    score = np.array([[np.mean([split[n][part][e]["NDCG@10"] for split in splits]) for e in points] for n in names])
    at, epoch = np.unravel_index(score.argmax(), score.shape)
    return FORM_GRID[names[int(at)]], int(points[int(epoch)])


def penalty(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", epochs: int | None = None, dim: int = 64
) -> dict[str, Any]:
    """S2: VBPR of each form with its own best settings, and second stages from it with and without an adversary."""
    grid, norm = load_results("form_grid"), mean_norm(shop)
    result: dict[str, Any] = {}
    for form in FORMS:
        setting, best = best_form(form, grid)
        long = epochs or best
        vbpr = fit_form(shop, setting, seed, long, device, dim)
        result[form] = {"VBPR": rates_entry(vbpr, shop)}
        again = dict(seed=seed + AGAIN, epochs=epochs or settings["AMR"]["epochs"], device=device, dim=dim, start=vbpr)
        result[form]["VBPR, continued"] = rates_entry(fit_form(shop, setting, **again), shop)
        for point in ADVERSARY_POINTS:
            epsilon = float(point) * norm or NO_ADVERSARY
            amr = fit_form(shop, setting, **again, epsilon=epsilon, adv_weight=1.0)
            result[form][f"AMR {point}"] = rates_entry(amr, shop)
    return result
