"""Assignment 4: attacks on features and pixels."""

import functools

import numpy as np

from amrbook.personal import visual_shop
from classroom.hidden import Tests, agree, array, need, parts
from classroom.wire import Tensor

tests = Tests()
NOTHING = np.zeros(0, dtype=np.int64)


@tests("q1", 2, "the score falls by epsilon times the length of E p, and no change of that length does more")
def _(s, draw):
    for k, d in ((3, 5), (2, 8)):
        p, E, epsilon = draw.normal(size=k), draw.normal(size=(d, k)), draw.uniform(0.1, 2)
        change = array(s.call("worst_change", p, E, epsilon), (d,))
        need(np.linalg.norm(change) <= epsilon * (1 + 1e-6), "it is longer than epsilon")
        agree(change @ E @ p, -epsilon * np.sqrt(((E @ p) ** 2).sum()))


@tests("q1", 1, "its length is epsilon")
def _(s, draw):
    p, E, epsilon = draw.normal(size=3), draw.normal(size=(6, 3)), draw.uniform(0.1, 2)
    agree(np.linalg.norm(array(s.call("worst_change", p, E, epsilon), (6,))), epsilon)


@tests("q1", 1, "for a shopper who does not look it is 0")
def _(s, draw):
    E = np.column_stack([draw.normal(size=(4, 1)), np.zeros((4, 1))])
    agree(array(s.call("worst_change", np.array([0.0, 2.0]), E, 1.0), (4,)), np.zeros(4))


def worst(y, item, own, epsilon, s):
    return sum(y[j] + 2 * epsilon * s >= y[item] for j in range(len(y)) if j != item and j not in own)


@tests("q2", 2, "every rival whose score is within two epsilon s of the item's can pass it")
def _(s, draw):
    for n in (12, 40):
        y, item, looks = draw.normal(size=n), int(draw.integers(n)), draw.uniform(0.5, 2)
        for epsilon in (0.1, 0.4, 1.0):
            agree(s.call("worst_rank", y, item, NOTHING, epsilon, looks), worst(y, item, (), epsilon, looks))


@tests("q2", 1, "without an attack it is the rank, and ties count against the item")
def _(s, draw):
    y = draw.integers(0, 4, size=20).astype(float)
    for item in range(4):
        agree(s.call("worst_rank", y, item, NOTHING, 0.0, 1.0), worst(y, item, (), 0.0, 1.0))


@tests("q2", 1, "the shopper's own items do not compete")
def _(s, draw):
    y = draw.permutation(15).astype(float)
    item, own = int(np.argsort(y)[5]), np.argsort(y)[[8, 11, 14]]
    agree(s.call("worst_rank", y, item, own, 0.0, 1.0), worst(y, item, set(own.tolist()), 0.0, 1.0))


@tests("q3", 1, "at half the gap to the k-th rival, over s")
def _(s, draw):
    y, looks = draw.normal(size=20), draw.uniform(0.5, 2)
    order, own = np.argsort(-y), np.argsort(-y)[[2, 9]]
    for k in (1, 3):
        rivals = [j for j in order if j != order[0] and j not in own]
        agree(s.call("breaking_epsilon", y, int(order[0]), own, k, looks), (y[order[0]] - y[rivals[k - 1]]) / (2 * looks))


@tests("q3", 1, "0 for an item that is not among the first k")
def _(s, draw):
    y = draw.normal(size=10)
    agree(s.call("breaking_epsilon", y, int(np.argsort(-y)[5]), NOTHING, 3, 1.5), 0.0)


@tests("q3", 1, "infinite for a shopper who does not look, and with fewer than k rivals")
def _(s, draw):
    y = draw.normal(size=6)
    first = int(y.argmax())
    for own, k, looks in ((NOTHING, 2, 0.0), (np.delete(np.arange(6), first)[:3], 3, 1.0)):
        need(array_or_inf(s.call("breaking_epsilon", y, first, own, k, looks)) == np.inf, "it is finite")


def array_or_inf(value):
    return float(np.asarray(value, dtype=np.float64).reshape(()))


@functools.cache
def network():
    """The shipped CNN and some of the shop's pictures; torch is loaded by this assignment alone."""
    import torch

    import amrlib
    from amrlib.features.small_cnn import load_cnn

    torch.set_num_threads(1)
    return torch, load_cnn("cpu"), torch.tensor(amrlib.load_dataset("boutique").images[:200]).float() / 255


