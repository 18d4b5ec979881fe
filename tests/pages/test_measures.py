"""The measures themselves, on pages made here with planted faults: each must be found."""

import hashlib

import pytest

from tools import visits

FRAME = """<!DOCTYPE html><html lang="en"><head><title>T</title><style>
.wide-scrolls {{ overflow-x: auto }} .wide-scrolls::after {{ content: "scroll →"; position: sticky; left: 0 }}
body {{ margin: 0 }} .bd-article {{ width: 600px; overflow-wrap: anywhere }}</style></head>
<body><main class="bd-article"><h1>T</h1>{}</main></body></html>"""
CUT = {
    "a line of code that scrolls": '<pre style="overflow-x:auto">' + "wide " * 200 + "</pre>",
    "a cell that hides its end": '<div style="overflow:hidden;white-space:nowrap">' + "wide " * 200 + "</div>",
    "a table that spills": "<table><tr>" + "<td style='min-width:9em'>x</td>" * 9 + "</tr></table>",
    "a code line in a fold": '<details><summary>s</summary><pre style="overflow:auto">' + "wide " * 200 + "</pre></details>",
    "a title below the article": '</main><div style="overflow:hidden"><p class="prev-next-area"><a>'
    + "wide" * 500
    + "</a></p></div><main>",
}
WRONG = {
    "image-alt": '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
    "heading-order": "<h4>Four</h4>",
    "color-contrast": '<p style="color:#bbb;background:#fff">Hardly to be read.</p>',
    "label": '<input type="range">',
}


@pytest.fixture
def made(tab, tmp_path):
    def page(html: str):
        (tmp_path / "a.html").write_text(FRAME.format(html), encoding="utf-8")
        tab.open(tmp_path / "a.html")
        return tab

    return page


def test_a_page_without_fault(made):
    tab = made("<h2>Two</h2><p>Words.</p><pre style='white-space:pre-wrap'>" + "wide " * 200 + "</pre>")
    assert visits.overflow(tab, 1280) == [] and visits.axe(tab) == []
    tab.listen()
    assert tab.requests == [] and tab.errors == []


@pytest.mark.parametrize("fault", CUT)
def test_what_is_cut_off_is_found(made, fault):
    assert visits.overflow(made(CUT[fault]), 1280) != []


def test_what_scrolls_with_a_sign_is_right_on_a_phone_only(made):
    tab = made('<div class="wide-scrolls"><div style="width:900px">wide</div></div>')
    assert visits.overflow(tab, 320) == [] and visits.overflow(tab, 1280) != []


@pytest.mark.parametrize("rule", WRONG)
def test_what_axe_knows_is_found(made, rule):
    assert any(found.startswith(rule) for found in visits.axe(made(WRONG[rule])))


def test_what_fades_in_is_judged_by_its_last_colour(made):
    """A fold of the book fades in for 0.3 s; on a slow machine axe came before its end."""
    fades = "<style>@keyframes in { from { opacity: 0.2 } to { opacity: 1 } } p { animation: in 60s }</style><p>Words.</p>"
    assert visits.axe(made(fades)) == []


def test_a_request_and_an_error_are_found(made):
    tab = made('<script src="https://cdn.example/x.js"></script><script>console.error("no")</script><script>nowhere()</script>')
    tab.listen()
    assert tab.requests == ["https://cdn.example/x.js"]
    assert any("nowhere" in e for e in tab.errors) and any(e == "no" for e in tab.errors)


def test_axe_is_the_published_file():
    """axe-core 4.14.1 by Deque Systems, MPL-2.0 (axe.LICENSE): ``npm pack axe-core@4.14.1``, package/axe.min.js."""
    digest = hashlib.sha256((visits.HERE / "axe.min.js").read_bytes()).hexdigest()
    assert digest == "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
    assert "Mozilla Public License" in (visits.HERE / "axe.LICENSE").read_text(encoding="utf-8")
