"""What goes wrong in the middle of a training: it is told, and what was good is not lost."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training.compiled.host_gather import MappedGather

VISUAL = [amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]


def shop(M=30, N=40, D=6, seed=0, features=None):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 5, replace=False)]))
    c = rng.normal(size=(N, D)).astype(np.float32) if features is None else features
    return amrlib.Dataset(train, test, c, n_items=N)


# ---------------------------------------------------------------- reading ahead


@pytest.fixture
def mapped(tmp_path):
    data = shop()
    np.save(tmp_path / "c.npy", data.features)
    return data.replace(features=np.load(tmp_path / "c.npy", mmap_mode="r"))


@pytest.mark.parametrize("fails_at", [1, 4, 8, 16])  # 8 batches an epoch, 2 epochs; the last one as well
def test_a_fault_in_reading_ahead_is_raised(mapped, fails_at, monkeypatch):
    reads = []

    def touch(self, features, items):
        reads.append(len(items))
        if len(reads) == fails_at:
            raise OSError("the disk is gone")

    monkeypatch.setattr(MappedGather, "_touch", touch)
    batches = -(-len(mapped.train) // 16)
    assert batches == 8
    with pytest.raises(OSError, match="the disk is gone"):
        amrlib.VBPR(dim=3).fit(mapped, epochs=2, batch_size=16, device="cpu", progress=False)
    assert len(reads) <= fails_at + 1


def test_mapped_features_kept_in_another_type_are_not_read_ahead(mapped, monkeypatch):
    monkeypatch.setattr(MappedGather, "_touch", lambda *_: pytest.fail("read from the file, though a copy is used"))
    model = amrlib.VBPR(dim=3).bind(mapped).to("cpu", features=torch.bfloat16)  # which numpy does not know
    model.fit(mapped, epochs=2, batch_size=16, device="cpu", trainer="closed_form", progress=False)
    assert len(model.history) == 2


def test_after_a_fault_the_best_parameters_are_back(mapped, monkeypatch):
    ended = []

    class Noting:
        def on_epoch_end(self, model, row):
            ended.append(row)

    def touch(self, features, items):
        if len(ended) == 3:
            raise OSError("the disk is gone")

    monkeypatch.setattr(MappedGather, "_touch", touch)
    model = amrlib.VBPR(dim=3)
    settings = dict(batch_size=16, validation=True, every=1, device="cpu", progress=False, lr=0.2)
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(mapped, epochs=9, callbacks=[Noting()], **settings)
    best = 1 + int(np.argmax([row["ndcg@10"] for row in ended]))
    monkeypatch.undo()
    again = amrlib.VBPR(dim=3).fit(mapped, epochs=best, **settings)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters().values(), again.parameters().values(), strict=True))


# ---------------------------------------------------------------- a loss that runs away


class Poison:
    """Puts something infinite into P after some epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, model, row):
        if row["epoch"] == self.epoch:
            model.P[:] = np.nan


@pytest.mark.parametrize("trainer", ["closed_form", "autograd", "compiled"])
@pytest.mark.parametrize("kind", [amrlib.MFBPR, *VISUAL])
def test_a_loss_that_runs_away_gives_the_best_parameters_back(kind, trainer, tmp_path):
    data = shop()
    settings = dict(validation=True, every=2, trainer=trainer, progress=False)
    model = kind(dim=3)
    with pytest.raises(FloatingPointError, match="no longer finite at epoch 5; lower lr"):
        model.fit(data, epochs=20, callbacks=[Poison(4)], checkpoint=tmp_path / "run", **settings)
    checked = kind(dim=3).fit(data, epochs=4, **settings)
    assert all(torch.isfinite(theta).all() for theta in model.parameters().values())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters().values(), checked.parameters().values(), strict=True))
    assert model.recommend(0, 3)[0].shape == (3,)  # it can be used


def test_without_validation_there_is_nothing_to_give_back():
    model = amrlib.MFBPR(dim=3)
    with pytest.raises(FloatingPointError, match="no longer finite at epoch 3"):
        model.fit(shop(), epochs=20, callbacks=[Poison(2)], progress=False)


# ---------------------------------------------------------------- threads

TWICE = """
import hashlib, sys
import numpy as np, torch, amrlib
assert torch.get_num_threads() == 2
rng = np.random.default_rng(0)
train = np.stack([rng.integers(20, size=9_000), rng.integers(30, size=9_000)], 1)  # every row recurs hundreds of times
train = train[train.sum(1) % 3 > 0]  # so that there is something they did not choose
data = amrlib.Dataset(train, np.full(20, -1), rng.normal(size=(40, 8)).astype(np.float32), n_items=40)
for kind in (amrlib.MFBPR, amrlib.AMR):
    digests = set()
    for _ in range(4):
        model = kind(dim=16).fit(data, epochs=1, batch_size=3_000, trainer=sys.argv[1], device="cpu", progress=False)
        digests.add(hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in model.parameters().values())).hexdigest())
    assert len(digests) == 1, (kind.__name__, len(digests))
"""


@pytest.mark.parametrize("trainer", ["autograd", "closed_form", "compiled"])
def test_two_threads_give_the_same_bits_every_time(trainer):
    """torch's backward pass of ``P[users]`` does not, where rows recur in a large batch; ``index_select``'s does."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", TWICE, trainer]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
