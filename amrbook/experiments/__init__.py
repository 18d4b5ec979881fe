"""The paper's experiments over many seeds, with their controls; chapters draw from the stored results."""

from .chain import FeatureDropout, train_chain
from .measure import mean_norm
from .names import (
    BLIND,
    EPSILON_POINTS,
    FEATURE_POINTS,
    LAMBDA_POINTS,
    MODELS,
    NO_ADVERSARY,
    PAPER_EPSILONS,
    SHARE_POINTS,
    SHARES,
    SPARSITY_POINTS,
    WEAK,
    WEAK_LAMBDA_POINTS,
)  # fmt: skip
from .results import agrees, load_results, over_points, over_seeds, paired_over_seeds
from .run import run_experiment
from .sweeps import EXPERIMENTS, main_experiment

__all__ = [
    "BLIND", "EPSILON_POINTS", "EXPERIMENTS", "FEATURE_POINTS", "LAMBDA_POINTS", "MODELS", "NO_ADVERSARY", "PAPER_EPSILONS",
    "SHARES", "SHARE_POINTS", "SPARSITY_POINTS", "WEAK", "WEAK_LAMBDA_POINTS", "FeatureDropout", "agrees", "load_results",
    "main_experiment", "mean_norm", "over_points", "over_seeds", "paired_over_seeds", "run_experiment", "train_chain",
]  # fmt: skip
