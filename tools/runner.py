"""Run the chapters through papermill, with a cache that knows the library, and store their outputs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from tools import ledger, made_set, reading_paths
from tools.chapter_files import BOOK, METADATA, PARAMETER_NAMES, ROOT, read, write

BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"

# What the stored outputs depend on besides the chapter's own code. Whatever else is given to --also counts too.
INPUTS = ("amrlib/**/*", "amrbook/**/*", "data/**/*", "book/*.json", "book/results/**/*.json", "bench/results/*.json",
          "requirements.txt")  # fmt: skip

# Stored outputs come from one thread on a CPU, without progress bars: then they are the same everywhere, to the
# digits that are printed. conftest.py sets the same for the kernels that nbval starts.
STORED_UNDER = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),  # memory that an array leaves is kept for the next one: by glibc, others ignore it
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel's debugger may write a warning among the outputs
}
HEARTBEAT = 20  # seconds between two lines about a chapter that is still running


def put(target: Path, content: bytes) -> None:
    """Write only what differs, so that Sphinx reads again only what has changed."""
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


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


def asks_for_another_set(path: Path) -> str | None:
    """What ``amrbook.settings.require`` said, if a chapter that did not end was stopped by it, and in its first cell."""
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    first = next(n for n, cell in enumerate(code) if "injected-parameters" in cell.metadata.get("tags", [])) + 1
    errors = [output for output in code[first].outputs if output.output_type == "error"]
    return next((str(e.evalue) for e in errors if e.ename == "ValueError" and e.evalue.startswith("this chapter shows")), None)


class Runner:
    """Runs notebooks through papermill, a few at a time, and says on one line each what happens."""

    def __init__(self, total: int, jobs: int, environment: dict[str, str] | None = None) -> None:
        self.total, self.jobs, self.done = total, jobs, 0
        self.environment = kernel_environment() | (environment or {})
        self.speech = threading.Lock()
        self.starting = threading.Lock()  # two kernels that start together may pick the same port, and one dies
        self.children: set[subprocess.Popen[str]] = set()

    def say(self, text: str) -> None:
        with self.speech:
            print(text, flush=True)

    def papermill(self, source: Path, part: Path, parameters: dict[str, str]) -> tuple[bool, list[str]]:
        """Did it run, and papermill's log."""
        command = [sys.executable, "-m", "papermill", str(source), str(part), "-k", "python3", "--cwd", str(BOOK)]
        command += ["--no-progress-bar", "--log-level", "INFO", "--log-output"]  # else it tells of no cell
        for name, value in parameters.items():
            command += ["-p", name, value]
        cells, started = len(read(source).cells), time.monotonic()
        told, log, up = started, [], False
        self.starting.acquire()
        try:
            child = subprocess.Popen(
                command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
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
        if not ok and "DATASET" in parameters and (why := asks_for_another_set(part)):
            self.say(f"  asks    {source.stem}: {why}  ({self.done} of {self.total})")
            part.replace(target)
            return True
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
        print("what the chapters read has changed during the run; what ran will run again next time", flush=True)
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
    """What is made from all stored chapters: the ledger of their claims, and the times on the page of paths."""
    put(ledger.PAGE, ledger.stored().encode())
    page = reading_paths.PAGE
    if page.is_file():
        put(page, reading_paths.current(page.read_text(encoding="utf-8"), reading_paths.minutes()).encode())


def smoke(paths: list[Path], jobs: int) -> bool:
    """Every chapter with tiny sizes, on two data sets: proves that it is a function of its parameters, not what it says."""
    import papermill

    for path in paths:
        names = set(papermill.inspect_notebook(str(path)))
        if not PARAMETER_NAMES <= names:  # papermill itself would only warn, and run with the notebook's own value
            raise SystemExit(f"{path.name}: its parameters cell lacks {', '.join(sorted(PARAMETER_NAMES - names))}")
    scratch = BUILD / "smoke"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(f"chapters: {len(paths)} to run with MODE=smoke", flush=True)
    if not Runner(len(paths), jobs).all([(path, scratch / path.name, {"MODE": "smoke"}) for path in paths]):
        return False

    # and with a set that has features alone: a chapter that shows more says so in its first cell
    made_set.write_made_set(scratch / "data")
    print(f"chapters: {len(paths)} to run with MODE=smoke, DATASET={made_set.NAME} (made files)", flush=True)
    runner = Runner(len(paths), jobs, {"AMRLIB_DATA": str(scratch / "data")})
    how = {"MODE": "smoke", "DATASET": made_set.NAME}
    return runner.all([(path, scratch / f"{path.stem}-{made_set.NAME}.ipynb", how) for path in paths])
