"""The pages: the chapters with the outputs of their last run, built with warnings as errors, and checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from tools import ledger
from tools.chapter_files import BOOK, ROOT, notebooks, read
from tools.checks import page_problems
from tools.runner import BUILD, digest_of, kernel_environment, put, with_outputs

PAGES = BUILD / "html"
# Of tools/ what has a part in the pages; a change in one of the others leaves them as they are. tests/book keeps the list.
SHAPING = ("book_pages", "chapter_files", "checks", "glossary", "ledger", "made_set", "page_html", "pages", "plain",
           "reading_paths", "runner")  # fmt: skip


def toc_files(toc: dict) -> list[str]:
    """Every file a _toc.yml names, in order."""
    found = [toc[key] for key in ("root", "file") if key in toc]
    for key in ("parts", "chapters", "sections"):
        found += [name for entry in toc.get(key, []) for name in toc_files(entry)]
    return found


def without_missing(toc: dict) -> dict:
    """A table of contents without the files that are not there (yet); tests/book insists that all are."""
    kept = dict(toc)
    for key in ("parts", "chapters", "sections"):
        if key in toc:
            there = lambda e: "file" not in e or any((ROOT / f"{e['file']}{s}").is_file() for s in (".md", ".ipynb"))  # noqa: E731
            kept[key] = [without_missing(entry) for entry in toc[key] if there(entry)]
            kept[key] = [entry for entry in kept[key] if "file" in entry or entry.get("chapters")]
    return kept


def assemble(paths: list[Path]) -> Path:
    """_build/src: the book's files, the chapters with the outputs of their last run, and the ledger of these."""
    source = BUILD / "src"
    ran = {path.name for path in paths}
    wanted: set[Path] = set()
    for file in [ROOT / "_config.yml", ROOT / "_toc.yml", *sorted(BOOK.rglob("*"))]:
        if not file.is_file() or any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(ROOT).parts):
            continue
        target = source / file.relative_to(ROOT)
        wanted.add(target)
        if file.parent == BOOK and file.name in ran:
            put(target, (nbformat.writes(with_outputs(file)).rstrip("\n") + "\n").encode())  # as it is stored
        elif file == ledger.PAGE:
            shown = ((path.stem, with_outputs(path) if path.name in ran else read(path)) for path in notebooks())
            put(target, ledger.page(shown).encode())
        elif file.name == "_toc.yml":
            toc = yaml.safe_load(file.read_text(encoding="utf-8"))
            kept = without_missing(toc)
            for name in sorted(set(toc_files(toc)) - set(toc_files(kept))):
                print(f"  not there, so left out of the pages: {name}", flush=True)
            put(target, file.read_bytes() if kept == toc else yaml.safe_dump(kept, sort_keys=False).encode())
        else:
            put(target, file.read_bytes())
    for file in source.rglob("*"):
        if file.is_file() and file not in wanted:
            file.unlink()
    return source


def site(paths: list[Path]) -> bool:
    source = assemble(paths)
    index, stamp = PAGES / "index.html", BUILD / "pages-passed"
    named = [source / "_config.yml", source / "_toc.yml", ROOT / "requirements.txt"]  # and the data, whose checksum pages tell
    tools = [ROOT / "tools" / f"{name}.py" for name in SHAPING]
    frame = digest_of([*named, *tools, *(ROOT / "data").rglob("*")])
    whole = digest_of([*source.rglob("*"), *(ROOT / "amrlib").rglob("*.py"), *(ROOT / "amrbook").rglob("*.py")]) + " " + frame
    passed = stamp.read_text() if stamp.is_file() and index.is_file() else ""
    if passed == whole:
        print(f"the pages are up to date: {index}", flush=True)
        return True
    if not passed.endswith(frame):  # Sphinx repeats no warning of an unchanged page and removes no page, so begin anew
        shutil.rmtree(PAGES, ignore_errors=True)
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    stamp.unlink(missing_ok=True)
    print("building the pages", flush=True)
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    strictly = ["--path-output", str(ROOT), "-W", "-n", "--keep-going", "-q"]
    if subprocess.run([*jupyter_book, *strictly], env=kernel_environment(), cwd=ROOT).returncode:
        print("the pages were not built without warnings; they are listed above", flush=True)
        return False
    problems = page_problems(PAGES)
    if problems:
        print("\n".join(problems), flush=True)
        return False
    stamp.write_text(whole)
    print(f"the book: {index}", flush=True)
    return True
