"""Negatives: never the user's own, never cold, and each as often as it should be."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import amrlib
from amrlib.training import NegativeSampler


@st.composite
def datasets(draw):
    M, N = draw(st.integers(1, 6)), draw(st.integers(2, 8))
    rows = draw(st.lists(st.tuples(st.integers(0, M - 1), st.integers(0, N - 1)), min_size=1, max_size=30))
    test = draw(st.lists(st.integers(-1, N - 1), min_size=M, max_size=M))
    return amrlib.Dataset(rows, np.array(test), n_users=M, n_items=N)


def shares(data, user, kind):
    """What the distribution is to be, written out: (N,)."""
    weight = data.item_counts.astype(float) if kind == "popularity" else (data.item_counts > 0).astype(float)
    weight[data.items_of(user)] = 0
    return weight / weight.sum() if weight.any() else weight


@settings(max_examples=150, deadline=None)
@given(datasets(), st.sampled_from(["uniform", "popularity"]))
def test_the_whole_line_of_every_user(data, kind):
    """Every point that may be drawn is drawn once: the counts are the weights, exactly."""
    full = [u for u in range(data.n_users) if len(data.items_of(u)) and not shares(data, u, kind).any()]
    if full:
        with pytest.raises(ValueError, match=f"user {full[0]} has touched every warm item"):
            NegativeSampler(data, kind=kind)
    sampler = NegativeSampler(data, kind=kind, allow_full=True)
    assert sampler.full.tolist() == full
    for user in range(data.n_users):
        if user in full:
            continue
        length = int(sampler.length[user])
        users = torch.full((length,), user)
        every_point = (torch.arange(length, dtype=torch.float64) + 0.5) / length
        with mock.patch("torch.rand", return_value=every_point):
            drawn = sampler(users)
        assert np.allclose(np.bincount(drawn, minlength=data.n_items) / length, shares(data, user, kind), atol=1e-12)


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_many_draws(kind):
    rng = np.random.default_rng(0)
    items = rng.integers(24, size=40) ** 2 // 46  # 0…11, low ones more often
    data = amrlib.Dataset(np.stack([rng.integers(5, size=40), items], 1), np.full(5, -1), n_items=13)
    sampler, generator = NegativeSampler(data, kind=kind), torch.Generator().manual_seed(0)
    for user in range(5):
        drawn = np.bincount(sampler(torch.full((20_000,), user), generator), minlength=13)
        expected = 20_000 * shares(data, user, kind)
        assert not drawn[expected == 0].any()  # training positives and cold items
        assert chisquare(drawn[expected > 0], expected[expected > 0]).pvalue > 1e-4


def test_the_largest_uniform_number_stays_on_the_line(monkeypatch):
    data = amrlib.Dataset([[0, 0], [1, 1], [1, 2]], [-1, -1])
    sampler = NegativeSampler(data)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1.0, dtype=torch.float64))
    assert sampler(torch.tensor([0, 1])).tolist() == [2, 0]


def test_the_held_out_item_is_an_item_like_any_other():
    """Leaving it out would tell the model which one it is; and test decides nothing else either."""
    train = [[0, 0], [1, 1], [1, 2], [2, 3]]
    one, two = (amrlib.Dataset(train, test) for test in ([2, 0, 1], [-1, 3, 2]))
    users = torch.zeros(1000, dtype=torch.int64)
    draws = [NegativeSampler(d)(users, torch.Generator().manual_seed(1)) for d in (one, two)]
    assert torch.equal(*draws) and 2 in draws[0]
    models = [amrlib.MFBPR(dim=3).bind(d) for d in (one, two)]
    for model, data in zip(models, (one, two)):
        model.fit(data, epochs=3, validation=True, progress=False)
    assert torch.equal(models[0].P, models[1].P) and torch.equal(models[0].Q, models[1].Q)
