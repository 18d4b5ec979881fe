"""The built pages in headless Chromium. Without Chromium or without built pages these tests are skipped and say so;
with AMR_PAGES=required, as .ci/run sets it, they fail instead. AMR_PAGES=full looks at every page at every width."""

import os

import pytest

from tools import visits
from tools.browser import Browser, chromium
from tools.runner import BUILD

MODE = os.environ.get("AMR_PAGES", "")
SEEN: dict[visits.Look, visits.Visit] = {}


def pytest_generate_tests(metafunc):
    if "look" in metafunc.fixturenames:
        metafunc.parametrize("look", visits.looks(MODE == "full"), ids=str)
    if "every_page" in metafunc.fixturenames:
        metafunc.parametrize("every_page", visits.pages())


@pytest.fixture(scope="session")
def browser():
    lacking = "there is no Chromium here (Debian: apt-get install chromium)" if chromium() is None else ""
    if not (BUILD / "pages-passed").is_file():
        lacking = lacking or "the pages are not built, or not finished: make book"
    if lacking and MODE in ("required", "full"):
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
    with Browser() as running:
        yield running


@pytest.fixture
def visit(browser):
    """A look at a page, taken once a session."""

    def at(look: visits.Look) -> visits.Visit:
        if look not in SEEN:
            SEEN[look] = visits.visit(browser, look)
        return SEEN[look]

    return at


@pytest.fixture
def tab(browser):
    page = browser.page()
    yield page
    page.close()


def pytest_terminal_summary(terminalreporter):
    if SEEN:
        terminalreporter.write_sep("-", "pages")
        terminalreporter.write_line(visits.table(list(SEEN.values())))
