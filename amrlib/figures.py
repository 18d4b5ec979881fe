"""One look for every figure: a colour and a marker per model, intervals drawn, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

__all__ = ["COLORS", "MARKERS", "bars", "gallery", "interval", "sweep", "use_style"]

# Okabe & Ito's palette, told apart by colour-blind readers; a marker says the same once more.
COLORS = {
    "Popularity": "#7f7f7f", "MF-BPR": "#0072B2", "MF-eALS": "#56B4E9", "DUIF": "#E69F00",
    "VBPR": "#009E73", "AMR": "#D55E00", "other": "#CC79A7", "ink": "#222222",
}  # fmt: skip
MARKERS = {"Popularity": "x", "MF-BPR": "o", "MF-eALS": "s", "DUIF": "^", "VBPR": "D", "AMR": "*", "other": "v"}


def use_style() -> None:
    """Set the book's look for this session. The face is white on purpose: in dark mode the page puts a light
    panel behind it, so that no label disappears."""
    mpl.rcParams.update({
        "figure.figsize": (6.4, 3.6), "figure.dpi": 110, "savefig.dpi": 110, "figure.facecolor": "white",
        "savefig.facecolor": "white", "figure.constrained_layout.use": True, "font.size": 10.5,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titlelocation": "left",
        "axes.grid": True, "grid.color": "#e3e3e3", "grid.linewidth": 0.7, "axes.axisbelow": True,
        "lines.linewidth": 1.8, "lines.markersize": 6, "legend.frameon": False, "image.cmap": "cividis",
        "axes.prop_cycle": mpl.cycler(color=[COLORS[m] for m in COLORS if m not in ("ink", "Popularity")]),
        "svg.hashsalt": "amrlib",
    })  # fmt: skip


def interval(values: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs and the half width of its 95 % interval (Student's t over the runs), along ``axis``."""
    a = np.asarray(values, dtype=float)
    n = a.shape[axis]
    if n < 2:
        raise ValueError("an interval needs at least two runs")
    return a.mean(axis), stats.t.ppf(0.975, n - 1) * a.std(axis, ddof=1) / np.sqrt(n)


def sweep(ax: Axes, x: Sequence[float], runs: Any, model: str, label: str | None = None, **style: Any) -> None:
    """A curve with its 95 % band: ``runs`` is (runs, len(x))."""
    mean, half = interval(runs)
    color = style.pop("color", COLORS.get(model, COLORS["other"]))
    ax.plot(x, mean, color=color, marker=MARKERS.get(model, "v"), label=label or model, **style)
    ax.fill_between(x, mean - half, mean + half, color=color, alpha=0.18, linewidth=0)


def bars(ax: Axes, runs: Mapping[str, Any], ylabel: str = "") -> None:
    """One bar a model with its 95 % interval and the single runs as dots: name → (runs,)."""
    for place, (name, values) in enumerate(runs.items()):
        mean, half = interval(values)
        ax.bar(place, mean, yerr=half, capsize=4, width=0.65, color=COLORS.get(name, COLORS["other"]), alpha=0.85)
        spread = np.linspace(-0.2, 0.2, len(values))
        ax.scatter(place + spread, values, s=9, color=COLORS["ink"], zorder=3, linewidths=0)
    ax.set_xticks(range(len(runs)), list(runs))
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)


def gallery(
    images: np.ndarray, titles: Sequence[str] | None = None, columns: int = 10, edge: Sequence[str] | None = None
) -> Figure:
    """A grid of item photographs, (n, H, W) or (n, H, W, 3); ``edge`` colours frames."""
    n = len(images)
    columns = min(columns, n)
    rows = -(-n // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(0.78 * columns, (0.98 if titles is not None else 0.78) * rows))
    for place, ax in enumerate(np.atleast_1d(axes).ravel()):
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        if place >= n:
            ax.set_visible(False)
            continue
        ax.imshow(images[place], cmap="gray_r")
        for spine in ax.spines.values():
            spine.set(visible=True, color=edge[place] if edge is not None else "#cccccc", linewidth=1.6 if edge else 0.6)
        if titles is not None:
            ax.set_title(titles[place], fontsize=7.5, loc="center", pad=2)
    return fig
