"""How every pairwise model is trained: triplets, the step, the loop.

A model is seen here only through its parameters and settings:

======================  =====================================================================
``P`` (M, K)            user vectors p_u
``Q`` (N, K) or None    what an item's history says, q_i (zero for cold items)
``E`` (D, K) or None    the map from features to vectors, Eᵀc_i
``features`` (N, D)     c_i
``joint`` bool          True: item vector q_i + Eᵀc_i; False: [q_i ; Eᵀc_i] (see ``VBPRTwoVector``)
``constant_columns``    columns of P that are not learned (the 1 that multiplies a bias)
``epsilon``             ε: one number, or a tensor (N,) with one for every item
``adv_weight``          λ of the adversary; 0 is plain BPR
``perturbation``        "gradient", or "random": Δ_n = ε g_n/‖g_n‖ with g_n Gaussian in R^D, a control
======================  =====================================================================

The objective of a mini-batch of B triples (u, i, j) is the paper's eq. (7)–(8), as its authors' program
computes it::

    Σ −ln σ(ŷ_ui − ŷ_uj)  +  λ Σ −ln σ(ŷ'_ui − ŷ'_uj)
      + reg_P Σ ‖p_u‖²  +  reg_item Σ (‖q̃_i‖² + ‖q̃_j‖²)  +  reg_E ‖E‖²

where q̃ is the whole item vector and ŷ' is computed at c + Δ, Δ_n = ε Γ_n / ‖Γ_n‖, Γ_n the gradient of
the first sum with respect to c_n (added up over the batch where an item occurs more than once), held
constant when the parameters' gradient is taken.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .datasets.dataset import Dataset
from .evaluation.ranks import held_out_ranks, hr, ndcg
from .files import write_atomically
from .progress import progress_bar

__all__ = ["AutogradTrainer", "Losses", "NegativeSampler", "PairwiseTrainer", "fit", "item_vectors", "resolve_device"]

CACHE_BYTES = 2**20  # of features at a time: what a core's own cache holds
NORM_FLOOR = 1e-12  # under it a gradient is taken for zero: no direction, so no perturbation


class Losses(NamedTuple):
    """Sums over one batch, taken before the update; tensors of no dimension, still on the device."""

    bpr: Tensor
    adversarial: Tensor
    objective: Tensor


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is the GPU where there is one; anything else is what torch understands.

    Raises
    ------
    ValueError
        A device torch does not know or that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} is not available here ({reason}); try device='auto'") from None
    return resolved


# ---------------------------------------------------------------- triplets


class NegativeSampler:
    """Draws, for each user, an item the user has not touched: exactly, with no rejection and no loop.

    Implements :eq:`eq-negative`.

    Parameters
    ----------
    dataset : Dataset
    device : torch.device
    kind : ``"uniform"`` over the warm items, or ``"popularity"``, in proportion to their training counts

    Cold items are never drawn: neither form gives them weight, as in the authors' program.

    How it works. Line the items up, item n taking w_n whole units of length. Cut the user's own items
    out and close the gaps; draw a whole number r on what is left, and add back the length of the user's
    items that lie before it. Whether an item lies before is read off a sorted array by bisection.

    Raises
    ------
    ValueError
        An unknown ``kind``; or, when drawing, a user who has touched every warm item.
    """

    def __init__(self, dataset: Dataset, device: torch.device | str = "cpu", kind: str = "uniform") -> None:
        if kind not in ("uniform", "popularity"):
            raise ValueError(f"negatives must be 'uniform' or 'popularity', not {kind!r}")
        weight = dataset.item_counts if kind == "popularity" else (dataset.item_counts > 0).astype(np.int64)
        line = np.cumsum(weight)  # (N,) right end of each item
        own = dataset.indices  # each user's items, ascending
        user_of = np.repeat(np.arange(dataset.n_users), np.diff(dataset.indptr))
        removed = np.concatenate([[0], np.cumsum(weight[own])])  # length cut out so far, over all users
        start = removed[dataset.indptr[:-1]]  # (M,) the same at each user's first item
        key = line[own] - weight[own] - (removed[:-1] - start[user_of])  # where each gap closes, ascending
        room = line[-1] - (removed[dataset.indptr[1:]] - start)  # (M,) length left to each user
        full = np.flatnonzero((room == 0) & (np.diff(dataset.indptr) > 0))
        if len(full):
            raise ValueError(f"user {full[0]} has touched every warm item, so no negative can be drawn; drop the user")
        self.stride = int(line[-1]) + 1
        as_tensor = lambda a: torch.as_tensor(np.ascontiguousarray(a), device=device)  # noqa: E731
        item_at = np.repeat(np.arange(len(weight)), weight)  # of each unit of the line
        self.item_at, self.room, self.start, self.removed = map(as_tensor, (item_at, room, start, removed))
        self.indptr, self.keys = as_tensor(dataset.indptr), as_tensor(user_of * self.stride + key)

    def __call__(self, users: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One negative item for each entry of ``users``; int64, the same shape."""
        uniform = torch.rand(users.shape, generator=generator, device=users.device, dtype=torch.float64)
        room = self.room[users]
        r = torch.minimum((uniform * room).long(), room - 1)
        before = torch.searchsorted(self.keys, users * self.stride + r, right=True)
        return self.item_at[r + self.removed[before] - self.start[users]]


