"""Ranks and what follows from them, against ten lines that anyone can check by eye."""

import itertools

import numpy as np
import pytest
import torch
import torchmetrics.retrieval as second_library

from amrlib import Dataset
from amrlib.evaluation import best_items, gains, held_out_ranks, hr, ndcg
from amrlib.evaluation import ranks as ranking

pytestmark = pytest.mark.usefixtures("counted_by")


def brute_force(scores, dataset, candidates=None):
    """Rank, number of rivals: one user and one rival at a time."""
    ranks, rivals = [], []
    train = {(int(u), int(i)) for u, i in dataset.train}
    for u in range(dataset.n_users):
        i = dataset.test[u]
        if i < 0:
            continue
        pool = range(dataset.n_items) if candidates is None else candidates[u]
        others = [j for j in pool if j != i and (candidates is not None or (u, j) not in train)]
        ranks.append(sum(scores[u][j] >= scores[u][i] for j in others))
        rivals.append(len(others))
    return np.array(ranks), np.array(rivals)


def every_pattern(n_items):
    """All ways to give n items a score of 0, 1 or 2: one user each."""
    return np.array(list(itertools.product((0.0, 1.0, 2.0), repeat=n_items)))


@pytest.mark.parametrize("bytes_", [1, 64, 2**27])
@pytest.mark.parametrize("n_items", [4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_ranks_on_every_tie_pattern(monkeypatch, n_items, dtype, bytes_):
    """Every score pattern, held-out item and set of training items, the held-out one among them too."""
    monkeypatch.setattr(ranking, "BLOCK_BYTES", bytes_)
    scores = every_pattern(n_items)
    M = len(scores)
    rng = np.random.default_rng(0)
    for held in range(n_items):
        mask = rng.random((M, n_items)) < rng.choice([0, 0.3, 0.6], M)[:, None]  # (M, N) some touch nothing
        test = np.where(rng.random(M) < 0.1, -1, held)  # some have no test item
        d = Dataset(np.argwhere(mask), test, n_users=M, n_items=n_items)
        ranks = held_out_ranks(torch.tensor(scores, dtype=dtype), torch.eye(n_items, dtype=dtype), d)
        assert ranks.tolist() == brute_force(scores, d)[0].tolist()


@pytest.mark.parametrize("bytes_", [1, 2**27])
def test_sampled_ranks_on_every_tie_pattern(monkeypatch, bytes_):
    monkeypatch.setattr(ranking, "BLOCK_BYTES", bytes_)
    scores = every_pattern(5)
    rng = np.random.default_rng(1)
    candidates = np.argsort(rng.random(scores.shape), axis=1)[:, :3]  # the held-out item is sometimes among them
    d = Dataset(np.empty((0, 2)), rng.integers(-1, 5, len(scores)), n_users=len(scores), n_items=5)
    ranks = held_out_ranks(torch.tensor(scores), torch.eye(5, dtype=torch.float64), d, candidates)
    assert ranks.tolist() == brute_force(scores, d, candidates)[0].tolist()


def test_measures_from_their_definitions():
    ranks, rivals = np.arange(7), np.array([6, 6, 7, 3, 9, 5, 6])
    for k in range(1, 9):
        assert hr(ranks, k) == pytest.approx(sum(r + 1 <= k for r in ranks) / 7)
        assert ndcg(ranks, k) == pytest.approx(sum(1 / np.log2(r + 2) for r in ranks if r + 1 <= k) / 7)
    assert gains("mrr", ranks).mean() == pytest.approx(sum(1 / (r + 1) for r in ranks) / 7)
    assert gains("auc", ranks, n_candidates=rivals).mean() == pytest.approx(sum((n - r) / n for r, n in zip(ranks, rivals)) / 7)


def random_case(seed=0, M=60, N=40, K=8, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(0, M, 4 * M), rng.integers(0, N, 4 * M)], 1)
    test = np.where(rng.random(M) < 0.15, -1, rng.integers(0, N, M))
    d = Dataset(train, test, n_users=M, n_items=N)
    return torch.tensor(rng.normal(size=(M, K)), dtype=dtype), torch.tensor(rng.normal(size=(N, K)), dtype=dtype), d


def test_measures_against_torchmetrics():
    U, V, d = random_case()
    scores = (U @ V.T).numpy()
    # torchmetrics takes a score of 0 or less for an item not retrieved, and squashes scores above 1
    scores = (scores - scores.min() + 1) / (scores.max() - scores.min() + 2)
    preds, target, indexes = [], [], []
    for u in d.test_users:
        pool = [j for j in range(d.n_items) if j == d.test[u] or j not in set(d.items_of(u))]
        preds += scores[u, pool].tolist()
        target += [j == d.test[u] for j in pool]
        indexes += [int(u)] * len(pool)
    columns = torch.tensor(preds), torch.tensor(target), torch.tensor(indexes)
    ranks = held_out_ranks(U, V, d)
    _, rivals = brute_force(scores, d)
    for k in (1, 5, 10, 20):
        assert hr(ranks, k) == pytest.approx(float(second_library.RetrievalHitRate(top_k=k)(*columns)), abs=1e-6)
        theirs = second_library.RetrievalNormalizedDCG(top_k=k)(*columns)
        assert ndcg(ranks, k) == pytest.approx(float(theirs), abs=1e-6)
    assert gains("mrr", ranks).mean() == pytest.approx(float(second_library.RetrievalMRR()(*columns)), abs=1e-6)
    theirs = float(second_library.RetrievalAUROC()(*columns))
    assert gains("auc", ranks, n_candidates=rivals).mean() == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("K", [1, 7, 64])
def test_items_with_the_same_vector_tie_exactly(dtype, K):
    """A matrix product rounds equal columns differently; the tie counts against the held-out item all the same."""
    rng = np.random.default_rng(0)
    kinds = torch.tensor(rng.normal(size=(5, K)), dtype=dtype)
    kind = rng.integers(0, 5, 3001)
    d = Dataset([[0, 0]], rng.integers(0, 3001, 200), n_users=200, n_items=3001)
    U = torch.tensor(rng.normal(size=(200, K)), dtype=dtype)
    V = kinds[torch.as_tensor(kind)]
    ranks = held_out_ranks(U, V, d)
    order = (U.double() @ kinds.double().T).numpy()
    sizes = np.bincount(kind, minlength=5)
    own = kind[d.test]
    wanted = [sizes[order[u] >= order[u, own[u]]].sum() - 1 for u in range(200)]
    wanted[0] -= order[0, kind[0]] >= order[0, own[0]] and d.test[0] != 0
    assert ranks.tolist() == wanted
    candidates = np.tile(np.arange(1, 1000), (200, 1))
    some = np.bincount(kind[1:1000], minlength=5)
    among = [some[order[u] >= order[u, own[u]]].sum() - (1 <= d.test[u] < 1000) for u in range(200)]
    assert held_out_ranks(U, V, d, candidates).tolist() == among


def test_tiles_change_nothing(monkeypatch):
    U, V, d = random_case(1, M=60, N=90, dtype=torch.float32)
    whole = held_out_ranks(U, V, d)
    candidates = np.random.default_rng(0).integers(0, 90, (60, 20))
    sampled = held_out_ranks(U, V, d, candidates)
    for users, bytes_ in [(7, 2**21), (512, 4096), (1, 1)]:
        monkeypatch.setattr(ranking, "TILE_USERS", users)
        monkeypatch.setattr(ranking, "TILE_BYTES", bytes_)
        assert (held_out_ranks(U, V, d) == whole).all()
        assert (held_out_ranks(U, V, d, candidates) == sampled).all()


def test_a_margin_lifts_every_rival_and_only_rivals():
    U, V, d = random_case(2)
    margin = torch.rand(d.n_users, dtype=torch.float64)
    scores = (U @ V.T + margin[:, None]).numpy()
    for u in d.test_users:
        scores[u, d.test[u]] -= margin[u]
    assert (held_out_ranks(U, V, d, margin=margin) == brute_force(scores, d)[0]).all()


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-200, 1e120])
@pytest.mark.parametrize("ties", ["lost", "won"])
@pytest.mark.parametrize("copies", [1, 9], ids=["few twins", "many twins"])
def test_scores_that_float32_cannot_tell_apart_are_told_apart_in_float64(size, ties, copies):
    """Item n + 1 is ahead of item n by 1e-12 of its score or the same; all others are far from them, on either side."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 40, 300)
    near = 1 + 1e-12 * (kind // 2)  # two kinds, one score
    far = np.where(rng.random(300) < 0.5, rng.uniform(2, 3, 300), rng.uniform(-3, 0, 300))
    V = np.stack([np.where(kind < 30, near, far), kind % 2], 1)
    V = np.concatenate([V] * copies)
    U = np.stack([rng.uniform(0.5, 2, 60), np.zeros(60)], 1)
    d = Dataset(np.empty((0, 2)), rng.integers(0, len(V), 60), n_users=60, n_items=len(V))
    scores = U[:, :1] * V[:, 0]
    own = scores[np.arange(60), d.test][:, None]
    same = (V == V[d.test][:, None]).all(2)
    ahead = ((scores > own) & ~same if ties == "won" else (scores >= own) | same).sum(1) - (ties == "lost")
    found = held_out_ranks(torch.tensor(U * size), torch.tensor(V / size), d, ties=ties)
    assert found.tolist() == ahead.tolist()
    assert (held_out_ranks(torch.tensor(U).float(), torch.tensor(V).float(), d, ties=ties) != ahead).any()


@pytest.mark.parametrize("apart", [1e-8, 1e-6, 1e-4])
def test_float64_ranks_are_float64_s_where_float32_errs(apart):
    """All scores lie about as close together as float32 is off; far and near ones at once."""
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(100, 64)), rng.normal(size=64) + apart * rng.normal(size=(900, 64))
    d = Dataset(np.empty((0, 2)), rng.integers(0, 900, 100), n_users=100, n_items=900)
    margin = torch.tensor(apart * rng.normal(size=100))
    scores = U @ V.T
    scores -= scores[np.arange(100), d.test][:, None]
    beaten = scores + margin.numpy()[:, None] >= 0
    wanted = beaten.sum(1) - beaten[np.arange(100), d.test]
    assert held_out_ranks(torch.tensor(U), torch.tensor(V), d, margin=margin).tolist() == wanted.tolist()


@pytest.mark.parametrize("which", ["user", "item"])
def test_vectors_must_be_finite(which):
    U, V, d = random_case()
    (U if which == "user" else V)[3, 2] = torch.nan
    with pytest.raises(ValueError, match=f"the {which} vectors are not all finite"):
        held_out_ranks(U, V, d)


def test_scores_are_never_held_whole(monkeypatch):
    """The widest tensor of scores stays within the tile, whatever the catalogue's size."""
    widest = 0
    mm = torch.mm

    def watched(a, b, out):
        nonlocal widest
        widest = max(widest, out.numel() * out.element_size())
        return mm(a, b, out=out)

    monkeypatch.setattr(torch, "mm", watched)
    U, V, d = random_case(3, M=600, N=30_000, dtype=torch.float32)
    held_out_ranks(U, V, d)
    assert 0 < widest <= ranking.TILE_BYTES


