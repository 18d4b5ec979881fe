"""python -m classroom COMMAND: make assignments, grade what comes back, and the rest of the teacher's kit."""

import argparse
import os
import sys
from pathlib import Path

from classroom import make, preflight, reports, sandbox
from classroom.grade import grade_folder, grade_one, secret_of
from classroom.source import ASSIGNMENTS


def assignment(text: str) -> str:
    """An assignment by its name, its number or both: bpr, 2, 2_bpr."""
    for name, stem in ASSIGNMENTS.items():
        if text in (name, stem, stem.split("_")[0]):
            return name
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ASSIGNMENTS.values())}")


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        prog="python -m classroom", description="Assignments: make them, hand them out, grade them."
    )
    commands = words.add_subparsers(dest="command", required=True, metavar="command")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about)

    it = add("course", "a folder for a course: a secret seed, and every assignment with its solution and notes")
    it.add_argument("folder", type=Path)
    it = add("grade", "grade what came back in a course's folder; what is graded already is kept")
    it.add_argument("course", type=Path, help="the folder that `course` made")
    it.add_argument("assignment", type=assignment, help="bpr, 2 or 2_bpr")
    it.add_argument("--submitted", type=Path, help="where the submissions are; default: submitted/ in the assignment's folder")
    it.add_argument("--roster", type=Path, help="CSV with number,name,email (and canvas_id, section)")
    it.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="submissions at a time")
    it.add_argument("--unprotected", action="store_true", help="go on where bubblewrap is not at work")
    it = add("check", "grade one notebook and print what is wrong")
    it.add_argument("course", type=Path)
    it.add_argument("assignment", type=assignment)
    it.add_argument("notebook", type=Path)
    it.add_argument("--unprotected", action="store_true", help="go on where bubblewrap is not at work")
    it = add("nbgrader", "the same assignments as a course folder of nbgrader")
    it.add_argument("course", type=Path)
    it.add_argument("out", type=Path)
    it = add("repair", "notebooks that came back, put right for nbgrader: IN/STUDENT/... to OUT/STUDENT/ASSIGNMENT/")
    it.add_argument("assignment", type=assignment)
    it.add_argument("came", type=Path)
    it.add_argument("out", type=Path)
    it = add("make", "write the versions that the repository stores (for those who change an assignment)")
    it.add_argument("assignment", type=assignment, nargs="*")
    it.add_argument("--check", action="store_true", help="write nothing, say what is no longer current")
    it = add("slides", "slides from the chapters, to be shown without a network")
    it.add_argument("out", type=Path)
    it.add_argument("chapter", nargs="*", help="as 03_mf_bpr; default: all")
    it.add_argument(
        "--reveal",
        type=Path,
        help="the folder of reveal.js with dist/reveal.js; default: that of sphinx-revealjs, if installed",
    )
    return words


def protected(unprotected: bool) -> None:
    print(sandbox.in_words(), file=sys.stderr)
    if sandbox.bubblewrap() is None and not unprotected:
        raise SystemExit("To go on all the same, add --unprotected.")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.command == "course":
        make.course(args.folder)
        print(f"{args.folder}: hand out NAME/NAME.ipynb, put what comes back into NAME/submitted, keep course.json to yourself")
    elif args.command == "grade":
        protected(args.unprotected)
        place = args.course / ASSIGNMENTS[args.assignment]
        came = args.submitted or place / "submitted"
        if not came.is_dir():
            raise SystemExit(f"{came} is not a folder")
        known = reports.roster(args.roster)
        reports.by_hand(args.assignment, place / "marks")  # what is typed there is read before anything is graded
        records = grade_folder(args.assignment, came, place / "marks", secret_of(args.course), sandbox.Limits(), args.jobs)
        if not records:
            raise SystemExit(f"{came} is empty: put the notebooks there, a file or a folder a student")
        told = reports.write_all(args.assignment, records, known, place / "marks")
        count = {status: sum(r["status"] == status for r in records) for status in reports.WORDS}
        print(f"{len(records)} submissions: " + ", ".join(f"{n} {reports.WORDS[s]}" for s, n in count.items() if n))
        for record in records:
            for problem in reports.to_look_at(record):
                print(f"  {record['student']}: {problem}")
        print("\n".join([*(f"  {line}" for line in told), f"marks, feedback and summary: {place / 'marks'}"]))
        return int(count["failed"] > 0)
    elif args.command == "check":
        protected(args.unprotected)
        record = grade_one(args.assignment, args.notebook.stem, [args.notebook], secret_of(args.course), sandbox.Limits())
        for row in record["rows"]:
            print(
                f"{row['question']}  {row['got']} of {row['points']}  {row['says']}" + (f": {row['why']}" if row["why"] else "")
            )
        print("\n".join([*record["problems"], *record["remarks"], *record["errors"]]))
        print(reports.points_in_words(record))
    elif args.command == "nbgrader":
        secret_of(args.course)
        make.for_nbgrader(args.course, args.out)
    elif args.command == "repair":
        return repair(args.assignment, args.came, args.out)
    elif args.command == "make":
        if args.check:
            print("\n".join(make.stale()) or "every version is what its source says")
            return int(bool(make.stale()))
        make.make(args.assignment or list(ASSIGNMENTS))
    elif args.command == "slides":
        from classroom import slides

        return slides.make(args.out, args.chapter, args.reveal)
    return 0


def repair(name: str, came: Path, out: Path) -> int:
    """Put every submission right for nbgrader; those that cannot be are named, and the exit code says so."""
    from classroom.grade import chosen, submissions
    from tools.chapter_files import write

    refused = 0
    for student, files in submissions(came):
        try:
            _, laid = chosen(name, files)
        except preflight.Refused as problem:
            refused += 1
            print(f"  {student}: NOT REPAIRED: {problem}")
            continue
        place = out / student / ASSIGNMENTS[name]
        place.mkdir(parents=True, exist_ok=True)
        write(preflight.repaired(laid), place / f"{ASSIGNMENTS[name]}.ipynb")
        print("\n".join(f"  {student}: {line}" for line in laid.problems + laid.remarks) or f"  {student}: as it should be")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
