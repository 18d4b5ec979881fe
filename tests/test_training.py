"""The step against autograd and torch's own optimisers; the loop: seeds, checkpoints, interruption."""

from itertools import product

import numpy as np
import pytest
import torch

import amrlib
from amrlib.evaluation import ranks as ranking
from amrlib.training import AutogradTrainer, PairwiseTrainer, closed_form, gather
from amrlib.training.compiled.host_gather import MappedGather
from amrlib.training.compiled.step import CompiledTrainer
from amrlib.training.gradients import Gradients, RowGradient, distinct
from amrlib.training.optimizer import Optimizer

TRAINERS = [PairwiseTrainer, CompiledTrainer, AutogradTrainer]
CLOSED = TRAINERS[:2]
SETTINGS = dict(dim=4, dtype=torch.float64, init_std=0.5)


def shop(M=6, N=9, D=5, rows=30, seed=0, features=True):
    """A small data set with repeated rows, and with cold items (the last two)."""
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(M, size=rows), rng.integers(N - 2, size=rows)], 1)
    test = rng.integers(N, size=M)
    return amrlib.Dataset(train, test, features=rng.normal(size=(N, D)) if features else None, n_users=M, n_items=N)


def triples(data, B, seed, steps=20):
    """Batches in which users and items recur, and items are positive in one row and negative in another."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        pos = rng.integers(data.n_items, size=B)
        neg = (pos + rng.integers(1, data.n_items, size=B)) % data.n_items
        yield tuple(torch.as_tensor(x) for x in (rng.integers(data.n_users, size=B), pos, neg))


def error(a, b):
    return float((a - b).norm() / b.norm().clamp_min(1e-300))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def weights(model):
    return [getattr(model, n).clone() for n in "PQE" if getattr(model, n) is not None]


# ---------------------------------------------------------------- the step


def make(kind, data, **adversary):
    if kind is amrlib.AMR:
        return kind(**adversary, **SETTINGS).bind(data)
    model = kind(**SETTINGS).bind(data)
    for name, value in adversary.items():  # the two-vector form and DUIF can be attacked as well
        setattr(model, name, value)
    return model


def cases():
    """All of these together, less those that are another's code: no features or no λ, no adversary; and where the compiled
    trainer has no loop it takes the closed form's step, which test_compiled holds to that."""
    for trainer, kind, (B, reg_item), (epsilon, adv_weight), perturbation, optimizer in product(
        CLOSED, [amrlib.AMR, amrlib.VBPRTwoVector, amrlib.DUIF, amrlib.MFBPR],
        [(16, 0.02), (4, 0.0)],  # item by item; differences of features
        [(0.3, 1.0), (2.0, 0.3), (0.0, 1.0), (0.3, 0.0)], ["gradient", "random"], ["adagrad", "adam"],
    ):  # fmt: skip
        if (kind is amrlib.MFBPR and epsilon != 2.0) or (adv_weight == 0 and perturbation == "random"):
            continue
        if kind is amrlib.MFBPR and perturbation == "random":
            continue
        if trainer is CompiledTrainer and (perturbation, optimizer) != ("gradient", "adagrad"):
            continue
        yield trainer, kind, B, reg_item, epsilon, adv_weight, perturbation, optimizer


@pytest.mark.parametrize("trainer, kind, B, reg_item, epsilon, adv_weight, perturbation, optimizer", cases())
def test_closed_form_is_autograd(trainer, kind, B, reg_item, epsilon, adv_weight, perturbation, optimizer):
    data = shop()
    regs = (0.1, reg_item, 0.03)
    pair = [make(kind, data, epsilon=epsilon, adv_weight=adv_weight, perturbation=perturbation) for _ in range(2)]
    for model in pair:
        model.P[0] = 0  # a user whose gradient with respect to the features is nothing
    fast, slow = (T(m, lr=(0.1, 0.05, 0.02), reg=regs, optimizer=optimizer)
                  for T, m in zip((trainer, AutogradTrainer), pair))  # fmt: skip
    for batch in triples(data, B, seed=1):
        for mine, theirs in zip(fast.step(*batch), slow.step(*batch), strict=True):
            assert abs(mine - theirs) <= 1e-10 * abs(theirs)
        for a, b in zip(weights(pair[0]), weights(pair[1]), strict=True):
            assert error(a, b) < 1e-10


