"""The step of :class:`~amrlib.training.PairwiseTrainer` in compiled loops: for a CPU.

There, with batches of hundreds, torch's many small calls cost about as much as one of the step's two large products.
Compiled, the step makes one pass over a triple's numbers where torch makes ten over the whole batch's, and the large
products gather the features on their way: see ``loops.py``. An epoch is one call. numba compiles the loops when they are
first used, which takes some seconds, and keeps them for the next time.

>>> model.fit(shop, epochs=100, trainer="compiled")
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ...negatives import NegativeSampler
from ..closed_form import NORM_FLOOR
from ..gradients import Batch, Losses
from ..trainer import PairwiseTrainer

try:
    from .draws import Line, draw, line_of
    from .loops import VECTOR, Table, Work, begin, give_back, in_range, losses, step, steps, take_in
    from .threads import THREADED, together
except ImportError as error:
    raise ImportError("trainer=\"compiled\" needs numba: pip install numba; trainer=\"closed_form\" does without") from error

BLOCK_BYTES = 2**22  # of features in another number type, converted at a time
PART = 2**22  # multiplications that are worth a thread
TRIPLES = 2**16  # in one call, a second at most
ITS_STEP = PairwiseTrainer.step


class CompiledTrainer(PairwiseTrainer):
    """:class:`PairwiseTrainer` for a CPU, in compiled loops; see the top of this module.

    Implements what it implements (:eq:`eq-bpr-gradient`, :eq:`eq-grad-e`, :eq:`eq-amr-gamma`, :eq:`eq-amr-em`), with
    the same parameters and the same steps: the tests hold it to ``AutogradTrainer`` as they do ``PairwiseTrainer``. Sums
    are taken in another order, so numbers differ in the last digits. Where it has no loop (Adam, random
    directions) the step is ``PairwiseTrainer``'s own. A step's parts are divided among as many threads as torch has;
    their number changes no number.

    Raises
    ------
    ImportError
        When the module is imported: numba is not installed.
    ValueError
        As for ``PairwiseTrainer``; and a model on a GPU.

    Notes
    -----
    The two products in D dimensions are

    * Z = X E,  the rows of X being c_i − c_j, or the items' own c_n where each item's vector is asked for;
    * ∂L/∂E = Xᵀ G.

    With an adversary EᵀE is taken beside the first, and E M is added to the second. While steps are taken E lies row by row,
    as the products want it: it is turned round before an epoch, and back after it.
    """

    name = "compiled"

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        if model.P.device.type != "cpu":
            raise ValueError(f"CompiledTrainer is for the CPU and the model is on {model.P.device}; leave trainer= out there")
        super().__init__(model, *args, **kwargs)
        self._number = np.dtype(str(model.P.dtype).removeprefix("torch.")).type
        self._n_items = len(model.features if model.Q is None else model.Q)
        self._tables = [self._table(name, place) for place, name in enumerate("PQE")]
        self._work: Work | None = None
        self._line: tuple[NegativeSampler, Line] | None = None
        self._threads: tuple[int, ThreadPoolExecutor] | None = None
        self._learned = np.ones(model.P.shape[1], self._number)  # 0 for the columns that are not
        self._learned[list(model.constant_columns)] = 0

    def _table(self, name: str, place: int) -> Table:
        theta = getattr(self.model, name)
        if theta is None:
            theta = v = self.model.P.new_empty(0 if name == "E" else self._n_items, 0)
        else:
            v = self.optimizer.state[name]
        if name == "E":
            theta, v = theta.T, v.T
        return Table(theta.numpy(), v.numpy(), self._number(self.lr[place]), self._number(self.reg[place]), self.apart)

    def _memory(self, B: int) -> Work:
        if self._work is None or len(self._work.u) < B:
            P, _, E = self._tables
            K, (K_z, D), lanes = P.theta.shape[1], E.theta.shape, VECTOR // self._number().itemsize
            width = -(-K_z // lanes) * lanes
            ids = [np.empty(n, np.int64) for n in (B, B, B, B, 2 * B)]
            slots = [np.full(n, -1, np.int32) for n in (len(P.theta), self._n_items)]
            counts = [*(np.zeros(n, np.int32) for n in (B, 2 * B)), *(np.zeros(n, np.int64) for n in (2, 1))]
            penalties = [np.zeros(n) for n in (B, 2 * B, D)]
            rows, empty = 2 * B, self.model.P.new_empty
            shapes = [(B, K), (B, width), (B, K_z), (rows, width), (B, K), (rows, K), (rows, K_z), (rows, width)]
            shapes += [(rows, width), (K_z, width), (K_z, width), (D, width), (D, width), (D, width)]
            # torch's memory begins where a vector may begin, numpy's anywhere. Zeros, for the columns beyond K_z: numbers
            # that happen to be tiny would slow the products down. And room at the end of X's rows: D is often a power of
            # two, and rows of such a length push one another out of the cache.
            numbers = [empty(shape).zero_().numpy() for shape in shapes] + [empty(rows, D + lanes).numpy()]
            losses = [np.empty((2, B)), np.empty(B, self._number)]
            self._work = Work(*ids, *slots, *counts, *penalties, *losses, *numbers)
            self._work.v[:] = 1
        return self._work

    def _shares(self, B: int) -> int:
        """Into how many shares the parts of a step of B triples are divided: a thread for each."""
        E = self._tables[2].theta
        return max(1, min(torch.get_num_threads(), B, (2 * B + len(E)) * E.size // PART))

    def _together(self, B: int, work: Any) -> None:
        """``work(share, shares, counter)`` by as many threads as a step of B triples is worth."""
        shares = self._shares(B)
        if self._threads is None or self._threads[0] < shares:
            self._threads = shares, ThreadPoolExecutor(shares)
        together(self._threads[1], lambda share, counter: work(share, shares, counter), shares)

    def _parts(self, *a_step: Any) -> None:
        """A step that has begun."""
        self._together(len(a_step[0][0]), lambda *shared: step(*shared, *a_step))

    def _check(self, batch: Batch) -> None:
        n = self._n_items
        fine = all(in_range(ids.numpy(), size) for ids, size in zip(batch, (len(self.model.P), n, n), strict=True))
        if not (fine and len(batch.users) == len(batch.pos) == len(batch.neg) > 0):
            super()._check(batch)  # which says what is wrong

    def _has_loop(self) -> bool:
        model = self.model
        random = model.perturbation == "random" and model.adv_weight > 0 and model.E is not None
        return self.optimizer.kind == "adagrad" and not random

    def _to_gather(self, X: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the first product gathers, and which rows of it; none where numba does not know the features' number type, and
        X is filled here."""
        features = self.model.features
        assert features is not None
        if features.dtype in (torch.float32, torch.float64):
            return features.numpy(), plus, minus
        D = features.shape[1]
        rows, block = torch.from_numpy(X)[:, :D], max(1, BLOCK_BYTES // (D * X.itemsize))
        for start in range(0, len(plus), block):
            i, j = (torch.from_numpy(ids[start : start + block]) for ids in (plus, minus))
            c = self.gather.rows(features, i, self.gather.memory("plus", len(i), D, self.model.P))
            if len(j):
                c -= self.gather.rows(features, j, self.gather.memory("minus", len(j), D, self.model.P))
            rows[start : start + len(i)] = c
        return X, plus[:0], minus[:0]

    def _in_one_call(self) -> bool:
        """Whether numba reads the features as they are stored."""
        features, E = self.model.features, self.model.E
        return E is None or features is None or features.dtype in (torch.float32, torch.float64)

    def new_epoch(self, users: Tensor, pos: Tensor, sampler: NegativeSampler, batch_size: int, generator: Generator) -> Tensor:
        if type(sampler) is not NegativeSampler:  # somebody's, to be called
            return super().new_epoch(users, pos, sampler, batch_size, generator)
        if self._line is None or self._line[0] is not sampler:
            self._line = sampler, line_of(sampler)

        def together(work: Callable[[int, int], None]) -> None:
            if len(users) < THREADED:
                work(0, 1)
            else:
                self._together(min(batch_size, len(users)), lambda share, shares, _: work(share, shares))

        users, pos, neg = draw(users, pos, self._line[1], generator, together)
        return self.epoch(users, pos, neg, batch_size)

    def epoch(self, users: Tensor, pos: Tensor, neg: Tensor, batch_size: int) -> Tensor:
        B, own_step = min(batch_size, len(users)), type(self).step is not ITS_STEP  # somebody's, to be called
        if own_step or not self._has_loop():
            return super().epoch(users, pos, neg, batch_size)
        if self.gather.fetches or not self._in_one_call():
            with self._row_by_row(B):
                return super().epoch(users, pos, neg, batch_size)
        return self._steps(Batch(users, pos, neg), B)

    @contextmanager
    def _row_by_row(self, B: int) -> Iterator[None]:
        """E lies row by row meanwhile, and what Adagrad keeps of it; the model has both again at the end."""
        E, work = self._tables[2], self._memory(B)
        if work.inside[0]:  # for the epoch
            yield
            return
        self._together(B, lambda share, shares, _: take_in(E, work, share, shares))
        work.inside[0] = 1
        try:
            yield
        finally:
            self._give_back(B)

    def _give_back(self, B: int) -> None:
        """If that has not been done."""
        E, work = self._tables[2], self._memory(B)
        if work.inside[0]:
            self._together(B, lambda share, shares, _: give_back(E, work, share, shares))
            work.inside[0] = 0

    @torch.no_grad()
    def _steps(self, triples: Batch, B: int) -> Tensor:
        """A step for every B of them; the sums of their losses and objectives, (3,)."""
        model, (P, Q, E), work, sums = self.model, self._tables, self._memory(B), np.zeros(3)
        features, inside = P.theta if model.features is None else model.features.numpy(), bool(work.inside[0])
        ids, n, some = [ids.numpy() for ids in triples], len(triples.users), B * max(1, TRIPLES // B)
        how = P, Q, E, features, self._adversary(), self._learned, work, sums
        try:
            for start in range(0, n, some):  # in between, Ctrl-C is heard
                these = *(one[start : start + some] for one in ids), B, inside or start + some < n
                self._together(B, lambda *shared, these=these: steps(*shared, *these, *how))
        finally:
            if not inside:
                self._give_back(B)
            self._tell()
        return torch.from_numpy(sums)

    def _adversary(self) -> tuple[bool, np.ndarray, float, float]:
        """Is there one, ε, λ, and the length of a gradient that has no direction."""
        model = self.model
        attacked = model.E is not None and model.adv_weight > 0
        return attacked, np.atleast_1d(np.asarray(model.epsilon, self._number)), float(model.adv_weight), NORM_FLOOR

    def _tell(self) -> None:
        for theta in self.optimizer.parameters.values():
            torch.autograd.graph.increment_version(theta)  # torch does not see what a loop writes

    @torch.no_grad()
    def _step(self, batch: Batch) -> Losses:
        if not self._has_loop():
            return super()._step(batch)
        B = len(batch.users)
        if self._in_one_call():
            return Losses(*self._steps(batch, B).to(self.model.P.dtype))
        with self._row_by_row(B):
            return self._one_step(batch, B)

    def _one_step(self, batch: Batch, B: int) -> Losses:
        u, i, j = triples = tuple(ids.numpy() for ids in batch)
        (P, Q, E), adversary, work = self._tables, self._adversary(), self._memory(B)
        _, n_items, each_item = sizes = begin(u, i, j, Q, E, work)
        features, *rows = self._to_gather(work.X, *((work.items[:n_items], i[:0]) if each_item else (i, j)))
        self._parts(triples, tuple(rows), sizes, P, Q, E, features, adversary, self._learned, work)
        self._tell()
        return Losses(*torch.from_numpy(np.array(losses(B, P, Q, E, adversary, work), self._number)))
