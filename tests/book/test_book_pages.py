"""What the book adds to Sphinx: how to reproduce a page, glossary links, the badge, mended HTML, the landing page's figure."""

import json
import re
from types import SimpleNamespace

import matplotlib
import pytest

from tools import book_pages, chapter_files, landing, page_html
from tools.ledger import RECORD


def read(docname: str, notebook: dict) -> dict:
    app = SimpleNamespace(env=SimpleNamespace(note_dependency=lambda file: None))
    source = [json.dumps(notebook)]
    book_pages.read_source(app, docname, source)
    return json.loads(source[0])


def chapter(name: str) -> dict:
    return json.loads((chapter_files.BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))


def test_a_chapter_ends_with_how_to_reproduce_it():
    made = read("book/03_mf_bpr", chapter("03_mf_bpr"))
    said = made["cells"][-1]["source"]
    assert said.startswith(":::{dropdown} Reproduce this page")
    assert "tools/notebooks.py store book/03_mf_bpr.ipynb" in said and "--nbval book/03_mf_bpr.ipynb" in said
    pinned = (chapter_files.ROOT / "requirements.txt").read_text(encoding="utf-8")
    for package in book_pages.SHOWN:
        assert f"{package} {re.search(rf'^{package}==(.+)$', pinned, flags=re.M)[1].strip()}" in said
    assert "`SEED = 0`" in said and '`MODE = "book"`' in said and "one thread" in said
    assert re.search(r"sha256 `[0-9a-f]{12}…`", said)
    assert len(made["cells"]) == len(chapter("03_mf_bpr")["cells"]) + 1


def test_the_checksum_knows_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(book_pages, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    sums = []
    for text in ("1", "1", "2"):
        (tmp_path / "data" / "a.csv").write_text(text)
        book_pages.data_checksum.cache_clear()
        sums.append(book_pages.data_checksum())
    book_pages.data_checksum.cache_clear()
    assert sums[0] == sums[1] != sums[2]


def test_the_time_of_the_run_is_told_where_it_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(book_pages, "EXECUTED", tmp_path)
    assert book_pages.seconds("03_mf_bpr") == ""
    (tmp_path / "03_mf_bpr.ipynb").write_text('{"metadata": {"papermill": {"duration": 41.7}}}')
    assert "42 seconds" in book_pages.seconds("03_mf_bpr")


def test_terms_lead_to_the_glossary_and_records_stay_out():
    made = json.dumps(read("book/03_mf_bpr", chapter("03_mf_bpr")))
    assert "{term}`implicit feedback <implicit feedback>`" in made and RECORD not in made
    assert read("book/nowhere", chapter("03_mf_bpr")) == chapter("03_mf_bpr")


def test_an_assignment_shows_the_badge_of_the_book():
    file = chapter_files.assignments()[0]
    made = read(f"book/assignments/{file.stem}", json.loads(file.read_text(encoding="utf-8")))
    text = json.dumps(made)
    assert "../_static/colab-badge.svg" in text and chapter_files.BADGE_IMAGE not in text


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ('<button aria-label="Search" class="btn search-button-field">', '<button class="btn search-button-field">'),
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
        ('<th class="head"><p></p></th><th>a</th>', '<td class="head"><p></p></td><th>a</th>'),
        ('<div class="citation" id="a" role="doc-biblioentry">', '<div class="citation" id="a">'),
        ('<summary><span class="toctree-toggle"', '<summary aria-label="Pages below"><span class="toctree-toggle"'),
        # an interval stays on one line
        ("<td>×40.1 (39.3–60.7)</td>", "<td>×40.1 (39.3\u2060–\u206060.7)</td>"),
        ("<p>8 %–9 % and −0.2–+0.1</p>", "<p>8 %\u2060–\u20609 % and −0.2\u2060–\u2060+0.1</p>"),
        ("<td>-0.0004 ± 0.0018</td>", "<td>-0.0004\u00a0±\u00a00.0018</td>"),
        ("<td>.603 ± .017, .1–.2</td>", "<td>.603\u00a0±\u00a0.017, .1\u2060–\u2060.2</td>"),
    ],
)
def test_what_the_theme_lacks_is_mended_once(theirs, ours):
    assert page_html.mended(theirs) == ours and page_html.mended(ours) == ours


@pytest.mark.parametrize(
    "text",
    ["<p>MF–BPR, 3 – 4</p>", '<img alt="1–2">', "<pre>1–2</pre>", "<title>1–2</title>", "<script>a = '1–2' > 3–4</script>"],
)
def test_what_is_no_interval_in_a_text_stays_as_it_is(text):
    assert page_html.mended(text) == text


SCRIPT = (
    'a={github:[496,512,[],"f09b","B"]};c={"sun-plant-wilt":[640,512,[],"e5","S"],rocket:[512,448,["ship"],"f135","M1 2z"],'
    'duo:[1,2,[],"f1",["M1","M2"]]};'
)


def test_an_icon_becomes_a_drawing_in_the_page():
    assert [sorted(style) for style in page_html.icons_of(SCRIPT)] == [["github"], ["duo", "rocket", "ship", "sun-plant-wilt"]]
    drawn = page_html.with_icons('<i class="fas fa-ship fa-lg" title="t"></i>', SCRIPT)
    assert drawn == (
        '<svg class="svg-inline--fa fa-ship fa-lg" title="t" aria-hidden="true" viewBox="0 0 512 448">'
        '<path fill="currentColor" d="M1 2z"></path></svg>'
    )
    assert page_html.with_icons(drawn, SCRIPT) == drawn
    assert 'd="B"' in page_html.with_icons('<i class="fab fa-github" aria-hidden="true"></i>', SCRIPT)
    for other in ('<i class="fas fa-nowhere"></i>', '<span class="fast"></span>'):
        assert page_html.with_icons(other, SCRIPT) == other
    assert page_html.with_icons('<script src="../_static/scripts/fontawesome.js?digest=1"></script>', SCRIPT) == ""


