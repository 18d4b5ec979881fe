"""What goes into a step and what comes out of it; which rows of a table a batch touches, and sums over them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """B triples: user u touched item i and not item j. int64, (B,) each."""

    users: Tensor
    pos: Tensor
    neg: Tensor


class Losses(NamedTuple):
    """Sums over one batch, taken before the update; tensors of no dimension, still on the device."""

    bpr: Tensor
    adversarial: Tensor
    objective: Tensor


class RowGradient(NamedTuple):
    """The gradient of some rows of a table."""

    ids: Tensor | None  # (R,) which rows; None: all of them
    values: Tensor  # (R, K); where an id stands twice, both rows hold its whole gradient


class Gradients(NamedTuple):
    """∂(objective)/∂P, ∂Q and ∂E over one batch; Q and E are None where the model has none."""

    P: RowGradient
    Q: RowGradient | None
    E: RowGradient | None
    losses: Losses


class Rows(NamedTuple):
    """R rows of a table, among them all that a batch touches."""

    place: Tensor  # where each entry of the batch stands among them: ids[place] is what was asked for
    size: int  # R
    ids: Tensor | None = None  # (R,) ascending; None: all that the table has, for a batch that touches most of them anyway
    first: Tensor | None = None  # (R,) on a GPU: the first of the rows with the same id, which has their sum

    def sums(self, values: Tensor) -> Tensor:
        """(R, K): what the entries of the batch, (n, K), add up to in each row, in the same order every time."""
        total = values.new_zeros(self.size, values.shape[1])
        if total.is_cpu:
            return total.index_add_(0, self.place, values)
        # On a card index_add_ adds atomically, in no fixed order; this sorts instead. "unsafe" leaves out the check of the
        # range, for which most versions of torch wait.
        return torch._index_put_impl_(total, [self.place], values, accumulate=True, unsafe=True)

    def gradient(self, sums: Tensor) -> RowGradient:
        """``sums`` (R, K) as the gradient of these rows."""
        return RowGradient(self.ids, sums if self.first is None else sums[self.first])


def distinct(ids: Tensor, may_wait: bool) -> Rows:
    """The distinct ones of some ids. Their number is only known once they are found, for which a CPU need not wait and a GPU
    would. So, unless it ``may_wait``, there are as many rows as ids, and of equal ones the first has their sum."""
    if may_wait:
        unique, place = torch.unique(ids, return_inverse=True)
        return Rows(place, len(unique), unique)
    ascending, order = torch.sort(ids)
    first = torch.searchsorted(ascending, ascending)
    return Rows(torch.empty_like(ids).scatter_(0, order, first), len(ids), ascending, first)
