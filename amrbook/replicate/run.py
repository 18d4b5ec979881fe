"""The whole chain on one of the paper's sets, or near it: downloads, checks, trains, ranks, records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from amrlib import Dataset, Popularity, load_dataset
from amrlib.datasets.download import cache_folder
from amrlib.evaluation import sample_candidates

from ..experiments.chain import ChainTraining
from ..settings import device as resolved
from .cost import measure_speed, say
from .measure import Looks, entry_of
from .recipes import ATTACKED, RECIPES, Recipe, chosen_settings, quick
from .record import head_of, read_record, versions, write_record
from .weights import check_weights

__all__ = ["DATASETS", "RECORD", "replicate"]

DATASETS = ("pinterest", "amazon-clothing", "amazon-women")
RECORD = "record.json"
LOOKS = {"amazon-women": 100}  # epochs between two looks at the test items, as in figure 3; else 50
OFTEN = {"amazon-women": 5}  # epochs between two writings of a checkpoint, where an epoch is long
RIVALS = 999


def replicate(
    dataset: str, folder: str | Path | None = None, recipes: Sequence[str] = (), seeds: int = 5, is_quick: bool = False,
    device: str = "auto", epochs: int | None = None, dim: int = 64, cost_only: bool = False, progress: bool = True,
) -> Path:  # fmt: skip
    """Run what is missing of a replication, and return the path of its record.

    Parameters
    ----------
    dataset : one of :data:`DATASETS`
    folder : of the record, the trials and the checkpoints; ``replication-<dataset>`` here when left out
    recipes : names of ``RECIPES``; all when left out, and of a quick run the authors' script
    epochs : of every stage of a quick run instead of its own: to try the command

    Raises
    ------
    ValueError
        A folder of another data set, of other versions or options, or one that another run is using; unknown names.
    """
    if dataset not in DATASETS:
        raise ValueError(f"--dataset must be one of {', '.join(DATASETS)}, not {dataset!r}")
    unknown = [name for name in recipes if name not in RECIPES]
    if unknown:
        raise ValueError(f"--recipes must be among {', '.join(RECIPES)}, not {unknown[0]!r}")
    if epochs is not None and not is_quick:
        raise ValueError("--epochs is for --quick: a replication has the paper's number")
    chosen = [RECIPES[name] for name in recipes or (("authors",) if is_quick else RECIPES)]
    if is_quick:
        chosen = [quick(recipe, dataset, epochs) for recipe in chosen]
    place = Path(folder or f"replication-{dataset}{'-quick' if is_quick else ''}")
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / "lock", timeout=0):
            return _replicate(dataset, place, chosen, seeds, is_quick, device, dim, cost_only, progress)
    except Timeout:
        raise ValueError(f"another run is using {place}; wait for it, or name another --folder") from None


def _replicate(
    dataset: str, folder: Path, recipes: list[Recipe], seeds: int, is_quick: bool, device: str, dim: int, cost_only: bool,
    progress: bool,
) -> Path:  # fmt: skip
    shop = load_dataset(dataset, progress=progress)
    print(shop, *(f"  note: {note}" for note in shop.notes), sep="\n", flush=True)
    sampled = shop
    if shop.candidates is None:
        sampled = shop.replace(candidates=sample_candidates(shop, min(RIVALS, shop.n_items // 2), seed=0))
    path, head = folder / RECORD, head_of(shop, sampled, cache_folder(), is_quick, dim)
    record = _continued(path, head)
    machine = machine_name(device)
    if machine not in record["devices"]:
        record["devices"].append(machine)
    every = LOOKS.get(dataset, 50)
    if is_quick:
        every = max(recipe.limit["every"] for recipe in recipes)
    if "weights" not in record and (found := check_weights(shop, progress)):
        record["weights"] = found
    speed = measure_speed(shop, sampled, dim, device)
    print(say(recipes, shop, speed, seeds, every, device), flush=True)
    if is_quick:
        print("A quick run is a try: fewer epochs, nothing searched. It fills no row of the tables.", flush=True)
    if cost_only:
        return path
    print("Interrupt it as you like: the same command goes on where it stopped.", flush=True)
    record["speed"] = speed
    for recipe in recipes:
        settings, trials = chosen_settings(recipe, shop, folder, device, progress)
        about = record["recipes"].setdefault(recipe.name, {"seeds": {}})
        if about.setdefault("settings", settings) != settings:
            raise ValueError(f"{path}: {recipe.name} has results of other settings; name another --folder")
        about |= {"trials": trials, "epochs": recipe.epochs}
        for seed in range(seeds):
            run = Chain(recipe, shop, sampled, settings, seed, dim, device, folder, every, OFTEN.get(dataset, every),
                        progress)  # fmt: skip
            for name, entry in run.missing(about["seeds"].setdefault(str(seed), {})):
                about["seeds"][str(seed)][name] = entry | {"made with": versions(), "device": machine}
                write_record(path, record)
                print(f"{recipe.name}, seed {seed}, {name}: NDCG@10 {entry['sampled']['all']['NDCG@10']:.4f} among "
                      f"{head['dataset']['rivals']} sampled", flush=True)  # fmt: skip
    write_record(path, record)
    return path


def machine_name(device: str) -> str:
    where = resolved(device)
    if where.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(where)}"
    return f"cpu, {torch.get_num_threads()} threads"


def _continued(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """The record to go on with; a folder of another run is refused, for one record has one origin."""
    if not path.exists():
        return head
    record = read_record(path)
    for word in ("layout", "dataset", "quick", "dim", "versions"):
        if record.get(word) != head[word]:
            raise ValueError(f"{path} was begun with another {word} ({_first_difference(record.get(word), head[word])}): "
                             "name another --folder")  # fmt: skip
    return record


def _first_difference(theirs: Any, ours: Any) -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for word in ours:
            if theirs.get(word) != ours[word]:
                return f"{word}: {_first_difference(theirs.get(word), ours[word])}"
    return f"{theirs!r}, here {ours!r}"


class Chain:
    """The models of one recipe and seed, each trained when it is asked for; a model that was trained comes from its file."""

    def __init__(
        self, recipe: Recipe, shop: Dataset, sampled: Dataset, settings: dict[str, Any], seed: int, dim: int, device: str,
        folder: Path, every: int, often: int, progress: bool = True,
    ) -> None:  # fmt: skip
        self.recipe, self.shop, self.sampled, self.settings, self.seed = recipe, shop, sampled, settings, seed
        place = folder / "checkpoints" / recipe.name
        self.train = ChainTraining(shop, settings, seed, dim, device, progress=progress, folder=place, every=often,
                                   watch=lambda name, model: [Looks(sampled, every)])  # fmt: skip
        self.made: dict[str, Any] = {}

    def missing(self, have: dict[str, Any]) -> Any:
        """Name and entry of each model that ``have`` lacks, as it ends."""
        for name in self.recipe.models:
            if name not in have:
                model = self.model(name)
                history = getattr(model, "history", None)
                rows = Looks.of(history) if history is not None and "seconds" in history else {"seconds": 0.0}
                epochs = 0 if name == "Popularity" or history is None else len(history)
                yield name, entry_of(model, self.shop, self.sampled, self.recipe.noise) | rows | {"epochs": epochs}

    def model(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = self._make(name)
        return self.made[name]

    def _make(self, name: str) -> Any:
        if name == "Popularity":
            return Popularity().fit(self.shop)
        if name == "MF-BPR":
            return self.train.mf()
        if name == "MF-eALS":
            return self.train.eals()
        if name == "DUIF":
            return self.train.duif()
        if name == "VBPR":
            afresh = self.settings["VBPR"].get("start") == "afresh"
            return self.train.vbpr(None if afresh else self.model("MF-BPR"))
        strength = self.settings[ATTACKED if name == ATTACKED else "AMR"]
        adversary = {word: strength[word] for word in ("epsilon", "adv_weight")}
        if name == "AMR, ε → 0":
            del adversary["epsilon"]
        return self.train.second(self.model("VBPR"), name, **({} if name.startswith("VBPR") else adversary))
