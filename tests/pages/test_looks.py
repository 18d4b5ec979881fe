"""Every page: nothing cut off, nothing axe complains of, nothing asked of the network, nothing too heavy."""

from tools.visits import MOST, Look


def test_nothing_is_cut_off(visit, look):
    assert visit(look).overflow == []


def test_axe_finds_nothing(visit, look):
    assert visit(look).violations == []


def test_nothing_is_asked_of_the_network_and_nothing_is_logged(visit, look):
    seen = visit(look)
    assert seen.requests == [] and seen.errors == []


def test_a_page_is_light_before_its_images(visit, every_page):
    assert visit(Look(every_page)).weight <= MOST


def test_no_alt_text_stands_twice_on_a_page(visit, every_page):
    alts = [alt for alt in visit(Look(every_page)).alts if alt]
    assert sorted(set(alts)) == sorted(alts)
