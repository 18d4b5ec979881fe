"""The Sphinx extension of this book; ``_config.yml`` names it, so ``jupyter-book build .`` gives the same pages as make.

- a bold word that is a term of the glossary leads there,
- a chapter ends with how to reproduce it,
- the badge is a picture of our own, so that the pages load nothing,
- a page says what a link to it should show (title, first sentence, picture),
- the search knows the words that readers type (book/_ext/search_words.json),
- the theme's pages are finished by tools/page_html.py.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools import glossary, ledger  # noqa: E402
from tools.chapter_files import BADGE_IMAGE, BOOK, notebooks, repository  # noqa: E402
from tools.page_html import finish  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SHOWN = ("torch", "numpy", "scipy", "numba", "matplotlib")
EXECUTED = ROOT / "_build" / "executed"
ADDRESS = "https://{owner}.github.io/{name}/"  # where the workflow "pages" puts them


@functools.cache
def data_checksum() -> str:
    """Twelve hexadecimal digits for everything under data/, names and contents."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "data").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


@functools.cache
def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def parameters(cells: list[dict[str, Any]]) -> dict[str, str]:
    """MODE, DATASET, SEED as the parameters cell sets them."""
    source = next(("".join(c["source"]) for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])), "")
    return dict(re.findall(r"^(\w+) *= *([^#\n]*?) *(?:#.*)?$", source, flags=re.M))


def seconds(name: str) -> str:
    """How long the last run here took, in words; nothing if the chapter was not run here."""
    file = EXECUTED / f"{name}.ipynb"
    if not file.is_file():
        return ""
    took = json.loads(file.read_text(encoding="utf-8")).get("metadata", {}).get("papermill", {}).get("duration")
    return f"- **The run shown here** took {took:.0f} seconds on one thread.\n" if took else ""


def reproduce(name: str, cells: list[dict[str, Any]]) -> str:
    """The last cell of a chapter's page, MyST: what it takes to get the same numbers."""
    given = parameters(cells)
    versions = ", ".join(f"{p} {pins()[p]}" for p in SHOWN)
    return (
        ":::{dropdown} Reproduce this page\n"
        f"- **Command:** `make setup`, then `.venv/bin/python tools/notebooks.py store book/{name}.ipynb`. It runs the"
        " chapter and stores what it shows; nothing changes if all is as it was.\n"
        f"- **To compare only:** `.venv/bin/python -m pytest --nbval book/{name}.ipynb`\n"
        f"- **Parameters:** `MODE = {given.get('MODE')}`, `DATASET = {given.get('DATASET')}`, `SEED = {given.get('SEED')}`\n"
        "- **Device:** a processor, one thread; a graphics card differs in the last digits.\n"
        f"- **Versions:** Python {sys.version_info[0]}.{sys.version_info[1]}, {versions}; all of them in `requirements.txt`.\n"
        f"- **Data:** the files under `data/`, sha256 `{data_checksum()}…`\n"
        f"{seconds(name)}"
        ":::"
    )


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """A notebook's text on its way into Sphinx."""
    if not source[0].lstrip().startswith("{"):
        return
    depth = docname.count("/") - 1
    source[0] = source[0].replace(BADGE_IMAGE, "../" * depth + "_static/colab-badge.svg")
    name = docname.rsplit("/", 1)[-1]
    if name not in {path.stem for path in notebooks()}:
        return  # an assignment is shown as it is
    app.env.note_dependency(str(BOOK / "glossary.md"))
    notebook, known = json.loads(source[0]), glossary.by_small_letters()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = glossary.linked("".join(cell["source"]), known)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(ledger.RECORD, None)  # for the ledger, not for the page
    end = {"cell_type": "markdown", "id": "reproduce", "metadata": {}, "source": reproduce(name, notebook["cells"])}
    notebook["cells"].append(end)
    source[0] = json.dumps(notebook)


def search_words(app: Sphinx, doctree: Any) -> None:
    """What readers type into the search, as entries of the pages that should come first."""
    from sphinx import addnodes

    app.env.note_dependency(str(BOOK / "_ext" / "search_words.json"))
    words = json.loads((BOOK / "_ext" / "search_words.json").read_text(encoding="utf-8"))
    folder, _, name = app.env.docname.rpartition("/")
    if folder == "book" and name in words:
        doctree.insert(0, addnodes.index(entries=[("single", word, "", "main", None) for word in words[name]]))


def first_words(doctree: Any, most: int = 200) -> str:
    """The first paragraph of some length, cut at a word."""
    from docutils import nodes

    for paragraph in doctree.findall(nodes.paragraph) if doctree is not None else ():
        text = " ".join(paragraph.astext().split())
        if len(text) > 60:
            return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"
    return ""


def link_preview(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """What a link to this page shows elsewhere: Open Graph, which needs whole addresses."""
    owner, name = repository().split("/")[-2:]
    site = ADDRESS.format(owner=owner, name=name)
    told = {
        "og:type": "article",
        "og:site_name": app.config.html_title,
        "og:title": re.sub(r"<[^>]+>", "", context.get("title") or app.config.html_title),
        "og:description": first_words(doctree),
        "og:url": f"{site}{pagename}.html",
        "og:image": f"{site}_static/one_photograph.png",
        "og:image:alt": "One photograph, changed by a little that cannot be seen, and a shopper's list before and after.",
        "twitter:card": "summary_large_image",
    }
    lines = [f'<meta property="{key}" content="{html.escape(value)}"/>' for key, value in told.items() if value]
    if told["og:description"]:
        lines.append(f'<meta name="description" content="{html.escape(told["og:description"])}"/>')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


def without_pythons_words(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """What Python itself says of a named tuple's fields, or of a tuple, says nothing of ours."""
    if lines and lines[0].startswith(("Alias for field number", "Built-in immutable sequence")):
        lines.clear()


def finished(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        finish(Path(app.outdir))


def lighter_maths(app: Sphinx, config: Any) -> None:
    """Of MathJax what formulas need, not its menu of half a megabyte, which would make each formula a stop of the Tab key."""
    config.mathjax_path = "mathjax/startup.js"
    parts = ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]
    config.mathjax3_config = (config.mathjax3_config or {}) | {"loader": {"load": parts}}


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", lighter_maths, priority=900)
    app.connect("source-read", read_source)
    app.connect("doctree-read", search_words)
    app.connect("autodoc-process-docstring", without_pythons_words)
    app.connect("html-page-context", link_preview)
    app.connect("build-finished", finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
