"""One look at one page in Chromium: what is cut off, what axe finds, what it asked of the network, what it weighs.

tests/pages looks at every page; ``make test-pages`` prints the table.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import yaml

from tools.browser import Browser, Page
from tools.chapter_files import ROOT
from tools.pages import PAGES, toc_files

HERE = ROOT / "tests" / "pages"
WIDTHS = (320, 768, 1280, 1600)
# A formula has the colour of its sentence, and assistive MathML inside: axe need not walk through thousands of glyphs.
# Code has its colours from one style sheet: they are looked at on the pages of the sample.
APART = ("mjx-container",)
# One of each kind: the front, a chapter with many formulas, one with many pictures, tables, a plain page.
SAMPLE = ("book/index", "book/02_boutique", "book/11_amr", "book/claims", "book/teaching/setup", "search")
IMAGES = (".png", ".svg", ".jpg", ".gif", ".webp")
MOST = 1_500_000  # bytes of a page before its images, as they lie on the disk; a server sends a third of it
# Every element of that name, as its words in a box of its size; first all sizes are read, then all are set.
FLAT = """(() => {{ const of = [...document.querySelectorAll({})].filter(e => !e.parentElement.closest('mjx-container'));
  const sizes = of.map(e => [e.getBoundingClientRect(), getComputedStyle(e).display]);
  of.forEach((e, n) => {{ const [box, display] = sizes[n], words = (e.querySelector('mjx-assistive-mml') ?? e).textContent;
    e.style.cssText += `;display:${{display === 'inline' ? 'inline-block' : display}};overflow:hidden;box-sizing:border-box`
      + `;width:${{box.width}}px;height:${{box.height}}px`;
    e.textContent = words }});
  return of.length }})()"""
# What fades in has its colour when it is there, not on the way: overflow.js opens every fold, and a fold fades in.
STILL = """(() => { const still = document.createElement('style');
  still.textContent = '*, *::before, *::after { animation: none !important; transition: none !important }';
  document.head.append(still) })()"""
AXE: dict[str, Any] = {"resultTypes": ["violations"], "rules": {"color-contrast-enhanced": {"enabled": False}}}


class Look(NamedTuple):
    """A page by its name without .html, how wide the window is, and whether it is dark."""

    page: str
    width: int = 1280
    dark: bool = False

    def __str__(self) -> str:
        return f"{self.page}-{self.width}-{'dark' if self.dark else 'light'}"


@dataclass(frozen=True)
class Visit:
    """What one look found. ``overflow`` and ``violations`` are lines that name the place."""

    look: Look
    overflow: list[str]
    violations: list[str]
    requests: list[str]
    errors: list[str]
    alts: list[str]
    weight: int
    images: int


def pages() -> list[str]:
    """Every page a reader comes to."""
    return [*toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))), "genindex", "search"]


def looks(full: bool) -> list[Look]:
    """Every page once, a sample at other widths and dark; or all of it."""
    if full:
        return [Look(page, width, dark) for page in pages() for width in WIDTHS for dark in (False, True)]
    others = [(320, False), (768, False), (1600, False), (1280, True)]
    sample = [Look(page, *how) for page in SAMPLE for how in others] + [Look("book/api", 320)]  # long names, a slow page
    return [Look(page) for page in pages()] + sample


def weights(page: Page, file: Path) -> tuple[int, int]:
    """Bytes of a page with every script, style and font it loaded, none of them packed; and of images."""
    images = sum(map(len, re.findall(r"data:image/[^\"')]+", file.read_text(encoding="utf-8"))))
    weight = 0
    for address in set(page.files):
        loaded = Path(unquote(urlsplit(address).path))
        if loaded.suffix in IMAGES:
            images += loaded.stat().st_size
        elif loaded.is_file():
            weight += len(re.sub(rb"data:image/[^\"')]+", b"", loaded.read_bytes()))
    return weight, images


def overflow(page: Page, width: int) -> list[str]:
    """Lines about what is cut off; on a narrow window what scrolls by itself and says so is none."""
    found: list[dict[str, Any]] = page.run((HERE / "overflow.js").read_text(encoding="utf-8"))
    narrow = width < 1280
    kept = [f for f in found if not (narrow and f["kind"] == "scrolls" and f["sign"])]
    return [f"{f['kind']} by {f['by']} px: {f['tag'][:50]} at {f['where']}" for f in kept]


def axe(page: Page, apart: tuple[str, ...] = APART, contrast: bool = True) -> list[str]:
    """What axe-core complains of outside of what is set ``apart``: rule, how often, and the first place.

    What is set apart becomes a box of the same size first, so the page is of no use afterwards: axe walks through all that
    stands in a page, and of a chapter half are the parts of formulas.
    """
    page.run(STILL)
    for name in apart:
        page.run(FLAT.format(json.dumps(name)))
    outside = json.dumps({"exclude": [[name] for name in apart]})
    rules = AXE["rules"] | ({} if contrast else {"color-contrast": {"enabled": False}})
    page.run((HERE / "axe.min.js").read_text(encoding="utf-8") + ";0")
    found = page.run(
        f"axe.run({outside}, {json.dumps(AXE | {'rules': rules})}).then(r => r.violations.map(v => [v.id, v.nodes.length,"
        " v.nodes[0].target.join(' '), v.nodes[0].failureSummary.split('\\n').slice(1, 3).join(' ')]))"
    )
    return [f"{rule} × {times}: {place}: {why.strip()}" for rule, times, place, why in found]


def visit(browser: Browser, look: Look, with_axe: bool = True) -> Visit:
    """Open the page from disk in a tab of its own, and look."""
    page = browser.page(look.width, dark=look.dark)
    try:
        page.open(PAGES / f"{look.page}.html")
        cut = overflow(page, look.width)
        pictures = "[...document.querySelectorAll('.bd-article img:not(a.reference.external img)')]"
        alts = page.run(f"{pictures}.filter(i => i.getClientRects().length).map(i => i.alt)")  # of a slider what is shown
        page.listen()
        weight = weights(page, PAGES / f"{look.page}.html")
        # the colours of a page are the same at every width
        closely = look.page in SAMPLE
        wrong = axe(page, APART if closely else (*APART, "pre"), closely or look.width == 1280) if with_axe else []
        return Visit(look, cut, wrong, page.requests, page.errors, alts, *weight)
    finally:
        page.close()


def table(visits: list[Visit]) -> str:
    """A line a page: its weight, and over all looks what is cut off, what axe found, what was asked and logged."""
    lines = [f"{'page':<38}{'kB':>6}{'images':>8}{'looks':>7}{'cut off':>9}{'axe':>5}{'asked':>7}{'errors':>8}"]
    for name in dict.fromkeys(v.look.page for v in visits):
        of = [v for v in visits if v.look.page == name]
        total = lambda what: sum(len(getattr(v, what)) for v in of)  # noqa: B023, E731
        counts = f"{total('overflow'):>9}{total('violations'):>5}{total('requests'):>7}{total('errors'):>8}"
        lines.append(f"{name.removeprefix('book/'):<38}{of[0].weight // 1000:>6}{of[0].images // 1000:>8}{len(of):>7}{counts}")
    return "\n".join(lines)


def picture(browser: Browser, look: Look, file: Path, at: int = 0, high: int = 1400) -> None:
    """A screenshot of a look, ``high`` pixels of the page from ``at`` on."""
    page = browser.page(look.width, high, dark=look.dark)
    page.open(PAGES / f"{look.page}.html")
    page.run(f"scrollTo(0, {at})")
    page.picture(file)
    page.close()
