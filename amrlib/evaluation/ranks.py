"""Where items stand with users: ranks, the k best items, and the measures that follow from a rank.

A rank counts from 0: the number of other candidates that score at least as high as the held-out item. A tie counts against
it, as in the authors' program, so one score for all items is the worst there is, not the luckiest. Among the k best, ties go
to the smaller item number. Scores are float32 at least, and items with the same vector tie exactly, however it is rounded."""

import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from ..checks import one_of, require, whole_number
from ..datasets.dataset import Dataset
from ..progress import progress_bar
from ..protocols import ALONE, Alone

BLOCK_BYTES = 2**27  # the most that scores take at a time: 128 MiB, whatever the size of the catalogue
TILE_BYTES = 2**21  # on the CPU scores are compared while they are still in its cache
TILE_USERS = 1024
COMPILED_FROM = 2**28  # scores to compare from which a compiled loop is worth loading: a second's work
WIDEST = 2**13  # columns of a tile: float32 adds up so many ones, and what one of them lacks of 1, without losing that
LOOK_FOR_NAN = "look for NaN in the parameters or the features"


def gains(
    measure: str, ranks: np.ndarray, k: int = 0, n_candidates: np.ndarray | int = 0, ideal: str = "achievable", auc: str = "all"
) -> np.ndarray:
    """What each rank adds to ``"hr"`` (or ``"recall"``, the same with one held-out item) or ``"ndcg"``, both at k, to
    ``"mrr"`` or to ``"auc"``: float64, (n,). The measures are the means. :eq:`eq-hr-ndcg`, :eq:`eq-mrr-auc` ``ideal`` and
    ``auc`` are those of :func:`amrlib.evaluate`."""
    one_of(measure := measure.lower(), "measure", ("hr", "ndcg", "mrr", "auc", "recall"))
    if measure == "mrr":
        return 1.0 / (ranks + 1.0)
    if measure == "auc":
        n = np.maximum(n_candidates, 1)
        whole = 1.0 - ranks / n
        return whole if auc == "all" else np.where(ranks < k, whole, np.maximum(n - k, 0) / (2.0 * n))
    values = np.where(ranks < k, np.log(2) / np.log(ranks + 2.0) if measure == "ndcg" else 1.0, 0.0)
    if measure == "ndcg" and ideal == "k":
        values /= (np.log(2) / np.log(np.arange(k) + 2.0)).sum()
    return values


def hr(ranks: np.ndarray, k: int) -> float:
    """Hit ratio HR@k: the share of users whose held-out item is among the first k. In [0, 1]. :eq:`eq-hr-ndcg`"""
    return float(gains("hr", ranks, k).mean())


def ndcg(ranks: np.ndarray, k: int) -> float:
    """NDCG@k with one relevant item: mean of ln 2 / ln(rank + 2) where rank < k, else 0. In [0, 1]. :eq:`eq-hr-ndcg`"""
    return float(gains("ndcg", ranks, k).mean())


@contextmanager
def full_precision() -> Iterator[None]:
    """No gradients, and float32 matrices multiplied in float32, even where the session allows TF32 or bfloat16 for speed: an
    item's score and its rivals' could come from two arithmetics, and ranks would drift by chance."""
    with torch.no_grad(), ExitStack() as undo:
        for backend in (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)):
            if (allowed := getattr(backend, "fp32_precision", None)) is not None:
                undo.callback(setattr, backend, "fp32_precision", allowed)
                setattr(backend, "fp32_precision", "ieee")  # noqa: B010
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
            undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        yield


