"""Which rows of a table a batch touches, and sums over them that are the same every time."""

from typing import NamedTuple

import torch
from torch import Tensor

from .gradients import RowGradient


class Rows(NamedTuple):
    """R rows of a table, among them all that a batch touches."""

    place: Tensor  # where each entry of the batch stands among them: ids[place] is what was asked for
    size: int  # R
    ids: Tensor | None = None  # (R,) ascending; None: all that the table has, for a batch that touches most of them anyway
    last: Tensor | None = None  # (R,) on a GPU: which sum each row of ``ids`` takes; None: its own

    def gradient(self, sums: Tensor) -> RowGradient:
        """``sums`` (R, K) as the gradient of these rows."""
        return RowGradient(self.ids, sums if self.last is None else sums[self.last])


def distinct(ids: Tensor, may_wait: bool) -> Rows:
    """The distinct ones of some ids.

    Their number is only known once they are found, for which a CPU need not wait and a GPU would. So, unless it
    ``may_wait``, there are as many rows as ids, and the last distinct one is repeated to the end.
    """
    if may_wait:
        unique, place = torch.unique(ids, return_inverse=True)
        return Rows(place, len(unique), unique)
    ascending, order = torch.sort(ids)
    step = torch.zeros_like(ids)
    step[1:] = ascending[1:] != ascending[:-1]
    slot = step.cumsum(0)  # (n,) which distinct id each of the sorted ones is
    last = torch.arange(len(ids), device=ids.device).minimum(slot[-1])  # 0, 1, …, R − 1, R − 1, …
    first = torch.searchsorted(slot, last)  # where each distinct id begins
    return Rows(torch.empty_like(ids).scatter_(0, order, slot), len(ids), ascending[first], last)


def sum_rows(n: int, plus: Tensor, minus: Tensor | None, values: Tensor) -> Tensor:
    """(n, K): each row b of ``values`` added to row plus_b and taken from row minus_b, in the same order every time."""
    total = values.new_zeros(n, values.shape[1])
    for place, sign in ((plus, 1), (minus, -1)):
        if place is not None and total.device.type == "cpu":
            total.index_add_(0, place, values, alpha=sign)
        elif place is not None:
            # On a card index_add_ adds atomically, in no fixed order; this sorts instead. "unsafe" leaves out the check of
            # the range, for which most versions of torch wait.
            torch._index_put_impl_(total, [place], values if sign == 1 else -values, accumulate=True, unsafe=True)
    return total
