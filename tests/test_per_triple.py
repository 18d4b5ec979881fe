"""BPR one triple at a time: against a plain loop in float64, its draws, and the same bits on any number of threads."""


import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import amrlib
from amrlib.negatives import NegativeSampler
from amrlib.training.compiled import per_triple
from amrlib.training.compiled.per_triple import PerTripleTrainer
from amrlib.training.compiled.threads import together

RUN = dict(trainer="per_triple", optimizer="sgd", lr=0.1, device="cpu", progress=False)


def shop(M=60, N=80, each=6, seed=0, half=False):
    """Items 3 and N − 1 are cold; ``half``: two users have half of the warm ones each."""
    rng = np.random.default_rng(seed)
    warm = np.setdiff1d(np.arange(N), [3, N - 1])
    rows = [(u, i) for u in range(M) for i in rng.choice(warm, each, replace=False)]
    rows += [(n, i) for n in range(2 * half) for i in warm[n::2]]
    train = np.unique(rows, axis=0)
    return amrlib.Dataset(train[rng.permutation(len(train))], np.full(M, -1), n_items=N)


@pytest.fixture
def blocks(monkeypatch):
    """As many blocks and threads as the items allow, however few triples come into one."""
    monkeypatch.setattr(per_triple, "STRATUM", 1)
    monkeypatch.setattr(per_triple, "THREADED", 1)


def started(data, seed=0, dtype=torch.float64, K=5, **settings):
    model = amrlib.MFBPR(dim=K, seed=seed, init_std=0.5, dtype=dtype).bind(data)
    trainer = PerTripleTrainer(model, generator=torch.Generator().manual_seed(seed), **settings)
    users, pos = torch.tensor(data.train).T.contiguous()
    return model, trainer, lambda: trainer.new_epoch(users, pos, NegativeSampler(data), 1, trainer.generator)


def in_turn(trainer):
    """The last epoch's triples, (n, 3), a list for each turn of strata without a common row."""
    starts, T, triples = trainer.starts, trainer.T, np.stack(trainer.triples, 1)
    strata = lambda turn: [triples[starts[b, (b + turn) % T] : starts[b, (b + turn) % T + 1]] for b in range(T)]  # noqa: E731
    return [strata(turn) for turn in range(T)]


def plain(P, Q, triples, lr, reg):
    """The steps of the class's docstring, and the losses before them."""
    bpr = penalty = 0.0
    for u, i, j in triples:
        p, a, b = P[u].copy(), Q[i].copy(), Q[j].copy()
        x = p @ (a - b)
        bpr += np.logaddexp(0, -x)
        penalty += reg[0] * p @ p + reg[1] * (a @ a + b @ b)
        g = np.exp(-np.logaddexp(0, x))
        P[u] += lr[0] * (g * (a - b) - 2 * reg[0] * p)
        Q[i] += lr[1] * (g * p - 2 * reg[1] * a)
        Q[j] -= lr[1] * (g * p + 2 * reg[1] * b)
    return bpr, bpr + penalty


def close(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b) < 1e-10


# ---------------------------------------------------------------- the steps


