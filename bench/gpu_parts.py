"""The parts of ``python -m bench gpu``, each a process, ``python -m bench gpu-part NAME REPORT``, that reports line by line."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

import amrlib
from amrlib.training import NegativeSampler, PairwiseTrainer

from .contenders import EPSILON, LR
from .naive import NaiveAMR
from .workloads import Size, make

__all__ = ["PARTS", "main"]

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 4  # of a measured fit; the first warms up
NAIVE_STEPS = 12


class Setting:
    """What every part is given."""

    def __init__(self, report: Path, size: Size, batches: list[int], device: str) -> None:
        self.report, self.size, self.batches, self.device = report, size, batches, device
        self.tiny = device == "cpu"

    def say(self, entry: dict[str, Any]) -> None:
        with self.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], Any], repeats: int = 5) -> float:
        """Median time of one call, the device waited for; one call before to warm up."""
        call()
        found = []
        for _ in range(repeats):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            found.append(time.perf_counter() - start)
        return float(np.median(found))

    def row(self, name: str, spent: float, moved: float, operations: float, rates: tuple[float, float]) -> None:
        """Seconds beside the least that ``moved`` bytes and ``operations`` multiply-adds take at the device's rates."""
        memory, products = moved / rates[0], operations / rates[1]
        self.say({"rows": {name: {"seconds": spent, "floor_memory": memory, "floor_products": products,
                                  "ratio": spent / max(memory, products)}}})  # fmt: skip

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One line of a part: what fails in it is said, and the next one begins."""
        try:
            yield
        except (RuntimeError, MemoryError, ValueError, AssertionError) as error:
            self.say({"problems": {name: str(error).strip().splitlines()[0] if str(error).strip() else repr(error)}})
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


# ---------------------------------------------------------------- what is there, and the tests


def about(setting: Setting) -> None:
    card = torch.cuda.get_device_name() if setting.device == "cuda" else "a processor; the figures mean nothing"
    setting.say({"machine": {"card": card, "torch": torch.__version__, "python": sys.version.split()[0],
                             "date": datetime.date.today().isoformat()},
                 "size": vars(setting.size) | {"batches": setting.batches}})  # fmt: skip


def tests(setting: Setting) -> None:
    """tests/cuda by pytest, or by a runner of our own where there is none."""
    environment = {**os.environ, "AMRLIB_TEST_DEVICE": setting.device}
    few = ["-k", "ids_out_of_range or chain"] if setting.tiny else []
    if importlib.util.find_spec("pytest"):
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-m", "cuda", "tests/cuda", *few,
                   "--tb=line", "--color=no"]  # fmt: skip
        pipes: dict[str, Any] = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
        assert process.stdout is not None
        for found in pytest_lines(process.stdout):  # said as it goes: its time may be up before its end
            setting.say({"tests": {"runner": "pytest", **found}})
        if process.wait() not in (0, 1):
            raise RuntimeError(f"pytest ended with {process.returncode}")
        return
    command = [sys.executable, "-m", "bench.tiny_pytest", str(setting.report), "tests/cuda", *few[1:]]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def pytest_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The counts so far, and the reasons that pytest gives at its end."""
    counts, failures = {"passed": 0, "failed": 0, "skipped": 0}, dict[str, str]()
    for line in lines:
        if found := re.match(r"(?:.*/)?(\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR)\b", line):
            counts["failed" if found[2] == "ERROR" else found[2].lower()] += 1
            if found[2] in ("FAILED", "ERROR"):
                failures.setdefault(found[1], "")
        elif found := re.match(r"(?:FAILED|ERROR) (?:.*/)?(\S+::.+?) - (.*)", line):
            failures[found[1]] = found[2][:300]
        else:
            continue
        yield {**counts, "failures": failures}


# ---------------------------------------------------------------- the boutique on both


