"""Noise and attacks: items' features moved by at most ε, one Δ for all users.

A score is ŷ_ui = p_uᵀ(q_i + Eᵀc_i), so moving c_i by Δ_i moves it by (E p_u)ᵀΔ_i. Γ_i, the gradient of a loss with respect to
c_i, is therefore E s_i with s_i = Σ_u (∂L/∂ŷ_ui) p_u, and all that a loss sees of Δ is ΔE (N, K). What has D dimensions is
gone through in blocks of rows."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import item_ids, list_length, number, one_of, require, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import BLOCK_BYTES, LOOK_FOR_NAN, TILE_BYTES, held_out_ranks
from ..protocols import ALONE, Alone, Attackable, Ranked, Recommending
from ..training import NORM_FLOOR, NegativeSampler

NORMS = ("l2", "linf")
ROW_NUMBERS = 2**22  # of features, or of noise, at a time


@torch.no_grad()
def perturb(
    model: Attackable, dataset: Dataset, epsilon: float, kind: str = "adversarial", triples: str = "test",
    seed: int = 0, steps: int = 1, norm: str = "l2", team: Alone = ALONE,
) -> Tensor:  # fmt: skip
    """The item features moved by at most ε each, c_i + Δ_i, one Δ for all users: (N, D) on the model's device, for
    ``evaluate(..., features=…)``. Implements :eq:`eq-gamma`.

    ``kind="adversarial"`` moves along the gradient of the BPR loss, Δ_i = ε Γ_i/‖Γ_i‖ (AMR paper eqs. 11–12), ``"random"`` as
    far in a direction drawn with ``seed``; only where the gradient is zero nothing moves. Which loss is attacked the paper does
    not say. ``triples="test"``: each user's held-out item against every item the user has not touched, so that cold items move
    too, and the attacker knows what is to be ranked. ``"train"``: the training pairs, each with one warm negative, drawn with
    ``seed``; cold items stay.

    ``steps=1`` is the paper's attack. With more, the first is the same, each that follows has length 2.5 ε/steps along the
    gradient at the moved features, and every item is taken back into its ball. The loss is convex in Δ, so no step lowers it:
    the last features are the worst of all passed through. The ball is ‖Δ_i‖₂ ≤ ε, in the units of the features; with
    ``norm="linf"`` every entry of Δ_i is at most ε, and a step goes along the signs of Γ_i, √D times as long. With ``team``, as
    in :func:`amrlib.evaluate`, each of several processes goes through its share of the users, and all get the same features,
    those of one process but for rounding. A model without features (DUIF, VBPR and AMR use them), parameters or an ε that are
    not finite, a negative ε, and an unknown word are a ValueError."""
    c, E, epsilon, steps = checked(model, epsilon, steps, norm)
    one_of(kind, "kind", ("adversarial", "random"))
    one_of(triples, "triples", ("test", "train"))
    seed = whole_number(seed, "seed", 0)
    if kind == "random":
        generator, moved = torch.Generator().manual_seed(seed), E.new_empty(c.shape)
        for rows in _row_blocks(*c.shape):
            noise = torch.randn(c[rows].shape, generator=generator, dtype=torch.float64).to(E)  # (b, D)
            moved[rows] = c[rows].to(E) + epsilon * direction(noise, norm)
        return moved
    if triples == "test":
        mine = dataset.test_users[team.part]
        gradient = lambda seen: team.sum(test_gradient(model, dataset, seen, mine, want_loss=False)[0])  # noqa: E731
        return _climb(c, E, gradient, epsilon, steps, norm)
    users, pos = torch.as_tensor(np.array(dataset.train), device=E.device).unbind(1)
    sampler = NegativeSampler(dataset, E.device, allow_full=True)
    able = ~torch.isin(users, torch.as_tensor(sampler.full, device=E.device))  # who has everything chose nothing
    users, pos = users[able], pos[able]
    neg = sampler(users, torch.Generator(E.device).manual_seed(seed))  # the same in every step
    users, pos, neg = (ids[team.part] for ids in (users, pos, neg))
    return _climb(c, E, lambda seen: team.sum(_train_gradient(model, users, pos, neg, seen)), epsilon, steps, norm)


@torch.no_grad()
def promote(
    model: Attackable, dataset: Dataset, items: Any, epsilon: float, k: int | None = None, steps: int = 1, norm: str = "l2",
    team: Alone = ALONE,
) -> Tensor:  # fmt: skip
    """The features with some items' moved by at most ε to bring them into people's first k: (N, D).

    What goes up, for each promoted item t, is a smooth count of the people who are shown it, of all who do not have it,

        Σ_u σ(ŷ_ut − ŷ_u(k)),   ŷ_u(k) the k-th best of u's untouched items outside ``items``.

    (The BPR loss against this bar would be spent on the many whom the item never reaches: their gradients are the largest.)
    The bar does not move with Δ, and no item's Δ touches another's count, so the best step is taken item by item. ``steps``,
    ``norm``, ``team`` and errors are those of :func:`perturb`; no item, an id out of range, and fewer than k items left that
    are not promoted are a ValueError as well."""
    c, E, epsilon, steps = checked(model, epsilon, steps, norm)
    ids = item_ids(items, dataset.n_items, some=True)
    at = torch.as_tensor(ids, device=E.device)
    gradient = promotion(model, dataset, ids, k, team=team)
    return c.to(E).index_copy(0, at, _ascend(c[at.to(c.device)], E, gradient, epsilon, steps, norm))


Gradient = Callable[[Tensor | None], tuple[Tensor, Tensor]]  # of ΔE (n, K), None for Δ = 0: s (n, K), and the loss or losses


def promotion(
    model: Attackable, dataset: Dataset, ids: np.ndarray, k: int | None = None, softness: float = 1.0, team: Alone = ALONE
) -> Gradient:  # fmt: skip
    """What :func:`promote` climbs, for the items ``ids`` (n,): ΔE (n, K) -> s (n, K), and each item's count (n,)."""
    k = list_length(k, dataset.n_items - len(ids), "the {} items that are not promoted")
    has = lambda users: dataset.is_train(users[:, None], ids)  # noqa: E731
    return shown_count(model, dataset, model.item_vectors()[torch.as_tensor(ids)], ids, k, has, softness, team)


