"""What the tests of a card share. ``AMRLIB_TEST_DEVICE=cpu`` runs the same tests on the CPU, to try the tests themselves."""

import contextlib
import os

import numpy as np
import torch

import amrlib

DEVICE = torch.device(os.environ.get("AMRLIB_TEST_DEVICE", "cuda"))
ON_CARD = DEVICE.type == "cuda"
MISSING = "" if not ON_CARD or torch.cuda.is_available() else "torch finds no CUDA card here"

KINDS = [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
M, N, D = 30, 40, 12


def shop(seed=0, rows=200, dtype=np.float64, n_features=D, **settings):
    """Repeated rows, and two cold items at the end."""
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(M, size=rows), rng.integers(N - 2, size=rows)], 1)
    features = rng.normal(size=(N, n_features)).astype(dtype)
    test = np.array([rng.choice(np.setdiff1d(np.arange(N), train[train[:, 0] == u, 1])) for u in range(M)])
    return amrlib.Dataset(train, test, features=features, n_users=M, n_items=N, **settings)


def model_of(kind, data, per_item=False, **settings):
    if kind is amrlib.AMR:
        settings.setdefault("epsilon", np.linspace(0, 0.6, N) if per_item else 0.3)
    return kind(**{"dim": 4, "dtype": torch.float64, "init_std": 0.5, **settings}).bind(data)


def triples(steps, B, seed=1):
    """Batches on the CPU in which users and items recur, and items are positive in one row and negative in another."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        pos = rng.integers(N, size=B)
        yield tuple(torch.as_tensor(x) for x in (rng.integers(M, size=B), pos, (pos + rng.integers(1, N, size=B)) % N))


def there(batch):
    return tuple(ids.to(DEVICE) for ids in batch)


def tables(model):
    return {name: theta.detach().cpu() for name, theta in model.parameters().items()}


def close(a, b, tolerance=1e-10):
    """Whether two models, wherever they are, have the same parameters but for the order of sums."""
    return all(float((x - y).norm()) <= tolerance * float(y.norm()) for x, y in zip(tables(a).values(), tables(b).values()))


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(tables(a).values(), tables(b).values()))


@contextlib.contextmanager
def nothing_waits():
    """An error wherever the host waits for the card."""
    before = torch.cuda.get_sync_debug_mode() if ON_CARD else 0
    try:
        if ON_CARD:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        if ON_CARD:
            torch.cuda.set_sync_debug_mode(before)
