"""The processes that torchrun started, as one: who this one is, and the few things they tell each other."""

import os
import signal
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..protocols import Alone

WAIT = timedelta(minutes=30)  # for the slowest, as when one of them compiles or reads a large file first


class Team(Alone):
    """``rank`` of ``size`` processes. Rows are dealt like cards: process r has rows r, r + size, r + 2·size …"""

    def __init__(self, store: dist.Store) -> None:
        self.rank, self.size, self.asked_to_stop = dist.get_rank(), dist.get_world_size(), False
        self._store = store

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, the same bits in each: in place, and returned. Contiguous."""
        dist.all_reduce(there := tensor.to(self.device))
        return tensor if there is tensor else tensor.copy_(there)

    def whole(self, part: Tensor, rows: int) -> Tensor:
        """A table (rows, K) from everyone's part of it."""
        most = -(-rows // self.size)  # the last cards do not go round
        mine = part.new_zeros(most, *part.shape[1:])
        mine[: len(part)] = part
        dealt = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(dealt, mine)
        return torch.stack(dealt, 1).flatten(0, 1)[:rows]

    def lead(self, tensor: Tensor) -> None:
        """Everyone gets what the first process has; in place."""
        there = tensor if tensor.is_contiguous() else tensor.contiguous()
        dist.broadcast(there, 0)
        if there is not tensor:
            tensor.copy_(there)

    def agree(self, value: Any) -> Any:
        """What the first process says."""
        said = [value]
        dist.broadcast_object_list(said, 0)
        return said[0]

    def same(self, *numbers: int) -> bool:
        """Whether every process has these same numbers."""
        mine = torch.tensor(numbers, device=self.device)
        ends = torch.stack([mine, -mine])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        return bool((ends[0] == -ends[1]).all())

    def told_to_stop(self) -> bool:
        """Whether one of the processes was, by Ctrl-C or SIGTERM."""
        flag = torch.tensor(int(self.asked_to_stop), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def speaks(self) -> bool:
        """True in the first process that asks: of an error that all meet, one tells."""
        return self._store.add("spoken", 1) == 1

    @property
    def device(self) -> str:
        return "cuda" if dist.get_backend() == "nccl" else "cpu"


_team: list[Team] = []


def start(device: str = "auto") -> Team | None:
    """The team, where torchrun started this process, else None. gloo on CPUs, NCCL on cards, one card for each process.

    Ctrl-C and SIGTERM no longer end a process at once: the training stops in all of them after the same step."""
    if _team or not dist.is_torchelastic_launched():
        return _team[0] if _team else None
    on_card = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_card:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # after a restart torchrun hands out the store of the attempt before, with what it still holds (torch 2.13)
    common, rank, size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), common)
    dist.init_process_group("nccl" if on_card else "gloo", store=store, rank=rank, world_size=size, timeout=WAIT)
    _team.append(Team(store))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return _team[0]


def finish() -> None:
    """Take leave of the others, when all is done."""
    if _team:
        _team.clear()
        dist.destroy_process_group()


def team() -> Team:
    """The one that :func:`start` made; a ValueError where there is none."""
    if not _team:
        raise ValueError("there is no team of processes here: start this with torchrun and call amrlib.parallel.start() first")
    return _team[0]


def _stop(*_: Any) -> None:
    _team[0].asked_to_stop = True
