"""Readers of the public data sets: downloaded to the reader's own machine, never shipped with the book.

Nothing here was written by us and none of it may be passed on with the book; each entry of :data:`SETS` tells where
it comes from and under which terms. None of these files is unpickled or evaluated: interactions are text, features
are plain arrays, and the metadata of Amazon, which are Python literals, go through ``ast.literal_eval``.

Large files are read as streams, or in blocks of a memory map that are let go of one after another, so memory holds
the interactions that were kept and the feature rows that are needed, or only the former with ``on_disk=True``. What
was kept of Amazon's gigabytes of text lies in the cache folder as well, under the checksums of the files it came from,
so that they are parsed once.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import gzip
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import whole_file, write_atomically
from ..progress import progress_bar
from .dataset import Dataset, leave_one_out
from .download import Remote, cache_folder, checksum, fetch

__all__ = ["RECORD", "SETS", "PublicSet", "find_records", "load_public", "read_pairs"]

RECORD = np.dtype([("asin", "S10"), ("features", "<f4", (4096,))])  # of the .b files: 16,394 bytes
BLOCK = 1 << 11  # feature rows in memory at once while reading: 32 MB of 4096 float32
ROWS = 1 << 16  # lines of text made into an array at once
LARGE = 1 << 30  # bytes of features from which they stay on disk unless told otherwise
MIN_INTERACTIONS = 5  # AMR paper §4.1: Amazon users with fewer are dropped


@dataclass(frozen=True)
class PublicSet:
    """What ``python -m amrlib datasets`` tells of a set, and what its reader needs."""

    name: str
    about: str
    size: str  # to download
    terms: str
    origin: str
    files: dict[str, Remote]
    published: dict[str, float] = field(default_factory=dict)  # statistics after reading, as published
    published_in: str = ""
    activity: tuple[int, ...] = ()  # how many users have 0, 1, 2, … training interactions, where that is known
    popularity: tuple[int, ...] = ()  # and how many items


_AMR = "https://raw.githubusercontent.com/duxy-me/AMR/c924225cb3357b8ec5a7122d64880d125894a1ec/data/pinterest/"
_AMR_TOO = "https://github.com/duxy-me/AMR/raw/c924225cb3357b8ec5a7122d64880d125894a1ec/data/pinterest/"
_CORNAC = "https://static.preferred.ai/cornac/datasets/"
_SNAP = ("https://snap.stanford.edu/data/amazon/productGraph/", "http://snap.stanford.edu/data/amazon/productGraph/")
_CLOTHING = "Clothing_Shoes_and_Jewelry"
# Where the others fail: the Internet Archive's copy of an address as it was, and Software Heritage's of a file by its
# git blob id. Neither is sure to have it.
_ARCHIVE = "https://web.archive.org/web/2024id_/"
_HERITAGE = "https://archive.softwareheritage.org/api/1/content/sha1_git:"
_NO_LICENCE = "no licence stated: for your own study, not to be passed on"


def _pinterest(name: str, git: str, size: int) -> Remote:
    return Remote(f"pinterest/{name}", (_AMR + name, _AMR_TOO + name, f"{_HERITAGE}{git}/raw/"), git=git, size=size)


def _cornac(name: str, size: int) -> Remote:
    return Remote(name, (_CORNAC + name, _ARCHIVE + _CORNAC + name), size=size)


def _amazon(name: str, size: int, check: Callable[[Path], None] | None = None) -> Remote:
    places = (*_SNAP, _ARCHIVE + _SNAP[1])
    return Remote(f"amazon-2014/{name.rpartition('/')[2]}", tuple(a + name for a in places), size=size, check=check)


def _whole_records(path: Path) -> None:
    if path.stat().st_size % RECORD.itemsize:
        raise ValueError(f"not a whole number of records of {RECORD.itemsize:,} bytes: cut off, or another format")


def _four_columns(path: Path) -> None:
    """A page that says "not found" with the status of a success must not pass for the file."""
    with open(path, "rb") as file:
        line = file.readline(1000)
    if line.count(b",") != 3:
        raise ValueError(f"its first line is not user,item,rating,time but {_short(line)}")


_AMAZON_FILES = {
    "ratings": _amazon(f"categoryFiles/ratings_{_CLOTHING}.csv", 236_000_000, _four_columns),
    "5-core": _amazon(f"categoryFiles/reviews_{_CLOTHING}_5.json.gz", 45_000_000),
    "meta": _amazon(f"categoryFiles/meta_{_CLOTHING}.json.gz", 280_000_000),
    "images": _amazon(f"image_features/categoryFiles/image_features_{_CLOTHING}.b", 24_600_000_000, _whole_records),
}
_AMAZON: dict[str, Any] = dict(
    size="about 25 GB",
    terms=_NO_LICENCE + "; its authors ask to be cited (McAuley et al., SIGIR 2015)",
    origin="snap.stanford.edu/data/amazon/productGraph, Amazon 2014",
    files=_AMAZON_FILES,
)

SETS: dict[str, PublicSet] = {
    s.name: s
    for s in (
        PublicSet(
            "pinterest",
            "pins with ResNet-50 features, the AMR paper's own split and sampled negatives",
            "about 57 MB",
            _NO_LICENCE,
            "github.com/duxy-me/AMR at c924225",
            {
                "train": _pinterest("pos.txt", "3a8ba23ae08bbe2d9171a3fa17a0fbb4714a495d", 62_459),
                "test": _pinterest("neg.txt", "1b17f6e9216b81f80b982fb4eb2ef1aef616521a", 16_000_000),
                "features": _pinterest("f_resnet.npy", "5ff4abd4b80c2037464c38c70782e6b3f23f6e88", 40_943_744),
            },
            {"users": 3226, "items": 4998, "interactions": 9844, "cold share of distinct test items": 0.526},
            "the AMR paper, Table 1",
            # counted over the rows of pos.txt, 87 of which repeat another
            (0, 1512, 822, 472, 230, 105, 35, 19, 23, 6, 2),
            (1180, 2629, 594, 268, 122, 72, 38, 32, 18, 14, 5, 4, 5, 5, 4, 1, 0, 1, 2, 2, 0, 1, 0, 0, 0, 1),
        ),
        PublicSet(
            "amazon-clothing",
            "a small cut of Amazon clothing with 4096-d features",
            "about 60 MB",
            _NO_LICENCE,
            "static.preferred.ai/cornac, from Amazon 2014",
            {
                "ratings": _cornac("amazon_clothing/rating.zip", 200_000),
                "features": _cornac("amazon_clothing/image.zip", 60_000_000),
                "ids": _cornac("amazon_clothing/item_ids.zip", 20_000),
            },
            {"users": 5377, "items": 3393, "interactions": 13689},
            "Cornac's list of data sets",
        ),
        PublicSet(
            "tradesy",
            "second-hand clothes bought and wanted, with 4096-d features",
            "up to 2.7 GB",
            _NO_LICENCE,
            "static.preferred.ai/cornac, from jmcauley.ucsd.edu",
            {
                "ratings": _cornac("tradesy/users.zip", 3_000_000),
                "features": _cornac("tradesy/item_features.zip", 2_700_000_000),
                "ids": _cornac("tradesy/item_ids.zip", 1_000_000),
            },
            {"users": 19243, "items": 165906, "interactions": 394421},
            "Cornac's list of data sets",
        ),
        PublicSet(
            "amazon-women",
            "Amazon's women's clothing with 4096-d features",
            **_AMAZON,
            published={
                "users": 83337,
                "items": 299555,
                "interactions": 706949,
                "cold share of distinct test items": 0.459,
            },
            published_in="the AMR paper, Table 1",
        ),
        PublicSet("amazon-men", "Amazon's men's clothing with 4096-d features, cut in the same way", **_AMAZON),
    )
}


def load_public(
    name: str,
    folder: str | Path | None = None,
    dtype: str = "float32",
    on_disk: bool | None = None,
    scale: bool = True,
    seed: int = 0,
    ratings: str = "ratings",
    progress: bool = True,
) -> Dataset:
    """One of :data:`SETS`, downloaded at the first call; ``amrlib.load_dataset(name)``.

    Parameters
    ----------
    folder : path, optional
        Of the downloads, instead of ``AMRLIB_DATA`` or the user's cache folder. Files put there by hand are used.
    dtype : ``"float32"`` or ``"float16"``
        Of the features; half of the memory, about three digits.
    on_disk : bool, optional
        Keep the features in the cache folder and map them into memory. Left out: from 1 GiB on.
    scale : bool
        Divide the features by their largest absolute value, as the AMR paper's authors do: ε is in these units.
    seed : int
        Draws the held-out items. Pinterest comes with its own.
    ratings : ``"ratings"`` or ``"5-core"``
        The two Amazon 2014 sets: every rating, or the cut in which users and items have five or more.
    progress : bool
        Bars for whatever takes more than a second.

    Returns
    -------
    Dataset
        ``notes`` tells what was dropped or repaired and where the counts differ from the published ones. Extras:
        ``item_ids`` (n_items,), ``feature_scale`` what the features were divided by, ``published`` counts.

    Raises
    ------
    OSError, ValueError
        From the download (:func:`amrlib.datasets.download.fetch`); a file that is not what it should be, with its
        name and the line or row; a full disk; unknown options.
    """
    if name not in SETS:
        raise ValueError(f"unknown public data set {name!r}; the known ones are: {', '.join(SETS)}")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
    if ratings not in ("ratings", "5-core"):
        raise ValueError(f"ratings must be 'ratings' or '5-core', not {ratings!r}")
    chosen, base = SETS[name], Path(folder or cache_folder())
    unused = {"ratings": "5-core", "5-core": "ratings"}[ratings]
    paths = {key: fetch(f, base, progress) for key, f in chosen.files.items() if not (key == unused and "meta" in chosen.files)}
    make = _Features(base / name, dtype, on_disk, scale, progress)
    try:
        if name == "pinterest":
            shop = _read_pinterest(paths, make)
        elif name.startswith("amazon-") and "meta" in paths:
            word = name.removeprefix("amazon-").capitalize()
            shop = _read_amazon(paths, word, ratings, make, seed, progress, base / name)
        else:
            members = {
                "amazon-clothing": ("rating.txt", "image_features.npy", "\t"),
                "tradesy": ("users.csv", "item_features.npy", ","),
            }
            shop = _read_cornac(paths, *members[name], make, seed)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG):
            raise
        raise OSError(f"{base}: {error.strerror}; free some space, or name another folder in AMRLIB_DATA") from None
    notes = (*shop.source_notes, *_differences(shop, chosen))
    return shop.replace(name=name, extras={**shop.extras, "published": chosen.published}, notes=notes)


def _differences(shop: Dataset, chosen: PublicSet) -> list[str]:
    held = np.unique(shop.test[shop.test >= 0])
    here: dict[str, float] = {
        "users": shop.n_users,
        "items": shop.n_items,
        "interactions": len(shop.train) + len(shop.test_users),
        "cold share of distinct test items": float(shop.cold[held].mean()) if len(held) else 0.0,
    }
    notes = []
    for what, published in chosen.published.items():
        share = isinstance(published, float)
        # a share depends on which items were held out, so a redrawn split may differ by half a point
        if abs(here[what] - published) > (0.005 if share else 0):
            form = "{:.1%}" if share else "{:,}"
            notes.append(f"{what}: {form.format(here[what])} here, {form.format(published)} in {chosen.published_in}")
    return notes


# ---------------------------------------------------------------- text


def read_pairs(
    lines: Iterable[bytes],
    name: str,
    sep: bytes | None = None,
    many: bool = False,
    numbers: bool = False,
    below: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of a text with one interaction a line: two arrays of bytes ("S…"), one entry an interaction.

    Parameters
    ----------
    lines : of the file, read one after another
    name : for messages
    sep : between columns; white space when left out
    many : every column after the first is an item; otherwise the columns after the second are left alone.
    numbers : ids must be whole numbers from 0 on, and come as int64.
    below : of numbers, how many users and how many items there are.

    Raises
    ------
    ValueError
        A line with fewer than two columns, an empty id, one that is no number or too large; with file and line.
    """
    users, items = _Column(), _Column()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        columns = [c.strip() for c in line.split(sep)]
        if len(columns) < 2 or not columns[0] or not columns[1]:
            raise ValueError(f"{name}, line {number}: expected a user and an item, found {_short(line)}")
        if numbers and not (columns[0].isdigit() and columns[1].isdigit()):
            raise ValueError(f"{name}, line {number}: ids must be whole numbers from 0 on, found {_short(line)}")
        if below and not (int(columns[0]) < below[0] and int(columns[1]) < below[1]):
            raise ValueError(
                f"{name}, line {number}: {_short(line)}, but there are {below[0]:,} users and {below[1]:,} items, from 0 on"
            )
        for item in columns[1:] if many else columns[1:2]:
            if item:
                users.add(columns[0])
                items.add(item)
    if numbers:
        return users.array().astype(np.int64), items.array().astype(np.int64)
    return users.array(), items.array()


