"""The models of one seed, chained by warm starts as in the paper, and the controls beside AMR."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amrlib.datasets.dataset import Dataset
from amrlib.models import AMR, DUIF, MFBPR, VBPR, MFeALS, Popularity, Recommender
from amrlib.training import Callback, Losses, PairwiseTrainer

from ..identification import blind_twin_of
from ..settings import trainer_for
from .measure import mean_norm
from .names import AGAIN, BLIND, DROPOUT, MODELS, NO_ADVERSARY, STRONGER, TWIN, WEAK

__all__ = ["ChainTraining", "FeatureDropout", "Look", "Watch", "train_chain"]


class SeparateNoise(PairwiseTrainer):
    """Draws its noise from a generator of its own, so that order and negatives are those of the models it is compared with."""

    def __init__(
        self, model: Any, lr: Any, reg: Any, optimizer: str, *, generator: torch.Generator, **words: Any
    ) -> None:  # fmt: skip
        separate = torch.Generator(model.P.device).manual_seed(generator.initial_seed())
        super().__init__(model, lr, reg, optimizer, generator=separate, **words)


class FeatureDropout(SeparateNoise):
    """A control: in every batch a share of the features' entries, drawn anew, is 0 and the others are larger by as much."""

    share = DROPOUT

    def __init__(self, model: Any, *settings: Any, **words: Any) -> None:
        super().__init__(model, *settings, **words)
        self.dropped = torch.empty_like(model.features)

    def step(self, users: torch.Tensor, pos: torch.Tensor, neg: torch.Tensor) -> Losses:
        whole = self.model.features
        assert whole is not None
        rows = torch.unique(torch.cat([pos, neg]))
        c = whole[rows]
        stays = torch.rand(c.shape, generator=self.generator, device=c.device) >= self.share
        self.dropped[rows] = c * stays / (1 - self.share)
        self.model.features = self.dropped
        try:
            return super().step(users, pos, neg)
        finally:
            self.model.features = whole


Watch = Callable[[str, Any], Sequence[Callback]]


class Look:
    """A callback: ``do(epoch, model)`` after each of ``epochs``, a collection that knows what is in it; the first is 1."""

    def __init__(self, epochs: Container[int], do: Callable[[int, Any], None]) -> None:
        self.epochs, self.do = epochs, do

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> None:
        if row["epoch"] in self.epochs:
            self.do(row["epoch"], model)


