"""Numbers and claims in the chapters: from the run, never typed.

The same call works in the built book, in Jupyter, in Colab and under nbval; nothing but IPython's own
``display`` is needed, so a chapter never depends on what builds the book.

>>> glue("VBPR finds {hr:.1%} of the held-out items.", hr=0.1829)      # shown as a sentence
>>> m, h = t_interval(vbpr - mf)                                        # paired over seeds
>>> claim("VBPR is ahead of MF by {m:.4f} ± {h:.4f}.", m > h, MODE, seeds=len(SEEDS),
...       effect={"NDCG@10, VBPR − MF": (m, h)}, m=m, h=h)              # shown with a tick, or stops the run

A claim also leaves its record beside its sentence, as a second form of the same output; from these ``tools/ledger.py``
writes the ledger, ``book/claims.md``. What a stored output holds is compared when the chapters are tested, and its
metadata is not: so the record is no metadata, and a stored chapter whose claims have changed does not pass.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

from .formats import zero_has_no_sign
from .settings import check_mode

__all__ = ["NOT_TESTABLE", "RECORD", "VERDICTS", "claim", "glue", "not_testable", "verdict_of"]

VERDICTS = ("reproduced", "direction only", "not reproduced")  # of a claim of the paper, as verdict_of gives them
NOT_TESTABLE = "not testable here"
RECORD = "application/vnd.amr-book.claim+json"  # the form of an output that holds a claim's record


class _Sentences(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return zero_has_no_sign(value, format_spec)


def _fill(sentence: str, values: dict[str, Any]) -> str:
    try:
        return _Sentences().format(sentence, **values)
    except KeyError as missing:
        raise ValueError(f"the sentence asks for {missing}, which was not passed: {sentence!r}") from None
    except (IndexError, ValueError, TypeError) as error:
        raise ValueError(f"cannot fill in {sentence!r} with {values!r}: {error}") from None


def _show(text: str, record: dict[str, Any] | None = None) -> None:
    """``text`` as a line of the page; ``record``, plain JSON, is another form of that output, for the ledger."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:  # a plain script
        print(text)
    else:
        display({"text/markdown": text, "text/plain": text} | ({RECORD: record} if record else {}), raw=True)


def glue(sentence: str, /, **values: Any) -> None:
    """Show ``sentence`` as a line of the page, its ``{name:.3f}`` placeholders filled from this run.

    A literal brace, as in a formula, is written twice: ``$p_{{u}}$``.

    Raises
    ------
    ValueError
        A placeholder without a value, or a value its format does not fit.
    """
    _show(_fill(sentence, values))


def claim(
    statement: str, ok: Any, mode: str, /, *, seeds: int | str | None = None, effect: Mapping[str, Any] | None = None,
    paper: str | None = None, verdict: str | None = None, **values: Any,
) -> None:  # fmt: skip
    """Show ``statement`` with a tick if ``ok``; otherwise stop the notebook, and so the book.

    A smoke run is too short to judge anything: there the statement is shown as not judged.

    Parameters
    ----------
    statement : str
        What is claimed, with placeholders as in :func:`glue`; ``{seeds}`` is there without being passed twice.
    ok : bool
        Whether this run bears it out; written beside the sentence, so that a reader sees the test.
    mode : ``"smoke"``, ``"book"`` or ``"paper"``
        The chapter's ``MODE``.
    seeds : int or ``"exact"``
        How many independent runs it rests on. ``"exact"`` where nothing is drawn: an identity, or a property
        of the data. A claim that rests on one run says "in this run".
    effect : mapping, optional
        What was measured: name with unit → the estimate and the half width of its 95 % interval, as
        :func:`amrbook.intervals.t_interval` returns them, or the estimate alone.
    paper : str, optional
        What the paper says of this, with its figure and where. The tick stays ours: ``ok`` tests ``statement``.
    verdict : str, optional
        With ``paper``, what :func:`verdict_of` gave.

    Raises
    ------
    AssertionError
        The claim does not hold here; the message holds the statement and the values.
    ValueError
        An unknown mode or verdict, values that do not fit the statement, an effect that is not a number.
    """
    check_mode(mode)
    if (paper is None) != (verdict is None):
        raise ValueError("paper= and verdict= go together: what the paper says, and verdict_of(ours, half_width, theirs)")
    if verdict is not None and verdict not in VERDICTS:
        raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, as verdict_of gives them, not {verdict!r}")
    if seeds is not None and seeds != "exact" and not (isinstance(seeds, int) and seeds > 0):
        raise ValueError(f'seeds must be a number of runs, or "exact" where nothing is drawn, not {seeds!r}')
    text = _fill(statement, values if seeds is None else {"seeds": seeds, **values})
    record: dict[str, Any] = {"statement": text, "mode": mode, "seeds": seeds, "paper": paper}
    if mode == "smoke":
        _show(f"∘ {text} *(not judged in a smoke run)*", {**record, "verdict": "not judged", "effect": []})
    elif bool(ok):
        beside = f" *The paper: {paper}* **{verdict.capitalize()}.**" if verdict else ""
        _show(f"✓ {text}{beside}", {**record, "verdict": verdict or "holds", "effect": _rounded(effect or {})})
    else:
        listed = ", ".join(f"{name} = {value!r}" for name, value in values.items())
        raise AssertionError(f"this run does not bear out: {text}" + (f" ({listed})" if listed else ""))