# ---------------------------------------------------------------- the step


def _three(value: Any, name: str) -> tuple[float, float, float]:
    try:
        many = isinstance(value, Sequence | np.ndarray)
        values: Any = tuple(float(v) for v in value) if many else (float(value),) * 3
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(np.isfinite(v) and v >= 0 for v in values):
        raise ValueError(f"{name} must be one number or three (for P, items, E), none negative, not {value!r}")
    return values


class _Optimizer:
    """Adagrad as the authors' program has it (accumulator from 0.1, no ε), or Adam; touched rows only."""

    def __init__(self, parameters: dict[str, Tensor], lr: dict[str, float], kind: str, initial: float) -> None:
        if kind not in ("adagrad", "adam"):
            raise ValueError(f"optimizer must be 'adagrad' or 'adam', not {kind!r}")
        self.parameters, self.lr, self.kind = parameters, lr, kind
        if not initial > 0:  # the first step divides by its root
            raise ValueError(f"initial_accumulator must be above 0, not {initial!r}")
        start = initial if kind == "adagrad" else 0.0
        self.state = {name: torch.full_like(theta, start) for name, theta in parameters.items()}
        self.root: dict[str, Tensor] = {}  # buffers for √v
        if kind == "adam":
            self.state |= {f"{name}.m": torch.zeros_like(theta) for name, theta in parameters.items()}
            self.state["t"] = torch.zeros((), dtype=torch.float64)

    def next_step(self) -> None:
        if self.kind == "adam":
            self.state["t"] += 1

    def update(self, name: str, gradient: Tensor, rows: Tensor | None = None) -> None:
        """One step for the ``rows`` (all when None); ``gradient`` has as many rows.

        A row may stand there more than once if its gradient is the same each time: it is moved once.
        """
        theta, v, lr = self.parameters[name], self.state[name], self.lr[name]
        if self.kind == "adagrad":  # v ← v + g²;  θ ← θ − η g / √v
            if rows is None:
                v.addcmul_(gradient, gradient)
                if name not in self.root:
                    self.root[name] = torch.empty_like(v)
                theta.addcdiv_(gradient, torch.sqrt(v, out=self.root[name]), value=-lr)
            else:
                v_rows = v.index_select(0, rows).addcmul_(gradient, gradient)
                v.index_copy_(0, rows, v_rows)
                theta.index_copy_(0, rows, theta.index_select(0, rows).addcdiv_(gradient, v_rows.sqrt_(), value=-lr))
            return
        m, t = self.state[f"{name}.m"], self.state["t"].item()
        chosen = slice(None) if rows is None else rows
        m[chosen] = m_rows = m[chosen] * 0.9 + 0.1 * gradient
        v[chosen] = v_rows = v[chosen] * 0.999 + 0.001 * gradient * gradient
        theta[chosen] = theta[chosen] - lr * (m_rows / (1 - 0.9**t)) / ((v_rows / (1 - 0.999**t)).sqrt() + 1e-8)


class _Rows(NamedTuple):
    """The rows that a batch touches, where each of its entries stands among them, and how their sums are read."""

    ids: Tensor | None  # (R,) ascending; None: all rows there are
    place: Tensor  # ids[place] is what was asked for
    last: Tensor | None  # (R,) on a GPU: which sum each row of ``ids`` takes; None: its own
    size: int  # R


