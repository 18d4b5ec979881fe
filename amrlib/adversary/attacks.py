"""Noise and attacks: each item's features moved by at most ε, one Δ for all users.

A score is ŷ_ui = p_uᵀ(q_i + Eᵀc_i), so moving c_i by Δ_i moves it by (E p_u)ᵀΔ_i. Γ_i, the gradient of a loss with respect to
c_i, is therefore E s_i with s_i = Σ_u (∂L/∂ŷ_ui) p_u, and all that a loss sees of Δ is ΔE (N, K). What has D dimensions is
gone through in blocks of rows."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import number, one_of, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import BLOCK_BYTES, TILE_BYTES
from ..protocols import Attackable
from ..training import NORM_FLOOR, NegativeSampler

NORMS = ("l2", "linf")
ROW_NUMBERS = 2**22  # of features, or of noise, at a time

# ΔE (n, K), or None for Δ = 0  ->  s (n, K), and the loss: one number, or (n,) where no item's move touches another's
Gradient: TypeAlias = Callable[[Tensor | None], tuple[Tensor, Tensor]]


@torch.no_grad()
def perturb(
    model: Attackable, dataset: Dataset, epsilon: float, kind: str = "adversarial", triples: str = "test",
    seed: int = 0, steps: int = 1, norm: str = "l2",
) -> Tensor:  # fmt: skip
    """The item features moved by at most ε each, c_i + Δ_i, one Δ for all users. Implements :eq:`eq-gamma`.

    Returns (N, D) on the model's device, for ``evaluate(..., features=…)``. Noise and a single step use up ε for every item,
    but an item whose gradient is zero is not moved. A model without features (DUIF, VBPR and AMR use them) or with parameters
    that are not finite, an ε that is negative or not finite, and an unknown word are a ValueError.

    Parameters
    ----------
    epsilon : float, in the units of the features; compare it with their mean norm
    kind : ``"adversarial"`` or ``"random"``
        Along the gradient of the BPR loss, Δ_i = ε Γ_i/‖Γ_i‖ (AMR paper eqs. 11–12), or in a random direction as far.
    triples : ``"test"`` or ``"train"``
        Which BPR loss is attacked; the paper does not say. ``"test"``: each user's held-out item against every item the user
        has not touched, so that cold items are attacked too, and the attacker knows what is to be ranked. ``"train"``: the
        training pairs, each with one sampled warm negative, so cold items stay as they are.
    seed : int, of the random directions (drawn on the CPU, in blocks of rows), or of the sampled negatives
    steps : int
        1 is the paper's attack. With more, the first step is the same and each that follows has length 2.5 ε/steps along the
        gradient at the moved features, every item taken back into its ball; of all the features passed through, those with
        the highest loss are returned. So more steps never attack that loss less than one.
    norm : ``"l2"`` or ``"linf"``
        The ball: ‖Δ_i‖₂ ≤ ε, or every entry of Δ_i at most ε (a step then goes along the signs of Γ_i, and is √D times as
        long as an ℓ2 step of the same ε).
    """
    c, E, epsilon, steps = checked(model, epsilon, steps, norm)
    one_of(kind, "kind", ("adversarial", "random"))
    one_of(triples, "triples", ("test", "train"))
    seed = whole_number(seed, "seed", 0)
    if kind == "adversarial":
        gradient = _test_gradient(model, dataset) if triples == "test" else _train_gradient(model, dataset, seed)
        return ascend(c, E, gradient, epsilon, steps, norm)
    generator, moved = torch.Generator().manual_seed(seed), E.new_empty(c.shape)
    for rows in _row_blocks(*c.shape):
        noise = torch.randn(c[rows].shape, generator=generator, dtype=torch.float64).to(E)  # (b, D)
        moved[rows] = c[rows].to(E) + epsilon * direction(noise, norm)
    return moved


def checked(model: Attackable, epsilon: float, steps: int, norm: str) -> tuple[Tensor, Tensor, float, int]:
    """c (N, D) in the type it is stored in, E (D, K), ε and steps, if they make sense."""
    model.user_vectors()  # a model that has seen no data says so
    c, E = getattr(model, "features", None), getattr(model, "E", None)
    if c is None or E is None:
        raise ValueError(f"{type(model).__name__} uses no item features, so there is nothing to perturb; take a VBPR")
    one_of(norm, "norm", NORMS)
    return c, E, number(epsilon, "epsilon"), whole_number(steps, "steps", 1)


def direction(gamma: Tensor, norm: str) -> Tensor:
    """Of all rows Δ_i with ‖Δ_i‖ ≤ 1 the one that maximises Γ_iᵀΔ_i; zero where Γ_i is. (n, D)"""
    length = gamma.norm(dim=1, keepdim=True)  # (n, 1)
    unit = gamma.sign() if norm == "linf" else gamma / length.clamp_min(NORM_FLOOR)
    return torch.where(length > NORM_FLOOR, unit, 0.0)


def _into_ball(delta: Tensor, epsilon: float, norm: str) -> Tensor:
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * (epsilon / delta.norm(dim=1, keepdim=True).clamp_min(NORM_FLOOR)).clamp_max(1)


def _row_blocks(n: int, D: int) -> Iterator[slice]:
    """Each block but the last has a multiple of 16 numbers and the last no fewer than 16 (if n has), since torch draws
    normal numbers sixteen at a time: so the blocks together are what one draw of (n, D) would be."""
    starts = list(range(0, max(1, n - 15), max(16, ROW_NUMBERS // D // 16 * 16)))
    return (slice(start, stop) for start, stop in zip(starts, [*starts[1:], n]))


def ascend(c: Tensor, E: Tensor, gradient: Gradient, epsilon: float, steps: int, norm: str) -> Tensor:
    """c + Δ (n, D) by projected gradient ascent; Δ and the best Δ are all that it holds in D dimensions."""
    s, loss = gradient(None)
    if not bool(torch.isfinite(s).all()):
        raise ValueError("the gradient is not finite; look for NaN in the parameters or the features")
    blocks = list(_row_blocks(*c.shape))
    delta, seen = E.new_empty(c.shape), torch.empty_like(s)  # Δ, and ΔE
    for rows in blocks:
        delta[rows] = epsilon * direction(s[rows] @ E.T, norm)
    best, highest = delta if steps == 1 else delta.clone(), torch.full_like(loss, -torch.inf)
    for step in range(1, steps + 1) if steps > 1 else ():
        for rows in blocks:
            seen[rows] = delta[rows] @ E
        s, loss = gradient(seen)
        better = (loss > highest).expand(len(c))
        highest = torch.maximum(loss, highest)
        for rows in blocks:
            best[rows] = torch.where(better[rows, None], delta[rows], best[rows])
            if step < steps:
                longer = delta[rows] + 2.5 * epsilon / steps * direction(s[rows] @ E.T, norm)
                delta[rows] = _into_ball(longer, epsilon, norm)
    for rows in blocks:
        best[rows] += c[rows].to(E)
    return best


def score_blocks(U: Tensor, V: Tensor, dataset: Dataset, users: np.ndarray) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Blocks of ``users``, so small that four arrays (b, N) stay within the bound of the ranks: ids (b,), held-out items and
    their scores (b, 1), and the scores of all items (b, N), of the user's training items −∞."""
    row = len(V) * U.element_size() * 4
    block = max(1, BLOCK_BYTES // row)
    if U.device.type != "cuda":  # on the CPU less is faster, as long as the cache holds it
        block = min(block, max(64, 2 * TILE_BYTES // row))
    for ids in np.split(users, range(block, len(users), block)):
        rows, at, items = (torch.as_tensor(a, device=U.device) for a in (ids, *dataset.seen_by(ids)))
        target = torch.as_tensor(dataset.test[ids, None], device=U.device)
        scores = U[rows] @ V.T
        own = scores.gather(1, target.clamp_min(0))
        scores[at, items] = -torch.inf
        yield rows, target, own, scores


def _moved_vectors(model: Attackable) -> Callable[[Tensor | None], tuple[Tensor, Tensor]]:
    """ΔE (N, K) -> vectors of users and items for the scores under c + Δ; the clean ones for None."""
    U, V, visual = model.user_vectors(), model.item_vectors(), model.visual_users()
    both = torch.cat([U, visual], 1)  # ŷ' = ŷ + visualᵀ(EᵀΔ)
    return lambda seen: (U, V) if seen is None else (both, torch.cat([V, seen], 1))


def _test_gradient(model: Attackable, dataset: Dataset) -> Gradient:
    """Of the loss Σ_u mean_j −ln σ(ŷ_u,test − ŷ_uj), j over what u may be shown."""
    vectors, visual = _moved_vectors(model), model.visual_users()

    def gradient(seen: Tensor | None) -> tuple[Tensor, Tensor]:
        s, loss = visual.new_zeros(dataset.n_items, visual.shape[1]), visual.new_zeros((), dtype=torch.float64)
        for rows, target, own, scores in score_blocks(*vectors(seen), dataset, dataset.test_users):
            behind = (scores - own).scatter_(1, target, -torch.inf)  # (b, N)  −(ŷ_ui − ŷ_uj); −∞ of no rival: no loss
            share = 1 / (behind > -torch.inf).sum(1, keepdim=True).clamp_min(1).to(s.dtype)  # (b, 1)
            loss += (F.softplus(behind).sum(1, keepdim=True) * share).double().sum()
            g = torch.sigmoid(behind).mul_(share)  # (b, N)  ∂L/∂ŷ_uj
            g.scatter_(1, target, -g.sum(1, keepdim=True))  # ∂L/∂ŷ_u,test
            s += g.T @ visual[rows]
        return s, loss

    return gradient


def _train_gradient(model: Attackable, dataset: Dataset, seed: int) -> Gradient:
    """Of the BPR loss of all training pairs with one negative each, the same in every step."""
    vectors, visual = _moved_vectors(model), model.visual_users()
    users, pos = torch.as_tensor(np.array(dataset.train), device=visual.device).unbind(1)
    sampler = NegativeSampler(dataset, visual.device, allow_full=True)
    if len(sampler.full):  # there is nothing that they did not choose
        able = ~torch.isin(users, torch.as_tensor(sampler.full, device=users.device))
        users, pos = users[able], pos[able]
    neg = sampler(users, torch.Generator(visual.device).manual_seed(seed))

    def gradient(seen: Tensor | None) -> tuple[Tensor, Tensor]:
        U, V = vectors(seen)
        s, loss = visual.new_zeros(dataset.n_items, visual.shape[1]), visual.new_zeros((), dtype=torch.float64)
        block = max(1, BLOCK_BYTES // (4 * U.shape[1] * U.element_size()))
        for u, i, j in zip(users.split(block), pos.split(block), neg.split(block)):
            x = (U[u] * (V[i] - V[j])).sum(1)
            loss += F.softplus(-x).double().sum()
            gp = -torch.sigmoid(-x)[:, None] * visual[u]  # (b, K)
            if s.is_cuda:  # index_add_ adds atomically there, in no fixed order; this sorts instead
                s.index_put_((i,), gp, accumulate=True).index_put_((j,), -gp, accumulate=True)
            else:
                s.index_add_(0, i, gp).index_add_(0, j, gp, alpha=-1)
        return s, loss

    return gradient
