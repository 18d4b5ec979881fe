"""What a choice that the paper does not tell would change, measured on the boutique."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amrlib import Dataset, MFeALS, evaluate, load_dataset
from amrlib.atomic_files import write_atomically
from amrlib.evaluation import sample_candidates

from ..experiments.chain import train_chain
from ..experiments.results import load_results, over_seeds
from ..settings import settings, trials
from .submit import FOLDER
from .verdicts import plus_minus

__all__ = ["PARTS", "record_choices"]

FILE = "choices.json"
MODELS = ("Popularity", "MF-BPR", "DUIF", "VBPR", "AMR")
TIES = ("lost", "shared", "won")
PUBLISHED_EALS: dict[str, Any] = {"c0": 512.0, "alpha": 0.4, "reg": 0.01}  # of the paper of eALS, on its larger set
ATTACKS = {"test": "on the held-out items", "train": "on the training pairs", "linf": "on the held-out items, along the signs",
           "random": "in a random direction", "certified": "the worst for each shopper"}  # fmt: skip
NOT_RUN = "not yet recorded; run this: `python -m amrbook replicate choices`"


def warm_candidates(shop: Dataset, n: int, seed: int) -> np.ndarray:
    """n warm rivals for each user, in place of any: (M, n)."""
    warm = np.flatnonzero(~shop.cold)
    number = np.full(shop.n_items, -1)
    number[warm] = np.arange(len(warm))
    test = np.where(shop.test >= 0, number[shop.test], -1)  # a cold held-out item is no warm rival of itself
    train = np.stack([shop.train[:, 0], number[shop.train[:, 1]]], 1)
    small = Dataset(train, test, n_users=shop.n_users, n_items=len(warm))
    return warm[sample_candidates(small, n, seed)]


def one_seed(shop: Dataset, seed: int, epochs: int | None = None, dim: int = 64, rivals: int = 999) -> dict[str, Any]:
    """Sampled NDCG@10 of the tuned models: by the rule for ties, and by which items the rivals are drawn from."""
    models: dict[str, Any] = train_chain(shop, settings(), seed, MODELS, device="cpu", epochs=epochs, dim=dim)
    models["MF-eALS"] = MFeALS(dim=dim, seed=seed, **PUBLISHED_EALS).fit(shop, epochs or 20, device="cpu", progress=False)
    every = shop.replace(candidates=sample_candidates(shop, rivals, seed))
    warm = shop.replace(candidates=warm_candidates(shop, rivals, seed))
    result: dict[str, Any] = {}
    for name, model in models.items():
        ndcg = lambda data, **words: round(  # noqa: E731
            evaluate(model, data, ranking="sampled", progress=False, **words).ndcg(10), 5)  # noqa: B023  # fmt: skip
        result[name] = {"ties": {rule: ndcg(every, ties=rule) for rule in TIES}, "warm rivals": ndcg(warm)}
    return result


def record_choices(seeds: int = 5, folder: Path = FOLDER, shop: Dataset | None = None, **options: Any) -> Path:
    """Run what is missing, storing after every seed."""
    torch.set_num_threads(1)
    shop, path = shop or load_dataset("boutique"), folder / FILE
    head = {"kind": "choices", "dataset": {"name": shop.name, "train": shop.train_digest, "test": shop.test_digest},
            "eALS": PUBLISHED_EALS, "versions": {"python": platform.python_version(), "torch": torch.__version__,
                                                 "numpy": np.__version__}}  # fmt: skip
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = old.get("seeds", {}) if all(old.get(word) == value for word, value in head.items()) else {}
    for seed in range(seeds):
        if str(seed) not in found:
            found[str(seed)] = one_seed(shop, seed, **options)
            write_atomically(path, (json.dumps({**head, "seeds": found}, ensure_ascii=False, indent=1) + "\n").encode())
    return path


# ---- the page


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown, without the columns that have nothing in any row."""
    rows = [list(row) for row in rows]
    full = [n for n, name in enumerate(head) if not name or any(row[n] for row in rows)]
    head, rows = [head[n] for n in full], [[row[n] for n in full] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _choices(folder: Path) -> dict[str, Any] | None:
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def ties(folder: Path) -> str:
    results = _choices(folder)
    if results is None:
        return NOT_RUN
    rows = [[model, *(plus_minus(over_seeds(results, model, "ties", rule)) for rule in TIES)] for model in (*MODELS, "MF-eALS")]
    return grid(["NDCG@10, sampled", *(f"a tie is {rule}" for rule in TIES)], rows)


def rivals(folder: Path) -> str:
    results = _choices(folder)
    if results is None:
        return NOT_RUN
    paths = (("ties", "lost"), ("warm rivals",))
    rows = [[model, *(plus_minus(over_seeds(results, model, *path)) for path in paths)] for model in (*MODELS, "MF-eALS")]
    return grid(["NDCG@10, sampled", "rivals from all items", "rivals from warm items alone"], rows)


def eals(folder: Path) -> str:
    """Settings of eALS by validation, and the ones that its own paper published, on the test items."""
    tried = trials("MF-eALS")
    best, worst = (pick(tried, key=lambda trial: trial["ndcg@10"]) for pick in (max, min))
    like = [trial for trial in tried if all(trial[word] == value for word, value in PUBLISHED_EALS.items())]
    rows = [[what, f"{t['c0']:g}", f"{t['alpha']:g}", f"{t['reg']:g}", f"{t['ndcg@10']:.4f}"]
            for what, t in (("best", best), ("as its own paper has it", like[0]), ("worst", worst))]  # fmt: skip
    table = grid([f"of {len(tried)} settings", "weight $c_0$", "α", "λ", "NDCG@10 on validation"], rows)
    results = _choices(folder)
    if results is None:
        return table
    tuned = over_seeds(load_results("main"), "MF-eALS", "sampled", "NDCG@10")
    theirs = over_seeds(results, "MF-eALS", "ties", "lost")
    return table + (f"\n\nOn the test items, among 999 sampled, the best has {plus_minus(tuned)} ({len(tuned)} seeds) and "
                    f"the one of its own paper {plus_minus(theirs)} ({len(theirs)} seeds).")  # fmt: skip


def noise(_: Path) -> str:
    """Table 3's noise on other losses: the change of NDCG@10 in % at a tenth of ‖c‖."""
    main, rows = load_results("main"), []
    for attack, words in ATTACKS.items():
        cells = []
        for model in ("VBPR", "VBPR, continued", "AMR"):
            clean = over_seeds(main, model, "full", "NDCG@10")
            cells.append(plus_minus(100 * (over_seeds(main, model, "ε=0.1‖c‖", attack, "NDCG@10") / clean - 1), 1))
        rows.append([words, *cells])
    return grid(["noise of ε = 0.1‖c‖, change of NDCG@10 in %", "VBPR", "VBPR, continued", "AMR"], rows)


def seeds(_: Path) -> str:
    """The scatter of single runs: what one number of a table can be off by."""
    main, rows = load_results("main"), []
    for model in ("MF-BPR", "DUIF", "VBPR", "AMR"):
        values = over_seeds(main, model, "sampled", "NDCG@10")
        rows.append([model, f"{values.mean():.4f}", f"{values.std(ddof=1):.4f}", f"{values.min():.4f}–{values.max():.4f}"])
    n = len(main["seeds"])
    return grid([f"NDCG@10, sampled, {n} seeds", "mean", "standard deviation", "least–most"], rows)


def selection(_: Path) -> str:
    """The epoch chosen on test against the last one, in the authors' script."""
    authors, rows = load_results("authors"), []
    for model in ("VBPR", "VBPR, continued", "AMR, ε → 0", "AMR, 10 %", "AMR, 20 %"):
        curves = over_seeds(authors, model, "sampled NDCG@10")  # (seeds, looks)
        last, best = curves[:, -1], curves.max(1)
        rows.append([model, plus_minus(last), plus_minus(best), plus_minus(100 * (best / last - 1), 1)])
    return grid(["NDCG@10, sampled", "last epoch", "best epoch on test", "gained, %"], rows)


def strengths(_: Path) -> str:
    """ε by clean and by attacked NDCG@10, on validation."""
    tried = trials("AMR")
    rows = [[f"{t['epsilon']:g}", f"{t['adv_weight']:g}", f"{t['ndcg@10']:.4f}", f"{t['attacked ndcg@10']:.4f}"] for t in tried]
    clean, attacked = (max(tried, key=lambda t: t[by]) for by in ("ndcg@10", "attacked ndcg@10"))
    text = grid(["ε", "λ", "NDCG@10 on validation", "the same, attacked"], rows)
    by_clean, by_attacked = (f"ε = {t['epsilon']:g} at λ = {t['adv_weight']:g}" for t in (clean, attacked))
    return text + f"\n\nClean NDCG@10 chooses {by_clean}; attacked NDCG@10 chooses {by_attacked}."


PARTS: dict[str, Callable[[Path], str]] = {
    "choice ties": ties, "choice rivals": rivals, "choice eals": eals, "choice noise": noise, "choice seeds": seeds,
    "choice selection": selection, "choice strengths": strengths,
}  # fmt: skip
