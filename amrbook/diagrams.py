"""The drawn diagrams: pictures of an idea, before its algebra. One style, as SVG, the same in every run.

Each function draws one diagram and shows it; the chapter's cell has the caption and the alt text. Nothing in them is
measured, except where an argument says so.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from .figures import COLORS, FRAME, PLAIN, style_of
from .intervals import t_interval

__all__ = [
    "book_map", "bpr_step", "choice", "controls", "convolution", "flat_direction", "game", "leave_one_out",
    "own_data", "paired", "retrieve_and_rank", "sum_of_arrows", "svg", "threats", "when_it_looks", "who_holds_what",
    "worst_moves",
]  # fmt: skip

INK = COLORS["ink"]
PALE = "#f1eef6"  # what is inside a box


def svg(fig: Figure) -> bytes:
    """The figure as SVG: letters as curves, so that it needs no font, and the same bytes in every run."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "amrbook", "svg.fonttype": "path"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(fig)
    return buffer.getvalue()


def _show(fig: Figure) -> None:
    from IPython.display import display  # late: drawing needs no notebook

    display({"image/svg+xml": svg(fig).decode(), "text/plain": "a diagram"}, raw=True)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty sheet, one unit an inch."""
    fig, ax = plt.subplots(figsize=(width, height))
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return fig, ax


def _box(ax: Axes, x: float, y: float, w: float, h: float, text: str = "", edge: str = INK, fill: str = "white",
         width: float = 1.0, size: float = 9.0) -> None:  # fmt: skip
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.05", fc=fill, ec=edge, lw=width))
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", size=size, color=INK)


def _arrow(ax: Axes, start: Any, end: Any, color: str = INK, width: float = 1.4) -> None:
    style = {"arrowstyle": "-|>", "color": color, "lw": width, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=(end[0], end[1]), xytext=(start[0], start[1]), arrowprops=style)


def leave_one_out() -> None:
    """A basket, one purchase kept back, and the page on which it has to be found again."""
    fig, ax = _canvas(6.6, 2.7)
    ax.text(0.05, 2.5, "1. keep one purchase back", size=10)
    for n, name in enumerate(("boot", "coat")):
        _box(ax, 0.1, 1.75 - 0.45 * n, 1.0, 0.36, name, fill=PALE)
    _box(ax, 0.1, 0.4, 1.0, 0.36, "dress", edge=FRAME, width=2.2)
    ax.text(0.6, 0.24, "held out", ha="center", va="top", size=9, color=FRAME)
    ax.text(1.2, 1.7, "train on\nthese", size=9, va="center")

    ax.text(2.25, 2.5, "2. score what is left", size=10)
    _arrow(ax, (1.85, 1.7), (2.3, 1.7))
    _box(ax, 2.35, 1.35, 1.1, 0.7, "model", fill=PALE)
    ax.text(2.9, 1.2, "no boot, no coat:\nthe shopper has them", size=8.5, ha="center", va="top")
    _arrow(ax, (3.5, 1.7), (3.95, 1.7))

    ax.text(4.05, 2.5, "3. where is it on the page?", size=10)
    for place in range(10):
        x, y = 4.05 + 0.49 * (place % 5), 1.68 - 0.76 * (place // 5)
        held = place == 3
        _box(ax, x, y, 0.42, 0.5, "dress" if held else "", edge=FRAME if held else INK, width=2.2 if held else 0.8,
             fill="#ded9ea" if place < 3 else "white", size=7.5)  # fmt: skip
        ax.text(x + 0.21, y + 0.53, str(place), ha="center", va="bottom", size=7, color="#555555")
    ax.text(4.05, 0.78, "three rivals stand before it: rank 3", size=9, va="top")
    ax.text(4.05, 0.54, "rank below 10: a hit on this page", size=9, va="top")
    _show(fig)


def choice() -> None:
    """How a simulated shopper chooses: look, distance, weight, mood, purchase."""
    fig, ax = _canvas(6.8, 2.9)
    _box(ax, 0.05, 1.75, 1.2, 0.75, "a look\nin mind", edge=FRAME, width=2.0)
    _box(ax, 0.05, 0.55, 1.2, 0.75, "an item", fill=PALE)
    for y in (2.12, 0.92):
        _arrow(ax, (1.27, y), (1.72, 1.52 + 0.12 * (1 if y > 1.5 else -1)))
    _box(ax, 1.75, 1.0, 1.45, 1.05, "distance\n$s\\,\\cdot$ what is seen\n+ $(1-s)\\,\\cdot$ hidden", size=8.5)
    _arrow(ax, (3.22, 1.52), (3.55, 1.52))
    _box(ax, 3.58, 1.0, 1.2, 1.05, "weight\nnear: large\nfar: small", size=8.5)
    _arrow(ax, (4.8, 1.52), (5.13, 1.52))
    _box(ax, 5.16, 1.0, 1.55, 1.05, "the $n$ largest of\nln weight + mood\nare bought", edge=FRAME, width=2.0, size=8.5)
    ax.text(4.18, 2.62, "appeal:\nsome things please everyone", ha="center", va="center", size=8.5)
    _arrow(ax, (4.18, 2.42), (4.18, 2.08))
    ax.text(5.93, 0.42, "mood: random,\nnew on every day", ha="center", va="center", size=8.5)
    _arrow(ax, (5.93, 0.62), (5.93, 0.97))
    ax.text(2.47, 0.42, "$s$ is the visual share: the knob", ha="center", va="center", size=8.5, color=PLAIN[0])
    _arrow(ax, (2.47, 0.55), (2.47, 0.97), color=PLAIN[0])
    _show(fig)


def convolution(picture: np.ndarray, window: np.ndarray, at: tuple[int, int]) -> None:
    """A window on a small picture, and the one number that it writes there, after the ReLU.

    Parameters
    ----------
    picture : (H, W)
    window : (2r + 1, 2r + 1)
        The weights; the number b is 0 and the stride 1. Outside the picture there are zeros.
    at : (row, column)
        The place that is drawn.
    """
    r = len(window) // 2
    padded = np.pad(np.asarray(picture, dtype=float), r)
    height, width = picture.shape
    maps = np.array([[max(0.0, (padded[m : m + 2 * r + 1, n : n + 2 * r + 1] * window).sum()) for n in range(width)]
                     for m in range(height)])  # fmt: skip
    fig, ax = _canvas(6.6, 2.6)
    cell, top = 0.3, 2.1
    places = {"a picture": (0.1, np.asarray(picture)), "a window of weights": (2.75, window), "its feature map": (4.6, maps)}
    for name, (left, numbers) in places.items():
        rows, columns = numbers.shape
        first = top - (0 if rows == height else (height - rows) / 2 * cell)  # the window is centred beside the picture
        ax.text(left + columns * cell / 2, top + 0.2, name, ha="center", size=9.5)
        largest = max(1e-9, float(np.abs(numbers).max()))
        for m, n in np.ndindex(rows, columns):
            value = float(numbers[m, n])
            shade = plt.get_cmap("Purples")(0.65 * max(value, 0) / largest)
            x, y = left + n * cell, first - (m + 1) * cell
            ax.add_patch(Rectangle((x, y), cell, cell, fc=shade, ec="#bbbbbb", lw=0.6))
            ax.text(x + cell / 2, y + cell / 2, f"{value:g}", ha="center", va="center", size=7.5, color=INK)
        row, column = at
        if name == "a picture":
            corner, side = (left + (column - r) * cell, first - (row + r + 1) * cell), (2 * r + 1) * cell
            ax.add_patch(Rectangle(corner, side, side, fill=False, ec=FRAME, lw=2.2))
        if name == "its feature map":
            ax.add_patch(Rectangle((left + column * cell, first - (row + 1) * cell), cell, cell, fill=False, ec=FRAME, lw=2.2))
    middle = top - height / 2 * cell
    ax.text(2.42, middle, "×", size=16, ha="center", va="center", color=FRAME)
    _arrow(ax, (2.75 + len(window) * cell + 0.15, middle), (4.45, middle), color=FRAME)
    ax.text((2.9 + len(window) * cell + 4.45) / 2, middle + 0.16, "add up,\nkeep if > 0", ha="center", va="bottom", size=8)
    _show(fig)


def bpr_step(p: Sequence[float], q_i: Sequence[float], q_j: Sequence[float], step: float = 1.0) -> None:
    """One step of BPR in the plane: where the three vectors stand, and where the gradient moves them.

    Parameters
    ----------
    p, q_i, q_j : (2,) each
        Shopper, bought item, other item; the margin is ``p · (q_i − q_j)``.
    step : float
        The learning rate; there is no regulariser. Larger than in a training, so that the arrows can be seen.
    """
    margin = sum(a * (b - c) for a, b, c in zip(p, q_i, q_j, strict=True))
    pull = step / (1 + exp(margin))  # η σ(−x)
    moved = (
        [a + pull * (b - c) for a, b, c in zip(p, q_i, q_j, strict=True)],
        [b + pull * a for a, b in zip(p, q_i, strict=True)],
        [c - pull * a for a, c in zip(p, q_j, strict=True)],
    )
    new_margin = sum(a * (b - c) for a, b, c in zip(*moved, strict=True))
    fig, ax = plt.subplots(figsize=(6.0, 3.9))
    ax.axhline(0, color="#cccccc", lw=0.8)
    ax.axvline(0, color="#cccccc", lw=0.8)
    shown = zip((p, q_i, q_j), moved, ("$p_u$ the shopper", "$q_i$ bought", "$q_j$ not bought"), (INK, *PLAIN[:2]), strict=True)
    for start, end, name, color in shown:
        _arrow(ax, (0, 0), start, color=color, width=1.2)
        ax.plot(*end, "o", color=color, ms=5)
        _arrow(ax, start, end, color=FRAME, width=2.2)
        beside = (7, -9 if start[1] >= 0 else 6)  # of the arrow's middle, on the side where it is not
        ax.annotate(name, (start[0] / 2, start[1] / 2), xytext=beside, textcoords="offset points", color=color, size=10)
    points = [*moved, p, q_i, q_j, (0.0, 0.0)]
    reach = [(min(v[k] for v in points) - 0.35, max(v[k] for v in points) + 0.55) for k in (0, 1)]
    ax.set(xlim=reach[0], ylim=reach[1], aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_title(f"margin {margin:+.2f} before the step, {new_margin:+.2f} after it", size=10)
    _show(fig)


# The parts of the book, as in _toc.yml: chapter number -> its short name.
PARTS = {
    "Ground": {0: "a photograph\nand a list", 1: "ranking", 2: "the boutique"},
    "Behaviour": {3: "purchases\nin pairs", 4: "purchases\nas a table"},
    "Pictures": {5: "pixels to\nfeatures", 6: "the picture\nalone", 7: "history\nand picture", 8: "what it\ncannot know"},
    "Adversary": {9: "the worst\nsmall change", 10: "attacks\non pixels", 11: "training\nagainst it", 12: "testing\na claim"},
    "Use": {13: "the paper's\ntables", 14: "your own\ndata", 15: "where next", 16: "training\nat scale"},
}
KNOWN_BY = ("", "who bought it", "who bought it,\nand its picture", "both, and the\nworst change", "")


def book_map() -> None:
    """The book's map: five parts from left to right, their chapters, and what a model knows of a product in each."""
    fig, ax = _canvas(7.0, 3.55)
    for column, (part, chapters) in enumerate(PARTS.items()):
        left = 0.05 + 1.4 * column
        _box(ax, left, 3.15, 1.2, 0.36, part, edge=FRAME, width=1.8, size=10)
        if column:
            _arrow(ax, (left - 0.18, 3.33), (left - 0.02, 3.33), color=FRAME)
        for row, (number, name) in enumerate(chapters.items()):
            y = 2.6 - 0.52 * row
            _box(ax, left, y, 1.2, 0.44, fill=PALE)
            ax.text(left + 0.13, y + 0.22, str(number), ha="center", va="center", size=9, color=FRAME)
            ax.text(left + 0.26, y + 0.22, name, ha="left", va="center", size=7.5, color=INK, linespacing=0.95)
    ax.text(0.05, 0.3, "a product is\nknown by", size=8.5, va="center", color=PLAIN[0])
    for column, known in enumerate(KNOWN_BY):
        if known:
            _box(ax, 0.05 + 1.4 * column, 0.06, 1.2, 0.48, known, edge=PLAIN[0], size=8)
    for column in (2, 3):
        _arrow(ax, (1.4 * column - 0.13, 0.3), (1.4 * column + 0.03, 0.3), color=PLAIN[0])
    _show(fig)


