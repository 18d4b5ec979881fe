"""The four switches of ``evaluate``: by brute force on scores with ties, and against what other libraries gave."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import amrlib
from amrlib import Dataset, evaluate
from amrlib.evaluation import Report, paired_test
from amrlib.evaluation.ranks import held_out_ranks
from measures.adapters.amrlib import as_asked
from measures.cases import BY_NAME, ITEMS

M, N = 40, 30
MEASURES = ("hr", "ndcg", "mrr", "auc")
ORDER = ("lost", "shared", "won")


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(0)
    train = np.stack([rng.integers(0, M, 120), rng.integers(0, N - 5, 120)], 1)
    test = np.where(rng.random(M) < 0.2, -1, rng.integers(0, N, M))
    test[train[:3, 0]] = train[:3, 1]  # held out, and in train as well
    with pytest.warns(UserWarning, match="in train as well"):
        return Dataset(train, test, n_users=M, n_items=N)


@pytest.fixture(scope="module")
def model():
    """Scores with many ties: whole numbers, and items with the same vector."""
    rng = np.random.default_rng(1)
    U = torch.as_tensor(rng.integers(0, 3, (M, 4)).astype(np.float32))
    V = torch.as_tensor(rng.integers(0, 2, (N, 4)).astype(np.float32))
    return SimpleNamespace(user_vectors=lambda: U, item_vectors=lambda features=None: V)


def rivals_of(shop, u, candidates):
    if candidates is not None:
        return [j for j in candidates[u] if j != shop.test[u]]
    return [j for j in range(N) if j != shop.test[u] and j not in shop.items_of(u)]


def value(measure, rank, n, k, ideal="achievable", auc="all"):
    """One user's figure, written out."""
    if measure == "hr":
        return float(rank < k)
    if measure == "ndcg":
        best = 1.0 if ideal == "achievable" else sum(1 / math.log2(place + 2) for place in range(k))
        return 1 / math.log2(rank + 2) / best if rank < k else 0.0
    if measure == "mrr":
        return 1 / (rank + 1)
    if auc == "all" or rank < k:
        return (n - rank) / n
    return (n - k) / 2 / n


def brute_force(model, shop, candidates, k, ties, ideal, missing, auc):
    scores = model.user_vectors().numpy() @ model.item_vectors().numpy().T
    found = {measure: [] for measure in MEASURES}
    for u in range(M):
        if shop.test[u] < 0:
            if missing == "zero":
                for measure in MEASURES:
                    found[measure].append(0.0)
            continue
        theirs = [scores[u, j] for j in rivals_of(shop, u, candidates)]
        above = sum(s > scores[u, shop.test[u]] for s in theirs)
        same = sum(s == scores[u, shop.test[u]] for s in theirs)
        places = {"lost": [above + same], "won": [above], "shared": range(above, above + same + 1)}[ties]
        for measure in MEASURES:
            found[measure].append(np.mean([value(measure, r, len(theirs), k, ideal, auc) for r in places]))
    return {measure: np.mean(values) for measure, values in found.items()}


@pytest.mark.parametrize("how", ["full", "sampled"])
@pytest.mark.parametrize("ties, ideal, missing, auc", list(itertools.product(
    ("lost", "won", "shared"), ("achievable", "k"), ("left out", "zero"), ("all", "first k"))))  # fmt: skip
def test_against_brute_force(model, shop, how, ties, ideal, missing, auc):
    candidates = None
    if how == "sampled":
        shop = shop.replace(candidates=np.tile(np.arange(0, N, 2), (M, 1)))
        candidates = shop.candidates
    for k in (1, 4):
        report = evaluate(model, shop, k, how, progress=False, ties=ties, ideal=ideal, missing=missing, auc=auc)
        expected = brute_force(model, shop, candidates, k, ties, ideal, missing, auc)
        for measure in MEASURES:
            assert report.values(measure, k).mean() == pytest.approx(expected[measure], abs=1e-12), measure
        assert (report.hr(k), report.ndcg(k)) == pytest.approx((expected["hr"], expected["ndcg"]))
        assert (report.mrr(), report.auc(k)) == pytest.approx((expected["mrr"], expected["auc"]))


def test_left_alone_nothing_changes(model, shop):
    """Bit for bit: the same ranks, values and report as when there were no switches."""
    plain = evaluate(model, shop, progress=False)
    named = evaluate(model, shop, progress=False, ties="lost", ideal="achievable", missing="left out", auc="all")
    ranks = held_out_ranks(model.user_vectors(), model.item_vectors(), shop)
    assert plain.tied is None and np.array_equal(plain.ranks, ranks) and np.array_equal(named.ranks, ranks)
    old = np.where(ranks < 10, np.log(2) / np.log(ranks + 2.0), 0.0)  # as it was written before
    for report in (plain, named):
        assert np.array_equal(report.values("ndcg", 10), old) and report.ndcg(10) == float(old.mean())
        assert np.array_equal(report.values("auc"), 1.0 - ranks / np.maximum(report.n_candidates, 1))


