"""One piece of work by several threads, and the places where they wait for one another.

numba keeps the loops of ``loops.py`` and ``triples.py`` with :func:`meet` inside them, and does not see that this file has
changed: whoever changes it changes those two as well, or empties numba's cache."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LOOKS = 50_000  # at a counter: some hundredths of a millisecond
THREADED = 2**16  # triples to draw: fewer are done before another thread has woken up
GONE = 2**62  # in place of a count: someone has failed, and nobody waits any more


def together(pool: ThreadPoolExecutor, work: Callable[[int, np.ndarray], None], threads: int) -> None:
    """``work(thread, counter)`` for all of 0…threads−1, the first here and the others in ``pool``; ``counter`` is what they
    :func:`meet` at and :func:`take` from. It returns, or raises what one of them raised or Ctrl-C, when none of them writes
    any more."""
    counter = np.zeros(2, np.int64)  # how often one has come to a meeting, and what has been taken

    def one(thread: int) -> None:
        try:
            work(thread, counter)
        except BaseException:
            counter[0] = GONE  # the others wait for it no more
            raise

    others: list[Any] = []
    try:
        others += (pool.submit(one, thread) for thread in range(1, threads))
        one(0)
    except BaseException:
        counter[0] = GONE
        raise
    finally:
        wait(others)
    for other in others:
        other.result()


def _add_one(_, counter, which):
    """Add 1 to one of the counters of several threads, (2,) int64, and return what it was."""

    def code(context, builder, signature, arguments):
        counters = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(counters, [arguments[1]]), ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter, types.intp), code


def _look(_, counter):
    """Read the first."""

    def code(context, builder, signature, arguments):
        place = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(counter), code


_come: Callable[..., int] = intrinsic(_add_one)
_come_so_far: Callable[..., int] = intrinsic(_look)


_let_others: Callable[..., Any]
if os.name == "posix":
    _let_others = types.ExternalFunction("sched_yield", types.intc())
else:
    _let_others = njit(inline="always")(lambda: None)


@njit(inline="always", nogil=True, error_model="numpy")
def meet(counter, threads):
    """Wait here until all threads have come; False if one of them is gone. They are watched for, since the system takes longer
    to wake a thread than a part of a step takes. After a while this core is offered to others at each look: another program may
    have theirs, and they may wait for this one. A sleep of some microseconds would last a tenth of a millisecond."""
    if threads == 1:
        return True
    due, looks = min((_come(counter, 0) + threads) // threads * threads, GONE), 0
    while _come_so_far(counter) < due:
        looks += 1
        if looks > LOOKS:
            _let_others()
    return _come_so_far(counter) < GONE


@njit(inline="always", nogil=True, error_model="numpy")
def take(counter):
    """The next of 0, 1, 2, …, each for one thread alone; from 0 again after ``counter[1] = 0``, with a meeting between."""
    return _come(counter, 1)
