"""What an AMR epoch costs as one size grows and the others stay: time, memory, and features that lie on disk."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import amrlib
from amrlib.progress import progress_bar
from amrlib.training import PairwiseTrainer

from .contenders import EPSILON, LR, dataset
from .workloads import BASE, MICRO, Size, make

__all__ = ["AXES", "growth", "memory_map", "predicted_bytes", "predicted_operations"]

BATCH = 1024
# each over at least four doublings around BASE
AXES = {
    "users": [1_024, 2_048, 4_096, 8_192, 16_384],
    "items": [1_024, 2_048, 4_096, 8_192, 16_384],
    "interactions": [16_384, 32_768, 65_536, 131_072, 262_144],
    "D": [256, 512, 1_024, 2_048, 4_096],
    "K": [16, 32, 64, 128, 256],
    "batch": [128, 256, 512, 1_024, 2_048, 4_096],
}


class Done(Exception):
    """Enough steps have been timed."""


def timed_fit(data: Any, size: Size, batch: int, seconds: float) -> list[float]:
    """Seconds an epoch, from three windows of ``seconds`` inside `AMR.fit`, sampling included."""
    windows: list[float] = []
    state = {"start": 0.0, "count": 0, "warm": 0}

    class Timed(PairwiseTrainer):
        def step(self, users: Any, pos: Any, neg: Any) -> Any:
            now = time.perf_counter()
            state["warm"] += 1
            if state["warm"] == 3:
                state.update(start=now, count=0)
            elif state["warm"] > 3 and now - state["start"] >= seconds:
                windows.append((now - state["start"]) / state["count"] * len(data.train))
                if len(windows) == 3:
                    raise Done
                state.update(start=now, count=0)
            state["count"] += len(users)
            return super().step(users, pos, neg)

    model = amrlib.AMR(dim=size.K, epsilon=EPSILON)
    try:
        model.fit(data, epochs=10**9, batch_size=batch, lr=LR, device="cpu", progress=False, trainer=Timed)
    except Done:
        pass
    return windows


def resident(field: str = "VmRSS") -> int | None:
    """Bytes of this process in memory now (VmRSS), at most since :func:`forget_peak` (VmHWM), or its own (RssAnon)."""
    try:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field + ":"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    except OSError:
        pass


def predicted_operations(size: Size, batch: int) -> float:
    """Multiply-adds an epoch: two products of D x K with each triple's c_i − c_j; E's update and its Gram matrix each batch."""
    batches = -(-size.interactions // batch)
    return size.interactions * 2 * size.D * size.K + batches * size.D * size.K * (2 * size.K + 4)


def predicted_bytes(size: Size, batch: int) -> float:
    """Features once; P, Q, E with their accumulators; the triples and the sampler; a batch's rows of features."""
    M, N, n, D, K = size.users, size.items, size.interactions, size.D, size.K
    return 4 * (N * D + 2 * (M + N + D) * K) + 8 * 12 * n + 4 * 2 * min(batch, n) * D


def point(task: tuple[Size, int, float, int]) -> dict[str, Any]:
    """One size and batch, in a process that has done nothing else: its times, and its peak above what it began with."""
    size, batch, seconds, seed = task
    torch.set_num_threads(1)
    timed_fit(dataset(make(MICRO), MICRO), MICRO, 64, 0.0)  # what is loaded at first use is there now
    before = resident()
    forget_peak()
    times = timed_fit(dataset(make(size, seed), size), size, batch, seconds)
    peak = resident("VmHWM")
    return {
        "seconds": times, "bytes": None if peak is None or before is None else peak - before,
        "operations": predicted_operations(size, batch), "predicted_bytes": predicted_bytes(size, batch),
    }  # fmt: skip


def growth(seconds: float = 0.3, axes: dict[str, list[int]] = AXES, base: Size = BASE, seed: int = 0) -> list[dict[str, Any]]:
    """One row a point: the axis, its value, three times of an epoch, the memory at the peak, predictions."""
    points = [(axis, value) for axis, values in axes.items() for value in values]
    tasks = [(base, value, seconds, seed) if axis == "batch" else (replace(base, **{axis: value}), BATCH, seconds, seed)
             for axis, value in points]  # fmt: skip
    # a process for each: what one has freed would hide what the next one takes
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with multiprocessing.get_context(method).Pool(1, maxtasksperchild=1) as pool:
        found = list(progress_bar(pool.imap(point, tasks, chunksize=1), "growth", total=len(tasks)))
    return [{"axis": axis, "value": value, **row} for (axis, value), row in zip(points, found, strict=True)]


def memory_map(
    gib: float = 1.0, seconds: float = 2.0, seed: int = 0, D: int = 2048, K: int = 64, batch: int = 4096
) -> dict[str, Any]:
    """AMR from float16 features in a file: triples a second, and the memory of the process that is not the file's.

    The same rows are read three ways: from the file as the system has cached it, from the file after the system was
    told to forget it, and from memory. A file larger than memory is the second case for ever.
    """
    torch.set_num_threads(1)
    n_items = max(64, int(gib * 2**30 / (2 * D)))
    size = Size(max(32, n_items // 4), n_items, 2 * n_items, D, K)
    shop = make(size, seed, features=False)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.f16"
        file = np.memmap(path, np.float16, "w+", shape=(n_items, D))
        for start in range(0, n_items, 8192):
            rows = np.abs(rng.standard_normal((min(8192, n_items - start), D), dtype=np.float32))
            file[start : start + 8192] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        file.flush()
        del file
        whole = np.memmap(path, np.float16, "r", shape=(n_items, D))
        found: dict[str, Any] = {"file_bytes": path.stat().st_size, "size": vars(size) | {"batch": batch}}

        def measure(features: np.ndarray, forget: bool) -> dict[str, Any]:
            data = dataset(shop._replace(features=features), size)
            gc.collect()
            before, peak, stop = resident("RssAnon"), [0], threading.Event()

            def watch() -> None:
                while not stop.wait(0.02):
                    peak[0] = max(peak[0], resident("RssAnon") or 0)

            if forget:
                drop_cache(whole, path)
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                times = timed_fit(data, size, batch, seconds)
            finally:
                stop.set()
                watcher.join()
            own = None if before is None else max(0, peak[0] - before)
            return {"triples": [size.interactions / t for t in times], "own_bytes": own}

        found["file, not cached"] = measure(whole, forget=True)
        found["file, cached"] = measure(whole, forget=False)
        found["memory"] = measure(np.array(whole), forget=False)
        return found


def drop_cache(file: np.memmap, path: Path) -> None:
    """Let the system forget the pages of the file, those mapped here first: it keeps what anyone still maps."""
    if hasattr(os, "posix_fadvise"):
        file._mmap.madvise(mmap.MADV_DONTNEED)
        with path.open("rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
