"""Rules for the chapters and the built pages. Each function returns what is wrong, one line each, naming the file."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import nbformat

from tools import plain
from tools.chapter_files import BOOK, METADATA, PARAMETER_NAMES, badge, notebooks, read, setup_cell, slug, tags

MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:home|root|work|Users|tmp|usr|opt|mnt)/[\w.-]+|[A-Z]:\\\\?Users")
DECIMAL = re.compile(r"(?<![\w.§=])(?<!=\s)[-−]?\d*\.\d+\b(?!\.\d)|(?<![\w.=])\d+(?:\.\d+)?\s?%")
# A number of somebody else's, cited by role or by link; or one with a stated reason to be typed
CITED = re.compile(r"\{cite|\]\(https://(?:arxiv|doi)\.org/|<!-- literal: \S")
IGNORED = {"nbval-ignore-output", "nbval-skip"}


# ---------------------------------------------------------------- chapters


def prose(markdown: str) -> list[str]:
    """The paragraphs of a markdown text without its code, mathematics, links' targets and comments."""
    text = re.sub(r"^(`{3,}|:{3,}|~{3,})\{(?:math|figure|image|code|bibliography)[\s\S]*?^\1\s*$", "", markdown, flags=re.M)
    text = re.sub(r"^(`{3,}|~{3,})[^{\n][\s\S]*?^\1\s*$|^(`{3,})\n[\s\S]*?^\2\s*$", "", text, flags=re.M)
    text = re.sub(r"\$\$[\s\S]*?\$\$|\\begin\{[\s\S]*?\\end\{\w+\*?\}", "", text)
    text = re.sub(r"\$[^$\n]+\$", "", text)
    paragraphs = re.split(r"\n\s*\n", text)
    return [re.sub(r"\{[\w:]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|https?://\S+", "", p) for p in paragraphs if not CITED.search(p)]


def typed_numbers(markdown: str) -> list[str]:
    """Decimals and percentages typed into prose: results belong into glue(), settings into code or mathematics."""
    return [found[0] for paragraph in prose(markdown) for found in DECIMAL.finditer(paragraph)]


