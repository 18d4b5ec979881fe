"""What is asked of a fitted model: some items only, some left out, by one's own ids, for nobody, for one, for somebody new."""

import numpy as np
import pandas as pd
import pytest
import torch

import amrlib
from amrlib.training import AutogradTrainer, PairwiseTrainer
from amrlib.training.compiled.step import CompiledTrainer

KINDS = [amrlib.Popularity, amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
VISUAL = [amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
M, N = 9, 14


def shop(seed=0, **more):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 4, replace=False)]))
    return amrlib.Dataset(train, test, rng.normal(size=(N, 5)).astype(np.float32), n_items=N, **more)


def fitted(kind, data, **settings):
    if kind is amrlib.Popularity:
        return kind().fit(data)
    return kind(dim=3, init_std=0.5).fit(data, epochs=2, progress=False, **settings)


# ---------------------------------------------------------------- which items


@pytest.mark.parametrize("kind", KINDS)
def test_some_items_only_and_some_left_out(kind):
    data = shop()
    model = fitted(kind, data)
    for items, exclude in ((None, "seen"), ([3, 1, 13, 5, 5], "seen"), (None, [0, 7]), ([3, 1, 13, 5], [3]), (None, None),
                           ([2, 4], None), (np.array([12]), ()), ([], "seen"), (None, range(N))):  # fmt: skip
        best, scores = model.recommend(np.arange(M), k=N, items=items, exclude=exclude)
        for u in range(M):
            left = set(range(N)) if items is None else set(items)
            if exclude is not None:
                left -= set(data.items_of(u))
            if not isinstance(exclude, str | None):
                left -= set(exclude)
            assert set(best[u][: len(left)]) == left and (best[u][len(left) :] == -1).all()
            expected = np.sort(model.score(u)[0].double().numpy()[sorted(left)])[::-1]
            assert np.allclose(scores[u][: len(left)], expected, rtol=1e-5, atol=1e-6)
            assert np.isneginf(scores[u][len(left) :]).all()


