"""Photographs that are really changed: what so many grey levels do to features, lists and defences, for one seed.

The networks are fixed: the shop's small CNN, one of another seed, one trained adversarially. A seed draws the models, the
order of their triples, the signs of the control and the items that are promoted."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from amrlib.adversary import category_hit_ratio, perturb, worst_case_ranks
from amrlib.datasets.dataset import Dataset
from amrlib.evaluation.ranks import ndcg
from amrlib.pixels import (
    DEFENCES,
    PixelExtractor,
    attack,
    category_ndcg,
    defended,
    features_of,
    lipschitz_bound,
    pixel_extractor,
    psnr,
    random_signs,
    ssim,
)

from .chain import ChainTraining
from .measure import mean_norm, measures, ranks_of, rounded
from .names import AGAIN

LEVELS = ("1", "2", "4", "8", "16")  # grey levels of 255 that a pixel may move
MAIN_LEVEL, STEPS = "8", 10
DIM = 32  # as the chapters' models
CERTIFIED = ("1",)  # levels at which the certificate is computed
FAR = "32"  # of 255: the default of Liu & Larson (2021), plainly visible in pictures as small as these
SLOW_HISTORY = "AMR, slow q"  # AMR's second stage with a rate of 1e-4 for Q: it goes on looking
SLOW_RATES = (0.02, 1e-4, 0.02)  # of P, Q and E
LOOKING = ("VBPR", "AMR", SLOW_HISTORY, "DUIF")
OTHER, ROBUST = "VBPR, other CNN", "VBPR, robust CNN"
STEPPED = ("VBPR", ROBUST)  # attacked in ten steps as well
SURROGATES = ("other model", "other CNN")  # what an attacker has who lacks the shop's model, or its network too
KINDS = ("slow", "cold")
FEW = 5  # items of each kind that are promoted

TWO = ("HR@10", "NDCG@10")
ROWS: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = (
    (((*LOOKING, OTHER, ROBUST), ("clean",), TWO), "the pictures as they are, through the network again"),
    (((*LOOKING, ROBUST), LEVELS, ("fgsm",), TWO), "one sign step of so many levels of 255, on the test loss"),
    (((*LOOKING, ROBUST), LEVELS, ("moved", "along")),
     "of that step: mean length of the features' change, and mean part of it along the loss's gradient Γ_i; over mean ‖c‖"),
    (((*LOOKING, ROBUST), LEVELS, ("signs",), TWO), "the same with random signs"),
    (((*LOOKING, ROBUST), LEVELS, ("signs moved",)), "of the random signs: mean length of the features' change over mean ‖c‖"),
    (((*LOOKING, ROBUST), CERTIFIED, ("certified",), TWO),
     "every user's exact worst case when features move as far as the network's Lipschitz bound lets so many levels move them"),
    ((STEPPED, (MAIN_LEVEL,), ("pgd",), TWO), "ten steps at 8 levels"),
    ((STEPPED, (MAIN_LEVEL,), ("pgd moved",)), "of these: as moved"),
    ((("VBPR",), (MAIN_LEVEL,), ("l2",), TWO), "one step with ‖δ‖₂ ≤ 8·28 levels, the longest that 8 levels a pixel can be"),
    ((LOOKING, ("features",), TWO), "the feature attack of the same mean length as fgsm at 8 levels"),
    ((("VBPR",), LEVELS, ("PSNR", "SSIM")), "of the step's pictures, mean"),
    ((LOOKING, ("promotion",), KINDS, ("0", MAIN_LEVEL, FAR), ("rank", "shown")),
     "ten steps for each of five items, bought once (slow) or never (cold): median rank over users and items, each item moved "
     "alone; share of users who are shown it among the first 10"),
    ((("VBPR", SLOW_HISTORY), ("category",), ("before", "after", "signs"), ("CHR@10", "nCDCG@10")),
     "the category least bought an item, promoted by one step of 8 levels, or 8 levels of random signs"),
    ((("VBPR",), ("transfer",), SURROGATES, ("8", "16"), TWO),
     "pictures made against 'AMR, slow q', which started from this VBPR, or against a VBPR of another seed and network"),
    ((("VBPR",), ("defence",), DEFENCES, ("clean", "unaware", "adaptive"), TWO),
     "the shop changes pictures before its network looks: untouched pictures; one step of 8 levels against the bare network; "
     "one against the network behind the defence"),
)  # fmt: skip


def of_network(shop: Dataset, look: PixelExtractor) -> Dataset:
    """The shop with another network's features, over their largest value as the shop's own are."""
    raw = look.extract(shop.images)
    scale = float(raw.abs().max())
    return shop.replace(features=(raw / scale).cpu().numpy(), extras={**shop.extras, "feature_scale": scale})


def pixels(shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", **options: Any) -> dict[str, Any]:
    """Chapter 10's tables, for one seed."""
    options = {"dim": DIM, **options, "device": device}
    look, other, robust = (pixel_extractor(name, device) for name in ("shop", "shop_other", "shop_robust"))
    shops = {"VBPR": of_network(shop, look), OTHER: of_network(shop, other), ROBUST: of_network(shop, robust)}
    shop = shops["VBPR"]
    train = ChainTraining(shop, settings, seed, **options)
    slow = {**settings, "AMR": {**settings["AMR"], "lr": list(SLOW_RATES)}}
    vbpr = train.vbpr()
    models: dict[str, Any] = {
        "VBPR": vbpr, "AMR": train.second(vbpr, "AMR"),
        SLOW_HISTORY: ChainTraining(shop, slow, seed, **options).second(vbpr, "AMR"), "DUIF": train.duif(),
    }  # fmt: skip
    shaken = {level: random_signs(shop.images, int(level), seed) for level in LEVELS}
    signs = {level: features_of(look, shop, pictures) for level, pictures in shaken.items()}
    result: dict[str, Any] = {}
    for name, model in models.items():
        result[name], pictures = _levels(model, shop, look, signs, name in STEPPED)
        step = result[name][MAIN_LEVEL]["moved"] * mean_norm(shop)
        result[name]["features"] = measures(ranks_of(model, shop, perturb(model, shop, step)), (10,))
        result[name]["promotion"] = _promotion(model, shop, look, seed)
        if name in ("VBPR", SLOW_HISTORY):
            result[name]["category"] = _category(model, shop, look, seed)
        if name == "VBPR":
            result[name] |= _defences(vbpr, shop, look, pictures[MAIN_LEVEL])
            result[name][MAIN_LEVEL] |= _along_the_gradient(vbpr, shop, look)
            for level in LEVELS:
                alike = psnr(shop.images, pictures[level]).mean(), ssim(shop.images, pictures[level]).mean()
                result[name][level] |= {"PSNR": rounded(alike[0], 3), "SSIM": rounded(alike[1])}
        if name == SLOW_HISTORY:
            foreign = {"other model": pictures}
    theirs = shops[OTHER]
    elsewhere = ChainTraining(theirs, settings, seed + AGAIN, **options).vbpr()
    result[OTHER] = {"clean": measures(ranks_of(elsewhere, theirs), (10,))}
    foreign["other CNN"] = _stepped(attack(elsewhere, theirs, other, int(LEVELS[-1]), progress=False), theirs.images)
    result["VBPR"]["transfer"] = {
        name: {level: _under(vbpr, shop, look, made[level])[0] for level in ("8", "16")} for name, made in foreign.items()
    }
    theirs = shops[ROBUST]
    signs = {level: features_of(robust, theirs, pictures) for level, pictures in shaken.items()}
    result[ROBUST], _ = _levels(ChainTraining(theirs, settings, seed, **options).vbpr(), theirs, robust, signs, True)
    return result


