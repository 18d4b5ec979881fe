"""What changed features can do: the certified worst case against attacks, and gradients against autograd."""

from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrlib import Dataset, adversary, evaluate, perturb, worst_case_ranks
from amrlib.adversary import attacks
from amrlib.training import NegativeSampler

pytestmark = pytest.mark.usefixtures("counted_by")
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
    model = kind(dim=5, seed=seed, init_std=0.7, dtype=torch.float64).bind(shop)
    if model.Q is not None:
        model.Q[model.cold] = 0
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
    model = kind().bind(shop)
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
    monkeypatch.setattr(attacks, "BLOCK_BYTES", bytes_)
    monkeypatch.setattr(attacks, "ROW_NUMBERS", bytes_)
    model = trained(kind, shop)
    quick = perturb(model, shop, 0.4, "adversarial", triples, seed=3)
    slow = by_autograd(model, shop, 0.4, triples, seed=3)
    assert (quick - slow).abs().max() <= 1e-9 * slow.abs().max()  # a gradient that nearly cancels has few digits left


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


NORMS = ["l2", "linf"]


def lengths(delta, norm):
    return delta.norm(dim=1) if norm == "l2" else delta.abs().amax(1)


def the_loss(model, shop, features, triples="test"):
    """The attacked loss, one user after the other."""
    U, V = model.user_vectors(), model.item_vectors(features)
    if triples == "train":
        users, pos = torch.as_tensor(shop.train).unbind(1)
        neg = NegativeSampler(shop)(users, torch.Generator().manual_seed(0))
        return float(F.softplus(-(U[users] * (V[pos] - V[neg])).sum(1)).sum())
    total = 0.0
    for u in shop.test_users:
        i = shop.test[u]
        j = [n for n in range(shop.n_items) if n != i and n not in set(shop.items_of(u))]
        total += float(F.softplus(V[j] @ U[u] - U[u] @ V[i]).mean())
    return total


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_no_attack_of_any_kind_goes_below_its_bound(shop, kind, epsilon, norm):
    model, other = trained(kind, shop, seed=1), trained(amrlib.VBPR, shop, seed=2)
    bound = worst_case_ranks(model, shop, epsilon, progress=False, norm=norm)
    how = [dict(kind="random", seed=s) for s in range(3)]
    how += [dict(triples=t, steps=n) for t in ("test", "train") for n in (1, 2, 10)]
    attacks = [perturb(m, shop, epsilon, norm=norm, **h) for h in how for m in (model, other)]  # the other's: transferred
    attacks += [adversary.promote(model, shop, [1, 28], epsilon, steps=n, norm=norm) for n in (1, 5)]
    for changed in attacks:
        assert lengths(changed - model.features, norm).max() <= epsilon * (1 + 1e-10)
        assert (ranks_under(model, shop, changed) <= bound).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.3])
def test_the_worst_case_perturbation_reaches_the_bound(shop, kind, epsilon, norm):
    model = trained(kind, shop)
    bound = worst_case_ranks(model, shop, epsilon, progress=False, norm=norm)
    for place, u in enumerate(shop.test_users):
        changed = adversary.worst_case_perturbation(model, shop, u, epsilon, norm)
        assert lengths(changed - model.features, norm).max() <= epsilon * (1 + 1e-10)
        assert ranks_under(model, shop, changed)[place] == bound[place]
    if epsilon:
        assert (bound > ranks_under(model, shop, None)).any()


@pytest.mark.parametrize("kind", LOOKING)
def test_sensitivity_is_the_dual_norm(shop, kind):
    model = trained(kind, shop)
    assert torch.allclose(model.sensitivity(), direction(model).norm(dim=1))
    assert torch.allclose(model.sensitivity("linf"), direction(model).abs().sum(1))
    assert not amrlib.MFBPR().bind(shop).sensitivity("linf").any()
    with pytest.raises(ValueError, match="norm must be"):
        model.sensitivity("l1")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("triples", ["test", "train"])
