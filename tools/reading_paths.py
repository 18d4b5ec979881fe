"""The times on the page of paths, ``book/paths.md``: from the chapters as they are, so that they cannot go stale.

The page is written by hand. ``current`` puts the minutes behind every link to a chapter, and their sum behind every
``Together``; ``python tools/notebooks.py claims`` writes it, as it writes the ledger.
"""

from __future__ import annotations

import re

from tools import plain
from tools.chapter_files import BOOK, chapters, read

PAGE = BOOK / "paths.md"
BEHIND = re.compile(r"(\]\((\d\d_\w+)\))(?: · \d+ min)?$")
TOGETHER = re.compile(r"^Together about .*? of reading")


SAID = re.compile(r"[Aa]bout (\d+) minutes to read")  # tools/plain.py holds it to within five minutes of what is counted


def minutes() -> dict[str, int]:
    """Stem -> minutes to read: what the chapter says, and where it says nothing what is counted, to five minutes."""
    times = {}
    for path in chapters():
        notebook = read(path)
        said = SAID.search("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))
        times[path.stem] = int(said[1]) if said else max(5, 5 * round(plain.reading_minutes(notebook) / 5))
    return times


def current(text: str, times: dict[str, int]) -> str:
    """``text`` with today's times: a line that ends in a link to a chapter, and the sum of a list.

    Raises
    ------
    KeyError
        The page names a chapter that is not there.
    """
    lines, sum_of_list = [], 0
    for line in text.splitlines():
        if line.startswith("#"):
            sum_of_list = 0
        if found := BEHIND.search(line):
            sum_of_list += times[found[2]]
            line = BEHIND.sub(rf"\1 · {times[found[2]]} min", line)
        if TOGETHER.match(line):
            halves = max(1, round(sum_of_list / 30))
            hours = f"{halves // 2 or ''}{'½' * (halves % 2)} hour{'s' * (halves > 2)}"
            line = TOGETHER.sub(f"Together about {hours} of reading", line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def problems() -> list[str]:
    """Are the times on the page today's?"""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    stale = text and current(text, minutes()) != text
    return [f"{PAGE.name}: the times are not those of the chapters; run: python tools/notebooks.py claims"] if stale else []
