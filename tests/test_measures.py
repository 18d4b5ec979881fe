"""How libraries measure: ours is what it is by hand and as stored, and the page is that of the stored run. No other library
is needed here."""

import json
import math
import re

import pytest

from measures import __main__ as runner
from measures import page, surprises
from measures.cases import BY_NAME, CASES, ITEMS
from measures.worker import work

SECOND = math.log(2) / math.log(3)
# by hand: HR, NDCG, MRR, AUC
BY_HAND = {
    "plain": (3 / 4, (1 + SECOND + 1 / 2) / 4, (1 + 1 / 2 + 1 / 3 + 1 / 5) / 4, (5 + 4 + 3 + 1) / 20),
    "first": (1, 1, 1, 1),
    "second": (1, SECOND, 1 / 2, 4 / 5),
    "below zero": (1, SECOND, 1 / 2, 4 / 5),
    "large": (1, SECOND, 1 / 2, 4 / 5),
    "all equal, item 0": (0, 0, 1 / 6, 0),
    "all equal, item 5": (0, 0, 1 / 6, 0),
    "all equal, item 5 written first": (0, 0, 1 / 6, 0),
    "a billionth apart": (1, 1, 1, 1),
    "nothing held out": (1, 1, 1, 1),
    "short list": (1, 1, 1, 1),
}


@pytest.fixture(scope="module")
def stored():
    return json.loads(page.RESULTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ours():
    return work("amrlib")


def test_ours_is_what_it_is_by_hand(ours):
    for name, expected in BY_HAND.items():
        found = ours["cases"][name]["values"]
        assert [found[m] for m in ("HR", "NDCG", "MRR", "AUC")] == pytest.approx(expected, abs=1e-6), name
        assert found["recall"] == found["HR"]
    assert {name for name, said in ours["cases"].items() if "values" in said} == set(BY_HAND)


def test_ours_in_the_table_is_ours_today(stored, ours):
    assert stored["amrlib"] == ours, "run: python -m measures run --only amrlib"


def test_the_page_is_that_of_the_stored_run(tmp_path):
    target = tmp_path / "measures.md"
    target.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(target)
    assert target.read_text(encoding="utf-8") == page.PAGE.read_text(encoding="utf-8"), "run: python -m measures page"


def test_every_library_was_asked_about_every_case_in_the_version_that_is_pinned(stored):
    assert set(stored) <= set(page.LIBRARIES) == {"amrlib", *(name for names in runner.GROUPS.values() for name in names)}
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", "\n".join(
        path.read_text() for path in (runner.ROOT / "measures" / "requirements").glob("*.txt")), re.M))  # fmt: skip
    for name in page.asked(stored):
        assert [*stored[name]["cases"]] == sorted(BY_NAME)
        assert all(len(said) == 1 for said in stored[name]["cases"].values())
        if name != "amrlib":
            assert stored[name]["version"] == pins[stored[name]["distribution"]]


def test_the_cases_are_rankings():
    for case in CASES:
        for rows in case.lists.values():
            scores = [score for _, score in rows]
            assert scores == sorted(scores, reverse=True) and all(0 <= item < ITEMS for item, _ in rows)
        assert {case for topic in page.TOPICS.values() for case in topic} == set(BY_NAME)


def test_who_wins_a_tie():
    """Of item 0, of item 5, and of item 5 where it is written first."""
    assert page.tie_rule(0.0, 0.0, 0.0) == page.tie_rule(1 / 6, 1 / 6, None) == "lost"
    assert page.tie_rule(0.4, 0.4, 0.4) == "shared"
    assert page.tie_rule(1.0, 0.0, 1.0) == "as written"
    assert page.tie_rule(1.0, 0.0, 0.0) == page.tie_rule(1.0, 0.0, None) == "smaller item"
    assert page.tie_rule(0.0, 1.0, 1.0) == page.tie_rule(0.0, 1.0, None) == "larger item"
    assert page.tie_rule(0.0, 0.5, 0.0) == page.tie_rule(0.0, 1.0, 0.0) == "no such rule"


def test_a_surprise_that_is_no_longer_one_stops_the_page(monkeypatch, stored):
    no_more = surprises.Surprise("ties", "HR {amrlib[first][HR]:.3f}", lambda v: v["amrlib"]["first"]["HR"] == 0)
    monkeypatch.setattr(page, "SURPRISES", [no_more])
    with pytest.raises(ValueError, match="no longer so"):
        page.sentences(stored, "ties")
    monkeypatch.setattr(page, "SURPRISES", [no_more._replace(holds=lambda v: v["a library that was not run"])])
    assert page.sentences(stored, "ties") == "No surprise here."


def test_a_library_that_is_not_there_is_named_without_numbers(tmp_path, stored):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'ranx'\" >&2\nexit 1\n")
    python.chmod(0o755)
    said = runner.ask(python, "ranx")
    assert said == {"not run": "ModuleNotFoundError: No module named 'ranx'"}
    text = page.versions({"amrlib": stored["amrlib"], "ranx": said})
    assert "Not run here: ranx (ModuleNotFoundError: No module named 'ranx')." in text
    assert f"Not run here: Cornac ({page.NOT_RUN})." in text
    assert "ranx" not in page.overview({"amrlib": stored["amrlib"], "ranx": said})
