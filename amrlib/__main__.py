"""What can be run without a notebook: a thin face over the library."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import evaluate, load, load_dataset, models, parallel, perturb, worst_case_ranks
from .checks import require
from .datasets import Dataset, list_datasets
from .datasets.download import cache_folder
from .evaluation import hr, ndcg
from .protocols import ALONE, Alone

MODELS: dict[str, Any] = {name.lower(): getattr(models, name) for name in
                          ("MFBPR", "MFeALS", "DUIF", "VBPR", "VBPRTwoVector", "AMR")}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m amrlib", description="Recommenders that use pictures.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    about = {"train": "train a model and save it", "evaluate": "rank every user's held-out item",
             "attack": "evaluate under changed features", "datasets": "list the data sets"}  # fmt: skip
    train, ranked, attack, _ = (commands.add_parser(name, help=text, description=text) for name, text in about.items())
    for command in (train, ranked, attack):
        command.add_argument("--dataset", default="boutique", help="a name of `python -m amrlib datasets`")
    train.add_argument("model", choices=list(MODELS))
    train.add_argument("--out", type=Path, required=True, help="the file to write, safetensors")
    for word, default in {"epochs": 100, "dim": 64, "lr": 0.05, "reg": 0.01, "seed": 0}.items():
        train.add_argument(f"--{word}", type=type(default), default=default)
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument("--epsilon", type=float, default=0.1, help="ε of AMR")
    train.add_argument("--adv-weight", type=float, default=1.0, help="λ of AMR")
    train.add_argument("--checkpoint", type=Path, help="a file to go on from after a stop, written every ten epochs")
    train.add_argument("--start", type=Path, help="a saved model to start from (the paper's MF → VBPR → AMR)")
    for command in (ranked, attack):
        command.add_argument("file", type=Path, help="a saved model, or the word popularity")
        command.add_argument("--ranking", choices=["full", "sampled"], default="full")
    attack.add_argument("--epsilon", type=float, default=0.1, help="how far each feature vector moves")
    attack.add_argument("--triples", choices=["test", "train"], default="test", help="the loss that is attacked")
    attack.add_argument("--picture", type=Path, help="a photograph of yours: where would it stand, before and after a change?")
    attack.add_argument("--levels", type=float, default=8, help="of 255: how far each pixel of --picture may move")
    attack.add_argument("--goal", choices=["promote", "demote"], default="promote", help="what the change of --picture is for")
    return parser


def _load(path: Path, shop: Dataset) -> Any:
    require(path.exists(), f"no such file: {path}; `python -m amrlib train` makes one")
    return load(path, shop)


def _train(options: argparse.Namespace, shop: Dataset, team: Alone) -> None:
    kind = MODELS[options.model]
    special = {"epsilon": options.epsilon, "adv_weight": options.adv_weight} if kind is models.AMR else {}
    if options.start:
        model = kind.warm_start(_load(options.start, shop), shop, seed=options.seed, **special)
    else:
        model = kind(dim=options.dim, seed=options.seed, **special)
    require(kind is not models.MFeALS or options.checkpoint is None, "MFeALS writes no checkpoint; leave --checkpoint out")
    words: dict[str, Any] = {"epochs": options.epochs, "device": options.device}
    if kind is not models.MFeALS:
        words |= {"lr": options.lr, "reg": options.reg, "seed": options.seed, "checkpoint": options.checkpoint}
    if team is not ALONE:
        words |= {"trainer": parallel.ParallelTrainer, "progress": team.leads}
    model.fit(shop, **words)
    if team.leads:
        model.save(options.out)
        print(f"{options.out}: {type(model).__name__} after {model.history.epoch.iloc[-1]} epochs")


def _evaluate(options: argparse.Namespace, shop: Dataset, team: Alone) -> None:
    model: Any = models.Popularity().fit(shop) if str(options.file) == "popularity" else _load(options.file, shop)
    if options.command == "attack" and options.picture:
        return _attack_picture(model, shop, options) if team.leads else None
    ranked = partial(evaluate, model, shop, ranking=options.ranking, progress=team.leads, team=team)
    clean = ranked()
    if options.command == "evaluate":
        return print(clean.table().round(4).to_string()) if team.leads else None
    ranks = {"clean": clean.ranks}
    for kind in ("random", "adversarial"):
        ranks[kind] = ranked(features=perturb(model, shop, options.epsilon, kind, options.triples, team=team)).ranks
    if options.ranking == "full":
        ranks["worst case, certified"] = worst_case_ranks(model, shop, options.epsilon, progress=team.leads, team=team)
    if not team.leads:
        return
    print(f"{'':22}  HR@10   NDCG@10")
    for name, found in ranks.items():
        print(f"{name:22}  {hr(found, 10):.4f}  {ndcg(found, 10):.4f}")


def _attack_picture(model: Any, shop: Dataset, options: argparse.Namespace) -> None:
    from .pixels import own_picture  # late: no other command looks at pictures

    found = own_picture(model, shop, options.picture, options.levels, goal=options.goal)
    written = found.save(options.picture.with_name(f"{options.picture.stem}-changed.png"))
    print(f"{'':10}  median rank of {shop.n_items + 1:,}   in the first ten of")
    for name, ranks, shown in zip(("as it is", "changed"), found.ranks, found.shown()):
        print(f"{name:10}  {int(np.median(ranks)) + 1:>{len('median rank')}}   {shown:28.2%}")
    print(f"no pixel moved by more than {options.levels:g} of 255; PSNR {found.psnr:.1f} dB, SSIM {found.ssim:.3f}; {written}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 with one line on stderr when the input was wrong."""
    options = build_parser().parse_args(arguments)
    team: Alone = ALONE
    try:
        if options.command == "datasets":
            for entry in list_datasets():
                print(f"{entry['name']}: {entry['about']}\n    from    {entry['origin']}")
                print(f"    size    {entry['size']}, {'here' if entry['cached'] else 'not downloaded yet'}")
                print(f"    terms   {entry['terms']}")
            print(f"Downloads are kept in {cache_folder()}; AMRLIB_DATA names another folder.")
        else:
            team = parallel.start(getattr(options, "device", "cpu")) or ALONE
            (_train if options.command == "train" else _evaluate)(options, load_dataset(options.dataset), team)
    except (ValueError, OSError, FloatingPointError) as error:
        if team.speaks():
            print(f"amrlib: {error}", file=sys.stderr)
        return 2
    parallel.finish()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