def _under(model: Any, shop: Dataset, look: PixelExtractor, pictures: np.ndarray) -> tuple[dict[str, Any], torch.Tensor]:
    """HR and NDCG when the network sees these pictures, and the features' change (N, D)."""
    features = features_of(look, shop, pictures)
    return measures(ranks_of(model, shop, features), (10,)), features - model.features


@cache
def _lipschitz(name: str) -> float:
    return lipschitz_bound(pixel_extractor(name, "cpu"))


def _stepped(widest: np.ndarray, images: Any) -> dict[str, np.ndarray]:
    """One sign step of every size, from that of the largest: a pixel that did not move there moves nowhere."""
    images = np.asarray(images).astype(np.int64)
    signs = np.sign(widest - images)
    return {level: (images + int(level) * signs).clip(0, 255).astype(np.uint8) for level in LEVELS}


def _levels(
    model: Any, shop: Dataset, look: PixelExtractor, signs: dict[str, torch.Tensor], steps: bool
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Under one step of every size, and random ``signs`` of the same; ten steps at the main one. And the pictures."""
    norm, result = mean_norm(shop), {"clean": _under(model, shop, look, shop.images)[0]}
    toward = perturb(model, shop, 1.0) - model.features  # (N, D)  Γ_i/‖Γ_i‖
    far = _lipschitz(look.name) * 28 / float(shop.extras["feature_scale"])  # a level
    share = lambda moved: rounded(moved.norm(dim=1).double().mean() / norm)  # noqa: E731
    pictures = _stepped(attack(model, shop, look, int(LEVELS[-1]), progress=False), shop.images)
    for level in LEVELS:
        step, moved = _under(model, shop, look, pictures[level])
        result[level] = {"fgsm": step, "moved": share(moved), "along": rounded((moved * toward).sum(1).double().mean() / norm)}
        result[level] |= {"signs": measures(ranks_of(model, shop, signs[level]), (10,))}
        result[level] |= {"signs moved": share(signs[level] - model.features)}
    for level in CERTIFIED:
        result[level]["certified"] = measures(worst_case_ranks(model, shop, int(level) * far, progress=False), (10,))
    if steps:
        pictures["pgd"] = attack(model, shop, look, int(MAIN_LEVEL), steps=STEPS, progress=False)
        stepped, moved = _under(model, shop, look, pictures["pgd"])
        result[MAIN_LEVEL] |= {"pgd": stepped, "pgd moved": share(moved)}
    return result, pictures


def _along_the_gradient(model: Any, shop: Dataset, look: PixelExtractor) -> dict[str, Any]:
    return {"l2": _under(model, shop, look, attack(model, shop, look, int(MAIN_LEVEL) * 28, norm="l2", progress=False))[0]}


def _defences(model: Any, shop: Dataset, look: PixelExtractor, unaware: np.ndarray) -> dict[str, Any]:
    """What a shop gains that changes pictures first, against an attacker who does not know it and one who does."""
    result: dict[str, Any] = {}
    for name in DEFENCES:
        behind = defended(look, name)
        adaptive = attack(model, shop, behind, int(MAIN_LEVEL), progress=False)
        tried = {"clean": shop.images, "unaware": unaware, "adaptive": adaptive}
        result[name] = {how: _under(model, shop, behind, pictures)[0] for how, pictures in tried.items()}
    return {"defence": result}


def _promotion(model: Any, shop: Dataset, look: PixelExtractor, seed: int) -> dict[str, Any]:
    rng, users, kinds = np.random.default_rng(seed), np.arange(shop.n_users), {}
    for kind, of in (("slow", shop.item_counts == 1), ("cold", shop.cold)):
        kinds[kind] = rng.choice(np.flatnonzero(of), min(FEW, int(of.sum())), replace=False)
    every = np.concatenate(list(kinds.values()))
    U = model.user_vectors()
    scores = U @ model.item_vectors().T  # (M, N)
    at, seen = (torch.as_tensor(a, device=U.device) for a in shop.seen_by(users))
    scores[at, seen] = -torch.inf
    result: dict[str, Any] = {kind: {} for kind in kinds}
    for level in ("0", MAIN_LEVEL, FAR):
        features = model.features.clone()
        if level != "0":  # all at once: no promoted item's change touches another's count
            changed = attack(model, shop, look, int(level), "promote", every, steps=STEPS, progress=False)
            features[torch.as_tensor(every)] = features_of(look, shop, changed[every])
        V = model.item_vectors(features)
        for kind, items in kinds.items():
            ranks = []
            for item in items.tolist():  # among the others as they were
                own = (U @ V[item])[:, None]  # (M, 1)
                ahead = (scores >= own).sum(1) - (scores[:, item] >= own[:, 0]).long()
                ranks.append(ahead.cpu().numpy()[~shop.is_train(users, np.array(item))])
            everyone = np.concatenate(ranks)
            result[kind][level] = {"rank": float(np.median(everyone)), "shown": rounded((everyone < 10).mean(), 6)}
    return result


def _category(model: Any, shop: Dataset, look: PixelExtractor, seed: int) -> dict[str, Any]:
    """The category least bought an item, as in the main experiment."""
    labels = shop.extras["labels"]
    sold = np.bincount(labels, shop.item_counts) / np.maximum(np.bincount(labels), 1)
    items = np.flatnonzero(labels == np.where(np.bincount(labels) > 0, sold, np.inf).argmin())
    images = np.asarray(shop.images)
    promoted = attack(model, shop, look, int(MAIN_LEVEL), "promote", items, progress=False)
    result = {}
    tried = {"before": images[items], "after": promoted[items], "signs": random_signs(images[items], int(MAIN_LEVEL), seed)}
    for when, pictures in tried.items():
        features = model.features.clone()
        features[torch.as_tensor(items)] = features_of(look, shop, pictures)
        result[when] = {"CHR@10": rounded(category_hit_ratio(model, shop, items, 10, features), 6),
                        "nCDCG@10": rounded(category_ndcg(model, shop, items, 10, features), 6)}  # fmt: skip
    return result


def clean_and_attacked(model: Any, shop: Dataset, look: PixelExtractor, level: int) -> tuple[float, float]:
    """NDCG@10 of the pictures as they are and after one step: a slice of the above for a chapter to run live."""
    pictures = np.asarray(shop.images), attack(model, shop, look, level, progress=False)
    before, after = (ndcg(ranks_of(model, shop, features_of(look, shop, p)), 10) for p in pictures)
    return before, after
