"""What changed features can do to a ranking: noise, the gradient's attack, and the exact worst case.

A score is ŷ_ui = p_uᵀ(q_i + Eᵀc_i), so moving c_i by Δ_i moves it by (E p_u)ᵀΔ_i. Everything here follows
from that line. Models without E (Popularity, MF) are not moved at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .datasets.dataset import Dataset
from .ranking import BLOCK_BYTES, held_out_ranks
from .training import NORM_FLOOR, NegativeSampler

__all__ = ["perturb", "worst_case_ranks"]


@torch.no_grad()
def perturb(
    model: Any,
    dataset: Dataset,
    epsilon: float,
    kind: str = "adversarial",
    triples: str = "test",
    seed: int = 0,
) -> Tensor:
    """The item features moved by ε each: c_i + Δ_i with ‖Δ_i‖₂ = ε, one Δ for all users.

    Implements :eq:`eq-gamma`.

    Parameters
    ----------
    model
        A model that looks at features (DUIF, VBPR, AMR).
    epsilon : float
        In the units of the features; compare it with their mean norm.
    kind : ``"adversarial"`` or ``"random"``
        Along the gradient of the BPR loss, Δ_i = ε Γ_i/‖Γ_i‖ (AMR paper eqs. 11–12), or in a random
        direction of the same length.
    triples : ``"test"`` or ``"train"``
        Which BPR loss is attacked; the paper does not say. ``"test"``: each user's held-out item against
        every item the user has not touched, so that cold items are attacked too, and the attacker knows
        what is to be ranked. ``"train"``: the training pairs, each with one sampled warm negative, so cold
        items stay as they are.
    seed : int
        Of the random directions, or of the sampled negatives.

    Returns
    -------
    (N, D) tensor on the model's device, ready for ``evaluate(..., features=…)``.
    An item whose gradient is zero is not moved by the adversary.

    Raises
    ------
    ValueError
        A model that does not look at features, ε negative or not finite, an unknown ``kind`` or ``triples``.
    """
    if model.E is None or model.features is None:
        raise ValueError(f"{type(model).__name__} does not look at features, so there is nothing to perturb")
    if not np.isfinite(epsilon) or epsilon < 0:
        raise ValueError(f"epsilon must be a finite number of at least 0, not {epsilon!r}")
    E = model.E
    c = model.features.to(E.dtype)  # stored as float16, perhaps
    if kind == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(c.shape, generator=generator, dtype=torch.float64).to(c)  # (N, D)
        return c + epsilon * noise / noise.norm(dim=1, keepdim=True)
    if kind != "adversarial":
        raise ValueError(f"kind must be 'adversarial' or 'random', not {kind!r}")
    if triples == "test":
        s = _test_gradient(model, dataset)
    elif triples == "train":
        s = _train_gradient(model, dataset, seed)
    else:
        raise ValueError(f"triples must be 'test' or 'train', not {triples!r}")
    gamma = s @ E.T  # (N, D)  Γ_i = E s_i
    norm = gamma.norm(dim=1, keepdim=True)
    return c + torch.where(norm > NORM_FLOOR, epsilon * gamma / norm.clamp_min(NORM_FLOOR), 0.0)


def _test_gradient(model: Any, dataset: Dataset) -> Tensor:
    """s (N, K) with Γ_i = E s_i, for the loss Σ_u mean_j −ln σ(ŷ_u,test − ŷ_uj), j over what u may be shown."""
    U, V, visual = model.user_vectors(), model.item_vectors(), model.visual_users()
    users = dataset.test_users
    N = dataset.n_items
    s = torch.zeros(N, visual.shape[1], device=U.device, dtype=U.dtype)
    block = max(1, BLOCK_BYTES // (N * U.element_size() * 4))
    for start in range(0, len(users), block):
        ids = users[start : start + block]
        rows = torch.as_tensor(ids, device=U.device)
        target = torch.as_tensor(dataset.test[ids], device=U.device)[:, None]  # (b, 1)
        scores = U[rows] @ V.T  # (b, N)
        g = torch.sigmoid(scores - scores.gather(1, target))  # (b, N)  σ(−(ŷ_ui − ŷ_uj)) = ∂L/∂ŷ_uj
        seen = slice(dataset.indptr[ids[0]], dataset.indptr[ids[-1] + 1])
        keys = dataset.unique_keys[seen]
        at = np.searchsorted(ids, keys // N)
        mine = ids[np.minimum(at, len(ids) - 1)] == keys // N  # users without a test item may lie between
        g[torch.as_tensor(at[mine], device=U.device), torch.as_tensor(keys[mine] % N, device=U.device)] = 0
        g.scatter_(1, target, 0)
        rivals = N - np.diff(dataset.indptr)[ids] - 1 + dataset.is_train(ids, dataset.test[ids])  # (b,)
        g /= torch.as_tensor(rivals, device=g.device)[:, None].clamp_min(1)
        g.scatter_(1, target, -g.sum(1, keepdim=True))  # ∂L/∂ŷ_u,test
        s += g.T @ visual[rows]
    return s


def _train_gradient(model: Any, dataset: Dataset, seed: int) -> Tensor:
    """s (N, K) with Γ_i = E s_i, for the BPR loss of all training pairs with one negative each."""
    U, V, visual = model.user_vectors(), model.item_vectors(), model.visual_users()
    users, pos = torch.as_tensor(dataset.train, device=U.device).unbind(1)
    generator = torch.Generator(U.device).manual_seed(seed)
    neg = NegativeSampler(dataset, U.device)(users, generator)
    x = (U[users] * (V[pos] - V[neg])).sum(1)
    gp = -torch.sigmoid(-x)[:, None] * visual[users]  # (n, K)
    s = torch.zeros(dataset.n_items, visual.shape[1], device=U.device, dtype=U.dtype)
    return s.index_add_(0, pos, gp).index_add_(0, neg, -gp)


def worst_case_ranks(
    model: Any, dataset: Dataset, epsilon: float, candidates: np.ndarray | None = None, progress: bool = True
) -> np.ndarray:
    """The furthest each user's held-out item can fall when every item's features move by at most ε: exact.

    Implements :eq:`eq-worst-rank`.

    For user u the held-out item i loses at most ε‖E p_u‖ and each rival j gains at most as much
    (Cauchy–Schwarz), all at once under Δ_i = −ε E p_u/‖E p_u‖, Δ_j = +ε E p_u/‖E p_u‖. So

        rank = #{ j : ŷ_uj + 2ε‖E p_u‖ ≥ ŷ_ui },

    no attack can do worse and this one does it. Each user gets a perturbation of their own; one shared by
    all users, as in the paper's tables, does no more harm than this. ``hr(worst_case_ranks(…), k)`` is
    therefore a certified HR@k.

    Returns
    -------
    int64, (n,), for ``dataset.test_users`` in order.
    """
    if not np.isfinite(epsilon) or epsilon < 0:
        raise ValueError(f"epsilon must be a finite number of at least 0, not {epsilon!r}")
    U, V = model.user_vectors(), model.item_vectors()
    margin = 2 * epsilon * model.sensitivity() if hasattr(model, "sensitivity") else None
    return held_out_ranks(U, V, dataset, candidates, margin, progress)
