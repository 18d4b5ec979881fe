"""The paper's experiments over many seeds, with their controls; each seed's result is kept as it ends.

    python -m amrlib.experiments main --seeds 10        # interrupt and start again as you like
    python -m amrlib.experiments all --seeds 10         # every experiment, one after the other

Results are small JSON files in ``book/results``: ``layout``, ``dataset``, ``settings``, ``epochs`` (null: those of the
settings), ``versions`` and ``seeds``, seed → result. Chapters draw from them and compute a slice again.

**Reading them.** ``over_seeds(results, model, *path)`` is one figure for every seed, (seeds,), and
``over_points(results, model, points, *path)`` the same along a sweep, (seeds, points). ``interval`` and
``paired`` take the same paths. ``None`` in a file (nothing to measure) reads as nan.

**What a result holds.** ``M`` is a name in ``MODELS``; *visual* are those with an E. ``F6`` stands for the six
figures HR@5, HR@10, HR@20, NDCG@5, NDCG@10, NDCG@20, ``F2`` for HR@10 and NDCG@10. Everything ranks in full
but the "sampled" ones. ‖c‖ is the mean norm of the features, "10 %" is ε = 0.1‖c‖.

``main`` (every M)::

    M, "full" | "cold" | "warm", F6                    all, cold and warm held-out items
    M, "sampled" | "sampled cold" | "sampled warm", F6  the same among 999 sampled rivals, the paper's protocol
    M, "auc", "full" | "cold" | "warm"
  and of visual M
    M, LEVEL, ATTACK, F2                               LEVEL: "ε=0.05‖c‖", "ε=0.1‖c‖", "ε=0.2‖c‖", "ε=0.05",
                                                       "ε=0.1", "ε=0.2" (the last three the paper's, absolute)
        ATTACK: "random"        noise of length ε
                "test", "train" one gradient step, on test or on training triples
                "linf"          one sign step at ε/√D an entry, which has the ℓ2 length ε
                "transferred"   "test" made against "VBPR, as long"
                "certified"     every user's exact worst case
                "steps"         10 steps on test triples; at LEVEL "ε=0.1‖c‖" alone
    M, "breaking", "0.1" | "0.25" | "0.5" | "0.75" | "0.9"   quantiles, over the hits among the first 10, of the
                                                       ε/‖c‖ that breaks them (certified)
    M, "rank change", "low" | "Q1" | "median" | "Q3" | "high"   rank after − before, "test" at 10 %, all users;
                                                       low and high are whiskers, within 1.5 (Q3 − Q1) of the box
    M, "promotion", "CHR@10" | "rank", "before" | "after" | "random"    one step at 10 %, and noise as long: share of
                                                       first-10 places of the category least bought an item;
                                                       median rank, over users and 5 cold items (the same for
                                                       all models of a seed)
    M, "E"                                             the 10 largest singular values, descending
    M, "E norm"                                        ‖E‖_F
    M, "sensitivity"                                   mean ‖E p_u‖₂
    M, "seen"                                          spread over the items of p_uᵀEᵀc_i, over that of ŷ_ui; mean

Of the sweeps an entry, ``ENTRY``, is::

    "full" | "cold" | "attacked" | "certified", F2     attacked: one step on test triples; both at 10 %
    "auc cold"                                         AUC of cold held-out items
    "sensitivity", "E norm", "seen"
    "ε", "ε/‖c‖"                                       what it was trained with; 0 without an adversary

(A model without E has "attacked" and "certified" too, equal to "full".)

``curves``::

    "MF-BPR" | "VBPR" | "VBPR, as long" | "AMR, ε → 0" | "AMR" | "AMR, random noise",
        "epoch" | "NDCG@10" | "HR@10" | "attacked"     lists, so over_seeds gives (seeds, points); attacked is
                                                       NDCG@10 under one step on test triples at 10 %. Looks
                                                       every 20 epochs, at test items: shown, never used to choose.
                                                       "MF-BPR" has its last epoch alone, "VBPR" counts from 0 and
                                                       the others go on from VBPR's last, which is their first point

``epsilon``::

    "MF-BPR" | "VBPR" | "VBPR, as long", ENTRY
    "AMR", point, ENTRY                                points EPSILON_POINTS: ε/‖c‖ as text; "0" is ε = 1e-4; λ = 1

``lambda``::

    "MF-BPR" | "VBPR" | "VBPR, as long", ENTRY
    "AMR", point, ENTRY                                points LAMBDA_POINTS, at the ε of the settings
    "AMR, ε=0.05‖c‖", point, ENTRY                     points WEAK_LAMBDA_POINTS

``starts``::

    "AMR" | "AMR, afresh" | "AMR, ε=0.05‖c‖" | "AMR, ε=0.05‖c‖, afresh", ENTRY   afresh: not from VBPR, and in as many
                                                       epochs as VBPR and AMR together

``visual_share``, ``sparsity``, ``features``, ``controls``::

    M, point, ENTRY
    "shop", point, "users" | "items" | "rows" | "cold share" | "norm"   cold share: of the held-out items

  ``visual_share``: the boutique drawn again by each seed; points SHARE_POINTS; M "MF-BPR", "DUIF", "VBPR",
  "VBPR, as long", "AMR, ε → 0", "AMR", "AMR, ε=0.05‖c‖".
  ``sparsity``: the boutique drawn by each seed with 4,830 items and more or fewer users, so that users buy as much as
  ever and items sell more or less often; points SPARSITY_POINTS (users); M "MF-BPR", "VBPR", "VBPR, as long",
  "AMR", "AMR, ε=0.05‖c‖".
  ``controls``: M BLIND at the points "boutique", "visual_share=…" and "users=…", on the shops of ``main``, ``visual_share`` and
  ``sparsity`` with the same seeds; and "AMR, ε → 0" at "users=…", since ``sparsity`` has it not.
  ``features``: points FEATURE_POINTS, "×s": the features times s; "D=d": the best approximation in d dimensions
  (truncated singular value decomposition, not centred), brought back to the same ‖c‖. M "VBPR", "VBPR, as long",
  "AMR, same ε" (the ε of the settings) and "AMR, same ε/‖c‖" (that ε times s). E starts from the same numbers
  and reg_E is the same whatever the scale, so the two ways of scaling are not the same problem in every respect.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from . import figures
from .adversary import breaking_epsilon, category_hit_ratio, item_ranks, perturb, promote, worst_case_ranks
from .datasets import load_dataset
from .datasets.dataset import Dataset
from .evaluation import Report, evaluate, sample_candidates
from .evaluation.ranks import hr, ndcg
from .files import write_atomically
from .models import AMR, DUIF, MFBPR, VBPR, MFeALS, Popularity
from .progress import progress_bar
from .training import Losses, PairwiseTrainer

__all__ = [
    "BLIND", "EPSILON_POINTS", "EXPERIMENTS", "FEATURE_POINTS", "LAMBDA_POINTS", "MODELS", "PAPER_EPSILONS", "SHARES",
    "SHARE_POINTS", "SPARSITY_POINTS", "WEAK", "WEAK_LAMBDA_POINTS", "FeatureDropout", "agrees", "chain", "interval",
    "load_results", "main_experiment", "mean_norm", "over_points", "over_seeds", "paired", "run",
]  # fmt: skip

SHARES = (0.05, 0.1, 0.2)  # ε as a share of the features' mean norm
PAPER_EPSILONS = (0.05, 0.1, 0.2)  # Table 3 of the AMR paper, in the features' own units
NO_ADVERSARY = 1e-4  # an ε that only doubles the loss: the paper's own smallest, its Fig. 6
TENTH = 0.1  # of ‖c‖: where the sweeps are attacked
STRONGER = 2.0  # "VBPR, stronger L2": times as much on P and on the items' vectors; at 3 it collapses
WEAK = "AMR, ε=0.05‖c‖"  # a quarter of the strength that the boutique's settings chose
BLIND = "MF-BPR, as long"  # AMR's second stage without E: what is left of AMR if it stops looking
DROPOUT = 0.2  # "VBPR, feature dropout": share of the entries
AGAIN = 100  # added to the seed after a warm start: other triples than in the first training

MODELS = (
    "Popularity", "MF-BPR", "MF-eALS", "DUIF", "VBPR", "VBPR, as long", "AMR, ε → 0", "AMR",
    "AMR, random noise", "VBPR, stronger L2", "VBPR, feature dropout",
)  # fmt: skip
EPSILON_POINTS = ("0", "0.02", "0.05", "0.1", "0.2", "0.5", "1")
LAMBDA_POINTS = ("0.01", "0.1", "1", "10")
WEAK_LAMBDA_POINTS = ("0.1", "1", "10")
SHARE_POINTS = ("0", "0.5", "1")
SPARSITY_POINTS = ("1613", "3226", "6452")
FEATURE_POINTS = ("×0.25", "×1", "×4", "D=16")

LAYOUT = 3  # of the files: others are not gone on with


def mean_norm(shop: Dataset) -> float:
    """Mean ‖c_i‖₂, the yardstick of ε."""
    return float(np.linalg.norm(np.asarray(shop.features, dtype=np.float64), axis=1).mean())


# ---------------------------------------------------------------- training


class _OwnNoise(PairwiseTrainer):
    """Draws its noise apart, so that order and negatives are those of the models it is compared with."""

    def __init__(self, model: Any, lr: Any, reg: Any, optimizer: str, *, generator: torch.Generator) -> None:
        own = torch.Generator(model.P.device).manual_seed(generator.initial_seed())
        super().__init__(model, lr, reg, optimizer, generator=own)


class FeatureDropout(_OwnNoise):
    """A control: in every batch a share of the features' entries, drawn anew, is 0 and the others are larger by as much."""

    def __init__(self, model: Any, lr: Any, reg: Any, optimizer: str, *, generator: torch.Generator) -> None:
        super().__init__(model, lr, reg, optimizer, generator=generator)
        self.dropped = torch.empty_like(model.features)

    def step(self, users: torch.Tensor, pos: torch.Tensor, neg: torch.Tensor) -> Losses:
        whole = self.model.features
        rows = torch.unique(torch.cat([pos, neg]))
        c = whole[rows]
        kept = torch.rand(c.shape, generator=self.generator, device=c.device) >= DROPOUT
        self.dropped[rows] = c * kept / (1 - DROPOUT)
        self.model.features = self.dropped
        try:
            return super().step(users, pos, neg)
        finally:
            self.model.features = whole


