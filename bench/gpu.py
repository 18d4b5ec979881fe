"""Everything about a graphics card in one command and one file: tests, a chain trained on both devices, speed.

Each part is a process of its own with a time limit, so that one that fails, or hangs, takes nothing from the others. This
file needs nothing but Python: where a library is missing, the part that needs it says so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["LIMITS", "check", "say"]

ROOT = Path(__file__).resolve().parents[1]
USED = ("torch", "numpy", "pandas", "scipy", "tqdm", "safetensors", "filelock", "PIL", "numba", "pytest")
# seconds that each part may take; in this order, so that what tells most comes first
LIMITS = {"about": 40, "tests": 130, "speed": 140, "chain": 70, "naive": 60, "host": 50, "ranking": 30}


def check(out: Path, size: str, batches: str, device: str = "cuda", only: list[str] | None = None, seconds: float = 350) -> int:
    """Run the parts, and write what they found to ``out`` after each. The number of parts that failed.

    Parameters
    ----------
    size, batches : as the command line has them
    seconds : for all parts together
    """
    end, found = time.monotonic() + seconds, dict[str, Any](problems={})
    missing = [name for name in USED if importlib.util.find_spec(name) is None]
    found["machine"] = {"missing": ", ".join(missing) or "nothing"}
    for part in only or LIMITS:
        limit = min(LIMITS[part], end - time.monotonic())
        print(f"{part} …", flush=True)
        begun = time.monotonic()
        entries, problem = run_part(part, limit, size, batches, device) if limit > 1 else ([], "no time was left for it")
        for entry in entries:
            merge(found, entry)
        if problem:
            found["problems"][part] = problem
        found.setdefault("took", {})[part] = round(time.monotonic() - begun, 1)
        write(out, found)
    print(say(found))
    print(f"written to {out}; python -m bench page puts it on the page from bench/results/gpu.json")
    tests = found.get("tests", {})
    return len(found["problems"]) + tests.get("failed", 0)


def run_part(part: str, limit: float, size: str, batches: str, device: str) -> tuple[list[dict[str, Any]], str]:
    """What a part reported, line by line, until it ended or its time was up; and what went wrong, if anything did."""
    with tempfile.TemporaryDirectory() as folder:
        report, notes = Path(folder) / "report", Path(folder) / "notes"
        command = [sys.executable, "-m", "bench", "gpu-part", part, str(report), "--size", size, "--batches", batches,
                   "--device", device]  # fmt: skip
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": paths, "TQDM_DISABLE": "1"}
        with notes.open("w") as sink:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink, start_new_session=True)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        lines = report.read_text("utf-8").splitlines() if report.exists() else []
        words = [line.strip() for line in notes.read_text("utf-8", "replace").splitlines() if line.strip()]
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:  # cut off by the end of its time
            pass
    if process.returncode == -signal.SIGKILL:
        return entries, f"stopped after {limit:.0f} s"
    return entries, "" if process.returncode == 0 else words[-1] if words else f"ended with {process.returncode}"


def merge(into: dict[str, Any], entry: dict[str, Any]) -> None:
    """Put an entry in, dictionaries into dictionaries."""
    for key, value in entry.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def write(out: Path, found: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(out)


def say(found: dict[str, Any]) -> str:
    """The record in words."""
    machine, lines = found.get("machine", {}), []
    lines.append(", ".join(f"{k} {v}" for k, v in machine.items()))
    if tests := found.get("tests"):
        counts = ", ".join(f"{tests[kind]} {kind}" for kind in ("passed", "failed", "skipped"))
        lines.append(f"tests ({tests['runner']}): {counts}")
        lines += [f"  FAILED {name}: {why}" for name, why in tests["failures"].items()]
    for name, row in found.get("rows", {}).items():
        lines.append(f"{name}: {row['seconds']:.3g} s, {row['ratio']:.2f} times the larger of its floors "
                     f"(memory {row['floor_memory']:.3g} s, products {row['floor_products']:.3g} s)")  # fmt: skip
    for model, devices in found.get("chain", {}).items():
        for measure, (mean, half) in devices["difference"].items():
            lines.append(f"{model}, {measure}: card less processor {mean:+.4f} ± {half:.4f}")
    lines += [f"PROBLEM {part}: {why}" for part, why in found["problems"].items()]
    return "\n".join(lines)
