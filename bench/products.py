"""The compiled step with a library's matrix products in place of its own: what the hand-written ones are worth.

All else is the same: the gather, in pieces that a core's cache holds, the small products and the loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from amrlib.training.compiled import loops
from amrlib.training.compiled.step import CompiledTrainer

__all__ = ["ROWS", "BLASInLoops", "TorchProducts"]

ROWS = 256  # gathered at a time: the best of 64, 128 and 256
TERMS = 512  # of a sum at a time: the best of 128, 256, 512 and all
FIRST, LAST = 0, loops.PARTS - 1  # the parts of a step with a product in D dimensions


@njit(**loops.options)
def _gather(features, plus, minus, X, start, end):
    for b in range(start, min(end, len(plus))):
        row, c_i = X[b], features[plus[b]]
        if len(minus):
            c_j = features[minus[b]]
            for d in range(len(c_i)):
                row[d] = c_i[d] - c_j[d]
        else:
            for d in range(len(c_i)):
                row[d] = c_i[d]


class TorchProducts(CompiledTrainer):
    """With ``torch.mm``: one call from Python for each piece. One thread."""

    def _in_one_call(self) -> bool:
        return False

    def _parts(self, *step: Any) -> None:
        (users, pos, neg), rows, sizes, P, Q, E, features, adversary, learned, work = step
        (K_z, D), (n_users, n_items, each_item), attacked = E.theta.shape, sizes, adversary[0]
        R, by_row = n_items if each_item else len(users), torch.from_numpy(work.E)
        for which in range(loops.PARTS):
            if which == FIRST:
                self.rows_times_E(features, *rows, work, R, D)
                if not each_item:
                    loops._clean(users, pos, neg, P, Q, each_item, len(P.theta[0]) - K_z, work, 0, len(users))
                if attacked:
                    torch.mm(by_row.T[:K_z], by_row, out=torch.from_numpy(work.EE))
            elif which == LAST:
                self.rows_transposed_times(work, R, D)
                if attacked:
                    torch.from_numpy(work.XG).addmm_(by_row[:, :K_z], torch.from_numpy(work.M))
                loops._update_E(E, False, work, 0, D)
                loops._update(n_users, n_items, P, Q, learned, work, 0, 1)
            else:
                loops.part(which, 0, 1, np.zeros(2, np.int64), *step)

    def rows_times_E(self, features: Any, plus: Any, minus: Any, work: Any, R: int, D: int) -> None:
        X, Z, E = (torch.from_numpy(array) for array in (work.X, work.Z, work.E))
        for start in range(0, R, ROWS):
            end = min(start + ROWS, R)
            _gather(features, plus, minus, work.X, start, end)
            torch.mm(X[start:end, :D], E, out=Z[start:end])

    def rows_transposed_times(self, work: Any, R: int, D: int) -> None:
        X, G, XG = (torch.from_numpy(array) for array in (work.X, work.G, work.XG))
        for start in range(0, R, TERMS):
            end = min(start + TERMS, R)
            torch.addmm(XG, X[start:end, :D].T, G[start:end], beta=int(start > 0), out=XG)


@njit(**loops.options)
def _dot_forward(features, plus, minus, X, Z, E, R):
    for start in range(0, R, ROWS):
        end = min(start + ROWS, R)
        _gather(features, plus, minus, X, start, end)
        np.dot(X[start:end], E, Z[start:end])


@njit(**loops.options)
def _dot_backward(X, G, XG, R):
    np.dot(X[:R].T, G[:R], XG)


class BLASInLoops(TorchProducts):
    """With numba's ``np.dot``, which is the BLAS that comes with scipy, inside the loops: two calls. It wants rows without
    room at their ends."""

    def _memory(self, B: int) -> Any:
        work = super()._memory(B)
        D = self._tables[2].theta.shape[1]
        if work.X.shape[1] > D:
            self._work = work = work._replace(X=self.model.P.new_empty(len(work.X), D).numpy())
        return work

    def rows_times_E(self, features: Any, plus: Any, minus: Any, work: Any, R: int, D: int) -> None:
        _dot_forward(features, plus, minus, work.X, work.Z, work.E, R)

    def rows_transposed_times(self, work: Any, R: int, D: int) -> None:
        _dot_backward(work.X, work.G, work.XG, R)