Wrap = Callable[[str, type[PairwiseTrainer]], type[PairwiseTrainer]]


class _Training:
    """How the models of one seed are trained: the settings, the seed, and what a smoke run changes."""

    def __init__(
        self, shop: Dataset, settings: dict[str, dict[str, Any]], seed: int, dim: int = 64, device: str = "auto",
        epochs: int | None = None, progress: bool = False, wrap: Wrap | None = None,
    ) -> None:  # fmt: skip
        self.shop, self.settings, self.seed, self.dim = shop, settings, seed, dim
        self.device, self.epochs, self.progress, self.wrap = device, epochs, progress, wrap

    def _fit(
        self, model: Any, like: str, seed: int, name: str | None = None, trainer: type[PairwiseTrainer] = PairwiseTrainer,
        stronger: float = 1.0, epochs: int | None = None,
    ) -> Any:  # fmt: skip
        how = self.settings[like]
        reg = np.broadcast_to(np.asarray(how["reg"], dtype=float), 3) * [stronger, stronger, 1.0]
        if self.wrap is not None:
            trainer = self.wrap(name or like, trainer)
        model.fit(
            self.shop, self.epochs or epochs or how["epochs"], device=self.device, seed=seed, progress=self.progress,
            lr=how["lr"], reg=reg.tolist(), trainer=trainer,
        )  # fmt: skip
        if model.history.attrs["stopped"] == "interrupted":  # fit keeps what it has; half a model is no result
            raise KeyboardInterrupt
        return model

    def mf(self) -> MFBPR:
        return self._fit(MFBPR(self.shop, dim=self.dim, seed=self.seed), "MF-BPR", self.seed)

    def eals(self) -> MFeALS:
        how = self.settings["MF-eALS"]
        model = MFeALS(self.shop, dim=self.dim, seed=self.seed, **{k: how[k] for k in ("c0", "alpha", "reg")})
        model.fit(self.shop, self.epochs or how["epochs"], device=self.device, progress=self.progress)
        return model

    def duif(self) -> DUIF:
        return self._fit(DUIF(self.shop, dim=self.dim, seed=self.seed), "DUIF", self.seed)

    def vbpr(self, mf: MFBPR | None = None) -> VBPR:
        """From whichever start did better on validation."""
        if self.settings["VBPR"].get("start") == "afresh":
            return self._fit(VBPR(self.shop, dim=self.dim, seed=self.seed), "VBPR", self.seed)
        start = VBPR.warm_start(mf or self.mf(), self.shop, seed=self.seed)
        return self._fit(start, "VBPR", self.seed)

    def second(self, vbpr: VBPR, name: str, **adversary: Any) -> Any:
        """A second stage: from VBPR, with a fresh optimiser, as long as AMR, all on the same triples.

        ``adversary``: ``epsilon``, ``adv_weight`` other than those of the settings.
        """
        seed = self.seed + AGAIN
        strength = self._strength(name) | adversary
        if name == BLIND:  # AMR's objective at E = 0, (1 + λ) BPR + reg, divided by 1 + λ
            share = 1 / (1 + strength["adv_weight"])
            return self._fit(MFBPR.warm_start(vbpr, self.shop), "AMR", seed, name, stronger=share)
        if name.startswith("VBPR"):
            trainer = FeatureDropout if name == "VBPR, feature dropout" else PairwiseTrainer
            stronger = STRONGER if name == "VBPR, stronger L2" else 1.0
            return self._fit(VBPR.warm_start(vbpr, self.shop), "AMR", seed, name, trainer, stronger)
        if name == "AMR, random noise":
            start = AMR.warm_start(vbpr, self.shop, perturbation="random", **strength)
            return self._fit(start, "AMR", seed, name, _OwnNoise)
        return self._fit(AMR.warm_start(vbpr, self.shop, **strength), "AMR", seed, name)

    def _strength(self, name: str) -> dict[str, Any]:
        strength = {k: self.settings["AMR"][k] for k in ("epsilon", "adv_weight")}
        if name == "AMR, ε → 0":
            strength["epsilon"] = NO_ADVERSARY
        if name.startswith(WEAK):
            strength["epsilon"] = 0.05 * mean_norm(self.shop)
        return strength

    def afresh(self, name: str) -> AMR:
        """AMR from random numbers, trained as long as VBPR and AMR after it together."""
        start = AMR(self.shop, dim=self.dim, seed=self.seed, **self._strength(name))
        return self._fit(start, "AMR", self.seed, name, epochs=self.settings["VBPR"]["epochs"] + self.settings["AMR"]["epochs"])


