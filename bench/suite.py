"""The whole of `make bench`: what is measured with what, written to bench/results and onto the page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import amrlib

from . import page
from .contenders import BPR, CONTENDERS, LIBRARY_PRODUCTS, MACHINE, RIVALS, dataset, vectors
from .growth import growth, memory_map
from .precision import precision
from .run import KEPT, ROOT, compare, machine, ratio, save, units
from .workloads import SIZES, Size, make

__all__ = ["ranking_agrees", "suite", "table"]

OURS = ("amrlib", "torch")  # what needs no peer


def table(run: dict[str, Any]) -> str:
    """One run in words: rates with their spread, then the ratios."""
    rates, size = run["rates"], run["size"]
    lines = [f"{size['users']:,} users, {size['items']:,} items, {size['interactions']:,} interactions, "
             f"D {size['D']}, K {size['K']}, batch {size['batch']}"]  # fmt: skip
    for name, values in rates.items():
        if CONTENDERS[name].kind != "ceiling":
            middle, least, most = units(values)
            lines.append(f"  {name:30} {middle:12,.0f} /s  [{least:,.0f} – {most:,.0f}]")
    for ours, rivals in RIVALS.items():
        for rival in rivals:
            if found := ratio(rates, ours, rival):
                lines.append(f"  {ours:30} ×{found[0]:.2f} [{found[1]:.2f} – {found[2]:.2f}] {rival}")
    for kind in (", compiled", ""):
        if found := ratio(rates, f"VBPR{kind}", f"AMR{kind}"):
            lines.append(f"  an epoch of AMR{kind} costs ×{found[0]:.2f} [{found[1]:.2f} – {found[2]:.2f}] one of VBPR{kind}")
        if "ceiling" in rates and f"AMR{kind}" in rates:
            for part, above in page.over_floor(run, f"AMR{kind}").items():
                found = f"×{above[0]:.2f} [{above[1]:.2f} – {above[2]:.2f}]"
                lines.append(f"  a step of AMR{kind} takes {found} the floor of {part}")
    return "\n".join(lines)


def ranking_agrees(size: Size, seed: int = 0, users: int = 200) -> dict[str, Any]:
    """The largest difference of amrlib's HR and NDCG from those of scores written out, both in float64, for the first users."""
    shop = make(size, seed, features=False)
    test = np.where(np.arange(size.users) < users, shop.test, -1)
    data = dataset(shop._replace(test=test), size)
    P, Q = (v.astype(np.float64) for v in vectors(size))
    model = amrlib.MFBPR(dim=size.K, dtype=torch.float64).bind(data)
    model.P, model.Q = torch.as_tensor(P), torch.as_tensor(Q)
    report = amrlib.evaluate(model, data, k=(5, 10, 20), ranking="full")
    places = []
    for u in range(min(users, size.users)):
        scores = Q @ P[u]
        scores[[i for i in data.items_of(u) if i != test[u]]] = -np.inf
        places.append(int((scores >= scores[test[u]]).sum()) - 1)
    r = np.array(places)
    different = [abs(report.hr(k) - (r < k).mean()) for k in (5, 10, 20)]
    different += [abs(report.ndcg(k) - np.where(r < k, 1 / np.log2(r + 2.0), 0).mean()) for k in (5, 10, 20)]
    return {"users": len(r), "largest_difference": float(max(different))}


