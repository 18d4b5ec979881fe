"""What is CompiledTrainer's own. Its steps are held to autograd, the authors' records and the naive port beside the others'."""

import builtins
import importlib
import sys

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training import NegativeSampler, PairwiseTrainer
from amrlib.training.compiled import loops
from amrlib.training.compiled import step as compiled
from amrlib.training.compiled.draws import draw, line_of
from amrlib.training.compiled.step import CompiledTrainer

SMALL = dict(epochs=4, batch_size=16, lr=0.1, device="cpu", trainer="compiled", progress=False)
CLOSED = SMALL | {"trainer": "closed_form"}


def shop(M=30, N=40, D=12, rows=150, seed=0):
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(M, size=rows), rng.integers(N - 2, size=rows)], 1)
    return amrlib.Dataset(train, rng.integers(N, size=M), features=rng.normal(size=(N, D)), n_users=M, n_items=N)


def amr(data, dtype=torch.float32, **settings):
    model = amrlib.AMR(dim=8, dtype=dtype, init_std=0.3, seed=1, **{"epsilon": 0.4, "adv_weight": 0.7, **settings}).bind(data)
    model.features = model.features.to(dtype)
    return model


def weights(model):
    return [getattr(model, name) for name in "PQE" if getattr(model, name) is not None]


def furthest(a, b):
    """The largest distance between two models' parameters, relative to the parameters' length."""
    return max(float((x - y).norm() / y.norm()) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.mark.parametrize("reg", [0.0, (0.05, 0.02, 0.01)])
@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_fit_is_the_closed_form_s(reg, dtype, close):
    data = shop()
    one, other = amr(data, dtype), amr(data, dtype)
    mine = one.fit(data, reg=reg, **SMALL).history
    theirs = other.fit(data, reg=reg, **CLOSED).history
    assert furthest(one, other) < close
    assert np.allclose(mine, theirs, rtol=close)


@pytest.mark.parametrize("reg", [0.0, 0.05])
def test_float32_features_are_numbers_of_the_parameters_type_before_they_are_subtracted(reg):
    data = shop()
    models = [amr(data, torch.float64) for _ in range(3)]
    for model, trainer, dtype in zip(models, ("compiled", "closed_form", "compiled"), (torch.float32,) * 2 + (torch.float64,)):
        model.features = torch.as_tensor(data.features, dtype=torch.float32).to(dtype)
        model.fit(data, reg=reg, **SMALL | {"trainer": trainer})
    assert furthest(models[0], models[1]) < 1e-12
    assert furthest(models[0], models[2]) == 0


@pytest.mark.parametrize("reg", [0.0, 0.05])
def test_an_epoch_is_its_steps(reg):
    data, rng = shop(), np.random.default_rng(0)
    pair, triples = (amr(data), amr(data)), [torch.as_tensor(rng.integers(n, size=75)) for n in (30, 40, 40)]
    sums = CompiledTrainer(pair[0], reg=reg).epoch(*triples, batch_size=16)
    one = CompiledTrainer(pair[1], reg=reg)
    losses = [one.step(*(ids[start : start + 16] for ids in triples)) for start in range(0, 75, 16)]
    assert furthest(*pair) == 0
    assert sums.tolist() == torch.tensor(losses, dtype=torch.float64).sum(0).tolist()


def test_a_seed_is_a_result():
    data = shop()
    one, again = amr(data), amr(data)
    for model in (one, again):
        model.fit(data, **SMALL)
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(again), strict=True))


def test_it_goes_on_from_the_closed_form_s_checkpoint(tmp_path):
    data = shop()
    whole, halved = amr(data, torch.float64), amr(data, torch.float64)
    whole.fit(data, **SMALL)
    halved.fit(data, checkpoint=tmp_path / "half", **CLOSED | {"epochs": 2})
    halved.fit(data, checkpoint=tmp_path / "half", **SMALL)
    assert furthest(halved, whole) < 1e-12


@pytest.mark.parametrize("reg", [0.0, 0.05])
def test_the_number_of_threads_changes_no_number(reg, monkeypatch):
    for name, few in (("PART", 100), ("THREADED", 1)):  # steps and draws are worth a thread
        monkeypatch.setattr(compiled, name, few)
    before, data, models = torch.get_num_threads(), shop(D=40), []  # 40: the columns of X in parts as well as the rows
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            models.append(amr(data))
            models[-1].fit(data, reg=reg, **SMALL | {"batch_size": 70})
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*map(weights, models), strict=True))


