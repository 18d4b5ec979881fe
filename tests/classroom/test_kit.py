"""The kit's own words: what a teacher types, typed."""

import json
import re
import subprocess

import pytest

from classroom import make, sandbox


@pytest.mark.skipif(sandbox.bubblewrap() is None, reason="bubblewrap is not at work here; apt install bubblewrap")
def test_from_an_empty_folder_to_a_marks_file_word_by_word(tmp_path):
    text = (make.TEACHING / "setup.md").read_text(encoding="utf-8")
    steps = text.split("## 3.")[1].split("## With nbgrader")[0]
    typed = "\n".join(re.findall(r"^```bash\n(.*?)^```", steps, flags=re.S | re.M))
    assert typed.count("python -m classroom") == 2
    script = f'set -e\n. .venv/bin/activate\n{typed.replace("my_course", str(tmp_path / "my_course"))}'
    done = subprocess.run(["bash", "-c", script], cwd=sandbox.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("STUDENT is not set to a number") == 2, done.stdout
    marks = (tmp_path / "my_course" / "2_bpr" / "marks" / "marks.csv").read_text(encoding="utf-8").splitlines()
    assert (tmp_path / "my_course" / ".gitignore").read_text() == "*\n"
    assert [line.split(",")[0] for line in marks[1:]] == ["ann", "bob"]
    assert ",20,20," in marks[1] and ",0,20," in marks[2]
    for named in re.findall(r"^- `(\S+?)/?`", steps, flags=re.M):
        assert (tmp_path / "my_course" / "2_bpr" / "marks" / named).exists(), f"the kit names {named}"


@pytest.mark.skipif(sandbox.bubblewrap() is None, reason="bubblewrap is not at work here; apt install bubblewrap")
def test_without_nbgrader_word_by_word(tmp_path):
    text = (make.TEACHING / "setup.md").read_text(encoding="utf-8").split("## With anything else")[1]
    (typed,) = re.findall(r"^```bash\n(.*?)^```", text, flags=re.S | re.M)
    make.course(tmp_path / "my_course")
    script = f'set -e\n. .venv/bin/activate\n{typed.replace("my_course", str(tmp_path / "my_course"))}'
    done = subprocess.run(["bash", "-c", script], cwd=sandbox.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "17 passed" in done.stdout and "20 of 20" in done.stdout, done.stdout + done.stderr


def test_what_the_kit_says_of_a_class_was_measured():
    """Kept by tests/classroom/trial.py --record, outside CI."""
    trial = json.loads(make.TRIAL.read_text(encoding="utf-8"))
    assert trial["submissions"] >= 60 and trial["not_as_intended"] == 0 and trial["jobs"] == 2
    assert trial["seconds"] < 20 * 60 and trial["seconds_of_the_slowest"] < 30
    alone = trial["one_after_another"]
    assert alone["submissions"] >= 20 and 2 * alone["our_seconds"] <= alone["nbgrader_seconds"]
    assert f"took {-(-trial['seconds'] // 60)} minutes" in (make.TEACHING / "setup.md").read_text(encoding="utf-8")


def test_the_sandbox_works_wherever_the_repository_lies(tmp_path, monkeypatch):
    """Below /tmp, too, where the sandbox puts a folder of its own."""
    home = "/tmp/somewhere/venv"
    monkeypatch.setattr(sandbox.sys, "prefix", home)
    command = sandbox.wall("bwrap", False, sandbox.Limits())
    binds = [at for at, word in enumerate(command) if word == "--ro-bind" and command[at + 1] == home]
    assert binds and command.index("--tmpfs") < binds[0]
    assert "/tmp/somewhere" in command[: binds[0]]
