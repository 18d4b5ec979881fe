"""``python -m amrbook experiments main --seeds 10``: what the book stores in advance."""

from __future__ import annotations

import argparse

from .experiments import real, run
from .replicate import command


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m amrbook", description="What the book stores in advance.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    about = "run the paper's experiments over many seeds, with their controls"
    run.add_arguments(commands.add_parser("experiments", help=about, description=about))
    about = "the same on real choices, from data that lies on this machine and is never stored"
    real.add_arguments(commands.add_parser("real", help=about, description=about))
    about = "train and rank as the AMR paper does, on its data or near it, and draw the tables side by side"
    command.add_arguments(commands.add_parser("replicate", help=about, description=about))
    about = "draw the picture of chapter 0 again, for index.md and README"
    commands.add_parser("picture", help=about, description=about)
    about = "make what the labs of the pages are given, in book/_static/labs"
    commands.add_parser("labs", help=about, description=about)
    options = parser.parse_args(arguments)
    if options.command == "labs":
        from . import labs  # late: nothing else here trains

        for path in labs.main():
            print(f"{path.name}: {path.stat().st_size:,} bytes")
    elif options.command == "picture":
        from . import first_picture  # late: nothing else here draws

        print(first_picture.main().name)
    else:
        {"experiments": run, "real": real, "replicate": command}[options.command].main(options)


if __name__ == "__main__":
    main()
