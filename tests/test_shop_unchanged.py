"""No public call changes a shop, and nobody else can."""

import copy
import hashlib
import pickle

import numpy as np
import pytest
import torch

import amrlib
from amrlib import adversary, evaluation
from amrlib.training import AutogradTrainer, NegativeSampler, PairwiseTrainer
from amrlib.training.compiled.step import CompiledTrainer

KINDS = [amrlib.Popularity, amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
ARRAYS = ["train", "test", "features", "images", "candidates", "user_ids", "item_ids", "labels", "unique_keys", "indptr",
          "indices", "item_counts", "cold", "test_users"]  # fmt: skip


def shop(seed=0, M=12, N=15, D=5):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 4, replace=False)]))
    return amrlib.Dataset(
        train, test, rng.normal(size=(N, D)).astype(np.float32), n_items=N, candidates=rng.integers(N, size=(M, 6)),
        images=rng.integers(255, size=(N, 4, 4), dtype=np.uint8), user_ids=[f"u{n}" for n in range(M)],
        item_ids=np.arange(N) + 100, extras={"labels": np.arange(N) % 3}, notes=["a note"],
    )  # fmt: skip


def state(data):
    """A digest of every array, whatever has been computed of it, and of the tensors that models share."""
    arrays = {name: getattr(data, name) for name in ARRAYS}
    arrays["shared"] = data.feature_table.on("cpu").numpy()
    return {name: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for name, a in arrays.items()} | {
        "notes": data.notes, "sizes": (data.n_users, data.n_items), "fingerprint": tuple(data.fingerprint)}  # fmt: skip


def public_calls(kind, data, tmp_path):
    """Every public call, by name; in this order."""
    model = kind() if kind is amrlib.Popularity else kind(dim=3)
    settings = {} if kind is amrlib.Popularity else dict(epochs=2, progress=False)
    users, changed = np.arange(data.n_users), data.features + 1
    yield "bind", lambda: model.bind(data)
    yield "fit", lambda: model.fit(data, **settings)
    if "batch_size" in kind.fit_words:
        for trainer in ("closed_form", "autograd", "compiled"):
            yield trainer, lambda t=trainer: model.fit(data, trainer=t, reg=0.1, validation=True, **settings)
        yield "checkpoint", lambda: model.fit(data, checkpoint=tmp_path / "run", optimizer="adam", **settings)
        yield "popular negatives", lambda: model.fit(data, negatives="popularity", **settings)
        for trainer in (PairwiseTrainer, AutogradTrainer, CompiledTrainer):
            yield trainer.__name__, lambda t=trainer: t(model).step(*torch.arange(6).view(3, 2))
    yield "split", lambda: model.fit(data.validation_split(0), **settings)
    yield "fit again", lambda: model.fit(data, **settings)
    yield "recommend", lambda: model.recommend(users, 4, items=[1, 2, 3, 4, 9], exclude=[2])
    yield "recommend_for_ids", lambda: model.recommend_for_ids(["u3", "u1"], 4)
    yield "similar_items", lambda: model.similar_items(3, 4)
    yield "score", lambda: model.score(users)
    yield "fold_in", lambda: model.recommend_for(model.fold_in([13, 2]), 4, exclude=[2])  # 13 is cold
    yield "evaluate", lambda: evaluation.evaluate(model, data, k=3, progress=False).table()
    yield "sampled", lambda: evaluation.evaluate(model, data, k=3, ranking="sampled", progress=False)
    yield "compare", lambda: amrlib.compare({"a": model, "b": model}, data, k=3, against="a", progress=False)
    yield "exposure", lambda: evaluation.exposure(model, data, 3)
    yield "candidates", lambda: evaluation.sample_candidates(data, 5)
    yield "item_ranks", lambda: adversary.item_ranks(model, data, 3)
    yield "category", lambda: adversary.category_hit_ratio(model, data, [1, 2], 3)
    yield "save", lambda: model.save(tmp_path / "model")
    yield "load", lambda: amrlib.load(tmp_path / "model", data)
    if hasattr(model, "E"):
        yield "sensitivity", lambda: getattr(model, "sensitivity", lambda: None)()
    if kind.uses_features:
        yield "changed", lambda: model.recommend(users, 4, features=changed)
        yield "new items", lambda: model.new_item_vectors(changed)
        yield "random", lambda: amrlib.perturb(model, data, 0.1, "random")
        yield "adversarial", lambda: amrlib.perturb(model, data, 0.1, steps=3, triples="train")
        yield "worst case", lambda: amrlib.worst_case_ranks(model, data, 0.1)
        yield "worst for one", lambda: adversary.worst_case_perturbation(model, data, int(data.test_users[0]), 0.1)
        yield "breaking", lambda: adversary.breaking_epsilon(model, data, 3)
        yield "promote", lambda: adversary.promote(model, data, [1], 0.1, k=3, steps=2)
        yield "other features", lambda: model.fit(data.replace(features=changed), features="other", **settings)
        yield "half", lambda: model.to("cpu", features=torch.float16).fit(data, features="other", **settings)
    if kind is amrlib.MFeALS:
        yield "update_online, cold", lambda: model.update_online(0, 14)
        yield "update_online, known", lambda: model.update_online(0, int(data.items_of(0)[0]), iterations=2)
        yield "update_online, new", lambda: [model.update_online(5, i) for i in range(10)]
    else:
        chain = kind if kind is amrlib.VBPRTwoVector else amrlib.VBPR
        yield "warm_start", lambda: kind is amrlib.Popularity or chain.warm_start(model, data).fit(data, **settings)
    yield "sampler", lambda: NegativeSampler(data, kind="popularity")(torch.arange(5))
    yield "bind again", lambda: model.bind(data)


