"""Every model equation leads to the function that implements it, and back."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
ROWS = [line for line in (BOOK / "equations.md").read_text(encoding="utf-8").splitlines() if "{eq}`" in line]
LABELS = {re.search(r"\{eq\}`([\w-]+)`", row)[1]: re.findall(r"\{py:\w+\}`([\w.]+)`", row) for row in ROWS}
CHAPTERS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(BOOK.glob("[0-9][0-9]_*.ipynb")))


def find(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("label", LABELS)
def test_an_equation_has_a_chapter_and_an_implementation_that_names_it(label):
    assert CHAPTERS.count(f"({label})") == 1, f"no chapter, or several, define {label}"
    assert LABELS[label], f"{label} names no function"
    for name in LABELS[label]:
        assert f":eq:`{label}`" in inspect.getdoc(find(name)), f"the docstring of {name} does not lead back to {label}"


def test_no_docstring_names_an_equation_that_the_table_lacks():
    files = [path for folder in ("amrlib", "amrbook") for path in (BOOK.parent / folder).rglob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert set(re.findall(r":eq:`([\w-]+)`", sources)) == set(LABELS)