@pytest.mark.parametrize("perturbation, optimizer", [("gradient", "adagrad"), ("random", "adam")])
@pytest.mark.parametrize("B", [16, 4])  # item by item; differences of features
@pytest.mark.parametrize("kind", [amrlib.AMR, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.DUIF, amrlib.MFBPR])
@pytest.mark.parametrize("trainer", CLOSED)
def test_penalties_apart_are_autograd_s(trainer, kind, B, perturbation, optimizer):
    data = shop()
    settings = {} if kind is amrlib.VBPR else dict(epsilon=0.3, adv_weight=0.7, perturbation=perturbation)
    pair = [make(kind, data, **settings) for _ in range(2)]
    fast, slow = (T(m, lr=(0.1, 0.05, 0.02), reg=(0.1, 0.4, 0.03), optimizer=optimizer, reg_form="apart")
                  for T, m in zip((trainer, AutogradTrainer), pair))  # fmt: skip
    for batch in triples(data, B, seed=1):
        for mine, theirs in zip(fast.step(*batch), slow.step(*batch), strict=True):
            assert abs(mine - theirs) <= 1e-10 * abs(theirs)
        assert all(error(a, b) < 1e-10 for a, b in zip(weights(pair[0]), weights(pair[1]), strict=True))


def written_out(model, users, pos, neg, reg, reg_form):
    """The objective of a batch without an adversary, triple by triple and from nothing but P, Q, E and c; eqs. (7) and (9)."""
    theta = {name: getattr(model, name).clone().requires_grad_() for name in "PQE" if getattr(model, name) is not None}
    P, Q, E, c = (*(theta.get(name) for name in "PQE"), model.features)
    total = 0.0
    for u, i, j in zip(users, pos, neg, strict=True):
        ones = len(model.constant_columns)
        whole, own = {}, {}
        for n in (i, j):
            parts = ([] if Q is None else [Q[n]]) + ([] if E is None else [c[n] @ E])
            whole[n] = sum(parts) if model.joint else torch.cat(parts)
            own[n] = torch.zeros(1) if Q is None else Q[n]
        vectors = whole if reg_form == "combined" else own
        total = total - torch.log(torch.sigmoid(P[u] @ whole[i] - P[u] @ whole[j]))
        total = total + reg[0] * ((P[u] ** 2).sum() - ones) + reg[1] * ((vectors[i] ** 2).sum() + (vectors[j] ** 2).sum())
    total = total + (0 if E is None else reg[2] * (E**2).sum())  # once a batch
    return float(total.detach()), dict(zip(theta, torch.autograd.grad(total, list(theta.values())), strict=True))


@pytest.mark.parametrize("reg_form", ["combined", "apart"])
@pytest.mark.parametrize("B", [16, 4])
@pytest.mark.parametrize("kind", [amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.DUIF, amrlib.MFBPR])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_each_form_of_the_penalty_is_its_objective_written_out(trainer, kind, B, reg_form):
    data, reg = shop(), (0.1, 0.4, 0.03)
    model = make(kind, data)
    for batch in triples(data, B, seed=1, steps=3):
        objective, gradients = written_out(model, *batch, reg, reg_form)
        before = dict(zip(gradients, weights(model), strict=True))
        losses = trainer(model, lr=0.1, reg=reg, reg_form=reg_form).step(*batch)  # Adagrad, afresh
        assert float(losses.objective) == pytest.approx(objective, rel=1e-10)
        for name, g in gradients.items():
            if name == "P":
                g[:, list(model.constant_columns)] = 0
            assert error(getattr(model, name), before[name] - 0.1 * g / torch.sqrt(0.1 + g * g)) < 1e-10
    other, _ = written_out(model, *batch, reg, "apart" if reg_form == "combined" else "combined")
    moved = abs(other - written_out(model, *batch, reg, reg_form)[0])
    assert (moved == 0) if kind is amrlib.MFBPR else moved > 0.01  # without E the two are one


