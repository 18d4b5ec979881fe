"""Which rows of a table a batch touches, and sums over them that are the same every time."""

from typing import NamedTuple

import torch
from torch import Tensor

from .gradients import RowGradient

__all__ = ["Rows", "all_rows", "distinct", "sum_differences", "sum_rows"]


class Rows(NamedTuple):
    """The rows that a batch touches, and where each of its entries stands among them."""

    ids: Tensor | None  # (R,) ascending; None: all rows there are
    place: Tensor  # ids[place] is what was asked for
    last: Tensor | None  # (R,) on a GPU: which sum each row of ``ids`` takes; None: its own
    size: int  # R

    def gradient(self, sums: Tensor) -> RowGradient:
        """``sums`` (R, K) as the gradient of these rows."""
        return RowGradient(self.ids, sums if self.last is None else sums[self.last])


def all_rows(ids: Tensor, n: int) -> Rows:
    """All n rows: for a batch that touches most of them anyway."""
    return Rows(None, ids, None, n)


def distinct(ids: Tensor, may_wait: bool) -> Rows:
    """The distinct ones of some ids.

    Their number is only known once they are found, for which a CPU need not wait and a GPU would. So, unless it
    ``may_wait``, there are as many rows as ids, and the last distinct one is repeated to the end.
    """
    if may_wait:
        unique, place = torch.unique(ids, return_inverse=True)
        return Rows(unique, place, None, len(unique))
    ascending, order = torch.sort(ids)
    step = torch.zeros_like(ids)
    step[1:] = ascending[1:] != ascending[:-1]
    slot = step.cumsum(0)  # (n,) which distinct id each of the sorted ones is
    last = torch.arange(len(ids), device=ids.device).minimum(slot[-1])  # 0, 1, …, R − 1, R − 1, …
    first = torch.searchsorted(slot, last)  # where each distinct id begins
    return Rows(ascending[first], torch.empty_like(ids).scatter_(0, order, slot), last, len(ids))


def sum_rows(rows: int, index: Tensor, values: Tensor) -> Tensor:
    """(rows, K): ``values`` added up by ``index``, in the same order every time."""
    return _add_rows(values.new_zeros(rows, values.shape[1]), index, values)


def sum_differences(rows: int, i: Tensor, j: Tensor, values: Tensor) -> Tensor:
    """(rows, K): each row b of ``values`` added to row i_b and taken from row j_b, in the same order every time."""
    return _add_rows(_add_rows(values.new_zeros(rows, values.shape[1]), i, values), j, values, -1)


def _add_rows(total: Tensor, index: Tensor, values: Tensor, sign: int = 1) -> Tensor:
    if total.device.type == "cpu":
        return total.index_add_(0, index, values, alpha=sign)
    # On a card index_add_ adds atomically, in no fixed order; this sorts instead. "unsafe" leaves out the check of the
    # range, for which most versions of torch wait.
    return torch._index_put_impl_(total, [index], values if sign == 1 else -values, accumulate=True, unsafe=True)
