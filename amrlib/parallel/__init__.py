"""Training and ranking by several processes, which torchrun starts. Who runs one process needs none of this.

In each of them::

    parallel.start()  # first of all
    model.fit(shop, trainer=parallel.ParallelTrainer)
    amrlib.evaluate(model, shop, team=parallel.team())  # worst_case_ranks, perturb and adversary.promote as well
    parallel.finish()
"""

from .team import Team, finish, start, team
from .trainer import ParallelTrainer

__all__ = ["ParallelTrainer", "Team", "finish", "start", "team"]
