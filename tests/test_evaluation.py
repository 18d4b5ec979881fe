"""Reports: measures by group, intervals, tests, the correction of sampled figures, exposure, comparisons."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import amrlib
from amrlib import Dataset, Popularity, compare, evaluate, from_frame
from amrlib.datasets import candidates
from amrlib.evaluation import Report, exposure, paired_test, sample_candidates
from amrlib.evaluation import ranks as ranking
from amrlib.evaluation.report import correction_solver


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    M, N = 120, 80
    train = np.stack([rng.integers(0, M, 500), rng.integers(0, N - 15, 500)], 1)
    test = np.where(rng.random(M) < 0.1, -1, rng.integers(0, N, M))
    test[train[:5, 0]] = train[:5, 1]  # test items that are in train as well
    return Dataset(train, test, rng.normal(size=(N, 6)), n_users=M, n_items=N)


def model_of(shop, seed=0, kind=amrlib.VBPR):
    return kind(dim=4, seed=seed, init_std=0.5).bind(shop)


FIRST = [3, 18, 22, 30, 33, 39, 53, 56, 57, 75, 76, 77]  # what user 0 of ``shop`` is given at seed 5
subsets = candidates._subsets


def correction(measure, k, R, n, gamma):
    """f̂ (n + 1,), by sampled rank."""
    ranks, solver = correction_solver(R, n, gamma)
    return solver @ ranking.gains(measure, ranks, k)


def report_of(ranks, n_candidates=99, n_pool=99, ranking="full"):
    n = len(ranks)
    same = lambda x: np.full(n, x)  # noqa: E731
    return Report(np.asarray(ranks), np.arange(n), same(0), same(False), same(n_candidates), same(n_pool), same(1),
                  (5, 10), "m", ranking)  # fmt: skip


# ---- values and groups


@pytest.mark.parametrize("how", ["full", "sampled"])
def test_every_measure_is_the_mean_of_its_values(shop, how):
    report = evaluate(model_of(shop), shop, ranking=how, n_candidates=30, progress=False)
    for k in (1, 5, 20):
        assert report.values("hr", k).mean() == pytest.approx(report.hr(k))
        assert report.values("ndcg", k).mean() == pytest.approx(report.ndcg(k))
    assert report.values("mrr").mean() == pytest.approx(report.mrr())
    assert report.values("auc").mean() == pytest.approx(report.auc())
    assert (report.values("recall", 5) == report.values("hr", 5)).all()


def test_pool_and_candidates_are_counted(shop):
    full = evaluate(model_of(shop), shop, progress=False)
    sampled = evaluate(model_of(shop), shop, ranking="sampled", n_candidates=30, progress=False)
    for place, u in enumerate(full.users):
        others = set(range(shop.n_items)) - set(shop.items_of(u)) - {shop.test[u]}
        assert full.n_candidates[place] == full.n_pool[place] == sampled.n_pool[place] == len(others)
        assert full.activity[place] == len(shop.items_of(u))
    assert (sampled.n_candidates == 30).all()


def test_published_candidates_are_used(shop):
    published = shop.replace(candidates=np.tile(np.arange(10), (shop.n_users, 1)))
    report = evaluate(model_of(shop), published, ranking="sampled", k=1, progress=False)
    assert (report.n_candidates == 10 - (report.items < 10)).all() and report.ranks.max() <= 10


def test_groups_add_up(shop):
    report = evaluate(model_of(shop), shop, progress=False)
    labels = np.where(report.users % 3 == 0, "third", "rest")
    for groups in ("cold", "activity", labels):
        table = report.by(groups)
        assert table["users"].sum() == len(report.ranks)
        assert (table["users"] * table["NDCG@10"]).sum() / len(report.ranks) == pytest.approx(report.ndcg(10))
    assert report.by("cold").loc["cold item", "HR@5"] == report.only(report.cold).hr(5)
    report.activity[:] = np.arange(len(report.ranks)) % 9
    assert report.by("activity").index.tolist() == ["0", "1", "2–3", "4–7", "8–15"]
    some = (report.activity > 3) & (report.activity < 8)
    assert report.by("activity").loc["4–7", "HR@10"] == report.only(some).hr(10)


# ---- intervals and tests


def test_interval_is_about_that_of_the_central_limit():
    rng = np.random.default_rng(0)
    report = report_of(rng.integers(0, 40, 3000))
    low, high = report.interval("ndcg", 10)
    v = report.values("ndcg", 10)
    half = 1.96 * v.std() / np.sqrt(len(v))
    assert (low, high) == pytest.approx((v.mean() - half, v.mean() + half), abs=0.1 * half)
    assert report.interval("ndcg", 10) == (low, high) != report.interval("ndcg", 10, seed=1)


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        low, high = report_of(rng.integers(0, 20, 200)).interval("hr", 5, level=0.8, n=300)
        covered += low <= 0.25 <= high
    assert 0.72 < covered / 300 < 0.88


def test_paired_test_against_scipy():
    rng = np.random.default_rng(2)
    base = rng.integers(0, 40, 800)
    a, b = report_of(np.maximum(base - rng.integers(0, 6, 800), 0)), report_of(base)
    found = paired_test(a, b)
    assert found.difference == pytest.approx(a.ndcg(10) - b.ndcg(10))
    assert found.p_t == pytest.approx(stats.ttest_rel(a.values("ndcg"), b.values("ndcg")).pvalue)
    assert 0 < found.low < found.difference < found.high and found.p_bootstrap < 0.01
    back = paired_test(b, a)
    assert back.difference == -found.difference and back.p_t == pytest.approx(found.p_t)
    assert paired_test(a, a) == (0, 0, 0, 1, 1)


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(3)
    p = [paired_test(report_of(rng.integers(0, 30, 150)), report_of(rng.integers(0, 30, 150)), n=200, seed=s)[3:]
         for s in range(300)]  # fmt: skip
    for column in np.array(p).T:
        assert 0.02 < (column < 0.05).mean() < 0.09
        assert 0.42 < (column < 0.5).mean() < 0.58


def test_only_like_is_paired_with_like(shop):
    a = evaluate(model_of(shop), shop, progress=False)
    b = evaluate(model_of(shop), shop, ranking="sampled", n_candidates=30, progress=False)
    for other in (b, a.only(a.cold)):
        with pytest.raises(ValueError, match="nothing to pair"):
            paired_test(a, other)


# ---- sampled figures, corrected


def test_correction_is_the_least_squares_it_says():
    """Against the definition, minimised over f̂ by stacking bias and variance as rows of one problem."""
    R, n, k, gamma = 60, 12, 5, 0.2
    A = stats.hypergeom.pmf(np.arange(n + 1), R, np.arange(R + 1)[:, None], n)
    f = (np.arange(R + 1) < k).astype(float)
    # Var(f̂ | r) = Σ_s A_rs (f̂_s − Σ_t A_rt f̂_t)²
    variance = [np.sqrt(gamma * A[r])[:, None] * (np.eye(n + 1) - A[r]) for r in range(R + 1)]
    rows, right = np.concatenate([A, *variance]), np.concatenate([f, np.zeros((R + 1) * (n + 1))])
    wanted = np.linalg.lstsq(rows, right)[0]
    assert correction("hr", k, R, n, gamma) == pytest.approx(wanted, abs=1e-9)


def test_correction_comes_near_the_whole_catalogue():
    rng = np.random.default_rng(0)
    R, n = 4990, 999
    ranks = (R * rng.beta(0.35, 3, 20_000)).astype(int)
    full = report_of(ranks, R, R)
    sampled = report_of(rng.hypergeometric(ranks, R - ranks, n), n, R, "sampled")
    for measure in ("hr", "ndcg", "recall", "mrr"):
        truth, naive = full.values(measure, 10).mean(), sampled.values(measure, 10).mean()
        assert abs(sampled.corrected(measure, 10) - truth) < 0.3 * abs(naive - truth)
        assert full.corrected(measure, 10) == truth
    assert sampled.corrected("auc") == sampled.auc() == pytest.approx(full.auc(), abs=0.002)
    table = sampled.table()
    assert table["HR@10 corrected"].item() == sampled.corrected("hr", 10)
    assert not any("corrected" in c for c in full.table())
    assert len(correction_solver(300_000, 50, 0.1)[0]) < 5000  # bounded in any catalogue


def test_sample_candidates_are_distinct_and_untouched(shop):
    chosen = sample_candidates(shop, 40, seed=1)
    for u, row in enumerate(chosen):
        assert len(set(row)) == 40 and not set(row) & {*shop.items_of(u), shop.test[u]}
    assert (chosen == sample_candidates(shop, 40, seed=1)).all()
    uniform = sample_candidates(Dataset([[0, 0]], [-1] * 4000, n_items=20, n_users=4000), 5)
    counts = np.bincount(uniform[1:].ravel(), minlength=20)
    assert stats.chisquare(counts).pvalue > 0.001
    with pytest.raises(ValueError, match="n_candidates=79"):
        sample_candidates(shop, 79)


def test_a_shop_too_small_for_the_candidates_says_how_many_there_are():
    """The default, 999, is the paper's; most shops of one's own are smaller."""
    frame = pd.DataFrame({"user": ["ann"] * 3 + ["bob"] * 2 + ["cas"] * 2, "item": list("abcabcd")})
    shop = from_frame(frame, {key: [n, 1.0] for n, key in enumerate("abcdefg")})
    model = Popularity().fit(shop)
    with pytest.raises(ValueError, match=r"n_candidates=999, but user 'ann' has only 4 untouched items; pass n_candidates=4 or "
                                         r"less, or rank among all items with ranking='full'"):  # fmt: skip
        evaluate(model, shop, ranking="sampled")
    report = evaluate(model, shop, ranking="sampled", n_candidates=4)
    assert (report.n_candidates == 4).all() and evaluate(model, shop).hr(5) >= 0
    everything = from_frame(frame[:5])  # ann has it, and no number would do
    with pytest.raises(ValueError, match="user 'ann' has only 0 untouched items; rank among all items"):
        evaluate(Popularity().fit(everything), everything, ranking="sampled")


# ---- what is shown


def test_exposure_by_hand():
    d = Dataset([[0, 0], [0, 1], [1, 0], [2, 0]], [2, 3, 3], n_items=5)

    class Fixed:
        def recommend(self, users, k, features=None):
            return np.array([[2, 3], [1, 3], [1, -1]]), None

    row = exposure(Fixed(), d, 2)
    assert row["coverage@2"] == 3 / 5
    assert row["popularity@2"] == (0 + 0 + 1 + 0 + 1) / 5
    assert row["cold@2"] == 3 / 5
    x = np.array([0, 2, 1, 2, 0])  # places of items 0…4
    assert row["gini@2"] == pytest.approx(np.abs(x[:, None] - x).sum() / (2 * 5 * x.sum()))


def test_popularity_shows_everyone_nearly_the_same(shop):
    pop, vbpr = exposure(amrlib.Popularity().bind(shop), shop, 5), exposure(model_of(shop), shop, 5)
    assert pop["coverage@5"] < 0.3 and pop["gini@5"] > 0.8 and pop["cold@5"] == 0
    assert pop["popularity@5"] > vbpr["popularity@5"] and 0 <= vbpr["gini@5"] < pop["gini@5"]


# ---- side by side


@pytest.mark.parametrize("how", ["full", "sampled"])
def test_compare_holds_what_the_reports_say(shop, how):
    published = shop.replace(candidates=sample_candidates(shop, 30))
    models = {"Pop": amrlib.Popularity().bind(shop), "VBPR": model_of(shop), "MF": model_of(shop, kind=amrlib.MFBPR)}
    table = compare(models, published, ranking=how, against="MF", progress=False)
    assert list(table.index) == list(models) and table.attrs["interval"] == "NDCG@10"
    reports = {n: evaluate(m, published, ranking=how, progress=False) for n, m in models.items()}
    for name, report in reports.items():
        assert table.loc[name, "HR@5"] == report.hr(5) and table.loc[name, "NDCG@20"] == report.ndcg(20)
        assert (table.loc[name, "low"], table.loc[name, "high"]) == report.interval("ndcg", 10)
        assert table.loc[name, "coverage@10"] == exposure(models[name], published, 10)["coverage@10"]
    assert np.isnan(table.loc["MF", "p_t"])
    assert table.loc["VBPR", "p_t"] == paired_test(reports["VBPR"], reports["MF"]).p_t
    kept = compare(reports, published, against="MF")
    pd.testing.assert_frame_equal(kept, table[kept.columns])


def test_compare_changes_features_only_for_models_that_look(shop):
    models = {"VBPR": model_of(shop), "MF": model_of(shop, kind=amrlib.MFBPR)}
    changed = amrlib.perturb(models["VBPR"], shop, 3.0)
    clean, hurt = (compare(models, shop, features=f, progress=False) for f in (None, changed))
    assert (clean.loc["MF"] == hurt.loc["MF"]).all()
    assert hurt.loc["VBPR", "NDCG@10"] == evaluate(models["VBPR"], shop, features=changed, progress=False).ndcg(10)
    assert hurt.loc["VBPR", "NDCG@10"] < clean.loc["VBPR", "NDCG@10"]


def test_blocks_change_no_report(shop, monkeypatch):
    model = model_of(shop)
    whole = [evaluate(model, shop, ranking=r, n_candidates=30, progress=False).ranks for r in ("full", "sampled")]
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 1)
    parts = [evaluate(model, shop, ranking=r, n_candidates=30, progress=False).ranks for r in ("full", "sampled")]
    assert all((a == b).all() for a, b in zip(whole, parts))


# ---- wrong input


@pytest.mark.parametrize("call, message", [
    (lambda s: evaluate(model_of(s), s, ranking="all"), "ranking must be"),
    (lambda s: evaluate(model_of(s), s, k=0), "k must be"),
    (lambda s: evaluate(model_of(s), s, k=(5, 81)), "k must be"),
    (lambda s: evaluate(model_of(s), s, k=()), "k must be"),
    (lambda s: evaluate(model_of(s), s.replace(test=np.full(s.n_users, -1))), "test holds no item out"),
    (lambda s: evaluate(model_of(s), Dataset([[0, 0]], [1]), k=1), "the model knows 120 users"),
    (lambda s: evaluate(model_of(s), s, features=torch.zeros(3, 6)), "features must have shape"),
    (lambda s: report_of([1, 2]).values("precision"), "measure must be"),
    (lambda s: report_of([1, 2]).values("hr", 0), "k must be a whole number of at least 1"),
    (lambda s: report_of([1, 2]).interval(level=2), "level must lie"),
    (lambda s: report_of([1]).interval(), "at least two users"),
    (lambda s: report_of([1, 2]).corrected(gamma=0), "gamma must be"),
    (lambda s: report_of([1, 2]).by("age"), "groups must be"),
    (lambda s: report_of([1, 2]).by([1, 2, 3]), "one label for each of 2 users"),
    (lambda s: report_of([1, 2]).only(np.zeros(2, bool)), "selects no user"),
    (lambda s: exposure(model_of(s), s, users=[]), "users is empty"),
    (lambda s: compare({}, s), "models is empty"),
    (lambda s: compare({"a": report_of([1, 2])}, s, against="b"), "against must be one of a"),
])  # fmt: skip
def test_wrong_input_is_named(shop, call, message):
    with pytest.raises(ValueError, match=message):
        call(shop)


# ---- faults that were, each by its name


def test_numpy_integers_are_whole_numbers_and_truth_values_are_not(shop):
    ten, model = np.int64(10), model_of(shop)
    plain = evaluate(model, shop, k=10, ranking="sampled", n_candidates=30, seed=3, progress=False)
    same = evaluate(model, shop, k=ten, ranking="sampled", n_candidates=np.int32(30), seed=np.int64(3), progress=False)
    assert (plain.ranks == same.ranks).all() and same.k == (10,) and type(same.k[0]) is int
    assert list(evaluate(model, shop, k=np.array([5, 10]), progress=False).table()) == ["HR@5", "HR@10", "NDCG@5", "NDCG@10"]
    assert plain.interval(k=ten, n=np.int64(50), seed=np.int64(1)) == plain.interval(k=10, n=50, seed=1)
    assert plain.corrected(k=ten) == plain.corrected(k=10)
    assert exposure(model, shop, ten).equals(exposure(model, shop, 10))
    assert compare({"m": model}, shop, k=ten, seed=np.int64(0), progress=False).attrs["interval"] == "NDCG@10"
    refused = [
        lambda: evaluate(model, shop, k=True), lambda: evaluate(model, shop, k=(5, np.True_)),
        lambda: evaluate(model, shop, k=2.0), lambda: evaluate(model, shop, ranking="sampled", seed=True),
        lambda: evaluate(model, shop, ranking="sampled", n_candidates=True), lambda: plain.values("hr", True),
        lambda: plain.interval(n=1.5), lambda: exposure(model, shop, True), lambda: compare({"m": model}, shop, k=True),
    ]  # fmt: skip
    for call in refused:
        with pytest.raises(ValueError, match="must be a whole number"):
            call()


def test_a_corrected_figure_can_leave_the_unit_interval():
    perfect = report_of(np.zeros(50, dtype=int), 999, 4999, "sampled")
    assert perfect.corrected("hr", 10) == pytest.approx(1.073, abs=5e-4)
    assert perfect.corrected("ndcg", 10) == pytest.approx(0.783, abs=5e-4)
    assert min(correction("hr", 10, 4999, 999, 0.1)) < 0
    told = " ".join(Report.corrected.__doc__.split())
    assert "1.073" in told and "can leave [0, 1]" in told


def test_candidates_cost_no_catalogue():
    """Memory, and with it time, goes with users × candidates; a key for every user and item would be 480 MB here."""
    import tracemalloc

    d = Dataset([[0, 0]], np.arange(400), n_users=400, n_items=300_000)
    d.indices  # noqa: B018  (made once)
    tracemalloc.start()
    drawn = sample_candidates(d, 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6 and drawn.shape == (400, 50)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_set_of_candidates_is_equally_likely(n):
    """Users with items at the ends, in the middle, beside each other; with the same left, and with another number left."""
    M = 40_000
    users = np.arange(M)
    train = [np.stack([users, np.full(M, 2)], 1), np.stack([users[::2], np.full(M // 2, 3)], 1), [[1, 2]]]
    test = np.where(users % 4 < 2, 6, 2)  # the last item, or one that is in train
    with pytest.warns(UserWarning, match="test item in train"):
        d = Dataset(np.concatenate(train), test, n_users=M, n_items=7)
    drawn = sample_candidates(d, n, seed=n)
    assert (np.diff(drawn, axis=1) > 0).all()  # ascending, so all different
    for kind in range(4):
        left = sorted(set(range(7)) - set(d.items_of(kind)) - {d.test[kind]})
        sets = {s: 0 for s in itertools.combinations(left, n)}
        for row in map(tuple, drawn[kind::4].tolist()):
            sets[row] += 1
        assert stats.chisquare(list(sets.values())).pvalue > 1e-4 if len(sets) > 1 else True


def test_candidates_may_be_all_that_is_left(shop):
    free = [np.setdiff1d(np.arange(shop.n_items), [*shop.items_of(u), shop.test[u]]) for u in range(shop.n_users)]
    most = min(len(f) for f in free)
    for n in (1, most - 1, most):
        drawn = sample_candidates(shop, n)
        assert all(np.isin(row, f).all() and len(set(row)) == n for row, f in zip(drawn, free))
        assert all((row == f).all() for row, f in zip(drawn, free) if len(f) == n)
    whole = sample_candidates(Dataset(np.empty((0, 2)), [-1, -1], n_users=2, n_items=300), 300)
    assert (whole == np.arange(300)).all()


def test_candidates_are_the_same_in_blocks_of_any_size_and_on_every_machine(shop, monkeypatch):
    whole = sample_candidates(shop, 12, seed=5)
    assert whole[0].tolist() == FIRST and not (whole == sample_candidates(shop, 12, seed=6)).all()
    pieces = []
    monkeypatch.setattr(candidates, "_subsets", lambda rng, left, n: pieces.append(len(left)) or subsets(rng, left, n))
    monkeypatch.setattr(candidates, "BLOCK", 12 * 7)
    assert (sample_candidates(shop, 12, seed=5) == whole).all() and max(pieces) == 7


def test_nobody_and_nothing_have_clear_answers(shop):
    everything = Dataset(np.argwhere(np.ones((2, 3))), [-1, -1], n_items=3)
    row = exposure(amrlib.Popularity().bind(everything), everything, 2, users=[0, 1])
    assert row["coverage@2"] == 0 and row.isna().tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="users is empty"):
        exposure(model_of(shop), shop.replace(test=np.full(shop.n_users, -1)))
    with pytest.raises(ValueError, match="nothing to rank"):
        compare({"m": model_of(shop)}, shop.replace(test=np.full(shop.n_users, -1)))


def test_what_people_have_is_what_the_model_was_bound_to(shop):
    """Exposure of a model on other data: the lists leave out the items of the model's data, and of no other."""
    model = model_of(shop)
    other = Dataset(shop.train[::-1] * [1, 0] + [0, 79], shop.test, shop.features, n_users=shop.n_users, n_items=80)
    items, _ = model.recommend(np.arange(shop.n_users), 5)
    row = exposure(model, other, 5, users=np.arange(shop.n_users))
    assert not shop.is_train(np.arange(shop.n_users)[:, None], items).any()
    assert row["popularity@5"] == other.item_counts[items].mean() and row["cold@5"] == other.cold[items].mean()
