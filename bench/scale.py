"""One, two and four processes: what a step of AMR takes, sends and holds, beside what the cost model predicts.

The processes are those of :mod:`amrlib.parallel` over gloo on one machine. The model is :mod:`amrbook.scale`; its constants
are measured here, while as many processes as are meant do the same thing at once.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import amrlib
from amrbook import scale as model
from amrlib.parallel import ParallelTrainer
from amrlib.parallel.team import Team, _team, finish, team
from amrlib.parallel.trainer import shared_gradients
from amrlib.progress import progress_bar
from amrlib.training import PairwiseTrainer
from amrlib.training.gather import FeatureGather
from amrlib.training.gradients import Batch

from .contenders import EPSILON, LR, dataset
from .growth import resident
from .run import ROOT, machine, units
from .workloads import MICRO, Size, make

__all__ = ["AXES", "BASE", "constants", "launches", "scale", "step_times", "together"]

BASE, BATCH, REG = Size(4_096, 8_192, 65_536, 2_048, 64), 1024, 0.01  # REG: that of the command line
PROCESSES = (1, 2, 4)
AXES: dict[str, list[int]] = {
    "users": [1_024, 4_096, 16_384], "items": [2_048, 8_192, 32_768], "D": [512, 2_048, 4_096],
    "K": [16, 64, 256], "batch": [256, 1_024, 4_096],
}  # fmt: skip
MESSAGES = [2**k for k in (6, 10, 13, 16, 19, 22)]  # bytes
REST = [(batch, K) for batch in (256, 1024, 4096) for K in (16, 64, 128)]


# ---------------------------------------------------------------- several processes


def together(processes: int, work: Callable, *arguments: Any) -> list[Any]:
    """What ``work(*arguments)`` gives in each of ``processes`` new ones, which are a team of :mod:`amrlib.parallel`.

    Raises
    ------
    RuntimeError
        One of them ended without an answer; its words are on stderr.
    """
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"  # a fork need not load torch again
    context = multiprocessing.get_context(method)
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(processes)]
        started = [context.Process(target=_one, args=(rank, processes, f"{folder}/store", pipe, work, arguments))
                   for rank, (_, pipe) in enumerate(pipes)]  # fmt: skip
        for process in started:
            process.start()
        for _, pipe in pipes:
            pipe.close()
        try:
            return [end.recv() for end, _ in pipes]
        except EOFError:
            raise RuntimeError(f"one of {processes} processes ended without an answer") from None
        finally:
            for process in started:
                process.join()


def _one(rank: int, processes: int, path: str, pipe: Any, work: Callable, arguments: tuple) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(path, processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    _team[:] = [Team(store)]  # as amrlib.parallel.start does under torchrun
    pipe.send(work(*arguments))
    pipe.close()
    dist.barrier()
    finish()


# ---------------------------------------------------------------- one step


def loopback() -> int | None:
    """Bytes that have left over the machine's own network so far (Linux)."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[9]) for line in lines if line.strip().startswith("lo:")), None)


def step_times(size: Size, batch: int, trainer: str, seconds: float, windows: int, seed: int = 0) -> dict[str, Any]:
    """Seconds a step, in windows of about ``seconds``; bytes a step that leave a process, and what the process holds.

    ``trainer``: "parallel", or in one process "closed_form" or "compiled"."""
    if size != MICRO:
        step_times(MICRO, 64, trainer, 0.0, 1)  # what is loaded at first use is there now
    before = resident()
    shop = make(size, seed)
    counts = np.bincount(shop.train[:, 1], minlength=size.items)
    data = dataset(shop, size)
    del shop
    fitted = amrlib.AMR(dim=size.K, epsilon=EPSILON).bind(data)
    kinds: dict[str, Any] = {"parallel": ParallelTrainer, "closed_form": PairwiseTrainer}
    if trainer == "compiled":
        from amrlib.training.compiled.step import CompiledTrainer

        kinds["compiled"] = CompiledTrainer
    steps = kinds[trainer](fitted, lr=LR, reg=REG)
    steps.checks_ids = False
    inside = getattr(steps, "_row_by_row", nullcontext)  # what the compiled one does for an epoch
    draw = torch.Generator().manual_seed(seed)
    pairs = torch.tensor(data.train)[torch.randperm(len(data.train), generator=draw)]  # (n, 2)
    neg = torch.randint(size.items, (len(pairs),), generator=draw)
    batches = [(*pairs[at : at + batch].unbind(1), neg[at : at + batch]) for at in range(0, len(pairs) - batch + 1, batch)]

    def run(count: int) -> float:
        dist.barrier()
        begun = time.perf_counter()
        with inside(batch):
            for at in range(count):
                steps.step(*batches[at % len(batches)])
        dist.barrier()
        return time.perf_counter() - begun

    run(3)
    trial = torch.tensor(run(5) / 5)
    dist.all_reduce(trial, dist.ReduceOp.MAX)  # all take as many steps
    count = max(4, int(seconds / float(trial)))
    sent = loopback()
    times = [run(count) / count for _ in range(windows)]
    now, us = loopback(), team()
    sent = None if sent is None or now is None else (now - sent) / (windows * count * us.size)
    after = resident()
    return {"seconds": times, "sent": sent, "held": None if after is None or before is None else after - before,
            "distinct": model.distinct_items(counts, batch)}  # fmt: skip


