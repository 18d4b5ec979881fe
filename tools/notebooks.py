"""Run, store, check and frame the chapters and the appendices. `python tools/notebooks.py --help`; make calls it.

frame      write what is the same in every chapter (badge, setup cell, parameters cell, metadata)
address    the same for every chapter, after the repository's address in pyproject.toml has changed
execute    run the chapters into _build/executed, only those for which something has changed
store      the same, and write the outputs into book/, and the ledger of their claims
claims     write the ledger, book/claims.md, and the times of book/paths.md, from the stored chapters alone
colab      write the Colab edition, colab/, from the chapters alone; takes a second
smoke      run every chapter with MODE="smoke" in a scratch folder
check      hold the chapters, and the pages if they are built, against the rules of tools/checks.py
site       execute, build the pages with warnings as errors, check them
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, sys.path starts at tools/
    sys.path.insert(0, str(ROOT))

from tools import chapter_files, checks, colab, ledger, pages, reading_paths, runner, same_name  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in ("frame", "address", "execute", "store", "claims", "colab", "smoke", "check", "site"):
        sub = commands.add_parser(name)
        sub.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter and appendix of book/")
        if name in ("execute", "store", "smoke", "site"):
            sub.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="notebooks run at a time")
        if name in ("execute", "store", "site"):
            sub.add_argument("--force", action="store_true", help="run everything, changed or not")
            sub.add_argument("--also", nargs="*", type=Path, default=[], help="further files the chapters read")
    args = parser.parse_args(argv)
    if wrong := same_name.problem():
        parser.exit(1, wrong + "\n")
    paths = [path.resolve() for path in args.notebooks] or chapter_files.notebooks()
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if not paths:
        parser.error(f"there is no chapter NN_name.ipynb in {chapter_files.BOOK}")

    if args.command in ("frame", "address"):
        if args.command == "address":
            chapter_files.readdress()
        for path in paths:
            print(f"{'framed   ' if chapter_files.frame(path) else 'as it was'}  {path.name}")
        return 0
    if args.command == "smoke":
        return int(not runner.smoke(paths, args.jobs))
    if args.command == "claims":
        runner.write_ledger()
        return 0
    if args.command == "colab":
        print("\n".join(f"written  colab/{name}" for name in colab.write()) or "colab/ is as it was")
        return 0
    if args.command == "check":
        problems = checks.book_problems(paths) + ledger.problems() + reading_paths.problems() + colab.problems()
        problems += checks.page_problems(pages.PAGES) if pages.PAGES.is_dir() else []
        print("\n".join(problems) or f"{len(paths)} chapters: nothing to complain of")
        return int(bool(problems))
    if not runner.execute(paths, args.jobs, args.force, args.also):
        return 1
    if args.command == "store":
        runner.store(paths)
        colab.write()
    return int(not pages.site(paths)) if args.command == "site" else 0


if __name__ == "__main__":
    sys.exit(main())
