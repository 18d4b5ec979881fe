"""What all models share: their settings, the data they belong to, ``fit``, the lists they give, and their files."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .checks import item_ids, list_length, one_of, require, row_numbers, whole_number
from .datasets.dataset import Dataset
from .evaluation.ranks import best_items
from .tensor_files import read_tensors, write_tensors

# Every word of every model's fit. A model that has no use for one refuses it by name.
FIT_WORDS = ("epochs", "batch_size", "lr", "reg", "seed", "optimizer", "negatives", "validation", "patience", "every",
             "checkpoint", "device", "trainer", "callbacks", "progress", "features", "reset", "reg_form")  # fmt: skip
Lists = tuple[np.ndarray, np.ndarray]  # items, int64, and their scores; of one shape


class Recommender:
    """A recommender: made without data, it belongs to the data set it was last bound to, by :meth:`bind` or :meth:`fit`. That
    is where features come from, what each user has, and which items are cold."""

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
            raise TypeError(f"{cls.__name__}(shop, …) was amrlib 0.1; make a model without data: {cls.__name__}(…).fit(shop)")
        return super().__new__(cls)

    def get_params(self) -> dict[str, Any]:
        """The settings that the model was made with, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"}

    def __repr__(self) -> str:
        settings = self.get_params() | (self.fit_settings or {})
        words = [f"{k}={v!r}" if np.ndim(v) == 0 else f"{k}=<{len(v)} numbers>" for k, v in settings.items()]
        return f"{type(self).__name__}({', '.join(words)})"

    # ---- what each model says for itself ----

    def parameters(self) -> dict[str, Tensor]:
        """What training changes and :meth:`save` writes, by name."""
        raise NotImplementedError

    def user_vectors(self) -> Tensor:
        """(n_users, K̃)"""
        raise NotImplementedError

    def item_vectors(self, features: Any = None) -> Tensor:
        """(n_items, K̃); under changed ``features`` (n_items, D) where the model uses them."""
        raise NotImplementedError

    def _allocate(self, shop: Dataset) -> None: ...
    def _use_features(self, shop: Dataset) -> None: ...  # take those of a data set, where the model uses any

    def _train(self, shop: Dataset, **settings: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """The rows of ``history``, one an epoch, and its ``attrs``."""
        raise NotImplementedError

    # ---- data ----

    @property
    def data(self) -> Dataset:
        """The data set that the model is bound to; a ValueError where there is none yet."""
        if self.dataset is None:
            raise ValueError(f"this {type(self).__name__} has seen no data yet; call fit(shop), or bind(shop)")
        return self.dataset

    n_users = property(lambda self: self.data.n_users)
    n_items = property(lambda self: self.data.n_items)

    def bind(self, shop: Dataset) -> Self:
        """Start on a data set: parameters from the seed, features, what each user has. Returns the model. A data set without
        features is a ValueError where the model uses them."""
        self._check_features_of(shop)
        self.dataset, self.start, self.history, self.fit_settings = shop, "seed", None, None
        self._allocate(shop)
        return self

    def _check_features_of(self, shop: Dataset) -> None:
        require(not self.uses_features or shop.features is not None, f"{type(self).__name__} uses item features, and this data "
                "set has none; give Dataset(features=…), or use MFBPR")  # fmt: skip

    def _bind_to_fit(self, shop: Dataset, features: str, reset: bool) -> None:
        """On the same shop (train, ids and features) go on; on another one bind anew, unless that loses a warm start."""
        one_of(features, "features", ("same", "other"))
        bound, name = self.dataset, type(self).__name__
        other = "" if bound is None or bound is shop else " and ".join(w for w in ("train", "ids") if _differ(bound, shop, w))
        require(not other or self.start == "seed" or reset, f"this {name} was warm-started from {self.start}, on data of other "
                f"{other}; make it again with {name}.warm_start(model, shop), or lose it by reset=True")  # fmt: skip
        if bound is None or other or reset:
            self.bind(shop)
            return
        self._check_features_of(shop)
        if self.uses_features and _differ(bound, shop, "features"):
            require(features == "other", "the features differ from those this model was fitted on; pass features='other' to go "
                    "on with them, or reset=True to start anew")  # fmt: skip
            self._use_features(shop)  # which refuses another number of columns
        self.dataset = shop

    def fit(self, shop: Dataset, epochs: int | None = None, **settings: Any) -> Self:
        """Train on a data set, and return the model; ``history`` is then a DataFrame with a row an epoch.

        On the data it is bound to, training goes on from the parameters the model has; on other data it starts from its seed
        (a warm-started model refuses). Other features alone are refused, unless ``features="other"`` (go on) or ``reset=True``
        (start anew). ``epochs`` is 20 where there are any; ``settings`` are ``device`` ("auto", "cpu", "cuda"), ``callbacks``,
        ``progress``, and on triples those of :func:`amrlib.training.loop.train`. A word or value that does not fit is a
        ValueError."""
        a_dataset = isinstance(shop, Dataset)
        require(a_dataset, f"fit needs a Dataset, as load_dataset or from_csv make it, not {type(shop).__name__}")
        settings = ({} if epochs is None else {"epochs": epochs}) | settings
        for word in settings:
            known = word in self.fit_words
            require(known, f"{word} means nothing to {type(self).__name__}; its fit takes {', '.join(self.fit_words)}")
        self._bind_to_fit(shop, settings.get("features", "same"), bool(settings.pop("reset", False)))
        rows, attrs = self._train(shop, **settings)
        self.history = pd.DataFrame(rows)
        self.history.attrs |= attrs
        self.fit_settings = {k: v for k, v in settings.items() if k not in ("callbacks", "progress", "features")}
        return self

    # ---- lists ----

    def items_seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What several users have, and :meth:`recommend` leaves out, as pairs (place in ``users``, item)."""
        return self.data.seen_by(users)

    def score(self, users: Any, features: Any = None) -> Tensor:
        """Scores of all items for some users: (len(users), n_items)."""
        ids = torch.as_tensor(self._user_numbers(users), device=self.user_vectors().device)
        return self.user_vectors()[ids] @ self.item_vectors(features).T

    @torch.no_grad()
    def recommend(
        self, users: Any, k: int | None = None, features: Any = None, items: Any = None, exclude: Any = "seen"
    ) -> Lists:
        """The k best items of each user, the user's own training items left out: items, int64, and scores, both of shape
        (len(users), k), or (k,) for a single user. Scores descend; of equal ones the smaller number comes first. A user with
        fewer than k items left gets -1 and -inf. Where k is left out, it is 10, or all items of a smaller shop.

        ``users`` are numbers, one or a list; for the data's own ids see :meth:`recommend_for_ids`. ``features`` (n_items, D)
        recommends under changed features; ``items`` ranks these numbers alone. ``exclude`` leaves these out as well, for
        everybody; None leaves nothing out, not even what a user has. A user or item out of range, k below 1 or above the
        catalogue's size, and vectors that are not finite are ValueErrors."""
        N, rows = self.data.n_items, self._user_numbers(users)
        k = list_length(k, N)
        left_out = np.full(N, items is not None)
        if items is not None:
            left_out[item_ids(items, N)] = False
        if isinstance(exclude, str):
            require(exclude == "seen", f"exclude must be item ids, None, or 'seen', not {exclude!r}")
        elif exclude is not None:
            left_out[item_ids(exclude, N, "exclude")] = True
        U, V = self.user_vectors(), self.item_vectors(features)
        best, scores = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        block = max(1, 2**25 // N)
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            seen = self.items_seen_by(rows[part]) if exclude is not None else (rows[:0], rows[:0])
            u = U[torch.as_tensor(rows[part], device=U.device)]
            best[part], scores[part] = best_items(u, V, *seen, k, left_out if left_out.any() else None)
        return (best[0], scores[0]) if np.ndim(users) == 0 else (best, scores)

    def recommend_for_ids(self, user_ids: Any, k: int | None = None, **settings: Any) -> pd.DataFrame:
        """:meth:`recommend` in the data's own ids: a table ``user``, ``item``, ``score``, ``rank`` (1 is best). A user id that
        the data do not have is a ValueError."""
        one = isinstance(user_ids, str) or not isinstance(user_ids, Iterable) or getattr(user_ids, "ndim", 1) == 0
        data = self.data
        users = np.array([data.user_number(key) for key in ([user_ids] if one else user_ids)], dtype=np.int64)
        items, scores = self.recommend(users, k, **settings)  # (n, k)
        place, rank = np.nonzero(items >= 0)
        return pd.DataFrame({"user": data.user_ids[users[place]], "item": data.item_ids[items[place, rank]],
                             "score": scores[place, rank], "rank": rank + 1})  # fmt: skip

    @torch.no_grad()
    def similar_items(self, item: int, k: int | None = None) -> Lists:
        """The k items whose vectors point most nearly the same way, itself left out: numbers and cosines, (k,) each."""
        V = self.item_vectors()
        item = whole_number(item, "item", 0, len(V) - 1)
        unit = V / V.norm(dim=1, keepdim=True).clamp_min(torch.finfo(V.dtype).tiny)
        return self.recommend_for(unit[item], k, exclude=[item], item_vectors=unit)

    @torch.no_grad()
    def recommend_for(
        self, user_vector: Tensor, k: int | None = None, exclude: Any = (), item_vectors: Tensor | None = None
    ) -> Lists:
        """The k best items for a user vector (K̃,) that is nobody's row, as ``fold_in`` gives one: items and scores, (k,) each.

        ``exclude`` are items to leave out: those the newcomer has. ``item_vectors`` (n, K̃) are ranked instead of the
        catalogue's, e.g. ``model.new_item_vectors(features)``. A vector of another length, an item to exclude out of range,
        and k below 1 or above the number of items are ValueErrors."""
        V = self.item_vectors() if item_vectors is None else item_vectors
        u = torch.as_tensor(user_vector, device=V.device, dtype=V.dtype)
        require(u.shape == V.shape[1:], f"user_vector must have shape ({V.shape[1]},), not {tuple(u.shape)}")
        left_out = item_ids(exclude, len(V), "exclude")
        items, scores = best_items(u[None], V, np.zeros_like(left_out), left_out, list_length(k, len(V)))
        return items[0], scores[0]

    def _user_numbers(self, users: Any) -> np.ndarray:
        remedy = "recommend_for_ids, and shop.user_number; for someone new fold_in and recommend_for"
        return row_numbers(users, self.data.n_users, "users", "user", f"; for the data's own ids there is {remedy}")

    # ---- files ----

    def save(self, path: str | Path) -> None:
        """Write parameters, settings, and the fingerprints of the data: for :func:`amrlib.load`."""
        data, table = self.data, self.data.feature_table if self.uses_features else None
        settings = {k: str(v) if k == "dtype" else v.tolist() if hasattr(v, "tolist") else v
                    for k, v in self.get_params().items()}  # fmt: skip
        prints = {**data.fingerprint._asdict(), "features": None if table is None else table.fingerprint}
        header = {"model": type(self).__name__, "settings": settings, "start": self.start, "fingerprint": prints}
        write_tensors(path, header, self.parameters())

    @classmethod
    def load(cls, path: str | Path, shop: Dataset, features: str = "same") -> Self:
        """The model that ``model.save(path)`` wrote, bound to the data it was fitted on, which bring the features, and what
        users have; ``amrlib.load`` is this for all models. ``features="other"`` takes features that differ from those of the
        training. Not such a file, one of another version or model, and data with another fingerprint are ValueErrors."""
        one_of(features, "features", ("same", "other"))
        words = ("model", "settings", "start", "fingerprint")
        header, tensors = read_tensors(path, "a model saved by amrlib", words, "train again, and write it with model.save")
        kind = {c.__name__: c for c in _classes(Recommender)}.get(header["model"])
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"{path} holds a {header['model']}, not a {cls.__name__}; load it with amrlib.load")
        theirs, ours = header["fingerprint"], shop.fingerprint._asdict()
        for word, what in (("train", "rows"), ("ids", "user or item ids")):
            require(theirs[word] == ours[word], f"{path} was fitted on data with other {what}, or in another order (their "
                    f"fingerprint is {theirs[word]}, here {ours[word]}); load it with the data it was fitted on")  # fmt: skip
        table = shop.feature_table if kind.uses_features else None
        same = table is None or theirs["features"] == table.fingerprint
        require(same or features == "other", f"{path} was fitted with other features; pass features=\"other\" to use these, or "
                "copy along those it had: a network's features differ in the last bits between processors")  # fmt: skip
        settings = {k: getattr(torch, v.removeprefix("torch.")) if k == "dtype" else v for k, v in header["settings"].items()}
        try:
            model = kind(**settings).bind(shop)
        except TypeError as error:
            raise ValueError(f"{path} was saved by another version of amrlib ({error}); train again") from None
        here, there = ({n: tuple(t.shape) for n, t in x.items()} for x in (model.parameters(), tensors))
        require(here == there, f"{path} holds {there}, the data set needs {here}; it is damaged, or its features were others")
        for name, theta in model.parameters().items():
            theta.copy_(tensors[name])
        model.start = header["start"]
        return model


def _differ(a: Dataset, b: Dataset, word: str) -> bool:
    """Whether the "train", "ids" or "features" of two data sets differ; features that they share are not read for it."""
    if word == "features":
        ours, theirs = a.feature_table, b.feature_table
        return ours is not theirs and (ours is None or theirs is None or ours.fingerprint != theirs.fingerprint)
    return getattr(a, f"{word}_digest") != getattr(b, f"{word}_digest")


def _classes(kind: type[Recommender]) -> list[type[Recommender]]:
    """A class and all that derive from it, users' own among them."""
    return [kind, *(c for below in kind.__subclasses__() for c in _classes(below))]
