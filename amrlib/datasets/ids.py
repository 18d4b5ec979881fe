"""Ids of one's own: whole numbers stay numbers and text stays text, and the two never meet by guessing."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

Id = int | str
UNSURE = 2.0**53  # from here on a float may stand for its neighbour
HOLES = ("NULL", "null", "NaN", "nan", "None", "none", "\\N", "<NA>", "NaT", "N/A", "#N/A")  # what programs write for one


def as_ids(values: Iterable[Any], say: Callable[[int], str]) -> list[Id | None]:
    """Each value as a whole number, or as text without blanks around it and with composed letters; None for what is missing.

    Text that a float has gone through is mended where nothing is lost: where all ids are like "12.0", they become "12".

    Parameters
    ----------
    say : names the n-th value in messages

    Raises
    ------
    ValueError
        A number that is not whole, or one too large to be exact as a float; numbers and text side by side; text that a
        spreadsheet has shortened ("1.23457E+12"); "12" beside "12.0"; a line break.
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
            "with .astype(str), say: whether 7 and '7' are the same only you can tell"
        )
    return _mended(ids, say) if str in first else ids


def _mended(ids: list[Id | None], say: Callable[[int], str]) -> list[Id | None]:
    """Text ids, whole where a float has gone through them."""
    floats, unseen = [], {}
    for n, key in enumerate(ids):
        if isinstance(key, str) and not key.isalnum():
            if re.fullmatch(r"-?\d([.,]\d+)?[eE]\+\d+|-?\d[.,]\d+[eE]\d+", key):
                raise ValueError(f"{say(n)}: {key!r} is a long number that a spreadsheet has shortened, so others may "
                                 "have become the same; export the ids as text")  # fmt: skip
            if "." in key and re.fullmatch(r"-?\d+\.0+", key):
                floats.append(n)
            elif not key.isprintable() and re.search(r"[\x00-\x1f\x7f]", key):
                raise ValueError(f"{say(n)}: {key!r} holds a line break or another sign that cannot be seen; correct it")
            elif not key.isprintable():
                unseen[n] = "".join(sign for sign in key if unicodedata.category(sign) != "Cf")
    if unseen:  # a sign of no width may belong to the script; two ids that look alike are a matter for the reader
        written = Counter(unseen.get(n, key) for n, key in enumerate(ids))
        alike = [n for n, bare in unseen.items() if written[bare] > 1]
        if alike:
            raise ValueError(f"{say(alike[0])}: {ids[alike[0]]!r} and another id differ by signs that cannot be seen alone; "
                             "take these out")  # fmt: skip
    if not floats:
        return ids
    whole = {n: str(ids[n]).partition(".")[0] for n in floats}
    if len(floats) == sum(key is not None for key in ids):
        lost = [n for n in floats if abs(int(whole[n])) >= UNSURE]
        if lost:
            raise ValueError(f"{say(lost[0])}: {ids[lost[0]]!r} has been a float, which cannot tell it from its "
                             "neighbours; read the ids as text (dtype=str) or as whole numbers with holes "
                             "(dtype='Int64')")  # fmt: skip
        return [whole.get(n) for n in range(len(ids))]
    known = set(ids)
    for n in floats:
        if whole[n] in known:
            raise ValueError(f"{say(n)}: {ids[n]!r} and {whole[n]!r} are both ids here; whether they are the same only you can "
                             "tell: write them in one way")  # fmt: skip
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
                "(dtype=str) or as whole numbers with holes (dtype='Int64')"
            )
        return int(value)  # a column of whole numbers with holes arrives as floats
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):  # as some programs write text into Parquet
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{say(n)}: {value!r} is not text in UTF-8; ids are text or whole numbers") from None
    text = str(value).strip()
    return (text if text.isascii() else unicodedata.normalize("NFC", text)) or None


def in_order(ids: Iterable[Id]) -> list[Id]:
    """Distinct ids ascending: numbers, and text that is nothing but numbers, as numbers; other text as text."""
    distinct = set(ids)
    if all(isinstance(key, int) or re.fullmatch(r"-?\d{1,18}", key) for key in distinct):
        return sorted(distinct, key=lambda key: (int(key), str(key)))
    return sorted(distinct)


def numbered(column: pd.Series, say: Callable[[int], str], notes: list[str]) -> tuple[np.ndarray, list[Id]]:
    """Codes (n,) into the ids in order, -1 where missing; and the ids. ``say`` names a row."""
    kind = getattr(column.dtype, "numpy_dtype", column.dtype)  # pandas' own Float32 stands on NumPy's
    if isinstance(kind, np.dtype) and kind.kind == "f" and kind.itemsize < 8:
        _refuse_short_floats(column.to_numpy(dtype=kind, na_value=np.nan), say)
    try:
        codes, distinct = pd.factorize(column)  # missing values get -1
    except TypeError as error:  # lists, mappings, arrays
        raise ValueError(f"{say(0)}: ids are text or whole numbers ({error}); make the column so") from None
    return number_distinct(codes, distinct.tolist(), say, notes)


def _refuse_short_floats(values: np.ndarray, say: Callable[[int], str]) -> None:
    """float32 tells whole numbers from their neighbours below 2^24 alone."""
    large = np.flatnonzero(np.abs(values) >= 2.0 ** (np.finfo(values.dtype).nmant + 1))
    if len(large):
        raise ValueError(f"{say(int(large[0]))}: {values[large[0]]:.0f} is too large for {values.dtype} to tell from its "
                         "neighbours; read the ids as text (dtype=str) or as whole numbers (dtype='Int64')")  # fmt: skip


def number_distinct(
    codes: np.ndarray, distinct: list[Any], say: Callable[[int], str], notes: list[str]
) -> tuple[np.ndarray, list[Id]]:
    """As :func:`numbered`, of a column that is codes into its distinct values already."""
    keys = as_ids(distinct, lambda n: say(int(np.flatnonzero(codes == n)[0])))
    number = {key: n for n, key in enumerate(in_order(key for key in keys if key is not None))}
    lookup = np.array([-1 if key is None else number[key] for key in keys] + [-1], dtype=np.int64)
    ids = list(number)
    uses = np.bincount(lookup[lookup >= 0], minlength=len(ids))
    twice = np.flatnonzero(uses > 1)
    if len(twice):
        row = np.flatnonzero(lookup[codes] == twice[0])[0]
        notes.append(f"{say(int(row))}: {len(twice):,} ids are written in several ways (blanks, Unicode forms, 12 and 12.0), "
                     f"taken as one each ({ids[twice[0]]!r} first)")  # fmt: skip
    floats = [n for n, key in enumerate(keys) if isinstance(key, str) and str(distinct[n]).strip() == key + ".0"]
    if floats:
        first = floats[0]
        notes.append(f"{len(floats):,} ids have been floats ({distinct[first]!r} first), taken as whole ({keys[first]!r})")
    holes = [key for key in ids if key in HOLES]
    if holes:
        rows = int((lookup[codes] == number[holes[0]]).sum())
        notes.append(f"{holes[0]!r} is an id here, in {rows:,} rows; if it stands for a hole, drop these rows")
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
            "make them one kind, with .astype(str) or .astype(int): whether 7 and '7' are the same only you can tell"
        )
