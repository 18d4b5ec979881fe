"""What all models share: a score is a user vector times an item vector, and the data belong to the model that saw them last."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..checks import item_ids, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import best_items
from .files import read_model, write_model

__all__ = ["Recommender"]

# Every word of every model's fit. A model that has no use for one refuses it by name.
FIT_WORDS = ("epochs", "batch_size", "lr", "reg", "seed", "optimizer", "negatives", "validation", "patience", "every",
             "checkpoint", "device", "trainer", "callbacks", "progress", "features", "reset")  # fmt: skip


class Recommender:
    """A recommender whose score matrix is ``user_vectors() @ item_vectors().T``.

    A model is made without data and belongs to the data set it was last bound to, by :meth:`bind` or by :meth:`fit`:
    features, what each user has, which items are cold. It keeps one held-out item a user out of sight.
    """

    fit_words: ClassVar[tuple[str, ...]] = ("device", "callbacks", "progress", "reset")
    uses_features: ClassVar[bool] = False

    features: Tensor | None = None  # (N, D) of a bound model that uses them
    E: Tensor | None = None
    dataset: Dataset | None = None  # the data it is bound to
    history: pd.DataFrame | None = None  # of the last fit, a row an epoch
    fit_settings: dict[str, Any] | None = None  # and the words it was called with
    start: str = "seed"  # where the parameters began: "seed", or "MFBPR" for a warm start from one

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        if any(isinstance(value, Dataset) for value in (*arguments, *settings.values())):
            raise TypeError(f"{cls.__name__}(shop, …) was amrlib 0.1; a model is made without data now: "
                            f"{cls.__name__}(…).fit(shop)")  # fmt: skip
        return super().__new__(cls)

    # ---- settings ----

    def get_params(self) -> dict[str, Any]:
        """The settings that the model was made with, by name."""
        signature = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in signature if name != "self"}

    def __repr__(self) -> str:
        settings = self.get_params() | (self.fit_settings or {})
        words = [f"{k}={v!r}" if np.ndim(v) == 0 else f"{k}=<{len(v)} numbers>" for k, v in settings.items()]
        return f"{type(self).__name__}({', '.join(words)})"

    # ---- data ----

    @property
    def data(self) -> Dataset:
        """The data set that the model is bound to.

        Raises
        ------
        ValueError
            It is bound to none yet.
        """
        if self.dataset is None:
            raise ValueError(f"this {type(self).__name__} has seen no data yet; call fit(shop), or bind(shop)")
        return self.dataset

    @property
    def n_users(self) -> int:
        return self.data.n_users

    @property
    def n_items(self) -> int:
        return self.data.n_items

    def bind(self, shop: Dataset) -> Self:
        """Start on a data set: parameters from the seed, features, what each user has. Returns the model.

        Raises
        ------
        ValueError
            The model uses features and the data set has none.
        """
        self._check_features_of(shop)
        self.dataset, self.start, self.history, self.fit_settings = shop, "seed", None, None
        self._allocate(shop)
        return self

    def _allocate(self, shop: Dataset) -> None:
        raise NotImplementedError

    def _use_features(self, shop: Dataset) -> None:
        """Take the features of a data set, where the model uses any."""

    def _check_features_of(self, shop: Dataset) -> None:
        if self.uses_features and shop.features is None:
            raise ValueError(f"{type(self).__name__} uses item features, and this data set has none; "
                             "give Dataset(features=…), or use MFBPR")  # fmt: skip

    def _bind_to_fit(self, shop: Dataset, features: str, reset: bool) -> None:
        """On the same shop go on; on another one bind anew, unless that would lose a warm start.

        The same shop means the same train, ids and, where the model uses them, features.
        """
        if features not in ("same", "other"):
            raise ValueError(f"features must be 'same' or 'other' (go on with other features), not {features!r}")
        bound = self.dataset
        if bound is None or reset:
            self.bind(shop)
            return
        differs = [word for word in ("train", "ids") if bound is not shop and _differ(bound, shop, word)]
        if differs:
            if self.start != "seed":
                raise ValueError(
                    f"this {type(self).__name__} was warm-started from {self.start} on data with other "
                    f"{' and '.join(differs)}, and binding it to this shop would lose that start; make it again with "
                    f"{type(self).__name__}.warm_start(model, shop), or pass reset=True to start from the seed"
                )
            self.bind(shop)
            return
        self._check_features_of(shop)
        if self.uses_features and _differ(bound, shop, "features"):
            if features == "same":
                raise ValueError("the features differ from those this model was fitted on; pass features='other' to go on "
                                 "with them, or reset=True to start anew")  # fmt: skip
            self._use_features(shop)  # which refuses another number of columns
        self.dataset = shop

    # ---- training ----

    def fit(self, shop: Dataset, epochs: int | None = None, **settings: Any) -> Self:
        """Train on a data set, and return the model; ``history`` is then a DataFrame with a row an epoch.

        On the data it is bound to, training goes on from the parameters the model has; on other data it starts from
        its seed (a warm-started model refuses). Other features alone are refused, unless ``features="other"`` (go on)
        or ``reset=True`` (start anew).

        Parameters
        ----------
        shop : Dataset
        epochs : int
            20 where the model learns in epochs.
        **settings
            ``device`` ("auto", "cpu", "cuda"), ``callbacks``, ``progress``, ``features``, ``reset``; and of the models
            trained on triples those of :func:`amrlib.training.loop.train`.

        Raises
        ------
        ValueError
            A word that means nothing to this model, or a value that does not fit.
        """
        if not isinstance(shop, Dataset):
            raise ValueError("fit needs a Dataset, as amrlib.load_dataset or amrlib.from_csv make it, "
                             f"not {type(shop).__name__}")  # fmt: skip
        if epochs is not None:
            settings = {"epochs": epochs, **settings}
        for word in settings:
            if word not in self.fit_words:
                reason = ("means nothing to" if word in FIT_WORDS else "is no word of fit for")
                raise ValueError(f"{word} {reason} {type(self).__name__}; its fit takes {', '.join(self.fit_words)}")
        self._bind_to_fit(shop, settings.get("features", "same"), bool(settings.pop("reset", False)))
        self.history = self._train(shop, **settings)
        self.fit_settings = {k: v for k, v in settings.items() if k not in ("callbacks", "progress", "features")}
        return self

    def _train(self, shop: Dataset, **settings: Any) -> pd.DataFrame:
        raise NotImplementedError

    def parameters(self) -> dict[str, Tensor]:
        """What training changes and :meth:`save` writes, by name."""
        raise NotImplementedError

    # ---- files ----

    def save(self, path: str | Path) -> None:
        """Write parameters, settings, and the fingerprints of the data to a file that :func:`amrlib.load` reads."""
        data, table = self.data, self.data.feature_table if self.uses_features else None
        settings = {k: str(v) if k == "dtype" else v.tolist() if hasattr(v, "tolist") else v
                    for k, v in self.get_params().items()}  # fmt: skip
        prints = {**data.fingerprint._asdict(), "features": None if table is None else table.fingerprint}
        header = {"model": type(self).__name__, "settings": settings, "start": self.start, "fingerprint": prints}
        write_model(path, header, self.parameters())

    @classmethod
    def load(cls, path: str | Path, shop: Dataset, features: str = "same") -> Self:
        """The model that ``model.save(path)`` wrote, bound to the data set; ``amrlib.load`` is this for all models.

        Parameters
        ----------
        path : path
        shop : Dataset
            The data it was fitted on: they bring the features, and what users have.
        features : ``"same"`` or ``"other"``
            ``"other"`` takes features that differ from those of the training.

        Raises
        ------
        ValueError
            Not such a file, one of another version or model, or data with another fingerprint.
        """
        if features not in ("same", "other"):
            raise ValueError(f"features must be 'same' or 'other', not {features!r}")
        header, tensors = read_model(path)
        kind = {c.__name__: c for c in _classes(Recommender)}.get(header["model"])
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"{path} holds a {header['model']}, not a {cls.__name__}; load it with amrlib.load")
        ours = shop.fingerprint._asdict()
        for word, what in (("train", "rows"), ("ids", "user or item ids")):
            if header["fingerprint"][word] != ours[word]:
                raise ValueError(
                    f"{path} was fitted on data with other {what}, or in another order (their fingerprint is "
                    f"{header['fingerprint'][word]}, here {ours[word]}); load it with the data it was fitted on"
                )
        table = shop.feature_table if kind.uses_features else None
        if table is not None and features != "other" and header["fingerprint"]["features"] != table.fingerprint:
            raise ValueError(
                f"{path} was fitted with other features; pass features=\"other\" to use these, or copy along the cached "
                "features it was fitted with: a network's features differ in the last bits between processors"
            )
        settings = dict(header["settings"])
        if "dtype" in settings:
            settings["dtype"] = getattr(torch, settings["dtype"].removeprefix("torch."))
        try:
            model = kind(**settings).bind(shop)
        except TypeError as error:
            raise ValueError(f"{path} was saved by another version of amrlib ({error}); train again") from None
        shapes, theirs = ({n: tuple(t.shape) for n, t in x.items()} for x in (model.parameters(), tensors))
        if shapes != theirs:
            raise ValueError(f"{path} holds {theirs}, the data set needs {shapes}; it is damaged, or its features were others")
        for name, theta in model.parameters().items():
            theta.copy_(tensors[name])
        model.start = header["start"]
        return model

    # ---- scores ----

    def user_vectors(self) -> Tensor:
        """(n_users, K̃)"""
        raise NotImplementedError

    def item_vectors(self, features: Any = None) -> Tensor:
        """(n_items, K̃); under changed ``features`` (n_items, D) where the model uses them."""
        raise NotImplementedError

    def score(self, users: Any, features: Any = None) -> Tensor:
        """Scores of all items for some users: (len(users), n_items)."""
        ids = torch.as_tensor(self._user_numbers(users), device=self.user_vectors().device)
        return self.user_vectors()[ids] @ self.item_vectors(features).T

    def items_seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What several users have, and :meth:`recommend` leaves out, as pairs (place in ``users``, item)."""
        return self.data.seen_by(users)

    @torch.no_grad()
    def recommend(
        self, users: Any, k: int = 10, features: Any = None, items: Any = None, exclude: Any = "seen",
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The k best items of each user, the user's own training items left out.

        Parameters
        ----------
        users : int or sequence of int
            Numbers; for the data's own ids see :meth:`recommend_for_ids`.
        k : int
        features : (n_items, D), optional
            Recommend under changed features.
        items : sequence of int, optional
            Rank these items alone.
        exclude : sequence of int, optional
            Leave these out as well, for everybody. None leaves nothing out, not even what a user has.

        Returns
        -------
        items : int64, shape (len(users), k); (k,) for a single user
        scores : float, the same shape, descending; of equal scores the smaller number first. A user with fewer than k items
            left gets -1 and -inf.

        Raises
        ------
        ValueError
            A user or item out of range, k below 1 or above the catalogue's size, vectors that are not finite.
        """
        N, rows = self.n_items, self._user_numbers(users)
        k = whole_number(k, "k", 1, N)
        left_out = np.zeros(N, dtype=bool)
        if items is not None:
            left_out[:] = True
            left_out[item_ids(items, N, "items")] = False
        if isinstance(exclude, str):
            if exclude != "seen":
                raise ValueError(f"exclude must be item ids, None, or 'seen', not {exclude!r}")
        elif exclude is not None:
            left_out[item_ids(exclude, N, "exclude")] = True
        U, V = self.user_vectors(), self.item_vectors(features)
        best, scores = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        block = max(1, 2**25 // N)
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            seen = self.items_seen_by(part) if exclude is not None else (part[:0], part[:0])
            best[start : start + block], scores[start : start + block] = best_items(
                U[torch.as_tensor(part, device=U.device)], V, *seen, k, left_out if left_out.any() else None
            )
        return (best[0], scores[0]) if np.ndim(users) == 0 else (best, scores)

    def recommend_for_ids(self, user_ids: Any, k: int = 10, **settings: Any) -> pd.DataFrame:
        """:meth:`recommend` in the data's own ids: a table ``user``, ``item``, ``score``, ``rank`` (1 is best).

        Raises
        ------
        ValueError
            A user id that the data do not have; what :meth:`recommend` raises.
        """
        one = isinstance(user_ids, str) or not isinstance(user_ids, Iterable) or getattr(user_ids, "ndim", 1) == 0
        ids = [user_ids] if one else list(user_ids)
        users = np.array([self.data.user_number(key) for key in ids], dtype=np.int64)
        items, scores = self.recommend(users, k, **settings)  # (n, k)
        place, rank = np.nonzero(items >= 0)
        return pd.DataFrame({
            "user": self.data.user_ids[users[place]], "item": self.data.item_ids[items[place, rank]],
            "score": scores[place, rank], "rank": rank + 1,
        })  # fmt: skip

    @torch.no_grad()
    def similar_items(self, item: int, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k items whose vectors point most nearly the same way, the item itself left out: numbers and cosines, (k,)."""
        V = self.item_vectors()
        number = item_ids(item, self.n_items, "item")
        if len(number) != 1:
            raise ValueError(f"item must be one item's number, not {item!r}")
        k = whole_number(k, "k", 1, self.n_items)
        unit = V / V.norm(dim=1, keepdim=True).clamp_min(torch.finfo(V.dtype).tiny)
        items, cosines = best_items(unit[torch.as_tensor(number)], unit, np.zeros(1, dtype=np.int64), number, k)
        return items[0], cosines[0]

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
            Items to leave out: those the newcomer has.
        item_vectors : (n, K̃), optional
            Rank these instead of the catalogue, e.g. ``model.new_item_vectors(features)``.

        Returns
        -------
        items : int64, (k,)
        scores : float, (k,), descending; -1 and -inf where fewer than k are left.

        Raises
        ------
        ValueError
            A vector of another length, an item to exclude out of range, k above the number of items.
        """
        V = self.item_vectors() if item_vectors is None else item_vectors
        u = torch.as_tensor(user_vector, device=V.device, dtype=V.dtype)
        if u.ndim != 1 or len(u) != V.shape[1]:
            raise ValueError(f"user_vector must have shape ({V.shape[1]},), not {tuple(u.shape)}")
        k = whole_number(k, "k", 1, len(V))
        out = item_ids(exclude, len(V), "exclude")
        items, scores = best_items(u[None], V, np.zeros(len(out), dtype=np.int64), out, k)
        return items[0], scores[0]

    def _user_numbers(self, users: Any) -> np.ndarray:
        ids = np.atleast_1d(np.asarray(users))
        if ids.size == 0:
            return np.zeros(0, dtype=np.int64)
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
            raise ValueError(f"users must be whole numbers, one or a list of them, not {ids.dtype} {ids.shape}; "
                             "for the data's own ids there is recommend_for_ids, and shop.user_number")  # fmt: skip
        wrong = ids[(ids < 0) | (ids >= self.n_users)]
        if len(wrong):
            raise ValueError(f"users: {wrong[0]} is outside 0…{self.n_users - 1}; for the data's own ids there is "
                             "recommend_for_ids, for someone new fold_in and recommend_for")  # fmt: skip
        return ids.astype(np.int64)


def _differ(a: Dataset, b: Dataset, word: str) -> bool:
    """Whether the "train", "ids" or "features" of two data sets differ; what they share is not read for it."""
    if word == "features":
        ours, theirs = a.feature_table, b.feature_table
        return ours is not theirs and (ours is None or theirs is None or ours.fingerprint != theirs.fingerprint)
    if word == "train" and a.train is b.train and (a.n_users, a.n_items) == (b.n_users, b.n_items):
        return False
    return getattr(a, f"{word}_digest") != getattr(b, f"{word}_digest")


def _classes(kind: type[Recommender]) -> list[type[Recommender]]:
    """A class and all that derive from it, users' own among them."""
    return [kind, *(c for below in kind.__subclasses__() for c in _classes(below))]
