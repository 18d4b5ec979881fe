"""``jupyter-book build .`` by itself gives the pages of ``make book``. It builds the book anew, so only in make test-pages."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.chapter_files import ROOT
from tools.pages import PAGES

# What a run here knows and a stored chapter does not: how long it took. The search index has these words too.
TIMES = re.compile(r"<li><p><strong>The run shown here</strong>[^<]*</p></li>\n?")
STAMP = re.compile(r"\?v=[0-9a-f]{8}")  # of style sheets: a second build stamps some that a first one does not
INDEX = "searchindex.js"


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def words(file: Path) -> dict:
    """The search index less the numbers and words of the times."""
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", file.read_text(encoding="utf-8"), re.DOTALL)[1])
    told = {"run", "shown", "took", "second", "one", "thread"}
    return index | {"terms": {k: v for k, v in index["terms"].items() if not k.isdigit() and k not in told}}


@pytest.mark.skipif(os.environ.get("AMR_PAGES") != "full", reason="takes minutes; make test-pages runs it")
@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="git says which files are the book's")
def test_the_pages_are_the_same(browser, tmp_path):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", ".", "-q"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = files(PAGES), files(tmp_path / "_build" / "html")
    assert sorted(ours) == sorted(theirs)
    pages = {name for name in ours if name.endswith(".html")}
    others = sorted(
        name for name in ours if name not in {*pages, INDEX} and ours[name].read_bytes() != theirs[name].read_bytes()
    )
    assert others == []
    same = lambda file: STAMP.sub("", TIMES.sub("", file.read_text(encoding="utf-8")))  # noqa: E731
    assert sorted(name for name in pages if same(ours[name]) != same(theirs[name])) == []
    assert words(ours[INDEX]) == words(theirs[INDEX])
