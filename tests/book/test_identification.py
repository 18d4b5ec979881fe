"""Two theorems on E, on trained models, in float64 to ten digits; and where each of them ends."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrbook.identification import blind_twin_of, objective, same_scores_other_E
from amrlib.training import AutogradTrainer, PairwiseTrainer

COMBINED, TIED = (0.1, 0.05, 0.0), (0.1, 0.05, 0.02)
SETTINGS = dict(dim=4, dtype=torch.float64, init_std=0.3)
TEN_DIGITS = 1e-10


@pytest.fixture(scope="module")
def shop():
    """20 users with 4 of 24 warm items each, so that each has 20 negatives; 3 cold items."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(27, 7))
    likes = rng.normal(size=(20, 3)) @ (features @ rng.normal(size=(7, 3))).T + 2 * rng.normal(size=(20, 27))
    likes[:, 24:] = -np.inf
    rows = np.argwhere(likes >= np.sort(likes, axis=1)[:, [-4]])
    kept = np.unique(rows[:, 1])  # an item that nobody has would be one more cold one
    assert len(kept) == 24 and len(rows) == 80
    return amrlib.Dataset(rows, np.full(20, -1), features, n_users=20, n_items=27)


@pytest.fixture(scope="module")
def trained(shop):
    """Under each form of the penalty a VBPR, and an AMR that goes on from it."""
    models = {}
    for form in ("combined", "apart"):
        words = dict(reg=COMBINED if form == "combined" else TIED, reg_form=form, batch_size=16, progress=False, device="cpu")
        vbpr = amrlib.VBPR(**SETTINGS).fit(shop, epochs=30, **words)
        amr = amrlib.AMR.warm_start(vbpr, shop, epsilon=0.4, adv_weight=0.7).fit(shop, epochs=5, **words)
        models |= {("VBPR", form): vbpr, ("AMR", form): amr}
        assert min(float(m.sensitivity().min()) for m in (vbpr, amr)) > 0.01  # both still look, for every user
    return models


