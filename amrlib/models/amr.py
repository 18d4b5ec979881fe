"""AMR: VBPR trained against an adversary that moves every item's features by at most ε.

    min over P, Q, E  max over Δ, ‖Δ_i‖₂ ≤ ε:   L_BPR + λ L'_BPR,    ŷ'_ui = p_uᵀ(q_i + Eᵀ(c_i + Δ_i))

Tang, Du, He, Yuan, Tian & Chua, "Adversarial Training Towards Robust Multimedia Recommender System",
TKDE 32(5), 2020, eqs. (5)–(13). The step itself is :class:`amrlib.training.PairwiseTrainer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets.dataset import Dataset
from .vbpr import VBPR

__all__ = ["AMR"]


class AMR(VBPR):
    """VBPR's P, Q, E and the adversary's two settings.

    Parameters
    ----------
    epsilon : float
        ε, the most a feature vector moves, in the features' own units: compare it with the mean ‖c_i‖.
    adv_weight : float
        λ, the weight of the loss at the moved features; 0 is VBPR.
    **settings : as for every pairwise model (``dim``, ``seed``, …)

    Raises
    ------
    ValueError
        ε or λ negative or not finite.
    """

    def __init__(self, dataset: Dataset, epsilon: float = 0.1, adv_weight: float = 1.0, **settings: Any) -> None:
        for name, value in (("epsilon", epsilon), ("adv_weight", adv_weight)):
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
        super().__init__(dataset, **settings)
        self.epsilon, self.adv_weight = float(epsilon), float(adv_weight)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"epsilon": self.epsilon, "adv_weight": self.adv_weight}
