"""The data that ships with the book: where it lies, and its files, compared with their checksums."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from .checks import require


def data_folder() -> Path:
    """The folder of the data that ships: ``AMRLIB_SHIPPED``, the installed package's, or the checkout's; else a
    FileNotFoundError."""
    package, named = Path(__file__).resolve().parent, os.environ.get("AMRLIB_SHIPPED")
    places = [Path(named)] if named else [package / "data", package.parent / "data"]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the shipped data is not in {' nor in '.join(map(str, places))}; install amrlib from a clone of "
                            "its repository, or name the folder in AMRLIB_SHIPPED")  # fmt: skip


def read_shipped(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``data/boutique/<name>``, read-only, after comparing it with ``data/SHA256SUMS``. A missing file is a
    FileNotFoundError, one that is not what shipped a ValueError."""
    folder, path = data_folder(), f"boutique/{name}"
    remedy = "restore it with `git checkout -- data`, or make it again with `python data/make_boutique.py`"
    try:
        content, sums = (folder / path).read_bytes(), (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error.filename} is missing; {remedy}") from None
    shipped = f"{hashlib.sha256(content).hexdigest()}  {path}" in sums
    require(shipped, f"data/{path} is not the file that shipped (SHA256SUMS has another sum); {remedy}")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    for array in arrays.values():
        array.flags.writeable = False  # a data set takes such arrays without a copy
    return arrays