@pytest.mark.parametrize("kind", LOOKING)
def test_more_steps_attack_the_loss_no_less(shop, kind, triples, norm):
    model = trained(kind, shop, seed=3)
    losses = [the_loss(model, shop, model.features, triples)]
    for steps in (1, 2, 20):
        moved = perturb(model, shop, 0.5, triples=triples, steps=steps, norm=norm)
        losses.append(the_loss(model, shop, moved, triples))
        if triples == "train":
            assert not (moved - model.features)[torch.as_tensor(shop.cold)].any()
    assert losses[1] > losses[0] and losses[2] >= losses[1] - 1e-9 and losses[3] >= losses[1] - 1e-9


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("triples", ["test", "train"])
@pytest.mark.parametrize("kind", LOOKING)
def test_no_step_lowers_the_loss_so_that_none_need_be_computed(monkeypatch, shop, kind, triples, norm):
    model, passed, step = trained(kind, shop, seed=3), [], attacks._next_step

    def watched(delta, *how):
        passed.append(delta.clone())
        step(delta, *how)

    monkeypatch.setattr(attacks, "_next_step", watched)
    for epsilon, steps in ((0.5, 10), (5.0, 3), (20.0, 10)):  # 2.5 ε/steps: short steps, and long ones where it bends
        passed.clear()
        with monkeypatch.context() as none:
            none.setattr(attacks.F, "softplus", None)
            moved = perturb(model, shop, epsilon, triples=triples, steps=steps, norm=norm)
        losses = [the_loss(model, shop, c, triples) for c in (model.features, *(model.features + d for d in passed), moved)]
        assert len(passed) == steps - 1 and losses[-1] > losses[0]
        assert (np.diff(losses) >= -1e-9 * losses[-1]).all()


def test_more_steps_find_more_where_the_loss_bends(shop):
    model = trained(amrlib.VBPR, shop, seed=3)
    one, many = (the_loss(model, shop, perturb(model, shop, 1.0, steps=n)) for n in (1, 20))
    assert many > one * 1.001


def test_an_infinity_step_goes_along_the_signs(shop):
    model = trained(amrlib.VBPR, shop)
    flat = perturb(model, shop, 0.3, norm="linf") - model.features
    steep = perturb(model, shop, 0.3) - model.features
    assert torch.allclose(flat, 0.3 * steep.sign())
    noise = perturb(model, shop, 0.3, "random", norm="linf") - model.features
    assert torch.allclose(noise.abs(), torch.full_like(noise, 0.3))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("k", [3, 6, 10])
@pytest.mark.parametrize("kind", LOOKING)
def test_a_hit_breaks_at_its_epsilon_and_not_before(shop, kind, k, norm):
    model = trained(kind, shop, seed=4)
    breaking = adversary.breaking_epsilon(model, shop, k, norm)
    hit = ranks_under(model, shop, None) < k
    assert ((breaking > 0) == hit).all() and hit.any()
    for place in np.flatnonzero(hit):
        before, after = (worst_case_ranks(model, shop, breaking[place] * f, None, False, norm)[place] for f in (0.999, 1.001))
        assert before < k <= after


def test_what_cannot_break_breaks_at_infinity(shop):
    mf = trained(amrlib.MFBPR, shop)
    hit = ranks_under(mf, shop, None) < 5
    assert hit.any() and np.array_equal(adversary.breaking_epsilon(mf, shop, 5), np.where(hit, np.inf, 0.0))
    popularity = amrlib.Popularity().bind(shop)
    hit = ranks_under(popularity, shop, None) < 5
    assert np.array_equal(adversary.breaking_epsilon(popularity, shop, 5), np.where(hit, np.inf, 0.0))
    everything = adversary.breaking_epsilon(trained(amrlib.VBPR, shop), shop, shop.n_items)  # fewer rivals than k
    assert np.isinf(everything).all()
    with pytest.raises(ValueError, match="k must be"):
        adversary.breaking_epsilon(mf, shop, 0)