# ---- faults that were, each by its name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_vectors_rank_as_the_numbers_they_hold(dtype):
    U, V, d = random_case(4, M=200, N=3000)
    U, V = U.to(dtype), V.to(dtype)
    V[1000:] = V[:2000].clone()  # twins are counted in no low precision either
    scores = (U.double() @ V.double().T).numpy()
    candidates = np.random.default_rng(0).integers(0, 3000, (200, 50))
    assert held_out_ranks(U, V, d).tolist() == brute_force(scores, d)[0].tolist()
    assert held_out_ranks(U, V, d, candidates).tolist() == brute_force(scores, d, candidates)[0].tolist()


def test_twins_beyond_float32_are_counted():
    """One vector that 2²⁴ + 2 items share is a weight that float32 does not have."""
    N = 2**24 + 4
    V = torch.zeros(N, 1)
    V[0], V[1] = 1, -1
    d = Dataset(np.empty((0, 2)), [0, 1, 2], n_users=3, n_items=N)
    assert held_out_ranks(torch.ones(3, 1), V, d).tolist() == [0, N - 1, N - 2]


SESSIONS = {
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),  # on some processors that is bfloat16
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "fp32_precision": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("session", SESSIONS)
def test_ranks_do_not_drift_under_tf32(monkeypatch, session):
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9")
    U, V, d = random_case(5, M=300, N=2000, K=64, dtype=torch.float32)
    rows, items = d.seen_by(np.arange(300))
    state = lambda: (torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)  # noqa: E731
    clean, best = held_out_ranks(U, V, d), best_items(U, V, rows, items, 10)
    inside = []
    mm, topk = torch.mm, torch.topk
    monkeypatch.setattr(torch, "mm", lambda *a, **k: inside.append(state()) or mm(*a, **k))
    monkeypatch.setattr(torch, "topk", lambda *a, **k: inside.append(state()) or topk(*a, **k))
    try:
        SESSIONS[session]()
        before = state()
        assert "tf32" in before or "bf16" in before
        assert (held_out_ranks(U, V, d) == clean).all()
        assert (best_items(U, V, rows, items, 10)[0] == best[0]).all()
        with pytest.raises(ValueError, match="finite"):
            held_out_ranks(U, V * torch.inf, d)
        assert state() == before and set(inside) == {("ieee", "ieee")}
        if session == "high":
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


