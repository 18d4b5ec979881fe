"""One style for every figure: a colour and a marker per model, intervals drawn, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .intervals import t_interval

__all__ = [
    "COLORS", "FRAME", "MARKERS", "PLAIN", "bars", "comparison", "gallery", "noise_curves", "rank_change", "style_of", "sweep",
    "top_k_gallery", "training_curves", "use_style", "verdict", "verdict_map",
]  # fmt: skip

# Okabe & Ito's palette, told apart by colour-blind readers; a marker says the same once more.
COLORS = {
    "Popularity": "#7f7f7f", "MF-BPR": "#0072B2", "MF-eALS": "#56B4E9", "DUIF": "#E69F00",
    "VBPR": "#009E73", "AMR": "#D55E00", "other": "#CC79A7", "ink": "#222222",
}  # fmt: skip
MARKERS = {"Popularity": "x", "MF-BPR": "o", "MF-eALS": "s", "DUIF": "^", "VBPR": "D", "AMR": "*", "other": "v"}

# Colours of things that are no model: no figure lends them a model's. FRAME is the held-out item's, and what is pointed at.
PLAIN = ("#5b4a8a", "#8c6d31", "#4d4d4d", "#a8a29a")
FRAME = "#a3195b"


def style_of(name: str) -> dict[str, Any]:
    """Colour and marker of a model by its name: "AMR", and also "AMR, ε → 0" or a class's "MFBPR"."""
    known = {"MFBPR": "MF-BPR", "MFeALS": "MF-eALS", "Pop": "Popularity", "VBPRTwoVector": "VBPR"}
    base = name.split(",")[0].split(" (")[0].strip()
    base = known.get(base, base)
    if base not in MARKERS:
        base = "other"
    variant = {"linestyle": "--", "markerfacecolor": "white"} if "," in name or " (" in name else {}
    return {"color": COLORS[base], "marker": MARKERS[base], **variant}


def use_style() -> None:
    """Set the book's style for this session. The face is white on purpose: in dark mode the page puts a light
    panel behind it, so that no label disappears."""
    mpl.rcParams.update({
        "figure.figsize": (6.4, 3.6), "figure.dpi": 110, "savefig.dpi": 110, "figure.facecolor": "white",
        "savefig.facecolor": "white", "figure.constrained_layout.use": True, "font.size": 10.5,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titlelocation": "left",
        "axes.grid": True, "grid.color": "#e3e3e3", "grid.linewidth": 0.7, "axes.axisbelow": True,
        "lines.linewidth": 1.8, "lines.markersize": 6, "legend.frameon": False, "image.cmap": "cividis",
        "axes.prop_cycle": plt.cycler(color=[COLORS[m] for m in COLORS if m not in ("ink", "Popularity")]),
        "svg.hashsalt": "amrlib",
    })  # fmt: skip


def sweep(ax: Axes, x: Sequence[float], runs: Any, model: str, label: str | None = None, **style: Any) -> None:
    """A curve with its 95 % band: ``runs`` is (runs, len(x))."""
    mean, half = t_interval(runs)
    line = {**style_of(model), **style}
    ax.plot(x, mean, label=label or model, **line)
    ax.fill_between(x, mean - half, mean + half, color=line["color"], alpha=0.18, linewidth=0)


def verdict(mean: float, half: float) -> str:
    """"better", "worse" or "a tie" of a difference and the half width of its 95 % interval: a tie if it holds 0."""
    return "better" if mean > half else "worse" if mean < -half else "a tie"


