"""One piece of work by several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait


def together(pool: ThreadPoolExecutor, work: Callable[[int], None], shares: int) -> None:
    """``work(share)`` for all of 0…shares−1, the first here and the others in ``pool``. It returns, or raises what one of them
    raised or Ctrl-C, when none of them writes any more."""
    others = [pool.submit(work, share) for share in range(1, shares)]
    try:
        work(0)
    finally:
        wait(others)
    for other in others:
        other.result()
