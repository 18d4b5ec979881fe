"""Assignment 2: BPR from scratch. Oracles are written out here, apart from the solution."""

import math

import numpy as np

from amrbook.personal import toy_purchases
from classroom.hidden import Tests, Wrong, agree, array, need, parts

tests = Tests()


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def loss(p: np.ndarray, i: np.ndarray, j: np.ndarray, beta: float) -> float:
    return softplus(float(-(p * i).sum() + (p * j).sum())) + beta * float(np.sum([p**2, i**2, j**2]))


def slope(p: np.ndarray, i: np.ndarray, j: np.ndarray, beta: float) -> list[np.ndarray]:
    """The gradient by central differences of the loss above: no derivation that could be wrong."""
    found = []
    for which in range(3):
        rows = np.zeros(len(p))
        for at in range(len(p)):
            ends = []
            for step in (1e-5, -1e-5):
                a, b, c = vectors = [v.copy() for v in (p, i, j)]
                vectors[which][at] += step
                ends.append(loss(a, b, c, beta))
            rows[at] = (ends[0] - ends[1]) / 2e-5
        found.append(rows)
    return found


@tests("q1", 1, "without a penalty the loss is ln(1 + exp(-x)) at the margin x")
def _(s, draw):
    for k in (1, 3, 8):
        p, i, j = draw.normal(size=(3, k))
        agree(s.call("bpr_loss", p, i, j, 0.0), loss(p, i, j, 0.0))


@tests("q1", 2, "the penalty is beta times the squared lengths of all three vectors")
def _(s, draw):
    for k in (2, 5):
        p, i, j = draw.normal(size=(3, k))
        beta = draw.uniform(0.1, 2)
        agree(
            array(s.call("bpr_loss", p, i, j, beta)) - array(s.call("bpr_loss", p, i, j, 0.0)),
            loss(p, i, j, beta) - loss(p, i, j, 0),
        )


@tests("q1", 1, "it is finite and right at margins of a thousand and more, either way")
def _(s, draw):
    far = float(draw.uniform(1000, 3000))
    for sign in (1, -1):
        p, i, j = np.array([1.0, 0.0]), np.array([sign * far, 0.0]), np.zeros(2)
        agree(s.call("bpr_loss", p, i, j, 0.0), loss(p, i, j, 0.0))


@tests(
    "q2", 1, "the gradient for the shopper's and the bought item's vector agree with differences of the loss, without penalty"
)
def _(s, draw):
    p, i, j = draw.normal(size=(3, 5))
    got = parts(s.call("bpr_gradient", p, i, j, 0.0), 3)
    for mine, theirs in zip(got[:2], slope(p, i, j, 0.0)):
        agree(array(mine, (5,)), theirs, 1e-6)


@tests("q2", 1, "so does the one for the item that was not bought")
def _(s, draw):
    p, i, j = draw.normal(size=(3, 5))
    agree(array(parts(s.call("bpr_gradient", p, i, j, 0.0), 3)[2], (5,)), slope(p, i, j, 0.0)[2], 1e-6)


@tests("q2", 1, "the penalty adds twice beta times each vector")
def _(s, draw):
    p, i, j = draw.normal(size=(3, 4))
    beta = draw.uniform(0.1, 2)
    with_it, without = (parts(s.call("bpr_gradient", p, i, j, b), 3) for b in (beta, 0.0))
    for mine, none, vector in zip(with_it, without, (p, i, j)):
        agree(array(mine, (4,)) - array(none, (4,)), 2 * beta * vector)


@tests("q2", 1, "what is passed stays as it is, and the gradient is finite at a margin of a thousand")
def _(s, draw):
    p, i, j = draw.normal(size=(3, 4))
    given = [v.copy() for v in (p, i, j)]
    array(parts(s.call("bpr_gradient", p, i, j, 0.5), 3)[0], (4,))
    agree(tuple(s.after[:3]), tuple(given))
    for sign in (1, -1):
        got = parts(s.call("bpr_gradient", np.array([1.0, 0.0]), np.array([sign * 1e3, 0.0]), np.zeros(2), 0.0), 3)
        agree(array(got[1], (2,)), [0.0 if sign > 0 else -1.0, 0.0])


@tests("q3", 2, "every number leads to another free item, in ascending order")
def _(s, draw):
    for size, n_items in ((3, 12), (5, 9)):
        own = np.sort(draw.choice(n_items, size, replace=False))
        free = np.setdiff1d(np.arange(n_items), own)
        agree([s.call("free_item", r, own) for r in range(len(free))], free)


@tests("q3", 1, "a shopper with nothing, with the first items and with the last ones")
def _(s, draw):
    n = int(draw.integers(3, 7))
    need(s.call("free_item", n, np.zeros(0, dtype=np.int64)) == n, "with no items of one's own, r is the item")
    agree(s.call("free_item", 0, np.arange(n)), n)
    agree(s.call("free_item", n - 1, np.arange(n, n + 3)), n - 1)


