"""Slides from the chapters: headings, formulas, visible code, figures and checked sentences; the prose becomes the notes.

reveal.js and MathJax lie beside the slides as files, pictures inside them: they show without a network.
"""

import base64
import html
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from classroom.sandbox import ROOT
from tools.chapter_files import chapters, read, tags
from tools.runner import put

HIDDEN_INPUT = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
HIDDEN_OUTPUT = {"hide-output", "remove-output", "hide-cell", "remove-cell"}
END = "## Exercises"  # what follows is for the reader at home

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="reveal/dist/reveal.css"><link rel="stylesheet" href="reveal/dist/theme/white.css">
<style>
.reveal {{ font-size: 30px }} .reveal h1 {{ font-size: 1.7em }} .reveal h2 {{ font-size: 1.25em }}
.reveal section {{ text-align: left }}
.reveal h1, .reveal h2, .reveal h3 {{ text-transform: none; color: #222 }}
.reveal pre {{ width: 100%; box-shadow: none; font-size: .68em }}
.reveal pre code {{ max-height: 560px; background: #f4f4f4; padding: .6em; white-space: pre-wrap }}
.reveal pre.out code {{ background: #fff; max-height: 260px }}
.reveal figure {{ margin: 0; text-align: center }}
.reveal img {{ max-height: 500px; max-width: 100% }}
.reveal figcaption {{ font-size: .65em }} .reveal table {{ font-size: .6em }}
.reveal .said {{ border-left: 6px solid #0072b2; padding-left: .6em }}
</style>
<script>MathJax = {{tex: {{tags: "none"}}, svg: {{fontCache: "global"}}}}</script>
<script defer src="mathjax.js"></script></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/dist/reveal.js"></script><script src="reveal/plugin/notes/notes.js"></script>
<script>Reveal.initialize({{hash: true, slideNumber: "c/t", plugins: [RevealNotes], width: 1200, height: 760}})</script>
</body></html>
"""


def renderer() -> MarkdownIt:
    """Markdown with formulas left to MathJax."""
    made = MarkdownIt("commonmark", {"html": True}).enable("table")
    return made.use(
        dollarmath_plugin,
        allow_labels=True,
        renderer=lambda text, about: f"\\[{html.escape(text)}\\]" if about["display_mode"] else f"\\({html.escape(text)}\\)",
    )


RENDER = renderer()


def plain(text: str) -> str:
    """Without what only the book's builder understands: roles, directives' fences, the badge, folded answers."""
    text = re.sub(r"<details>[\s\S]*?</details>", "", text)
    text = re.sub(r"^\[!\[Open in Colab.*$|^<!--.*?-->$|^:{3,}.*$", "", text, flags=re.M)
    text = re.sub(r"(\$\$) *\([\w-]+\)", r"\1", text)
    text = re.sub(r"\{eq\}`[^`]*`", "the equation", text)
    text = re.sub(r"\{[\w:]+\}`([^`<]*?)(?:\s*<[^>]*>)?`", r"\1", text)
    return re.sub(r"\]\((?!https?:)[^)]*\)", "](#)", text)


def kept(block: str) -> bool:
    """Does a paragraph stand on the slide? Formulas, lists, tables and questions do; prose is for the notes."""
    start = block.lstrip()
    return start.startswith(("$$", "\\begin", "- ", "* ", "1. ", "|", "### ", "**Predict", "```"))


def output(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows, each as HTML: pictures with their alt text and caption, tables, sentences, text."""
    shown = []
    about = cell.metadata.get("mystnb", {})
    alt, caption = about.get("image", {}).get("alt", ""), about.get("figure", {}).get("caption", "")
    for one in cell.get("outputs", []):
        data = one.get("data", {})
        kind = next((k for k in ("image/png", "image/svg+xml") if k in data), None)
        if kind:
            content = data[kind].strip() if kind == "image/png" else base64.b64encode("".join(data[kind]).encode()).decode()
            picture = f'<img alt="{html.escape(alt)}" src="data:{kind};base64,{content}">'
            shown.append(f"<figure>{picture}<figcaption>{RENDER.renderInline(plain(caption))}</figcaption></figure>")
        elif "text/markdown" in data:
            shown.append(f'<div class="said">{RENDER.render(plain(data["text/markdown"]))}</div>')
        elif "text/html" in data and "<table" in data["text/html"] and "<script" not in data["text/html"]:
            shown.append(re.sub(r"<style[\s\S]*?</style>", "", data["text/html"]))
        elif one.output_type == "stream" or ("text/plain" in data and "text/html" not in data):
            text = one.text if one.output_type == "stream" else data["text/plain"]
            shown.append(f'<pre class="out"><code>{html.escape(text[:1500])}</code></pre>')
    return shown


def slides(notebook: nbformat.NotebookNode) -> list[str]:
    """The chapter as a list of slides, HTML."""
    made: list[str] = []
    heading, opening = "", False
    body: list[str] = []
    notes: list[str] = []

    def close(part_ends: bool = False) -> None:
        if not body and not part_ends:
            return  # the notes so far belong to what comes next under this heading
        if body or (heading and notes):
            aside = f'<aside class="notes">{RENDER.render(chr(10).join(notes))}</aside>' if notes else ""
            made.append(f"<section>{RENDER.render(heading)}{''.join(body)}{aside}</section>")
        body.clear()
        notes.clear()

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = plain(cell.source)
            for block in re.split(r"\n\s*\n", text):
                if block.strip() == END:
                    close(part_ends=True)
                    return made
                if match := re.match(r"(#{1,2}) (.*)\n?([\s\S]*)", block.strip()):
                    close(part_ends=True)
                    heading, block, opening = f"{match[1]} {match[2]}", match[3], match[1] == "#"
                if opening and block.strip():  # the chapter's question stands on its first slide
                    body.append(RENDER.render(block))
                    opening = False
                    continue
                if kept(block):
                    body.append(RENDER.render(block))
                    if len("".join(body)) > 1400:
                        close()
                elif block.strip():
                    notes += [block, ""]
        elif cell.cell_type == "code" and "parameters" not in tags(cell) and cell.source.strip():
            if not HIDDEN_INPUT & set(tags(cell)):
                if cell.source.count("\n") > 6 or len("".join(body)) > 600:
                    close()
                body.append(f"<pre><code>{html.escape(cell.source)}</code></pre>")
            for one in [] if HIDDEN_OUTPUT & set(tags(cell)) else output(cell):
                if one.startswith("<figure"):
                    close()
                body.append(one)
                if one.startswith("<figure"):
                    close()
    close(part_ends=True)
    return made


def reveal_folder(given: Path | None) -> Path:
    """reveal.js as files: the folder given, or that of sphinx-revealjs here or in .venv-classroom."""
    found = importlib.util.find_spec("sphinx_revealjs")
    places = [given] if given else [
        *([Path(found.origin).parent / "_static" / "revealjs"] if found and found.origin else []),
        *ROOT.glob(".venv-classroom/lib/python*/site-packages/sphinx_revealjs/_static/revealjs"),
    ]  # fmt: skip
    for place in places:
        if (place / "dist" / "reveal.js").is_file():
            return place
    raise SystemExit(
        "reveal.js is not there: `make teacher` puts it into .venv-classroom (classroom/requirements.txt), or --reveal FOLDER"
    )


def mathjax_file() -> Path:
    """MathJax in one file, its fonts as curves inside."""
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    file = Path(found.origin).parent / "static" / "mathjax" / "tex-svg-full.js" if found and found.origin else Path()
    if not file.is_file():
        raise SystemExit("MathJax is not there: pip install sphinx-mathjax-offline (make setup does)")
    return file


def make(out: Path, names: list[str], reveal: Path | None) -> int:
    """Write the slides of some chapters, or all, and a page that lists them."""
    place, mathjax = reveal_folder(reveal), mathjax_file()
    known = {path.stem: path for path in chapters()}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no chapter is called {', '.join(unknown)}; there are {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    for part in ("dist", "plugin/notes"):
        shutil.copytree(
            place / part, out / "reveal" / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.map", "*.esm.js")
        )
    if (place / "LICENSE").is_file():
        shutil.copy(place / "LICENSE", out / "reveal" / "LICENSE")
    shutil.copy(mathjax, out / "mathjax.js")
    listed = []
    for stem in names or known:
        notebook = read(known[stem])
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        made = slides(notebook)
        put(out / f"{stem}.html", PAGE.format(title=html.escape(title), slides="\n".join(made)).encode())
        listed.append(f'<li><a href="{stem}.html">{html.escape(title)}</a>, {len(made)} slides</li>')
        print(f"  {stem}: {len(made)} slides")
    words = "<p>Arrow keys turn the pages, S opens the notes: there is the chapter's text.</p>"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title><h1>Slides</h1>'
    put(out / "index.html", f"{head}{words}<ul>{''.join(listed)}</ul></html>\n".encode())
    print(f"slides: {out / 'index.html'}", file=sys.stderr)
    return 0
