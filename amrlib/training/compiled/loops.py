"""The loops of the compiled step, and its two products in D dimensions with the gather of the features inside the first.

:func:`steps` takes all batches of an epoch in one call. Several threads that call it share its parts, those of :func:`part`,
and meet after each one.

A library's matrix product wants its rows side by side in memory, so they are gathered first, and the processor waits for
memory; then it multiplies, and memory waits. Here a few rows are multiplied while the next ones are on their way: each turn
of the innermost loop asks for one line of memory that will be needed soon.

Both products are made of tiles of the result that stay in registers while the sum runs:

    C[m, k] += Σ_p A[m, p] B[p, k],  m of ROWS rows, k of a few vectors of 64 bytes.

numba has no words for registers, so the tile's code is written in LLVM's; numba puts it inside the loops around it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .threads import meet, take

VECTOR = 64  # bytes: one of the widest registers; LLVM takes two, or four, where they are narrower
# A tile and what feeds it fit the registers: 32 of 64 bytes; 16 of 32; or, on ARM, 32 of 16.
ROWS, WIDE = 6, 4 if llvm.get_host_cpu_features().get("avx512f") else 1
PANEL = 2 * ROWS  # rows gathered at a time; the next as many come in from memory meanwhile
DEPTH = 128  # terms of a sum before the next tile has its turn: their part of E stays in the nearest cache
BLOCK = 64  # the same in the second product, where they are rows
SQUARE = 16  # numbers a side of what is transposed at a time
EM_ROWS = 10 * ROWS  # of E and its gradient at a time, when E M comes in and E moves: in the nearest cache
PIECES = 4  # for each thread, that a quarter of the rows of X is cut into, for whoever comes first
COLUMNS = 176 * ROWS  # of X at a time in the second product: that part of E and of its gradient stays in the second cache

# Sums may be taken in another order, which a core's wide registers ask for, and a·b + c rounded once; no more than that.
options: dict[str, Any] = dict(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
# A kept loop is compiled anew when its own file changes, not another: so all of them are in this one, but for ``meet``.
loop, inlined = njit(cache=True, **options), njit(inline="always", **options)


class Table(NamedTuple):
    """Parameters, what Adagrad keeps of them, and how they are trained."""

    theta: np.ndarray  # P (M, K̃), Q (N, K_q) or Eᵀ (K_z, D)
    v: np.ndarray  # the same shape
    lr: Any
    reg: Any
    apart: bool  # of Q: reg is of its rows alone, not of the whole item vectors


class Work(NamedTuple):
    """A batch of B triples as numbers, and where its gradients are added up. The memory is kept from step to step."""

    u: np.ndarray  # (B,)  each triple's user among the batch's distinct ones
    i: np.ndarray  # (B,)  its items among the distinct items
    j: np.ndarray  # (B,)
    users: np.ndarray  # (B,)   the distinct users
    items: np.ndarray  # (2B,)  the distinct items
    slot_of_user: np.ndarray  # (M,) the place of each among them; −1: not in the batch
    slot_of_item: np.ndarray  # (N,)
    times_of_user: np.ndarray  # (B,)  how often the batch has each of its distinct users
    times_of_item: np.ndarray  # (2B,)
    sizes: np.ndarray  # (2,)  how many distinct users and items there are
    inside: np.ndarray  # (1,) 1 while E and v below are the parameters, and those of the model are old
    penalty_of_user: np.ndarray  # (B,) float64, of each distinct user's row, once
    penalty_of_item: np.ndarray  # (2B,) float64
    penalty_of_E: np.ndarray  # (D,) float64, of its rows
    loss: np.ndarray  # (2, B) float64, −ln σ of each triple, clean and attacked
    g: np.ndarray  # (B,)  its slope times the loss's weight, of one of the two losses
    d: np.ndarray  # (B, K̃)    q̃_i − q̃_j
    A: np.ndarray  # (B, K̄)   ∂L/∂z for z = Eᵀ(c_i − c_j), of one of the two losses
    r_ij: np.ndarray  # (B, K_z)  r_i − r_j
    G: np.ndarray  # (2B, K̄)  ∂L/∂z, a row for each of X
    by_p: np.ndarray  # (B, K̃)   ∂L/∂p of the distinct users
    by_q: np.ndarray  # (2B, K̃)  ∂L/∂q̃ of the distinct items
    r: np.ndarray  # (2B, K_z)  r_n = ε s_n/‖E s_n‖, s_n the visual columns of by_q before the adversary
    t: np.ndarray  # (2B, K̄)  EᵀE s_n; then EᵀΔ_n, Δ_n = E r_n
    Z: np.ndarray  # (2B, K̄)  X E
    EE: np.ndarray  # (K_z, K̄)  EᵀE
    M: np.ndarray  # (K_z, K̄)  Σ_n r_n s'_nᵀ
    E: np.ndarray  # (D, K̄)  E row by row, while steps are taken; K̄: K_z made full vectors, of 0
    v: np.ndarray  # (D, K̄)  what Adagrad keeps of it; filled up with 1
    XG: np.ndarray  # (D, K̄)  ∂L/∂E = XᵀG + EM row by row
    X: np.ndarray  # (2B, D + some)  c_i − c_j, or c_n of the distinct items


def _ask_for(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for the line of memory at an address, without waiting for it. The address need not be anyone's."""
    byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    builder.call(prefetch, [builder.inttoptr(address, byte), int32(0), int32(2), int32(1)])  # to read; second cache; data


