"""Two theorems on what the objective of VBPR and AMR can know of E, as functions: what they take apart, and what they count.

A triple (u, i, j) has warm items alone, and each of those has a row q of its own. So whatever a picture says of an item in a
triple, Eᵀc, its q can say as well.

**Theorem A.** Under ``reg_form="combined"`` with reg_E = 0 the objective does not identify E: for every E', the model
(P, Q + C(E − E'), E'), rows of warm items, has the objective of (P, Q, E).
*Proof.* A warm item's whole vector is q + (E − E')ᵀc + E'ᵀc = q + Eᵀc, as before. Scores and penalty of a triple know p_u and
whole vectors of warm items, nothing else; and what weighs E itself is 0. ∎

**Theorem B.** Under ``"combined"``, with any reg_E ≥ 0 and ε, λ > 0, the adversarial objective of (P, Q + CE, 0) is at most
that of (P, Q, E), and less where a user of some triple has ‖E p_u‖ > 0. So each minimiser has E p_u = 0 for all of them.
*Proof.* Take E' = 0 in A: clean loss and penalty on vectors stay, reg_E ‖E‖² does not grow. The worst Δ for a triple takes
ε‖E p_u‖ from the one score and gives as much to the other: −ln σ(x) becomes −ln σ(x − 2ε‖E p_u‖), which is more than
−ln σ(x) where the margin is not 0, since −ln σ falls everywhere. With E' = 0 the margin is 0. ∎

Under ``"apart"`` neither holds: q pays for what it takes over from E. And the one-step adversary's Γ_n is a sum over all
triples of a batch that n is in. Where each item is in one triple, its Δ is the worst; where pulls cancel, Γ_n = 0, it does not
move n at all, and a model that looks may cost no more than its blind twin."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from amrlib import Dataset
from amrlib.checks import number, one_of, require
from amrlib.models.pairwise import PairwiseModel


@torch.no_grad()
def same_scores_other_E(model: PairwiseModel, E_new: Tensor) -> PairwiseModel:
    """A copy of a bound VBPR or AMR with another E, (D, K), and Q moved by C(E − E_new) where items are warm.

    Implements :eq:`eq-flat`. Users score all warm items as before, up to rounding, and these items' whole vectors q + Eᵀc are
    the same; cold items keep q = 0 and are ranked by ``E_new``. A model without a sum q + Eᵀc (MF, DUIF, the two-vector form)
    and an E_new of another shape are ValueErrors. The model given is not changed."""
    model.user_vectors()  # a model that has seen no data says so
    name, Q, E, c = type(model).__name__, model.Q, model.E, model.features
    summed = Q is not None and E is not None and c is not None and model.joint
    require(summed, f"{name} has no item vector q + Eᵀc in which q could take over from E; take a VBPR")
    assert Q is not None and E is not None and c is not None
    require(E_new.shape == E.shape, f"E_new must have shape {tuple(E.shape)}, as the {name}'s E, not {tuple(E_new.shape)}")
    other = copy.copy(model)
    other.P, other.E = model.P.clone(), E_new.to(E).T.contiguous().T  # column by column, as models keep it
    other.Q = torch.where(model.cold[:, None], Q, Q + c.to(E) @ (E - other.E))
    return other


def blind_twin_of(model: PairwiseModel) -> PairwiseModel:
    """(P, Q + CE, 0): the same scores of warm items, and no picture moves any of them; all cold items tie at score 0."""
    return same_scores_other_E(model, torch.zeros(0) if model.E is None else torch.zeros_like(model.E))


@torch.no_grad()
def objective(
    model: PairwiseModel, shop: Dataset, reg: tuple[float, float, float] = (0.0, 0.0, 0.0), reg_form: str = "combined",
    epsilon: float = 0.0, adv_weight: float = 0.0,
) -> float:  # fmt: skip
    """What training lowers, exactly: each training row (u, i) against all warm items j that u does not have, their mean, and

        −ln σ(x) − λ ln σ(x − 2ε‖E p_u‖) + reg_P ‖p_u‖² + reg_item (‖v_i‖² + ‖v_j‖²),   x = ŷ_ui − ŷ_uj,

    summed over the rows, + reg_E ‖E‖² once, as of one batch. ``reg`` is (reg_P, reg_item, reg_E); v is the whole item vector
    under ``reg_form="combined"``, the row of Q under ``"apart"`` (nothing, for a model without Q). The adversary is the exact
    inner maximum, each triple's own: no Δ with ‖Δ_n‖₂ ≤ ε can cost a triple more than 2ε‖E p_u‖, and one does. ε is in the
    features' units, λ is ``adv_weight``; an ε or λ that is negative or not finite, and another form, are ValueErrors."""
    one_of(reg_form, "reg_form", ("combined", "apart"))
    epsilon, adv_weight = number(epsilon, "epsilon"), number(adv_weight, "adv_weight")
    reg_P, reg_item, reg_E = reg
    U, V, Q, E = model.user_vectors(), model.item_vectors(), model.Q, model.E
    own = V if reg_form == "combined" or E is None else V.new_zeros(len(V), 1) if Q is None else Q
    of_user = U.square().sum(1) - len(model.constant_columns)  # (M,)  without the 1s, which are not learned
    of_item, margin = own.square().sum(1), 2 * epsilon * model.sensitivity()  # (N,), (M,)
    total, warm = 0.0, np.flatnonzero(~shop.cold)
    for u in np.unique(shop.train[:, 0]):
        i = shop.train[shop.train[:, 0] == u, 1]
        j = np.setdiff1d(warm, i)
        if len(j):  # who has everything chose nothing
            x = (V[i] @ U[u])[:, None] - V[j] @ U[u]  # (n, m)
            costs = F.softplus(-x) + adv_weight * F.softplus(margin[u] - x)
            costs += reg_P * of_user[u] + reg_item * (of_item[i][:, None] + of_item[j])
            total += float(costs.mean(1).sum())
    return total + (0.0 if E is None else reg_E * float(E.square().sum()))
