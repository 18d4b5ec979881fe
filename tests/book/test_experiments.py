"""The experiments of one seed: which models are compared, and what is measured of them."""

import json

import numpy as np
import pytest
import torch

import amrlib
from amrbook import experiments
from amrbook.experiments import chain, measure, rates, sweeps, worlds

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
    sample = sweeps.sample_candidates
    for module in (sweeps, rates):
        monkeypatch.setattr(module, "sample_candidates", lambda shop, seed: sample(shop, n=20, seed=seed))


def test_the_controls_share_everything_with_amr_but_the_adversary(shop):
    models = experiments.train_chain(shop, SETTINGS, seed=1, dim=4, device="cpu")
    assert tuple(models) == experiments.MODELS
    seconds = [models[name] for name in experiments.MODELS[5:]]
    assert {len(model.history) for model in seconds} == {SETTINGS["AMR"]["epochs"]}
    longer, tiny, amr, noise = (models[n] for n in ("VBPR, continued", "AMR, ε → 0", "AMR", "AMR, random noise"))
    assert longer.adv_weight == 0 and tiny.adv_weight == amr.adv_weight == noise.adv_weight == 1
    assert (tiny.epsilon, amr.epsilon, noise.epsilon) == (experiments.NO_ADVERSARY, 0.3, 0.3)
    assert (amr.perturbation, noise.perturbation) == ("gradient", "random")
    # from the same VBPR: with the same triples, and not the first stage's seed
    again = amrlib.VBPR.warm_start(models["VBPR"], shop)
    again.fit(shop, 3, lr=0.05, reg=0.01, seed=101, device="cpu", progress=False, trainer="compiled")
    assert torch.equal(again.E, longer.E)
    assert all(torch.equal(model.features, longer.features) for model in seconds)  # dropout has put them back
    trained = torch.stack([model.E for model in seconds])
    assert len(torch.unique(trained.flatten(1), dim=0)) == len(seconds)  # and each control is another model


def test_second_stages_see_the_same_triples_and_not_the_first_stage_s(shop, monkeypatch):
    seen, now, step = {}, [], chain.PairwiseTrainer.step

    def recorded(self, *batch):
        if type(self) is not chain.FeatureDropout or self.model.features is self.dropped:  # which calls this one itself
            seen.setdefault(now[-1], []).append(torch.stack(batch))
        return step(self, *batch)

    monkeypatch.setattr(chain.PairwiseTrainer, "step", recorded)
    train = chain.ChainTraining(shop, SETTINGS, 1, dim=4, device="cpu", watch=lambda name, model: now.append(name) or ())
    vbpr = train.vbpr()
    for name in experiments.MODELS[5:]:
        train.second(vbpr, name)
    triples = {name: torch.cat(batches, 1) for name, batches in seen.items()}
    rows = 2 * len(shop.train)
    assert not torch.equal(triples["VBPR"][:, :rows], triples["AMR"][:, :rows])
    for name in experiments.MODELS[5:]:
        assert torch.equal(triples[name], triples["AMR"]), name


def test_stronger_regularisation_is_that_and_nothing_else(shop):
    train = chain.ChainTraining(shop, SETTINGS, 1, dim=4, device="cpu")
    vbpr = train.vbpr()
    by_hand = amrlib.VBPR.warm_start(vbpr, shop)
    by_hand.fit(shop, 3, lr=0.05, reg=(0.02, 0.02, 0.01), seed=101, device="cpu", progress=False, trainer="compiled")
    assert torch.allclose(train.second(vbpr, "VBPR, stronger L2").E, by_hand.E)


def test_feature_dropout_zeroes_a_share_anew_and_keeps_the_mean(shop, monkeypatch):
    model = amrlib.VBPR(dim=4).bind(shop)
    whole = model.features.clone()
    met = []
    monkeypatch.setattr(chain.PairwiseTrainer, "step", lambda self, u, i, j: met.append(self.model.features[i].clone()))
    trainer = experiments.FeatureDropout(model, 0.1, 0.0, "adagrad", generator=torch.Generator().manual_seed(0))
    users, items = torch.zeros(60, dtype=torch.int64), torch.arange(60)
    for _ in range(400):
        trainer.step(users, items, items)
    assert torch.equal(model.features, whole)
    kept = torch.stack(met) != 0
    assert float(kept.float().mean()) == pytest.approx(0.8, abs=0.01) and not torch.equal(kept[0], kept[1])
    assert torch.allclose(torch.stack(met).mean(0), whole, atol=0.15)
    assert torch.allclose(met[0][kept[0]], whole[kept[0]] / 0.8)