def chain(
    shop: Dataset, settings: dict[str, dict[str, Any]], seed: int, only: Sequence[str] = MODELS, **how: Any
) -> dict[str, Any]:
    """The models of one seed, chained by warm starts as in the paper (§4.1.4), and the controls.

    Parameters
    ----------
    settings : model name → lr, reg, epochs …, as in ``book/settings.json``
    only : names in ``MODELS``, ``WEAK`` (AMR at ε = 0.05‖c‖), ``BLIND``
        Which to train; what they start from is trained as well, and left out.
    **how : ``dim`` (64), ``device``, ``progress``, and ``epochs``, which overrides every model's own number

    Returns
    -------
    name → trained model, in the order of the book. From "VBPR, as long" on they are second stages: they
    start from VBPR with a fresh optimiser and train as long as AMR, on the same triples, which are not those
    of the first stage.

    - "VBPR, as long": nothing else. "AMR, ε → 0": AMR's doubled loss and no adversary to speak of. What AMR
      gains over these two is due to the adversary.
    - "AMR, random noise": as AMR, each Δ as long but in a random direction.
    - "VBPR, stronger L2": twice as much on P and on the items' vectors.
    - "VBPR, feature dropout": a fifth of the features' entries are 0, others in every batch.
    - ``BLIND``, "MF-BPR, as long": without E, and with the loss counted as often against the regulariser as AMR's.

    Raises
    ------
    ValueError
        A name that is none of these.
    KeyboardInterrupt
        Training was interrupted; models half trained are not returned.
    """
    known = (*MODELS, WEAK, BLIND)
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(f"only: {unknown[0]!r} is not one of {', '.join(known)}")
    train = _Training(shop, settings, seed, **how)
    seconds = [name for name in known[5:] if name in only]
    mf = vbpr = None
    models: dict[str, Any] = {}
    if "Popularity" in only:
        models["Popularity"] = Popularity(shop)
    if "MF-BPR" in only:
        models["MF-BPR"] = mf = train.mf()
    if "MF-eALS" in only:
        models["MF-eALS"] = train.eals()
    if "DUIF" in only:
        models["DUIF"] = train.duif()
    if "VBPR" in only or seconds:
        vbpr = train.vbpr(mf)
        if "VBPR" in only:
            models["VBPR"] = vbpr
        models |= {name: train.second(vbpr, name) for name in seconds}
    return models


