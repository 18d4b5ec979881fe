"""The whole command on made files of the published sizes, killed on the way and resumed: minutes, and gigabytes of disk.

    AMRBOOK_FULL_SIZE=1 python -m pytest tests/book/test_replicate_full_size.py -s       # both sets, 12 GB of disk
    AMRBOOK_FULL_SIZE=pinterest python -m pytest tests/book/test_replicate_full_size.py -s

What it prints is time and the most memory; of a memory map the pages that were in use count as well."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amrbook.replicate import made
from amrbook.replicate.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
ASKED = os.environ.get("AMRBOOK_FULL_SIZE", "")
COMMAND = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from amrbook.replicate import made, run, weights
dataset, cache, folder, epochs, dim, recipes = sys.argv[1:]
made.write = lambda *_: None  # they lie there
weights.WEIGHTS = replace(weights.WEIGHTS, urls=())
with made.served(dataset, Path(cache), made.PUBLISHED[dataset], known=False):
    run.replicate(dataset, folder, recipes.split(), 1, True, "cpu", int(epochs), int(dim), progress=False)
own = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in open("/proc/self/status") if "kB" in line}
print("MEMORY", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB at most; not of files, now:", own["RssAnon"])
"""
HOW = {"pinterest": ("4", "64", "paper authors ours"), "amazon-women": ("1", "8", "authors")}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", HOW)
def test_the_whole_command_at_the_published_size(dataset, tmp_path):
    if ASKED not in ("1", dataset):
        pytest.skip("minutes and gigabytes: AMRBOOK_FULL_SIZE=1 asks for it")
    cache, (epochs, dim, recipes) = tmp_path / "cache", HOW[dataset]
    start = time.perf_counter()
    made.write(dataset, cache, made.PUBLISHED[dataset])
    print(f"\n{dataset}: files written in {time.perf_counter() - start:.0f} s", flush=True)
    command = [sys.executable, "-u", "-c", COMMAND, dataset, str(cache), str(tmp_path / "run"), epochs, dim, recipes]
    environment = os.environ | {"AMRLIB_DATA": str(cache)}
    start, seen = time.perf_counter(), []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            seen.append(line)
            if "VBPR: NDCG" in line:  # the first of its stages is done
                process.kill()
                break
    print(f"killed after {time.perf_counter() - start:.0f} s, at: {seen[-1]}", flush=True)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    print(f"resumed, {time.perf_counter() - start:.0f} s\n{done.stdout}", flush=True)
    assert done.returncode == 0 and seen[-1] not in done.stdout, "it began anew"
    record = json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))
    size = made.PUBLISHED[dataset]
    assert [record["dataset"][word] for word in ("users", "items", "dimensions")] == [size.users, size.items, size.D]
    assert record["dataset"]["rows"] + record["dataset"]["held out"] == size.interactions
    for name, recipe in record["recipes"].items():
        assert tuple(recipe["seeds"]["0"]) == RECIPES[name].models
    assert int(re.search(r"MEMORY (\d+)", done.stdout)[1]) < 16_000
    for file in cache.rglob("*.b"):
        file.unlink()
