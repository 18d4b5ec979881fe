"""One progress bar for everything that may take more than a second."""

from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Any, desc: str, show: bool = True, **settings: Any) -> tqdm:
    """A bar that appears after a second and leaves no trace; ``TQDM_DISABLE=1`` or ``show=False`` hides it."""
    if not show:
        settings["disable"] = True  # not passed otherwise: it would overrule TQDM_DISABLE
    return tqdm(iterable, desc=desc, delay=1, leave=False, **settings)
