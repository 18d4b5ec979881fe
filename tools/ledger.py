"""The claims ledger, book/claims.md: every claim of the chapters, read from the outputs that show them.

``amrbook.claims.claim`` leaves a record beside its sentence; nothing here is typed by hand and nothing
is computed. What a smoke run did not judge is no claim, and is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from tools.chapter_files import BOOK, called, notebooks, read, slug

PAGE = BOOK / "claims.md"
RECORD = "application/vnd.amr-book.claim+json"  # as amrbook.claims has it; a test compares the two
OF_THE_PAPER = ("reproduced", "direction only", "not reproduced", "not testable here")

INTRODUCTION = """\
# Claims

This page is made by the program that builds the book, from what the chapters show. No figure on it is typed.

A claim is a sentence with a test. The test stands beside the sentence in the chapter's code, and when it fails the
chapter stops and there is no book. So every sentence below held when these pages were built: {count} claims in {chapters}
chapters and appendices. The first table sets the claims of the AMR paper {{cite}}`tang2020amr` beside ours, the others
list everything that the book claims, chapter by chapter. The shoppers are simulated, so all of it is about these methods
under known conditions.

- **Effect** is what was measured, with the half width of its 95 % interval behind the ±. Over several runs that is
  Student's interval over the runs, paired where two models are compared; where it is taken over something else, the
  name says so.
- **Runs** is the number of independent trainings or draws behind the sentence. *Exact* means that nothing is drawn: an
  identity, or a property of the data. A sentence that rests on one run says so.
- **Verdict** is *holds*, or for a claim of the paper one of four, by one rule ({{func}}`amrbook.claims.verdict_of`):
  *reproduced*, if our interval lies clear of zero on the paper's side and the paper's figure is between half and twice
  ours; *direction only*, if it lies clear of zero on that side and the size is another; *not reproduced*, if neither;
  *not testable here*, with the reason.
"""


def section_of(markdown: str, before: str) -> str:
    """The heading a cell stands under: the last one of ``markdown``, or what it was ``before``."""
    text = re.sub(r"^(`{3,}|~{3,})[\s\S]*?^\1\s*$", "", markdown, flags=re.M)
    return ([before] + re.findall(r"^#{1,3} (.+?)\s*$", text, flags=re.M))[-1]


def claims_of(name: str, notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    """The records of one chapter in order, each with ``section`` and the ``link`` to it, less what was not judged."""
    found, section, title = [], "", None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = section_of(cell.source, section)
            title = title or section
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(RECORD)
            if record and record["verdict"] != "not judged":
                link = f"{name}.ipynb" if section == title else f"{name}.ipynb#{slug(section)}"
                found.append({**record, "section": section, "link": link})
    return found


def amount(effect: Mapping[str, str]) -> str:
    text = effect["estimate"] + (f" ± {effect['half_width']}" if "half_width" in effect else "")
    return f"{effect['name']}: {text.replace('-', '−')}"


def runs(record: Mapping[str, Any]) -> str:
    seeds = record["seeds"]
    return "not stated" if seeds is None else str(seeds) if seeds == "exact" else f"{seeds} run{'s' * (seeds != 1)}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    cells = lambda row: "| " + " | ".join(re.sub(r"\s+", " ", c).replace("|", r"\|").strip() for c in row) + " |"  # noqa: E731
    lines = [cells(head), "|" + "---|" * len(head), *map(cells, rows)]
    return '<div class="ledger">\n\n' + "\n".join(lines) + "\n\n</div>\n"  # custom.css stacks the cells on a phone


def page(notebooks: Iterable[tuple[str, nbformat.NotebookNode]]) -> str:
    """The ledger of (stem, executed notebook) pairs, as Markdown."""
    books = [
        (name, notebook.cells[0].source.splitlines()[0].removeprefix("# "), claims_of(name, notebook))
        for name, notebook in notebooks
    ]
    books = [(name, title, records) for name, title, records in books if records]
    ours = sum(r["verdict"] != "not testable here" for _, _, records in books for r in records)
    parts = [INTRODUCTION.format(count=ours, chapters=len(books)), "## The paper's claims, and ours beside them\n"]
    paper = [(name, r) for name, _, records in books for r in records if r["paper"]]
    if paper:
        of = Counter(r["verdict"] for _, r in paper)
        parts.append("Verdicts: " + ", ".join(f"{v} {of[v]}" for v in OF_THE_PAPER if of[v]) + ".\n")
    rows = []
    for name, r in paper:
        effects = "".join(f"<br>{amount(e)}" for e in r["effect"])
        behind = f"<br>{runs(r)}" if r["seeds"] else ""
        rows.append(
            [r["paper"], f"{r['statement']}{effects}{behind}<br>[{called(name)}]({r['link']})", f"**{r['verdict']}**"]
        )
    parts.append(table(["the paper says", "here", "verdict"], rows) if rows else "No chapter has judged one yet.\n")
    parts.append("## Every claim of this book\n")
    for name, title, records in books:
        parts.append(f"### {called(name)}. {title}\n")
        rows = []
        for r in records:
            if r["verdict"] != "not testable here":
                verdict = f"holds; the paper's claim: {r['verdict']}" if r["paper"] else r["verdict"]
                statement = f"[{r['section']}]({r['link']}). {r['statement']}"
                rows.append([statement, "<br>".join(map(amount, r["effect"])) or "–", runs(r), verdict])
        parts.append(table(["claim", "effect", "runs", "verdict"], rows))
    return "\n".join(parts)


def stored(folder: Path = BOOK) -> str:
    """The ledger of the chapters as they are stored."""
    return page((path.stem, read(path)) for path in notebooks(folder))


def problems(folder: Path = BOOK) -> list[str]:
    """Is the page what the stored chapters claim?"""
    there = (folder / PAGE.name).read_text(encoding="utf-8") if (folder / PAGE.name).is_file() else ""
    return (
        []
        if there == stored(folder)
        else [f"{PAGE.name} is not what the chapters claim; run: python tools/notebooks.py claims"]
    )