# ---------------------------------------------------------------- measuring


def measures(ranks: np.ndarray, ks: Sequence[int] = (5, 10, 20)) -> dict[str, float | None]:
    """HR and NDCG at every k; None where there are no ranks."""
    names = {f"{name}@{k}": (f, k) for name, f in (("HR", hr), ("NDCG", ndcg)) for k in ks}
    return {name: _round(f(ranks, k)) if len(ranks) else None for name, (f, k) in names.items()}


def _round(value: Any, digits: int = 5) -> float | None:
    value = float(value)
    return round(value, digits) if np.isfinite(value) else None


def _parts(report: Report) -> dict[str, Report]:
    return {"full": report, "cold": report.only(report.cold), "warm": report.only(~report.cold)}


def _auc(report: Report) -> float | None:
    return _round(report.auc()) if len(report.ranks) else None


def _ranks(model: Any, shop: Dataset, features: Any = None) -> np.ndarray:
    return evaluate(model, shop, k=1, features=features, progress=False).ranks


def _inside(model: Any) -> dict[str, Any]:
    """‖E‖_F, the mean sensitivity, and how much of the scores the pictures make."""
    norms = {"E norm": _round(model.E.double().norm()), "sensitivity": _round(model.sensitivity().double().mean())}
    some = slice(0, 500)  # enough users for a mean
    seen = model.visual_users()[some] @ (model.features.to(model.E.dtype) @ model.E).T  # (500, N)  p_uᵀEᵀc_i
    spread = (model.user_vectors()[some] @ model.item_vectors().T).std(1)  # (500,) over the items
    return norms | {"seen": _round((seen.std(1) / spread.clamp_min(1e-12)).double().mean())}


