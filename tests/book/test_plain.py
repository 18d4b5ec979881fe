"""The lint of plain English on cells with planted faults, and the links to the glossary."""

import nbformat
import pytest

from tools import chapter_files, glossary, plain

V4 = nbformat.v4


def claim_cell(said: str) -> nbformat.NotebookNode:
    shown = V4.new_output("display_data", data={"text/markdown": f"✓ {said}", "text/plain": said})
    return V4.new_code_cell('claim("...", True, MODE)', outputs=[shown])


SHORT = "HR@10 is 0.341 ± 0.005 with 99 rivals, and 0.287 with all items."
FAULTS = {
    "too many words": (claim_cell("word " * 26 + "."), "26 words"),
    "too many numbers": (claim_cell("It is 1, 2.5, 3e-4, 1,000 and 5."), "5 numbers"),
    "an avoided turn in a claim": (claim_cell("Ten items drawn by lot."), "by lot"),
    "a long sentence": (V4.new_markdown_cell("Short. " + "word " * 41 + "."), "41 words"),
    "a for per": (V4.new_markdown_cell("There are two purchases a shopper."), "purchases a shopper"),
    "long code": (V4.new_code_cell("\n\n".join(f"x = {n}" for n in range(21))), "21 visible lines"),
    "wide code": (V4.new_code_cell("x = 1  # " + "wide " * 20), "the column has"),
    "an unknown term": (V4.new_markdown_cell("This is a **made-up notion** of ours."), "not in the glossary"),
}


def found(cell: nbformat.NotebookNode) -> list[str]:
    known = {"cold item": "cold item"}
    return plain.language_problems(cell) + plain.code_problems(cell) + plain.term_problems(cell, known)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    cell, word = FAULTS[fault]
    assert any(word in text for text in found(cell))


@pytest.mark.parametrize(
    "cell",
    [
        claim_cell(SHORT),
        claim_cell("One. " + "word " * 25 + ". Three."),
        V4.new_markdown_cell("**Predict.** What of **cold items**?\n\n- **Compute** a rank.\n\n$$ " + "x " * 50 + "$$"),
        V4.new_markdown_cell("It trains as long as it must. `" + "code " * 50 + "`"),
        V4.new_code_cell("x = 1\n" * 30, metadata={"tags": ["hide-input"]}),
        V4.new_code_cell("MODE = 1  # " + "wide " * 20, metadata={"tags": ["parameters"]}),
    ],
)
def test_what_is_plain_passes(cell):
    assert found(cell) == []


def test_numbers_of_a_name_are_not_counted():
    assert plain.numbers("HR@10 and NDCG@20 of C3 are 0.5 and 1,000") == 2
    assert plain.numbers("Measured on: a processor 7763 at 2.80 GHz, 2026-11-29") == 3


@pytest.mark.parametrize("stem", [path.stem for path in chapter_files.notebooks()])
def test_a_chapter_keeps_the_rules(stem):
    assert plain.problems(stem, chapter_files.read(chapter_files.BOOK / f"{stem}.ipynb")) == []


def test_an_appendix_keeps_the_language_and_needs_no_quiz_and_no_card():
    long = V4.new_markdown_cell("**1. Build.** " + "word " * 41 + ".\n\n<details><summary>Hint</summary>\n\nNo.\n\n</details>")
    book = V4.new_notebook(cells=[long, V4.new_code_cell("x = 1  # " + "wide " * 20)])
    wrong = [text for _, text in plain.problems("A9_new", book)]
    for word in ("a sentence of", "the column has", "of <summary>Solution</summary>", "amrbook.check", "how long"):
        assert any(word in text for text in wrong), word
    assert not any("quiz" in text or "card" in text or "grade" in text for text in wrong)


def test_a_chapter_must_offer_everything():
    wrong = plain.teaching_problems(V4.new_notebook(cells=[V4.new_markdown_cell("# A")]))
    for word in ("'Recall'", "'Open'", "0 exercises", "check", "quiz", "card", "how long"):
        assert any(word in text for text in wrong), word


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("word " * 1200, "minutes to read"), ("Let $x$ be.", "no formula"), ("## Exercises", "no exercise"), ("Short.", None)],
)
def test_an_opening_stays_short_and_asks_for_nothing(text, wrong):
    found = plain.opening_problems(V4.new_notebook(cells=[V4.new_markdown_cell("# A"), V4.new_markdown_cell(text)]))
    assert wrong in found[0] if wrong else found == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ('ax.bar(0, 1, color=COLORS["AMR"])', "the colour of AMR"),
        ('ax.bar(0, 1, color="#009E73")', "#009e73 is typed"),
        ('model = amrlib.AMR()\nax.bar(0, 1, color=COLORS["AMR"])', None),
        ('ax.bar(0, 1, color=[COLORS["ink"], figures.PLAIN[0], "#222222"])', None),
    ],
)
def test_a_models_colour_stands_for_the_model(code, wrong):
    found = plain.colour_problems(V4.new_notebook(cells=[V4.new_code_cell(code)]))
    assert wrong in found[0] if wrong else found == []


@pytest.mark.parametrize("minutes, long", [(29, False), (33, True)])
def test_a_chapter_is_one_sitting(minutes, long):
    cells = [V4.new_markdown_cell(f"**Time.** About 30 minutes to read.\n\n{'word ' * 180 * minutes}")]
    wrong = plain.teaching_problems(V4.new_notebook(cells=cells))
    assert any("a chapter has 30" in text for text in wrong) == long


def test_a_typed_number_on_a_card_is_found():
    cells = [V4.new_code_cell('card(equations={}, numbers={"HR@10": "0.5"}, picture=("fig-a", "b"))')]
    assert any("formatted from the run" in text for text in plain.teaching_problems(V4.new_notebook(cells=cells)))


def test_a_bold_term_becomes_a_link_and_nothing_else_changes():
    known = {"cold item": "cold item", "auc": "AUC"}
    text = "# A **cold item**\n\nMany **cold items**, the **AUC**, a **thing** and `**AUC**`.\n\n$$ **AUC** $$\n\n"
    text += "```\n**AUC**\n```\n"
    linked = glossary.linked(text, known)
    assert "Many **{term}`cold items <cold item>`**, the **{term}`AUC <AUC>`**, a **thing** and `**AUC**`." in linked
    assert linked.startswith("# A **cold item**") and "$$ **AUC** $$" in linked and "```\n**AUC**\n```" in linked


def test_the_glossary_is_in_order_and_names_a_term_once():
    terms = glossary.terms()
    assert len(terms) > 60 and terms == sorted(terms, key=str.lower) and len(set(terms)) == len(terms)