def test_code_bears_spans_only_for_what_has_a_colour_of_its_own():
    code = '<span class="n">x</span><span class="w"> </span><span class="o">=</span><span class="p">(</span>'
    code += '<span class="mi">1</span>'
    assert page_html.mended(code) == 'x =(<span class="mi">1</span>'


@pytest.mark.parametrize(
    "style, left",
    [
        (".a{x:y}.b{x:y}", ".a{x:y}"),
        (".a .b,.a>c{x:y}", ".a>c{x:y}"),
        ("p:not(.b),a:is(.b,.a){x:y}", "p:not(.b),a:is(.b,.a){x:y}"),
        ("@media print{.b{x:y}}@media print{.a{x:y}.b{x:y}}", "@media print{.a{x:y}}"),
        ('@import "u";.b{content:"}"}/* .a{ */.a:after{content:"{"}', '@import "u";.a:after{content:"{"}'),
        ("@font-face{font-family:b}@keyframes b{to{x:y}}", "@font-face{font-family:b}@keyframes b{to{x:y}}"),
        (r".b\:c{x:y}.bs-tooltip-auto{x:y}[class*=b]{x:y}", r".b\:c{x:y}.bs-tooltip-auto{x:y}[class*=b]{x:y}"),
    ],
)
def test_rules_for_classes_that_no_page_has_are_left_out(style, left):
    assert page_html.style_less(style, {"a"}) == left == page_html.style_less(left, {"a"})


def test_a_build_is_finished_once(tmp_path):
    for file, text in {
        "a.html": '<p class="kept">x</p><i class="fas fa-rocket"></i><script src="_static/scripts/fontawesome.js"></script>',
        "_static/scripts/fontawesome.js": SCRIPT,
        "_static/own.js": 'e.className = "made"',
        "_static/styles/pydata-sphinx-theme.css": ".kept{x:y}.made{x:y}.svg-inline--fa{x:y}.gone{x:y}",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    page_html.finish(tmp_path)
    page = (tmp_path / "a.html").read_text()
    assert "M1 2z" in page and "fontawesome" not in page and not (tmp_path / "_static/scripts/fontawesome.js").exists()
    assert (tmp_path / "_static/styles/pydata-sphinx-theme.css").read_text() == ".kept{x:y}.made{x:y}.svg-inline--fa{x:y}"
    page_html.finish(tmp_path)
    assert (tmp_path / "a.html").read_text() == page


def test_the_figure_of_the_landing_page_shows_the_stored_results():
    pinned = re.search(
        r"^matplotlib==(.+)$", (chapter_files.ROOT / "requirements.txt").read_text(encoding="utf-8"), flags=re.M
    )[1]
    if matplotlib.__version__ != pinned.strip():
        pytest.skip("another matplotlib draws other bytes")
    assert landing.FILE.read_text(encoding="utf-8") == landing.finding(), "run: python -m tools.landing"


def test_a_listing_leads_back_to_the_name_that_the_api_page_has(tmp_path):
    """Also where nothing but Sphinx builds the pages: it belongs to finish()."""
    (tmp_path / "_static").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "api.html").write_text('<dt id="amrlib.evaluation.Report"><dt id="amrlib.MF">')
    listing = tmp_path / "_modules" / "amrlib" / "evaluation" / "report.html"
    listing.parent.mkdir(parents=True)
    listing.write_text('<a href="../book/api.html#amrlib.Report"></a><a href="../book/api.html#amrlib.MF"></a>')
    for _ in range(2):
        page_html.finish(tmp_path)
        assert (
            listing.read_text()
            == '<a href="../book/api.html#amrlib.evaluation.Report"></a><a href="../book/api.html#amrlib.MF"></a>'
        )


@pytest.mark.parametrize("thing", [tuple, type("T", (tuple,), {})(), "Alias for field number 0", "Our own words."])
def test_the_library_is_described_in_its_own_words(thing):
    lines = (thing if isinstance(thing, str) else thing.__doc__ or tuple.__doc__).splitlines()
    book_pages.without_pythons_words(None, "attribute", "amrlib.x", None, None, lines)
    assert lines == (["Our own words."] if thing == "Our own words." else [])


def test_only_our_own_modules_are_listed(tmp_path):
    folder = tmp_path / "_modules"
    (folder / "amrlib").mkdir(parents=True)
    (tmp_path / "_static").mkdir()
    for name in ("amrlib.html", "functools.html", "amrlib/models.html"):
        (folder / name).write_text("<p></p>")
    line = '<li><a href="{0}.html">{0}</a></li>\n'
    (folder / "index.html").write_text("<ul>" + line.format("amrlib") + line.format("functools") + "</ul>")
    page_html.finish(tmp_path)
    assert sorted(path.name for path in folder.rglob("*.html")) == ["amrlib.html", "index.html", "models.html"]
    assert "functools" not in (folder / "index.html").read_text() and "amrlib.html" in (folder / "index.html").read_text()
