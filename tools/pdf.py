"""The whole book as one PDF, _build/book.pdf: the built pages in one document, printed by Chromium.

    make pdf

Outline, page numbers and links come from the browser; of libraries only what builds the pages is needed. Headings
go one step down, since the parts of the table of contents stand above the chapters.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, sys.path starts at tools/
    sys.path.insert(0, str(ROOT))

from tools.browser import Browser, Page  # noqa: E402
from tools.pages import PAGES, toc_files  # noqa: E402
from tools.runner import BUILD  # noqa: E402

SOURCE, TARGET = PAGES / "print.html", BUILD / "book.pdf"
WIDE, HIGH, MARGIN = 8.27, 11.69, 0.7  # inches, A4
SHORT = 12  # lines of code that stay together; more than these are broken where the page ends
COLUMN = int((WIDE - 2 * MARGIN) * 96)  # what Chromium lays out, in its pixels
STYLE = """
@page { size: A4; }
html { font-size: 14px; }
body { background: #fff; }
.bd-article { padding: 0 !important; max-width: none; }
.bd-article h1 { break-before: page; font-size: 3rem; padding-top: 35vh; text-align: center; border: 0; }
.bd-article h2 { break-before: page; font-size: 2.2rem; }
.bd-article h3 { font-size: 1.6rem; } .bd-article h4 { font-size: 1.3rem; } .bd-article h5 { font-size: 1.1rem; }
.bd-article h1 + section > h2, .bd-article h1 + h2, .bd-article h1 { margin-top: 0; }
.headerlink, .copybtn, button, .toggle-button { display: none !important; }
summary { list-style: none; font-weight: 600; }
div.cell details.hide > summary { display: none !important; } /* on paper nothing can be unfolded */
.wide-small table { font-size: 0.6em !important; }
h2, h3, h4, h5, h6, summary, dt { break-after: avoid; }
figure, img, tr, table.dataframe, mjx-container, .card-of-chapter { break-inside: avoid; }
/* Code breaks over pages; what could scroll is never broken, and would leave its empty frame behind. */
pre, div[class*="highlight"], div.cell_input { display: block; overflow: visible !important; break-inside: auto !important; }
pre { font-size: 0.78rem !important; orphans: 2; widows: 2; }
div.short { break-inside: avoid !important; }
.sd-card, .admonition { break-inside: avoid; }
.toctree-wrapper { display: none; }
a { color: #0a3d91 !important; }
"""


def anchor(page: str, fragment: str = "") -> str:
    return f"{page.replace('/', '-')}--{fragment}" if fragment else page.replace("/", "-")


def moved(article: Tag, page: str, known: set[str]) -> Tag:
    """An article as part of the one document: its ids, links and pictures are told apart by its page."""
    folder = (PAGES / page).parent
    renamed = {element["id"]: anchor(page, element["id"]) for element in article.find_all(id=True)}
    for element in article.find_all(id=True):
        element["id"] = renamed[element["id"]]
    for style in article.find_all("style"):  # a slider's own, which says what of it is printed
        style.string = re.sub(r"#([\w-]+)", lambda m: "#" + renamed.get(m[1], m[1]), style.string or "")
    for name in ("for", "aria-describedby", "aria-labelledby"):
        for element in article.find_all(attrs={name: True}):
            element[name] = anchor(page, element[name])
    for link in article.find_all("a", href=True):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = page
        if parts.path:
            target = (folder / unquote(parts.path)).resolve().relative_to(PAGES.resolve()).as_posix().removesuffix(".html")
        if target in known:
            link["href"] = "#" + anchor(target, unquote(parts.fragment))
        else:
            del link["href"]  # a listing of source code, an index: not in the book on paper
    for picture in article.find_all("img", src=True):
        if not urlsplit(picture["src"]).scheme:
            picture["src"] = (folder / unquote(picture["src"])).resolve().relative_to(PAGES.resolve()).as_posix()
    for heading in article.find_all(["h1", "h2", "h3", "h4", "h5"]):
        heading.name = f"h{int(heading.name[1]) + 1}"
    for fold in article.find_all("details"):
        if "# Setup, the same in every chapter" in fold.get_text():
            (fold.find_parent(class_="cell") or fold).decompose()
        else:
            fold["open"] = ""
    for badge in article.select('img[src*="colab-badge"]'):
        (badge.find_parent("a") or badge).decompose()
    for code in article.find_all("pre"):
        frame = code.find_parent(class_="cell_input") or code.parent
        if isinstance(frame, Tag) and code.get_text().count("\n") <= SHORT:
            frame["class"] = [*frame.get_attribute_list("class"), "short"]
    for script in article.find_all("script"):
        script.decompose()
    return article


def assemble() -> Path:
    """One HTML file beside the pages, with their styles."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    groups = [("", [toc["root"]])] + [(part["caption"], toc_files(part)) for part in toc["parts"]]
    known = {name for _, names in groups for name in names}
    first = BeautifulSoup((PAGES / "book" / "notation.html").read_text(encoding="utf-8"), "html.parser")  # it has formulas
    parts, contents = [], []
    for caption, names in groups:
        if caption:
            parts.append(f'<h1 id="{anchor("part", caption)}">{html.escape(caption)}</h1>')
            contents.append(f'<p><a href="#{anchor("part", caption)}"><strong>{html.escape(caption)}</strong></a></p>')
        for name in names:
            page = BeautifulSoup((PAGES / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
            article = page.select_one(".bd-article")
            title = article.find("h1").get_text().rstrip("#").strip()
            parts.append(f'<div id="{anchor(name)}">{moved(article, name, known).decode_contents()}</div>')
            contents.append(f'<p style="margin:0 0 0 1.5em"><a href="#{anchor(name)}">{html.escape(title)}</a></p>')
    head = "".join(str(link).replace("../_static", "_static") for link in first.find_all("link", rel="stylesheet"))
    maths = "".join(
        str(script).replace("../_static", "_static")
        for script in first.find_all("script")
        if "mathjax" in (script.get("src") or "")
        or "window.MathJax" in script.get_text()
        or "wide.js" in (script.get("src") or "")
    )
    parts.insert(1, f"<h2>Contents</h2>{''.join(contents)}")
    SOURCE.write_text(
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>Ranking by Looks</title>{head}<style>{STYLE}</style>{maths}</head>"
        f'<body><main class="bd-content"><div class="bd-article">{"".join(parts)}</div></main></body></html>',
        encoding="utf-8",
    )
    return SOURCE


def open_for_print(page: Page) -> list[str]:
    """The document as it is laid out on paper; lines about what is cut off there."""
    page.look(COLUMN, 1000)
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "light"}])
    page.open(SOURCE, quiet=1.0)
    drawn = page.run("[...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).length")
    found = page.run((ROOT / "tests" / "pages" / "overflow.js").read_text(encoding="utf-8"))
    cut = [f"{f['kind']} by {f['by']} px: {f['tag'][:50]} at {f['where']}" for f in found]
    return cut + [f"{drawn} formulas are not drawn"] * bool(drawn)


def make() -> list[str]:
    """Write the PDF; what is cut off in it, one line each."""
    assemble()
    with Browser(patience=600) as browser:
        page = browser.page()
        cut = open_for_print(page)
        number = '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'
        done = page.call(
            "Page.printToPDF", paperWidth=WIDE, paperHeight=HIGH, marginTop=MARGIN, marginBottom=MARGIN, marginLeft=MARGIN,
            marginRight=MARGIN, printBackground=True, displayHeaderFooter=True, headerTemplate="<span></span>",
            footerTemplate=number, generateDocumentOutline=True, generateTaggedPDF=True, transferMode="ReturnAsStream",
        )  # fmt: skip
        with TARGET.open("wb") as file:
            while True:
                piece = page.call("IO.read", handle=done["stream"], size=1 << 20)
                file.write(base64.b64decode(piece["data"]) if piece.get("base64Encoded") else piece["data"].encode("latin-1"))
                if piece["eof"]:
                    break
    return cut


def main() -> int:
    if not (BUILD / "pages-passed").is_file():
        print("the pages are not built, or not finished: make book")
        return 1
    try:
        cut = make()
    finally:
        SOURCE.unlink(missing_ok=True)  # it is no page of the book
    print("\n".join(cut) or "nothing is cut off")
    print(f"the book on paper: {TARGET}, {TARGET.stat().st_size / 1e6:.1f} MB")
    return int(bool(cut))


if __name__ == "__main__":
    sys.exit(main())
