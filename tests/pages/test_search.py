"""Twenty things a reader types, and the page that must come first; from disk, without a network."""

import json

import pytest

from tools import pages
from tools.chapter_files import BOOK, ROOT

QUERIES = {
    "HR@10": "01_ranking",
    "ndcg": "01_ranking",
    "AUC": "01_ranking",
    "hit ratio": "01_ranking",
    "boutique": "02_boutique",
    "BPR": "03_mf_bpr",
    "matrix factorization": "03_mf_bpr",
    "MF-eALS": "04_mf_eals",
    "CNN": "05_pixels_to_features",
    "DUIF": "06_duif",
    "VBPR": "07_vbpr",
    "cold": "07_vbpr",
    "ε": "09_worst_small_change",
    "epsilon": "09_worst_small_change",
    "certified": "09_worst_small_change",
    "PGD": "10_attacks_on_pixels",
    "AMR": "11_amr",
    "adversarial training": "11_amr",
    "blind twin": "12_how_to_test_a_claim",
    "Pinterest": "13_papers_tables",
    "csv": "14_your_own_data",
    "verdict": "claims",
    "pytorch": "A2_pytorch_in_an_hour",
    "proof": "A3_derivations",
    "warm item": "glossary",
}
FIRST = """
new Promise((done) => { let before = -1, still = 0; const look = () => {
  const links = [...document.querySelectorAll("#search-results ul.search li > a")].map((a) => a.getAttribute("href"));
  still = links.length === before ? still + 1 : 0; before = links.length;
  if (links.length && still > 3 || still > 40) done(links); else setTimeout(look, 50) }; look() })
"""


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_reader_types_leads_to_the_right_page_first(tab, query):
    from urllib.parse import quote

    tab.open((pages.PAGES / "search.html").as_uri() + f"?q={quote(query)}")
    links = tab.run(FIRST)
    tab.listen()
    assert links and links[0].split(".html")[0] == f"book/{QUERIES[query]}", links[:4]
    assert tab.requests == [] and tab.errors == []


def test_the_words_belong_to_pages_that_are_there_and_to_one_each():
    words = json.loads((BOOK / "_ext" / "search_words.json").read_text(encoding="utf-8"))
    listed = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"book/{page}" in listed for page in words)
    every = [word.lower() for page in words.values() for word in page]
    assert len(set(every)) == len(every)