class _Column:
    """A long column of short byte strings, as one array: a tenth of what a list of them takes."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        self.open: list[bytes] = []

    def add(self, value: bytes) -> None:
        self.open.append(value)
        if len(self.open) >= ROWS:
            self.close()

    def close(self) -> None:
        self.blocks.append(np.array(self.open, dtype=np.bytes_))
        self.open = []

    def array(self) -> np.ndarray:
        if self.open or not self.blocks:
            self.close()
        return np.concatenate(self.blocks)


def _short(line: bytes) -> str:
    text = bytes(line).decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 60 else text[:57] + "…")


def _distinct(users: np.ndarray, items: np.ndarray, notes: list[str]) -> np.ndarray:
    pairs = np.unique(np.stack([users, items], axis=1), axis=0)  # (n, 2)
    if len(pairs) < len(users):
        notes.append(f"{len(users) - len(pairs):,} repeated interactions, counted once")
    return pairs


# ---------------------------------------------------------------- features


class _Features:
    """Takes the needed rows of a large file to memory, or to a file of their own in the cache."""

    def __init__(self, folder: Path, dtype: str, on_disk: bool | None, scale: bool, progress: bool) -> None:
        self.folder, self.dtype, self.on_disk, self.scale = folder, np.dtype(dtype), on_disk, scale
        self.progress = progress

    def __call__(self, source: Path, block: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, dim: int) -> Any:
        """Features (n, dim) of ``rows`` (n,) of ``source``, and what they were divided by.

        ``block`` gives (b, dim) for b of the rows. The file in the cache is named after all that it depends on.
        """
        on_disk = self.on_disk if self.on_disk is not None else len(rows) * dim * self.dtype.itemsize >= LARGE
        stat = source.stat()
        key = hashlib.sha256(f"{source.name} {stat.st_size} {stat.st_mtime_ns} {self.scale}".encode() + rows.tobytes())
        path = self.folder / f"features-{self.dtype}-{key.hexdigest()[:16]}.npy"
        parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]

        def read(desc: str) -> Iterator[np.ndarray]:
            for part in progress_bar(parts, desc, self.progress):
                values = block(part)
                wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
                if len(wrong):  # a NaN would also hide what is the largest value
                    raise ValueError(f"{source.name}, row {part[wrong[0]]}: NaN or infinite; delete it and load again")
                yield values

        if not on_disk:
            out = np.empty((len(rows), dim), dtype=np.float32 if self.scale else self.dtype)
            for start, values in zip(range(0, len(rows), BLOCK), read("features")):
                out[start : start + BLOCK] = values
            largest = float(max(out.max(initial=0), -out.min(initial=0))) if self.scale else 1.0
            if largest > 0:
                out /= largest
            return out.astype(self.dtype, copy=False), largest
        scale_path = path.with_suffix(".scale")
        shape = (len(rows), dim)
        kept = _kept_features(path, scale_path, shape, self.dtype)
        if kept is None:
            largest = 1.0
            if self.scale:
                largest = max((float(np.abs(values).max(initial=0)) for values in read("largest")), default=0.0) or 1.0
            with whole_file(path) as file:
                header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for values in read("features"):
                    file.write(np.ascontiguousarray(values / np.float32(largest), dtype=self.dtype).tobytes())
            with whole_file(scale_path) as file:
                file.write(repr(largest).encode())
            kept = _kept_features(path, scale_path, shape, self.dtype)
        if kept is None:
            raise OSError(f"{path} cannot be read back: is the disk sound, or did another program change it?")
        return kept


def _kept_features(path: Path, scale_path: Path, shape: tuple[int, int], dtype: np.dtype) -> tuple[Any, float] | None:
    """The features that an earlier call kept and what they were divided by; None where they are absent or cut off."""
    try:
        array, largest = np.load(path, mmap_mode="r", allow_pickle=False), float(scale_path.read_text())
    except (OSError, ValueError, EOFError):
        return None
    return (array, largest) if (array.shape, array.dtype) == (shape, dtype) and largest > 0 else None


def _open_array(path: Path, what: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} does not hold {what}: {error}; delete it and load again") from None
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{path} does not hold {what}: found {array.dtype} {array.shape}; delete it and load again")
    return array


def _array_block(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    # opened anew for every block: pages of a map that is gone no longer count as memory in use
    return lambda rows: np.load(path, mmap_mode="r", allow_pickle=False)[rows]


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
        _whole_records(path)
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


def _record_block(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    def block(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), 4096), dtype=np.float32)
        order = np.argsort(rows)  # through the file once, from start to end
        for few in np.split(order, range(64, len(order), 64)):
            if not len(few):
                continue
            first, last = int(rows[few[0]]), int(rows[few[-1]])
            out[few] = _records(path, first, last - first + 1)["features"][rows[few] - first]
        return out

    return block


# ---------------------------------------------------------------- the sets


def _read_pinterest(paths: dict[str, Path], make: _Features) -> Dataset:
    array = _open_array(paths["features"], "the features of the pins")
    n_items = len(array)
    test, candidates = _read_negatives(paths["test"], n_items)
    with open(paths["train"], "rb") as file:
        train = np.stack(read_pairs(file, paths["train"].name, numbers=True, below=(len(test), n_items)), axis=1)
    features, largest = make(paths["features"], _array_block(paths["features"]), np.arange(n_items), array.shape[1])
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
                raise ValueError(f"{path.name}, line {number}: expected item numbers, found {_short(line)}")
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


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> zipfile.ZipInfo:
    for info in archive.infolist():
        if info.filename.rpartition("/")[2] == name:
            return info
    raise ValueError(f"{path} does not hold {name}, only {', '.join(archive.namelist()[:5])}; delete it and load again")


def _read_cornac(paths: dict[str, Path], pairs_name: str, features_name: str, sep: str, make: _Features, seed: int) -> Dataset:
    notes: list[str] = []
    with zipfile.ZipFile(paths["ratings"]) as archive:
        with archive.open(_member(archive, pairs_name, paths["ratings"])) as file:
            # Tradesy: a user and any number of items a line; the other: user, item, rating
            users, items = read_pairs(file, pairs_name, sep.encode(), many=sep == ",")
    with zipfile.ZipFile(paths["ids"]) as archive:
        with archive.open(_member(archive, "item_ids.txt", paths["ids"])) as file:
            ids = np.array([line.strip() for line in file if line.strip()], dtype=np.bytes_)
    unpacked = paths["features"].with_name(features_name)
    with zipfile.ZipFile(paths["features"]) as archive:
        info = _member(archive, features_name, paths["features"])
        if not unpacked.exists() or unpacked.stat().st_size != info.file_size:
            with archive.open(info) as packed, whole_file(unpacked) as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    array = _open_array(unpacked, "the features of the items")
    if len(array) != len(ids):
        raise ValueError(f"{features_name} has {len(array):,} rows, item_ids.txt {len(ids):,}; delete both and load again")
    order = np.argsort(ids, kind="stable")
    places = order[np.searchsorted(ids[order], items).clip(max=len(ids) - 1)]
    known = ids[places] == items
    if not known.all():
        notes.append(f"{int((~known).sum()):,} interactions with items that have no image, left out")
    user_ids, user = np.unique(users[known], return_inverse=True)
    pairs = _distinct(user, places[known], notes)
    train, test = leave_one_out(pairs, seed=seed, n_users=len(user_ids))
    features, largest = make(unpacked, _array_block(unpacked), np.arange(len(ids)), array.shape[1])
    extras = {"feature_scale": largest}
    return Dataset(train, test, features, n_users=len(user_ids), n_items=len(ids), item_ids=ids.astype(str), extras=extras,
                   notes=notes)  # fmt: skip


def _read_amazon(
    paths: dict[str, Path], department: str, ratings: str, make: _Features, seed: int, progress: bool, folder: Path
) -> Dataset:
    sums = [checksum(paths[key]) for key in ("meta", ratings, "images")]
    key = hashlib.sha256(repr((1, department, MIN_INTERACTIONS, sums)).encode()).hexdigest()[:16]
    kept = folder / f"interactions-{key}.npz"
    found = _read_kept(kept) if all(sums) else None
    if found is None:
        found = _interactions_of(paths, department, ratings, progress)
        packed = io.BytesIO()
        arrays: dict[str, Any] = dict(found)
        np.savez_compressed(packed, **arrays)
        write_atomically(kept, packed.getvalue())
    user, item, ids, records = (found[name] for name in ("users", "items", "ids", "records"))
    n_users = int(user.max()) + 1
    train, test = leave_one_out(np.stack([user, item], axis=1), seed=seed, n_users=n_users)
    features, largest = make(paths["images"], _record_block(paths["images"]), records, 4096)
    return Dataset(train, test, features, n_users=n_users, n_items=len(ids), item_ids=ids.astype(str),
                   extras={"feature_scale": largest}, notes=found["notes"].tolist())  # fmt: skip


def _interactions_of(paths: dict[str, Path], department: str, ratings: str, progress: bool) -> dict[str, np.ndarray]:
    """What reading gigabytes of text comes to: ``users`` (n,) and ``items`` (n,) int32, numbered; ``ids`` "S10" and
    ``records`` int64 (n_items,), each item's ASIN and the number of its record of features; ``notes``, texts."""
    notes: list[str] = []
    asins = _items_of(paths["meta"], department, notes, progress)  # (A,) ascending
    users, items = _ratings_of(paths[ratings], asins, notes, progress)  # (R,) bytes, (R,) rows of asins
    user_ids, user = np.unique(users, return_inverse=True)
    pairs = _distinct(user, items, notes)
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


