"""An epoch of AMR and a full ranking on a graphics card, beside what the card's memory and products allow."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import amrlib

from .contenders import EPSILON, LR, dataset
from .run import RESULTS, save, units
from .workloads import Size, make

__all__ = ["main"]


def seconds(call: Callable[[], Any], device: str, repeats: int = 5) -> float:
    """Median time of one call, the device waited for; one call before to warm up."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    call()
    found = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        call()
        wait()
        found.append(time.perf_counter() - start)
    return units(found)[0]


def limits(device: str, size: Size, batch: int) -> dict[str, float]:
    """Bytes a second of a copy (read and written), multiply-adds a second of the step's and the ranking's products."""
    n = 2**28 if device == "cuda" else 2**22
    here, there = torch.zeros(n, device=device), torch.zeros(n, device=device)
    copy = 8 * n / seconds(lambda: there.copy_(here), device)
    rows, E = torch.randn(batch, size.D, device=device), torch.randn(size.D, size.K, device=device)
    step = batch * size.D * size.K / seconds(lambda: rows @ E, device)
    few = min(4096, size.users)
    P, Q = torch.randn(few, size.K, device=device), torch.randn(min(size.items, 2**17), size.K, device=device)
    ranking = few * len(Q) * size.K / seconds(lambda: P @ Q.T, device)
    return {"copy": copy, "step": step, "ranking": ranking}


def measure(size: Size, batch: int, device: str, seed: int = 0) -> dict[str, Any]:
    """Rows name → seconds, the two floors and the ratio to the larger one.

    The floors of an epoch: the features of 2n rows read once, and 2·n·D·K multiply-adds. Those of a ranking: the
    vectors read once (scores need not leave the chip), and M·N·K multiply-adds.
    """
    shop = make(size, seed)
    rates, rows = limits(device, size, batch), {}

    def row(name: str, spent: float, moved: float, operations: float, rate: float) -> None:
        memory, products = moved / rates["copy"], operations / rate
        rows[name] = {"seconds": spent, "floor_memory": memory, "floor_products": products,
                      "ratio": spent / max(memory, products)}  # fmt: skip

    data = dataset(shop, size)
    model = amrlib.AMR(data, dim=size.K, epsilon=EPSILON)
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        name = str(kind).removeprefix("torch.")
        model.to(device, features=kind)  # the step turns a batch's rows into float32
        fit = partial(model.fit, data, batch_size=batch, lr=LR, device=device, progress=False)
        # a fit of three epochs less a fit of one: what a fit does once is in neither
        spent = (seconds(partial(fit, 3), device, 3) - seconds(partial(fit, 1), device, 3)) / 2
        moved = 2 * size.interactions * size.D * kind.itemsize
        row(f"an epoch of AMR, features in {name}", spent, moved, 2 * size.interactions * size.D * size.K, rates["step"])
    mf = amrlib.MFBPR(data, dim=size.K).to(device)
    spent = seconds(lambda: amrlib.evaluate(mf, data, k=(10,), ranking="full"), device, 3)
    moved, operations = 4 * (size.users + size.items) * size.K, size.users * size.items * size.K
    row("ranking all items for all users", spent, moved, operations, rates["ranking"])
    card = torch.cuda.get_device_name() if device == "cuda" else "a processor; the figures mean nothing"
    return {"machine": {"card": card, "torch": torch.__version__, "date": datetime.date.today().isoformat()},
            "size": vars(size) | {"batch": batch}, "limits": rates, "rows": rows}  # fmt: skip


def main(size: Size, batch: int, on_cpu: bool = False, folder: Path = RESULTS) -> int:
    """Print and, from a card, store. 1 where there is no card."""
    if not on_cpu and not torch.cuda.is_available():
        print("torch finds no graphics card with CUDA here, so there is nothing to measure; "
              "--on-cpu --size 400,500,3000,64,8 tries the command itself")  # fmt: skip
        return 1
    record = measure(size, batch, "cpu" if on_cpu else "cuda")
    for name, r in record["rows"].items():
        print(f"{name}: {r['seconds']:.3g} s, {r['ratio']:.2f} times the larger of its floors "
              f"(memory {r['floor_memory']:.3g} s, products {r['floor_products']:.3g} s)")  # fmt: skip
    if not on_cpu:
        print(save(record, "gpu", folder))
    return 0
