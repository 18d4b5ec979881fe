"""The countable part of plain English. Each function returns what is wrong. A chapter keeps all of this:

- a sentence of a claim or of ``glue`` has at most 25 words and 4 numbers, as it is shown, with the numbers in it;
- a sentence of the prose has at most 40 words;
- none of the ``AVOIDED`` turns is used;
- visible code has at most 20 lines a cell, blank ones not counted, and fits into the column;
- a model's colour is used for that model only;
- a term that is set in bold inside a sentence stands in the glossary;
- the opening says how long it takes to read, as :func:`reading_minutes` counts it to five minutes;
- a chapter takes no more than half an hour to read;
- there are at least five exercises, in four grades and one open, a hint before each solution of a new one, a cell that
  checks the reader's own answer, a quiz of three questions, and a card whose numbers come from the run.
"""

from __future__ import annotations

import ast
import re

import nbformat

from tools import glossary
from tools.chapter_files import chapters, tags

# Chapter 0 is what somebody reads who does not know yet whether to read the book. It has five minutes and nothing to solve.
OPENINGS, OPENING_MINUTES = {"00_a_photograph_and_a_list"}, 5
CHAPTER_MINUTES = 30  # one sitting

CLAIM_WORDS, CLAIM_NUMBERS, PROSE_WORDS = 25, 4, 40
CODE_LINES, CODE_WIDTH = 20, 92  # the pages' column, in a window of 1440 pixels
CHECKS = re.compile(r"\bcheck\.(?:function|holds|value)\(")
APPENDIX = re.compile(r"A\d_")  # an appendix has no quiz and no card; the rest it keeps from the start
GRADES = ("Recall", "Derive", "Build", "Break it", "Open")

AVOIDED = {
    r"\bby lot\b": "at random",
    r"\blot alone\b": "chance alone",
    r"\bhit parade\b": "a list of bestsellers",
    r"\bin sum over\b": "summed over",
    r"\bturns? an order (?:round|around)\b": "reverse an order",
    r"\bhardly listens\b": "barely reacts",
    r"\bas long\b(?! as)": "continued, or equally long",
    r"\b(?:purchases?|numbers?|bars?|rows?|looks?|votes?|classifiers?|categor(?:y|ies)|boxes|points?)"
    r" an? (?:user|shopper|item|map|row|model|seed|category|picture|cell|column|triple|step)\b": "per",
    r"\bitems? an? (?:user|shopper|row)\b": "per",
}  # fmt: skip


