"""The step of :class:`~amrlib.training.PairwiseTrainer` in compiled loops: for a CPU.

There, with batches of hundreds, torch's many small calls cost about as much as one of the step's two large products.
Compiled, the step makes one pass over a triple's numbers where torch makes ten over the whole batch's, and the large
products are those of ``kernels.py``, which gather the features on their way. numba compiles the loops when they are
first used, which takes some seconds, and keeps them for the next time.

>>> model.fit(shop, epochs=100, trainer="compiled")
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from ..closed_form import NORM_FLOOR
from ..gradients import Batch, Losses
from ..trainer import PairwiseTrainer

try:
    from .kernels import PANEL, VECTOR, inlined, loop, product, rows_times_E, rows_transposed_times
except ImportError as error:
    raise ImportError("trainer=\"compiled\" needs numba: pip install numba; trainer=\"closed_form\" does without") from error

__all__ = ["CompiledTrainer"]

BLOCK_BYTES = 2**22  # of features in another number type, converted at a time
SQUARE = 16  # numbers a side of what is transposed at a time
PART = 2**22  # multiplications that are worth a thread


class Table(NamedTuple):
    """Parameters, what Adagrad keeps of them, and how they are trained."""

    theta: np.ndarray  # P (M, K̃), Q (N, K_q) or Eᵀ (K_z, D)
    v: np.ndarray  # the same shape
    lr: Any
    reg: Any


class Work(NamedTuple):
    """A batch of B triples as numbers, and where its gradients are added up. The memory is kept from step to step."""

    u: np.ndarray  # (B,)  each triple's user among the batch's distinct ones
    i: np.ndarray  # (B,)  its items among the distinct items
    j: np.ndarray  # (B,)
    users: np.ndarray  # (B,)   the distinct users
    items: np.ndarray  # (2B,)  the distinct items
    slot_of_user: np.ndarray  # (M,) the place of each among them; −1: not in the batch
    slot_of_item: np.ndarray  # (N,)
    d: np.ndarray  # (B, K̃)    q̃_i − q̃_j
    A: np.ndarray  # (B, K̄)   ∂L/∂z for z = Eᵀ(c_i − c_j), of one of the two losses
    r_ij: np.ndarray  # (B, K_z)  r_i − r_j
    G: np.ndarray  # (2B + K_z, K̄)  ∂L/∂z, a row for each of X; then M
    by_p: np.ndarray  # (B, K̃)   ∂L/∂p of the distinct users
    by_q: np.ndarray  # (2B, K̃)  ∂L/∂q̃ of the distinct items
    r: np.ndarray  # (2B, K_z)  r_n = ε s_n/‖E s_n‖, s_n the visual columns of by_q before the adversary
    t: np.ndarray  # (2B, K̄)  EᵀE s_n; then EᵀΔ_n, Δ_n = E r_n
    Z: np.ndarray  # (2B + K_z, K̄)  X E
    E: np.ndarray  # (D, K̄)  E row by row; K̄: K_z made full vectors
    XG: np.ndarray  # (D, K̄)  ∂L/∂E = XᵀG row by row
    by_E: np.ndarray  # (K_z, D)  the same, laid out as E is
    X: np.ndarray  # (2B + K_z, D + some)  c_i − c_j, or c_n of the distinct items; then Eᵀ


# ---------------------------------------------------------------- rows


@inlined
def _dot(a, b):
    total = a[0] * b[0]
    for k in range(1, len(a)):
        total += a[k] * b[k]
    return total


@inlined
def _add(total, scale, row):
    for k in range(len(row)):
        total[k] += scale * row[k]


@inlined
def _sum(total, row):
    for k in range(len(total)):
        total[k] += row[k]


@inlined
def _add_difference(total, a, b):
    for k in range(len(total)):
        total[k] += a[k] - b[k]


@inlined
def _adagrad(row, v, gradient, lr):
    """v ← v + g²;  θ ← θ − η g / √v"""
    for k in range(len(row)):
        a = v[k] + gradient[k] * gradient[k]
        v[k] = a
        row[k] -= lr * gradient[k] / np.sqrt(a)


@inlined
def _turn(a, b):
    """b = aᵀ, (m, n) → (n, m), in squares that stay in registers."""
    m, n = a.shape
    whole_m, whole_n = m - m % SQUARE, n - n % SQUARE
    for y in range(0, whole_n, SQUARE):
        for x in range(0, whole_m, SQUARE):
            out, of = b[y : y + SQUARE, x : x + SQUARE], a[x : x + SQUARE, y : y + SQUARE]
            for k in range(SQUARE):
                for d in range(SQUARE):
                    out[k, d] = of[d, k]
    for x in range(m):
        for y in range(whole_n if x < whole_m else 0, n):
            b[y, x] = a[x, y]


@loop
def _logistic(x):
    """−ln σ(x), and its derivative −σ(−x); no overflow, whatever x is."""
    e = np.exp(-abs(x))
    return np.log1p(e) + max(-x, 0.0), -(e if x > 0 else 1.0) / (1.0 + e)


@loop
def _slots(ids, slot_of, distinct, slots, R):
    """A slot for each distinct id as they come, R being the first free one. Returns the next free one."""
    for b in range(len(ids)):
        id = ids[b]
        if slot_of[id] < 0:
            slot_of[id] = R
            distinct[R] = id
            R += 1
        slots[b] = slot_of[id]
    return R


@loop
def _in_range(ids, n):
    fine = True
    for b in range(len(ids)):
        fine &= 0 <= ids[b] < n
    return fine


# ---------------------------------------------------------------- the parts of the step


@loop
def _distinct(users, pos, neg, work):
    """Fill the slots; how many distinct users and items there are."""
    n_users = _slots(users, work.slot_of_user, work.users, work.u, 0)
    n_items = _slots(pos, work.slot_of_item, work.items, work.i, 0)
    n_items = _slots(neg, work.slot_of_item, work.items, work.j, n_items)
    for n in range(n_users):  # and free them again for the next batch
        work.slot_of_user[work.users[n]] = -1
    for n in range(n_items):
        work.slot_of_item[work.items[n]] = -1
    return n_users, n_items


@loop
def _lay_out(E, attacked, R, work):
    """E row by row; and, for an adversary, Eᵀ below the R rows of X."""
    _turn(E, work.E)
    if attacked:
        work.X[R : R + len(E), : E.shape[1]] = E


@loop
def _loss(users, weight, P, first, work):
    """Σ −ln σ(p_b · d_b); the gradients of ``weight`` times it, added up in ``by_p`` and ``by_q``, by triple in ``A``."""
    total, number = 0.0, P.theta.dtype.type
    for b in range(len(users)):
        p, d, a = P.theta[users[b]], work.d[b], work.A[b]
        loss, g = _logistic(_dot(p, d))
        total += loss
        g = number(weight * g)  # a float64 would make the rows below wait
        _add(work.by_p[work.u[b]], g, d)
        _add(work.by_q[work.i[b]], g, p)
        _add(work.by_q[work.j[b]], -g, p)
        for k in range(len(p) - first):
            a[k] = g * p[first + k]
    return total


@loop
def _clean(users, pos, neg, n_users, n_items, P, Q, each_item, first, work):
    """Σ −ln σ(ŷ_ui − ŷ_uj)."""
    work.by_p[:n_users] = 0
    work.by_q[:n_items] = 0
    for b in range(len(users)):
        d = work.d[b]
        d[:] = 0
        _add_difference(d[: Q.theta.shape[1]], Q.theta[pos[b]], Q.theta[neg[b]])
        if each_item:
            _add_difference(d[first:], work.Z[work.i[b]], work.Z[work.j[b]])
        else:
            _sum(d[first:], work.Z[b])
    bpr = _loss(users, 1.0, P, first, work)
    if not each_item:
        work.G[: len(users)] = work.A[: len(users)]
    return bpr


@loop
def _attacked(users, n_items, epsilon, weight, floor, P, each_item, first, work):
    """Σ −ln σ(ŷ'_ui − ŷ'_uj), every item moved by its Δ_n."""
    for n in range(n_items):
        s, t, r = work.by_q[n, first:], work.t[n], work.r[n]
        norm = np.sqrt(max(_dot(s, t), 0.0))  # ‖Γ_n‖ = √(s_nᵀ(EᵀE)s_n)
        scale = t.dtype.type(epsilon[work.items[n] if len(epsilon) > 1 else 0] / norm if norm > floor else 0.0)
        for k in range(len(r)):
            r[k] = scale * s[k]
            t[k] *= scale
    for b in range(len(users)):
        i, j, row = work.i[b], work.j[b], work.r_ij[b]
        r_i, r_j = work.r[i], work.r[j]
        for k in range(len(row)):
            row[k] = r_i[k] - r_j[k]
        _add_difference(work.d[b, first:], work.t[i], work.t[j])
    adversarial = _loss(users, weight, P, first, work)
    if not each_item:
        for b in range(len(users)):
            _sum(work.G[b], work.A[b])
    return adversarial


@loop
def _by_item(R, first, work):
    """∂L/∂z of the items, where the rows of X are the items'."""
    for n in range(R):
        work.G[n, : work.r.shape[1]] = work.by_q[n, first:]