def verdict_map(
    ax: Axes, differences: Mapping[str, Sequence[tuple[float, float]]], columns: Sequence[str], digits: int = 1
) -> None:
    """Where something wins, ties and loses: row → one (mean, half width) a column, as
    :func:`amrbook.intervals.t_interval` returns them.

    The colour gives the verdict and a sign says it again; the number is the mean. ``nan`` is an empty cell.
    """
    tints = {"better": "#c9c1e0", "worse": "#e6d3a8", "a tie": "#e4e4e4"}  # two of PLAIN, lightened: no model's colours
    signs = {"better": "▲", "worse": "▼", "a tie": "="}
    for row, cells in enumerate(differences.values()):
        for column, (mean, half) in enumerate(cells):
            if not np.isfinite(mean):
                continue
            result = verdict(float(mean), float(half))
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(plt.Rectangle(corner, 1, 1, facecolor=tints[result], edgecolor="white", linewidth=2))
            ax.text(column, row, f"{signs[result]} {mean:+.{digits}f}", ha="center", va="center", size=9, color=COLORS["ink"])
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(differences) - 0.5, -0.5))
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(differences)), list(differences))
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def bars(ax: Axes, runs: Mapping[str, Any], ylabel: str = "") -> None:
    """One bar a model with its 95 % interval and the single runs as dots: name → (runs,)."""
    for place, (name, values) in enumerate(runs.items()):
        mean, half = t_interval(values)
        ax.bar(place, mean, yerr=half, capsize=4, width=0.65, color=style_of(name)["color"], alpha=0.85)
        spread = np.linspace(-0.2, 0.2, len(values))
        ax.scatter(place + spread, values, s=9, color=COLORS["ink"], zorder=3, linewidths=0)
    ax.set_xticks(range(len(runs)), list(runs))
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)


def gallery(
    images: np.ndarray, titles: Sequence[str] | None = None, columns: int = 10, edge: Sequence[str] | None = None
) -> Figure:
    """A grid of item photographs, (n, H, W) or (n, H, W, 3); ``edge`` colours frames, one colour each."""
    n = len(images)
    if not n:
        raise ValueError("images is empty: there is nothing to show")
    for name, given in (("titles", titles), ("edge", edge)):
        if given is not None and len(given) != n:
            raise ValueError(f"{name} has {len(given)} entries for {n} images")
    columns = min(columns, n)
    rows = -(-n // columns)
    high = 1.32 if titles is not None else 1.06  # of a row, in pictures
    fig, ax = plt.subplots(figsize=(0.78 * columns, 0.74 * high * rows))  # one for all: axes of their own take a second
    for place, image in enumerate(images):
        x, y = 1.06 * (place % columns), high * (place // columns)
        ax.imshow(image, cmap="gray_r", extent=(x, x + 1, y + 1, y))
        color, width = ("#cccccc", 0.6) if edge is None else (edge[place], 1.6)
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=color, linewidth=width))
        if titles is not None:
            ax.text(x + 0.5, y - 0.04, titles[place], fontsize=7.5, ha="center", va="bottom")
    ax.set(xlim=(-0.03, 1.06 * columns - 0.03), ylim=(high * rows - high + 1.03, -0.31 if titles is not None else -0.03))
    ax.set_axis_off()
    return fig


