"""What changed features can do to a ranking: noise, attacks, promotion, and the exact worst case.

An attack returns changed features, (N, D), and knows one model; ``evaluate(other, shop, features=perturb(model, shop,
epsilon))`` transfers it to another. Models without E (Popularity, MF) are never moved."""

from .attacks import category_hit_ratio, item_ranks, perturb, promote
from .worst_case import breaking_epsilon, worst_case_perturbation, worst_case_ranks

__all__ = ["breaking_epsilon", "category_hit_ratio", "item_ranks", "perturb", "promote",
           "worst_case_perturbation", "worst_case_ranks"]  # fmt: skip
