"""The only D-dimensional work of a step: a batch's features C, and CE. Memory is kept from step to step."""

import torch
from torch import Tensor

from .gradients import Batch

CACHE_BYTES = 2**20  # of features at a time: what a core's own cache holds


class FeatureGather:
    """Reads rows of the features, in whatever number type they are stored, and multiplies them by E."""

    fetches = False  # whether it wants to be told of the batch to come

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def memory(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows, columns) of memory of ``like``'s kind; fresh memory costs more than what is written to it."""
        size, held = rows * columns, self._memory.get(name)
        if held is None or len(held) < size or (held.dtype, held.device) != (like.dtype, like.device):
            held = self._memory[name] = like.new_empty(size)
        return held[:size].view(rows, columns)

    # A batch to come: its pos and neg, and both of them (2B,) on the host; before the first rows are asked for; after the last
    def fetch(self, features: Tensor, pos: Tensor, neg: Tensor, ids: Tensor) -> None: ...
    def begin(self, features: Tensor, batch: Batch) -> None: ...
    def close(self) -> None: ...

    def rows(self, features: Tensor, ids: Tensor, out: Tensor) -> Tensor:
        """c_n of the ids, written to ``out`` (n, D)."""
        if features.dtype == out.dtype:
            return torch.index_select(features, 0, ids, out=out)
        return out.copy_(torch.index_select(features, 0, ids, out=self.memory("stored", len(out), out.shape[1], features)))

    def __call__(self, features: Tensor, E: Tensor, batch: Batch, items: Tensor, minus: Tensor | None) -> tuple[Tensor, Tensor]:
        """C (R, D), the features of a batch's ``items`` less those of ``minus`` where given, and CE (R, K); on the CPU in
        blocks that its cache holds from the gather to the product."""
        self.begin(features, batch)
        C, Z = self.memory("C", len(items), len(E), E), E.new_empty(len(items), E.shape[1])
        block = len(items) if items.device.type != "cpu" else max(1, CACHE_BYTES // (E.element_size() * len(E)))
        for start in range(0, len(items), block):
            part = slice(start, start + block)
            c = self.rows(features, items[part], C[part])
            if minus is not None:
                c -= self.rows(features, minus[part], self.memory("minus", len(c), len(E), E))
            torch.mm(c, E, out=Z[part])
        return C, Z
