"""A cell that checks a reader's own answer, and says in words what is wrong.

It prints and never raises: an answer that is not written yet, or that fails, is told in a sentence.

>>> def bpr_loss(x):
...     return 0.5
>>> function("q1", bpr_loss, case((0.0,), 0.6931, "a pair at margin 0 costs ln 2", tolerance=1e-3))
✗ q1: a pair at margin 0 costs ln 2. It gave 0.5; expected 0.6931.
>>> value("q5", None, int, between=(0, 7))
· q5: not answered yet.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Case", "case", "function", "holds", "unanswered", "value", "why_different"]


@dataclass(frozen=True)
class Case:
    """One call of the reader's function: what it is given, what it should give, and that in words."""

    arguments: tuple[Any, ...]
    expected: Any
    says: str
    tolerance: float


def case(arguments: tuple[Any, ...], expected: Any, says: str, *, tolerance: float = 1e-6) -> Case:
    """What ``function`` should give for ``arguments``; ``tolerance`` is absolute, and relative beyond 1."""
    return Case(arguments, expected, says, tolerance)


def unanswered(answer: Any) -> bool:
    """Is it what a stub leaves: None or ``...``, alone or as every part of a tuple?"""
    if isinstance(answer, tuple) and answer:
        return all(part is None or part is ... for part in answer)
    return answer is None or answer is ...


def _plain(answer: Any) -> Any:
    """A tensor as the array that it holds."""
    return answer.detach().cpu().numpy() if hasattr(answer, "detach") else answer


def _short(answer: Any) -> str:
    with np.printoptions(precision=4, threshold=12, suppress=True):
        text = f"{answer:.6g}" if isinstance(answer, float | np.floating) else str(answer)
    return text if len(text) <= 120 else text[:117] + "..."


def why_different(got: Any, expected: Any, tolerance: float = 1e-6, *, show: bool = True) -> str | None:
    """What keeps ``got`` from being ``expected``, as a sentence; None if nothing does.

    Parameters
    ----------
    got, expected : number, text, array, tensor, or a tuple or list of these
        The answer, and what it should be. A list may stand for a tuple, a list or tensor for an array.
    tolerance : float
        Absolute, and relative for values beyond 1.
    show : bool
        Name the values. A test whose values are secret does not.
    """
    got, expected = _plain(got), _plain(expected)
    if got is None or got is ...:
        return "It gave nothing."
    if isinstance(expected, tuple):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            have = f"{len(got)} values" if isinstance(got, tuple | list) else f"one {type(got).__name__}"
            return f"It gave {have}; expected {len(expected)} values."
        for at, (mine, theirs) in enumerate(zip(got, expected), 1):
            if wrong := why_different(mine, theirs, tolerance, show=show):
                return f"Value {at}: {wrong}"
        return None
    if isinstance(expected, str):
        if isinstance(got, str) and got == expected:
            return None
        return f"It gave {got!r}; expected {expected!r}." if show else "It is another text."
    try:
        mine, theirs = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    except (TypeError, ValueError):
        return f"It gave a {type(got).__name__}, which is not made of numbers."
    if mine.shape != theirs.shape and not mine.size == theirs.size == 1:
        if mine.ndim == theirs.ndim == 1:
            return f"It gave {mine.size} numbers; expected {theirs.size}."
        return f"It gave shape {mine.shape}; expected {theirs.shape}."
    mine = mine.reshape(theirs.shape)
    if not np.array_equal(np.isfinite(mine), np.isfinite(theirs)):
        return "It is not finite." if np.isfinite(theirs).all() else "It is not infinite where it should be."
    with np.errstate(invalid="ignore"):
        near = (mine == theirs) | (np.abs(mine - theirs) <= tolerance * np.maximum(1, np.abs(theirs)))
    if near.all():
        return None
    return f"It gave {_short(got)}; expected {_short(expected)}." if show else "It gives other values."


