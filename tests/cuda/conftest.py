"""Every test here needs a card, and says so where there is none."""

import pytest
from card import DEVICE, MISSING


@pytest.fixture
def device():
    if MISSING:
        pytest.skip(MISSING)
    return DEVICE
