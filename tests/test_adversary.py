"""Attacks on features: the gradient is autograd's, the length is ε, and the worst case is one and is the worst."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrlib.training import NegativeSampler

KINDS = [amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]


def shop(seed=0, M=9, N=12, D=5):
    """The last two items are cold, and each is somebody's held-out item; user 0 has none, user 1 no training."""
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(2, M, size=30), rng.integers(N - 2, size=30)], 1)
    test = rng.integers(N, size=M)
    test[[0, 2, 3]] = -1, N - 1, N - 2
    return amrlib.Dataset(train, test, rng.normal(size=(N, D)), n_users=M, n_items=N)


def make(kind, data):
    model = kind(dim=3, dtype=torch.float64, init_std=0.7).bind(data)
    if kind is amrlib.VBPRTwoVector:
        model.E[:, -1] = 0.3  # a visual bias that counts
    return model


def attacked_loss(model, data, c, triples):
    """What ``perturb`` says it attacks, with loops and in D dimensions."""
    U, V = model.user_vectors(), model.item_vectors(c)
    if triples == "train":
        users, pos = torch.as_tensor(data.train).unbind(1)
        neg = NegativeSampler(data)(users, torch.Generator().manual_seed(0))
        return F.softplus(-(U[users] * (V[pos] - V[neg])).sum(1)).sum()
    total = 0.0
    for u in data.test_users:
        i = int(data.test[u])
        rivals = [j for j in range(data.n_items) if j != i and j not in data.items_of(u)]
        total = total + F.softplus(-(U[u] @ V[i] - V[rivals] @ U[u])).mean()
    return total


@pytest.mark.parametrize("triples", ["test", "train"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_attack_follows_the_gradient(kind, triples):
    data = shop()
    model = make(kind, data)
    c = model.features.clone().requires_grad_()
    loss = attacked_loss(model, data, c, triples)
    (gamma,) = torch.autograd.grad(loss, c)
    moved = amrlib.perturb(model, data, 0.3, triples=triples)
    delta = moved - model.features
    norm = gamma.norm(dim=1, keepdim=True)
    expected = torch.where(norm > 1e-12, 0.3 * gamma / norm.clamp_min(1e-12), 0.0)
    assert torch.allclose(delta, expected, atol=1e-10)
    assert attacked_loss(model, data, moved, triples) > loss
    if triples == "train":  # nobody's training mentions a cold item
        assert not delta[-2:].any() and (delta[:-2].norm(dim=1) > 0.29).any()
    else:
        assert torch.allclose(delta.norm(dim=1), torch.full((12,), 0.3, dtype=torch.float64))


def test_noise_has_the_same_length_and_no_aim():
    data = shop()
    model = make(amrlib.VBPR, data)
    first, again, other = (amrlib.perturb(model, data, 0.3, "random", seed=s) for s in (1, 1, 2))
    assert torch.allclose((first - model.features).norm(dim=1), torch.full((12,), 0.3, dtype=torch.float64))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(amrlib.perturb(model, data, 0.0), model.features)


def test_where_there_is_no_gradient_nothing_moves():
    data = shop()
    model = make(amrlib.VBPR, data)
    model.P.zero_()
    assert torch.equal(amrlib.perturb(model, data, 0.3), model.features)


def rank(model, data, u, c):
    scores = (model.item_vectors(c) @ model.user_vectors()[u]).numpy()
    i = data.test[u]
    return sum(scores[j] >= scores[i] for j in range(data.n_items) if j != i and j not in data.items_of(u))


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_case_is_reached_and_never_passed(kind):
    data = shop()
    model = make(kind, data)
    for epsilon in (0.0, 0.05, 0.3):
        worst = amrlib.worst_case_ranks(model, data, epsilon, progress=False)
        for u, bound in zip(data.test_users, worst, strict=True):
            w = model.E @ model.visual_users()[u]  # (D,) what the features are multiplied by
            best = epsilon * w / w.norm() * (1 + 1e-9)
            aimed = model.features + best
            aimed[data.test[u]] = model.features[data.test[u]] - best
            assert rank(model, data, u, aimed) == bound  # this user's own attack gets there
            for kind_, seed in (("random", 0), ("random", 1), ("adversarial", 0)):  # nobody's gets further
                assert rank(model, data, u, amrlib.perturb(model, data, epsilon, kind_, seed=seed)) <= bound
    assert np.array_equal(amrlib.worst_case_ranks(model, data, 0.0, progress=False),
                          amrlib.evaluate(model, data, k=1, progress=False).ranks)  # fmt: skip


def test_who_does_not_look_is_not_moved():
    data = shop()
    for model in (amrlib.Popularity().bind(data), amrlib.MFBPR(dim=3).bind(data)):
        clean = amrlib.evaluate(model, data, k=1, progress=False).ranks
        assert np.array_equal(amrlib.worst_case_ranks(model, data, 5.0, progress=False), clean)


def test_many_users_at_once_or_few_make_no_difference(monkeypatch):
    data = shop()
    model = make(amrlib.VBPR, data)
    whole = amrlib.perturb(model, data, 0.3)
    monkeypatch.setattr("amrlib.adversary.attacks.BLOCK_BYTES", 1)  # one user at a time
    assert torch.allclose(amrlib.perturb(model, data, 0.3), whole, atol=1e-12)
