"""A small class through the whole way, and the same assignments through nbgrader."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from classroom import __main__ as command
from classroom import make, source
from classroom.sandbox import ROOT, bubblewrap
from tests.classroom import returns, trial

pytestmark = pytest.mark.skipif(
    not os.environ.get("AMR_CLASSROOM"), reason="a minute or two; make classroom runs it (AMR_CLASSROOM=1)"
)
NBGRADER = Path(os.environ.get("AMR_NBGRADER", ROOT / ".venv-classroom" / "bin" / "nbgrader"))


@pytest.mark.skipif(bubblewrap() is None, reason="bubblewrap is not at work here; apt install bubblewrap")
def test_ten_of_the_trial_class(tmp_path, capsys):
    assert trial.main([str(tmp_path / "trial"), "--size", "10"]) == 0
    assert "10 submissions" in capsys.readouterr().out


@pytest.mark.skipif(not NBGRADER.is_file(), reason="nbgrader is not there: make classroom installs it into .venv-classroom")
def test_nbgrader_takes_the_assignments_and_what_was_repaired(tmp_path, capsys):
    """Generated, autograded, and given back by nbgrader itself: marks as intended, and nothing hidden in the feedback."""
    course, place = tmp_path / "course", tmp_path / "nbgrader"
    command.main(["course", str(course)])
    command.main(["nbgrader", str(course), str(place)])
    environment = {**os.environ, "JUPYTER_PATH": str(place), "PATH": f"{NBGRADER.parent}:{os.environ['PATH']}"}

    def nbgrader(*words: str) -> str:
        done = subprocess.run([NBGRADER, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    nbgrader("generate_assignment", "2_bpr")
    released = (place / "release" / "2_bpr" / "2_bpr.ipynb").read_text(encoding="utf-8")
    for word in ("BEGIN SOLUTION", "BEGIN HIDDEN", "in_kernel", "logaddexp"):
        assert word not in released, f"{word} is in what nbgrader hands out"

    # what Colab does to a notebook, a wrong answer, and a copied cell; each would get a silent 0 without the repair
    stripped = returns.solved("bpr", 1)
    for cell in stripped.cells:
        cell.metadata = {}
    twice = returns.planted("bpr", 0, 2)
    twice.cells.insert(returns.place(twice, "bpr-q2"), dict(returns.cell(twice, "bpr-q2")))
    came = tmp_path / "came"
    for student, book in (("ann", stripped), ("bob", twice)):
        (came / student).mkdir(parents=True)
        returns.save(book, came / student / "Copy of 2_bpr.ipynb")
    assert command.main(["repair", "2", str(came), str(place / "submitted")]) == 0
    marks = {}
    for student in ("ann", "bob"):
        nbgrader("autograde", "2_bpr", "--student", student)
        nbgrader("generate_feedback", "2_bpr", "--student", student)
        page = (place / "feedback" / student / "2_bpr" / "2_bpr.html").read_text(encoding="utf-8")
        assert "secret" not in page and (course / "course.json").read_text().split('"')[3] not in page
    nbgrader("export")
    for line in (place / "grades.csv").read_text(encoding="utf-8").splitlines()[1:]:
        cells = line.split(",")
        marks[next(c for c in cells if c in ("ann", "bob"))] = [float(c) for c in cells if c.replace(".", "").isdigit()]
    assert 20.0 in marks["ann"] and 18.0 in marks["bob"], marks
    capsys.readouterr()


@pytest.mark.skipif(not NBGRADER.is_file(), reason="nbgrader is not there: make classroom installs it into .venv-classroom")
def test_with_nbgrader_and_then_without_it_word_by_word(tmp_path):
    """The kit's words, in one terminal: what nbgrader's part exports must not be in the way of what is typed next."""
    text = (make.TEACHING / "setup.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text.split("## 3.")[1], flags=re.S | re.M)
    typed = "".join(block for block in blocks).replace("make teacher\n", "")
    for name in ("my_course", "my_nbgrader"):
        typed = typed.replace(name, str(tmp_path / name))
    typed = typed.replace("$PWD/../.venv-classroom/bin", str(NBGRADER.parent))
    script = f"set -e\n. .venv/bin/activate\n{typed}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = (tmp_path / "my_nbgrader" / "grades.csv").read_text(encoding="utf-8").splitlines()
    assert [(line.split(",")[3], line.split(",")[-2]) for line in lines[1:]] == [("ann", "20.0"), ("bob", "0.0")]
    assert "17 passed" in done.stdout and "20 of 20 points by machine" in done.stdout


def test_the_assignments_are_five():
    assert len(source.ASSIGNMENTS) == 5