def _entry(model: Any, shop: Dataset) -> dict[str, Any]:
    """An ``ENTRY`` of the sweeps; see the top of this module."""
    ten = (10,)
    report, epsilon = evaluate(model, shop, k=1, progress=False), TENTH * (norm := mean_norm(shop))
    trained_with = model.epsilon if getattr(model, "adv_weight", 0) > 0 else 0.0
    entry: dict[str, Any] = {"full": measures(report.ranks, ten), "cold": measures(report.ranks[report.cold], ten)}
    entry |= {"auc cold": _auc(report.only(report.cold)), "attacked": entry["full"], "certified": entry["full"]}
    if model.E is not None:
        entry["attacked"] = measures(_ranks(model, shop, perturb(model, shop, epsilon)), ten)
        entry["certified"] = measures(worst_case_ranks(model, shop, epsilon, progress=False), ten)
        entry |= _inside(model)
    return entry | {"ε": _round(trained_with), "ε/‖c‖": _round(trained_with / norm)}


def _under_noise(model: Any, shop: Dataset, seed: int, transferred: torch.Tensor | None) -> dict[str, Any]:
    """LEVEL → ATTACK → figures. The direction of a single step is the same at every ε, so it is computed once."""
    norm, c = mean_norm(shop), model.features
    moves = {
        "random": perturb(model, shop, 1.0, "random", seed=seed) - c,  # (N, D), ‖·‖₂ = 1 each
        "test": perturb(model, shop, 1.0) - c,
        "train": perturb(model, shop, 1.0, triples="train", seed=seed) - c,
        "linf": (perturb(model, shop, 1.0, norm="linf") - c) / c.shape[1] ** 0.5,
    }
    if transferred is not None:
        moves["transferred"] = transferred
    levels = [(s * norm, f"ε={s:g}‖c‖") for s in SHARES] + [(e, f"ε={e:g}") for e in PAPER_EPSILONS]
    found: dict[str, Any] = {}
    for epsilon, level in levels:
        ranks = {name: _ranks(model, shop, c + epsilon * move) for name, move in moves.items()}
        ranks["certified"] = worst_case_ranks(model, shop, epsilon, progress=False)
        if level == f"ε={TENTH:g}‖c‖":
            ranks["steps"] = _ranks(model, shop, perturb(model, shop, epsilon, steps=10))
        found[level] = {name: measures(r, (10,)) for name, r in ranks.items()}
    return found


def _quartiles(change: np.ndarray) -> dict[str, float]:
    """A box and its whiskers, which end at the last value within 1.5 times the box of it."""
    q1, median, q3 = np.quantile(change, [0.25, 0.5, 0.75])
    near = change[(change >= q1 - 1.5 * (q3 - q1)) & (change <= q3 + 1.5 * (q3 - q1))]
    values = {"low": near.min(), "Q1": q1, "median": median, "Q3": q3, "high": near.max()}
    return {name: round(float(v), 2) for name, v in values.items()}


def _breaking(model: Any, shop: Dataset) -> dict[str, float | None]:
    epsilons = breaking_epsilon(model, shop, 10) / mean_norm(shop)
    hits = epsilons[epsilons > 0]
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)  # a value that is there, never one between two: some may be infinite
    return {f"{q:g}": _round(np.quantile(hits, q, method="lower")) if len(hits) else None for q in shares}


def _promotion(model: Any, shop: Dataset, seed: int) -> dict[str, Any]:
    """The category least bought an item (without categories: the least bought tenth), and five cold items."""
    labels = getattr(shop, "labels", None)
    if labels is None:
        labels = np.argsort(np.argsort(shop.item_counts, kind="stable")) * 10 // shop.n_items
    sold = np.bincount(labels, shop.item_counts) / np.maximum(np.bincount(labels), 1)
    category = np.flatnonzero(labels == np.where(np.bincount(labels) > 0, sold, np.inf).argmin())
    cold = np.flatnonzero(shop.cold)
    cold = np.random.default_rng(seed).choice(cold, min(5, len(cold)), replace=False)
    epsilon = TENTH * mean_norm(shop)
    noise = perturb(model, shop, epsilon, "random", seed=seed)
    found: dict[str, Any] = {"CHR@10": {}, "rank": {}}

    def features(when: str, items: np.ndarray) -> torch.Tensor | None:
        if when == "random":
            at = torch.as_tensor(items, device=noise.device)
            return model.features.to(noise.dtype).index_copy(0, at, noise[at])
        return promote(model, shop, items, epsilon) if when == "after" else None

    for when in ("before", "after", "random"):
        found["CHR@10"][when] = _round(category_hit_ratio(model, shop, category, 10, features(when, category)), 6)
        if len(cold):
            moved = features(when, cold)
            found["rank"][when] = float(np.median(np.concatenate([item_ranks(model, shop, i, moved) for i in cold.tolist()])))
    return found


# ---------------------------------------------------------------- the experiments


