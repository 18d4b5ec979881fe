"""The gradients of a mini-batch as the paper writes them, through D dimensions and autograd: slow, and the oracle."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..protocols import Trainable
from .closed_form import NORM_FLOOR, epsilon_of, item_vectors, random_directions
from .gradients import Batch, Gradients, Losses, RowGradient


@torch.enable_grad()
def gradients(model: Trainable, batch: Batch, reg: tuple[float, ...], apart: bool, generator: Generator, *_: Any) -> Gradients:
    """What :func:`amrlib.training.closed_form.gradients` computes, with the same arguments; it keeps no memory."""
    reg_P, reg_item, reg_E = reg
    users, items = torch.unique(batch.users), torch.unique(torch.cat([batch.pos, batch.neg]))
    theta = {name: table.detach().requires_grad_() for name in "PQE" if (table := getattr(model, name)) is not None}
    c = None if model.features is None else model.features.to(theta["E"]).detach().requires_grad_()  # (N, D)
    p = theta["P"].index_select(0, batch.users)  # (B, K̃); the backward pass of P[users] depends on the number of threads

    def vectors(items: Tensor, features: Tensor | None) -> Tensor:  # (B, K̃)
        q = theta["Q"].index_select(0, items) if "Q" in theta else None
        return item_vectors(q, None if features is None else features.index_select(0, items) @ theta["E"], model.joint)

    def loss(q_i: Tensor, q_j: Tensor) -> Tensor:
        return F.softplus(-(p * (q_i - q_j)).sum(1)).sum()  # Σ −ln σ(ŷ_ui − ŷ_uj)

    q_i, q_j = vectors(batch.pos, c), vectors(batch.neg, c)
    bpr = loss(q_i, q_j)
    learned = p.square().sum() - len(p) * len(model.constant_columns)  # without the 1s
    penalised = [q_i, q_j] if not apart else [vectors(ids, None) for ids in (batch.pos, batch.neg)] if "Q" in theta else []
    objective = bpr + reg_P * learned + reg_item * sum(q.square().sum() for q in penalised)
    if "E" in theta:
        objective = objective + reg_E * theta["E"].square().sum()
    adversarial = torch.zeros_like(bpr)
    if model.adv_weight > 0 and c is not None:
        delta = torch.zeros_like(c)
        if model.perturbation == "random":
            delta[items] = random_directions(model, items, generator)
        else:
            gamma = torch.autograd.grad(bpr, c, retain_graph=True)[0][items]  # (U, D)  Γ
            norm = gamma.norm(dim=1, keepdim=True)
            delta[items] = torch.where(norm > NORM_FLOOR, epsilon_of(model, items) * gamma / norm.clamp_min(NORM_FLOOR), 0.0)
        worst = (c + delta).detach()  # Δ is a constant when θ moves
        adversarial = loss(vectors(batch.pos, worst), vectors(batch.neg, worst))
        objective = objective + model.adv_weight * adversarial
    whole = dict(zip(theta, torch.autograd.grad(objective, list(theta.values())), strict=True))
    whole["P"][:, list(model.constant_columns)] = 0
    of_Q = RowGradient(items, whole["Q"][items]) if "Q" in whole else None
    of_E = RowGradient(None, whole["E"]) if "E" in whole else None
    losses = Losses(bpr.detach(), adversarial.detach(), objective.detach())
    return Gradients(RowGradient(users, whole["P"][users]), of_Q, of_E, losses)
