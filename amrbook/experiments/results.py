"""Read the stored experiments: small JSON files in ``book/results``.

A file holds ``layout``, ``dataset``, ``settings``, ``epochs`` (null: those of the settings), ``trainer``, ``versions`` and
``seeds``, seed → result; :mod:`amrbook.experiments.schema` says what a result holds. ``None`` in a file (nothing to measure)
reads as nan.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..intervals import paired_t_interval, within_prediction_interval

__all__ = ["LAYOUT", "agrees", "load_results", "over_points", "over_seeds", "paired_over_seeds"]

LAYOUT = 3  # of the files: others are not gone on with


def results_folder() -> Path:
    """``book/results`` of the checkout."""
    return Path(__file__).resolve().parents[2] / "book" / "results"


def load_results(name: str) -> dict[str, Any]:
    """A stored experiment: ``settings``, ``versions`` and ``seeds`` (seed → result).

    Raises
    ------
    FileNotFoundError
        It was not run; the message says how to.
    """
    path = results_folder() / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: python -m amrbook experiments {name}")
    return json.loads(path.read_text(encoding="utf-8"))


def _at(result: dict[str, Any], model: str | tuple[str, ...], *path: str) -> Any:
    for step in (*((model,) if isinstance(model, str) else model), *path):
        result = result[step]
    return result


def over_seeds(results: dict[str, Any], model: str | tuple[str, ...], *path: str) -> np.ndarray:
    """One figure of a stored experiment for every seed, (seeds,): ``over_seeds(r, "AMR", "full", "NDCG@10")``.

    A model may be given with its point, ``("AMR", "0.1")``. A list, as in ``curves``, gives (seeds, points).
    """
    values = [_at(results["seeds"][seed], model, *path) for seed in sorted(results["seeds"], key=int)]
    return np.array(values, dtype=float)


def over_points(results: dict[str, Any], model: str, points: Sequence[str], *path: str) -> np.ndarray:
    """One figure along a sweep for every seed, (seeds, points), as :func:`amrbook.figures.sweep` draws it."""
    return np.stack([over_seeds(results, model, point, *path) for point in points], axis=1)


def paired_over_seeds(
    results: dict[str, Any], a: str | tuple[str, ...], b: str | tuple[str, ...], *path: str
) -> tuple[float, float, float]:
    """The difference a − b of a figure, as :func:`amrbook.intervals.paired_t_interval` gives it.

    A model may be given with its point: ``paired_over_seeds(r, ("AMR", "0.1"), "VBPR, continued", "full", "NDCG@10")``.
    """
    return paired_t_interval(over_seeds(results, a, *path), over_seeds(results, b, *path))


def agrees(
    results: dict[str, Any], again: dict[str, Any], model: str | tuple[str, ...], *path: str, seed: int | None = None
) -> bool:
    """Whether a figure that was computed again agrees with what is stored.

    ``again`` is what an experiment returned. With a stored ``seed`` it is held against that seed's own figure, to 2 %: the
    last digits differ between processors. Otherwise against what the stored seeds let one expect of another.
    """
    value = _at(again, model, *path)
    if str(seed) in results["seeds"]:
        own = _at(results["seeds"][str(seed)], model, *path)
        return abs(value - own) <= 0.02 * abs(own)
    stored = over_seeds(results, model, *path)
    return within_prediction_interval(stored, value, rounding=1e-5)  # as the files round
