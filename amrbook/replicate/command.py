"""``python -m amrbook replicate``: run, or draw the pages, or make ready what is to be sent in."""

from __future__ import annotations

import argparse
from pathlib import Path

from .recipes import RECIPES
from .run import DATASETS, RECORD, replicate

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("run", "page", "weights", "choices", "speed"), default="run",
                        help="run the chain; draw the pages from what is recorded; what the released weights tell alone; what "
                        "the open choices change on the boutique; how fast the chain is")  # fmt: skip
    parser.add_argument("--dataset", choices=DATASETS, help="which set to run on")
    parser.add_argument("--quick", action="store_true", help="a try: about half an hour on a free card of Colab, as estimated")
    parser.add_argument("--folder", type=Path, help="of the run's record, trials and checkpoints")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=[], help="all when left out")
    parser.add_argument("--seeds", type=int, help="5, of a quick run 2")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--epochs", type=int, help="of a quick run: of every stage")
    parser.add_argument("--cost", action="store_true", help="say what it will cost, and stop")
    parser.add_argument("--submit", action="store_true", help="write the record's file and the text of a pull request")
    parser.add_argument("--data", type=Path, help="for weights: the folder with pos.txt and best-vbpr.npy")


def main(options: argparse.Namespace) -> None:
    try:
        _main(options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"replicate: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on from here") from None


def _main(options: argparse.Namespace) -> None:
    from . import page, side, submit  # late: a run needs none of them

    if options.what == "page":
        for path in page.write_pages():
            print(path.name)
    elif options.what == "weights":
        print(side.record_weights(options.data or Path("../shared/data/pinterest")).name)
    elif options.what == "choices":
        print(side.record_choices(options.seeds or 5).name)
    elif options.what == "speed":
        print(side.record_speed().name)
    elif options.dataset is None:
        raise ValueError(f"name a set with --dataset: {', '.join(DATASETS)}")
    elif options.submit:
        folder = options.folder or Path(f"replication-{options.dataset}")
        file, text = submit.submit(folder / RECORD)
        print(f"{file} is written. The text of a pull request:\n\n{text}")
    else:
        seeds = options.seeds or (2 if options.quick else 5)
        path = replicate(options.dataset, options.folder, options.recipes, seeds, options.quick, options.device,
                         options.epochs, cost_only=options.cost)  # fmt: skip
        if path.exists():
            print(f"{path} holds the record; --submit makes it ready to be sent in")