@loop
def _regularised(pos, neg, P, Q, users, learned, first, work):
    """reg_P Σ ‖p_u‖² and reg_item Σ (‖q̃_i‖² + ‖q̃_j‖²), once for each occurrence, and their gradients."""
    penalty, number = 0.0, P.theta.dtype.type
    ones = len(learned) - learned.sum()  # of each user's vector, not learned
    for b in range(len(users)):
        if P.reg > 0:
            p = P.theta[users[b]]
            penalty += P.reg * (_dot(p, p) - ones)
            _add(work.by_p[work.u[b]], number(2 * P.reg), p)
        if Q.reg > 0:
            for item, n in ((pos[b], work.i[b]), (neg[b], work.j[b])):
                q = work.d[b]  # not needed any more
                q[:] = 0
                _sum(q[: Q.theta.shape[1]], Q.theta[item])
                _sum(q[first:], work.Z[n])
                penalty += Q.reg * _dot(q, q)
                _add(work.by_q[n], number(2 * Q.reg), q)
    return penalty


@loop
def _move(n_users, n_items, P, Q, E, learned, work):
    """Adagrad, for the rows that the batch has touched and all of E. Returns reg_E ‖E‖²."""
    penalty, twice = 0.0, E.theta.dtype.type(2 * E.reg)
    by_E = work.by_E
    _turn(work.XG[:, : len(by_E)], by_E)
    for k in range(len(E.theta)):
        if E.reg > 0:
            penalty += E.reg * _dot(E.theta[k], E.theta[k])
            _add(by_E[k], twice, E.theta[k])
        _adagrad(E.theta[k], E.v[k], by_E[k], E.lr)
    for n in range(n_items):
        _adagrad(Q.theta[work.items[n]], Q.v[work.items[n]], work.by_q[n], Q.lr)
    for n in range(n_users):
        by_p = work.by_p[n]
        for k in range(len(learned)):
            by_p[k] *= learned[k]
        _adagrad(P.theta[work.users[n]], P.v[work.users[n]], by_p, P.lr)
    return penalty


