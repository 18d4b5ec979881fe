"""The pages on their way into the PDF; that it is whole is tested in tests/pages, with Chromium."""

import re

from bs4 import BeautifulSoup

from amrbook.slider import Slider
from tools import pdf


def test_a_slider_keeps_what_it_says_of_paper():
    """Its style names its id, and ids are told apart by their page."""
    made = Slider((b"one", b"two"), "rate", ("0.1", "0.2"), ("first", "second"))
    article = BeautifulSoup(f"<div>{made._repr_html_()}</div>", "html.parser").div
    moved = pdf.moved(article, "book/03_mf_bpr", set())
    name = moved.find(attrs={"role": "group"})["id"]
    style = moved.find("style").string
    assert name.startswith("book-03_mf_bpr--amr-") and set(re.findall(r"#([\w-]+)", style)) == {name}
    assert f"@media print{{#{name} [data-step='0'],#{name} [data-step='1']" in style


def test_colours_and_foreign_ids_in_a_style_stay():
    article = BeautifulSoup('<div id="a"><style>#a{color:#fff}#b{color:#aaa}</style></div>', "html.parser")
    assert pdf.moved(article, "p", set()).style.string == "#p--a{color:#fff}#b{color:#aaa}"


def test_short_code_stays_together_and_long_code_is_broken():
    cell = '<div class="cell_input"><div class="highlight"><pre>{}</pre></div></div>'
    article = BeautifulSoup(f"<div>{cell.format('a' + chr(10))}{cell.format(('a' + chr(10)) * 40)}</div>", "html.parser").div
    first, second = pdf.moved(article, "p", set()).find_all(class_="cell_input")
    assert "short" in first["class"] and "short" not in second["class"]
