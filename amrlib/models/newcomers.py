"""Items that are not in the catalogue, and people of whom nothing was known at training time."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import item_ids, number, require
from ..protocols import Trainable
from ..recommender import Recommender
from ..training import item_vectors


class Newcomers(Recommender, Trainable):
    """What models of P, Q and E can do for newcomers."""

    cold: Tensor  # (N,) bool: items that were never trained

    def new_item_vectors(self, features: Any) -> Tensor:
        """Vectors of items that are not in the catalogue, from their features (n, D) alone: (n, K̃), with q = 0.

        ``model.user_vectors() @ model.new_item_vectors(features).T`` are their scores, comparable with cold items', and with
        warm ones' as far as q_i is small. No use of features, another length, and what is not finite are ValueErrors."""
        require(self.uses_features, f"{type(self).__name__} uses no features, so a new item has no vector; use VBPR")
        self.data  # noqa: B018  (says so where there is none)
        z = self._project(self._checked_features(features))  # (n, K)
        q = None if self.Q is None else z.new_zeros(len(z), self.Q.shape[1])
        return item_vectors(q, z, self.joint)

    def _checked_features(self, features: Any, n: int | None = None) -> Tensor:
        """Features of ``n`` items, or of however many, that come from outside: (n, D)."""
        assert self.E is not None
        c, D = torch.as_tensor(features if isinstance(features, Tensor) else np.asarray(features)), len(self.E)
        fits = c.ndim == 2 and c.shape[1] == D and n in (None, len(c))
        require(fits, f"features must have shape ({n or 'n'}, {D}), as those of the model have, not {tuple(c.shape)}")
        require(torch.isfinite(c).all(), "features hold NaN or infinite values; leave such items out, or give them finite ones")
        return c

    def _project(self, c: Tensor) -> Tensor:
        """Eᵀc of the rows of c, (n, K), in blocks: float16 or mapped features are never copied whole."""
        E = self.E
        assert E is not None
        return torch.cat([part.to(E.device, E.dtype) @ E for part in c.split(max(1, 2**24 // c.shape[1]))])

    def fold_in(self, items: Any, reg: float = 0.01, steps: int = 100) -> Tensor:
        """The vector of someone new from a handful of items, everything else staying as it is: (K̃,).

        It minimises what training minimises for one user, the BPR loss in expectation over uniform negatives, which with the
        item vectors held fixed is convex in p:

            Σ_{i∈items}  mean over warm j ∉ items of −ln σ(pᵀ(q̃_i − q̃_j))  +  reg · |items| · ‖p‖²

        by at most ``steps`` iterations of L-BFGS (Nocedal & Wright, ch. 7); a few dozen do. An item counts once. ``reg`` is
        reg_P; with 0 the vector may grow without end. No item, one out of range, none left, and ``reg`` < 0 are ValueErrors."""
        ids, reg = self._touched(items), number(reg, "reg")
        V, rival = self.item_vectors().detach(), ~self.cold  # (N, K̃), (N,)
        rival[ids] = False
        require(rival.any(), "items holds every warm item, so there is nothing to prefer them to")
        liked, others = V[ids], V[rival]  # (n, K̃), (m, K̃)
        free = torch.ones_like(V[0])
        free[list(self.constant_columns)] = 0
        p = torch.zeros_like(free).requires_grad_()
        lbfgs = torch.optim.LBFGS([p], max_iter=steps, tolerance_grad=1e-8, tolerance_change=0.0, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            lbfgs.zero_grad()
            whole = free * p + (1 - free)
            x = (liked @ whole)[:, None] - others @ whole  # (n, m)
            value = F.softplus(-x).mean(1).sum() + reg * len(ids) * (free * p).square().sum()
            value.backward()
            return value

        lbfgs.step(loss)
        return (free * p + (1 - free)).detach()

    def _touched(self, items: Any) -> Tensor:
        """What someone new has touched: distinct item ids, at least one, where the model is."""
        ids = item_ids(items, self.n_items)
        require(len(ids), "items is empty: fold_in needs one at least; of whom nothing is known, Popularity knows as much")
        return torch.as_tensor(ids, device=self.P.device)