def training_curves(histories: Mapping[str, pd.DataFrame], columns: Sequence[str] = ("bpr", "ndcg@10")) -> Figure:
    """Loss and validation figure over the epochs, one panel a column: name → what ``fit`` returned.

    A column that no history has gets no panel; a history without it is left out of the panel.
    """
    present = [c for c in columns if any(c in h for h in histories.values())]
    if not present:
        raise ValueError(f"no history has any of the columns {', '.join(columns)}")
    labels = {
        "bpr": "BPR loss per triple", "adversarial": "adversarial loss per triple", "objective": "objective per triple",
        "ndcg@10": "validation NDCG@10", "hr@10": "validation HR@10",
    }  # fmt: skip
    fig, axes = plt.subplots(1, len(present), figsize=(6.4 if len(present) == 1 else 4.1 * len(present), 3.2))
    for ax, column in zip(np.atleast_1d(axes), present, strict=True):
        for name, history in histories.items():
            if column not in history:
                continue
            seen = history[["epoch", column]].dropna()
            ax.plot(seen["epoch"], seen[column], label=name, markevery=max(1, len(seen) // 8), **style_of(name))
        ax.set(xlabel="epoch", ylabel=labels.get(column, column))
        ax.legend()
    return fig


def comparison(table: pd.DataFrame, measure: str | None = None) -> Figure:
    """The table of :func:`amrlib.compare` as points, best on top, with their 95 % intervals over users.

    ``measure`` names a column; by default the one that the table's intervals belong to. Others are drawn
    without intervals.
    """
    with_interval = table.attrs.get("interval", "NDCG@10")
    measure = measure or with_interval
    if measure not in table:
        raise ValueError(f"the table has no column {measure!r}; it has {', '.join(map(str, table.columns))}")
    rows = table.sort_values(measure)
    fig, ax = plt.subplots(figsize=(6.4, 0.9 + 0.42 * len(rows)))
    for place, (name, row) in enumerate(rows.iterrows()):
        style = style_of(str(name))
        if measure == with_interval and "low" in row:
            ax.hlines(place, row["low"], row["high"], color=style["color"], linewidth=2)
        ax.plot(row[measure], place, markersize=8, **{**style, "linestyle": ""})
        at = (row[measure], place)
        ax.annotate(f"{row[measure]:.3f}", at, (0, 6), textcoords="offset points", ha="center", size=8)
    ax.set_yticks(range(len(rows)), [str(n) for n in rows.index])
    ax.set_ylim(-0.6, len(rows) - 0.2)
    ax.set_xlabel(measure + (" with its 95 % interval over users" if measure == with_interval and "low" in table else ""))
    ax.grid(axis="y", visible=False)
    return fig


def noise_curves(
    ax: Axes, epsilons: Sequence[float], runs: Mapping[str, Any], relative: bool = True, ylabel: str = "NDCG@10"
) -> None:
    """What is left of a measure under growing noise: name → (seeds, len(epsilons)), the first ε being 0.

    ``relative`` shows the loss in per cent of each seed's own value at ε = 0.
    """
    if epsilons[0] != 0:
        raise ValueError(f"the first of epsilons must be 0, the clean figure, not {epsilons[0]!r}")
    for name, values in runs.items():
        a = np.atleast_2d(np.asarray(values, dtype=float))  # (seeds, n)
        a = 100 * (a / a[:, :1] - 1) if relative else a
        if len(a) > 1:
            sweep(ax, epsilons, a, name)
        else:
            ax.plot(epsilons, a[0], label=name, **style_of(name))
    ax.set(xlabel="ε, how far each feature vector moves", ylabel=f"change of {ylabel} (%)" if relative else ylabel)
    ax.legend()


def rank_change(ax: Axes, clean: Mapping[str, np.ndarray], changed: Mapping[str, np.ndarray]) -> None:
    """By how many places the held-out items fall: name → ranks (n,) before and after, a box a model.

    Box: quartiles and median; whiskers: 5th and 95th percentile; up is worse, as in the AMR paper's Fig. 5.
    """
    if list(clean) != list(changed):
        raise ValueError(f"clean has {', '.join(clean)}, changed has {', '.join(changed)}: the names must agree")
    falls = [np.asarray(changed[n], dtype=float) - np.asarray(clean[n], dtype=float) for n in clean]
    boxes = ax.boxplot(falls, whis=(5, 95), showfliers=False, widths=0.5, patch_artist=True,
                       medianprops={"color": COLORS["ink"]})  # fmt: skip
    for box, name in zip(boxes["boxes"], clean, strict=True):
        box.set(facecolor=style_of(name)["color"], alpha=0.6)
    ax.axhline(0, color=COLORS["ink"], linewidth=0.8)
    ax.set_xticks(range(1, len(falls) + 1), list(clean))
    ax.set_ylabel("places lost")
    ax.grid(axis="x", visible=False)


def top_k_gallery(
    images: np.ndarray, items: Sequence[int] | np.ndarray, scores: Sequence[float] | np.ndarray,
    held_out: int | None = None, columns: int = 10,
) -> Figure:  # fmt: skip
    """One user's list as ``recommend`` returned it: place, score, and a frame around the held-out item.

    ``images`` are the whole catalogue's, (N, H, W) or (N, H, W, 3); ``items`` (k,), where -1 is no item.
    """
    items, scores = np.asarray(items).ravel(), np.asarray(scores).ravel()
    if items.shape != scores.shape:
        raise ValueError(f"items has {len(items)} entries and scores has {len(scores)}: one score an item")
    shown = items >= 0
    titles = [f"{place}. {'★ ' if i == held_out else ''}{s:.2f}"
              for place, (i, s) in enumerate(zip(items[shown], scores[shown], strict=True), 1)]  # fmt: skip
    edge = [COLORS["AMR"] if i == held_out else "#cccccc" for i in items[shown]]
    return gallery(images[items[shown]], titles, columns, edge)
