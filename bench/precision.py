"""What features in 16 bits cost in accuracy: VBPR and AMR on the boutique, the same seeds with each type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import amrlib
from amrbook.settings import settings
from amrlib.progress import progress_bar

__all__ = ["precision"]

KINDS = (torch.float32, torch.float16, torch.bfloat16)


def precision(seeds: Sequence[int] = range(5), epochs: int | None = None, dim: int = 64) -> dict[str, Any]:
    """Model → type → one number a seed: NDCG@10, and the share of all first-ten places with the item float32 has there.

    AMR goes on from the VBPR of the same type, as in chapter 13.
    """
    torch.set_num_threads(1)
    shop, how = amrlib.load_dataset("boutique"), settings("boutique")
    strength = {key: how["AMR"][key] for key in ("epsilon", "adv_weight")}
    found: dict[str, Any] = {m: {"NDCG@10": {}, "same places": {}} for m in ("VBPR", "AMR")}
    for seed in progress_bar(seeds, "precision, seeds"):
        first: dict[str, np.ndarray] = {}
        for kind in KINDS:
            model = amrlib.VBPR(dim=dim, seed=seed).bind(shop)
            for name in found:
                if name == "AMR":
                    model = amrlib.AMR.warm_start(model, shop, **strength)
                settings_of = {key: how[name][key] for key in ("lr", "reg")}
                model.to("cpu", features=kind)
                model.fit(shop, epochs or how[name]["epochs"], device="cpu", seed=seed, progress=False, **settings_of)
                shown, _ = model.recommend(np.arange(shop.n_users), 10)
                report = amrlib.evaluate(model, shop, progress=False)
                text = str(kind).removeprefix("torch.")
                found[name]["NDCG@10"].setdefault(text, []).append(report.ndcg(10))
                found[name]["same places"].setdefault(text, []).append(float((shown == first.setdefault(name, shown)).mean()))
    return {"models": found}
