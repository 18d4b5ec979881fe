"""One source an assignment: what is made from it is current, holds together, and gives nothing away."""

import re

import nbformat
import pytest

from classroom import hidden, make, source
from tests.classroom import trial

NAMES = list(source.ASSIGNMENTS)


def stored(name):
    return nbformat.read(make.STUDENT / f"{source.ASSIGNMENTS[name]}.ipynb", as_version=4)


def test_what_is_stored_is_what_the_sources_say():
    assert make.stale() == []


def test_a_changed_source_is_noticed(monkeypatch):
    monkeypatch.setattr(source, "STUB", "pass  # something else")
    assert any("2_bpr.ipynb" in line for line in make.stale())


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_fit_together(name):
    made = source.read(name)
    assert made.total == 20 and sum(part.points for part in made.open_questions.values()) >= 5
    assert len(made.wrong) >= 8
    asked = re.findall(r"^## (q\d+)\.", "\n".join(part.text for part in made.parts if part.kind == "text"), flags=re.M)
    assert asked == [*made.answers, *made.open_questions]
    assert {part.question for part in made.parts if part.kind == "check"} == set(made.answers)
    assert {test.question for test in hidden.tests(name)} == set(made.answers)
    words = [test.says for test in hidden.tests(name)]
    assert len(set(words)) == len(words), "the words are the seed of a test, so no two may share them"
    assert {part.question for part in made.wrong} == set(made.answers), "every question has a wrong answer"
    for part in made.wrong:
        assert 0 < part.points <= made.points(part.question) and part.says, part.text
    assert any(part.kind == "teacher" for part in made.parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_student_version_gives_nothing_away(name):
    text = (make.STUDENT / f"{source.ASSIGNMENTS[name]}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"BEGIN|END SOLUTION|HIDDEN|in_kernel|classroom", text)
    book = stored(name)
    shown = {line.strip() for cell in book.cells for line in cell.source.splitlines()}
    made = source.read(name)
    for part in made.answers.values():
        for block in re.findall(r"### BEGIN SOLUTION\n([\s\S]*?)### END SOLUTION", part.text):
            for line in block.splitlines():
                assert len(line.strip()) < 12 or line.strip() not in shown, line
    for part in [*made.open_questions.values(), *(p for p in made.parts if p.kind == "teacher"), *made.wrong]:
        assert not {line.strip() for line in part.text.splitlines() if len(line) > 60 and not line.startswith("def ")} & shown
    code = (make.HERE / "hidden" / f"{name}.py").read_text(encoding="utf-8")
    assert not {line.strip() for line in code.split("tests = Tests()")[1].splitlines() if len(line.strip()) > 50} & shown


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_ran_to_its_end_and_says_that_nothing_is_answered(name):
    for cell in stored(name).cells:
        for output in cell.get("outputs", []):
            assert output.output_type == "stream" and output.name == "stdout", cell.source
            if cell.id.endswith("-check"):
                assert all(line.startswith("· q") for line in output.text.splitlines()), output.text


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes_its_own_visible_tests(name):
    book = nbformat.read(make.MADE / f"{source.ASSIGNMENTS[name]}_solution.ipynb", as_version=4)
    for cell in book.cells:
        if cell.get("id", "").endswith("-check"):
            text = "".join(output.text for output in cell.outputs)
            assert text and all(line.startswith("✓") for line in text.splitlines()), text


def test_a_fence_that_is_not_understood_is_named(monkeypatch, tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "2_bpr.md").write_text("# Title\n\n```python anwser q1\n```\n")
    monkeypatch.setattr(source, "HERE", tmp_path)
    source.read.cache_clear()
    with pytest.raises(ValueError, match=r"2_bpr\.md, line 3"):
        source.read("bpr")
    source.read.cache_clear()


def test_the_chapters_are_there():
    for stem in source.CHAPTERS.values():
        assert (source.BOOK / f"{stem}.ipynb").is_file(), f"CHAPTERS in classroom/source.py names {stem}, which is not in book/"


def test_the_page_of_the_ways_to_come_back_is_current():
    assert trial.PAGE.read_text(encoding="utf-8") == trial.table(), (
        "run: python tests/classroom/trial.py && python -m classroom make"
    )
