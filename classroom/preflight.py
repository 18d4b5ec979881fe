"""What came back, put in order: a submission is laid over the version that was handed out, whatever happened to it.

Every cell that belongs to us is taken from our own version, every answer from theirs, found by what it defines and by the
metadata where these are left. What is repaired is said, what cannot be is named; nothing is dropped without a word.
"""

import ast
import difflib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from classroom.source import ASSIGNMENTS, OPEN_MARK, cells, defined, read

LARGEST = 100 << 20  # bytes of a notebook, outputs included
MOST_CELLS = 500


class Refused(Exception):
    """It cannot be graded at all; the text says why and what to do."""


@dataclass
class Came:
    """One cell of a submission."""

    kind: str
    text: str
    ident: str = ""


@dataclass
class Placed:
    """One cell of the notebook that is graded: ours or theirs, and its id in our version ("" for one of their own)."""

    kind: str
    text: str
    ident: str


@dataclass
class Laid:
    """A submission laid over our version."""

    name: str
    cells: list[Placed] = field(default_factory=list)
    number: int = 0
    answered: set[str] = field(default_factory=set)
    open_answers: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what a person should look at


def load(path: Path) -> list[Came]:
    """The cells of a file, as tolerantly as can be. Refused if it is no notebook."""
    if path.is_symlink():
        raise Refused(f"{path.name} is a link, not a file")
    size = path.stat().st_size
    if size == 0:
        raise Refused(f"{path.name} is empty; ask for it again")
    if size > LARGEST:
        raise Refused(f"{path.name} has {size >> 20} MB; ask for it again with its outputs cleared")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    if path.suffix == ".py":
        return from_script(path, text)
    if path.suffix in (".zip", ".gz", ".tar", ".pdf", ".html", ".docx"):
        raise Refused(f"{path.name} is a {path.suffix[1:]} file; unpack it, or ask for the notebook itself")
    try:
        content = json.loads(text)
        found = content["cells"] if "cells" in content else [c for sheet in content["worksheets"] for c in sheet["cells"]]
        if len(found) > MOST_CELLS:
            raise Refused(f"{path.name} has {len(found)} cells, more than {MOST_CELLS}")
        came = []
        for cell in found:
            words = cell.get("source", cell.get("input", ""))
            about = cell.get("metadata", {}).get("nbgrader") or {}
            came.append(
                Came(
                    str(cell["cell_type"]), words if isinstance(words, str) else "".join(words), str(about.get("grade_id", ""))
                )
            )
        return came
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise Refused(f"{path.name} is not a notebook, or a damaged one ({type(problem).__name__}); ask for it again") from None


def from_script(path: Path, text: str) -> list[Came]:
    """A notebook that was downloaded as a program: one cell a statement, so that one that fails stops no other."""
    try:
        return [Came("code", ast.get_source_segment(text, node) or "") for node in ast.parse(text).body]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused(f"{path.name} is a program that Python cannot read; ask for the notebook") from None


def same(one: str, other: str) -> bool:
    return "".join(one.split()) == "".join(other.split())


def code_of(cell: Came) -> str:
    """The code of a cell, also of one that was turned into text, fences or not."""
    fenced = re.fullmatch(r"\s*```\w*\n([\s\S]*?)```\s*", cell.text)
    return fenced[1] if cell.kind != "code" and fenced else cell.text


def which(came: list[Came]) -> str | None:
    """The assignment whose answers are there: the one with most names."""
    names = {name for cell in came for name in (*defined(code_of(cell)), cell.ident)}
    count = {a: sum(n in names for part in read(a).answers.values() for n in defined(part.text)) for a in ASSIGNMENTS}
    best = max(count, key=lambda name: count[name])
    return best if count[best] else None