def climbed(picture, direction, epsilon, steps, length):
    """Our own climb: ``steps`` signs of the gradient, each of ``length``, inside the bounds."""
    torch, cnn, _ = network()
    x = picture.clone()
    for _step in range(steps):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(cnn.features(x[None, None])[0] @ direction, x)
        x = (picture + (x.detach() + length * slope.sign() - picture).clamp(-epsilon, epsilon)).clamp(0, 1)
    return x


def pixels(s, draw):
    """For three pictures: (theirs, the one passed, what ``after`` holds, direction, epsilon, gain); Wrong unless they gain."""
    torch, cnn, shown = network()
    rows = []
    for at in draw.choice(len(shown), 3, replace=False):
        picture, direction, epsilon = shown[at], torch.tensor(draw.normal(size=128)).float(), float(draw.uniform(0.04, 0.07))
        got = s.call("pixel_attack", Tensor(picture.numpy()), Tensor(direction.numpy()), epsilon, 8, seconds=10)
        theirs = torch.tensor(array(got, (28, 28))).float()
        gain = float((cnn.features(theirs[None, None])[0] - cnn.features(picture[None, None])[0]) @ direction)
        rows.append((theirs, picture, s.after[0], direction, epsilon, gain))
    need(sum(row[-1] for row in rows) > 0, "the pictures do not gain in that direction")
    return rows


def ours(rows, steps, part):
    """What our own climb gains on these pictures, together."""
    _, cnn, _ = network()
    ends = [
        (cnn.features(climbed(x, to, e, steps, e * part)[None, None])[0] - cnn.features(x[None, None])[0]) @ to
        for _, x, _, to, e, _ in rows
    ]
    return float(sum(ends))


@tests("q4", 2, "no pixel moves by more than epsilon or leaves [0, 1], and the pictures gain")
def _(s, draw):
    for theirs, picture, _, _, epsilon, _ in pixels(s, draw):
        need((theirs - picture).abs().max() <= epsilon + 1e-5, "a pixel moves by more than epsilon")
        need(bool((theirs >= -1e-6).all() and (theirs <= 1 + 1e-6).all()), "a pixel leaves [0, 1]")


@tests("q4", 1, "they gain at least four fifths of what one step of full length gains")
def _(s, draw):
    rows = pixels(s, draw)
    need(sum(row[-1] for row in rows) >= 0.8 * ours(rows, 1, 1.0), "they gain less")


@tests("q4", 1, "eight steps gain what eight steps can, more than one does")
def _(s, draw):
    rows = pixels(s, draw)
    need(sum(row[-1] for row in rows) >= 0.93 * ours(rows, 8, 0.25), "they gain less")


@tests("q4", 1, "the picture that is passed stays as it is")
def _(s, draw):
    for _, picture, after, *_ in pixels(s, draw):
        agree(after, picture.numpy())


def own(s):
    _, P, Q, E, features = visual_shop(s.number, "attack")
    return (Q + features @ E) @ P[0], E @ P[0]


@tests("q5", 1, "the item that is first")
def _(s, draw):
    agree(parts(s.get("my_break"), 2)[0], int(own(s)[0].argmax()))


@tests("q5", 1, "half the gap to the second, over the length of E p (or what your own q3 makes of it)")
def _(s, draw):
    y, direction = own(s)
    got, order = array_or_inf(parts(s.get("my_break"), 2)[1]), np.sort(y)[::-1]
    looks = float(np.linalg.norm(direction))
    if abs(got - (order[0] - order[1]) / (2 * looks)) > 1e-6:
        agree(got, s.call("breaking_epsilon", y, int(y.argmax()), NOTHING, 1, looks))


def sneaked(s):
    change = array(s.get("sneaky"), (5,))
    need(abs(change.mean()) < 1e-6, "the guard throws it out")
    need(np.linalg.norm(change) <= 0.5 + 1e-6, "it is too long")
    need(change @ own(s)[1] < 0, "it does not lower the score")
    return change


@tests("q6", 1, "the guard lets it pass, it is short enough, and it lowers the score")
def _(s, draw):
    sneaked(s)


@tests("q6", 1, "no change that passes lowers it much further")
def _(s, draw):
    direction = own(s)[1]
    need(sneaked(s) @ direction <= -0.9 * 0.5 * np.linalg.norm(direction - direction.mean()), "another one does")