def shown_smoothly(model, shop, ids, features, k):
    """Σ_u σ(ŷ_ut − bar_u) of each promoted item, with loops."""
    clean = (model.user_vectors() @ model.item_vectors().T).numpy()
    moved = (model.user_vectors() @ model.item_vectors(features).T).numpy()
    counts = np.zeros(len(ids))
    for u in range(shop.n_users):
        own = set(shop.items_of(u))
        bar = sorted((clean[u, j] for j in range(shop.n_items) if j not in own and j not in ids), reverse=True)[k - 1]
        for place, t in enumerate(ids):
            if t not in own:
                counts[place] += 1 / (1 + np.exp(bar - moved[u, t]))
    return counts


@pytest.mark.parametrize("bytes_", [1, 2**27])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", LOOKING)
def test_promotion_moves_the_promoted_alone_and_uphill(monkeypatch, shop, kind, norm, bytes_):
    monkeypatch.setattr(attacks, "BLOCK_BYTES", bytes_)
    monkeypatch.setattr(attacks, "ROW_NUMBERS", bytes_)
    model, ids, k = trained(kind, shop, seed=5), [0, 7, 29], 4
    counts = [shown_smoothly(model, shop, ids, None, k)]
    for steps in (1, 30):
        moved = adversary.promote(model, shop, ids, 0.2, k, steps, norm)
        delta = moved - model.features
        assert not np.delete(delta.numpy(), ids, axis=0).any()
        assert lengths(delta[ids], norm).max() <= 0.2 * (1 + 1e-10)
        counts.append(shown_smoothly(model, shop, ids, moved, k))
    assert (counts[1] > counts[0]).all() and (counts[2] >= counts[1] - 1e-9).all()
    c = model.features.clone().requires_grad_()  # the direction is autograd's
    U, V = model.user_vectors(), model.item_vectors(c)
    clean = (U @ model.item_vectors().T).numpy()
    count = 0.0
    for u in range(shop.n_users):
        own = set(shop.items_of(u))
        bar = sorted((clean[u, j] for j in range(shop.n_items) if j not in own and j not in ids), reverse=True)[k - 1]
        for t in ids:
            count = count + (0 if t in own else torch.sigmoid(U[u] @ V[t] - bar))
    (gamma,) = torch.autograd.grad(count, c)
    step = adversary.promote(model, shop, ids, 0.2, k, 1, norm) - model.features
    expected = gamma.sign() if norm == "linf" else F.normalize(gamma, dim=1)
    assert torch.allclose(step[ids], 0.2 * expected[ids], atol=1e-9)


def test_more_steps_promote_further_where_the_count_bends(shop):
    model, ids = trained(amrlib.VBPR, shop, seed=6), [25, 29]
    one, many = (shown_smoothly(model, shop, ids, adversary.promote(model, shop, ids, 1.0, 4, n), 4).sum() for n in (1, 30))
    assert many > one * 1.0001


def test_shares_and_ranks_of_the_promoted(shop):
    model = trained(amrlib.VBPR, shop)
    ids, k = [2, 3, 25], 4
    scores = (model.user_vectors() @ model.item_vectors().T).numpy()
    hits, ranks = 0, []
    for u in range(shop.n_users):
        mine = set(shop.items_of(u))
        others = [j for j in range(shop.n_items) if j not in mine]
        top = sorted(others, key=lambda j: -scores[u, j])[:k]
        hits += len(set(top) & set(ids))
        if 3 not in mine:
            ranks.append(sum(scores[u, j] >= scores[u, 3] for j in others if j != 3))
    assert adversary.category_hit_ratio(model, shop, ids, k) == pytest.approx(hits / (k * shop.n_users))
    assert adversary.item_ranks(model, shop, 3).tolist() == ranks and len(ranks) < shop.n_users
    moved = adversary.promote(model, shop, 3, 1.0, k, steps=10)
    shown = adversary.item_ranks(model, shop, 3, moved) < k
    assert shown.sum() > (np.array(ranks) < k).sum()


