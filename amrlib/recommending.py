"""Lists for people: whatever has user vectors and item vectors can recommend, and say what is alike."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .checks import item_ids, list_length
from .datasets.dataset import Dataset
from .evaluation.ranks import best_items

__all__ = ["Recommending"]

Lists = tuple[np.ndarray, np.ndarray]  # items, int64, and their scores; of one shape


class Recommending:
    """Scores are ``user_vectors() @ item_vectors().T``; lists leave out what the users of ``data`` have."""

    data: Any  # the Dataset

    def user_vectors(self) -> Tensor:
        """(n_users, K̃)"""
        raise NotImplementedError

    def item_vectors(self, features: Any = None) -> Tensor:
        """(n_items, K̃); under changed ``features`` (n_items, D) where the model uses them."""
        raise NotImplementedError

    def items_seen_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What several users have, and :meth:`recommend` leaves out, as pairs (place in ``users``, item)."""
        data: Dataset = self.data
        return data.seen_by(users)

    def score(self, users: Any, features: Any = None) -> Tensor:
        """Scores of all items for some users: (len(users), n_items)."""
        ids = torch.as_tensor(self._user_numbers(users), device=self.user_vectors().device)
        return self.user_vectors()[ids] @ self.item_vectors(features).T

    @torch.no_grad()
    def recommend(
        self, users: Any, k: int | None = None, features: Any = None, items: Any = None, exclude: Any = "seen"
    ) -> Lists:
        """The k best items of each user, the user's own training items left out.

        Parameters
        ----------
        users : int or sequence of int
            Numbers; for the data's own ids see :meth:`recommend_for_ids`.
        k : int, optional
            Left out, 10, or all items of a smaller shop; so everywhere.
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
        N, rows = self.data.n_items, self._user_numbers(users)
        k = list_length(k, N)
        left_out = np.full(N, items is not None)
        if items is not None:
            left_out[item_ids(items, N, "items")] = False
        own = isinstance(exclude, str)
        if own and exclude != "seen":
            raise ValueError(f"exclude must be item ids, None, or 'seen', not {exclude!r}")
        if not own and exclude is not None:
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

    def recommend_for_ids(self, user_ids: Any, k: int | None = None, **settings: Any) -> pd.DataFrame:
        """:meth:`recommend` in the data's own ids: a table ``user``, ``item``, ``score``, ``rank`` (1 is best).

        A user id that the data do not have is a ValueError.
        """
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
        V, number = self.item_vectors(), item_ids(item, self.data.n_items, "item")
        if len(number) != 1:
            raise ValueError(f"item must be one item's number, not {item!r}")
        unit = V / V.norm(dim=1, keepdim=True).clamp_min(torch.finfo(V.dtype).tiny)
        return _one_list(unit[int(number[0])], unit, number, k)

    @torch.no_grad()
    def recommend_for(
        self, user_vector: Tensor, k: int | None = None, exclude: Any = (), item_vectors: Tensor | None = None
    ) -> Lists:
        """The k best items for a user vector (K̃,) that is nobody's row, such as one from ``fold_in``: (k,) each.

        Parameters
        ----------
        exclude : sequence of int
            Items to leave out: those the newcomer has.
        item_vectors : (n, K̃), optional
            Rank these instead of the catalogue, e.g. ``model.new_item_vectors(features)``.

        Raises
        ------
        ValueError
            A vector of another length, an item to exclude out of range, k above the number of items.
        """
        V = self.item_vectors() if item_vectors is None else item_vectors
        u = torch.as_tensor(user_vector, device=V.device, dtype=V.dtype)
        if u.ndim != 1 or len(u) != V.shape[1]:
            raise ValueError(f"user_vector must have shape ({V.shape[1]},), not {tuple(u.shape)}")
        return _one_list(u, V, item_ids(exclude, len(V), "exclude"), k)

    def _user_numbers(self, users: Any) -> np.ndarray:
        ids, n_users = np.atleast_1d(np.asarray(users)), self.data.n_users
        if ids.size == 0:
            return np.zeros(0, dtype=np.int64)
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
            raise ValueError(f"users must be whole numbers, one or a list of them, not {ids.dtype} {ids.shape}; "
                             "for the data's own ids there is recommend_for_ids, and shop.user_number")  # fmt: skip
        wrong = ids[(ids < 0) | (ids >= n_users)]
        if len(wrong):
            raise ValueError(f"users: {wrong[0]} is outside 0…{n_users - 1}; for the data's own ids there is "
                             "recommend_for_ids, for someone new fold_in and recommend_for")  # fmt: skip
        return ids.astype(np.int64)


def _one_list(u: Tensor, V: Tensor, left_out: np.ndarray, k: int | None) -> Lists:
    k = list_length(k, len(V))
    items, scores = best_items(u[None], V, np.zeros(len(left_out), dtype=np.int64), left_out, k)
    return items[0], scores[0]
