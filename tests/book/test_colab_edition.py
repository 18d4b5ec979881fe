"""The Colab edition: plain Markdown, as current as the chapters, and a whole chapter."""

import re

import nbformat
import pytest

from tools import chapter_files, colab

NUMBERS = {"eq-here": ("chapter 3", 2), "eq-there": ("chapter 7", 5)}
FORMS = {
    "$$ y = x $$ (eq-here)": "$$ y = x \\tag{2}\n$$",
    "as {eq}`eq-here` says": "as (2) says",
    "as {eq}`eq-there` says": "as (5) of chapter 7 says",
    "a {term}`cold items <cold item>` and {func}`~amrlib.evaluate`": "a cold items and amrlib.evaluate",
    "[AMR](11_amr.ipynb#controls)": f"[AMR]({chapter_files.colab_address('11_amr')})",
    "[words](notation.md)": f"[words]({chapter_files.repository()}/blob/main/book/notation.md)",
    "(label)=\n# T": "# T",
    "[paper](https://arxiv.org/abs/1)": "[paper](https://arxiv.org/abs/1)",
    f"{chapter_files.badge('03_mf_bpr')}\n\nWords.": "Words.",
    "<details><summary>Answer</summary>\n\nTwo.\n\n</details>": "<details><summary>Answer</summary>\n\nTwo.\n\n</details>",
}


@pytest.mark.parametrize("myst", FORMS)
def test_a_form_of_myst_becomes_plain(myst):
    assert colab.plain(myst, NUMBERS, "chapter 3") == FORMS[myst]


@pytest.mark.parametrize("myst", [":::{note}\nx\n:::", "```{figure} a.png\n```", "{cite}`a`", "{eq}`eq-none`"])
def test_a_form_without_a_plain_one_is_told(myst):
    with pytest.raises(ValueError, match="no plain form for"):
        colab.plain(myst, NUMBERS, "chapter 3")


def test_the_edition_is_current():
    assert colab.problems() == []


def test_a_stale_edition_is_found_with_the_remedy(tmp_path):
    colab.write(tmp_path)
    assert colab.problems(tmp_path) == [] and colab.write(tmp_path) == []
    file = sorted(tmp_path.glob("*.ipynb"))[0]
    file.write_text(file.read_text(encoding="utf-8").replace("cells", "cell"), encoding="utf-8")
    (tmp_path / "99_gone.ipynb").write_text("{}", encoding="utf-8")
    told = colab.problems(tmp_path)
    assert len(told) == 2 and all("notebooks.py colab" in line for line in told)


@pytest.mark.parametrize("path", chapter_files.chapters(), ids=lambda p: p.stem)
def test_a_chapter_is_whole_and_plain(path):
    chapter, made = chapter_files.read(path), nbformat.read(chapter_files.COLAB / path.name, as_version=4)
    code = lambda notebook: [cell.source for cell in notebook.cells if cell.cell_type == "code"]  # noqa: E731
    assert code(made) == code(chapter)
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert not colab.RAW.search(text) and "colab-badge" not in text and "GPU" in text
    folds = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown").count("<details")
    assert text.count("<details") == folds  # exercises with their hints and answers
    assert not any(cell.get("outputs") for cell in made.cells)
    assert [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith(("http", "#", "mailto"))] == []
    assert chapter_files.colab_address(path.stem).endswith(f"colab/{path.name}")
