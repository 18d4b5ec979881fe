"""Grade a folder: each submission in a process of its own, a record a submission, so that it can be interrupted."""

import hashlib
import json
import secrets
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from classroom import hidden, preflight
from classroom.sandbox import HERE, ROOT, Limits
from classroom.session import Cell, Session
from classroom.source import ASSIGNMENTS, read

MOST_FILES = 200  # that are looked at in one student's folder


def secret_of(course: Path) -> str:
    """The secret seed of a course; it is made with the course and never again."""
    file = course / "course.json"
    if not file.is_file():
        raise SystemExit(f"{file} is not there; make the course first: python -m classroom course {course}")
    return json.loads(file.read_text(encoding="utf-8"))["secret"]


def new_secret(course: Path) -> None:
    file = course / "course.json"
    if not file.exists():
        course.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        write_whole(file, json.dumps({"secret": secrets.token_hex(16)}) + "\n")


def write_whole(path: Path, text: str) -> None:
    """All of it or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    if path.exists():
        part.chmod(path.stat().st_mode & 0o777)
    part.replace(path)


def submissions(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """(student, files): a folder a student, as Moodle, Canvas and nbgrader unpack, or a file a student."""
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__MACOSX"))]
    stems = [path.name if path.is_dir() else path.stem for path in found]
    for path, stem in zip(found, stems):
        if path.is_dir() and not path.is_symlink():
            inside = [p for p in sorted(path.rglob("*"))[: MOST_FILES * 10] if p.is_file() or p.is_symlink()]
            kept = [p for p in inside if not any(part.startswith((".", "__MACOSX")) for part in p.relative_to(path).parts)]
            yield path.name, kept[:MOST_FILES]
        else:
            yield stem if stems.count(stem) == 1 else path.name, [path]  # ann.ipynb beside ann.py, or beside a folder ann


def chosen(name: str, files: list[Path]) -> tuple[Path, preflight.Laid]:
    """Of a student's files the notebook of this assignment with most answers. Refused if there is none."""
    able: list[tuple[int, Path, preflight.Laid]] = []
    reasons: list[str] = []
    for file in [f for f in files if f.suffix in (".ipynb", ".py")] or files:
        try:
            laid = preflight.lay(name, preflight.load(file))
            able.append((len(laid.answered), file, laid))
        except preflight.Refused as problem:
            reasons.append(str(problem))
    if not able:
        raise preflight.Refused("; ".join(reasons[:5]) or "the folder is empty")
    _, file, laid = max(able, key=lambda one: one[0])
    if len(able) > 1:
        laid.problems.append(f"{len(able)} notebooks of this assignment came; {file.name} has most answers and was taken")
    return file, laid


def grade_one(name: str, student: str, files: list[Path], secret: str, limits: Limits) -> dict[str, Any]:
    """One submission's record. Whatever happens is in it; nothing is raised."""
    started = time.monotonic()
    record: dict[str, Any] = {
        "student": student,
        "assignment": name,
        "status": "graded",
        "number": 0,
        "file": "",
        "points": 0,
        "of": read(name).total,
        "rows": [],
        "remarks": [],
        "problems": [],
        "errors": [],
        "checks": {},
        "open": {},
    }
    try:
        file, laid = chosen(name, files)
        record.update(file=file.name, number=laid.number, open=laid.open_answers)
        record["remarks"], record["problems"] = list(laid.remarks), list(laid.problems)
        if file.stem != ASSIGNMENTS[name]:
            record["remarks"].append(f"the file is called {file.name}; it was graded as {ASSIGNMENTS[name]}")
        todo = [Cell(c.ident or f"own cell {at}", c.text) for at, c in enumerate(laid.cells) if c.kind == "code"]
        with Session(todo, limits) as session:
            session.number = laid.number
            record["rows"] = hidden.mark(name, session, secret)
            record["remarks"] += session.remarks
        record["errors"] = [f"{cell.name}: {cell.error}" for cell in todo if cell.error]
        record["checks"] = {cell.name: cell.output for cell in todo if cell.name.endswith("-check") and cell.output}
        if any(cell.kind == "death" for cell in todo) or session.process_gave_up:
            record["problems"].append("a cell ended the whole process; the cells before and after it were run without it")
        for question in read(name).answers:  # a part that was written and brings nothing is never passed over in silence
            mine = [row for row in record["rows"] if row["question"] == question]
            if question in laid.answered and mine and not any(row["got"] for row in mine):
                record["remarks"].append(f"{question} was answered and gets nothing: {mine[0]['why']}")
        record["points"] = sum(row["got"] for row in record["rows"])
        record["status"] = "look" if record["problems"] else "graded"
    except preflight.Refused as problem:
        record.update(status="refused", problems=[str(problem)])
    except Exception as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        told = (
            f"the grader itself failed: {type(problem).__name__}: {problem} ({Path(where.filename).name}, line {where.lineno})"
        )
        record.update(status="failed", problems=[told])
    record["seconds"] = round(time.monotonic() - started, 1)
    return record


def key_of(name: str, files: list[Path], secret: str) -> str:
    """Changes with the submission, the assignment, the grader and the secret: then it is graded again."""
    digest = hashlib.sha256(secret.encode())
    for path in [
        *sorted(HERE.glob("*.py")),
        HERE / "hidden" / f"{name}.py",
        HERE / "hidden" / "__init__.py",
        HERE / "sources" / f"{ASSIGNMENTS[name]}.md",
        ROOT / "amrbook" / "check.py",
        ROOT / "amrbook" / "personal.py",
        *files,
    ]:
        with open(path, "rb") if path.is_file() and not path.is_symlink() else open("/dev/null", "rb") as file:
            digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def grade_folder(name: str, folder: Path, out: Path, secret: str, limits: Limits, jobs: int = 2) -> list[dict[str, Any]]:
    """Every submission's record, in order; those whose record is there and still holds are not graded again."""
    records = out / "records"
    records.mkdir(parents=True, exist_ok=True)
    found, todo, done = list(submissions(folder)), [], {}
    for student, files in found:
        key, file = key_of(name, files, secret), records / f"{hashlib.sha256(student.encode()).hexdigest()[:16]}.json"
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {}
        if kept.get("key") == key and kept["status"] != "failed":
            done[student] = kept
        else:
            todo.append((student, files, key, file))
    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(found), initial=len(done), desc=ASSIGNMENTS[name], unit="notebook") as bar,
    ):
        running = {
            pool.submit(grade_one, name, student, files, secret, limits): (student, key, file)
            for student, files, key, file in todo
        }
        try:
            for job in as_completed(running):
                student, key, file = running[job]
                record = {**job.result(), "key": key}
                write_whole(file, json.dumps(record, indent=1) + "\n")
                done[student] = record
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise SystemExit("interrupted; what is graded is kept, and the same command goes on from there") from None
    return [done[student] for student, _ in found]
