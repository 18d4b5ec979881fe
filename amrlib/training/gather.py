"""The only D-dimensional work of a step: a batch's features C, and CE. Memory is kept from step to step."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from .gradients import Batch

__all__ = ["FeatureGather", "HostGather"]

CACHE_BYTES = 2**20  # of features at a time: what a core's own cache holds


class FeatureGather:
    """Reads rows of the features, in whatever number type they are stored, and multiplies them by E."""

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def memory(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows, columns) of memory of ``like``'s kind; fresh memory costs more than what is written to it."""
        size = rows * columns
        held = self._memory.get(name)
        if held is None or len(held) < size or held.dtype != like.dtype or held.device != like.device:
            held = self._memory[name] = like.new_empty(size)
        return held[:size].view(rows, columns)

    def fetch(self, features: Tensor, pos: Tensor, neg: Tensor, ids: Tensor) -> None:
        """A batch to come."""

    def begin(self, features: Tensor, batch: Batch) -> None:
        """Before the first rows of a batch are asked for."""

    def rows(self, features: Tensor, ids: Tensor, out: Tensor) -> Tensor:
        """c_n of the ids, written to ``out`` (n, D)."""
        if features.dtype == out.dtype:
            return torch.index_select(features, 0, ids, out=out)
        stored = self.memory("stored", len(out), out.shape[1], features)
        return out.copy_(torch.index_select(features, 0, ids, out=stored))

    def __call__(self, features: Tensor, E: Tensor, items: Tensor, minus: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """C (R, D), the features of ``items``, less those of ``minus`` where given, and CE (R, K).

        On the CPU in blocks that its cache holds from the gather to the product.
        """
        C, Z = self.memory("C", len(items), len(E), E), E.new_empty(len(items), E.shape[1])
        block = len(items) if items.device.type != "cpu" else max(1, CACHE_BYTES // (E.element_size() * len(E)))
        for start in range(0, len(items), block):
            part = slice(start, start + block)
            c = self.rows(features, items[part], C[part])
            if minus is not None:
                c -= self.rows(features, minus[part], self.memory("minus", len(c), len(E), E))
            torch.mm(c, E, out=Z[part])
        return C, Z


class HostGather(FeatureGather):
    """For features that stay in the host's memory, or in a file there, because the card is too small for them.

    A batch's rows are gathered into pinned memory and copied over by a thread of their own; :meth:`fetch` begins that while
    the card computes the batch before. There are two buffers of each kind: one to fill, one that is read.

    Parameters
    ----------
    device : torch.device
        Where the step computes; on the CPU all is the same but for the overlap.
    """

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
        """Begin to bring over the rows of a batch to come: its ``pos`` and ``neg``, and both of them (2B,) on the host."""
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
