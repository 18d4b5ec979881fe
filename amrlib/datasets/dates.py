"""A column of times, read in one format from its first row to its last.

A date such as 01/02/2024 has two readings, and rows that are read each by itself can be given both in one column. Here a
column is read as a whole: every reading that the first date allows is tried on all rows, and the one that fits them all is
taken. Where two fit and differ, nothing here can know which is meant.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .date_formats import MISSING, Reading, microseconds, readings_of

DAY = 86_400_000_000  # in microseconds, which is what dates are counted in


class Times:
    """Takes a column of times, whole or piece by piece, and gives numbers that grow with time.

    Parameters
    ----------
    name : of the column, for messages
    dayfirst : bool, optional
        Whether 01/02/2024 is 1 February; left out, the column must tell.
    format : str, optional
        The one format, as ``datetime.strptime`` has it: ``"%d.%m.%Y"``.
    """

    def __init__(self, name: str, dayfirst: bool | None = None, format: str | None = None) -> None:
        if dayfirst is not None and format is not None:
            raise ValueError("pass dayfirst= or format=, not both")
        if dayfirst not in (None, True, False):
            raise ValueError(f"dayfirst must be True or False, not {dayfirst!r}")
        if format is not None and "%" not in str(format) and format != "ISO8601":
            raise ValueError(f"format must be one format for the whole column, such as '%d.%m.%Y', not {format!r}")
        self.name, self.dayfirst, self.format = name, dayfirst, format
        self.width = len(datetime.datetime(2000, 1, 1).strftime(format)) if format and format != "ISO8601" else 0
        self.readings: list[Reading] = [] if format is None else [Reading((format,))]
        self.rows = 0
        self.zones: dict[bool, tuple[int, str]] = {}  # with and without an offset: the first row of each
        self.missing: list[np.ndarray] = []  # rows
        self.plain: list[np.ndarray] = []  # of columns that are numbers or dates already
        self.kind = ""

    def add(self, column: Any) -> None:
        """Take the next rows: numbers, dates, or texts."""
        column = column if isinstance(column, pd.Series) else pd.Series(column, dtype=object)
        values = None if self.format is not None and not _is_date(column) else _plain(column)
        kind = "text" if values is None else "date" if values.dtype == np.int64 and _is_date(column) else "number"
        if self.kind and kind != self.kind:
            raise ValueError(f"{self.name} is a column of {self.kind}s and then of {kind}s; make it one kind")
        self.kind = kind
        if values is None:
            codes, distinct = pd.factorize(column)
            self.add_texts(codes, [str(text) for text in distinct])
            return
        gone = np.isnan(values) if values.dtype.kind == "f" else values == MISSING
        self.missing.append(np.flatnonzero(gone) + self.rows)
        self.plain.append(values)
        self.rows += len(column)

    def add_texts(self, codes: np.ndarray, distinct: Sequence[str]) -> None:
        """Take the next rows as codes into distinct texts, -1 for what is missing."""
        self.kind = "text"
        self._add_texts(codes, distinct)
        self.rows += len(codes)

    def _add_texts(self, codes: np.ndarray, distinct: Sequence[str]) -> None:
        texts = np.array([text.strip() for text in distinct] + [""], dtype=object)  # the last for what is missing
        if self.format is None:  # as databases write it
            zoned = [t[:-3].rstrip() + "+00:00" if t.endswith(("UTC", "GMT")) else t for t in texts]
            texts = np.array(zoned, dtype=object)
        if self.width:
            texts = np.array([t.zfill(self.width) if t.isdigit() else t for t in texts], dtype=object)
        empty = texts == ""
        rows_empty = empty[codes]
        self.missing.append(np.flatnonzero(rows_empty) + self.rows)
        if not self.readings:
            self.readings = self._possible([t for t in texts if t])
            for reading in self.readings:  # rows of earlier pieces that held nothing at all
                reading.parts.append(np.full(self.rows, MISSING))
        if not self.readings:
            return
        self._note_zones(texts, codes)
        whole = not any(len(part) for reading in self.readings for part in reading.parts)
        for reading in self.readings:
            values = reading.values(texts[:-1])
            filler = np.nan if values.dtype.kind == "f" else MISSING
            values = np.append(values, np.array([filler], dtype=values.dtype))
            wrong = (np.isnan(values) if values.dtype.kind == "f" else values == MISSING) & ~empty
            missed = np.flatnonzero(wrong[codes])
            if len(missed) and not reading.misses:
                reading.first_miss = (int(missed[0]) + self.rows, str(texts[codes[missed[0]]]))
            reading.misses += len(missed)
            reading.parts.append(values[codes])
        if whole and len(self.readings) > 1:  # what fits no row of the first piece is no candidate
            none = int((~rows_empty).sum())
            self.readings = [r for r in self.readings if r.misses < none] or self.readings[:1]

    def _possible(self, texts: list[str]) -> list[Reading]:
        """Numbers, and the readings of the first text that looks like a date."""
        if not texts:
            return []
        found = [Reading(())]
        for text in texts:
            readings = readings_of(text)
            if readings:
                if self.dayfirst is not None and len(readings) > 1:
                    readings = [r for r in readings if r[0].startswith("%d") == self.dayfirst]
                return [*found, *(Reading(formats) for formats in readings)]
        return found

    def _note_zones(self, texts: np.ndarray, codes: np.ndarray) -> None:
        if len(self.zones) < 2:
            dated = np.array([":" in text for text in texts])
            has = np.array([":" in t and re.search(r":\d\d.*(Z|[+-]\d\d:?\d\d)$", t) is not None for t in texts])
            for with_zone in (True, False):
                rows = np.flatnonzero((dated & (has == with_zone))[codes])
                if len(rows):
                    self.zones.setdefault(with_zone, (int(rows[0]) + self.rows, str(texts[codes[rows[0]]])))

    def numbers(self, rows: np.ndarray | None, say: Callable[[int], str], notes: list[str]) -> np.ndarray:
        """Numbers that grow with time, int64 or float64, of some rows (all when None).

        Raises
        ------
        ValueError
            A row without a time or with one of another format; a column with two readings. The message names the row.
        """
        gone = np.concatenate(self.missing) if self.missing else np.zeros(0, dtype=np.int64)
        if rows is not None and len(gone):
            gone = gone[np.isin(gone, rows)]
        if len(gone):
            raise ValueError(f"{say(int(gone[0]))}: {self.name} is empty ({len(gone):,} such rows); correct it, drop "
                             "the rows or take split='random'")  # fmt: skip
        values = self._chosen(say, notes)
        return values if rows is None else values[rows]

    def _chosen(self, say: Callable[[int], str], notes: list[str]) -> np.ndarray:
        if self.kind != "text":
            values = np.concatenate(self.plain)
            if self.kind == "number":
                _refuse_digits(values, self.name, say)
            return values
        fit = [reading for reading in self.readings if not reading.misses]
        if not fit:
            raise ValueError(self._misfit(say))
        if len(self.zones) == 2 and fit[0].formats:
            (a, text), (b, other) = self.zones[True], self.zones[False]
            raise ValueError(f"{self.name} has an offset in {say(a)} ({text!r}) and none in {say(b)} ({other!r}): "
                             "which zone the others are in, only you can tell; write it in all rows")  # fmt: skip
        columns = [np.concatenate(reading.parts) for reading in fit]
        if any(not np.array_equal(columns[0], other) for other in columns[1:]):
            row = int(np.flatnonzero(columns[0] != columns[1])[0])
            raise ValueError(f"{self.name} can be read as {' and as '.join(map(str, fit))} in all rows, and {say(row)} "
                             "differs by it; pass dayfirst=True or dayfirst=False, a format= such as '%d/%m/%Y', or write "
                             "years first")  # fmt: skip
        self.reading = fit[0]
        if not fit[0].formats:
            _refuse_digits(columns[0], self.name, say)
        elif len(self.readings) > len(fit) and self.dayfirst is None:
            others = [r for r in self.readings if r.formats and r.misses]
            if others:
                row, text = max(others, key=lambda r: r.first_miss[0]).first_miss
                notes.append(f"{self.name}: read as {fit[0]}, since {text!r} ({say(row)}) can be nothing else")
        return columns[0]

    def _misfit(self, say: Callable[[int], str]) -> str:
        best = min(self.readings, key=lambda reading: reading.misses)
        row, text = best.first_miss
        if self.format is not None:
            return (f"{say(row)}: {self.name} is {text!r}, not of the format {self.format!r} ({best.misses:,} such rows); "
                    "correct it")  # fmt: skip
        others = [r for r in self.readings if r.formats and r is not best]
        if best.formats and others and all(r.first_miss[0] != row for r in others):
            where, other = others[0].first_miss
            return (f"{self.name} has no one format: {say(where)} is {other!r} and {say(row)} is {text!r}, which "
                    f"cannot both be {best} or {others[0]}; write all dates in one way, years first")  # fmt: skip
        what = "neither a number nor a date as the others are" if best.misses < self.rows else (
            "no number, and no date of a form that is known here; pass format=, such as '%d.%m.%Y'")
        return (f"{say(row)}: {self.name} is {text!r}, {what} ({best.misses:,} such rows); correct it, drop the rows or take "
                "split='random'")  # fmt: skip

    def moment(self, until: Any) -> float | int:
        """``until`` as a number like the column's: its last moment, which is the end of the day for a date without a clock."""
        isnumber = isinstance(until, int | float | np.number) and not isinstance(until, bool)
        numeric = self.kind == "number" or (self.kind == "text" and not self.reading.formats)
        if numeric != isnumber:
            are = "numbers" if numeric else "dates"
            raise ValueError(f"until is {until!r} and {self.name} a column of {are}; give until as they are")
        if isnumber:
            return until
        if isinstance(until, str):
            formats = self.reading.formats if self.kind == "text" else ()
            found = Reading((*formats, "ISO8601")).values(np.array([until.strip()], dtype=object))
            if found[0] == MISSING:
                raise ValueError(f"until={until!r} is no date of the form of {self.name}; write it like '2024-06-30'")
            whole_day = ":" not in until
        else:
            found = microseconds(pd.Series(pd.to_datetime([until], utc=True)))
            whole_day = isinstance(until, datetime.date) and not isinstance(until, datetime.datetime)
            whole_day |= isinstance(until, np.datetime64) and np.datetime_data(until)[0] == "D"
        return int(found[0]) + (DAY - 1 if whole_day else 0)


