"""Dataset and the two splits, on whatever hypothesis can think of."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amrlib
from amrlib import Dataset, leave_one_out

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=40)
as_counts = lambda rows: Counter(map(tuple, np.asarray(rows).tolist()))  # noqa: E731


@settings(max_examples=150, deadline=None)
@given(pairs, st.integers(0, 3))
def test_leave_one_out(rows, seed):
    train, test = leave_one_out(rows, seed=seed, n_users=6)
    per_user = {u: {i for v, i in rows if v == u} for u in range(6)}
    held = {(u, int(i)) for u, i in enumerate(test) if i >= 0}
    kept = set(map(tuple, train.tolist()))
    assert kept | held == set(rows) and not kept & held and len(kept) == len(train)
    assert all((test[u] >= 0) == (len(items) >= 2) for u, items in per_user.items())
    again = leave_one_out(rows[::-1], seed=seed, n_users=6)  # the order of the file does not matter
    assert np.array_equal(train, again[0]) and np.array_equal(test, again[1])


@settings(max_examples=150, deadline=None)
@given(pairs, st.integers(0, 3))
def test_validation_split(rows, seed):
    data = Dataset(rows, np.array([0, 1, 2, 3, 4, 5]), n_items=8)
    split = data.validation_split(seed)
    per_user = {u: {i for v, i in rows if v == u} for u in range(6)}
    for u, items in per_user.items():
        if len(items) >= 2:
            assert split.test[u] in items  # from train: the real test item plays no part
            assert set(split.items_of(u)) == items - {split.test[u]}
        else:
            assert split.test[u] == -1 and set(split.items_of(u)) == items
    held = {(u, int(i)) for u, i in enumerate(split.test) if i >= 0}
    expected = Counter({pair: n for pair, n in as_counts(rows).items() if pair not in held})  # all its repeats go
    assert as_counts(split.train) == expected
    assert np.array_equal(split.test, data.replace(test=np.full(6, -1)).validation_split(seed).test)


def test_splits_are_random_and_even():
    rows = [(u, i) for u in range(3000) for i in range(3)]
    for test in (leave_one_out(rows)[1], Dataset(rows, np.full(3000, -1)).validation_split().test):
        assert (np.abs(np.bincount(test) - 1000) < 120).all()
    assert not np.array_equal(leave_one_out(rows, seed=0)[1], leave_one_out(rows, seed=1)[1])


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_what_a_dataset_says_of_itself(rows):
    data = Dataset(rows, np.full(6, -1), n_items=8)
    for u in range(6):
        assert data.items_of(u).tolist() == sorted({i for v, i in rows if v == u})
    everywhere = data.is_train(np.arange(6)[:, None], np.arange(8)[None])
    assert {tuple(x) for x in np.argwhere(everywhere).tolist()} == set(rows)
    assert data.item_counts.tolist() == [sum(i == n for _, i in rows) for n in range(8)]
    assert np.array_equal(data.cold, data.item_counts == 0)
    assert bool(data.notes) == (len(set(rows)) < len(rows))


def test_a_test_item_that_is_also_in_train_is_reported_and_ranked():
    with pytest.warns(UserWarning, match=r"this data set: 1 users have their test item in train as well.*take it out of train"):
        data = Dataset([[0, 1], [0, 2], [1, 0]], [1, 3], n_items=4)
    assert data.notes == ("1 users have their test item in train as well: it is ranked all the same",)
    assert amrlib.evaluate(amrlib.Popularity().fit(data), data, k=1, progress=False).ranks.shape == (2,)


def test_derived_data_keeps_what_a_source_knew():
    data = Dataset([[0, 1], [0, 2]], [0], extras={"titles": ["a", "b", "c"]})
    assert data.replace(test=[1]).titles == data.validation_split().titles == ["a", "b", "c"]
    with pytest.raises(ValueError, match="extras: 'train'"):
        Dataset([[0, 1]], [0], extras={"train": 1})


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 2), dtype=np.float32))
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    data = Dataset([[0, 1], [1, 2]], [0, -1], features=mapped)
    assert isinstance(data.features, np.memmap)
    model = amrlib.VBPR(dim=2).bind(data)
    assert model.features.data_ptr() == mapped.ctypes.data  # read in place
    model.fit(data, epochs=1, progress=False)