def two_cores(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Two threads beside one, in training; and beside Cornac, in ranking for the largest shop."""
    runs = []
    training = [f"{model}, compiled{threads}" for model in ("AMR", "VBPR") for threads in ("", ", two threads")]
    training += [f"{what}{threads}" for what in MACHINE for threads in ("", ", two threads")]
    ranking = ["ranking, two threads", "worst-case ranks, two threads", "cornac ranking"]
    for name, size, names in (
        ("pinterest", SIZES["pinterest"], training), ("medium", SIZES["medium"], training),
        ("women", replace(SIZES["women"], D=64), ranking),
    ):  # fmt: skip
        print(f"\ntwo cores, {name}", flush=True)
        runs.append({"workload": name, **compare(names, size, 4096, rounds, seconds)})
        print(table(runs[-1]), flush=True)
    return runs


def suite(quick: bool, rounds: int, seconds: float, only: Sequence[str]) -> None:
    """Measure, print, write. ``quick`` measures ours and the naive port, and leaves the stored results alone."""
    begun = time.perf_counter()
    folder = {"folder": ROOT / "_build" / "bench"} if quick else {}
    if quick:
        rounds, seconds = 3, 1.0
    runs = []
    chosen = [name for name, c in CONTENDERS.items() if not quick or c.library in OURS]
    if "training" in only:
        for batch in (512, 4096):
            for name in ("pinterest", "medium"):
                if quick and (batch, name) in ((4096, "pinterest"), (512, "medium")):
                    continue
                # a method without batches is measured once, but where it stands beside one that has them
                names = [n for n in chosen if CONTENDERS[n].kind in ("train", "ceiling") and n not in BPR[:2]
                         and (CONTENDERS[n].batched or batch == 512 or n in RIVALS["MF-BPR"])]  # fmt: skip
                print(f"\ntraining, {name}", flush=True)
                runs.append({"workload": name, **compare(names, SIZES[name], batch, rounds, seconds)})
                print(table(runs[-1]), flush=True)
                save({"machine": machine(), "runs": runs}, "training", **folder)
        if not quick:
            print("\ntraining, pinterest, with memory that is kept", flush=True)
            names = ["AMR, compiled", *RIVALS["AMR, compiled"]]
            kept = {"workload": "pinterest", **compare(names, SIZES["pinterest"], 512, rounds, seconds, variables=KEPT)}
            print(table(kept), flush=True)
            save({"machine": machine(), "runs": runs, "kept": kept}, "training", **folder)
    if "bpr" in only:
        triples = []
        for name in ("pinterest", "medium", "women"):
            print(f"\nmatrix factorisation, {name}", flush=True)
            small = SIZES[name].interactions < 2**16  # one thread takes it, whatever there are
            names = [n for n in BPR if n in chosen and not (small and n == BPR[1])]
            triples.append({"workload": name, **compare(names, replace(SIZES[name], D=1), 4096, rounds, seconds)})
            print(table(triples[-1]), flush=True)
            save({"machine": machine(2), "runs": triples}, "bpr", **folder)
    if "ranking" in only:
        names = [n for n in chosen if CONTENDERS[n].kind == "rank"]
        print("\nranking all items", flush=True)
        size = replace(SIZES["medium"], D=1)
        run = {"workload": "medium", **compare(names, size, 512, rounds, seconds), "agreement": ranking_agrees(size)}
        print(table(run), flush=True)
        save({"machine": machine(), "runs": [run]}, "ranking", **folder)
    if "two cores" in only and not quick:
        save({"machine": machine(2), "runs": two_cores(rounds, seconds)}, "two_cores")
    if "products" in only and not quick:
        by_size = []
        for size, batch in ((replace(SIZES["pinterest"], D=128), 512), (SIZES["medium"], 512), (SIZES["medium"], 4096)):
            print("\nhand-written products", flush=True)
            names = ["AMR, compiled", *LIBRARY_PRODUCTS]
            by_size.append({"workload": f"D = {size.D:,}", **compare(names, size, batch, rounds, seconds)})
            print(table(by_size[-1]), flush=True)
        save({"machine": machine(), "runs": by_size}, "products")
    if "growth" in only and not quick:
        print("\ngrowth", flush=True)
        save({"machine": machine(), "rows": growth(), "memory_map": memory_map()}, "growth")
    if "precision" in only and not quick:
        print("\nprecision", flush=True)
        save({"machine": machine(), **precision()}, "precision")
    if not quick:
        page.write()
    print(f"\n{(time.perf_counter() - begun) / 60:.1f} minutes", flush=True)
