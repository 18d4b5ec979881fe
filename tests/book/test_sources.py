"""Chapters 15 and 16 say nothing without a source: what they link is in the bibliography, under the year that they name."""

import re

import pytest

from tools import chapter_files

LINK = re.compile(r"\[([^\]]*?(\d{4})[^\]]*)\]\(https://(arxiv\.org/abs|doi\.org)/([^)\s]+)\)")


def entries() -> dict[str, str]:
    """arXiv number or DOI -> the entry of references.bib that has it."""
    found = {}
    for entry in re.split(r"^@", (chapter_files.BOOK / "references.bib").read_text(encoding="utf-8"), flags=re.M)[1:]:
        for name in re.findall(r"arXiv:(\d{4}\.\d{4,5})|doi = \{([^}]+)\}", entry):
            found[(name[0] or name[1]).lower()] = entry
    return found


def links() -> list[tuple[str, str, str]]:
    cells = [cell for name in ("15_where_next", "16_training_at_scale")
             for cell in chapter_files.read(chapter_files.BOOK / f"{name}.ipynb").cells]  # fmt: skip
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return sorted({(found[1], found[2], found[4].lower()) for found in LINK.finditer(text)})


def test_there_are_links_to_look_at():
    assert len(links()) > 30


@pytest.mark.parametrize(("words", "year", "name"), links())
def test_a_linked_work_is_in_the_bibliography(words, year, name):
    entry = entries().get(name)
    assert entry is not None, f"{words}: {name} is not in references.bib"
    assert f"year = {{{year}}}" in entry, f"{words}: references.bib has another year"
    first = re.split(r" et al\.| &|,", words)[0]
    assert first.split()[-1].lower() in entry.lower(), f"{words}: references.bib has other authors"


def test_no_work_is_listed_twice():
    text = (chapter_files.BOOK / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,]+),", text, flags=re.M)
    titles = [re.sub(r"[{}\s]", "", title).lower() for title in re.findall(r"\btitle = \{(.*)\}", text)]
    assert len(set(keys)) == len(keys) and len(set(titles)) == len(titles)
