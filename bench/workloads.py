"""Generated shops to measure on, and the clock that every contender is measured with. Needs numpy alone."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import numpy as np

__all__ = ["BASE", "MICRO", "SIZES", "Clock", "Shop", "Size", "make"]


@dataclass(frozen=True)
class Size:
    """How large a shop is: M users, N items, n interactions, D features an item; K is the model's."""

    users: int
    items: int
    interactions: int
    D: int = 2048
    K: int = 64


SIZES = {
    "pinterest": Size(3_226, 4_998, 6_618),  # the AMR paper's Pinterest set
    "medium": Size(20_000, 20_000, 400_000),
    "women": Size(83_337, 299_555, 706_949, 4_096),  # the AMR paper's Amazon women set; for a graphics card
}
BASE = Size(4_096, 4_096, 65_536, 1_024, 64)  # what growth is measured around
MICRO = Size(40, 50, 200, 16, 4)  # for the tests


class Shop(NamedTuple):
    train: np.ndarray  # (n, 2) distinct (user, item) rows; every user and every item occurs
    test: np.ndarray  # (M,) a held-out item that the user has not in train
    features: np.ndarray  # (N, D) float32, none negative, rows of length 1


def make(size: Size, seed: int = 0, features: bool = True) -> Shop:
    """The same shop for the same size and seed, on every processor; its features but for their last digits.

    Popularity falls like 1 / place, as in real shops.

    Raises
    ------
    ValueError
        Fewer interactions than users or items, or more than fit.
    """
    M, N, n = size.users, size.items, size.interactions
    if not max(M, N) <= n <= M * (N - 1) // 2:
        raise ValueError(f"interactions must be between {max(M, N)} and {M * (N - 1) // 2}, not {n}")
    rng = np.random.default_rng(seed)
    ends = np.cumsum(1.0 / (np.arange(N) + 10.0))
    keys = np.unique(rng.permutation(np.arange(max(M, N)) % M) * N + np.arange(max(M, N)) % N)
    while len(keys) < n:
        users = rng.integers(0, M, n - len(keys))
        items = np.searchsorted(ends, rng.random(n - len(keys)) * ends[-1])
        keys = np.unique(np.concatenate([keys, users * N + np.minimum(items, N - 1)]))
    test = rng.integers(0, N, M)
    while len(again := np.flatnonzero(np.isin(np.arange(M) * N + test, keys))):
        test[again] = rng.integers(0, N, len(again))
    C = np.zeros((N, 0), dtype=np.float32)
    if features:
        C = np.abs(rng.standard_normal((N, size.D), dtype=np.float32))
        C /= np.linalg.norm(C, axis=1, keepdims=True)
    return Shop(np.stack([keys // N, keys % N], 1), test, C)


class Clock:
    """Windows of time inside a program that knows nothing of them.

    The program calls :meth:`tick` wherever it begins a piece of work, with the piece's size; the clock answers
    the one who measures over a pair of pipes, and holds the program still between two windows. So whatever
    the program does (sampling, its own bookkeeping) lies inside the window, and its start-up outside.

    stdin: one line a window, its length in seconds; the end of the input ends the program.
    stdout: first ``{"versions": …}``, then ``{"count": …, "seconds": …}`` for each window.
    """

    def __init__(self, source: TextIO = sys.stdin, sink: TextIO = sys.stdout, **about: Any) -> None:
        self.source, self.sink, self.about = source, sink, about
        self.started = -1.0  # not ready yet
        self.length = self.count = 0.0

    def tick(self, size: float) -> None:
        """A piece of ``size`` (triples, users, …) begins now, and all before it is done."""
        now = time.perf_counter()
        if self.started < 0:
            self.say(self.about)
            self._next()
        elif now - self.started >= self.length:
            self.say({"count": self.count, "seconds": now - self.started})
            self._next()
        self.count += size

    def say(self, what: dict[str, Any]) -> None:
        print(json.dumps(what), file=self.sink, flush=True)

    def wait(self) -> float:
        """The next window's length in seconds."""
        line = self.source.readline()
        if not line:
            raise SystemExit(0)
        return float(line)

    def _next(self) -> None:
        self.length = self.wait()
        self.count, self.started = 0.0, time.perf_counter()