def test_some_models_can_be_asked_for_alone(shop):
    some = experiments.train_chain(shop, SETTINGS, seed=1, only=("AMR", "DUIF"), dim=4, device="cpu")
    everything = experiments.train_chain(shop, SETTINGS, seed=1, dim=4, device="cpu")
    assert list(some) == ["DUIF", "AMR"]
    assert all(torch.equal(some[name].E, everything[name].E) for name in some)
    with pytest.raises(ValueError, match="'SVD' is not one of"):
        experiments.train_chain(shop, SETTINGS, seed=1, only=("SVD",))


def test_half_a_model_is_no_result(shop, monkeypatch):
    step, taken = chain.PairwiseTrainer.step, []

    def interrupted(self, *batch):
        taken.append(1)
        if len(taken) == 2:
            raise KeyboardInterrupt  # fit keeps what it has and returns
        return step(self, *batch)

    monkeypatch.setattr(chain.PairwiseTrainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiments.train_chain(shop, SETTINGS, seed=1, dim=4, device="cpu")


@pytest.mark.parametrize("start", ["afresh", "MF-BPR"])
def test_vbpr_starts_as_validation_preferred(shop, start):
    settings = SETTINGS | {"VBPR": SETTINGS["VBPR"] | {"start": start}}
    ours = experiments.train_chain(shop, settings, seed=2, dim=4, device="cpu")["VBPR"]
    mf = amrlib.MFBPR(dim=4, seed=2).bind(shop)
    mf.fit(shop, 2, lr=0.05, reg=0.01, seed=2, device="cpu", progress=False, trainer="compiled")
    expected = amrlib.VBPR(dim=4, seed=2).bind(shop) if start == "afresh" else amrlib.VBPR.warm_start(mf, shop, seed=2)
    expected.fit(shop, 2, lr=0.05, reg=0.01, seed=2, device="cpu", progress=False, trainer="compiled")
    assert torch.equal(ours.E, expected.E) and torch.equal(ours.P, expected.P)


F2, F6 = ({f"{m}@{k}" for m in ("HR", "NDCG") for k in ks} for ks in ((10,), (5, 10, 20)))
ATTACKS = {"random", "test", "train", "linf", "transferred", "certified"}
ENTRY = {"full", "cold", "auc cold", "attacked", "certified", "sensitivity", "E norm", "seen", "ε", "ε/‖c‖"}


def test_main_holds_what_the_tables_need(shop, few_candidates):
    result = experiments.main_experiment(shop, SETTINGS, 0, dim=4, device="cpu")
    json.dumps(result, allow_nan=False)
    assert tuple(result) == experiments.MODELS
    for name, entry in result.items():
        clean = {"full", "cold", "warm", "sampled", "sampled cold", "sampled warm", "auc"}
        assert all(set(entry[part]) == F6 for part in clean - {"auc"}) and set(entry["auc"]) == {"full", "cold", "warm"}
        if name in ("Popularity", "MF-BPR", "MF-eALS"):
            assert set(entry) == clean
            continue
        levels = {f"ε={s}‖c‖" for s in (0.05, 0.1, 0.2)} | {f"ε={e}" for e in (0.05, 0.1, 0.2)}
        more = {"breaking", "rank change", "promotion", "E", "E norm", "sensitivity", "seen"}
        assert set(entry) == clean | levels | more
        for level in levels:
            assert set(entry[level]) == ATTACKS | ({"steps"} if level == "ε=0.1‖c‖" else set())
            for figures in entry[level].values():
                assert set(figures) == F2 and entry[level]["certified"]["NDCG@10"] <= figures["NDCG@10"] + 1e-5
        assert set(entry["breaking"]) == {"0.1", "0.25", "0.5", "0.75", "0.9"}
        change = [entry["rank change"][q] for q in ("low", "Q1", "median", "Q3", "high")]
        assert change == sorted(change)
        assert all(set(entry["promotion"][what]) == {"before", "after", "random"} for what in ("CHR@10", "rank"))
        assert all(0 <= share <= 1 for share in entry["promotion"]["CHR@10"].values())
        assert all(0 <= rank < 60 for rank in entry["promotion"]["rank"].values())
        assert len(entry["E"]) == 4 and entry["E norm"] == pytest.approx(np.linalg.norm(entry["E"]), abs=1e-4)
    longer = result["VBPR, continued"]["ε=0.1"]
    assert longer["transferred"] == longer["test"]  # its own attack
    some = experiments.main_experiment(shop, SETTINGS, 0, only=("VBPR, continued", "AMR"), dim=4, device="cpu")
    assert some == {name: result[name] for name in some}  # a slice is the same


def test_how_much_of_a_score_the_picture_makes(shop):
    model = amrlib.VBPR(dim=4).bind(shop)
    model.Q *= 0
    assert measure.picture_use(model)["seen"] == pytest.approx(1)  # all of it
    seen = model.features @ model.E
    model.Q += 3 * seen  # a history that says the same four times as loud
    assert measure.picture_use(model)["seen"] == pytest.approx(0.25, abs=1e-4)


def test_one_direction_serves_every_epsilon(shop):
    model = experiments.train_chain(shop, SETTINGS, seed=0, only=("VBPR",), dim=4, device="cpu")["VBPR"]
    found = measure.attacked(model, shop, 3, None)
    for level, epsilon in (("ε=0.2", 0.2), ("ε=0.1‖c‖", 0.1 * experiments.mean_norm(shop))):
        how = {
            "random": dict(kind="random", seed=3), "test": {}, "train": dict(triples="train", seed=3),
        }  # fmt: skip
        ways = {name: amrlib.perturb(model, shop, epsilon, **h) for name, h in how.items()}
        ways["linf"] = amrlib.perturb(model, shop, epsilon / 6**0.5, norm="linf")
        for name, changed in ways.items():
            ranks = amrlib.evaluate(model, shop, features=changed, progress=False).ranks
            assert found[level][name] == measure.measures(ranks, (10,))


def check_entry(entry, uses_pictures=True):
    assert set(entry) == (ENTRY if uses_pictures else ENTRY - {"sensitivity", "E norm", "seen"})
    assert all(set(entry[part]) == F2 for part in ("full", "cold", "attacked", "certified"))
    if not uses_pictures:
        assert entry["attacked"] == entry["certified"] == entry["full"] and entry["ε"] == 0


def test_curves_go_on_where_vbpr_ended(shop):
    result = sweeps.curves(shop, SETTINGS, 0, every=1, dim=4, device="cpu")
    names = ["MF-BPR", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR", "AMR, random noise"]
    assert list(result) == names
    assert result["MF-BPR"]["epoch"] == [2] and result["VBPR"]["epoch"] == [0, 1, 2]
    models = experiments.train_chain(shop, SETTINGS, 0, dim=4, device="cpu")
    for name in names:
        curve = result[name]
        assert {len(column) for column in curve.values()} == {len(curve["epoch"])}
        ranks = amrlib.evaluate(models[name], shop, progress=False).ranks
        assert curve["NDCG@10"][-1] == measure.measures(ranks)["NDCG@10"]  # watching changes nothing
        if name in names[2:]:
            assert curve["epoch"] == [2, 3, 4, 5]
            assert all(curve[column][0] == result["VBPR"][column][-1] for column in curve)


def test_sweeps_hold_their_points(shop):
    by_epsilon = sweeps.epsilon_sweep(shop, SETTINGS, 0, dim=4, device="cpu")
    by_lambda = sweeps.lambda_sweep(shop, SETTINGS, 0, dim=4, device="cpu")
    references = ("MF-BPR", "VBPR", "VBPR, continued")
    assert tuple(by_epsilon) == (*references, "AMR") and tuple(by_epsilon["AMR"]) == experiments.EPSILON_POINTS
    assert tuple(by_lambda) == (*references, "AMR", "AMR, ε=0.05‖c‖")
    assert tuple(by_lambda["AMR"]) == experiments.LAMBDA_POINTS
    assert tuple(by_lambda["AMR, ε=0.05‖c‖"]) == experiments.WEAK_LAMBDA_POINTS
    for result in (by_epsilon, by_lambda):
        for name in references:
            check_entry(result[name], name != "MF-BPR")
    for entry in [*by_epsilon["AMR"].values(), *by_lambda["AMR"].values(), *by_lambda["AMR, ε=0.05‖c‖"].values()]:
        check_entry(entry)
    assert by_epsilon["AMR"]["0"]["ε"] == experiments.NO_ADVERSARY
    assert [e["ε/‖c‖"] for e in by_epsilon["AMR"].values()][1:] == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    assert {e["ε"] for e in by_lambda["AMR"].values()} == {0.3}
    models = experiments.train_chain(shop, SETTINGS, 0, only=("VBPR, continued", "AMR"), dim=4, device="cpu")
    assert by_lambda["AMR"]["1"]["full"] == measure.measures(measure.ranks_of(models["AMR"], shop), (10,))
    assert by_epsilon["VBPR, continued"] == by_lambda["VBPR, continued"]


def test_the_blind_twin_is_amr_s_second_stage_at_e_zero(shop):
    train = chain.ChainTraining(shop, SETTINGS, 1, dim=4, device="cpu")
    vbpr = train.vbpr()
    twin = train.second(vbpr, experiments.BLIND)
    by_hand = amrlib.MFBPR.warm_start(vbpr, shop)
    by_hand.fit(shop, 3, lr=0.05, reg=0.005, seed=101, device="cpu", progress=False, trainer="compiled")  # λ = 1
    assert type(twin) is amrlib.MFBPR and torch.equal(twin.P, by_hand.P) and torch.equal(twin.Q, by_hand.Q)


def test_afresh_is_from_nothing_and_as_long_as_both_stages(shop):
    result = sweeps.starts(shop, SETTINGS, 1, dim=4, device="cpu")
    assert list(result) == ["AMR", "AMR, afresh", experiments.WEAK, f"{experiments.WEAK}, afresh"]
    by_hand = amrlib.AMR(dim=4, seed=1, epsilon=0.3).bind(shop)
    by_hand.fit(shop, 5, lr=0.05, reg=0.01, seed=1, device="cpu", progress=False)
    assert result["AMR, afresh"]["E norm"] == pytest.approx(float(by_hand.E.norm()), abs=1e-5)
    models = experiments.train_chain(shop, SETTINGS, 1, only=("AMR", experiments.WEAK), dim=4, device="cpu")
    for name, model in models.items():
        assert result[name]["E norm"] == pytest.approx(float(model.E.norm()), abs=1e-5)
        assert result[f"{name}, afresh"]["ε"] == result[name]["ε"] == pytest.approx(model.epsilon, abs=1e-5)


def test_shops_are_drawn_by_the_seed(shop, monkeypatch):
    asked = []

    def load(name, **options):
        asked.append(options)
        return shop

    monkeypatch.setattr(worlds, "load_dataset", load)
    boutique = shop.replace(name="boutique")
    shares = sweeps.visual_share(boutique, SETTINGS, 3, dim=4, device="cpu", epochs=1)
    assert asked == [{"visual_share": s, "seed": 3} for s in (0, 0.5, 1)]
    sizes = sweeps.sparsity(boutique, SETTINGS, 3, dim=4, device="cpu", epochs=1)
    assert asked[3:] == [{"seed": 3, "size": (users, 4830)} for users in (1613, 3226, 6452)]
    names = ["MF-BPR", "DUIF", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR", experiments.WEAK]
    assert list(shares) == ["shop", *names]
    assert list(sizes) == ["shop", "MF-BPR", "VBPR", "VBPR, continued", "AMR", experiments.WEAK]
    assert shares[experiments.WEAK]["0"]["ε"] == pytest.approx(0.05 * experiments.mean_norm(shop), abs=1e-5)
    for result, points in ((shares, experiments.SHARE_POINTS), (sizes, experiments.SPARSITY_POINTS)):
        assert all(tuple(of_point) == points for of_point in result.values())
        for name in list(result)[1:]:
            check_entry(result[name][points[0]], name != "MF-BPR")
        assert result["shop"][points[0]]["cold share"] == pytest.approx(shop.cold[shop.test[shop.test_users]].mean(), abs=1e-5)
    controls = sweeps.controls(boutique, SETTINGS, 3, dim=4, device="cpu", epochs=1)
    assert list(controls) == ["shop", experiments.BLIND, "AMR, ε → 0"]
    assert [len(of_point) for of_point in controls.values()] == [7, 7, 3]
    assert asked[6:] == asked[:6]  # the same shops again
    check_entry(controls[experiments.BLIND]["boutique"], uses_pictures=False)
    with pytest.raises(ValueError, match="'toy' cannot be drawn"):
        sweeps.visual_share(shop, SETTINGS, 3)


def test_feature_points_change_what_they_say(shop, monkeypatch):
    monkeypatch.setattr(sweeps, "FEATURE_POINTS", ("×0.25", "×1", "D=3"))
    result = sweeps.features_sweep(shop, SETTINGS, 0, dim=4, device="cpu")
    assert list(result) == ["shop", "VBPR", "VBPR, continued", "AMR, same ε", "AMR, same ε/‖c‖"]
    norm = experiments.mean_norm(shop)
    assert [p["norm"] for p in result["shop"].values()] == pytest.approx([norm / 4, norm, norm], abs=1e-4)
    for name in list(result)[1:]:
        for entry in result[name].values():
            check_entry(entry)
    assert result["AMR, same ε"]["×0.25"]["ε"] == 0.3 and result["AMR, same ε/‖c‖"]["×0.25"]["ε"] == 0.075
    ratios = [result["AMR, same ε/‖c‖"][p]["ε/‖c‖"] for p in ("×0.25", "×1", "D=3")]
    assert ratios == pytest.approx([0.3 / norm] * 3, abs=1e-4)
    assert result["AMR, same ε"]["D=3"] == result["AMR, same ε/‖c‖"]["D=3"]
