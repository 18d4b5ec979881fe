"""The step in compiled loops, for a CPU: nothing else in the library needs numba."""

from .step import CompiledTrainer

__all__ = ["CompiledTrainer"]
