"""All contenders side by side: one process each, one window each in turn, the same again several times."""

from __future__ import annotations

import datetime
import json
import os
import platform
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amrlib.atomic_files import write_atomically

from .contenders import CONTENDERS
from .workloads import Size

__all__ = ["RESULTS", "Contest", "compare", "machine", "peers_python", "ratio", "save", "units"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PEERS = {"cornac", "implicit", "recbole", "lenskit"}
LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON")
# not LK_NUM_THREADS: with 1, LensKit's own threads wait for one another and it is slower by far
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES} | {"LK_NUM_BACKEND_THREADS": "1"}
# glibc hands large pieces of memory back and takes them anew, page by page, in every batch; with these it keeps them
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
START_SECONDS = 180  # until a contender stands ready, compilation included


def peers_python() -> Path | None:
    """The interpreter of the peers' environment, where `make bench` has made one."""
    path = Path(os.environ.get("AMRLIB_BENCH_PYTHON", ROOT / ".venv-bench" / "bin" / "python"))
    return path if path.exists() else None


def machine(threads: int = 1) -> dict[str, Any]:
    """What it was measured on, for the record."""
    try:
        facts = dict(
            map(str.strip, line.split(":", 1)) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
        )
    except OSError:
        facts = {}
    flags = facts.get("flags", "").split()
    wide = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(), "instructions": wide,
        "cores": os.cpu_count(), "threads": threads, "system": platform.system(),
        "python": platform.python_version(), "date": datetime.date.today().isoformat(),
    }  # fmt: skip


class Contest:
    """Processes that wait for their windows; see :class:`bench.workloads.Clock` for what is said over the pipes."""

    def __init__(
        self, names: Iterable[str], size: Size, batch: int, seed: int = 0, say: Any = print,
        variables: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.ready: set[str] = set()
        self.running: dict[str, subprocess.Popen] = {}
        self.notes: dict[str, Any] = {}
        self.say = say
        for name in names:
            library = CONTENDERS[name].library
            python = peers_python() if library in PEERS else Path(sys.executable)
            if python is None:
                self.skip(name, f"{library} is not installed; make bench without QUICK=1 does it")
                continue
            self.notes[name] = tempfile.TemporaryFile("w+")
            values = ",".join(map(str, (size.users, size.items, size.interactions, size.D, size.K)))
            command = [str(python), "-m", "bench", "worker", name, "--size", values, "--batch", str(batch), "--seed", str(seed)]
            environment = {**os.environ, **ONE_THREAD, "TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
            environment |= {f"{key}_NUM_THREADS": str(CONTENDERS[name].threads) for key in LIBRARIES} | (variables or {})
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.notes[name],
            )  # fmt: skip
            if len(self.running) % 2 == 0:  # start no more at a time than a small machine has cores
                self._ready(list(self.running)[-2])
        for name in list(self.running):
            self._ready(name)

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.running.values():
            process.stdin.close()  # the end of its input is the end of it
        for process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        for note in self.notes.values():
            note.close()

    def skip(self, name: str, why: str) -> None:
        self.skipped[name] = why
        self.say(f"  {name}: left out, {why}")

    def window(self, name: str, seconds: float) -> dict[str, Any] | None:
        """What the contender says after one window; None when it has ended instead."""
        if name not in self.running:
            return None
        try:
            print(seconds, file=self.running[name].stdin, flush=True)
        except BrokenPipeError:
            pass
        return self._answer(name, 60 + 20 * seconds)

    def _ready(self, name: str) -> None:
        if name in self.running and name not in self.ready:
            self.ready.add(name)
            if answer := self._answer(name, START_SECONDS):
                self.versions |= {library: version for library, version in answer["versions"].items()
                                  if library == CONTENDERS[name].library or library not in self.versions}  # fmt: skip

    def _answer(self, name: str, patience: float) -> dict[str, Any] | None:
        process = self.running[name]
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(patience) else ""
        if line:
            return json.loads(line)
        del self.running[name]
        late = process.poll() is None and not _ended(process)
        process.kill()
        process.wait()
        self.notes[name].seek(0)
        words = [text.strip() for text in self.notes[name].read().splitlines() if text.strip()]
        self.skip(name, f"no answer in {patience:.0f} seconds" if late else words[-1] if words else "ended without a word")
        return None


def _ended(process: subprocess.Popen) -> bool:
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        return False
    return True


def compare(
    names: Iterable[str], size: Size, batch: int, rounds: int = 5, seconds: float = 1.5, seed: int = 0, say: Any = print,
    variables: dict[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Units a second of every contender, in ``rounds`` windows that take turns; ``variables`` go into its environment.

    Returns
    -------
    dict
        ``rates``: name → one number a round (for "ceiling": one dict a round); ``skipped``: name → why;
        ``versions``, ``settings``.
    """
    with Contest(names, size, batch, seed, say, variables) as contest:
        rates: dict[str, list] = {name: [] for name in contest.running}
        for name in list(contest.running):
            contest.window(name, seconds / 3)  # warm: caches, allocator
        for number in range(rounds):
            order = list(contest.running)
            for name in order[number % len(order) :] + order[: number % len(order)] if order else []:
                answer = contest.window(name, seconds)
                if answer is not None:
                    rates[name].append(answer.get("rates") or answer["count"] / answer["seconds"])
        complete = {name: values for name, values in rates.items() if len(values) == rounds}
        return {
            "size": vars(size) | {"batch": batch}, "rounds": rounds, "seconds": seconds, "seed": seed,
            "rates": complete, "skipped": contest.skipped, "versions": contest.versions,
        }  # fmt: skip


def units(values: list[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return median, ordered[0], ordered[-1]


def ratio(rates: dict[str, list], ours: str, theirs: str) -> tuple[float, float, float] | None:
    """How many times faster ``ours`` is, round by round: median, least, most. None where one is missing."""
    if ours not in rates or theirs not in rates:
        return None
    return units([a / b for a, b in zip(rates[ours], rates[theirs], strict=True)])


def floor(ceiling: list[dict[str, float]], size: dict[str, int]) -> list[dict[str, float]]:
    """Seconds a batch cannot do without, for each round: two products of B·D·K multiply-adds, at the rates of their own
    shapes and at that of a square product, the most the machine does; and the gather of 2B rows."""
    work = 2 * size["batch"] * size["D"] * size["K"] / 1e9
    moved = 2 * size["batch"] * size["D"] * 4 / 1e9
    return [
        {
            "products": work / r["forward"] + work / r["backward"],
            "square": 2 * work / r["square"],
            "gather": moved / r["gather"],
        }
        for r in ceiling
    ]


def save(record: dict[str, Any], name: str, folder: Path = RESULTS) -> Path:
    path = folder / f"{name}.json"
    write_atomically(path, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
    return path
