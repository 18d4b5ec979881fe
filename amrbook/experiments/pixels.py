"""Photographs that are really changed: what so many grey levels do to features, lists and defences, for one seed.

The networks are fixed: the shop's small CNN, one of another seed, one trained adversarially. A seed draws the models, the
order of their triples, the signs of the control and the items that are promoted."""

from __future__ import annotations

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
FAR = "32"  # of 255: the default of Liu & Larson (2021), plainly visible in pictures as small as these
SLOW_HISTORY = "AMR, slow q"  # AMR's second stage with a rate of 1e-4 for Q: it goes on looking
SLOW_RATES = (0.02, 1e-4, 0.02)  # of P, Q and E
LOOKING = ("VBPR", "AMR", SLOW_HISTORY, "DUIF")
OTHER, ROBUST = "VBPR, other CNN", "VBPR, robust CNN"
SURROGATES = ("other training", "other CNN")  # what an attacker has who lacks the shop's model, or its network too
KINDS = ("slow", "cold")
FEW = 5  # items of each kind that are promoted

TWO = ("HR@10", "NDCG@10")
ROWS: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = (
    ((("MF-BPR", *LOOKING, OTHER, ROBUST), ("clean",), TWO), "the pictures as they are, through the network again"),
    (((*LOOKING, ROBUST), LEVELS, ("fgsm",), TWO), "one sign step of so many levels of 255, on the test loss"),
    (((*LOOKING, ROBUST), LEVELS, ("moved", "along")),
     "of that step: mean length of the features' change, and mean part of it along the loss's gradient Γ_i; over mean ‖c‖"),
    (((*LOOKING, ROBUST), LEVELS, ("signs",), TWO), "the same with random signs"),
    (((*LOOKING, ROBUST), LEVELS, ("signs moved",)), "of the random signs: mean length of the features' change over mean ‖c‖"),
    (((*LOOKING, ROBUST), LEVELS, ("certified",), TWO), "every user's exact worst case when features move as far as the network's "
     "Lipschitz bound lets so many levels move them"),
    (((*LOOKING, ROBUST), (MAIN_LEVEL,), ("pgd",), TWO), "ten steps at 8 levels"),
    (((*LOOKING, ROBUST), (MAIN_LEVEL,), ("pgd moved",)), "of these: as moved"),
    ((("VBPR",), (MAIN_LEVEL,), ("l2",), TWO), "one step with ‖δ‖₂ ≤ 8·28 levels, the longest that 8 levels a pixel can be"),
    ((LOOKING, ("features",), TWO), "the feature attack of the same mean length as fgsm at 8 levels"),
    ((("VBPR",), LEVELS, ("PSNR", "SSIM")), "of the step's pictures, mean"),
    ((LOOKING, ("promotion",), KINDS, ("0", MAIN_LEVEL, FAR), ("rank", "shown")),
     "ten steps for each of five items alone, bought once (slow) or never (cold): median rank over users and items; share of "
     "users who are shown it among the first 10"),
    ((LOOKING, ("category",), ("before", "after", "signs"), ("CHR@10", "nCDCG@10")),
     "the category least bought an item, promoted by one step of 8 levels, or 8 levels of random signs"),
    ((("VBPR",), ("transfer",), SURROGATES, ("8", "16"), TWO),
     "pictures made against a VBPR of another seed, or of another seed and network"),
    ((("VBPR",), ("defence",), DEFENCES, ("clean", "unaware", "adaptive"), TWO),
     "the shop changes pictures before its network looks: untouched pictures, ten steps at 8 levels against the bare network, and "
     "against the network behind the defence"),
)  # fmt: skip


def of_network(shop: Dataset, look: PixelExtractor) -> Dataset:
    """The shop with another network's features, over their largest value as the shop's own are."""
    raw = look.extract(shop.images)
    scale = float(raw.abs().max())
    return shop.replace(features=(raw / scale).cpu().numpy(), extras={**shop.extras, "feature_scale": scale})


