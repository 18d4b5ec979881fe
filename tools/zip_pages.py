"""The pages as one file to read without a network: _build/ranking-by-looks.zip. ``make zip`` calls it.

The same pages give the same bytes: names in order, one date for all.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES, TARGET = ROOT / "_build" / "html", ROOT / "_build" / "ranking-by-looks.zip"
# What no page loads: maps for developers, other kinds of formula output, voices of other languages
LEFT_OUT = (".map", ".buildinfo", "print.html", "objects.inv")
MATHJAX = ("startup.js", "core.js", "input/tex.js", "input/tex/", "output/chtml", "a11y/assistive-mml.js")


def wanted(file: Path) -> bool:
    path = file.relative_to(PAGES).as_posix()
    if path.endswith(LEFT_OUT) or path.startswith("_static/locales/"):
        return False
    return not path.startswith("_static/mathjax/") or path.removeprefix("_static/mathjax/").startswith(MATHJAX)


def make(target: Path = TARGET) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(f for f in PAGES.rglob("*") if f.is_file() and wanted(f)):
            entry = zipfile.ZipInfo(f"ranking-by-looks/{file.relative_to(PAGES).as_posix()}", (2026, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return target


def main() -> int:
    if not (PAGES.parent / "pages-passed").is_file():
        print("the pages are not built, or not finished: make book")
        return 1
    file = make()
    print(f"unpack it and open ranking-by-looks/index.html: {file}, {file.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