# ---- the k best


def by_sorting(scores, out, k):
    """Items and scores of each row, the pairs ``out`` left out: one row at a time."""
    items, values = np.full((len(scores), k), -1), np.full((len(scores), k), -np.inf)
    for u, row in enumerate(scores):
        left = sorted((-s, j) for j, s in enumerate(row) if (u, j) not in out)[:k]
        for place, (s, j) in enumerate(left):
            items[u, place], values[u, place] = j, -s
    return items, values


@pytest.mark.parametrize("bytes_", [1, 2**27])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_ties_go_to_the_smaller_item_on_every_pattern(monkeypatch, k, bytes_):
    """Every score pattern; random pairs left out, sometimes nearly all; pairs in any order."""
    monkeypatch.setattr(ranking, "BLOCK_BYTES", bytes_)
    scores = every_pattern(5)
    rng = np.random.default_rng(0)
    rows, items = np.nonzero(rng.random(scores.shape) < rng.choice([0, 0.3, 0.9], len(scores))[:, None])
    shuffled = rng.permutation(len(rows))
    found = best_items(torch.tensor(scores), torch.eye(5, dtype=torch.float64), rows[shuffled], items[shuffled], k)
    wanted = by_sorting(scores, set(zip(rows, items)), k)
    assert (found[0] == wanted[0]).all() and (found[1] == wanted[1]).all()
    left_out = np.array([True, False, False, True, False])
    found = best_items(torch.tensor(scores), torch.eye(5, dtype=torch.float64), rows, items, k, left_out)
    both = set(zip(rows, items)) | {(u, j) for u in range(len(scores)) for j in (0, 3)}
    assert (found[0] == by_sorting(scores, both, k)[0]).all()


