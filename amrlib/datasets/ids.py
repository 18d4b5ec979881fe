"""Ids of one's own: whole numbers stay numbers and text stays text, and the two never meet by guessing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["as_ids", "in_order", "meet", "numbered"]

Id = int | str
UNSURE = 2.0**53  # from here on a float may stand for its neighbour


def as_ids(values: Iterable[Any], say: Callable[[int], str]) -> list[Id | None]:
    """Each value as a whole number or as text without blanks around it; None for what is missing.

    Parameters
    ----------
    say : names the n-th value in messages

    Raises
    ------
    ValueError
        A number that is not whole, or one too large to be exact as a float; numbers and text side by side.
    """
    ids: list[Id | None] = []
    first: dict[type, int] = {}
    for n, value in enumerate(values):
        key = _as_id(value, n, say)
        if key is not None:
            first.setdefault(type(key), n)
        ids.append(key)
    if len(first) > 1:
        number, text = first[int], first[str]
        raise ValueError(
            f"{say(text)}: {ids[text]!r} is text, and {say(number)}: {ids[number]!r} a number; make them one kind, "
            f"with .astype(str), say: whether 7 and '7' are the same only you can tell"
        )
    return ids


def _as_id(value: Any, n: int, say: Callable[[int], str]) -> Id | None:
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return None
        if not float(value).is_integer():
            raise ValueError(f"{say(n)}: {value!r} is no id; ids are text or whole numbers")
        if abs(float(value)) >= UNSURE:
            raise ValueError(
                f"{say(n)}: {value!r} is too large for a float to tell from its neighbours; read the ids as text "
                f"(dtype=str) or as whole numbers with holes (dtype='Int64')"
            )
        return int(value)  # a column of whole numbers with holes arrives as floats
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return str(value).strip() or None


def in_order(ids: Iterable[Id]) -> list[Id]:
    """Distinct ids ascending: numbers, and text that is nothing but numbers, as numbers; other text as text."""
    distinct = set(ids)
    if all(isinstance(key, int) or re.fullmatch(r"-?\d{1,18}", key) for key in distinct):
        return sorted(distinct, key=lambda key: (int(key), str(key)))
    return sorted(distinct)


def numbered(column: pd.Series, say: Callable[[int], str]) -> tuple[np.ndarray, list[Id]]:
    """Codes (n,) into the ids in order, -1 where missing; and the ids. ``say`` names a row."""
    codes, distinct = pd.factorize(column)  # missing values get -1
    keys = as_ids(distinct, lambda n: say(int(np.flatnonzero(codes == n)[0])))
    ids = in_order(key for key in keys if key is not None)
    number = {key: n for n, key in enumerate(ids)}
    lookup = np.array([-1 if key is None else number[key] for key in keys] + [-1], dtype=np.int64)
    return lookup[codes], ids


def meet(ids: list[Id], known: list[Id], what: str, of: str) -> None:
    """Refuse ids of another kind than those they are to be found among.

    Raises
    ------
    ValueError
        One list holds numbers and the other text.
    """
    if ids and known and type(ids[0]) is not type(known[0]):
        kinds = {int: "whole numbers", str: "text"}
        raise ValueError(
            f"{what} are {kinds[type(ids[0])]} ({ids[0]!r} first) and {of} {kinds[type(known[0])]} ({known[0]!r} first); "
            f"make them one kind, with .astype(str) or .astype(int): whether 7 and '7' are the same only you can tell"
        )
