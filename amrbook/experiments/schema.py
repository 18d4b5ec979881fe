"""What the result of one seed holds: every experiment's figures, as rows of (path, meaning).

A path is the steps down a result, ``results["seeds"]["0"]["AMR"]["full"]["NDCG@10"]``; a step that lists several
names stands for each of them. A test holds the stored files against this. Everything ranks in full but the
"sampled" ones. ‖c‖ is the mean norm of the features, "10 %" is ε = 0.1‖c‖.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from .efficientnet import CARRIED, LOOKERS
from .forms import EPOCH_POINTS, FORM_GRID, FORMS, PLACES, SECOND
from .names import (
    ADVERSARY_POINTS,
    BLIND,
    DROPOUT_POINTS,
    EPSILON_POINTS,
    FEATURE_POINTS,
    GRID_POINTS,
    LAMBDA_POINTS,
    MODELS,
    PAPER_EPSILONS,
    PENALTY_POINTS,
    RATE_POINTS,
    SHARE_POINTS,
    SHARES,
    SIZE_POINTS,
    SIZE_RATES,
    SPARSITY_POINTS,
    TWIN,
    VOLUME_POINTS,
    WEAK,
    WEAK_LAMBDA_POINTS,
)
from .pixels import ROWS as PIXEL_ROWS
from .worlds import AMR_TRIALS, VBPR_TRIALS, WORLD_MODELS, WORLDS

__all__ = ["SCHEMA", "Figures", "leaves"]

Names = tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """Figures of a result that lie and mean alike: ``path``, names a step, and the ``meaning``."""

    path: tuple[Names, ...]
    meaning: str

    def paths(self) -> set[Names]:
        """Every single path."""
        return set(itertools.product(*self.path))

    def below(self, *steps: Names) -> Figures:
        """The same further down."""
        return Figures((*steps, *self.path), self.meaning)


def leaves(result: object, path: Names = ()) -> Iterable[Names]:
    """The paths of all figures in a result; a list is one figure."""
    if isinstance(result, dict):
        for name, value in result.items():
            yield from leaves(value, (*path, name))
    else:
        yield path


TWO: Names = ("HR@10", "NDCG@10")
SIX: Names = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")
WITH_E: Names = MODELS[3:]  # the models that see pictures
LEVELS: Names = tuple(f"ε={s:g}‖c‖" for s in SHARES) + tuple(f"ε={e:g}" for e in PAPER_EPSILONS)  # the last as in the paper

ATTACKS = (
    ("random", "noise of length ε"),
    ("test", "one gradient step, on test triples"),
    ("train", "one gradient step, on training triples"),
    ("linf", "one sign step at ε/√D an entry, which has the ℓ2 length ε"),
    ("transferred", 'the step of "test" made against "VBPR, continued"'),
    ("certified", "every user's exact worst case"),
)
MAIN = (
    Figures((MODELS, ("full", "cold", "warm"), SIX), "all, cold and warm held-out items"),
    Figures((MODELS, ("sampled", "sampled cold", "sampled warm"), SIX), "among 999 sampled rivals, the paper's protocol"),
    Figures((MODELS, ("auc",), ("full", "cold", "warm")), "AUC"),
    *(Figures((WITH_E, LEVELS, (name,), TWO), meaning) for name, meaning in ATTACKS),
    Figures((WITH_E, ("ε=0.1‖c‖",), ("steps",), TWO), "10 steps on test triples"),
    Figures((WITH_E, ("breaking",), ("0.1", "0.25", "0.5", "0.75", "0.9")),
            "quantiles, over the hits among the first 10, of the ε/‖c‖ that breaks them (certified)"),
    Figures((WITH_E, ("rank change",), ("low", "Q1", "median", "Q3", "high")),
            'rank after − before, "test" at 10 %, all users; low and high are whiskers, within 1.5 (Q3 − Q1) of the box'),
    Figures((WITH_E, ("promotion",), ("CHR@10",), ("before", "after", "random")),
            "one step at 10 %, and noise of equal length: share of first-10 places of the category least bought per item"),
    Figures((WITH_E, ("promotion",), ("rank",), ("before", "after", "random")),
            "the same: median rank, over users and 5 cold items (the same for all models of a seed)"),
    Figures((WITH_E, ("E",)), "the 10 largest singular values, descending: a list"),
    Figures((WITH_E, ("E norm",)), "‖E‖_F"),
    Figures((WITH_E, ("sensitivity",)), "mean ‖E p_u‖₂"),
    Figures((WITH_E, ("seen",)), "spread over the items of p_uᵀEᵀc_i, over that of ŷ_ui; mean"),
)

CURVES = (
    Figures((("MF-BPR", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR", "AMR, random noise"),
             ("epoch", "NDCG@10", "HR@10", "attacked")),
            'lists, a value every 20 epochs, at test items: shown, never used to choose; attacked is NDCG@10 under one step '
            'on test triples at 10 %. "MF-BPR" has its last epoch alone, "VBPR" counts from 0 and the others go on from '
            "VBPR's last, which is their first point"),
)

# Of the sweeps an entry; a model without E has attacked and certified too, equal to full.
ENTRY_BLIND = (
    Figures((("full", "cold"), TWO), "all and cold held-out items"),
    Figures((("attacked",), TWO), "one step on test triples at 10 %"),
    Figures((("certified",), TWO), "every user's exact worst case at 10 %"),
    Figures((("auc cold",),), "AUC of cold held-out items"),
    Figures((("ε", "ε/‖c‖"),), "what it was trained with; 0 without an adversary"),
)
ENTRY = (
    *ENTRY_BLIND,
    Figures((("sensitivity", "E norm", "seen"),), "as in the main experiment"),
)
RATES_ENTRY = (
    *ENTRY,
    Figures((("warm",), TWO), "warm held-out items"),
    Figures((("margin",),), "mean 2ε‖E p_u‖₂ at 10 %, over the mean lead of a purchase of training; 0 without E"),
)
RATE_WEIGHTS = ((GRID_POINTS, ("0.1", "1")), (RATE_POINTS[len(GRID_POINTS) :], ("1",)))  # points → λ
PENALTY_MODELS = ("VBPR", "VBPR, continued", *(f"AMR {point}" for point in ADVERSARY_POINTS))  # ε/‖c‖ of their training
RATES = (
    *(row.below(("VBPR",)) for row in RATES_ENTRY),
    *(row.below(("VBPR, continued",), RATE_POINTS) for row in RATES_ENTRY),
    *(row.below((TWIN,), points, weights) for row in RATES_ENTRY for points, weights in RATE_WEIGHTS),
    *(row.below(("AMR",), points, ADVERSARY_POINTS, weights) for row in RATES_ENTRY for points, weights in RATE_WEIGHTS),
)
AUTHORS_RUN = ("VBPR", "VBPR, continued", "AMR, ε → 0", "AMR, 10 %", "AMR, 20 %")
REFERENCES = (
    *(row.below(("MF-BPR",)) for row in ENTRY_BLIND),
    *(row.below(("VBPR", "VBPR, continued")) for row in ENTRY),
)


def _over_shops(points: Names, *models: str) -> tuple[Figures, ...]:
    blind = tuple(name for name in models if name in ("MF-BPR", BLIND))
    with_e = tuple(name for name in models if name not in blind)
    shop = Figures((("shop",), points, ("users", "items", "rows", "cold share", "norm")), "cold share: of the held-out items")
    return (
        shop,
        *(row.below(blind, points) for row in ENTRY_BLIND),
        *(row.below(with_e, points) for row in ENTRY),
    )


_USERS = tuple(f"users={p}" for p in SPARSITY_POINTS)

SCHEMA: dict[str, tuple[Figures, ...]] = {
    "main": MAIN,
    "curves": CURVES,
    # points: ε/‖c‖ as text; "0" is ε = 1e-4; λ = 1
    "epsilon": (*REFERENCES, *(row.below(("AMR",), EPSILON_POINTS) for row in ENTRY)),
    # points: λ, of "AMR" at the ε of the settings
    "lambda": (
        *REFERENCES,
        *(row.below(("AMR",), LAMBDA_POINTS) for row in ENTRY),
        *(row.below((WEAK,), WEAK_LAMBDA_POINTS) for row in ENTRY),
    ),
    # afresh: not from VBPR, and in as many epochs as VBPR and AMR together
    "starts": tuple(row.below(("AMR", "AMR, afresh", WEAK, f"{WEAK}, afresh")) for row in ENTRY),
    # the boutique drawn again by each seed
    "visual_share": _over_shops(
        SHARE_POINTS, "MF-BPR", "DUIF", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR", WEAK
    ),
    # the boutique drawn by each seed with 4,830 items and more or fewer users (the points), so that users buy as much as
    # ever and items sell more or less often
    "sparsity": _over_shops(SPARSITY_POINTS, "MF-BPR", "VBPR", "VBPR, continued", "AMR", WEAK),
    # "×s": the features times s; "D=d": the best approximation in d dimensions (truncated singular value decomposition,
    # not centred), brought back to the same ‖c‖. "same ε" is that of the settings, "same ε/‖c‖" that times s. E starts
    # from the same numbers and reg_E is the same whatever the scale, so the two ways of scaling are not the same problem
    # in every respect.
    "features": _over_shops(FEATURE_POINTS, "VBPR", "VBPR, continued", "AMR, same ε", "AMR, same ε/‖c‖"),
    # on the shops of main, visual_share and sparsity with the same seeds; "AMR, ε → 0" where sparsity has it not
    "controls": (
        *_over_shops(("boutique", *(f"visual_share={p}" for p in SHARE_POINTS), *_USERS), BLIND),
        *(row.below(("AMR, ε → 0",), _USERS) for row in ENTRY),
    ),
    # S1. Points of rates: lr_Q / lr_E, or whose rates and penalties; then, for AMR, ε/‖c‖; then λ
    "rates": RATES,
    # S6. As the authors' script has it, 2,000 epochs of VBPR from MF-BPR and 2,000 of each second stage
    "authors": (
        Figures((AUTHORS_RUN, ("epoch", "NDCG@10", "sampled NDCG@10", "attacked NDCG@10")),
                "lists, a value every 100 epochs, at test items: shown, never used to choose; attacked as in the curves"),
        *(row.below(AUTHORS_RUN) for row in RATES_ENTRY),
    ),
    # S3. On validation splits, whose seed it is; points of the knobs: share dropped, times the penalty, times E
    "frontier": (
        *RATES,
        *(row.below(("VBPR, feature dropout",), DROPOUT_POINTS) for row in RATES_ENTRY),
        *(row.below(("VBPR, stronger L2",), PENALTY_POINTS) for row in RATES_ENTRY),
        *(row.below(("VBPR, E turned down",), VOLUME_POINTS) for row in RATES_ENTRY),
    ),
    # S2, S4. On a validation split and one of new arrivals, by epoch
    "form_grid": (
        Figures((tuple(FORM_GRID), ("validation", "arrivals"), EPOCH_POINTS, ("NDCG@10", "AUC")),
                "full ranking of what is held out of training: of what each bought, or of new items alone"),
        Figures((tuple(FORM_GRID), ("seen",)), "as in the main experiment"),
    ),
    # S2. The three best settings of each form, as form_grid has them, on a split of their own
    "form_finals": (
        Figures((FORMS, PLACES, EPOCH_POINTS, ("NDCG@10", "AUC")), "full ranking of what is held out of training"),
        Figures((FORMS, PLACES, ("setting",)), "its name in form_grid"),
    ),
    # S2. Each form with its own best settings of form_finals, and the combined one with its second-best; long second stages
    "penalty": tuple(row.below((*FORMS, SECOND), PENALTY_MODELS) for row in RATES_ENTRY),
    # S5. Other K; "D=d": directions of noise beside the features', together of the same length; ε = 20 % and λ = 1
    "sizes": tuple(row.below(("VBPR, continued", "AMR"), SIZE_POINTS, SIZE_RATES) for row in RATES_ENTRY),
    "pixels": tuple(Figures(*row) for row in PIXEL_ROWS),
    # The worlds of visual_share, sparsity and features, drawn by the seed: what validation says of a small grid in each
    "world_grid": (
        Figures((WORLDS, ("VBPR",), VBPR_TRIALS, ("NDCG@10", "epochs")),
                "validation, mean of two splits: the best, at a look every ten epochs, and where it was"),
        Figures((WORLDS, ("AMR",), AMR_TRIALS, ("NDCG@10", "attacked NDCG@10")),
                "the same after as many epochs from the best VBPR, ε over ‖c‖; attacked on validation triples at 10 %"),
    ),
    # with what world_grid chose; "AMR" by attacked NDCG@10, "AMR, chosen clean" by NDCG@10, the controls at the former's λ
    "worlds": _over_shops(WORLDS, *WORLD_MODELS),
    # S5. EfficientNet-Lite0's 1,280 features of the same photographs, at the mean norm of the shop's; ε = 20 % and λ = 1
    "efficientnet": (
        Figures((("shop",), ("lengths",)), "‖f(x)‖₂ of the first eight photographs, before they are scaled: a list"),
        *(row.below(("VBPR",)) for row in RATES_ENTRY),
        *(row.below(("VBPR, continued", "AMR"), SIZE_RATES) for row in RATES_ENTRY),
        Figures((("transfer",), LOOKERS, CARRIED, ("moved", "along")),
                "100 photographs after one step of 8 levels on the test loss, made through the network that looks, through the "
                "other one, or with random signs: mean length of the features' change, and mean part along Γ_i; over mean ‖c‖"),
    ),
}
