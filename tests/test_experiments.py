"""The experiments over seeds: what is compared, what is stored, what happens when it is interrupted."""

import json
import sys

import numpy as np
import pytest
import torch

import amrlib
from amrlib import book, experiments

SETTINGS = {
    "MF-BPR": {"lr": 0.05, "reg": 0.01, "epochs": 2},
    "MF-eALS": {"c0": 4.0, "alpha": 0.4, "reg": 0.1, "epochs": 2},
    "DUIF": {"lr": 0.05, "reg": 0.01, "epochs": 2},
    "VBPR": {"lr": 0.05, "reg": 0.01, "epochs": 2},
    "AMR": {"lr": 0.05, "reg": 0.01, "epochs": 3, "epsilon": 0.3, "adv_weight": 1.0},
}


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    train, test = amrlib.leave_one_out(np.stack([rng.integers(40, size=200), rng.integers(60, size=200)], 1), n_users=40)
    return amrlib.Dataset(train, test, features=rng.random((60, 6), dtype=np.float32), n_users=40, n_items=60, name="toy")


@pytest.fixture
def few_candidates(monkeypatch):
    sample = experiments.sample_candidates
    monkeypatch.setattr(experiments, "sample_candidates", lambda shop, seed: sample(shop, n=20, seed=seed))


def test_the_controls_share_everything_with_amr_but_the_adversary(shop):
    models = experiments.chain(shop, SETTINGS, seed=1, dim=4, device="cpu")
    assert list(models) == ["Popularity", "MF-BPR", "MF-eALS", "DUIF", "VBPR", "VBPR, as long", "AMR, ε → 0", "AMR"]
    longer, tiny, amr = (models[n] for n in ("VBPR, as long", "AMR, ε → 0", "AMR"))
    assert len(longer.history) == len(tiny.history) == len(amr.history) == SETTINGS["AMR"]["epochs"]
    assert longer.adv_weight == 0 and tiny.adv_weight == amr.adv_weight == 1
    assert (tiny.epsilon, amr.epsilon) == (experiments.NO_ADVERSARY, 0.3)
    # all three set out from the same VBPR with the same triples: the first epoch's first loss is one number
    again = amrlib.VBPR.warm_start(models["VBPR"], shop)
    first = again.fit(shop, 1, lr=0.05, reg=0.01, seed=1, device="cpu", progress=False)
    assert first["bpr"].iloc[0] == longer.history["bpr"].iloc[0]


@pytest.mark.parametrize("start", ["afresh", "MF-BPR"])
def test_vbpr_starts_as_validation_preferred(shop, start):
    settings = SETTINGS | {"VBPR": SETTINGS["VBPR"] | {"start": start}}
    ours = experiments.chain(shop, settings, seed=2, dim=4, device="cpu")["VBPR"]
    mf = amrlib.MFBPR(shop, dim=4, seed=2)
    mf.fit(shop, 2, lr=0.05, reg=0.01, seed=2, device="cpu", progress=False)
    expected = amrlib.VBPR(shop, dim=4, seed=2) if start == "afresh" else amrlib.VBPR.warm_start(mf, shop, seed=2)
    expected.fit(shop, 2, lr=0.05, reg=0.01, seed=2, device="cpu", progress=False)
    assert torch.equal(ours.E, expected.E) and torch.equal(ours.P, expected.P)


def test_an_experiment_holds_what_the_tables_need(shop, few_candidates):
    result = experiments.main_experiment(shop, SETTINGS, 0, dim=4, device="cpu")
    json.dumps(result)  # plain numbers only
    amr = result["AMR"]
    assert set(amr["full"]) == {f"{m}@{k}" for m in ("HR", "NDCG") for k in (5, 10, 20)}
    for level in ("ε=0.1‖c‖", "ε=0.05"):
        noisy = amr[level]
        for kind in ("random", "test", "train"):
            assert noisy["certified"]["NDCG@10"] <= noisy[kind]["NDCG@10"] + 1e-9
    assert "ε=0.1" not in result["MF-BPR"] and len(amr["E"]) == 4


def test_a_run_stores_each_seed_and_goes_on_where_it_stopped(shop, few_candidates, monkeypatch, tmp_path):
    monkeypatch.setattr(experiments, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(experiments, "load_dataset", lambda name: shop)
    monkeypatch.setattr(book, "settings", lambda name: SETTINGS)
    with pytest.raises(FileNotFoundError, match=r"python -m amrlib\.experiments main"):
        experiments.load_results("main")
    asked = []

    def experiment(shop, settings, seed, device):
        asked.append(seed)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"AMR": {"full": {"NDCG@10": seed / 10}}}

    monkeypatch.setitem(experiments.EXPERIMENTS, "main", experiment)
    with pytest.raises(KeyboardInterrupt):
        experiments.run("main", 3)
    assert list(experiments.load_results("main")["seeds"]) == ["0"]  # whole, though interrupted
    experiments.run("main", 3)
    assert asked == [0, 1, 1, 2]  # seed 0 was not run again
    assert experiments.over_seeds(experiments.load_results("main"), "AMR", "full", "NDCG@10").tolist() == [0.0, 0.1, 0.2]

    changed = SETTINGS | {"AMR": SETTINGS["AMR"] | {"epsilon": 0.5}}
    monkeypatch.setattr(book, "settings", lambda name: changed)
    experiments.run("main", 1)
    assert asked[-1] == 0  # other settings: nothing stored counts


def test_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(experiments, "run", lambda name, seeds, dataset: tmp_path / f"{name}-{seeds}-{dataset}.json")
    monkeypatch.setattr(sys, "argv", ["experiments", "main", "--seeds", "2"])
    threads = torch.get_num_threads()
    experiments.main()
    torch.set_num_threads(threads)
    assert capsys.readouterr().out == "main-2-boutique.json\n"


def test_stored_results_are_of_the_settings_in_use():
    stored = experiments.load_results("main")
    assert stored["settings"] == book.settings(stored["dataset"]["name"])
    assert len(stored["seeds"]) >= 10
    assert experiments.mean_norm(amrlib.load_dataset("boutique")) == pytest.approx(stored["dataset"]["mean_norm"], abs=1e-4)


def test_trials_are_those_of_a_known_model():
    assert max(t["ndcg@10"] for t in book.trials("VBPR")) > 0
    with pytest.raises(ValueError, match="model must be one of"):
        book.trials("SVD")
