"""What a date may look like, and what it then may mean."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

# What a date looks like, and what it may mean, one tuple of formats a reading. {0} is what stands between the parts.
SHAPES: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (r"\d{4}(-)\d{2}-\d{2}", (("ISO8601", "%Y-%m-%d"),)),
    (r"\d{4}([-/. ])\d{1,2}\1\d{1,2}", (("%Y{0}%m{0}%d",),)),
    (r"\d{1,2}([-/. ])\d{1,2}\1\d{4}", (("%d{0}%m{0}%Y",), ("%m{0}%d{0}%Y",))),
    (r"\d{1,2}([-/. ])\d{1,2}\1\d{2}", (("%d{0}%m{0}%y",), ("%m{0}%d{0}%y",), ("%y{0}%m{0}%d",))),
    (r"\d{1,2}([-/. ])[A-Za-z]+\1\d{4}", (("%d{0}%b{0}%Y", "%d{0}%B{0}%Y"),)),
    (r"\d{1,2}([-/. ])[A-Za-z]+\1\d{2}", (("%d{0}%b{0}%y", "%d{0}%B{0}%y"),)),
    (r"[A-Za-z]+( )\d{1,2}, \d{4}", (("%b %d, %Y", "%B %d, %Y"),)),
    (r"[A-Za-z]+( )\d{1,2} \d{4}", (("%b %d %Y", "%B %d %Y"),)),
)
CLOCK = re.compile(r"(?P<gap>,? +|T)\d{1,2}:\d\d(?P<s>:\d\d(?P<f>\.\d+)?)?(?P<half> ?[AaPp][Mm])?"
                   r"(?P<blank> ?)(?P<zone>Z|[+-]\d\d:?\d\d)?")  # fmt: skip
WORDS = {"d": "day", "m": "month", "b": "month", "B": "month", "Y": "year", "y": "year"}
MISSING = np.iinfo(np.int64).min


@dataclass
class Reading:
    """One way to read the column, the rows that it does not fit, and its values so far."""

    formats: tuple[str, ...]  # all of one meaning; none for plain numbers
    parts: list[np.ndarray] = field(default_factory=list)
    misses: int = 0
    first_miss: tuple[int, str] = (-1, "")  # row and text

    def __str__(self) -> str:
        """The order of its parts: "day/month/year"."""
        if not self.formats:
            return "a number"
        words = [WORDS[letter] for letter in re.findall(r"%([dmbBYy])", self.formats[-1])]
        return "/".join(words) if words else self.formats[-1]

    def values(self, texts: np.ndarray) -> np.ndarray:
        """Float or int64 numbers, or microseconds, of distinct texts; NaN or ``MISSING`` where it does not fit."""
        if not self.formats:
            found = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy()
            if found.dtype.kind == "i":
                return found.astype(np.int64)
            found = found.astype(np.float64)
            return np.where(np.isfinite(found), found, np.nan)
        out = np.full(len(texts), MISSING)
        for fmt in self.formats:
            left = np.flatnonzero(out == MISSING)
            if len(left):
                dates = pd.to_datetime(pd.Series(texts[left], dtype=object), format=fmt, errors="coerce", utc=True)
                out[left] = microseconds(dates)
        return out


def readings_of(text: str) -> list[tuple[str, ...]]:
    """Every way to read a date, each as formats of one meaning; none for a form that is not known."""
    clock = CLOCK.search(text)
    date, tail = text, ""
    if clock and clock.end() == len(text):
        date, g = text[: clock.start()], clock.groupdict()
        tail = f"{g['gap']}{'%I' if g['half'] else '%H'}:%M{':%S' if g['s'] else ''}{'.%f' if g['f'] else ''}"
        tail += (g["half"][:-2] + "%p" if g["half"] else "") + (g["blank"] + "%z" if g["zone"] else "")
    for shape, readings in SHAPES:
        match = re.fullmatch(shape, date)
        if match:
            return [tuple(f if f == "ISO8601" else f.format(match[1]) + tail for f in formats) for formats in readings]
    return []


def microseconds(dates: pd.Series) -> np.ndarray:
    """int64 since 1970, ``MISSING`` for what is no date."""
    return dates.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("us").astype("int64").to_numpy()
