"""Features in files larger than memory: the rows that a data set needs, in memory or in a file of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import whole_file
from ..progress import progress_bar

__all__ = ["BLOCK", "FeatureReader", "block_of_array", "open_array"]

BLOCK = 1 << 11  # feature rows in memory at once while reading: 32 MB of 4096 float32
LARGE = 1 << 30  # bytes of features from which they stay on disk unless told otherwise


class FeatureReader:
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
            largest = float(max(out.max(initial=0), -out.min(initial=0))) or 1.0 if self.scale else 1.0
            out /= largest
            out = out.astype(self.dtype, copy=False)
            out.flags.writeable = False  # nobody else has it: the data set need not copy it
            return out, largest
        scale_path = path.with_suffix(".scale")
        shape = (len(rows), dim)
        cached = _cached_rows(path, scale_path, shape, self.dtype)
        if cached is None:
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
            cached = _cached_rows(path, scale_path, shape, self.dtype)
        if cached is None:
            raise OSError(f"{path} cannot be read back: is the disk sound, or did another program change it?")
        return cached


def _cached_rows(path: Path, scale_path: Path, shape: tuple[int, int], dtype: np.dtype) -> tuple[Any, float] | None:
    """The features that an earlier call kept and what they were divided by; None where they are absent or cut off."""
    try:
        array, largest = np.load(path, mmap_mode="r", allow_pickle=False), float(scale_path.read_text())
    except (OSError, ValueError, EOFError):
        return None
    return (array, largest) if (array.shape, array.dtype) == (shape, dtype) and largest > 0 else None


def open_array(path: Path, what: str) -> np.ndarray:
    """A mapped array (n, D) of numbers, or a ValueError that names the file and ``what`` it should hold."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} does not hold {what}: {error}; delete it and load again") from None
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{path} does not hold {what}: found {array.dtype} {array.shape}; delete it and load again")
    return array


def block_of_array(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Reads rows of the array in a file, for :class:`FeatureReader`."""
    # opened anew for every block: pages of a map that is gone no longer count as memory in use
    return lambda rows: np.load(path, mmap_mode="r", allow_pickle=False)[rows]
