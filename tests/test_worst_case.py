"""What changed features can do: the certified worst case against attacks, and gradients against autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrlib import Dataset, adversary, evaluate, perturb, worst_case_ranks
from amrlib.training import NegativeSampler

LOOKING = [amrlib.DUIF, amrlib.VBPR, amrlib.AMR] + ([amrlib.VBPRTwoVector] if hasattr(amrlib, "VBPRTwoVector") else [])


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    M, N = 40, 30
    train = np.stack([rng.integers(0, M - 3, 100), rng.integers(0, N - 8, 100)], 1)  # 8 cold items, 3 empty users
    test = np.where(rng.random(M) < 0.2, -1, rng.integers(0, N, M))
    test[train[0, 0]] = train[0, 1]  # a test item that is in train as well
    return Dataset(train, test, rng.normal(size=(N, 12)), n_users=M, n_items=N)


def trained(kind, shop, seed=0):
    """A model with parameters large enough to have something to lose, in float64."""
    model = kind(shop, dim=5, seed=seed, init_std=0.7, dtype=torch.float64)
    if model.Q is not None:
        model.Q[model._cold] = 0
    return model


def ranks_under(model, shop, features):
    return evaluate(model, shop, features=features, k=1, progress=False).ranks


def direction(model):
    """E p_u of every user, (M, D), written out in D dimensions."""
    return model.visual_users() @ model.E.T


@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.3, 5.0])
def test_the_attaining_perturbation_reaches_the_bound(shop, kind, epsilon):
    """Δ_test = −ε E p_u/‖E p_u‖ and + for all rivals, for each user alone: the rank is the bound itself."""
    model = trained(kind, shop)
    bound = worst_case_ranks(model, shop, epsilon, progress=False)
    unit = F.normalize(direction(model), dim=1)  # (M, D)
    for place, u in enumerate(shop.test_users):
        changed = model.features + epsilon * unit[u]
        changed[shop.test[u]] -= 2 * epsilon * unit[u]
        assert torch.allclose((changed - model.features).norm(dim=1), torch.tensor(epsilon, dtype=torch.float64))
        assert ranks_under(model, shop, changed)[place] == bound[place]
    if epsilon == 5:
        clean = evaluate(model, shop, k=1, progress=False)
        assert (bound == clean.n_candidates).all() and (bound > clean.ranks).any()


def iterated_attack(model, shop, epsilon, steps=10):
    """Projected gradient ascent on all users' test loss, one Δ for all: a stronger attack than one step."""
    users = torch.as_tensor(shop.test_users)
    target = torch.as_tensor(shop.test[shop.test_users])
    delta = torch.zeros_like(model.features)
    for _ in range(steps):
        delta.requires_grad_()
        scores = model.user_vectors()[users] @ model.item_vectors(model.features + delta).T
        loss = F.softplus(scores - scores.gather(1, target[:, None])).sum()
        (gradient,) = torch.autograd.grad(loss, delta)
        delta = (delta + epsilon / 3 * F.normalize(gradient, dim=1)).detach()
        delta = delta * (epsilon / delta.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
    return model.features + delta


@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_no_attack_goes_below_the_bound(shop, kind, epsilon):
    model = trained(kind, shop, seed=1)
    bound = worst_case_ranks(model, shop, epsilon, progress=False)
    attacks = [perturb(model, shop, epsilon, "adversarial", triples) for triples in ("test", "train")]
    attacks += [perturb(model, shop, epsilon, "random", seed=s) for s in range(5)]
    attacks += [iterated_attack(model, shop, epsilon)]
    unit = F.normalize(direction(model), dim=1)
    for u in shop.test_users[:10]:  # the best attack on one user, seen by all the others
        changed = model.features + epsilon * unit[u]
        changed[shop.test[u]] -= 2 * epsilon * unit[u]
        attacks.append(changed)
    reached = np.stack([ranks_under(model, shop, changed) for changed in attacks])
    assert (reached <= bound).all()
    assert (reached > ranks_under(model, shop, None)).any()  # the attacks do something


@pytest.mark.parametrize("kind", LOOKING)
def test_nothing_moves_at_epsilon_zero(shop, kind):
    model = trained(kind, shop)
    clean = evaluate(model, shop, k=1, progress=False).ranks
    assert (worst_case_ranks(model, shop, 0.0, progress=False) == clean).all()
    for how in ("random", "adversarial"):
        assert torch.equal(perturb(model, shop, 0.0, how), model.features)


@pytest.mark.parametrize("kind", [amrlib.MFBPR, amrlib.Popularity])
def test_a_model_that_does_not_look_cannot_be_moved(shop, kind):
    model = kind(shop)
    clean = evaluate(model, shop, k=1, progress=False).ranks
    assert (worst_case_ranks(model, shop, 100.0, progress=False) == clean).all()
    with pytest.raises(ValueError, match="nothing to perturb"):
        perturb(model, shop, 0.1)


def test_sampled_worst_case_uses_the_same_margin(shop):
    model = trained(amrlib.VBPR, shop)
    everything = np.tile(np.arange(shop.n_items), (shop.n_users, 1))
    untouched = Dataset(np.empty((0, 2)), shop.test, shop.features, n_users=shop.n_users, n_items=shop.n_items)
    full = worst_case_ranks(model, untouched, 0.2, progress=False)
    assert (worst_case_ranks(model, untouched, 0.2, everything, progress=False) == full).all()


@pytest.mark.parametrize("how", ["random", "adversarial"])
@pytest.mark.parametrize("kind", LOOKING)
def test_every_item_moves_by_epsilon(shop, kind, how):
    model = trained(kind, shop)
    moved = (perturb(model, shop, 0.37, how) - model.features).norm(dim=1)
    assert moved.numpy() == pytest.approx(np.full(shop.n_items, 0.37), rel=1e-10)
    if how == "adversarial":  # cold items are in no training pair, as positive or as negative
        moved = (perturb(model, shop, 0.37, how, "train") - model.features).norm(dim=1)
        assert (moved[torch.as_tensor(shop.cold)] == 0).all()
        near = torch.isclose(moved, torch.tensor(0.37, dtype=moved.dtype), rtol=1e-10)
        assert (near | (moved == 0)).all() and near.any()


def test_random_directions_follow_the_seed(shop):
    model = trained(amrlib.VBPR, shop)
    a, b, c = (perturb(model, shop, 0.1, "random", seed=s) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def by_autograd(model, shop, epsilon, triples, seed=0):
    """c + ε Γ/‖Γ‖ with Γ through D dimensions, as the paper writes it."""
    c = model.features.clone().requires_grad_()
    V = model.item_vectors(c)
    U = model.user_vectors()
    if triples == "test":
        loss = 0.0
        for u in shop.test_users:
            i = shop.test[u]
            j = [n for n in range(shop.n_items) if n != i and n not in set(shop.items_of(u))]
            loss = loss + F.softplus(-(U[u] @ V[i] - V[j] @ U[u])).mean()
    else:
        users, pos = torch.as_tensor(shop.train).unbind(1)
        neg = NegativeSampler(shop)(users, torch.Generator().manual_seed(seed))
        loss = F.softplus(-(U[users] * (V[pos] - V[neg])).sum(1)).sum()
    (gamma,) = torch.autograd.grad(loss, c)
    norm = gamma.norm(dim=1, keepdim=True)
    return model.features + torch.where(norm > 1e-12, epsilon * gamma / norm.clamp_min(1e-12), 0.0)


@pytest.mark.parametrize("bytes_", [1, 2**27])
@pytest.mark.parametrize("triples", ["test", "train"])
@pytest.mark.parametrize("kind", LOOKING)
def test_the_gradient_needs_no_D_dimensions(monkeypatch, shop, kind, triples, bytes_):
    monkeypatch.setattr(adversary, "BLOCK_BYTES", bytes_)
    model = trained(kind, shop)
    quick = perturb(model, shop, 0.4, "adversarial", triples, seed=3)
    slow = by_autograd(model, shop, 0.4, triples, seed=3)
    assert (quick - slow).abs().max() <= 1e-10 * slow.abs().max()


@pytest.mark.parametrize("epsilon", [-0.1, np.nan, np.inf])
def test_epsilon_must_make_sense(shop, epsilon):
    model = trained(amrlib.VBPR, shop)
    with pytest.raises(ValueError, match="epsilon must be"):
        perturb(model, shop, epsilon)
    with pytest.raises(ValueError, match="epsilon must be"):
        worst_case_ranks(model, shop, epsilon)


def test_unknown_words_are_named(shop):
    model = trained(amrlib.VBPR, shop)
    with pytest.raises(ValueError, match="kind must be"):
        perturb(model, shop, 0.1, "sign")
    with pytest.raises(ValueError, match="triples must be"):
        perturb(model, shop, 0.1, triples="validation")
