"""How numbers are written in sentences and tables: never a "-0"."""

from __future__ import annotations

import re
from typing import Any


def zero_has_no_sign(value: Any, form: str) -> str:
    """``format(value, form)``, but what is rounded to zero from below is no "-0": -0.2 as ".0f" is "0", as "+.0f" "+0"."""
    text = format(value, form)
    return format(abs(value), form) if re.fullmatch(r"\s*-0(\.0*)?(e[-+]0+)?%?\s*", text) else text


def plus_minus(mean: float, half: float, digits: int = 0, sign: bool = False) -> str:
    """A mean and its half width for a table, both to ``digits`` places: "1.2 ± 0.3", and "+1.2 ± 0.3" with ``sign``."""
    return zero_has_no_sign(mean, ("+" if sign else "") + f".{digits}f") + f" ± {half:.{digits}f}"
