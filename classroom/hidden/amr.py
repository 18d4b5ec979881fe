"""Assignment 5: AMR and its controls."""

import functools
import math

import numpy as np

from amrbook.personal import flat_users, generator
from classroom.hidden import Tests, agree, array, need, parts

tests = Tests()


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def margin(p, qi, qj, ci, cj, E):
    return float(p @ (qi - qj) + (E @ p) @ (ci - cj))


def triple(draw):
    return (*draw.normal(size=(3, 3)), *draw.normal(size=(2, 5)), draw.normal(size=(5, 3)))


@tests("q1", 1, "with weight 0 it is the loss of VBPR")
def _(s, draw):
    given = triple(draw)
    agree(s.call("amr_loss", *given, 0.7, 0.0), softplus(-margin(*given)))


@tests("q1", 2, "no pair of changes does worse than the second part says, and one pair does as badly")
def _(s, draw):
    p, qi, qj, ci, cj, E = given = triple(draw)
    epsilon, weight = draw.uniform(0.1, 1), draw.uniform(0.5, 2)
    extra = (float(array(s.call("amr_loss", *given, epsilon, weight), ())) - softplus(-margin(*given))) / weight
    unit = E @ p / np.linalg.norm(E @ p)
    agree(extra, softplus(-margin(p, qi, qj, ci - epsilon * unit, cj + epsilon * unit, E)))


@tests("q1", 1, "it is finite and right at margins of a thousand and more")
def _(s, draw):
    far, one = float(draw.uniform(1000, 2000)), np.ones(1)
    for sign in (1, -1):
        given = (one, sign * far * one, 0 * one, 0 * one, 0 * one, np.zeros((1, 1)))
        agree(s.call("amr_loss", *given, 0.1, 1.0), 2 * softplus(-sign * far))


def share(P, Q, E, features):
    found = []
    for p in P:
        behaviour, picture = np.var([p @ q for q in Q]), np.var([p @ (E.T @ c) for c in features])
        found.append(picture / (picture + behaviour))
    return float(np.mean(found))


def model(draw, M=6, N=9, K=3, D=4):
    return draw.normal(size=(M, K)), draw.normal(size=(N, K)), draw.normal(size=(D, K)), draw.normal(size=(N, D))


@tests("q2", 1, "it is the mean over shoppers of the share of variance")
def _(s, draw):
    for _ in range(2):
        given = model(draw)
        agree(s.call("visual_share", *given), share(*given))


@tests("q2", 1, "0 for a model that does not look, 1 for one that does nothing else")
def _(s, draw):
    P, Q, E, features = model(draw)
    agree(s.call("visual_share", P, Q, 0 * E, features), 0.0)
    agree(s.call("visual_share", P, 0 * Q, E, features), 1.0)


@tests("q2", 1, "a shopper's share does not depend on the length of the shopper's vector")
def _(s, draw):
    P, Q, E, features = model(draw)
    longer = P * np.array([[10.0]] + [[1.0]] * 5)
    one, other, looking = (array(s.call("visual_share", *m, features), ()) for m in ((longer, Q, E), (P, Q, E), (P, Q, 9 * E)))
    agree(one, other)
    need(looking > other, "it does not grow with what the pictures say")


def twin(s, draw):
    P, Q, E, features = model(draw)
    new_Q, new_E = parts(s.call("blind_twin", Q, E, features), 2)
    new_Q, new_E = array(new_Q, Q.shape), array(new_E, E.shape)
    agree(P @ (new_Q + features @ new_E).T, P @ (Q + features @ E).T)
    return P, E, new_E


@tests("q3", 2, "E is 0, and every clean score stays")
def _(s, draw):
    need(np.abs(twin(s, draw)[2]).max() == 0, "E is not 0")


@tests("q3", 2, "the scores stay, and AMR's loss is lower for every shopper who looked")
def _(s, draw):
    P, E, new_E = twin(s, draw)
    need(np.linalg.norm(P @ new_E.T, axis=1) < np.linalg.norm(P @ E.T, axis=1), "some shopper looks as much as before")


QUANTILE = {2: 12.706204736, 3: 4.302652730, 5: 2.776445105, 10: 2.262157163}  # of t, 0.975, n - 1 degrees: from a table


def interval(a, b):
    d, n = a - b, len(a)
    return d.mean(), QUANTILE[n] * math.sqrt(((d - d.mean()) ** 2).sum() / (n - 1) / n)


@tests("q4", 2, "mean and half width of Student's interval for the differences")
def _(s, draw):
    for n in (3, 5, 10):
        a, b = draw.normal(size=(2, n))
        agree(s.call("paired_interval", a, b), interval(a, b))


@tests("q4", 1, "what both models share in a seed cancels")
def _(s, draw):
    shared, gap = 100 * draw.normal(size=5), float(draw.uniform(1, 2))
    agree(s.call("paired_interval", shared + gap, shared), (gap, 0.0), 1e-6)


@tests("q4", 1, "two pairs give the wide interval that they must")
def _(s, draw):
    a, b = draw.normal(size=(2, 2))
    agree(s.call("paired_interval", a, b), interval(a, b))


@functools.lru_cache(256)
def first_run(seed):
    """How much the first model looks, trained here once more."""
    import torch

    import amrlib

    torch.set_num_threads(1)
    fitted = amrlib.VBPR(dim=16, seed=seed).fit(
        amrlib.load_dataset("boutique"), seed=seed, epochs=10, lr=0.05, reg=0.01, trainer="closed_form", progress=False
    )
    with torch.no_grad():
        return float((fitted.P @ fitted.E.T).norm(dim=1).mean())  # type: ignore[union-attr]


def table(s):
    made = array(s.get("table"), (4, 3))
    need(made > 0, "a model that does not look at all")
    return made


@tests("q5", 1, "three different seeds, your own: the first model of each looks as much as ours does")
def _(s, draw):
    seeds = [int(seed) for seed in generator(s.number, "amr").integers(1, 10**6, size=3)]
    agree(table(s)[0], [first_run(seed) for seed in seeds], 0.02)


@tests("q5", 1, "after equal training, AMR looks less than VBPR does, with every seed")
def _(s, draw):
    made = table(s)
    need(made[2] < made[1], "it does not")
    need(made[1] > made[0], "the second row is not trained on from the first")


@tests("q5", 1, "and less than its control without an adversary")
def _(s, draw):
    made = table(s)
    need(made[2] < made[3], "it does not")


def unseen(s):
    E = array(s.get("E_unseen"), (5, 4))
    need(np.abs(flat_users(s.number, "amr-users") @ E.T).max() < 1e-8, "some shopper's scores move")
    return E


@tests("q6", 1, "no change of any picture moves any of the shoppers' scores")
def _(s, draw):
    unseen(s)


@tests("q6", 1, "though E is at least as long as 1")
def _(s, draw):
    need(np.linalg.norm(unseen(s)) >= 1, "E is shorter")
