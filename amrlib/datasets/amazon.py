"""Amazon 2014: gigabytes of text and of image features, cut to a department and to people who bought five things.

None of it is unpickled or evaluated: the metadata, which are Python literals, go through ``ast.literal_eval``. What is
kept of the text lies in the cache folder, under the checksums of the files it came from, so that they are parsed once.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import write_atomically
from ..progress import progress_bar
from .dataset import Dataset, leave_one_out
from .download import checksum
from .mapped_features import BLOCK, FeatureReader
from .text_files import LINES, ByteColumn, distinct_pairs, lines_of, quoted

__all__ = ["RECORD", "find_records", "four_columns", "read_amazon", "whole_records"]

RECORD = np.dtype([("asin", "S10"), ("features", "<f4", (4096,))])  # of the .b files: 16,394 bytes
MIN_INTERACTIONS = 5  # AMR paper §4.1: Amazon users with fewer are dropped


def read_amazon(
    paths: dict[str, Path], department: str, ratings: str, reader: FeatureReader, seed: int, progress: bool, folder: Path
) -> Dataset:
    """The files of Amazon, by their keys in the catalogue, as a data set; ``folder`` is where interactions are cached."""
    sums = [checksum(paths[key]) for key in ("meta", ratings, "images")]
    key = hashlib.sha256(repr((1, department, MIN_INTERACTIONS, sums)).encode()).hexdigest()[:16]
    place = folder / f"interactions-{key}.npz"
    arrays: dict[str, Any] | None = _cached_interactions(place) if all(sums) else None
    if arrays is None:
        arrays = _interactions_of(paths, department, ratings, progress)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        write_atomically(place, packed.getvalue())
    user, item, ids, records = (arrays[name] for name in ("users", "items", "ids", "records"))
    n_users = int(user.max()) + 1
    train, test = leave_one_out(np.stack([user, item], axis=1), seed=seed, n_users=n_users)
    features, largest = reader(paths["images"], block_of_records(paths["images"]), records, 4096)
    return Dataset(train, test, features, n_users=n_users, n_items=len(ids), item_ids=ids.astype(str),
                   extras={"feature_scale": largest}, notes=arrays["notes"].tolist())  # fmt: skip


def _interactions_of(paths: dict[str, Path], department: str, ratings: str, progress: bool) -> dict[str, Any]:
    """What reading gigabytes of text comes to: ``users`` (n,) and ``items`` (n,) int32, numbered; ``ids`` "S10" and
    ``records`` int64 (n_items,), each item's ASIN and the number of its record of features; ``notes``, texts."""
    notes: list[str] = []
    asins = _items_of(paths["meta"], department, notes, progress)  # (A,) ascending
    users, items = _ratings_of(paths[ratings], asins, notes, progress)  # (R,) bytes, (R,) rows of asins
    user_ids, user = np.unique(users, return_inverse=True)
    pairs = distinct_pairs(user, items, notes)
    active = np.bincount(pairs[:, 0], minlength=len(user_ids)) >= MIN_INTERACTIONS
    notes.append(f"{int((~active).sum()):,} users with fewer than {MIN_INTERACTIONS} interactions, left out")
    pairs = pairs[active[pairs[:, 0]]]
    used = np.unique(pairs[:, 1])
    records = find_records(paths["images"], asins[used], progress)  # (len(used),)
    row = np.full(len(asins), -1, dtype=np.int64)
    row[used] = records
    notes.append(f"{int((records < 0).sum()):,} items without an image, left out with their interactions")
    pairs = pairs[row[pairs[:, 1]] >= 0]
    if not len(pairs):
        raise ValueError(f"no user is left with {MIN_INTERACTIONS} interactions: do the files belong together?")
    _, user = np.unique(pairs[:, 0], return_inverse=True)
    kept_items, item = np.unique(pairs[:, 1], return_inverse=True)
    return {
        "users": user.astype(np.int32), "items": item.astype(np.int32), "ids": asins[kept_items],
        "records": row[kept_items], "notes": np.array(notes, dtype=str),
    }  # fmt: skip


