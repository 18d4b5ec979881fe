"""Sphinx looks for an extension beside the configuration; what it does is in tools/book_pages.py."""

import sys
from pathlib import Path

root = next(folder for folder in Path(__file__).resolve().parents if (folder / "tools" / "book_pages.py").is_file())
if str(root) not in sys.path:
    sys.path.insert(0, str(root))

from tools.book_pages import setup  # noqa: E402, F401
