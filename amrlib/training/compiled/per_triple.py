"""BPR as its paper trains it: one triple at a time, by plain stochastic gradient descent. For a CPU, and without features.

>>> model.fit(shop, epochs=100, trainer="per_triple", optimizer="sgd", lr=0.05)

A step is small, so most of its time goes by in waiting for memory and in drawing the triple. Here the rows of the next
triples are asked for ahead, an item is drawn by a few multiplications, and large tables lie on large pages of memory.

Threads share an epoch as in Gemulla et al. (2011). Users and items are cut into T blocks each, anew at random in every epoch.
T² strata of triples follow, and T of them at a time have no user and no item in common. T depends on the shop alone, and
every draw on the seed, the epoch and its place; so any number of threads gives the same parameters, bit for bit.
"""

import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ...checks import require
from ...device import cores
from ...negatives import NegativeSampler
from ..gradients import Batch, Losses
from ..trainer import PairwiseTrainer

try:
    from .threads import THREADED, together
    from .triples import Rows, Tables, Triples, steps, turns
except ImportError as error:
    raise ImportError('trainer="per_triple" needs numba: pip install numba; trainer="closed_form" does without') from error

STRATUM = 3_000  # triples: fewer are not worth a block more
BLOCKS = 16
AT_ONCE = 2**23  # triples in one call: about a second
LARGE = 2**24  # bytes of a table that large pages are for


