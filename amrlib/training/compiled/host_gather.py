"""Rows of the features that are on their way before they are asked for: from a file, or from the host to a card."""

from __future__ import annotations

import mmap
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..gather import FeatureGather
from ..gradients import Batch

__all__ = ["HostGather", "MappedGather"]


class MappedGather(FeatureGather):
    """For memory-mapped features: a batch's rows are read from the disk while the batch before it is computed."""

    fetches = True

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.pending = ThreadPoolExecutor(1), Future[None]()
        self.pending.set_result(None)

    def fetch(self, features: Tensor, pos: Tensor, neg: Tensor, ids: Tensor) -> None:
        """A fault in reading the batch before is raised here."""
        self.pending.result()
        self.pending = self.pool.submit(self._touch, features.numpy(), np.unique(ids.numpy()))

    def _touch(self, features: np.ndarray, items: np.ndarray) -> None:
        """One number of every page is enough, in the order of the file."""
        features[items[:, None], np.arange(0, features.shape[1], max(1, mmap.PAGESIZE // features.itemsize))]

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        if not self.pending.cancelled():
            self.pending.result()


class HostGather(FeatureGather):
    """A batch's rows are gathered into pinned memory and copied over by a thread of their own; :meth:`fetch` begins that while
    the card computes the batch before. There are two buffers of each kind: one to fill, one that is read.

    ``device`` is where the step computes; on the CPU all is the same but for the overlap.
    """

    fetches = True

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.pool = ThreadPoolExecutor(1)
        self.fetched: deque[tuple[Tensor, Tensor, Future]] = deque()
        self.buffers: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * 2  # on the host, on the device
        self.copied: list[torch.cuda.Event | None] = [None, None]  # when each of them had last been copied over
        self.turn = 0

    def fetch(self, features: Tensor, pos: Tensor, neg: Tensor, ids: Tensor) -> None:
        if not len(ids):
            return
        self.turn = turn = 1 - self.turn
        size, (here, there) = len(ids) * features.shape[1], self.buffers[turn]
        if here.numel() < size or here.dtype != features.dtype:
            here = torch.empty(size, dtype=features.dtype, pin_memory=self.stream is not None)
            there = torch.empty(size, dtype=features.dtype, device=self.device)
            self.buffers[turn] = here, there
        read = torch.cuda.current_stream(self.device).record_event() if self.stream else None  # by the steps so far
        here, there = (buffer[:size].view(len(ids), -1) for buffer in (here, there))
        self.fetched.append((pos, neg, self.pool.submit(self._bring, features, ids, here, there, turn, read)))

    def _bring(
        self, features: Tensor, ids: Tensor, here: Tensor, there: Tensor, turn: int, read: torch.cuda.Event | None
    ) -> tuple[Tensor, torch.cuda.Event | None]:
        if (copied := self.copied[turn]) is not None:
            copied.synchronize()
        torch.index_select(features, 0, ids, out=here)
        if self.stream is None or read is None:
            return there.copy_(here), None
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(read)
            there.copy_(here, non_blocking=True)
            self.copied[turn] = self.stream.record_event()
        return there, self.copied[turn]

    def begin(self, features: Tensor, batch: Batch) -> None:
        """Have the rows of ``batch`` on the device: those fetched for it, else now, for which the device is waited for."""
        both = torch.cat([batch.pos, batch.neg])  # (2B,)
        ahead = self.fetched[0] if self.fetched else None
        if ahead is None or not (_one_memory(ahead[0], batch.pos) and _one_memory(ahead[1], batch.neg)):
            self.fetched.clear()
            self.fetch(features, batch.pos, batch.neg, both.cpu())
        self.rows_here, ready = self.fetched.popleft()[2].result()  # (2B, D)
        if ready is not None:
            torch.cuda.current_stream(self.device).wait_event(ready)
        # where each item's row lies; of an item that occurs twice, either
        self.place = self.memory("place", len(features), 1, both)[:, 0]
        self.place.scatter_(0, both, torch.arange(len(both), device=self.device))

    def rows(self, features: Tensor, ids: Tensor, out: Tensor) -> Tensor:
        return super().rows(self.rows_here, self.place.index_select(0, ids), out)


def _one_memory(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and len(a) == len(b)