def sentences(text: str) -> list[str]:
    """The sentences of a Markdown text, without formulas, code, links' targets, and what is set apart."""
    text = re.sub(r"<[^>]+>", " ", text)
    text = re.sub(r"\$[^$]*\$|`[^`]*`", "x", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", text, flags=re.M)  # every point of a list stands alone
    text = re.sub(r"\b(?:et al|e\.g|i\.e|vs)\.", "", text)
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        if not paragraph.strip().startswith(("|", "#", ":::", "```")):
            found += re.split(r"(?<=[.!?])[\"”)*]*\s+", paragraph.strip())
    return [s for s in found if s.strip()]


def words(sentence: str) -> int:
    return sum(bool(re.search(r"[^\W_]", word)) for word in sentence.split())


def numbers(sentence: str) -> int:
    """How many figures a sentence holds; those of a name, as in HR@10 or CO2, do not count, and a date is one."""
    return len(re.findall(r"(?<![\w@.,])\d{4}-\d\d-\d\d|(?<![\w@.,])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", sentence))


def told(cell: nbformat.NotebookNode) -> list[str]:
    """What the claims and glued sentences of a cell say, filled in, as they are stored."""
    if not re.search(r"\b(?:claim|glue)\(", cell.source):
        return []
    texts = [o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", [])]
    return [re.split(r" \*The paper: ", text)[0].removeprefix("✓ ") for text in texts if text]


def language_problems(cell: nbformat.NotebookNode) -> list[str]:
    wrong = []
    if cell.cell_type == "code":
        for text in told(cell):
            for sentence in sentences(text):
                if words(sentence) > CLAIM_WORDS:
                    wrong.append(f"a claim's sentence of {words(sentence)} words; {CLAIM_WORDS} is enough: {sentence[:60]!r}")
                if numbers(sentence) > CLAIM_NUMBERS:
                    wrong.append(f"{numbers(sentence)} numbers in a sentence; put them into a table: {sentence[:60]!r}")
            wrong += [f"{found[0]!r}: write {better}" for pattern, better in AVOIDED.items()
                      for found in [re.search(pattern, text, flags=re.I)] if found]  # fmt: skip
        return wrong
    text = re.sub(r"^(`{3,}|~{3,})[\s\S]*?^\1\s*$|\$\$[\s\S]*?\$\$(?: *\([\w-]+\))?", "\n\n", cell.source, flags=re.M)
    for sentence in sentences(text):
        if words(sentence) > PROSE_WORDS:
            wrong.append(f"a sentence of {words(sentence)} words; {PROSE_WORDS} is enough: {sentence[:60]!r}")
    for pattern, better in AVOIDED.items():
        wrong += [f"{found[0]!r}: write {better}" for found in re.finditer(pattern, text, flags=re.I)]
    return wrong


def code_problems(cell: nbformat.NotebookNode) -> list[str]:
    if cell.cell_type != "code" or any(t.startswith(("hide-", "remove-")) or t == "parameters" for t in tags(cell)):
        return []
    lines = [line for line in cell.source.splitlines() if line.strip()]
    wrong = []
    if len(lines) > CODE_LINES:
        wrong.append(f"{len(lines)} visible lines of code; fold it (hide-input) or cut it to {CODE_LINES}")
    if widest := max((line for line in lines if len(line) > CODE_WIDTH), key=len, default=""):
        wrong.append(f"a visible line of {len(widest)} characters, the column has {CODE_WIDTH}: {widest.strip()[:50]!r}")
    return wrong


def term_problems(cell: nbformat.NotebookNode, known: dict[str, str]) -> list[str]:
    """Bold words inside a sentence that the glossary does not know; at the start of a line bold is a heading of a kind."""
    if cell.cell_type != "markdown":
        return []
    wrong = []
    for line in re.sub(r"<summary>.*?</summary>", "", cell.source).splitlines():
        inside = re.sub(r"^\s*(?:[-*>|]|\d+\.)?\s*\*\*[^*]+\*\*", "", line)
        wrong += [f"**{w}** is not in the glossary" for w in glossary.BOLD.findall(inside) if not glossary.term_of(w, known)]
    return wrong


CLASSES = {"Popularity": "Popularity", "MF-BPR": "MFBPR", "MF-eALS": "MFeALS", "DUIF": "DUIF", "VBPR": "VBPR", "AMR": "AMR"}


def colour_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """A model's colour stands for the model: a chapter without the model does not use it, and none types a model's colour."""
    from amrbook.figures import COLORS  # late: most of what is checked needs no matplotlib

    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    of_a_model = r"COLORS\[[\"']([^\"']+)[\"']\]"
    used, rest = set(re.findall(of_a_model, code)) & set(CLASSES), re.sub(of_a_model, "", code)
    wrong = [f"the colour of {name}, which is not in this chapter; take figures.PLAIN" for name in sorted(used)
             if not re.search(rf"amrlib\.{CLASSES[name]}\b|[\"']{name}[\"',]", rest)]  # fmt: skip
    typed = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", code)} & {COLORS[name].lower() for name in CLASSES}
    return wrong + [f"{c} is typed, a model's colour; take figures.COLORS, or figures.PLAIN" for c in sorted(typed)]


def calls(notebook: nbformat.NotebookNode, name: str) -> list[ast.Call]:
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and f"{name}(" in cell.source:
            nodes = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Call)]
            found += [n for n in nodes if name in (getattr(n.func, "id", ""), getattr(n.func, "attr", ""))]
    return found


def reading_minutes(notebook: nbformat.NotebookNode) -> float:
    """180 words a minute, of text and of checked sentences, and 15 lines of visible code a minute."""
    read, lines = 0, 0
    for cell in notebook.cells:
        shown = [cell.source] if cell.cell_type == "markdown" else [
            o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", [])
        ]  # fmt: skip
        read += sum(words(re.sub(r"\$\$[\s\S]*?\$\$|\]\([^)]*\)|<[^>]+>", " x ", text)) for text in shown)
        if cell.cell_type == "code" and not any(t.startswith(("hide-", "remove-")) for t in tags(cell)):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    return read / 180 + lines / 15


