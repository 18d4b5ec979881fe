"""The paper's tables beside ours: ``python -m amrbook replicate --dataset pinterest``; ``replicate page`` draws the pages."""

from pathlib import Path

from . import paper
from .page import show

__all__ = ["paper", "record_run", "show"]


def record_run(dataset: str, device: str = "auto", folder: str | Path | None = None) -> Path:
    """What the command does with ``--dataset`` and then with ``--submit``, for a notebook: run what is missing, and put the
    record where :func:`show` and the pages find it. It says first what it will cost. Stopped, it goes on when called again.
    Errors are those of :func:`amrbook.replicate.run.replicate` and of a record that cannot be."""
    from .run import replicate  # late: showing needs neither
    from .submit import submit

    return submit(replicate(dataset, folder, device=device))[0]
