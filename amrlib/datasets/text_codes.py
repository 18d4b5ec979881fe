"""Distinct texts as numbers, for columns of millions of rows: of a text that is known already nothing but bytes is looked at.

A text is known by two hashes of 64 bits each, made of its bytes eight at a time and of its length. Texts with one hash in
common and not the other are found; for both to agree by chance is a matter of one in 2^128.
"""

from typing import Any

import numpy as np
import pandas as pd

MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
# Odd numbers, each from the digits of an irrational: √5, √2, √3 and e.
FACTORS = np.array([0x9E3779B97F4A7C15, 0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0xADF85458A2BB4A9B], dtype=np.uint64)


class Collision(Exception):
    """Two texts with one hash: never seen, and so told rather than guessed."""


def encoded(column: list[str]) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Texts as bytes one behind the other, where each starts, and how long it is."""
    parts = [text.encode() for text in column]
    lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    return b"".join(parts), np.cumsum(lengths) - lengths, lengths


def distinct_texts(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (n,) of texts in the order in which they come; the place of each distinct one; and their hashes (d, 2)."""
    hashes = _hashes(data, starts, lengths)
    codes, _ = pd.factorize(hashes[0])
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # of several the last that is written: the first
    if (hashes[1] != hashes[1][first][codes]).any():
        raise Collision
    return codes, first, hashes[:, first].T


def texts_at(data: bytes, starts: np.ndarray, lengths: np.ndarray, places: np.ndarray) -> list[str]:
    """The texts themselves, of some places."""
    ends = starts + lengths
    return [data[a:b].decode() for a, b in zip(starts[places].tolist(), ends[places].tolist())]


def _hashes(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """uint64 (2, n)"""
    words = np.ndarray((len(data) + 1,), dtype="<u8", buffer=data + bytes(8), strides=(1,))  # eight bytes from each place on
    h = lengths.astype(np.uint64) * FACTORS[2:, None]  # (2, n)
    for k in range(0, int(lengths.max(initial=0)), 8):
        rows: Any = slice(None) if k < lengths.min() else np.flatnonzero(lengths > k)
        w = words[starts[rows] + k] & MASKS[np.minimum(lengths[rows] - k, 8)]
        mixed = (h[:, rows] ^ w) * FACTORS[:2, None]
        h[:, rows] = mixed ^ (mixed >> np.uint64(29))
    h *= FACTORS[1:3, None]
    h ^= h >> np.uint64(32)
    return h


class TextCodes:
    """Numbers 0, 1, 2, … for texts, in the order in which they first come; ``texts`` are these."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._known = np.zeros(0, dtype=np.uint64)  # first hashes, ascending
        self._second = np.zeros(0, dtype=np.uint64)
        self._codes = np.zeros(0, dtype=np.int32)

    def __call__(self, data: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Codes, int32 (n,), of texts as :func:`encoded` gives them."""
        codes, first, hashes = distinct_texts(data, starts, lengths)
        order = np.argsort(hashes[:, 0])
        sought = hashes[order]
        places = np.searchsorted(self._known, sought[:, 0])
        inside = np.minimum(places, max(0, len(self._known) - 1))
        known = self._known[inside] == sought[:, 0] if len(self._known) else np.zeros(len(order), dtype=bool)
        if known.any() and (self._second[inside[known]] != sought[known, 1]).any():
            raise Collision
        numbers = np.empty(len(order), dtype=np.int32)  # of the distinct ones, in the order in which they come
        if known.any():
            numbers[order[known]] = self._codes[inside[known]]
        new = np.sort(order[~known])
        numbers[new] = np.arange(len(self.texts), len(self.texts) + len(new))
        self.texts += texts_at(data, starts, lengths, first[new])
        if len(new):
            at, fresh = places[~known], order[~known]
            self._known = np.insert(self._known, at, sought[~known, 0])
            self._second = np.insert(self._second, at, sought[~known, 1])
            self._codes = np.insert(self._codes, at, numbers[fresh])
        return numbers[codes]
