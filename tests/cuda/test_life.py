"""A model's life on a card: fitted, ranked, attacked, saved, and gone on with elsewhere."""

import warnings

import numpy as np
import pytest
import torch
from card import DEVICE, KINDS, ON_CARD, M, N, close, equal, model_of, shop, tables

import amrlib
from amrlib.datasets.dataset import FeatureTable
from amrlib.device import resolve_device
from amrlib.training import PairwiseTrainer

pytestmark = pytest.mark.cuda


def fitted(kind, data, device, epochs=4, model=None, **settings):
    model = model or model_of(kind, data)
    return model.fit(data, epochs=epochs, batch_size=32, lr=0.05, reg=0.01, device=device, progress=False, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_from_fit_to_file_and_back(device, kind, tmp_path):
    data = shop()
    model = fitted(kind, data, device)
    assert model.P.device.type == device.type and len(model.history) == 4
    model.save(tmp_path / "model.safetensors")
    here = amrlib.load(tmp_path / "model.safetensors", data)
    assert here.P.device.type == "cpu" and equal(here, model)
    np.testing.assert_array_equal(*(amrlib.evaluate(m, data, progress=False).ranks for m in (model, here)))
    np.testing.assert_array_equal(*(amrlib.worst_case_ranks(m, data, 0.1) for m in (model, here)))
    if model.E is not None:
        a, b = (amrlib.perturb(m, data, 0.1).cpu() for m in (model, here))
        assert float((a - b).norm() / b.norm()) < 1e-9
        changed = amrlib.perturb(model, data, 0.1, kind="random")
        assert torch.allclose((changed.cpu() - here.features).norm(dim=1), torch.tensor(0.1, dtype=torch.float64))
        np.testing.assert_array_equal(*(amrlib.evaluate(m, data, features=changed.to(m.P.device), progress=False).ranks
                                        for m in (model, here)))  # fmt: skip
    for a, b in zip(model.recommend(np.arange(M), 5), here.recommend(np.arange(M), 5)):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    np.testing.assert_array_equal(model.similar_items(3, 5)[0], here.similar_items(3, 5)[0])
    np.testing.assert_allclose(model.fold_in([1, 2]).cpu(), here.fold_in([1, 2]), rtol=1e-4, atol=1e-6)


def test_the_models_that_are_not_trained_on_triples(device):
    data = shop()
    for kind, settings in ((amrlib.Popularity, {}), (amrlib.MFeALS, {"dim": 4, "dtype": torch.float64})):
        a, b = (kind(**settings).fit(data, device=place, progress=False) for place in (device, "cpu"))
        np.testing.assert_array_equal(*(amrlib.evaluate(m, data, progress=False).ranks for m in (a, b)))


def test_what_comes_in_after_the_training_goes_where_the_model_goes(device):
    data = shop()
    a, b = (amrlib.MFeALS(dim=4, dtype=torch.float64).fit(data, device=place, progress=False) for place in (device, "cpu"))
    for item in (5, 6):
        for model in (a, b):
            model.update_online(1, item)
        a.to("cpu")  # and what it keeps from one interaction to the next
    np.testing.assert_allclose(a.P, b.P, rtol=1e-6, atol=1e-9)


def test_the_chain_begun_on_the_card(device):
    data = shop()
    mf = fitted(amrlib.MFBPR, data, device)
    vbpr = fitted(amrlib.VBPR, data, device, model=amrlib.VBPR.warm_start(mf, data))
    amr = fitted(amrlib.AMR, data, device, model=amrlib.AMR.warm_start(vbpr, data, epsilon=0.3))
    assert amr.P.device.type == device.type and np.isfinite(amr.history.objective).all()


@pytest.mark.parametrize("settings", [
    {}, {"optimizer": "adam"}, {"validation": True, "every": 1, "patience": 2}, {"negatives": "popularity"},
])  # fmt: skip
@pytest.mark.parametrize("perturbation", ["gradient", "random"])
def test_the_same_seed_twice(device, perturbation, settings):
    """Bit for bit, in float32, where an order of sums that changed would show."""
    data = shop(rows=400, dtype=np.float32, n_features=130)
    models = [amrlib.AMR(dim=16, epsilon=0.3, perturbation=perturbation, init_std=0.3) for _ in range(2)]
    for model in models:
        model.fit(data, epochs=5, batch_size=64, device=device, progress=False, **settings)
    assert equal(*models) and models[0].history.equals(models[1].history)


def test_fit_is_the_same_with_and_without_a_recording(device):
    class Eager(PairwiseTrainer):
        can_be_recorded = False

    data = shop()
    a, b = (fitted(amrlib.AMR, data, device, trainer=trainer) for trainer in ("closed_form", Eager))
    assert equal(a, b) and a.history.equals(b.history)


@pytest.mark.parametrize("first, second", [("cpu", DEVICE), (DEVICE, "cpu"), (DEVICE, DEVICE)])
def test_a_checkpoint_goes_on_on_another_device(device, first, second, tmp_path):
    data, path = shop(), tmp_path / "run.safetensors"
    begun = fitted(amrlib.AMR, data, first, epochs=2, model=model_of(amrlib.AMR, data, per_item=True), checkpoint=path)
    model = model_of(amrlib.AMR, data, per_item=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fitted(amrlib.AMR, data, second, epochs=5, model=model, checkpoint=path)
    anew = [str(w.message) for w in said if "drawn anew from here" in str(w.message)]
    assert bool(anew) == (torch.device(first).type != torch.device(second).type), anew
    assert len(model.history) == 5 and np.isfinite(model.history.objective).all()
    assert model.history[:2].equals(begun.history) and model.P.device.type == torch.device(second).type
    if not anew:
        assert equal(model, fitted(amrlib.AMR, data, second, epochs=5, model=model_of(amrlib.AMR, data, per_item=True)))


def test_models_of_a_shop_share_its_features(device):
    data = shop(dtype=np.float32)
    models = [model_of(kind, data).to(device) for kind in (amrlib.VBPR, amrlib.AMR, amrlib.DUIF)]
    assert len({m.features.data_ptr() for m in models}) == 1
    half = [m.to(device, features=torch.float16).features for m in models]
    assert len({c.data_ptr() for c in half}) == 1 and half[0].dtype == torch.float16


def test_memory_that_runs_out_leaves_the_model_whole(device, monkeypatch):
    data = shop()
    model = model_of(amrlib.VBPR, data)
    before = tables(model)

    def out_of_memory(self, *arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(FeatureTable, "on", out_of_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        model.to(device, features=torch.float16)
    assert {t.device.type for t in (model.P, model.Q, model.E, model.features, model.cold)} == {"cpu"}
    assert model.feature_dtype is None and all(torch.equal(before[k], v) for k, v in tables(model).items())
    assert model.recommend(0, 3)[0].shape == (3,)


def test_a_card_too_small_leaves_the_model_whole_and_takes_it_without_the_features(device):
    if not ON_CARD:
        return
    data = shop(dtype=np.float32, n_features=2**21)  # 320 MiB
    model = model_of(amrlib.VBPR, data, dim=2, dtype=torch.float32)  # E has 16 MiB
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 200 * 2**20) / total)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError) as told:
            model.fit(data, epochs=1, device=device, progress=False)
        assert any('features="host"' in note for note in told.value.__notes__)
        assert {t.device.type for t in (model.P, model.Q, model.E, model.features, model.cold)} == {"cpu"}
        model.to(device, features="host").fit(data, epochs=1, batch_size=1, device=device, progress=False)
        assert model.P.is_cuda and not model.features.is_cuda
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("kind", [amrlib.DUIF, amrlib.VBPRTwoVector, amrlib.AMR])
def test_features_that_stay_with_the_host(device, kind, dtype):
    data = shop(rows=400, dtype=np.float32, n_features=130)
    models = []
    for place in ("device", "host"):
        model = model_of(kind, data, dtype=torch.float32).to(device, features=dtype).to(device, features=place)
        models.append(model.fit(data, epochs=3, batch_size=64, reg=0.01, device=device, progress=False, trainer="closed_form"))
    assert equal(*models) and models[1].features.device.type == "cpu"
    np.testing.assert_array_equal(*(amrlib.evaluate(m, data, progress=False).ranks for m in models))
    assert close(models[1].to("cpu"), models[0])


def test_ranks_do_not_change_with_the_products_precision(device):
    """"high" lets a card round what it multiplies to 10 bits: ranks would change by chance."""
    rng = np.random.default_rng(0)
    users, items = 300, 2000
    train = np.stack([np.arange(items) % users, np.arange(items)], 1)
    data = amrlib.Dataset(train, rng.integers(items, size=users), n_users=users, n_items=items)
    model = amrlib.MFBPR(dim=64, init_std=1.0).bind(data).to(device)
    before, ranks = torch.get_float32_matmul_precision(), []
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            ranks.append(amrlib.evaluate(model, data, progress=False).ranks)
            ranks.append(amrlib.worst_case_ranks(model, data, 0.1))
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(ranks[0], ranks[2])
    np.testing.assert_array_equal(ranks[1], ranks[3])


def test_auto_is_the_card(device):
    if ON_CARD:
        assert resolve_device("auto").type == "cuda"
        model = model_of(amrlib.AMR, shop()).fit(shop(), epochs=1, progress=False)
        assert model.P.is_cuda and model.history.attrs["trainer"] == "closed_form"


def test_ids_are_checked_once_by_the_data_set(device):
    with pytest.raises(ValueError, match="item 40 is outside"):
        amrlib.Dataset([[0, N]], [0], n_users=1, n_items=N)