@tests("q3", 1, "a catalogue of a million million items takes no longer")
def _(s, draw):
    own = np.sort(draw.choice(10**4, 6, replace=False)) * 10**6
    r = int(draw.integers(10**11, 10**12))
    agree(s.call("free_item", r, own) - r, sum(1 for k, o in enumerate(own) if o - k <= r), 0)


def gradient(p, a, b, beta):
    g = -1 / (1 + math.exp(float(p @ (a - b))))
    return g * (a - b) + 2 * beta * p, g * p + 2 * beta * a, -g * p + 2 * beta * b


def stepped(P, Q, triples, rate, beta, slope=gradient):
    P, Q = P.copy(), Q.copy()
    for u, i, j in triples:
        steps = slope(P[u].copy(), Q[i].copy(), Q[j].copy(), beta)
        P[u], Q[i], Q[j] = P[u] - rate * steps[0], Q[i] - rate * steps[1], Q[j] - rate * steps[2]
    return P, Q


def follows(s, got, which, *given):
    """The step of q4, by the true gradient or by the one of their own q2: one mistake costs once."""
    try:
        agree(got, stepped(*given)[which])
    except Wrong:
        K = given[0].shape[1]
        P, Q, triples, rate, beta = given
        theirs = stepped(P, Q, triples, rate, beta, lambda *v: [array(g, (K,)) for g in parts(s.call("bpr_gradient", *v), 3)])
        agree(got, theirs[which])


def tables(draw):
    return draw.normal(size=(4, 3)), draw.normal(size=(6, 3))


@tests("q4", 1, "after one triple the shopper's vector has moved by rate times gradient, and no other shopper's")
def _(s, draw):
    (P, Q), triple = tables(draw), np.array([[1, 2, 5]])
    follows(s, array(parts(s.call("sgd_pass", P, Q, triple, 0.3, 0.1), 2)[0], P.shape), 0, P, Q, triple, 0.3, 0.1)


@tests("q4", 1, "the items' steps belong to the shopper's vector before the step")
def _(s, draw):
    (P, Q), triple = tables(draw), np.array([[3, 0, 4]])
    follows(s, array(parts(s.call("sgd_pass", P, Q, triple, 0.3, 0.1), 2)[1], Q.shape), 1, P, Q, triple, 0.3, 0.1)


@tests("q4", 1, "each triple starts from what the last one left")
def _(s, draw):
    (P, Q), triples = tables(draw), np.array([[0, 1, 2], [0, 2, 1], [3, 1, 5], [0, 1, 2]])
    got = parts(s.call("sgd_pass", P, Q, triples, 0.3, 0.1), 2)
    for which in (0, 1):
        follows(s, array(got[which]), which, P, Q, triples, 0.3, 0.1)


@tests("q4", 1, "the tables that are passed stay as they are")
def _(s, draw):
    (P, Q), triples = tables(draw), np.array([[0, 1, 2], [2, 3, 1]])
    new, _other = parts(s.call("sgd_pass", P, Q, triples, 0.3, 0.1), 2)
    need(np.abs(array(new, P.shape) - P).max() > 1e-9, "nothing has moved")
    agree(tuple(s.after[:2]), (P, Q))


def own_list(step, bought):
    """The list that training with ``step`` gives; the student's own step, too, so that one mistake costs once."""
    start = np.random.default_rng(1)
    P, Q = 0.1 * start.standard_normal((8, 4)), 0.1 * start.standard_normal((10, 4))
    triples = np.array([(u, i, j) for u, row in enumerate(bought) for i in np.flatnonzero(row) for j in np.flatnonzero(~row)])
    for _ in range(20):
        P, Q = step(P.copy(), Q.copy(), triples, 0.1, 0.01)
    return [int(i) for i in np.argsort(-(Q @ P[0])) if not bought[0, i]]


@tests("q5", 2, "the list is that of your own shop (or what your own q4 makes of it)")
def _(s, draw):
    bought = toy_purchases(s.number, "bpr", 8, 10, 3)
    got = array(s.get("my_list"), (7,)).astype(int).tolist()
    if got == own_list(stepped, bought):
        return

    def theirs(*arguments):
        P, Q = parts(s.call("sgd_pass", *arguments), 2)
        return array(P, (8, 4)), array(Q, (10, 4))

    need(got == own_list(theirs, bought), "It is another order.")


def triple(s):
    return [array(v, (2,)) for v in parts(s.get("breaking"), 3)]


@tests("q6", 1, "the colleague's loss is not finite for your triple")
def _(s, draw):
    p, i, j = triple(s)
    with np.errstate(all="ignore"):
        need(not np.isfinite(-np.log(1 / (1 + np.exp(-(p @ (i - j)))))), "it stays finite")


@tests("q6", 1, "the triple breaks it, its loss is below a thousand, and no entry is beyond 100")
def _(s, draw):
    p, i, j = triple(s)
    with np.errstate(all="ignore"):
        need(not np.isfinite(-np.log(1 / (1 + np.exp(-(p @ (i - j)))))), "it stays finite")
    need(np.abs([p, i, j]).max() <= 100, "an entry is beyond 100")
    need(loss(p, i, j, 0.0) < 1000, "the loss is a thousand or more")
