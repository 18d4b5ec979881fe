"""The loops of :mod:`amrlib.training.compiled.per_triple`: an epoch's blocks, its draws, and its steps one by one.

Every random number is a function of the epoch's key and of a place, so that no order of work changes it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .threads import meet

AHEAD = 8  # triples: how early their rows are asked for
LINE = 64  # bytes of memory that come at a time
TRIES = 100  # at a negative, before what is left to the user is counted out

options: dict[str, Any] = dict(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
loop, inlined = njit(cache=True, **options), njit(inline="always", **options)  # all here, as in loops.py
SPREAD, FIRST, SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Rows(NamedTuple):
    """What each user has touched: user u has indices[indptr[u] : indptr[u + 1]], ascending."""

    indptr: np.ndarray  # (M + 1,)
    indices: np.ndarray  # (n,)
    marks: np.ndarray  # (M,) a bit for each of the last six bits that they have


class Triples(NamedTuple):
    """(user, item, negative), (n,) each."""

    who: np.ndarray
    what: np.ndarray
    neg: np.ndarray


class Tables(NamedTuple):
    """The parameters, and how they are trained."""

    P: np.ndarray  # (M, K)
    Q: np.ndarray  # (N, K)
    lr_P: Any
    lr_Q: Any
    reg_P: Any
    reg_Q: Any


def _prefetch(_, table, offset):
    """Ask for the line of memory at so many bytes from a table's start, without waiting for it."""

    def code(context, builder, signature, arguments):
        byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.gep(builder.bitcast(start, byte), [arguments[1]])
        kind = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(prefetch, [address, int32(0), int32(3), int32(1)])  # to read; the nearest cache; data
        return context.get_dummy_value()

    return types.void(table, types.intp), code


_ask_for: Callable[..., None] = intrinsic(_prefetch)


@inlined
def _bits(key, n):
    """The n-th 64 random bits under a key: SplitMix64 (Steele, Lea and Flood, 2014), in which n is any place."""
    x = key + np.uint64(n) * SPREAD
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@inlined
def _below(bits, n):
    """One of 0…n−1, alike to 2⁻⁵³."""
    return np.int64(np.float64(bits >> np.uint64(11)) * 2.0**-53 * n)


@inlined
def _marked(marks, item):
    """Whether one of the user's items may be this one: whether one has the same last six bits."""
    return (marks >> np.uint64(item & 63)) & np.uint64(1) == np.uint64(1)


@loop
def among(items, start, end, item):
    """Whether the item is among items[start:end], ascending: a look at all, once they are few."""
    while end - start > 64:
        middle = (start + end) // 2
        start, end = (middle, end) if items[middle] <= item else (start, middle)
    found = False
    for k in range(start, end):
        found |= items[k] == item
    return found


@inlined
def _shuffle(ids, key):
    """Fisher and Yates."""
    for t in range(len(ids) - 1):
        s = t + _below(_bits(key, t), len(ids) - t)
        ids[t], ids[s] = ids[s], ids[t]