def _distinct(ids: Tensor, waiting: bool) -> _Rows:
    """Distinct ids. Their number is only known once they are found, for which a CPU need not wait and a GPU would:
    without ``waiting`` there are as many rows as ids, the last distinct one repeated to the end."""
    if waiting:
        distinct, place = torch.unique(ids, return_inverse=True)
        return _Rows(distinct, place, None, len(distinct))
    ascending, order = torch.sort(ids)
    step = torch.zeros_like(ids)
    step[1:] = ascending[1:] != ascending[:-1]
    slot = step.cumsum(0)  # (n,) which distinct id each of the sorted ones is
    last = torch.arange(len(ids), device=ids.device).minimum(slot[-1])  # 0, 1, …, R − 1, R − 1, …
    first = torch.searchsorted(slot, last)  # where each distinct id begins
    return _Rows(ascending[first], torch.empty_like(ids).scatter_(0, order, slot), last, len(ids))


def _sum_differences(rows: int, i: Tensor, j: Tensor, values: Tensor) -> Tensor:
    """(rows, K): each row b of ``values`` added to row i_b and taken from row j_b, in the same order every time."""
    total = values.new_zeros(rows, values.shape[1])
    if values.is_cuda:  # index_add_ adds atomically there, in no fixed order; this sorts instead
        return total.index_put_((i,), values, accumulate=True).index_put_((j,), -values, accumulate=True)
    return total.index_add_(0, i, values).index_add_(0, j, values, alpha=-1)


def _sum_rows(rows: int, index: Tensor, values: Tensor) -> Tensor:
    """(rows, K): ``values`` added up by ``index``, in the same order every time."""
    total = values.new_zeros(rows, values.shape[1])
    if values.is_cuda:
        return total.index_put_((index,), values, accumulate=True)
    return total.index_add_(0, index, values)