def _read_kept(path: Path) -> dict[str, np.ndarray] | None:
    """What was kept of an earlier reading; None where there is nothing, or where it is damaged: zip has checksums."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("users", "items", "ids", "records", "notes")}
    except Exception:  # absent, or damaged, for which each layer has its own: read anew
        return None


@contextlib.contextmanager
def _lines(path: Path, progress: bool) -> Iterator[Iterator[bytes]]:
    """Lines of a text, packed or not, with a bar over the bytes read from disk."""
    with open(path, "rb") as raw:
        text: Any = gzip.open(raw) if path.suffix == ".gz" else raw
        settings: dict[str, Any] = dict(total=path.stat().st_size, unit="B", unit_scale=True)
        with progress_bar(None, path.name, progress, **settings) as bar:

            def lines() -> Iterator[bytes]:
                for number, line in enumerate(text):
                    if number % ROWS == 0:
                        bar.update(raw.tell() - bar.n)
                    yield line

            yield lines()


def _items_of(path: Path, department: str, notes: list[str], progress: bool) -> np.ndarray:
    """The items with a category path such as Clothing, Shoes & Jewelry > Women > …: ASINs "S10", ascending."""
    asins, seen, unread = _Column(), 0, []
    word = department.encode()
    with _lines(path, progress) as lines:
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


def _left_out(path: Path, unread: list[int], seen: int, wanted: str, notes: list[str]) -> None:
    """A few odd lines are left out with a note; more than one in a hundred mean that it is another format."""
    if len(unread) > 10 + seen // 100:
        raise ValueError(
            f"{path.name}, line {unread[0]}: not {wanted}, and so are {len(unread) - 1:,} more lines: "
            f"another format? Delete the file and load again"
        )
    if unread:
        notes.append(f"{len(unread):,} lines of {path.name} that cannot be read (line {unread[0]} first), left out")


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
    with _lines(path, progress) as lines:
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
            if len(users) >= ROWS:
                keep()
    keep()
    _left_out(path, unread, seen, "a user and an item", notes)
    return np.concatenate([u for u, _ in blocks]), np.concatenate([i for _, i in blocks])
