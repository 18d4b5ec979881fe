"""Numbers and claims in the chapters: from the run, never typed.

The same call works in the built book, in Jupyter, in Colab and under nbval; nothing but IPython's own
``display`` is needed, so a chapter never depends on what builds the book.

>>> glue("VBPR finds {hr:.1%} of the held-out items.", hr=0.1829)      # shown as a sentence
>>> claim("VBPR ({a:.3f}) is ahead of MF ({b:.3f})", a > b, MODE, a=a, b=b)   # shown with a tick, or stops the run
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["MODES", "claim", "device", "glue", "settings", "trials"]

MODES = ("smoke", "book", "paper")


def _fill(sentence: str, values: dict[str, Any]) -> str:
    try:
        return sentence.format(**values)
    except KeyError as missing:
        raise ValueError(f"the sentence asks for {missing}, which was not passed: {sentence!r}") from None
    except (IndexError, ValueError, TypeError) as error:
        raise ValueError(f"cannot fill in {sentence!r} with {values!r}: {error}") from None


def _show(text: str) -> None:
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:  # a plain script
        print(text)
    else:
        display({"text/markdown": text, "text/plain": text}, raw=True)


def glue(sentence: str, /, **values: Any) -> None:
    """Show ``sentence`` as a line of the page, its ``{name:.3f}`` placeholders filled from this run.

    A literal brace, as in a formula, is written twice: ``$p_{{u}}$``.

    Raises
    ------
    ValueError
        A placeholder without a value, or a value its format does not fit.
    """
    _show(_fill(sentence, values))


def claim(statement: str, ok: Any, mode: str, /, **values: Any) -> None:
    """Show ``statement`` with a tick if ``ok``; otherwise stop the notebook, and so the book.

    A smoke run is too short to judge anything: there the statement is shown as not judged.

    Parameters
    ----------
    statement : str
        What is claimed, with placeholders as in :func:`glue`.
    ok : bool
        Whether this run bears it out; written beside the sentence, so that a reader sees the test.
    mode : ``"smoke"``, ``"book"`` or ``"paper"``
        The chapter's ``MODE``.

    Raises
    ------
    AssertionError
        The claim does not hold here; the message holds the statement and the values.
    ValueError
        An unknown mode, or values that do not fit the statement.
    """
    if mode not in MODES:
        raise ValueError(f"MODE must be one of {', '.join(MODES)}, not {mode!r}")
    text = _fill(statement, values)
    if mode == "smoke":
        _show(f"∘ {text} *(not judged in a smoke run)*")
    elif bool(ok):
        _show(f"✓ {text}")
    else:
        listed = ", ".join(f"{name} = {value!r}" for name, value in values.items())
        raise AssertionError(f"this run does not bear out: {text}" + (f" ({listed})" if listed else ""))


def device(name: str = "auto") -> torch.device:
    """The chapter's ``DEVICE``: ``"auto"`` is the GPU where there is one, else the CPU."""
    from .training import resolve_device  # late: a page that trains nothing need not load torch

    return resolve_device(name)


def settings(dataset: str = "boutique") -> dict[str, dict[str, Any]]:
    """Each model's settings as ``tools/tune.py`` chose them on validation interactions: model name → lr, reg, …

    They are looked up, not searched for in a chapter: the test items never had a say in them. Another data
    set than the one they were chosen on gets them too, as a place to start from.
    """
    chosen = _tuned()["chosen"]
    return {name: {k: v for k, v in how.items() if "ndcg@10" not in k} for name, how in chosen.items()}


def trials(model: str, dataset: str = "boutique") -> list[dict[str, Any]]:
    """Every setting that ``tools/tune.py`` tried for ``model`` on validation interactions, with its ``ndcg@10``.

    For a chapter that compares ways to train one model, each with the settings that suit it; ``dataset`` as
    in :func:`settings`.
    """
    tried = _tuned()["trials"]
    if model not in tried:
        raise ValueError(f"model must be one of {', '.join(tried)}, not {model!r}")
    return tried[model]


def _tuned() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[1] / "book" / "settings.json"
    if not path.exists():
        raise FileNotFoundError("book/settings.json is not there; make it with: python tools/tune.py")
    return json.loads(path.read_text(encoding="utf-8"))
