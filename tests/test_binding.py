"""A model belongs to the data it saw last: what that means for a second fit, on the same shop and on another."""

import numpy as np
import pandas as pd
import pytest
import torch

import amrlib

KINDS = [amrlib.Popularity, amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
TRIPLES = [k for k in KINDS if k not in (amrlib.Popularity, amrlib.MFeALS)]
VISUAL = [amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]


def shop(M=30, N=40, D=6, seed=0, **more):
    """Every user has five items; two items nobody has touched."""
    rng = np.random.default_rng(seed)
    pairs = np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 5, replace=False)])
    train, test = amrlib.leave_one_out(pairs)
    return amrlib.Dataset(train, test, rng.normal(size=(N, D)).astype(np.float32), n_items=N, **more)


def make(kind, **settings):
    return kind() if kind is amrlib.Popularity else kind(dim=4, **settings)


def fit(model, data, **settings):
    return model.fit(data, **({} if isinstance(model, amrlib.Popularity) else {"epochs": 3, "progress": False, **settings}))


def numbers(model):
    return {name: theta.clone() for name, theta in model.parameters().items()}


def same(a, b):
    """Bit for bit, of two models or of their parameters."""
    a, b = (x if isinstance(x, dict) else x.parameters() for x in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# ---------------------------------------------------------------- fitted again on the whole shop


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_on_a_validation_split_then_fitted_on_everything(kind):
    data = shop()
    again = fit(fit(make(kind), data.validation_split(1)), data)
    fresh = fit(make(kind), data)
    assert same(again, fresh)
    users = np.arange(data.n_users)
    for one, other in zip(again.recommend(users, 8), fresh.recommend(users, 8), strict=True):
        assert np.array_equal(one, other)
    items, _ = again.recommend(users, 8)
    assert not data.is_train(users[:, None], items).any()  # nobody is shown what they have
    pd.testing.assert_series_equal(*(amrlib.evaluation.exposure(m, data) for m in (again, fresh)), check_exact=True)
    pd.testing.assert_frame_equal(*(amrlib.compare({"m": m}, data, progress=False) for m in (again, fresh)), check_exact=True)
    assert torch.equal(again.fold_in([1, 4]), fresh.fold_in([1, 4]))


@pytest.mark.parametrize("kind", [k for k in TRIPLES if k is not amrlib.DUIF] + [amrlib.MFeALS])
def test_what_is_cold_here_is_zero_here(kind):
    """Also where it was warm in the data of an earlier fit, and where it becomes cold in a split."""
    data = shop(M=12)
    split = data.validation_split(1)
    newly = split.cold & ~data.cold
    assert newly.any()
    model = fit(fit(make(kind), data), split)
    assert not model.Q[torch.tensor(split.cold)].any() and model.cold.tolist() == split.cold.tolist()
    model = fit(model, data)
    assert model.cold.tolist() == data.cold.tolist()
    assert model.Q[torch.tensor(newly)].any(1).all()
    rivals = split.replace(train=split.train[split.train[:, 1] != split.train[0, 1]])  # one item fewer to prefer others to
    models = [fit(make(kind), split), fit(make(kind), rivals)]
    assert [int((~m.cold).sum()) for m in models] == [int((~split.cold).sum()), int((~rivals.cold).sum())]


@pytest.mark.parametrize("kind", VISUAL)
def test_the_features_of_the_shop_that_is_fitted_are_the_ones_used(kind):
    data = shop()
    dark = data.replace(features=np.zeros_like(data.features))
    still = {"epsilon": 0.0} if kind is amrlib.AMR else {}  # an adversary finds something in the dark
    model = make(kind, **still).bind(data)
    start = model.E.clone()
    fit(model, dark, reset=True)
    assert torch.equal(model.E, start)  # nothing to see, so no gradient
    assert not model.features.any() and same(model, fit(make(kind, **still), dark))
    blind = data.replace(features=None)
    with pytest.raises(ValueError, match="uses item features, and this data set has none"):
        fit(model, blind)


# ---------------------------------------------------------------- the same shop, another shop


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_same_shop_training_goes_on(kind):
    data = shop()
    copied = amrlib.Dataset(data.train.copy(), data.test.copy(), data.features.copy(), n_items=data.n_items)
    other_test = data.replace(test=np.full(data.n_users, -1))  # train and ids are what counts
    for same_shop in (data, copied, other_test):
        model, steps = fit(make(kind), data), fit(make(kind), data)
        before = numbers(model)
        fit(model, same_shop)
        assert model.dataset is same_shop and len(model.history) == len(steps.history)  # a new history
        if kind is not amrlib.Popularity:
            assert not same(before, model) and not same(model, fit(make(kind), data))
        fit(steps, data)
        assert same(model, steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["rows", "order", "ids", "size", "split"])
def test_on_another_shop_it_starts_from_its_seed(kind, change):
    data = shop()
    other = {
        "rows": lambda: data.replace(train=data.train[:-3]),
        "order": lambda: data.replace(train=data.train[::-1]),
        "ids": lambda: data.replace(item_ids=[f"article {n}" for n in range(data.n_items)]),
        "size": lambda: shop(M=20, N=30),
        "split": lambda: data.validation_split(0),
    }[change]()
    model = fit(fit(make(kind), data), other)
    assert same(model, fit(make(kind), other)) and model.dataset is other
    assert model.recommend([0], k=3)[0].shape == (1, 3)


def test_a_warm_start_is_not_lost_in_silence():
    data, other = shop(), shop(seed=1)
    mf = fit(amrlib.MFBPR(dim=4), data)
    vbpr = amrlib.VBPR.warm_start(mf, data)
    assert torch.equal(vbpr.P, mf.P) and vbpr.start == "MFBPR"
    fit(vbpr, data)  # the same shop: from there
    before = numbers(vbpr)
    for there in (other, data.validation_split(0), data.replace(user_ids=[f"u{n}" for n in range(data.n_users)])):
        with pytest.raises(ValueError, match=r"warm-started from MFBPR, on data of other .*VBPR\.warm_start.*reset=True"):
            fit(vbpr, there)
        assert same(before, vbpr) and vbpr.dataset is data  # and nothing has happened
    fit(vbpr, other, reset=True)
    assert same(vbpr, fit(amrlib.VBPR(dim=4), other)) and vbpr.start == "seed"
    fit(vbpr, data)  # a plain model again


@pytest.mark.parametrize("kind", TRIPLES)
def test_reset_starts_from_the_seed(kind):
    data = shop()
    model = fit(fit(make(kind), data), data, reset=True)
    assert same(model, fit(make(kind), data))


@pytest.mark.parametrize("kind", VISUAL)
def test_other_features_alone_are_a_question(kind):
    data = shop()
    moved = data.replace(features=data.features[:, ::-1])
    model = fit(make(kind), data)
    before = numbers(model)
    with pytest.raises(ValueError, match=r"features='other'.*reset=True"):
        fit(model, moved)
    assert same(before, model) and model.dataset is data
    fit(model, moved, features="other")  # goes on, with these
    assert np.array_equal(model.features, moved.features) and not same(model, fit(make(kind), moved))
    on = make(kind).bind(moved)
    for name, theta in on.parameters().items():
        theta.copy_(before[name])
    assert same(model, fit(on, moved))
    assert same(fit(model, data, reset=True), fit(make(kind), data))  # starts anew
    wide = data.replace(features=np.ones((data.n_items, 9)))
    before = numbers(model)
    with pytest.raises(ValueError, match=r"must have 6 columns.*not 9; pass reset=True"):
        fit(model, wide, features="other")
    assert same(before, model) and model.dataset is data and model.features.shape == (data.n_items, 6)


def test_models_without_features_do_not_mind_others():
    data = shop()
    mf, twice = fit(amrlib.MFBPR(dim=4), data), fit(amrlib.MFBPR(dim=4), data)
    fit(mf, data.replace(features=None))
    assert same(mf, fit(twice, data))


# ---------------------------------------------------------------- made without data


@pytest.mark.parametrize("kind", KINDS)
def test_a_shop_in_the_constructor_is_told_the_new_call(kind):
    data = shop(M=5)
    for call in (lambda: kind(data), lambda: kind(dataset=data), lambda: kind(data, dim=4)):
        with pytest.raises(TypeError, match=rf"{kind.__name__}\(…\)\.fit\(shop\)"):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_without_data_it_says_so(kind):
    model = make(kind)
    for call in (model.user_vectors, model.item_vectors, lambda: model.recommend(0), lambda: model.save("x"),
                 lambda: model.fold_in([0]), lambda: model.similar_items(0),
                 lambda: model.recommend_for_ids(["ann"])):  # fmt: skip
        with pytest.raises(ValueError, match=r"has seen no data yet; call fit\(shop\), or bind\(shop\)"):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_fit_and_bind_return_the_model(kind):
    data = shop()
    model = make(kind)
    assert model.bind(data) is model and model.history is None
    bound = numbers(model)
    assert fit(model, data) is model and isinstance(model.history, pd.DataFrame)
    assert fit(model, data).bind(data) is model and same(bound, model)  # bind starts over
    assert model.history is None and model.fit_settings is None


@pytest.mark.parametrize("trainer", ["closed_form", "autograd", "compiled"])
def test_what_a_run_learns_does_not_depend_on_what_the_object_did_before(trainer):
    data, other = shop(), shop(seed=3)
    model = amrlib.AMR(dim=4, epsilon=0.4).fit(other, epochs=2, trainer=trainer, progress=False)
    model.fit(data, epochs=2, trainer=trainer, progress=False)
    assert same(model, amrlib.AMR(dim=4, epsilon=0.4).fit(data, epochs=2, trainer=trainer, progress=False))