def main_experiment(
    shop: Dataset, settings: dict[str, Any], seed: int, only: Sequence[str] = MODELS, **how: Any
) -> dict[str, Any]:
    """Tables 2 and 3, figures 4 and 5 for one seed. ``only`` some models for a slice; see :func:`chain`."""
    models = chain(shop, settings, seed, only, **how)
    sampled = shop if shop.candidates is not None else shop.replace(candidates=sample_candidates(shop, seed=seed))
    transferred = None
    surrogate = models.get("VBPR, as long")
    if surrogate is not None and surrogate.features is not None:
        transferred = perturb(surrogate, shop, 1.0) - surrogate.features
    result: dict[str, Any] = {}
    for name, model in models.items():
        report = evaluate(model, shop, progress=False)
        entry: dict[str, Any] = {part: measures(r.ranks) for part, r in _parts(report).items()}
        among = _parts(evaluate(model, sampled, ranking="sampled", progress=False))
        entry |= {f"sampled {part}".removesuffix(" full"): measures(r.ranks) for part, r in among.items()}
        entry["auc"] = {part: _auc(r) for part, r in _parts(report).items()}
        if model.E is not None:
            entry |= _under_noise(model, shop, seed, transferred)
            entry["breaking"] = _breaking(model, shop)
            after = _ranks(model, shop, perturb(model, shop, TENTH * mean_norm(shop)))
            entry["rank change"] = _quartiles(after - report.ranks)
            entry["promotion"] = _promotion(model, shop, seed)
            entry["E"] = [_round(v) for v in torch.linalg.svdvals(model.E.double().cpu())[:10].tolist()]
            entry |= _inside(model)
        result[name] = entry
    return result