@pytest.mark.parametrize("kind", KINDS)
def test_no_public_call_changes_a_byte(kind, tmp_path):
    data = shop()
    before = state(data)
    for name, call in public_calls(kind, data, tmp_path):
        call()
        now = state(data)
        assert now == before, f"{name} changed {[k for k in now if now[k] != before[k]]}"
    assert state(shop()) == before  # and what is computed late is computed of the same


@pytest.mark.parametrize("name", ARRAYS)
def test_its_arrays_refuse_to_be_written_to(name):
    data = shop()
    array = getattr(data, name)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = array[1]
    with pytest.raises(AttributeError, match=rf"dataset\.replace\({name}="):
        setattr(data, name, array)
    with pytest.raises(AttributeError, match=rf"dataset\.replace\({name}="):
        delattr(data, name)
    assert isinstance(data.notes, tuple)


def test_the_givers_arrays_stay_the_givers():
    """What is written to them afterwards does not reach the shop."""
    given = dict(train=np.array([[0, 0], [0, 1], [1, 2]]), test=np.array([2, -1]), features=np.ones((3, 2), np.float32),
                 candidates=np.array([[1, 2], [0, 1]]), images=np.zeros((3, 2, 2), np.uint8))  # fmt: skip
    labels = np.arange(3)
    data = amrlib.Dataset(**given, extras={"labels": labels})
    kept = {name: array.copy() for name, array in given.items()}
    for array in (*given.values(), labels):
        array[:] = 1 - array
    for name, array in kept.items():
        assert np.array_equal(getattr(data, name), array), name
    assert data.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("form", ["reversed", "other bytes", "every second", "Fortran", "whole numbers"])
def test_features_that_torch_cannot_wrap(form):
    rng = np.random.default_rng(0)
    data, base = shop(), rng.normal(size=(15, 10)).astype(np.float32)
    if form == "whole numbers":
        base = np.round(base)
    features = {"reversed": base[:, ::-1], "other bytes": base.astype(">f4"), "every second": base[:, ::2],
                "Fortran": np.asfortranarray(base), "whole numbers": base.astype(np.int64)}[form]  # fmt: skip
    odd = data.replace(features=features)
    assert odd.features.flags.c_contiguous and odd.features.dtype.isnative and odd.features.dtype == np.float32
    plain = data.replace(features=np.array(features, dtype=np.float32, order="C"))
    models = [amrlib.VBPR(dim=3).fit(d, epochs=2, progress=False) for d in (odd, plain)]
    assert torch.equal(models[0].E, models[1].E)
    assert odd.feature_table.fingerprint == plain.feature_table.fingerprint


def test_models_of_one_shop_share_its_features():
    data = shop()
    models = [kind(dim=3).bind(data) for kind in (amrlib.VBPR, amrlib.AMR, amrlib.DUIF)]
    assert {m.features.data_ptr() for m in models} == {data.features.ctypes.data}
    half = [m.to("cpu", features=torch.float16) for m in models]
    assert len({m.features.data_ptr() for m in half}) == 1
    assert data.replace(test=np.full(12, -1)).features is data.features


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deep copy", "copy", "pickle"])  # fmt: skip
def test_copies_of_a_shop_cannot_be_changed_either(copied):
    data = shop()
    before = state(data)
    model = amrlib.AMR(dim=3).fit(data, epochs=1, progress=False)
    again, as_well = copied(data), copied(model)
    assert state(again) == before and not any(getattr(again, name).flags.writeable for name in ARRAYS)
    with pytest.raises(AttributeError, match="cannot be changed"):
        again.train = data.train
    assert as_well.recommend(0, 3)[0].tolist() == model.recommend(0, 3)[0].tolist()
    as_well.fit(data, epochs=1, progress=False)  # the same shop, known by its fingerprint
    assert state(data) == before


def test_the_same_ids_in_another_array_are_the_same_ids():
    data = shop()
    names = [f"u{n}" for n in range(12)]
    for ids in (np.array(names, dtype=object), np.array(names, dtype="<U20"), tuple(names)):
        assert data.replace(user_ids=ids).fingerprint == data.fingerprint
    assert data.replace(item_ids=(np.arange(15) + 100).astype(np.int32)).fingerprint == data.fingerprint
    assert data.replace(item_ids=[str(n + 100) for n in range(15)]).fingerprint != data.fingerprint  # text is no number
