"""The paper's experiments over many seeds, with their controls; chapters draw from the stored results."""

from .chain import FeatureDropout, train_chain
from .forms import FORM_GRID, arrivals_split, best_form, by_rank
from .measure import margin_share, mean_lead, mean_norm
from .names import (
    BLIND,
    EPSILON_POINTS,
    FEATURE_POINTS,
    LAMBDA_POINTS,
    MODELS,
    NO_ADVERSARY,
    PAPER_EPSILONS,
    RATE_POINTS,
    SHARE_POINTS,
    SHARES,
    SPARSITY_POINTS,
    TWIN,
    WEAK,
    WEAK_LAMBDA_POINTS,
)  # fmt: skip
from .results import agrees, load_results, over_points, over_seeds, paired_over_seeds
from .run import run_experiment
from .sweeps import EXPERIMENTS, main_experiment

__all__ = [
    "BLIND", "EPSILON_POINTS", "EXPERIMENTS", "FEATURE_POINTS", "FORM_GRID", "LAMBDA_POINTS", "MODELS", "NO_ADVERSARY",
    "PAPER_EPSILONS", "RATE_POINTS", "SHARES", "SHARE_POINTS", "SPARSITY_POINTS", "TWIN", "WEAK", "WEAK_LAMBDA_POINTS",
    "FeatureDropout", "agrees", "arrivals_split", "best_form", "by_rank", "load_results", "main_experiment",
    "margin_share", "mean_lead", "mean_norm", "over_points", "over_seeds", "paired_over_seeds", "run_experiment", "train_chain",
]  # fmt: skip
