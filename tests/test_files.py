"""Saved models: read back by one call whatever they are, beside the data they were fitted on and no other."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import amrlib

KINDS = [amrlib.Popularity, amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]


def shop(M=10, N=14, D=5, seed=0, **more):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 4, replace=False)]))
    return amrlib.Dataset(train, test, rng.normal(size=(N, D)).astype(np.float32), n_items=N, **more)


def fitted(kind, data):
    if kind is amrlib.Popularity:
        return kind().fit(data)
    special = {amrlib.AMR: dict(epsilon=np.linspace(0, 1, data.n_items), perturbation="random"), amrlib.MFeALS: dict(c0=3, w=2)}
    return kind(dim=3, dtype=torch.float64, seed=5, **special.get(kind, {})).fit(data, epochs=2, progress=False)


@pytest.mark.parametrize("kind", KINDS)
def test_load_reads_whatever_was_saved(kind, tmp_path):
    data = shop(user_ids=[f"u{n}" for n in range(10)], item_ids=np.arange(14) * 7)
    model = fitted(kind, data)
    model.save(tmp_path / "model")
    again = amrlib.load(tmp_path / "model", data)
    assert type(again) is kind and again.dataset is data
    for name, theta in model.parameters().items():
        assert torch.equal(again.parameters()[name], theta) and again.parameters()[name].dtype == theta.dtype
    assert torch.equal(again.item_vectors(), model.item_vectors())
    assert str(again.get_params()) == str(model.get_params())
    assert again.recommend_for_ids(["u3"], k=5).equals(model.recommend_for_ids(["u3"], k=5))
    assert type(kind.load(str(tmp_path / "model"), data)) is kind
    other_test = data.replace(test=np.full(10, -1))  # what is held out is no part of a model
    assert amrlib.load(tmp_path / "model", other_test).dataset is other_test


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["user ids", "item ids", "order of items", "order of rows", "rows", "size"])
def test_other_data_are_refused(kind, change, tmp_path):
    names = [f"item {n}" for n in range(14)]
    data = shop(user_ids=[f"u{n}" for n in range(10)], item_ids=names)
    fitted(kind, data).save(tmp_path / "model")
    turned = np.arange(14)[::-1]
    there, what = {
        "user ids": lambda: (data.replace(user_ids=[f"v{n}" for n in range(10)]), "user or item ids"),
        "item ids": lambda: (data.replace(item_ids=["tie", *names[1:]]), "user or item ids"),
        "order of items": lambda: (data.replace(item_ids=[names[n] for n in turned], features=data.features[turned],
                                                train=np.stack([data.train[:, 0], turned[data.train[:, 1]]], 1)), "rows"),
        "order of rows": lambda: (data.replace(train=data.train[::-1]), "rows"),
        "rows": lambda: (data.replace(train=data.train[:-1]), "rows"),
        "size": lambda: (data.replace(n_users=11, test=[*data.test, -1], user_ids=None), "rows"),
    }[change]()  # fmt: skip
    with pytest.raises(ValueError, match=rf"was fitted on data with other {what}, or in another order.*load it with the data"):
        amrlib.load(tmp_path / "model", there)


@pytest.mark.parametrize("kind", KINDS)
def test_other_features_are_refused_unless_they_are_meant(kind, tmp_path):
    data = shop()
    model = fitted(kind, data)
    model.save(tmp_path / "model")
    scaled = data.replace(features=data.features * 100)
    if kind.uses_features:
        with pytest.raises(ValueError, match=r"was fitted with other features; pass features=\"other\""):
            amrlib.load(tmp_path / "model", scaled)
        again = amrlib.load(tmp_path / "model", scaled, features="other")
        assert torch.equal(again.E, model.E) and np.array_equal(again.features, scaled.features)
        with pytest.raises(ValueError, match="uses item features, and this data set has none"):
            amrlib.load(tmp_path / "model", data.replace(features=None))
        wide = data.replace(features=np.ones((14, 9)))
        with pytest.raises(ValueError, match="its features were others"):
            amrlib.load(tmp_path / "model", wide, features="other")
        with pytest.raises(ValueError, match="features must be 'same' or 'other', not 'any'"):
            amrlib.load(tmp_path / "model", data, features="any")
    else:
        for there in (scaled, data.replace(features=None)):
            assert torch.equal(amrlib.load(tmp_path / "model", there).item_vectors(), model.item_vectors())


def test_a_warm_start_is_known_after_loading(tmp_path):
    data = shop()
    vbpr = amrlib.VBPR.warm_start(fitted(amrlib.MFBPR, data), data)
    vbpr.save(tmp_path / "model")
    again = amrlib.load(tmp_path / "model", data)
    assert again.start == "MFBPR"
    with pytest.raises(ValueError, match="warm-started from MFBPR"):
        again.fit(shop(seed=1), epochs=1)
    again.fit(data, epochs=2, progress=False)  # goes on as the one that was saved
    vbpr.fit(data, epochs=2, progress=False)
    assert torch.equal(again.P, vbpr.P) and torch.equal(again.E, vbpr.E)


def test_a_file_of_amrlib_0_1_says_so(tmp_path):
    """Its header had no fingerprints: whose data it was fitted on cannot be known."""
    data = shop()
    tensors = {"P": torch.zeros(10, 3), "Q": torch.zeros(14, 3)}
    save_file(tensors, tmp_path / "old", metadata={"amrlib": json.dumps({"model": "MFBPR", "settings": {"dim": 3}})})
    for load in (amrlib.load, amrlib.MFBPR.load):
        with pytest.raises(ValueError, match=r"saved by another version of amrlib \(format 1, here 2\); train again"):
            load(tmp_path / "old", data)


def test_other_files_are_no_models(tmp_path):
    data = shop()
    amrlib.MFBPR(dim=3).fit(data, epochs=1, checkpoint=tmp_path / "checkpoint", progress=False)
    save_file({"P": torch.zeros(2)}, tmp_path / "foreign")
    (tmp_path / "text").write_text("a model", encoding="utf-8")
    for name, words in (("checkpoint", r"\(a checkpoint of fit\)"), ("foreign", ""), ("text", ""), (".", "; name a file")):
        with pytest.raises(ValueError, match=rf"(is not|not) a model saved by amrlib.*{words}"):
            amrlib.load(tmp_path / name, data)
    with pytest.raises(FileNotFoundError):
        amrlib.load(tmp_path / "nothing", data)


class OwnMF(amrlib.MFBPR):
    """A reader's own model."""


def test_a_model_of_one_s_own_is_loaded_too(tmp_path):
    data = shop()
    OwnMF(dim=3).fit(data, epochs=1, progress=False).save(tmp_path / "model")
    assert type(amrlib.load(tmp_path / "model", data)) is OwnMF
    with pytest.raises(ValueError, match=r"holds a OwnMF, not a VBPR; load it with amrlib.load"):
        amrlib.VBPR.load(tmp_path / "model", data)
