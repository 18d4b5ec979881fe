"""Assignment 1: measures and popularity."""

import math
from fractions import Fraction

import numpy as np

from amrbook.personal import toy_purchases
from classroom.hidden import Tests, agree, array, need, parts

tests = Tests()
NOTHING = np.zeros(0, dtype=np.int64)


def rank(scores, item, own):
    return sum(scores[j] >= scores[item] for j in range(len(scores)) if j != item and j not in own)


def ndcg(ranks, k):
    return sum(1 / math.log2(r + 2) for r in ranks if r < k) / len(ranks)


@tests("q1", 2, "the rank counts the rivals that score higher, from 0")
def _(s, draw):
    for n in (5, 30):
        scores = draw.normal(size=n)
        for item in draw.choice(n, 4, replace=False):
            agree(s.call("rank_of", scores, int(item), NOTHING), rank(scores, item, ()))


@tests("q1", 1, "a tie counts against the model, and the item is no rival of itself")
def _(s, draw):
    scores = draw.integers(0, 3, size=25).astype(float)
    for item in range(5):
        agree(s.call("rank_of", scores, item, NOTHING), rank(scores, item, ()))


@tests("q1", 1, "the shopper's own items do not compete")
def _(s, draw):
    scores, order = draw.normal(size=20), draw.permutation(20)
    item, own = int(np.argsort(scores)[3]), order[:8]
    own = np.union1d(own[own != item], np.argsort(scores)[-2:])
    agree(s.call("rank_of", scores, item, own), rank(scores, item, set(own.tolist())))


def without(draw, k):
    """Ranks none of which is k itself: that border has a test of its own."""
    ranks = draw.integers(0, 4 * k, size=40)
    return np.where(ranks == k, k - 1, ranks)


@tests("q2", 1, "HR@k is the share of ranks below k")
def _(s, draw):
    for k in (3, 10):
        ranks = without(draw, k)
        agree(parts(s.call("hit_and_ndcg", ranks, k), 2)[0], np.mean(ranks < k))


@tests("q2", 2, "NDCG@k credits rank r with ln 2 / ln(r + 2)")
def _(s, draw):
    for k in (3, 10):
        ranks = without(draw, k)
        agree(parts(s.call("hit_and_ndcg", ranks, k), 2)[1], ndcg(ranks, k))


@tests("q2", 1, "rank k itself is no hit: ranks begin at 0")
def _(s, draw):
    k = int(draw.integers(3, 9))
    agree(parts(s.call("hit_and_ndcg", np.array([k - 1, k, k, k + 1]), k), 2)[0], 0.25)


def purchases(counts):
    items = [i for i, n in enumerate(counts) for _ in range(n)]
    return np.array([(u, i) for u, i in enumerate(items)])


@tests("q3", 1, "the most bought items come first")
def _(s, draw):
    counts = draw.permutation(12) + 1
    agree(s.call("popular", purchases(counts), 12, NOTHING, 5), np.argsort(-counts)[:5])


@tests("q3", 1, "among equals the smaller number comes first")
def _(s, draw):
    counts = draw.permutation(np.repeat([1, 2, 5], 4))
    agree(s.call("popular", purchases(counts), 12, NOTHING, 6), sorted(range(12), key=lambda i: (-counts[i], i))[:6])


@tests("q3", 1, "what the shopper has is left out")
def _(s, draw):
    counts = draw.permutation(12) + 1
    order = np.argsort(-counts)
    agree(s.call("popular", purchases(counts), 12, np.sort(order[[0, 2]]), 4), order[[1, 3, 4, 5]])


@tests("q3", 1, "an item that nobody bought is last, and it may be the one with the highest number")
def _(s, draw):
    counts = np.append(draw.permutation(6) + 1, 0)
    agree(s.call("popular", purchases(counts), 7, NOTHING, 7), np.argsort(-counts, kind="stable"))


def urn(r, n, m, k):
    return float(
        Fraction(
            sum(math.comb(r, a) * math.comb(n - r, m - a) for a in range(min(k, m + 1)) if m - a <= n - r), math.comb(n, m)
        )
    )


@tests("q4", 2, "the probability is that of an urn from which nothing is put back")
def _(s, draw):
    for _ in range(4):
        n = int(draw.integers(20, 60))
        r, m, k = (int(draw.integers(low, high)) for low, high in ((5, n - 5), (6, n // 2), (1, 4)))
        agree(s.call("sampled_hit", r, n, m, k), urn(r, n, m, k))


@tests("q4", 1, "with all rivals drawn it is 0 or 1: the full ranking")
def _(s, draw):
    n, k = int(draw.integers(30, 50)), int(draw.integers(4, 9))
    for r in (k - 1, k, k + 1):
        agree(s.call("sampled_hit", r, n, n, k), float(r < k))


@tests("q4", 1, "three hundred thousand rivals give a finite probability")
def _(s, draw):
    r = int(draw.integers(2_000, 4_000))
    agree(s.call("sampled_hit", r, 300_000, 999, 10), urn(r, 300_000, 999, 10), 1e-2)


@tests("q5", 2, "the measures are those of your own shop (or what your own q1 and q2 make of it)")
def _(s, draw):
    bought = toy_purchases(s.number, "measures", 12, 15, 3)
    held_out = bought.argmax(axis=1)
    train = np.argwhere(bought & (np.arange(15) != held_out[:, None]))
    counts = np.bincount(train[:, 1], minlength=15)
    got = array(s.get("my_measures"), (2,))
    owns = [train[train[:, 0] == u, 1] for u in range(12)]
    ranks = np.array([rank(counts, held_out[u], set(owns[u].tolist())) for u in range(12)])
    right = np.array([np.mean(ranks < 3), ndcg(ranks, 3)])
    if np.abs(got - right).max() < 1e-6:
        return
    theirs = np.array([int(s.call("rank_of", counts, int(held_out[u]), owns[u])) for u in range(12)])
    agree(got, array(s.call("hit_and_ndcg", theirs, 3), (2,)))


@tests("q6", 1, "finite scores under which the colleague's rank is 0 for every item")
def _(s, draw):
    scores = array(s.get("flattering"), (20,))
    need(scores.max() == scores.min(), "some item has a rank above 0")


@tests("q6", 1, "scores under which nothing is even a tie")
def _(s, draw):
    got = s.get("poison")
    need(got is not None, "not answered")
    scores = np.asarray(got, dtype=np.float64)
    need(scores.shape == (20,), "it should be 20 scores")
    need(all(rank(scores, item, ()) == 0 for item in range(20)), "some item has a rank above 0")
