"""The pages in use: by keyboard, standing still, with sliders and quizzes, all from disk and without a network."""

import re

import pytest

from tools.pages import PAGES
from tools.visits import pages

MADE = [name for name in pages() if re.match(r"book/\d\d_", name)]


@pytest.mark.parametrize("name", ["book/index", "book/03_mf_bpr"])
def test_the_focus_is_seen(tab, name):
    tab.open(PAGES / f"{name}.html")
    seen = 0
    for _ in range(12):
        tab.press("Tab", 9)
        style = tab.run(
            "(() => { const e = document.activeElement; if (!e || e === document.body) return null;"
            " const s = getComputedStyle(e);"
            " return {tag: e.localName, outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0,"
            " shadow: s.boxShadow !== 'none', text: s.textDecorationLine} })()"
        )
        if style:
            seen += 1
            assert style["outline"] or style["shadow"], style
    assert seen >= 10


def test_who_wants_no_motion_sees_none(tab):
    tab.look(1280, still=True)
    tab.open(PAGES / "book" / "03_mf_bpr.html")
    moving = tab.run(
        "[...document.querySelectorAll('*')].map(e => getComputedStyle(e)).filter(s =>"
        " [...s.transitionDuration.split(','), ...s.animationDuration.split(',')].some(t => parseFloat(t) > 0.01)"
        " || s.scrollBehavior === 'smooth').length"
    )
    assert moving == 0


@pytest.mark.parametrize("name", ["book/index", "book/11_amr", "book/api"])
def test_icons_are_drawings_in_the_page(tab, name):
    tab.open(PAGES / f"{name}.html")
    assert not [file for file in tab.files if "awesome" in file]  # neither a script nor a font for them
    icons = tab.run(
        "[...document.querySelectorAll('svg.svg-inline--fa')].map(i => i.getBoundingClientRect()).map(r => r.height)"
    )
    assert len(icons) > 10 and max(icons) > 10


@pytest.mark.parametrize("name", MADE)
def test_sliders_and_folds_work_from_disk(tab, name):
    tab.open(PAGES / f"{name}.html")
    sliders = tab.run(
        "[...document.querySelectorAll('.amr-control input[type=range]')].map(at => { const box = at.closest('[role=group]');"
        " const before = box.querySelector('[aria-live]').textContent; at.value = at.max; at.dispatchEvent(new Event('input'));"
        " const shown = [...box.querySelectorAll('figure')].filter(f => f.getClientRects().length);"
        " return [before !== box.querySelector('[aria-live]').textContent, shown.length] })"
    )
    assert all(moved and shown == 1 for moved, shown in sliders)
    quizzes = tab.run(
        "[...document.querySelectorAll('details.quiz')].map(d => { d.querySelector('summary').click(); return d.open })"
    )
    assert all(quizzes)
    formulas = tab.run("[document.querySelectorAll('.math').length, document.querySelectorAll('.math mjx-container').length]")
    assert formulas[1] >= formulas[0]
    tab.listen()
    assert tab.requests == [] and tab.errors == []


def test_code_without_spans_keeps_its_colour(tab):
    """page_html leaves out the spans of names, punctuation and space, which have the colour of the code in both themes; and of
    signs, which had another and need none."""
    for dark in (False, True):
        tab.look(1280, dark=dark)
        tab.open(PAGES / "book" / "03_mf_bpr.html")
        colours = tab.run(
            "(() => { const code = document.querySelector('.highlight pre'); const seen = [getComputedStyle(code).color];"
            " for (const c of ['n', 'p', 'w']) { const s = document.createElement('span'); s.className = c; code.append(s);"
            " seen.push(getComputedStyle(s).color) } return seen.map(c => c.match(/\\d+/g).map(Number)) })()"
        )
        plain = colours[0]
        assert all(max(abs(a - b) for a, b in zip(plain, c, strict=True)) < 48 for c in colours[1:]), colours


def test_an_old_address_leads_to_the_new_page_and_keeps_the_anchor(tab):
    tab.open(PAGES / "book" / "09_amr.html")
    tab.run("new Promise(done => setTimeout(done, 500))")
    assert tab.run("location.pathname").endswith("/11_amr.html")