def _tile(rows: int, wide: int) -> Callable[..., None]:
    """The code of one tile: ``rows`` × ``wide`` vectors of C.

    Its arguments are three arrays with the place of the tile in each, counted in numbers from the start of its memory,
    and its strides: A[m, p] is at ``a + m·a_m + p·a_p``, B[p, k] at ``b + p·b_p + k``, C[m, k] at ``c + m·c_m + k``;
    n, the number of terms; ``fresh``, whether C starts from 0; ``ahead``, the address of the n lines of memory to ask
    for meanwhile.
    """

    @intrinsic
    def tile(_, A, a, a_m, a_p, B, b, b_p, C, c, c_m, n, fresh, ahead):
        whole = types.intp
        signature = types.void(A, whole, whole, whole, B, whole, whole, C, whole, whole, whole, types.boolean, whole)

        def code(context, builder, signature, arguments):
            _, a, a_m, a_p, _, b, b_p, _, c, c_m, n, fresh, ahead = arguments
            number = context.get_value_type(signature.args[0].dtype)
            lanes = VECTOR // context.get_abi_sizeof(number)
            vector, int32 = ir.VectorType(number, lanes), ir.IntType(32)
            size = lambda value: ir.Constant(ir.IntType(64), value)  # noqa: E731
            add, times = builder.add, builder.mul

            def address(place, offset):
                array = context.make_array(signature.args[place])(context, builder, arguments[place])
                return builder.gep(array.data, [offset])

            def of_vector(start, number_of):
                return builder.bitcast(builder.gep(start, [size(lanes * number_of)]), vector.as_pointer())

            a_0, b_0, c_0 = address(0, a), address(4, b), address(7, c)
            row_of_C = [builder.gep(c_0, [times(c_m, size(m))]) for m in range(rows)]
            total = {(m, k): cgutils.alloca_once(builder, vector) for m in range(rows) for k in range(wide)}
            with builder.if_else(fresh) as (starts, goes_on):
                with starts:
                    for place in total.values():
                        builder.store(ir.Constant(vector, [0.0] * lanes), place)
                with goes_on:
                    for (m, k), place in total.items():
                        builder.store(builder.load(of_vector(row_of_C[m], k), align=4), place)
            with cgutils.for_range(builder, n) as terms:
                p = terms.index
                _ask_for(builder, add(ahead, times(p, size(VECTOR))))
                b_row = builder.gep(b_0, [times(p, b_p)])
                b_k = [builder.load(of_vector(b_row, k), align=4) for k in range(wide)]
                for m in range(rows):
                    a_mp = builder.load(builder.gep(a_0, [add(times(p, a_p), times(a_m, size(m)))]))
                    nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(int32, lanes), [0] * lanes)
                    a_mp = builder.shuffle_vector(builder.insert_element(nothing, a_mp, int32(0)), nothing, first)
                    for k in range(wide):
                        term = builder.fmul(a_mp, b_k[k], flags=("contract",))
                        builder.store(builder.fadd(builder.load(total[m, k]), term, flags=("contract",)), total[m, k])
            for (m, k), place in total.items():
                builder.store(builder.load(place), of_vector(row_of_C[m], k), align=4)
            return context.get_dummy_value()

        return signature, code

    return tile