@pytest.mark.parametrize("ask", [
    lambda m, s: perturb(m, s, 0.1, norm="l1"), lambda m, s: perturb(m, s, 0.1, steps=0),
    lambda m, s: worst_case_ranks(m, s, 0.1, norm="l3"), lambda m, s: adversary.breaking_epsilon(m, s, norm="l1"),
    lambda m, s: adversary.worst_case_perturbation(m, s, int(np.flatnonzero(s.test < 0)[0]), 0.1),
    lambda m, s: adversary.worst_case_perturbation(m, s, -1, 0.1), lambda m, s: adversary.promote(m, s, [], 0.1),
    lambda m, s: adversary.promote(m, s, [30], 0.1), lambda m, s: adversary.promote(m, s, [1], 0.1, k=30),
    lambda m, s: adversary.category_hit_ratio(m, s, [-1]), lambda m, s: adversary.item_ranks(m, s, 30),
])  # fmt: skip
def test_questions_without_an_answer_are_refused(shop, ask):
    with pytest.raises(ValueError, match=r"must be|outside|no held-out item"):
        ask(trained(amrlib.VBPR, shop), shop)


def test_promotion_needs_a_model_that_looks(shop):
    with pytest.raises(ValueError, match="nothing to perturb"):
        adversary.promote(amrlib.MFBPR().bind(shop), shop, [1], 0.1)


# ---- faults that were, each by its name


class Fixed:
    """Given vectors, and no features or those of E."""

    def __init__(self, U, V, E=None):
        self.U, self.V, self.E, self.features = U, V, E, None

    def user_vectors(self):
        return self.U

    def item_vectors(self, features=None):
        return self.V

    def visual_users(self):
        return self.U

    def sensitivity(self, norm="l2"):
        return (self.U @ self.E.T).norm(dim=1)


def exactly(model, data, epsilon, norm="l2"):
    """The worst rank in rational numbers, and the norm of E p_u to fifty digits: nothing is rounded in float64."""
    getcontext().prec = 60
    U, V, E = ([[Fraction(float(x)) for x in row] for row in t] for t in (model.U, model.V, model.E))
    ranks = []
    for u in data.test_users:
        moved = [sum(e * p for e, p in zip(row, U[u])) for row in E]
        squares = sum(m * m for m in moved)
        root = Fraction((Decimal(squares.numerator) / Decimal(squares.denominator)).sqrt())
        margin = 2 * Fraction(epsilon) * (root if norm == "l2" else sum(abs(m) for m in moved))
        scores = [sum(a * b for a, b in zip(U[u], v)) for v in V]
        i = int(data.test[u])
        ranks.append(sum(s + margin >= scores[i] for j, s in enumerate(scores) if j != i and j not in data.items_of(u)))
    return np.array(ranks)