@pytest.mark.parametrize("gone", [0, 1], ids=["the first thread", "the second"])
def test_where_a_thread_is_gone_the_others_stop_too(gone, monkeypatch):
    """As when Ctrl-C comes before the first has begun: nobody waits for it, and nothing is changed in part."""
    monkeypatch.setattr(compiled, "PART", 100)
    real, before, model, halted = compiled.steps, torch.get_num_threads(), amr(shop()), []

    def some(share, *rest):
        if share == gone:
            raise KeyboardInterrupt if gone == 0 else MemoryError("none left")
        halted.append(real(share, *rest))

    monkeypatch.setattr(compiled, "steps", some)
    torch.set_num_threads(2)
    try:
        trainer = CompiledTrainer(model)
        start = [x.clone() for x in weights(model)]
        with pytest.raises(KeyboardInterrupt if gone == 0 else MemoryError):
            trainer.step(*(torch.arange(20),) * 2, torch.arange(1, 21))
    finally:
        torch.set_num_threads(before)
    assert halted == [None] and all(torch.equal(a, b) for a, b in zip(weights(model), start, strict=True))


def test_an_epoch_that_ends_between_two_calls_leaves_what_its_steps_did(monkeypatch):
    """E is the loops' from the first call to the last, and the model's again at once when something happens in between."""
    monkeypatch.setattr(compiled, "TRIPLES", 16)  # a call for each step
    pair, calls, real = (amr(shop()), amr(shop())), [], compiled.steps
    triples = [torch.arange(48) % 30, torch.arange(48) % 40, torch.arange(1, 49) % 40]

    def two_of_three(*a_call):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*a_call)

    one, other = map(CompiledTrainer, pair)
    other.epoch(*(ids[:32] for ids in triples), batch_size=16)
    monkeypatch.setattr(compiled, "steps", two_of_three)
    with pytest.raises(KeyboardInterrupt):
        one.epoch(*triples, batch_size=16)
    monkeypatch.setattr(compiled, "steps", real)
    for _ in range(2):  # and from there both go on alike
        assert furthest(*pair) == 0
        assert all(torch.equal(one.optimizer.state[name], other.optimizer.state[name]) for name in "PQE")
        for trainer in (one, other):
            trainer.epoch(*(ids[32:] for ids in triples), batch_size=16)


@pytest.mark.parametrize("shares", [1, 2, 3, 8])
def test_pieces_are_all_rows_once(shares):
    for n in [*range(150), 512, 1000, 4096]:
        ends, number = [0], 0
        while (piece := loops._piece(n, number, shares))[0] < n:
            if piece[1] > piece[0]:
                assert piece[0] == ends[-1] and piece[0] % loops.PANEL == 0
                ends.append(piece[1])
            number += 1
        assert ends[-1] == n and all(loops._piece(n, later, shares)[0] >= n for later in range(number, number + shares + 1))


def test_batches_of_any_size_one_after_another():
    """The memory that is kept grows with the largest, and nothing of a batch is left for the next."""
    data, rng = shop(), np.random.default_rng(0)
    pair = amr(data, torch.float64), amr(data, torch.float64)
    steps = CompiledTrainer(pair[0]).step, PairwiseTrainer(pair[1]).step
    for B in (3, 200, 1, 50, 7, 201):
        users, pos, neg = (torch.as_tensor(rng.integers(n, size=B)) for n in (30, 40, 40))
        mine, theirs = (step(users, pos, neg) for step in steps)
        assert all(float(a) == pytest.approx(float(b), rel=1e-12) for a, b in zip(mine, theirs, strict=True))
    assert furthest(*pair) < 1e-12


@pytest.mark.parametrize("reg", [0.0, 0.05])
def test_features_in_another_number_type(reg, monkeypatch):
    monkeypatch.setattr(compiled, "BLOCK_BYTES", 5 * 12 * 4)  # five rows of 12 float32 at a time
    data = shop()
    pair = amr(data), amr(data)
    for model, settings in zip(pair, (SMALL, CLOSED), strict=True):
        model.to("cpu", features=torch.bfloat16).fit(data, reg=reg, **settings)
        assert model.features.dtype == torch.bfloat16
    assert furthest(*pair) < 1e-5


@pytest.mark.parametrize("what", ["adam", "random directions"])
def test_where_it_has_no_loop_the_step_is_the_closed_form_s(what):
    data = shop()
    settings = {"optimizer": "adam"} if what == "adam" else {}
    models = []
    for run in (SMALL, CLOSED):
        model = amr(data, **({"perturbation": "random"} if what == "random directions" else {}))
        model.fit(data, **run, **settings)
        models.append(model)
    assert all(torch.equal(a, b) for a, b in zip(weights(models[0]), weights(models[1]), strict=True))


