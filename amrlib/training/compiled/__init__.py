"""What makes a step faster and no clearer, walled off: compiled loops for a CPU (``step``, ``loops`` and ``per_triple``; they
and ``evaluation/counting`` alone need numba), and for a card a recorded step (``recorded``) and features that are brought over
in time (``host_gather``)."""

from typing import Any


def trainer_class(trainer: str) -> Any:
    """The class of ``"per_triple"``, or else of ``"compiled"``; an ImportError without numba, which is asked for only here."""
    if trainer == "per_triple":
        from .per_triple import PerTripleTrainer

        return PerTripleTrainer
    from .step import CompiledTrainer

    return CompiledTrainer
