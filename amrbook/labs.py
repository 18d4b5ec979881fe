"""What the three labs of the pages are given: pictures, scores and start values, as scripts that set a global.

    python -m amrbook labs           # writes book/_static/labs/*_data.js again; half a minute on one core

A page that was opened from disk may not fetch a file, so a lab's arrays come in a classic script: one string, base64 of the
deflated bytes of all of them. Everything is trained and computed in float64 from fixed seeds, and stored; a test makes it
again and compares. How the scripts read it is in ``book/_static/labs/labs.js``.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import amrlib
from amrlib.models import AMR, VBPR
from amrlib.pixels import PixelExtractor, features_of, pixel_extractor

from .experiments.names import AGAIN
from .experiments.rates import how_at
from .settings import settings

__all__ = ["LABS", "Pack", "attack_pack", "models", "rank_pack", "train_pack"]

LABS = Path(__file__).resolve().parents[1] / "book" / "_static" / "labs"
MODELS = ("VBPR", "AMR, looks", "AMR, blind")
DIM, SEED = 32, 0
PHOTOS, SHOPPERS = 500, 20  # of the attack lab
LISTS, LENGTH = 5, 20  # of the ranking lab
STEP = 1e-6  # to which the rivals' scores are rounded
OPENING = 8  # grey levels at which the attack lab opens
STARTS, DRAWS = 6, 2000  # of the training lab: chapter 3's own


@dataclass(frozen=True)
class Pack:
    """Arrays and a few facts for one lab; ``text()`` is the script."""

    name: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def text(self) -> str:
        """A classic script that sets ``Labs.data[name]``: facts, where each array lies, and the bytes."""
        body, where = b"", {}
        for key, array in self.arrays.items():
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            body += b"\0" * (-len(body) % 8)  # typed arrays begin at a multiple of their element's size
            where[key] = {"type": array.dtype.name, "shape": list(array.shape), "at": len(body)}
            body += little.tobytes()
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = base64.b64encode(deflate.compress(body) + deflate.flush()).decode()
        facts = json.dumps({"facts": self.facts, "arrays": where}, ensure_ascii=True, sort_keys=True)
        return f'Labs.data.{self.name} = Object.assign({facts}, {{ bytes: "{packed}" }});\n'

    def write(self, folder: Path = LABS) -> Path:
        """``folder/NAME_data.js``."""
        path = folder / f"{self.name}_data.js"
        path.write_text(self.text(), encoding="ascii")
        return path


def models(shop: Any) -> dict[str, Any]:
    """VBPR and two second stages of AMR, float64, :data:`DIM` dimensions: one with the authors' rates of P, Q and E, which
    goes on looking at pictures, and one with one rate for all, which stops (chapter 11)."""
    chosen = settings()
    how, strength = chosen["VBPR"], {key: chosen["AMR"][key] for key in ("epsilon", "adv_weight")}
    words: dict[str, Any] = dict(device="cpu", trainer="closed_form", progress=False)
    vbpr = VBPR(dim=DIM, seed=SEED, dtype=torch.float64)
    vbpr.fit(shop, how["epochs"], lr=how["lr"], reg=how["reg"], seed=SEED, **words)
    found: dict[str, Any] = {"VBPR": vbpr}
    for name, point in zip(MODELS[1:], ("authors' rates", "1"), strict=True):
        model = AMR.warm_start(vbpr, shop, **strength)
        model.fit(shop, chosen["AMR"]["epochs"], seed=SEED + AGAIN, **how_at(point, chosen), **words)
        found[name] = model
    return found


def attack_pack(shop: Any, found: dict[str, Any]) -> Pack:
    """The attack lab: photographs, shoppers, the CNN, and what each model makes of all that is not photographed.

    ``taste`` (models, shoppers, D) is E p_u / scale, so that a model's score changes by ``taste`` times the change of f(x);
    ``score`` (models, shoppers, photographs) is each photograph's score before; ``rivals`` are the scores of all other items
    the shopper does not have, sorted, as whole steps of :data:`STEP` down from the first, in four planes of bytes.
    """
    look = pixel_extractor("shop", "cpu").double()
    rng = np.random.default_rng(SEED)
    bought = np.bincount(shop.train[:, 0], minlength=shop.n_users)
    shoppers = np.sort(rng.choice(np.flatnonzero((bought >= 3) & (bought <= 6)), SHOPPERS, replace=False))
    theirs = [np.sort(shop.train[shop.train[:, 0] == u, 1]) for u in shoppers]
    free = np.setdiff1d(np.arange(shop.n_items), np.concatenate(theirs))
    each = PHOTOS // len(shop.label_names)  # of every category as many
    photos = np.concatenate([np.sort(rng.choice(free[shop.labels[free] == label], each, replace=False))
                             for label in range(len(shop.label_names))])  # fmt: skip
    images, scale = shop.images[photos], float(shop.feature_scale)
    c = features_of(look, shop, images)  # (photographs, D)
    taste, score, rivals = [], [], []
    for model in found.values():
        p = model.P[torch.as_tensor(shoppers)]  # (shoppers, K)
        q = model.item_vectors().clone()
        q[torch.as_tensor(photos)] = model.Q[torch.as_tensor(photos)] + c @ model.E  # not of features in half precision
        scores = (p @ q.T).numpy()
        taste.append((p @ model.E.T).numpy() / scale)
        score.append(scores[:, photos])
        rivals += [np.sort(np.delete(row, np.concatenate([photos, own])))[::-1]
                   for row, own in zip(scores, theirs, strict=True)]  # fmt: skip
    steps = np.concatenate([_falls(row) for row in rivals])  # one after another
    facts = {
        "models": list(MODELS), "categories": list(shop.label_names), "items": shop.n_items, "step": STEP,
        "shoppers": shoppers.tolist(), "bought": [len(own) for own in theirs],
        "first": [int(np.round(row[0] / STEP)) for row in rivals], "rivals": [len(row) for row in rivals],
        "opening": {"epsilon": OPENING} | _furthest(look, images, taste[0], score[0], rivals[:SHOPPERS]),
    }  # fmt: skip
    arrays = {
        **_weights(look), "photos": images, "labels": shop.labels[photos].astype(np.uint8),
        "cold": shop.cold[photos].astype(np.uint8), "bought": shop.images[np.concatenate(theirs)],
        "taste": np.stack(taste).astype(np.float32), "score": np.stack(score).astype(np.float32),
        "falls": steps.astype("<u4").view(np.uint8).reshape(-1, 4).T.copy(),
    }  # fmt: skip
    return Pack("attack", facts, arrays)


def _falls(row: np.ndarray) -> np.ndarray:
    """From each score to the next, in whole steps; the first is 0."""
    whole = np.round(row / STEP).astype(np.int64)
    return -np.diff(whole, prepend=whole[0])


def _weights(look: PixelExtractor) -> dict[str, np.ndarray]:
    """The convolutions as TensorFlow.js takes them, (height, width, in, out), and their biases."""
    found = {}
    for n, layer in enumerate(list(look.network.convolutions)[::2]):  # type: ignore[arg-type]
        found[f"w{n}"] = layer.weight.permute(2, 3, 1, 0).float().numpy()
        found[f"b{n}"] = layer.bias.float().numpy()
    return found


def _furthest(
    look: PixelExtractor, images: np.ndarray, taste: np.ndarray, score: np.ndarray, rivals: list[np.ndarray]
) -> dict[str, Any]:
    """Of all pairs of shopper and photograph, the one whose place in VBPR's list one step of :data:`OPENING` levels divides
    by most, for the lab to open with; and by how much it divides the place of the pair in the middle, for the lab to say so."""
    clean, factors = look.extract(images), []
    for w, mine, row in zip(taste, score, rivals, strict=True):
        slope = look.pull(images, torch.as_tensor(w).expand(len(images), -1))[:, 0].sign().numpy().astype(int)
        changed = (images + OPENING * slope).clip(0, 255).astype(np.uint8)
        moved = mine + (look.extract(changed) - clean).numpy() @ w
        before, after = (
            np.searchsorted(-row, -s, side="right") + (mine >= s[:, None]).sum(1) - (mine >= s) for s in (mine, moved)
        )
        factors.append((before + 1) / (after + 1))
    shopper, photo = np.unravel_index(np.argmax(factors), np.shape(factors))
    middle = float(np.median(factors))
    return {
        "shopper": int(shopper),
        "photo": int(photo),
        "factor": round(float(np.max(factors)), 1),
        "middle": round(middle, 1),
    }


def rank_pack(shop: Any, vbpr: Any) -> Pack:
    """The ranking lab: for five shoppers VBPR's first twenty, where the held-out item is among the first ten, below the second
    place, and these ten are not all of one category."""
    rng = np.random.default_rng(SEED)
    bought = np.bincount(shop.train[:, 0], minlength=shop.n_users)
    pictures, own, held, users = [], [], [], []
    for user in rng.permutation(np.flatnonzero((bought >= 3) & (bought <= 8))):
        items = vbpr.recommend(int(user), k=LENGTH)[0]
        place = np.flatnonzero(items == shop.test[user])
        mixed = len(np.unique(shop.labels[items[: LENGTH // 2]])) >= 2
        if len(place) and 2 <= place[0] < LENGTH // 2 and mixed:
            pictures.append(items)
            own.append(np.sort(shop.train[shop.train[:, 0] == user, 1]))
            held.append(int(place[0]))
            users.append(int(user))
        if len(users) == LISTS:
            break
    listed = np.stack(pictures)  # (lists, LENGTH)
    facts = {"shoppers": users, "held": held, "categories": list(shop.label_names), "bought": [len(items) for items in own]}
    arrays = {
        "photos": shop.images[listed],
        "labels": shop.labels[listed].astype(np.uint8),
        "bought": shop.images[np.concatenate(own)],
    }
    return Pack("rank", facts, arrays)


def train_pack() -> Pack:
    """The training lab: for each of chapter 3's starts P and Q before the first step, and its draws, 4 · purchase + other."""
    starts, draws = [], []
    for seed in range(STARTS):
        generator = torch.Generator().manual_seed(seed)
        starts.append((0.1 * torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)).numpy())
        drawn = [int(torch.randint(n, (), generator=generator)) for _ in range(DRAWS) for n in (12, 4)]
        draws.append(4 * np.array(drawn[::2]) + np.array(drawn[1::2]))
    return Pack(
        "train", {"rate": 0.1, "penalty": 0.01}, {"starts": np.stack(starts), "draws": np.stack(draws).astype(np.uint8)}
    )


def main() -> list[Path]:
    """Write the data of all three."""
    torch.set_num_threads(1)
    shop = amrlib.load_dataset("boutique")
    found = models(shop)
    return [pack.write() for pack in (attack_pack(shop, found), rank_pack(shop, found["VBPR"]), train_pack())]