@pytest.mark.parametrize(
    "users, pos, neg, message",
    [([30], [0], [1], "users: id 30 is outside 0…29"), ([0], [-1], [1], "pos: id -1 is outside 0…39"),
     ([0, 1], [2, 3], [4, 40], "neg: id 40 is outside 0…39"), ([], [], [], "not empty"), ([0], [1, 2], [3], "not 1, 2 and 1")],
)  # fmt: skip
def test_ids_are_looked_at_before_anything_moves(users, pos, neg, message):
    model = amr(shop())
    before = [w.clone() for w in weights(model)]
    with pytest.raises(ValueError, match=message):
        CompiledTrainer(model).step(*(torch.tensor(ids, dtype=torch.int64) for ids in (users, pos, neg)))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))


def test_scores_too_large_for_the_exponential():
    data = shop()
    pair = amr(data), amr(data)
    for model in pair:
        model.P.mul_(1e4)
    batch = [torch.arange(8), torch.arange(8), torch.arange(8) + 8]
    mine, theirs = CompiledTrainer(pair[0]).step(*batch), PairwiseTrainer(pair[1]).step(*batch)
    assert float(theirs.bpr) > 8 * 200  # e to the power of it is no float32
    assert float(mine.bpr) == pytest.approx(float(theirs.bpr), rel=1e-5)


@pytest.mark.parametrize("kind", [amrlib.AMR, amrlib.VBPRTwoVector, amrlib.DUIF, amrlib.MFBPR])
def test_the_loops_are_what_runs(kind, monkeypatch):
    """Not the closed form's step, by way of some condition that no model meets."""
    monkeypatch.setattr(PairwiseTrainer, "_step", None)
    CompiledTrainer(kind(dim=4).bind(shop()), reg=(0.1, 0.1, 0.1)).step(*[torch.arange(8) % n for n in (8, 5, 7)])


def test_every_item_has_its_own_epsilon():
    data, epsilon = shop(), np.random.default_rng(0).uniform(0.1, 2.0, 40)
    pair = amr(data, torch.float64, epsilon=epsilon), amr(data, torch.float64, epsilon=epsilon)
    for trainer, model in zip(("compiled", "autograd"), pair, strict=True):
        model.fit(data, **SMALL | {"trainer": trainer})
    assert furthest(*pair) < 1e-10


def test_a_model_on_another_device_is_refused():
    model = amr(shop())
    model.P = model.P.to("meta")
    with pytest.raises(ValueError, match="is for the CPU and the model is on meta; leave trainer= out"):
        CompiledTrainer(model)


@pytest.mark.parametrize(("module", "loops"), [("step", "loops"), ("per_triple", "triples")])
def test_without_numba_it_says_what_to_install(module, loops, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name in ("numba", "llvmlite"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    for name in (module, loops):
        monkeypatch.delitem(sys.modules, f"amrlib.training.compiled.{name}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install numba; .*does without"):
        importlib.import_module(f"amrlib.training.compiled.{module}")


def test_amrlib_itself_does_without_numba():
    import subprocess

    code = "import sys; sys.modules['numba'] = None; import amrlib; assert 'amrlib.training.compiled.step' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("m, n", [(1, 1), (16, 16), (15, 40), (64, 100), (35, 7)])
def test_turn(m, n):
    a = np.random.default_rng(0).normal(size=(m, n))
    for b in (np.empty((n, m)), np.empty((n, m + 3))[:, :m], np.empty((m, n)).T):
        loops.loop(loops._turn.py_func)(a, b)
        assert np.array_equal(b, a.T)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
@pytest.mark.parametrize("shares", [1, 3])
def test_the_draws_are_the_sampler_s(negatives, shares):
    """Number for number, whatever the order of the rows; and nothing else is drawn."""
    data = shop(rows=400)
    sampler, rows = NegativeSampler(data, kind=negatives), torch.as_tensor(data.train)
    for users, pos in (rows.unbind(1), rows[torch.randperm(len(rows))].unbind(1)):
        one, other = (torch.Generator().manual_seed(3) for _ in range(2))
        drawn = draw(users, pos, line_of(sampler), one, lambda work: [work(share, shares) for share in range(shares)])
        order = torch.randperm(len(users), generator=other)
        expected = users[order], pos[order], sampler(users[order], other)
        assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
        assert torch.equal(one.get_state(), other.get_state())


def test_somebody_s_own_sampler_is_asked():
    class Last(NegativeSampler):
        def __call__(self, users, generator=None):
            return torch.full_like(users, 39)

    data, seen = shop(), []
    trainer = CompiledTrainer(amr(data))
    trainer.epoch = lambda users, pos, neg, batch_size: seen.append(neg)
    trainer.new_epoch(*torch.as_tensor(data.train).unbind(1), Last(data), 16, torch.Generator())
    assert (seen[0] == 39).all()