@inlined
def _cut_users(T, key, users, rows, starts):
    """Shuffle the users, and find where their blocks' triples begin."""
    _shuffle(users, _bits(key, 0))
    begin = 0
    for b in range(T):
        starts[b, 0] = begin
        for u in users[len(users) * b // T : len(users) * (b + 1) // T]:
            begin += rows.indptr[u + 1] - rows.indptr[u]


@inlined
def _cut_items(T, key, items, block_of):
    """Shuffle the items, and number their blocks."""
    _shuffle(items, _bits(key, 1))
    for c in range(T):
        for n in range(len(items) * c // T, len(items) * (c + 1) // T):
            block_of[items[n]] = c


@loop
def draw_again(pool, items, start, end, bits):
    """One of ``pool`` that is not among items[start:end]."""
    for _ in range(TRIES):
        bits = _bits(bits, 1)
        j = pool[_below(bits, len(pool))]
        if not among(items, start, end, j):
            return j
    left = 0
    for j in pool:
        left += not among(items, start, end, j)
    left = _below(_bits(bits, 1), left)
    for j in pool:
        if not among(items, start, end, j):
            if left == 0:
                break
            left -= 1
    return j


@loop
def draw(who, what, neg, pool, rows, key):
    """Put a stratum's triples in random order, and give each an item of ``pool`` that its user has not touched."""
    indptr, indices, marks = rows
    for t in range(len(who)):
        s = t + _below(_bits(key, 2 * t), len(who) - t)
        u, i = who[s], what[s]
        who[s], what[s] = who[t], what[t]
        who[t], what[t] = u, i
        bits = _bits(key, 2 * t + 1)
        j = pool[_below(bits, len(pool))]
        if _marked(marks[u], j) and among(indices, indptr[u], indptr[u + 1], j):
            j = draw_again(pool, indices, indptr[u], indptr[u + 1], bits)
        neg[t] = j


@loop
def fill(first, last, T, key, users, items, rows, block_of, starts, triples):
    """The triples of the user blocks ``first``…``last``, stratum by stratum; those of (b, c) begin at ``starts[b, c]`` and end
    at ``starts[b, c + 1]``. Where the first of a block's begin, ``starts[b, 0]``, is given."""
    (who, what, neg), (indptr, indices, _) = triples, rows
    for b in range(first, last):
        mine, put = users[len(users) * b // T : len(users) * (b + 1) // T], starts[b, 1:]
        put[:] = 0
        for u in mine:
            for k in range(indptr[u], indptr[u + 1]):
                put[block_of[indices[k]]] += 1
        begin = starts[b, 0]
        for c in range(T):
            put[c], begin = begin, begin + put[c]
        for u in mine:
            for k in range(indptr[u], indptr[u + 1]):
                c = block_of[indices[k]]
                who[put[c]], what[put[c]] = u, indices[k]
                put[c] += 1
        for c in range(T):
            x, y, pool = starts[b, c], starts[b, c + 1], items[len(items) * c // T : len(items) * (c + 1) // T]
            draw(who[x:y], what[x:y], neg[x:y], pool, rows, _bits(key, 2 + b * T + c))


@loop
def steps(who, what, neg, tables, sums):
    """A step for each triple, one after the other; Σ −ln σ(x) and the objective are put into ``sums`` (2,)."""
    P, Q, lr_P, lr_Q, reg_P, reg_Q = tables
    number, n, K, width = P.dtype.type, len(who), P.shape[1], P.shape[1] * P.itemsize
    one, decay_P, decay_Q = number(1), number(2 * lr_P * reg_P), number(2 * lr_Q * reg_Q)  # a float64 would slow the rows down
    loss, product, penalty = 0.0, 1.0, 0.0
    for t in range(n):
        ahead = min(t + AHEAD, n - 1)
        for line in range(0, width, LINE):
            _ask_for(P, who[ahead] * width + line)
            _ask_for(Q, what[ahead] * width + line)
            _ask_for(Q, neg[ahead] * width + line)
        p, q_i, q_j, x = P[who[t]], Q[what[t]], Q[neg[t]], number(0)
        for k in range(K):
            x += p[k] * (q_i[k] - q_j[k])
        if reg_P > 0 or reg_Q > 0:
            for k in range(K):
                penalty += reg_P * p[k] * p[k] + reg_Q * (q_i[k] * q_i[k] + q_j[k] * q_j[k])
        e = np.exp(-abs(x))
        near = one / (one + e)
        right, g = (near, e * near) if x > 0 else (e * near, near)  # σ(x), and σ(−x)
        if x < -30:
            loss -= x
        else:  # Σ ln σ as the logarithm of a product, taken before that gets too small
            product *= right
            if product < 1e-280:
                loss -= np.log(product)
                product = 1.0
        g_P, g_Q = lr_P * g, lr_Q * g
        for k in range(K):
            a, b, c = p[k], q_i[k], q_j[k]
            p[k] = a + (g_P * (b - c) - decay_P * a)
            q_i[k] = b + (g_Q * a - decay_Q * b)
            q_j[k] = c - (g_Q * a + decay_Q * c)
    sums[0] = loss - np.log(product)
    sums[1] = sums[0] + penalty


@loop
def turns(thread, threads, first, last, key, users, items, rows, block_of, starts, triples, tables, sums, counter):
    """An epoch's turns of strata without a common row, from ``first`` up to ``last``; ahead of turn 0 its draws. Each of the
    ``threads`` calls this with its number, has its share of the user blocks, and meets the others at ``counter``."""
    T = len(starts)
    mine = range(T * thread // threads, T * (thread + 1) // threads)
    if first == 0:
        if thread == 0:
            _cut_users(T, key, users, rows, starts)
        if thread == threads - 1:
            _cut_items(T, key, items, block_of)
        meet(counter, threads)
        fill(mine.start, mine.stop, T, key, users, items, rows, block_of, starts, triples)
        meet(counter, threads)
    for turn in range(first, last):
        for b in mine:
            c = (b + turn) % T
            x, y = starts[b, c], starts[b, c + 1]
            steps(triples.who[x:y], triples.what[x:y], triples.neg[x:y], tables, sums[b, c])
        meet(counter, threads)
