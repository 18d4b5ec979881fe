"""What changed features can do to a ranking: noise, attacks, promotion, and the exact worst case.

A score is ŷ_ui = p_uᵀ(q_i + Eᵀc_i), so moving c_i by Δ_i moves it by (E p_u)ᵀΔ_i. Everything here follows
from that line. Models without E (Popularity, MF) are not moved at all.

An attack returns changed features, (N, D), and knows one model. To transfer it, evaluate another model under
them: ``evaluate(other, shop, features=perturb(model, shop, epsilon))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .datasets.dataset import Dataset
from .ranking import BLOCK_BYTES, TILE_BYTES, held_out_ranks
from .training import NORM_FLOOR, NegativeSampler

__all__ = [
    "breaking_epsilon", "category_hit_ratio", "item_ranks", "perturb", "promote", "worst_case_perturbation",
    "worst_case_ranks",
]  # fmt: skip

NORMS = ("l2", "linf")


@torch.no_grad()
def perturb(
    model: Any,
    dataset: Dataset,
    epsilon: float,
    kind: str = "adversarial",
    triples: str = "test",
    seed: int = 0,
    steps: int = 1,
    norm: str = "l2",
) -> Tensor:
    """The item features moved by at most ε each, c_i + Δ_i, one Δ for all users.

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
    steps : int
        1 is the paper's attack. With more, the first step is the same and each that follows has length
        2.5 ε/steps along the gradient at the moved features, every item taken back into its ball; of all
        the features passed through, those with the highest loss are returned. So more steps never attack
        that loss less than one.
    norm : ``"l2"`` or ``"linf"``
        The ball: ‖Δ_i‖₂ ≤ ε, or every entry of Δ_i at most ε (a step then goes along the signs of Γ_i).
        An ℓ∞ step is √D times as long as an ℓ2 step of the same ε.

    Returns
    -------
    (N, D) tensor on the model's device, ready for ``evaluate(..., features=…)``.
    Random noise and a single step use up ε for every item; an item whose gradient is zero is not moved.

    Raises
    ------
    ValueError
        A model that does not look at features, ε negative or not finite, ``steps`` below 1, an unknown
        ``kind``, ``triples`` or ``norm``.
    """
    c = _features(model, epsilon, steps, norm)
    if kind == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(c.shape, generator=generator, dtype=torch.float64).to(c)  # (N, D)
        return c + epsilon * _direction(noise, norm)
    if kind != "adversarial":
        raise ValueError(f"kind must be 'adversarial' or 'random', not {kind!r}")
    attacks: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
        "test": lambda moved: _test_gradient(model, dataset, moved),
        "train": lambda moved: _train_gradient(model, dataset, seed, moved),
    }
    if triples not in attacks:
        raise ValueError(f"triples must be 'test' or 'train', not {triples!r}")
    return _ascend(model.E, c, attacks[triples], epsilon, steps, norm)


def _features(model: Any, epsilon: float, steps: int, norm: str) -> Tensor:
    """c (N, D) of a model that looks, once the rest has been found to make sense."""
    if model.E is None or model.features is None:
        raise ValueError(f"{type(model).__name__} does not look at features, so there is nothing to perturb")
    _check_epsilon(epsilon)
    _check_norm(norm)
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
    return model.features.to(model.E.dtype)  # stored as float16, perhaps


def _check_epsilon(epsilon: float) -> None:
    if not np.isfinite(epsilon) or epsilon < 0:
        raise ValueError(f"epsilon must be a finite number of at least 0, not {epsilon!r}")


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise ValueError(f"norm must be 'l2' or 'linf', not {norm!r}")


def _direction(gamma: Tensor, norm: str) -> Tensor:
    """Of all rows Δ_i with ‖Δ_i‖ ≤ 1 the one that maximises Γ_iᵀΔ_i; zero where Γ_i is. (n, D)"""
    length = gamma.norm(dim=1, keepdim=True)  # (n, 1)
    unit = gamma.sign() if norm == "linf" else gamma / length.clamp_min(NORM_FLOOR)
    return torch.where(length > NORM_FLOOR, unit, 0.0)


def _into_ball(delta: Tensor, epsilon: float, norm: str) -> Tensor:
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * (epsilon / delta.norm(dim=1, keepdim=True).clamp_min(NORM_FLOOR)).clamp_max(1)


def _ascend(
    E: Tensor, c: Tensor, gradient: Callable[[Tensor], tuple[Tensor, Tensor]], epsilon: float, steps: int, norm: str
) -> Tensor:
    """Projected gradient ascent. ``gradient(features)`` gives s (n, K), Γ_i = E s_i, and the loss: one number,
    or (n,), one for each item where no item's move touches another's loss."""
    s, _ = gradient(c)
    delta = epsilon * _direction(s @ E.T, norm)  # (n, D)
    if steps == 1:
        return c + delta
    best, highest = delta, None
    for step in range(steps):
        s, loss = gradient(c + delta)
        better = loss > highest if highest is not None else torch.ones_like(loss, dtype=torch.bool)
        best = torch.where(better[..., None], delta, best)
        highest = loss if highest is None else torch.maximum(loss, highest)
        if step + 1 < steps:
            delta = _into_ball(delta + 2.5 * epsilon / steps * _direction(s @ E.T, norm), epsilon, norm)
    return c + best


class _Block(NamedTuple):
    """Some test users, what all items score for them, and which entries are the user's own training items."""

    ids: np.ndarray  # (b,)
    rows: Tensor  # (b,) the same on the device
    target: Tensor  # (b, 1) the held-out item
    scores: Tensor  # (b, N)
    seen: tuple[Tensor, Tensor]  # (row of the block, item)


