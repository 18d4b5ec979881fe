"""Is the amrlib on this Python's path the book's? PyPI has another one; `make` and pytest ask this first.

This checkout goes before it on the path here, but not in a program started elsewhere, nor in `python -m amrlib`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def problem() -> str:
    """One sentence that says what to do about another package called amrlib, or nothing."""
    spec = PathFinder.find_spec("amrlib", [place for place in sys.path if Path(place).resolve() != ROOT])
    if spec is None or spec.origin is None or (Path(spec.origin).parents[1] / "amrbook" / "__init__.py").is_file():
        return ""
    return (
        f"{spec.origin} is not this book's amrlib but another package of that name (PyPI has one, on Abstract Meaning "
        f"Representation): put the book's in its place with `{sys.executable} -m pip install --no-deps --editable .`, "
        "or take its folder off PYTHONPATH."
    )


if __name__ == "__main__":
    sys.exit(problem() or 0)
