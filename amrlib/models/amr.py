"""AMR: VBPR trained against an adversary that moves every item's features by at most ε.

    min over P, Q, E  max over Δ, ‖Δ_i‖₂ ≤ ε:   L_BPR + λ L'_BPR,    ŷ'_ui = p_uᵀ(q_i + Eᵀ(c_i + Δ_i))

Tang, Du, He, Yuan, Tian & Chua, "Adversarial Training Towards Robust Multimedia Recommender System", TKDE 32(5), 2020,
eqs. (5)–(13). The step itself is :class:`amrlib.training.PairwiseTrainer`."""

from typing import Any

import numpy as np
import torch

from ..checks import number, one_of, require
from ..datasets.dataset import Dataset
from .vbpr import VBPR


class AMR(VBPR):
    """VBPR's P, Q, E and the adversary's settings. Implements :eq:`eq-amr-minimax`.

    ``epsilon`` is ε, the most a feature vector moves, in the features' own units: compare it with the mean ‖c_i‖. It is one
    number, or an array (n_items,) with one for every item, 0 for items that nobody can change. ``adv_weight`` is λ, the weight
    of the loss at the moved features; 0 is VBPR. ``perturbation="gradient"`` moves along the gradient, eqs. (11)–(12),
    ``"random"`` in a random direction as far: the control that tells what the adversary's choice of direction is worth. Other
    words for it, and ε or λ negative, not finite or, once bound, of another length, are ValueErrors. The other settings are
    those of every model of P, Q and E."""

    def __init__(
        self, epsilon: Any = 0.1, adv_weight: float = 1.0, perturbation: str = "gradient", dim: int = 64, seed: int = 0,
        init_std: float = 0.01, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__(dim, seed, init_std, dtype)
        each = epsilon.cpu().numpy() if isinstance(epsilon, torch.Tensor) else np.asarray(epsilon)
        fine = np.issubdtype(each.dtype, np.number) and (np.isfinite(each) & (each >= 0)).all()
        require(fine, f"epsilon must be finite and at least 0, not {epsilon!r}")
        one_of(perturbation, "perturbation", ("gradient", "random"))
        self.epsilon = torch.tensor(each, dtype=dtype) if each.ndim else float(each)
        self.adv_weight, self.perturbation = number(adv_weight, "adv_weight"), perturbation

    def _allocate(self, shop: Dataset) -> None:
        if isinstance(self.epsilon, torch.Tensor):
            given, self.epsilon = tuple(self.epsilon.shape), self.epsilon.cpu()
            require(given == (shop.n_items,), f"epsilon must be one number, or have shape ({shop.n_items},), not {given}")
        super()._allocate(shop)