def teaching_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What a chapter must offer a reader who wants to try: exercises, a check, a quiz, a card."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    grades = re.findall(r"^\*\*\d+\. (\w[\w ]*)\.\*\*", text, flags=re.M)
    wrong = [f"no exercise of the grade {grade!r}" for grade in GRADES if grade not in grades]
    if len(grades) < 5:
        wrong.append(f"{len(grades)} exercises; five is the least")
    if not any(CHECKS.search(c.source) for c in notebook.cells if c.cell_type == "code"):
        wrong.append("no cell checks the reader's own answer: amrbook.check")
    quizzes = calls(notebook, "quiz")
    if len(quizzes) != 1 or len(quizzes[0].args) != 3:
        wrong.append("there must be one quiz(...) of three questions")
    cards = calls(notebook, "card")
    if len(cards) != 1:
        wrong.append("there must be one card(...)")
    for given in (k for c in cards for k in c.keywords if k.arg == "numbers"):
        values = given.value.values if isinstance(given.value, ast.Dict) else []
        typed = [v for v in values if isinstance(v, ast.Constant)]
        if typed or not values:
            wrong.append("the card's numbers must be formatted from the run: f\"{x:.3f}\"")
    if (minutes := reading_minutes(notebook)) > CHAPTER_MINUTES + 0.5:
        wrong.append(f"{minutes:.1f} minutes to read; a chapter has {CHAPTER_MINUTES}")
    return wrong + time_problems(notebook, text)


def appendix_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """Of an appendix less is asked: a hint and a solution for each exercise, cells that check an answer, and the time."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    exercises = len(re.findall(rf"^\*\*\d+\. (?:{'|'.join(GRADES)})\.\*\*", text, flags=re.M))
    wrong = [f"{exercises} exercises and {found} of <summary>{word}</summary>" for word in ("Hint", "Solution")
             for found in [text.count(f"<summary>{word}</summary>")] if found != exercises]  # fmt: skip
    if not CHECKS.search("\n".join(c.source for c in notebook.cells if c.cell_type == "code")):
        wrong.append("no cell checks the reader's own answer: amrbook.check")
    return wrong + time_problems(notebook, text)


def time_problems(notebook: nbformat.NotebookNode, text: str) -> list[str]:
    wrong = []
    said = re.search(r"^\*\*Time\.\*\* About (\d+) minutes to read", text, flags=re.M)
    if not said:
        wrong.append('the opening does not say how long it takes: a line "**Time.** About 30 minutes to read, …"')
    elif abs(int(said[1]) - reading_minutes(notebook)) > 5:
        wrong.append(f"it says {said[1]} minutes to read; counted it is {reading_minutes(notebook):.0f}")
    return wrong


def opening_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What an opening must not have: more than its five minutes, and anything to solve."""
    wrong = []
    if (minutes := reading_minutes(notebook)) > OPENING_MINUTES + 0.5:
        wrong.append(f"{minutes:.1f} minutes to read; an opening has {OPENING_MINUTES}")
    if any(re.search(r"\$|^## Exercises", c.source, flags=re.M) for c in notebook.cells if c.cell_type == "markdown"):
        wrong.append("an opening has no formula and no exercise")
    return wrong


def problems(stem: str, notebook: nbformat.NotebookNode) -> list[tuple[int | None, str]]:
    """(cell, what is wrong) of a chapter or an appendix."""
    appendix = bool(APPENDIX.match(stem))
    if not appendix and stem not in {path.stem for path in chapters()}:
        return []  # made by a test
    known = glossary.by_small_letters()
    wrong: list[tuple[int | None, str]] = []
    for at, cell in enumerate(notebook.cells):
        found = language_problems(cell) + code_problems(cell) + term_problems(cell, known)
        wrong += [(at, text) for text in found]
    offered = appendix_problems if appendix else opening_problems if stem in OPENINGS else teaching_problems
    return wrong + [(None, text) for text in colour_problems(notebook) + offered(notebook)]