def retrieve_and_rank() -> None:
    """A large shop in two stages, and what of it a seller chooses."""
    fig, ax = _canvas(6.9, 2.8)
    _box(ax, 0.05, 1.75, 1.15, 0.7, "a picture,\na title", edge=FRAME, width=2.2)
    _box(ax, 0.05, 0.45, 1.15, 0.7, "what people\ndid", fill=PALE)
    _box(ax, 1.6, 1.75, 1.2, 0.7, "encoder\n$f(x_i)$", fill=PALE)
    _box(ax, 1.6, 0.45, 1.2, 0.7, "user model\n$p_u$", fill=PALE)
    _arrow(ax, (1.22, 2.1), (1.57, 2.1), color=FRAME)
    _arrow(ax, (1.22, 0.8), (1.57, 0.8))
    _arrow(ax, (1.0, 1.17), (1.72, 1.72))
    _box(ax, 3.3, 1.0, 1.35, 0.95, "retrieve\n$p_u^\\top f(x_i)$\nnearest neighbours", size=8.5)
    _arrow(ax, (2.82, 2.1), (3.27, 1.7), color=FRAME)
    _arrow(ax, (2.82, 0.8), (3.27, 1.25))
    _arrow(ax, (4.68, 1.48), (5.15, 1.48))
    _box(ax, 5.18, 1.0, 0.95, 0.95, "rank\na larger\nmodel", size=8.5)
    _arrow(ax, (6.15, 1.48), (6.4, 1.48))
    ax.text(6.44, 1.48, "the\npage", ha="left", va="center", size=8.5)
    ax.text(0.05, 2.56, "the seller chooses this", ha="left", va="bottom", size=9, color=FRAME)
    ax.text(3.97, 0.85, "from millions", ha="center", va="top", size=8)
    ax.text(5.65, 0.85, "from hundreds", ha="center", va="top", size=8)
    _show(fig)


