"""What the theme's pages lack, mended when they are written: names for those who do not see, and a small script of icons."""

from __future__ import annotations

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


def mended(html: str) -> str:
    for pattern, instead in MENDED:
        html = re.sub(pattern, instead, html)
    return html


def icons_of(script: str, used: set[str]) -> str:
    """The theme's script of icons less those that no page shows: 1.5 MB become 0.1."""
    entry = re.compile(r'(?:"([\w-]+)"|([\w$]+)):\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')

    def kept(found: re.Match[str]) -> str:
        names = {found[1] or found[2], *re.findall(r'"([\w-]+)"', found[3])}
        return found[0] if names & used else ""

    return entry.sub(kept, script).replace(",}", "}")


def style_of_icons(style: str, used: set[str]) -> str:
    """The theme's style sheet less the names of icons that no page shows."""
    rule = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"[^"]*"\}')
    return rule.sub(lambda m: m[0] if used & set(re.findall(r"\.fa-([\w-]+):", m[1])) else "", style)


def finish(out: Path) -> None:
    """Mend the pages of a build; what is mended already stays as it is, byte for byte."""
    used: set[str] = set()
    for file in out.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        used |= set(re.findall(r"\bfa-([a-z0-9-]+)", text))
        if (new := mended(text)) != text:
            file.write_text(new, encoding="utf-8")
    for file in [*(out / "_static").glob("*.js"), *(out / "_static" / "scripts").glob("*theme.js")]:
        used |= set(re.findall(r"\bfa-([a-z0-9-]+)", file.read_text(encoding="utf-8")))
    static = out / "_static"
    for file, less in (
        (static / "scripts" / "fontawesome.js", icons_of),
        (static / "styles" / "pydata-sphinx-theme.css", style_of_icons),
    ):
        if file.is_file():
            file.write_text(less(file.read_text(encoding="utf-8"), used), encoding="utf-8")
