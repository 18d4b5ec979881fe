"""MF-eALS: ŷ_ui = p_uᵀq_i, fitted to the whole matrix by element-wise alternating least squares.

    L = Σ_{(u,i)∈R} w (1 − r̂_ui)²  +  Σ_u Σ_{i∉R_u} c_i r̂_ui²  +  reg (Σ‖p_u‖² + Σ‖q_i‖²)

with the missing entries weighted by popularity, c_i = c0 f_i^α / Σ_j f_j^α, f_i the item's share of the interactions. He,
Zhang, Kan & Chua, "Fast Matrix Factorization for Online Recommendation with Implicit Feedback", SIGIR 2016, eqs. (7), (8),
(12), (13)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import number, require, whole_number
from ..datasets.dataset import Dataset, expand_rows
from ..progress import progress_bar
from ..protocols import ALONE, Alone
from ..training.callbacks import run_callbacks
from .pairwise import PairwiseModel


def _pair_scores(X: Tensor, Y: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """x·y of each pair, (|R|,); in blocks that stay in the cache, where |R| × K numbers at once would not."""
    parts = zip(rows.split(2**14), cols.split(2**14), strict=True)
    return torch.cat([(X.index_select(0, r) * Y.index_select(0, c)).sum(1) for r, c in parts])


def _share(pairs: tuple[Tensor, Tensor], team: Alone) -> tuple[Tensor, Tensor]:
    rows, cols = pairs
    own = rows % team.size == team.rank
    return rows[own] // team.size, cols[own]


class MFeALS(PairwiseModel):
    """Weighted matrix factorisation over all (user, item) cells, without ever writing them down: :eq:`eq-eals-loss` with the
    weights :eq:`eq-eals-weights`, by the update :eq:`eq-eals-update`.

    ``c0`` is the total weight of a user's missing entries, shared out among the warm items (a cold one has c_i = 0, q_i = 0);
    ``alpha``, α: 0 weights them alike, larger lets popular ones count as more surely unwanted; ``w``, the weight of an observed
    entry. A negative one is a ValueError; the other settings are those of every model of P and Q.

    One coordinate of one user minimises a parabola, eq. (12):

        p_uf = (Σ_{i∈R_u} [w − (w − c_i) r̂^f_ui] q_if − Σ_{k≠f} p_uk S^q_kf)
             / (Σ_{i∈R_u} (w − c_i) q_if² + S^q_ff + reg),       S^q = Σ_i c_i q_i q_iᵀ,

    and r̂^f = r̂ − p_uf q_if. Given Q the users do not depend on each other, so coordinate f of all users moves at once: the
    authors' program's result, in another order of the loops. One iteration costs O((M + N) K² + n K) for n interactions."""

    fit_words = ("epochs", "device", "callbacks", "progress", "reset", "trainer")

    Q: Tensor
    c: Tensor  # (N,) the weights c_i
    _pairs: tuple[np.ndarray, np.ndarray]  # the observed pairs, as the data set's indptr and indices
    _weights: np.ndarray  # (|R|,) w of each: ``w``, or ``w_new`` where one came in later
    _caches: list[Tensor] | None = None  # S^p = PᵀP and S^q = Σ c_i q_i q_iᵀ, (K, K) each

    def __init__(
        self, dim: int = 64, c0: float = 512.0, alpha: float = 0.4, reg: float = 0.01, w: float = 1.0, seed: int = 0,
        init_std: float = 0.01, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__(dim, seed, init_std, dtype)
        self.c0, self.alpha, self.reg, self.w = number(c0, "c0"), number(alpha, "alpha"), number(reg, "reg"), number(w, "w")

    def _allocate(self, shop: Dataset) -> None:
        super()._allocate(shop)
        self._observe(shop)

    def _observe(self, shop: Dataset) -> None:
        self.c, self.cold = self.missing_weights(shop), torch.tensor(shop.cold)
        self._pairs, self._weights = (shop.indptr, shop.indices), np.full(len(shop.indices), self.w)
        self._caches = None

    def items_seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return expand_rows(*self._pairs, users)  # with what came in after the training

    def missing_weights(self, dataset: Dataset) -> Tensor:
        """c_i of every item, (N,), eq. (8)."""
        require(len(dataset.indices), "train has no rows to learn from")
        counts = np.bincount(dataset.indices, minlength=dataset.n_items).astype(np.float64)  # distinct pairs
        f = np.where(counts > 0, (counts / counts.sum()) ** self.alpha, 0.0)
        return torch.as_tensor(self.c0 * f / f.sum()).to(self.P)

    @torch.no_grad()
    def _train(
        self, shop: Dataset, *, epochs: int = 20, device: str = "auto", callbacks: Any = (), progress: bool = True,
        trainer: Any = "auto", **_: Any,
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
        """``epochs`` iterations: every user's coordinates in order, then every item's. The history has the columns ``epoch``
        and ``loss``, the exact loss of eq. (7), before the first iteration (epoch 0) and after each. With the
        ``trainer`` :class:`amrlib.parallel.ParallelTrainer` each of several processes moves its share of the users and of the
        items; the history has ``stopped``, which is "interrupted" where one of them was told to stop."""
        epochs = whole_number(epochs, "epochs", 1)
        known = trainer == "auto" or hasattr(trainer, "all_processes")
        require(known, f"MFeALS moves by least squares; its trainer is 'auto' or parallel.ParallelTrainer, not {trainer!r}")
        team = ALONE if trainer == "auto" else trainer.all_processes()
        self._observe(shop)
        self.to(device)
        self.c = c = self.c.to(self.P.device)
        keys = torch.tensor(shop.unique_keys, device=self.P.device)
        users, items = keys // self.n_items, keys % self.n_items  # R, users ascending
        order = torch.argsort(items, stable=True)
        by_user, by_item = (users, items), (items[order], users[order])  # the pairs of R, by row and by column
        ones = torch.ones_like(self.P[:, 0])
        same = team.same(len(keys), int(keys.sum()), *self.P.shape, *self.Q.shape, epochs)
        require(same, "the processes have different data or settings; start all of them alike")
        if team.size > 1:  # only the pairs of this process's rows
            by_user, by_item = (_share(pairs, team) for pairs in (by_user, by_item))
        history: list[dict[str, Any]] = [{"epoch": 0, "loss": self._loss(users, items)}]
        for epoch in progress_bar(range(epochs), "MFeALS", progress, unit="epoch"):
            for X, Y, pairs, of_x, of_y in ((self.P, self.Q, by_user, ones, c), (self.Q, self.P, by_item, c, ones)):
                moved = self._sweep(X[team.part], Y, *pairs, of_x[team.part], of_y)
                X.copy_(team.whole(moved, len(X)))
            history.append({"epoch": epoch + 1, "loss": self._loss(users, items)})
            word = team.agree(run_callbacks(callbacks, self, history[-1]))
            if word := "interrupted" if team.told_to_stop() else word:
                break
        return history, {"stopped": word or "done"}

    def _sweep(self, X: Tensor, Y: Tensor, rows: Tensor, cols: Tensor, x_weight: Tensor, y_weight: Tensor) -> Tensor:
        """All coordinates of X (n, K) in order, Y (m, K) fixed: eq. (12) for users, eq. (13) for items. ``rows, cols`` (|R|,)
        are the observed pairs, by row of X; a missing one weighs x_weight (n,) times y_weight (m,): c_i, and 1 for users."""
        S = (Y * y_weight[:, None]).T @ Y  # (K, K) the cache S^q, or S^p
        lengths = torch.bincount(rows, minlength=len(X))
        known = lengths > 0  # the others keep their start values
        starts = lengths.cumsum(0) - lengths  # (n,) where each row's pairs begin
        weight = self.w - x_weight[rows] * y_weight[cols]  # (|R|,) w − c_i
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

    def _loss(self, users: Tensor, items: Tensor) -> float:
        """Eq. (7) in O(|R| K + (M + N) K²): all cells through the cache, then put the observed ones right."""
        r_hat = _pair_scores(self.P, self.Q, users, items)
        S_q = (self.Q * self.c[:, None]).T @ self.Q  # (K, K)
        observed = (self.w * (1 - r_hat).square() - self.c[items] * r_hat.square()).sum()
        everywhere = ((self.P @ S_q) * self.P).sum()
        return float(observed + everywhere + self.reg * (self.P.square().sum() + self.Q.square().sum()))

    @torch.no_grad()
    def update_online(self, user: int, item: int, w_new: float = 4.0, iterations: int = 1) -> None:
        """Take one new interaction in (§4.4): move p_u, then q_i, ``iterations`` times, and leave everything else as it is.

        ``w_new`` weighs the new pair; the paper's best is about 4, one iteration. Both moves are coordinate steps of eqs. (12)
        and (13) over the user's and the item's own pairs, the caches S^p and S^q put right afterwards: O(K² + nK) for
        the n pairs of the two, and one look at all pairs to keep them sorted. A new item weighs c_i = c0/N, as in the authors'
        program. Numbers out of range are ValueErrors."""
        u, i = whole_number(user, "user", 0, self.n_users - 1), whole_number(item, "item", 0, self.n_items - 1)
        w_new, iterations = number(w_new, "w_new", positive=True), whole_number(iterations, "iterations", 1)
        P, Q = self.P, self.Q
        self.c = c = self.c.to(P.device)
        if self.cold[i]:
            c[i], self.cold[i] = self.c0 / self.n_items, False
        S_p, S_q = self._caches = [S.to(P.device) for S in self._caches or (P.T @ P, (Q * c[:, None]).T @ Q)]
        indptr, indices = self._pairs  # the data set's own arrays, at first: they stay as they are
        place = indptr[u] + np.searchsorted(indices[indptr[u] : indptr[u + 1]], i)
        if place == indptr[u + 1] or indices[place] != i:  # a new pair; they stay sorted
            indptr, indices = self._pairs = (indptr + (np.arange(len(indptr)) > u), np.insert(indices, place, i))
            self._weights = np.insert(self._weights, place, w_new)
        self._weights[place] = w_new
        of_user, of_item = slice(indptr[u], indptr[u + 1]), np.flatnonzero(indices == i)
        items = torch.tensor(indices[of_user], device=P.device)
        users = torch.as_tensor(np.searchsorted(indptr, of_item, side="right") - 1, device=P.device)
        w_user, w_item = (torch.as_tensor(self._weights[places]).to(P) for places in (of_user, of_item))
        for _ in range(iterations):
            S_p += self._move(P[u], Q[items], w_user, c[items], S_q)
            S_q += c[i] * self._move(Q[i], P[users], w_item, c[i], c[i] * S_p)

    def _move(self, x: Tensor, Y: Tensor, w: Tensor, c: Tensor, S: Tensor) -> Tensor:
        """Move x (K,), a row of P or Q, in place, coordinate by coordinate: its observed rows Y (n, K) with w and c, the cache
        S (K, K). Returns by how much xxᵀ has changed, (K, K)."""
        old, r_hat = x.clone(), Y @ x  # (K,), (n,)
        for f in range(len(x)):
            y = Y[:, f]
            r_f = r_hat - x[f] * y
            above = ((w - (w - c) * r_f) * y).sum() - (S[f] @ x - S[f, f] * x[f])
            below = ((w - c) * y * y).sum() + S[f, f] + self.reg
            if below > 0:
                x[f] = above / below
            r_hat = r_f + x[f] * y
        return torch.outer(x, x) - torch.outer(old, old)

    @torch.no_grad()
    def fold_in(self, items: Any, reg: float | None = None, steps: int = 1) -> Tensor:
        """The vector of someone new who touched ``items``: the exact minimum of eq. (7) in p, (K,).

        Given Q the loss is a parabola: (Σ_{i∈items} (w − c_i) q_i q_iᵀ + S^q + reg I) p = w Σ_{i∈items} q_i, one K × K system.
        ``reg`` is the model's own unless given, ``steps`` is not needed. No item, or a number out of range, is a ValueError."""
        ids, reg = self._touched(items), number(self.reg if reg is None else reg, "reg")
        Q, c = self.Q.double(), self.c.to(self.P.device).double()
        liked = Q[ids]  # (n, K)
        A = (liked * (self.w - c[ids])[:, None]).T @ liked + (Q * c[:, None]).T @ Q
        A += max(reg, 1e-12) * torch.eye(len(A), dtype=A.dtype, device=A.device)
        return torch.linalg.solve(A, self.w * liked.sum(0)).to(self.P)