def lay(name: str, came: list[Came]) -> Laid:
    """A submission laid over assignment ``name``. Refused if nothing of that assignment is there."""
    release = cells(name, "student")
    stubs = {cell.metadata.nbgrader.grade_id: cell.source for cell in release}
    kinds = {cell.metadata.nbgrader.grade_id: cell.cell_type for cell in release}
    questions = {f"{name}-{question}": defined(stubs[f"{name}-{question}"]) for question in read(name).answers}
    laid = Laid(name)

    if (other := which(came)) != name:
        if other is None and not any(cell.ident in stubs for cell in came):
            raise Refused(f"no answer to assignment {ASSIGNMENTS[name]} is in it: none of its names is defined anywhere")
        if other is not None:
            raise Refused(f"this is assignment {ASSIGNMENTS[other]}, handed in for {ASSIGNMENTS[name]}")

    # what each cell is: an answer by what it defines, anything else of ours by its metadata or its text
    roles: dict[int, str] = {}
    candidates: dict[str, list[int]] = {ident: [] for ident in questions}
    for at, cell in enumerate(came):
        names = set(defined(code_of(cell))) if cell.kind == "code" or "=" in cell.text or "def " in cell.text else set()
        for ident, wanted in questions.items():
            if names & set(wanted):
                candidates[ident].append(at)
                roles.setdefault(at, ident)
        if at in roles:
            continue
        exact = [ident for ident, text in stubs.items() if same(cell.text, text)]
        tested = re.search(r'^check\.\w+\(\s*"(q\d+)"', cell.text, flags=re.M)
        opened = re.match(re.escape(OPEN_MARK) + r" to (q\d+)", cell.text.strip())
        if exact:
            roles[at] = exact[0]
        elif re.search(r"^STUDENT\s*=", cell.text, flags=re.M):
            roles[at] = f"{name}-number"
        elif cell.ident in stubs and cell.ident not in questions:
            roles[at] = cell.ident
        elif tested and f"{name}-{tested[1]}-check" in stubs:
            roles[at] = f"{name}-{tested[1]}-check"
        elif opened and f"{name}-{opened[1]}" in stubs:
            roles[at] = f"{name}-{opened[1]}"
        elif len(cell.text) > 40 and (close := nearest(cell, stubs, kinds)):
            roles[at] = close

    number(laid, [came[at].text for at, role in roles.items() if role == f"{name}-number"])
    lost = sum(role in questions and came[at].ident != role for at, role in roles.items())
    if lost:
        laid.remarks.append(f"{lost} answer(s) had lost their metadata and were found by what they define")

    chosen: dict[str, int] = {}
    dropped: set[int] = set()
    for ident, found in candidates.items():
        question, needed = ident.removeprefix(f"{name}-"), " and ".join(f"`{n}`" for n in questions[ident])
        filled = [at for at in found if not same(code_of(came[at]), stubs[ident])]
        if not found:
            laid.problems.append(f"{question}: no cell defines {needed}; it was deleted or renamed")
            continue
        if filled:
            laid.answered.add(question)
            dropped |= set(found) - set(filled)
            if len(found) > len(filled):
                laid.remarks.append(f"{question}: a copy that was still empty was left out")
            if len(filled) > 1:
                laid.remarks.append(f"{question}: answered in {len(filled)} cells; the last one counts")
        chosen[ident] = (filled or found)[-1]
        if came[chosen[ident]].kind != "code":
            laid.remarks.append(f"{question}: the answer had become a {came[chosen[ident]].kind} cell; it was run as code")

    # theirs that belong to no place of ours go before the cell that they stood before
    order = [cell.metadata.nbgrader.grade_id for cell in release]
    extras: dict[str, list[Placed]] = {}
    waiting: list[Placed] = []
    for at, cell in enumerate(came):
        role = roles.get(at, "")
        if role and chosen.get(role, at) == at:
            extras.setdefault(role, []).extend(waiting)
            waiting = []
        elif at not in dropped and cell.text.strip():
            waiting.append(
                Placed("code" if role in questions else cell.kind, code_of(cell) if role in questions else cell.text, "")
            )
    places: set[int] = set()
    for ident in order:
        laid.cells += extras.pop(ident, [])
        mine = [at for at, role in roles.items() if role == ident]
        if ident in questions:
            if ident not in chosen:
                laid.cells.append(Placed("code", "# this answer was not in what came back", ident))
            elif chosen[ident] in places:
                laid.cells.append(Placed("code", "# answered in a cell above, together with another question", ident))
            else:
                places.add(chosen[ident])
                laid.cells.append(Placed("code", code_of(came[chosen[ident]]), ident))
        elif ident == f"{name}-number":
            laid.cells.append(Placed("code", f"STUDENT = {laid.number}", ident))
        elif (question := ident.removeprefix(f"{name}-")) in read(name).open_questions:
            words = "\n\n".join(came[at].text for at in mine) if mine else after_heading(question, came, roles)
            if words is None:
                laid.problems.append(f"{question}: the cell for the answer in words is gone; look for it in the notebook")
            elif not same(words, stubs[ident]):
                laid.open_answers[question] = words.strip()
            laid.cells.append(Placed("markdown", words or stubs[ident], ident))
        else:
            edited = mine and not any(same(came[at].text, stubs[ident]) for at in mine)
            what = "test" if ident.endswith("-check") else "given"
            if kinds[ident] == "code" and (edited or not mine):
                laid.remarks.append(f"the {what} cell {ident} was {'changed' if edited else 'missing'}; ours was put back")
            laid.cells.append(Placed(kinds[ident], stubs[ident], ident))
    laid.cells += waiting
    return laid


