"""A model of P, Q and E, trained on (user, item, negative) triples."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..checks import one_of, require, whole_number
from ..datasets.dataset import Dataset
from ..device import resolve_device
from ..recommender import FIT_WORDS
from ..training import item_vectors
from ..training.loop import train
from .newcomers import Newcomers


class PairwiseModel(Newcomers):
    """A model of P, Q and E; see :mod:`amrlib.training`. ``dim`` is K, the length of p_u and q_i. ``seed`` draws the start
    values, normal with deviation ``init_std``; on the CPU, so that it means the same on every device. ``dtype`` is
    torch.float32, or torch.float64 for proofs, and no other (a ValueError). The features have their own: :meth:`to`."""

    fit_words: ClassVar[tuple[str, ...]] = FIT_WORDS
    has_history: ClassVar[bool] = True  # a q_i of its own for every item
    feature_dtype: torch.dtype | None = None  # None: as the data set stores them
    features_on_host: bool = False  # whatever device the rest of the model is on
    P: Tensor = None  # type: ignore[assignment]  # until the model is bound
    last_run: tuple[Any, str, str] = (None, "", "")  # a checkpoint's path, and how its run began and left the parameters
    # the item vectors, of which tensors (held, so that no other one takes an id), in which state
    _kept: tuple[list[tuple[int, int]], list[Tensor], Tensor] | None = None

    def __init__(self, dim: int = 64, seed: int = 0, init_std: float = 0.01, dtype: torch.dtype = torch.float32) -> None:
        self.dim, self.seed = whole_number(dim, "dim", 1), whole_number(seed, "seed", 0)
        self.init_std, self.dtype = float(init_std), dtype
        require(dtype in (torch.float32, torch.float64), f"dtype must be torch.float32 or torch.float64, not {dtype!r}: ranks "
                "in half precision are wrong; the features may be stored so, by model.to(device, features=dtype)")  # fmt: skip

    def _allocate(self, shop: Dataset) -> None:
        self.P, self.Q, E = self._start_values(shop, torch.Generator().manual_seed(self.seed))
        self.E = None if E is None else E.T.contiguous().T  # column by column: the products of a step read it so
        self.cold, self._kept = torch.tensor(shop.cold), None
        if self.Q is not None:
            self.Q[self.cold] = 0  # never trained: known by features alone
        self._use_features(shop)

    def _start_values(self, shop: Dataset, generator: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """P (M, K), Q (N, K) and E (D, K)."""
        P = self._normal(shop.n_users, self.dim, generator)
        Q = self._normal(shop.n_items, self.dim, generator) if self.has_history else None
        D = 0 if shop.features is None else shop.features.shape[1]
        return P, Q, self._normal(D, self.dim, generator) if self.uses_features else None

    def _normal(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        return self.init_std * torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(self.dtype)

    def _use_features(self, shop: Dataset) -> None:
        if self.E is not None and (table := shop.feature_table) is not None:
            D, given = len(self.E), table.array.shape[1]
            require(given == D, f"features must have {D} columns, as those this model was bound to, not {given}; "
                                "pass reset=True to start anew")  # fmt: skip
            self.features = table.on("cpu" if self.features_on_host else self.P.device, self.feature_dtype)

    @classmethod
    def warm_start(cls, model: "PairwiseModel", shop: Dataset, **settings: Any) -> Self:
        """A model bound to a data set that starts from another's P, Q and E, as far as both have them; the optimiser starts
        afresh. The paper's chain is ``MFBPR`` → ``VBPR.warm_start(mf, shop)`` → ``AMR.warm_start(vbpr, shop)`` (§4.1.4). Other
        users, items, ids or another dimension are a ValueError."""
        name = type(model).__name__
        require(isinstance(model, PairwiseModel), f"cannot start from {name}: it has no P and Q; train an MFBPR first")
        new = cls(**{"dim": model.dim, "dtype": model.dtype, **settings}).bind(shop)
        for key, mine in new.parameters().items():  # in order, so that an error names the same one each time
            theirs = model.parameters().get(key, mine)
            here, there = tuple(mine.shape), tuple(theirs.shape)
            require(here == there, f"cannot start from {name}: its {key} is {there}, here {key} is {here}")
            mine.copy_(theirs)
        require(model.data.ids_digest == shop.ids_digest, f"cannot start from {name}: its data had other user or item ids")
        if new.Q is not None:
            new.Q[new.cold] = 0  # cold here, whatever the other had learnt
        new.start = name
        return new

    def to(self, device: str | torch.device, features: torch.dtype | str | None = None) -> Self:
        """Move to ``"cpu"``, ``"cuda"`` or ``"auto"``; in place, and returned. All of the model moves, or nothing.
        ``features=torch.float16`` or ``torch.bfloat16`` keeps the features in half the bytes, which is half the traffic of a
        step; a batch's rows are turned into the type of E before they are used. Models of one data set share them.
        ``features="host"`` leaves them in the host's memory, or in their file, for a card that is too small: ``fit`` brings a
        batch's rows over while the card computes the one before. ``"device"`` takes that back. A device that is not there is a
        ValueError, and so is a type for features that are not there or that it cannot hold."""
        target, table = resolve_device(device), self.data.feature_table
        if features is not None:
            known = features in ("host", "device") or getattr(features, "is_floating_point", False)
            require(self.features is not None, f"features={features}: {type(self).__name__} has none")
            require(known, f"features={features} must be a floating-point type, 'host' or 'device'")
        dtype = features if isinstance(features, torch.dtype) else self.feature_dtype
        on_host = features == "host" if isinstance(features, str) else self.features_on_host
        moved = {n: v.to(target) for n in ("P", "Q", "E", "epsilon", "cold") if isinstance(v := getattr(self, n), Tensor)}
        place = torch.device("cpu") if on_host else moved["P"].device
        if self.features is not None and table is not None and (features or self.features.device != place):
            moved["features"] = table.on(place, dtype)
        vars(self).update(moved, feature_dtype=dtype, features_on_host=on_host)  # memory that ran out has changed nothing
        return self

    def _train(self, shop: Dataset, *, device: str = "auto", **settings: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
        return train(self.to(device), shop, **settings)

    def parameters(self) -> dict[str, Tensor]:
        return {name: value for name in "PQE" if (value := getattr(self, name)) is not None}

    def user_vectors(self) -> Tensor:
        self.data  # noqa: B018  (says so where there is none)
        return self.P

    def item_vectors(self, features: Any = None) -> Tensor:
        """(n_items, K̃); kept until Q, E or the features change, so do not write to it. torch does not see what is written
        through ``tensor.numpy()``: then tell it, ``torch.autograd.graph.increment_version``."""
        self.data  # noqa: B018
        if self.E is None or self.features is None:
            return item_vectors(self.Q, None, self.joint)
        c = self.features if features is None else self._checked_features(features, len(self.features))
        parts = [t for t in (self.Q, self.E, c) if t is not None]
        if features is not None or any(t.requires_grad for t in parts):
            return item_vectors(self.Q, self._project(c), self.joint)
        state = [(id(t), t._version) for t in parts]  # torch counts the writes to a tensor
        if self._kept is None or self._kept[0] != state:
            self._kept = (state, parts, item_vectors(self.Q, self._project(c), self.joint))
        return self._kept[2]

    def visual_users(self) -> Tensor:
        """What each user multiplies Eᵀc_i by: p_u, or h_u for the two-vector form. (M, K)"""
        return self.P

    @torch.no_grad()
    def sensitivity(self, norm: str = "l2") -> Tensor:
        """‖E p_u‖ of every user, (M,): how far a unit of feature noise moves the user's scores. ŷ_ui changes by p_uᵀEᵀΔ_i, at
        most ‖Δ_i‖₂‖E p_u‖₂ by Cauchy–Schwarz (``norm="l2"``), or ‖Δ_i‖_∞‖E p_u‖₁ by Hölder (``norm="linf"``, the norm of the
        noise, not its dual). Zero for a model without features."""
        one_of(norm, "norm", ("l2", "linf"))
        if self.E is None:
            return torch.zeros(self.n_users).to(self.P)
        V = self.visual_users()  # (M, K)
        if norm == "linf":  # in blocks: users x D may be large
            return torch.cat([(part @ self.E.T).abs().sum(1) for part in V.split(max(1, 2**24 // len(self.E)))])
        return (V * (V @ (self.E.T @ self.E))).sum(1).clamp_min(0).sqrt()
