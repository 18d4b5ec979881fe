"""One source an assignment: Markdown whose fences say what a cell is. Every version is made from it.

    ```python given            a cell the student runs and leaves alone
    ```python number           the cell with the student's number
    ```python answer q1        the solution; what stands between the two SOLUTION marks is taken out of the student's version
    ```python check q1         the visible test
    ```python wrong q1 2 ...   an answer that loses 2 points, and why in words: for the notes and the tests
    ```markdown open q6 5      a question graded by hand, 5 points
    :::teacher ... :::         for the notes alone

In prose ``{q1}`` becomes the points of question 1, ``{chapter bpr}`` a link to that chapter.
"""

import ast
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from classroom import hidden
from tools.chapter_files import BADGE, BOOK, METADATA, repository, setup_cell

HERE = Path(__file__).resolve().parent
ASSIGNMENTS = {name: f"{n}_{name}" for n, name in enumerate(("measures", "bpr", "vbpr", "attack", "amr"), 1)}
OPEN_MARK = "**Your answer"
STUB = "pass  # your code here"

# The one place that knows the chapters' files.
CHAPTERS = {
    "photograph": "00_a_photograph_and_a_list",
    "ranking": "01_ranking",
    "boutique": "02_boutique",
    "bpr": "03_mf_bpr",
    "eals": "04_mf_eals",
    "features": "05_pixels_to_features",
    "duif": "06_duif",
    "vbpr": "07_vbpr",
    "cannot": "08_what_vbpr_cannot_know",
    "attack": "09_worst_small_change",
    "pixels": "10_attacks_on_pixels",
    "amr": "11_amr",
    "test": "12_how_to_test_a_claim",
    "claims": "13_papers_tables",
    "own": "14_your_own_data",
    "next": "15_where_next",
    "scale": "16_training_at_scale",
}


@dataclass
class Part:
    """One piece of a source: its kind, its question, its text, and for a wrong answer what it loses and why."""

    kind: str
    text: str
    question: str = ""
    points: int = 0
    says: str = ""


@dataclass
class Assignment:
    """A source, read."""

    name: str
    parts: list[Part] = field(default_factory=list)

    @property
    def stem(self) -> str:
        return ASSIGNMENTS[self.name]

    @property
    def title(self) -> str:
        return self.parts[0].text.splitlines()[0].removeprefix("# ")

    @property
    def answers(self) -> dict[str, Part]:
        return {part.question: part for part in self.parts if part.kind == "answer"}

    @property
    def open_questions(self) -> dict[str, Part]:
        return {part.question: part for part in self.parts if part.kind == "open"}

    @property
    def wrong(self) -> list[Part]:
        return [part for part in self.parts if part.kind == "wrong"]

    def points(self, question: str) -> int:
        part = self.open_questions.get(question)
        return part.points if part else sum(t.points for t in hidden.tests(self.name) if t.question == question)

    @property
    def total(self) -> int:
        """Points that the machine gives."""
        return sum(t.points for t in hidden.tests(self.name))


