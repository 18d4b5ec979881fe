"""The page of paths: its times are those of the chapters, and a sum is the sum of its list."""

import pytest

from tools import chapter_files, reading_paths

TIMES = {"01_ranking": 35, "02_boutique": 25}
PAGE = """# Paths

## One

1. [Ranking](01_ranking)
2. [The boutique](02_boutique) · 5 min

Together about 9 hours of reading. More.

## Two

1. [Ranking](01_ranking)

Together about 9 hours of reading.
"""


def test_times_are_written_and_added_up():
    page = reading_paths.current(PAGE, TIMES)
    assert "1. [Ranking](01_ranking) · 35 min" in page and "2. [The boutique](02_boutique) · 25 min" in page
    assert "Together about 1 hour of reading. More." in page and "Together about ½ hour of reading." in page
    assert reading_paths.current(page, TIMES) == page, "written twice it stays the same"
    assert "about 1½ hours" in reading_paths.current(PAGE, TIMES | {"01_ranking": 65})


def test_a_chapter_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match="16_gone"):
        reading_paths.current("1. [x](16_gone)\n", TIMES)


def test_the_page_is_current_and_the_course_has_every_chapter():
    assert reading_paths.problems() == []
    course = reading_paths.PAGE.read_text(encoding="utf-8").split("## A course")[1].split("\n## ")[0]
    assert [line.split("](")[1].split(")")[0] for line in course.splitlines() if reading_paths.BEHIND.search(line)] == [
        path.stem for path in chapter_files.chapters()
    ]
