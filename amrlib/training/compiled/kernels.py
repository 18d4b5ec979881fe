"""The step's two products in D dimensions for a CPU, with the gather of the features inside the first.

A library's matrix product wants its rows side by side in memory, so they are gathered first, and the processor waits for
memory; then it multiplies, and memory waits. Here a few rows are multiplied while the next ones are on their way: each turn
of the innermost loop asks for one line of memory that will be needed soon.

Both products are made of tiles of the result that stay in registers while the sum runs:

    C[m, k] += Σ_p A[m, p] B[p, k],  m of ROWS rows, k of a few vectors of 64 bytes.

numba has no words for registers, so the tile's code is written in LLVM's; numba puts it inside the loops around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["PANEL", "VECTOR", "inlined", "loop", "product", "rows_times_E", "rows_transposed_times"]

VECTOR = 64  # bytes: one of the widest registers; LLVM takes two, or four, where they are narrower
# A tile and what feeds it fit the registers: 32 of 64 bytes; 16 of 32; or, on ARM, 32 of 16.
ROWS, WIDE = 6, 4 if llvm.get_host_cpu_features().get("avx512f") else 1
PANEL = 2 * ROWS  # rows gathered at a time; the next as many come in from memory meanwhile
DEPTH = 128  # terms of a sum before the next tile has its turn: their part of E stays in the nearest cache
BLOCK = 64  # the same in the second product, where they are rows

# Sums may be taken in another order, which a core's wide registers ask for, and a·b + c rounded once; no more than that.
options: dict[str, Any] = dict(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
# A kept loop is compiled anew when its own file changes, not another: so loops call none of another file.
loop, inlined = njit(cache=True, **options), njit(inline="always", **options)


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
def product(A, a, a_m, a_p, B, b, b_p, C, c, c_m, rows, columns, terms):
    """C[m, k] = Σ_p A[m, p] B[p, k], each array's place and strides as for a tile; ``columns`` full vectors.

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
                              C, c + m * c_m + k, c_m, n, p == 0, ahead)  # fmt: skip
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
        alone. All of the features' number type.
    """
    D, (ldx, width), size = len(E), (X.shape[1], E.shape[1]), X.itemsize
    lanes = VECTOR // size
    pieces = -(-D // (lanes * DEPTH))  # a row comes in with so many tiles
    for first in range(start, end, PANEL):
        last = min(first + PANEL, end)
        for b in range(first, min(last, len(plus))):
            row, c_i = X[b], features[plus[b]]
            if len(minus):
                c_j = features[minus[b]]
                for d in range(D):
                    row[d] = c_i[d] - c_j[d]
            else:
                for d in range(D):
                    row[d] = c_i[d]
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
                        ahead = features.ctypes.data + plus[b] * D * size
                    elif kind == 1 and len(minus):
                        ahead = features.ctypes.data + minus[b] * D * size
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
