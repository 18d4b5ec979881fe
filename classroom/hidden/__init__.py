"""Hidden tests: properties of an answer, with values drawn from the course's secret seed.

The properties are public, as everything in this repository; the values are not: a test draws its cases from the secret seed,
the assignment and its own words, so that no table of answers passes it. It runs outside the submission's process.
"""

import hashlib
import hmac
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from amrbook.check import unanswered, why_different
from classroom.session import NoProcess, Wrong

Run = Callable[[Any, np.random.Generator], None]


@dataclass(frozen=True)
class Test:
    """One property: the question it belongs to, its points, what it says in words, and the test itself."""

    question: str
    points: int
    says: str
    run: Run
    __test__ = False  # pytest's collector: this is data


class Tests(list[Test]):
    """Filled by a decorator: ``@tests("q1", 2, "the loss ...")``."""

    def __call__(self, question: str, points: int, says: str) -> Callable[[Run], Run]:
        def keep(run: Run) -> Run:
            self.append(Test(question, points, says, run))
            return run

        return keep


def tests(name: str) -> Tests:
    """The tests of an assignment, in the order of its questions."""
    return importlib.import_module(f"classroom.hidden.{name}").tests


def agree(got: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """Wrong, without naming a value, unless they agree."""
    if unanswered(got):
        raise Wrong("not answered")
    if why := why_different(got, expected, tolerance, show=False):
        raise Wrong(why)


def need(ok: Any, says: str) -> None:
    """Wrong with these words unless ``ok``."""
    if not bool(np.all(np.asarray(ok))):
        raise Wrong(says)


def array(got: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An answer as float64, of that shape."""
    if unanswered(got):
        raise Wrong("not answered")
    try:
        made = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"a {type(got).__name__}, not numbers") from None
    if shape is not None and made.shape != shape:
        raise Wrong(f"shape {made.shape} instead of {shape}")
    if not np.isfinite(made).all():
        raise Wrong("not finite")
    return made


def parts(got: Any, count: int) -> tuple[Any, ...]:
    """An answer of several values."""
    if unanswered(got):
        raise Wrong("not answered")
    if not isinstance(got, tuple | list) or len(got) != count:
        raise Wrong(f"it should be {count} values")
    return tuple(got)


def draw(secret: str, name: str, test: Test) -> np.random.Generator:
    """The random numbers of one test of one course: the same for every student, and for nobody to guess."""
    digest = hmac.new(secret.encode(), f"{name}/{test.question}/{test.says}".encode(), hashlib.sha256).digest()
    return np.random.default_rng(list(np.frombuffer(digest, dtype="<u4")))


def mark(name: str, submission: Any, secret: str, questions: set[str] | None = None) -> list[dict[str, Any]]:
    """Run the tests; a row a test: question, points, what was got, its words, and what is wrong, if anything."""
    rows = []
    for test in tests(name):
        if questions is not None and test.question not in questions:
            continue
        why = None
        try:
            test.run(submission, draw(secret, name, test))
        except Wrong as problem:
            why = str(problem)
        except NoProcess:
            raise
        except Exception as problem:  # an answer of a kind that the test did not think of: wrong, and said
            why = f"the answer could not be read ({type(problem).__name__})"
        rows.append(
            {"question": test.question, "points": test.points, "got": 0 if why else test.points, "says": test.says, "why": why}
        )
    return rows