_whole, _narrow, _single = _tile(ROWS, WIDE), _tile(ROWS, 1), _tile(1, 1)


@inlined
def _tiles(m, k, rows, columns, lanes, A, a, a_m, a_p, B, b, b_p, C, c, c_m, n, fresh, ahead):
    """The tile at row m and column k of C, in parts where C ends before it does; how many rows it has."""
    if m + ROWS <= rows and k + WIDE * lanes <= columns:
        _whole(A, a, a_m, a_p, B, b, b_p, C, c, c_m, n, fresh, ahead)
        return ROWS
    for v in range(0, min(WIDE * lanes, columns - k), lanes):
        if m + ROWS <= rows:
            _narrow(A, a, a_m, a_p, B, b + v, b_p, C, c + v, c_m, n, fresh, ahead)
        else:
            _single(A, a, a_m, a_p, B, b + v, b_p, C, c + v, c_m, n, fresh, ahead)
    return ROWS if m + ROWS <= rows else 1


@loop
def product(A, a, a_m, a_p, B, b, b_p, C, c, c_m, rows, columns, terms, fresh=True):
    """C[m, k] = Σ_p A[m, p] B[p, k], each array's place and strides as for a tile; ``columns`` full vectors. Added to what C
    has, if not ``fresh``.

    For K-sized products. Not torch's, whose threads, when done, watch for more on the cores that the next loops want.
    """
    lanes = VECTOR // A.itemsize
    for p in range(0, terms, DEPTH):
        n, m = min(DEPTH, terms - p), 0
        while m < rows:
            high = 1
            for k in range(0, columns, WIDE * lanes):
                ahead = B.ctypes.data + (b + p * b_p) * B.itemsize  # nothing new
                high = _tiles(m, k, rows, columns, lanes, A, a + m * a_m + p * a_p, a_m, a_p, B, b + p * b_p + k, b_p,
                              C, c + m * c_m + k, c_m, n, fresh and p == 0, ahead)  # fmt: skip
            m += high


