"""The card at a chapter's end: three equations, three numbers of the run, and one picture to remember.

>>> card(equations={r"\\hat y_{ui} = p_u^\\top q_i": "a score is an inner product"},
...      numbers={"HR@10 of MF-BPR": f"{hr:.3f} ± {half:.3f}"},
...      picture=("fig-bpr-toy", "the empty cells of the own group fill up"))
"""

from __future__ import annotations

from collections.abc import Mapping

from .claims import _show

__all__ = ["card"]


def card(*, equations: Mapping[str, str], numbers: Mapping[str, str], picture: tuple[str, str]) -> None:
    """Show what to take away from a chapter: on one card, in a form that fits on a phone.

    Parameters
    ----------
    equations : mapping
        LaTeX without dollar signs → what it says, in a few words.
    numbers : mapping
        What was measured → its value as text, formatted from the run. ``tools/plain.py`` refuses a typed one.
    picture : (name, words)
        The name of one of the chapter's figures, as ``"fig-ties"``, and what it shows.

    Raises
    ------
    ValueError
        Something is empty, an equation holds a dollar sign, or the picture's name is none.
    """
    name, words = picture
    if not equations or not numbers or not words.strip():
        raise ValueError("a card needs at least one equation, one number, and words for its picture")
    if any("$" in latex or "|" in latex for latex in equations):
        raise ValueError(r"an equation is LaTeX without dollar signs, and without |, which would end the cell: \lvert, \rvert")
    if not name.startswith("fig-"):
        raise ValueError(f'picture must name a figure of the chapter, as "fig-ties", not {name!r}')
    rows = [f"| ${latex}$ | {says} |" for latex, says in equations.items()]
    rows += [f"| **{value}** | {what} |" for what, value in numbers.items()]
    rows.append(f"| [the picture](#{name}) | {words} |")
    _show('<div class="card-of-chapter">\n\n| to remember | what it says |\n|---|---|\n' + "\n".join(rows) + "\n\n</div>")