class PairwiseTrainer:
    """The step in closed form: no autograd, and an adversary that never leaves K dimensions.

    Implements the gradients of :eq:`eq-bpr`, :eq:`eq-bpr-gradient` and :eq:`eq-grad-e`, and the adversary of
    :eq:`eq-amr-gamma` and :eq:`eq-amr-em`.

    Parameters
    ----------
    model
        Anything with the attributes listed at the top of this module; updated in place.
    lr : float or (lr_P, lr_Q, lr_E)
    reg : float or (reg_P, reg_item, reg_E)
    optimizer : ``"adagrad"`` or ``"adam"``
    initial_accumulator : float
        Adagrad's start; 0.1 in the authors' program.
    generator : torch.Generator, optional
        Where ``perturbation="random"`` draws its directions; by default a fresh one, seed 0. ``fit`` passes
        its own, so that a checkpoint holds its state.

    Raises
    ------
    ValueError
        A rate, a weight or an optimiser that is none; from :meth:`step`, an id out of range.

    Notes
    -----
    With s_n = Σ (∂L/∂ŷ) p_u over the occurrences of item n in the batch (``(K,)``),

    * Γ_n = E s_n, so ‖Γ_n‖² = s_nᵀ(EᵀE)s_n: only the K × K Gram matrix EᵀE is needed;
    * EᵀΔ_n = ε (EᵀE) s_n / ‖Γ_n‖ is what the perturbation does to the item's vector;
    * the adversarial loss reaches E through c_n + Δ_n with Δ_n constant, which adds
      Σ_n Δ_n s'_nᵀ = E M,  M = Σ_n (ε s_n / ‖Γ_n‖) s'_nᵀ, a K × K matrix.

    So AMR adds three K × K products to VBPR's two D-dimensional ones. These two are over the B rows c_i − c_j,
    since the losses know items by their differences alone; or over the batch's distinct items where they are
    fewer, or where reg_item asks for the length of each. (A random direction has no such short
    cut: its Δ is drawn, and multiplied, in D dimensions.) ``AutogradTrainer`` is the same
    step as one reads it in the paper; the tests hold the two together in float64.
    """

    def __init__(
        self,
        model: Any,
        lr: float | Sequence[float] = 0.05,
        reg: float | Sequence[float] = 0.0,
        optimizer: str = "adagrad",
        initial_accumulator: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        self.model = model
        self.generator = generator or torch.Generator(model.P.device).manual_seed(0)
        self.lr, self.reg = _three(lr, "lr"), _three(reg, "reg")
        rates = dict(zip(("P", "Q", "E"), self.lr, strict=True))
        parameters = {name: getattr(model, name) for name in "PQE" if getattr(model, name) is not None}
        self.optimizer = _Optimizer(parameters, rates, optimizer, initial_accumulator)
        self.waiting = model.P.device.type == "cpu"  # see _distinct
        self._buffers: dict[str, Tensor] = {}

    def step(self, users: Tensor, pos: Tensor, neg: Tensor) -> Losses:
        """One mini-batch of B triples: int64 ids, each ``(B,)``. Returns the losses before the update."""
        users, pos, neg = users.long(), pos.long(), neg.long()
        self._check(users, pos, neg)
        with torch.no_grad():
            return self._step(users, pos, neg)

    def _step(self, users: Tensor, pos: Tensor, neg: Tensor) -> Losses:
        """:meth:`step` for ids known to be good; nothing in it makes a GPU wait."""
        model, (reg_P, reg_item, reg_E) = self.model, self.reg
        B = len(users)
        touched = self._touched(users, len(model.P))
        both = torch.cat([pos, neg])  # (2B,)
        items = _distinct(both, self.waiting) if model.E is not None or reg_item else self._touched(both, len(model.Q))
        i, j, U = items.place[:B], items.place[B:], items.size
        ids = both if items.ids is None else items.ids  # (U,) distinct where the model looks at them
        p = model.P.index_select(0, users)  # (B, K̃)

        # What the batch's items look like: (R, D) rows C and their CE, the only D-dimensional work there is.
        # The loss asks for differences alone, B rows c_i − c_j; the regulariser of q̃ for each item, U ≤ 2B rows.
        apart = bool(reg_item) or (model.E is not None and U <= B)
        C = Z = q = None
        if model.E is not None:
            C, Z = self._see(ids) if apart else self._see(pos, neg)  # (R, D), (R, K)
        if apart:
            q = item_vectors(None if model.Q is None else model.Q.index_select(0, ids), Z, model.joint)  # (U, K̃)
            difference = q.index_select(0, i) - q.index_select(0, j)  # (B, K̃)
        else:
            d = None if model.Q is None else model.Q.index_select(0, pos) - model.Q.index_select(0, neg)
            difference = item_vectors(d, Z, model.joint)  # (B, K̃)

        x = (p * difference).sum(1)  # (B,)  ŷ_ui − ŷ_uj
        g = -torch.sigmoid(-x)  # (B,)  ∂L/∂x
        bpr = F.softplus(-x).sum()
        gp = g[:, None] * p  # (B, K̃)  ∂L/∂(q̃_i − q̃_j)
        grad_p = g[:, None] * difference  # (B, K̃)
        s = _sum_differences(U, i, j, gp)  # (U, K̃)  ∂L/∂q̃
        grad_q = s
        r = noise = None
        adversarial = torch.zeros_like(bpr)
        visual = slice(0 if Z is None else p.shape[1] - Z.shape[1], None)  # the columns that features reach
        if model.adv_weight > 0 and Z is not None:
            if model.perturbation == "random":
                noise = self._noise(ids)  # (U, D)  Δ
                shift = noise @ model.E  # (U, K)  EᵀΔ
            else:
                gram = model.E.T @ model.E  # (K, K)
                r, shift = self._directions(s[:, visual], ids, gram)  # (U, K)  Δ = E r, (U, K)  EᵀΔ
            difference = difference.clone()
            difference[:, visual] += shift.index_select(0, i) - shift.index_select(0, j)
            x = (p * difference).sum(1)  # (B,)  ŷ'_ui − ŷ'_uj
            adversarial = F.softplus(-x).sum()
            g = -model.adv_weight * torch.sigmoid(-x)
            gp_adv = g[:, None] * p  # (B, K̃)
            s_adv = _sum_differences(U, i, j, gp_adv)  # (U, K̃)
            grad_p.addcmul_(g[:, None], difference)
            gp, grad_q = gp + gp_adv, s + s_adv

        objective = bpr + model.adv_weight * adversarial
        if reg_P:
            objective = objective + reg_P * (p.square().sum() - B * len(model.constant_columns))
            grad_p.add_(p, alpha=2 * reg_P)
        if reg_item and q is not None:  # q̃ is there: apart
            times = _sum_rows(U, items.place, torch.ones_like(items.place, dtype=p.dtype)[:, None])  # (U, 1)
            objective = objective + reg_item * (times * q.square()).sum()
            grad_q = grad_q.addcmul(times, q, value=2 * reg_item)
        if reg_E and model.E is not None:
            objective = objective + reg_E * model.E.square().sum()

        self.optimizer.next_step()
        if C is not None and Z is not None:
            grad_Z = (grad_q if apart else gp)[:, visual]  # (R, K)
            grad_E = torch.mm(C.T, grad_Z, out=self._buffer("E", *model.E.T.shape).T)  # (D, K), laid out as E is
            if r is not None:
                grad_E.addmm_(model.E, r.T @ s_adv[:, visual])  # E M
            elif noise is not None:
                grad_E.addmm_(noise.T, s_adv[:, visual])  # Σ Δ_n s'_nᵀ
            if reg_E:
                grad_E.add_(model.E, alpha=2 * reg_E)
            self.optimizer.update("E", grad_E)
        if model.Q is not None:
            self._update("Q", grad_q[:, : model.Q.shape[1]], items)
        grad_P = _sum_rows(touched.size, touched.place, grad_p)
        for column in model.constant_columns:
            grad_P[:, column] = 0
        self._update("P", grad_P, touched)
        return Losses(bpr, adversarial, objective)

    def _touched(self, ids: Tensor, n: int) -> _Rows:
        """The distinct ids of n; or all n, where finding the distinct ones costs more than to pass over the others.

        Adagrad leaves a row without gradient where it is; Adam's momentum would move it.
        """
        if self.optimizer.kind == "adagrad" and 2 * len(ids) >= n:
            return _Rows(None, ids, None, n)
        return _distinct(ids, self.waiting)

    def _update(self, name: str, gradient: Tensor, rows: _Rows) -> None:
        self.optimizer.update(name, gradient if rows.last is None else gradient[rows.last], rows.ids)

    def _buffer(self, name: str, rows: int, columns: int, dtype: torch.dtype | None = None) -> Tensor:
        """(rows, columns) of memory kept from step to step: fresh memory costs more than what is written to it."""
        size = rows * columns
        kept = self._buffers.get(name)
        if kept is None or len(kept) < size:
            kept = self._buffers[name] = self.model.P.new_empty(size, dtype=dtype)
        return kept[:size].view(rows, columns)

    def _rows(self, ids: Tensor, out: Tensor) -> Tensor:
        """c_n of the ids, written to ``out`` (n, D), whatever number type they are stored in."""
        features = self.model.features
        if features.dtype == out.dtype:
            return torch.index_select(features, 0, ids, out=out)
        stored = self._buffer("stored", len(out), out.shape[1], features.dtype)
        return out.copy_(torch.index_select(features, 0, ids, out=stored))

    def _see(self, items: Tensor, minus: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """C (R, D), the features of ``items``, less those of ``minus`` where given, and CE (R, K).

        On the CPU in blocks that its cache holds from the gather to the product.
        """
        E = self.model.E
        C, Z = self._buffer("C", len(items), len(E)), E.new_empty(len(items), E.shape[1])
        block = len(items) if items.is_cuda else max(1, CACHE_BYTES // (E.element_size() * len(E)))
        for start in range(0, len(items), block):
            part = slice(start, start + block)
            c = self._rows(items[part], C[part])
            if minus is not None:
                c -= self._rows(minus[part], self._buffer("minus", *c.shape))
            torch.mm(c, E, out=Z[part])
        return C, Z

    def _check(self, users: Tensor, pos: Tensor, neg: Tensor) -> None:
        """Ids in range (torch would count a negative one from the end), and three lists of one length."""
        B = len(users)
        if B == 0 or len(pos) != B or len(neg) != B:
            raise ValueError("users, pos and neg must be as long as each other and not empty, "
                             f"not {B}, {len(pos)} and {len(neg)}")  # fmt: skip
        if users.is_cuda:  # to look would be to wait; there index_select itself refuses them
            return
        n_items = len(self.model.features if self.model.Q is None else self.model.Q)
        for name, ids, size in (("users", users, len(self.model.P)), ("pos", pos, n_items), ("neg", neg, n_items)):
            first, last = (int(end) for end in torch.aminmax(ids))
            if first < 0 or last >= size:
                raise ValueError(f"{name}: id {first if first < 0 else last} is outside 0…{size - 1}")

    def _epsilon(self, items: Tensor) -> Any:
        """ε, or the items' own, (U, 1)."""
        epsilon = self.model.epsilon
        return epsilon.to(self.model.E)[items][:, None] if isinstance(epsilon, Tensor) else epsilon

    def _directions(self, s: Tensor, items: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
        """Rows r_n = ε s_n/‖E s_n‖, so that Δ_n = E r_n has length ε, and EᵀΔ_n; 0 where there is no gradient. (U, K)"""
        gs = s @ gram  # (U, K)  EᵀΓ
        norm = (s * gs).sum(1, keepdim=True).clamp_min(0).sqrt()  # (U, 1) ‖Γ_n‖
        scale = torch.where(norm > NORM_FLOOR, self._epsilon(items) * norm.clamp_min(NORM_FLOOR).reciprocal(), 0.0)
        return scale * s, gs.mul_(scale)

    def _noise(self, items: Tensor) -> Tensor:
        """Random directions of length ε, one for each of the batch's distinct items: (U, D)."""
        E = self.model.E
        g = torch.randn(len(items), len(E), generator=self.generator, device=E.device, dtype=E.dtype)
        return self._epsilon(items) * g / g.norm(dim=1, keepdim=True)

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, for a checkpoint."""
        return self.optimizer.state


def item_vectors(q: Tensor | None, z: Tensor | None, joint: bool) -> Tensor:
    """q_i + Eᵀc_i, or [q_i ; Eᵀc_i], or the one there is."""
    if q is None or z is None:
        return q if z is None else z  # type: ignore[return-value]
    return q + z if joint else torch.cat([q, z], 1)


class AutogradTrainer(PairwiseTrainer):
    """The same step as the paper writes it, through D dimensions and autograd: slow, and the reference."""

    @torch.enable_grad()
    def _step(self, users: Tensor, pos: Tensor, neg: Tensor) -> Losses:
        model, (reg_P, reg_item, reg_E) = self.model, self.reg
        touched, items = torch.unique(users), torch.unique(torch.cat([pos, neg]))
        theta = {name: value.detach().requires_grad_() for name, value in self.optimizer.parameters.items()}
        c = None if model.E is None else model.features.to(model.E.dtype).detach().requires_grad_()  # (N, D)

        def vectors(items: Tensor, features: Tensor | None) -> Tensor:  # (B, K̃)
            q = theta["Q"][items] if "Q" in theta else None
            return item_vectors(q, None if features is None else features[items] @ theta["E"], model.joint)

        p = theta["P"][users]  # (B, K̃)
        q_i, q_j = vectors(pos, c), vectors(neg, c)
        bpr = F.softplus(-(p * (q_i - q_j)).sum(1)).sum()  # Σ −ln σ(ŷ_ui − ŷ_uj)
        learned = p.square().sum() - len(p) * len(model.constant_columns)  # without the 1s
        objective = bpr + reg_P * learned + reg_item * (q_i.square().sum() + q_j.square().sum())
        if "E" in theta:
            objective = objective + reg_E * theta["E"].square().sum()
        adversarial = torch.zeros_like(bpr)
        if model.adv_weight > 0 and c is not None:
            delta = torch.zeros_like(c)
            if model.perturbation == "random":
                delta[items] = self._noise(items)
            else:
                (gamma,) = torch.autograd.grad(bpr, c, retain_graph=True)  # (N, D)  Γ
                gamma = gamma[items]
                norm = gamma.norm(dim=1, keepdim=True)
                delta[items] = torch.where(
                    norm > NORM_FLOOR, self._epsilon(items) * gamma / norm.clamp_min(NORM_FLOOR), 0.0
                )
            worst = (c + delta).detach()  # Δ is a constant when θ moves
            adversarial = F.softplus(-(p * (vectors(pos, worst) - vectors(neg, worst))).sum(1)).sum()
            objective = objective + model.adv_weight * adversarial
        gradients = dict(zip(theta, torch.autograd.grad(objective, list(theta.values())), strict=True))

        self.optimizer.next_step()
        if model.constant_columns:
            gradients["P"][:, model.constant_columns] = 0
        rows = {"P": touched, "Q": items, "E": None}
        with torch.no_grad():
            for name, gradient in gradients.items():
                chosen = rows[name]
                self.optimizer.update(name, gradient if chosen is None else gradient[chosen], chosen)
        return Losses(bpr.detach(), adversarial.detach(), objective.detach())


# ---------------------------------------------------------------- the loop


class _ReadAhead:
    """Has the rows of memory-mapped features fetched from the disk while the batch before them is computed."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.pool = features, ThreadPoolExecutor(1)
        self.columns = np.arange(0, features.shape[1], max(1, mmap.PAGESIZE // features.itemsize))

    def __call__(self, *items: Tensor) -> None:
        """One number of every page is enough, in the order of the file."""
        self.pool.submit(lambda: self.features[np.unique(np.concatenate(items))[:, None], self.columns])

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def fit(
    model: Any,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 512,
    lr: float | Sequence[float] = 0.05,
    reg: float | Sequence[float] = 0.0,
    seed: int = 0,
    optimizer: str = "adagrad",
    negatives: str = "uniform",
    validation: bool = False,
    patience: int | None = None,
    every: int = 10,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    trainer: type[PairwiseTrainer] = PairwiseTrainer,
) -> pd.DataFrame:
    """Train ``model`` in place on shuffled triples; the models' own ``fit`` hands over to this.

    Parameters
    ----------
    epochs, batch_size : int
        Each epoch visits every training row once, in a new order with new negatives; the last, smaller
        batch counts too.
    lr, reg, optimizer : see :class:`PairwiseTrainer`
    seed : int
        Order and negatives; the same seed on the same device gives the same parameters bit for bit.
    negatives : ``"uniform"`` or ``"popularity"``
    validation : bool
        Hold one training item of each user out (:meth:`Dataset.validation_split`), rank it every
        ``every`` epochs, and end with the parameters that had the best NDCG@10. The test items stay unseen.
    patience : int, optional
        With ``validation``: stop after that many looks without a better one.
    checkpoint : path, optional
        A safetensors file, written every ``every`` epochs and at the end; when it exists and belongs to
        this run, training goes on from it and ends as if it had never stopped.
    progress : bool
        A bar for whatever takes more than a second.
    trainer : class
        What takes the steps: :class:`PairwiseTrainer`; :class:`AutogradTrainer`, the reference; or, on a CPU,
        ``amrlib.compiled.CompiledTrainer``, which is faster and needs numba.

    Returns
    -------
    DataFrame, one row an epoch: ``epoch``, ``bpr`` and ``adversarial`` (mean per triple), ``objective``,
    and with ``validation`` ``hr@10`` and ``ndcg@10`` where they were looked at. ``attrs["stopped"]`` is
    "done", "patience" or "interrupted" (Ctrl-C, which keeps the best parameters so far).

    Raises
    ------
    ValueError
        Settings out of range, a data set of other sizes than the model's, a checkpoint of another run.
    FloatingPointError
        The loss is no longer finite; the message says which epoch, and to lower ``lr``.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("every", every)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    if patience is not None and not validation:
        raise ValueError("patience needs validation=True: without it there is nothing to wait for")
    device = model.P.device
    held_out = None
    if validation:
        held_out = dataset = dataset.validation_split(seed)
        if not len(dataset.test_users):
            raise ValueError("validation needs a user with two different training items, and there is none; "
                             "leave validation=False")  # fmt: skip
        if model.Q is not None:  # an item whose only interaction is held out is cold in this run
            model.Q[torch.as_tensor(dataset.cold, device=device)] = 0
    if not len(dataset.train):
        raise ValueError("train has no rows to learn from")
    all_users, all_pos = torch.as_tensor(dataset.train, device=device).T.contiguous()  # (n,), (n,)
    sampler = NegativeSampler(dataset, device, negatives)
    generator = torch.Generator(device).manual_seed(seed)
    step = trainer(model, lr, reg, optimizer, generator=generator)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] | None = None
    best_score, looks_since = -1.0, 0
    settings = dict(
        model=type(model).__name__, shapes={k: list(v.shape) for k, v in step.optimizer.parameters.items()},
        epsilon=model.epsilon.tolist() if isinstance(model.epsilon, Tensor) else model.epsilon,
        adv_weight=model.adv_weight, perturbation=model.perturbation, batch_size=batch_size,
        lr=step.lr, reg=step.reg, seed=seed, optimizer=optimizer, negatives=negatives, validation=validation,
        train=hashlib.sha256(dataset.train.tobytes()).hexdigest()[:16],
    )
    if checkpoint is not None and Path(checkpoint).exists():
        saved, meta = _read_checkpoint(Path(checkpoint), settings)
        for name, theta in step.optimizer.parameters.items():
            theta.copy_(saved[name])
        for name, state in step.optimizer.state.items():
            state.copy_(saved[f"optimizer.{name}"])
        best = {k[5:]: v.to(device) for k, v in saved.items() if k.startswith("best.")} or None
        generator.set_state(saved["generator"])
        history, best_score, looks_since = meta["history"], meta["best_score"], meta["looks_since"]
        if len(history) > epochs:
            raise ValueError(f"checkpoint {checkpoint} is {len(history)} epochs old already, epochs={epochs}; "
                             "ask for more, or delete it to start again")  # fmt: skip

    def save(path: Path) -> None:
        from safetensors.torch import save as to_bytes

        tensors = {**step.optimizer.parameters, "generator": generator.get_state()}
        tensors |= {f"optimizer.{k}": v for k, v in step.optimizer.state.items()}
        tensors |= {f"best.{k}": v for k, v in (best or {}).items()}
        meta = dict(settings=settings, history=history, best_score=best_score, looks_since=looks_since)
        data = to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"amrlib": json.dumps(meta)})
        write_atomically(path, data)

    stopped = "done"
    ahead = None
    if model.E is not None and device.type == "cpu" and isinstance(dataset.features, np.memmap):
        ahead = _ReadAhead(dataset.features)
    bar = progress_bar(range(len(history), epochs), type(model).__name__, progress, initial=len(history), total=epochs,
                       unit="epoch")  # fmt: skip
    try:
        for epoch in bar:
            if patience is not None and looks_since >= patience:
                stopped = "patience"
                break
            order = torch.randperm(len(all_users), generator=generator, device=device)
            users, pos = all_users[order], all_pos[order]  # (n,), (n,)
            neg = sampler(users, generator)
            losses: list[Tensor] = []  # on the device: no wait inside an epoch
            for start in range(0, len(order), batch_size):
                batch, following = slice(start, start + batch_size), slice(start + batch_size, start + 2 * batch_size)
                if ahead is not None:
                    ahead(pos[following], neg[following])
                losses += step.step(users[batch], pos[batch], neg[batch])
            sums = torch.stack(losses).view(-1, 3).double().sum(0)
            bpr, adversarial, objective = (sums / len(order)).tolist()
            if not np.isfinite(objective):
                raise FloatingPointError(f"the loss is no longer finite at epoch {epoch + 1}; lower lr={lr!r}")
            history.append(dict(epoch=epoch + 1, bpr=bpr, adversarial=adversarial, objective=objective))
            look = (epoch + 1) % every == 0 or epoch + 1 == epochs
            if look and held_out is not None:
                ranks = held_out_ranks(model.user_vectors(), model.item_vectors(), held_out)
                history[-1] |= {"hr@10": hr(ranks, 10), "ndcg@10": (score := ndcg(ranks, 10))}
                looks_since += 1
                if score > best_score:
                    best_score, looks_since = score, 0
                    best = {k: v.clone() for k, v in step.optimizer.parameters.items()}
            bar.set_postfix_str(f"loss {bpr:.4f}", refresh=False)
            if look and checkpoint is not None:
                save(Path(checkpoint))
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        bar.close()
        if ahead is not None:
            ahead.close()
    if best is not None:
        for name, theta in best.items():
            step.optimizer.parameters[name].copy_(theta)
    table = pd.DataFrame(history)
    table.attrs["stopped"] = stopped
    return table


def _read_checkpoint(path: Path, settings: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["amrlib"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}); delete it to start again") from None
    wanted = json.loads(json.dumps(settings))
    different = [k for k in wanted if meta["settings"].get(k) != wanted[k]]
    if different:
        k = different[0]
        raise ValueError(
            f"checkpoint {path} is of another run: its {k} is {meta['settings'].get(k)!r}, "
            f"here it is {wanted[k]!r}; name another file, or delete it to start again"
        )
    return tensors, meta