def nearest(cell: Came, stubs: dict[str, str], kinds: dict[str, str]) -> str | None:
    """A cell of ours that this one was before somebody edited it, if there is no doubt."""
    close = [ident for ident in stubs if kinds[ident] == cell.kind and not ident.endswith("-check")]
    ratio = {ident: difflib.SequenceMatcher(None, cell.text[:4000], stubs[ident][:4000], autojunk=False) for ident in close}
    best = max(close, key=lambda ident: ratio[ident].quick_ratio(), default=None)
    return best if best and ratio[best].quick_ratio() > 0.8 and ratio[best].ratio() > 0.8 else None


def after_heading(question: str, came: list[Came], roles: dict[int, str]) -> str | None:
    """An answer in words whose cell lost its first line: what stands in the text cell after the question's heading."""
    for at, cell in enumerate(came[:-1]):
        following = came[at + 1]
        if cell.kind == "markdown" and cell.text.startswith(f"## {question}.") and following.kind == "markdown":
            return following.text if at + 1 not in roles else None
    return None


def number(laid: Laid, texts: list[str]) -> None:
    """The student's number, from the cells that set it."""
    found = re.findall(r"^STUDENT\s*=\s*([^#\n]*)", "\n".join(texts), flags=re.M)
    digits = re.sub(r"\D", "", found[-1]) if found else ""
    laid.number = int(digits[:18] or 0)
    if not laid.number:
        laid.problems.append("STUDENT is not set to a number: values that depend on it were those of number 0")
    elif found and not re.fullmatch(r"\s*\d+\s*", found[-1]):
        laid.remarks.append(f"STUDENT was {found[-1].strip()[:40]}; it was read as {laid.number}")


def repaired(laid: Laid) -> nbformat.NotebookNode:
    """The notebook for nbgrader: every graded cell once, with its metadata, without widgets and outputs."""
    ours = {cell.metadata.nbgrader.grade_id: cell for cell in cells(laid.name, "student")}
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for at, cell in enumerate(laid.cells):
        about: dict[str, Any] = {"nbgrader": dict(ours[cell.ident].metadata.nbgrader)} if cell.ident else {}
        make = nbformat.v4.new_code_cell if cell.kind == "code" else nbformat.v4.new_markdown_cell
        made.cells.append(make(cell.text, id=cell.ident or f"theirs-{at}", metadata=about))
    made.nbformat, made.nbformat_minor = 4, 5
    return made
