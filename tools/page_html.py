"""What the theme's pages lack, mended when they are written: names for those who do not see, and less to load.

Icons become drawings in the page, so that no page loads a script of 1.5 MB and two fonts for a dozen of them; code bears
spans only for words and numbers that have a colour of their own; and of the style sheets only rules stay that a page can use.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

# A button that shows words is called by them, a fold by its own summary; a label that says something else misleads
# whoever speaks to the machine. A fold of the table of contents shows no word, so it is given one. The mark lies in a landmark.
# An empty corner of a table is no header, and the roles of a list of references are no longer known to browsers.
LABEL, MODES = re.compile(r' aria-label="[^"]*"'), ' aria-label="Light, Dark, System Settings: mode"'
MENDED = (
    (r'<button[^>]*\bsearch-button-field\b[^>]*>', lambda m: LABEL.sub("", m[0])),
    (r'<button[^>]*\btheme-switch-button\b[^>]*>', lambda m: LABEL.sub(MODES, m[0])),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'<summary>(?=\s*<span class="toctree-toggle")', '<summary aria-label="Pages below">'),
    (r"<th([^>]*)>(<p></p>|\s*)</th>", r"<td\1>\2</td>"),
    (r'<div role="list" class="citation-list">|<div class="citation-list" role="list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    (r'<div class="sidebar-primary-item">(?=[^<]*<a[^>]*\bnavbar-brand\b)',
     '<div class="sidebar-primary-item" role="navigation" aria-label="Front page">'),
)  # fmt: skip

# Names, punctuation and space in code have the colour of the code itself; signs like = and + stand in it as well: there are
# so many of them that their spans would weigh as much as a picture.
PLAIN_TOKEN = re.compile(r'<span class="(?:n|o|p|w)">([^<]*)</span>')
# An interval stays on one line: no break at the dash between two numbers, nor beside ±. Tags, scripts, code stay as they are.
TEXT = re.compile(r"(<(script|style|pre|title)\b.*?</\2>|<[^>]*>)|(?<=[\d%])–(?=[-−+×]?\.?\d)|(?<=\d) ± (?=\.?\d)", re.DOTALL)
KEPT = {"–": "\u2060–\u2060", " ± ": "\u00a0±\u00a0"}  # a word joiner, and a space that does not break
# A style sheet as braces see it: comments and texts in quotes may hold braces of their own.
PIECE = re.compile(r"""/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}]""", re.DOTALL)
# How a page asks for a style of icon, and an icon that only this style has
STYLES = {"fa-solid": "sun-plant-wilt", "fas": "sun-plant-wilt", "fa-brands": "github", "fab": "github"}
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
MADE = ("bs-", "MathJax")  # names that a script puts together from parts, or that MathJax gives


def mended(html: str) -> str:
    for pattern, instead in MENDED:
        html = re.sub(pattern, instead, html)
    return TEXT.sub(lambda m: m[1] or KEPT[m[0]], PLAIN_TOKEN.sub(r"\1", html))


@functools.cache
def icons_of(script: str) -> list[dict[str, tuple[str, str, str]]]:
    """The drawings in the theme's script of icons, a dictionary for each style: name → width, height, path."""
    entry = re.compile(r'(?:"([\w-]+)"|([\w$]+)):\[(\d+),(\d+),\[([^\]]*)\],"[0-9a-f]+",(?:"([^"]*)"|\[[^\]]*\])\],?')
    styles: list[dict[str, tuple[str, str, str]]] = []
    end = -1
    for found in entry.finditer(script):
        if found.start() != end:  # one style's icons stand side by side
            styles.append({})
        end = found.end()
        for name in (found[1] or found[2], *re.findall(r'"([\w-]+)"', found[5])):
            styles[-1][name] = (found[3], found[4], found[6] or "")
    return styles


def with_icons(html: str, script: str) -> str:
    """A page whose icons stand in it as drawings, and that loads no script to draw them."""

    def drawn(found: re.Match[str]) -> str:
        names = found[3].split()
        styles = [n for n in names if n in STYLES]
        icons = [n for n in names if n.startswith("fa-") and n not in STYLES]
        if not styles:
            return found[0]
        of_style = next((s for s in icons_of(script) if STYLES[styles[0]] in s), {})
        drawing = next((of_style[n[3:]] for n in icons if n[3:] in of_style), None)
        if drawing is None:
            return found[0]
        wide, high, path = drawing
        kept = " ".join(n for n in names if n not in STYLES)
        hidden = "" if "aria-hidden" in found[0] else ' aria-hidden="true"'
        return (
            f'<svg{found[2]}class="svg-inline--fa {kept}"{found[4]}{hidden} viewBox="0 0 {wide} {high}">'
            f'<path fill="currentColor" d="{path}"></path></svg>'
        )

    html = re.sub(r'<(i|span)\b([^<>]*)class="([^"]*\bfa[\w-]*[^"]*)"([^<>]*)></\1>', drawn, html)
    return re.sub(r"\s*<(?:script|link)[^>]*scripts/fontawesome\.js[^>]*>(?:</script>)?", "", html)


