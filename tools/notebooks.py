"""Run, store, check and frame the chapters. `python tools/notebooks.py --help`; make calls it.

frame      write what is the same in every chapter (badge, setup cell, parameters cell, metadata)
address    the same for every chapter, after the repository's address in pyproject.toml has changed
execute    run the chapters into _build/executed, only those for which something has changed
store      the same, and write the outputs into book/, and the ledger of their claims
claims     write the ledger, book/claims.md, from the stored chapters alone
smoke      run every chapter with MODE="smoke" in a scratch folder
check      hold the chapters, and the pages if they are built, against the rules of tools/checks.py
site       execute, build the pages with warnings as errors, check them
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, sys.path starts at tools/
    sys.path.insert(0, str(ROOT))
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
PAGES = BUILD / "html"

# What the stored outputs depend on besides the chapter's own code. Whatever else is given to --also counts too.
INPUTS = ("amrlib/**/*", "data/**/*", "book/*.json", "book/results/**/*.json", "requirements.txt")

# Stored outputs come from one thread on a CPU, without progress bars: then they are the same everywhere, to the
# digits that are printed. conftest.py sets the same for the kernels that nbval starts.
STORED_UNDER = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel's debugger may write a warning among the outputs
}
PARAMETER_NAMES = {"MODE", "DATASET", "SEED", "DEVICE"}
HEARTBEAT = 20  # seconds between two lines about a chapter that is still running

# ---------------------------------------------------------------- what every chapter shares

BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE = f"[![Open in Colab]({BADGE_IMAGE})](https://colab.research.google.com/github/{{slug}}/blob/main/book/{{name}}.ipynb)"

SETUP = """\
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
needed = ("tqdm", "scipy", "seaborn", "safetensors")  # torch, numpy, pandas and matplotlib are taken as they are
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
            if (
                re.fullmatch(r"(?:(?:amrlib\.)?(?:book\.)?(?:glue|claim|not_testable)\(.*\)\s*)+", first, flags=re.DOTALL)
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
    """Carry the address of pyproject.toml into the files that must spell it out (the chapters get it by frame)."""
    config = ROOT / "_config.yml"
    old = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]["url"]
    for path in [config, ROOT / "CITATION.cff", *ROOT.glob("*.md"), *BOOK.glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        if old in text and old != repository():
            path.write_text(text.replace(old, repository()), encoding="utf-8")
            print(f"readdressed  {path.relative_to(ROOT)}")


# ---------------------------------------------------------------- execute, with a cache that knows the library


def digest_of(files: Iterable[Path]) -> str:
    """One hash of names and contents, and of the Python that reads them."""
    digest = hashlib.sha256(f"python {sys.version_info[:2]}".encode())
    for file in sorted(set(files)):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(os.path.relpath(file, ROOT).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def inputs_digest(also: list[Path] | None = None) -> str:
    """Everything a chapter may read: the library, the data, the pins, recorded results."""
    return digest_of([*(f for pattern in INPUTS for f in ROOT.glob(pattern)), *(f.resolve() for f in also or [])])


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def chapter_key(path: Path, inputs: str) -> str:
    return hashlib.sha256(json.dumps([inputs, code_of(read(path))]).encode()).hexdigest()


def kernel_environment() -> dict[str, str]:
    environment = {**os.environ, **STORED_UNDER}
    environment.pop("MPLBACKEND", None)  # a backend set outside would keep the figures out of the notebook
    environment["IPYTHONDIR"] = str(BUILD / "ipython")  # the reader's own start-up files stay out of the book
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    return environment


class Runner:
    """Runs notebooks through papermill, a few at a time, and says on one line each what happens."""

    def __init__(self, total: int, jobs: int) -> None:
        self.total, self.jobs, self.done = total, jobs, 0
        self.speech = threading.Lock()
        self.starting = threading.Lock()  # two kernels that start together may pick the same port, and one dies
        self.children: set[subprocess.Popen[str]] = set()

    def say(self, text: str) -> None:
        with self.speech:
            print(text, flush=True)

    def papermill(self, source: Path, part: Path, parameters: dict[str, str]) -> tuple[bool, list[str]]:
        """Did it run, and papermill's log."""
        command = [sys.executable, "-m", "papermill", str(source), str(part), "-k", "python3", "--cwd", str(BOOK)]
        command += ["--no-progress-bar", "--log-level", "INFO"]
        for name, value in parameters.items():
            command += ["-p", name, value]
        cells, started = len(read(source).cells), time.monotonic()
        told, log, up = started, [], False
        self.starting.acquire()
        try:
            child = subprocess.Popen(
                command, env=kernel_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            self.children.add(child)
            assert child.stderr is not None
            for line in child.stderr:
                log.append(line.rstrip())
                if found := re.match(r"Executing Cell (\d+)-", line):
                    if not up:
                        up = True
                        self.starting.release()
                    now = time.monotonic()
                    if now - told > HEARTBEAT:
                        told = now
                        self.say(f"  ...     {source.stem}: cell {found[1]} of {cells}, {now - started:.0f} s so far")
            self.children.discard(child)
            return child.wait() == 0, log
        finally:
            if not up:
                self.starting.release()

    def one(self, source: Path, target: Path, parameters: dict[str, str]) -> bool:
        started, part = time.monotonic(), target.with_suffix(".part.ipynb")
        self.say(f"  start   {source.stem}")
        ok, log = self.papermill(source, part, parameters)
        if not ok and any("Kernel died before replying" in line for line in log):
            ok, log = self.papermill(source, part, parameters)  # it never began: another program had taken its port
        self.done += 1
        state = "done  " if ok else "FAILED"
        self.say(f"  {state}  {source.stem}: {time.monotonic() - started:.0f} s  ({self.done} of {self.total})")
        if ok:
            part.replace(target)
        else:
            at = next((n for n, line in enumerate(log) if line.startswith("Exception encountered")), -40)
            lines = [line for line in log[at:] if not line.startswith(("Executing Cell", "Ending Cell"))]
            where = f"the notebook up to the failure: {part.relative_to(ROOT)}"
            self.say("\n".join(f"    {line}" for line in [*lines, where]))
        return ok

    def all(self, work: list[tuple[Path, Path, dict[str, str]]]) -> bool:
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                return all(list(pool.map(lambda job: self.one(*job), work)))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(self.children):
                    child.terminate()
                raise


def execute(paths: list[Path], jobs: int, force: bool = False, also: list[Path] | None = None) -> bool:
    EXECUTED.mkdir(parents=True, exist_ok=True)
    inputs = inputs_digest(also)
    keys = {path: chapter_key(path, inputs) for path in paths}
    stale = []
    for path in paths:
        record, target = EXECUTED / f"{path.stem}.key", EXECUTED / path.name
        if force or not target.is_file() or not record.is_file() or record.read_text() != keys[path]:
            record.unlink(missing_ok=True)
            stale.append(path)
    print(f"chapters: {len(stale)} to run, {len(paths) - len(stale)} unchanged since their last run", flush=True)
    runner = Runner(len(stale), jobs)

    # The later chapters train more models; starting with them, the two processes end at about the same time.
    ok = runner.all([(path, EXECUTED / path.name, {}) for path in reversed(stale)])
    if inputs_digest(also) != inputs:
        print("amrlib/, data/ or requirements.txt changed during the run; what ran will run again next time", flush=True)
        return ok
    for path in stale:
        if (EXECUTED / path.name).is_file() and code_of(read(EXECUTED / path.name)) == code_of(read(path)):
            (EXECUTED / f"{path.stem}.key").write_text(keys[path])
    return ok


def with_outputs(path: Path) -> nbformat.NotebookNode:
    """The chapter as it lies in book/, with the outputs of its last run, in a form that repeats byte for byte."""
    notebook, ran = read(path), read(EXECUTED / path.name)
    if code_of(notebook) != code_of(ran):
        raise SystemExit(f"{path.name}: its code is no longer what was run; run this again")
    outputs = iter(cell.outputs for cell in ran.cells if cell.cell_type == "code")
    count = 0
    for cell in notebook.cells:
        for key in ("execution", "papermill", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        joined: list[nbformat.NotebookNode] = []
        for output in next(outputs):
            if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
                joined[-1].text += output.text  # how a stream is cut into messages is chance
            else:
                joined.append(output)
            if output.output_type == "execute_result":
                output.execution_count = count + 1
        cell.outputs = joined
        cell.execution_count = None
        if cell.source.strip():
            count += 1
            cell.execution_count = count
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def store(paths: list[Path]) -> None:
    for path in paths:
        before = path.read_bytes()
        write(with_outputs(path), path)
        print(f"  {'stored ' if path.read_bytes() != before else 'as it was'}  {path.relative_to(ROOT)}")
    write_ledger()


def write_ledger() -> None:
    from tools import ledger

    put(ledger.PAGE, ledger.stored().encode())


def smoke(paths: list[Path], jobs: int) -> bool:
    """Every chapter with tiny sizes: proves that it can be run as a function of its parameters, not what it says."""
    import papermill

    for path in paths:
        names = set(papermill.inspect_notebook(str(path)))
        if not PARAMETER_NAMES <= names:  # papermill itself would only warn, and run with the notebook's own value
            raise SystemExit(f"{path.name}: its parameters cell lacks {', '.join(sorted(PARAMETER_NAMES - names))}")
    scratch = BUILD / "smoke"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(f"chapters: {len(paths)} to run with MODE=smoke", flush=True)
    return Runner(len(paths), jobs).all([(path, scratch / path.name, {"MODE": "smoke"}) for path in paths])


# ---------------------------------------------------------------- the pages


def put(target: Path, content: bytes) -> None:
    """Write only what differs, so that Sphinx reads again only what has changed."""
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


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
    from tools import ledger

    source = BUILD / "src"
    ran = {path.name for path in paths}
    wanted: set[Path] = set()
    for file in [ROOT / "_config.yml", ROOT / "_toc.yml", *sorted(BOOK.rglob("*"))]:
        if not file.is_file() or any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(ROOT).parts):
            continue
        target = source / file.relative_to(ROOT)
        wanted.add(target)
        if file.parent == BOOK and file.name in ran:
            text = nbformat.writes(with_outputs(file))
            # Colab's own badge is a picture on another machine; the pages carry their own, to be read without a network
            put(target, text.replace(BADGE_IMAGE, "_static/colab-badge.svg").encode())
        elif file == ledger.PAGE:
            shown = ((path.stem, with_outputs(path) if path.name in ran else read(path)) for path in chapters())
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


def mend_backlinks(pages: Path) -> None:
    """viewcode links a listing back under one name a module, which misses what amrlib exports too: amrlib.evaluate."""
    known = set(re.findall(r'id="(amrlib\.[\w.]+)"', (pages / "book" / "api.html").read_text(encoding="utf-8")))
    for page in (pages / "_modules").rglob("*.html"):
        module = ".".join(page.relative_to(pages / "_modules").with_suffix("").parts)

        def mended(link: re.Match[str], module: str = module) -> str:
            name = link[2].removeprefix(f"{module}.").removeprefix("amrlib.")
            return link[1] + next((n for n in (link[2], f"{module}.{name}", f"amrlib.{name}") if n in known), link[2])

        put(page, re.sub(r"(book/api\.html#)(amrlib\.[\w.]+)", mended, page.read_text(encoding="utf-8")).encode())


def site(paths: list[Path]) -> bool:
    source = assemble(paths)
    index, stamp = PAGES / "index.html", BUILD / "pages-passed"
    frame = digest_of([source / "_config.yml", source / "_toc.yml", ROOT / "requirements.txt", *(ROOT / "tools").glob("*.py")])
    whole = digest_of([*source.rglob("*"), *(ROOT / "amrlib").rglob("*.py")]) + " " + frame
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
    from tools.checks import page_problems

    mend_backlinks(PAGES)
    problems = page_problems(PAGES)
    if problems:
        print("\n".join(problems), flush=True)
        return False
    stamp.write_text(whole)
    print(f"the book: {index}", flush=True)
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in ("frame", "address", "execute", "store", "claims", "smoke", "check", "site"):
        sub = commands.add_parser(name)
        sub.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter of book/")
        if name in ("execute", "store", "smoke", "site"):
            sub.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="notebooks run at a time")
        if name in ("execute", "store", "site"):
            sub.add_argument("--force", action="store_true", help="run everything, changed or not")
            sub.add_argument("--also", nargs="*", type=Path, default=[], help="further files the chapters read")
    args = parser.parse_args(argv)
    paths = [path.resolve() for path in args.notebooks] or chapters()
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if not paths:
        parser.error(f"there is no chapter NN_name.ipynb in {BOOK}")

    if args.command in ("frame", "address"):
        if args.command == "address":
            readdress()
        for path in paths:
            print(f"{'framed   ' if frame(path) else 'as it was'}  {path.name}")
        return 0
    if args.command == "smoke":
        return int(not smoke(paths, args.jobs))
    if args.command == "claims":
        write_ledger()
        return 0
    if args.command == "check":
        from tools import ledger
        from tools.checks import book_problems, page_problems

        problems = book_problems(paths) + ledger.problems() + (page_problems(PAGES) if PAGES.is_dir() else [])
        print("\n".join(problems) or f"{len(paths)} chapters: nothing to complain of")
        return int(bool(problems))
    if not execute(paths, args.jobs, args.force, args.also):
        return 1
    if args.command == "store":
        store(paths)
    return int(not site(paths)) if args.command == "site" else 0


if __name__ == "__main__":
    sys.exit(main())