@pytest.mark.parametrize("kind", VISUAL)
def test_under_changed_features(kind):
    data = shop()
    model = fitted(kind, data)
    changed = data.features[::-1].copy()
    best, scores = model.recommend(2, k=4, features=changed)
    S = model.score(2, features=changed)[0].double().numpy()
    assert np.allclose(S, (model.user_vectors()[2] @ model.item_vectors(changed).T).double()) and np.allclose(scores, S[best])
    table = model.recommend_for_ids([2], k=4, features=changed, items=range(10))
    assert table["item"].tolist() == model.recommend(2, 4, changed, items=range(10))[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_one_and_several(kind):
    """An empty request is an empty answer, one user is one row, a list of one is a list."""
    model = fitted(kind, shop())
    for nobody in ([], np.zeros(0, dtype=int), ()):
        items, scores = model.recommend(nobody, k=3)
        assert items.shape == scores.shape == (0, 3) and items.dtype == np.int64
        assert model.score(nobody).shape == (0, N)
    table = model.recommend_for_ids([], k=3)
    assert list(table.columns) == ["user", "item", "score", "rank"] and not len(table)
    several = model.recommend(np.arange(M), k=3)
    for user in (4, np.int64(4), np.array(4)):
        for one, all_of_them in zip(model.recommend(user, k=3), several, strict=True):
            assert one.shape == (3,) and np.allclose(one, all_of_them[4], rtol=1e-5)
    assert model.recommend([4], k=3)[0].shape == (1, 3)
    assert np.array_equal(model.recommend([4, 4, 0], k=3)[0], several[0][[4, 4, 0]])


# ---------------------------------------------------------------- one's own ids

NAMES = {
    "text": ([f"user {n}" for n in range(M)], [f"article {n}" for n in range(N)]),
    "numbers": (np.arange(M)[::-1] * 10, np.arange(N) + 1000),
    "none": (None, None),
}


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_by_one_s_own_ids(kind, form):
    users, items = NAMES[form]
    data = shop(user_ids=users, item_ids=items)
    model = fitted(kind, data)
    own_users = np.arange(M) if users is None else np.array(users)
    own_items = np.arange(N) if items is None else np.array(items)
    for asked in ([own_users[3], own_users[0]], own_users[[3, 0]], pd.Series(own_users[[3, 0]])):
        table = model.recommend_for_ids(asked, k=4)
        numbers, scores = model.recommend([3, 0], k=4)
        assert table["user"].tolist() == [own_users[3].item()] * 4 + [own_users[0].item()] * 4
        assert table["item"].tolist() == own_items[numbers.flatten()].tolist()
        assert np.array_equal(table["score"], scores.flatten()) and table["rank"].tolist() == [1, 2, 3, 4] * 2
    one = model.recommend_for_ids(own_users[3].item(), k=4)
    pd.testing.assert_frame_equal(one, table[:4], rtol=1e-5)  # a product of one row ends in other digits
    mine = pd.DataFrame({"item": own_items, "price": np.arange(N)})  # a merge with one's own table needs the ids' own type
    assert len(table.merge(mine, on="item")) == 8
    assert pd.api.types.is_integer_dtype(table["item"]) == (form != "text")
    assert data.user_number(own_users[3]) == 3 and data.item_number(own_items[5].item()) == 5


def test_who_has_little_left_has_fewer_rows():
    data = amrlib.Dataset([(0, i) for i in range(5)] + [(1, 0)], [-1, -1], n_items=6, user_ids=["ann", "bob"])
    table = fitted(amrlib.MFBPR, data).recommend_for_ids(["ann", "bob"], k=4)
    assert table["user"].tolist() == ["ann"] + ["bob"] * 4 and table["item"][0] == 5
    assert (table["item"] >= 0).all() and np.isfinite(table["score"]).all()


@pytest.mark.parametrize("key", ["zoe", "user 99", 3, 3.5, None, ("user 1",), b"user 1"])
def test_an_id_that_nobody_has(key):
    data = shop(user_ids=NAMES["text"][0], item_ids=NAMES["text"][1])
    model = fitted(amrlib.MFBPR, data)
    with pytest.raises(ValueError, match=r"no user has the id .*; the ids of this data set are like 'user 0'"):
        data.user_number(key)
    with pytest.raises(ValueError, match=r"no item has the id .*; the ids of this data set are like 'article 0'"):
        data.item_number(key)
    with pytest.raises(ValueError, match="no user has the id"):
        model.recommend_for_ids(["user 1", key])
    numbered = shop(user_ids=NAMES["numbers"][0])
    with pytest.raises(ValueError, match="no user has the id '10'; the ids of this data set are like 80"):
        numbered.user_number("10")  # text is no number


def test_a_number_out_of_range_is_told_where_ids_go():
    model = fitted(amrlib.MFBPR, shop(user_ids=NAMES["numbers"][0]))
    with pytest.raises(ValueError, match=r"users: user 80 is outside 0…8; for the data's own ids there is recommend_for_ids"):
        model.recommend(80)
    with pytest.raises(ValueError, match=r"recommend_for_ids, and shop\.user_number"):
        model.recommend("ann")
    assert len(model.recommend_for_ids(80, k=3)) == 3


# ---------------------------------------------------------------- similar items


@pytest.mark.parametrize("kind", KINDS)
def test_similar_items_point_the_same_way(kind):
    data = shop()
    model = fitted(kind, data)
    V = model.item_vectors().double().numpy()
    unit = V / np.maximum(np.linalg.norm(V, axis=1, keepdims=True), 1e-300)
    for item in (0, np.int64(13)):
        others, cosines = model.similar_items(item, k=5)
        assert others.shape == cosines.shape == (5,) and item not in others and len(set(others)) == 5
        expected = np.delete(unit @ unit[item], item)
        assert np.allclose(cosines, np.sort(expected)[::-1][:5], atol=1e-6)
        assert np.allclose((unit @ unit[item])[others], cosines, atol=1e-6)
    assert model.similar_items(0, k=N)[0][-1] == -1  # all the others, and then nobody


# ---------------------------------------------------------------- the item vectors that are kept


def fresh(model):
    """What the item vectors are, from nothing that was kept."""
    z = None if model.E is None else model.features.to(model.E) @ model.E
    return amrlib.training.item_vectors(model.Q, z, model.joint)


def changes(kind, data):
    """Every way in which what they are made of changes."""
    batch = list(torch.arange(6).view(3, 2))
    yield "E copied", lambda m: m.E.copy_(m.E * 2)
    yield "E scaled", lambda m: m.E.mul_(3)
    yield "one number", lambda m: m.E.__setitem__((0, 0), 7.0)
    yield "another E", lambda m: setattr(m, "E", torch.ones_like(m.E))
    if kind is not amrlib.DUIF:
        yield "Q copied", lambda m: m.Q.copy_(m.Q + 1)
        yield "a row of Q", lambda m: m.Q[3].zero_()
        yield "Q indexed", lambda m: m.Q.index_copy_(0, torch.tensor([1]), m.Q[:1].clone())
        yield "another Q", lambda m: setattr(m, "Q", torch.ones_like(m.Q))
    for trainer in (PairwiseTrainer, AutogradTrainer, CompiledTrainer):
        yield f"a step of {trainer.__name__}", lambda m, t=trainer: t(m).step(*batch)
        yield f"Adam, {trainer.__name__}", lambda m, t=trainer: t(m, optimizer="adam").step(*batch)
    for trainer in ("closed_form", "autograd", "compiled"):
        yield f"fit, {trainer}", lambda m, t=trainer: m.fit(data, epochs=1, trainer=t, progress=False)
    yield "validation", lambda m: m.fit(data, epochs=3, every=1, validation=True, progress=False)
    yield "other features", lambda m: m.fit(data.replace(features=data.features * 2), epochs=1, lr=0.0, features="other",
                                            progress=False)  # fmt: skip
    yield "half", lambda m: m.to("cpu", features=torch.bfloat16)
    yield "bound anew", lambda m: m.bind(data)
    yield "bound to another shop", lambda m: m.bind(shop(seed=5))
    yield "of other features", lambda m: setattr(m, "features", m.features + 1)


@pytest.mark.parametrize("kind", VISUAL)
def test_kept_item_vectors_are_those_of_now(kind):
    data = shop()
    for name, change in changes(kind, data):
        model = fitted(kind, data)
        before = model.item_vectors()
        assert model.item_vectors() is before, "kept"
        earlier = before.clone()
        change(model)
        assert torch.allclose(model.item_vectors(), fresh(model), rtol=1e-5, atol=1e-7), name
        assert not torch.equal(model.item_vectors(), earlier), name
        assert np.allclose(model.recommend(0, 3)[1], np.sort(
            (fresh(model) @ model.P[0]).numpy()[[i for i in range(N) if i not in model.data.items_of(0)]])[::-1][:3],
            rtol=1e-4, atol=1e-6), name  # fmt: skip


def test_kept_item_vectors_are_not_in_the_way_of_gradients():
    data = shop()
    model = fitted(amrlib.VBPR, data)
    kept = model.item_vectors()
    model.E.requires_grad_()
    model.item_vectors().sum().backward()
    assert torch.allclose(model.E.grad, torch.as_tensor(data.features).sum(0)[:, None].expand_as(model.E), rtol=1e-5)
    model.E.requires_grad_(False)
    assert torch.equal(model.item_vectors(), kept)
    moved = torch.as_tensor(data.features).clone().requires_grad_()
    model.item_vectors(moved).sum().backward()
    assert torch.allclose(moved.grad, model.E.sum(1).expand_as(moved), rtol=1e-5)


# ---------------------------------------------------------------- somebody new


def test_popularity_folds_in_whoever_comes():
    """The message of an empty fold_in points here: it has to work."""
    data = shop()
    counts = amrlib.Popularity().fit(data)
    with pytest.raises(ValueError, match=r"items is empty.*Popularity"):
        fitted(amrlib.MFBPR, data).fold_in([])
    for items in ([], [3], [1, 2, 2]):
        u = counts.fold_in(items)
        best, scores = counts.recommend_for(u, k=4, exclude=items)
        left = sorted((int(data.item_counts[i]) for i in range(N) if i not in items), reverse=True)
        assert scores.tolist() == left[:4] == data.item_counts[best].tolist() and not set(best) & set(items)
    with pytest.raises(ValueError, match="item 99 is outside"):
        counts.fold_in([99])