@pytest.mark.parametrize("K", [1, 7, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_items_with_the_same_vector_are_recommended_in_their_order(dtype, K):
    rng = np.random.default_rng(0)
    kinds = torch.tensor(rng.normal(size=(5, K))).to(dtype)
    kinds[0], kinds[1] = 0, -0.0  # one number, whatever its sign
    kind = rng.integers(0, 5, 3001)
    U = torch.tensor(rng.normal(size=(100, K))).to(dtype)
    order = (U.double() @ kinds.double().T).numpy()
    rows, items = np.nonzero(rng.random((100, 3001)) < 0.3)
    found, scores = best_items(U, kinds[torch.as_tensor(kind)], rows, items, 1500)
    assert (found == by_sorting(order[:, kind], set(zip(rows, items)), 1500)[0]).all()
    assert (np.diff(scores, axis=1) <= 0).all()


def test_close_scores_are_no_ties():
    """Items a rounding error away from each other are told from items with the same vector."""
    U, V = torch.ones(3, 2), torch.tensor([[1.0, 0], [1 + 2**-23, 0], [0, 1 + 2**-23], [1, 0], [0, 0]])
    none = np.zeros(0, dtype=np.int64)
    found, scores = best_items(U, V, none, none, 5)
    assert (found == [1, 2, 0, 3, 4]).all() and scores[0, 0] == 1 + 2**-23


@pytest.mark.parametrize("kinds", [4000, 40])
def test_what_evaluate_counts_as_a_hit_is_recommended(kinds):
    U, V, d = random_case(6, M=400, N=4000, K=16)
    V = V.float()[torch.randint(0, kinds, (4000,), generator=torch.Generator().manual_seed(0))]
    d = d.replace(test=np.where(d.is_train(np.arange(400), d.test), -1, d.test))
    ranks = held_out_ranks(U.float(), V, d)
    found, _ = best_items(U.float()[d.test_users], V, *d.seen_by(d.test_users), 200)
    listed = (found == d.test[d.test_users][:, None]).any(1)
    assert listed[ranks < 200].all() and (ranks < 200).any()
    if kinds == 4000:  # nearly all different: both say the same
        assert (listed == (ranks < 200)).mean() > 0.98


def test_best_items_refuses_what_it_cannot_rank():
    none = np.zeros(0, dtype=np.int64)
    U, V = torch.ones(2, 3), torch.ones(4, 3)
    for wrong in (torch.nan, torch.inf, -torch.inf):
        W = V.clone()
        W[2, 1] = wrong
        with pytest.raises(ValueError, match="a score is not finite"):
            best_items(U, W, none, none, 2)
    for k in (0, 5, True, 2.0):
        with pytest.raises(ValueError, match="k must be a whole number between 1 and the catalogue's 4 items"):
            best_items(U, V, none, none, k)
    assert best_items(U[:0], V, none, none, np.int64(2))[0].shape == (0, 2)


def test_rows_that_share_a_number_are_told_apart(monkeypatch):
    """Twins are found by one number a row; where that number is the same for all, by the rows themselves."""
    U, V, d = random_case(7)
    V = V[torch.randint(0, 9, (40,), generator=torch.Generator().manual_seed(0))]
    whole = held_out_ranks(U, V, d)
    n = len(torch.unique(V, dim=0))
    monkeypatch.setattr(torch.Tensor, "long", lambda t: torch.zeros_like(t, dtype=torch.int64))
    first, of, times = ranking._twins(V)
    monkeypatch.undo()
    assert torch.equal(V[first][of], V) and len(first) == n and times.sum() == 40 and (first.diff() > 0).all()
    assert (held_out_ranks(U, V, d) == whole).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_whole_numbers_do_not_share_a_number(dtype, monkeypatch):
    """Their float64 ends in zeros; rows are sorted as rows only where two share a number, which takes ten times as long."""
    dims, unique = [], torch.unique
    monkeypatch.setattr(torch, "unique", lambda *a, dim, **k: dims.append(dim) or unique(*a, dim=dim, **k))
    ranking._twins(torch.cartesian_prod(*[torch.arange(16.0)] * 3).to(dtype))
    assert dims == [None]