class ChainTraining:
    """Trains the models of one seed: the settings, the seed, and what a smoke run changes.

    ``watch(name, model)`` gives the callbacks of a training, before it starts. With ``folder`` every training has a file of
    its own there, written every ``every`` epochs, from which it goes on.
    """

    def __init__(
        self, shop: Dataset, settings: dict[str, dict[str, Any]], seed: int, dim: int = 64, device: str = "auto",
        epochs: int | None = None, progress: bool = False, watch: Watch | None = None, folder: Path | None = None,
        every: int = 10,
    ) -> None:  # fmt: skip
        self.shop, self.settings, self.seed, self.dim = shop, settings, seed, dim
        self.device, self.epochs, self.progress, self.watch = device, epochs, progress, watch
        self.folder, self.every, self.trainer = folder, every, trainer_for(device)

    def fit(
        self, model: Any, like: str, seed: int, name: str | None = None, trainer: type[PairwiseTrainer] | None = None,
        stronger: float = 1.0, epochs: int | None = None, how: dict[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """``model`` trained with the settings of ``like``, but for what ``how`` says; ``name`` is told to ``watch``."""
        values = self.settings[like] | (how or {})
        if model.P is None:  # afresh: ``watch`` looks at the model before its first epoch
            model.bind(self.shop)
        reg = np.broadcast_to(np.asarray(values["reg"], dtype=float), 3) * [stronger, stronger, 1.0]
        model.fit(
            self.shop, self.epochs or epochs or values["epochs"], device=self.device, seed=seed, progress=self.progress,
            lr=values["lr"], reg=reg.tolist(), trainer=trainer or self.trainer, reg_form=values.get("reg_form", "combined"),
            callbacks=self.watch(name or like, model) if self.watch else (), every=self.every,
            checkpoint=None if self.folder is None else self.folder / f"{name or like}, seed {self.seed}.safetensors",
        )  # fmt: skip
        if model.history.attrs["stopped"] == "interrupted":  # fit leaves the model as it was then; half a model is no result
            raise KeyboardInterrupt
        return model

    def mf(self) -> MFBPR:
        return self.fit(MFBPR(dim=self.dim, seed=self.seed), "MF-BPR", self.seed)

    def eals(self) -> MFeALS:
        values = self.settings["MF-eALS"]
        model = MFeALS(dim=self.dim, seed=self.seed, **{k: values[k] for k in ("c0", "alpha", "reg")})
        model.fit(self.shop, self.epochs or values["epochs"], device=self.device, progress=self.progress)
        return model

    def duif(self) -> DUIF:
        return self.fit(DUIF(dim=self.dim, seed=self.seed), "DUIF", self.seed)

    def vbpr(self, mf: MFBPR | None = None) -> VBPR:
        """From whichever start did better on validation."""
        if self.settings["VBPR"].get("start") == "afresh":
            return self.fit(VBPR(dim=self.dim, seed=self.seed), "VBPR", self.seed)
        start = VBPR.warm_start(mf or self.mf(), self.shop, seed=self.seed)
        return self.fit(start, "VBPR", self.seed)

    def second(self, vbpr: VBPR, name: str, how: dict[str, Any] | None = None, **adversary: Any) -> Any:
        """A second stage: from VBPR, with a fresh optimiser, as long as AMR, all on the same triples.

        ``how``: ``lr``, ``reg``, ``epochs``, ``reg_form`` other than those of the settings; ``adversary``: ``epsilon``,
        ``adv_weight``.
        """
        seed = self.seed + AGAIN
        strength = self._strength(name) | adversary
        if name in (BLIND, TWIN):  # AMR's objective at E = 0, (1 + λ) BPR + reg, divided by 1 + λ
            share = 1 / (1 + strength["adv_weight"])
            blind = MFBPR.warm_start(vbpr if name == BLIND else blind_twin_of(vbpr), self.shop)
            return self.fit(blind, "AMR", seed, name, stronger=share, how=how)
        if name.startswith("VBPR"):
            trainer = None
            if name == "VBPR, feature dropout":
                trainer = type("FeatureDropout", (FeatureDropout,), {"share": (how or {}).get("dropout", DROPOUT)})
            stronger = STRONGER if name == "VBPR, stronger L2" else 1.0
            return self.fit(VBPR.warm_start(vbpr, self.shop), "AMR", seed, name, trainer, stronger, how=how)
        if name == "AMR, random noise":
            start = AMR.warm_start(vbpr, self.shop, perturbation="random", **strength)
            return self.fit(start, "AMR", seed, name, SeparateNoise, how=how)
        return self.fit(AMR.warm_start(vbpr, self.shop, **strength), "AMR", seed, name, how=how)

    def _strength(self, name: str) -> dict[str, Any]:
        strength = {k: self.settings["AMR"][k] for k in ("epsilon", "adv_weight")}
        if name == "AMR, ε → 0":
            strength["epsilon"] = NO_ADVERSARY
        if name.startswith(WEAK):
            strength["epsilon"] = 0.05 * mean_norm(self.shop)
        return strength

    def afresh(self, name: str) -> AMR:
        """AMR from random numbers, trained as long as VBPR and AMR after it together."""
        start = AMR(dim=self.dim, seed=self.seed, **self._strength(name))
        return self.fit(start, "AMR", self.seed, name, epochs=self.settings["VBPR"]["epochs"] + self.settings["AMR"]["epochs"])


def train_chain(
    shop: Dataset, settings: dict[str, dict[str, Any]], seed: int, only: Sequence[str] = MODELS, **options: Any
) -> dict[str, Recommender]:
    """The models of one seed, chained by warm starts as in the paper (§4.1.4), and the controls.

    Parameters
    ----------
    settings : model name → lr, reg, epochs …, as in ``book/settings.json``
    only : names in ``MODELS``, ``WEAK`` (AMR at ε = 0.05‖c‖), ``BLIND``
        Which to train; what they start from is trained as well, and left out.
    **options : ``dim`` (64), ``device``, ``progress``, and ``epochs``, which overrides every model's own number

    Returns
    -------
    dict
        name → trained model, in the order of the book. From "VBPR, continued" on they are second stages: they
        start from VBPR with a fresh optimiser and train as long as AMR, on the same triples, which are not those
        of the first stage.

        - "VBPR, continued": nothing else. "AMR, ε → 0": AMR's doubled loss and no adversary to speak of. What AMR
          gains over these two is due to the adversary.
        - "AMR, random noise": as AMR, each Δ as long but in a random direction.
        - "VBPR, stronger L2": twice as much on P and on the items' vectors.
        - "VBPR, feature dropout": a fifth of the features' entries are 0, others in every batch.
        - ``BLIND``, "MF-BPR, continued": without E, and with the loss counted as often against the regulariser as AMR's.

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
    train = ChainTraining(shop, settings, seed, **options)
    seconds = [name for name in known[5:] if name in only]
    mf = vbpr = None
    models: dict[str, Recommender] = {}
    if "Popularity" in only:
        models["Popularity"] = Popularity().fit(shop)
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