def claim_problems(code: str) -> list[str]:
    """What the claims of a cell rest on must be said: the runs, and over several runs the effect."""
    wrong = []
    for call in ast.walk(ast.parse(code)) if "claim(" in code else ():
        if not isinstance(call, ast.Call) or getattr(call.func, "id", getattr(call.func, "attr", "")) != "claim":
            continue
        words = "".join(n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        given = {k.arg: k.value for k in call.keywords}
        seeds = given.get("seeds")
        here = f"the claim {words[:40]!r}"
        if seeds is None:
            wrong.append(f'{here} does not say on how many runs it rests: seeds=, or seeds="exact" where nothing is drawn')
        elif not isinstance(seeds, ast.Constant) and "effect" not in given:
            wrong.append(f"{here} rests on several runs and gives no effect=")
        elif isinstance(seeds, ast.Constant) and seeds.value != "exact":
            if seeds.value != 1:
                wrong.append(f"{here}: seeds= is typed; count them: len(SEEDS)")
            elif "this run" not in words:
                wrong.append(f'{here} rests on one run and does not say "in this run"')
        test = call.args[1] if len(call.args) > 1 else None
        if isinstance(test, ast.Constant):
            wrong.append(f"{here}: its test is {test.value!r}, so it cannot fail; glue() shows a sentence that claims nothing")
        if isinstance(given.get("verdict"), ast.Constant):
            wrong.append(f"{here}: a typed verdict; use verdict_of(ours, half_width, theirs)")
    return wrong


def comparison_problems(code: str) -> list[str]:
    """What nbval cannot compare: output that is there or not by the frontend's whim, or that is replaced while it is shown."""
    wrong = []
    if code.rstrip().endswith(";"):
        wrong.append("its last line ends in a semicolon, which hides its value in Jupyter and not in a test; assign it to _")
    for word in re.findall(r"\bclear_output\b|\bupdate_display\b|\bdisplay_id\b", re.sub(r"#.*", "", code)):
        wrong.append(f"{word}: output that is taken back or replaced is stored once and tested as another; show the last state")
    return wrong


def output_text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "\n".join(str(value) for kind, value in data.items() if kind.startswith("text/"))


def minus_zero(output: nbformat.NotebookNode) -> str:
    """The first "-0", "-0.0 %" and the like in what an output says; "" where there is none."""
    said = output.text if output.output_type == "stream" else "\n".join(
        str(text) for kind, text in output.get("data", {}).items() if kind in ("text/plain", "text/markdown")
    )  # fmt: skip
    found = re.search(r"(?<![\w.])[-−]0(?:\.0+)?(?![\w.])[^\n]{,12}", said)
    return found[0] if found else ""


def notebook_problems(path: Path) -> list[str]:
    """Everything that can be said of one chapter without running it."""
    notebook = read(path)
    cells, wrong = notebook.cells, []
    say = lambda at, text: wrong.append(f"{path.name}, cell {at}: {text}" if at is not None else f"{path.name}: {text}")  # noqa: E731

    # the frame
    if not cells or cells[0].cell_type != "markdown" or not re.match(r"# \S", cells[0].source):
        say(0, "must be markdown, a title and the Colab badge")
    elif badge(path.stem) not in cells[0].source:
        say(0, "has not this chapter's badge at the repository's address; run: python tools/notebooks.py frame")
    if len(cells) < 2 or cells[1].cell_type != "code" or cells[1].source != setup_cell():
        say(1, "is not the common setup cell; run: python tools/notebooks.py frame")
    parameters = [i for i, cell in enumerate(cells) if "parameters" in tags(cell)]
    if len(parameters) != 1 or cells[parameters[0]].cell_type != "code":
        say(None, "must have one code cell tagged 'parameters'")
    else:
        names = set(re.findall(r"^(\w+)\s*=", cells[parameters[0]].source, flags=re.M))
        if not PARAMETER_NAMES <= names:
            say(parameters[0], f"parameters lack {', '.join(sorted(PARAMETER_NAMES - names))}")
        if not re.search(r'^MODE = "book"', cells[parameters[0]].source, flags=re.M):
            say(parameters[0], 'must say MODE = "book", what the pages show')
    if notebook.metadata != METADATA:
        say(None, "its metadata is not the common one; run: python tools/notebooks.py frame")

    # cells and their stored outputs
    expected, outputs = 0, 0
    for at, cell in enumerate(cells):
        if found := MACHINE_PATH.search(cell.source):
            say(at, f"names a path of one machine: {found[0]}")
        if cell.cell_type == "markdown":
            for number in typed_numbers(cell.source):
                say(at, f"a number typed into prose: {number!r}; use glue(), a citation, or <!-- literal: why -->")
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        expected += 1
        for text in claim_problems(cell.source) + comparison_problems(cell.source):
            say(at, text)
        if cell.execution_count != expected:
            say(at, f"execution count {cell.execution_count}, not {expected}: not stored by make notebooks")
        if IGNORED & set(tags(cell)) and len(str(cell.metadata.get("nbval_reason", ""))) < 20:
            say(at, "its output is not compared; say why in the cell's metadata, nbval_reason")
        for output in cell.outputs:
            outputs += 1
            if output.output_type == "error":
                say(at, f"an error is stored: {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                say(at, f"something on stderr is stored: {output.text.strip().splitlines()[0][:80]}")
            text = output_text(output) if output.output_type != "error" else ""
            if found := MACHINE_PATH.search(text):
                say(at, f"its output names a path of one machine: {found[0]}")
            if re.search(r"^✗ solution", text, flags=re.M):
                say(at, f"a solution that its own check refuses: {text.splitlines()[0][:80]}")
            if found := minus_zero(output):
                say(at, f"a number that is rounded to minus zero: {found!r}; format it with amrbook.formats.plus_minus")
            if re.search(r"(?<![\w.])[-+]?(?:nan|inf)(?!\w)", text) and "text/markdown" in output.get("data", {}):
                say(at, f"a sentence with nan or inf: {text.splitlines()[0][:80]}")
    if not outputs:
        say(None, "no output is stored, so nothing would be compared; run: make notebooks")

    for at, text in link_problems(notebook) + figure_problems(notebook) + plain.problems(path.stem, notebook):
        say(at, text)
    return wrong


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings; a fence's lines are none."""
    cells = read(path).cells if path.suffix == ".ipynb" else [nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))]
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"^(`{3,}|~{3,})[\s\S]*?^\1\s*$", "", text, flags=re.M)
    return {slug(found) for found in re.findall(r"^#{1,3} (.+?)\s*$", text, flags=re.M)}


def link_problems(notebook: nbformat.NotebookNode, folder: Path = BOOK) -> list[tuple[int, str]]:
    """Links from one page of the book to a place on another that is not there (any more)."""
    wrong = []
    for at, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for name, anchor in re.findall(r"\]\((\w+\.(?:ipynb|md))(?:#([\w-]+))?\)", cell.source):
                if not (folder / name).is_file():
                    wrong.append((at, f"links to {name}, which is not there"))
                elif anchor and anchor not in headings(folder / name):
                    wrong.append((at, f"links to {name}#{anchor}; no heading of that page has this anchor"))
    return wrong


