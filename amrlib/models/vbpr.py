"""VBPR: ŷ_ui = p_uᵀ(q_i + Eᵀc_i), what an item's history says plus what its picture says.

He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016, in the
one-vector form of the AMR paper, eq. (4), so that it has MF's size at the same K.
"""

from __future__ import annotations

from .base import PairwiseModel

__all__ = ["VBPR"]


class VBPR(PairwiseModel):
    """P (M, K), Q (N, K), E (D, K). A cold item has q_i = 0 and is ranked by its picture."""

    looks = True