def chain(setting: Setting) -> None:
    """MF → VBPR → AMR on the boutique, three seeds on each device: the same quality, within what seeds do."""
    from .precision import settings

    shop, words = amrlib.load_dataset("boutique"), settings("boutique")
    share = 0.01 if setting.tiny else 0.1  # of the chapters' epochs
    torch.set_num_threads(1)  # the shop is small
    places = {"processor": "cpu", "card": setting.device}
    found: dict[str, Any] = {m: {d: {"HR@10": [], "NDCG@10": []} for d in places} for m in ("MF-BPR", "VBPR", "AMR")}
    for seed in range(1 if setting.tiny else 3):
        for place, device in places.items():
            model: Any = None
            for name in found:
                if name == "MF-BPR":
                    model = amrlib.MFBPR(dim=64, seed=seed)
                elif name == "VBPR":
                    model = amrlib.VBPR.warm_start(model, shop)
                else:
                    model = amrlib.AMR.warm_start(model, shop, **{k: words[name][k] for k in ("epsilon", "adv_weight")})
                model.fit(shop, max(1, int(share * words[name]["epochs"])), device=device, seed=seed, progress=False,
                          trainer="closed_form", **{k: words[name][k] for k in ("lr", "reg")})  # fmt: skip
                report = amrlib.evaluate(model, shop, progress=False)
                found[name][place]["HR@10"].append(report.hr(10))
                found[name][place]["NDCG@10"].append(report.ndcg(10))
    for devices_of in found.values():
        difference = {k: np.array(devices_of["card"][k]) - np.array(devices_of["processor"][k]) for k in ("HR@10", "NDCG@10")}
        devices_of["difference"] = {k: (v.mean(), spread(v)) for k, v in difference.items()}
    setting.say({"chain": found})


