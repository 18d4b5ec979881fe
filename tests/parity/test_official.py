"""Held against what the authors' own programs computed, step by step."""

from pathlib import Path

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training import AutogradTrainer, PairwiseTrainer
from amrlib.training.compiled import CompiledTrainer

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
needs_records = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the authors' records (../shared/fixtures) are absent")


def relative(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.abs(a - b).max() / np.abs(b).max()


def start_from(record):
    """The model of a record, before its first step."""
    M, N = len(record["P0"]), len(record["Q0"])
    every_item = np.stack([np.zeros(N, dtype=int), np.arange(N)], 1)  # so that none is cold
    data = amrlib.Dataset(every_item, np.full(M, -1), features=record["features"], n_users=M, n_items=N)
    kind = amrlib.AMR if record["adversarial"] else amrlib.VBPR
    settings = dict(epsilon=float(record["epsilon"]), adv_weight=float(record["adv_weight"]))
    model = kind(dim=record["P0"].shape[1], **(settings if record["adversarial"] else {})).bind(data)
    for name in "PQE":
        getattr(model, name).copy_(torch.as_tensor(record[f"{name}0"]))
    return model


@needs_records
@pytest.mark.parametrize("trainer", [PairwiseTrainer, CompiledTrainer, AutogradTrainer])
@pytest.mark.parametrize("record", ["official_vbpr_steps", "official_amr_steps"])
def test_every_step_of_the_authors_graph(record, trainer):
    with np.load(FIXTURES / f"{record}.npz") as file:
        record = dict(file)
    model = start_from(record)
    step = trainer(model, lr=record["lr"].tolist(), reg=record["regs"].tolist()).step
    for t in range(len(record["users"])):
        losses = step(*(torch.as_tensor(record[k][t]) for k in ("users", "pos", "neg")))
        assert relative(losses.bpr, record["bpr_loss"][t]) < 1e-5
        if record["adversarial"]:
            assert relative(losses.adversarial, record["adv_loss"][t]) < 1e-5
        assert relative(losses.objective, record["objective"][t]) < 1e-5
        for name in "PQE":
            assert relative(getattr(model, name), record[name][t]) < 1e-5, f"{name} after step {t}"


@needs_records
def test_every_iteration_of_the_authors_eals():
    with np.load(FIXTURES / "official_eals.npz") as file:
        record = dict(file)
    M, N = len(record["P0"]), len(record["Q0"])
    data = amrlib.Dataset(record["pairs"], np.full(M, -1), n_users=M, n_items=N)
    model = amrlib.MFeALS(dim=8, c0=float(record["c0"]), alpha=float(record["alpha"]),
                          reg=float(record["reg"]), dtype=torch.float64).bind(data)  # fmt: skip
    model.P.copy_(torch.as_tensor(record["P0"]))
    model.Q.copy_(torch.as_tensor(record["Q0"]))
    history = model.fit(data, epochs=int(record["iterations"]), device="cpu").history
    assert relative(history["loss"], record["loss"]) < 1e-9
    assert relative(model.P, record["P"]) < 1e-9
    assert relative(model.Q, record["Q"]) < 1e-9