def _is_date(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in ("datetime", "datetime64", "date")


def _refuse_some_zones(column: pd.Series) -> None:
    """Python's own moments, some with a zone and some without."""
    zoned = np.array([getattr(value, "tzinfo", None) is not None for value in column])
    bare = ~zoned & column.notna().to_numpy()
    if zoned.any() and bare.any():
        one, other = column[zoned].iloc[0], column[bare].iloc[0]
        raise ValueError(f"{column.name or 'the times'}: {one} has a zone and {other} has none: which zone the others are in, "
                         "only you can tell; give it to all rows")  # fmt: skip


def _plain(column: pd.Series) -> np.ndarray | None:
    """The column as numbers, NaN or ``MISSING`` in its holes; None for texts."""
    if _is_date(column):
        if column.dtype == object:
            _refuse_some_zones(column)
        try:
            return microseconds(pd.to_datetime(column, utc=True))
        except (ValueError, TypeError) as error:
            raise ValueError(f"the times cannot be read as dates: {error}") from None
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if not numeric and column.dtype == object:
        numeric = pd.api.types.infer_dtype(column, skipna=True) in ("integer", "floating", "mixed-integer-float")
    if not numeric:
        return None
    if pd.api.types.is_integer_dtype(column) and not column.hasnans:
        return column.to_numpy(dtype=np.int64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


# What a number of this size is likely to be, where it is a time. Between the sizes lie gaps of a factor of ten and more.
SIZES = (
    (19_000_101, 21_001_231, "a year, a month and a day"),
    (10**8, 10**10, "seconds since 1970"),
    (10**11, 10**13, "milliseconds since 1970"),
    (19_000_101_000_000, 21_001_231_235_959, "a year, a month, a day and a clock"),
    (10**14, 10**16, "microseconds since 1970"),
    (10**17, 10**19, "nanoseconds since 1970"),
)


def _refuse_digits(values: np.ndarray, name: str, say: Callable[[int], str]) -> None:
    """Numbers that do not grow with time: 13012024, which grows with the day, and seconds beside milliseconds.

    ``values`` has a number for every row of the table, NaN or ``MISSING`` in rows that nobody asks for.
    """
    if len(values) and values.dtype.kind == "i":
        first, middle, year = values // 1_000_000, values // 10_000 % 100, values % 10_000
        if ((first > 0) & (first < 32) & (middle > 0) & (middle < 32) & (year > 1899) & (year < 2101)).all():
            raise ValueError(f"{name} holds numbers like {values[0]}, which look like a day, a month and a year; say so with "
                             "format='%d%m%Y' or '%m%d%Y'")  # fmt: skip
    size = np.full(len(values), -1)
    for n, (low, high, _) in enumerate(SIZES):
        size[(values >= low) & (values < high)] = n
    found = np.unique(size[values > 0])  # holes are negative or NaN, and 0 is 1970 in every unit
    if len(found) > 1 and found[0] >= 0:
        (row, what), (other, else_what) = ((int(np.flatnonzero(size == n)[0]), SIZES[n][2]) for n in found[:2])
        raise ValueError(f"{name} is {values[row]:.0f} in {say(row)} and {values[other]:.0f} in {say(other)}, which look like "
                         f"{what} and like {else_what}; write all in one unit. If these are no times but numbers that "
                         f"grow with time, pass their ranks (column.rank())")  # fmt: skip
