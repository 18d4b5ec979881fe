"""AMR: VBPR trained against an adversary that moves every item's features by at most ε.

    min over P, Q, E  max over Δ, ‖Δ_i‖₂ ≤ ε:   L_BPR + λ L'_BPR,    ŷ'_ui = p_uᵀ(q_i + Eᵀ(c_i + Δ_i))

Tang, Du, He, Yuan, Tian & Chua, "Adversarial Training Towards Robust Multimedia Recommender System",
TKDE 32(5), 2020, eqs. (5)–(13). The step itself is :class:`amrlib.training.PairwiseTrainer`.
"""

from typing import Any

import numpy as np
import torch

from ..datasets.dataset import Dataset
from .vbpr import VBPR


class AMR(VBPR):
    """VBPR's P, Q, E and the adversary's settings. Implements :eq:`eq-amr-minimax`.

    Parameters
    ----------
    epsilon : float, or (n_items,)
        ε, the most a feature vector moves, in the features' own units: compare it with the mean ‖c_i‖.
        One for every item where an array is given, 0 for items that nobody can change.
    adv_weight : float
        λ, the weight of the loss at the moved features; 0 is VBPR.
    perturbation : ``"gradient"`` or ``"random"``
        Along the gradient, eqs. (11)–(12), or in a random direction as long: the control that tells what
        the adversary's choice of direction is worth.
    dim, seed, init_std, dtype : as for every model of P, Q and E

    Raises
    ------
    ValueError
        ε or λ negative or not finite, an unknown ``perturbation``; when bound, an array of ε of another length.
    """

    def __init__(
        self, epsilon: Any = 0.1, adv_weight: float = 1.0, perturbation: str = "gradient", dim: int = 64, seed: int = 0,
        init_std: float = 0.01, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__(dim, seed, init_std, dtype)
        if isinstance(epsilon, torch.Tensor):  # of another model's get_params, on whatever device
            epsilon = epsilon.cpu().numpy()
        for name, value in (("epsilon", epsilon), ("adv_weight", adv_weight)):
            array = np.asarray(value)
            if not np.issubdtype(array.dtype, np.number) or not (np.isfinite(array) & (array >= 0)).all():
                raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
        if perturbation not in ("gradient", "random"):
            raise ValueError(f"perturbation must be 'gradient' or 'random', not {perturbation!r}")
        self.epsilon = torch.as_tensor(np.array(epsilon)).to(dtype) if np.ndim(epsilon) else float(epsilon)
        self.adv_weight, self.perturbation = float(adv_weight), perturbation

    def _allocate(self, shop: Dataset) -> None:
        if isinstance(self.epsilon, torch.Tensor):
            if self.epsilon.shape != (shop.n_items,):
                raise ValueError(f"epsilon must be one number, or one for each item, shape ({shop.n_items},), "
                                 f"not {tuple(self.epsilon.shape)}")  # fmt: skip
            self.epsilon = self.epsilon.cpu()
        super()._allocate(shop)