# ---------------------------------------------------------------- the constants


class _Silent(Team):
    """A process of a team that says nothing: its own work alone."""

    def __init__(self, us: Team) -> None:
        self.rank, self.size = us.rank, us.size

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def whole(self, part: torch.Tensor, rows: int) -> torch.Tensor:
        return part.new_zeros(rows, part.shape[1])


def _rate(call: Callable[[], Any], amount: float, seconds: float) -> float:
    """``amount`` a call, in billions a second, while the other processes do the same."""
    call()
    dist.barrier()
    begun, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        call()
        times += 1
    return times * amount / spent / 1e9


def _rates(pieces: Callable[[], Iterator[str]], amounts: dict[str, float], seconds: float) -> dict[str, float]:
    """As :func:`_rate`, of pieces that alternate: ``pieces`` names each when it is done, "" what is not counted."""
    spent, times = dict.fromkeys(["", *amounts], 0.0), 0
    list(pieces())
    dist.barrier()
    begun = last = time.perf_counter()
    while last - begun < seconds:
        for name in pieces():
            now = time.perf_counter()
            spent[name] += now - last
            last = now
        times += 1
    return {name: times * amount / spent[name] / 1e9 for name, amount in amounts.items()}


def constants(size: Size = BASE, batch: int = BATCH, seconds: float = 0.4, seed: int = 0) -> dict[str, Any]:
    """Of this process, while all of its team do the same: GFLOP/s of the products, GB/s of the gather, billions of numbers
    a second of Adagrad; seconds of a message and of each of its bytes; and the rest of a step, measured at D 8."""
    us, D, K = team(), size.D, size.K
    shop = make(size, seed)
    rows = max(1, int(model.distinct_items(np.bincount(shop.train[:, 1], minlength=size.items), batch) / us.size))
    features, E = torch.as_tensor(shop.features), torch.randn(D, K)
    block = max(1, 2**20 // (4 * D))  # as amrlib.training.gather takes them
    of_z, C, Z = torch.randn(rows, K), torch.empty(rows, D), torch.empty(rows, K)
    grad, M, v = torch.empty(K, D), torch.randn(K, K), torch.ones(D, K)
    theta, g, root = torch.zeros(D, K), torch.randn(D, K), torch.empty(D, K)

    def adagrad() -> None:
        torch.sqrt(v.addcmul_(g, g), out=root)
        theta.addcdiv_(g, root, value=-LR)

    def gathered() -> Iterator[str]:
        """A step's work in D dimensions, rows that were not in the cache first; each piece is named when it is done."""
        ids = torch.randperm(size.items)[:rows].sort().values
        yield ""
        for start in range(0, rows, block):
            part = slice(start, start + block)
            torch.index_select(features, 0, ids[part], out=C[part])
            yield "gather"
            torch.mm(C[part], E, out=Z[part])
            yield "forward"
        torch.mm(of_z.T, C, out=grad)
        yield "backward"

    work = 2 * rows * D * K
    found: dict[str, Any] = {
        **_rates(gathered, {"gather": 4 * rows * D, "forward": work, "backward": work}, 3 * seconds),
        "gram": _rate(lambda: (E.T @ E, grad.T.addmm_(E, M)), 4 * D * K * K, seconds),
        "adagrad": _rate(adagrad, D * K, seconds),
    }
    for name in ("sum", "whole"):
        times = []
        for amount in MESSAGES:
            table = torch.zeros(max(us.size, amount // (4 * K)), K)
            call = (lambda: us.sum(table)) if name == "sum" else (lambda: us.whole(table[us.part], len(table)))  # noqa: B023
            count = max(5, min(200, int(2**22 / amount)))
            windows = []
            for _ in range(6):
                dist.barrier()
                begun = time.perf_counter()
                for _ in range(count):
                    call()
                windows.append((time.perf_counter() - begun) / count)
            times.append(units(windows[1:])[0])
        found[f"{name} at"] = [4 * K * max(us.size, amount // (4 * K)) for amount in MESSAGES], times
        found[name] = model.line(*found[f"{name} at"])
    found["rest"] = _rest(size, seconds, seed)
    return found


def _rest(size: Size, seconds: float, seed: int) -> list[float]:
    """Seconds a step, per B·K, per U·K and per B, of what does not depend on D."""
    from scipy.optimize import nnls

    quiet, rows, times = _Silent(team()), [], []
    for batch, K in REST:
        small = replace(size, D=8, K=K)
        shop = make(small, seed)
        fitted = amrlib.AMR(dim=K, epsilon=EPSILON).bind(dataset(shop, small))
        steps, gather = PairwiseTrainer(fitted, lr=LR, reg=REG), FeatureGather()
        there = torch.randperm(len(shop.train))[:batch]
        users, pos = torch.tensor(shop.train)[there].unbind(1)
        triples = Batch(users, pos, torch.randint(size.items, (len(users),)))

        def step() -> None:
            steps.optimizer.step(shared_gradients(quiet, fitted, triples, steps.reg, False, steps.generator, gather))  # noqa: B023

        times.append(1e-9 / _rate(step, 1.0, seconds / 2))
        distinct = len(torch.unique(torch.cat([triples.pos, triples.neg])))
        rows.append([1.0, batch * K, distinct * K, batch])
    found, _ = nnls(np.array(rows) / np.array(times)[:, None], np.ones(len(times)))
    return found.tolist()


def _busy() -> tuple[float, float]:
    """Seconds of all cores that everyone has used so far, and this program with its ended children."""
    mine = sum(os.times()[:4])
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return mine, mine
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK"), mine


def _middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One value for all processes: the median of each."""
    return {key: np.median([one[key] for one in found], axis=0).tolist() for key in found[0] if " at" not in key}


# ---------------------------------------------------------------- everything


def launches(rounds: int = 3, epochs: int = 41, processes: tuple[int, ...] = PROCESSES) -> dict[str, Any]:
    """Wall-clock seconds of ``python -m amrlib train amr`` on the boutique, for one epoch and for ``epochs``, in turns."""
    found: dict[str, Any] = {"epochs": [1, epochs], "seconds": {str(n): [] for n in processes}}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:

        def once(n: int, length: int) -> float:
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"] if n > 1 else []
            words = ["-m", "amrlib", "train", "amr", "--device", "cpu", "--epochs", str(length)]
            words += ["--out", f"{folder}/amr.safetensors"]
            begun = time.perf_counter()
            subprocess.run([sys.executable, *torchrun, *words], check=True, env=environment, cwd=ROOT, capture_output=True)
            return time.perf_counter() - begun

        once(1, 1)  # what is compiled and read for the first time
        for _ in progress_bar(range(rounds), "launches"):
            for n in processes:
                found["seconds"][str(n)].append([once(n, length) for length in found["epochs"]])
    return found


def _point(
    size: Size, batch: int, processes: tuple[int, ...], known: dict[str, Any], seconds: float, windows: int
) -> dict[str, Any]:
    wide = model.Size(size.users, size.items, size.interactions, size.D, size.K, batch)
    row: dict[str, Any] = {"size": wide._asdict(), "processes": {}}
    for n, trainer in [*((n, "parallel" if n > 1 else "closed_form") for n in processes), (1, "compiled")]:
        each = together(n, step_times, size, batch, trainer, seconds, windows)
        U = row["distinct"] = each[0]["distinct"]
        found = {"seconds": each[0]["seconds"], "held": max(e["held"] or 0 for e in each) or None}
        if trainer == "compiled":
            row["compiled"] = found
            continue
        row["processes"][str(n)] = found | {"sent": each[0]["sent"] if n > 1 else 0.0, "predicted": {
            "seconds": model.seconds(wide, U, n, known[str(n)]), "sent": model.sent(wide, U, n),
            "held": sum(model.held(wide, U, n).values())}}  # fmt: skip
    return row


def scale(
    seconds: float = 0.2, windows: int = 5, axes: dict[str, list[int]] = AXES, base: Size = BASE, batch: int = BATCH,
    processes: tuple[int, ...] = PROCESSES,
) -> dict[str, Any]:  # fmt: skip
    """The record: constants, the share of the cores that other programs took meanwhile, and for every point of the axes the
    measured beside the predicted, one entry a number of processes. One process takes the closed form, of which the parallel
    trainer is a copy, and beside it the compiled loops."""
    torch.set_num_threads(1)
    together(1, step_times, MICRO, 64, "compiled", 0.0, 1)  # compiles where nothing is compiled yet
    begun, (all_before, mine_before) = time.perf_counter(), _busy()
    known = {str(n): _middle(together(n, constants, base, batch, 2 * seconds)) for n in processes}
    points = [(axis, value) for axis, values in axes.items() for value in values]
    wanted = [(base, value) if axis == "batch" else (replace(base, **{axis: value}), batch) for axis, value in points]
    seen = {point: _point(*point, processes, known, seconds, windows)
            for point in progress_bar(list(dict.fromkeys(wanted)), "scale")}  # fmt: skip
    rows = [{"axis": axis, "value": value, **seen[point]} for (axis, value), point in zip(points, wanted, strict=True)]
    all_after, mine_after = _busy()
    others = (all_after - all_before - (mine_after - mine_before)) / (time.perf_counter() - begun) / (os.cpu_count() or 1)
    return {"machine": machine(), "torch": torch.__version__, "base": vars(base) | {"batch": batch}, "reg": REG,
            "windows": windows, "others": max(0.0, others), "constants": known, "rows": rows}  # fmt: skip
