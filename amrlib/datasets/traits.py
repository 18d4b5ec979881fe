"""What a person sees of an item: plain formulas on its pixels, in which no neural network takes part."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["VISIBLE_WEIGHTS", "traits_of_pool", "visible_traits"]

# How much of what a person sees each group of traits makes up: shares of the visible squared distance.
VISIBLE_WEIGHTS = {"category": 0.4, "shape": 0.25, "brightness": 0.2, "texture": 0.15}


def visible_traits(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What a person sees of each item, measured on its pixels.

    Parameters
    ----------
    images : uint8, shape (N, 28, 28)
        0 is the background.
    labels : int, shape (N,)
        The category, 0 … 9.

    Returns
    -------
    traits : float64, shape (N, V)
        Centred; each group of columns has the total variance of ``VISIBLE_WEIGHTS``, all together 1.
    groups : list of str, one for each column
    """
    grey = images.astype(np.float64) / 255  # (N, 28, 28)
    inside = grey > 0.1
    area = inside.sum((1, 2)).clip(1)
    rows, columns = inside.mean(2), inside.mean(1)  # (N, 28) the silhouette's width and height, line by line
    mean = grey.sum((1, 2), where=inside) / area

    def part(which: slice) -> np.ndarray:  # mean brightness of some rows of the item
        return grey[:, which].sum((1, 2), where=inside[:, which]) / inside[:, which].sum((1, 2)).clip(1)

    def steps(axis: int) -> np.ndarray:  # mean change from a pixel to the next, inside the item
        both = inside.take(range(1, 28), axis) & inside.take(range(27), axis)
        return np.abs(np.diff(grey, axis=axis)).sum((1, 2), where=both) / both.sum((1, 2)).clip(1)

    coarse = grey.reshape(-1, 7, 4, 7, 4).mean((2, 4))  # (N, 7, 7)
    middle = grey - coarse.repeat(4, 1).repeat(4, 2)  # what is left of patterns finer than four pixels
    groups = {
        "category": np.eye(10)[labels],
        "shape": np.column_stack([
            area / 784, rows.reshape(-1, 7, 4).mean(2), columns.reshape(-1, 7, 4).mean(2),
            (inside & ~inside[:, :, ::-1]).sum((1, 2)) / area,  # lopsidedness
        ]),
        "brightness": np.column_stack([
            mean, np.sqrt(np.square(grey - mean[:, None, None]).sum((1, 2), where=inside) / area),
            part(slice(0, 14)) - part(slice(14, 28)),  # light top, dark bottom
        ]),
        "texture": np.column_stack([
            steps(1), steps(2), np.sqrt(np.square(middle).sum((1, 2), where=inside) / area),
        ]),
    }  # fmt: skip
    columns_out, names = [], []
    for name, values in groups.items():
        values = values - values.mean(0)
        if name != "category":  # each measure counts alike; the categories as they are, one step apart
            values = values / values.std(0).clip(1e-9)
        values = values * np.sqrt(VISIBLE_WEIGHTS[name] / values.var(0).sum().clip(1e-9))
        columns_out.append(values)
        names += [name] * values.shape[1]
    return np.concatenate(columns_out, axis=1), names


def traits_of_pool(items: dict[str, np.ndarray]) -> np.ndarray:
    """The visible traits (P, V) of a pool; every redraw has the same pictures, so those of the last pool are kept."""
    labels = items["labels"].astype(np.int64)
    return _traits_of_bytes(np.ascontiguousarray(items["images"]).tobytes(), labels.tobytes())


@lru_cache(maxsize=1)
def _traits_of_bytes(images: bytes, labels: bytes) -> np.ndarray:
    traits, _ = visible_traits(np.frombuffer(images, np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, np.int64))
    traits.flags.writeable = False  # it is handed out more than once
    return traits
