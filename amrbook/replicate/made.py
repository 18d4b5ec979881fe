"""Made files in the exact formats of the public sets, at any size: the whole command can be tried without the sets.

>>> with made.served("pinterest", cache, made.SMALL["pinterest"]):
...     replicate("pinterest", folder, is_quick=True, epochs=2)

Nobody bought any of it. A record of such a run has other checksums than the published files, so it cannot be sent in."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from amrlib.atomic_files import whole_file, write_atomically
from amrlib.datasets.amazon import RECORD
from amrlib.datasets.catalogue import SETS

__all__ = ["PUBLISHED", "SMALL", "Size", "pairs", "served", "write"]


@dataclass(frozen=True)
class Size:
    users: int
    items: int
    interactions: int
    D: int
    least: int = 2  # interactions of a user


PUBLISHED = {
    "pinterest": Size(3226, 4998, 9844, 2048),
    "amazon-clothing": Size(5377, 3393, 13689, 4096),
    "amazon-women": Size(83337, 299555, 706949, 4096, 5),
}
SMALL = {
    "pinterest": Size(60, 90, 260, 8),
    "amazon-clothing": Size(60, 90, 260, 8),
    "amazon-women": Size(50, 80, 320, 4096, 5),
}
BLOCK = 1 << 12  # rows of features at once


def pairs(size: Size, seed: int = 0) -> np.ndarray:
    """Distinct (user, item) pairs, (n, 2), sorted: every item occurs, every user ``least`` times; some items often."""
    rng = np.random.default_rng(seed)
    left = size.interactions - size.least * size.users
    if left < 0 or size.interactions < size.items:
        raise ValueError(f"{size} has too few interactions")
    users = np.repeat(np.arange(size.users), size.least)
    users = rng.permutation(np.concatenate([users, rng.integers(0, size.users, left)]))
    ends = np.cumsum(1 / (np.arange(size.items) + 10.0))
    items = np.concatenate([np.arange(size.items), np.zeros(len(users) - size.items, dtype=np.int64)])
    again = np.arange(size.items, len(users))
    while len(again):
        drawn = np.searchsorted(ends, rng.random(len(again)) * ends[-1])
        items[again] = np.minimum(drawn, size.items - 1)
        _, first = np.unique(users * size.items + items, return_index=True)
        again = np.setdiff1d(np.arange(size.items, len(users)), first)
    keys = np.unique(users * size.items + items)
    return np.stack(np.divmod(keys, size.items), 1)


def _features(size: Size, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([seed, 1])
    for start in range(0, size.items, BLOCK):
        yield np.abs(rng.standard_normal((min(BLOCK, size.items - start), size.D), dtype=np.float32))


def _npy(size: Size, seed: int, file: io.IOBase) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": (size.items, size.D)}
    np.lib.format.write_array_header_1_0(file, head)
    for block in _features(size, seed):
        file.write(block.tobytes())


def _pinterest(size: Size, seed: int, at: Callable[[str], Path]) -> None:
    rng, all_pairs = np.random.default_rng([seed, 2]), pairs(size, seed)
    order = np.lexsort((rng.random(len(all_pairs)), all_pairs[:, 0]))
    held = order[np.searchsorted(all_pairs[order, 0], np.arange(size.users))]
    test, train = all_pairs[held, 1], np.delete(all_pairs, held, axis=0)
    write_atomically(at("train"), "".join(f"{u} {i}\n" for u, i in rng.permutation(train)).encode())
    rivals = min(999, size.items // 2)
    lines = []
    for user in range(size.users):
        own = all_pairs[slice(*np.searchsorted(all_pairs[:, 0], [user, user + 1])), 1]
        others = rng.choice(np.setdiff1d(np.arange(size.items), own), rivals, replace=False)
        lines.append(" ".join(map(str, [test[user], *others])) + "\n")
    write_atomically(at("test"), "".join(lines).encode())
    with whole_file(at("features")) as file:
        _npy(size, seed, file)  # type: ignore[arg-type]


def _clothing(size: Size, seed: int, at: Callable[[str], Path]) -> None:
    def packed(key: str, member: str, fill: Callable[[io.IOBase], object]) -> None:
        with whole_file(at(key)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open(member, "w", force_zip64=True) as stream:
                fill(stream)  # type: ignore[arg-type]

    rows = "".join(f"u{u}\tB{i:09d}\t5.0\n" for u, i in pairs(size, seed))
    packed("ratings", "amazon_clothing/rating.txt", lambda stream: stream.write(rows.encode()))
    packed("ids", "item_ids.txt", lambda stream: stream.write("".join(f"B{i:09d}\n" for i in range(size.items)).encode()))
    packed("features", "image_features.npy", lambda stream: _npy(size, seed, stream))


def _women(size: Size, seed: int, at: Callable[[str], Path]) -> None:
    """With things to leave out: items of men, a user of one purchase, a metadata line that is no literal."""
    steps = {word: ["Clothing, Shoes & Jewelry", word, "It's"] for word in ("Women", "Men")}
    with whole_file(at("meta")) as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
        for n in range(size.items + 5):
            word = "Women" if n < size.items else "Men"
            packed.write(repr({"asin": f"B{n:09d}", "title": f"no {word}'s", "categories": [steps[word]]}).encode() + b"\n")
        packed.write(b"{'asin': 'B1', Women\n")
    with whole_file(at("ratings")) as file:
        for part in np.array_split(pairs(size, seed), max(1, size.interactions // 100_000)):
            file.write("".join(f"A{u},B{i:09d},5.0,1400000000\n" for u, i in part).encode())
        file.write(b"once,B000000000,1.0,1400000000\n")
    with whole_file(at("images")) as file:
        start = 0
        for block in _features(size, seed):
            records = np.empty(len(block), dtype=RECORD)
            records["asin"] = [f"B{n:09d}".encode() for n in range(start, start + len(block))]
            records["features"] = block
            file.write(records.tobytes())
            start += len(block)


WRITERS = {"pinterest": _pinterest, "amazon-clothing": _clothing, "amazon-women": _women}


def write(dataset: str, cache: Path, size: Size, seed: int = 0) -> None:
    """The files of a set, where a download would put them in ``cache``."""
    WRITERS[dataset](size, seed, lambda key: cache / SETS[dataset].files[key].name)


@contextlib.contextmanager
def served(dataset: str, cache: Path, size: Size, seed: int = 0, known: bool = True) -> Iterator[None]:
    """The made files are written, and are what the catalogue calls the set, until this ends. There is no address to fetch them
    from. With ``known`` by their checksums, so that a damaged file is told from a whole one, as Pinterest's are."""
    write(dataset, cache, size, seed)
    old, files = SETS[dataset], {}
    for key, remote in old.files.items():
        path = cache / remote.name
        files[key] = replace(remote, urls=(), git=_blob(path) if known and path.exists() else None)
    counts: dict[str, float] = {"users": size.users, "items": size.items, "interactions": size.interactions}
    SETS[dataset] = replace(old, files=files, published=counts, published_in="the made files")
    try:
        yield
    finally:
        SETS[dataset] = old


def _blob(path: Path) -> str:
    sha = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()
