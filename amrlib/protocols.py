"""What evaluation and attacks ask of a model. Any object that has these can be ranked or attacked."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import Tensor

__all__ = ["Attackable", "Ranked", "Recommending"]


class Ranked(Protocol):
    """Something whose scores are user vectors times item vectors."""

    def user_vectors(self) -> Tensor:
        """(M, K̃)"""
        ...

    def item_vectors(self, features: Any = None) -> Tensor:
        """(N, K̃), under changed ``features`` (N, D) where the model uses any."""
        ...


class Recommending(Ranked, Protocol):
    def recommend(self, users: Any, k: int = 10, features: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Items and scores, (m, k) each, without what the users have; -1 and -inf where fewer than k are left."""
        ...


class Attackable(Ranked, Protocol):
    """A model whose scores move by ``visual_users()[u] @ E.T @ Δ_i`` when c_i moves by Δ_i; not at all without E."""

    @property
    def E(self) -> Tensor | None:
        """(D, K)"""

    @property
    def features(self) -> Tensor | None:
        """c, (N, D), in any floating-point type."""

    def visual_users(self) -> Tensor:
        """(M, K)"""
        ...

    def sensitivity(self, norm: str = "l2") -> Tensor:
        """‖E p_u‖ in the dual of ``norm``, (M,)."""
        ...
