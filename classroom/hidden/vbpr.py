"""Assignment 3: VBPR and cold start."""

import math

import numpy as np

from amrbook.personal import visual_shop
from classroom.hidden import Tests, Wrong, agree, array, need, parts

tests = Tests()


def scores(P, Q, E, features):
    return np.einsum("uk,ik->ui", P, Q) + np.einsum("uk,dk,id->ui", P, E, features)


def model(draw, M=5, N=7, K=3, D=4):
    return draw.normal(size=(M, K)), draw.normal(size=(N, K)), draw.normal(size=(D, K)), draw.normal(size=(N, D))


@tests("q1", 2, "behaviour and pictures add up, for every shopper and item")
def _(s, draw):
    for shape in ({}, {"M": 2, "N": 3, "K": 6, "D": 2}):
        given = model(draw, **shape)
        agree(s.call("all_scores", *given), scores(*given))


@tests("q1", 1, "without Q only the pictures count")
def _(s, draw):
    P, Q, E, features = model(draw)
    agree(s.call("all_scores", P, 0 * Q, E, features), scores(P, 0 * Q, E, features))


@tests("q1", 1, "without E it is matrix factorisation")
def _(s, draw):
    P, Q, E, features = model(draw)
    agree(s.call("all_scores", P, Q, 0 * E, features), P @ Q.T)


def triple(draw):
    return (*draw.normal(size=(3, 3)), *draw.normal(size=(2, 4)), 0.5 * draw.normal(size=(4, 3)))


def loss(p, qi, qj, ci, cj, E):
    x = sum(p[k] * (qi[k] - qj[k] + sum(E[d, k] * (ci[d] - cj[d]) for d in range(4))) for k in range(3))
    return math.log1p(math.exp(-x))


@tests("q2", 2, "it agrees with differences of the loss, without penalty")
def _(s, draw):
    p, qi, qj, ci, cj, E = triple(draw)
    slope = np.zeros_like(E)
    for at in np.ndindex(E.shape):
        step = np.zeros_like(E)
        step[at] = 1e-5
        slope[at] = (loss(p, qi, qj, ci, cj, E + step) - loss(p, qi, qj, ci, cj, E - step)) / 2e-5
    agree(array(s.call("gradient_E", p, qi, qj, ci, cj, E, 0.0), E.shape), slope)


@tests("q2", 1, "the penalty adds twice beta times E")
def _(s, draw):
    *given, E = triple(draw)
    beta = draw.uniform(0.1, 2)
    agree(
        array(s.call("gradient_E", *given, E, beta), E.shape) - array(s.call("gradient_E", *given, E, 0.0), E.shape),
        2 * beta * E,
    )


@tests("q2", 1, "two items with the same picture teach nothing about pictures")
def _(s, draw):
    p, qi, qj, ci, _, E = triple(draw)
    agree(array(s.call("gradient_E", p, qi, qj, ci, ci, E, 0.0), E.shape), np.zeros_like(E))


@tests("q3", 1, "the cold items are those that are in no purchase")
def _(s, draw):
    bought = np.append(draw.choice(11, 5, replace=False), 11)
    train = np.column_stack([draw.integers(50, 60, size=6), bought])
    agree(parts(s.call("cold_start", train, draw.normal(size=(12, 2))), 2)[0], [i for i in range(12) if i not in bought])


@tests("q3", 1, "also those with the highest numbers, and none if all were bought")
def _(s, draw):
    n = int(draw.integers(4, 9))
    train = np.column_stack([np.zeros(n, dtype=int), np.arange(n)])
    agree(parts(s.call("cold_start", train, np.ones((n + 3, 2))), 2)[0], [n, n + 1, n + 2])
    need(len(parts(s.call("cold_start", train, np.ones((n, 2))), 2)[0]) == 0, "nothing is cold if all were bought")


@tests("q3", 1, "their rows are 0 in a copy, and the table passed stays as it is")
def _(s, draw):
    Q = draw.normal(size=(6, 3))
    bought = draw.choice(5, 3, replace=False)
    bought = np.append(bought, 5)
    new = parts(s.call("cold_start", np.column_stack([bought, bought]), Q), 2)[1]
    agree(new, np.where(np.isin(np.arange(6), bought)[:, None], Q, 0.0))
    agree(s.after[1], Q)


@tests("q4", 2, "every score stays what it was")
def _(s, draw):
    P, Q, E, features = model(draw)
    other = draw.normal(size=E.shape)
    agree(scores(P, array(s.call("matching_Q", Q, E, other, features), Q.shape), other, features), scores(P, Q, E, features))


@tests("q4", 1, "also for a model that does not look at all")
def _(s, draw):
    P, Q, E, features = model(draw)
    agree(P @ array(s.call("matching_Q", Q, E, 0 * E, features), Q.shape).T, scores(P, Q, E, features))


@tests("q4", 1, "with the same E nothing changes, and the table passed stays as it is")
def _(s, draw):
    _, Q, E, features = model(draw)
    agree(array(s.call("matching_Q", Q, E, E, features), Q.shape), Q)
    s.call("matching_Q", Q, E, 2 * E, features)
    agree(s.after[0], Q)


def own(s, theirs=False):
    """The cold items of their shop, shopper 0's scores (or those that their own q1 gives), and E p."""
    train, P, Q, E, features = visual_shop(s.number, "vbpr")
    cold = [i for i in range(9) if i not in set(train[:, 1].tolist())]
    Q = Q.copy()
    Q[cold] = 0
    y = array(s.call("all_scores", P, Q, E, features), (4, 9)) if theirs else scores(P, Q, E, features)
    return cold, y[0], E @ P[0]


def either(s, test):
    """A test by the true scores, and failing that by their own: one mistake costs once."""
    try:
        test(*own(s))
    except Wrong:
        test(*own(s, theirs=True))


@tests("q5", 1, "it holds your own shop's cold items, each once")
def _(s, draw):
    agree(np.sort(array(s.get("my_cold"), (3,))), own(s)[0])


@tests("q5", 2, "in the order of shopper 0's scores (or of what your own q1 makes of them)")
def _(s, draw):
    got = s.get("my_cold")
    either(s, lambda cold, y, _: agree(got, sorted(cold, key=lambda i: -y[i])))


def lifted(s, cold, y, direction):
    studio = array(s.get("studio"), (5,))
    warm = max(y[i] for i in range(9) if i not in cold)
    need(min(y[i] for i in cold) + studio @ direction > warm, "not every cold item is ahead of every other")
    return np.linalg.norm(studio), (warm - min(y[i] for i in cold)) / np.linalg.norm(direction)


@tests("q6", 1, "the lamp puts every cold item ahead of every other one")
def _(s, draw):
    either(s, lambda *shop: lifted(s, *shop))


@tests("q6", 1, "and is at most one and a half times as long as it must be")
def _(s, draw):
    def short_enough(*shop):
        length, shortest = lifted(s, *shop)
        need(length <= 1.5 * max(shortest, 1e-9), "it is longer than that")

    either(s, short_enough)
