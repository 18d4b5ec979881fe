"""Run, store, check and frame the chapters. `python tools/notebooks.py --help`; make calls it.

    frame      write what is the same in every chapter (badge, setup cell, parameters cell, metadata)
    address    the same for every chapter, after the repository's address in pyproject.toml has changed
    execute    run the chapters into _build/src, only those that something has changed for
    store      the same, and write the outputs into book/
    smoke      run every chapter with MODE="smoke" in a scratch folder
    check      the rules of tests/book on the notebooks as they lie
    site       run, build the HTML with warnings as errors, check it
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"

# ---------------------------------------------------------------- what every chapter shares

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{slug}/blob/main/book/{name}.ipynb)"
)

SETUP = '''\
# Setup, the same in every chapter: use the amrlib that is here; fetch the repository only where there is none (Colab).
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = os.environ.get("AMR_BOOK_REPOSITORY", "{repository}")
home = next((f for f in (Path.cwd(), *Path.cwd().parents) if (f / "amrlib" / "__init__.py").is_file()), None)
if home is None and getattr(importlib.util.find_spec("amrlib"), "origin", None) is None:
    home = Path.cwd() / "amr-book"
    if not (home / "amrlib" / "__init__.py").is_file():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", REPOSITORY, str(home)], check=True)
if home is not None and str(home) not in sys.path:
    sys.path.insert(0, str(home))
needed = ("tqdm", "seaborn", "safetensors")  # torch, numpy, pandas and matplotlib are taken as they are
missing = [name for name in needed if importlib.util.find_spec(name) is None]
if missing:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)'''

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


def badge(name: str) -> str:
    return BADGE.format(slug="/".join(repository().split("/")[-2:]), name=name)


def setup_cell() -> str:
    return SETUP.replace("{repository}", repository())


def chapters(folder: Path = BOOK) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """In the one form the repository keeps: sorted keys, one space, a newline at the end."""
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


# ---------------------------------------------------------------- frame


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
            if re.fullmatch(r"(?:(?:amrlib\.)?(?:book\.)?(?:glue|claim)\(.*\)\s*)+", first, flags=re.DOTALL) and "\n\n" not in first:
                cell.metadata["tags"] = tags(cell) + ["hide-input" if "claim(" in first else "remove-input"]
    notebook.metadata = nbformat.from_dict({**METADATA})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    changed = nbformat.writes(notebook) != before
    if changed:
        write(notebook, path)
    return changed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("frame", "address"):
        sub = commands.add_parser(name)
        sub.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter of book/")
    args = parser.parse_args(argv)
    if args.command in ("frame", "address"):
        for path in args.notebooks or chapters():
            print(f"{'framed' if frame(path) else 'as it was'}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
