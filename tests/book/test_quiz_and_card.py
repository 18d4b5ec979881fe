"""The quiz opens without a script, the card holds what it was given, and both refuse what would not show."""

from html.parser import HTMLParser

import pytest

from amrbook.card import card
from amrbook.quiz import question, quiz, right, wrong


def shown(capsys) -> str:
    return capsys.readouterr().out


class Details(HTMLParser):
    """What can be opened, and how deep the elements are nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.summaries: list[str] = []
        self.open: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.open.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "summary":
            self.summaries.append(data)


ASKED = question("What is $2 + 2$?", wrong("less than 5 & 3", "Both?"), right("4", "Count $1, 2, 3, 4$."))


def test_every_answer_opens_by_itself_and_says_why(capsys):
    quiz(ASKED, ASKED)
    text = shown(capsys)
    page = Details(text)
    assert page.names == {"details", "summary"} and not page.open, "no script, nothing left open"
    assert text.count("<details") == 4 and "A. less than 5 &amp; 3" in text
    assert "✗ Not this one. Both?" in text and "✓ Right. Count $1, 2, 3, 4$." in text
    for line in text.splitlines():  # Markdown reads the word on an answer only if it stands apart from the HTML
        assert "<details" not in line or line.startswith("<details")
    assert "**Question 2.** What is $2 + 2$?" in text


def test_the_same_quiz_shows_the_same_every_time(capsys):
    quiz(ASKED)
    first = shown(capsys)
    quiz(ASKED)
    assert shown(capsys) == first


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (right("a", "b"),),
        (wrong("a", "b"), wrong("c", "d")),
        (right("a", "b"), right("c", "d")),
        (right("a", " "), wrong("c", "d")),
        (right("$a$", "b"), wrong("c", "d")),
        (right("a", r"$E^\\top$"), wrong("c", "d")),
    ],
)
def test_a_question_that_would_not_work_is_refused(answers):
    with pytest.raises(ValueError, match=r"answer|word on it|doubled backslash"):
        question("What?", *answers)


def test_a_quiz_needs_a_question():
    with pytest.raises(ValueError, match="at least one question"):
        quiz()


def test_a_card_is_one_table_with_its_picture(capsys):
    card(equations={r"x \ge 0": "never negative"}, numbers={"HR@10": f"{0.1234:.2f}"}, picture=("fig-a", "two curves"))
    text = shown(capsys)
    assert r"| $x \ge 0$ | never negative |" in text and "| **0.12** | HR@10 |" in text and "[the picture](#fig-a)" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {3}, "every row has two cells"


@pytest.mark.parametrize(
    "change",
    [{"equations": {}}, {"numbers": {}}, {"equations": {"$x$": "a"}}, {"equations": {"|x|": "a"}}, {"picture": ("a", "b")}],
)
def test_a_card_refuses_what_would_break_it(change):
    with pytest.raises(ValueError, match=r"card needs|equation is LaTeX|picture must"):
        card(**{"equations": {"x": "a"}, "numbers": {"n": "1"}, "picture": ("fig-a", "b")} | change)