def shown_count(
    model: Attackable, dataset: Dataset, V: Tensor, left_out: np.ndarray, k: int, has: Callable[[np.ndarray], np.ndarray],
    softness: float = 1.0, team: Alone = ALONE,
) -> Gradient:  # fmt: skip
    """As :func:`promotion`, for things with the vectors ``V`` (n, K̃), of the catalogue or not: the bar is the k-th best item
    outside ``left_out``, and ``has`` says who (b,) of some users has them, bool (b, n). What is summed over users is
    σ((ŷ_ut − ŷ_u(k))/softness): the less soft, the more it counts who is near the bar and the less who is far below."""
    U, visual, users = model.user_vectors(), model.visual_users(), np.arange(dataset.n_users)[team.part]  # (m,)
    at = torch.as_tensor(left_out, device=U.device)
    clean = (scores.index_fill_(1, at, -torch.inf) for *_, scores in score_blocks(U, model.item_vectors(), dataset, users))
    best = [torch.topk(scores, k, dim=1).values[:, -1] for scores in clean]
    bar = torch.cat(best or [U.new_empty(0)])  # (m,)  −∞: whatever comes is shown
    U, visual = U[team.part], visual[team.part]
    block = max(1, BLOCK_BYTES // (len(V) * U.element_size() * 4))

    def gradient(seen: Tensor | None) -> tuple[Tensor, Tensor]:
        s, count = (V.new_zeros(size, dtype=torch.float64) for size in ((len(V), visual.shape[1]), (len(V),)))
        for start in range(0, len(users), block):
            part = slice(start, start + block)
            ahead = U[part] @ V.T - bar[part, None]  # (b, n)
            if seen is not None:
                ahead += visual[part] @ seen.T
            owned = torch.as_tensor(has(users[part]), device=s.device)
            # in float64: the count of something that nobody is near has a slope below what float32 can hold
            shown = torch.sigmoid((ahead.double() / softness).clamp_min(-600)).masked_fill_(owned, 0)
            count += shown.sum(0)
            slope = shown * (1 - shown)  # σ' = σ (1 − σ)
            s += slope.T @ visual[part].double()
        s, count = team.sum(s), team.sum(count)
        size = s.abs().amax(1, keepdim=True)  # its direction is what an attack uses, so its length may be any
        return (s / torch.where(size > 0, size, 1.0)).to(V), count

    return gradient


def category_hit_ratio(model: Recommending, dataset: Dataset, items: Any, k: int | None = None, features: Any = None) -> float:
    """CHR@k = 1/(kM) Σ_u #{ i ∈ items, not one that u has : i among u's first k }, with M users: the share of all places in
    people's first k that go to ``items``, one at least. In [0, 1]. It is the category hit ratio of Di Noia, Malitesta & Merra
    (2020) where they are a category's. What u has is what the data say that the model is bound to."""
    ids = item_ids(items, dataset.n_items, some=True)
    shown, _ = model.recommend(np.arange(dataset.n_users), list_length(k, dataset.n_items), features)  # (M, k)
    return float(np.isin(shown, ids).mean())


def item_ranks(model: Ranked, dataset: Dataset, item: int, features: Any = None) -> np.ndarray:
    """Where one item stands with everyone who does not have it: int64, one rank a user, users ascending; 0 is best, and ties
    count against it, as everywhere in this library."""
    item = whole_number(item, "item", 0, dataset.n_items - 1)
    has = dataset.is_train(np.arange(dataset.n_users), np.array(item))
    return held_out_ranks(model.user_vectors(), model.item_vectors(features), dataset, items=np.where(has, -1, item))


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


def _row_blocks(n: int, D: int) -> Iterator[slice]:
    """Each block but the last has a multiple of 16 numbers and the last no fewer than 16 (if n has), since torch draws
    normal numbers sixteen at a time: so the blocks together are what one draw of (n, D) would be."""
    starts = list(range(0, max(1, n - 15), max(16, ROW_NUMBERS // D // 16 * 16)))
    return (slice(start, stop) for start, stop in zip(starts, [*starts[1:], n]))


def _first_step(c: Tensor, E: Tensor, s: Tensor, epsilon: float, norm: str) -> Tensor:
    """Δ (n, D): ε in the best direction for the gradient E s at rest."""
    require(torch.isfinite(s).all(), f"the gradient is not finite; {LOOK_FOR_NAN}")
    delta = E.new_empty(c.shape)
    for rows in _row_blocks(*c.shape):
        delta[rows] = epsilon * direction(s[rows] @ E.T, norm)
    return delta


def _next_step(delta: Tensor, E: Tensor, s: Tensor, epsilon: float, steps: int, norm: str) -> None:
    """Δ (n, D) moved by 2.5 ε/steps along the gradient E s, and each row taken back into its ball, in place."""
    for rows in _row_blocks(*delta.shape):
        longer = delta[rows] + 2.5 * epsilon / steps * direction(s[rows] @ E.T, norm)
        length = longer.norm(dim=1, keepdim=True).clamp_min(NORM_FLOOR)
        delta[rows] = longer.clamp(-epsilon, epsilon) if norm == "linf" else longer * (epsilon / length).clamp_max(1)


def _climb(
    c: Tensor, E: Tensor, gradient: Callable[[Tensor | None], Tensor], epsilon: float, steps: int, norm: str
) -> Tensor:  # fmt: skip
    """c + Δ (n, D) by projected gradient ascent on a convex loss. ``gradient`` takes ΔE (n, K), None for Δ = 0, to s (n, K).

    No loss is computed, since none can fall: the nearest point of the ball to Δ_n + tΓ_n lies on Γ_n's side of Δ_n (and under
    ℓ∞ each entry goes with its sign or stays), so the tangent rises, and a convex loss lies above its tangent."""
    delta = _first_step(c, E, gradient(None), epsilon, norm)
    for _ in range(steps - 1):
        _next_step(delta, E, gradient(delta @ E), epsilon, steps, norm)
    for rows in _row_blocks(*c.shape):
        delta[rows] += c[rows].to(E)
    return delta


def _ascend(c: Tensor, E: Tensor, gradient: Gradient, epsilon: float, steps: int, norm: str) -> Tensor:
    """As :func:`_climb`, on any loss: c and the best Δ of all passed through. Δ and that one are all that it holds in D
    dimensions. The loss is (n,), since no item's move touches another's."""
    s, loss = gradient(None)
    delta = _first_step(c, E, s, epsilon, norm)
    best, highest = delta if steps == 1 else delta.clone(), torch.full_like(loss, -torch.inf)
    for step in range(1, steps + 1) if steps > 1 else ():
        s, loss = gradient(delta @ E)
        better = loss > highest
        highest = torch.maximum(loss, highest)
        for rows in _row_blocks(*c.shape):
            best[rows] = torch.where(better[rows, None], delta[rows], best[rows])
        if step < steps:
            _next_step(delta, E, s, epsilon, steps, norm)
    for rows in _row_blocks(*c.shape):
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


def _moved_vectors(model: Attackable, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Vectors of users and items for the scores under c + Δ, given ΔE (N, K), or None for Δ = 0."""
    U, V, visual = model.user_vectors(), model.item_vectors(), model.visual_users()
    if seen is None:
        return U, V
    return (U, V + seen) if visual is U else (torch.cat([U, visual], 1), torch.cat([V, seen], 1))


def test_gradient(
    model: Attackable, dataset: Dataset, seen: Tensor | None, users: np.ndarray | None = None, want_loss: bool = True
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Of the loss Σ_u mean_j −ln σ(ŷ_u,test − ŷ_uj), u over ``users``, by default all test users, j over what u may be shown,
    and the loss: 0 at rest, with which none is compared, and where it is not wanted. It takes as long as all the rest."""
    visual, (U, V) = model.visual_users(), _moved_vectors(model, seen)
    s, loss = visual.new_zeros(len(V), visual.shape[1]), visual.new_zeros((), dtype=torch.float64)
    rivals = dataset.n_items - np.diff(dataset.indptr) - ~dataset.is_train(np.arange(dataset.n_users), dataset.test)
    shares = torch.as_tensor(1 / rivals.clip(1), device=s.device, dtype=s.dtype)[:, None]  # (M, 1)
    for rows, target, own, scores in score_blocks(U, V, dataset, dataset.test_users if users is None else users):
        share = shares[rows]  # (b, 1)
        behind = scores.sub_(own).scatter_(1, target, -torch.inf)  # (b, N)  −(ŷ_ui − ŷ_uj); −∞ of no rival: no loss
        if want_loss and seen is not None:
            loss += (F.softplus(behind).sum(1, keepdim=True) * share).double().sum()
        g = behind.sigmoid_().mul_(share)  # (b, N)  ∂L/∂ŷ_uj
        g.scatter_(1, target, -g.sum(1, keepdim=True))  # ∂L/∂ŷ_u,test
        s += g.T @ visual[rows]
    return s, loss


def _train_gradient(model: Attackable, users: Tensor, pos: Tensor, neg: Tensor, seen: Tensor | None) -> Tensor:
    """Of the BPR loss Σ −ln σ(ŷ_ui − ŷ_uj) over triples."""
    visual, (U, V) = model.visual_users(), _moved_vectors(model, seen)
    s = visual.new_zeros(len(V), visual.shape[1])
    block = max(1, BLOCK_BYTES // (4 * U.shape[1] * U.element_size()))
    for u, i, j in zip(users.split(block), pos.split(block), neg.split(block)):
        x = (U[u] * (V[i] - V[j])).sum(1)
        gp = -torch.sigmoid(-x)[:, None] * visual[u]  # (b, K)
        if s.is_cuda:  # index_add_ adds atomically there, in no fixed order; this sorts instead
            s.index_put_((i,), gp, accumulate=True).index_put_((j,), -gp, accumulate=True)
        else:
            s.index_add_(0, i, gp).index_add_(0, j, gp, alpha=-1)
    return s
