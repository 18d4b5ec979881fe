"""python -m bench: everything, side by side. `python -m bench gpu` on a graphics card, `pixels` for
attacks on pictures, `bpr` for how well matrix factorisation ranks, `scale` for several processes, `page` to write
the page again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .gpu import LIMITS, check
from .workloads import SIZES, Size

PARTS = ("training", "bpr", "ranking", "two cores", "products", "growth", "precision")


def size_of(text: str) -> Size:
    """A name from ``SIZES``, or users,items,interactions,D,K."""
    return SIZES[text] if text in SIZES else Size(*map(int, text.split(",")))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    everything = commands.add_parser("run", help="all contenders, growth, the page (what make bench does)")
    everything.add_argument("--quick", action="store_true", help="ours and the naive port, in a few minutes")
    everything.add_argument("--rounds", type=int, default=5, help="windows for each contender")
    everything.add_argument("--seconds", type=float, default=1.5, help="length of a window")
    everything.add_argument("--only", nargs="*", default=[*PARTS], help="parts to measure again")
    worker = commands.add_parser("worker", help="one contender; started by run")
    worker.add_argument("name")
    worker.add_argument("--size", type=size_of, required=True)
    worker.add_argument("--batch", type=int, default=512)
    worker.add_argument("--seed", type=int, default=0)
    gpu = commands.add_parser("gpu", help="tests, training and speed on a graphics card; see tools/gpu_check.sh")
    gpu.add_argument("out", nargs="?", type=Path, default=Path(__file__).resolve().parent / "results" / "gpu.json")
    gpu.add_argument("--only", nargs="*", choices=list(LIMITS), help="these parts alone")
    gpu.add_argument("--seconds", type=float, default=350, help="for all parts together")
    part = commands.add_parser("gpu-part", help="one part; started by gpu")
    part.add_argument("part", choices=list(LIMITS))
    part.add_argument("report", type=Path)
    for command in (gpu, part):
        command.add_argument("--size", default="women")
        command.add_argument("--batches", default="512,4096")
        command.add_argument("--device", default="cuda", help="cpu tries the command itself; its figures mean nothing")
    commands.add_parser("pixels", help="attacks on pixels beside torchattacks and ART, in an environment that has them")
    commands.add_parser("bpr", help="how well BPR ranks beside cornac's and implicit's, in an environment that has them")
    commands.add_parser("scale", help="one, two and four processes beside the cost model; about six minutes")
    commands.add_parser("page", help="write book/speed.md and its figures from bench/results")
    options = parser.parse_args(arguments if arguments is not None else sys.argv[1:] or ["run"])

    if options.command == "worker":
        from .contenders import main as work

        return work(options.name, options.size, options.batch, options.seed)
    if options.command == "gpu":
        return int(bool(check(options.out, options.size, options.batches, options.device, options.only, options.seconds)))
    if options.command == "gpu-part":
        from .gpu_parts import main as part_of

        batches = [int(batch) for batch in options.batches.split(",")]
        return part_of(options.part, options.report, size_of(options.size), batches, options.device)
    from . import page

    if options.command == "pixels":
        from .pixels import pixels
        from .run import machine, save

        save({"machine": machine(), **pixels()}, "pixels")
    if options.command == "bpr":
        from .bpr import EPOCHS, accuracy
        from .run import machine, save

        save({"machine": machine(), "runs": [accuracy(name) for name in EPOCHS]}, "bpr_accuracy")
    if options.command == "scale":
        from .run import save
        from .scale import launches, scale

        save({**scale(), "launches": launches()}, "scale")
    if options.command in ("page", "pixels", "bpr", "scale"):
        page.write()
        return 0
    from .suite import suite

    suite(options.quick, options.rounds, options.seconds, options.only)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