def figures(notebook: nbformat.NotebookNode) -> list[tuple[int, nbformat.NotebookNode, int]]:
    """(index, cell, number of pictures) of the cells whose output is a picture."""
    found = []
    for at, cell in enumerate(notebook.cells):
        n = sum(any(k.startswith("image/") for k in o.get("data", {})) for o in cell.get("outputs", []))
        if n:
            found.append((at, cell, n))
    return found


def alt_text(cell: nbformat.NotebookNode) -> str:
    return str(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")).strip()


def figure_problems(notebook: nbformat.NotebookNode) -> list[tuple[int, str]]:
    wrong = []
    for at, cell, n in figures(notebook):
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if n > 1:
            wrong.append((at, f"{n} pictures from one cell share one alt text; give each a cell"))
        if len(alt_text(cell)) < 40:
            wrong.append((at, "a picture without an alt text of 40 characters: metadata mystnb.image.alt"))
        if len(str(figure.get("caption", ""))) < 15:
            wrong.append((at, "a picture without a caption: metadata mystnb.figure.caption"))
        for what in (alt_text(cell), str(figure.get("caption", ""))):
            wrong += [(at, f"a number typed into an alt text or caption: {n!r}") for n in typed_numbers(what)]
    return wrong


def book_problems(paths: list[Path] | None = None) -> list[str]:
    """All chapters, each and against one another."""
    wrong: list[str] = []
    alts: dict[str, str] = {}
    names: dict[str, str] = {}
    for path in paths if paths is not None else notebooks():
        wrong += notebook_problems(path)
        for at, cell, _ in figures(read(path)):
            here = f"{path.name}, cell {at}"
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            for kind, seen, key in (("alt text", alts, alt_text(cell)), ("figure name", names, name)):
                if key and key in seen:
                    wrong.append(f"{here}: the same {kind} as {seen[key]}")
                elif key:
                    seen[key] = here
    return wrong


# ---------------------------------------------------------------- pages


class Page(HTMLParser):
    """Links, loads, pictures, ids and readable text of one page."""

    LOADS: ClassVar = {
        "script": "src",
        "img": "src",
        "link": "href",
        "iframe": "src",
        "source": "src",
        "video": "src",
        "audio": "src",
        "object": "data",
    }

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.pictures: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.code: list[str] = []
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        a = dict(attributes)
        if name := a.get("id"):
            self.ids.add(name)
        if tag == "a" and a.get("href"):
            self.links.append(a["href"] or "")
        if tag in self.LOADS and a.get(self.LOADS[tag]) and a.get("rel") != "canonical":
            self.loads.append(a[self.LOADS[tag]] or "")
        if tag == "img":
            self.pictures.append((a.get("src") or "", a.get("alt")))
        if "style" in a and "url(" in (a["style"] or ""):
            self.loads += re.findall(r"url\(['\"]?([^)'\"]+)", a["style"] or "")
        if tag in ("script", "style", "pre", "code"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            self.inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if "script" in self.inside or "style" in self.inside:
            self.code.append(data)
        elif not self.inside:
            self.text.append(data)


def remote(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https")


def page_problems(folder: Path) -> list[str]:
    """Remote loads, pictures without words, dead links, and markup that was not understood, in built HTML."""
    wrong: list[str] = []
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    for path, page in pages.items():
        here = path.relative_to(folder.resolve())
        wrong += [f"{here}: loads {address} from another machine" for address in page.loads if remote(address)]
        for script in page.code:
            for address in re.findall(r"https?://[\w./@-]+\.(?:js|css|woff2?)\b|@import[^;]*//[^;]+", script):
                wrong.append(f"{here}: a script or style may load {address}")
        for source, alt in page.pictures:
            if alt is None or re.search(r"_images/|^[0-9a-f]{32,}|\.(png|svg)$", alt):
                wrong.append(f"{here}: {source} has no alt text of its own ({alt!r})")
        text = " ".join(page.text)
        raw = r"\{[\w:]+\}`[^`]*`|:::\s*\{?\w*|Traceback \(most recent call last\)|\$[^$\n]{1,80}\$|\$\$"
        for found in re.findall(raw, text):
            wrong.append(f"{here}: markup that was not understood, or an error: {found}")
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                wrong.append(f"{here}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                wrong.append(f"{here}: {link} leads to no place on that page")
    for style in sorted((folder / "_static").rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^)'\";\s]+)", style.read_text(encoding="utf-8", errors="replace")
        ):
            wrong.append(f"{style.relative_to(folder)}: loads {address} from another machine")
    return wrong
