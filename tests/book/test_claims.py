"""Claims: they stop the run when they fail, and what they leave in a stored notebook becomes the ledger."""

import json
import math
from unittest.mock import MagicMock

import nbformat
import pytest

from amrbook import claims, formats
from tools import checks, ledger, runner


@pytest.fixture
def shown(monkeypatch):
    """What claim and not_testable hand to the page: (text, record) pairs."""
    found = []
    monkeypatch.setattr(claims, "_show", lambda text, record=None: found.append((text, record)))
    return found


@pytest.mark.parametrize("value, form, text", [
    (-0.2, ".0f", "0"), (-0.2, "+.0f", "+0"), (-0.0004, ".1%", "0.0%"), (-0.04, ".1f", "0.0"), (-1e-9, "6.2f", "  0.00"),
    (-0.6, ".0f", "-1"), (-0.05, "+.2f", "-0.05"), (-0.0, "g", "0"), (-0.5, "g", "-0.5"), (-10, "d", "-10"),
])  # fmt: skip
def test_no_number_is_minus_zero(shown, value, form, text):
    assert formats.zero_has_no_sign(value, form) == text
    claims.glue("It is {x:" + form + "}.", x=value)
    assert shown == [(f"It is {text}.", None)]


def test_a_mean_and_its_half_width_for_a_table():
    assert formats.plus_minus(-0.2, 0.4) == "0 ± 0" and formats.plus_minus(-0.6, 0.6) == "-1 ± 1"
    assert formats.plus_minus(-0.04, 0.25, digits=1, sign=True) == "+0.0 ± 0.2"


@pytest.mark.parametrize("said, found", [
    ("AMR  -0 ± 0   -0 ± 0", "-0 ± 0   -0 ± "), ("by −0.0 %.", "−0.0 %."), ("-0.00", "-0.00"),
    ("by -0.05 and 10-0, 2026-01-02, -0.5, x_-0, 0 ± 0", ""),
])  # fmt: skip
def test_a_stored_minus_zero_is_found(said, found):
    stream = nbformat.v4.new_output("stream", text=said)
    sentence = nbformat.v4.new_output("display_data", data={"text/markdown": said, "text/html": "<p style='margin:-0'>"})
    assert checks.minus_zero(stream) == checks.minus_zero(sentence) == found


def test_a_claim_that_fails_stops_the_run_and_shows_nothing(shown):
    with pytest.raises(AssertionError, match=r"VBPR leads by -0\.1.*m = -0\.1"):
        claims.claim("VBPR leads by {m}.", False, "book", seeds=5, effect={"NDCG@10": (-0.1, 0.2)}, m=-0.1)
    assert shown == []


def test_a_claim_leaves_its_record_in_digits_that_repeat(shown):
    effect = {"NDCG@10, A − B": (0.0039812, 0.0010023), "times chance": 6.8251, "none": (0.0, 0.0),
              "rounding": (2.2e-16, 1e-17), "exact": (0.5, 1e-16)}  # fmt: skip
    claims.claim("A leads over {seeds} seeds.", True, "book", seeds=5, effect=effect)
    text, record = shown[0]
    assert text == "✓ A leads over 5 seeds." and record["verdict"] == "holds" and record["seeds"] == 5
    assert json.loads(json.dumps(record)) == record
    assert record["effect"] == [
        {"name": "NDCG@10, A − B", "estimate": "0.0040", "half_width": "0.0010"},
        {"name": "times chance", "estimate": "6.83"},
        {"name": "none", "estimate": "0", "half_width": "0"},
        {"name": "rounding", "estimate": "0", "half_width": "0"},
        {"name": "exact", "estimate": "0.500", "half_width": "0.000"},
    ]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"seeds": 0}, "number of runs"),
        ({"seeds": "some"}, "number of runs"),
        ({"seeds": 5, "effect": {"x": (math.nan, 1.0)}}, "finite"),
        ({"seeds": 5, "effect": {"x": (1.0, 2.0, 3.0)}}, "half width"),
        ({"seeds": 5, "paper": "AMR gains."}, "go together"),
        ({"seeds": 5, "paper": "AMR gains.", "verdict": "nearly"}, "verdict_of"),
    ],
)
def test_what_a_claim_refuses(shown, given, word):
    with pytest.raises(ValueError, match=word):
        claims.claim("x", True, "book", **given)


