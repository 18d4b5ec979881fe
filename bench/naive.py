"""AMR's training step as its authors' graph has it, in plain torch: what ours is compared with.

The graph (Tang et al., src/model/VBPR.py, TensorFlow) asks ``tf.gradients`` for the gradient of the clean loss with
respect to the whole feature table, so an (N, D) array is filled and normalised row by row in every batch, however few
items the batch has. P, Q and the optimiser touch the batch's rows only, there and here; and the
clean loss is computed once a step, where the authors' program does it in two runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NaiveAMR"]


class NaiveAMR:
    """P (M, K), Q (N, K), E (D, K) and features (N, D), updated in place by :meth:`step`.

    Parameters
    ----------
    lr, reg : float
    epsilon, adv_weight : float
        ε and λ; with ``adv_weight=0`` this is VBPR.
    reg_item : float
        Weight of ‖q + Eᵀc‖², once for each occurrence in the batch.
    frugal : bool
        False: as the graph is written down, every node an array of its own. True: with one dense gradient instead of
        two, normalised in place, and the perturbed table never made whole: what a careful programmer would save
        without a new idea.
    """

    def __init__(
        self, P: Tensor, Q: Tensor, E: Tensor, features: Tensor, lr: float, epsilon: float = 0.1,
        adv_weight: float = 1.0, reg: float = 0.0, reg_item: float = 0.0,
        frugal: bool = False,
    ) -> None:  # fmt: skip
        self.theta = {"P": P, "Q": Q, "E": E}
        self.accumulator = {name: torch.full_like(value, 0.1) for name, value in self.theta.items()}
        self.features = features.clone().requires_grad_()  # (N, D)
        self.lr, self.epsilon, self.adv_weight, self.reg, self.reg_item = lr, epsilon, adv_weight, reg, reg_item
        self.frugal = frugal

    def step(self, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        """One mini-batch of B triples, ids (B,). Returns the objective before the update."""
        P, Q, E = self.theta["P"], self.theta["Q"], self.theta["E"].detach().requires_grad_()
        p, q_i, q_j = (rows.requires_grad_() for rows in (P[users], Q[pos], Q[neg]))  # (B, K)
        items = torch.cat([pos, neg])  # (2B,)
        if self.frugal:
            z_i, z_j = (F.embedding(items, self.features) @ E).chunk(2)  # one look-up, so one dense gradient
        else:
            z_i, z_j = self.features[pos] @ E, self.features[neg] @ E
        v_i, v_j = q_i + z_i, q_j + z_j  # (B, K)
        bpr = F.softplus(-(p * (v_i - v_j)).sum(1)).sum()
        objective = bpr + self.reg * p.square().sum() + self.reg * E.square().sum()
        objective = objective + self.reg_item * (v_i.square().sum() + v_j.square().sum())
        if self.adv_weight:
            (gamma,) = torch.autograd.grad(bpr, self.features, retain_graph=True)  # (N, D), zero but for the batch
            norm = gamma.norm(dim=1, keepdim=True).clamp_min_(1e-12)  # (N, 1)
            if self.frugal:
                delta = gamma.mul_(self.epsilon / norm)  # (N, D)
                z_i, z_j = ((self.features.detach()[items] + delta[items]) @ E).chunk(2)
            else:
                moved = self.features.detach() + self.epsilon * gamma / norm  # (N, D)
                z_i, z_j = moved[pos] @ E, moved[neg] @ E
            x = (p * (q_i + z_i - q_j - z_j)).sum(1)
            objective = objective + self.adv_weight * F.softplus(-x).sum()
        g_p, g_i, g_j, g_E = torch.autograd.grad(objective, [p, q_i, q_j, E])
        self._adagrad("P", g_p, users)
        self._adagrad("Q", torch.cat([g_i, g_j]), torch.cat([pos, neg]))
        self._adagrad("E", g_E)
        return objective.detach()

    @torch.no_grad()
    def _adagrad(self, name: str, gradient: Tensor, index: Tensor | None = None) -> None:
        """v ← v + g², θ ← θ − η g / √v, for the rows that ``index`` names; a row named twice has its gradients added."""
        theta, v = self.theta[name], self.accumulator[name]
        if index is None:
            v += gradient.square()
            theta -= self.lr * gradient / v.sqrt()
            return
        rows, place = torch.unique(index, return_inverse=True)
        total = gradient.new_zeros(len(rows), gradient.shape[1]).index_add_(0, place, gradient)
        v[rows] += total.square()
        theta[rows] -= self.lr * total / v[rows].sqrt()
