"""The Colab edition: colab/NN_name.ipynb, each chapter in plain Markdown and without outputs; a badge opens it.

Colab shows what only the book's builder understands as raw text: labels after formulas, roles, links between pages.
Here a formula carries its number, a reference names it, and a link has a whole address. Values are filled in when the
cells run, as in the book. ``python tools/notebooks.py colab`` writes it, ``store`` does so too, ``check`` compares.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import yaml

from tools.chapter_files import BOOK, COLAB, METADATA, ROOT, called, colab_address, notebooks, read, repository
from tools.pages import toc_files

RAW = re.compile(r"\{[a-z][\w:.-]*\}`|^ *(?:`{3,}|:{3,})\{|^\([\w-]+\)=\s*$|\$\$[ \t]*\([\w-]+\)|^:{3,}", flags=re.M)
LABELLED = re.compile(r"\$\$[ \t]*\(([\w-]+)\)|^:label: *([\w-]+)", flags=re.M)
NOTE = """\
*The Colab edition of [{name}]({page}). Run the cells from the top: the first one fetches the library and the \
data, and leaves what Colab has installed as it is. `MODE = "book"` needs no GPU. Choose one (Runtime, Change runtime \
type) only before you set `MODE = "paper"`. Its last digits may differ from those of the pages.*"""


def numbered() -> dict[str, tuple[str, int]]:
    """Label of a formula → its chapter ("chapter 3", "appendix A1" or ""), and its number, counted as the pages count."""
    found: dict[str, tuple[str, int]] = {}
    for name in toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))):
        file = ROOT / f"{name}.ipynb"
        if file.is_file():
            text = "\n".join(cell.source for cell in read(file).cells if cell.cell_type == "markdown")
        elif (file := file.with_suffix(".md")).is_file():
            text = file.read_text(encoding="utf-8")
        else:
            continue
        chapter = spoken(file.stem) if file.suffix == ".ipynb" and file.parent == BOOK else ""
        for label in LABELLED.findall(text):
            found["".join(label)] = (chapter, len(found) + 1)
    return found


def spoken(stem: str) -> str:
    name = called(stem)
    return name[0].lower() + name[1:]


def address(target: str) -> str:
    """A link between pages as a whole address: a chapter opens in Colab, another page at the repository."""
    path, _, anchor = target.partition("#")
    if target.startswith(("http:", "https:", "mailto:", "#")):
        return target
    name = Path(path).stem
    if path.startswith("_static/"):
        return f"{repository()}/raw/main/book/{path}"
    if name in {file.stem for file in notebooks()}:
        return colab_address(name)
    suffix = Path(path).suffix or ".md"
    return f"{repository()}/blob/main/book/{Path(path).with_suffix(suffix)}" + (f"#{anchor}" if anchor else "")


def plain(markdown: str, numbers: dict[str, tuple[str, int]], chapter: str) -> str:
    """MyST of a ``chapter`` as the Markdown that every notebook shows.

    Raises
    ------
    ValueError
        A role, directive or label that has no plain form here yet.
    """
    text = re.sub(r"^\[!\[Open in Colab.*\n*", "", markdown, flags=re.M)
    text = re.sub(r"^\([\w-]+\)=\s*\n", "", text, flags=re.M)  # a name that links lead to
    text = re.sub(r"\s*\$\$[ \t]*\(([\w-]+)\)", lambda m: f" \\tag{{{numbers[m[1]][1]}}}\n$$", text)

    def named(found: re.Match[str]) -> str:
        if found[1] not in numbers:
            return found[0]
        where, n = numbers[found[1]]
        return f"({n})" if where in ("", chapter) else f"({n}) of {where}"

    text = re.sub(r"\{eq\}`([\w-]+)`", named, text)
    text = re.sub(r"\{(?:term|doc|ref|func|class|meth|mod|attr)\}`~?([^`<]*?)(?:\s*<[^>]*>)?`", r"\1", text)
    text = re.sub(r"(?<=\]\()([^)\s]+)(?=\))", lambda m: address(m[1]), text)
    if left := RAW.search(text):
        line = next(line for line in text[left.start() :].splitlines() if line.strip())
        raise ValueError(f"no plain form for {line[:60]!r}: write it in plain Markdown, or teach tools/colab.py its form")
    return text.strip()


def edition(path: Path, numbers: dict[str, tuple[str, int]]) -> nbformat.NotebookNode:
    """The chapter as it opens in Colab."""
    chapter, of = read(path), spoken(path.stem)
    cells = []
    for at, cell in enumerate(chapter.cells):
        try:
            source = plain(cell.source, numbers, of) if cell.cell_type == "markdown" else cell.source
        except ValueError as wrong:
            raise ValueError(f"{path.name}, cell {at}: {wrong}") from None
        if at == 0:
            title, _, rest = source.partition("\n")
            page = f"{repository()}/blob/main/book/{path.name}"
            source = "\n\n".join(p for p in (title, NOTE.format(name=of, page=page), rest.strip()) if p)
        if cell.cell_type == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(source, id=cell.id))
            continue
        kept = {"tags": ["parameters"]} if "parameters" in cell.metadata.get("tags", []) else {}
        if cell.metadata.get("tags") and any(tag.startswith(("hide-", "remove-")) for tag in cell.metadata.tags):
            kept["cellView"] = "form"  # Colab folds the code away
        cells.append(nbformat.v4.new_code_cell(source, id=cell.id, metadata=kept))
        if caption := cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", ""):
            words = plain(caption, numbers, of)
            cells.append(nbformat.v4.new_markdown_cell(f"*Figure: {words}*", id=f"{cell.id[:55]}-caption"))
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def wanted(folder: Path = BOOK) -> dict[str, str]:
    """File name → text of the whole edition."""
    texts, numbers = {}, numbered()
    for path in notebooks(folder):
        notebook = edition(path, numbers)
        nbformat.validate(notebook)
        texts[path.name] = nbformat.writes(notebook).rstrip("\n") + "\n"
    return texts


def write(folder: Path = COLAB) -> list[str]:
    """Write what differs, remove what no chapter stands behind; the names of the files that changed."""
    texts = wanted()
    folder.mkdir(exist_ok=True)
    changed = [file.name for file in folder.glob("*.ipynb") if file.name not in texts]
    for name in changed:
        (folder / name).unlink()
    for name, text in texts.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def problems(folder: Path = COLAB) -> list[str]:
    """Is the edition what the chapters say?"""
    try:
        texts = wanted()
    except ValueError as wrong:
        return [str(wrong)]
    there = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.ipynb")}
    stale = sorted(name for name in {*texts, *there} if texts.get(name) != there.get(name))
    where = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return [f"{where}/{name} is not the chapter as it is; run: python tools/notebooks.py colab" for name in stale]
