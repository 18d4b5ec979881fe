"""A class of known quality, graded: every mark as intended, how long it took, how much memory.

    python tests/classroom/trial.py FOLDER --size 60 [--nbgrader .venv-classroom/bin/nbgrader] [--record]

A class is made of solutions, wrong answers and ways to come back, of assignment 2 and, a third of it, of the other four. With
nbgrader, its own time for the same submissions of assignment 2 is measured too (those that it can grade at all, one call each).
``--record`` keeps the figures in classroom/made/trial.json, from which the kit says how long a class takes.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if str(Path(__file__).resolve().parents[2]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from classroom import make, reports, source
from classroom.grade import grade_folder, secret_of
from classroom.sandbox import Limits
from tests.classroom import returns

LIMITS = Limits(cell_seconds=10, call_seconds=3)
MISUSE = ("output", "memory", "processes", "disk", "writes", "network", "kills", "bytes")  # never run outside the sandbox


def write_class(folder: Path, size: int) -> Iterator[tuple[str, str, str, int | None]]:
    """Write the submissions, a folder of students an assignment: (assignment, student, what it is, its mark)."""
    order = random.Random(0)
    ways = random.Random(0).sample(returns.RETURNS, len(returns.RETURNS))
    for at in range(size):
        number, student = 1000 + at, f"student {at:02d}"
        name = "bpr" if at % 3 else order.choice([n for n in source.ASSIGNMENTS if n != "bpr"])
        place = folder / name / student
        place.mkdir(parents=True)
        made = source.read(name)
        kind = order.choice(["solution", "wrong", "wrong", "return", "return"])
        if kind == "return" and name == "bpr":
            way = ways.pop()
            way.write(returns.solved(name, number), place)
            yield name, student, way.says, way.points
            continue
        part = order.randrange(len(made.wrong))
        book = returns.solved(name, number) if kind == "solution" else returns.planted(name, part, number)
        returns.save(book, place / f"{made.stem}.ipynb")
        yield name, student, kind, made.total - (0 if kind == "solution" else made.wrong[part].points)


PAGE = make.HERE / "teaching" / "returns.md"
BEFORE = """\
# What may come back

Notebooks come back in every state. The grader lays each over the version that was handed out: what is ours is taken from us,
answers are found by what they define. It says what it repaired and names what it cannot, and one bad submission never stops
the others. Each line below is tried whenever the project is tested, on a solved assignment 2 (20 points), and must get this
mark. "Look" means that the teacher is told to have a look; a dash means not graded, which is no 0.

| what came back | mark | look |
|---|---|---|
"""


def table() -> str:
    """The page of the teacher's kit that lists every way to come back."""
    rows = [
        f"| {way.says} | {'–' if way.points is None else way.points} | {'look' if way.look else ''} |"
        for way in returns.RETURNS
    ]
    return BEFORE + "\n".join(rows) + "\n"


def main(argv: list[str] | None = None) -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path, nargs="?", help="is made; left out: only write the page of the ways to come back")
    words.add_argument("--size", type=int, default=60)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--nbgrader", type=Path)
    words.add_argument("--record", action="store_true")
    args = words.parse_args(argv)
    if args.folder is None:
        PAGE.write_text(table(), encoding="utf-8")
        return 0
    args.folder.mkdir(parents=True)
    make.course(args.folder / "course")
    intended = list(write_class(args.folder / "came", args.size))
    secret, wrong, slowest, started = secret_of(args.folder / "course"), 0, 0.0, time.monotonic()
    for name in source.ASSIGNMENTS:
        came = args.folder / "came" / name
        if not came.is_dir():
            continue
        out = args.folder / "course" / source.ASSIGNMENTS[name] / "marks"
        records = grade_folder(name, came, out, secret, LIMITS, args.jobs)
        reports.write_all(name, records, {}, out)
        marks = {record["student"]: record for record in records}
        slowest = max([slowest, *(record["seconds"] for record in records)])
        for which, student, says, points in intended:
            if which == name and (marks[student]["points"] if marks[student]["rows"] else None) != points:
                wrong += 1
                print(f"NOT AS INTENDED: {name}, {student}, {says}: {marks[student]['points']} instead of {points}")
    seconds = time.monotonic() - started
    most = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{len(intended)} submissions in {seconds:.0f} s, {wrong} marks not as intended; "
          f"at most {most[0]:.0f} MB here and {most[1]:.0f} MB in one submission")  # fmt: skip
    record: dict[str, Any] = dict(
        submissions=len(intended), not_as_intended=wrong, seconds=round(seconds), jobs=args.jobs, cores=os.cpu_count(),
        seconds_of_the_slowest=round(slowest, 1), megabytes_of_the_grader=round(most[0]),
        megabytes_of_one_submission=round(most[1]),
    )  # fmt: skip
    if args.nbgrader:
        gradable = [(student, says) for name, student, says, points in intended if name == "bpr" and points is not None]
        theirs, count = nbgrader(args, gradable)
        fair = {student for student, says in gradable if not any(word in says for word in MISUSE)}
        alone = grade_folder("bpr", args.folder / "came" / "bpr", args.folder / "again", secret, LIMITS, 1)
        ours = sum(record["seconds"] for record in alone if record["student"] in fair)
        print(f"assignment 2, {count} submissions one after another: nbgrader {theirs:.0f} s, ours {ours:.0f} s")
        record["one_after_another"] = dict(submissions=count, nbgrader_seconds=round(theirs), our_seconds=round(ours))
    if args.record:
        make.TRIAL.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(wrong > 0)


def nbgrader(args: argparse.Namespace, students: list[tuple[str, str]]) -> tuple[float, int]:
    """Seconds that nbgrader takes for the same submissions, repaired first; endless ones end by its own time-out."""
    place = args.folder / "nbgrader"
    make.for_nbgrader(args.folder / "course", place)
    from classroom.__main__ import repair

    repair("bpr", args.folder / "came" / "bpr", place / "submitted")
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(place.resolve()),
        "PATH": f"{args.nbgrader.resolve().parent}:{os.environ['PATH']}",
    }
    call = [str(args.nbgrader.resolve())]
    subprocess.run([*call, "generate_assignment", "2_bpr"], cwd=place, env=environment, check=True, capture_output=True)
    count, started = 0, time.monotonic()
    for student, says in students:
        if any(word in says for word in MISUSE):
            continue
        count += 1
        options = ["--student", student, "--ExecutePreprocessor.timeout=10"]
        subprocess.run([*call, "autograde", "2_bpr", *options], cwd=place, env=environment, capture_output=True, timeout=300)
    return time.monotonic() - started, count


if __name__ == "__main__":
    sys.exit(main())
