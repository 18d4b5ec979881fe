"""VBPR: ŷ_ui = p_uᵀ(q_i + Eᵀc_i), what an item's history says plus what its picture says.

He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016: ``VBPR`` is the one-vector form of
the AMR paper, eq. (4), which has MF's size at the same K; ``VBPRTwoVector`` is their own,

    ŷ_ui = p_uᵀq_i + h_uᵀ(Eᵀc_i) + b_i + β'ᵀc_i

(their α and β_u, the same for all items of a user, do not change a ranking and are left out)."""

import torch
import torch.nn.functional as F

from ..datasets.dataset import Dataset
from .pairwise import PairwiseModel


class VBPR(PairwiseModel):
    """P (M, K), Q (N, K), E (D, K). A cold item has q_i = 0 and is ranked by its picture. Implements :eq:`eq-vbpr`."""

    uses_features = True


class VBPRTwoVector(PairwiseModel):
    """He & McAuley's form, :eq:`eq-vbpr-two`, written as one inner product so that nothing else needs to know it:

    ========  =====================  ===============
    P         [p_u, 1, h_u, 1]       (M, 2K + 2)
    Q         [q_i, b_i]             (N, K + 1)
    E         [E, β']                (D, K + 1)
    ========  =====================  ===============

    and the item vector is [q_i, b_i, Eᵀc_i, β'ᵀc_i]. The columns of ones are not learned and not regularised; the biases start
    at 0. ``dim`` is K, the length of p_u and of h_u each, so their "20 factors, split evenly" is ``dim=10``."""

    uses_features = True
    joint = False
    constant_columns = property(lambda self: (self.dim, 2 * self.dim + 1))
    p = property(lambda self: self.P[:, : self.dim], doc="p_u, what meets an item's history, (M, K).")
    h = property(lambda self: self.P[:, self.dim + 1 : -1], doc="h_u (their θ_u), what meets an item's picture, (M, K).")
    item_bias = property(lambda self: self.Q[:, -1], doc="b_i, (N,).")
    visual_bias = property(lambda self: self.E[:, -1], doc="β', (D,).")

    def _start_values(self, shop: Dataset, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        p, q, E = super()._start_values(shop, generator)
        assert q is not None and E is not None
        h = self._normal(shop.n_users, self.dim, generator)  # after the others: no seed shares numbers with another
        one = p.new_ones(len(p), 1)
        return torch.cat([p, one, h, one], 1), F.pad(q, (0, 1)), F.pad(E, (0, 1))  # a column of zeros for each bias

    def visual_users(self) -> torch.Tensor:
        """[h_u, 1], (M, K + 1)."""
        return self.P[:, self.dim + 1 :]