def test_duif_has_no_q_to_penalise_apart():
    data = shop()
    models = [make(amrlib.DUIF, data) for _ in range(2)]
    for model, reg_item in zip(models, (0.0, 5.0)):
        model.fit(data, epochs=3, reg=(0.1, reg_item, 0.02), reg_form="apart", progress=False)
    assert same(*models)


def test_without_features_both_forms_are_the_same_to_the_bit():
    data = shop()
    models = [make(amrlib.MFBPR, data) for _ in range(2)]
    for model, reg_form in zip(models, ("combined", "apart")):
        model.fit(data, epochs=3, reg=0.1, reg_form=reg_form, progress=False)
    assert same(*models)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_another_word_for_the_penalty_is_refused(trainer):
    model = make(amrlib.VBPR, shop())
    with pytest.raises(ValueError, match=r"^reg_form must be 'combined' or 'apart', not 'separate'$"):
        trainer(model, reg_form="separate")
    with pytest.raises(ValueError, match=r"^reg_form must be 'combined' or 'apart', not 'separate'$"):
        model.fit(shop(), trainer=trainer, reg_form="separate", progress=False)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("B, reg_item, reg_form", [(16, 0.02, "combined"), (4, 0.0, "combined"), (1, 0.02, "combined"),
                                                   (16, 0.02, "apart"), (1, 0.02, "apart")])  # fmt: skip
@pytest.mark.parametrize("kind", [amrlib.AMR, amrlib.VBPRTwoVector, amrlib.MFBPR])
def test_a_step_that_never_waits_is_the_same_step(kind, B, reg_item, reg_form, optimizer, monkeypatch):
    """On a GPU the number of distinct ids stays unknown, and each has as many rows as it occurs."""
    data = shop()
    pair = [make(kind, data, epsilon=0.4, adv_weight=0.7) for _ in range(2)]
    here, there = (PairwiseTrainer(m, lr=0.1, reg=(0.1, reg_item, 0.03), optimizer=optimizer, reg_form=reg_form) for m in pair)
    asked = []
    for batch in triples(data, B, seed=1):
        theirs = here.step(*batch)
        with monkeypatch.context() as on_a_gpu:
            on_a_gpu.setattr(closed_form, "distinct", lambda ids, may_wait: (asked.append(ids), distinct(ids, False))[1])
            mine = there.step(*batch)
        assert all(abs(a - b) <= 1e-12 * abs(b) for a, b in zip(mine, theirs, strict=True))
        assert all(error(a, b) < 1e-12 for a, b in zip(weights(pair[1]), weights(pair[0]), strict=True))
    assert asked or kind is amrlib.MFBPR  # which, of so small tables, may take all rows


def test_distinct_ids_without_waiting():
    for ids in ([3], [5, 5, 5], [4, 1, 4, 9, 1, 1], [7, 2, 0]):
        ids = torch.tensor(ids)
        found = distinct(ids, may_wait=False)
        assert torch.equal(found.ids[found.place], ids) and len(found.ids) == len(ids)
        assert torch.equal(found.ids, found.ids[found.first])  # with one first row for each distinct id, where all sums go
        assert set(found.place.tolist()) == set(found.first.tolist()) and len(found.place.unique()) == len(ids.unique())


def test_the_blocks_of_features_do_not_matter(monkeypatch):
    data = shop()
    pair = [make(amrlib.AMR, data, epsilon=0.4, adv_weight=0.7) for _ in range(2)]
    for model, size in zip(pair, (2**20, 100)):  # at once; two rows of 5 float64 at a time
        monkeypatch.setattr(gather, "CACHE_BYTES", size)
        step = PairwiseTrainer(model, reg=(0.1, 0.0, 0.0)).step
        for batch in triples(data, 4, seed=1):
            step(*batch)
    assert all(error(a, b) < 1e-12 for a, b in zip(weights(pair[0]), weights(pair[1]), strict=True))