def pixels(shop: Dataset, settings: dict[str, Any], seed: int, device: str = "auto", **options: Any) -> dict[str, Any]:
    """Chapter 10's tables, for one seed."""
    options["device"] = device
    look, other, robust = (pixel_extractor(name, device) for name in ("shop", "shop_other", "shop_robust"))
    shops = {"VBPR": of_network(shop, look), OTHER: of_network(shop, other), ROBUST: of_network(shop, robust)}
    shop = shops["VBPR"]
    train = ChainTraining(shop, settings, seed, **options)
    mf, vbpr = train.mf(), train.vbpr()
    slow = {**settings, "AMR": {**settings["AMR"], "lr": list(SLOW_RATES)}}
    models: dict[str, Any] = {"VBPR": vbpr, "AMR": train.second(vbpr, "AMR")}
    models[SLOW_HISTORY] = ChainTraining(shop, slow, seed, **options).second(vbpr, "AMR")
    models["DUIF"] = train.duif()
    result: dict[str, Any] = {"MF-BPR": {"clean": measures(ranks_of(mf, shop), (10,))}}
    for name, model in models.items():
        result[name] = _levels(model, shop, look, seed)
        step = result[name][MAIN_LEVEL]["moved"] * mean_norm(shop)
        result[name]["features"] = measures(ranks_of(model, shop, perturb(model, shop, step)), (10,))
        result[name]["promotion"] = _promotion(model, shop, look, seed)
        result[name]["category"] = _category(model, shop, look, seed)
    elsewhere = ChainTraining(shops[OTHER], settings, seed + AGAIN, **options).vbpr()
    result[OTHER] = {"clean": measures(ranks_of(elsewhere, shops[OTHER]), (10,))}
    result[ROBUST] = _levels(ChainTraining(shops[ROBUST], settings, seed, **options).vbpr(), shops[ROBUST], robust, seed)
    again = ChainTraining(shop, settings, seed + AGAIN, **options).vbpr()
    result["VBPR"] |= _of_vbpr(vbpr, shop, look, {"other training": (again, shop, look),
                                                  "other CNN": (elsewhere, shops[OTHER], other)})  # fmt: skip
    for level, entry in result["VBPR"].pop("alike").items():
        result["VBPR"][level] |= entry
    return result


def _under(model: Any, shop: Dataset, look: PixelExtractor, pictures: np.ndarray) -> tuple[dict[str, Any], torch.Tensor]:
    """HR and NDCG when the network sees these pictures, and the features' change (N, D)."""
    features = look.extract(pictures) / shop.feature_scale
    return measures(ranks_of(model, shop, features), (10,)), features - model.features


def _levels(model: Any, shop: Dataset, look: PixelExtractor, seed: int) -> dict[str, Any]:
    """Under one step of every size, and random signs of the same; ten steps at the main one."""
    norm, result = mean_norm(shop), {"clean": _under(model, shop, look, shop.images)[0]}
    toward = perturb(model, shop, 1.0) - model.features  # (N, D)  Γ_i/‖Γ_i‖
    far = lipschitz_bound(look) * 28 / shop.feature_scale  # a level
    share = lambda moved: rounded(moved.norm(dim=1).double().mean() / norm)  # noqa: E731
    for level in LEVELS:
        levels = int(level)
        step, moved = _under(model, shop, look, attack(model, shop, look, levels, progress=False))
        signs, shaken = _under(model, shop, look, random_signs(shop.images, levels, seed))
        certified = worst_case_ranks(model, shop, levels * far, progress=False)
        along = rounded((moved * toward).sum(1).double().mean() / norm)
        result[level] = {"fgsm": step, "moved": share(moved), "along": along, "signs": signs, "signs moved": share(shaken),
                         "certified": measures(certified, (10,))}  # fmt: skip
    pictures = attack(model, shop, look, int(MAIN_LEVEL), steps=STEPS, progress=False)
    result[MAIN_LEVEL]["pgd"], moved = _under(model, shop, look, pictures)
    result[MAIN_LEVEL]["pgd moved"] = share(moved)
    return result


