"""A step of fixed size on a CUDA card, recorded once and played back: one launch in place of a hundred.

A recording holds addresses and the numbers it was made with. So it has buffers of its own for the batch's ids and for what
the step keeps, and it is made anew when a table, a rate or a weight is another one. It must not wait for the card, as the
closed form never does, and must not draw; Adam counts its steps on the host. These take the step as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..gather import FeatureGather
from ..gradients import Batch, Losses

__all__ = ["RecordedStep"]

UNRECORDED = 3  # steps of a size before it is recorded: they load the kernels, and set up what is set up once

Step = Callable[[Batch, FeatureGather], Losses]  # the gather is where it keeps memory


class RecordedStep:
    """Plays back a recording for the first batch size that comes up often enough; other steps are taken as ever."""

    def __init__(self) -> None:
        self.gather = FeatureGather()  # of the steps that are not played back
        self.failed = ""  # why recording failed, if it did
        self._forget(())

    def _forget(self, constants: tuple[Any, ...]) -> None:
        self.constants, self.seen = constants, dict[int, int]()
        self.play: Callable[[], Any] | None = None
        self.ids = self.losses = torch.empty(0)

    def __call__(self, step: Step, batch: Batch, constants: tuple[Any, ...]) -> Losses:
        """``step`` of a batch; ``constants`` are the tensors and numbers that a recording of it has built in."""
        if not _same(constants, self.constants):
            self._forget(constants)
        B = len(batch.users)
        if self.play is None and not self.failed:
            self.seen[B] = self.seen.get(B, 0) + 1
            if self.seen[B] > UNRECORDED:
                self._record(step, batch)
        if self.play is None or self.ids.shape[1] != B:
            return step(batch, self.gather)
        torch.stack(batch, out=self.ids)
        self.play()
        return Losses(*self.losses.clone().unbind())  # the next playback writes over them

    def _record(self, step: Step, batch: Batch) -> None:
        self.ids, gather = torch.stack(batch), FeatureGather()  # (3, B)
        own = Batch(*self.ids.unbind())
        try:
            self.play, self.losses = record(lambda: torch.stack(step(own, gather)), self.ids.device)
        except RuntimeError as error:
            self.failed = str(error).strip().splitlines()[0]
            warnings.warn(f"the step goes on without a CUDA graph, launch by launch ({self.failed}); "
                          "cuda_graph=False leaves the attempt out", stacklevel=5)  # fmt: skip


def record(step: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], Any], Tensor]:
    """What plays ``step`` back, and where its result then lies; nothing is computed yet."""
    graph = torch.cuda.CUDAGraph()
    # thread_local: other threads of the program may use the card meanwhile
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local"):
        losses = step()
    return graph.replay, losses


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether the tensors are the same ones, and the numbers equal."""
    return len(a) == len(b) and all(x is y or (not isinstance(x, Tensor) and x == y) for x, y in zip(a, b, strict=True))
