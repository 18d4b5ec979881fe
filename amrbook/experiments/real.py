"""S7: real choices. Data that may be tested on and not passed on; what is stored are numbers, settings, counts, checksums.

    python -m amrbook real punks --folder-of-data ../shared/data      # five seeds, a few minutes

"punks": purchases of pixel portraits, sparse, where history is at chance and pictures help ("Inequality in NFT: A Visual
Exploration", ChinaVis 2022). "movies": MovieLens-1M, ratings of 4 and more as likes, 1,500 users, features from posters. Each
seed draws who is held out; a fifth of the items is taken out of training, so that there are new ones to be found."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amrlib.adversary import perturb, worst_case_ranks
from amrlib.atomic_files import write_atomically
from amrlib.datasets import leave_one_out
from amrlib.datasets.dataset import Dataset
from amrlib.evaluation import evaluate
from amrlib.evaluation.ranks import gains
from amrlib.models import AMR, DUIF, MFBPR, VBPR, Popularity
from amrlib.progress import progress_bar

from ..identification import blind_twin_of
from .chain import Look
from .measure import margin_share, mean_norm, picture_use, rounded
from .names import AUTHORS_PENALTIES, AUTHORS_RATES, NO_ADVERSARY, TENTH, TWIN
from .results import LAYOUT, results_folder
from .run import _text

__all__ = ["REAL_SETS", "real_experiment", "real_shop"]

DIM, SECOND = 32, 60  # K; epochs of a second stage
EPSILONS = ("0", "0.1", "0.2")  # ε/‖c‖; "0" is ε = 1e-4
EVERY = 10
GRID = [{"lr": lr, "reg": [reg, reg, 0.0]} for lr, reg in itertools.product((0.02, 0.05, 0.1), (0.003, 0.01, 0.03, 0.1))]
REAL_SETS = {
    "punks": (("cryptopunks/purchases.npz", "cryptopunks/features_pca64_f16.npy"),
              "Inequality in NFT: A Visual Exploration, ChinaVis 2022, arXiv 2206.12922; purchases of 2017 to 2022"),
    "movies": (("ml1m/ratings.npz", "ml1m/poster_features_f16.npy"),
               "Harper & Konstan, The MovieLens Datasets, ACM TiiS 2015; MovieLens-1M, likes of 4 and more, 1,500 users"),
}  # fmt: skip


def real_shop(name: str, folder: Path, seed: int) -> Dataset:
    """The set with what this seed holds out: one item a user, and a fifth of the items, which nobody is trained on."""
    rng = np.random.default_rng(seed)
    if name == "punks":
        with np.load(folder / "cryptopunks" / "purchases.npz", allow_pickle=False) as file:
            pairs = file["pairs"].astype(np.int64)
        features = np.load(folder / "cryptopunks" / "features_pca64_f16.npy", allow_pickle=False).astype(np.float32)
    else:
        with np.load(folder / "ml1m" / "ratings.npz", allow_pickle=False) as file:
            likes = file["ratings"][:, file["poster_movie_ids"]] >= 4
        users = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(likes.sum(1) >= 2))[:1500])
        pairs = np.argwhere(likes[users])
        posters = np.load(folder / "ml1m" / "poster_features_f16.npy", allow_pickle=False)
        features = _principal(posters.astype(np.float64))
    train, test = leave_one_out(pairs, seed=seed, n_users=int(pairs[:, 0].max()) + 1)
    new = rng.random(len(features)) < 0.2
    return Dataset(train[~new[train[:, 1]]], test, features, n_users=len(test), name=name)


def _principal(c: np.ndarray, d: int = 64) -> np.ndarray:
    """The d principal directions, mean squared length 1."""
    left, singular, _ = np.linalg.svd(c - c.mean(0), full_matrices=False)
    reduced = left[:, :d] * singular[:d]
    return (reduced / np.sqrt((reduced**2).sum(1).mean())).astype(np.float32)


def _auc(model: Any, shop: Dataset, features: Any = None) -> dict[str, float | None]:
    """Of the items a user did not have, the share that the held-out one is ahead of, ties at one half; the mean over users.

    Ties count: a model without pictures has one score for all new items."""
    users = shop.test_users
    U = model.user_vectors()[users].double()
    V = (model.item_vectors() if features is None else model.item_vectors(features)).double()
    scores = U @ V.T  # (n, N)
    held = scores.gather(1, torch.as_tensor(shop.test[users])[:, None])  # (n, 1)
    rows, own = shop.seen_by(users)
    below, ties = (scores < held).double(), (scores == held).double()
    for one in (below, ties):
        one[torch.as_tensor(rows), torch.as_tensor(own)] = 0
    rivals = shop.n_items - torch.as_tensor(np.diff(shop.indptr)[users]) - 1
    auc = ((below.sum(1) + (ties.sum(1) - 1) / 2) / rivals).numpy()
    return _by_part(auc, shop.cold[shop.test[users]])


def _by_part(auc: np.ndarray, cold: np.ndarray) -> dict[str, float | None]:
    parts = {"all": auc, "warm": auc[~cold], "cold": auc[cold]}
    return {part: rounded(v.mean()) if len(v) else None for part, v in parts.items()}


def _entry(model: Any, shop: Dataset) -> dict[str, Any]:
    report, epsilon = evaluate(model, shop, k=10, progress=False), TENTH * mean_norm(shop)
    entry: dict[str, Any] = {"AUC": _auc(model, shop), "NDCG@10": rounded(report.ndcg(10))}
    if getattr(model, "E", None) is not None:
        entry["attacked AUC"] = _auc(model, shop, perturb(model, shop, epsilon))
        rivals = shop.n_items - np.diff(shop.indptr)[report.users] - 1
        certain = gains("auc", worst_case_ranks(model, shop, epsilon, progress=False), 0, rivals)
        entry["certified AUC"] = _by_part(certain, shop.cold[shop.test[report.users]])
        entry |= {"seen": picture_use(model)["seen"], "margin": margin_share(model, shop, epsilon)}
    return entry


def _fit(model: Any, shop: Dataset, how: dict[str, Any], seed: int, epochs: int | None = None) -> Any:
    model.fit(shop, epochs or how["epochs"], lr=how["lr"], reg=how["reg"], seed=seed, trainer="compiled", device="cpu",
              progress=False)  # fmt: skip
    if model.history.attrs["stopped"] == "interrupted":
        raise KeyboardInterrupt
    return model


def _choose(shop: Dataset) -> dict[str, Any]:
    """Settings by AUC on two validation splits of seed 0's training rows, epochs among 10, 20 … 80."""
    chosen = {}
    for kind in (MFBPR, DUIF, VBPR):
        scores = np.zeros((len(GRID), 8))
        for n, how in enumerate(progress_bar(GRID, f"{shop.name}, {kind.__name__}, settings")):
            for split in (0, 1):
                data = shop.validation_split(split)
                looks: list[float] = []

                def look(_: int, model: Any, data: Dataset = data, looks: list[float] = looks) -> None:
                    looks.append(evaluate(model, data, k=10, progress=False).auc())

                model = kind(dim=DIM, seed=split)
                model.fit(data, 8 * EVERY, seed=split, trainer="compiled", device="cpu", progress=False, **how,
                          callbacks=[Look(range(EVERY, 8 * EVERY + 1, EVERY), look)])  # fmt: skip
                scores[n] += np.array(looks) / 2
        at, best = np.unravel_index(scores.argmax(), scores.shape)
        chosen[kind.__name__] = GRID[int(at)] | {"epochs": EVERY * (int(best) + 1), "validation AUC": rounded(scores.max())}
    return chosen


