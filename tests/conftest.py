"""Fixtures that more than one file of tests uses."""

import pytest


@pytest.fixture(params=["torch", "numba"])
def counted_by(request, monkeypatch):
    """Large catalogues are counted by a compiled loop, where numba is; here small ones are too."""
    from amrlib.evaluation import ranks

    if request.param == "numba":
        pytest.importorskip("numba")
        monkeypatch.setattr(ranks, "COMPILED_FROM", 0)
