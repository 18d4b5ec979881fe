"""What changed features can do to a ranking: noise, attacks, promotion, and the exact worst case.

An attack returns changed features, (N, D), and knows one model. To transfer it, evaluate another model under them:
``evaluate(other, shop, features=perturb(model, shop, epsilon))``. Models without E (Popularity, MF) are never moved."""

from .attacks import perturb
from .promotion import category_hit_ratio, item_ranks, promote
from .worst_case import breaking_epsilon, worst_case_perturbation, worst_case_ranks

__all__ = ["breaking_epsilon", "category_hit_ratio", "item_ranks", "perturb", "promote",
           "worst_case_perturbation", "worst_case_ranks"]  # fmt: skip