def test_a_smoke_run_judges_nothing_and_enters_no_ledger(shown):
    claims.claim("A leads.", False, "smoke", seeds=5, effect={"NDCG@10": (math.nan, math.nan)})
    text, record = shown[0]
    assert "not judged" in text and record["verdict"] == "not judged" and record["effect"] == []
    assert "A leads" not in ledger.page([("91_tiny", made(record))])


@pytest.mark.parametrize(
    ("ours", "half", "theirs", "verdict"),
    [
        (5.0, 1.0, 6.3, "reproduced"),
        (-5.0, 1.0, -6.3, "reproduced"),
        (5.0, 1.0, 10.0, "reproduced"),
        (5.0, 1.0, 10.1, "direction only"),
        (5.0, 1.0, 2.4, "direction only"),
        (5.0, 5.0, 6.3, "not reproduced"),
        (-5.0, 1.0, 6.3, "not reproduced"),
        (math.nan, 1.0, 6.3, "not reproduced"),
        (3.0, 1.0, "+", "direction only"),
        (1.0, 1.0, "+", "not reproduced"),
        (3.0, 1.0, "-", "not reproduced"),
        (-3.0, 1.0, "-", "direction only"),
        (math.nan, 1.0, "-", "not reproduced"),
    ],
)
def test_the_verdict_on_a_claim_of_the_paper(ours, half, theirs, verdict):
    assert claims.verdict_of(ours, half, theirs) == verdict


@pytest.mark.parametrize("theirs", [0.0, math.nan])
def test_a_figure_without_a_side_has_no_verdict(theirs):
    with pytest.raises(ValueError, match="other than 0"):
        claims.verdict_of(1.0, 0.1, theirs)


# ---------------------------------------------------------------- the ledger


def test_the_record_is_a_form_of_the_output_which_nbval_compares(monkeypatch):
    """In the metadata, as it once was, a stored chapter and its ledger could go stale and pass."""
    assert ledger.RECORD == claims.RECORD
    shown = []
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: "a kernel")
    monkeypatch.setattr("IPython.display.display", lambda data, **how: shown.append((data, how)))
    claims.claim("A leads.", True, "book", seeds=5, effect={"x": (0.2, 0.1)})
    claims.glue("Words.")
    (claimed, how), (glued, _) = shown
    assert claimed[claims.RECORD]["statement"] == "A leads." and how == {"raw": True} and claims.RECORD not in glued

    nbval = pytest.importorskip("nbval.plugin")
    changed = claimed | {claims.RECORD: claimed[claims.RECORD] | {"seeds": 6}}
    output = lambda data: nbformat.v4.new_output("display_data", data=data)  # noqa: E731
    cell = MagicMock(sanitize=lambda text: text, colors=nbval.nocolors)
    skipped = ("metadata", "traceback", "prompt_number", "output_type", "name", "execution_count", "image/png", "image/jpeg")
    compare = lambda a, b: nbval.IPyNbCell.compare_outputs(cell, [output(a)], [output(b)], skipped)  # noqa: E731
    assert compare(claimed, claimed) and not compare(changed, claimed)


def made(*records):
    v4 = nbformat.v4
    outputs = [v4.new_output("display_data", data={"text/plain": "✓", claims.RECORD: r}) for r in records]
    heading = v4.new_markdown_cell("## Does it beat counting?\n\nText.\n\n```python\n# no heading\n```")
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Tiny"), heading, v4.new_code_cell("claim()", outputs=outputs)])


