"""What grading leaves behind: marks for Moodle, Canvas and a spreadsheet, a page a student, a summary a question."""

import csv
import html
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

from classroom.grade import write_whole
from classroom.source import read

WORDS = {"graded": "graded", "look": "graded; have a look", "refused": "not graded", "failed": "not graded; the grader failed"}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.35rem .6rem;"
    "text-align:left;vertical-align:top}"
    "td.n{text-align:right;white-space:nowrap}pre{white-space:pre-wrap;background:#f4f4f4;padding:.6rem}h2{margin-top:2rem}"
)


def safe(cell: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(cell)
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and text != "-" and not isinstance(cell, int | float)
    return f"'{text}" if formula else text


def as_csv(rows: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([[safe(cell) for cell in row] for row in rows])
    return file.getvalue()


def roster(path: Path | None) -> dict[int, dict[str, str]]:
    """The class by student number, from a CSV with the columns number, name, email and, for Canvas, canvas_id and section."""
    if path is None:
        return {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "number" not in rows[0]:
        raise SystemExit(f"{path} needs a first line with the columns number,name,email (canvas_id and section for Canvas)")
    known: dict[int, dict[str, str]] = {}
    for at, row in enumerate(rows, 2):
        if not (row["number"] or "").strip().isdigit():
            raise SystemExit(f"{path}, line {at}: the number {row['number']!r} is not made of digits")
        known[int(row["number"])] = {key: (value or "").strip() for key, value in row.items() if key}
    return known


def against_roster(records: list[dict[str, Any]], known: dict[int, dict[str, str]]) -> None:
    """Numbers that nobody has, or two have: a word aside to the teacher, since it names other students."""
    counts = Counter(record["number"] for record in records if record["number"])
    for record in records:
        record["aside"] = []
        number = record["number"]
        if counts[number] > 1:
            others = [r["student"] for r in records if r["number"] == number and r is not record]
            record["aside"].append(f"the number {number} is also that of {', '.join(others)}")
        if known and number and number not in known:
            record["aside"].append(f"the number {number} is not on the roster")
        if record["aside"] and record["status"] == "graded":
            record["status"] = "look"


def points_in_words(record: dict[str, Any]) -> str:
    """The machine's points; what was not graded has none, which is not 0."""
    return f"{record['points']} of {record['of']} points by machine" if record["rows"] else "not graded"


def to_look_at(record: dict[str, Any]) -> list[str]:
    """For the teacher's eyes: what is wrong with a submission, and with its number."""
    return [*record["problems"], *record.get("aside", [])]


def by_hand(name: str, out: Path) -> dict[str, dict[str, float]]:
    """What the teacher has typed into marks.csv for the questions in words: student → question → points."""
    file, made = out / "marks.csv", read(name)
    if not file.is_file():
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SystemExit(f"{file} is not in UTF-8 any more; save it from the spreadsheet as \"CSV UTF-8\"") from None
    first = text.partition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    typed: dict[str, dict[str, float]] = {}
    for at, row in enumerate(rows, 2):
        for question, part in made.open_questions.items():
            said = (row.get(f"{question} by hand") or "").strip().replace(",", ".")
            if not said:
                continue
            points = float(said) if re.fullmatch(r"\d+(\.\d*)?", said) else -1.0
            if not 0 <= points <= part.points:
                raise SystemExit(f"{file}, line {at}: {said!r} by hand for {question} is no number from 0 to {part.points}")
            typed.setdefault(str(row.get("student")), {})[question] = points
    return typed


def short(points: float) -> int | float:
    """3.0 as 3, and 3.5 as it is."""
    return int(points) if points == int(points) else points


def write_marks(name: str, records: list[dict[str, Any]], known: dict[int, dict[str, str]], out: Path) -> list[str]:
    """marks.csv with everything, moodle.csv and canvas.csv in the shapes that these import.

    What was typed into marks.csv by hand is kept, and counts in all three. Returns what the teacher has to know: whose marks
    cannot be imported, and why. Moodle refuses a whole file for one row of nobody, so such rows are left out of both.
    """
    made, typed = read(name), by_hand(name, out)
    questions, words = [*made.answers], [*made.open_questions]
    total = made.total + sum(part.points for part in made.open_questions.values())
    head = ["student", "number", "name", *questions, "machine", "of", *(f"{q} by hand" for q in words), "sum", "out of"]
    plain: list[list[Any]] = [[*head, "status", "to look at", "remarks"]]
    # Moodle: column names as its own export has them; grade/import/csv lets the teacher map them. "-" is no grade there.
    moodle: list[list[Any]] = [["ID number", "Full name", "Email address", made.title, "Feedback comments"]]
    # Canvas: lib/gradebook_importer.rb wants these five first, in this order, and knows the second row by its words.
    canvas: list[list[Any]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", made.title],
        ["    Points Possible", "", "", "", "", total],
    ]
    counts = Counter(record["number"] for record in records)
    nobody: list[str] = []
    for record in records:
        number, who = record["number"], known.get(record["number"], {})
        got = [sum(row["got"] for row in record["rows"] if row["question"] == q) if record["rows"] else "" for q in questions]
        points = record["points"] if record["rows"] else ""  # not graded is no 0
        hand = typed.pop(safe(record["student"]), {})
        summed: Any = short(record["points"] + sum(hand.values())) if record["rows"] else ""
        marks = [points, record["of"], *(short(hand[q]) if q in hand else "" for q in words), summed, total]
        aside = ["; ".join(to_look_at(record)), "; ".join(record["remarks"])]
        plain.append([record["student"], number, who.get("name", ""), *got, *marks, WORDS[record["status"]], *aside])
        if not number or counts[number] > 1 or (known and not who):
            nobody.append(record["student"])
            continue
        lost = "; ".join(f"{row['question']}: {row['says']} ({row['why']})" for row in record["rows"] if row["why"])
        student, mail = who.get("name", record["student"]), who.get("email", "")
        moodle.append([number, student, mail, "-" if summed == "" else summed, lost or "; ".join(record["problems"])])
        canvas.append([student, who.get("canvas_id", ""), number, mail, who.get("section", ""), summed])
    out.mkdir(parents=True, exist_ok=True)
    for file, rows in (("marks", plain), ("moodle", moodle), ("canvas", canvas)):
        write_whole(out / f"{file}.csv", as_csv(rows))
    told = [f"not in moodle.csv and canvas.csv, since nobody can tell whose it is: {', '.join(nobody)}"] if nobody else []
    gone = [f"{student} ({', '.join(f'{q}: {short(n)}' for q, n in hand.items())})" for student, hand in typed.items()]
    return told + ([f"marked by hand, and no longer there: {', '.join(gone)}"] if gone else [])


def page(title: str, body: str) -> str:
    title = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"{head}<h1>{title}</h1>{body}</html>\n"


def feedback(name: str, record: dict[str, Any], hand: dict[str, float] | None = None) -> str:
    """A page for one student: what was tested, in words, what was got, what the cells said. No hidden value, no solution."""
    made, e = read(name), html.escape
    body = [
        f"<p>{e(record['student'])}: <strong>{points_in_words(record)}</strong>. "
        "Questions in words are marked by hand.</p>"
    ]
    for label, lines in (
        ("To look at", record["problems"]),
        ("Put right on the way", record["remarks"]),
        ("Cells that stopped", record["errors"]),
    ):
        if lines:
            body.append(f"<h2>{label}</h2><ul>{''.join(f'<li>{e(line)}</li>' for line in lines)}</ul>")
    for question in made.answers if record["rows"] else ():
        mine = [row for row in record["rows"] if row["question"] == question]
        got = sum(row["got"] for row in mine)
        rows = "".join(
            f"<tr><td class=n>{row['got']} of {row['points']}</td><td>{e(row['says'])}</td>"
            f"<td>{e(row['why'] or 'yes')}</td></tr>"
            for row in mine
        )
        said = record["checks"].get(f"{name}-{question}-check", "")
        body.append(
            f"<h2>{question}: {got} of {made.points(question)}</h2><table><tr><th>points<th>tested<th>passed</tr>{rows}</table>"
        )
        body.append(f"<p>The check cell said:</p><pre>{e(said)}</pre>" if said else "")
    for question, part in made.open_questions.items():
        marked = short(hand[question]) if hand and question in hand else "___"
        body.append(f"<h2>{question}: {marked} of {part.points}</h2><pre>{e(record['open'].get(question, 'no answer'))}</pre>")
    return page(made.title, "".join(body))


def summary(name: str, records: list[dict[str, Any]]) -> str:
    """For the teacher: a line a question, the commonest wrong answers, and whom to look at."""
    made, graded, e = read(name), [r for r in records if r["rows"]], html.escape
    body = [f"<p>{len(records)} came, {len(graded)} graded by machine.</p>"]
    look = [r for r in records if to_look_at(r)]
    if look:
        body.append(
            "<h2>To look at</h2><ul>"
            + "".join(f"<li>{e(r['student'])}: {e('; '.join(to_look_at(r)))}</li>" for r in look)
            + "</ul>"
        )
    body.append("<h2>Questions</h2><table><tr><th>question<th>points<th>mean<th>full marks<th>commonest wrong answers</tr>")
    for question in made.answers:
        got = [sum(row["got"] for row in r["rows"] if row["question"] == question) for r in graded]
        missed = Counter(
            (row["says"], row["why"]) for r in graded for row in r["rows"] if row["question"] == question and row["why"]
        )
        common = "".join(f"<li>{n} ×: {e(says)} <em>({e(why)})</em></li>" for (says, why), n in missed.most_common(3))
        mean = f"{sum(got) / len(got):.1f}" if got else ""
        full = sum(g == made.points(question) for g in got)
        body.append(
            f"<tr><td>{question}<td class=n>{made.points(question)}<td class=n>{mean}<td class=n>{full}"
            f"<td><ul>{common}</ul></tr>"
        )
    return page(f"{made.title}: summary", "".join(body) + "</table>")


def write_all(name: str, records: list[dict[str, Any]], known: dict[int, dict[str, str]], out: Path) -> list[str]:
    """All files of a graded folder; what the teacher has to know is returned."""
    against_roster(records, known)
    typed = by_hand(name, out)
    told = write_marks(name, records, known, out)
    (out / "feedback").mkdir(exist_ok=True)
    for at, record in enumerate(records, 1):
        stem = "".join(c if c.isalnum() or c in "-_. " else "_" for c in record["student"])[:80]
        write_whole(out / "feedback" / f"{at:03d} {stem}.html", feedback(name, record, typed.get(safe(record["student"]))))
    write_whole(out / "summary.html", summary(name, records))
    return told
