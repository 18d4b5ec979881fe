"""The chapters as files: read, write, and what is the same in every one of them (badge, setup cell, parameters, metadata)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"

PARAMETER_NAMES = {"MODE", "DATASET", "SEED", "DEVICE"}
BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE = f"[![Open in Colab]({BADGE_IMAGE})](https://colab.research.google.com/github/{{slug}}/blob/main/book/{{name}}.ipynb)"
COLAB = ROOT / "colab"  # the chapters in plain Markdown, as they open there; tools/colab.py writes them

SETUP = """\
# Setup, the same in every chapter: use the amrlib and amrbook that are here; fetch the repository only without them (Colab).
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = os.environ.get("AMR_BOOK_REPOSITORY", "{repository}")


def has_both(folder):
    return all((folder / name / "__init__.py").is_file() for name in ("amrlib", "amrbook"))


def amrlib_here():
    return getattr(importlib.util.find_spec("amrlib"), "origin", None)


clone = Path.cwd() / "amr-book"
home = next(filter(has_both, (Path.cwd(), *Path.cwd().parents, clone)), None)
if home is None and amrlib_here() is None:
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", REPOSITORY, str(clone)], check=True)
    home = clone
if home is not None and sys.path[0] != str(home):
    sys.path.insert(0, str(home))
if not has_both(Path(amrlib_here()).parents[1]):
    raise ImportError(
        f"{amrlib_here()} is not this book's amrlib but another package of that name (PyPI has one, on Abstract Meaning "
        f"Representation): remove it with `{sys.executable} -m pip uninstall amrlib`, restart the kernel and run this cell "
        f"again, or open the chapter in a clone of {REPOSITORY}."
    )
needed = ("tqdm", "scipy", "matplotlib", "seaborn", "safetensors", "numba")  # torch, numpy and pandas are taken as they are
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)"""

PARAMETERS = '''\
MODE = "book"  # "smoke": seconds, "book": what the pages show, "paper": the paper's sizes, for a GPU
DATASET = "boutique"
SEED = 0
DEVICE = "auto"'''

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def repository() -> str:
    """The one place of the repository's address: [project.urls] in pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"].rstrip("/")


def colab_address(name: str) -> str:
    """Where a chapter opens in Colab."""
    slug = "/".join(repository().split("/")[-2:])
    return f"https://colab.research.google.com/github/{slug}/blob/main/{COLAB.name}/{name}.ipynb"


def badge(name: str) -> str:
    """A chapter's badge: a picture of the book's own, so that a page loads nothing, and the Colab edition behind it."""
    return f"[![Open in Colab](_static/colab-badge.svg)]({colab_address(name)})"


def setup_cell() -> str:
    return SETUP.replace("{repository}", repository())


def chapters(folder: Path = BOOK) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def appendices(folder: Path = BOOK) -> list[Path]:
    """``A1_name.ipynb`` and so on: executed, stored and read as chapters are, without a quiz and a card."""
    return sorted(folder.glob("A[0-9]_*.ipynb"))


def notebooks(folder: Path = BOOK) -> list[Path]:
    """Everything that runs and is stored: the chapters, then the appendices."""
    return chapters(folder) + appendices(folder)


def called(stem: str) -> str:
    """``03_mf_bpr`` is "Chapter 3", ``A1_mathematics_refreshed`` is "Appendix A1"."""
    return f"Appendix {stem[:2]}" if stem[0] == "A" else f"Chapter {int(stem[:2])}"


def slug(heading: str) -> str:
    """The anchor of a heading, as MyST makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace(" ", "-"))


def assignments(folder: Path = BOOK) -> list[Path]:
    """The students' versions; ``python -m classroom make`` writes them, and they are no chapters."""
    return sorted((folder / "assignments").glob("[0-9]_*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """In the one form the repository keeps: sorted keys, one space, a newline at the end."""
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def frame(path: Path) -> bool:
    """Bring one chapter into the common form; outputs are left as they are. True if anything changed."""
    notebook = read(path)
    before = nbformat.writes(notebook)
    cells = notebook.cells
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise SystemExit(f"{path}: the first cell must be markdown and start with '# ' and the chapter's title")
    lines = [line for line in cells[0].source.splitlines() if "colab-badge.svg" not in line]
    text = "\n".join(lines[1:]).strip()
    cells[0].source = "\n\n".join(part for part in (lines[0].strip(), badge(path.stem), text) if part)

    if len(cells) < 2 or cells[1].cell_type != "code" or not cells[1].source.startswith("# Setup, the same"):
        cells.insert(1, nbformat.v4.new_code_cell(id="setup"))
    cells[1].source = setup_cell()
    cells[1].metadata["tags"] = ["hide-input"]
    if not any("parameters" in tags(cell) for cell in cells):
        cells.insert(2, nbformat.v4.new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}))

    for cell in cells:  # a sentence or a claim reads as part of the text; its code is one click away, or not shown
        if cell.cell_type == "code" and not any(t.startswith(("hide-", "remove-")) for t in tags(cell)):
            first = cell.source.lstrip()
            if (
                re.fullmatch(r"(?:(?:amrbook\.)?(?:claims\.)?(?:glue|claim|not_testable)\(.*\)\s*)+", first, flags=re.DOTALL)
                and "\n\n" not in first
            ):
                cell.metadata["tags"] = tags(cell) + ["hide-input" if "claim(" in first else "remove-input"]
    notebook.metadata = nbformat.from_dict({**METADATA})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    changed = nbformat.writes(notebook) != before
    if changed:
        write(notebook, path)
    return changed


def readdress() -> None:
    """Carry the address of pyproject.toml into the files that must spell it out."""
    config = ROOT / "_config.yml"
    old = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]["url"]
    for path in [config, ROOT / "CITATION.cff", *ROOT.glob("*.md"), *BOOK.glob("*.md"), *notebooks()]:
        text = path.read_text(encoding="utf-8")
        if old in text and old != repository():
            path.write_text(text.replace(old, repository()), encoding="utf-8")
            print(f"readdressed  {path.relative_to(ROOT)}")