def test_the_certificate_holds_where_float32_rounds():
    """The rival is ahead by a tenth of half a last place: float32 rounds the held-out item up and the rival down."""
    tiny = 2.0**-24
    V = torch.tensor([[1, 1.1 * tiny, 0], [1, 0.6 * tiny, 0.6 * tiny], [-1, 0, 0]])
    model = Fixed(torch.ones(1, 3), V, torch.zeros(2, 3))
    data = Dataset(np.empty((0, 2)), [0], n_users=1, n_items=3)
    assert exactly(model, data, 1.0).tolist() == [1]
    assert worst_case_ranks(model, data, 1.0, progress=False).tolist() == [1]
    assert worst_case_ranks(model, data, 1.0, np.array([[1, 2]]), progress=False).tolist() == [1]
    assert adversary.breaking_epsilon(model, data, 1).tolist() == [0]
    assert adversary.breaking_epsilon(model, data, 2).tolist() == [np.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_no_certified_rank_is_below_the_exact_one(norm, dtype):
    """Rivals stand on the very edge: moved there in rational numbers, and rounded to the vectors' type."""
    rng = np.random.default_rng(0)
    U, E = torch.tensor(rng.normal(size=(12, 4))).to(dtype), torch.tensor(rng.normal(size=(6, 4))).to(dtype)
    V = torch.tensor(rng.normal(size=(40, 4))).to(dtype)
    epsilon = 0.1
    for u in range(12):  # a rival whose score is the held-out item's less the margin, as near as the type comes
        margin = 2 * epsilon * torch.linalg.vector_norm(U[u].double() @ E.double().T, ord=1 if norm == "linf" else 2)
        short = (V[u] - V[u + 12]).double() @ U[u].double() - margin
        V[u + 12] += (short * U[u].double() / U[u].double().square().sum()).to(dtype)
    data = Dataset(np.empty((0, 2)), np.arange(12), n_users=12, n_items=40)
    model = Fixed(U, V, E)
    certified, truth = worst_case_ranks(model, data, epsilon, None, False, norm), exactly(model, data, epsilon, norm)
    assert (certified >= truth).all() and (certified - truth).max() <= 1
    if dtype == torch.float32:  # rivals are a float32 rounding from the edge, which float64 tells apart
        assert (certified == truth).all()


def test_one_model_is_projected_once_however_many_steps(shop, monkeypatch):
    model = trained(amrlib.VBPR, shop)
    projected, finite, sampled = [], [], []
    project, isfinite, sampler = type(model)._project, torch.isfinite, attacks.NegativeSampler
    monkeypatch.setattr(type(model), "_project", lambda m, c: projected.append(len(c)) or project(m, c))
    monkeypatch.setattr(torch, "isfinite", lambda t: finite.append(1) or isfinite(t))
    monkeypatch.setattr(attacks, "NegativeSampler", lambda *a, **s: sampled.append(1) or sampler(*a, **s))
    for attack in (lambda n: perturb(model, shop, 0.1, steps=n), lambda n: perturb(model, shop, 0.1, triples="train", steps=n),
                   lambda n: adversary.promote(model, shop, [1, 2], 0.1, steps=n)):
        for steps in (1, 7):
            projected.clear(), finite.clear(), sampled.clear()
            attack(steps)
            assert len(projected) <= 1 and len(finite) == 1 and len(sampled) <= 1


def test_parameters_that_are_not_finite_are_refused(shop):
    for attack in (perturb, lambda m, s, e: perturb(m, s, e, triples="train"), lambda m, s, e: adversary.promote(m, s, 1, e)):
        model = trained(amrlib.VBPR, shop)
        model.P[shop.test_users[0]] = torch.nan
        with pytest.raises(ValueError, match="not finite"):
            attack(model, shop, 0.1)


@pytest.mark.parametrize("shape", [(9, 1), (3, 5), (40, 12), (33, 1), (17, 7), (64, 16), (100, 3)])
def test_noise_in_blocks_is_the_noise_of_one_draw(monkeypatch, shape):
    generator = torch.Generator().manual_seed(4)
    whole = torch.randn(shape, generator=generator, dtype=torch.float64)
    after = torch.randn(3, generator=generator)
    for numbers in (1, 200, 2**22):
        monkeypatch.setattr(attacks, "ROW_NUMBERS", numbers)
        generator.manual_seed(4)
        blocks = list(attacks._row_blocks(*shape))
        parts = [torch.randn(len(range(shape[0])[b]), shape[1], generator=generator, dtype=torch.float64) for b in blocks]
        assert torch.equal(torch.cat(parts), whole) and torch.equal(torch.randn(3, generator=generator), after)
        assert numbers > 1 or shape[0] < 32 or len(blocks) > 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", LOOKING)
def test_blocks_change_no_attack(monkeypatch, shop, kind, norm):
    model = trained(kind, shop)
    attacks_ = [lambda: perturb(model, shop, 0.3, "random", norm=norm)]
    attacks_ += [lambda: adversary.promote(model, shop, [2, 9], 0.3, 4, 5, norm)]
    attacks_ += [lambda t=t, n=n: perturb(model, shop, 0.3, triples=t, steps=n, norm=norm) for t in ("test", "train")
                 for n in (1, 4)]
    whole = [attack() for attack in attacks_]
    for module, name in ((attacks, "BLOCK_BYTES"), (attacks, "ROW_NUMBERS")):
        monkeypatch.setattr(module, name, 1)
    for attack, wanted in zip(attacks_, whole):
        assert torch.allclose(attack(), wanted, atol=1e-12)


def test_features_in_half_precision_are_attacked_in_the_type_of_E(shop):
    model = trained(amrlib.VBPR, shop)
    model.features = model.features.to(torch.bfloat16)
    exact = trained(amrlib.VBPR, shop)
    exact.features = model.features.double()
    for attack in (lambda m: perturb(m, shop, 0.2, steps=3), lambda m: perturb(m, shop, 0.2, "random"),
                   lambda m: adversary.promote(m, shop, [1], 0.2), lambda m: adversary.worst_case_perturbation(
                       m, shop, int(shop.test_users[0]), 0.2)):
        assert attack(model).dtype == torch.float64 and torch.allclose(attack(model), attack(exact))


def test_numpy_integers_are_taken_and_truth_values_refused(shop):
    model, three, user = trained(amrlib.VBPR, shop), np.int64(3), shop.test_users[0]
    assert torch.equal(perturb(model, shop, 0.1, "random", seed=three), perturb(model, shop, 0.1, "random", seed=3))
    assert torch.equal(perturb(model, shop, np.float32(0.5), steps=three), perturb(model, shop, 0.5, steps=3))
    trained_on = [perturb(model, shop, 0.1, triples="train", seed=seed) for seed in (three, 3)]
    assert torch.equal(*trained_on)
    assert torch.equal(adversary.worst_case_perturbation(model, shop, user, 0.1),
                       adversary.worst_case_perturbation(model, shop, int(user), 0.1))  # fmt: skip
    assert (adversary.breaking_epsilon(model, shop, three) == adversary.breaking_epsilon(model, shop, 3)).all()
    assert torch.equal(adversary.promote(model, shop, three, 0.1, three), adversary.promote(model, shop, [3], 0.1, 3))
    assert (adversary.item_ranks(model, shop, three) == adversary.item_ranks(model, shop, 3)).all()
    refused = [
        lambda: perturb(model, shop, 0.1, "random", seed=True), lambda: perturb(model, shop, 0.1, steps=True),
        lambda: adversary.promote(model, shop, [True], 0.1), lambda: adversary.promote(model, shop, 1, 0.1, k=True),
        lambda: adversary.breaking_epsilon(model, shop, True), lambda: adversary.item_ranks(model, shop, True),
        lambda: adversary.worst_case_perturbation(model, shop, True, 0.1), lambda: perturb(model, shop, "0.1"),
    ]  # fmt: skip
    for call in refused:
        with pytest.raises(ValueError, match=r"must be (a whole number|item ids|a finite number)"):
            call()


def test_no_test_user_and_no_training_row_are_no_fault(shop):
    model = trained(amrlib.VBPR, shop)
    nobody = shop.replace(test=np.full(shop.n_users, -1))
    assert len(worst_case_ranks(model, nobody, 0.1, progress=False)) == len(adversary.breaking_epsilon(model, nobody)) == 0
    assert torch.equal(perturb(model, nobody, 0.1), model.features)
    empty = Dataset(np.empty((0, 2)), shop.test, shop.features, n_users=shop.n_users, n_items=shop.n_items)
    assert torch.equal(perturb(model, empty, 0.1, triples="train", steps=3), model.features)
    assert len(adversary.item_ranks(model, empty, 3)) == shop.n_users


def test_ranking_one_item_makes_no_other_data_set(shop, monkeypatch):
    model = trained(amrlib.VBPR, shop)
    monkeypatch.setattr(Dataset, "__init__", None)
    assert len(adversary.item_ranks(model, shop, 3)) == shop.n_users - shop.is_train(np.arange(shop.n_users), 3).sum()