@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_features_from_a_memory_map_train_the_same_model(tmp_path, reg, monkeypatch):
    data = shop()
    np.save(tmp_path / "c.npy", np.asarray(data.features, dtype=np.float16))
    asked = []
    fetch = MappedGather.fetch
    monkeypatch.setattr(MappedGather, "fetch", lambda self, c, pos, *ids: (asked.append(len(pos)), fetch(self, c, pos, *ids)))
    models = []
    for mode in (None, "r"):
        stored = np.load(tmp_path / "c.npy", mmap_mode=mode)
        model = amrlib.AMR(dim=4, epsilon=0.3).bind(data.replace(features=stored))
        model.fit(data.replace(features=stored), epochs=3, batch_size=4, reg=reg, device="cpu", progress=False)
        models.append(model)
    assert same(*models) and models[1].features.dtype == torch.float16
    assert asked == ([4] * 7 + [2, 0]) * 3  # every batch, and all but an epoch's first ahead


@pytest.mark.parametrize("regs", [0.0, (0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1)])
@pytest.mark.parametrize("D", [3, 4, 17, 40])
@pytest.mark.parametrize("trainer", CLOSED)
def test_closed_form_in_any_number_of_dimensions(trainer, D, regs):
    """D below K makes EᵀE singular; one triple, many triples, and a batch of one item against one."""
    data = shop(D=D)
    for B in (1, 2, 64):
        pair = [make(amrlib.AMR, data, epsilon=0.5, adv_weight=0.7) for _ in range(2)]
        for T, model in zip((trainer, AutogradTrainer), pair):
            step = T(model, reg=regs).step
            for batch in triples(data, B, seed=D):
                step(*batch)
        assert all(error(a, b) < 1e-10 for a, b in zip(weights(pair[0]), weights(pair[1]), strict=True))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_no_gradient_no_perturbation(trainer):
    data = shop()
    model = make(amrlib.AMR, data, epsilon=3.0, adv_weight=1.0)
    model.P.zero_()
    losses = trainer(model).step(*next(triples(data, 8, seed=0)))
    assert float(losses.adversarial) == float(losses.bpr) == pytest.approx(8 * np.log(2))
    assert all(torch.isfinite(w).all() for w in weights(model))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_epsilon_of_each_item(trainer):
    """A constant array is the number; and an item with ε = 0 is not moved."""
    data = shop()
    batch = next(triples(data, 12, seed=3))
    for perturbation in ("gradient", "random"):
        one, each = (make(amrlib.AMR, data, epsilon=e, adv_weight=1.0, perturbation=perturbation)
                     for e in (0.4, np.full(data.n_items, 0.4)))  # fmt: skip
        assert trainer(one).step(*batch) == trainer(each).step(*batch)
        assert same(one, each)
    epsilon = np.zeros(data.n_items)
    epsilon[0] = 2.0
    users, pos, neg = torch.tensor([1]), torch.tensor([0]), torch.tensor([1])
    model = make(amrlib.AMR, data, epsilon=epsilon, adv_weight=1.0)
    margin = 2.0 * model.sensitivity()[1]  # only the positive moves: ε‖E p_u‖, not 2ε‖E p_u‖
    x = (model.P[1] * (model.item_vectors()[0] - model.item_vectors()[1])).sum()
    assert float(trainer(model).step(users, pos, neg).adversarial) == pytest.approx(
        float(torch.nn.functional.softplus(margin - x)), rel=1e-12
    )


def test_one_triple_loses_the_exact_margin():
    """ŷ'_uij = ŷ_uij − 2ε‖E p_u‖: the linearised adversary is exact when no item recurs."""
    data = shop()
    model = make(amrlib.AMR, data, epsilon=0.7, adv_weight=1.0)
    u, i, j = torch.tensor([2]), torch.tensor([3]), torch.tensor([5])
    x = (model.P[2] * (model.item_vectors()[3] - model.item_vectors()[5])).sum()
    expected = torch.nn.functional.softplus(2 * 0.7 * model.sensitivity()[2] - x)
    assert float(PairwiseTrainer(model).step(u, i, j).adversarial) == pytest.approx(float(expected), rel=1e-12)


