"""What all six models share: a score is a user vector times an item vector."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import training
from ..atomic_files import write_atomically
from ..datasets.dataset import Dataset

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

    def _check_sizes(self, dataset: Dataset) -> None:
        if (dataset.n_users, dataset.n_items) != (self.n_users, self.n_items):
            raise ValueError(
                f"dataset: this {type(self).__name__} was made for {self.n_users} users and {self.n_items} items, "
                f"the data set has {dataset.n_users} and {dataset.n_items}; make a new model for it"
            )

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
            A user id out of range, k below 1 or above the catalogue's size, vectors that are not finite.
        """
        ids = self._checked(users)
        _check_k(k, self.n_items)
        user_vectors, item_vectors = self.user_vectors(), self.item_vectors(features)
        items = np.empty((len(ids), k), dtype=np.int64)
        scores = np.empty((len(ids), k), dtype=np.float64)
        indptr, indices = self._seen
        block = max(1, 2**25 // self.n_items)
        for start in range(0, len(ids), block):
            rows = ids[start : start + block]
            lengths = indptr[rows + 1] - indptr[rows]
            at = np.repeat(np.arange(len(rows)), lengths)
            first = np.repeat(indptr[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
            seen = indices[first + np.arange(len(at))]
            U = user_vectors[torch.as_tensor(rows, device=user_vectors.device)]
            part = slice(start, start + block)
            items[part], scores[part] = _best(U, item_vectors, at, seen, k)
        return items, scores

    @torch.no_grad()
    def recommend_for(
        self, user_vector: Tensor, k: int = 10, exclude: Any = (), item_vectors: Tensor | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for a user vector that is nobody's row, such as one from ``fold_in``.

        Parameters
        ----------
        user_vector : (K̃,)
        k : int
        exclude : sequence of int
            Item ids to leave out: those the newcomer has.
        item_vectors : (n, K̃), optional
            Rank these instead of the catalogue, e.g. ``model.new_item_vectors(features)``.

        Returns
        -------
        items : int64, (k,)
        scores : float, (k,), descending; -1 and -inf where fewer than k are left.

        Raises
        ------
        ValueError
            A vector of another length, an id to exclude out of range, k above the number of items.
        """
        V = self.item_vectors() if item_vectors is None else item_vectors
        u = torch.as_tensor(user_vector, device=V.device, dtype=V.dtype)
        if u.ndim != 1 or len(u) != V.shape[1]:
            raise ValueError(f"user_vector must have shape ({V.shape[1]},), not {tuple(u.shape)}")
        _check_k(k, len(V))
        out = _item_ids(exclude, len(V), "exclude")
        items, scores = _best(u[None], V, np.zeros(len(out), dtype=np.int64), out, k)
        return items[0], scores[0]

    def _checked(self, users: Any) -> np.ndarray:
        ids = np.atleast_1d(np.asarray(users))
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
            raise ValueError(f"users must be whole numbers, one or a list of them, not {ids.dtype} {ids.shape}")
        wrong = ids[(ids < 0) | (ids >= self.n_users)]
        if len(wrong):
            raise ValueError(f"users: {wrong[0]} is outside 0…{self.n_users - 1}; "
                             "for someone new, see fold_in and recommend_for")  # fmt: skip
        return ids.astype(np.int64)


def _check_k(k: int, n_items: int) -> None:
    if not isinstance(k, int | np.integer) or not 1 <= k <= n_items:
        raise ValueError(f"k must be a whole number between 1 and the catalogue's {n_items} items, not {k!r}")


def _item_ids(items: Any, n_items: int, name: str) -> np.ndarray:
    """Distinct item ids, ascending, int64."""
    ids = np.atleast_1d(np.asarray(items))
    if ids.size == 0:
        return np.zeros(0, dtype=np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be item ids, whole numbers in one list, not {ids.dtype} {ids.shape}")
    wrong = ids[(ids < 0) | (ids >= n_items)]
    if len(wrong):
        raise ValueError(f"{name}: item {wrong[0]} is outside 0…{n_items - 1}")
    return np.unique(ids).astype(np.int64)


def _best(U: Tensor, V: Tensor, at: np.ndarray, seen: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best rows of V for each row of U, without the pairs (at, seen): ids and scores, (b, k) each."""
    S = U @ V.T  # (b, N)
    if not bool(torch.isfinite(S).all()):  # NaN would sort above everything
        raise ValueError("a score is not finite; look for NaN in the parameters or the features")
    S[torch.as_tensor(at, device=S.device), torch.as_tensor(seen, device=S.device)] = -torch.inf
    best = torch.topk(S, k, dim=1)
    items, scores = best.indices.cpu().numpy(), best.values.double().cpu().numpy()
    items[np.isneginf(scores)] = -1
    return items, scores


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
    constant_columns: list[int] = []  # noqa: RUF012  (columns of P that stay 1)
    epsilon: float | Tensor = 0.0
    adv_weight = 0.0  # no adversary
    perturbation = "gradient"

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
        if not isinstance(dim, int | np.integer) or dim < 1:
            raise ValueError(f"dim must be a whole number of at least 1, not {dim!r}")
        if self.looks and dataset.features is None:
            raise ValueError(f"{type(self).__name__} looks at item features, and this data set has none; "
                             "give Dataset(features=…), or use MFBPR")  # fmt: skip
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
            with warnings.catch_warnings():  # a read-only memory map is only read
                warnings.filterwarnings("ignore", "The given NumPy array is not writ")
                self.features = torch.as_tensor(np.asarray(dataset.features))  # (N, D), shared, not copied
            self.E = normal(self.features.shape[1], dim).T.contiguous().T  # (D, K), column by column: see _see

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
        if not isinstance(model, PairwiseModel):
            raise ValueError(f"cannot start from {type(model).__name__}: it has no P and Q; train an MFBPR first")
        new = cls(dataset, **{"dim": model.dim, "dtype": model.P.dtype, **settings})
        for name in ("P", "Q", "E"):
            old, mine = getattr(model, name, None), getattr(new, name)
            if old is None or mine is None:
                continue
            if old.shape != mine.shape:
                raise ValueError(f"cannot start from {type(model).__name__}: its {name} is {tuple(old.shape)}, "
                                 f"here {name} is {tuple(mine.shape)}")  # fmt: skip
            mine.copy_(old)
        if new.Q is not None:
            new.Q[new._cold] = 0  # cold here, whatever the other had learnt
        return new

    def to(self, device: str | torch.device, features: torch.dtype | None = None) -> Self:
        """Move to ``"cpu"``, ``"cuda"`` or ``"auto"``; in place, and returned.

        ``features=torch.float16`` or ``torch.bfloat16`` keeps the features of this model in half the bytes, which
        is half the traffic of a step; a batch's rows are turned into the type of E before they are used.

        Raises
        ------
        ValueError
            A device that is not there; a type for the features of a model without any, or one that cannot hold them.
        """
        target = training.resolve_device(device)
        if features is not None:
            if self.features is None or not features.is_floating_point:
                raise ValueError(f"features={features}: {type(self).__name__} "
                                 + ("has none" if self.features is None else "needs a floating-point type"))  # fmt: skip
            kept = self.features.to(features)
            if not bool(torch.isfinite(kept).all()):
                raise ValueError(f"the features are too large for {features}; take torch.bfloat16, or scale them")
            self.features = kept
        for name in ("P", "Q", "E", "features", "epsilon", "_cold"):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                setattr(self, name, value.to(target))
        return self

    def fit(self, dataset: Dataset, epochs: int, device: str = "auto", **settings: Any) -> pd.DataFrame:
        """Train on the data set's triples; :func:`amrlib.training.fit` lists the settings.

        Returns the history, which also stays in ``self.history``.
        """
        self._check_sizes(dataset)
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
            c = self._checked_features(features)
            if c.shape != self.features.shape:
                raise ValueError(f"features must have shape {tuple(self.features.shape)}, not {tuple(c.shape)}")
        return self._project(c)

    def _checked_features(self, features: Any) -> Tensor:
        c = torch.as_tensor(features if isinstance(features, Tensor) else np.asarray(features))
        D = len(self.E)  # type: ignore[arg-type]
        if c.ndim != 2 or c.shape[1] != D:
            raise ValueError(f"features must have shape (n, {D}), as those of the model have, not {tuple(c.shape)}")
        if not bool(torch.isfinite(c).all()):
            raise ValueError("features hold NaN or infinite values; leave such items out or give them a finite vector")
        return c

    def _project(self, c: Tensor) -> Tensor:
        """Eᵀc of the rows of c, (n, K), in blocks: float16 or mapped features are never copied whole."""
        E = self.E
        assert E is not None
        return torch.cat([part.to(E.device, E.dtype) @ E for part in c.split(max(1, 2**24 // c.shape[1]))])

    # ---- newcomers ----

    def new_item_vectors(self, features: Any) -> Tensor:
        """Vectors of items that are not in the catalogue, from their features alone: (n, K̃), with q = 0.

        ``model.user_vectors() @ model.new_item_vectors(features).T`` are their scores for every user; they
        may be compared with those of cold items at once, and with warm ones as far as q_i is small.

        Raises
        ------
        ValueError
            A model that does not look at features; features of another length or not finite.
        """
        if self.E is None:
            raise ValueError(f"{type(self).__name__} does not look at features, so a new item has no vector; use VBPR")
        z = self._project(self._checked_features(features))  # (n, K)
        return training.item_vectors(None if self.Q is None else z.new_zeros(len(z), self.Q.shape[1]), z, self.joint)

    def fold_in(self, items: Any, reg: float = 0.01, steps: int = 100) -> Tensor:
        """The vector of someone new from a handful of items, everything else staying as it is: (K̃,).

        It minimises what training minimises for one user, the BPR loss in expectation over uniform
        negatives, which with the item vectors held fixed is convex in p:

            Σ_{i∈items}  mean over warm j ∉ items of −ln σ(pᵀ(q̃_i − q̃_j))  +  reg · |items| · ‖p‖²

        Parameters
        ----------
        items : sequence of int
            What the newcomer touched; more than once counts once.
        reg : float
            reg_P of the training; with 0 the vector may grow without end.
        steps : int
            At most so many iterations of L-BFGS (Nocedal & Wright, ch. 7), which needs a few dozen.

        Raises
        ------
        ValueError
            No item, an id out of range, items that leave no warm item to prefer them to, ``reg`` negative.
        """
        ids = self._some_items(items)
        if not np.isfinite(reg) or reg < 0:
            raise ValueError(f"reg must be a finite number of at least 0, not {reg!r}")
        V = self.item_vectors().detach()
        rival = ~self._cold  # (N,)
        rival[torch.as_tensor(ids, device=rival.device)] = False
        if not bool(rival.any()):
            raise ValueError("items holds every warm item, so there is nothing to prefer them to")
        liked, others = V[torch.as_tensor(ids, device=V.device)], V[rival.to(V.device)]  # (n, K̃), (m, K̃)
        free = torch.ones(V.shape[1], device=V.device, dtype=V.dtype)
        free[self.constant_columns] = 0
        p = torch.zeros_like(free).requires_grad_()
        solver = torch.optim.LBFGS([p], max_iter=steps, tolerance_grad=1e-8, tolerance_change=0.0,
                                   line_search_fn="strong_wolfe")  # fmt: skip

        def loss() -> Tensor:
            solver.zero_grad()
            whole = free * p + (1 - free)
            x = (liked @ whole)[:, None] - others @ whole  # (n, m)
            value = F.softplus(-x).mean(1).sum() + reg * len(ids) * (free * p).square().sum()
            value.backward()
            return value

        solver.step(loss)
        return (free * p + (1 - free)).detach()

    def _some_items(self, items: Any) -> np.ndarray:
        ids = _item_ids(items, self.n_items, "items")
        if not len(ids):
            raise ValueError("items is empty: fold_in needs at least one item; for nobody known, use Popularity")
        return ids

    def visual_users(self) -> Tensor:
        """What each user multiplies Eᵀc_i by: p_u, or h_u for the two-vector form. (M, K)"""
        return self.P

    @torch.no_grad()
    def sensitivity(self, norm: str = "l2") -> Tensor:
        """‖E p_u‖ of every user, (M,): how far a unit of feature noise moves the user's scores.

        ŷ_ui changes by p_uᵀEᵀΔ_i, at most ‖Δ_i‖₂‖E p_u‖₂ by Cauchy–Schwarz (``norm="l2"``), or ‖Δ_i‖_∞‖E p_u‖₁
        by Hölder (``norm="linf"``, the norm of the noise, not its dual). Zero for a model that does not look at
        features.
        """
        if norm not in ("l2", "linf"):
            raise ValueError(f"norm must be 'l2' or 'linf', not {norm!r}")
        if self.E is None:
            return torch.zeros(self.n_users, device=self.P.device, dtype=self.P.dtype)
        V = self.visual_users()  # (M, K)
        if norm == "linf":  # in blocks: users x D may be large
            block = max(1, 2**24 // len(self.E))
            return torch.cat([(part @ self.E.T).abs().sum(1) for part in V.split(block)])
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
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            kind, settings = header["model"], dict(header["settings"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a model saved by amrlib ({error}); write one with model.save") from None
        if kind != cls.__name__:
            raise ValueError(f"{path} holds a {kind}; load it with amrlib.{kind}.load")
        try:
            model = cls(dataset, **settings, dtype=tensors["P"].dtype)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} was saved by another version of amrlib ({error}); train again") from None
        mine = {name: getattr(model, name) for name in "PQE" if getattr(model, name) is not None}
        if {n: t.shape for n, t in mine.items()} != {n: t.shape for n, t in tensors.items()}:
            there, here = ({n: tuple(t.shape) for n, t in x.items()} for x in (tensors, mine))
            raise ValueError(f"{path} holds {there}, the data set needs {here}; load it with the data it was made for")
        for name, value in tensors.items():
            mine[name].copy_(value)
        return model
