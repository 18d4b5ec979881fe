"""Training and ranking by several processes, which torchrun starts. Who runs one process needs none of this."""

from .ranking import held_out_ranks, worst_case_ranks
from .team import Team, finish, start, team
from .trainer import ParallelTrainer

__all__ = ["ParallelTrainer", "Team", "finish", "held_out_ranks", "start", "team", "worst_case_ranks"]