def test_random_directions_are_of_length_epsilon_and_come_from_the_generator():
    data = shop()
    model = make(amrlib.AMR, data, epsilon=0.7, adv_weight=1.0, perturbation="random")
    trainers = [PairwiseTrainer(model, generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    draw = lambda t: closed_form.random_directions(t.model, torch.arange(4), t.generator)  # noqa: E731
    first, again, other = map(draw, trainers)
    assert torch.allclose(first.norm(dim=1), torch.full((4,), 0.7, dtype=torch.float64))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, draw(trainers[0]))


@pytest.mark.parametrize("kind", ["adagrad", "adam"])
def test_optimizer_is_torchs_own(kind):
    """Every row touched: Adagrad from 0.1 without an ε, and Adam, step by step."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    mine, theirs = start.clone(), start.clone().requires_grad_()
    ours = Optimizer({"P": mine}, {"P": 0.1}, kind, 0.1)
    if kind == "adagrad":
        peer = torch.optim.Adagrad([theirs], lr=0.1, initial_accumulator_value=0.1, eps=0.0)
    else:
        peer = torch.optim.Adam([theirs], lr=0.1)
    for t in range(10):
        gradient = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        theirs.grad = gradient
        peer.step()
        ours.step(Gradients(RowGradient(torch.arange(5) if t % 2 else None, gradient), None, None, None))
        assert error(mine, theirs.detach()) < 1e-14


def test_untouched_rows_stay():
    data = shop()
    for optimizer in ("adagrad", "adam"):
        model = make(amrlib.AMR, data, epsilon=0.3, adv_weight=1.0)
        step = PairwiseTrainer(model, optimizer=optimizer, reg=0.1).step
        step(*next(triples(data, 30, seed=0)))  # every row has moved once, so Adam has momentum
        P, Q, _ = weights(model)
        step(torch.tensor([1, 1]), torch.tensor([2, 2]), torch.tensor([3, 4]))
        assert torch.equal(model.P[[0, 2, 3, 4, 5]], P[[0, 2, 3, 4, 5]])
        assert torch.equal(model.Q[[0, 1, 5, 6, 7, 8]], Q[[0, 1, 5, 6, 7, 8]])
        assert not torch.equal(model.P[1], P[1]) and not torch.equal(model.Q[2], Q[2])


def test_features_in_half_precision_are_kept_so_and_used_in_full():
    data = shop()
    half = data.replace(features=data.features.astype(np.float16))
    full = data.replace(features=half.features.astype(np.float32))
    models = [amrlib.AMR(dim=4).bind(d) for d in (half, full)]
    assert models[0].features.dtype == torch.float16
    for model, own in zip(models, (half, full), strict=True):
        model.fit(own, epochs=3, progress=False)
    assert same(*models)
    assert torch.equal(models[0].item_vectors(), models[1].item_vectors())
    assert amrlib.perturb(models[0], half, 0.01).dtype == torch.float32
    assert models[1].features.data_ptr() == full.features.ctypes.data  # shared, not copied


# ---------------------------------------------------------------- identities


def test_vbpr_without_anything_to_see_is_mf():
    data = shop()
    blind = data.replace(features=np.zeros_like(data.features))
    vbpr, mf = (kind(**SETTINGS).bind(blind) for kind in (amrlib.VBPR, amrlib.MFBPR))
    for model in (vbpr, mf):
        model.fit(blind, epochs=5, reg=(0.01, 0.02, 0.0), progress=False)
    assert torch.equal(vbpr.P, mf.P) and torch.equal(vbpr.Q, mf.Q)


@pytest.mark.parametrize("perturbation", ["gradient", "random"])
def test_amr_without_weight_is_vbpr(perturbation):
    data = shop()
    amr = amrlib.AMR(epsilon=0.5, adv_weight=0.0, perturbation=perturbation, **SETTINGS).bind(data)
    vbpr = amrlib.VBPR(**SETTINGS).bind(data)
    for model in (amr, vbpr):
        model.fit(data, epochs=5, reg=0.01, progress=False)
    assert same(amr, vbpr)


def test_duif_is_vbpr_with_q_frozen():
    """Frozen: Q starts at zero and learns at rate zero."""
    data = shop()
    duif, vbpr = amrlib.DUIF(**SETTINGS).bind(data), amrlib.VBPR(**SETTINGS).bind(data)
    vbpr.Q.zero_()
    vbpr.P.copy_(duif.P)
    vbpr.E.copy_(duif.E)
    duif.fit(data, epochs=5, lr=0.1, reg=0.01, progress=False)
    vbpr.fit(data, epochs=5, lr=(0.1, 0.0, 0.1), reg=0.01, progress=False)
    assert not vbpr.Q.any()
    assert torch.equal(duif.P, vbpr.P) and torch.equal(duif.E, vbpr.E)


def test_amr_at_epsilon_zero_weighs_the_loss_twice():
    """The control of every claim: λ = 1, ε = 0 is BPR with its loss counted 1 + λ times."""
    data = shop()
    amr, vbpr = amrlib.AMR(epsilon=0.0, **SETTINGS).bind(data), amrlib.VBPR(**SETTINGS).bind(data)
    batch = next(triples(data, 8, seed=0))
    PairwiseTrainer(amr, reg=0.2).step(*batch)
    PairwiseTrainer(vbpr, reg=0.1, initial_accumulator=0.025).step(*batch)  # Adagrad: 2g/√(.1 + 4g²) = g/√(.025 + g²)
    assert all(error(a, b) < 1e-12 for a, b in zip(weights(amr), weights(vbpr), strict=True))


# ---------------------------------------------------------------- the loop

RUN = dict(epochs=8, batch_size=7, lr=0.1, reg=0.01, progress=False)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam"}, {"negatives": "popularity"}, {"validation": True}])
def test_a_seed_is_a_result(settings):
    data = shop()
    models = [amrlib.AMR(dim=4, perturbation="random").bind(data) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1)):
        model.fit(data, seed=seed, **RUN, **settings)
    assert same(models[0], models[1]) and not same(models[0], models[2])
    assert models[0].history.equals(models[1].history)


class Killed(Exception):
    pass


def dying(after, error, base=PairwiseTrainer):
    """A trainer that raises ``error`` in the middle of its ``after``-th step, with P moved and Q not."""

    class Dying(base):
        steps = 0

        def step(self, *batch):
            Dying.steps += 1
            if Dying.steps == after:
                self.model.P += 1.0
                raise error
            return super().step(*batch)

    return Dying


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("trainer, perturbation", [(PairwiseTrainer, "gradient"), (PairwiseTrainer, "random"),
                                                   (CompiledTrainer, "gradient"), (AutogradTrainer, "random")])  # fmt: skip
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, optimizer, validation, trainer, perturbation):
    data = shop()
    settings = dict(**RUN, optimizer=optimizer, validation=validation, every=3, trainer=trainer)
    make = lambda: amrlib.AMR(dim=4, perturbation=perturbation).bind(data)  # noqa: E731
    whole, killed, resumed = make(), make(), make()
    whole.fit(data, checkpoint=tmp_path / "whole", **settings)
    with pytest.raises(Killed):  # in epoch 5: the last checkpoint is of epoch 3
        killed.fit(data, checkpoint=tmp_path / "killed", **settings | {"trainer": dying(22, Killed(), trainer)})
    assert (tmp_path / "killed").exists() and not list(tmp_path.glob("*.part"))
    resumed.fit(data, checkpoint=tmp_path / "killed", **settings)
    assert same(whole, resumed)
    assert whole.history.equals(resumed.history)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "killed").read_bytes()


def test_control_c_keeps_the_best(tmp_path):
    data = shop(M=30, N=40, rows=200)
    settings = dict(epochs=50, batch_size=20, every=1, validation=True, progress=False)
    model = amrlib.MFBPR(dim=4).bind(data)
    model.fit(data, trainer=dying(95, KeyboardInterrupt()), **settings)
    assert model.history.attrs["stopped"] == "interrupted"
    assert torch.isfinite(model.P).all() and model.P.abs().max() < 1.0  # not the half-made step
    again = amrlib.MFBPR(dim=4).bind(data)  # trained to the best ranking of those epochs and no further
    best = int(model.history["ndcg@10"].argmax()) + 1
    again.fit(data, trainer="closed_form", **settings | {"epochs": best})
    assert same(model, again)
    plain = amrlib.MFBPR(dim=4).bind(data)
    history = plain.fit(data, epochs=5, trainer=dying(1, KeyboardInterrupt()), progress=False).history
    assert history.attrs["stopped"] == "interrupted" and not len(history)


def test_early_stopping(tmp_path):
    data = shop(M=30, N=40, rows=200)
    settings = dict(epochs=200, every=2, validation=True, patience=3, progress=False, checkpoint=tmp_path / "run")
    model = amrlib.MFBPR(dim=4).bind(data)
    history = model.fit(data, **settings).history
    checks = history["ndcg@10"].dropna()
    assert history.attrs["stopped"] == "patience" and len(history) < 200
    assert checks.argmax() == len(checks) - 1 - 3  # three rankings after the best one
    held_out = data.validation_split(0)
    ranks = ranking.held_out_ranks(model.user_vectors(), model.item_vectors(), held_out)
    assert ranking.ndcg(ranks, 10) == checks.max()
    again = amrlib.MFBPR(dim=4).bind(data)  # the checkpoint of a run that has stopped does not go on
    assert again.fit(data, **settings).history.equals(history) and same(model, again)


def test_validation_does_not_see_what_it_is_judged_by():
    data = shop(M=30, N=40, rows=60)
    model = amrlib.MFBPR(dim=4, init_std=1.0).bind(data)
    model.fit(data, epochs=2, validation=True, progress=False)
    held_out = data.validation_split(0)
    newly_cold = held_out.cold & ~data.cold
    assert newly_cold.any() and not model.Q[torch.as_tensor(newly_cold)].any()


def test_history():
    data = shop()
    history = amrlib.AMR(dim=4).bind(data).fit(data, epochs=7, every=3, validation=True, progress=False).history
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6, 7]
    assert list(history["ndcg@10"].notna()) == [False, False, True, False, False, True, True]
    assert history.attrs["stopped"] == "done"
    first = amrlib.AMR(dim=4, adv_weight=1.0, init_std=1e-9).bind(data).fit(data, epochs=1, lr=0.0, progress=False).history
    assert first["bpr"][0] == first["adversarial"][0] == pytest.approx(np.log(2))  # a mean, of every triple
    assert first["objective"][0] == pytest.approx(2 * np.log(2))


def test_every_row_is_seen_once_an_epoch():
    data = shop()
    seen = []

    class Counting(PairwiseTrainer):
        def step(self, users, pos, neg):
            seen.extend(zip(users.tolist(), pos.tolist(), strict=True))
            return super().step(users, pos, neg)

    amrlib.MFBPR(dim=2).bind(data).fit(data, epochs=1, batch_size=7, trainer=Counting, progress=False)
    assert sorted(seen) == sorted(map(tuple, data.train.tolist()))  # the last, smaller batch too


def test_training_finds_what_there_is_to_find():
    """Two groups of users, two groups of items: held-out items come first."""
    rng = np.random.default_rng(0)
    pairs = np.array([(u, i) for u in range(40) for i in range(30) if u % 2 == i % 2 and rng.random() < 0.5])
    train, test = amrlib.leave_one_out(pairs, n_users=40)
    data = amrlib.Dataset(train, test, features=np.eye(2)[np.arange(30) % 2], n_items=30)
    for kind in (amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR):
        model = kind(dim=4).bind(data)
        history = model.fit(data, epochs=30, lr=0.1, reg=0.05, progress=False).history
        assert history["bpr"].iloc[-1] < 0.6 < history["bpr"].iloc[0], kind
        assert amrlib.evaluate(model, data, progress=False).hr(15) > 0.9, kind  # before the 15 of the other group


def test_a_loss_that_runs_away_is_an_error():
    data = shop()
    with pytest.raises(FloatingPointError, match=r"epoch 1; lower lr"):
        amrlib.VBPR(dim=4, init_std=1e30).bind(data).fit(data, epochs=2, progress=False)