ROUNDING = 1e-12


def _rounded(effect: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Effects as plain JSON, to the digits that mean something: two of the half width, else three of the estimate. Below
    :data:`ROUNDING` a number is how this processor rounds, and another's would be another: it is given as 0.

    Text, not numbers: 0.0040 ± 0.0010 keeps its zeros, and a stored notebook repeats byte for byte.
    """
    rounded: list[dict[str, Any]] = []
    for name, value in effect.items():
        try:
            estimate, half = (float(value), None) if not isinstance(value, tuple | list) else map(float, value)
        except (TypeError, ValueError):
            raise ValueError(f"effect {name!r} must be a number or (estimate, half width), not {value!r}") from None
        if not math.isfinite(estimate) or (half is not None and not (math.isfinite(half) and half >= 0)):
            raise ValueError(f"effect {name!r} must be finite, its half width not negative: {value!r}")
        estimate = estimate if abs(estimate) >= ROUNDING else 0.0
        half = half if half is None or half >= ROUNDING else 0.0
        size, digits = (half, 2) if half else (abs(estimate), 3)
        places = max(0, digits - 1 - math.floor(math.log10(size))) if size else 0
        entry: dict[str, Any] = {"name": name, "estimate": f"{round(estimate, places) + 0.0:.{places}f}"}
        rounded.append(entry if half is None else {**entry, "half_width": f"{half:.{places}f}"})
    return rounded


def verdict_of(ours: float, half_width: float, theirs: float | str, within: float = 2.0) -> str:
    """The verdict on an effect that a paper reports, by one rule for the whole book.

    ``"reproduced"``
        Our 95 % interval lies clear of 0 on the paper's side, and the paper's figure is between
        ours/``within`` and ours·``within``: the same sign, and the same size to a factor of two.
    ``"direction only"``
        The interval lies clear of 0 on the paper's side; the size differs by more than that.
    ``"not reproduced"``
        The interval holds 0, or lies on the other side.

    Parameters
    ----------
    ours, half_width : float
        Our estimate, and the half width of its 95 % interval over seeds.
    theirs : float, ``"+"`` or ``"-"``
        The paper's figure in the same unit. The data differ, so compare relative changes, in %, rather than
        differences of NDCG. A sign where the paper gives no figure: then there is no size to reproduce, and the
        best verdict is ``"direction only"``.

    Raises
    ------
    ValueError
        The paper's figure is 0 or not a number: it has no side to be on.
    """
    if theirs in ("+", "-"):
        towards = float(ours) if theirs == "+" else -float(ours)
        return "direction only" if towards - float(half_width) > 0 else "not reproduced"
    theirs = float(theirs)
    if not math.isfinite(theirs) or theirs == 0:
        raise ValueError(f"the paper's figure must be a number other than 0, not {theirs!r}")
    mine, size = math.copysign(1.0, theirs) * float(ours), abs(theirs)
    if not mine - float(half_width) > 0:  # so written, a nan is not a reproduction
        return "not reproduced"
    return "reproduced" if mine / within <= size <= mine * within else "direction only"


def not_testable(paper: str, reason: str, /, **values: Any) -> None:
    """Show a claim of the paper that this book cannot test, and why; it enters the ledger as ``"not testable here"``.

    Parameters
    ----------
    paper : str
        What the paper says, with its figure and where.
    reason : str
        Why nothing here can tell, with placeholders as in :func:`glue`.

    Raises
    ------
    ValueError
        Values that do not fit the reason.
    """
    why = _fill(reason, values)
    record: dict[str, Any] = {"statement": why, "mode": None, "seeds": None, "effect": []}
    record |= {"paper": paper, "verdict": NOT_TESTABLE}
    _show(f"∅ *The paper: {paper}* **{NOT_TESTABLE.capitalize()}.** {why}", record)
