"""The record of a replication: one JSON file, and what it must be to be believed."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import amrlib
from amrlib import Dataset
from amrlib.atomic_files import write_atomically
from amrlib.datasets.catalogue import SETS
from amrlib.datasets.checked_files import noted

from .measure import ATTACKED_TRIPLES
from .paper import EPSILONS, MEASURES
from .recipes import RECIPES

__all__ = ["LAYOUT", "checksum_of", "head_of", "problems", "read_record", "versions", "write_record"]

LAYOUT = 1
VERSIONS = ("amrlib", "torch", "numpy", "python")
KINDS = ("sampled", "full")
HALF = 0.5e-8  # of a user: more than rounding to nine digits can do among 83,337
NEAR = 0.02  # how far a set that is cut anew may be from its published counts


def versions() -> dict[str, str]:
    return {"amrlib": amrlib.__version__, "torch": torch.__version__, "numpy": np.__version__,
            "python": platform.python_version()}  # fmt: skip


def head_of(shop: Dataset, sampled: Dataset, cache: Path, quick: bool, dim: int) -> dict[str, Any]:
    """What a record says of the data and the program, before there is a result."""
    table = shop.feature_table
    files = {}
    for key, remote in SETS[shop.name].files.items() if shop.name in SETS else ():
        note = noted(cache / remote.name)
        if note:
            files[key] = {word: note[word] for word in ("size", "sha256", "git") if word in note}
    assert table is not None and sampled.candidates is not None
    return {
        "layout": LAYOUT,
        "dataset": {
            "name": shop.name, "users": shop.n_users, "items": shop.n_items, "rows": len(shop.train),
            "held out": len(shop.test_users), "cold held out": int(shop.cold[shop.test[shop.test_users]].sum()),
            "dimensions": int(table.array.shape[1]), "rivals": int(sampled.candidates.shape[1]),
            "fingerprint": {"train": shop.train_digest, "test": shop.test_digest, "features": table.fingerprint},
            "files": files, "notes": list(shop.notes),
        },
        "quick": quick, "dim": dim, "versions": versions(), "devices": [], "recipes": {},
    }  # fmt: skip


def checksum_of(record: dict[str, Any]) -> str:
    """SHA-256 of everything else in the record, so that a cell changed by hand shows."""
    rest = {word: value for word, value in record.items() if word != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def write_record(path: Path, record: dict[str, Any]) -> None:
    whole = {word: value for word, value in record.items() if word != "checksum"}
    whole["checksum"] = checksum_of(whole)
    write_atomically(path, (json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file, whatever it says; a file that holds none is a ValueError."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} holds no record ({error}); delete it and run the command again") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no record (no object); delete it and run the command again")
    return record


def problems(record: dict[str, Any]) -> list[str]:
    """Why a record cannot be what it says, in words; none for one that can be."""
    found: list[str] = []
    try:
        _head(record, found)
        for name, recipe in record["recipes"].items():
            if name not in RECIPES:
                found.append(f"recipe {name!r} is none of {', '.join(RECIPES)}")
                continue
            seeds = recipe["seeds"]
            for seed, models in seeds.items():
                for model, entry in models.items():
                    where = f"{name}, seed {seed}, {model}"
                    if model not in RECIPES[name].models:
                        found.append(f"{where}: the recipe has no such model")
                    _entry(entry, record, where, found)
            if set(map(len, seeds.values())) - {len(RECIPES[name].models)}:
                found.append(f"{name}: a seed has not all models; let the run end first")
        if "weights" in record:
            _ranked(record["weights"], record, "the released weights", found)
        if not any(recipe["seeds"] for recipe in record["recipes"].values()):
            found.append("there is no result in it")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found.append(f"it is not laid out as a record of this command: {type(error).__name__} {error}")
    return found


def _head(record: dict[str, Any], found: list[str]) -> None:
    if record["layout"] != LAYOUT:
        raise ValueError(f"layout {record['layout']!r}, here it is {LAYOUT}")
    if record.get("checksum") != checksum_of(record):
        found.append("its checksum is another: it was changed after the run")
    if set(record["versions"]) != set(VERSIONS):
        found.append(f"versions must name {', '.join(VERSIONS)}")
    data = record["dataset"]
    known = SETS.get(data["name"])
    if known is None:
        found.append(f"data set {data['name']!r} is not a public one")
        return
    for key, remote in known.files.items():
        file = data["files"].get(key)
        if file is None:
            if key not in ("5-core", "ratings"):  # of these two one is read
                found.append(f"the checksum of {key} ({remote.name}) is missing")
        elif len(file.get("sha256", "")) != 64 or (remote.git and file.get("git") != remote.git):
            found.append(f"{key} ({remote.name}) has the wrong checksum: it is another file than the published one")
    counts = {"users": data["users"], "items": data["items"], "interactions": data["rows"] + data["held out"]}
    for what, here in counts.items():
        if what in known.published and abs(here / known.published[what] - 1) > NEAR:
            found.append(f"{here:,} {what}, and {known.published[what]:,} were published")
    if not 0 <= data["cold held out"] <= data["held out"] <= data["users"]:
        found.append("more held-out items than users, or more cold ones than held-out ones")
    if not 0 < data["rivals"] < data["items"]:
        found.append(f"{data['rivals']} sampled rivals among {data['items']} items")


def _entry(entry: dict[str, Any], record: dict[str, Any], where: str, found: list[str]) -> None:
    if entry["made with"] != record["versions"]:
        found.append(f"{where}: made with other versions than the record says")
    if entry["device"] not in record["devices"]:
        found.append(f"{where}: made on {entry['device']}, which is not among the record's devices")
    if not entry["seconds"] >= 0 or not entry["epochs"] >= 0:
        found.append(f"{where}: seconds and epochs cannot be negative")
    for n, epoch in enumerate(entry.get("looks", {}).get("epoch", [])):
        six = {name: entry["looks"][name][n] for name in MEASURES}
        _six(six, record["dataset"]["held out"], f"{where}, after epoch {epoch}", found)
        if epoch == entry["epochs"] and any(abs(six[name] - entry["sampled"]["all"][name]) > HALF for name in MEASURES):
            found.append(f"{where}: its last look is not what it ended with")
    _ranked(entry, record, where, found)


def _ranked(entry: dict[str, Any], record: dict[str, Any], where: str, found: list[str]) -> None:
    """Whether its rankings can be, of the held-out items that the record names."""
    users, data = entry["users"], record["dataset"]
    expected = {"all": data["held out"], "cold": data["cold held out"], "warm": data["held out"] - data["cold held out"]}
    if users != expected:
        found.append(f"{where}: its users do not add up to those of the data set")
        return
    for kind in KINDS:
        parts = entry[kind]
        if set(parts) != {"all", *(part for part in ("warm", "cold") if users[part])}:
            found.append(f"{where}, {kind}: parts {', '.join(parts)}")
            continue
        for part, values in parts.items():
            _six(values, users[part], f"{where}, {kind}, {part}", found)
        for name in MEASURES:
            total = sum(parts[part][name] * users[part] for part in parts if part != "all")
            if abs(total - parts["all"][name] * users["all"]) > 3 * HALF * users["all"]:
                found.append(f"{where}, {kind}: {name} of warm and cold items is not that of all")
    if "noise" in entry and not record["quick"] and set(entry["noise"]) != set(ATTACKED_TRIPLES):
        found.append(f"{where}: noise on {', '.join(entry['noise'])} alone")
    for triples, levels in entry.get("noise", {}).items():
        wrong = set(levels) != {f"{epsilon:g}" for epsilon in EPSILONS} or not all(0 <= v <= 1 for v in levels.values())
        if wrong:
            found.append(f"{where}: noise on {triples} is not NDCG@10 at the ε of the paper's Table 3")


def _six(values: dict[str, float], n: int, where: str, found: list[str]) -> None:
    """HR counts users; NDCG lies between what its hits give in the last places and in the first."""
    if set(values) != set(MEASURES) or not all(math.isfinite(v) and 0 <= v <= 1 for v in values.values()):
        found.append(f"{where}: not six measures between 0 and 1")
        return
    gain = lambda place: 1 / math.log2(place + 1)  # noqa: E731
    hits_before, ndcg_before, k_before = 0.0, 0.0, 0
    for k in (5, 10, 20):
        hits, ndcg = values[f"HR@{k}"] * n, values[f"NDCG@{k}"] * n
        if abs(hits - round(hits)) > HALF * n:
            found.append(f"{where}: HR@{k} of {n:,} users is no whole number of hits")
        new, gained, slack = hits - hits_before, ndcg - ndcg_before, 4 * HALF * n
        if new < -slack or not new * gain(k) - slack <= gained <= new * gain(k_before + 1) + slack:
            found.append(f"{where}: NDCG@{k} cannot be with HR@{k}")
        hits_before, ndcg_before, k_before = hits, ndcg, k