def _move_to_large_pages(table: Tensor) -> None:
    """A processor finds 4 KiB pages by a short list, which a random walk through a large table always misses."""
    if table.nbytes >= LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory = mmap.mmap(-1, table.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
        table.data = torch.frombuffer(memory, dtype=table.dtype).view_as(table).copy_(table)


class PerTripleTrainer(PairwiseTrainer):
    """LearnBPR of Rendle et al. (2009, figure 4) for ``MFBPR`` on a CPU; see the top of this module.

    For every triple, with x = p_u·(q_i − q_j), the step down −ln σ(x) + reg_P ‖p_u‖² + reg_item (‖q_i‖² + ‖q_j‖²) is

        p_u ← p_u + η_P (σ(−x)(q_i − q_j) − 2 reg_P p_u),    q_i ← q_i + η_Q (σ(−x) p_u − 2 reg_item q_i),
        q_j ← q_j − η_Q (σ(−x) p_u + 2 reg_item q_j),

    all three from the vectors before it. The paper draws triples with repeats; here an epoch visits every training row once.
    ``optimizer`` must be ``"sgd"``: nothing is kept but the parameters, and a rate that suits Adagrad need not suit it.
    ``batch_size`` has no meaning. Tables from 16 MiB on are moved to large pages where the system has them, so an array that
    shared memory with ``model.P`` or ``model.Q`` does so no more.

    Raises
    ------
    ImportError
        When the module is imported: numba is not installed.
    ValueError
        A model that has features, or is on a GPU; another ``optimizer``; negatives that are not uniform.

    Notes
    -----
    *Negatives are uniform over the warm items that u has not touched.* The item of a triple (u, i) is drawn uniformly from
    those of them that lie in i's block. Exchange two such items j and j': the partition has the same distribution as before,
    and u's items and i are where they were. So both are drawn equally often, over the partition and the draw. What the
    items' blocks change is which negatives come together in one epoch. T leaves more items in a block than any user has
    touched, so there is always one to draw.
    """

    name = "per_triple"
    can_be_recorded = False

    def __init__(self, model: Any, lr: float | Sequence[float] = 0.05, reg: float | Sequence[float] = 0.0,
                 optimizer: str = "sgd", **settings: Any) -> None:  # fmt: skip
        super().__init__(model, lr, reg, "adagrad", **settings)
        self.optimizer.state.clear()  # plain steps keep nothing
        plain = model.E is None and model.Q is not None and not model.constant_columns
        require(plain, f'trainer="per_triple" is for MFBPR, and {type(model).__name__} has more than p_u and q_i; leave '
                       'trainer= out, or name "compiled" or "closed_form"')  # fmt: skip
        require(model.P.is_cpu, f'trainer="per_triple" is for the CPU and the model is on {model.P.device}; pass device="cpu"')
        require(optimizer == "sgd", 'trainer="per_triple" takes plain steps: pass optimizer="sgd", and an lr that suits it, '
                                    f"not {optimizer!r}")  # fmt: skip
        for table in (model.P, model.Q):
            _move_to_large_pages(table)
        number = np.dtype(str(model.P.dtype).removeprefix("torch.")).type
        rates = [number(value) for value in (*self.lr[:2], *self.reg[:2])]
        self._tables = Tables(model.P.numpy(), model.Q.numpy(), *rates)
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._taken: tuple[Tensor, Tensor] | None = None

    def _wrote(self) -> None:
        for table in self.optimizer.parameters.values():
            torch.autograd.graph.increment_version(table)  # torch does not see what a loop writes

    def epoch(self, users: Tensor, pos: Tensor, neg: Tensor, batch_size: int = 1) -> Tensor:
        """A step for each of these triples in turn, (n,) each; sums of bpr, adversarial (0) and objective, (3,) float64."""
        ids = (ids.numpy().astype(np.int32) for ids in (users, pos, neg))
        steps(*ids, self._tables, sums := np.zeros(2))
        self._wrote()
        return torch.tensor([sums[0], 0.0, sums[1]], dtype=torch.float64)

    def _step(self, batch: Batch) -> Losses:
        return Losses(*self.epoch(*batch).to(self.model.P.dtype))

    def new_epoch(self, users: Tensor, pos: Tensor, sampler: NegativeSampler, batch_size: int, generator: Generator) -> Tensor:
        """Every row (user, pos) once, in the order and with the items that this epoch's draw gives it."""
        if self._taken is None or self._taken[0] is not users or self._taken[1] is not pos:
            self._take(users, pos, sampler)
        key = np.uint64(torch.randint(2**62, (), generator=generator).item())
        T, sums = self.T, np.zeros((self.T, self.T, 2))
        drawn = (key, self._everyone.copy(), self._items.copy(), self.rows, self._block_of, self.starts, self.triples)
        some = max(1, T * AT_ONCE // len(users))
        for first in range(0, T, some):  # in between, Ctrl-C is heard
            self._together(first, min(first + some, T), *drawn, self._tables, sums)
        self._wrote()
        return torch.from_numpy(sums.sum((0, 1))[[0, 0, 1]] * [1, 0, 1])

    def _take(self, users: Tensor, pos: Tensor, sampler: NegativeSampler) -> None:
        """The rows by user, each user's items ascending; and the number of blocks."""
        require(sampler.kind == "uniform", f'trainer="per_triple" draws uniform negatives, not {sampler.kind!r} ones; '
                'name another trainer, or leave negatives= out')  # fmt: skip
        self._taken, n, (u, i) = (users, pos), len(users), (users.numpy(), pos.numpy())
        owned = np.bincount(u, minlength=len(self.model.P))  # (M,)
        marks = np.zeros(len(owned), np.uint64)
        np.bitwise_or.at(marks, u, np.uint64(1) << (i.astype(np.uint64) & np.uint64(63)))
        self.rows = Rows(np.append(0, np.cumsum(owned)), i[np.lexsort((i, u))].astype(np.int32), marks)
        self.triples = Triples(*np.empty((3, n), np.int32))  # of the last epoch, stratum by stratum
        self._everyone, self._items = np.arange(len(owned), dtype=np.int32), sampler.item_at.numpy().astype(np.int32)
        self._block_of = np.zeros(len(self._tables.Q), np.uint8)
        self.T = next(T for T in (2**k for k in range(BLOCKS.bit_length())[::-1])
                      if T == 1 or (n >= T * T * STRATUM and len(self._items) // T > owned.max()))  # fmt: skip
        self.starts = np.zeros((self.T, self.T + 1), np.int64)  # where each stratum's triples begin

    def _together(self, *arguments: Any) -> None:
        """``turns`` on as many threads as torch has, but no more than there are cores or blocks; one if that is sooner done."""
        threads = max(1, min(torch.get_num_threads(), self.T, cores())) if len(self.triples.who) >= THREADED else 1
        if self._pool is None or self._pool[0] < threads:
            self._pool = threads, ThreadPoolExecutor(threads)
        together(self._pool[1], lambda thread, counter: turns(thread, threads, *arguments, counter), threads)
