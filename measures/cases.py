"""The rankings: small enough to be measured by hand. Only the standard library, since every environment imports this."""

from __future__ import annotations

from typing import NamedTuple

ITEMS = 12  # items are 0 … 11 in every case


class Case(NamedTuple):
    """What a model gave and what was held out. A list holds (item, score), best first; equal scores in the order written."""

    name: str
    what: str  # in words, for the page
    k: int
    lists: dict[int, list[tuple[int, float]]]  # user -> list; every other item is one the user had before
    held: dict[int, list[int]]  # user -> held-out items

    @property
    def users(self) -> list[int]:
        return sorted({*self.lists, *self.held})


def falling(*items: int, top: float = 0.9) -> list[tuple[int, float]]:
    """A list without ties: scores ``top``, ``top`` − 0.1, …"""
    return [(item, round(top - 0.1 * place, 1)) for place, item in enumerate(items)]


SIX = (0, 1, 2, 3, 4, 5)
CASES = [
    Case("plain", "Four users with six items each and no ties; one held-out item each, in places 1, 2, 3 and 5. k = 3.", 3,
         {user: falling(*SIX) for user in range(4)}, {0: [0], 1: [1], 2: [2], 3: [4]}),
    Case("first", "One user; the held-out item is first of twelve. k = 10.", 10, {0: falling(*range(12), top=1.2)}, {0: [0]}),
    Case("second", "One user; the held-out item is second of six. k = 3.", 3, {0: falling(*SIX)}, {0: [1]}),
    Case("below zero", "The same list as in 'second', with 2 taken from every score. k = 3.", 3,
         {0: falling(*SIX, top=-1.1)}, {0: [1]}),
    Case("large", "The same order as in 'second', with the scores 100, 90, …, 50. k = 3.", 3,
         {0: [(item, 100.0 - 10 * item) for item in SIX]}, {0: [1]}),
    Case("all equal, item 0", "One user; six items 0 to 5 in this order, all with the score 0.5. Held out: item 0. k = 3.", 3,
         {0: [(item, 0.5) for item in SIX]}, {0: [0]}),
    Case("all equal, item 5", "The same list; held out: item 5. k = 3.", 3, {0: [(item, 0.5) for item in SIX]}, {0: [5]}),
    Case("all equal, item 5 written first", "The same items written from 5 down to 0; held out: item 5. k = 3.", 3,
         {0: [(item, 0.5) for item in reversed(SIX)]}, {0: [5]}),
    Case("a billionth apart", "One user; item 0 has 1 + 10⁻⁹ and is held out, items 1 to 5 have 1. k = 3.", 3,
         {0: [(0, 1 + 1e-9)] + [(item, 1.0) for item in SIX[1:]]}, {0: [0]}),
    Case("no list", "Two users with a held-out item; one has it first, the other has no list. k = 3.", 3,
         {0: falling(*SIX)}, {0: [0], 1: [0]}),
    Case("empty list", "The same, but the second user has a list without items. k = 3.", 3,
         {0: falling(*SIX), 1: []}, {0: [0], 1: [0]}),
    Case("nothing held out", "Two users with a list; one has the held-out item first, of the other nothing is held out. k = 3.",
         3, {0: falling(*SIX), 1: falling(*SIX)}, {0: [0]}),
    Case("three held out", "One user; three held-out items, in places 1, 2 and 4 of six. k = 3.", 3,
         {0: falling(*SIX)}, {0: [0, 1, 3]}),
    Case("more held out than k", "One user; four held-out items, in places 1 to 4 of six. k = 2.", 2,
         {0: falling(*SIX)}, {0: [0, 1, 2, 3]}),
    Case("short list", "One user; a list of two items, the held-out one first. k = 10.", 10, {0: falling(0, 1)}, {0: [0]}),
    Case("not in the list", "One user; the held-out item is not among the six in the list. k = 3.", 3,
         {0: falling(*SIX)}, {0: [7]}),
    Case("twice in the list", "One user; the list is item 0, item 0 again, item 1. Held out: item 0. k = 3.", 3,
         {0: [(0, 0.9), (0, 0.8), (1, 0.7)]}, {0: [0]}),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}

# For rivals that are drawn: 60 users with ten of 203 items each, in the order in which they had them; the last is held out.
SHOP_ITEMS, DRAWN = 203, 100
SHOP = [[(7 * user + 13 * step) % SHOP_ITEMS for step in range(10)] for user in range(60)]
