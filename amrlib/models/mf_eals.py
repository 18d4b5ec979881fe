"""MF-eALS: ŷ_ui = p_uᵀq_i, fitted to the whole matrix by element-wise alternating least squares.

    L = Σ_{(u,i)∈R} w (1 − r̂_ui)²  +  Σ_u Σ_{i∉R_u} c_i r̂_ui²  +  reg (Σ‖p_u‖² + Σ‖q_i‖²)

with the missing entries weighted by popularity, c_i = c0 f_i^α / Σ_j f_j^α, f_i the item's share of the
interactions. He, Zhang, Kan & Chua, "Fast Matrix Factorization for Online Recommendation with Implicit
Feedback", SIGIR 2016, eqs. (7), (8), (12), (13).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import item_ids, whole_number
from ..datasets.dataset import Dataset, expand_rows
from ..progress import progress_bar
from ..training.callbacks import run_callbacks
from .newcomers import some_items
from .pairwise import PairwiseModel

__all__ = ["MFeALS"]


def _pair_scores(X: Tensor, Y: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """x·y of each pair, (|R|,); in blocks that stay in the cache, where |R| × K numbers at once would not."""
    parts = zip(rows.split(2**14), cols.split(2**14), strict=True)
    return torch.cat([(X.index_select(0, r) * Y.index_select(0, c)).sum(1) for r, c in parts])


class MFeALS(PairwiseModel):
    """Weighted matrix factorisation over all (user, item) cells, without ever writing them down.

    Implements :eq:`eq-eals-loss` with the weights :eq:`eq-eals-weights`, by the update :eq:`eq-eals-update`.

    Parameters
    ----------
    dim, seed, init_std, dtype : as for every model of P and Q
    c0 : float
        The total weight of the missing entries of a user.
    alpha : float
        α: 0 weights all missing items alike, larger lets popular ones count as more surely unwanted.
    reg : float
    w : float
        The weight of an observed entry.

    Notes
    -----
    One coordinate of one user minimises a parabola, eq. (12):

        p_uf = (Σ_{i∈R_u} [w − (w − c_i) r̂^f_ui] q_if − Σ_{k≠f} p_uk S^q_kf)
             / (Σ_{i∈R_u} (w − c_i) q_if² + S^q_ff + reg),       S^q = Σ_i c_i q_i q_iᵀ,

    and r̂^f = r̂ − p_uf q_if. Given Q the users do not depend on each other, so coordinate f of all users
    moves at once; that is the authors' program's result, in another order of the loops. One iteration
    costs O((M + N) K² + n K) for n interactions.

    c_i of a cold item is 0 (its q_i is 0 as well), and c0 is shared out among the others.
    """

    fit_words = ("epochs", "device", "callbacks", "progress", "reset")

    Q: Tensor
    c: Tensor  # (N,) the weights c_i
    _pairs: tuple[np.ndarray, np.ndarray]  # the observed pairs, as the data set's indptr and indices
    _weights: np.ndarray  # (|R|,) w of each: ``w``, or ``w_new`` where one came in later
    _caches: tuple[Tensor, Tensor] | None = None  # S^p = PᵀP and S^q = Σ c_i q_i q_iᵀ, (K, K) each

    def __init__(
        self, dim: int = 64, c0: float = 512.0, alpha: float = 0.4, reg: float = 0.01, w: float = 1.0, seed: int = 0,
        init_std: float = 0.01, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__(dim, seed, init_std, dtype)
        for name, value in (("c0", c0), ("alpha", alpha), ("reg", reg), ("w", w)):
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
        self.c0, self.alpha, self.reg, self.w = float(c0), float(alpha), float(reg), float(w)

    def _allocate(self, shop: Dataset) -> None:
        super()._allocate(shop)
        self._observe(shop)

    def _observe(self, shop: Dataset) -> None:
        self.c = self.missing_weights(shop)
        self.cold = torch.tensor(shop.cold)
        self._pairs, self._caches = (shop.indptr, shop.indices), None
        self._weights = np.full(len(shop.indices), self.w)

    def items_seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indptr, indices = self._pairs  # with what came in after the training
        return expand_rows(indptr, indices, users)

    def missing_weights(self, dataset: Dataset) -> Tensor:
        """c_i of every item, (N,), eq. (8)."""
        if not len(dataset.indices):
            raise ValueError("train has no rows to learn from")
        counts = np.bincount(dataset.indices, minlength=dataset.n_items).astype(np.float64)  # distinct pairs
        f = np.where(counts > 0, (counts / counts.sum()) ** self.alpha, 0.0)
        return torch.as_tensor(self.c0 * f / f.sum()).to(self.P)

    @torch.no_grad()
    def _train(
        self, shop: Dataset, *, epochs: int = 20, device: str = "auto", callbacks: Any = (), progress: bool = True, **_: Any,
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
        """``epochs`` iterations: every user's coordinates in order, then every item's.

        The history has ``epoch`` and ``loss``: the exact loss of eq. (7), before the first iteration
        (epoch 0) and after each.
        """
        epochs = whole_number(epochs, "epochs", 1)
        self._observe(shop)
        self.to(device)
        at = self.P.device
        keys = torch.tensor(shop.unique_keys, device=at)
        by_user = (keys // self.n_items, keys % self.n_items)  # R, users ascending
        order = torch.argsort(by_user[1], stable=True)  # the same pairs, items ascending
        by_item = (by_user[0][order], by_user[1][order])
        self.c = c = self.c.to(at)
        ones = torch.ones_like(self.P[:, 0])
        history: list[dict[str, Any]] = [{"epoch": 0, "loss": self._loss(by_user, c)}]
        stopped = "done"
        for epoch in progress_bar(range(epochs), "MFeALS", progress, unit="epoch"):
            self.P.copy_(self._sweep(self.P, self.Q, by_user[0], by_user[1], c, ones, c[by_user[1]]))
            self.Q.copy_(self._sweep(self.Q, self.P, by_item[1], by_item[0], ones, c, c[by_item[1]]))
            history.append({"epoch": epoch + 1, "loss": self._loss(by_user, c)})
            if word := run_callbacks(callbacks, self, history[-1]):
                stopped = word
                break
        return history, {"stopped": stopped}

    def _sweep(
        self, X: Tensor, Y: Tensor, rows: Tensor, cols: Tensor, y_weight: Tensor, x_weight: Tensor, c: Tensor
    ) -> Tensor:
        """All coordinates of X (n, K) in order, Y (m, K) fixed: eq. (12) for users, eq. (13) for items.

        rows, cols, c (|R|,): the observed pairs, as rows of X and of Y, and their item's c_i. ``y_weight``
        weights Y's rows in the cache (c_i for users), ``x_weight`` multiplies it for each row of X (c_i
        for items).
        """
        S = (Y * y_weight[:, None]).T @ Y  # (K, K) the cache S^q, or S^p
        lengths = torch.bincount(rows, minlength=len(X))
        known = lengths > 0  # the others keep their start values
        starts = lengths.cumsum(0) - lengths  # (n,) where each row's pairs begin
        weight = self.w - c  # (|R|,) w − c_i
        # Σ w y_f and Σ (w − c_i) y_f² over each row's pairs do not change in the sweep: (K, n), all f at once
        liked = self.w * F.embedding_bag(cols, Y, starts, mode="sum").T.contiguous()
        squares = F.embedding_bag(cols, Y.square(), starts, mode="sum", per_sample_weights=weight).T.contiguous()
        Xt, Yt = X.T.contiguous(), Y.T.contiguous()  # (K, n), (K, m): one coordinate lies together
        e = weight * _pair_scores(X, Y, rows, cols)  # (|R|,) (w − c_i) r̂
        for f in range(len(Xt)):
            x, y = Xt[f], Yt[f].index_select(0, cols)  # (n,), (|R|,)
            rest = S[f] @ Xt - S[f, f] * x  # (n,) Σ_{k≠f} x_k S_kf
            # Σ [w − (w − c_i) r̂^f] y_f, r̂^f = r̂ − x_f y_f being r̂ without coordinate f
            seen = liked[f] - torch.segment_reduce(e * y, "sum", lengths=lengths, unsafe=True) + x * squares[f]
            below = squares[f] + x_weight * S[f, f] + self.reg
            new = torch.where(known & (below > 0), (seen - x_weight * rest) / below, x)
            e.addcmul_((new - x).index_select(0, rows).mul_(y), weight)
            Xt[f] = new
        return Xt.T

    def _loss(self, by_user: tuple[Tensor, Tensor], c: Tensor) -> float:
        """Eq. (7) in O(|R| K + (M + N) K²): all cells through the cache, then put the observed ones right."""
        users, items = by_user
        r_hat = _pair_scores(self.P, self.Q, users, items)
        S_q = (self.Q * c[:, None]).T @ self.Q  # (K, K)
        observed = (self.w * (1 - r_hat).square() - c[items] * r_hat.square()).sum()
        everywhere = ((self.P @ S_q) * self.P).sum()
        return float(observed + everywhere + self.reg * (self.P.square().sum() + self.Q.square().sum()))

    # ---- what comes in after the training (§4.4 of the paper) ----

    @torch.no_grad()
    def update_online(self, user: int, item: int, w_new: float = 4.0, iterations: int = 1) -> None:
        """Take one new interaction in: move p_u, then q_i, and leave everything else as it is.

        Parameters
        ----------
        user, item : int
        w_new : float
            The weight of the new pair; a new interaction says more than an old one (the paper's best is
            about 4, one iteration).
        iterations : int
            How many times p_u and q_i take turns.

        Both are coordinate steps of eqs. (12) and (13) over the user's and the item's own pairs, with the
        caches S^p and S^q put right afterwards: O(K² + (|R_u| + |R_i|) K) work, beside the O(|R|) of
        keeping the pairs sorted. A new item gets the weight c_i = c0/N, as in the authors' program.

        Raises
        ------
        ValueError
            An id out of range, ``w_new`` not above 0, ``iterations`` below 1.
        """
        u, i = int(self._user_numbers(user)[0]), int(item_ids(item, self.n_items, "item")[0])
        if not np.isfinite(w_new) or w_new <= 0:
            raise ValueError(f"w_new must be a finite number above 0, not {w_new!r}")
        iterations = whole_number(iterations, "iterations", 1)
        P, Q, c = self.P, self.Q, self.c.to(self.P.device)
        if self.cold[i]:
            c[i] = self.c0 / self.n_items
            self.cold[i] = False
        self.c = c
        if self._caches is None:
            self._caches = (P.T @ P, (Q * c[:, None]).T @ Q)
        S_p, S_q = self._caches
        self._insert(u, i, float(w_new))
        indptr, indices = self._pairs
        row = slice(indptr[u], indptr[u + 1])
        places = np.flatnonzero(indices == i)
        by_user = (torch.tensor(indices[row], device=P.device), self._weights_at(row))
        by_item = (torch.as_tensor(np.searchsorted(indptr, places, side="right") - 1, device=P.device),
                   self._weights_at(places))  # fmt: skip
        for _ in range(iterations):
            old = P[u].clone()
            P[u] = self._row(old, Q[by_user[0]], by_user[1], c[by_user[0]], S_q)
            S_p += torch.outer(P[u], P[u]) - torch.outer(old, old)
            old = Q[i].clone()
            Q[i] = self._row(old, P[by_item[0]], by_item[1], c[i], c[i] * S_p)
            S_q += c[i] * (torch.outer(Q[i], Q[i]) - torch.outer(old, old))

    def _weights_at(self, places: Any) -> Tensor:
        return torch.as_tensor(self._weights[places]).to(self.P)

    def _row(self, x: Tensor, Y: Tensor, w: Tensor, c: Tensor, S: Tensor) -> Tensor:
        """One row's coordinates in order: x (K,), its observed rows Y (n, K) with w and c, the cache S (K, K)."""
        x = x.clone()
        r_hat = Y @ x  # (n,)
        for f in range(len(x)):
            y = Y[:, f]
            r_f = r_hat - x[f] * y
            above = ((w - (w - c) * r_f) * y).sum() - (S[f] @ x - S[f, f] * x[f])
            below = ((w - c) * y * y).sum() + S[f, f] + self.reg
            if below > 0:
                x[f] = above / below
            r_hat = r_f + x[f] * y
        return x

    def _insert(self, u: int, i: int, weight: float) -> None:
        """Put (u, i) among the observed pairs, which stay sorted; recommend() leaves it out from now on."""
        indptr, indices = self._pairs
        place = indptr[u] + np.searchsorted(indices[indptr[u] : indptr[u + 1]], i)
        if place < indptr[u + 1] and indices[place] == i:
            self._weights[place] = weight
            return
        self._weights = np.insert(self._weights, place, weight)
        indptr = indptr.copy()  # the data set's own arrays stay as they are
        indptr[u + 1 :] += 1
        self._pairs = (indptr, np.insert(indices, place, i))

    @torch.no_grad()
    def fold_in(self, items: Any, reg: float | None = None, steps: int = 1) -> Tensor:
        """The vector of someone new who touched ``items``: the exact minimum of eq. (7) in p, (K,).

        Given Q the loss is a parabola: (Σ_{i∈items} (w − c_i) q_i q_iᵀ + S^q + reg I) p = w Σ_{i∈items} q_i, one
        K × K system. ``reg`` is the model's own unless given; ``steps`` is there for the other models.

        Raises
        ------
        ValueError
            No item, or an id out of range.
        """
        ids = torch.as_tensor(some_items(items, self.n_items), device=self.P.device)
        reg = self.reg if reg is None else float(reg)
        Q, c = self.Q.double(), self.c.to(self.P.device).double()
        liked = Q[ids]  # (n, K)
        A = (liked * (self.w - c[ids])[:, None]).T @ liked + (Q * c[:, None]).T @ Q
        A += max(reg, 1e-12) * torch.eye(len(A), dtype=A.dtype, device=A.device)
        return torch.linalg.solve(A, self.w * liked.sum(0)).to(self.P)
