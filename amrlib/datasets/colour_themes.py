"""Real taste in pictures that anyone may draw: ratings of themes of five colours, and the themes as five rectangles.

P. O'Donovan, A. Agarwala & A. Hertzmann, "Collaborative Filtering of Color Aesthetics", Computational Aesthetics 2014. Of its
files two arrays are read, who rated what how, and the colours; nothing that is known of the people.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import Dataset, leave_one_out
from .splits import rows_of
from .zip_members import member

PUBLISHED = {"ratings": 528_106, "people": 1_137, "themes": 13_343}
HEIGHT, WIDTH = 20, 6  # of a rectangle, in pixels
# linear sRGB to XYZ (IEC 61966-2-1), and the white D65 that Lab is relative to
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LEVELS = np.array([[x, y, z] for x in (0.2, 0.5, 0.8) for y in (-0.35, 0.0, 0.35) for z in (-0.35, 0.0, 0.35)])  # (27, 3)


def read_colour_themes(path: Path, likes: float, seed: int, scale: bool, dtype: str) -> Dataset:
    """The zip file as a data set: an interaction is a theme that somebody rated ``likes`` (1 to 5) or higher.

    All themes are items, rated or not. ``images`` uint8 (n, 20, 30, 3) are drawn here, and ``features`` (n, 60) computed from
    them (:func:`colour_features`). Of several ratings of one theme by one person the mean counts. Extras: ``likes``,
    ``feature_scale``.

    Raises
    ------
    ValueError
        A threshold outside 1…5; files that do not hold what they should.
    """
    if isinstance(likes, bool) or not isinstance(likes, int | float | np.number) or not 1 <= likes <= 5:
        raise ValueError(f"likes must be a rating between 1 and 5, the lowest that means yes, not {likes!r}")
    with zipfile.ZipFile(path) as archive:
        ratings = _array(archive, path, "allMTurkRatings.mat", "testRatings")
        themes = _array(archive, path, "themeData.mat", "datapoints", "rgb")
    if ratings.ndim != 2 or ratings.shape[1] < 3 or themes.ndim != 2 or themes.shape[1] != 15:
        raise ValueError(f"{path} holds ratings {ratings.shape} and colours {themes.shape}, not (n, 3) and (n, 15)")
    ratings, N = ratings[:, :3], len(themes)  # person, theme from 1, rating
    odd = np.flatnonzero(~((ratings[:, :2] == np.floor(ratings[:, :2])).all(1) & (ratings[:, 1] >= 1) & (ratings[:, 1] <= N)
                           & (ratings[:, 2] >= 1) & (ratings[:, 2] <= 5)))  # fmt: skip
    if len(odd):
        raise ValueError(f"{path}, testRatings, row {odd[0]}: {ratings[odd[0]].tolist()} is no person, theme of {N:,} "
                         "and rating of 1 to 5")
    notes: list[str] = []
    people, person = np.unique(ratings[:, 0].astype(np.int64), return_inverse=True)
    keys, at = np.unique(person * N + ratings[:, 1].astype(np.int64) - 1, return_inverse=True)
    mean = np.bincount(at, ratings[:, 2]) / np.bincount(at)
    if len(keys) < len(ratings):
        notes.append(f"{len(ratings) - len(keys):,} ratings are of a theme that the person rated before: the mean counts")
    liked = keys[mean >= likes]
    notes.append(f"{len(ratings):,} ratings by {len(people):,} people; {likes:g} and more are likes: {len(liked):,} of "
                 f"{len(keys):,}")
    here = {"ratings": len(ratings), "people": len(people), "themes": N}
    notes += [f"{what}: {here[what]:,} here, {n:,} as published" for what, n in PUBLISHED.items() if here[what] != n]
    if not len(liked):
        raise ValueError(f"nobody rated a theme {likes:g} or higher; take a lower likes=")
    there, user = np.unique(liked // N, return_inverse=True)
    if len(there) < len(people):
        notes.append(f"{len(people) - len(there):,} people like nothing, left out")
    train, test = leave_one_out(rows_of(user * N + liked % N, N), seed=seed, n_users=len(there))
    images = draw(_in_bytes(themes, path))
    features = colour_features(images)
    largest = float(np.abs(features).max()) if scale else 1.0
    features = (features / largest).astype(dtype)
    for array in (train, images, features):
        array.flags.writeable = False  # nobody else has them: the data set need not copy them
    return Dataset(train, test, features, n_users=len(there), n_items=N, images=images, user_ids=people[there],
                   item_ids=np.arange(1, N + 1), extras={"feature_scale": largest, "likes": likes}, notes=notes)  # fmt: skip


def _array(archive: zipfile.ZipFile, path: Path, name: str, variable: str, part: str | None = None) -> np.ndarray:
    """One array of numbers of a MATLAB file in the archive, or a field of a structure; nothing else of it is made."""
    from scipy.io import loadmat

    content = io.BytesIO(archive.read(member(archive, name, path)))
    try:
        found: Any = loadmat(content, variable_names=[variable])[variable]
        if part is not None:
            found = found[part].flat[0]
        return np.asarray(found, dtype=np.float64)
    except KeyError:
        raise ValueError(f"{name} of {path} does not hold {variable}; delete it and load again") from None
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise ValueError(f"{name} of {path} cannot be read ({error}); delete it and load again") from None


def _in_bytes(themes: np.ndarray, path: Path) -> np.ndarray:
    """Colours as uint8 (n, 5, 3); they are stored as shares of 1, or as 0 … 255."""
    highest = themes.max(initial=0)
    if not (np.isfinite(themes).all() and themes.min(initial=0) >= 0 and highest <= 255):
        raise ValueError(f"{path}: colours must be numbers from 0 to 1, or to 255")
    return np.rint(themes * (255 if highest <= 1 else 1)).astype(np.uint8).reshape(-1, 5, 3)


def draw(colours: np.ndarray) -> np.ndarray:
    """Themes uint8 (n, 5, 3) as pictures (n, 20, 30, 3): five rectangles side by side."""
    return np.repeat(np.repeat(colours[:, None], HEIGHT, axis=1), WIDTH, axis=2)


def colour_features(images: np.ndarray) -> np.ndarray:
    """What pictures of five rectangles, uint8 (n, H, W, 3) with W a multiple of 5, look like: float32 (n, 60).

    The rectangles' colours are taken as CIE 1976 L*a*b*, where a step means about as much to the eye anywhere, divided by
    100 (L*) and 128: the five colours from left to right (15), how far neighbours differ in each coordinate (12), mean and
    standard deviation (6), and, wherever it stands, how much there is of each of 27 colours: Σ exp(−‖x − y‖²/(2·0.2²)) (27).
    """
    n, _, wide, _ = images.shape
    means = images.reshape(n, -1, 5, wide // 5, 3).mean(axis=(1, 3))  # (n, 5, 3)
    x = lab(means) / np.array([100.0, 128.0, 128.0])
    steps = np.abs(np.diff(x, axis=1))  # (n, 4, 3)
    near = np.exp(-((x[:, :, None] - LEVELS) ** 2).sum(-1) / (2 * 0.2**2)).sum(1)  # (n, 27)
    return np.concatenate([x.reshape(n, 15), steps.reshape(n, 12), x.mean(1), x.std(1), near], axis=1).astype(np.float32)


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB levels 0 … 255 (…, 3) as L* 0 … 100, a*, b* (IEC 61966-2-1; CIE 15, for the white D65)."""
    share = rgb / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    t = linear @ TO_XYZ.T / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
