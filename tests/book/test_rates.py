"""S1 to S7: second stages under other rates, forms and penalties, new arrivals, real choices."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import amrlib
from amrbook.experiments import RATE_POINTS, TWIN, chain, forms, load_results, measure, rates, real
from amrbook.identification import blind_twin_of
from amrlib.training import AutogradTrainer, NegativeSampler, PairwiseTrainer
from amrlib.training.compiled.step import CompiledTrainer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETTINGS = {
    "VBPR": {"lr": 0.05, "reg": 0.01, "epochs": 2, "start": "afresh"},
    "AMR": {"lr": 0.05, "reg": 0.01, "epochs": 3, "epsilon": 0.3, "adv_weight": 1.0},
}


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(0)
    train, test = amrlib.leave_one_out(np.stack([rng.integers(40, size=300), rng.integers(60, size=300)], 1), n_users=40)
    train = train[train[:, 1] < 50]  # some items are cold
    return amrlib.Dataset(train, test, features=rng.random((60, 6), dtype=np.float32), n_users=40, n_items=60, name="toy")


@pytest.fixture(scope="module")
def vbpr(shop):
    return amrlib.VBPR(dim=4, seed=0, init_std=0.5).fit(shop, 3, lr=0.05, progress=False, device="cpu")


def triples(shop, n=80):
    users, pos = torch.tensor(shop.train[:n]).unbind(1)
    return users, pos, NegativeSampler(shop)(users, torch.Generator().manual_seed(0))


def test_the_mean_lead_and_the_margin_against_loops(shop, vbpr):
    scores, leads = vbpr.score(range(40)).double().numpy(), []
    for user, item in shop.train:
        rest = [j for j in range(60) if not shop.cold[j] and j not in shop.items_of(user)]
        leads.append(scores[user, item] - scores[user, rest].mean())
    assert measure.mean_lead(vbpr, shop) == pytest.approx(np.mean(leads), rel=1e-5)
    sensitivity = np.linalg.norm((vbpr.E @ vbpr.P.T).double().numpy(), axis=0).mean()
    assert measure.margin_share(vbpr, shop, 0.3) == pytest.approx(0.6 * sensitivity / np.mean(leads), abs=1e-5)


def test_rates_and_penalties_of_every_point():
    settings = {"AMR": {"lr": 0.02, "reg": (0.1, 0.1, 0.0)}}
    how = {point: rates.how_at(point, settings) for point in RATE_POINTS}
    assert how["0.01"] == {"lr": [0.02, 0.0002, 0.02], "reg": [0.1, 0.1, 0.0]}
    assert how["1"] == {"lr": [0.02] * 3, "reg": [0.1, 0.1, 0.0]}
    assert how["authors"] == {"lr": [0.01, 0.0001, 0.001], "reg": [0.1, 0.001, 0.0]}
    assert how["authors' rates"]["reg"] == [0.1, 0.1, 0.0] and how["authors' penalties"]["lr"] == [0.02] * 3


def test_the_twin_starts_where_vbpr_ranks_warm_items_and_never_looks(shop, vbpr):
    twin = amrlib.MFBPR.warm_start(blind_twin_of(vbpr), shop)
    warm = torch.tensor(~shop.cold)
    torch.testing.assert_close(twin.score(range(40))[:, warm], vbpr.score(range(40))[:, warm], rtol=1e-4, atol=1e-5)
    assert not twin.score(range(40))[:, ~warm].any()
    train = chain.ChainTraining(shop, SETTINGS, 0, dim=4, device="cpu")
    trained = train.second(vbpr, TWIN, {"lr": 0.1, "reg": (0.2, 0.4, 0.0)}, adv_weight=3.0)
    by_hand = amrlib.MFBPR.warm_start(blind_twin_of(vbpr), shop)
    by_hand.fit(shop, 3, lr=0.1, reg=(0.05, 0.1, 0.0), seed=100, device="cpu", progress=False, trainer="compiled")
    assert torch.equal(trained.Q, by_hand.Q) and trained.E is None
    entry = measure.rates_entry(trained, shop)
    assert entry["full"] == entry["attacked"] == entry["certified"] and entry["seen"] == 0


def test_new_arrivals_are_asked_for_and_never_trained_on(shop):
    split = forms.arrivals_split(shop, 3)
    asked = split.test[split.test_users]
    assert len(asked) and split.cold[asked].all() and not shop.cold[asked].any()
    own = {(u, i) for u, i in shop.train.tolist()}
    assert all((u, split.test[u]) in own for u in split.test_users)  # bought, and in training before
    assert (np.bincount(split.train[:, 0], minlength=40)[split.test_users] > 0).all()
    assert not np.isin(split.train[:, 1], asked).any()
    again, other = forms.arrivals_split(shop, 3), forms.arrivals_split(shop, 4)
    assert split.fingerprint == again.fingerprint and split.fingerprint != other.fingerprint


def test_item_dropout_leaves_what_it_drops(shop, vbpr):
    batch = triples(shop)

    def after(share):
        model = amrlib.VBPR.warm_start(vbpr, shop)
        kind = type("Some", (forms.ItemDropout,), {"share": share})
        trainer = kind(model, lr=0.05, reg=0.01, generator=torch.Generator().manual_seed(1))
        trainer.step(*batch)
        return model, trainer

    plain = amrlib.VBPR.warm_start(vbpr, shop)
    PairwiseTrainer(plain, lr=0.05, reg=0.01).step(*batch)
    none, _ = after(0.0)
    assert torch.equal(none.Q, plain.Q) and torch.equal(none.E, plain.E)
    every, trainer = after(1.0)
    assert torch.equal(every.Q, vbpr.Q) and bool((trainer.optimizer.state["Q"] == 0.1).all())
    # with q = 0 for all items the step is DUIF's
    duif = amrlib.DUIF(dim=4).bind(shop)
    duif.P, duif.E = vbpr.P.clone(), vbpr.E.clone()
    PairwiseTrainer(duif, lr=0.05, reg=0.01).step(*batch)
    torch.testing.assert_close(every.E, duif.E, rtol=1e-5, atol=1e-6)
    half, _ = after(0.5)
    moved = (half.Q != vbpr.Q).any(1)
    assert 0 < moved.sum() < (plain.Q != vbpr.Q).any(1).sum()


def test_the_adversary_of_the_two_vector_form_against_autograd(shop):
    after = []
    for kind in (AutogradTrainer, PairwiseTrainer, CompiledTrainer):
        model = amrlib.VBPRTwoVector(dim=3, seed=0, init_std=0.5, dtype=torch.float64).bind(shop)
        model.epsilon, model.adv_weight = 0.3, 1.0
        trainer = kind(model, lr=0.05, reg=0.01)
        for _ in range(3):
            trainer.step(*triples(shop))
        after.append(model)
    for other in after[1:]:
        for name in "PQE":
            torch.testing.assert_close(getattr(other, name), getattr(after[0], name), rtol=1e-10, atol=1e-12)


def test_the_finals_are_between_the_best_of_the_grid():
    grid, finals = load_results("form_grid")["seeds"].values(), load_results("form_finals")["seeds"].values()
    for form in forms.FORMS:
        names = [name for name, how in forms.FORM_GRID.items() if how["form"] == form]
        best = {n: max(np.mean([s[n]["validation"][e]["NDCG@10"] for s in grid]) for e in forms.EPOCH_POINTS) for n in names}
        played = [[split[form][place]["setting"] for place in forms.PLACES] for split in finals]
        assert played == [sorted(best, key=best.get, reverse=True)[:3]] * len(finals)


@pytest.mark.parametrize("form", forms.FORMS)
def test_the_best_of_a_form_is_not_at_the_edge_of_its_grid(form):
    """A lower and a higher value of its rate, and of each of its penalties, were tried with all else as it is."""

    def numbers(how: dict) -> tuple[float, ...]:
        return (*how["lr"], *how["reg"])

    best = numbers(forms.best_form(form, load_results("form_finals"))[0])
    tried = [numbers(how) for how in forms.FORM_GRID.values() if how["form"] == form]
    moved_together = [(0, 1, 2), *([(3,), (4,), (5,)] if form == "apart" else [(3, 4)])]
    for places in moved_together:
        rest = [k for k in range(6) if k not in places]
        line = [t[places[0]] for t in tried if len({t[k] for k in places}) == 1 and all(t[k] == best[k] for k in rest)]
        assert min(line) < best[places[0]] < max(line), places


def test_the_best_of_a_form_is_the_best_mean():
    finals = load_results("form_finals")
    for form, most in ((form, most) for form in forms.FORMS for most in (None, 240, 60)):
        setting, epochs = forms.best_form(form, finals, most=most)
        mean = {(split[form][place]["setting"], e): np.mean([s[form][place][e]["NDCG@10"] for s in finals["seeds"].values()])
                for split in finals["seeds"].values() for place in forms.PLACES
                for e in forms.EPOCH_POINTS if int(e) <= (most or 960)}  # fmt: skip
        assert mean[forms.name_of(setting), str(epochs)] == max(mean.values())


@pytest.mark.parametrize("name", real.REAL_SETS)
def test_what_is_stored_of_real_choices(name):
    stored = load_results(f"real_{name}")
    assert len(stored["seeds"]) == 5 and len(stored["dataset"]["sha256"]) == 2
    for result in stored["seeds"].values():
        assert set(result) == {"Popularity", "MF-BPR", "DUIF", "VBPR", "VBPR, shuffled", "one rate", "authors"}
        for entry in (*(result[m] for m in ("MF-BPR", "VBPR")), *result["authors"].values()):
            assert all(0 <= value <= 1 for value in entry["AUC"].values())
    text = json.dumps(stored)
    assert len(text) < 60_000 and "pairs" not in text  # numbers of models, none of people


@pytest.mark.skipif(not (DATA / "cryptopunks").is_dir(), reason="purchases (../shared/data/cryptopunks) are absent")
def test_a_slice_of_real_choices_again():
    stored, shop = load_results("real_punks"), real.real_shop("punks", DATA, 0)
    assert stored["dataset"]["rows"] == len(shop.train) and stored["dataset"]["users"] == shop.n_users
    vbpr = real._fit(amrlib.VBPR(dim=real.DIM, seed=0), shop, stored["chosen"]["VBPR"], 0)
    again = real._entry(vbpr, shop)
    for measure_ in ("AUC", "attacked AUC"):
        assert again[measure_]["all"] == pytest.approx(stored["seeds"]["0"]["VBPR"][measure_]["all"], abs=0.01)


def test_ties_count_half_in_the_auc_of_real_choices(shop):
    model = amrlib.MFBPR(dim=4, seed=0).bind(shop)
    model.Q.zero_()  # one score for all
    assert real._auc(model, shop)["all"] == 0.5
    scored = amrlib.VBPR(dim=4, seed=0, init_std=0.5).bind(shop)
    scores, found = scored.score(range(40)).double().numpy(), []
    for user in shop.test_users:
        item = shop.test[user]
        rivals = [j for j in range(60) if j != item and j not in shop.items_of(user)]
        found.append(np.mean(scores[user, rivals] < scores[user, item]))
    assert real._auc(scored, shop)["all"] == pytest.approx(np.mean(found), abs=1e-5)


def test_noise_directions_keep_the_length_and_the_features(shop):
    wide = rates.padded(shop, 20, 0)
    assert wide.features.shape == (60, 20) and measure.mean_norm(wide) == pytest.approx(measure.mean_norm(shop), rel=1e-5)
    ratio = wide.features[:, :6] / shop.features
    assert np.ptp(ratio) < 1e-5
    assert (wide.features[:, 6:] ** 2).sum() == pytest.approx((wide.features[:, :6] ** 2).sum(), rel=1e-5)
