"""How alike two pictures are, to a formula and to a network; and how high a category stands in the lists."""

from typing import Any

import numpy as np

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

    scikit-image's, under the settings of Wang, Bovik, Sheikh & Simoncelli 2004 (its own defaults are others): a Gaussian
    window of σ = 1.5, population (co)variances, a range of 255; a colour picture's is the mean over its colours. Pictures of
    at least 11×11 pixels, the window's size, otherwise a ValueError."""
    from skimage.metrics import structural_similarity  # late: half a second that only this needs

    a, b = _pairs(a, b)
    require(min(a.shape[1:3]) >= 11, f"pictures must have at least 11×11 pixels for SSIM, not {a.shape[1]}×{a.shape[2]}")
    settings: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    axis = 2 if a.ndim == 4 else None
    return np.array([structural_similarity(p, q, channel_axis=axis, **settings) for p, q in zip(a, b, strict=True)])


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
