"""How far each user's held-out item can fall, exactly and for certain, with no attack to run."""

import numpy as np
import torch
from torch import Tensor

from ..checks import list_length, number, one_of, require, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import TILE_BYTES, held_out_ranks
from ..protocols import ALONE, Alone, Attackable, Ranked
from .attacks import NORMS, checked, direction, score_blocks


@torch.no_grad()
def worst_case_ranks(
    model: Ranked, dataset: Dataset, epsilon: float, candidates: np.ndarray | None = None,
    progress: bool = True, norm: str = "l2", team: Alone = ALONE,
) -> np.ndarray:  # fmt: skip
    """The furthest each user's held-out item can fall when every item's features move by at most ε, exact: int64, (n,), for
    ``dataset.test_users`` in order. Implements :eq:`eq-worst-rank`.

    For user u the held-out item i loses at most ε‖E p_u‖ and each rival j gains at most as much (Cauchy–Schwarz), so no attack
    can go further than rank = #{ j : ŷ_uj + 2ε‖E p_u‖ ≥ ŷ_ui }, and :func:`worst_case_perturbation` goes there. Each user gets
    a Δ of their own; one shared by all, as in the paper's tables, does no more harm: ``hr(worst_case_ranks(…), k)`` is a
    certified HR@k. With ``norm="linf"``, every entry of Δ at most ε, ‖E p_u‖₁ takes the place of ‖E p_u‖₂ (Hölder).
    ``candidates`` are as in ``held_out_ranks``, ``team`` as in :func:`amrlib.evaluate`. An ε that is negative or not finite,
    or an unknown ``norm``, is a ValueError.

    The certificate is about real numbers: the vectors and E as they are. It is float64's, and a rival that rounding could hide
    (about 1e-14 of a score, 1e-11 of ε‖E p_u‖) counts as ahead. ``evaluate`` of a float32 model rounds at 1e-7, so near ties
    differ."""
    epsilon = number(epsilon, "epsilon")
    U, V, sensitivity, slack = _certain(model, norm)
    return held_out_ranks(U, V, dataset, candidates, 2 * epsilon * sensitivity + slack, progress, team=team)


def _certain(model: Ranked, norm: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The vectors in float64, and two bounds for each user, (M,): ‖E p_u‖ in the dual norm from above (0 without E), and
    by how much rounding may change the difference of two scores. A sum of n terms, in any order, errs by at most
    n·2⁻⁵³/(1 − n·2⁻⁵³) times the sum of the terms' sizes (Higham, Accuracy and Stability, 2002, §3.1)."""
    one_of(norm, "norm", NORMS)
    U, V = model.user_vectors().double(), model.item_vectors().double()
    unit = 2.0**-52  # twice 2⁻⁵³, for the terms of second order
    slack = 2 * (U.shape[1] + 8) * unit * U.norm(dim=1) * V.norm(dim=1).max()
    E = getattr(model, "E", None)
    if E is None:
        return U, V, torch.zeros_like(slack), slack
    E, visual = E.double(), model.visual_users().double()  # type: ignore[attr-defined]
    if norm == "linf":
        return U, V, _lengths(E, visual, 1), slack
    # ‖E p_u‖² = p_uᵀ(EᵀE)p_u needs K numbers for a user, not D; where it cancels to next to nothing, each of D is looked at
    error = (len(E) + 2 * E.shape[1] + 16) * unit * E.square().sum() * visual.square().sum(1)  # (M,)
    square = ((visual @ (E.T @ E)) * visual).sum(1)
    length = (square.clamp_min(0) + error).sqrt()
    small = torch.nonzero(square < 2**30 * error)[:, 0]
    length[small] = _lengths(E, visual[small], 2)
    return U, V, length, slack


def _lengths(E: Tensor, visual: Tensor, order: int) -> Tensor:
    """‖E p_u‖₁ or ‖E p_u‖₂ from above, (M,), by way of all D numbers of E p_u."""
    unit = 2.0**-52
    blocks = visual.split(max(1, TILE_BYTES // (8 * len(E))))  # users x D is large; so much of it a core's cache holds
    length = torch.cat([torch.linalg.vector_norm(part @ E.T, ord=order, dim=1) for part in blocks])
    error = (E.shape[1] + 8) * unit * torch.linalg.vector_norm(E.norm(dim=1), ord=order) * visual.norm(dim=1)
    return length * (1 + (len(E) + 16) * unit) + error


@torch.no_grad()
def worst_case_perturbation(model: Attackable, dataset: Dataset, user: int, epsilon: float, norm: str = "l2") -> Tensor:
    """The features under which one user's held-out item falls as far as it can: (N, D), c + Δ, with Δ_i = −ε d for that item
    and +ε d for all others, d the unit vector along E p_u (ℓ2) or its signs (ℓ∞). For this user it reaches the bound of
    :func:`worst_case_ranks`, up to rounding. Raises as :func:`perturb`, and a ValueError for a user without a held-out item."""
    c, E, epsilon, _ = checked(model, epsilon, 1, norm)
    user = whole_number(user, "user", 0, dataset.n_users - 1)
    item = int(dataset.test[user])
    require(item >= 0, f"user {user} has no held-out item; take one of dataset.test_users")
    move = epsilon * direction((E @ model.visual_users()[user])[None], norm)  # (1, D)
    moved = c.to(E) + move
    moved[item] = c[item].to(E) - move[0]
    return moved


@torch.no_grad()
def breaking_epsilon(model: Ranked, dataset: Dataset, k: int | None = None, norm: str = "l2") -> np.ndarray:
    """The ε from which on each user's hit among the first k is no longer certain: float64, (n,), for ``test_users``.

    ε_u = (ŷ_ui − ŷ_u(k)) / (2‖E p_u‖) with ŷ_u(k) the k-th best rival of the held-out item i and the dual norm under ℓ∞,
    rounded down: as long as ε is less, :func:`worst_case_ranks` is below k. 0 where there is no hit to break, infinite where
    nothing can break it: E p_u = 0, or fewer than k rivals. A k outside the catalogue, or an unknown norm, is a ValueError."""
    k = list_length(k, dataset.n_items, "the catalogue's {} items")
    U, V, sensitivity, slack = _certain(model, norm)
    epsilons = [np.zeros(0)]
    for rows, target, own, scores in score_blocks(U, V, dataset, dataset.test_users):
        best = torch.topk(scores.scatter_(1, target, -torch.inf), k, dim=1).values[:, -1:]  # (b, 1)  ŷ_u(k)
        ahead = (own - best)[:, 0] - slack[rows]  # (b,)
        epsilons.append(torch.where(ahead > 0, ahead / (2 * sensitivity[rows]), 0.0).cpu().numpy())  # over 0: infinite
    hit = held_out_ranks(U, V, dataset) < k  # ties are counted there, exactly
    return np.where(hit, np.concatenate(epsilons), 0.0)
