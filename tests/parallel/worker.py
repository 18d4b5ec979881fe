"""What torchrun starts in tests/parallel: trains by the team; the first process writes what has become of it to a file."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import amrlib
from amrlib import parallel
from amrlib.protocols import ALONE, Alone

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
        "MF-eALS": (amrlib.MFeALS(**own, c0=8.0), {}),
    }  # fmt: skip
    return {name: (model.bind(data), settings) for name, (model, settings) in made.items()}


def shared_by_users(model: amrlib.AMR, data: amrlib.Dataset, us: Alone) -> dict[str, np.ndarray]:
    """What is said of a trained model, by several processes or by one."""
    words, quiet = {"team": us}, {"progress": False}
    promoted = amrlib.adversary.promote(model, data, [3, 40], 0.3, k=5, **words)
    told = {"promoted": promoted.numpy(),
            "ranks": amrlib.evaluate(model, data, **quiet, **words).ranks,
            "changed": amrlib.evaluate(model, data, features=promoted, ties="shared", **quiet, **words).values(),
            "sampled": amrlib.evaluate(model, data, ranking="sampled", n_candidates=9, **quiet, **words).ranks,
            "worst": amrlib.worst_case_ranks(model, data, 0.2, **quiet, **words),
            "worst, signs": amrlib.worst_case_ranks(model, data, 0.05, norm="linf", **quiet, **words)}  # fmt: skip
    for triples in ("test", "train"):
        told[triples] = amrlib.perturb(model, data, 0.3, triples=triples, steps=3, **words).numpy()
    return told


def every_case(out: str, team: parallel.Team | None) -> None:
    data, found = shop(), {}
    words = {"epochs": 2, "seed": 1, "device": "cpu", "progress": False,
             "trainer": parallel.ParallelTrainer if team else "closed_form"}  # fmt: skip
    least_squares = {word: words[word] for word in ("epochs", "device", "progress", "trainer") if team or word != "trainer"}
    for dtype in (torch.float64, torch.float32):
        for name, (model, settings) in cases(data, dtype).items():
            model.fit(data, **(least_squares if name == "MF-eALS" else words), **settings)
            key = f"{name}, {str(dtype).removeprefix('torch.')}"
            found |= {f"{key}: {letter}": theta.numpy() for letter, theta in model.parameters().items()}
            found[f"{key}: history"] = model.history.to_numpy()
            if dtype == torch.float64 and name == "AMR":
                found |= {f"{key}, then: {word}": told for word, told in shared_by_users(model, data, team or ALONE).items()}
    with tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "features.npy", data.features)
        mapped = data.replace(features=np.load(path, mmap_mode="r"))
        model, settings = cases(mapped, torch.float32)["AMR"]
        model.fit(mapped, **words, **settings)
        assert isinstance(mapped.features, np.memmap)
        for letter, theta in model.parameters().items():  # as from memory
            assert np.array_equal(theta.numpy(), found[f"AMR, float32: {letter}"])
        del mapped, model
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
    least_squares = what.startswith("least squares")
    model, settings = cases(data, torch.float64)["MF-eALS" if least_squares else "AMR"]
    what = what.removeprefix("least squares, ")
    settings |= {"lr": 1e200} if what == "diverges" else {}
    if what == "full disk":
        from amrlib.training.callbacks import Checkpoint

        Checkpoint.write = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    words = {"device": "cpu", "progress": False, "trainer": parallel.ParallelTrainer, "checkpoint": f"{out}.checkpoint"}
    words |= {"seed": 1 + (team.rank if what == "other seeds" else 0), "every": 1}
    if least_squares:
        words = {word: words[word] for word in ("device", "progress", "trainer")}
    try:
        model.fit(data, epochs=epochs, callbacks=[Accident(what, team)], **words, **settings)
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
