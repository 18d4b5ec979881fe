"""The paper's experiments over many seeds, with their controls; each seed's result is kept as it ends.

    python -m amrlib.experiments main --seeds 10        # interrupt and start again as you like

Results are small JSON files in ``book/results``: settings, versions, and one entry a seed. Chapters draw
from them and compute a slice again.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .adversary import perturb, worst_case_ranks
from .datasets import load_dataset
from .datasets.dataset import Dataset
from .evaluation import evaluate, sample_candidates
from .files import write_atomically
from .models import AMR, DUIF, MFBPR, VBPR, MFeALS, Popularity, Recommender
from .progress import progress_bar
from .ranking import hr, ndcg

__all__ = ["EXPERIMENTS", "SHARES", "chain", "load_results", "main_experiment", "mean_norm", "over_seeds", "run"]

SHARES = (0.05, 0.1, 0.2)  # ε as a share of the features' mean norm
PAPER_EPSILONS = (0.05, 0.1, 0.2)  # Table 3 of the AMR paper, in the features' own units
NO_ADVERSARY = 1e-4  # an ε that only doubles the loss: the paper's own smallest, its Fig. 6


def mean_norm(shop: Dataset) -> float:
    """Mean ‖c_i‖₂, the yardstick of ε."""
    return float(np.linalg.norm(np.asarray(shop.features, dtype=np.float64), axis=1).mean())


def chain(
    shop: Dataset, settings: dict[str, dict[str, Any]], seed: int, dim: int = 64, device: str = "auto",
    epochs: int | None = None, progress: bool = False,
) -> dict[str, Recommender]:  # fmt: skip
    """All models of one seed, chained by warm starts as in the paper (§4.1.4), and two controls.

    Parameters
    ----------
    settings : model name → lr, reg, epochs …, as in ``book/settings.json``
    epochs : int, optional
        Overrides every model's own number (a smoke run).

    Returns
    -------
    name → trained model, in the order of the book. "VBPR, as long" starts from VBPR with a fresh
    optimiser and trains as long as AMR did; "AMR, ε → 0" has AMR's doubled loss and no adversary to
    speak of. What AMR gains over these two is due to the adversary.
    """

    def fit(model: Any, name: str) -> Any:
        how = {k: settings[name][k] for k in ("lr", "reg")}
        model.fit(shop, epochs or settings[name]["epochs"], device=device, seed=seed, progress=progress, **how)
        return model

    models: dict[str, Recommender] = {"Popularity": Popularity(shop)}
    mf = models["MF-BPR"] = fit(MFBPR(shop, dim=dim, seed=seed), "MF-BPR")
    eals = {k: settings["MF-eALS"][k] for k in ("c0", "alpha", "reg")}
    models["MF-eALS"] = whole = MFeALS(shop, dim=dim, seed=seed, **eals)
    whole.fit(shop, epochs or settings["MF-eALS"]["epochs"], device=device, progress=progress)
    models["DUIF"] = fit(DUIF(shop, dim=dim, seed=seed), "DUIF")
    afresh = settings["VBPR"].get("start") == "afresh"  # whichever start did better on validation
    start = VBPR(shop, dim=dim, seed=seed) if afresh else VBPR.warm_start(mf, shop, seed=seed)
    vbpr = models["VBPR"] = fit(start, "VBPR")
    adversary = {k: settings["AMR"][k] for k in ("epsilon", "adv_weight")}
    models["VBPR, as long"] = fit(VBPR.warm_start(vbpr, shop), "AMR")
    models["AMR, ε → 0"] = fit(AMR.warm_start(vbpr, shop, **{**adversary, "epsilon": NO_ADVERSARY}), "AMR")
    models["AMR"] = fit(AMR.warm_start(vbpr, shop, **adversary), "AMR")
    return models


def measures(ranks: np.ndarray) -> dict[str, float]:
    """HR and NDCG at 5, 10 and 20."""
    return {f"{name}@{k}": round(f(ranks, k), 6) for name, f in (("HR", hr), ("NDCG", ndcg)) for k in (5, 10, 20)}


def main_experiment(shop: Dataset, settings: dict[str, Any], seed: int, **how: Any) -> dict[str, Any]:
    """Tables 2 and 3 for one seed: every model clean, by warm and cold items, sampled, and under noise.

    Noise is random or the gradient's (both ways of choosing the attacked loss), and the certified worst
    case, at ε = 5, 10 and 20 % of the mean feature norm and at the paper's absolute ε.
    """
    models = chain(shop, settings, seed, **how)
    norm = mean_norm(shop)
    sampled = shop if shop.candidates is not None else shop.replace(candidates=sample_candidates(shop, seed=seed))
    result: dict[str, Any] = {}
    for name, model in models.items():
        report = evaluate(model, shop, progress=False)
        entry: dict[str, Any] = {"full": measures(report.ranks)}
        entry["cold"], entry["warm"] = (measures(report.ranks[w]) for w in (report.cold, ~report.cold))
        entry["sampled"] = measures(evaluate(model, sampled, ranking="sampled", progress=False).ranks)
        if model.E is not None:
            shares = [(share * norm, f"{share:g}‖c‖") for share in SHARES]
            for epsilon, label in [*shares, *((e, f"{e:g}") for e in PAPER_EPSILONS)]:
                noisy = {}
                for kind, triples in (("random", "test"), ("adversarial", "test"), ("adversarial", "train")):
                    changed = perturb(model, shop, epsilon, kind, triples, seed=seed)
                    ranks = evaluate(model, shop, features=changed, progress=False).ranks
                    noisy[kind if kind == "random" else triples] = measures(ranks)
                noisy["certified"] = measures(worst_case_ranks(model, shop, epsilon, progress=False))
                entry[f"ε={label}"] = noisy
            E = model.E.double().cpu()
            entry["E"] = [round(v, 4) for v in torch.linalg.svdvals(E).tolist()]
            entry["sensitivity"] = round(float(model.sensitivity().double().mean()), 5)  # type: ignore[attr-defined]
        result[name] = entry
    return result


EXPERIMENTS: dict[str, Callable[..., dict[str, Any]]] = {"main": main_experiment}


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


def over_seeds(results: dict[str, Any], model: str, *path: str) -> np.ndarray:
    """One figure of a stored experiment for every seed, (seeds,): ``over_seeds(r, "AMR", "full", "NDCG@10")``."""
    found = []
    for seed in sorted(results["seeds"], key=int):
        value = results["seeds"][seed][model]
        for step in path:
            value = value[step]
        found.append(value)
    return np.array(found, dtype=float)


def run(name: str, seeds: int, dataset: str = "boutique", device: str = "cpu") -> Path:
    """Run what is missing of an experiment, storing after every seed."""
    from .book import settings as chosen

    shop = load_dataset(dataset)
    record: dict[str, Any] = {
        "experiment": name,
        "dataset": {"name": dataset, "users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
                    "mean_norm": round(mean_norm(shop), 5)},
        "settings": chosen(dataset),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "seeds": {},
    }  # fmt: skip
    path = results_folder() / f"{name}.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if all(old[k] == record[k] for k in ("dataset", "settings")):
            record["seeds"] = old["seeds"]
    missing = [s for s in range(seeds) if str(s) not in record["seeds"]]
    for seed in progress_bar(missing, f"{name}, seeds"):
        record["seeds"][str(seed)] = EXPERIMENTS[name](shop, record["settings"], seed, device=device)
        write_atomically(path, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m amrlib.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dataset", default="boutique")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same figures on every run
    print(run(options.experiment, options.seeds, options.dataset).name)


if __name__ == "__main__":
    main()
