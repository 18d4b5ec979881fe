"""What is recorded of a set, and how it is judged beside a figure of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import formats
from ..intervals import t_interval, within_prediction_interval
from .record import problems, read_record
from .submit import FOLDER

__all__ = ["best_on_test", "judged", "over", "plus_minus", "recorded"]

ROUNDING = 5e-5  # of a figure in the paper


def recorded(dataset: str, folder: Path = FOLDER, is_quick: bool = False) -> list[dict[str, Any]]:
    """The records of a set in the folder, by name; one that cannot be is a ValueError: it must not be drawn."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        if "recipes" not in record:
            continue  # of another kind: weights, choices, speed
        if wrong := problems(record):
            raise ValueError(f"{path.name} cannot be: {wrong[0]}")
        if record["dataset"]["name"] == dataset and record["quick"] == is_quick:
            found.append(record)
    return found


def over(record: dict[str, Any], recipe: str, model: str, *path: str) -> np.ndarray:
    """One figure for every seed, (seeds,)."""
    values = []
    for models in record["recipes"][recipe]["seeds"].values():
        value: Any = models[model]
        for step in path:
            value = value[step]
        values.append(value)
    return np.array(values, dtype=float)


def best_on_test(record: dict[str, Any], recipe: str, model: str, measure: str) -> np.ndarray | None:
    """The same at the look with the best NDCG@10 on test, as the paper's table seems to have it; None without looks."""
    values = []
    for models in record["recipes"][recipe]["seeds"].values():
        looks = models[model].get("looks")
        if not looks:
            return None
        values.append(looks[measure][int(np.argmax(looks["NDCG@10"]))])
    return np.array(values)


def judged(values: np.ndarray, theirs: float, best: np.ndarray | None = None) -> str:
    """The verdict on a figure: whether the paper's single run is one that our seeds let one expect.

    "met": it lies in the 95 % prediction interval of the seeds at the end of training, or within the rounding of its last
    digit. "met at the best epoch on test": only with the epoch chosen by the test items. Else ours is higher or lower."""
    if len(values) < 2:
        return "one seed, no verdict"
    if within_prediction_interval(values, theirs, ROUNDING):
        return "met"
    if best is not None and within_prediction_interval(best, theirs, ROUNDING):
        return "met at the best epoch on test"
    return f"not met: ours is {'higher' if values.mean() > theirs else 'lower'}"


def plus_minus(values: np.ndarray, digits: int = 4, sign: bool = False) -> str:
    """The mean and the half width of its 95 % interval over seeds; of one seed the value alone."""
    if len(values) < 2:
        return formats.zero_has_no_sign(values.mean(), f"{'+' if sign else ''}.{digits}f")
    mean, half = t_interval(values)
    return formats.plus_minus(float(mean), float(half), digits, sign)
