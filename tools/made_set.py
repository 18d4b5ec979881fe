"""A small made set in the files of ``amazon-clothing``: no pictures, no labels, no sizes to choose, ids that are text."""

import io
import zipfile
from pathlib import Path

import numpy as np

NAME = "amazon-clothing"
USERS, ITEMS, D = 200, 150, 16


def write_made_set(folder: Path) -> None:
    """Put the set into the folder that ``AMRLIB_DATA`` is to name, where its reader looks for downloads."""
    rng = np.random.default_rng(0)
    appeal = rng.gamma(1.0, size=ITEMS)
    rows = [
        f"user{u}\titem{i}\t5.0"
        for u in range(USERS)
        for i in rng.choice(ITEMS, size=2 + rng.poisson(2), replace=False, p=appeal / appeal.sum())
    ]
    features = io.BytesIO()
    np.save(features, rng.normal(size=(ITEMS, D)).astype(np.float32))
    parts: dict[str, tuple[str, str | bytes]] = {
        "rating.zip": ("rating.txt", "\n".join(rows)),
        "item_ids.zip": ("item_ids.txt", "\n".join(f"item{i}" for i in range(ITEMS))),
        "image.zip": ("image_features.npy", features.getvalue()),
    }
    place = folder / "amazon_clothing"
    place.mkdir(parents=True)
    for name, (member, content) in parts.items():
        with zipfile.ZipFile(place / name, "w") as archive:
            archive.writestr(member, content)
