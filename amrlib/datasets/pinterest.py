"""The AMR paper's Pinterest set: pairs of numbers, the authors' own negatives, features as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .dataset import Dataset
from .mapped_features import FeatureReader, block_of_array, open_array
from .text_files import quoted, read_pairs

__all__ = ["read_pinterest"]


def read_pinterest(paths: dict[str, Path], reader: FeatureReader) -> Dataset:
    """The files of the set, by their keys in the catalogue, as a data set."""
    array = open_array(paths["features"], "the features of the pins")
    n_items = len(array)
    test, candidates = _read_negatives(paths["test"], n_items)
    with open(paths["train"], "rb") as file:
        train = np.stack(read_pairs(file, paths["train"].name, numbers=True, below=(len(test), n_items)), axis=1)
    features, largest = reader(paths["features"], block_of_array(paths["features"]), np.arange(n_items), array.shape[1])
    return Dataset(
        train,
        test,
        features,
        n_users=len(test),
        n_items=n_items,
        candidates=candidates,
        extras={"feature_scale": largest},
    )


def _read_negatives(path: Path, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Row u: the test item of user u, then the items it is ranked among."""
    rows: list[np.ndarray] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            columns = line.split()
            if not columns:
                continue
            if len(columns) < 2 or not all(c.isdigit() for c in columns):
                raise ValueError(f"{path.name}, line {number}: expected item numbers, found {quoted(line)}")
            row = np.array(columns, dtype=np.bytes_).astype(np.int64)
            if row.max() >= n_items:
                raise ValueError(f"{path.name}, line {number}: item {row.max()}, but there are {n_items:,} items, from 0 on")
            if rows and len(row) != len(rows[0]):
                raise ValueError(f"{path.name}, line {number}: {len(row)} items, {len(rows[0])} in the lines before")
            rows.append(row)
    if not rows:
        raise ValueError(f"{path.name} is empty")
    table = np.stack(rows)  # (n_users, 1 + C)
    return table[:, 0], table[:, 1:]
