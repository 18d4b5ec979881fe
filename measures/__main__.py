"""python -m measures run: every library in its environment, then the page. `page` writes book/measures.md again."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from amrlib.atomic_files import write_atomically

from . import page

ROOT = Path(__file__).resolve().parents[1]
# Libraries that can be installed together, and their requirement file; ours runs where this does.
GROUPS = {
    "lists": ("ranx", "pytrec_eval", "torchmetrics"),
    "tables": ("lenskit", "rectools", "replay", "recommenders"),
    "models": ("cornac", "implicit", "recbole"),
}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON")}


def homes() -> Path:
    return Path(os.environ.get("AMRLIB_MEASURES_HOME", ROOT / ".venv-measures"))


def environment(group: str) -> Path:
    """The group's interpreter; its environment is made, or made again after a change of the requirement file."""
    needs, alone = (ROOT / "measures" / "requirements" / f"{group}{end}.txt" for end in ("", "-alone"))
    texts = [path.read_bytes() for path in (needs, alone) if path.is_file()]
    home, digest = homes() / group, hashlib.sha256(b"".join(texts)).hexdigest()
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.is_file() or ready.read_text() != digest:
        print(f"installing {', '.join(GROUPS[group])} into {home.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", needs], check=True)
        if alone.is_file():
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", alone], check=True)
        ready.write_text(digest)
    return python


def ask(python: Path, name: str) -> dict[str, Any]:
    """What the library said, or ``{"not run": why}``."""
    variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
    command = [str(python), "-m", "measures.worker", name]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=900)
    if done.returncode:
        return {"not run": (done.stderr.strip().splitlines() or ["no word why"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def run(only: list[str] | None = None) -> None:
    """Ask every library, or those in ``only``, and store what they said; what was not asked stays as it was."""
    found = json.loads(page.RESULTS.read_text("utf-8")) if page.RESULTS.is_file() else {}
    for group, names in {"": ("amrlib",), **GROUPS}.items():
        wanted = [name for name in names if not only or name in only]
        try:
            python = environment(group) if wanted and group else Path(sys.executable)
        except subprocess.CalledProcessError as error:
            found |= {name: {"not run": f"its environment could not be made ({error.returncode})"} for name in wanted}
            continue
        for name in wanted:
            found[name] = ask(python, name)
            print(f"{name}: {found[name].get('not run', found[name].get('version'))}", flush=True)
    write_atomically(page.RESULTS, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="measures", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="what make measures does")
    runner.add_argument("--only", nargs="*", help="these libraries alone")
    commands.add_parser("page", help="write book/measures.md from the stored results")
    options = parser.parse_args(arguments)
    if options.command == "run":
        run(options.only)
    page.write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
