"""Features that stay with the host: the same steps as with the features at hand, whatever was fetched ahead."""

import time

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training import PairwiseTrainer, gather, trainer
from amrlib.training.compiled.host_gather import HostGather

CPU = torch.device("cpu")


def shop(features=None, M=6, N=9, rows=30):
    rng = np.random.default_rng(0)
    train = np.stack([rng.integers(M, size=rows), rng.integers(N, size=rows)], 1)
    given = rng.normal(size=(N, 5)).astype(np.float32)
    return amrlib.Dataset(train, np.full(M, -1), features=given if features is None else features, n_users=M, n_items=N)


class FromHost(PairwiseTrainer):
    """As on a card that is too small."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.gather = HostGather(CPU)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters().values(), b.parameters().values(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("reg", [0.0, 0.1])  # differences of features; item by item
@pytest.mark.parametrize("kind", [amrlib.DUIF, amrlib.VBPRTwoVector, amrlib.AMR])
def test_fit_takes_the_same_steps(kind, reg, dtype, monkeypatch):
    fetched, begun = [], []
    fetch, begin = HostGather.fetch, HostGather.begin
    monkeypatch.setattr(HostGather, "fetch", lambda self, *args: (fetched.append(len(args[1])), fetch(self, *args)))
    monkeypatch.setattr(HostGather, "begin", lambda self, *args: (begun.append(len(self.fetched)), begin(self, *args)))
    models = [kind(dim=4).bind(shop()).to("cpu", features=dtype) for _ in range(2)]
    for model, T in zip(models, (PairwiseTrainer, FromHost)):
        model.fit(shop(), epochs=3, batch_size=8, reg=reg, device="cpu", progress=False, trainer=T)
    assert same(*models)
    assert fetched == [8, 8, 8, 6, 0] * 3  # each batch's rows are brought over once …
    assert begun == [2, 2, 2, 1] * 3  # … and the next one's are on their way when a step begins


def test_steps_that_nobody_announced_and_announcements_that_come_to_nothing():
    data, rng = shop(), np.random.default_rng(1)
    models = [amrlib.AMR(dim=4).bind(data) for _ in range(2)]
    here, host = PairwiseTrainer(models[0]), FromHost(models[1])
    for number in range(8):
        batch = [torch.as_tensor(rng.integers(high, size=7)) for high in (6, 9, 9)]
        if number % 2:
            other = [torch.as_tensor(rng.integers(9, size=7)) for _ in range(2)]
            for _ in range(number):
                host.gather.fetch(models[1].features, *other, torch.cat(other))
        for step in (here.step, host.step):
            step(*batch)
        assert same(*models)


def test_rows_are_copied_before_the_buffer_is_filled_again(monkeypatch):
    """The slowest thread there can be changes nothing."""
    slow = HostGather._bring
    monkeypatch.setattr(HostGather, "_bring", lambda self, *arguments: (time.sleep(0.02), slow(self, *arguments))[1])
    models = [amrlib.VBPR(dim=4).bind(shop()) for _ in range(2)]
    for model, T in zip(models, (PairwiseTrainer, FromHost)):
        model.fit(shop(), epochs=2, batch_size=5, device="cpu", progress=False, trainer=T)
    assert same(*models)


def test_a_file_is_read_as_it_is(tmp_path):
    np.save(tmp_path / "c.npy", np.asarray(shop().features))
    models = [amrlib.VBPR(dim=4).bind(shop(f)) for f in (None, np.load(tmp_path / "c.npy", mmap_mode="r"))]
    for model, T in zip(models, (PairwiseTrainer, FromHost)):
        model.fit(model.data, epochs=2, batch_size=8, device="cpu", progress=False, trainer=T)
    assert same(*models)


def test_a_fault_of_the_thread_is_raised_by_the_step(monkeypatch):
    def bring(self, *arguments):
        raise OSError("the disk is gone")

    monkeypatch.setattr(HostGather, "_bring", bring)
    with pytest.raises(OSError, match="the disk is gone"):
        amrlib.VBPR(dim=4).fit(shop(), epochs=1, device="cpu", progress=False, trainer=FromHost)


def test_a_model_whose_features_stay_takes_this_gather_and_keeps_them_there(monkeypatch):
    """The rest of the model on ``meta`` stands for a card."""
    model = amrlib.VBPR(dim=4).bind(shop()).to("meta", features="host")
    assert (model.P.device.type, model.features.device.type) == ("meta", "cpu")
    assert model.features is shop_features(model)
    monkeypatch.setattr(trainer, "HostGather", lambda device: HostGather(device) if device.type == "meta" else None)
    assert isinstance(PairwiseTrainer(model, generator=torch.Generator()).gather, HostGather)
    model.to("meta")  # nothing said: they stay
    assert model.features.device.type == "cpu"
    model.to("meta", features="device")
    assert model.features.device.type == "meta"
    assert type(PairwiseTrainer(model, generator=torch.Generator()).gather) is gather.FeatureGather
    with pytest.raises(ValueError, match="'host' or 'device'"):
        model.to("cpu", features="disk")


def shop_features(model):
    return model.data.feature_table.on("cpu")
