"""The sets that Cornac passes on: zip files with a text of interactions, a list of item ids and an array."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np

from ..atomic_files import whole_file
from .dataset import Dataset, leave_one_out
from .mapped_features import FeatureReader, block_of_array, open_array
from .text_files import distinct_pairs, read_pairs
from .zip_members import member

__all__ = ["read_cornac"]


def read_cornac(
    paths: dict[str, Path], pairs_name: str, features_name: str, sep: str, reader: FeatureReader, seed: int
) -> Dataset:
    """The zip files of a set, by their keys in the catalogue, as a data set; ``sep`` is what its columns are parted by."""
    notes: list[str] = []
    with zipfile.ZipFile(paths["ratings"]) as archive:
        with archive.open(member(archive, pairs_name, paths["ratings"])) as file:
            # Tradesy: a user and any number of items a line; the other: user, item, rating
            users, items = read_pairs(file, pairs_name, sep.encode(), many=sep == ",")
    with zipfile.ZipFile(paths["ids"]) as archive:
        with archive.open(member(archive, "item_ids.txt", paths["ids"])) as file:
            ids = np.array([line.strip() for line in file if line.strip()], dtype=np.bytes_)
    unpacked = paths["features"].with_name(features_name)
    with zipfile.ZipFile(paths["features"]) as archive:
        info = member(archive, features_name, paths["features"])
        if not unpacked.exists() or unpacked.stat().st_size != info.file_size:
            with archive.open(info) as packed, whole_file(unpacked) as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    array = open_array(unpacked, "the features of the items")
    if len(array) != len(ids):
        raise ValueError(f"{features_name} has {len(array):,} rows, item_ids.txt {len(ids):,}; delete both and load again")
    order = np.argsort(ids, kind="stable")
    places = order[np.searchsorted(ids[order], items).clip(max=len(ids) - 1)]
    known = ids[places] == items
    if not known.all():
        notes.append(f"{int((~known).sum()):,} interactions with items that have no image, left out")
    user_ids, user = np.unique(users[known], return_inverse=True)
    pairs = distinct_pairs(user, places[known], notes)
    train, test = leave_one_out(pairs, seed=seed, n_users=len(user_ids))
    features, largest = reader(unpacked, block_of_array(unpacked), np.arange(len(ids)), array.shape[1])
    extras = {"feature_scale": largest}
    return Dataset(train, test, features, n_users=len(user_ids), n_items=len(ids), item_ids=ids.astype(str), extras=extras,
                   notes=notes)  # fmt: skip
