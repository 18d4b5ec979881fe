"""Everyone who is measured, each in a process of its own: `python -m bench worker NAME`, started by bench/run.py.

A contender is a function ``(clock, shop, size, batch)`` that works for ever and calls ``clock.tick(n)`` before each n
triples (observed pairs for the least-squares methods, users for ranking). Each library's own training loop, sampler and
optimiser run; where a loop cannot be interrupted, what it iterates over is wrapped so that it ticks.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .workloads import Clock, Shop, Size, make

__all__ = ["BPR", "CONTENDERS", "LIBRARY_PRODUCTS", "RIVALS", "Contender", "main"]

FOREVER = 10**9
MACHINE = "products in the cache", "sums over memory"  # the machine itself, by one thread and by two
PIECE = 2**15  # triples of ours between two ticks: a second at most
LR, EPSILON = 0.05, 0.1


class Contender(NamedTuple):
    """kind: "train", "rank", "two cores" or "products" is measured in units a second; "ceiling" is the machine itself."""

    run: Callable[[Clock, Shop, Size, int], None]
    kind: str
    library: str  # the distribution it needs; "amrlib" is ours
    batched: bool  # whether the batch size means anything to it
    driven: str  # for the page: what of the library runs
    threads: int = 1


CONTENDERS: dict[str, Contender] = {}
# ours → whom it is compared with: the same work
RIVALS = {
    "AMR, compiled": ["naive AMR", "frugal naive AMR", "cornac AMR"],
    "AMR": ["naive AMR", "frugal naive AMR", "cornac AMR"],
    "AMR, items regularised, compiled": ["naive AMR, items regularised"],
    "AMR, items regularised": ["naive AMR, items regularised"],
    "VBPR, compiled": ["naive VBPR", "cornac VBPR"],
    "VBPR": ["naive VBPR", "cornac VBPR"],
    "MF-BPR, compiled": ["RecBole BPR", "LensKit FlexMF-BPR", "cornac BPR", "implicit BPR"],
    "MF-BPR": ["RecBole BPR", "LensKit FlexMF-BPR", "cornac BPR", "implicit BPR"],
    "MF-BPR, per triple": ["cornac BPR", "implicit BPR", "MF-BPR, compiled"],
    "MF-BPR, per triple, two threads": ["MF-BPR, per triple"],
    "MF-eALS": ["implicit ALS"],
    "ranking": ["cornac ranking", "implicit ranking"],
}
LIBRARY_PRODUCTS = {"AMR, compiled, torch's products": "TorchProducts", "AMR, compiled, BLAS in the loops": "BLASInLoops"}


# measured apart, on a larger shop as well
BPR = ["MF-BPR, per triple", "MF-BPR, per triple, two threads", "cornac BPR", "implicit BPR", "MF-BPR, compiled"]


def contender(name: str, kind: str, library: str, driven: str, batched: bool = True, threads: int = 1) -> Callable:
    def register(run: Callable) -> Callable:
        CONTENDERS[name] = Contender(run, kind, library, batched, driven, threads)
        return run

    return register


def ticking(items: Iterable[Any], clock: Clock, size: float | Callable[[Any], float]) -> Iterator[Any]:
    """``items``, with a tick before each."""
    for item in items:
        clock.tick(size(item) if callable(size) else size)
        yield item


def same(clock: Clock, size: float) -> Callable[..., None]:
    """A callback that ticks, for loops that call one after each of equally large rounds."""
    return lambda *_: clock.tick(size)


# ---------------------------------------------------------------- ours


def dataset(shop: Shop, size: Size) -> Any:
    import amrlib

    features = shop.features if shop.features.shape[1] else None
    return amrlib.Dataset(shop.train, shop.test, features=features, n_users=size.users, n_items=size.items)


def ours(model: str, reg: tuple[float, float, float] = (0.0, 0.0, 0.0), compiled: bool = False, products: str = "") -> Callable:
    """``model.fit`` with a trainer that ticks before each piece of an epoch; sampling, shuffling and the losses' sums are
    inside. A trainer may take many steps in one call, so not before each step."""

    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import amrlib
        from amrlib import training

        trainer = training.PairwiseTrainer
        if compiled:
            from amrlib.training.compiled.step import CompiledTrainer as trainer  # type: ignore[no-redef]
        if products:
            from . import products as of_libraries

            trainer = getattr(of_libraries, products)

        class Timed(trainer):  # type: ignore[misc, valid-type]
            def epoch(self, users: Any, pos: Any, neg: Any, batch_size: int) -> Any:
                sums, whole = 0.0, batch_size * max(1, PIECE // batch_size)
                for start in range(0, len(users), whole):
                    piece = [ids[start : start + whole] for ids in (users, pos, neg)]
                    clock.tick(len(piece[0]))
                    sums = sums + super().epoch(*piece, batch_size)
                return sums

        data = dataset(shop, size)
        settings = {"epsilon": EPSILON, "adv_weight": 1.0} if model == "AMR" else {}
        fitted = getattr(amrlib, model)(dim=size.K, **settings)
        fitted.fit(data, epochs=FOREVER, batch_size=batch, lr=LR, reg=reg, device="cpu", progress=False, trainer=Timed)

    return run


REGULARISED = (0.001, 0.001, 0.001)
AMRLIB = "`model.fit`: amrlib's loop, its sampler and the losses it reports"
COMPILED = AMRLIB + ', with `trainer="compiled"`'
for name, kind, reg in (
    ("AMR", "AMR", (0.0, 0.0, 0.0)),
    ("AMR, items regularised", "AMR", REGULARISED),
    ("VBPR", "VBPR", (0.0, 0.0, 0.0)),
    ("VBPR, items regularised", "VBPR", REGULARISED),
    ("MF-BPR", "MFBPR", (0.0, 0.0, 0.0)),
):
    contender(f"{name}, compiled", "train", "amrlib", COMPILED)(ours(kind, reg, compiled=True))
    contender(name, "train", "amrlib", AMRLIB)(ours(kind, reg))


def per_triple(threads: int) -> Callable:
    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import torch

        import amrlib
        from amrlib.training.compiled.per_triple import PerTripleTrainer

        class Timed(PerTripleTrainer):
            def new_epoch(self, users: Any, *rest: Any) -> Any:
                clock.tick(len(users))
                return super().new_epoch(users, *rest)

        torch.set_num_threads(threads)
        settings = dict(optimizer="sgd", lr=LR, device="cpu", progress=False, trainer=Timed)
        amrlib.MFBPR(dim=size.K).fit(dataset(shop, size), epochs=FOREVER, **settings)

    return run


PER_TRIPLE = AMRLIB + ', with `trainer="per_triple"`'
contender("MF-BPR, per triple", "train", "amrlib", PER_TRIPLE, batched=False)(per_triple(1))
contender("MF-BPR, per triple, two threads", "train", "amrlib", PER_TRIPLE, batched=False)(per_triple(2))
for name in ("AMR", "VBPR"):
    contender(f"{name}, compiled, two threads", "two cores", "amrlib", COMPILED + ", two threads", threads=2)(
        ours(name, compiled=True)
    )


for name, products in LIBRARY_PRODUCTS.items():
    contender(name, "products", "amrlib", COMPILED + ", and a library's matrix products")(
        ours("AMR", compiled=True, products=products)
    )


@contender("MF-eALS", "train", "amrlib", "`MFeALS.fit`, both sweeps and the exact loss", batched=False)
def eals(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    import amrlib
    from amrlib.models import mf_eals

    data = dataset(shop, size)
    mf_eals.progress_bar = lambda items, *_, **__: ticking(items, clock, size.interactions)  # type: ignore[assignment]
    amrlib.MFeALS(dim=size.K).fit(data, epochs=FOREVER, device="cpu", progress=False)


def naive(reg_item: float = 0.0, adv_weight: float = 1.0, frugal: bool = False) -> Callable:
    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import torch

        from amrlib.training import NegativeSampler

        from .naive import NaiveAMR

        normal = lambda rows: 0.01 * torch.randn(rows, size.K)  # noqa: E731
        features = torch.as_tensor(shop.features)
        P, Q, E = map(normal, (size.users, size.items, size.D))
        step = NaiveAMR(P, Q, E, features, LR, EPSILON, adv_weight, reg_item, reg_item, frugal).step
        pairs, sampler = torch.as_tensor(shop.train), NegativeSampler(dataset(shop, size))
        while True:
            users, pos = pairs[torch.randperm(len(pairs))].unbind(1)
            neg = sampler(users)
            for at in ticking(range(0, len(pairs), batch), clock, lambda at: min(batch, len(pairs) - at)):
                step(users[at : at + batch], pos[at : at + batch], neg[at : at + batch])

    return run


GRAPH = "`bench/naive.py`, the authors' graph in plain torch, with amrlib's sampler"
contender("naive AMR", "train", "torch", GRAPH)(naive())
FRUGAL = GRAPH + ", with fewer arrays of the table's size"
contender("frugal naive AMR", "train", "torch", FRUGAL)(naive(frugal=True))
contender("naive AMR, items regularised", "train", "torch", GRAPH)(naive(REGULARISED[1]))
contender("naive VBPR", "train", "torch", GRAPH + ", without the adversary")(naive(adv_weight=0.0))


# ---------------------------------------------------------------- peers: training


def _cornac_set(shop: Shop) -> Any:
    from cornac.data import Dataset

    data = Dataset.from_uir([(int(u), int(i), 1.0) for u, i in shop.train], seed=0)
    data.item_image = types.SimpleNamespace(features=shop.features)
    return data


def cornac(model: str, **settings: Any) -> Callable:
    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import cornac.models

        data = _cornac_set(shop)
        draw = data.uij_iter
        data.uij_iter = lambda *a, **k: ticking(draw(*a, **k), clock, lambda triples: len(triples[0]))
        dims = {"k": size.K, "k2": size.K}
        getattr(cornac.models, model)(**dims, n_epochs=FOREVER, batch_size=batch, seed=0, **settings).fit(data)

    return run


TORCH = "`fit`: its own loop, sampler and Adam"
contender("cornac AMR", "train", "cornac", TORCH)(cornac("AMR"))
contender("cornac VBPR", "train", "cornac", TORCH)(cornac("VBPR"))


@contender("cornac BPR", "train", "cornac", "`fit`: Cython, one triple at a time", batched=False)
def cornac_bpr(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    from cornac.models import BPR
    from cornac.models.bpr import recom_bpr

    class Ticking:
        """Stands in for the loop's progress bar."""

        def __init__(self, rounds: int, **_: Any) -> None:
            self.rounds = rounds

        def __enter__(self) -> Ticking:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def set_postfix(self, *_: Any) -> None: ...

        def __iter__(self) -> Iterator[int]:
            return ticking(range(self.rounds), clock, size.interactions)

    recom_bpr.trange = Ticking
    BPR(k=size.K, max_iter=FOREVER, seed=0).fit(_cornac_set(shop))


