"""Slides: what stands on them, that pictures keep their words, and that nothing is loaded from elsewhere."""

import re

import nbformat
import pytest

from classroom import slides
from tools.chapter_files import chapters, read, tags
from tools.checks import Page, figures, remote

v4 = nbformat.v4


@pytest.fixture
def reveal(tmp_path):
    """A stand-in for reveal.js, which only make classroom installs."""
    for name in ("dist/reveal.js", "dist/reveal.css", "dist/theme/white.css", "plugin/notes/notes.js", "LICENSE"):
        file = tmp_path / "reveal" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "reveal"


def test_the_slides_of_every_chapter(tmp_path, reveal, capsys):
    out = tmp_path / "slides"
    assert slides.make(out, [], reveal) == 0
    for path in chapters():
        text = (out / f"{path.stem}.html").read_text(encoding="utf-8")
        page, book = Page(text), read(path)
        assert not [load for load in page.loads if remote(load)]
        assert not re.search(r"@import|url\((?!data:)", text)
        assert all(alt and len(alt) >= 40 for _, alt in page.pictures)
        end = next((i for i, cell in enumerate(book.cells) if slides.END in cell.source), len(book.cells))  # 0 has none
        assert len(page.pictures) == sum(
            n for at, cell, n in figures(book) if at < end and not slides.HIDDEN_OUTPUT & set(tags(cell))
        )
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        shown = "\n".join(cell.source for cell in code if "hide-input" not in tags(cell))
        for cell in code:
            if "hide-input" in tags(cell) and "matplotlib" not in cell.source and len(cell.source) >= 40:
                own = [line[:60] for line in cell.source.splitlines() if len(line) >= 20 and line[:60] not in shown]
                assert not [line for line in own[:1] if line in text]  # a line that no shown cell has too
        assert not re.search(r"\{(?:eq|cite|numref|doc|ref)[\w:]*\}`", text), "a role of the book's builder is left"
        for address in page.loads:
            assert address.startswith("data:") or (out / address).is_file(), address
    assert capsys.readouterr().out.count("slides") == len(chapters())


def test_one_small_chapter():
    picture = v4.new_output("display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "x"})
    told = {"mystnb": {"image": {"alt": "A line that rises"}, "figure": {"caption": "It rises."}}}
    cells = [
        v4.new_markdown_cell("# Title\n\n[![Open in Colab](x)](y)\n\nWhy is it so?"),
        v4.new_markdown_cell("## Part\n\nLong prose.\n\n$$\nx < 1\n$$ (eq-x)\n\nSee {eq}`eq-x`."),
        v4.new_code_cell("secret = 1", metadata={"tags": ["hide-input"]}, outputs=[picture]),
        v4.new_code_cell("shown = 2"),
        v4.new_code_cell("gone = 3", metadata={"tags": ["remove-cell"]}, outputs=[picture]),
        v4.new_markdown_cell(
            "**Predict before you run.** What then?\n\n<details><summary>Answer</summary>\n\nThis.\n\n</details>"
        ),
        v4.new_markdown_cell("## Exercises\n\n**1.** Do it."),
    ]
    cells[2].metadata.update(told)
    made = slides.slides(v4.new_notebook(cells=cells))
    text = "\n".join(made)
    assert "Why is it so?" in made[0] and "Colab" not in text
    assert "\\[x &lt; 1\\]" in text.replace("\n", "") and "eq-x" not in text
    assert "Long prose" in re.search(r"<aside[\s\S]*?</aside>", text)[0]
    assert "secret" not in text and "gone" not in text and "shown = 2" in text
    assert text.count("<img") == 1 and 'alt="A line that rises"' in text and "<figcaption>It rises." in text
    assert "What then?" in text and "This." not in text and "Do it" not in text


def test_what_is_missing_is_named(tmp_path, reveal):
    with pytest.raises(SystemExit, match=r"classroom/requirements\.txt"):
        slides.make(tmp_path / "out", [], tmp_path)
    with pytest.raises(SystemExit, match="no chapter is called 99_x"):
        slides.make(tmp_path / "out", ["99_x"], reveal)