def _one_seed(shop: Dataset, chosen: dict[str, Any], seed: int) -> dict[str, Any]:
    models: dict[str, Any] = {"Popularity": Popularity().fit(shop)}
    models["MF-BPR"] = _fit(MFBPR(dim=DIM, seed=seed), shop, chosen["MFBPR"], seed)
    models["DUIF"] = _fit(DUIF(dim=DIM, seed=seed), shop, chosen["DUIF"], seed)
    vbpr = _fit(VBPR(dim=DIM, seed=seed), shop, chosen["VBPR"], seed)
    shuffled = shop.replace(features=np.asarray(shop.features)[np.random.default_rng(seed).permutation(shop.n_items)])
    models |= {"VBPR": vbpr, "VBPR, shuffled": _fit(VBPR(dim=DIM, seed=seed), shuffled, chosen["VBPR"], seed)}
    result = {name: _entry(model, shuffled if name == "VBPR, shuffled" else shop) for name, model in models.items()}
    one_rate = {"lr": chosen["VBPR"]["lr"], "reg": chosen["VBPR"]["reg"]}
    for point, how in (("one rate", one_rate), ("authors", {"lr": AUTHORS_RATES, "reg": AUTHORS_PENALTIES})):
        second: dict[str, Any] = {"VBPR, continued": VBPR.warm_start(vbpr, shop),
                                  TWIN: MFBPR.warm_start(blind_twin_of(vbpr), shop)}  # fmt: skip
        for share in EPSILONS:
            epsilon = float(share) * mean_norm(shop) or NO_ADVERSARY
            second[f"AMR {share}"] = AMR.warm_start(vbpr, shop, epsilon=epsilon, adv_weight=1.0)
        result[point] = {name: _entry(_fit(model, shop, how, seed + 100, SECOND), shop) for name, model in second.items()}
    return result


def real_experiment(name: str, data: Path, seeds: int = 5, folder: Path | None = None) -> Path:
    """Run what is missing, storing after each seed; the data is read from ``data`` and nothing of it is stored."""
    files, citation = REAL_SETS[name]
    missing = [file for file in files if not (data / file).exists()]
    if missing:
        raise FileNotFoundError(f"{data / missing[0]} is not there; data/README.md says how to get it")
    path = (folder or results_folder()) / f"real_{name}.json"
    old: dict[str, Any] = {}
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
    shop = real_shop(name, data, 0)
    sums = {Path(file).name: hashlib.sha256((data / file).read_bytes()).hexdigest() for file in files}
    record: dict[str, Any] = {
        "experiment": f"real_{name}", "layout": LAYOUT,
        "dataset": {"name": name, "users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
                    "held out": len(shop.test_users), "citation": citation, "sha256": sums},
        "dim": DIM, "second stage, epochs": SECOND, "chosen": None,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}, "seeds": {},
    }  # fmt: skip
    same = all(old.get(k) == record[k] for k in ("layout", "dataset", "dim", "second stage, epochs"))
    record["chosen"] = old["chosen"] if same else _choose(shop)
    record["seeds"] = old["seeds"] if same else {}
    for seed in progress_bar([s for s in range(seeds) if str(s) not in record["seeds"]], f"{name}, seeds"):
        record["seeds"][str(seed)] = _one_seed(real_shop(name, data, seed), record["chosen"], seed)
        write_atomically(path, _text(record).encode())
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=list(REAL_SETS))
    parser.add_argument("--data", type=Path, required=True, help="the folder in which the sets' folders are")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the results go, by default book/results")


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    print(real_experiment(options.name, options.data, options.seeds, options.folder).name)
