"""What is recorded beside the runs: what the released weights tell alone, and how fast the chain is."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from amrlib.atomic_files import write_atomically

from ..experiments.names import AUTHORS_EPOCHS
from .open_choices import record_choices
from .submit import FOLDER
from .weights import weights_alone

__all__ = ["record_choices", "record_speed", "record_weights"]

ROOT = Path(__file__).resolve().parents[2]
OURS = ("VBPR, items regularised, compiled", "AMR, items regularised, compiled")
NAIVE = ("naive VBPR", "naive AMR, items regularised")


def record_weights(data: Path, folder: Path = FOLDER) -> Path:
    for name in ("pos.txt", "best-vbpr.npy"):
        if not (data / name).exists():
            raise FileNotFoundError(f"{data / name} is not there; name the folder of the authors' files with --data")
    path = folder / "weights_alone.json"
    write_atomically(path, (json.dumps(weights_alone(data), indent=1) + "\n").encode())
    return path


def record_speed(folder: Path = FOLDER, rounds: int = 11, seconds: float = 1.5, size: Any = None) -> Path:
    """The authors' script, VBPR and AMR of 2,000 epochs each, ours against naive autograd: windows that take turns."""
    try:  # of the checkout, where the command is run
        contest, workloads = importlib.import_module("bench.run"), importlib.import_module("bench.workloads")
    except ImportError:
        raise FileNotFoundError("bench is not there: run this in the root of the checkout") from None
    size = size or workloads.SIZES["pinterest"]
    found: dict[str, Any] = {}
    for threads in (1, 2):
        variables = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        rates = contest.compare((*OURS, *NAIVE), size, 512, rounds, seconds, variables=variables)["rates"]
        found[str(threads)] = summary(rates, size.interactions * AUTHORS_EPOCHS)
    where = contest.machine()
    record = {"kind": "speed", "size": vars(size), "epochs": AUTHORS_EPOCHS, "rounds": rounds, "seconds": seconds,
              "machine": f"{where['cpu']}, {where['cores']} cores, {where['date']}", "threads": found}  # fmt: skip
    path = folder / "speed.json"
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    return path


def speed_of_bench() -> dict[str, Any]:
    """The same from the windows that ``make bench`` stored, of one thread."""
    stored = json.loads((ROOT / "bench" / "results" / "training.json").read_text(encoding="utf-8"))
    (run,) = (run for run in stored["runs"] if (run["size"]["users"], run["size"]["batch"]) == (3226, 512))
    where, triples = stored["machine"], run["size"]["interactions"] * AUTHORS_EPOCHS
    return {"rounds": run["rounds"], "seconds": run["seconds"],
            "machine": f"{where['cpu']}, {where['cores']} cores, {where['date']}",
            "threads": {str(where["threads"]): summary(run["rates"], triples)}}  # fmt: skip


def summary(rates: dict[str, list[float]], triples: int) -> dict[str, float]:
    """Minutes of the chain and how many times faster it is, from triples per second, one number per round."""
    ours, naive = (np.sum([triples / np.array(rates[name]) for name in names], axis=0) / 60 for names in (OURS, NAIVE))
    ratios = naive / ours
    return {"ours minutes": round(float(np.median(ours)), 2), "naive minutes": round(float(np.median(naive)), 1),
            "ratio": round(float(np.median(ratios)), 1), "least": round(float(ratios.min()), 1),
            "most": round(float(ratios.max()), 1)}  # fmt: skip