@pytest.mark.parametrize("reg", [(0.0, 0.0, 0.0), (0.01, 0.0, 0.0), (0.01, 0.03, 0.0)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_epoch_is_the_plain_loop_over_its_triples(reg, threads, blocks, same_threads):
    torch.set_num_threads(threads)
    data = shop(each=2, N=400)
    lr = (0.2, 0.1, 0.0)
    model, trainer, epoch = started(data, lr=lr, reg=reg)
    P, Q = model.P.numpy().copy(), model.Q.numpy().copy()
    for _ in range(3):
        bpr, adversarial, objective = epoch().tolist()
        expected = plain(P, Q, [t for turn in in_turn(trainer) for stratum in turn for t in stratum], lr, reg)
        np.testing.assert_allclose((bpr, objective), expected, rtol=1e-10)
        assert adversarial == 0
    assert close(model.P.numpy(), P) and close(model.Q.numpy(), Q)


@pytest.mark.parametrize("K", [1, 7, 16, 64])
def test_triples_of_one_s_own(K):
    """Far scores too: the loss is exact where σ is 0 or 1 to the last digit."""
    data = shop()
    model, trainer, _ = started(data, K=K, lr=0.3, reg=0.02)
    model.P[5] *= 200
    P, Q, rng = model.P.numpy().copy(), model.Q.numpy().copy(), np.random.default_rng(1)
    triples = np.stack([rng.integers(0, n, 400) for n in (60, 80, 80)], 1)
    triples = triples[triples[:, 1] != triples[:, 2]]
    losses = trainer.step(*torch.tensor(triples).T)
    np.testing.assert_allclose((losses.bpr, losses.objective), plain(P, Q, triples, (0.3, 0.3), (0.02, 0.02)), rtol=1e-10)
    assert close(model.P.numpy(), P) and close(model.Q.numpy(), Q)
    with pytest.raises(ValueError, match=r"neg: id 80 is outside 0…79"):
        trainer.step(torch.tensor([0]), torch.tensor([0]), torch.tensor([80]))


def test_float32_is_float64_rounded():
    data = shop()
    models = [amrlib.MFBPR(dim=16, dtype=dtype).fit(data, epochs=5, **RUN) for dtype in (torch.float32, torch.float64)]
    assert (models[0].P - models[1].P).norm() / models[1].P.norm() < 1e-4
    np.testing.assert_allclose(models[0].history.bpr, models[1].history.bpr, rtol=1e-5)
    assert models[1].history.bpr.iloc[-1] < models[1].history.bpr.iloc[0]


def test_large_pages_change_nothing(monkeypatch):
    data, fit = shop(), lambda: amrlib.MFBPR(dim=16).fit(shop(), epochs=2, **RUN)
    before = fit()
    monkeypatch.setattr(per_triple, "LARGE", 0)
    model = amrlib.MFBPR(dim=16).bind(data)
    P = model.P
    model.fit(data, epochs=2, **RUN)
    assert model.P is P and torch.equal(P, before.P) and torch.equal(model.Q, before.Q)
    P.mul_(2)  # memory like any other


def test_torch_knows_that_the_tables_have_changed():
    data = shop()
    model, _, epoch = started(data)
    version, vectors = model.P._version, model.item_vectors()
    epoch()
    assert model.P._version > version and torch.equal(model.item_vectors(), model.Q) and vectors is not None


# ---------------------------------------------------------------- the draws


@pytest.mark.parametrize("half", [False, True])
def test_an_epoch_visits_every_row_once_with_items_that_its_user_has_not(half, blocks):
    data = shop(M=500, N=400, half=half)
    _, trainer, epoch = started(data)
    orders = []
    for _ in range(2):
        epoch()
        triples = np.stack(trainer.triples, 1)
        rows = lambda pairs: pairs[np.lexsort(pairs.T)]  # noqa: E731
        np.testing.assert_array_equal(rows(triples[:, :2]), rows(data.train))
        assert not data.is_train(triples[:, 0], triples[:, 2]).any()
        assert not data.cold[triples[:, 2]].any()
        orders.append(triples.copy())
    assert (orders[0] != orders[1]).any(1).mean() > 0.9


def test_strata_of_a_turn_have_no_user_and_no_item_in_common(blocks):
    _, trainer, epoch = started(shop(M=200, N=400))
    epoch()
    assert trainer.T == 16
    for turn in in_turn(trainer):
        users, items = [set(s[:, 0]) for s in turn], [set(s[:, 1:].ravel()) for s in turn]
        for sets in (users, items):
            assert sum(map(len, sets)) == len(set().union(*sets))


@pytest.mark.parametrize("kind", ["some", "nearly all"])
def test_negatives_are_uniform(kind, blocks):
    """Chi-square of the items drawn with one row, against equal shares of what its user has not touched; and of which they
    come with: a block that is drawn anew leaves no trace over many epochs."""
    N = 40 if kind == "some" else 300
    mine = np.arange(0, 6) if kind == "some" else np.setdiff1d(np.arange(N), [7, 150, 222])
    others = [(u, i) for u in range(1, 6) for i in range(u, N, 5 if kind == "some" else 150)]
    others += [(6, i) for i in ([] if kind == "some" else [7, 150, 222])] + [(6, i) for i in range(6, 7)]
    covered = {i for _, i in others} | set(mine.tolist())
    others += [(7 + n, i) for n, i in enumerate(sorted(set(range(N)) - covered))]
    data = amrlib.Dataset([(0, int(i)) for i in mine] + others, np.full(7 + N, -1), n_items=N, n_users=7 + N)
    _, trainer, epoch = started(data, lr=0.0)
    counts, row = np.zeros((len(mine), N)), {i: k for k, i in enumerate(mine)}
    for _ in range(1_000 if kind == "some" else 30):
        epoch()
        users, pos, neg = trainer.triples
        here = users == 0
        np.add.at(counts, ([row[i] for i in pos[here]], neg[here]), 1)
    free = np.setdiff1d(np.arange(N), mine)
    assert trainer.T == (4 if kind == "some" else 1) and counts.sum() == counts[:, free].sum()
    rows = counts[:, free] if kind == "some" else counts[:, free].sum(0, keepdims=True)
    for observed in (*rows, rows.sum(0)):
        expected = observed.sum() / len(free)
        chi_square, df = ((observed - expected) ** 2 / expected).sum(), len(free) - 1
        assert abs(chi_square - df) < 5 * np.sqrt(2 * df), (chi_square, df)


def test_as_many_blocks_as_the_shop_allows():
    for data, T in ((shop(), 1), (shop(M=2_100, N=300), 2), (shop(M=2_100, N=300, half=True), 1)):
        _, trainer, epoch = started(data)
        epoch()
        assert trainer.T == T


# ---------------------------------------------------------------- threads


@pytest.fixture
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype, blocks, same_threads, monkeypatch):
    rng = np.random.default_rng(0)
    data = amrlib.Dataset(np.unique(rng.integers(0, [400, 600], (4_000, 2)), axis=0), np.full(400, -1), n_items=600)
    found = []
    ways = ((1, 1, 2**23), (1, 1, 1), (2, 2, 2**23), (2, 2, 2_000), (3, 3, 2**23), (3, 2, 1), (2, 2, 2**23))
    for threads, cores, at_once in ways:
        torch.set_num_threads(threads)
        monkeypatch.setattr(per_triple, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(per_triple, "AT_ONCE", at_once)
        model = amrlib.MFBPR(dim=16, dtype=dtype).fit(data, epochs=3, reg=0.001, **RUN)
        found.append((model.P, model.Q, torch.tensor(model.history[["bpr", "objective"]].to_numpy())))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    other = amrlib.MFBPR(dim=16, dtype=dtype).fit(data, epochs=3, reg=0.001, seed=1, **RUN)
    assert not torch.equal(other.P, found[0][0])


def test_a_fault_in_one_thread_ends_all(blocks, same_threads, monkeypatch):
    torch.set_num_threads(2)
    monkeypatch.setattr(per_triple, "cores", lambda: 2)
    real = per_triple.turns
    real_of = lambda faulty: lambda thread, *rest: none_left() if thread == faulty else real(thread, *rest)  # noqa: E731

    def none_left():
        raise MemoryError("none left")

    for faulty in (0, 1):
        _, _, epoch = started(shop(M=200, N=400))
        monkeypatch.setattr(per_triple, "turns", real_of(faulty))
        with pytest.raises(MemoryError, match="none left"):
            epoch()


def test_nobody_writes_any_more_when_ctrl_c_is_raised():
    begun, ended = threading.Event(), []

    def work(share, counter):
        if share == 0:
            begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.3)  # as if in the middle of a turn
        ended.append(share)

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        try:
            together(pool, work, 2)
        finally:
            assert ended == [1]


# ---------------------------------------------------------------- fit


@pytest.mark.parametrize("validation", [False, True])
def test_a_run_that_was_stopped_goes_on(validation, blocks, tmp_path):
    data, settings = shop(M=200, N=400), dict(epochs=6, every=2, validation=validation, **RUN)
    whole = amrlib.MFBPR(dim=4).fit(data, **settings)

    class Stop:
        def on_epoch_end(self, model, row):
            return "enough" if row["epoch"] == 2 else None

    model = amrlib.MFBPR(dim=4).fit(data, checkpoint=tmp_path / "run", callbacks=[Stop()], **settings)
    assert model.history.attrs == {"stopped": "enough", "trainer": "per_triple"}
    again = amrlib.MFBPR(dim=4).fit(data, checkpoint=tmp_path / "run", **settings)
    assert torch.equal(again.P, whole.P) and torch.equal(again.Q, whole.Q)
    assert again.history.equals(whole.history) and len(whole.history) == 6
    with pytest.raises(ValueError, match=r"its optimizer is 'sgd', here it is 'adagrad'"):
        amrlib.MFBPR(dim=4).fit(data, checkpoint=tmp_path / "run", **settings | dict(optimizer="adagrad", trainer="compiled"))


def test_someone_who_has_everything_is_left_out():
    data = amrlib.Dataset([(0, i) for i in range(5)] + [(1, 0), (2, 3)], np.full(3, -1), n_items=5)
    with pytest.warns(UserWarning, match="have touched every warm item"):
        model = amrlib.MFBPR(dim=4).fit(data, epochs=3, **RUN)
    assert torch.equal(model.P[0], amrlib.MFBPR(dim=4).bind(data).P[0]) and np.isfinite(model.history.bpr).all()


def test_what_it_is_not_for_is_said():
    data, features = shop(), np.eye(80, 6, dtype=np.float32)
    with pytest.raises(ValueError, match=r'"per_triple" is for MFBPR, and VBPR .* name "compiled" or "closed_form"'):
        amrlib.VBPR(dim=4).fit(data.replace(features=features), epochs=1, **RUN)
    with pytest.raises(ValueError, match=r"pass optimizer=\"sgd\", and an lr that suits it, not 'adagrad'"):
        amrlib.MFBPR(dim=4).fit(data, epochs=1, trainer="per_triple", device="cpu", progress=False)
    with pytest.raises(ValueError, match=r"draws uniform negatives, not 'popularity' ones"):
        amrlib.MFBPR(dim=4).fit(data, epochs=1, negatives="popularity", **RUN)
    with pytest.raises(ValueError, match="optimizer must be"):
        amrlib.MFBPR(dim=4).fit(data, epochs=1, **RUN | dict(trainer="compiled"))
    assert amrlib.MFBPR(dim=4).fit(data, epochs=1, device="cpu", progress=False).history.attrs["trainer"] == "compiled"
