"""MF-eALS: ŷ_ui = p_uᵀq_i, fitted to the whole matrix by element-wise alternating least squares.

    L = Σ_{(u,i)∈R} w (1 − r̂_ui)²  +  Σ_u Σ_{i∉R_u} c_i r̂_ui²  +  reg (Σ‖p_u‖² + Σ‖q_i‖²)

with the missing entries weighted by popularity, c_i = c0 f_i^α / Σ_j f_j^α, f_i the item's share of the
interactions. He, Zhang, Kan & Chua, "Fast Matrix Factorization for Online Recommendation with Implicit
Feedback", SIGIR 2016, eqs. (7), (8), (12), (13).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..progress import progress_bar
from ..training import resolve_device
from .base import PairwiseModel

__all__ = ["MFeALS"]


class MFeALS(PairwiseModel):
    """Weighted matrix factorisation over all (user, item) cells, without ever writing them down.

    Parameters
    ----------
    dataset : Dataset
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
    costs O((M + N) K² + |R| K).
    """

    def __init__(
        self, dataset: Dataset, dim: int = 64, c0: float = 512.0, alpha: float = 0.4, reg: float = 0.01,
        w: float = 1.0, **settings: Any,
    ) -> None:  # fmt: skip
        for name, value in (("c0", c0), ("alpha", alpha), ("reg", reg), ("w", w)):
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
        super().__init__(dataset, dim=dim, **settings)
        self.c0, self.alpha, self.reg, self.w = float(c0), float(alpha), float(reg), float(w)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"c0": self.c0, "alpha": self.alpha, "reg": self.reg, "w": self.w}

    def missing_weights(self, dataset: Dataset) -> Tensor:
        """c_i of every item, (N,), eq. (8)."""
        counts = np.bincount(dataset.indices, minlength=dataset.n_items).astype(np.float64)  # distinct pairs
        f = np.where(counts > 0, (counts / counts.sum()) ** self.alpha, 0.0)
        return torch.as_tensor(self.c0 * f / f.sum()).to(self.P)

    @torch.no_grad()
    def fit(  # type: ignore[override]
        self, dataset: Dataset, epochs: int = 20, device: str = "auto", progress: bool = True
    ) -> pd.DataFrame:
        """``epochs`` iterations: every user's coordinates in order, then every item's.

        Returns a DataFrame ``epoch``, ``loss``: the exact loss of eq. (7), before the first iteration
        (epoch 0) and after each.
        """
        if epochs < 1:
            raise ValueError(f"epochs must be a whole number of at least 1, not {epochs!r}")
        if (dataset.n_users, dataset.n_items) != (self.n_users, self.n_items):
            raise ValueError(f"this MFeALS was made for {self.n_users} users and {self.n_items} items, "
                             f"the data set has {dataset.n_users} and {dataset.n_items}")  # fmt: skip
        self.to(resolve_device(device))
        at = self.P.device
        keys = torch.as_tensor(dataset.unique_keys, device=at)
        by_user = (keys // self.n_items, keys % self.n_items)  # R, users ascending
        order = torch.argsort(by_user[1], stable=True)  # the same pairs, items ascending
        by_item = (by_user[0][order], by_user[1][order])
        c = self.missing_weights(dataset).to(at)
        ones = torch.ones_like(self.P[:, 0])
        losses = [self._loss(by_user, c)]
        for _ in progress_bar(range(epochs), "MFeALS", progress, unit="epoch"):
            self.P.copy_(self._sweep(self.P, self.Q, by_user[0], by_user[1], c, ones, c[by_user[1]]))
            self.Q.copy_(self._sweep(self.Q, self.P, by_item[1], by_item[0], ones, c, c[by_item[1]]))
            losses.append(self._loss(by_user, c))
        self.history = pd.DataFrame({"epoch": range(epochs + 1), "loss": losses})
        return self.history

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
        Xt, Yt = X.T.contiguous(), Y.T.contiguous()  # (K, n), (K, m): one coordinate lies together
        r_hat = (X[rows] * Y[cols]).sum(1)  # (|R|,)
        weight = self.w - c  # (|R|,) w − c_i
        sums = lambda values: torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)  # noqa: E731
        for f in range(len(Xt)):
            x, y = Xt[f], Yt[f][cols]  # (n,), (|R|,)
            r_f = r_hat - x[rows] * y  # r̂ without coordinate f
            rest = S[f] @ Xt - S[f, f] * x  # (n,) Σ_{k≠f} x_k S_kf
            above = sums((self.w - weight * r_f) * y) - x_weight * rest
            below = sums(weight * y * y) + x_weight * S[f, f] + self.reg
            new = torch.where(known & (below > 0), above / below, x)
            Xt[f] = new
            r_hat = r_f + new[rows] * y
        return Xt.T

    def _loss(self, by_user: tuple[Tensor, Tensor], c: Tensor) -> float:
        """Eq. (7) in O(|R| K + (M + N) K²): all cells through the cache, then put the observed ones right."""
        users, items = by_user
        r_hat = (self.P[users] * self.Q[items]).sum(1)
        S_q = (self.Q * c[:, None]).T @ self.Q  # (K, K)
        observed = (self.w * (1 - r_hat).square() - c[items] * r_hat.square()).sum()
        everywhere = ((self.P @ S_q) * self.P).sum()
        return float(observed + everywhere + self.reg * (self.P.square().sum() + self.Q.square().sum()))
