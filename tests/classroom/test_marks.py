"""Every mark as intended: the solution, the stub, every planted wrong answer, and every way to come back."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from classroom import source
from classroom.grade import grade_one
from classroom.sandbox import Limits, bubblewrap
from tests.classroom import returns

pytestmark = [
    pytest.mark.skipif(not os.environ.get("AMR_CLASSROOM"), reason="a minute or two; make classroom runs it (AMR_CLASSROOM=1)"),
    pytest.mark.skipif(bubblewrap() is None, reason="bubblewrap is not at work here; apt install bubblewrap"),
]
SECRET = "of the tests"
TIGHT = Limits(
    cell_seconds=3, call_seconds=1.5, total_seconds=60, memory=1 << 30, disk=16 << 20, file_size=8 << 20, processes=64
)


def graded(name, folder, limits):
    return grade_one(name, folder.name, sorted(folder.iterdir()), SECRET, limits)


@pytest.mark.parametrize("name", source.ASSIGNMENTS)
def test_solution_stub_and_planted_answers(name, tmp_path):
    made = source.read(name)
    stub = source.notebook(name, "student")
    returns.cell(stub, f"{name}-number").source = f"STUDENT = {returns.NUMBER}"
    todo = [
        ("solution", returns.solved(name), 20),
        ("solution of another student", returns.solved(name, 42), 20),
        ("stub", stub, 0),
    ]
    todo += [(part.says, returns.planted(name, at), 20 - part.points) for at, part in enumerate(made.wrong)]

    def one(job):
        at, (says, book, points) = job
        folder = tmp_path / f"{at}"
        folder.mkdir()
        returns.save(book, folder / f"{made.stem}.ipynb")
        record = graded(name, folder, Limits())
        lost = {row["question"] for row in record["rows"] if row["why"]}
        return says, points, record, lost

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, enumerate(todo)))
    wrong = [(says, points, r["points"], r["problems"], r["errors"]) for says, points, r, _ in results if r["points"] != points]
    assert wrong == []
    for (_, _, record, lost), part in zip(results[3:], made.wrong):
        assert lost == {part.question}, f"{part.says}: it cost points in {lost}"
        assert record["status"] == "graded"
        assert record["errors"] == [], f"{part.says}: a visible test raises"


def test_there_are_forty_returns_and_more():
    assert len(returns.RETURNS) >= 40 and len({way.says for way in returns.RETURNS}) == len(returns.RETURNS)


def test_every_return_gets_its_mark(tmp_path):
    def one(job):
        at, way = job
        folder = tmp_path / f"{at:02d}"
        folder.mkdir()
        way.write(returns.solved("bpr"), folder)
        return way, graded("bpr", folder, TIGHT)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, enumerate(returns.RETURNS)))
    for way, record in results:
        got = record["points"] if record["rows"] else None
        assert (got, record["status"] != "graded") == (way.points, way.look), f"{way.says}: {record}"
        silent = (
            got is not None
            and got < 20
            and not (record["remarks"] or record["problems"] or any(r["why"] for r in record["rows"]))
        )
        assert not silent, f"{way.says}: points are missing without a word"
        assert got is not None or re.search(r"ask for|hand|link|unpack|empty|nothing", record["problems"][0]), record[
            "problems"
        ]
    assert not list(tmp_path.glob("*/was-here"))


def test_without_the_walls_the_same_answers_get_through(tmp_path, monkeypatch):
    """The returns that try to get out are real: with the sandbox off, the network is there. So the test above can fail."""
    from classroom import sandbox

    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    way = next(way for way in returns.RETURNS if "network" in way.says)
    way.write(returns.solved("bpr"), tmp_path)
    assert graded("bpr", tmp_path, TIGHT)["points"] == 20