def _csr(shop: Shop, size: Size) -> Any:
    import scipy.sparse

    ones = np.ones(len(shop.train), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (shop.train[:, 0], shop.train[:, 1])), shape=(size.users, size.items))


@contender("implicit BPR", "train", "implicit", "`fit`: Cython, one triple at a time", batched=False)
def implicit_bpr(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(factors=size.K, iterations=FOREVER, num_threads=1, random_state=0)
    model.fit(_csr(shop, size), show_progress=False, callback=same(clock, size.interactions))


@contender("implicit ALS", "train", "implicit", "`fit` with the Cholesky solver, both sweeps", batched=False)
def implicit_als(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=size.K, iterations=FOREVER, num_threads=1, random_state=0, use_cg=False, use_native=True
    )
    model.fit(_csr(shop, size), show_progress=False, callback=same(clock, size.interactions))


@contender("RecBole BPR", "train", "recbole", "`Trainer`'s epochs with its data loader and Adam")
def recbole(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, kind)  # names of numpy 1 that RecBole 1.2 reads
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import BPR
    from recbole.trainer import Trainer

    sys.argv = sys.argv[:1]  # RecBole reads settings from it
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where it writes its logs
        (Path(folder) / "shop").mkdir()
        rows = "\n".join(f"{u}\t{i}" for u, i in shop.train)
        (Path(folder) / "shop" / "shop.inter").write_text(f"user_id:token\titem_id:token\n{rows}\n")
        config = Config(model="BPR", dataset="shop", config_dict={
            "data_path": folder, "load_col": {"inter": ["user_id", "item_id"]}, "use_gpu": False, "device": "cpu",
            "embedding_size": size.K, "train_batch_size": batch, "show_progress": False, "seed": 0,
            "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "group_by": "none", "mode": "full"},
        })  # fmt: skip
        data = create_dataset(config)
        loader, _, _ = data_preparation(config, data)
        trainer = Trainer(config, BPR(config, loader.dataset))

        class Ticking:
            shuffle = False

            def __iter__(self) -> Iterator[Any]:
                return ticking(loader, clock, lambda triples: len(triples))

        for epoch in range(FOREVER):
            trainer._train_epoch(Ticking(), epoch)


@contender("LensKit FlexMF-BPR", "train", "lenskit", '`FlexMFImplicitScorer` with the preset "bpr", its trainer\'s epochs')
def lenskit(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.flexmf import FlexMFImplicitScorer
    from lenskit.flexmf._training import FlexMFTrainingEpoch
    from lenskit.training import TrainingOptions

    draw, epochs = FlexMFTrainingEpoch.batches, itertools.count()

    def batches(self: Any, fields: Any = None) -> Iterator[Any]:
        triples = draw(self, fields)
        # its model is compiled for the first batch and again for the last, smaller one: the first epoch is its start-up
        return ticking(triples, clock, lambda batch: len(batch.users)) if next(epochs) else triples

    FlexMFTrainingEpoch.batches = batches
    data = from_interactions_df(pd.DataFrame(shop.train, columns=["user_id", "item_id"]))
    scorer = FlexMFImplicitScorer(preset="bpr", embedding_size=size.K, batch_size=batch, epochs=FOREVER)
    scorer.train(data, TrainingOptions(device="cpu", rng=0))


# ---------------------------------------------------------------- ranking everything


def vectors(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """The same P (M, K) and Q (N, K) for everyone who ranks."""
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal((n, size.K), dtype=np.float32) for n in (size.users, size.items))  # type: ignore[return-value]


@contender("ranking", "rank", "amrlib", "`amrlib.evaluate`, all items: HR and NDCG at 5, 10, 20", batched=False)
def ranking(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    import torch

    import amrlib

    data = dataset(shop, size)
    model = amrlib.MFBPR(dim=size.K).bind(data)
    model.P, model.Q = map(torch.as_tensor, vectors(size))
    while True:
        clock.tick(size.users)
        report = amrlib.evaluate(model, data, k=(5, 10, 20), ranking="full")
        report.table()


@contender("cornac ranking", "rank", "cornac", "`ranking_eval`: HitRatio and NDCG at 5, 10, 20; a part of the users",
           batched=False)  # fmt: skip
def cornac_ranking(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    from cornac.data import Dataset
    from cornac.eval_methods.base_method import ranking_eval
    from cornac.metrics import NDCG, HitRatio
    from cornac.models import BPR

    data = _cornac_set(shop)
    P, Q = vectors(size)
    model = BPR(k=size.K, trainable=False, init_params={"U": P, "V": Q}, seed=0).fit(data)
    part = range(min(500, size.users, max(1, 10**7 // size.items)))
    held_out = [(u, int(shop.test[u]), 1.0) for u in part]
    test = Dataset.build(held_out, fmt="UIR", global_uid_map=data.uid_map, global_iid_map=data.iid_map, seed=0)
    metrics = [kind(k=k) for kind in (HitRatio, NDCG) for k in (5, 10, 20)]
    while True:
        clock.tick(len(part))
        ranking_eval(model, metrics, data, test)


@contender("implicit ranking", "rank", "implicit", "`ranking_metrics_at_k`, k 20: precision, MAP, NDCG, AUC", batched=False)
def implicit_ranking(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from implicit.evaluation import ranking_metrics_at_k

    train = _csr(shop, size)
    test = _csr(shop._replace(train=np.stack([np.arange(size.users), shop.test], 1)), size)
    model = BayesianPersonalizedRanking(factors=size.K, num_threads=1)
    model.user_factors, model.item_factors = vectors(size)
    while True:
        clock.tick(size.users)
        ranking_metrics_at_k(model, train, test, K=20, show_progress=False, num_threads=1)


SAMPLE = 16_384  # users of the large shop, whose time stands for that of all


def on_two_cores(call: Callable) -> Callable:
    """Ranks for some of the users of a model with features."""

    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import amrlib

        test = np.where(np.arange(size.users) < SAMPLE, shop.test, -1)
        data = dataset(shop._replace(test=test), size)
        model = amrlib.AMR(dim=size.K, init_std=0.1, epsilon=EPSILON).bind(data)
        while True:
            clock.tick(min(SAMPLE, size.users))
            call(amrlib, model, data)

    return run


for name, driven, call in (
    ("ranking, two threads", "`amrlib.evaluate`, all items",
     lambda amrlib, model, data: amrlib.evaluate(model, data, progress=False)),
    ("worst-case ranks, two threads", "`amrlib.worst_case_ranks`, all items, ε 0.1",
     lambda amrlib, model, data: amrlib.worst_case_ranks(model, data, EPSILON, progress=False)),
):  # fmt: skip
    contender(name, "two cores", "amrlib", f"{driven}, two threads, {SAMPLE:,} of the users", False, 2)(on_two_cores(call))


# ---------------------------------------------------------------- the machine


@contender("ceiling", "ceiling", "torch", "matrix products of the step's shapes, rows gathered into a buffer")
def ceiling(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
    """Rates of what no step can do without: GFLOP/s of its two products, GB/s of its gather."""
    import torch

    B, D, K = batch, size.D, size.K
    features = torch.as_tensor(shop.features)
    ids = torch.randint(0, size.items, (2, B))
    rows, E, Z = torch.randn(B, D), torch.randn(D, K), torch.randn(B, K)
    out_Z, out_E = torch.empty(B, K), torch.empty(K, D).T  # E lies so in amrlib, and torch is faster with it
    n = 1024
    square, out_square = torch.randn(n, n), torch.empty(n, n)
    # index_select with out= is what a program can have without a kernel of its own
    work = {
        "forward": (lambda: torch.mm(rows, E, out=out_Z), 2 * B * D * K / 1e9),
        "backward": (lambda: torch.mm(rows.T, Z, out=out_E), 2 * B * D * K / 1e9),
        "square": (lambda: torch.mm(square, square, out=out_square), 2 * n**3 / 1e9),
        "gather": (lambda: [torch.index_select(features, 0, i, out=rows) for i in ids], 2 * B * D * 4 / 1e9),
    }
    clock.say(clock.about)
    while True:
        each = clock.wait() / len(work)
        rates = {}
        for name, (call, amount) in work.items():
            call()
            start, times = time.perf_counter(), 0
            while (spent := time.perf_counter() - start) < each:
                call()
                times += 1
            rates[name] = times * amount / spent
        clock.say({"rates": rates})


def machine_itself(threads: int, what: str) -> Callable:
    """Two cores of a shared machine are not always twice one: they may be halves of one, and memory is everybody's."""

    def run(clock: Clock, shop: Shop, size: Size, batch: int) -> None:
        import torch

        def products(arrays: Any) -> None:
            for _ in range(64):
                torch.mm(arrays[0], arrays[1], out=arrays[2])

        in_cache = what == MACHINE[0]
        arrays = torch.rand(threads, *((3, 256, 256) if in_cache else (2**24,))).unbind()
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            while True:
                clock.tick(threads)
                list(pool.map(products if in_cache else torch.sum, arrays))

    return run


for what, driven in zip(MACHINE, ("64 products of 256 × 256 matrices per thread", "a sum over 64 MiB per thread"), strict=True):
    contender(what, "two cores", "torch", driven)(machine_itself(1, what))
    contender(f"{what}, two threads", "two cores", "torch", driven, threads=2)(machine_itself(2, what))


# ---------------------------------------------------------------- one process


def version(library: str) -> str:
    return importlib.metadata.version(library)


def main(name: str, size: Size, batch: int, seed: int) -> int:
    """Run one contender until the input ends. 3: its library is not installed; the reason is on stderr."""
    chosen = CONTENDERS[name]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    try:
        versions = {n: version(n) for n in dict.fromkeys(("torch", "numpy", chosen.library)) if n != "amrlib"}
    except importlib.metadata.PackageNotFoundError as error:
        print(f"{error.name} is not installed", file=sys.stderr)
        return 3
    import torch

    torch.set_num_threads(chosen.threads)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (some peers draw from it)
    shop = make(size, seed, features=any(word in name for word in ("AMR", "VBPR", "ceiling", "two threads")))
    chosen.run(Clock(sys.stdin, answers, versions=versions), shop, size, batch)
    return 0
