"""What torchrun starts in tests/parallel: trains by the team; the first process writes what has become of it to a file."""

import os
import signal
import sys
import time

import numpy as np
import torch

import amrlib
from amrlib import parallel

RNG = np.random.default_rng(5)


def shop(n_users: int = 23, n_items: int = 41, D: int = 9, rows: int = 400) -> amrlib.Dataset:
    """Users of uneven zeal, bought twice now and then, some items cold."""
    users = np.minimum(RNG.geometric(0.12, rows) - 1, n_users - 1)
    train = np.unique(np.stack([users, RNG.integers(0, n_items - 4, rows)], 1), axis=0)
    test = np.array([int(RNG.integers(0, n_items)) if u % 5 else -1 for u in range(n_users)])
    held = np.isin(np.arange(n_users) * n_items + test, train[:, 0] * n_items + train[:, 1])
    return amrlib.Dataset(train, np.where(held, -1, test), RNG.standard_normal((n_items, D)).astype("float32"),
                          n_users=n_users, n_items=n_items)  # fmt: skip


def cases(data: amrlib.Dataset, dtype: torch.dtype) -> dict:
    """name → (model, settings of fit)"""
    own = {"seed": 3, "init_std": 0.4, "dtype": dtype, "dim": 4}
    usual = {"batch_size": 32, "lr": 0.05, "reg": (0.02, 0.03, 0.001)}
    small = {"batch_size": 8, "lr": (0.05, 0.01, 0.03), "reg": 0.0}  # fewer triples than items: differences c_i − c_j
    amr = {**own, "epsilon": 0.3, "adv_weight": 0.7}
    made = {
        "MF-BPR": (amrlib.MFBPR(**own), usual), "DUIF": (amrlib.DUIF(**own), usual), "VBPR": (amrlib.VBPR(**own), usual),
        "AMR": (amrlib.AMR(**amr), usual), "AMR, small batches": (amrlib.AMR(**amr), small),
        "AMR, apart": (amrlib.AMR(**amr), usual | {"reg_form": "apart"}),
        "AMR, small batches, apart": (amrlib.AMR(**amr), small | {"reg": (0.02, 0.03, 0.001), "reg_form": "apart"}),
        "AMR, Adam": (amrlib.AMR(**amr), usual | {"optimizer": "adam", "lr": 0.01}),
        "two vectors": (amrlib.VBPRTwoVector(**own), usual),
        "popular negatives": (amrlib.MFBPR(**own), usual | {"negatives": "popularity"}),
        "validation": (amrlib.VBPR(**own), usual | {"validation": True, "every": 1}),
    }  # fmt: skip
    return {name: (model.bind(data), settings) for name, (model, settings) in made.items()}


def every_case(out: str, team: parallel.Team | None) -> None:
    data, found = shop(), {}
    for dtype in (torch.float64, torch.float32):
        for name, (model, settings) in cases(data, dtype).items():
            trainer = parallel.ParallelTrainer if team else "closed_form"
            model.fit(data, epochs=2, seed=1, device="cpu", progress=False, trainer=trainer, **settings)
            key = f"{name}, {str(dtype).removeprefix('torch.')}"
            found |= {f"{key}: {letter}": theta.numpy() for letter, theta in model.parameters().items()}
            found[f"{key}: history"] = model.history[["bpr", "adversarial", "objective"]].to_numpy()
            if team and dtype == torch.float64 and name in ("AMR", "MF-BPR"):
                same = [parallel.held_out_ranks(model, data), parallel.worst_case_ranks(model, data, 0.2)]
                alone = [amrlib.evaluate(model, data, progress=False).ranks,
                         amrlib.worst_case_ranks(model, data, 0.2, progress=False)]  # fmt: skip
                assert all(np.array_equal(a, b) for a, b in zip(same, alone, strict=True))
    if team is None or team.leads:
        np.savez(out, **found)


class Accident:
    """What happens to one process after the second epoch, the first time it is started."""

    def __init__(self, what: str, team: parallel.Team) -> None:
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        self.what = what if team.rank == team.size - 1 and first else ""

    def on_epoch_end(self, model: amrlib.AMR, row: dict) -> str | None:
        if row["epoch"] == 2:
            if self.what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "told to stop":
                os.kill(os.getpid(), signal.SIGTERM)
            if self.what == "another mind":  # says stop when the first process does not
                return "another mind"
        return None


def one_run(out: str, team: parallel.Team, epochs: int, what: str) -> None:
    """AMR, a checkpoint after each epoch."""
    data = shop()
    model, settings = cases(data, torch.float64)["AMR"]
    settings |= {"lr": 1e200} if what == "diverges" else {}
    if what == "full disk":
        from amrlib.training.callbacks import Checkpoint

        Checkpoint.write = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    words = {"device": "cpu", "progress": False, "trainer": parallel.ParallelTrainer, "checkpoint": f"{out}.checkpoint"}
    seed = 1 + (team.rank if what == "other seeds" else 0)
    try:
        model.fit(data, epochs=epochs, seed=seed, every=1, callbacks=[Accident(what, team)], **words, **settings)
    except (ValueError, OSError, FloatingPointError) as error:
        if team.speaks():
            print(f"{type(error).__name__}: {error}", flush=True)
        time.sleep(0.5 if what == "full disk" else 0)
        sys.exit(2)
    if team.leads:
        np.savez(out, epochs=len(model.history), stopped=model.history.attrs["stopped"],
                 **{letter: theta.numpy() for letter, theta in model.parameters().items()})  # fmt: skip
    digests = [float(theta.sum()) for theta in model.parameters().values()]
    print(f"process {team.rank} has {digests}", flush=True)


if __name__ == "__main__":
    us = parallel.start("cpu")
    if len(sys.argv) == 2:
        every_case(sys.argv[1], us)
    else:
        one_run(sys.argv[1], us, int(sys.argv[2]), sys.argv[3])
    parallel.finish()
