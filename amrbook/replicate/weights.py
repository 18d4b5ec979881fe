"""The first check a replicator should make: the weights that the authors released, ranked as they rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from amrlib import VBPR, Dataset
from amrlib.datasets.authors_weights import PLACES, SIZE, read_authors_weights
from amrlib.datasets.checked_files import Remote
from amrlib.datasets.download import fetch
from amrlib.datasets.text_files import read_pairs

from .measure import entry_of
from .paper import EPSILONS

__all__ = ["WEIGHTS", "check_weights", "weights_alone"]

_PLACE = "duxy-me/AMR/{}c924225cb3357b8ec5a7122d64880d125894a1ec/weights/best-vbpr.npy"
_GIT = "145a6d48069b0343834c2b66e9f61a5e8bdec1f5"
WEIGHTS = Remote(
    "pinterest/best-vbpr.npy",
    (f"https://raw.githubusercontent.com/{_PLACE.format('')}", f"https://github.com/{_PLACE.format('raw/')}",
     f"https://archive.softwareheritage.org/api/1/content/sha1_git:{_GIT}/raw/"),
    git=_GIT, size=SIZE,
)  # fmt: skip


def check_weights(shop: Dataset, progress: bool = True) -> dict[str, Any] | None:
    """The released VBPR on the authors' split and features, as a recorded entry; None on another set, or without the file."""
    if shop.name != "pinterest":
        return None
    assert shop.features is not None
    sizes, here = tuple(PLACES[name][1][0] for name in "PQE"), (shop.n_users, *shop.features.shape)
    if sizes != here:
        print(f"The released weights are not checked: they are of {sizes} users, items and features, not {here}", flush=True)
        return None
    try:
        weights = read_authors_weights(fetch(WEIGHTS, progress=progress))
    except (OSError, ValueError) as error:
        print(f"The released weights are not checked: {str(error).splitlines()[0]}", flush=True)
        return None
    model = model_of(weights, shop)
    entry = entry_of(model, shop, shop)
    six = ", ".join(f"{name} {value:.4f}" for name, value in entry["sampled"]["all"].items())
    print(f"The released VBPR, ranked as its authors do: {six}", flush=True)
    return entry


def model_of(weights: dict[str, np.ndarray], shop: Dataset) -> VBPR:
    model = VBPR(dim=weights["P"].shape[1]).bind(shop)
    for name, theta in model.parameters().items():
        theta.copy_(torch.as_tensor(weights[name]))
    return model


def weights_alone(folder: Path) -> dict[str, Any]:
    """What the released weights tell without the features: ``folder`` holds ``pos.txt`` and ``best-vbpr.npy``.

    ``history AUC``: the share of warm items without a purchase that a training pair is ahead of by p_uᵀq_i alone, for pairs and
    users alike. ``margin``: the mean of 2ε‖E p_u‖₂, what an adversary of that ε takes from any score difference at most."""
    weights = read_authors_weights(folder / "best-vbpr.npy")
    with open(folder / "pos.txt", "rb") as file:
        users, items = read_pairs(file, "pos.txt", numbers=True, below=(len(weights["P"]), len(weights["Q"])))
    shop = Dataset(np.stack([users, items], 1), np.full(len(weights["P"]), -1), n_items=len(weights["Q"]))
    P, Q, E = (torch.as_tensor(weights[name]).double() for name in "PQE")
    cold = torch.tensor(shop.cold)
    scores = P @ Q[~cold].T  # (M, warm)
    place = torch.cumsum(~cold, 0) - 1
    rows, own = (torch.as_tensor(a) for a in shop.seen_by(np.arange(shop.n_users)))
    held = scores[rows, place[own]]
    scores[rows, place[own]] = torch.inf  # no rival
    below = torch.cat([(scores[r] < h[:, None]).sum(1) for r, h in zip(rows.split(512), held.split(512), strict=True)])
    rivals = len(scores.T) - torch.as_tensor(np.diff(shop.indptr))[rows]
    sensitivity = (P @ E.T).norm(dim=1)
    return {
        "users": len(P), "items": len(Q), "dimensions": len(E), "K": P.shape[1],
        "rows": len(shop.train), "cold items": int(cold.sum()), "zero rows of Q": int((Q == 0).all(1).sum()),
        "they are the same": bool(((Q == 0).all(1) == cold).all()),
        "mean length": {"p": round(float(P.norm(dim=1).mean()), 4), "warm q": round(float(Q[~cold].norm(dim=1).mean()), 4)},
        "E": {"norm": round(float(E.norm()), 4), "largest singular value": round(float(torch.linalg.svdvals(E)[0]), 4)},
        "history AUC": round(float((below / rivals).mean()), 4),
        "margin": {f"{epsilon:g}": round(float(2 * epsilon * sensitivity.mean()), 4) for epsilon in EPSILONS},
    }  # fmt: skip