def _of_vbpr(
    vbpr: Any, shop: Dataset, look: PixelExtractor, surrogates: dict[str, tuple[Any, Dataset, PixelExtractor]]
) -> dict[str, Any]:
    """What is tried on VBPR alone: the eye, another norm, attackers who know less, and defences of the input."""
    images, main, alike = np.asarray(shop.images), int(MAIN_LEVEL), {}
    for level in LEVELS:
        changed = attack(vbpr, shop, look, int(level), progress=False)
        alike[level] = {"PSNR": rounded(psnr(images, changed).mean(), 3), "SSIM": rounded(ssim(images, changed).mean())}
    along = attack(vbpr, shop, look, main * 28, norm="l2", progress=False)
    alike[MAIN_LEVEL]["l2"] = _under(vbpr, shop, look, along)[0]
    transfer: dict[str, Any] = {}
    for name, (model, theirs, network) in surrogates.items():
        made = {level: attack(model, theirs, network, int(level), progress=False) for level in ("8", "16")}
        transfer[name] = {level: _under(vbpr, shop, look, pictures)[0] for level, pictures in made.items()}
    unaware, defence = attack(vbpr, shop, look, main, steps=STEPS, progress=False), {}
    for name in DEFENCES:
        behind = defended(look, name)
        adaptive = attack(vbpr, shop, behind, main, steps=STEPS, progress=False)
        tried = {"clean": images, "unaware": unaware, "adaptive": adaptive}
        defence[name] = {how: _under(vbpr, shop, behind, pictures)[0] for how, pictures in tried.items()}
    return {"alike": alike, "transfer": transfer, "defence": defence}


def _promotion(model: Any, shop: Dataset, look: PixelExtractor, seed: int) -> dict[str, Any]:
    rng, users = np.random.default_rng(seed), np.arange(shop.n_users)
    scores = model.user_vectors() @ model.item_vectors().T  # (M, N)
    at, seen = (torch.as_tensor(a) for a in shop.seen_by(users))
    scores[at.to(scores.device), seen.to(scores.device)] = -torch.inf
    result: dict[str, Any] = {}
    for kind, of in (("slow", shop.item_counts == 1), ("cold", shop.cold)):
        items = rng.choice(np.flatnonzero(of), min(FEW, int(of.sum())), replace=False)
        result[kind] = {}
        for level in ("0", MAIN_LEVEL, FAR):
            ranks = []
            for item in items.tolist():  # each alone
                features = model.features
                if level != "0":
                    changed = attack(model, shop, look, int(level), "promote", [item], steps=STEPS, progress=False)
                    features = model.features.clone()
                    features[item] = look.extract(changed[item][None])[0] / shop.feature_scale
                own = (model.user_vectors() @ model.item_vectors(features)[item])[:, None]  # (M, 1)
                rivals = scores.clone()
                rivals[:, item] = -torch.inf
                open_to = ~shop.is_train(users, np.array(item))
                ranks.append((rivals >= own).sum(1).cpu().numpy()[open_to])
            everyone = np.concatenate(ranks)
            result[kind][level] = {"rank": float(np.median(everyone)), "shown": rounded((everyone < 10).mean(), 6)}
    return result


def _category(model: Any, shop: Dataset, look: PixelExtractor, seed: int) -> dict[str, Any]:
    """The category least bought an item, as in the main experiment."""
    labels = shop.labels
    sold = np.bincount(labels, shop.item_counts) / np.maximum(np.bincount(labels), 1)
    items = np.flatnonzero(labels == np.where(np.bincount(labels) > 0, sold, np.inf).argmin())
    shaken = np.array(shop.images)
    shaken[items] = random_signs(shaken[items], int(MAIN_LEVEL), seed)
    promoted = attack(model, shop, look, int(MAIN_LEVEL), "promote", items, progress=False)
    result = {}
    for when, pictures in (("before", np.asarray(shop.images)), ("after", promoted), ("signs", shaken)):
        features = look.extract(pictures) / shop.feature_scale
        result[when] = {"CHR@10": rounded(category_hit_ratio(model, shop, items, 10, features), 6),
                        "nCDCG@10": rounded(category_ndcg(model, shop, items, 10, features), 6)}  # fmt: skip
    return result


def clean_and_attacked(model: Any, shop: Dataset, look: PixelExtractor, level: int) -> tuple[float, float]:
    """NDCG@10 of the pictures as they are and after one step: a slice of the above for a chapter to run live."""
    pictures = np.asarray(shop.images), attack(model, shop, look, level, progress=False)
    before, after = (ndcg(ranks_of(model, shop, look.extract(p) / shop.feature_scale), 10) for p in pictures)
    return before, after
