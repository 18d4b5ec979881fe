"""Negatives: items that a user has not touched."""

import numpy as np
import torch
from torch import Tensor

from .checks import one_of
from .datasets.dataset import Dataset


class NegativeSampler:
    """Draws, for each user, an item the user has not touched: exactly, with no rejection and no loop. :eq:`eq-negative`

    ``kind`` is ``"uniform"`` over the warm items, or ``"popularity"``, in proportion to their training counts; cold items are
    never drawn, as in the authors' program. Users who have touched every warm item are ``full``, int64: there is nothing to
    draw for them, and unless that is allowed they are a ValueError, as is an unknown ``kind``.

    How it works. Line the items up, item n taking w_n whole units of length. Cut the user's own items out and close the gaps;
    draw a whole number r on what is left, and add back the length of the user's items that lie before it. Whether an item
    lies before is read off a sorted array by bisection."""

    def __init__(
        self, dataset: Dataset, device: torch.device | str = "cpu", kind: str = "uniform", allow_full: bool = False
    ) -> None:
        one_of(kind, "negatives", ("uniform", "popularity"))
        self.kind = kind
        weight = dataset.item_counts if kind == "popularity" else (dataset.item_counts > 0).astype(np.int64)
        line = np.cumsum(weight)  # (N,) right end of each item
        touched, owned = dataset.indices, np.diff(dataset.indptr)  # each user's items, ascending, and how many, (M,)
        user_of = np.repeat(np.arange(dataset.n_users), owned)
        removed = np.concatenate([[0], np.cumsum(weight[touched])])  # length cut out so far, over all users
        start = removed[dataset.indptr[:-1]]  # (M,) the same at each user's first item
        key = line[touched] - weight[touched] - (removed[:-1] - start[user_of])  # where each gap closes, ascending
        length = line[-1] - (removed[dataset.indptr[1:]] - start)  # (M,) what is left to each user
        self.full = np.flatnonzero((length == 0) & (owned > 0))
        if len(self.full) and not allow_full:
            user = dataset.user_ids[self.full[:1]].tolist()[0]
            raise ValueError(f"user {user!r} has touched every warm item, so no negative can be drawn; drop the user")
        self.stride = int(line[-1]) + 1
        item_at = np.repeat(np.arange(len(weight)), weight)  # of each unit of the line
        self.item_at, self.length, self.start, self.removed, self.keys = (
            torch.as_tensor(a, device=device) for a in (item_at, length, start, removed, user_of * self.stride + key)
        )

    def __call__(self, users: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One negative item for each entry of ``users``; int64, the same shape."""
        uniform = torch.rand(users.shape, generator=generator, device=users.device, dtype=torch.float64)
        length = self.length[users]
        r = torch.minimum((uniform * length).long(), length - 1)
        before = torch.searchsorted(self.keys, users * self.stride + r, right=True)
        return self.item_at[r + self.removed[before] - self.start[users]]