# ---------------------------------------------------------------- the trainer


class CompiledTrainer(PairwiseTrainer):
    """:class:`PairwiseTrainer` for a CPU, in compiled loops; see the top of this module.

    Implements what it implements (:eq:`eq-bpr-gradient`, :eq:`eq-grad-e`, :eq:`eq-amr-gamma`, :eq:`eq-amr-em`), with
    the same parameters and the same steps: the tests hold it to ``AutogradTrainer`` as they do ``PairwiseTrainer``. Sums
    are taken in another order, so numbers differ in the last digits. Where it has no loop (Adam, random
    directions) the step is ``PairwiseTrainer``'s own. The large products take as many threads as torch has; their number
    changes no number.

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

    With an adversary, Eᵀ is put under X and M under G: then Z ends with the Gram matrix EᵀE, and the second product
    adds E M, without a call more.
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
        self._threads: ThreadPoolExecutor | None = None
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
        return Table(theta.numpy(), v.numpy(), self._number(self.lr[place]), self._number(self.reg[place]))

    def _memory(self, B: int) -> Work:
        if self._work is None or len(self._work.u) < B:
            P, _, E = self._tables
            K, (K_z, D), lanes = P.theta.shape[1], E.theta.shape, VECTOR // self._number().itemsize
            width = -(-K_z // lanes) * lanes
            ids = [np.empty(n, np.int64) for n in (B, B, B, B, 2 * B)]
            slots = [np.full(n, -1, np.int32) for n in (len(P.theta), self._n_items)]
            rows, empty = 2 * B + K_z, self.model.P.new_empty
            shapes = [(B, K), (B, width), (B, K_z), (rows, width), (B, K), (2 * B, K), (2 * B, K_z), (2 * B, width)]
            shapes += [(rows, width), (D, width), (D, width), (K_z, D)]
            # torch's memory begins where a vector may begin, numpy's anywhere. Zeros, for the columns beyond K_z: numbers
            # that happen to be tiny would slow the products down. And room at the end of X's rows: D is often a power of
            # two, and rows of such a length push one another out of the cache.
            numbers = [empty(shape).zero_().numpy() for shape in shapes] + [empty(rows, D + lanes).numpy()]
            self._work = Work(*ids, *slots, *numbers)
        return self._work

    def _in_parts(self, work: Callable[[int, int], None], n: int, each: int) -> None:
        """``work(start, end)`` for all of 0…n, with ``each`` so many multiplications, on as many threads as torch has."""
        parts = max(1, min(torch.get_num_threads(), n * each // PART))
        if parts == 1:
            return work(0, n)
        self._threads = self._threads or ThreadPoolExecutor(torch.get_num_threads())
        ends = [n * part // parts // PANEL * PANEL for part in range(parts)] + [n]
        others = [self._threads.submit(work, *part) for part in pairwise(ends[:-1])]
        work(*ends[-2:])
        for other in others:
            other.result()

    def _check(self, batch: Batch) -> None:
        n = self._n_items
        fine = all(_in_range(ids.numpy(), size) for ids, size in zip(batch, (len(self.model.P), n, n), strict=True))
        if not (fine and len(batch.users) == len(batch.pos) == len(batch.neg) > 0):
            super()._check(batch)  # which says what is wrong

    def _has_loop(self) -> bool:
        model = self.model
        random = model.perturbation == "random" and model.adv_weight > 0 and model.E is not None
        return self.optimizer.kind == "adagrad" and not random

    def _to_gather(self, X: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the first product gathers, and which rows of it; none where the features' number type is not the
        parameters', and X is filled here."""
        features = self.model.features
        assert features is not None
        if features.dtype == self.model.P.dtype:
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

    @torch.no_grad()
    def _step(self, batch: Batch) -> Losses:
        if not self._has_loop():
            return super()._step(batch)
        model, number, (P, Q, E) = self.model, self._number, self._tables
        (u, i, j), B, (K_z, D) = (ids.numpy() for ids in batch), len(batch.users), E.theta.shape
        first = P.theta.shape[1] - K_z  # the first column that features reach
        uses_features, attacked = model.E is not None, model.E is not None and model.adv_weight > 0
        work = self._memory(B)
        n_users, n_items = _distinct(u, i, j, work)

        each_item = self.reg[1] > 0 or (uses_features and n_items <= B)
        R = n_items if each_item else B
        rows = R + K_z if attacked else R
        if uses_features:
            _lay_out(E.theta, attacked, R, work)
            features, plus, minus = self._to_gather(work.X, *((work.items[:R], i[:0]) if each_item else (i, j)))
            gathered = partial(rows_times_E, features, plus, minus, work.X, work.E, work.Z)
            self._in_parts(gathered, rows, D * K_z)

        bpr = _clean(u, i, j, n_users, n_items, P, Q, each_item, first, work)
        adversarial, weight = 0.0, float(model.adv_weight)
        if attacked:
            K, width = work.by_q.shape[1], work.t.shape[1]
            epsilon = np.atleast_1d(np.asarray(model.epsilon, number))
            # S EᵀE, the rows of S being s_n, (U, K_z)
            product(work.by_q, first, K, 1, work.Z, R * width, width, work.t, 0, width, n_items, width, K_z)
            adversarial = _attacked(u, n_items, epsilon, weight, NORM_FLOOR, P, each_item, first, work)
            # M = Σ_n r_n s'_nᵀ = Σ_b (r_i − r_j) a_bᵀ, (K_z, K_z)
            product(work.r_ij, 0, 1, K_z, work.A, 0, width, work.G, R * width, width, K_z, width, B)
        objective = bpr + weight * adversarial
        if self.reg[0] or self.reg[1]:
            objective += _regularised(i, j, P, Q, u, self._learned, first, work)
        if uses_features:
            if each_item:
                _by_item(R, first, work)
            self._in_parts(partial(rows_transposed_times, work.G, work.X, work.XG, rows), D, rows * K_z)
        objective += _move(n_users, n_items, P, Q, E, self._learned, work)
        for theta in self.optimizer.parameters.values():
            torch.autograd.graph.increment_version(theta)  # torch does not see what a loop writes
        return Losses(*torch.from_numpy(np.array([bpr, adversarial, objective], number)))
