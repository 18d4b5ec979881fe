"""A chapter's parameters, and the settings of the models as ``tools/tune.py`` chose them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

    from amrlib import Dataset

MODES = ("smoke", "book", "paper")
Value = TypeVar("Value")


def check_mode(mode: str) -> str:
    """The chapter's ``MODE``, if it is one.

    Raises
    ------
    ValueError
        It is not in ``MODES``.
    """
    if mode not in MODES:
        raise ValueError(f"MODE must be one of {', '.join(MODES)} (in small letters), not {mode!r}")
    return mode


def check_parameters(mode: str, dataset: str) -> None:
    """The first thing a chapter does: refuse a ``MODE`` or a ``DATASET`` that nothing knows, before anything runs.

    Raises
    ------
    ValueError
        The message lists the known ones.
    """
    from amrlib.datasets.catalogue import SETS  # late: a page that trains nothing need not load torch

    check_mode(mode)
    known = ("boutique", *SETS)
    if dataset not in known:
        raise ValueError(f"DATASET must be one of {', '.join(known)}, not {dataset!r}")


def by_mode(mode: str, /, *, smoke: Value, book: Value, paper: Value) -> Value:
    """The value for the chapter's ``MODE``: ``by_mode(MODE, smoke=2, book=5, paper=10)``."""
    return {"smoke": smoke, "book": book, "paper": paper}[check_mode(mode)]


def require(shop: Dataset, *names: str) -> None:
    """Stop in the first cell if the chapter's ``DATASET`` lacks something that the chapter shows.

    Parameters
    ----------
    names : str
        Attributes of the data set, ``"features"``, ``"images"``, ``"labels"`` …; ``"cold held-out items"``, without which
        cold and warm ones cannot be compared; ``"stored results"``, which are the boutique's alone.

    Raises
    ------
    ValueError
        The data set has not all of them.
    """
    there = {
        "cold held-out items": bool(shop.cold[shop.test[shop.test_users]].any()),
        "stored results": shop.name == "boutique",
    }
    missing = [name for name in names if not there.get(name, getattr(shop, name, None) is not None)]
    if missing:
        raise ValueError(
            f'this chapter shows {" and ".join(missing)}, which {shop.name!r} does not have; take DATASET = "boutique"'
        )


def device(name: str = "auto") -> torch.device:
    """The chapter's ``DEVICE``: ``"auto"`` is the GPU where there is one, else the CPU."""
    from amrlib.device import resolve_device  # late: a page that trains nothing need not load torch

    return resolve_device(name)


def trainer_for(name: str = "auto") -> str:
    """What takes the steps on the chapter's ``DEVICE``: the compiled loops on a CPU, the closed form on a card.

    By name, and not by whether numba is there: where it is missing ``fit`` says how to get it; no page prints other digits.
    """
    return "compiled" if device(name).type == "cpu" else "closed_form"


def settings(dataset: str = "boutique") -> dict[str, dict[str, Any]]:
    """Each model's settings as ``tools/tune.py`` chose them on validation interactions: model name → lr, reg, …

    A chapter reads them and searches for nothing: the test items never had a say in them. Another data set than the
    one they were chosen on gets them too, as a place to start from.
    """
    stored = _tuned()["chosen"]
    return {model: {k: v for k, v in values.items() if "ndcg@10" not in k} for model, values in stored.items()}


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