def spread(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean of three."""
    return float(4.303 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) == 3 else 0.0


# ---------------------------------------------------------------- speed


def shop_of(size: Size, kind: str = "float32") -> amrlib.Dataset:
    """A shop as :func:`bench.workloads.make` has it; the features, a billion numbers, are drawn by many threads."""
    plain = make(size, features=False)
    features = np.empty((size.items, size.D), dtype=kind)

    def fill(start: int) -> None:
        rows = np.random.default_rng(start).standard_normal((min(4096, size.items - start), size.D), dtype=np.float32)
        np.abs(rows, out=rows)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        features[start : start + 4096] = rows

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, size.items, 4096)))
    features.flags.writeable = False  # so that nobody need copy them
    return amrlib.Dataset(plain.train, plain.test, features=features, n_users=size.users, n_items=size.items)


def storable(size: Size) -> str:
    """float32 where half the machine's memory holds the features, else float16."""
    return "float32" if 4 * size.items * size.D < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 else "float16"


def rates_of(setting: Setting, batch: int) -> tuple[float, float]:
    """Bytes a second of a copy (read and written), and multiply-adds a second of the step's product."""
    n, size = (2**28 if setting.device == "cuda" else 2**20), setting.size
    here, there = torch.rand(n, device=setting.device), torch.rand(n, device=setting.device)
    copy = 8 * n / setting.seconds(lambda: there.copy_(here))
    rows, E = torch.randn(batch, size.D, device=setting.device), torch.randn(size.D, size.K, device=setting.device)
    return copy, batch * size.D * size.K / setting.seconds(lambda: rows @ E, 20)


class Watched(PairwiseTrainer):
    """The last one made is at hand, to see whether its step was recorded."""

    last: PairwiseTrainer

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        type(self).last = self


class Launched(Watched):
    can_be_recorded = False


class Stamps:
    """When each epoch ended."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_epoch_end(self, model: Any, row: dict[str, Any]) -> None:
        self.at.append(time.perf_counter())


def epoch(setting: Setting, model: Any, shop: Any, batch: int, trainer: type[Watched]) -> float:
    """Median seconds of an epoch of ``fit``; the first, which warms up, is left out."""
    stamps = Stamps()
    model.fit(shop, EPOCHS, batch_size=batch, lr=LR, device=setting.device, progress=False, trainer=trainer, callbacks=[stamps])
    recorded, on_host = trainer.last.recorded, trainer.last.on_host
    del trainer.last  # and with it what it holds on the card
    if setting.device == "cuda" and recorded and recorded.play is None and not on_host:
        setting.say({"problems": {"CUDA graph": recorded.failed or "no batch size came up often enough"}})
    return float(np.median(np.diff(stamps.at)))


def speed(setting: Setting) -> None:
    """An epoch of AMR with and without the recording, in both batch sizes and number types; and one of VBPR."""
    size, n = setting.size, setting.size.interactions
    stored = storable(size)
    shop = shop_of(size, stored)
    kinds = [torch.float32, torch.float16] if stored == "float32" else [torch.float16]
    for batch in setting.batches:
        rates = rates_of(setting, batch)
        setting.say({"limits": {f"batch {batch}": {"copy": rates[0], "step": rates[1]}}})
        for kind in kinds:
            for name, trainer in (("CUDA graph", Watched), ("launch by launch", Launched)):
                text = f"AMR, batch {batch:,}, {str(kind).removeprefix('torch.')} features, {name}"
                with setting.part(text):
                    model = amrlib.AMR(dim=size.K, epsilon=EPSILON).bind(shop).to(setting.device, features=kind)
                    spent = epoch(setting, model, shop, batch, trainer)
                    setting.row(text, spent, 2 * n * size.D * kind.itemsize, 2 * n * size.D * size.K, rates)
        text = f"VBPR, batch {batch:,}, {str(kinds[0]).removeprefix('torch.')} features, CUDA graph"
        with setting.part(text):
            model = amrlib.VBPR(dim=size.K).bind(shop).to(setting.device)
            spent = epoch(setting, model, shop, batch, Watched)
            setting.row(text, spent, 2 * n * size.D * kinds[0].itemsize, 2 * n * size.D * size.K, rates)


def naive(setting: Setting) -> None:
    """The authors' graph in plain torch, by the epoch, from a few steps: it touches all features in each of them."""
    size, n = setting.size, setting.size.interactions
    shop = shop_of(size, storable(size))
    sampler = NegativeSampler(shop, setting.device)
    pairs = torch.tensor(shop.train, device=setting.device)
    for batch in setting.batches[::-1]:
        rates = rates_of(setting, batch)
        for name, frugal in (("frugal naive AMR", True), ("naive AMR", False)):
            with setting.part(f"{name}, batch {batch:,}"):
                users, pos = pairs[torch.randperm(len(pairs), device=setting.device)[:batch]].unbind(1)
                spent = naive_step(setting, shop, (users, pos, sampler(users)), frugal)
                setting.row(f"{name}, batch {batch:,}, from {NAIVE_STEPS} steps", spent * n / len(users),
                            2 * n * size.D * 4, 2 * n * size.D * size.K, rates)  # fmt: skip


def naive_step(setting: Setting, shop: Any, batch: tuple[torch.Tensor, ...], frugal: bool) -> float:
    size = setting.size
    P, Q, E = (0.01 * torch.randn(rows, size.K, device=setting.device) for rows in (size.users, size.items, size.D))
    features = shop.feature_table.on(setting.device, torch.float32)
    step = NaiveAMR(P, Q, E, features, LR, EPSILON, frugal=frugal).step
    return setting.seconds(lambda: step(*batch), NAIVE_STEPS)


def host(setting: Setting) -> None:
    """Features that stay with the host; the floor is the copy to the card."""
    size, n, batch = setting.size, setting.size.interactions, setting.batches[-1]
    shop = shop_of(size, "float16")
    here = torch.rand(2**26 if setting.device == "cuda" else 2**16, pin_memory=setting.device == "cuda")
    there = torch.empty_like(here, device=setting.device)
    rate = 4 * len(here) / setting.seconds(lambda: there.copy_(here, non_blocking=True))
    setting.say({"limits": {"to the card": rate}})
    model = amrlib.AMR(dim=size.K, epsilon=EPSILON).bind(shop).to(setting.device, features="host")
    spent = epoch(setting, model, shop, batch, Watched)
    products = rates_of(setting, batch)[1]
    setting.row(f"AMR, batch {batch:,}, float16 features on the host", spent, 4 * n * size.D, 2 * n * size.D * size.K,
                (rate, products))  # fmt: skip


def ranking(setting: Setting) -> None:
    size = setting.size
    plain = make(size, features=False)
    shop = amrlib.Dataset(plain.train, plain.test, n_users=size.users, n_items=size.items)
    few = min(4096, size.users)
    P = torch.randn(few, size.K, device=setting.device)
    Q = torch.randn(min(size.items, 2**17), size.K, device=setting.device)
    products = few * len(Q) * size.K / setting.seconds(lambda: P @ Q.T)
    copy = rates_of(setting, 512)[0]
    model = amrlib.MFBPR(dim=size.K).bind(shop).to(setting.device)
    spent = setting.seconds(lambda: amrlib.evaluate(model, shop, k=(10,), ranking="full", progress=False), 3)
    setting.row("ranking all items for all users", spent, 4 * (size.users + size.items) * size.K,
                size.users * size.items * size.K, (copy, products))  # fmt: skip


PARTS: dict[str, Callable[[Setting], None]] = {
    "about": about, "tests": tests, "speed": speed, "chain": chain, "naive": naive, "host": host, "ranking": ranking,
}  # fmt: skip


def main(part: str, report: Path, size: Size, batches: list[int], device: str) -> int:
    if device == "cuda" and not torch.cuda.is_available():
        print("torch finds no graphics card with CUDA here")
        return 1
    PARTS[part](Setting(report, size, batches, device))
    return 0
