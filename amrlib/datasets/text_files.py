"""Text with one interaction a line, read as a stream: memory holds what is kept, and a block of lines."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..progress import progress_bar

__all__ = ["LINES", "ByteColumn", "distinct_pairs", "lines_of", "quoted", "read_pairs"]

LINES = 1 << 16  # of text, made into an array at once


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
    users, items = ByteColumn(), ByteColumn()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        columns = [c.strip() for c in line.split(sep)]
        if len(columns) < 2 or not columns[0] or not columns[1]:
            raise ValueError(f"{name}, line {number}: expected a user and an item, found {quoted(line)}")
        if numbers and not (columns[0].isdigit() and columns[1].isdigit()):
            raise ValueError(f"{name}, line {number}: ids must be whole numbers from 0 on, found {quoted(line)}")
        if below and not (int(columns[0]) < below[0] and int(columns[1]) < below[1]):
            raise ValueError(
                f"{name}, line {number}: {quoted(line)}, but there are {below[0]:,} users and {below[1]:,} items, from 0 on"
            )
        for item in columns[1:] if many else columns[1:2]:
            if item:
                users.add(columns[0])
                items.add(item)
    if numbers:
        return users.array().astype(np.int64), items.array().astype(np.int64)
    return users.array(), items.array()


class ByteColumn:
    """A long column of short byte strings, as one array: a tenth of what a list of them takes."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        self.open: list[bytes] = []

    def add(self, value: bytes) -> None:
        self.open.append(value)
        if len(self.open) >= LINES:
            self.close()

    def close(self) -> None:
        self.blocks.append(np.array(self.open, dtype=np.bytes_))
        self.open = []

    def array(self) -> np.ndarray:
        if self.open or not self.blocks:
            self.close()
        return np.concatenate(self.blocks)


def quoted(line: bytes) -> str:
    """A line for a message, cut where it is long."""
    text = bytes(line).decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 60 else text[:57] + "…")


def distinct_pairs(users: np.ndarray, items: np.ndarray, notes: list[str]) -> np.ndarray:
    """Rows (user, item), each once and ascending."""
    pairs = np.unique(np.stack([users, items], axis=1), axis=0)  # (n, 2)
    if len(pairs) < len(users):
        notes.append(f"{len(users) - len(pairs):,} repeated interactions, counted once")
    return pairs


@contextlib.contextmanager
def lines_of(path: Path, progress: bool) -> Iterator[Iterator[bytes]]:
    """Lines of a text, packed or not, with a bar over the bytes read from disk."""
    with open(path, "rb") as raw:
        text: Any = gzip.open(raw) if path.suffix == ".gz" else raw
        settings: dict[str, Any] = dict(total=path.stat().st_size, unit="B", unit_scale=True)
        with progress_bar(None, path.name, progress, **settings) as bar:

            def lines() -> Iterator[bytes]:
                for number, line in enumerate(text):
                    if number % LINES == 0:
                        bar.update(raw.tell() - bar.n)
                    yield line

            yield lines()