def other_Es(model):
    """Nothing, the same turned round and larger, and what has nothing to do with it."""
    noise = torch.randn(model.E.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [torch.zeros_like(model.E), -3 * model.E, noise]


def all_triples(shop):
    """Every training row with each warm item that the user does not have."""
    warm = np.flatnonzero(~shop.cold)
    rows = [(u, i, j) for u, i in shop.train.tolist() for j in warm if not shop.is_train(np.array([u]), np.array([j]))[0]]
    return [torch.tensor(ids) for ids in zip(*rows, strict=True)]


# ---------------------------------------------------------------- what is counted


@pytest.mark.parametrize("form", ["combined", "apart"])
@pytest.mark.parametrize("trainer", [PairwiseTrainer, AutogradTrainer])
def test_the_objective_is_what_the_trainers_lower(shop, trained, trainer, form):
    """Here every user has 20 negatives: all triples as one batch count each row twenty times, and E once."""
    model, triples = trained["VBPR", form], all_triples(shop)
    assert len(triples[0]) == 80 * 20
    step = trainer(model, lr=0.0, reg=TIED, reg_form=form).step(*triples)
    of_E = TIED[2] * float(model.E.square().sum())
    assert objective(model, shop, TIED, form) == pytest.approx((float(step.objective) - of_E) / 20 + of_E, rel=TEN_DIGITS)


def test_the_inner_maximum_is_exact(shop, trained):
    """What the one-step adversary does to a triple that is a batch by itself; and no Δ drawn at random does more."""
    model, triples, rng = trained["AMR", "combined"], all_triples(shop), torch.Generator().manual_seed(0)
    step = PairwiseTrainer(model, lr=0.0).step
    alone = sum(float(step(u[None], i[None], j[None]).adversarial) for u, i, j in zip(*triples, strict=True)) / 20
    exact = objective(model, shop, epsilon=0.4, adv_weight=1.0) - objective(model, shop)
    assert exact == pytest.approx(alone, rel=TEN_DIGITS)
    for _ in range(20):
        delta = torch.randn(model.features.shape, generator=rng, dtype=torch.float64)
        V = model.item_vectors(model.features + 0.4 * delta / delta.norm(dim=1, keepdim=True))
        x = (model.P[triples[0]] * (V[triples[1]] - V[triples[2]])).sum(1)
        assert float(F.softplus(-x).sum()) / 20 < exact


# ---------------------------------------------------------------- theorem A


@pytest.mark.parametrize("name", ["VBPR", "AMR"])
def test_theorem_A_the_combined_penalty_does_not_identify_E(shop, trained, name):
    model, (u, i, j) = trained[name, "combined"], all_triples(shop)
    before = {key: theta.clone() for key, theta in model.parameters().items()}
    for E in other_Es(model):
        other = same_scores_other_E(model, E)
        assert torch.equal(other.E, E) and not torch.allclose(E, model.E)
        (V, W), P = (m.item_vectors() for m in (model, other)), model.P
        assert torch.equal(other.P, P)
        scores = [(P[u] * (X[i] - X[j])).sum(1) for X in (V, W)]
        assert torch.allclose(*scores, rtol=TEN_DIGITS, atol=TEN_DIGITS)  # of every training triple
        penalties = [float((X[i].square() + X[j].square()).sum()) for X in (V, W)]
        assert penalties[1] == pytest.approx(penalties[0], rel=TEN_DIGITS)
        assert objective(other, shop, COMBINED) == pytest.approx(objective(model, shop, COMBINED), rel=TEN_DIGITS)
        assert not torch.allclose(V[24:], W[24:])  # cold items, which are in no triple, are what E decides
    assert all(torch.equal(theta, before[key]) for key, theta in model.parameters().items())


def test_theorem_A_holds_for_what_the_trainers_compute(shop, trained):
    model, triples = trained["VBPR", "combined"], all_triples(shop)
    for trainer in (PairwiseTrainer, AutogradTrainer):
        here, *there = (float(trainer(m, lr=0.0, reg=COMBINED).step(*triples).objective)
                        for m in (model, *(same_scores_other_E(model, E) for E in other_Es(model))))  # fmt: skip
        assert there == pytest.approx([here] * 3, rel=TEN_DIGITS)


@pytest.mark.parametrize("reg", [COMBINED, TIED])
@pytest.mark.parametrize("name", ["VBPR", "AMR"])
def test_theorem_A_ends_where_q_and_E_are_penalised_apart(shop, trained, name, reg):
    model = trained[name, "apart"]
    here = objective(model, shop, reg, "apart")
    for E in other_Es(model):
        other = same_scores_other_E(model, E)
        assert objective(other, shop) == pytest.approx(objective(model, shop), rel=TEN_DIGITS)  # still the same scores
        assert objective(other, shop, reg, "apart") > 1.02 * here  # q pays for what it takes over


def test_theorem_A_ends_where_E_is_weighed(shop, trained):
    model = trained["VBPR", "combined"]
    here, *there = (objective(m, shop, TIED) for m in (model, *(same_scores_other_E(model, E) for E in other_Es(model))))
    assert there[0] < here < there[1]  # but to nothing at all it still may go: theorem B needs no more


# ---------------------------------------------------------------- theorem B


@pytest.mark.parametrize("reg", [COMBINED, TIED])
@pytest.mark.parametrize("epsilon, adv_weight", [(1e-3, 0.1), (0.4, 1.0), (2.0, 10.0)])
@pytest.mark.parametrize("name", ["VBPR", "AMR"])
def test_theorem_B_the_blind_twin_has_the_lower_adversarial_objective(shop, trained, name, epsilon, adv_weight, reg):
    model = trained[name, "combined"]
    twin = blind_twin_of(model)
    assert not twin.E.any() and not twin.sensitivity().any()
    attacked = [objective(m, shop, reg, epsilon=epsilon, adv_weight=adv_weight) for m in (model, twin)]
    assert attacked[1] < attacked[0]
    clean = objective(twin, shop, reg) + adv_weight * objective(twin, shop)  # the attack finds nothing in the twin
    assert attacked[1] == pytest.approx(clean, rel=TEN_DIGITS)


def test_theorem_B_is_strict_only_where_a_training_user_looks(shop, trained):
    model = same_scores_other_E(trained["AMR", "combined"], trained["AMR", "combined"].E)
    direction = torch.zeros(model.dim, dtype=torch.float64)
    direction[0] = 1.0
    model.E = torch.outer(torch.arange(7, dtype=torch.float64), direction)  # it sees what the first column of P looks at
    model.P[:, 0] = 0
    words = dict(reg=COMBINED, epsilon=0.4, adv_weight=1.0)
    assert objective(blind_twin_of(model), shop, **words) == pytest.approx(objective(model, shop, **words), rel=TEN_DIGITS)
    model.P[3, 0] = 1e-2  # one user looks
    assert objective(blind_twin_of(model), shop, **words) < objective(model, shop, **words) - 1e-3
    for none in (dict(epsilon=0.0, adv_weight=1.0), dict(epsilon=0.4, adv_weight=0.0)):  # nor without an adversary
        pair = [objective(m, shop, COMBINED, **none) for m in (model, blind_twin_of(model))]
        assert pair[1] == pytest.approx(pair[0], rel=TEN_DIGITS)


def test_theorem_B_ends_where_q_and_E_are_penalised_apart(shop, trained):
    """To look at pictures may be cheaper than to remember them: the twin pays more for its q than the attack costs."""
    model = trained["VBPR", "apart"]
    here, twin = (objective(m, shop, TIED, "apart", epsilon=0.1, adv_weight=0.1) for m in (model, blind_twin_of(model)))
    assert twin > 1.02 * here


# ---------------------------------------------------------------- the one-step adversary


def batch_of(*triples):
    return [torch.tensor(ids) for ids in zip(*triples, strict=True)]


def exact_loss(model, u, i, j, epsilon):
    V = model.item_vectors()
    x = (model.P[u] * (V[i] - V[j])).sum(1)
    return float(F.softplus(2 * epsilon * model.sensitivity()[u] - x).sum())


@pytest.mark.parametrize("trainer", [PairwiseTrainer, AutogradTrainer])
def test_the_one_step_adversary_is_exact_where_every_item_occurs_once(trained, trainer):
    model = trained["AMR", "combined"]
    batch = batch_of((0, 1, 2), (0, 3, 4), (5, 6, 7), (9, 8, 10))  # a user may recur
    step = trainer(model, lr=0.0).step(*batch)
    assert float(step.adversarial) == pytest.approx(exact_loss(model, *batch, 0.4), rel=TEN_DIGITS)
    shared = batch_of((0, 1, 2), (5, 3, 2), (9, 1, 4))
    assert float(trainer(model, lr=0.0).step(*shared).adversarial) < exact_loss(model, *shared, 0.4)


def test_the_one_step_adversary_prefers_the_blind_twin_too(shop, trained):
    """−ln σ is convex, so the loss at Δ is at least its tangent's, bpr + ε Σ ‖Γ_n‖: above the twin's where a Γ_n is not 0."""
    model, triples, rng = trained["AMR", "combined"], all_triples(shop), np.random.default_rng(0)
    twin = blind_twin_of(model)
    for _ in range(20):
        rows = torch.as_tensor(rng.choice(len(triples[0]), 16, replace=False))
        mine, its = (PairwiseTrainer(m, lr=0.0, reg=COMBINED).step(*(ids[rows] for ids in triples)) for m in (model, twin))
        assert float(its.objective) < float(mine.objective)
        assert float(its.adversarial) == pytest.approx(float(mine.bpr), rel=TEN_DIGITS)


@pytest.mark.parametrize("trainer", [PairwiseTrainer, AutogradTrainer])
def test_the_one_step_adversary_finds_nothing_where_gamma_cancels(trained, trainer):
    """Two users of one taste, two items between which they are torn, one triple each way: the pulls on either item are
    opposite and as strong. To first order no Δ helps; yet one raises the loss, and each triple's own would raise it further."""
    model = same_scores_other_E(trained["AMR", "combined"], trained["AMR", "combined"].E)
    model.P[1] = model.P[0]
    model.Q[3] = model.item_vectors()[2] - model.E.T @ model.features[3]  # ŷ_u2 = ŷ_u3 for both
    batch = batch_of((0, 2, 3), (1, 3, 2))
    step = trainer(model, lr=0.0).step(*batch)
    assert float(step.adversarial) == pytest.approx(float(step.bpr), rel=TEN_DIGITS) == pytest.approx(2 * np.log(2))
    assert exact_loss(model, *batch, 0.4) > float(step.bpr) + 0.1
    twin = trainer(blind_twin_of(model), lr=0.0).step(*batch)
    assert float(twin.adversarial) == pytest.approx(float(step.adversarial), rel=TEN_DIGITS)  # no lower: not strict here
    moved, look = model.features.clone(), model.E @ model.P[0]
    moved[2] -= 0.4 * look / look.norm()
    V = model.item_vectors(moved)
    x = (model.P[batch[0]] * (V[batch[1]] - V[batch[2]])).sum(1)
    assert float(F.softplus(-x).sum()) > float(step.adversarial) + 1e-3  # one Δ for both, and more than nothing


# ---------------------------------------------------------------- what they refuse


def test_what_has_no_q_beside_an_E_is_refused(shop):
    for kind in (amrlib.MFBPR, amrlib.DUIF, amrlib.VBPRTwoVector):
        with pytest.raises(ValueError, match=f"^{kind.__name__} has no item vector q"):
            blind_twin_of(kind(dim=3).bind(shop))
    with pytest.raises(ValueError, match="has seen no data yet"):
        blind_twin_of(amrlib.VBPR(dim=3))
    with pytest.raises(ValueError, match=r"E_new must have shape \(7, 3\), as the VBPR's E, not \(3, 7\)"):
        same_scores_other_E(amrlib.VBPR(dim=3).bind(shop), torch.zeros(3, 7))
    with pytest.raises(ValueError, match=r"^reg_form must be 'combined' or 'apart'"):
        objective(amrlib.VBPR(dim=3).bind(shop), shop, reg_form="both")


@pytest.mark.parametrize("form", ["combined", "apart"])
@pytest.mark.parametrize("kind", [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPRTwoVector])
def test_other_models_have_an_objective_too(shop, kind, form):
    model, triples = kind(**SETTINGS).bind(shop), all_triples(shop)
    step = PairwiseTrainer(model, lr=0.0, reg=TIED, reg_form=form).step(*triples)
    of_E = 0.0 if model.E is None else TIED[2] * float(model.E.square().sum())
    assert objective(model, shop, TIED, form) == pytest.approx((float(step.objective) - of_E) / 20 + of_E, rel=TEN_DIGITS)