def _cached_interactions(path: Path) -> dict[str, np.ndarray] | None:
    """What was kept of an earlier reading; None where there is nothing, or where it is damaged: zip has checksums."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("users", "items", "ids", "records", "notes")}
    except Exception:  # absent, or damaged, for which each layer has its own: read anew
        return None


def _items_of(path: Path, department: str, notes: list[str], progress: bool) -> np.ndarray:
    """The items with a category path such as Clothing, Shoes & Jewelry > Women > …: ASINs "S10", ascending."""
    asins, seen, unread = ByteColumn(), 0, []
    word = department.encode()
    with lines_of(path, progress) as lines:
        for number, line in enumerate(lines, 1):
            seen += 1
            if word not in line:  # parsing is slow, and most lines are not about these
                continue
            try:
                entry = ast.literal_eval(line.decode())
                asin, categories = entry["asin"].encode("ascii"), entry.get("categories") or []
                if len(asin) > 10:
                    raise ValueError("no ASIN")
                if any(len(steps) > 1 and steps[1] == department for steps in categories):
                    asins.add(asin)
            except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, MemoryError, RecursionError):
                unread.append(number)
    _left_out(path, unread, seen, "a Python literal with an asin and categories", notes)
    return np.unique(asins.array().astype("S10"))


def _ratings_of(path: Path, asins: np.ndarray, notes: list[str], progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """Who rated one of these items: users "S…" (R,), rows of ``asins`` (R,)."""
    users: list[bytes] = []
    items: list[bytes] = []
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    unread: list[int] = []
    seen = 0

    def keep() -> None:  # only what is about these items
        ids = np.array(items, dtype=np.bytes_)
        places = np.searchsorted(asins, ids).clip(max=max(0, len(asins) - 1))
        known = asins[places] == ids if len(asins) and len(ids) else np.zeros(len(ids), dtype=bool)
        blocks.append((np.array(users, dtype=np.bytes_)[known], places[known]))
        users.clear()
        items.clear()

    packed = path.suffix == ".gz"
    with lines_of(path, progress) as lines:
        for number, line in enumerate(lines, 1):
            seen += 1
            try:
                if packed:
                    entry = json.loads(line)
                    user, item = entry["reviewerID"].encode(), entry["asin"].encode()
                else:
                    user, item, _, _ = line.split(b",")
                if not user or not item:
                    raise ValueError
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                unread.append(number)
                continue
            users.append(user)
            items.append(item)
            if len(users) >= LINES:
                keep()
    keep()
    _left_out(path, unread, seen, "a user and an item", notes)
    return np.concatenate([u for u, _ in blocks]), np.concatenate([i for _, i in blocks])


def _left_out(path: Path, unread: list[int], seen: int, wanted: str, notes: list[str]) -> None:
    """A few odd lines are left out with a note; more than one in a hundred mean that it is another format."""
    if len(unread) > 10 + seen // 100:
        raise ValueError(
            f"{path.name}, line {unread[0]}: not {wanted}, and so are {len(unread) - 1:,} more lines: "
            f"another format? Delete the file and load again"
        )
    if unread:
        notes.append(f"{len(unread):,} lines of {path.name} that cannot be read (line {unread[0]} first), left out")


def whole_records(path: Path) -> None:
    if path.stat().st_size % RECORD.itemsize:
        raise ValueError(f"not a whole number of records of {RECORD.itemsize:,} bytes: cut off, or another format")


def four_columns(path: Path) -> None:
    """A page that says "not found" with the status of a success must not pass for the file."""
    with open(path, "rb") as file:
        line = file.readline(1000)
    if line.count(b",") != 3:
        raise ValueError(f"its first line is not user,item,rating,time but {quoted(line)}")


def find_records(path: str | Path, asins: np.ndarray, progress: bool = True) -> np.ndarray:
    """Where each of some items is in a ``.b`` file of image features.

    Parameters
    ----------
    path : of any size; 32 MB of it are mapped at once
    asins : bytes "S10", shape (n,), ascending, distinct

    Returns
    -------
    int64, shape (n,)
        The number of the item's first record, -1 where it has none.

    Raises
    ------
    ValueError
        The file does not hold a whole number of records.
    """
    path = Path(path)
    try:
        whole_records(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it and load again") from None
    found = np.full(len(asins), -1, dtype=np.int64)
    n = path.stat().st_size // RECORD.itemsize
    for start in progress_bar(range(0, n, BLOCK), path.name, progress):
        ids = _records(path, start, min(BLOCK, n - start))["asin"]
        places = np.searchsorted(asins, ids).clip(max=max(0, len(asins) - 1))
        hit = np.flatnonzero(asins[places] == ids) if len(asins) else np.empty(0, dtype=np.int64)
        hit = hit[::-1]  # of two records in one block the first is written last
        hit = hit[found[places[hit]] < 0]
        found[places[hit]] = start + hit
    return found


def _records(path: Path, start: int, count: int) -> np.ndarray:
    return np.memmap(path, dtype=RECORD, mode="r", offset=start * RECORD.itemsize, shape=(count,))


def block_of_records(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    def block(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), 4096), dtype=np.float32)
        order = np.argsort(rows, kind="stable")  # through the file once, from start to end
        for few in np.split(order, range(64, len(order), 64)):
            if not len(few):
                continue
            first, last = int(rows[few[0]]), int(rows[few[-1]])
            out[few] = _records(path, first, last - first + 1)["features"][rows[few] - first]
        return out

    return block
