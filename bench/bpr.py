"""Does one triple at a time rank as well as the others' BPR, after as many epochs? `python -m bench bpr`, in an environment
that has amrlib, cornac and implicit.

The shops of :mod:`bench.workloads` have no taste to learn. Here simulated users have one: a vector of ``TASTES`` numbers, as
items do. For each interaction a user looks at ``SHOWN`` items, drawn by popularity, and takes the one that suits best. One
item of each user is held out for the test. Everyone has the same grid of rates and penalties, and takes what ranks another
held-out item of each user best, in one run of seed 0; then ``SEEDS`` runs on all training rows are tested."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from .contenders import _csr
from .workloads import SIZES, Shop, Size

__all__ = ["METHODS", "accuracy", "taste_shop"]

TASTES, SHOWN, SEEDS = 8, 20, 10
EPOCHS = {"pinterest": 60, "medium": 20, "women": 10}
RATES = [(lr, reg) for lr in (0.01, 0.02, 0.05, 0.1, 0.2) for reg in (0.002, 0.02)]
FEWER = [(lr, 0.002) for lr in (0.05, 0.1, 0.2)]  # for the largest shop
TESTED = 5_000  # users at most
INIT = 0.0045  # the deviation of the others' start, uniform of width 1/K, at K 64

Vectors = tuple[np.ndarray, np.ndarray]  # (M, K̃), (N, K̃)


def taste_shop(size: Size, seed: int = 0) -> Any:
    """A ``Dataset`` of about ``size.interactions`` training rows; a test item for everyone whose held-out item is warm."""
    import amrlib

    rng, M, N = np.random.default_rng(seed), size.users, size.items
    P, Q = (rng.standard_normal((rows, TASTES), dtype=np.float32) for rows in (M, N))
    ends = np.cumsum(1.0 / (np.arange(N) + 10.0))
    keys = np.zeros(0, np.int64)
    users = np.repeat(np.arange(M), 2)  # everyone has two items at least
    while len(users):
        taken = []
        for part in np.array_split(users, max(1, len(users) // 2**16)):
            shown = np.minimum(np.searchsorted(ends, rng.random((len(part), SHOWN)) * ends[-1]), N - 1)
            suits = np.einsum("uk,usk->us", P[part], Q[shown]) + rng.gumbel(size=shown.shape)
            taken.append(part * N + shown[np.arange(len(part)), suits.argmax(1)])
        keys = np.unique(np.concatenate([keys, *taken]))
        short = np.flatnonzero(np.bincount(keys // N, minlength=M) < 2)
        users = np.concatenate([short, rng.integers(0, M, max(0, size.interactions + M - len(keys) - len(short)))])
    train, test = amrlib.leave_one_out(np.stack([keys // N, keys % N], 1), seed=seed)
    return amrlib.Dataset(train, test, n_users=M, n_items=N)


def ours(shop: Any, K: int, epochs: int, lr: float, reg: float, seed: int) -> Vectors:
    import amrlib

    model = amrlib.MFBPR(dim=K, seed=seed, init_std=INIT).fit(
        shop, epochs=epochs, lr=lr, reg=reg / 2, seed=seed, trainer="per_triple", optimizer="sgd", device="cpu", progress=False
    )  # the others' penalty is half as large at the same number
    return model.P.numpy(), model.Q.numpy()


def cornac(shop: Any, K: int, epochs: int, lr: float, reg: float, seed: int, bias: bool = True) -> Vectors:
    from cornac.data import Dataset
    from cornac.models import BPR

    data = Dataset.from_uir([(int(u), int(i), 1.0) for u, i in shop.train], seed=seed)
    fitted = BPR(k=K, max_iter=epochs, learning_rate=lr, lambda_reg=reg, use_bias=bias, seed=seed).fit(data)
    P, Q = np.zeros((shop.n_users, K + 1), np.float32), np.zeros((shop.n_items, K + 1), np.float32)
    P[[*data.uid_map], :K], P[:, K] = fitted.u_factors[[*data.uid_map.values()]], 1
    Q[[*data.iid_map], :K] = fitted.i_factors[[*data.iid_map.values()]]
    Q[[*data.iid_map], K] = fitted.i_biases[[*data.iid_map.values()]]
    return P, Q


def implicit(shop: Any, K: int, epochs: int, lr: float, reg: float, seed: int) -> Vectors:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    size = Size(shop.n_users, shop.n_items, len(shop.train))
    fitted = BayesianPersonalizedRanking(
        factors=K, iterations=epochs, learning_rate=lr, regularization=reg, num_threads=1, random_state=seed
    )
    fitted.fit(_csr(Shop(shop.train, shop.test, None), size), show_progress=False)  # type: ignore[arg-type]
    return fitted.user_factors, fitted.item_factors


METHODS: dict[str, Callable[..., Vectors]] = {
    "MF-BPR, per triple": ours, "cornac BPR, without its biases": partial(cornac, bias=False), "implicit BPR": implicit,
    "cornac BPR": cornac,
}  # fmt: skip


def measure(vectors: Vectors, shop: Any) -> float:
    """NDCG@10 of the first ``TESTED`` test users, among all items."""
    from amrlib.evaluation.ranks import held_out_ranks, ndcg

    users = shop.test_users[:TESTED]
    test = np.full(shop.n_users, -1)
    test[users] = shop.test[users]
    return float(ndcg(held_out_ranks(*map(torch.from_numpy, vectors), shop.replace(test=test)), 10))


def accuracy(name: str, K: int = 64, say: Callable[[str], None] = print) -> dict[str, Any]:
    """``epochs``; for each method ``lr``, ``reg`` and ``NDCG@10``, one for each seed."""
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(1)
    shop, epochs, found = taste_shop(SIZES[name]), EPOCHS[name], {}
    held_out = shop.validation_split(0)
    points = FEWER if name == "women" else RATES
    for method, fit in METHODS.items():
        if name == "women" and method == "cornac BPR":
            continue  # half a minute each
        tried = [measure(fit(held_out, K, epochs, lr, reg, 0), held_out) for lr, reg in points]
        lr, reg = points[int(np.argmax(tried))]
        scores = [measure(fit(shop, K, epochs, lr, reg, seed), shop) for seed in range(SEEDS)]
        validation = [[*at, value] for at, value in zip(points, tried, strict=True)]
        found[method] = {"lr": lr, "reg": reg, "NDCG@10": scores, "validation": validation}
        say(f"{name}, {method}: lr {lr}, reg {reg}, NDCG@10 {np.mean(scores):.4f} ({min(scores):.4f}–{max(scores):.4f})")
    return {"workload": name, "epochs": epochs, "popularity": popularity(shop), "methods": found}


def popularity(shop: Any) -> float:
    """The same measure of everyone's most popular items."""
    counts = shop.item_counts.astype(np.float32)[:, None]
    return measure((np.ones((shop.n_users, 1), np.float32), counts), shop)
