"""Choose every model's settings on validation interactions, never on the test items (amrbook/tuning.py says how).

    python tools/tune.py            # all models, about a quarter of an hour on one core; writes book/settings.json
    python tools/tune.py --again VBPR AMR   # these anew, the others keep their stored choice

Interrupted, the next call goes on. The chapters then train on all training rows with what was chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import amrlib
from amrbook import tuning
from amrbook.experiments import mean_norm
from amrlib.atomic_files import write_atomically

OUT = Path(__file__).resolve().parents[1] / "book" / "settings.json"
ON = "validation NDCG@10, full ranking (AMR: under attack)"


def main(arguments: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--dataset", default="boutique")
    options.add_argument("--again", nargs="+", metavar="MODEL", choices=list(tuning.MODELS), help="choose these again only")
    options.add_argument("--minutes", type=float, help="stop after so long; the next call goes on")
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    shop = amrlib.load_dataset(chosen.dataset)
    work = OUT.with_suffix(".trials.json")  # what an interrupted call leaves
    if chosen.again and not work.exists():
        tuning.keep(shop, work, json.loads(OUT.read_text(encoding="utf-8")), but=chosen.again)
    record = tuning.tune(shop, minutes=chosen.minutes, file=work)
    for model, how in record["chosen"].items():
        print(model, how, flush=True)
    if any(record["left"].values()):
        print(f"{sum(record['left'].values())} trials are left; call it again to go on")
        return
    settings = {
        "dataset": chosen.dataset,
        "chosen_on": ON,
        "splits": record["identity"]["splits"],
        "mean_feature_norm": round(mean_norm(shop), 4),
        "chosen": record["chosen"],
        "trials": record["trials"],
    }
    write_atomically(OUT, (json.dumps(settings, indent=1) + "\n").encode())
    work.unlink()
    print(OUT.name)


if __name__ == "__main__":
    main()
