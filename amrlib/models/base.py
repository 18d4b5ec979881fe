"""What all six models share: a score is a user vector times an item vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .. import training
from ..datasets.dataset import Dataset
from ..files import write_atomically

__all__ = ["PairwiseModel", "Recommender"]


class Recommender:
    """A recommender whose score matrix is ``user_vectors() @ item_vectors().T``.

    Evaluation, recommendation, attacks and figures need nothing else of a model.
    """

    features: Tensor | None = None  # (N, D) where the model looks at the items
    E: Tensor | None = None

    def __init__(self, dataset: Dataset) -> None:
        self.n_users, self.n_items = dataset.n_users, dataset.n_items
        self._seen = (dataset.indptr, dataset.indices)  # what recommend() leaves out

    def user_vectors(self) -> Tensor:
        """(n_users, K̃)"""
        raise NotImplementedError

    def item_vectors(self, features: Any = None) -> Tensor:
        """(n_items, K̃); under changed ``features`` (n_items, D) where the model looks at them."""
        raise NotImplementedError

    def score(self, users: Any) -> Tensor:
        """Scores of all items for some users: (len(users), n_items)."""
        ids = torch.as_tensor(self._checked(users), device=self.user_vectors().device)
        return self.user_vectors()[ids] @ self.item_vectors().T

    @torch.no_grad()
    def recommend(self, users: Any, k: int = 10, features: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user, the user's own training items left out.

        Parameters
        ----------
        users : int or sequence of int
        k : int
        features : (n_items, D), optional
            Recommend under changed features.

        Returns
        -------
        items : int64, shape (len(users), k)
        scores : float, the same shape, descending. A user with fewer than k items left gets -1 and -inf.

        Raises
        ------
        ValueError
            A user id out of range, k below 1 or above the catalogue's size.
        """
        ids = self._checked(users)
        if not 1 <= k <= self.n_items:
            raise ValueError(f"k must be between 1 and the catalogue's {self.n_items} items, not {k}")
        user_vectors, item_vectors = self.user_vectors(), self.item_vectors(features)
        items = np.empty((len(ids), k), dtype=np.int64)
        scores = np.empty((len(ids), k), dtype=np.float64)
        indptr, indices = self._seen
        block = max(1, 2**25 // self.n_items)
        for start in range(0, len(ids), block):
            rows = ids[start : start + block]
            S = user_vectors[torch.as_tensor(rows, device=user_vectors.device)] @ item_vectors.T  # (b, N)
            lengths = indptr[rows + 1] - indptr[rows]
            at = np.repeat(np.arange(len(rows)), lengths)
            first = np.repeat(indptr[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
            seen = indices[first + np.arange(len(at))]
            S[torch.as_tensor(at, device=S.device), torch.as_tensor(seen, device=S.device)] = -torch.inf
            best = torch.topk(S, k, dim=1)
            items[start : start + block] = best.indices.cpu().numpy()
            scores[start : start + block] = best.values.double().cpu().numpy()
        items[np.isneginf(scores)] = -1
        return items, scores

    def _checked(self, users: Any) -> np.ndarray:
        ids = np.atleast_1d(np.asarray(users))
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
            raise ValueError(f"users must be whole numbers, one or a list of them, not {ids.dtype} {ids.shape}")
        wrong = ids[(ids < 0) | (ids >= self.n_users)]
        if len(wrong):
            raise ValueError(f"users: {wrong[0]} is outside 0…{self.n_users - 1}")
        return ids.astype(np.int64)


class PairwiseModel(Recommender):
    """A model of P, Q and E trained on (user, item, negative) triples; see :mod:`amrlib.training`.

    Parameters
    ----------
    dataset : Dataset
    dim : int
        K, the length of p_u and q_i.
    seed : int
        Start values, N(0, ``init_std``²); drawn on the CPU, so that a seed means the same on every device.
    init_std : float
    dtype : torch dtype
        float32; float64 is for proofs.
    """

    has_history: ClassVar[bool] = True  # a q_i of its own for every item
    looks: ClassVar[bool] = False  # sees features through E
    joint = True  # q_i + Eᵀc_i rather than [q_i ; Eᵀc_i]
    constant_columns: ClassVar[list[int]] = []
    epsilon, adv_weight = 0.0, 0.0  # no adversary

    P: Tensor
    Q: Tensor | None

    def __init__(
        self,
        dataset: Dataset,
        dim: int = 64,
        seed: int = 0,
        init_std: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(dataset)
        if dim < 1:
            raise ValueError(f"dim must be at least 1, not {dim}")
        if self.looks and dataset.features is None:
            raise ValueError(f"{type(self).__name__} looks at item features, and this data set has none")
        self.dim = dim
        self.history: pd.DataFrame | None = None
        self._cold = torch.as_tensor(dataset.cold)
        generator = torch.Generator().manual_seed(seed)

        def normal(rows: int, columns: int) -> Tensor:
            return init_std * torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(dtype)

        self.P = normal(dataset.n_users, dim)  # (M, K)
        self.Q = normal(dataset.n_items, dim) if self.has_history else None  # (N, K)
        if self.Q is not None:
            self.Q[self._cold] = 0  # never trained: known by features alone
        if self.looks:
            self.features = torch.as_tensor(np.asarray(dataset.features)).to(dtype)  # (N, D)
            self.E = normal(self.features.shape[1], dim)  # (D, K)

    @classmethod
    def warm_start(cls, model: PairwiseModel, dataset: Dataset, **settings: Any) -> Self:
        """A new model that starts from another's P, Q and E, as far as both have them.

        The paper's chain is ``MFBPR`` → ``VBPR.warm_start(mf, shop)`` → ``AMR.warm_start(vbpr, shop)``
        (§4.1.4). The optimiser starts afresh.

        Raises
        ------
        ValueError
            The two do not have the same users, items or dimension.
        """
        new = cls(dataset, **{"dim": model.dim, "dtype": model.P.dtype, **settings})
        for name in ("P", "Q", "E"):
            old, mine = getattr(model, name, None), getattr(new, name)
            if old is None or mine is None:
                continue
            if old.shape != mine.shape:
                raise ValueError(f"cannot start from {type(model).__name__}: its {name} is {tuple(old.shape)}, "
                                 f"here {name} is {tuple(mine.shape)}")  # fmt: skip
            mine.copy_(old)
        return new

    def to(self, device: str | torch.device) -> Self:
        """Move to ``"cpu"``, ``"cuda"`` or ``"auto"``; in place, and returned."""
        target = training.resolve_device(device)
        for name in ("P", "Q", "E", "features", "_cold"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.to(target))
        return self

    def fit(self, dataset: Dataset, epochs: int, device: str = "auto", **settings: Any) -> pd.DataFrame:
        """Train on the data set's triples; :func:`amrlib.training.fit` lists the settings.

        Returns the history, which also stays in ``self.history``.
        """
        if (dataset.n_users, dataset.n_items) != (self.n_users, self.n_items):
            raise ValueError(
                f"this {type(self).__name__} was made for {self.n_users} users and {self.n_items} items, "
                f"the data set has {dataset.n_users} and {dataset.n_items}"
            )
        self.to(device)
        self.history = training.fit(self, dataset, epochs=epochs, **settings)
        return self.history

    def user_vectors(self) -> Tensor:
        return self.P

    def item_vectors(self, features: Any = None) -> Tensor:
        return training.item_vectors(self.Q, self._seen_through_E(features), self.joint)

    def _seen_through_E(self, features: Any) -> Tensor | None:
        """Eᵀc_i of every item, (N, K); None for a model that does not look."""
        if self.E is None or self.features is None:
            return None
        c = self.features
        if features is not None:
            c = torch.as_tensor(features if isinstance(features, Tensor) else np.asarray(features))
            if c.shape != self.features.shape:
                raise ValueError(f"features must have shape {tuple(self.features.shape)}, not {tuple(c.shape)}")
        return c.to(self.E.device, self.E.dtype) @ self.E

    def visual_users(self) -> Tensor:
        """What each user multiplies Eᵀc_i by: p_u, or h_u for the two-vector form. (M, K)"""
        return self.P

    @torch.no_grad()
    def sensitivity(self) -> Tensor:
        """‖E p_u‖₂ of every user, (M,): how far a unit of feature noise moves the user's scores.

        ŷ_ui changes by p_uᵀEᵀΔ_i, at most ‖Δ_i‖‖E p_u‖ by Cauchy–Schwarz. Zero for a model that does
        not look at features.
        """
        if self.E is None:
            return torch.zeros(self.n_users, device=self.P.device, dtype=self.P.dtype)
        V = self.visual_users()  # (M, K)
        return (V * (V @ (self.E.T @ self.E))).sum(1).clamp_min(0).sqrt()

    # ---- files ----

    def settings(self) -> dict[str, Any]:
        """What, beside the data, it takes to make this model again."""
        return {"dim": self.dim}

    def save(self, path: str | Path) -> None:
        """Write P, Q and E as safetensors, with the settings as JSON in its header."""
        from safetensors.torch import save as to_bytes

        tensors = {n: getattr(self, n).detach().cpu().contiguous() for n in "PQE" if getattr(self, n) is not None}
        header = {"model": type(self).__name__, "settings": self.settings()}
        write_atomically(path, to_bytes(tensors, {"amrlib": json.dumps(header)}))

    @classmethod
    def load(cls, path: str | Path, dataset: Dataset) -> Self:
        """Read what :meth:`save` wrote; the data set brings the features and what users have seen.

        Raises
        ------
        ValueError
            Not such a file, a file of another model, or other numbers of users or items.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["amrlib"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is not a model saved by amrlib ({error})") from None
        if header["model"] != cls.__name__:
            raise ValueError(f"{path} holds a {header['model']}; load it with amrlib.{header['model']}.load")
        model = cls(dataset, **header["settings"], dtype=tensors["P"].dtype)
        for name, value in tensors.items():
            mine = getattr(model, name)
            if mine.shape != value.shape:
                raise ValueError(f"{path}: {name} is {tuple(value.shape)}, the data set needs {tuple(mine.shape)}")
            mine.copy_(value)
        return model