def _blocks(U: Tensor, V: Tensor, dataset: Dataset, users: np.ndarray, arrays: int = 4) -> Iterator[_Block]:
    """Blocks of users, ascending, so that ``arrays`` arrays (b, N) stay within the bound of ``ranking``."""
    N, device = dataset.n_items, U.device
    row = N * U.element_size() * arrays
    block = BLOCK_BYTES // row
    if device.type != "cuda":  # on the CPU less is faster, as long as the cache holds it
        block = min(block, max(64, 2 * TILE_BYTES // row))
    block = max(1, block)
    for start in range(0, len(users), block):
        ids = users[start : start + block]
        rows = torch.as_tensor(ids, device=device)
        keys = dataset.unique_keys[dataset.indptr[ids[0]] : dataset.indptr[ids[-1] + 1]]
        at = np.searchsorted(ids, keys // N)
        mine = ids[np.minimum(at, len(ids) - 1)] == keys // N  # other users may lie between
        seen = torch.as_tensor(at[mine], device=device), torch.as_tensor(keys[mine] % N, device=device)
        target = torch.as_tensor(dataset.test[ids], device=device)[:, None]
        yield _Block(ids, rows, target, U[rows] @ V.T, seen)


def _test_gradient(model: Any, dataset: Dataset, features: Tensor) -> tuple[Tensor, Tensor]:
    """s (N, K) with Γ_i = E s_i, and the loss Σ_u mean_j −ln σ(ŷ_u,test − ŷ_uj), j over what u may be shown."""
    U, V, visual = model.user_vectors(), model.item_vectors(features), model.visual_users()
    N = dataset.n_items
    s = torch.zeros(N, visual.shape[1], device=U.device, dtype=U.dtype)
    loss = torch.zeros((), device=U.device, dtype=torch.float64)
    for ids, rows, target, scores, seen in _blocks(U, V, dataset, dataset.test_users):
        rivals = N - np.diff(dataset.indptr)[ids] - 1 + dataset.is_train(ids, dataset.test[ids])  # (b,)
        share = 1 / torch.as_tensor(rivals, device=U.device).clamp_min(1)[:, None].to(U.dtype)
        behind = scores - scores.gather(1, target)  # (b, N)  −(ŷ_ui − ŷ_uj)
        behind[seen] = -torch.inf  # no rivals: no loss, no gradient
        behind.scatter_(1, target, -torch.inf)
        loss += (F.softplus(behind).sum(1, keepdim=True) * share).double().sum()
        g = torch.sigmoid(behind).mul_(share)  # (b, N)  ∂L/∂ŷ_uj
        g.scatter_(1, target, -g.sum(1, keepdim=True))  # ∂L/∂ŷ_u,test
        s += g.T @ visual[rows]
    return s, loss


def _train_gradient(model: Any, dataset: Dataset, seed: int, features: Tensor) -> tuple[Tensor, Tensor]:
    """s (N, K) with Γ_i = E s_i, and the BPR loss of all training pairs with one negative each."""
    U, V, visual = model.user_vectors(), model.item_vectors(features), model.visual_users()
    users, pos = torch.as_tensor(dataset.train, device=U.device).unbind(1)
    generator = torch.Generator(U.device).manual_seed(seed)
    neg = NegativeSampler(dataset, U.device)(users, generator)
    x = (U[users] * (V[pos] - V[neg])).sum(1)
    gp = -torch.sigmoid(-x)[:, None] * visual[users]  # (n, K)
    s = torch.zeros(dataset.n_items, visual.shape[1], device=U.device, dtype=U.dtype)
    return s.index_add_(0, pos, gp).index_add_(0, neg, -gp), F.softplus(-x).double().sum()


# ---------------------------------------------------------------- one user's worst case


def worst_case_ranks(
    model: Any,
    dataset: Dataset,
    epsilon: float,
    candidates: np.ndarray | None = None,
    progress: bool = True,
    norm: str = "l2",
) -> np.ndarray:
    """The furthest each user's held-out item can fall when every item's features move by at most ε: exact.

    Implements :eq:`eq-worst-rank`.

    For user u the held-out item i loses at most ε‖E p_u‖ and each rival j gains at most as much
    (Cauchy–Schwarz), all at once under Δ_i = −ε E p_u/‖E p_u‖, Δ_j = +ε E p_u/‖E p_u‖. So

        rank = #{ j : ŷ_uj + 2ε‖E p_u‖ ≥ ŷ_ui },

    no attack can do worse and this one does it (:func:`worst_case_perturbation`). Each user gets a
    perturbation of their own; one shared by all users, as in the paper's tables, does no more harm than this.
    ``hr(worst_case_ranks(…), k)`` is therefore a certified HR@k.

    With ``norm="linf"`` every entry of Δ moves by at most ε, and Hölder's inequality puts the dual norm
    ‖E p_u‖₁ in the place of ‖E p_u‖₂, with Δ = ±ε sign(E p_u).

    Returns
    -------
    int64, (n,), for ``dataset.test_users`` in order.

    Raises
    ------
    ValueError
        ε negative or not finite, an unknown ``norm``.
    """
    _check_epsilon(epsilon)
    margin = 2 * epsilon * _sensitivity(model, norm)
    return held_out_ranks(model.user_vectors(), model.item_vectors(), dataset, candidates, margin, progress)


def _sensitivity(model: Any, norm: str) -> Tensor:
    """:meth:`PairwiseModel.sensitivity`, and zero for a model that has none, (M,)."""
    _check_norm(norm)
    if hasattr(model, "sensitivity"):
        return model.sensitivity(norm)
    U = model.user_vectors()
    return U.new_zeros(len(U))


@torch.no_grad()
def worst_case_perturbation(model: Any, dataset: Dataset, user: int, epsilon: float, norm: str = "l2") -> Tensor:
    """The features under which one user's held-out item falls as far as it can: (N, D), c + Δ.

    Δ_i = −ε d for the held-out item and +ε d for all others, d the unit vector along E p_u (ℓ2) or its
    signs (ℓ∞). It reaches the bound of :func:`worst_case_ranks` for this user; for others it is some attack.

    Raises
    ------
    ValueError
        A user without a held-out item or out of range, a model that does not look, ε or ``norm`` that is none.
    """
    c = _features(model, epsilon, 1, norm)
    if not 0 <= user < dataset.n_users or dataset.test[user] < 0:
        raise ValueError(f"user {user!r} has no held-out item; take one of dataset.test_users")
    move = epsilon * _direction((model.E @ model.visual_users()[user])[None], norm)  # (1, D)
    moved = c + move
    item = int(dataset.test[user])
    moved[item] = c[item] - move[0]
    return moved


@torch.no_grad()
def breaking_epsilon(model: Any, dataset: Dataset, k: int = 10, norm: str = "l2") -> np.ndarray:
    """The ε from which on each user's hit among the first k is no longer certain: float64, (n,), for ``test_users``.

    With ŷ_u(k) the k-th best rival of the held-out item i, :func:`worst_case_ranks` is below k as long as
    ŷ_ui − 2ε‖E p_u‖ > ŷ_u(k), so

        ε_u = (ŷ_ui − ŷ_u(k)) / (2‖E p_u‖),

    with the dual norm under ℓ∞. It is 0 where there is no hit to break, and infinite where nothing can
    break it: E p_u = 0, or fewer than k rivals.

    Raises
    ------
    ValueError
        ``k`` below 1 or above the catalogue's size, an unknown ``norm``.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= dataset.n_items:
        raise ValueError(f"k must be a whole number between 1 and the catalogue's {dataset.n_items} items, not {k!r}")
    sensitivity = _sensitivity(model, norm)
    U, V = model.user_vectors(), model.item_vectors()
    gaps = []
    for _, rows, target, scores, seen in _blocks(U, V, dataset, dataset.test_users):
        own = scores.gather(1, target)  # (b, 1)
        scores[seen] = -torch.inf
        scores.scatter_(1, target, -torch.inf)
        lead = (own - torch.topk(scores, int(k), dim=1).values[:, -1:])[:, 0].clamp_min(0)  # (b,)
        gaps.append(lead / (2 * sensitivity[rows]))  # above 0 over 0 is infinite
    epsilons = torch.cat(gaps).double().cpu().numpy()
    hit = held_out_ranks(U, V, dataset) < k  # ties are counted there, exactly
    return np.where(hit, epsilons, 0.0)


# ---------------------------------------------------------------- promotion


@torch.no_grad()
def promote(model: Any, dataset: Dataset, items: Any, epsilon: float, k: int = 10, steps: int = 1, norm: str = "l2") -> Tensor:
    """The features with some items' moved by at most ε to bring them into people's first k: (N, D).

    What goes up, for each promoted item t, is a smooth count of the people who are shown it,

        Σ_u σ(ŷ_ut − ŷ_u(k)),   ŷ_u(k) the k-th best of u's untouched items outside ``items``,

    over all users who do not have t already. (The BPR loss against the same bar would be spent on the many whom
    the item will never reach: their gradients are the largest.) The bar does not move with Δ, and no item's
    Δ touches another's count. ``steps`` and ``norm`` are those of :func:`perturb`; the best step is kept item by item.

    Raises
    ------
    ValueError
        As :func:`perturb`; no item, an id out of range, or fewer than k items left that are not promoted.
    """
    c = _features(model, epsilon, steps, norm)
    ids = _item_ids(items, dataset.n_items)
    if not 1 <= k <= dataset.n_items - len(ids):
        raise ValueError(f"k must be between 1 and the {dataset.n_items - len(ids)} items that are not promoted, not {k!r}")
    at = torch.as_tensor(ids, device=c.device)
    U, visual = model.user_vectors(), model.visual_users()
    V = model.item_vectors()
    bars = []
    for _, _, _, scores, seen in _blocks(U, V, dataset, np.arange(dataset.n_users)):
        scores[seen] = -torch.inf
        scores[:, at] = -torch.inf
        bars.append(torch.topk(scores, int(k), dim=1).values[:, -1])
    bar = torch.cat(bars)  # (M,)  −∞ for someone who has nearly everything: whatever comes is shown
    place = torch.full((dataset.n_items,), -1, device=c.device).index_copy_(0, at, torch.arange(len(at), device=c.device))
    block = max(1, BLOCK_BYTES // (len(at) * U.element_size() * 4))

    def gradient(moved: Tensor) -> tuple[Tensor, Tensor]:  # (n, D) -> s (n, K), the smooth counts (n,)
        features = model.features.to(c.dtype).index_copy(0, at, moved)
        V = model.item_vectors(features)[at]  # (n, K̃)
        s, count = V.new_zeros(len(at), visual.shape[1]), V.new_zeros(len(at), dtype=torch.float64)
        for start in range(0, dataset.n_users, block):
            stop = min(start + block, dataset.n_users)
            ahead = U[start:stop] @ V.T - bar[start:stop, None]  # (b, n)
            own = slice(dataset.indptr[start], dataset.indptr[stop])
            row = torch.as_tensor(dataset.unique_keys[own] // dataset.n_items - start, device=c.device)
            column = place[torch.as_tensor(dataset.indices[own], device=c.device)]
            ahead[row[column >= 0], column[column >= 0]] = -torch.inf
            shown = torch.sigmoid(ahead)
            count += shown.double().sum(0)
            s += (shown * (1 - shown)).T @ visual[start:stop]  # σ' = σ (1 − σ)
        return s, count

    return c.index_copy(0, at, _ascend(model.E, c[at], gradient, epsilon, steps, norm))


def _item_ids(items: Any, n_items: int) -> np.ndarray:
    ids = np.unique(np.atleast_1d(np.asarray(items)))
    if not len(ids) or ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError("items must be at least one item id, whole numbers in one list")
    if ids[0] < 0 or ids[-1] >= n_items:
        raise ValueError(f"items: {ids[0] if ids[0] < 0 else ids[-1]} is outside 0…{n_items - 1}")
    return ids.astype(np.int64)


def category_hit_ratio(model: Any, dataset: Dataset, items: Any, k: int = 10, features: Any = None) -> float:
    """CHR@k: the share of all places in people's first k that go to ``items``. In [0, 1].

        CHR@k = 1/(kM) Σ_u #{ i ∈ items, not one of u's own : i among u's first k }

    with M users: the category hit ratio of Di Noia, Malitesta & Merra (2020), for ``items`` of a category.

    Raises
    ------
    ValueError
        No item, an id out of range, ``k`` below 1 or above the catalogue's size.
    """
    ids = _item_ids(items, dataset.n_items)
    shown, _ = model.recommend(np.arange(dataset.n_users), k, features)  # (M, k); the users' own are left out
    return float(np.isin(shown, ids).mean())


def item_ranks(model: Any, dataset: Dataset, item: int, features: Any = None) -> np.ndarray:
    """Where one item stands with everyone who does not have it: int64, one rank (0 is best) a user, users ascending.

    Ties count against it, as everywhere in this library.

    Raises
    ------
    ValueError
        An id out of range.
    """
    ids = _item_ids(item, dataset.n_items)
    test = np.where(dataset.is_train(np.arange(dataset.n_users), ids), -1, ids)
    return held_out_ranks(model.user_vectors(), model.item_vectors(features), dataset.replace(test=test, candidates=None))
