"""What a step of several processes costs, as :mod:`amrlib.parallel.trainer` takes it: bytes that travel, memory, seconds.

AMR whose penalty weighs whole item vectors, as ``python -m amrlib train amr`` has it. A step of B triples meets U distinct
items. Each of W processes multiplies U / W rows of features by E and computes the losses of B / W triples; P, Q, E and the
features are held by every one. ``python -m bench scale`` measures the constants, ``bench/results/scale.json`` keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Size", "distinct_items", "held", "line", "measured", "seconds", "sent", "travels"]

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"


class Size(NamedTuple):
    """M users, N items, n interactions, D features an item, K numbers a vector, B triples a step."""

    users: int
    items: int
    interactions: int
    D: int
    K: int
    batch: int


def measured(name: str) -> dict[str, Any]:
    """``bench/results/NAME.json``: what was measured, on which processor, and when."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def distinct_items(counts: np.ndarray, batch: int) -> float:
    """Expected number of distinct items in ``batch`` triples: rows of ``counts`` (N,) purchases, negatives alike to all."""
    counts = np.asarray(counts, dtype=np.float64)
    batch = min(batch, int(counts.sum()))
    no_positive = (1 - batch / counts.sum()) ** counts  # (N,)
    return float((1 - no_positive * (1 - 1 / len(counts)) ** batch).sum())


def travels(size: Size, distinct: float, number: int = 4) -> dict[str, float]:
    """What the processes tell each other in a step: name → bytes of the whole table; ``number``: bytes a number."""
    row = number * size.K
    return {"Z, gathered": row * distinct, "s, summed": row * distinct, "s′, summed": row * distinct,
            "∂L/∂E, summed": row * size.D}  # fmt: skip


def sent(size: Size, distinct: float, processes: int, number: int = 4) -> float:
    """Bytes that leave one process in a step, where tables go round a ring: a sum goes round twice, a gathering once."""
    share = (processes - 1) / processes
    return sum(share * amount * (2 if name.endswith("summed") else 1)
               for name, amount in travels(size, distinct, number).items())  # fmt: skip


def held(size: Size, distinct: float, processes: int, number: int = 4, feature: int = 4) -> dict[str, float]:
    """Bytes that each process holds; ``feature``: of one number of the features."""
    M, N, n, D, K, _ = size
    return {
        "features": feature * N * D,
        "P, with Adagrad's sums": 2 * number * M * K,
        "Q, with Adagrad's sums": 2 * number * N * K,
        "E, with sums, gradient and root": 4 * number * D * K,
        "triples and sampler": 8 * 12 * n,
        "a batch's rows of features": number * D * distinct / processes,
    }


def line(x: Any, y: Any) -> tuple[float, float]:
    """(a, b), neither negative, of y = a + b·x with the least relative errors: of a message, its latency and seconds a byte."""
    from scipy.optimize import nnls  # late: drawing needs no scipy

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    (a, b), _ = nnls(np.stack([1 / y, x / y], 1), np.ones(len(y)))
    return float(a), float(b)


def seconds(size: Size, distinct: float, processes: int, constants: Mapping[str, Any]) -> dict[str, float]:
    """Where the time of a step goes; ``constants`` were measured while that many processes did the same."""
    _, _, _, D, K, B = size
    rows = distinct / processes
    rest = constants["rest"]
    found = {
        "products": 2 * rows * D * K / 1e9 * (1 / constants["forward"] + 1 / constants["backward"]),
        "gather": 4 * rows * D / 1e9 / constants["gather"],
        "E: Gram matrix, EM, Adagrad": 4 * D * K * K / 1e9 / constants["gram"] + D * K / 1e9 / constants["adagrad"],
        "the rest": rest[0] + rest[1] * B * K + rest[2] * distinct * K + rest[3] * B,
    }
    messages = 0.0
    for name, amount in travels(size, distinct).items() if processes > 1 else ():
        latency, of_a_byte = constants["sum" if name.endswith("summed") else "whole"]
        messages += latency + of_a_byte * amount
    return found | {"messages": messages}


AXES = {"users": "users", "items": "items", "D": "D, features per item", "K": "K, numbers per vector", "batch": "batch"}


def growing(record: Mapping[str, Any]) -> Any:
    """Six panels of ``bench/results/scale.json``: seconds a step against each size, for every number of processes, and the
    gain over one process; points measured (least to most), dashed predicted."""
    from matplotlib import pyplot as plt  # late: the arithmetic needs no figures

    from .figures import COLORS, PLAIN

    looks = dict(zip(record["constants"], zip(PLAIN, "osD", strict=False), strict=False))
    fig, axes = plt.subplots(2, 3, figsize=(8.4, 5.0))
    for ax, (axis, name) in zip(axes.ravel(), AXES.items(), strict=False):
        rows = [row for row in record["rows"] if row["axis"] == axis]
        x = [row["value"] for row in rows]
        for n, (color, marker) in looks.items():
            found = [row["processes"][n] for row in rows]
            times = 1e3 * np.array([one["seconds"] for one in found])  # (points, windows)
            middle = np.median(times, axis=1)
            spread = [middle - times.min(axis=1), times.max(axis=1) - middle]
            label = f"{n} process{'es' * (n != '1')}"
            ax.errorbar(x, middle, spread, color=color, marker=marker, capsize=3, linewidth=1.2, label=label)
            ax.plot(x, [1e3 * sum(one["predicted"]["seconds"].values()) for one in found], "--", color=color, linewidth=1)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xlabel(name)
    for ax in axes[:, 0]:
        ax.set_ylabel("milliseconds per step")
    last, of_base = axes[1, 2], ("batch", record["base"]["batch"])
    base = next(row for row in record["rows"] if (row["axis"], row["value"]) == of_base)
    alone = np.array(base["processes"]["1"]["seconds"])
    predicted = {n: sum(one["predicted"]["seconds"].values()) for n, one in base["processes"].items()}
    for n, (color, marker) in looks.items():
        gain = np.median(alone) / np.array(base["processes"][n]["seconds"])
        spread = [[np.median(gain) - gain.min()], [gain.max() - np.median(gain)]]
        last.errorbar(int(n), np.median(gain), spread, color=color, marker=marker, capsize=3)
    last.plot([int(n) for n in looks], [predicted["1"] / predicted[n] for n in looks], "--", color=COLORS["ink"], linewidth=1)
    last.set(xlabel="processes", ylabel="times as fast as one", xticks=[int(n) for n in looks], ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    dashed = plt.Line2D([], [], color=COLORS["ink"], linestyle="--", linewidth=1)
    fig.legend([*handles, dashed], [*labels, "predicted"], loc="outside upper center", ncols=4, fontsize=9)
    return fig