def who_holds_what() -> None:
    """Two processes of one training: what each alone moves, what both hold a copy of, and what travels in a step."""
    fig, ax = _canvas(7.0, 3.5)
    for left, name, users in ((0.05, "process 0", "users 0, 2, 4, …"), (5.0, "process 1", "users 1, 3, 5, …")):
        ax.text(left + 0.95, 3.3, name, ha="center", va="center", size=10)
        _box(ax, left, 2.32, 1.9, 0.72, f"moves $P$'s rows of\n{users}", edge=FRAME, width=2.0, size=8.5)
        holds = "$Q$, $E$, features:\na copy each\n\nin a step: its users'\ntriples, and half of\nthe items' features"
        _box(ax, left, 0.35, 1.9, 1.75, holds, fill=PALE, size=8.5)
    ax.text(3.48, 3.3, "travels in a step", ha="center", va="center", size=10)
    ax.text(3.48, 2.68, "nothing of $P$", ha="center", va="center", size=8.5, color=FRAME)
    messages = ("$Z = C E$, dealt by item: $U\\times K$", "$s_n$, summed: $U\\times K$", "$s_n'$, summed: $U\\times K$",
                "$\\partial L/\\partial E$, summed: $D\\times K$")  # fmt: skip
    for row, words in enumerate(messages):
        y = 1.9 - 0.46 * row
        ax.text(3.48, y + 0.06, words, ha="center", va="bottom", size=8.5, color=PLAIN[0])
        style = {"arrowstyle": "<|-|>", "color": PLAIN[0], "lw": 1.3}
        ax.annotate("", xy=(4.95, y), xytext=(2.0, y), arrowprops=style)
    framed = "framed: one process alone moves it; the others get it after the epoch"
    ax.text(0.05, 0.12, framed, size=8.5, va="center", color=FRAME)
    _show(fig)


