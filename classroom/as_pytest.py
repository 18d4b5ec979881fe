"""The hidden tests as plain pytest, for teachers with a system of their own: one test a property.

SUBMISSION=notebook.ipynb ASSIGNMENT=bpr COURSE=my_course pytest classroom/as_pytest.py
"""

import os
from pathlib import Path

import pytest

from classroom import hidden
from classroom.grade import grade_one, secret_of
from classroom.sandbox import Limits

FILE, NAME, COURSE = (os.environ.get(name, "") for name in ("SUBMISSION", "ASSIGNMENT", "COURSE"))


@pytest.fixture(scope="session")
def record():
    made = grade_one(NAME, "one", [Path(FILE)], secret_of(Path(COURSE)), Limits())
    assert made["rows"], made["problems"]
    return made


@pytest.mark.parametrize(
    "at", range(len(hidden.tests(NAME))) if NAME else [], ids=lambda n: f"{hidden.tests(NAME)[n].question}-{n}"
)
def test_property(record, at):
    row = record["rows"][at]
    assert row["why"] is None, f"{row['says']}: {row['why']}"
