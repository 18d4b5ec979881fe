"""How well a model ranks: ranks and the k best items, reports, intervals and tests, models side by side."""

from .candidates import sample_candidates
from .comparison import Paired, compare, exposure, paired_test
from .ranks import auc, best_items, held_out_ranks, hr, mrr, ndcg
from .report import Report, evaluate

__all__ = ["Paired", "Report", "auc", "best_items", "compare", "evaluate", "exposure", "held_out_ranks", "hr", "mrr", "ndcg",
           "paired_test", "sample_candidates"]  # fmt: skip
