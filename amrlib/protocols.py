"""What others ask of a model: whatever has these can be ranked, shown, attacked or trained."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor


class Alone:
    """Who shares the work on a table's rows, and how their parts come together: here one process has all of them. Several are
    an :class:`amrlib.parallel.Team`, which has the same words."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that prints, and writes files."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """Of any table: the rows of this process."""
        return slice(self.rank, None, self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def whole(self, part: Tensor, rows: int) -> Tensor:
        return part

    def agree(self, value: Any) -> Any:
        return value

    def same(self, *numbers: int) -> bool:
        return True

    def told_to_stop(self) -> bool:
        return False

    def speaks(self) -> bool:  # of an error that all meet, one tells
        return True


ALONE = Alone()


class Ranked(Protocol):
    """Scores are user vectors (M, K̃) times item vectors (N, K̃), the latter under other features (N, D) if asked."""

    def user_vectors(self) -> Tensor: ...
    def item_vectors(self, features: Any = None) -> Tensor: ...


@runtime_checkable
class Recommending(Ranked, Protocol):
    """Gives items and scores, (m, k) each, without what the users have; -1 and -inf where fewer than k are left."""

    def recommend(self, users: Any, k: int = 10, features: Any = None) -> tuple[np.ndarray, np.ndarray]: ...


class Attackable(Ranked, Protocol):
    """The score of u and i moves by ``visual_users()[u] @ E.T @ Δ_i`` when c_i moves by Δ_i; E is None: not at all."""

    E: Tensor | None  # (D, K)
    features: Tensor | None  # c, (N, D), in any floating-point type

    def visual_users(self) -> Tensor: ...  # (M, K)


class Trainable(Protocol):
    """All that training asks of a model; as it stands here, one without an adversary."""

    P: Tensor  # (M, K)  user vectors p_u
    Q: Tensor | None = None  # (N, K)  q_i, what an item's history says; zero for cold items
    E: Tensor | None = None  # (D, K)  the map from features to vectors, Eᵀc_i
    features: Tensor | None = None  # (N, D)  c_i
    joint: bool = True  # item vector q_i + Eᵀc_i; False: [q_i ; Eᵀc_i], as VBPRTwoVector has it
    constant_columns: tuple[int, ...] = ()  # columns of P that are not learned: the 1 that multiplies a bias
    epsilon: float | Tensor = 0.0  # ε: one number, or (N,) with one for every item
    adv_weight: float = 0.0  # λ of the adversary; 0 is plain BPR
    perturbation: str = "gradient"  # or "random": Δ_n = ε g_n/‖g_n‖ with g_n Gaussian in R^D, a control
