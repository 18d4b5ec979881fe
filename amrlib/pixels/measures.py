"""How alike two pictures are, to a formula and to a network; and how high a category stands in the lists."""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..checks import item_ids, list_length, require
from ..datasets.dataset import Dataset
from ..features.pixels import PixelExtractor
from ..protocols import Recommending


def psnr(a: Any, b: Any) -> np.ndarray:
    """Peak signal-to-noise ratio of pairs of uint8 pictures (n, H, W) or (n, H, W, 3), in decibel, (n,): 10 log₁₀(255²/MSE);
    infinite where they are equal."""
    a, b = _pairs(a, b)
    error = np.square(a - b).reshape(len(a), -1).mean(1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255.0**2 / error)


def ssim(a: Any, b: Any) -> np.ndarray:
    """Structural similarity of pairs of uint8 pictures (n, H, W) or (n, H, W, 3), (n,); 1 where they are equal.

    Wang, Bovik, Sheikh & Simoncelli 2004, with their settings: a Gaussian window of σ = 1.5 cut at 3.5 σ, K₁ = .01, K₂ = .03,
    a range of 255, population (co)variances; the mean leaves out the border that the window does not fit into, and a
    colour picture's is the mean over its colours. (scikit-image's ``structural_similarity`` under the same settings gives
    the same number; its own default is another window.) Pictures of at least 11×11 pixels, otherwise a ValueError."""
    a, b = _pairs(a, b)
    require(min(a.shape[1:3]) >= 11, f"pictures must have at least 11×11 pixels for SSIM, not {a.shape[1]}×{a.shape[2]}")
    window = [0, 1.5, 1.5] + [0] * (a.ndim - 3)
    mean = lambda x: gaussian_filter(x, window, truncate=3.5, mode="reflect")  # noqa: E731
    u, v = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - u * u, mean(b * b) - v * v, mean(a * b) - u * v
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    s = (2 * u * v + c1) * (2 * cov + c2) / ((u * u + v * v + c1) * (var_a + var_b + c2))
    return s[:, 5:-5, 5:-5].reshape(len(a), -1).mean(1)


def feature_distance(a: Any, b: Any, look: PixelExtractor) -> np.ndarray:
    """‖f(a) − f(b)‖₂/‖f(a)‖₂ of pairs of pictures, (n,): how different a network finds what a person finds alike."""
    f, g = look.extract(a).double(), look.extract(b).double()
    return ((f - g).norm(dim=1) / f.norm(dim=1)).cpu().numpy()


def category_ndcg(model: Recommending, dataset: Dataset, items: Any, k: int | None = None, features: Any = None) -> float:
    """nCDCG@k of ``items``, a category's: how near the top of people's first k they stand. In [0, 1].

        1/M Σ_u  Σ_{r ≤ k} [the r-th shown is in items] / log₂(r + 1)  /  Σ_{r ≤ min(k, n_u)} 1/log₂(r + 1)

    with n_u items of the category that u does not have: 1 where the first k hold nothing else. It is the normalised
    category DCG of Anelli, Di Noia, Malitesta & Merra (2021); a user with n_u = 0 counts 0. :func:`category_hit_ratio
    <amrlib.adversary.category_hit_ratio>` counts places without regard to where they are."""
    ids, k = item_ids(items, dataset.n_items, some=True), list_length(k, dataset.n_items)
    users = np.arange(dataset.n_users)
    shown, _ = model.recommend(users, k, features)  # (M, k)
    discount = 1 / np.log2(np.arange(k) + 2)
    left = len(ids) - dataset.is_train(users[:, None], ids).sum(1)  # (M,)  n_u
    ideal = np.concatenate([[0], discount.cumsum()])[left.clip(max=k)]
    gained = (np.isin(shown, ids) * discount).sum(1)
    return float(np.divide(gained, ideal, out=np.zeros_like(gained), where=ideal > 0).mean())


def _pairs(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    fits = a.shape == b.shape and a.ndim in (3, 4) and a.dtype == b.dtype == np.uint8
    require(fits, "pictures must be two uint8 arrays of one shape, (n, H, W) or (n, H, W, 3), not "
                  f"{a.dtype} {a.shape} and {b.dtype} {b.shape}")  # fmt: skip
    return a.astype(np.float64), b.astype(np.float64)
