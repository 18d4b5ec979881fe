"""The glossary's terms, and the links to them: a term is bold where a chapter first uses it, and the pages link it.

The chapters hold plain Markdown, so that Colab shows a bold word and nothing else; ``linked`` is what the pages are made of.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.chapter_files import BOOK

BOLD = re.compile(r"(?<![*\\])\*\*([^*\n`$]{2,60}?)\*\*(?!\*)")
APART = re.compile(r"(^(?:`{3,}|~{3,})[\s\S]*?^(?:`{3,}|~{3,})\s*$|\$\$[\s\S]*?\$\$|`[^`\n]*`|^#{1,6} .*$)", flags=re.M)


def terms(page: Path | None = None) -> list[str]:
    """Every term of the glossary, as it is written there."""
    text = (page or BOOK / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r"```\{glossary\}\n([\s\S]*?)\n```", text)
    return [line for line in body[1].splitlines() if line and not line.startswith(" ")] if body else []


def term_of(word: str, known: dict[str, str]) -> str | None:
    """The term that ``word`` is, in singular or plural; ``known`` has the terms by their small letters."""
    small = word.lower()
    singular = [small, small.removesuffix("s"), small.removesuffix("es"), re.sub(r"ies$", "y", small)]
    return next((known[form] for form in singular if form in known), None)


def linked(markdown: str, known: dict[str, str]) -> str:
    """``**cold items**`` as a link to *cold item*; what stands in code, formulas and headings is left alone."""

    def one(found: re.Match[str]) -> str:
        term = term_of(found[1], known)
        return f"**{{term}}`{found[1]} <{term}>`**" if term else found[0]

    parts = APART.split(markdown)
    return "".join(part if n % 2 else BOLD.sub(one, part) for n, part in enumerate(parts))


def by_small_letters(page: Path | None = None) -> dict[str, str]:
    return {term.lower(): term for term in terms(page)}