def test_the_ledger_lists_what_a_notebook_claims(shown):
    claims.claim("A|B leads.", True, "book", seeds=5, effect={"NDCG@10": (-0.0042, 0.0011)})
    claims.claim(
        "C gains.", True, "book", seeds=10, effect={"%": (5.0, 1.0)}, paper="C gains 6 % (Table 2).", verdict="reproduced"
    )
    claims.not_testable("D on {photographs} (Fig. 1).", "There are {n} of them.", n=0)
    page = ledger.page([("91_tiny", made(*(record for _, record in shown)))])
    link = "91_tiny.ipynb#does-it-beat-counting"
    assert f"| [Does it beat counting?]({link}). A\\|B leads. | NDCG@10: −0.0042 ± 0.0011 | 5 runs | holds |" in page
    assert f"| C gains 6 % (Table 2). | C gains.<br>%: 5.0 ± 1.0<br>10 runs<br>[Chapter 91]({link}) | **reproduced** |" in page
    assert "| **not testable here** |" in page and page.count("There are 0 of them.") == 1
    assert "reproduced 1, not testable here 1" in page and "2 claims in 1\nchapters" in page


def test_a_stale_ledger_is_caught(tmp_path, shown):
    claims.claim("A leads.", True, "book", seeds=5, effect={"NDCG@10": (0.1, 0.01)})
    nbformat.write(made(shown[0][1]), tmp_path / "91_tiny.ipynb")
    assert len(ledger.problems(tmp_path)) == 1  # no page
    (tmp_path / "claims.md").write_text(ledger.stored(tmp_path), encoding="utf-8")
    assert ledger.problems(tmp_path) == []
    nbformat.write(made(shown[0][1] | {"statement": "A leads by far."}), tmp_path / "91_tiny.ipynb")
    assert "notebooks.py claims" in ledger.problems(tmp_path)[0]


def test_the_stored_ledger_is_what_the_stored_chapters_claim():
    assert ledger.problems() == []


@pytest.mark.slow
def test_the_record_survives_the_kernel_papermill_and_store(tmp_path, monkeypatch):
    """The way a chapter goes: run by papermill, outputs copied by with_outputs, read by the ledger."""
    code = 'from amrbook.claims import claim\nclaim("A leads.", True, "book", seeds=3, effect={"x": (1.0, 0.1)})'
    source, ran = tmp_path / "91_tiny.ipynb", tmp_path / "executed"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell(code)]), source
    )
    ran.mkdir()
    ok, log = runner.Runner(1, 1).papermill(source, ran / source.name, {})
    assert ok, log
    monkeypatch.setattr(runner, "EXECUTED", ran)
    stored = runner.with_outputs(source)
    assert [(r["statement"], r["seeds"], r["link"]) for r in ledger.claims_of("91_tiny", stored)] == [
        ("A leads.", 3, "91_tiny.ipynb")
    ]


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ('claim("A leads.", m > h, MODE)', "how many runs"),
        ('claim("A leads.", m > h, MODE, seeds=len(SEEDS))', "no effect="),
        ('claim("A leads.", m > h, MODE, seeds=5, effect={})', "is typed"),
        ('if x:\n    claims.claim("A " + "leads.", m > h, MODE, seeds=1)', "in this run"),
        ('claim("A", ok, MODE, seeds=n, effect=e, paper="B", verdict="reproduced")', "typed verdict"),
        ('claim("A leads.", True, MODE, seeds=len(SEEDS), effect={"x": (m, h)})', "cannot fail"),
    ],
)
def test_a_claim_that_does_not_say_what_it_rests_on_is_found(code, word):
    assert [word in problem for problem in checks.claim_problems(code)] == [True]


@pytest.mark.parametrize(
    "code",
    [
        'claim("A = B.", apart < 1e-12, MODE, seeds="exact")',
        'claim("In " "this run A leads.", m > 0, MODE, seeds=1)',
        'claim("A leads.", m > h, MODE, seeds=len(SEEDS), effect={"x": (m, h)}, paper="B", verdict=verdict_of(m, h, 6.3))',
        'not_testable("A.", "B.")',
    ],
)
def test_claims_that_say_what_they_rest_on(code):
    assert checks.claim_problems(code) == []
