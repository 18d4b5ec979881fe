"""An epoch's triples in a compiled loop: what :class:`~amrlib.negatives.NegativeSampler` draws, number for number.

torch looks rows up by threads of its own. When they are done they watch for more, for some milliseconds, on the cores that
the step's threads want by then."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Generator, Tensor

from ...negatives import NegativeSampler


class Line(NamedTuple):
    """The sampler's arrays, see there; and where each user's keys begin."""

    length: np.ndarray  # (M,)
    start: np.ndarray  # (M,)
    removed: np.ndarray  # (n + 1,)
    keys: np.ndarray  # (n,)
    first: np.ndarray  # (M + 1,)
    item_at: np.ndarray  # (units,)
    stride: int


def line_of(sampler: NegativeSampler) -> Line:
    """Of a sampler on the CPU."""
    length, start, removed, keys, item_at = (
        array.numpy() for array in (sampler.length, sampler.start, sampler.removed, sampler.keys, sampler.item_at)
    )
    first = np.searchsorted(keys, np.arange(len(length) + 1) * sampler.stride)
    return Line(length, start, removed, keys, first, item_at, sampler.stride)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(share, shares, place, uniform, rows, line, users, pos, neg):
    """A share of them: row s comes at ``place[s]``, with the item that ``uniform`` there stands for. Row by row, since a user's
    rows are side by side and their numbers are found together."""
    n = len(place)
    for s in range(n * share // shares, n * (share + 1) // shares):
        t, u = place[s], rows[0][s]
        length = line.length[u]
        r = min(np.int64(uniform[t] * length), length - 1)
        key, before, end = u * line.stride + r, line.first[u], line.first[u + 1]
        while before < end:  # how many of all keys are no larger
            middle = (before + end) // 2
            before, end = (middle + 1, end) if line.keys[middle] <= key else (before, middle)
        users[t], pos[t] = u, rows[1][s]
        neg[t] = line.item_at[r + line.removed[before] - line.start[u]]


def draw(
    users: Tensor, pos: Tensor, line: Line, generator: Generator, together: Callable[[Callable[[int, int], None]], None]
) -> tuple[Tensor, ...]:
    """All rows (user, pos), (n,) each, in an order and with negatives that ``generator`` draws: users, pos, neg, (n,) each.
    ``together(work)`` calls ``work(share, shares)`` for each share."""
    order, place = torch.randperm(len(users), generator=generator).numpy(), np.empty(len(users), np.int64)
    place[order] = np.arange(len(users))
    uniform = torch.rand(len(users), generator=generator, dtype=torch.float64).numpy()
    triples, rows = np.empty((3, len(users)), np.int64), (users.numpy(), pos.numpy())
    together(lambda share, shares: _draw(share, shares, place, uniform, rows, line, *triples))
    return torch.from_numpy(triples).unbind()
