"""Grading a folder: records, resuming, marks, feedback, and what travels between grader and submission."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classroom import __main__ as command
from classroom import grade, hidden, preflight, reports, sandbox, source, wire
from classroom.sandbox import Limits
from classroom.session import Cell, Local, Session, Wrong
from tests.classroom import returns

walls = pytest.mark.skipif(sandbox.bubblewrap() is None, reason="bubblewrap is not at work here; apt install bubblewrap")


# ---------------------------------------------------------------- values that travel


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        10**30,
        2.5,
        float("inf"),
        "ä",
        (1, 2),
        [1, (2.0, "x")],
        {"a": [1]},
        np.arange(6.0).reshape(2, 3),
        np.array(3),
    ],
)
def test_a_value_arrives_as_it_left(value):
    there = wire.decode(json.loads(json.dumps(wire.encode(value))))
    np.testing.assert_equal(there, value)
    assert type(there) is type(value)


def test_a_tensor_arrives_as_an_array_and_where_asked_as_a_tensor():
    import torch

    sent = json.loads(json.dumps(wire.encode(wire.Tensor(np.ones((2, 2), dtype=np.float32)))))
    assert isinstance(wire.decode(sent), np.ndarray) and isinstance(wire.decode(sent, tensors=True), torch.Tensor)


@pytest.mark.parametrize("value", [object(), lambda: 0, np.array([object()]), np.zeros(3 << 20), np.array(["a"]), 1j])
def test_what_cannot_be_graded_is_named(value):
    with pytest.raises(TypeError, match=r"graded|bytes"):
        wire.encode(value)


@pytest.mark.parametrize(
    "message",
    [
        {"array": "AAAA", "dtype": "O", "shape": [1]},
        {"array": "AAAA", "dtype": "<f8", "shape": [10**12]},
        {"array": "?", "dtype": "<f8", "shape": [0]},
        {},
        [],
    ],
)
def test_a_forged_message_is_refused(message):
    with pytest.raises(ValueError):
        wire.decode(message)


# ---------------------------------------------------------------- hidden tests


def test_values_come_from_the_secret():
    test = hidden.tests("bpr")[0]
    one, again, other = (hidden.draw(secret, "bpr", test).normal() for secret in ("a", "a", "b"))
    assert one == again != other
    assert one != hidden.draw("a", "bpr", hidden.tests("bpr")[1]).normal()


@pytest.mark.parametrize("name", ["measures", "bpr", "vbpr"])
def test_a_solution_has_full_marks_whatever_the_secret_and_the_number(name, capsys):
    for number in range(1, 12):
        namespace = {"display": print}
        for cell in returns.solved(name, number).cells:
            if cell.cell_type == "code":
                exec(cell.source, namespace)
        rows = hidden.mark(name, Local(namespace), f"secret {number}")
        assert [row for row in rows if row["why"]] == []
    capsys.readouterr()


@pytest.mark.parametrize("junk", [None, 3, "x", [], (1, 2), {}, {"a": 1}, np.zeros((3, 3)), np.nan, [None] * 5])
@pytest.mark.parametrize("name", source.ASSIGNMENTS)
def test_no_answer_of_a_wrong_kind_stops_a_test_or_gets_full_marks(name, junk):
    class Junk:
        number, after = 1, []

        def call(self, *_, **__):
            return junk

        def get(self, _):
            return junk

    rows = hidden.mark(name, Junk(), "s")
    assert all(row["why"] for row in rows), [row for row in rows if not row["why"]]


# ---------------------------------------------------------------- a folder


def class_of_three(folder: Path) -> None:
    folder.mkdir()
    (folder / "ann").mkdir()
    returns.save(returns.solved("bpr", 11), folder / "ann" / "Copy of 2_bpr.ipynb")
    returns.save(returns.planted("bpr", 0, 12), folder / "=bob.ipynb")
    (folder / "cleo").mkdir()
    (folder / "cleo" / "2_bpr.ipynb").write_text("{")


@walls
def test_a_folder_is_graded_resumed_and_reported(tmp_path, capsys):
    course, came = tmp_path / "course", tmp_path / "came"
    assert command.main(["course", str(course)]) == 0
    secret = (course / "course.json").read_text()
    assert command.main(["course", str(course)]) == 0 and (course / "course.json").read_text() == secret
    assert (course / "course.json").stat().st_mode & 0o077 == 0
    class_of_three(came)
    (tmp_path / "roster.csv").write_text(
        "number,name,email,canvas_id,section\n11,Ann Ä,ann@x.org,501,A\n12,Bob,bob@x.org,502,A\n"
    )
    again = ["grade", str(course), "2", "--submitted", str(came), "--roster", str(tmp_path / "roster.csv")]
    assert command.main(again) == 0
    said = capsys.readouterr().out
    assert "3 submissions: 2 graded, 1 not graded" in said and "cleo: 2_bpr.ipynb is not a notebook" in said

    out = course / "2_bpr" / "marks"
    with open(out / "marks.csv", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["ann"]["machine"] == "20" and rows["ann"]["name"] == "Ann Ä"
    assert rows["'=bob"]["machine"] == "18" and rows["'=bob"]["q1"] == "2", "a name is no formula"
    assert rows["cleo"]["machine"] == "" and rows["cleo"]["status"] == "not graded", "not graded is no 0"
    moodle = list(csv.reader(open(out / "moodle.csv", encoding="utf-8")))
    assert moodle[0][:3] == ["ID number", "Full name", "Email address"] and moodle[2][:4] == ["11", "Ann Ä", "ann@x.org", "20"]
    canvas = list(csv.reader(open(out / "canvas.csv", encoding="utf-8")))
    assert canvas[0][:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"] and canvas[1][-1] == "25"
    assert canvas[2] == ["Bob", "502", "12", "bob@x.org", "A", "18"]
    assert canvas[3] == ["Ann Ä", "501", "11", "ann@x.org", "A", "20"]
    for rows_ in (moodle, canvas):  # Moodle stops at a row of nobody: cleo has no number
        assert len({len(row) for row in rows_}) == 1 and not any("cleo" in row for row in rows_)
    assert "not in moodle.csv and canvas.csv, since nobody can tell whose it is: cleo" in said
    assert len(list((out / "feedback").glob("*.html"))) == 3
    page = next((out / "feedback").glob("*cleo.html")).read_text(encoding="utf-8")
    assert "not graded" in page and "0 of 20" not in page and "ask for it again" in page
    assert "the penalty is beta times the squared lengths" in (out / "summary.html").read_text(encoding="utf-8")

    # a second time nothing is graded again; a changed submission, and that one alone, is
    before = {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    assert command.main(again) == 0
    assert {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()} == before
    returns.save(returns.solved("bpr", 12), came / "=bob.ipynb")
    assert command.main(again) == 0
    after = {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    assert sum(after[name] != before[name] for name in before) == 1
    capsys.readouterr()


def record(student, number, points=20, **more):
    rows = [{"question": "q1", "says": "it works", "got": points, "points": 20, "why": None if points == 20 else "no"}]
    empty = {"remarks": [], "problems": [], "errors": [], "checks": {}, "open": {"q7": "Because."}}
    return {"student": student, "number": number, "points": points, "of": 20, "status": "graded", "rows": rows, **empty, **more}


def columns(file, delimiter=","):
    with open(file, encoding="utf-8") as opened:
        return list(csv.DictReader(opened, delimiter=delimiter))


def test_points_by_hand_are_kept_and_count(tmp_path):
    records = [record("ann", 1), record("=bob", 2, 18), record("cleo", 3, rows=[], status="refused", problems=["cut off"])]
    assert reports.write_all("bpr", records, {}, tmp_path) == []
    marks = tmp_path / "marks.csv"
    before = marks.read_text(encoding="utf-8")
    typed = before.replace(",20,20,,20,25,", ",20,20,4.5,24.5,25,").replace(",18,20,,18,25,", ",18,20,3,,25,")
    german = "\n".join(line.replace(",", ";").replace("4.5", "4,5") for line in typed.splitlines())
    for text, encoding in ((typed, "utf-8"), (typed.replace("\n", "\r\n"), "utf-8-sig"), (german, "utf-8-sig")):
        marks.write_bytes(text.encode(encoding))
        assert reports.write_all("bpr", records, {}, tmp_path) == []
        rows = {row["student"]: row for row in columns(marks)}
        assert [rows[s]["q7 by hand"] for s in ("ann", "'=bob", "cleo")] == ["4.5", "3", ""]
        assert [rows[s]["sum"] for s in ("ann", "'=bob", "cleo")] == ["24.5", "21", ""] and rows["ann"]["out of"] == "25"
        title = source.read("bpr").title
        assert [row[title] for row in columns(tmp_path / "moodle.csv")] == ["24.5", "21", "-"]  # "-" is no grade there
        assert [row[title] for row in columns(tmp_path / "canvas.csv")] == ["25", "24.5", "21", ""]
        assert "<h2>q7: 4.5 of 5</h2>" in (tmp_path / "feedback" / "001 ann.html").read_text(encoding="utf-8")
    (told,) = reports.write_all("bpr", records[1:], {}, tmp_path)
    assert told == "marked by hand, and no longer there: ann (q7: 4.5)"


@pytest.mark.parametrize("typed", ["6", "-1", "good", "1e1", "nan"])
def test_points_by_hand_that_are_none_are_named_before_anything_is_written(tmp_path, typed):
    reports.write_all("bpr", [record("ann", 1)], {}, tmp_path)
    marks = tmp_path / "marks.csv"
    marks.write_text(marks.read_text().replace(",20,20,,20,25,", f",20,20,{typed},20,25,"))
    for call in (lambda: reports.by_hand("bpr", tmp_path), lambda: reports.write_all("bpr", [record("ann", 1)], {}, tmp_path)):
        with pytest.raises(SystemExit, match=f"line 2: '{typed}' by hand for q7 is no number from 0 to 5"):
            call()
    assert f",{typed}," in marks.read_text()
    marks.write_bytes("student,q7 by hand\nÄnne,2\n".encode("latin-1"))
    with pytest.raises(SystemExit, match="CSV UTF-8"):
        reports.by_hand("bpr", tmp_path)


def test_the_shapes_are_those_that_moodle_and_canvas_read(tmp_path):
    """By the rules of the programs that read them, which the kit cites: written down here from their source."""
    roster = {1: {"name": "Ann", "email": "a@x.org", "canvas_id": "501", "section": "A"}, 4: {"name": "Dan"}}
    came = {"ann": 1, "two": 2, "zwei": 2, "nobody": 0, "stranger": 9, "dan": 4}
    records = [record(student, number) for student, number in came.items()]
    (told,) = reports.write_all("bpr", records, roster, tmp_path)
    assert told.endswith("two, zwei, nobody, stranger")
    moodle, canvas = (list(csv.reader(open(tmp_path / f"{name}.csv", encoding="utf-8"))) for name in ("moodle", "canvas"))
    # Moodle: a row that finds no user, or a grade that is neither a number nor "-", ends the whole import
    assert [row[0] for row in moodle[1:]] == ["1", "4"]
    assert all(re.fullmatch(r"-|\d+(\.\d+)?", row[3]) for row in moodle[1:])
    # Canvas: "Student" first, "ID" second, then the two SIS columns, and "Section" last before the assignments
    head = canvas[0]
    assert "Student" in head[0] and "ID" in head[1] and re.search(r"SIS\s+User\s+ID", head[2])
    assert re.search(r"SIS\s+Login\s+ID", head[3]) and "Section" in head[4] and "Points Possible" in canvas[1][0]
    assert [row[1:3] for row in canvas[2:]] == [["501", "1"], ["", "4"]] and float(canvas[1][5]) == 25


@walls
def test_feedback_holds_no_hidden_value_no_solution_and_no_markup_of_theirs(tmp_path, monkeypatch):
    drawn = []
    whole = hidden.draw

    class Spy:
        """Keeps what a test draws."""

        def __init__(self, random):
            self.random = random

        def __getattr__(self, name):
            def kept(*a, **k):
                value = getattr(self.random, name)(*a, **k)
                drawn.extend(np.asarray(value, dtype=float).ravel().tolist())
                return value

            return kept

    monkeypatch.setattr(hidden, "draw", lambda *a: Spy(whole(*a)))
    book = returns.planted("bpr", 0)
    returns.cell(book, "bpr-q7").source = "**Your answer to q7.**\n\n<script>alert(1)</script>"
    spill = "raise ValueError('shown' if list(own) == [1, 4, 5] else f'SPILLED {r}')"  # the visible test's case may be named
    returns.cell(book, "bpr-q3").source = f"def free_item(r, own):\n    print(r, own)\n    {spill}"
    file = tmp_path / "2_bpr.ipynb"
    returns.save(book, file)
    record = grade.grade_one("bpr", "<b>x</b>", [file], "s", Limits())
    page = reports.feedback("bpr", record)
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>x</b>" not in page
    assert len(drawn) > 50
    for value in drawn:
        if value != int(value) or abs(value) > 10**6:
            assert f"{value:.6g}" not in page and str(value) not in page, f"{value} is in the feedback"
    assert "SPILLED" not in page and "`free_item` stopped: ValueError (bpr-q3, line 3)" in page
    for row in record["rows"]:
        assert not re.search(r"\d\.\d|expected \d", row["why"] or ""), "a hidden value is named"
    solution = source.read("bpr").answers["q3"].text
    assert all(line.strip() not in page for line in solution.splitlines() if len(line.strip()) > 25)


def test_no_two_students_become_one(tmp_path):
    (tmp_path / "ann").mkdir()
    for name in ("ann.ipynb", "ann.py", "bob.ipynb", ".hidden.ipynb"):
        (tmp_path / name).touch()
    assert [student for student, _ in grade.submissions(tmp_path)] == ["ann", "ann.ipynb", "ann.py", "bob"]


@walls
def test_numbers_that_two_have_or_nobody_are_named(tmp_path):
    records = []
    for student, number in (("a", 5), ("b", 5), ("c", 6), ("d", 7)):
        records.append({"student": student, "number": number, "problems": [], "status": "graded"})
    reports.against_roster(records, {5: {}, 6: {}})
    assert [r["status"] for r in records] == ["look", "look", "graded", "look"]
    assert "also that of b" in reports.to_look_at(records[0])[0] and "not on the roster" in reports.to_look_at(records[3])[0]
    whole = {"points": 0, "of": 20, "rows": [], "remarks": [], "errors": [], "checks": {}, "open": {}}
    assert "that of b" not in reports.feedback("bpr", {**records[0], **whole}), "no student reads of another one"


def test_a_failure_of_the_grader_is_told_and_stops_nobody(tmp_path, monkeypatch):
    class_of_three(tmp_path / "came")
    monkeypatch.setattr(grade.hidden, "mark", lambda *_: 1 / 0)
    records = grade.grade_folder("bpr", tmp_path / "came", tmp_path / "out", "s", Limits())
    assert [r["status"] for r in records] == ["failed", "failed", "refused"]
    assert "the grader itself failed: ZeroDivisionError" in records[0]["problems"][0]
    reports.write_all("bpr", records, {}, tmp_path / "out")  # and the reports are written all the same


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    class_of_three(tmp_path / "came")
    monkeypatch.setattr(grade, "grade_one", lambda _, student, *__: {"student": student, "status": "graded"})

    class Stopped(grade.tqdm):
        """Ctrl-C, as soon as the first record is there."""

        def update(self, n=1):
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(grade, "tqdm", Stopped)
        with pytest.raises(SystemExit, match="goes on from there"):
            grade.grade_folder("bpr", tmp_path / "came", tmp_path / "out", "s", Limits(), jobs=1)
    (kept,) = (tmp_path / "out" / "records").iterdir()
    first = json.loads(kept.read_text(encoding="utf-8"))["student"]

    seen = []
    monkeypatch.setattr(grade, "grade_one", lambda _, s, *__: (seen.append(s), {"student": s, "status": "graded"})[1])
    records = grade.grade_folder("bpr", tmp_path / "came", tmp_path / "out", "s", Limits(), jobs=1)
    assert [r["student"] for r in records] == ["=bob", "ann", "cleo"] and sorted([*seen, first]) == ["=bob", "ann", "cleo"]


def test_a_worker_that_cannot_start_is_no_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    file = tmp_path / "2_bpr.ipynb"
    returns.save(returns.solved("bpr"), file)
    assert grade.grade_one("bpr", "a", [file], "s", Limits())["status"] == "failed"


def test_where_there_is_no_bubblewrap_it_is_said_and_has_to_be_wanted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    with pytest.raises(SystemExit, match="--unprotected"):
        command.main(["grade", str(tmp_path), "2"])
    assert "use the network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grade", "{t}", "7"], "none of 1_measures"),
        (["grade", "{t}/no", "2", "--unprotected"], "not a folder"),
        (["check", "{t}", "2", "x.ipynb", "--unprotected"], "make the course first"),
    ],
)
def test_wrong_commands_are_told(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main([a.format(t=tmp_path) for a in arguments])
    assert words in f"{stopped.value}{capsys.readouterr().err}"


def test_a_roster_without_numbers_names_its_line(tmp_path):
    (tmp_path / "r.csv").write_text("number,name\nx,Ann\n")
    with pytest.raises(SystemExit, match="line 2"):
        reports.roster(tmp_path / "r.csv")


# ---------------------------------------------------------------- a session, and plain pytest


@walls
def test_a_session_says_what_is_not_there():
    with Session([Cell("a", "x = 3\nf = 7\nimport numpy as np\ndef g(v):\n    v += 1\n    return v")], Limits()) as session:
        assert session.get("x") == 3
        assert session.call("g", np.zeros(2)).tolist() == [1, 1] and session.after[0].tolist() == [1, 1]
        for name, words in (("missing", "not defined"), ("f", "not a function")):
            with pytest.raises(Wrong, match=words):
                session.call(name)


def test_time_for_which_others_had_the_processor_is_given_back(monkeypatch):
    """A right answer on a machine that is busy is a right answer; who sleeps or loops gets nothing back."""
    import signal

    from classroom import worker

    set_to, clock = [], {"waited": 5.0}
    monkeypatch.setattr(worker, "waited", lambda: clock["waited"])
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: set_to.append(round(seconds, 3)))
    one = object.__new__(worker.Worker)
    one.give(2.0)
    with pytest.raises(worker.TimeUp):
        one.alarm()  # it had the processor all the time
    one.give(2.0)
    clock["waited"] += 1.5
    one.alarm()
    clock["waited"] += 100.0
    one.alarm()  # but not without end: three times its limit in all
    with pytest.raises(worker.TimeUp):
        one.alarm()
    assert set_to == [2.0, 1, 2.0, 1.5, 4.5, 1]


@walls
def test_the_same_tests_by_plain_pytest(tmp_path):
    grade.new_secret(tmp_path)
    returns.save(returns.planted("bpr", 0), tmp_path / "2_bpr.ipynb")
    environment = {**os.environ, "SUBMISSION": str(tmp_path / "2_bpr.ipynb"), "ASSIGNMENT": "bpr", "COURSE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "classroom/as_pytest.py"],
                 cwd=sandbox.ROOT, env=environment, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 1 and "1 failed, 16 passed" in done.stdout, done.stdout + done.stderr
    assert "squared lengths of all three vectors" in done.stdout


def test_an_empty_copy_of_an_answer_never_takes_its_place():
    book = returns.solved("bpr")
    stub = returns.cell(source.notebook("bpr", "student"), "bpr-q1").source
    came = [preflight.Came(c["cell_type"], c["source"]) for c in book.cells]
    for at in range(len(came) + 1):
        laid = preflight.lay("bpr", [*came[:at], preflight.Came("code", stub), *came[at:]])
        assert [c.text for c in laid.cells if "def bpr_loss" in c.text] == [returns.cell(book, "bpr-q1").source]


def test_a_repaired_notebook_is_what_nbgrader_wants():
    book = returns.solved("bpr")
    for cell in book.cells:
        cell.metadata = {}
        cell.pop("id")
    book.cells.insert(5, dict(book.cells[5]))
    book.metadata["widgets"] = {"x": 1}
    laid = preflight.lay("bpr", [preflight.Came(c["cell_type"], c["source"]) for c in book.cells])
    repaired = preflight.repaired(laid)
    ids = [c.metadata["nbgrader"]["grade_id"] for c in repaired.cells if "nbgrader" in c.metadata]
    assert ids == [c.metadata["nbgrader"]["grade_id"] for c in source.cells("bpr", "student")]
    assert "widgets" not in repaired.metadata