def defined(code: str) -> list[str]:
    """The names that a cell gives at its top level: functions and variables."""
    try:
        statements = ast.parse(code[:100_000]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return list(dict.fromkeys(a or b for a, b in re.findall(r"^(?:def\s+(\w+)|(\w+)\s*=[^=])", code, flags=re.M)))
    names: list[str] = []
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names += [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]
    return list(dict.fromkeys(names))


def without_solution(code: str) -> str:
    """The stub: what stands between the marks is replaced by one line."""
    return re.sub(r"^([ \t]*)### BEGIN SOLUTION[\s\S]*?### END SOLUTION", rf"\1{STUB}", code, flags=re.M)


def without_marks(code: str) -> str:
    return re.sub(r"^[ \t]*### (?:BEGIN|END) SOLUTION\n?", "", code, flags=re.M).rstrip("\n")


def chapter_link(name: str, up: str = "../") -> str:
    stem = CHAPTERS[name]
    notebook = nbformat.read(BOOK / f"{stem}.ipynb", as_version=4)
    return f"[{notebook.cells[0].source.splitlines()[0].removeprefix('# ')}]({up}{stem}.ipynb)"


ELSEWHERE = f"{repository()}/blob/main/book/"  # for files that do not stay in book/


def with_links(text: str, up: str = "../") -> str:
    text = text.replace("{repository}", repository())
    return re.sub(r"\{chapter (\w+)\}", lambda found: chapter_link(found[1], up), text)


@functools.cache
def read(name: str) -> Assignment:
    """Parse a source; ValueError with its line where it is not understood."""
    path = HERE / "sources" / f"{ASSIGNMENTS[name]}.md"
    made, lines = Assignment(name), iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    prose: list[str] = []

    def flush() -> None:
        for piece in re.split(r"^(?=## )", "\n".join(prose), flags=re.M):
            if piece.strip():
                made.parts.append(Part("text", piece.strip()))
        prose.clear()

    for at, line in lines:
        fence = re.fullmatch(
            r"```(python|markdown) (given|number|answer|check|wrong|open)(?: (q\d+))?(?: (\d+))?(?: (.+))?", line
        )
        if fence is None and line != ":::teacher":
            if line.startswith("```") and line not in ("```", "```python", "```text", "```bash"):
                raise ValueError(f"{path.name}, line {at}: a fence that is not understood: {line}")
            prose.append(line)
            continue
        flush()
        end, inside = (":::" if fence is None else "```"), []
        for _, body in lines:
            if body == end:
                break
            inside.append(body)
        text = "\n".join(inside).strip("\n")
        if fence is None:
            made.parts.append(Part("teacher", text))
        else:
            made.parts.append(Part(fence[2], text, fence[3] or "", int(fence[4] or 0), fence[5] or ""))
    flush()
    return made


# ---------------------------------------------------------------- versions


def cells(name: str, version: str) -> list[nbformat.NotebookNode]:
    """The cells of a version: ``"student"``, ``"solution"``, or ``"nbgrader"``, nbgrader's own source with hidden tests."""
    made, found, given = read(name), [], 0

    def add(kind: str, text: str, grade_id: str, **more: object) -> None:
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        about = {"grade": False, "grade_id": grade_id, "locked": True, "schema_version": 3, "solution": False, "task": False}
        about.update(more)
        if not about["grade"]:
            about.pop("points", None)
        cell_type = {"cell_type": kind} if about["grade"] or about["solution"] else {}
        found.append(make(text, id=grade_id, metadata={"nbgrader": {**about, **cell_type}} if grade_id else {}))

    for number, part in enumerate(made.parts):
        text, ident = part.text, f"{name}-{part.question}"
        if part.kind == "text":
            text = re.sub(
                r"\{(q\d+)\}",
                lambda f: points_in_words(made.points(f[1])),
                with_links(text, "../" if version == "student" else ELSEWHERE),
            )
            if number == 0:
                title, rest = text.split("\n", 1)
                badge = BADGE.format(slug="/".join(repository().split("/")[-2:]), name=f"assignments/{made.stem}")
                add("markdown", f"{title}\n\n{badge}\n\n{rest.strip()}", f"{name}-title")
                add("code", setup_cell(), f"{name}-setup")
                found[-1].metadata["tags"] = ["hide-input"]
            else:
                add("markdown", text, f"{name}-text-{number}")
        elif part.kind in ("given", "number"):
            given += 1
            add("code", text, f"{name}-{'number' if part.kind == 'number' else f'given-{given}'}", locked=part.kind == "given")
        elif part.kind == "answer":
            shown = {"student": without_solution(text), "solution": without_marks(text), "nbgrader": text}
            add("code", shown[version], ident, solution=True, locked=False)
        elif part.kind == "check":
            if version == "nbgrader":
                call = f'from classroom import in_kernel\n\nin_kernel.mark("{name}", "{part.question}", globals())'
                text += f"\n### BEGIN HIDDEN TESTS\n{call}\n### END HIDDEN TESTS"
            add("code", text, f"{ident}-check", grade=True, points=made.points(part.question))
        elif part.kind == "open":
            words = f"{OPEN_MARK} to {part.question}.**"
            text = words + ("\n\n" + part.text if version == "solution" else "\n\nWrite here.")
            add("markdown", text, ident, grade=True, solution=True, locked=False, points=part.points)
    return found


def points_in_words(points: int) -> str:
    return f"{points} point" + ("" if points == 1 else "s")


def notebook(name: str, version: str) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=cells(name, version), metadata=METADATA)
    made.nbformat, made.nbformat_minor = 4, 5
    return made


def notes(name: str) -> str:
    """The teacher's notes: how to use it, every hidden test in words, solutions, the mistakes to expect, the rubric."""
    made = read(name)
    lines = [
        f"# Notes on assignment {made.stem[0]}: {made.title.split(': ', 1)[-1]}",
        "",
        f"Made from `classroom/sources/{made.stem}.md` by `python -m classroom make`; change that. "
        f"{made.total} points by machine, "
        f"{sum(p.points for p in made.open_questions.values())} by hand.",
    ]
    lines += [f"\n{with_links(part.text, ELSEWHERE)}" for part in made.parts if part.kind == "teacher"]
    for question, answer in made.answers.items():
        lines += [f"\n## {question}: {points_in_words(made.points(question))}\n", "| points | tested |", "|---|---|"]
        lines += [f"| {test.points} | {test.says} |" for test in hidden.tests(name) if test.question == question]
        lines += [f"\n```python\n{without_marks(answer.text)}\n```"]
        mistakes = [part for part in made.wrong if part.question == question]
        lines += ["\nTo expect:\n"] if mistakes else []
        lines += [f"- {part.says} (loses {part.points})" for part in mistakes]
    for question, part in made.open_questions.items():
        lines += [f"\n## {question}: {points_in_words(part.points)}, by hand\n", part.text]
    return "\n".join(lines) + "\n"