def curves(shop: Dataset, settings: dict[str, Any], seed: int, every: int = 20, **how: Any) -> dict[str, Any]:
    """Figure 3: the test items' figures while the models train."""
    result: dict[str, Any] = {}
    epsilon, batches = TENTH * mean_norm(shop), -(-len(shop.train) // 512)

    def look(name: str, epoch: int, model: Any) -> None:
        clean = measures(_ranks(model, shop), (10,))
        moved = clean if model.E is None else measures(_ranks(model, shop, perturb(model, shop, epsilon)), (10,))
        curve = result.setdefault(name, {"epoch": [], "NDCG@10": [], "HR@10": [], "attacked": []})
        for column, value in (("epoch", epoch), *clean.items(), ("attacked", moved["NDCG@10"])):
            curve[column].append(value)

    def watched(name: str, trainer: type[PairwiseTrainer]) -> type[PairwiseTrainer]:
        class Watched(trainer):  # type: ignore[misc, valid-type]
            taken = 0

            def step(self, *batch: Any) -> Losses:
                if self.taken == 0 and name != "MF-BPR":
                    look(name, first(name), self.model)
                losses = super().step(*batch)
                self.taken += 1
                if self.taken % (every * batches) == 0 and name != "MF-BPR":
                    look(name, first(name) + self.taken // batches, self.model)
                return losses

        return Watched

    def first(name: str) -> int:
        return 0 if name == "VBPR" else how.get("epochs") or settings["VBPR"]["epochs"]

    train = _Training(shop, settings, seed, **how, wrap=watched)
    mf = train.mf()
    look("MF-BPR", how.get("epochs") or settings["MF-BPR"]["epochs"], mf)
    vbpr = train.vbpr(mf)
    for name in ("VBPR, as long", "AMR, ε → 0", "AMR", "AMR, random noise"):
        train.second(vbpr, name)
    return result


def _with_references(shop: Dataset, train: _Training) -> tuple[VBPR, dict[str, Any]]:
    """VBPR to go on from, and the entries of the models without an adversary."""
    mf = train.mf()
    vbpr = train.vbpr(mf)
    models = {"MF-BPR": mf, "VBPR": vbpr, "VBPR, as long": train.second(vbpr, "VBPR, as long")}
    return vbpr, {name: _entry(model, shop) for name, model in models.items()}


def epsilon_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """Figure 6: AMR at λ = 1 trained with ε from next to nothing to the features' own length."""
    train, norm = _Training(shop, settings, seed, **how), mean_norm(shop)
    vbpr, result = _with_references(shop, train)
    epsilons = {point: float(point) * norm or NO_ADVERSARY for point in EPSILON_POINTS}
    result["AMR"] = {p: _entry(train.second(vbpr, "AMR", epsilon=e, adv_weight=1.0), shop) for p, e in epsilons.items()}
    return result


def lambda_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """Figure 7: AMR with the adversary's weight λ varied, at the chosen ε and at a weak one."""
    train = _Training(shop, settings, seed, **how)
    vbpr, result = _with_references(shop, train)
    rows = {"AMR": (LAMBDA_POINTS, settings["AMR"]["epsilon"]), WEAK: (WEAK_LAMBDA_POINTS, 0.05 * mean_norm(shop))}
    for name, (points, epsilon) in rows.items():
        trained = {p: train.second(vbpr, name, epsilon=epsilon, adv_weight=float(p)) for p in points}
        result[name] = {p: _entry(model, shop) for p, model in trained.items()}
    return result


def starts(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """§4.1.4: AMR from a trained VBPR, and from nothing in as many epochs."""
    train = _Training(shop, settings, seed, **how)
    vbpr = train.vbpr()
    result = {}
    for name in ("AMR", WEAK):
        result[name] = _entry(train.second(vbpr, name), shop)
        result[f"{name}, afresh"] = _entry(train.afresh(name), shop)
    return result


def _redrawn(shop: Dataset, **options: Any) -> Dataset:
    if shop.name != "boutique":
        raise ValueError(f"this experiment draws the boutique anew, and {shop.name!r} cannot be drawn; leave --dataset out")
    return load_dataset("boutique", **options)


def _describe(shop: Dataset) -> dict[str, Any]:
    held_out = shop.test[shop.test_users]
    return {"users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
            "cold share": _round(shop.cold[held_out].mean()), "norm": _round(mean_norm(shop))}  # fmt: skip


def _over_shops(
    shops: dict[str, Dataset], settings: dict[str, Any], seed: int, only: Sequence[str], **how: Any
) -> dict[str, Any]:
    result: dict[str, Any] = {name: {} for name in ("shop", *only)}
    for point, shop in shops.items():
        result["shop"][point] = _describe(shop)
        for name, model in chain(shop, settings, seed, only, **how).items():
            result[name][point] = _entry(model, shop)
    return result


def visual_share(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """When does it help? Shops whose tastes are more or less visible, drawn anew by each seed."""
    shops = {point: _redrawn(shop, visual_share=float(point), seed=seed) for point in SHARE_POINTS}
    only = ("MF-BPR", "DUIF", "VBPR", "VBPR, as long", "AMR, ε → 0", "AMR", WEAK)
    return _over_shops(shops, settings, seed, only, **how)


def sparsity(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """When does it help? The same number of items with more or fewer people to buy them."""
    shops = {point: _redrawn(shop, seed=seed, size=(int(point), 4830)) for point in SPARSITY_POINTS}
    return _over_shops(shops, settings, seed, ("MF-BPR", "VBPR", "VBPR, as long", "AMR", WEAK), **how)


def controls(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """In every shop of the map: what AMR's second stage does without looking, and without an adversary."""
    shared = {"boutique": shop}
    shared |= {f"visual_share={p}": _redrawn(shop, visual_share=float(p), seed=seed) for p in SHARE_POINTS}
    sizes = {f"users={p}": _redrawn(shop, seed=seed, size=(int(p), 4830)) for p in SPARSITY_POINTS}
    first = _over_shops(shared, settings, seed, (BLIND,), **how)
    second = _over_shops(sizes, settings, seed, (BLIND, "AMR, ε → 0"), **how)
    return {name: first.get(name, {}) | second[name] for name in second}


def features_sweep(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """Features longer or shorter at the same ε and at the same ε/‖c‖, and in fewer dimensions."""
    result: dict[str, Any] = {n: {} for n in ("shop", "VBPR", "VBPR, as long", "AMR, same ε", "AMR, same ε/‖c‖")}
    c = np.asarray(shop.features, dtype=np.float64)
    left, singular, _ = np.linalg.svd(c, full_matrices=False)
    epsilon = settings["AMR"]["epsilon"]
    for point in FEATURE_POINTS:
        scale, features = 1.0, c
        if point.startswith("D="):
            d = int(point[2:])
            features = left[:, :d] * singular[:d]
            features = features * (mean_norm(shop) / np.linalg.norm(features, axis=1).mean())
        else:
            scale = float(point[1:])
        changed = shop.replace(features=(scale * features).astype(np.float32))
        train = _Training(changed, settings, seed, **how)
        vbpr = train.vbpr()
        absolute = train.second(vbpr, "AMR")
        models = {"VBPR": vbpr, "VBPR, as long": train.second(vbpr, "VBPR, as long"), "AMR, same ε": absolute}
        models["AMR, same ε/‖c‖"] = absolute if scale == 1 else train.second(vbpr, "AMR", epsilon=scale * epsilon)
        result["shop"][point] = _describe(changed)
        for name, model in models.items():
            result[name][point] = _entry(model, changed)
    return result


EXPERIMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "main": main_experiment, "curves": curves, "epsilon": epsilon_sweep, "lambda": lambda_sweep,
    "starts": starts, "visual_share": visual_share, "sparsity": sparsity, "features": features_sweep,
    "controls": controls,
}  # fmt: skip


# ---------------------------------------------------------------- reading the results


def results_folder() -> Path:
    """``book/results`` of the checkout."""
    return Path(__file__).resolve().parents[1] / "book" / "results"


def load_results(name: str) -> dict[str, Any]:
    """A stored experiment: ``settings``, ``versions`` and ``seeds`` (seed → result).

    Raises
    ------
    FileNotFoundError
        It was not run; the message says how to.
    """
    path = results_folder() / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: python -m amrlib.experiments {name}")
    return json.loads(path.read_text(encoding="utf-8"))


def _at(result: dict[str, Any], model: str | tuple[str, ...], *path: str) -> Any:
    for step in (*((model,) if isinstance(model, str) else model), *path):
        result = result[step]
    return result


def over_seeds(results: dict[str, Any], model: str | tuple[str, ...], *path: str) -> np.ndarray:
    """One figure of a stored experiment for every seed, (seeds,): ``over_seeds(r, "AMR", "full", "NDCG@10")``.

    A model may be given with its point, ``("AMR", "0.1")``. A list, as in ``curves``, gives (seeds, points).
    """
    found = [_at(results["seeds"][seed], model, *path) for seed in sorted(results["seeds"], key=int)]
    return np.array(found, dtype=float)


def over_points(results: dict[str, Any], model: str, points: Sequence[str], *path: str) -> np.ndarray:
    """One figure along a sweep for every seed, (seeds, points), as ``figures.sweep`` draws it."""
    return np.stack([over_seeds(results, model, point, *path) for point in points], axis=1)


def interval(results: dict[str, Any], model: str | tuple[str, ...], *path: str) -> tuple[float, float]:
    """Mean over seeds and the half width of its 95 % interval (Student's t)."""
    mean, half = figures.interval(over_seeds(results, model, *path))
    return float(mean), float(half)


def paired(
    results: dict[str, Any], a: str | tuple[str, ...], b: str | tuple[str, ...], *path: str
) -> tuple[float, float, float]:
    """The difference a − b, seed by seed: mean, half width of its 95 % interval, p of the paired t-test (two-sided).

    The same seed drew both models' shop and triples, so the difference is taken before the mean. A model may be
    given with its point: ``paired(r, ("AMR", "0.1"), "VBPR, as long", "full", "NDCG@10")``.
    """
    d = over_seeds(results, a, *path) - over_seeds(results, b, *path)
    mean, half = figures.interval(d)
    p = float(stats.ttest_1samp(d, 0.0).pvalue) if np.ptp(d) > 0 else float(not d.any())
    return float(mean), float(half), p


def agrees(results: dict[str, Any], again: dict[str, Any], model: str | tuple[str, ...], *path: str) -> bool:
    """Whether a figure that was computed again, for one seed, is what the stored seeds let one expect of another.

    ``again`` is what an experiment returned. The figure has to lie in the 95 % prediction interval of the stored
    ones, mean ± t s √(1 + 1/n), which is that of the mean with the scatter of a single seed added.
    """
    values = over_seeds(results, model, *path)
    mean, half = figures.interval(values)
    return bool(abs(float(_at(again, model, *path)) - mean) <= half * np.sqrt(len(values) + 1) + 1e-5)  # as rounded


# ---------------------------------------------------------------- running them


def run(
    name: str, seeds: int, dataset: str = "boutique", device: str = "cpu", epochs: int | None = None,
    folder: Path | None = None,
) -> Path:  # fmt: skip
    """Run what is missing of an experiment, storing after every seed.

    Stored seeds count if they have the same layout, data set, settings and ``epochs``; otherwise all are run.
    ``folder`` is ``book/results`` when left out.
    """
    from .book import settings as chosen

    shop = load_dataset(dataset)
    record: dict[str, Any] = {
        "experiment": name,
        "layout": LAYOUT,
        "dataset": {"name": dataset, "users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
                    "mean_norm": round(mean_norm(shop), 5)},
        "settings": chosen(dataset),
        "epochs": epochs,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "seeds": {},
    }  # fmt: skip
    path = (folder or results_folder()) / f"{name}.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if all(old.get(k) == record[k] for k in ("layout", "dataset", "settings", "epochs")):
            record["seeds"] = old["seeds"]
    missing = [s for s in range(seeds) if str(s) not in record["seeds"]]
    for seed in progress_bar(missing, f"{name}, seeds"):
        record["seeds"][str(seed)] = EXPERIMENTS[name](shop, record["settings"], seed, device=device, epochs=epochs)
        write_atomically(path, _text(record).encode())
    return path


def _text(record: dict[str, Any]) -> str:
    """JSON, the head for people and one line a seed."""
    head = json.dumps({**record, "seeds": 0}, ensure_ascii=False, indent=1, allow_nan=False).removesuffix("0\n}")
    dense: dict[str, Any] = dict(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    lines = [f"{json.dumps(seed)}: {json.dumps(result, **dense)}" for seed, result in record["seeds"].items()]
    return head + "{\n" + ",\n".join(lines) + "\n}\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amrlib.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "all"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dataset", default="boutique")
    parser.add_argument("--epochs", type=int, help="overrides every model's own number: a smoke run")
    parser.add_argument("--folder", type=Path, help="where the results go, by default book/results")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same figures on every run
    for name in EXPERIMENTS if options.experiment == "all" else [options.experiment]:
        print(run(name, options.seeds, options.dataset, epochs=options.epochs, folder=options.folder).name, flush=True)


if __name__ == "__main__":
    main()