def own_data() -> None:
    """From a table and a folder of pictures to lists: three steps, and what comes out of each."""
    fig, ax = _canvas(6.9, 2.2)
    steps = {
        "1. put together": "purchases.csv\npictures/boot-017.png",
        "2. read, and look": "from_csv(...)\nprint(shop)\nshop.notes",
        "3. train, and ask": "VBPR().fit(shop)\nrecommend(...)\nevaluate(...)",
    }
    for column, (title, inside) in enumerate(steps.items()):
        left = 0.05 + 2.4 * column
        ax.text(left, 1.95, title, size=10, va="center")
        _box(ax, left, 0.75, 1.95, 0.95, inside, fill=PALE, size=8.5)
        if column:
            _arrow(ax, (left - 0.42, 1.22), (left - 0.03, 1.22))
    says = (
        "one row per purchase,\none picture per article",
        "an error names the line;\na note says what was repaired",
        "lists in your own names",
    )
    for column, text in enumerate(says):
        ax.text(0.05 + 2.4 * column, 0.58, text, size=8.5, va="top", color=PLAIN[0])
    _show(fig)


def _planes(count: int, points: Sequence[Any], width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Planes side by side, to one scale and with the same sides, wide enough for ``points`` and the words beside them."""
    fig, axes = plt.subplots(1, count, figsize=(width, height), squeeze=False)
    x, y = zip(*points, strict=True)
    pad = 0.14 * max(max(x) - min(x), max(y) - min(y))
    for ax in axes[0]:
        ax.axhline(0, color="#cccccc", lw=0.8)
        ax.axvline(0, color="#cccccc", lw=0.8)
        ax.set(xlim=(min(x) - pad, max(x) + pad), ylim=(min(y) - pad, max(y) + pad), aspect="equal", xticks=[], yticks=[])
        ax.grid(False)
        for side in ax.spines.values():
            side.set_visible(False)
    return fig, list(axes[0])


def _beside(
    ax: Axes, text: str, at: Any, offset: tuple[float, float], color: str = INK, ha: str = "center"
) -> None:
    ax.annotate(text, (at[0], at[1]), xytext=offset, textcoords="offset points", color=color, size=9.5, ha=ha, va="center")


def sum_of_arrows(p: Any, q: Any, picture: Any) -> None:
    """An item vector as history plus picture, for a warm item and for a cold one, and both scores for one shopper.

    Parameters
    ----------
    p : (2,)
        The shopper. The score of an item vector v is ``p · v``.
    q, picture : (2,) each
        The item's history q_i and its picture Eᵀc_i. The cold item has the same picture and no history.
    """
    p, q, picture = (np.asarray(v, dtype=float) for v in (p, q, picture))
    whole, origin = q + picture, np.zeros(2)
    fig, axes = _planes(2, [origin, p, q, picture, whole], 6.8, 3.0)
    for ax, history, tip, kind in zip(axes, (q, origin), (whole, picture), ("a warm item", "a cold item"), strict=True):
        foot = p * (p @ tip) / (p @ p)  # how far the tip reaches along the shopper's arrow
        ax.plot(*np.stack([tip, foot]).T, ":", color=INK, lw=1.0)
        _arrow(ax, origin, p, width=1.2)
        _beside(ax, "$p_u$", p, (11, 0))
        if history.any():
            _arrow(ax, origin, history, color=PLAIN[0], width=2.0)
            _beside(ax, "$q_i$ history", history / 2, (-16, 6), PLAIN[0], "right")
        _arrow(ax, history, history + picture, color=PLAIN[1], width=2.0)
        _beside(ax, r"$E^\top c_i$ picture", history + picture / 2, (4, 12 if history.any() else -13), PLAIN[1], "center")
        ax.plot(*tip, "o", color=FRAME, ms=6)
        ax.plot(*foot, "o", color=INK, ms=4)
        parts = [f"{p @ part:.1f}" for part in ((history, picture) if history.any() else (picture,))]
        ax.set_title(f"{kind}: score {' + '.join(parts)}{f' = {p @ tip:.1f}' if history.any() else ''}", size=10)
    _show(fig)


def flat_direction(q: Any, picture: Any, cold: Any, steps: Sequence[float]) -> None:
    """The walk E' = tE: a warm item's history makes up for what the picture takes or gives, a cold item has none to do so.

    Parameters
    ----------
    q, picture : (2,) each
        A warm item's history and picture at t = 1. At t the picture says ``t · picture`` and the history the rest.
    cold : (2,)
        What E says of a cold item's picture.
    steps : the values of t that are drawn
    """
    q, picture, cold = (np.asarray(v, dtype=float) for v in (q, picture, cold))
    whole, origin = q + picture, np.zeros(2)
    fig, axes = _planes(2, [origin, whole, *(t * v for v in (picture, cold) for t in steps)], 6.8, 3.1)
    for ax, ray, name in zip(axes, (picture, cold), ("a warm item: the sum stays", "a cold item: it goes along"), strict=True):
        warm = ray is picture
        if max(steps) > 0:
            _arrow(ax, origin, max(steps) * ray, color=PLAIN[1], width=1.8)
        _beside(ax, r"$t\,E^\top c_i$", max(steps) * ray, (-2, -12) if warm else (2, -12), PLAIN[1])
        for t in steps:
            if warm:
                _arrow(ax, t * ray, whole, color=PLAIN[0], width=1.4)
            ax.plot(*(t * ray), "o", color=PLAIN[1] if warm else FRAME, ms=4 if warm else 7)
            _beside(
                ax, f"$t={t:g}$", t * ray, (-6, 10) if t == 0 else (-2, 11) if not warm else (14, -6) if t == 1 else (16, 6)
            )
        if warm:
            ax.plot(*whole, "o", color=FRAME, ms=7)
            _beside(ax, "$q_i + E^\\top c_i$", whole, (0, 12), FRAME)
            _beside(ax, "history", whole / 2, (-6, 6), PLAIN[0], "right")
        ax.set_title(name, size=10)
    _show(fig)


def worst_moves(c_i: Any, c_j: Any, like: Any, epsilon: float) -> None:
    """Two items' features, the ball in which each may move, and the two moves that cost the lead most.

    Parameters
    ----------
    c_i, c_j : (2,) each
        Features of the chosen item and of a rival. The pictures' part of the lead is ``like · (c_i − c_j)``.
    like : (2,)
        E p_u, the direction in feature space that the shopper likes.
    epsilon : float
        The radius of the balls.
    """
    c_i, c_j, like = (np.asarray(v, dtype=float) for v in (c_i, c_j, like))
    length = float(np.linalg.norm(like))
    worst = epsilon * like / length
    corners = [c + s * epsilon for c in (c_i, c_j) for s in (np.array([1.0, 1.0]), np.array([-1.0, -1.0]))]
    fig, (ax,) = _planes(1, [*corners, like, np.zeros(2)], 6.0, 3.9)
    _arrow(ax, (0, 0), like, width=1.4)
    _beside(ax, "$E\\,p_u$: what this shopper likes", like, (8, 0), ha="left")
    across = np.array([-like[1], like[0]]) / length  # along it no score changes
    for c, move, name, color in ((c_i, -worst, "chosen", PLAIN[0]), (c_j, worst, "rival", PLAIN[1])):
        ax.add_patch(plt.Circle((c[0], c[1]), epsilon, fc=PALE, ec=color, lw=1.2))
        ax.plot(*np.stack([c - 1.25 * epsilon * across, c + 1.25 * epsilon * across]).T, ":", color="#777777", lw=1.0)
        _arrow(ax, c, c + move, color=FRAME, width=2.4)
        ax.plot(*c, "o", color=color, ms=6)
        symbol = "i" if name == "chosen" else "j"
        side = -1 if name == "chosen" else 1
        _beside(ax, f"$c_{symbol}$ {name}", c - 1.25 * epsilon * across * side, (0, 10 * np.sign(-across[1] * side)), color)
    before = float(like @ (c_i - c_j))
    ax.set_title(f"lead {before:+.2f} before, {before - 2 * epsilon * length:+.2f} after both moves", size=10)
    _show(fig)


def game() -> None:
    """AMR as a game: two players take turns at one loss, one pushes it up, the other down."""
    fig, ax = _canvas(6.8, 3.0)
    _box(ax, 0.1, 1.05, 1.2, 0.9, "a batch of\ntriples\n$(u, i, j)$", fill=PALE)
    turns = {  # height, edge → whose turn, and what they do
        (1.95, FRAME): "1. the adversary's turn\nmoves every $c_i$ by a $\\Delta_i$,\nno longer than $\\varepsilon$",
        (0.2, PLAIN[0]): "2. the model's turn\nmoves $P$, $Q$, $E$ a little,\nwhile $\\Delta$ stands still",
    }
    for (y, edge), words in turns.items():
        _box(ax, 1.95, y, 2.75, 0.85, words, edge=edge, width=2.0)
    _box(ax, 5.35, 1.05, 1.35, 0.9, "one loss\nBPR $+\\ \\lambda\\,\\cdot$\nBPR at $c + \\Delta$", fill=PALE)
    _arrow(ax, (1.32, 1.75), (1.92, 2.2))
    _arrow(ax, (2.6, 1.93), (2.6, 1.08))
    ax.text(2.7, 1.5, "the worst features it found", va="center", size=8.5)
    _arrow(ax, (4.73, 2.38), (6.0, 2.0), color=FRAME, width=2.2)
    ax.text(5.5, 2.42, "pushes it up", size=9, color=FRAME)
    _arrow(ax, (4.73, 0.62), (6.0, 1.0), color=PLAIN[0], width=2.2)
    ax.text(5.5, 0.5, "pushes it down", size=9, color=PLAIN[0], va="center")
    _arrow(ax, (1.92, 0.62), (1.0, 1.02))
    ax.text(0.1, 0.62, "next batch", size=8.5, va="center")
    _show(fig)


def when_it_looks(corners: Mapping[tuple[str, str], tuple[float, float]]) -> None:
    """The map of AMR over two knobs: how fast Q may move, and how strong the penalty on item vectors is.

    Parameters
    ----------
    corners : (``"fast"`` or ``"slow"``, ``"tuned"`` or ``"weak"``) → (share, gain), in per cent
        The picture's share of the spread of the scores, and the gain in clean NDCG@10 over VBPR, continued.
    """
    fig, ax = _canvas(6.2, 3.25)
    left, bottom, w, h = 1.3, 0.62, 2.35, 1.2
    for column, rate in enumerate(("slow", "fast")):
        for row, penalty in enumerate(("tuned", "weak")):
            share, gain = corners[rate, penalty]
            looks = "looks" if share > 50 else "looks away"
            ranks = "ranks better" if gain > 0 else "ranks worse"
            x, y = left + column * (w + 0.12), bottom + row * (h + 0.12)
            edge, width = (INK, 2.0) if gain > 0 else ("#8a8a8a", 1.0)
            _box(ax, x, y, w, h, fill=PALE if share > 50 else "white", edge=edge, width=width)
            ax.text(x + w / 2, y + 0.87, f"it {looks}", ha="center", va="center", size=10.5, weight="bold")
            ax.text(x + w / 2, y + 0.57, f"picture's share {share:.0f} %", ha="center", va="center", size=9)
            ax.text(x + w / 2, y + 0.27, f"{ranks}: {gain:+.0f} %", ha="center", va="center", size=9)
    for row, words in enumerate(("penalty\ntuned", "penalty\nweak")):
        ax.text(left - 0.2, bottom + (row + 0.5) * h + row * 0.12, words, ha="right", va="center", size=9.5)
    for column, words in enumerate(("$Q$ slower than $E$", "$Q$ as fast as $E$")):
        ax.text(left + (column + 0.5) * w + column * 0.12, bottom - 0.12, words, ha="center", va="top", size=9.5)
    ax.text(left + w + 0.06, 0.04, "how fast the history may take over", ha="center", va="bottom", size=9, color=FRAME)
    ax.text(0.05, bottom + h + 0.06, "what a long item vector costs", rotation=90, ha="left", va="center", size=9, color=FRAME)
    _show(fig)


def controls() -> None:
    """What each of four models has: the control of a thing is the model that lacks that thing alone."""
    parts = ("the same\nstart", "more epochs,\nfresh Adagrad", "loss counted\n$1 + \\lambda$ times", "the\nadversary")
    rows = {"VBPR": 1, "VBPR, continued": 2, "AMR, ε → 0": 3, "AMR": 4}
    fig, ax = _canvas(6.9, 3.0)
    left, w, h, top = 1.45, 0.98, 0.36, 2.1
    for column, words in enumerate(parts):
        ax.text(left + (column + 0.5) * (w + 0.08), top + 0.5, words, ha="center", va="bottom", size=8.5)
    for row, (name, has) in enumerate(rows.items()):
        y = top - row * 0.6
        ax.text(left - 0.12, y + h / 2, name, ha="right", va="center", size=9.5, weight="bold" if name == "AMR" else None)
        for column in range(len(parts)):
            edge, width = (INK, 0.9) if column < has else ("#bbbbbb", 0.9)
            if row and column == has - 1:
                edge, width = FRAME, 2.0
            words, fill = ("yes", PALE) if column < has else ("", "white")
            _box(ax, left + column * (w + 0.08), y, w, h, words, edge=edge, fill=fill, width=width, size=8.5)
        if row:
            x, middle = left + 4 * (w + 0.08) + 0.1, y + h / 2
            arrow = {"arrowstyle": "<->", "color": FRAME}
            ax.annotate("", xy=(x, middle), xytext=(x, middle + 0.6), arrowprops=arrow)
            thing = ("more training", "a heavier loss", "the adversary")[row - 1]
            ax.text(x + 0.1, middle + 0.3, thing, va="center", size=8.5, color=FRAME)
    _show(fig)


def paired(runs: Mapping[str, Sequence[float]], measure: str) -> None:
    """Two models from the same seeds: seen apart they overlap, seen as pairs they differ.

    Parameters
    ----------
    runs : two names → (seeds,) each, in the same order
    measure : str
        What the numbers are.
    """
    (one, a), (other, b) = ((name, np.asarray(v, dtype=float)) for name, v in runs.items())
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.6, 3.1), width_ratios=(3, 2))
    for x, y in zip(a, b, strict=True):
        left.plot([0, 1], [x, y], color="#bbbbbb", lw=1, zorder=1)
    for place, name, values in ((0, one, a), (1, other, b)):
        look = {key: style_of(name)[key] for key in ("color", "marker")}
        left.scatter(np.full(len(values), place), values, zorder=2, **look)
        mean, half = t_interval(values)
        left.errorbar(place + (0.18 if place else -0.18), mean, half, fmt="_", color=INK, capsize=4)
    left.set(xlim=(-0.5, 1.5), ylabel=measure)
    left.set_xticks([0, 1], [one, other])
    left.set_title("the same seeds, joined", size=10)
    mean, half = t_interval(b - a)
    right.scatter(np.zeros(len(a)), b - a, color=PLAIN[0])
    right.errorbar(0.25, mean, half, fmt="_", color=INK, capsize=4)
    right.axhline(0, color=INK, lw=0.8)
    right.set(xlim=(-0.5, 0.7), xticks=[])
    right.set_title("their differences", size=10)
    for ax in (left, right):
        ax.locator_params(axis="y", nbins=5)
    _show(fig)


def threats() -> None:
    """Who attacks, what they know, what they may change, what they want: along the way from photograph to list."""
    stages = ("photograph\n$x_i$", "network\n$f$", "features\n$c_i$", "model\n$P, Q, E$", "list")
    off, on = "wants to\npush people's\nitems off it", "wants to\nput one item\nonto it"
    people = {
        "chapter 9's\nattacker": ("know", "know", "change", "know", off),
        "one who edits\nall photographs": ("change", "know", "know", "know", off),
        "a seller": ("one", "know", "know", "know", on),
        "an outsider": ("change", "guess", "guess", "guess", off),
    }
    looks = {  # words, fill, edge, width
        "know": ("knows", PALE, INK, 0.9),
        "change": ("changes", "white", FRAME, 2.2),
        "one": ("changes\none", "white", FRAME, 2.2),
        "guess": ("a copy\nof it", "white", "#bbbbbb", 0.9),
    }
    fig, ax = _canvas(6.9, 3.5)
    left, w, step, h = 1.2, 0.86, 0.98, 0.42
    for column, words in enumerate(stages):
        x = left + column * step
        _box(ax, x, 2.85, w, 0.5, words, size=8.5)
        if column < 4:
            _arrow(ax, (x + w, 3.1), (x + step, 3.1))
    for row, (name, cells) in enumerate(people.items()):
        y = 2.2 - 0.66 * row
        ax.text(left - 0.12, y + h / 2, name, ha="right", va="center", size=9)
        for column, what in enumerate(cells[:4]):
            words, fill, edge, width = looks[what]
            _box(ax, left + column * step, y, w, h, words, edge=edge, fill=fill, width=width, size=8)
        ax.text(left + 4 * step, y + h / 2, cells[4], va="center", size=8.5)
    _show(fig)
