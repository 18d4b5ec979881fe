"""The versions of every assignment, from their sources: what is stored in the repository, and what a teacher gets."""

import json
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

import nbclient
import nbformat

from classroom import source
from classroom.grade import new_secret
from classroom.sandbox import HERE, ROOT
from tools.chapter_files import write
from tools.runner import STORED_UNDER, kernel_environment, put

MADE = HERE / "made"
STUDENT = ROOT / "book" / "assignments"
TEACHING = ROOT / "book" / "teaching"
TRIAL = MADE / "trial.json"  # a made class, graded once: tests/classroom/trial.py --record


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """With outputs in a form that repeats: one thread, no timings, streams joined."""
    with patch.dict(os.environ, kernel_environment() | STORED_UNDER):
        client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False,
                                         resources={"metadata": {"path": str(folder)}})  # fmt: skip
        client.execute()
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        joined: list[nbformat.NotebookNode] = []
        for output in cell.outputs:
            if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
                joined[-1].text += output.text
            else:
                joined.append(output)
        cell.outputs, cell.execution_count = joined, count
    notebook.metadata = nbformat.from_dict(source.METADATA)
    return notebook


def stored(name: str) -> dict[Path, str]:
    """Every stored text that an assignment's source decides, without outputs: what is tested to be current."""
    made = source.read(name)
    return {
        STUDENT / f"{made.stem}.ipynb": nbformat.writes(source.notebook(name, "student")),
        MADE / f"{made.stem}_solution.ipynb": nbformat.writes(source.notebook(name, "solution")),
        MADE / f"{made.stem}_notes.md": source.notes(name),
    }


def pages() -> dict[Path, str]:
    """The teacher's kit: its pages with the chapters' names and files, and the trial's figures, filled in."""
    trial = json.loads(TRIAL.read_text(encoding="utf-8"))
    figures = {"trial size": trial["submissions"], "trial minutes": -(-trial["seconds"] // 60), "trial cores": trial["jobs"]}

    def page(text: str) -> str:
        for name, value in figures.items():
            text = text.replace(f"{{{name}}}", str(value))
        return source.with_links(text)

    return {TEACHING / path.name: page(path.read_text(encoding="utf-8")) for path in sorted((HERE / "teaching").glob("*.md"))}


def without_outputs(text: str) -> str:
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def stale() -> list[str]:
    """What is stored and no longer what the sources say."""
    wrong = []
    for path, text in {**{p: t for name in source.ASSIGNMENTS for p, t in stored(name).items()}, **pages()}.items():
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        if path.suffix == ".ipynb":
            there, text = (without_outputs(t) if t else "" for t in (there, text))
        if there != text:
            wrong.append(f"{path.relative_to(ROOT)} is not what its source says; run: python -m classroom make")
    return wrong


def make(names: list[str]) -> None:
    """Write the stored versions, run, into the repository; only what has changed."""
    for name in names:
        for path, text in stored(name).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ipynb":
                write(executed(nbformat.reads(text, as_version=4), ROOT / "book"), path)
            else:
                put(path, text.encode())
            print(f"  made  {path.relative_to(ROOT)}", flush=True)
    for path, text in pages().items():
        put(path, text.encode())


def course(folder: Path) -> None:
    """A course: its secret seed, and for every assignment what to hand out, the solution, the notes, a place for what comes."""
    new_secret(folder)
    put(folder / ".gitignore", b"*\n")  # the seed and the marks stay out of a repository, wherever the folder lies
    for name, stem in source.ASSIGNMENTS.items():
        place = folder / stem
        (place / "submitted").mkdir(parents=True, exist_ok=True)
        text = (STUDENT / f"{stem}.ipynb").read_text(encoding="utf-8")
        put(place / f"{stem}.ipynb", text.replace("](../", f"]({source.ELSEWHERE}").encode())  # it leaves the book's folder
        shutil.copy(MADE / f"{stem}_solution.ipynb", place / "solution.ipynb")
        put(place / "notes.md", source.notes(name).encode())


NBGRADER = """\
# Made by `python -m classroom nbgrader`. Run nbgrader here with JUPYTER_PATH={out}, so that it finds the kernel below.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "amr"
c.ClearSolutions.code_stub = {{"python": "{stub}"}}
c.ExecutePreprocessor.timeout = 120
"""


def for_nbgrader(course_folder: Path, out: Path) -> None:
    """nbgrader's own folder: its source notebooks with solutions and hidden tests, its configuration, and a kernel.

    nbgrader lives in an environment of its own; the kernel is this Python, which has the book's code and its needs.
    """
    put(out / ".gitignore", b"*\n")
    put(out / "nbgrader_config.py", NBGRADER.format(out=out.resolve(), stub=source.STUB).encode())
    environment = {
        **STORED_UNDER,
        "PYTHONPATH": str(ROOT),
        "AMR_COURSE": str(course_folder.resolve()),
        "PYTHONWARNINGS": "ignore",
    }
    kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3",
              "language": "python", "env": environment}  # fmt: skip
    put(out / "kernels" / "python3" / "kernel.json", json.dumps(kernel, indent=1).encode())
    for name, stem in source.ASSIGNMENTS.items():
        place = out / "source" / stem
        place.mkdir(parents=True, exist_ok=True)
        write(source.notebook(name, "nbgrader"), place / f"{stem}.ipynb")