def _own_line(error: BaseException) -> str:
    """Where in the reader's own code it happened: the last frame, as a line of the cell."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" (line {frames[-1].lineno} of `{frames[-1].name}`)" if frames else ""


def function(name: str, answer: Any, *cases: Case) -> None:
    """Call the reader's function with every case, and print what is right and what is not.

    Parameters
    ----------
    name : str
        The question, as ``"q1"``.
    answer : callable
        The reader's function. Anything else is told, too.
    cases : Case
        What it is given and should give, see :func:`case`.
    """
    if unanswered(answer):
        return print(f"· {name}: not answered yet.")
    if not callable(answer):
        return print(f"✗ {name}: this should be a function; it is a {type(answer).__name__}.")
    for one in cases:
        try:
            inspect.signature(answer).bind(*one.arguments)
        except TypeError as error:
            return print(f"✗ {name}: the function should take {len(one.arguments)} arguments: {error}.")
        except ValueError:  # some built-in functions have no signature
            pass
        try:
            got = answer(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in one.arguments))
        except NotImplementedError:
            return print(f"· {name}: not answered yet.")
        except Exception as error:
            print(f"✗ {name}: {one.says}. It stops with {type(error).__name__}: {error}{_own_line(error)}.")
            continue
        if unanswered(got):
            return print(f"· {name}: not answered yet (the function returns nothing).")
        wrong = why_different(got, one.expected, one.tolerance)
        print(f"✗ {name}: {one.says}. {wrong}" if wrong else f"✓ {name}: {one.says}.")


def value(
    name: str, answer: Any, kind: type, *, shape: tuple[int, ...] | None = None, between: tuple[float, float] | None = None
) -> None:
    """Print whether a value has the form that is asked for. Whether it is right, only the grading tells.

    Parameters
    ----------
    name : str
        The question, as ``"q5"``.
    answer : object
        The reader's value.
    kind : type
        ``int``, ``float``, ``str``, ``tuple``, ``list``, ``numpy.ndarray``. NumPy's own numbers count as numbers, a whole
        number as a float.
    shape : tuple of int, optional
        Of an array; of a list or tuple its length, ``(5,)``.
    between : (low, high), optional
        Every number lies between these, the two included.
    """
    if unanswered(answer):
        return print(f"· {name}: not answered yet.")
    answer = _plain(answer)
    kinds: dict[type, tuple[type, ...]] = {int: (int, np.integer), float: (int, float, np.number)}
    if not isinstance(answer, kinds.get(kind, (kind,))) or (isinstance(answer, bool) and kind is not bool):
        return print(f"✗ {name}: this should be a {kind.__name__}; it is a {type(answer).__name__}.")
    if shape is not None:
        have = np.shape(answer) if isinstance(answer, np.ndarray) else (len(answer),)  # type: ignore[arg-type]
        if have != shape:
            return print(f"✗ {name}: this should have shape {shape}; it has {have}.")
    if between is not None:
        numbers = np.asarray(answer, dtype=np.float64)
        if not ((numbers >= between[0]) & (numbers <= between[1])).all():
            return print(f"✗ {name}: it should lie between {between[0]} and {between[1]}; it is {_short(answer)}.")
    print(f"✓ {name}: it has the right form; whether it is right, the grading tells.")


def holds(name: str, says: str, test: Callable[[], Any], *needs: Any) -> None:
    """Print whether a property holds.

    Parameters
    ----------
    name, says : str
        The question, and the property in words.
    test : callable
        Takes nothing and returns whether it holds; what it raises is told.
    needs : object
        The reader's values that it needs: while one of them is missing, the question is not answered yet.
    """
    if any(unanswered(need) for need in needs):
        return print(f"· {name}: not answered yet.")
    try:
        ok = test()
    except NotImplementedError:
        return print(f"· {name}: not answered yet.")
    except Exception as error:
        return print(f"✗ {name}: {says}. It stops with {type(error).__name__}: {error}{_own_line(error)}.")
    if unanswered(ok):
        return print(f"· {name}: not answered yet.")
    print(f"✓ {name}: {says}." if bool(np.all(_plain(ok))) else f"✗ {name}: this does not hold yet: {says}.")
