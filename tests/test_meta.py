"""The step on torch's ``meta`` device, which has shapes and no numbers: it refuses to be waited for and to mix devices.

A card would do the first in silence, and slowly; so this is what tells, where there is no card, that a step never waits.
"""

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training import PairwiseTrainer

REGS = [0.0, (0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1), 0.1]


def model_of(kind, per_item=False, **settings):
    rng = np.random.default_rng(0)
    train = np.stack([rng.integers(6, size=30), rng.integers(7, size=30)], 1)
    shop = amrlib.Dataset(train, np.full(6, -1), features=rng.normal(size=(9, 5)), n_users=6, n_items=9)
    if kind is amrlib.AMR:
        settings["epsilon"] = np.full(9, 0.3) if per_item else 0.3
    return kind(dim=4, dtype=torch.float64, **settings).bind(shop).to("meta")


def a_step(model, B, **settings):
    ids = torch.zeros(3, B, dtype=torch.int64, device="meta")
    trainer = PairwiseTrainer(model, generator=torch.Generator(), **settings)
    trainer.checks_ids = False
    losses = trainer.step(*ids)
    assert all(loss.device.type == "meta" and loss.shape == () for loss in losses)
    return trainer


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("reg", REGS)
@pytest.mark.parametrize("B", [1, 4, 64])  # fewer triples than users, and more
@pytest.mark.parametrize("kind", [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR])
def test_a_step_neither_waits_nor_mixes_devices(kind, B, reg, optimizer):
    for reg_form in ("combined", "apart"):
        a_step(model_of(kind), B, reg=reg, optimizer=optimizer, reg_form=reg_form)


@pytest.mark.parametrize("perturbation", ["gradient", "random"])
def test_nor_with_an_epsilon_for_every_item(perturbation):
    a_step(model_of(amrlib.AMR, per_item=True, perturbation=perturbation), 16)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_nor_with_features_in_fewer_bits(kind):
    model = model_of(amrlib.AMR)
    model.features = model.features.to(kind)
    a_step(model, 16)


def test_a_wait_would_be_told():
    """The check itself: ids are looked at by waiting for them, and ``meta`` has none to show."""
    trainer = a_step(model_of(amrlib.VBPR), 4)
    trainer.checks_ids = True
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer.step(*torch.zeros(3, 4, dtype=torch.int64, device="meta"))