def test_tied_counts_are_what_lies_between_lost_and_won(model, shop):
    shared = evaluate(model, shop, progress=False, ties="shared")
    won = evaluate(model, shop, progress=False, ties="won")
    assert np.array_equal(shared.ranks - shared.tied, won.ranks) and shared.tied.any() and (shared.tied >= 0).all()
    for measure in MEASURES:
        values = [evaluate(model, shop, progress=False, ties=ties).values(measure, 5).mean() for ties in ORDER]
        assert values == sorted(values) and values[0] < values[2]


def test_everyone_is_there_where_missing_users_count(model, shop):
    report = evaluate(model, shop, progress=False, missing="zero", ties="shared")
    without = evaluate(model, shop, progress=False, ties="shared")
    assert len(report.users) == M and (report.items < 0).sum() == M - len(without.users)
    assert report.ndcg(5) == pytest.approx(without.ndcg(5) * len(without.users) / M)
    groups = report.by("cold")
    assert groups.loc["no item", "users"] == (report.items < 0).sum() and groups.loc["no item", "HR@10"] == 0
    assert groups.loc["cold item", "NDCG@10"] == pytest.approx(without.by("cold").loc["cold item", "NDCG@10"])


def test_reports_that_count_otherwise_are_not_paired(model, shop):
    plain = evaluate(model, shop, progress=False)
    for words in ({"ties": "won"}, {"ideal": "k"}, {"auc": "first k"}):
        other = evaluate(model, shop, progress=False, **words)
        with pytest.raises(ValueError, match="in different ways"):
            paired_test(plain, other)
        assert paired_test(other, other).difference == 0


@pytest.mark.parametrize("word", ["ties", "ideal", "missing", "auc"])
def test_an_unknown_word_is_refused(model, shop, word):
    with pytest.raises(ValueError, match=f"{word} must be"):
        evaluate(model, shop, progress=False, **{word: "another"})
    with pytest.raises(ValueError, match="ties must be"):
        held_out_ranks(model.user_vectors(), model.item_vectors(), shop, ties="shared")


def test_corrections_follow_the_switches(model, shop):
    """All drawn: then nothing is to be corrected, whatever is counted how."""
    everyone = shop.replace(candidates=np.tile(np.arange(N), (M, 1)))
    report = evaluate(model, everyone, 5, "sampled", progress=False, ties="shared", ideal="k")
    assert report.corrected("ndcg", 5) == report.ndcg(5)
    some = evaluate(model, shop, 5, "sampled", n_candidates=10, progress=False)
    other = replace(some, ideal="k")
    best = sum(1 / math.log2(place + 2) for place in range(5))
    assert other.corrected("ndcg", 5) == pytest.approx(some.corrected("ndcg", 5) / best)


# ---- what other libraries gave, as stored by ``python -m measures run``


@pytest.fixture(scope="module")
def stored():
    return json.loads((Path(__file__).resolve().parents[1] / "measures" / "results.json").read_text(encoding="utf-8"))


def asked(name, **words):
    """Ours on a stored case."""
    case = BY_NAME[name]
    return evaluate(*as_asked(case), case.k, progress=False, **words), case.k


def said(stored, library, case, measure):
    return pytest.approx(stored[library]["cases"][case]["values"][measure], abs=1e-6)


def test_the_ideal_of_k_items_meets_rectools(stored):
    for case in ("plain", "first", "second"):
        report, k = asked(case, ideal="k")
        assert report.ndcg(k) == said(stored, "rectools", case, "NDCG")


def test_shared_ties_meet_torchmetrics(stored):
    for case in ("all equal, item 0", "all equal, item 5"):
        report, k = asked(case, ties="shared")
        assert report.ndcg(k) == said(stored, "torchmetrics", case, "NDCG")


def test_auc_of_the_first_k_meets_implicit(stored):
    """implicit counts the items that the user had before among the rivals: all but the held-out one."""
    for case in ("first", "second", "plain"):
        report, k = asked(case, auc="first k")
        theirs = replace(report, n_candidates=np.full(len(report.users), ITEMS - 1))
        assert theirs.auc(k) == said(stored, "implicit", case, "AUC")


def test_missing_users_that_count_meet_rectools_and_replay(stored):
    """Ours asks the model about everybody, so here it is the user without a held-out item that counts nothing."""
    report, k = asked("nothing held out", missing="zero")
    assert report.hr(k) == 0.5 and asked("nothing held out")[0].hr(k) == 1
    for library in ("rectools", "replay"):
        assert report.hr(k) == said(stored, library, "no list", "HR")


def test_the_report_says_how_it_counts():
    assert [Report.__dataclass_fields__[name].default for name in ("ties", "tied", "ideal", "auc_of")] == [
        "lost", None, "achievable", "all"]  # fmt: skip
    assert amrlib.evaluate.__doc__ and "Four switches" in amrlib.evaluate.__doc__
