"""How well a model ranks: ranks and the k best items, reports, intervals and tests, models side by side."""

from ..datasets.candidates import sample_candidates
from .comparison import Paired, compare, exposure, paired_test
from .ranks import best_items, gains, held_out_ranks, hr, ndcg
from .report import Report, evaluate

__all__ = ["Paired", "Report", "best_items", "compare", "evaluate", "exposure", "gains", "held_out_ranks", "hr", "ndcg",
           "paired_test", "sample_candidates"]  # fmt: skip
