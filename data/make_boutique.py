"""Makes everything in data/boutique from the files of Debian's package dataset-fashion-mnist.

    python data/make_boutique.py             # all stages
    python data/make_boutique.py cnn         # train the CNN on pictures that are not in the shop
    python data/make_boutique.py other       # a second CNN, of another seed: what an attacker may have instead of the shop's
    python data/make_boutique.py robust      # a third, trained adversarially
    python data/make_boutique.py shop        # pictures, features, traits and purchases, from the shipped CNN

On one kind of machine, with the versions of requirements.txt, the files come out byte for byte the same.
The CNN sees only the 60,000 training images; the shop's pool is drawn from the 10,000 test images.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
DATA = Path(__file__).resolve().parent
sys.path.insert(0, str(DATA.parent))
os.environ["AMRLIB_SHIPPED"] = str(DATA)

import numpy as np  # noqa: E402

from amrlib.atomic_files import write_atomically  # noqa: E402
from amrlib.datasets import boutique, shoppers  # noqa: E402

POOL = 6300  # pictures on offer; what nobody buys leaves the shop
SINGLE = 0.62  # share of single pieces
APPEAL = 0.5  # spread of the items' general appeal, in log weight
WORLD = 2017  # seeds what belongs to the items rather than to the shoppers
EPOCHS, BATCH, RATE = 8, 128, 1e-2
ROBUST_TO, ATTACK = 8 / 255, 3  # a change a pixel, and the steps that look for it


def read_idx(path: Path) -> np.ndarray:
    """The array of one gzipped idx file (big-endian header: 0, 0, 8 for bytes, dimensions, sizes)."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an idx file of bytes")
    shape = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def write(name: str, **arrays: np.ndarray) -> None:
    """An npz with fixed dates, so that the same arrays are the same bytes; then the list of checksums."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for key, value in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(value), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content.getvalue(), compresslevel=9)
    write_atomically(DATA / "boutique" / name, archive.getvalue())
    files = sorted(p for p in (DATA / "boutique").iterdir() if p.suffix == ".npz" or p.name == "LICENSE")
    sums = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  boutique/{p.name}\n" for p in files)
    write_atomically(DATA / "SHA256SUMS", sums.encode())
    for path in (*files, DATA / "SHA256SUMS"):
        path.chmod(0o644)
    print(f"  boutique/{name}: {len(archive.getvalue()):,} bytes")


def make_cnn(source: Path, name: str = "cnn.npz", seed: int = WORLD, epsilon: float = 0.0) -> None:
    """Train on the training images; one thread and fixed seeds, so that the weights come out the same.

    With ``epsilon`` it is trained adversarially (Madry et al. 2018): every picture is first changed by at most that much a
    pixel, in ATTACK steps against the network as it is, from a random start.
    """
    import torch
    from torch.nn import functional as F

    from amrlib.features.small_cnn import SmallCNN, to_tensor

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    images = to_tensor(read_idx(source / "train-images-idx3-ubyte.gz").copy())
    labels = torch.from_numpy(read_idx(source / "train-labels-idx1-ubyte.gz").astype(np.int64))
    cnn = SmallCNN()
    optimiser = torch.optim.AdamW(cnn.parameters(), lr=RATE, weight_decay=1e-2)
    batches = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * batches)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(images))[: batches * BATCH].split(BATCH):
            batch = images[rows]
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)  # a shoe may point either way
            if epsilon:
                change = (2 * torch.rand(batch.shape) - 1) * epsilon
                for _ in range(ATTACK):
                    change.requires_grad_()
                    (slope,) = torch.autograd.grad(F.cross_entropy(cnn((batch + change).clamp(0, 1)), labels[rows]), change)
                    change = (change.detach() + epsilon / 2 * slope.sign()).clamp(-epsilon, epsilon)
                batch = (batch + change).clamp(0, 1)
            loss = F.cross_entropy(cnn(batch), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1} of {EPOCHS}: mean loss {total / batches:.4f}", flush=True)
    write(name, **{name: value.numpy() for name, value in cnn.state_dict().items()})


def make_shop(source: Path) -> None:
    """Draw the pool and its traits, look at it with the CNN, let the simulated shoppers in."""
    import torch

    from amrlib.features.small_cnn import extract_features, load_cnn, to_tensor

    torch.set_num_threads(1)
    images, labels = (read_idx(source / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    cnn = load_cnn()
    with torch.no_grad():
        right = (cnn(to_tensor(images.copy())).argmax(1).numpy() == labels).mean()
    print(f"  the CNN names {right:.1%} of the 10,000 test images correctly")

    rng = np.random.Generator(np.random.PCG64(WORLD))
    source_row = np.sort(rng.choice(len(images), POOL, replace=False))
    items = dict(
        images=images[source_row],
        labels=labels[source_row],
        source=source_row.astype(np.uint16),  # row among Fashion-MNIST's test images
        hidden=rng.standard_normal((POOL, 4)).astype(np.float16),
        appeal=(APPEAL * rng.standard_normal(POOL)).astype(np.float16),
        single=rng.random(POOL) < SINGLE,
    )
    write("items.npz", **items)
    features = extract_features(items["images"], cnn, device="cpu", progress=False)
    write("features.npz", features=features.astype(np.float16))
    train, test, looks = shoppers.draw_purchases(items, boutique.DEFAULT_VISUAL_SHARE, boutique.DEFAULT_SEED)
    write("purchases.npz", train=train.astype(np.uint16), test=test.astype(np.uint16), looks=looks.astype(np.int16))
    for name, value in boutique.statistics(boutique.boutique()).items():
        print(f"  {name}:", value if isinstance(value, list) else format(value, ",.5g" if isinstance(value, float) else ","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=["cnn", "other", "robust", "shop", "all"], default="all")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"),
                        help="folder of the four .gz files (where Debian puts them)")  # fmt: skip
    options = parser.parse_args()
    if not options.source.is_dir():
        parser.error(f"{options.source} is not there: apt install dataset-fashion-mnist, or name it with --source")
    if options.stage in ("cnn", "all"):
        make_cnn(options.source)
    if options.stage in ("other", "all"):
        make_cnn(options.source, "cnn_other.npz", WORLD + 1)
    if options.stage in ("robust", "all"):
        make_cnn(options.source, "cnn_robust.npz", WORLD, ROBUST_TO)
    if options.stage in ("shop", "all"):
        make_shop(options.source)


if __name__ == "__main__":
    main()