def blocks(style: str) -> list[tuple[str, str]]:
    """The rules of a style sheet: what stands before a brace, and what within; the inside is not looked at."""
    found, depth, begin, inner = [], 0, 0, 0
    for piece in PIECE.finditer(style):
        if piece[0] == "{":
            depth += 1
            if depth == 1:
                inner = piece.end()
        elif piece[0] == "}":
            depth -= 1
            if depth == 0:
                found.append((style[begin : inner - 1], style[inner : piece.start()]))
                begin = piece.end()
    return [*found, (style[begin:], "")]


def needed(selector: str) -> set[str]:
    """The classes without which a selector finds nothing; what stands in brackets may be one of several, or not be there."""
    bare = re.sub(r"\[[^\]]*\]", "", selector)
    while bare != (bare := re.sub(r"\([^()]*\)", "", bare)):
        pass
    return {name for name in CLASS.findall(bare) if not name.startswith(MADE)}


def selectors(listed: str) -> list[str]:
    """What commas part, except within brackets."""
    found, depth = [""], 0
    for sign in listed:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return found


def style_less(style: str, words: set[str]) -> str:
    """A style sheet less the rules for classes that stand in no page and no script: of 300 kB a third is left."""
    kept = []
    for before, inside in blocks(re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)):
        *statements, selector = before.split(";")  # such as @import, which have no block
        kept += [f"{s};" for s in statements]
        if selector.lstrip().startswith(("@media", "@supports", "@layer", "@container")):
            if inner := style_less(inside, words):
                kept.append(f"{selector}{{{inner}}}")
        elif selector.lstrip().startswith("@"):
            kept.append(f"{selector}{{{inside}}}")
        elif selector.strip():
            used = [s for s in selectors(selector) if "\\" in s or needed(s) <= words]
            kept += [f"{','.join(used)}{{{inside}}}"] if used else []
    return "".join(kept)


def mend_backlinks(pages: Path) -> None:
    """viewcode links a listing back under one name a module, which misses what its packages export too: amrlib.evaluate."""
    api = pages / "book" / "api.html"
    if not api.is_file():
        return
    known = set(re.findall(r'id="(amr(?:lib|book)\.[\w.]+)"', api.read_text(encoding="utf-8")))
    for page in (pages / "_modules").rglob("*.html"):
        parts = page.relative_to(pages / "_modules").with_suffix("").parts
        homes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]  # the module, then its packages, outwards

        def led(link: re.Match[str], homes: list[str] = homes) -> str:
            name = next((link[2].removeprefix(f"{home}.") for home in homes if link[2].startswith(f"{home}.")), link[2])
            return link[1] + next((n for n in (link[2], *(f"{home}.{name}" for home in homes)) if n in known), link[2])

        text = page.read_text(encoding="utf-8")
        new = re.sub(r"(book/api\.html#)(amr(?:lib|book)\.[\w.]+)", led, text)
        if new != text:
            page.write_text(new, encoding="utf-8")


def only_our_listings(pages: Path) -> None:
    """A second build lists modules of Python's own as well, to which nothing leads: functools, for what it wraps."""
    index = pages / "_modules" / "index.html"
    for listing in (pages / "_modules").glob("*"):
        if not listing.name.startswith(("amrlib", "amrbook", "index")) and listing.suffix == ".html":
            listing.unlink()
            line = rf'\s*<li><a href="{re.escape(listing.name)}">[^<]*</a></li>'
            index.write_text(re.sub(line, "", index.read_text(encoding="utf-8")), encoding="utf-8")


def finish(out: Path) -> None:
    """Mend the pages of a build; what is mended already stays as it is, byte for byte."""
    static = out / "_static"
    script = static / "scripts" / "fontawesome.js"
    drawings = script.read_text(encoding="utf-8") if script.is_file() else ""
    words: set[str] = set()
    for file in out.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        new = with_icons(mended(text), drawings)
        words |= {name for listed in set(re.findall(r'class="([^"]*)"', new)) for name in listed.split()}
        if new != text:
            file.write_text(new, encoding="utf-8")
    script.unlink(missing_ok=True)  # no page loads it any more; the next build brings it again
    for file in static.rglob("*.js"):
        if "mathjax" not in file.parts and "locales" not in file.parts:
            words |= set(re.findall(r"[\w-]+", file.read_text(encoding="utf-8")))
    for file in (static / "styles" / "pydata-sphinx-theme.css", static / "sphinx-design.min.css", *static.glob("mystnb.*.css")):
        if file.is_file():
            file.write_text(style_less(file.read_text(encoding="utf-8"), words), encoding="utf-8")
    only_our_listings(out)
    mend_backlinks(out)
