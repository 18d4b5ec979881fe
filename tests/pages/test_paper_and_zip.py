"""The whole book as one PDF and as one zip. Both take a while, so only where every page is looked at: make test-pages."""

import os
import re
import zipfile

import pytest

from tools import pdf, zip_pages

FULL = pytest.mark.skipif(os.environ.get("AMR_PAGES") != "full", reason="takes minutes; make test-pages runs it")


@FULL
def test_the_pdf_has_an_outline_links_and_no_line_that_is_cut_off(browser):
    assert pdf.make() == []
    pdf.SOURCE.unlink()
    data = pdf.TARGET.read_bytes()
    assert data.startswith(b"%PDF") and b"/Outlines" in data
    assert len(re.findall(rb"/Type\s*/Page\b", data)) > 100 and len(re.findall(rb"/Subtype\s*/Link", data)) > 300


@FULL
def test_the_zip_can_be_read_where_it_is_unpacked(tab, tmp_path):
    file = zip_pages.make(tmp_path / "pages.zip")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    home = tmp_path / "ranking-by-looks"
    for page in ("book/index.html", "book/03_mf_bpr.html", "search.html?q=VBPR"):
        tab.open(home.as_uri() + "/" + page)
        tab.listen()
        assert tab.requests == [] and tab.errors == []
    tab.open(home / "book" / "03_mf_bpr.html")
    assert tab.run("document.querySelectorAll('mjx-container').length") > 50