@loop
def rows_times_E(features, plus, minus, X, E, Z, start, end):
    """Z = X E for the rows from ``start`` to ``end`` of X, of which the first are gathered on the way.

    X_b = c_i − c_j, i and j being ``plus[b]`` and ``minus[b]``; without ``minus`` X_b = c_i; rows beyond the end of
    ``plus`` are in X already. All memory but the features' is laid out row by row, with room at the end of the rows of X.

    Parameters
    ----------
    features : (N, D)
    plus, minus : (B,), (B,) or (0,)
    X : (R, D + some), E : (D, K̄), Z : (R, K̄)
        K̄ is K made full vectors, a multiple of 64 bytes; what is in the columns beyond K comes back in those of Z
        alone. All of one number type; the features' may be another, of 4 or 8 bytes.
    """
    D, (ldx, width), size, number = len(E), (X.shape[1], E.shape[1]), X.itemsize, X.dtype.type
    lanes, stored = VECTOR // size, features.itemsize
    pieces = -(-D // (lanes * DEPTH))  # a row comes in with so many tiles
    for first in range(start, end, PANEL):
        last = min(first + PANEL, end)
        for b in range(first, min(last, len(plus))):
            row, c_i = X[b], features[plus[b]]
            if len(minus):
                c_j = features[minus[b]]
                for d in range(D):
                    row[d] = number(c_i[d]) - number(c_j[d])
            else:
                for d in range(D):
                    row[d] = number(c_i[d])
        tiles = 0
        for d in range(0, D, DEPTH):
            n = min(DEPTH, D - d)
            for k in range(0, width, WIDE * lanes):
                m = first
                while m < last:
                    # of the next rows c_i, c_j and where their difference will be written
                    b, kind, piece = last + tiles // (3 * pieces), tiles % 3, tiles // 3 % pieces
                    if b >= min(last + PANEL, len(plus)):
                        ahead = X.ctypes.data + m * ldx * size  # nothing new
                    elif kind == 0:
                        ahead = features.ctypes.data + plus[b] * D * stored
                    elif kind == 1 and len(minus):
                        ahead = features.ctypes.data + minus[b] * D * stored
                    else:
                        ahead = X.ctypes.data + b * ldx * size
                    ahead += piece * DEPTH * VECTOR
                    m += _tiles(m, k, last, width, lanes, X, m * ldx + d, ldx, 1, E, d * width + k, width,
                                Z, m * width + k, width, n, d == 0, ahead)  # fmt: skip
                    tiles += 1


@loop
def rows_transposed_times(G, X, XG, rows, start, end):
    """XᵀG, (D, K̄), for the first ``rows`` rows of X and G and the columns from ``start`` to ``end`` of X."""
    ldx, width, size = X.shape[1], G.shape[1], X.itemsize
    lanes = VECTOR // size
    pieces = -(-(end - start) // (lanes * BLOCK))
    for first in range(0, rows, BLOCK):
        n, tiles = min(BLOCK, rows - first), 0
        d = start
        while d < end:
            high = 1
            for k in range(0, width, WIDE * lanes):
                b, piece = first + n + tiles // pieces, tiles % pieces  # of the next block
                if b >= min(rows, first + 2 * BLOCK):
                    b = first
                ahead = X.ctypes.data + (b * ldx + start) * size + piece * BLOCK * VECTOR
                high = _tiles(d, k, end, width, lanes, X, first * ldx + d, 1, ldx, G, first * width + k, width,
                              XG, d * width + k, width, n, first == 0, ahead)  # fmt: skip
                tiles += 1
            d += high


# ---------------------------------------------------------------- rows


@inlined
def _dot(a, b):
    total = a[0] * b[0]
    for k in range(1, len(a)):
        total += a[k] * b[k]
    return total


@inlined
def _add(total, scale, row):
    for k in range(len(row)):
        total[k] += scale * row[k]


@inlined
def _sum(total, row):
    for k in range(len(total)):
        total[k] += row[k]


@inlined
def _add_difference(total, a, b):
    for k in range(len(total)):
        total[k] += a[k] - b[k]


@inlined
def _set_difference(total, a, b):
    """total = a − b as far as they go, then 0."""
    for k in range(len(a)):
        total[k] = a[k] - b[k]
    for k in range(len(a), len(total)):
        total[k] = 0


@inlined
def _adagrad(row, v, gradient, lr):
    """v ← v + g²;  θ ← θ − η g / √v"""
    for k in range(len(row)):
        a = v[k] + gradient[k] * gradient[k]
        v[k] = a
        row[k] -= lr * gradient[k] / np.sqrt(a)


@inlined
def _turn(a, b):
    """b = aᵀ, (m, n) → (n, m), in squares that stay in registers."""
    m, n = a.shape
    whole_m, whole_n = m - m % SQUARE, n - n % SQUARE
    for y in range(0, whole_n, SQUARE):
        for x in range(0, whole_m, SQUARE):
            out, of = b[y : y + SQUARE, x : x + SQUARE], a[x : x + SQUARE, y : y + SQUARE]
            for k in range(SQUARE):
                for d in range(SQUARE):
                    out[k, d] = of[d, k]
    for x in range(m):
        for y in range(whole_n if x < whole_m else 0, n):
            b[y, x] = a[x, y]


@loop
def _logistic(x):
    """−ln σ(x), and its derivative −σ(−x); no overflow, whatever x is."""
    e = np.exp(-abs(x))
    return np.log1p(e) + max(-x, 0.0), -(e if x > 0 else 1.0) / (1.0 + e)


@loop
def _slots(ids, slot_of, distinct, slots, times, R):
    """A slot for each distinct id as they come, from R on, and how often it comes. Returns the next free one."""
    for b in range(len(ids)):
        id = ids[b]
        if slot_of[id] < 0:
            slot_of[id] = R
            distinct[R] = id
            times[R] = 0
            R += 1
        slots[b] = slot_of[id]
        times[slots[b]] += 1
    return R


@loop
def in_range(ids, n):
    fine = True
    for b in range(len(ids)):
        fine &= 0 <= ids[b] < n
    return fine


# ---------------------------------------------------------------- the parts of the step


@loop
def _distinct(users, pos, neg, work):
    """Fill the slots; how many distinct users and items there are."""
    n_users = _slots(users, work.slot_of_user, work.users, work.u, work.times_of_user, 0)
    n_items = _slots(pos, work.slot_of_item, work.items, work.i, work.times_of_item, 0)
    n_items = _slots(neg, work.slot_of_item, work.items, work.j, work.times_of_item, n_items)
    for n in range(n_users):  # and free them again for the next batch
        work.slot_of_user[work.users[n]] = -1
    for n in range(n_items):
        work.slot_of_item[work.items[n]] = -1
    return n_users, n_items


@inlined
def _share(n, share, shares):
    """From where to where of n things a share of ``shares`` goes. The tiles in it are whole, as they are in one."""
    return n * share // shares // PANEL * PANEL, n if share + 1 == shares else n * (share + 1) // shares // PANEL * PANEL


@inlined
def _piece(n, number, shares):
    """From where to where of n rows a piece goes; beyond n: there is no such piece. The first, one for each thread, have three
    quarters of the rows together, and the others are small: who is held up leaves them to another."""
    large = n * 3 // 4 // shares // PANEL * PANEL
    small = max(n // 4 // (PIECES * shares) // PANEL, 1) * PANEL
    start = number * large if number < shares else shares * large + (number - shares) * small
    return start, min(n, start + (large if number < shares else small))


@loop
def take_in(E, work, share, shares):
    """E and what Adagrad keeps of it, row by row, before the first step; a share of the rows."""
    start, end = _share(E.theta.shape[1], share, shares)
    _turn(E.theta[:, start:end], work.E[start:end])
    _turn(E.v[:, start:end], work.v[start:end])


@loop
def give_back(E, work, share, shares):
    """Both as the model has them, after the last step."""
    K_z, (start, end) = len(E.theta), _share(E.theta.shape[1], share, shares)
    _turn(work.E[start:end, :K_z], E.theta[:, start:end])
    _turn(work.v[start:end, :K_z], E.v[:, start:end])


@loop
def _loss(users, weight, P, first, loss, work, start, end):
    """−ln σ(p_b · d_b) of each triple; ``weight`` times its slope, in ``g``, and times p_b, in ``A``."""
    number = P.theta.dtype.type
    for b in range(start, end):
        p, a = P.theta[users[b]], work.A[b]
        loss[b], g = _logistic(_dot(p, work.d[b]))
        g = number(weight * g)  # a float64 would make the rows below wait
        work.g[b] = g
        for k in range(len(p) - first):
            a[k] = g * p[first + k]


@loop
def _clean(users, pos, neg, P, Q, each_item, first, work, start, end):
    """The loss of ŷ_ui − ŷ_uj."""
    for b in range(start, end):
        d = work.d[b]
        _set_difference(d, Q.theta[pos[b]], Q.theta[neg[b]])
        if each_item:
            _add_difference(d[first:], work.Z[work.i[b]], work.Z[work.j[b]])
        else:
            _sum(d[first:], work.Z[b])
    _loss(users, 1.0, P, first, work.loss[0], work, start, end)
    if not each_item:
        work.G[start:end] = work.A[start:end]


@loop
def _attacked(users, weight, P, each_item, first, work, start, end):
    """The loss of ŷ'_ui − ŷ'_uj, every item moved by its Δ_n."""
    for b in range(start, end):
        i, j, row = work.i[b], work.j[b], work.r_ij[b]
        r_i, r_j = work.r[i], work.r[j]
        for k in range(len(row)):
            row[k] = r_i[k] - r_j[k]
        _add_difference(work.d[b, first:], work.t[i], work.t[j])
    _loss(users, weight, P, first, work.loss[1], work, start, end)
    if not each_item:
        for b in range(start, end):
            _sum(work.G[b], work.A[b])


@loop
def _by_row(users, P, fresh, work, first_user, last_user, first_item, last_item):
    """Add the triples' gradients up, in their order, in some rows of ``by_p`` and ``by_q``."""
    if fresh:
        work.by_p[first_user:last_user] = 0
        work.by_q[first_item:last_item] = 0
    for b in range(len(users)):
        u, i, j, g = work.u[b], work.i[b], work.j[b], work.g[b]
        p = P.theta[users[b]]
        if first_user <= u < last_user:
            _add(work.by_p[u], g, work.d[b])
        if first_item <= i < last_item:
            _add(work.by_q[i], g, p)
        if first_item <= j < last_item:
            _add(work.by_q[j], -g, p)


@loop
def _directions(epsilon, floor, first, work, start, end):
    """r_n and EᵀΔ_n of some items."""
    K, K_z, width = work.by_q.shape[1], work.r.shape[1], work.t.shape[1]
    # S EᵀE, the rows of S being s_n, (U, K_z)
    product(work.by_q, start * K + first, K, 1, work.EE, 0, width, work.t, start * width, width, end - start, width, K_z)
    for n in range(start, end):
        s, t, r = work.by_q[n, first:], work.t[n], work.r[n]
        norm = np.sqrt(max(_dot(s, t), 0.0))  # ‖Γ_n‖ = √(s_nᵀ(EᵀE)s_n)
        scale = t.dtype.type(epsilon[work.items[n] if len(epsilon) > 1 else 0] / norm if norm > floor else 0.0)
        for k in range(len(r)):
            r[k] = scale * s[k]
            t[k] *= scale


@loop
def _by_item(first, work, start, end):
    """∂L/∂z of some items, where the rows of X are the items'."""
    for n in range(start, end):
        for k in range(work.r.shape[1]):
            work.G[n, k] = work.by_q[n, first + k]


@loop
def _regularised(n_users, n_items, P, Q, E, learned, first, work, share, shares):
    """reg_P ‖p_u‖² and reg_item ‖q̃_i‖², or ‖q_i‖² alone, of a share of the batch's rows, once; and their gradients, as often
    as the batch has them. reg_E ‖E‖², of a share of its rows."""
    number = P.theta.dtype.type
    if P.reg > 0:
        ones = len(learned) - learned.sum()  # of each user's vector, not learned
        for n in range(*_share(n_users, share, shares)):
            p = P.theta[work.users[n]]
            work.penalty_of_user[n] = P.reg * (_dot(p, p) - ones)
            for _ in range(work.times_of_user[n]):
                _add(work.by_p[n], number(2 * P.reg), p)
    if Q.reg > 0:
        q = work.d[share]  # d is not needed any more
        for n in range(*_share(n_items, share, shares)):
            history = Q.theta[work.items[n]]
            for k in range(len(history)):
                q[k] = history[k]
            for k in range(len(history), len(q)):
                q[k] = 0
            if not Q.apart:
                _sum(q[first:], work.Z[n])
            work.penalty_of_item[n] = Q.reg * _dot(q, q)
            for _ in range(work.times_of_item[n]):
                _add(work.by_q[n], number(2 * Q.reg), q)
    if E.reg > 0:
        for d in range(*_share(len(work.E), share, shares)):
            work.penalty_of_E[d] = E.reg * _dot(work.E[d], work.E[d])


@loop
def _update_E(E, attacked, work, start, end):
    """Adagrad, for the rows from ``start`` to ``end`` of E; of an adversary EM comes in before."""
    K_z, width, twice = len(E.theta), work.E.shape[1], E.theta.dtype.type(2 * E.reg)
    row, v, gradient = work.E.reshape(-1), work.v.reshape(-1), work.XG.reshape(-1)  # all rows as one
    for d in range(start, end, EM_ROWS):
        rows = min(EM_ROWS, end - d)
        some = slice(d * width, (d + rows) * width)
        if attacked:
            product(work.E, d * width, width, 1, work.M, 0, width, work.XG, d * width, width, rows, width, K_z, False)
        if E.reg > 0:
            _add(gradient[some], twice, row[some])
        _adagrad(row[some], v[some], gradient[some], E.lr)


@loop
def _update(n_users, n_items, P, Q, learned, work, share, shares):
    """Adagrad, for a share of the rows that the batch has touched."""
    for n in range(*_share(n_items, share, shares)):
        _adagrad(Q.theta[work.items[n]], Q.v[work.items[n]], work.by_q[n], Q.lr)
    for n in range(*_share(n_users, share, shares)):
        by_p = work.by_p[n]
        for k in range(len(learned)):
            by_p[k] *= learned[k]
        _adagrad(P.theta[work.users[n]], P.v[work.users[n]], by_p, P.lr)


# ---------------------------------------------------------------- the step


@loop
def begin(users, pos, neg, Q, E, work):
    """The batch's distinct users and items: how many; and whether X has the items' own rows."""
    work.sizes[:] = _distinct(users, pos, neg, work)
    return sizes_of(users, Q, E, work)


@loop
def sizes_of(users, Q, E, work):
    """What :func:`begin` returned."""
    n_users, n_items = work.sizes
    return n_users, n_items, (Q.reg > 0 and not Q.apart) or (E.theta.size > 0 and n_items <= len(users))


@loop
def part(which, share, shares, counter, triples, rows, sizes, P, Q, E, features, adversary, learned, work):
    """A share of one of the PARTS of a step, which come one after another. Shares of one part do not wait for each other, and
    their number changes no number. False if there was nothing to do, for any share.

    ``triples`` are (users, pos, neg), ``rows`` what the first product gathers, ``sizes`` what :func:`begin` returns.
    """
    (users, pos, neg), (n_users, n_items, each_item) = triples, sizes
    attacked, epsilon, weight, floor = adversary
    (K_z, D), B, K, width = E.theta.shape, len(users), P.theta.shape[1], work.t.shape[1]
    first, R = K - K_z, n_items if each_item else B  # the first column that features reach
    b, b_end = _share(B, share, shares)
    if (which == 0 and K_z == 0) or (which == 1 and K_z > 0 and not each_item) or (which in (3, 4) and not attacked):
        return False
    if which == 0:
        if attacked:
            m, m_end = _share(K_z, share, shares)
            product(work.E, m, 1, width, work.E, 0, width, work.EE, m * width, width, m_end - m, width, D)
        start, end = _piece(R, take(counter), shares)
        while start < R:
            rows_times_E(features, rows[0], rows[1], work.X, work.E, work.Z, start, end)
            if not each_item:  # a row of Z is a triple's
                _clean(users, pos, neg, P, Q, each_item, first, work, start, end)
            start, end = _piece(R, take(counter), shares)
    elif which == 1:
        _clean(users, pos, neg, P, Q, each_item, first, work, b, b_end)
    elif which == 2 or which == 4:
        n, n_end = _share(n_items, share, shares)
        _by_row(users, P, which == 2, work, *_share(n_users, share, shares), n, n_end)
        if which == 2 and attacked:
            _directions(epsilon, floor, first, work, n, n_end)
        if which == 4:
            # M = Σ_n r_n s'_nᵀ = Σ_b (r_i − r_j) a_bᵀ, (K_z, K_z)
            m, m_end = _share(K_z, share, shares)
            product(work.r_ij, m, 1, K_z, work.A, 0, width, work.M, m * width, width, m_end - m, width, B)
    elif which == 3:
        _attacked(users, weight, P, each_item, first, work, b, b_end)
    elif which == 5:
        n, n_end = _share(n_items, share, shares)
        if each_item and K_z > 0 and Q.apart:  # a penalty on q alone does not reach E
            _by_item(first, work, n, n_end)
        _regularised(n_users, n_items, P, Q, E, learned, first, work, share, shares)
        if each_item and K_z > 0 and not Q.apart:
            _by_item(first, work, n, n_end)
    elif which == 6:
        start, end = _share(D, share, shares)
        for d in range(start, end, COLUMNS):
            d_end = min(d + COLUMNS, end)
            rows_transposed_times(work.G, work.X, work.XG, R, d, d_end)
            _update_E(E, attacked, work, d, d_end)
        _update(n_users, n_items, P, Q, learned, work, share, shares)
    return True


PARTS = 7


@loop
def losses(B, P, Q, E, adversary, work):
    """bpr, adversarial and objective of a batch of B triples."""
    attacked, _, weight, _ = adversary
    bpr, penalty = work.loss[0, :B].sum(), 0.0
    adversarial = work.loss[1, :B].sum() if attacked else 0.0
    for b in range(B):
        if P.reg > 0:
            penalty += work.penalty_of_user[work.u[b]]
        if Q.reg > 0:
            penalty += work.penalty_of_item[work.i[b]] + work.penalty_of_item[work.j[b]]
    if E.reg > 0:
        penalty += work.penalty_of_E.sum()
    return bpr, adversarial, bpr + weight * adversarial + penalty


@loop
def step(share, shares, counter, triples, rows, sizes, P, Q, E, features, adversary, learned, work):
    """A share of a step, after :func:`begin` and :func:`take_in`, while nothing is taken from ``counter``. The ``shares``
    threads meet after each part; False if one of them is gone."""
    for which in range(PARTS):
        if part(which, share, shares, counter, triples, rows, sizes, P, Q, E, features, adversary, learned, work):
            if not meet(counter, shares):
                return False
    return True


@loop
def steps(share, shares, counter, users, pos, neg, batch, stay, P, Q, E, features, adversary, learned, work, sums):
    """A step for every ``batch`` triples; their losses and objectives are added to ``sums`` (3,), each rounded first. E is
    taken in before, if it is not inside, and given back after, unless more steps follow and it is to ``stay``. Each of the
    ``shares`` threads calls this with its number."""
    number = P.theta.dtype.type
    if work.inside[0] == 0:
        take_in(E, work, share, shares)
        if not meet(counter, shares):
            return
        if share == 0:
            work.inside[0] = 1
    for start in range(0, len(users), batch):
        u, i, j = users[start : start + batch], pos[start : start + batch], neg[start : start + batch]
        if share == 0:
            begin(u, i, j, Q, E, work)
            counter[1] = 0
        if not meet(counter, shares):
            return
        sizes = sizes_of(u, Q, E, work)
        rows = (work.items[: sizes[1]], j[:0]) if sizes[2] else (i, j)
        if not step(share, shares, counter, (u, i, j), rows, sizes, P, Q, E, features, adversary, learned, work):
            return
        if share == 0:
            bpr, adversarial, objective = losses(len(u), P, Q, E, adversary, work)
            sums[0] += number(bpr)
            sums[1] += number(adversarial)
            sums[2] += number(objective)
    if not stay:
        give_back(E, work, share, shares)  # its own share of the rows of E, which none else has moved
        if meet(counter, shares) and share == 0:
            work.inside[0] = 0
