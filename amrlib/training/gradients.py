"""What goes into a step and what comes out of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Batch", "Gradients", "Losses", "RowGradient", "Trainable"]


class Trainable(Protocol):
    """All that training asks of a model."""

    P: Tensor  # (M, K)  user vectors p_u
    Q: Tensor | None  # (N, K)  q_i, what an item's history says; zero for cold items
    E: Tensor | None  # (D, K)  the map from features to vectors, Eᵀc_i
    features: Tensor | None  # (N, D)  c_i
    joint: bool  # True: item vector q_i + Eᵀc_i; False: [q_i ; Eᵀc_i], as VBPRTwoVector has it
    constant_columns: tuple[int, ...]  # columns of P that are not learned: the 1 that multiplies a bias
    epsilon: float | Tensor  # ε: one number, or (N,) with one for every item
    adv_weight: float  # λ of the adversary; 0 is plain BPR
    perturbation: str  # "gradient", or "random": Δ_n = ε g_n/‖g_n‖ with g_n Gaussian in R^D, a control


class Batch(NamedTuple):
    """B triples: user u touched item i and not item j. int64, (B,) each."""

    users: Tensor
    pos: Tensor
    neg: Tensor


class Losses(NamedTuple):
    """Sums over one batch, taken before the update; tensors of no dimension, still on the device."""

    bpr: Tensor
    adversarial: Tensor
    objective: Tensor


class RowGradient(NamedTuple):
    """The gradient of some rows of a table."""

    ids: Tensor | None  # (R,) which rows; None: all of them
    values: Tensor  # (R, K); where an id stands twice, both rows hold its whole gradient


class Gradients(NamedTuple):
    """∂(objective)/∂P, ∂Q and ∂E over one batch; Q and E are None where the model has none."""

    P: RowGradient
    Q: RowGradient | None
    E: RowGradient | None
    losses: Losses
