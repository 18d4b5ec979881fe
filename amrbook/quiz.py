"""A quiz at a chapter's end: a few questions, several answers each, and a word on every answer.

Each answer is one ``<details>`` element, so it opens without JavaScript and without a network: in the pages, in Colab,
in Jupyter. Nothing is drawn or counted, so the output is the same in every run.

>>> quiz(question("What does a tie do to the rank?",
...               wrong("It counts half.", "Then dice or halves would enter the measure."),
...               right("It counts against the model.", "So a model that knows nothing is never perfect.")))
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from .claims import _show

__all__ = ["Answer", "Question", "question", "quiz", "right", "wrong"]


@dataclass(frozen=True)
class Answer:
    """One answer of a question, and what a reader who picks it is told."""

    text: str
    why: str
    is_right: bool


@dataclass(frozen=True)
class Question:
    """A question and its answers, in the order in which they are shown."""

    text: str
    answers: tuple[Answer, ...]


def right(text: str, why: str) -> Answer:
    """The answer that is right, and why."""
    return Answer(text, why, True)


def wrong(text: str, why: str) -> Answer:
    """An answer that is not right: what it mixes up, in a sentence that leads on."""
    return Answer(text, why, False)


def question(text: str, *answers: Answer) -> Question:
    """A question with one right answer and at least one wrong one.

    Parameters
    ----------
    text : str
        Markdown; formulas between dollar signs.
    answers : Answer
        As :func:`right` and :func:`wrong` give them. The word on an answer may hold Markdown; the answer itself is shown
        as it is typed, since it is what a reader clicks on.

    Raises
    ------
    ValueError
        Not exactly one right answer, no wrong one, an empty text, a formula in an answer, or a doubled backslash before a
        letter, which a raw string keeps and a formula takes for a new line.
    """
    if sum(a.is_right for a in answers) != 1 or len(answers) < 2:
        raise ValueError(f"one answer must be right(...) and at least one wrong(...): {text!r}")
    if not text.strip() or not all(a.text.strip() and a.why.strip() for a in answers):
        raise ValueError(f"the question, every answer and the word on it must say something: {text!r}")
    if formulas := [a.text for a in answers if "$" in a.text or "`" in a.text or "\n" in a.text]:
        raise ValueError(f"an answer is shown as it is typed, so write it without $, ` and line breaks: {formulas[0]!r}")
    if doubled := [t for t in (text, *(a.why for a in answers)) if re.search(r"\\\\[A-Za-z]", t)]:
        raise ValueError(f"a doubled backslash is a new line in a formula; in a raw string write it once: {doubled[0]!r}")
    return Question(text, answers)


def quiz(*questions: Question) -> None:
    """Show the questions; a click on an answer opens the word on it.

    Raises
    ------
    ValueError
        No question.
    """
    if not questions:
        raise ValueError("a quiz needs at least one question(...)")
    parts = []
    for number, asked in enumerate(questions, 1):
        parts.append(f"**Question {number}.** {asked.text}")
        for letter, answer in zip("ABCDEFGH", asked.answers, strict=False):
            verdict = "✓ Right." if answer.is_right else "✗ Not this one."
            summary = html.escape(answer.text, quote=False)
            parts += [f'<details class="quiz"><summary>{letter}. {summary}</summary>', f"{verdict} {answer.why}", "</details>"]
    _show("\n\n".join(parts))
