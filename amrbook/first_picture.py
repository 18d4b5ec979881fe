"""The book's first picture: one photograph changed so that nobody sees it, and one shopper's list before and after.

    python -m amrbook picture        # draws it again for index.md and README, into book/_static
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from amrlib.datasets.dataset import Dataset
from amrlib.pixels import PixelExtractor, attack, features_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Story", "draw", "find_story"]

PLACES = 10  # of a list
STEPS = 10  # of the attack


@dataclass(frozen=True)
class Story:
    """An item whose photograph was changed, a shopper who sees it rise, and how it went with all sellers who tried."""

    item: int
    shopper: int
    levels: int
    before: np.ndarray  # uint8 (H, W)
    after: np.ndarray
    list_before: np.ndarray  # (PLACES,) items
    list_after: np.ndarray
    place_before: int  # counted from 0
    place_after: int
    shown_before: int  # shoppers who have it among their first PLACES
    shown_after: int
    sellers: int
    share_up: float  # of the sellers: shown to more shoppers than before
    median_gain: float  # of the sellers: shoppers after, over shoppers before


@torch.no_grad()
def find_story(model: Any, shop: Dataset, look: PixelExtractor, levels: int, sellers: int, seed: int = 0) -> Story:
    """Let ``sellers`` items that a few shoppers are shown, drawn with ``seed``, change their photographs to be shown more
    often, each for itself; and take the one that climbs furthest into one shopper's list, from beyond it to its head."""
    U, everyone = model.user_vectors(), np.arange(shop.n_users)
    scores = U @ model.item_vectors().T  # (M, N)
    at, seen = (torch.as_tensor(a, device=U.device) for a in shop.seen_by(everyone))
    scores[at, seen] = -torch.inf
    bar = scores.topk(PLACES, dim=1).values[:, -1:]  # (M, 1)
    often = (scores >= bar).sum(0).cpu().numpy()  # (N,)
    able = np.flatnonzero((often >= 3) & ~shop.cold)
    tried = np.sort(np.random.default_rng(seed).choice(able, min(sellers, len(able)), replace=False))
    changed = attack(model, shop, look, levels, "promote", tried, steps=STEPS, progress=False)
    features = model.features.clone()
    features[torch.as_tensor(tried, device=features.device)] = features_of(look, shop, changed[tried])
    V = model.item_vectors(features)
    ladder = torch.as_tensor(np.sort(scores.cpu().numpy(), axis=1), device=U.device)  # (M, N)  lowest first
    best, gains = (-1, 0, 0, 0, 0), []
    for item in tried.tolist():
        old, new = scores[:, item], U @ V[item]  # (M,); among the others as they were
        new = torch.where(old.isneginf(), -torch.inf, new)
        both = torch.stack([old, new], 1)  # (M, 2)
        of_old, of_new = (len(V) - torch.searchsorted(ladder, both)).unbind(1)  # items with at least that score
        ahead = of_old - 1, of_new - (old >= new).long()
        before, after = (a.cpu().numpy() for a in ahead)
        has = old.isneginf().cpu().numpy()
        counts = [int(((place < PLACES) & ~has).sum()) for place in (before, after)]
        gains.append(counts[1] / counts[0])
        climbs = np.where(~has & (before >= PLACES) & (after < 3), before - after, -1)
        who = int(climbs.argmax())
        if climbs[who] > best[0] or len(gains) == 1:
            best = (int(climbs[who]), item, who, *counts)
    _, item, who, shown_before, shown_after = best
    alone = model.features.clone()
    alone[item] = features[item]
    lists = [model.recommend(who, k=PLACES)[0], model.recommend(who, k=PLACES, features=alone)[0]]
    old, new = scores[who, item], U[who] @ V[item]
    places = int((scores[who] >= old).sum()) - 1, int((scores[who] >= new).sum()) - int(old >= new)
    return Story(item, who, levels, shop.images[item], changed[item], lists[0], lists[1], *places, shown_before, shown_after,
                 len(tried), float((np.array(gains) > 1).mean()), float(np.median(gains)))  # fmt: skip


def draw(story: Story, shop: Dataset) -> Figure:
    """The list before, the photograph before and after with the change between them, and the list after."""
    import matplotlib.pyplot as plt

    from .figures import FRAME

    def show(ax: Any, picture: Any, frame: bool = False) -> None:
        ax.imshow(picture, cmap="gray_r", vmin=0, vmax=255)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        for side in ax.spines.values():
            side.set(visible=True, color=FRAME if frame else "#cccccc", linewidth=2.6 if frame else 0.8)

    fig = plt.figure(figsize=(7.6, 4.7))
    top, middle, bottom = np.asarray(fig.subfigures(3, 1, height_ratios=[1, 1.65, 1])).tolist()
    lists = (top, story.list_before, "the list, before"), (bottom, story.list_after, "the list, after")
    for part, items, title in lists:
        part.suptitle(title, x=0.01, ha="left", fontsize=11)
        for place, (ax, item) in enumerate(zip(part.subplots(1, PLACES), items.tolist()), 1):
            mine = item == story.item
            show(ax, story.after if mine and part is bottom else shop.images[item], mine)
            ax.set_title(str(place), fontsize=8, loc="center", pad=2)
    change = 128 + 30 * (story.after.astype(int) - story.before)
    titles = ("the photograph", "the change, 30 times", "the photograph, changed")
    axes = middle.subplots(1, 5, width_ratios=[1, 0.25, 1, 0.25, 1])
    for ax, picture, title in zip(axes[::2], (story.before, change, story.after), titles):
        show(ax, picture, title == titles[2])
        ax.set_title(title, fontsize=10, loc="center")
    for ax, sign in zip(axes[1::2], "+="):
        ax.set_axis_off()
        ax.text(0.5, 0.5, sign, ha="center", va="center", fontsize=22, transform=ax.transAxes)
    return fig


def main() -> Path:
    """Draw the picture of chapter 0 into ``book/_static/one_photograph.png``."""
    import matplotlib.pyplot as plt

    import amrlib

    from .figures import use_style
    from .settings import settings

    use_style()
    shop, chosen = amrlib.load_dataset("boutique"), settings()["VBPR"]
    model = amrlib.VBPR(dim=32, seed=0)
    model.fit(shop, chosen["epochs"], lr=chosen["lr"], reg=chosen["reg"], seed=0, device="cpu", trainer="compiled")
    story = find_story(model, shop, amrlib.pixels.pixel_extractor("shop", "cpu"), levels=4, sellers=300)
    path = Path(__file__).resolve().parents[1] / "book" / "_static" / "one_photograph.png"
    fig = draw(story, shop)
    fig.savefig(path, dpi=150)
    plt.close(fig)
    return path