def _twins(V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the n distinct among N item vectors: the first item with each (n,), which is whose (N,), how many have it (n,)."""
    bits = torch.int32 if V.dtype == torch.float32 else torch.int64
    odd = torch.randint(2**62, (V.shape[1],), generator=torch.Generator().manual_seed(0)).to(V.device) * 2 + 1
    # each row becomes one number, which sorts much faster than rows do; + 0.0 because −0 and 0 are equal
    # (the float64 of a float32 ends in 29 bits of 0: the others are brought down, or many rows would share a number)
    parts = ((part + 0.0).view(bits).long() for part in V.split(max(1, 2**16 // max(1, V.shape[1]))))
    key = torch.cat([((part ^ part >> 32) * odd).sum(1) for part in parts])
    items = torch.arange(len(V), device=V.device)
    for rows, dim in ((key, None), (V, 0)):  # the second only if two vectors share a number: hardly ever
        _, of, times = torch.unique(rows, dim=dim, return_inverse=True, return_counts=True)
        first = torch.full_like(times, len(V)).scatter_reduce_(0, of, items, "amin")
        later = torch.nonzero(first[of] != items)[:, 0]
        if torch.equal(V[later], V[first[of[later]]]):
            break
    first, order = torch.sort(first)
    return first, torch.argsort(order)[of], times[order]


@full_precision()
def held_out_ranks(
    user_vectors: Tensor, item_vectors: Tensor, dataset: Dataset, candidates: np.ndarray | None = None,
    margin: Tensor | None = None, progress: bool = False, items: np.ndarray | None = None, ties: str = "lost",
    team: Alone = ALONE,
) -> np.ndarray:  # fmt: skip
    """Rank of each test user's held-out item: int64, 0 is best, users ascending. Implements :eq:`eq-rank`.

    Scores are ``user_vectors`` (M, K) times ``item_vectors`` (N, K); vectors that are not finite are a ValueError. Rivals are
    ``candidates``, int (M, C), and by default all items but the user's training items. ``margin`` (M,) is added to every
    rival's score, per user: the worst case of :func:`amrlib.worst_case_ranks`. ``items``, int (M,), are ranked instead of the
    held-out ones, ``dataset.test``; -1 is none. With ``ties="won"`` a rival that scores the same is behind, so that the
    difference to ``"lost"`` is how many those are. ``team`` is that of :func:`amrlib.evaluate`."""
    one_of(ties, "ties", ("lost", "won"))
    won = ties == "won"
    dtype = torch.promote_types(torch.result_type(user_vectors, item_vectors), torch.float32)
    U, V = user_vectors.to(dtype), item_vectors.to(dtype)
    for name, vectors in (("user", U), ("item", V)):
        require(torch.isfinite(vectors).all(), f"the {name} vectors are not all finite; {LOOK_FOR_NAN}")
    held = dataset.test if items is None else items
    users, device = np.flatnonzero(held >= 0), U.device
    screened = candidates is None and dtype == torch.float64 and device.type == "cpu"
    if screened:  # the same scores, by vectors of items that are no longer than 1
        power = 2.0 ** min(max(math.frexp(float(torch.linalg.vector_norm(V, dim=1).max()))[1], -1000), 1000)
        U, V = U * power, V / power
    first, column, times = _twins(V)  # twins become one column (so MF scores its cold items, all zero, once)
    distinct, screen = V if len(first) == len(V) else V[first], None
    if screened:
        screen = torch.ones(len(distinct), V.shape[1] + 1, dtype=torch.float32)
        screen[:, :-1] = distinct
    weight = times.to(torch.float32 if len(V) < 2**24 else torch.float64)  # float32 counts exactly up to 2²⁴
    count = _compiled(device, len(users) * len(first)) if candidates is None else None
    budget, most = (BLOCK_BYTES, 4 * TILE_USERS) if device.type == "cuda" else (min(BLOCK_BYTES, TILE_BYTES), TILE_USERS)
    # a sampled rival brings its whole vector, a ranked one only its score
    row_bytes = U.element_size() * (1 if candidates is None else (candidates.shape[1] + 1) * U.shape[1])
    block = min(most, max(1, budget // row_bytes))
    ranks, mine = torch.zeros(len(users), dtype=torch.int64, device=device), users[team.part]
    found = ranks[team.part]
    for start in progress_bar(range(0, len(mine), block), "ranking", progress):
        ids = mine[start : start + block]
        rows, target = (torch.as_tensor(a, device=device) for a in (ids, held[ids]))  # (b,)
        u = U[rows]  # (b, K)
        bar = (u * V[target]).sum(1, keepdim=True)  # (b, 1) the score to reach
        if margin is not None:
            bar -= margin[rows][:, None].to(bar.dtype)
        if candidates is None:
            # no rivals: the user's training items, and the held-out item, which may be among them but counts once
            at, seen = dataset.seen_by(ids)
            other = seen != held[ids][at]
            at, seen = np.concatenate([at[other], np.arange(len(ids))]), np.concatenate([seen[other], held[ids]])
            out = torch.as_tensor(at, device=device), column[torch.as_tensor(seen, device=device)]
            beaten = _count(u, distinct, weight, bar, column[target], out, budget, won, screen, count)
        else:
            rivals = torch.as_tensor(candidates[ids], device=device)  # (b, C)
            theirs = V.index_select(0, rivals.flatten()).view(*rivals.shape, -1)  # (b, C, K)
            scores = theirs.mul_(u[:, None]).sum(2)  # (b, C)
            same = column[rivals] == column[target][:, None]
            reached = (scores > bar) & ~same if won else (scores >= bar) | same
            beaten = (reached & (rivals != target[:, None])).sum(1)
        found[start : start + block] = beaten
    return team.sum(ranks).cpu().numpy()


def _compiled(device: torch.device, scores: int) -> Callable[..., None] | None:
    """The loop that counts, where there is numba, a CPU, and enough to do."""
    if device.type != "cpu" or scores < COMPILED_FROM or importlib.util.find_spec("numba") is None:
        return None
    from .counting import count

    return count


def _count(
    u: Tensor, v: Tensor, weight: Tensor, bar: Tensor, own: Tensor, out: tuple[Tensor, Tensor], budget: int, won: bool = False,
    screen: Tensor | None = None, count: Callable[..., None] | None = None,
) -> Tensor:  # fmt: skip
    """Σ_j weight_j [u·v_j ≥ bar] for each row of ``u``, less one for each row and column in ``out`` counted: int64, (b,).
    With ``won`` it is > in place of ≥. Works through the columns in tiles of ``budget`` bytes, each compared in place: nothing
    but the tile is held. ``count``, where given, compares and adds. With ``screen``, [v; 1] in float32 of v no longer than 1,
    float32 decides where it is certain, and float64 where it is not: the ranks are float64's."""
    b, fast, columns_of = len(u), u, v
    if screen is not None:  # columns of (u·v − bar) / doubt
        # (b, 1) 1.25 times as far as float32 may be off: K + 1 terms, of rounded numbers (Higham 2002, §3.1)
        doubt = 1.25 * (u.shape[1] + 4) * 2.0**-24 * (u.norm(dim=1, keepdim=True) + bar.abs())
        fast, columns_of = (torch.cat([u, -bar], 1) / doubt.clamp_min(1e-300)).float(), screen
    # what stands for a rival that is behind; with −1 the few that are not quite ±1 do not change the rounded sum
    no = -1.0 if screen is not None and weight.max() <= 4 else 0.0
    beaten = torch.zeros(b, dtype=torch.int64, device=u.device)
    width = max(1, min(len(v), budget // (fast.element_size() * b), WIDEST))
    edges = torch.arange(0, len(v) + width, width, device=u.device)
    own, who = torch.sort(own)
    columns, order = torch.sort(out[1])
    if count is not None:  # at ``high`` a column has reached the bar, below ``low`` it has not, in float32's numbers
        high = torch.ones(b) if screen is not None else (torch.nextafter(bar, bar.new_tensor(torch.inf)) if won else bar)[:, 0]
        low = high if screen is None else -high
        bars = low.numpy(), high.numpy()
        mine_of, out_of = (torch.stack(pair).numpy() for pair in ((who, own), (out[0][order], columns)))
    cuts = torch.stack([torch.searchsorted(columns, edges), torch.searchsorted(own, edges)]).T.tolist()
    tile = fast.new_empty(b * width)
    for left, (cut, mine), (next_cut, next_mine) in zip(range(0, len(v), width), cuts, cuts[1:]):
        part = columns_of[left : left + width]
        s = torch.mm(fast, part.T, out=tile[: b * len(part)].view(b, len(part)))  # (b, width)
        if count is not None:
            here, pairs = slice(left, left + width), (mine_of[:, mine:next_mine], out_of[:, cut:next_cut])
            exact = u.numpy(), v[here].numpy(), bar[:, 0].numpy()
            count(s.numpy(), *bars, weight[here].numpy(), *pairs, left, *exact, won, beaten.numpy())
            continue
        # a tie with itself and its twins, however rounded
        tie = (who[mine:next_mine], own[mine:next_mine] - left), -torch.inf if won else torch.inf
        s[tie[0]] = tie[1]
        if screen is None:
            s.gt_(bar) if won else s.ge_(bar)  # 1.0 or 0.0
        else:
            s.clamp_(-1, 1)  # ±1 where float32 is certain; between ±0.8 it may have the wrong sign
            doubtful = torch.nonzero(~(torch.linalg.vector_norm(s, dim=1) > (len(part) - 0.25) ** 0.5))[:, 0]
            if no == 0:
                s.gt_(0)
            if len(doubtful):
                again = u[doubtful] @ v[left : left + width].T
                s[doubtful] = torch.where(again > bar[doubtful] if won else again >= bar[doubtful], 1.0, no)
                s[tie[0]] = no if won else 1.0
        times = weight[left : left + len(part)]
        total = s.to(weight.dtype) @ times  # (b,)
        beaten += (total if no == 0 else ((total + times.sum()) / 2).round_()).long()
        at = out[0][order[cut:next_cut]]
        gone = s[at, columns[cut:next_cut] - left] > 0
        beaten.index_add_(0, at, -gone.long())
    return beaten


@full_precision()
def best_items(
    U: Tensor, V: Tensor, rows: np.ndarray, items: np.ndarray, k: int, left_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items by U Vᵀ for each row of ``U`` (b, K), with V (N, K): items, int64, and scores, float64, (b, k) each,
    scores descending, ties in the order of the items; -1 and -inf where fewer than k items are left.

    Left out are the pairs ``rows, items`` (p,), as ``dataset.seen_by(users)`` gives them, a place in ``U`` and an item, and the
    items where ``left_out``, bool (N,). Scores that are not finite are a ValueError."""
    dtype = torch.promote_types(torch.result_type(U, V), torch.float32)
    U, V = U.to(dtype), V.to(dtype)
    k = whole_number(k, "k", 1, len(V), "the catalogue's {} items")
    best, scores = np.empty((len(U), k), dtype=np.int64), np.empty((len(U), k))
    order = np.argsort(rows, kind="stable")
    rows, items = rows[order], items[order]
    # two products of the same vectors differ by no more than this times the user vector's length
    rounding = 4 * V.shape[1] * torch.finfo(V.dtype).eps
    block = max(1, BLOCK_BYTES // (4 * U.element_size() * len(V)))
    for start in range(0, len(U), block):
        part = slice(start, start + block)
        u, cut = U[part], slice(*np.searchsorted(rows, [start, start + block]))
        at, seen = (torch.as_tensor(a, device=U.device) for a in (rows[cut] - start, items[cut]))
        S = u @ V.T  # (b, N)
        require(torch.isfinite(torch.stack(S.aminmax())).all(), f"a score is not finite; {LOOK_FOR_NAN}")  # NaN sorts first
        S[at, seen] = -torch.inf
        if left_out is not None:
            S.masked_fill_(torch.as_tensor(left_out, device=U.device), -torch.inf)
        top, where = torch.topk(S, min(k + 1, len(V)), dim=1)  # right unless two of these are close
        length = V[where[:, :-1]].norm(dim=2) * u.norm(dim=1, keepdim=True)  # (b, k)
        close = (top[:, :-1] - top[:, 1:] <= rounding * length).any(1)
        top, where = top[:, :k], where[:, :k]
        if bool(close.any()):  # then among the items near the border those with the same vector take one score
            border = top[close][:, -1:] - 2 * rounding * length[close].amax(1, keepdim=True)
            near = torch.nonzero((S[close] >= border).any(0))[:, 0]  # (n,) ascending
            first, of, _ = _twins(V[near])
            again = (u[close] @ V[near].T).index_select(1, first[of])
            top[close], places = _largest(again.masked_fill_(S[close][:, near].isneginf(), -torch.inf), k)
            where[close] = near[places]
        best[part], scores[part] = where.cpu().numpy(), top.cpu().numpy()
    return np.where(np.isneginf(scores), -1, best), scores


def _largest(S: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, descending, equal ones in the order of their columns: values and columns, (b, k)."""
    border = torch.topk(S, k, dim=1).values[:, -1:]
    above, tied = S > border, S == border
    left = k - above.sum(1, keepdim=True)
    columns = torch.nonzero(above | (tied & (tied.cumsum(1, dtype=torch.int32) <= left)))[:, 1].view(-1, k)  # ascending
    values, order = torch.sort(S.gather(1, columns), dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)
